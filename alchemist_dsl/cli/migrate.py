"""`alchemist migrate`: the configuration of another training tool as a recipe, with a word for every key."""

from __future__ import annotations

import glob
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from alchemist_dsl.cli.options import format_option

if TYPE_CHECKING:
    from alchemist_dsl.diagnostics.model import Diagnostic
    from alchemist_dsl.migrate.run import Migrated
    from alchemist_dsl.migrate.source_location import Kind
    from alchemist_dsl.source import SourceFile

TOOLS: Final = ("axolotl", "llama-factory", "trl", "open-instruct")
_NAMED: Final = 8  # keys named in the last line


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="RECIPE",
    help="Where the recipe goes; `-` is standard output. Default: beside FILE.",
)
@click.option("--from", "tool", type=click.Choice(TOOLS), help="The tool that FILE is for, where its keys do not tell.")
@click.option(
    "--gpus",
    type=click.IntRange(1),
    metavar="N",
    help="Devices that FILE was written for: `batch` counts all of them together.",
)
@format_option(help="For people, or JSON with what became of every key.")
def migrate(file: Path, output: Path | None, tool: str | None, gpus: int | None, format_: str) -> None:
    """Write the recipe that says what FILE says: a YAML of axolotl, LLaMA-Factory, TRL or open-instruct.

    What a recipe does not say stands in it as a comment, and is a warning with the YAML's line. An existing file is
    never written over. `-` is standard input.
    """
    from alchemist_dsl.migrate.run import migrate as taken_over

    source, problem = _read(file)
    out = _output(file, output, format_)
    if problem is None:
        result = taken_over(source, tool=tool, files=Disk(file, out), gpus=gpus)
    else:
        result = _unreadable(source, problem)
    wrong: tuple[Diagnostic, ...] = ()
    if result.recipe is not None:
        wrong, checked = _checked(result.recipe, out)
        if out is not None:
            _write(out, result.recipe)
        elif format_ == "text":
            click.echo(result.recipe, nl=False)
    if format_ == "json":
        click.echo(json.dumps(_as_json(result, out), indent=2, ensure_ascii=False))
    else:
        _say(result, out)
    if wrong:
        from alchemist_dsl.cli.output import show

        show(wrong, checked)
    sys.exit(1 if result.recipe is None or wrong else 0)


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(file: Path) -> tuple[SourceFile, Diagnostic | None]:
    """The configuration's text; a problem where it is none."""
    from alchemist_dsl.diagnostics.model import Diagnostic
    from alchemist_dsl.project.folder import read_file
    from alchemist_dsl.source import SourceFile, Span

    displayed = str(file)
    try:
        data = sys.stdin.buffer.read() if displayed == "-" else read_file(file)
    except FileNotFoundError:
        from difflib import get_close_matches

        names = sorted(p.name for end in ("*.yaml", "*.yml") for p in file.parent.glob(end))
        near = get_close_matches(file.name, names, 1)
        help_ = f"; did you mean `{file.parent / near[0]}`?" if near else ""
        raise click.UsageError(f"there is no file `{file}`{help_}") from None
    except OSError as error:
        raise click.UsageError(f"`{file}` cannot be opened: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        whole = data[: error.start].decode("utf-8", "replace")
        at = Span(displayed, len(whole), len(whole))
        return SourceFile(displayed, whole), Diagnostic("A950", "the file is not UTF-8", at, help="save it as UTF-8")
    return SourceFile(displayed, text), None


def _unreadable(source: SourceFile, problem: Diagnostic) -> Migrated:
    from alchemist_dsl.migrate.run import Migrated

    return Migrated(None, None, (problem,), sources={source.path: source})


class Disk:
    """The files that a configuration names: beside it, else from the current folder; named as the recipe would."""

    def __init__(self, file: Path, out: Path | None) -> None:
        here = Path.cwd()
        self._roots = [here if str(file) == "-" else file.parent.resolve(), here]
        self._from = here if out is None else out.parent.resolve()

    def _at(self, path: str) -> Path | None:
        plain = os.path.expanduser(path)  # noqa: PTH111 (a text, and it need not be there)
        for root in self._roots:
            try:
                if (found := root / plain).exists():
                    return found
            except (OSError, ValueError):  # a name that is too long, or has a NUL
                return None
        return None

    def kind(self, path: str) -> Kind | None:
        found = self._at(path)
        if found is not None:
            return "folder" if found.is_dir() else "file"
        return "pattern" if self._matched(path) else None

    def _matched(self, path: str) -> list[Path]:
        """The files that a pattern finds, in the first place where it finds some."""
        if not set("*?[") & set(path):
            return []
        for root in self._roots:
            if found := sorted(glob.glob(str(root / path), recursive=True)):  # noqa: PTH207 (absolute ones, too)
                return [Path(f) for f in found]
        return []

    def read(self, path: str) -> str | None:
        found = self._at(path)
        try:
            return None if found is None else found.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def columns(self, path: str) -> frozenset[str] | None:
        """Columns that all files of a path, folder or pattern have."""
        found = self._at(path)
        files = self._matched(path) if found is None else _data_in(found)
        known = [_columns(f) for f in files]
        sure = [k for k in known if k is not None]
        return frozenset.intersection(*sure) if sure and len(sure) == len(known) else None

    def listed(self, path: str) -> list[str]:
        found = self._at(path)
        return [] if found is None else [self._named(f) for f in _data_in(found)]

    def shown(self, path: str) -> str:
        found = self._at(path)
        if found is not None:
            return self._named(found)
        for root in self._roots:
            if glob.glob(str(root / path), recursive=True):  # noqa: PTH207 (as above)
                return self._named(root / path)
        return path

    def _named(self, found: Path) -> str:
        return Path(os.path.relpath(found, self._from)).as_posix()


def _data_in(place: Path) -> list[Path]:
    """A file, or the data files of a folder."""
    from alchemist_runtime.formats.files import format_of

    if not place.is_dir():
        return [place]
    return [f for f in sorted(place.iterdir()) if f.is_file() and format_of(f.name)]


def _columns(file: Path) -> frozenset[str] | None:
    """The columns of a file's first records; None where they cannot be told."""
    from alchemist_runtime.formats.files import format_of

    from alchemist_dsl.project.facts_on_disk import describe

    kind = format_of(file.name)
    if kind is None or not file.is_file():
        return None
    try:
        types = describe(file, file.name, kind, file.stat().st_size).columns
    except OSError:
        return None
    return None if types is None else frozenset(types)


# --- writing ----------------------------------------------------------------------------------------------------------


def _output(file: Path, output: Path | None, format_: str) -> Path | None:
    """Where the recipe goes; None is standard output."""
    if output is None and (str(file) == "-" or format_ == "json"):
        return None
    out = file.with_suffix(".recipe") if output is None else output
    if str(out) == "-":
        return None
    if out.is_dir():
        raise click.UsageError(f"`{out}` is a folder; write `-o {out / file.with_suffix('.recipe').name}`")
    if out.exists():
        raise click.UsageError(f"`{out}` is there already and is not written over; name another file with `-o`")
    if not out.parent.is_dir():
        raise click.UsageError(f"there is no folder `{out.parent}`")
    return out


def _write(out: Path, text: str) -> None:
    try:
        with out.open("x", encoding="utf-8") as file:  # never over a file that came in the meantime
            file.write(text)
    except OSError as error:
        click.echo(f"error: `{out}` cannot be written: {error.strerror}", err=True)
        sys.exit(3)


def _checked(text: str, out: Path | None) -> tuple[tuple[Diagnostic, ...], dict[str, SourceFile]]:
    """What `alchemist check` would call an error: columns that the data does not have."""
    from alchemist_dsl.checker import check
    from alchemist_dsl.compiler import severity
    from alchemist_dsl.project.facts_on_disk import FileCache, Resources
    from alchemist_dsl.project.folder import folder_of, library
    from alchemist_dsl.project.lockfile import Lock
    from alchemist_dsl.source import SourceFile

    path = Path.cwd() / "-" if out is None else out.resolve()
    folder = folder_of(path)
    known = Resources(folder.root, Lock(), FileCache(None), std=library())
    file = SourceFile(folder.relative(path), text)
    _, found = check(file, folder.read, columns=known.columns, listing=folder.listing)
    displayed = SourceFile("-" if out is None else str(out), text)
    errors = [d for d in found if severity(d) == "error"]
    moved = [_moved(d, file.path, displayed.path) for d in errors]
    return tuple(moved), {displayed.path: displayed}


def _moved(problem: Diagnostic, old: str, new: str) -> Diagnostic:
    from dataclasses import replace

    from alchemist_dsl.source import Span

    span = problem.span
    at = Span(new, span.start, span.end) if span.file == old else span
    return replace(problem, span=at, labels=(), edit=None)


# --- telling ----------------------------------------------------------------------------------------------------------


def _say(result: Migrated, out: Path | None) -> None:
    from alchemist_dsl.cli.output import show

    show(result.problems, result.sources)
    if result.recipe is None:
        return
    names = sorted(result.left)
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        said = (
            f"{len(names)} keys change no result and are left out"
            if len(names) > 1
            else "1 key changes no result and is left out"
        )
        click.echo(f"{said}: {', '.join(names[:_NAMED])}{more}; `--format json` says why", err=True)
    if out is not None:
        count = len(result.problems)
        what = "no warnings" if not count else "1 warning" if count == 1 else f"{count} warnings"
        click.echo(f"wrote {out} (from {result.tool}, {what})\nnext: alchemist check {out}")


def _as_json(result: Migrated, out: Path | None) -> dict[str, object]:
    from alchemist_dsl.diagnostics.render import render

    return {
        "tool": result.tool,
        "output": None if out is None else str(out),
        "recipe": result.recipe,
        "used": sorted(result.used),
        "left_out": dict(result.left),
        "problems": json.loads(render(result.problems, result.sources, "json")),
    }
