"""From the syntax tree to the checked program: names, types and units, columns along the graph, and the rules of the
house.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from alchemist_dsl import ir
from alchemist_dsl.checker import (
    graph,
    inheritance,
    lints,
    load,
    mixture,
    outputs,
    prompts,
    sources,
    tasks,
    teacher_steps,
    unittests,
    variants,
)
from alchemist_dsl.checker.block_checker import CHECKS, Building
from alchemist_dsl.checker.context import Columns, Context, Room
from alchemist_dsl.checker.load import Loader, Parse
from alchemist_dsl.checker.problems import Problems
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.parse import parse as parse_file

_NOTHING: Final[Mapping[str, tuple[str, str]]] = MappingProxyType({})

#: The modules whose functions are marked by `checks`.
_MARKED: Final = (mixture, outputs, prompts, sources, sources, tasks, teacher_steps, unittests)
#: Kinds that others need without naming them, so they come first.
_FIRST: Final = ("schema", "recipe")


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked recipe with all that was learnt on the way, also of what is wrong: what an editor asks about."""

    program: ir.Program
    diagnostics: tuple[Diagnostic, ...]
    context: Context


def check(
    file: SourceFile,
    read: Callable[[str], bytes | None],
    *,
    root: str = "",
    sets: Mapping[str, tuple[str, str]] = _NOTHING,
    variant: str | None = None,
    columns: Columns | None = None,
    listing: Callable[[str], Sequence[str]] | None = None,
) -> tuple[ir.Program | None, tuple[Diagnostic, ...]]:
    """Check a recipe with everything that it imports. Pure: files come through `read`.

    `read(path)`: bytes of a file of the project by its path from there, or of `std:NAME`; None if there is none.
    `root`: the recipe's folder, where `file.path` does not say it. `sets`: values of parameters from outside, name ->
    (text, "set" | "file" | "environment"). `columns`: columns of the records of a source or suite, None where unknown.
    `listing(folder)`: names of the files of a folder, for suggestions only.
    """
    found = examine(file, read, root=root, sets=sets, variant=variant, columns=columns, listing=listing)
    return found.program, found.diagnostics


def examine(
    file: SourceFile,
    read: Callable[[str], bytes | None],
    *,
    root: str = "",
    sets: Mapping[str, tuple[str, str]] = _NOTHING,
    variant: str | None = None,
    columns: Columns | None = None,
    listing: Callable[[str], Sequence[str]] | None = None,
    parse: Parse = parse_file,
) -> Checked:
    """As `check`, and everything that was learnt. `parse`: the parser, or one that remembers unchanged files."""
    problems = Problems()
    loader = Loader(read, listing or (lambda folder: ()), root, problems, parse)
    scope = loader.load_root(file)
    context = Context(problems, loader, scope, columns or (lambda block: None))
    values, variant = _declare(context, sets, variant)
    inheritance.resolve(context)
    graph.arrange(context)
    _build(context)
    if variant is None:  # a variant may leave out what the recipe itself uses
        graph.unused(context)
    lints.apply(context)
    program = _program(context, file, values, variant)
    return Checked(program, problems.sorted(file.path), context)


def _declare(
    context: Context, sets: Mapping[str, tuple[str, str]], variant: str | None
) -> tuple[dict[str, ir.ParamValue], str | None]:
    """Collect declarations, apply the variant, and give parameters their values; with the name of the variant."""
    variant = variants.apply(context, variant)
    values = load.resolve(context, sets)
    tasks.standard_bases(context)
    for scope in context.loader.scopes.values():
        for decl in scope.all():
            context.decls[decl.key] = decl
    return values, variant


def _build(context: Context) -> None:
    first = [k for kind in _FIRST for k, d in context.decls.items() if d.kind == kind]
    last = [k for k in context.order if context.decls[k].kind == "test"]
    for key in dict.fromkeys([*first, *(k for k in context.order if context.decls[k].kind != "test"), *last]):
        b = Building(context.decls[key], context)
        b.unknown_attributes()
        CHECKS.get(b.decl.kind, Building.read)(b)
        context.blocks[key] = b.finish()
        context.rooms[key] = Room(b.env, b.variables)


def _program(context: Context, file: SourceFile, values: dict[str, ir.ParamValue], variant: str | None) -> ir.Program:
    lints.unused_imports(context)
    runs, crowded = variants.looked_at(context)
    return ir.Program(
        file=file,
        files=dict(context.loader.files),
        edition=context.scope.edition,
        imports=tuple(context.loader.imports),
        params=values,
        blocks={key: context.blocks[key] for key in context.decls},
        schemas={key: ir.RowSchema(dict(stream.columns), stream.open) for key, stream in context.streams.items()},
        texts=dict(sorted(context.texts.items())),
        variants=runs,
        crowded=crowded,
        variant=variant,
    )
