"""Carries out a compiled recipe: with consent to what it costs and sends, and with the verdicts of its checks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alchemist_runtime.engine import local
from alchemist_runtime.engine.context import Context, Options
from alchemist_runtime.engine.verdicts import judge_check
from alchemist_runtime.schema.plan import Check, Node

from alchemist_dsl.checker import check
from alchemist_dsl.diagnostics.model import Diagnostic, severity
from alchemist_dsl.ir import Block, Program
from alchemist_dsl.project.consent import Ask, agree_to_cost, agree_to_hosts
from alchemist_dsl.project.folder import Folder, folder_of, read_recipe
from alchemist_dsl.project.workspace import Compiled
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.decode import decode

if TYPE_CHECKING:
    from alchemist_dsl.project.facts_on_disk import Resources

Verdict = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run. `verdicts`: of every check that was reached, with the value found where there is one."""

    result: local.Result
    verdicts: Sequence[tuple[Check, Verdict, str | None]] = ()
    not_run: frozenset[str] = field(
        default_factory=frozenset
    )  # steps that this version does not carry out, or need one

    @property
    def ok(self) -> bool:
        """Whether everything was built and no check says no."""
        broken = any(v == "fail" and c.severity == "error" for c, v, _ in self.verdicts)
        return not (self.result.failed or self.not_run or broken)

    @property
    def steps(self) -> Mapping[str, local.Done]:
        """What became of every step."""
        return {d.node: d for d in self.result.done}


def prepare(
    compiled: Compiled, options: Options, *, upto: Sequence[str] = (), hosts: Sequence[str] = (), ask: Ask | None = None
) -> Context:
    """The context of a run, once somebody has agreed to what it spends and to where it sends keys.

    `ask` puts a question to a person; without it only budgets and `hosts` agree. Raises RunError A702, A709, A713."""
    assert compiled.plan is not None
    plan, project = compiled.plan, compiled.project
    ctx = Context(plan, project.root, project.state, project.store, options=options)
    most = None if options.budget is None else Fraction(options.budget)

    def consent(nodes: Sequence[Node], ask: Ask | None) -> None:
        agree_to_cost(plan, nodes, most, ask)
        agree_to_hosts(plan, project.root, nodes, hosts, ask)

    if options.replay is None:
        consent(local.unfinished(ctx, list(upto) or None), ask)
        ctx.agree = partial(consent, ask=None)
    return ctx


def record(compiled: Compiled, ctx: Context, result: local.Result, *, locked: bool) -> None:
    """After the steps: outputs point at this run's results, and the lock takes facts and figures over."""
    if not ctx.options.limited and not result.failed:
        local.point_at(ctx, result)
    if not locked and not result.failed:  # the lock stays as it is, figures too
        compiled.after_run()


def judged(ctx: Context, result: local.Result) -> Ran:
    """The result with the verdicts of the checks whose steps are built."""
    stuck = frozenset(d.node for d in result.done if d.action == "not run")
    verdicts: list[tuple[Check, Any, str | None]] = [
        (c, "unknown", None) if stuck & set(c.reads) else (c, *judge_check(ctx, c))
        for c in ctx.plan.checks
        if stuck & set(c.reads) or _reached(ctx, c.reads)
    ]
    if ctx.options.limited:  # a run that leaves rows out breaks no promise
        verdicts = [(c, "unknown" if v == "fail" else v, value) for c, v, value in verdicts]
    return Ran(result, verdicts, stuck)


def _reached(ctx: Context, reads: list[str]) -> bool:
    """Whether everything that a check reads is built: after `--upto` a part of the promises is not reached."""
    return all(
        ctx.store.manifest(ctx.node(name).key) is not None for name in reads if name in {n.id for n in ctx.plan.nodes}
    )


# --- checking --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a check. `program`: what the recipe means, None where that is not known. `sources`: files by their
    paths in the project `root`, for messages."""

    program: Program | None
    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, SourceFile] = field(default_factory=dict)
    root: Path = Path()

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings do not count."""
        return not any(severity(d) == "error" for d in self.diagnostics)


def check_file(
    path: Path, outside: Mapping[str, tuple[str, str]], variant: str | None = None, *, look: bool = True
) -> Checked:
    """Check a recipe; `-` is standard input. `outside`: values of parameters, name -> (text, where from).

    `look`: also at the local files that it reads.

    Raises OSError where the recipe cannot be read."""
    stdin = str(path) == "-"
    data = sys.stdin.buffer.read() if stdin else read_recipe(path)
    folder = folder_of(Path.cwd() / "-" if stdin else path)
    name = "-" if stdin else folder.relative(path.resolve())
    file, problems = decode(name, data)
    if file is None:
        return Checked(None, problems, {name: SourceFile(name, "")}, folder.root)
    facts = _Facts(folder)
    root = folder.relative(Path.cwd()) if stdin else ""
    program, problems = check(
        file,
        folder.read,
        root="" if root == "." else root,
        sets=outside,
        variant=variant,
        columns=facts.columns if look else None,
        listing=folder.listing,
    )
    if program is not None and look:
        problems = (*problems, *facts.problems(program))
    facts.save()
    return Checked(program, problems, {name: file, **(program.files if program else {})}, folder.root)


class _Facts:
    """Columns of local files, from the lock or their first records. What reads files is loaded when a source has
    some.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._resources: Resources | None = None

    def columns(self, block: Block) -> Mapping[str, str] | None:
        if block.get("files") is None or block.get("hub") is not None:
            return None
        return self._open().columns(block)

    def problems(self, program: Program) -> list[Diagnostic]:
        """Patterns that match no file, files that cannot be read, models that are none."""
        from alchemist_dsl.lowering.scope import own_model

        blocks = program.blocks.values()
        local = (b for b in program.of("source", "suite") if b.get("files") is not None and b.get("hub") is None)
        bases = (self._open().base(b) for b in blocks if own_model(b) is not None)
        return [p for b in local for p in self._open().source(b).problems] + [p for p in bases if p]

    def save(self) -> None:
        if self._resources is not None:
            self._resources.cache.save()

    def _open(self) -> Resources:
        if self._resources is None:
            from alchemist_dsl.project import lockfile as locks
            from alchemist_dsl.project.facts_on_disk import FileCache, Resources
            from alchemist_dsl.project.folder import LOCK, STATE, library, read_file

            root = self.folder.root
            try:
                lock = locks.loads(read_file(root / LOCK, root).decode("utf-8"))
            except (OSError, ValueError):
                lock = locks.Lock()  # `compile` says what is wrong with it
            self._resources = Resources(root, lock, FileCache(root / STATE / "files"), std=library())
        return self._resources
