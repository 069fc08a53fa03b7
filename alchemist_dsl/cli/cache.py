"""`alchemist cache`: what the call cache holds, whose it is and what it cost; a part of it as a file; answers that
nobody needs.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from alchemist_dsl.cli.options import RecipeOptions, format_option, recipe_options

if TYPE_CHECKING:
    from alchemist_runtime.calls.batch_api import InFlight
    from alchemist_runtime.calls.cache import Origin
    from alchemist_runtime.calls.cache_files import Entry
    from alchemist_runtime.schema.plan import Plan

    from alchemist_dsl.project.workspace import Compiled, Project

#: Kinds of steps that ask a teacher.
_ASKING = ("relabel", "generate")
_FORMAT = format_option()
_FOLDER = click.argument("folder", type=click.Path(path_type=Path), default=".")


@click.group()
def cache() -> None:
    """The call cache of a project: every answer that was paid for, in `.alchemist/calls.sqlite`."""


# --- what it holds ----------------------------------------------------------------------------------------------------


@cache.command(short_help="What there is, whose it is, what it cost, what recipes here use.")
@_FOLDER
@_FORMAT
def stats(folder: Path, format_: str) -> None:
    """Show what the cache of FOLDER's project holds: answers by recipe, step and teacher, what was paid, what recipes
    here use.
    """
    project, path = _cache_of(folder)
    use = used_here(project)
    groups = _grouped(path, use)
    size = path.stat().st_size if path.exists() else 0
    if format_ == "json":
        _print_json({**_data(groups, use), "file": project.relative(path), "bytes": size})
        return
    for line in _stats_lines(project.relative(path), size, groups, use):
        click.echo(line)


@cache.command(short_help="Verify every answer against its checksum.")
@click.argument("path", type=click.Path(path_type=Path), default=".")
@_FORMAT
def verify(path: Path, format_: str) -> None:
    """Verify the checksum of every answer of PATH, a project's folder or a file of answers. Exits with 1 where one
    differs.
    """
    from alchemist_runtime.calls.cache import CallCache
    from alchemist_runtime.schema.codes import OK, SAID_NO

    file = _cache_of(path)[1] if path.is_dir() else path
    if not file.exists() and not path.is_dir():
        _usage(f"the file `{file}` does not exist")
    with _problems():
        found = CallCache(file, read_only=True)
        try:
            answers, damaged = found.verify()
        finally:
            found.close()
    if format_ == "json":
        _print_json({"file": str(file), "answers": answers, "damaged": [k.hex() for k in damaged]})
    elif damaged:
        click.echo(f"answers  {file}: {len(damaged):,} of {answers:,} answers are damaged")
        if path.is_dir():
            click.echo("help     `alchemist verify --repair` takes them out of use, so that the next run asks again")
    else:
        click.echo(f"checked  {file}: {_count(answers)}")
    sys.exit(SAID_NO if damaged else OK)


# --- files ------------------------------------------------------------------------------------------------------------


@cache.command(short_help="Write answers into a file for `run --replay` and `import`.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@click.option("--step", "steps", multiple=True, metavar="NAME", help="Only what this step of RECIPE uses.")
@click.option("--teacher", metavar="NAME", help="Only answers of this teacher.")
@recipe_options()
@_FORMAT
def export(
    file: Path, recipe: Path | None, steps: tuple[str, ...], teacher: str | None, format_: str, options: RecipeOptions
) -> None:
    """Write answers into FILE, which must not exist: all of the project, or those that RECIPE uses.

    FILE is for `alchemist run --replay FILE` and `alchemist cache import FILE`. It holds answers, by keys that nobody
    can turn back into questions, and who asked; no key of a server."""
    from alchemist_runtime.calls import cache_files
    from alchemist_runtime.schema.codes import NOT_CARRIED_OUT

    if recipe is None and (steps or options.of_recipe):
        raise click.UsageError("--step, --variant, --set and --params belong to a recipe; name it after FILE")
    if file.exists():
        raise click.UsageError(f"`{file}` already exists and is not overwritten")
    if not file.parent.is_dir():
        raise click.UsageError(f"the folder `{file.parent}` does not exist")
    project, path = _cache_of(Path.cwd() if recipe is None else recipe.parent)
    if not path.exists():
        _refuse(f"`{project.root}` has no call cache: no run has asked a teacher", code=NOT_CARRIED_OUT)
    keys = None
    if recipe is not None:
        keys = _keys_of(recipe, steps, teacher, options)
    with _problems():
        if recipe is None and teacher is not None:
            found = list(cache_files.entries(path))
            names = {e.origin.teacher for e in found if e.origin is not None}
            if teacher not in names:
                known = ", ".join(f"`{n}`" for n in sorted(names)) or "none, by the name of its teacher"
                _refuse(f"no answer of a teacher `{teacher}` is known; the cache holds answers of {known}")
            keys = {e.key for e in found if e.origin is not None and e.origin.teacher == teacher}
        done = cache_files.export(path, file, keys)
    lacks = 0 if keys is None or recipe is None else len(keys) - done.answers - done.damaged
    if format_ == "json":
        _print_json(
            {
                "file": str(file),
                "answers": done.answers,
                "bytes": done.size,
                "damaged": done.damaged,
                "unanswered": lacks,
            }
        )
        return
    click.echo(f"wrote    {file}: {_count(done.answers)}, {_bytes(done.size)}")
    if done.damaged:
        click.echo(f"note     {_count(done.damaged)} skipped: damaged")
    if lacks:
        click.echo(f"note     {lacks:,} questions of `{recipe}` have no answer yet")


@cache.command(name="import", short_help="Import the answers of a file.")
@click.argument("file", type=click.Path(path_type=Path))
@_FOLDER
@_FORMAT
def import_(file: Path, folder: Path, format_: str) -> None:
    """Import the answers of FILE into the cache of FOLDER's project. An existing answer is kept."""
    from alchemist_runtime.calls import cache_files

    from alchemist_dsl.project.folder import unopened

    if not file.is_file():
        _usage(unopened(file, FileNotFoundError(), "file of answers"))
    project, path = _cache_of(folder)
    if path.exists() and file.samefile(path):
        _usage(f"`{file}` is the cache of `{project.root}` itself")
    with _problems():
        done = cache_files.merge(path, file)
    if format_ == "json":
        _print_json({"new": done.new, "same": done.same, "kept": done.other, "left": done.left})
        return
    click.echo(f"new      {_count(done.new)}")
    if done.same:
        click.echo(f"same     {_count(done.same)} here already")
    if done.other:
        click.echo(f"kept     {_count(done.other)} here, where the file has another one to the same question")
    if done.left:
        click.echo(f"note     {_count(done.left)} of the file skipped: damaged, or incomplete")


# --- removing ---------------------------------------------------------------------------------------------------------


@cache.command(short_help="Remove what no recipe here needs, after showing it.")
@_FOLDER
@click.option("--yes", is_flag=True, help="Remove without confirmation.")
@_FORMAT
def gc(folder: Path, yes: bool, format_: str) -> None:
    """Remove answers that no recipe of FOLDER's project needs, with all variants. Shows them first, and asks.

    What was asked with other values of parameters, or by a plan file, counts as not needed. Where nobody can say what a
    step asks, since what it reads is not built, everything of its teacher stays."""
    from alchemist_runtime.calls import cache_files
    from alchemist_runtime.schema.codes import NOT_CARRIED_OUT, OK

    project, path = _cache_of(folder)
    use = used_here(project)
    if use.broken:
        _refuse(
            f"{quoted(use.broken)} cannot be read, so the answers that it needs are unknown; nothing was removed",
            "`alchemist check` says what is wrong",
        )
    groups = [g for g in _grouped(path, use) if g.unused]
    keys = {key for group in groups for key in group.unused}
    data = {
        "removed": 0,
        "answers": len(keys),
        "usd": _usd_text(groups, "unused_usd"),
        "origins": [g.data() for g in groups],
    }
    if format_ == "text":
        for line in _gc_lines(groups, use):
            click.echo(line)
    if keys and not yes and not _confirmed(len(keys)):
        if format_ == "json":
            _print_json(data)
        click.echo("error: nothing was removed: it was not confirmed\nhelp: pass `--yes`", err=True)
        sys.exit(NOT_CARRIED_OUT)
    freed = 0
    if keys:
        before = path.stat().st_size
        with _problems():
            if cache_files.in_use(path):
                _refuse(
                    "a run is using the cache; nothing was removed", "wait for the run, or end it", code=NOT_CARRIED_OUT
                )
            cache_files.remove(path, keys)
        freed = before - path.stat().st_size
    if format_ == "json":
        _print_json({**data, "removed": len(keys), "freed": freed})
    elif keys:
        click.echo(f"removed  {_count(len(keys))}, {_bytes(freed)} freed")
    sys.exit(OK)


def _confirmed(n: int) -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty() and click.confirm(f"Remove {_count(n)} for good?", err=True)


# --- what recipes need ------------------------------------------------------------------------------------------------


@dataclass
class Use:
    """Answers that the recipes of a project need. `unseen`: steps whose questions nobody knows, as RECIPE: STEP, and
    the identities of the teachers that they ask; None among them: any."""

    keys: set[bytes] = field(default_factory=set)
    unseen: list[str] = field(default_factory=list)
    teachers: set[str | None] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)

    def verdict(self, entry: Entry) -> str:
        """`used`, `unused`, or `unsure` where a step may need it whose questions nobody knows."""
        if entry.key in self.keys:
            return "used"
        if not self.teachers and not self.broken:
            return "unused"
        said = None if entry.origin is None else entry.origin.identity
        unsure = self.broken or said is None or said in self.teachers or None in self.teachers
        return "unsure" if unsure else "unused"


def used_here(project: Project) -> Use:
    """What the recipes of a project and their variants need, by what lies in the store."""
    from alchemist_dsl.project.pinning import recipes_of

    use, parts, wrong = Use(), set[str](), list[str]()
    for path in recipes_of(project):
        displayed = project.relative(path.resolve())
        first, *idle = _compiled(path)
        program = first.program
        parts |= set() if program is None else {f for f in program.files if f != displayed}
        plans = [first.plan, *(m.plan for m in idle)]
        for variant in program.variants if program is not None and first.plan is not None else ():
            plans += [m.plan for m in _compiled(path, variant=variant)]
        for plan in plans:
            if plan is None:
                wrong.append(displayed)
            else:
                _add(use, plan, project)
    use.broken = [displayed for displayed in dict.fromkeys(wrong) if displayed not in parts]
    return use


def _compiled(path: Path, **options: Any) -> Iterator[Compiled]:
    """A recipe, and once more with the steps of its own that ask a teacher and that nothing reads: `run --upto` builds
    them.
    """
    from alchemist_dsl.project.workspace import compile_recipe

    result = compile_recipe(path, here=False, **options)
    yield result
    if result.plan is not None and result.whole is not None:
        there = {n.id for n in result.plan.nodes}
        idle = [
            b.name
            for b in result.whole.blocks.values()
            if b.kind in _ASKING and "." not in b.name and b.name not in there
        ]
        if idle:
            yield compile_recipe(path, **{**options, "here": False, "upto": idle})


def _add(use: Use, plan: Plan, project: Project) -> None:
    from alchemist_runtime.calls.cache import identity
    from alchemist_runtime.engine.prompt_calls import needed

    keys, unseen = needed(plan, project.root, project.state)
    use.keys |= set().union(*keys.values())
    for name in unseen:
        teacher = plan.teachers[plan.node(name).spec.teacher]  # type: ignore[union-attr]
        use.unseen.append(f"{plan.recipe.get('path')}: {name}")
        replayed = teacher.provider == "replay"
        use.teachers.add(None if replayed else identity(teacher.identity_of))


def _keys_of(recipe: Path, steps: Collection[str], teacher: str | None, chosen: RecipeOptions) -> set[bytes]:
    """What the steps of a recipe need; leaves where that is not known."""
    from alchemist_runtime.engine.prompt_calls import needed
    from alchemist_runtime.schema.codes import NOT_CARRIED_OUT
    from alchemist_runtime.schema.plan import TeacherStepSpec

    from alchemist_dsl.cli.output import compiled_or_exit, exit_code

    options: dict[str, Any] = {"warnings": False, "here": False, **chosen.arguments()}
    result = compiled_or_exit(recipe, **options)
    asking = set() if result.whole is None else {b.name for b in result.whole.blocks.values() if b.kind in _ASKING}
    if asking.issuperset(steps) and steps:  # also one that nothing reads
        result = compiled_or_exit(recipe, **{**options, "upto": steps})
    if result.plan is None:
        sys.exit(exit_code(result))
    specs = {n.id: spec for n, spec in result.plan.of(TeacherStepSpec)}
    for step in steps:
        if step not in specs:
            _usage(
                f"`{recipe}` has no step `{step}` that asks a teacher; {quoted(specs)}"
                f" {'do' if len(specs) != 1 else 'does'}"
            )
    teachers = {s.teacher for s in specs.values()}
    if teacher is not None and teacher not in teachers:
        _usage(f"no step of `{recipe}` asks a teacher `{teacher}`; they ask {quoted(teachers)}")
    wanted = {n for n, s in specs.items() if (not steps or n in steps) and teacher in (None, s.teacher)}
    keys, unseen = needed(result.plan, result.project.root, result.project.state)
    if lost := [n for n in unseen if n in wanted]:
        _refuse(
            f"what {quoted(lost)} asks is not known: what it reads is not built",
            "`alchemist run` builds it; without a recipe everything is exported",
            code=NOT_CARRIED_OUT,
        )
    return set().union(*(k for n, k in keys.items() if n in wanted))


# --- figures ----------------------------------------------------------------------------------------------------------


@dataclass
class Group:
    """Answers of one origin. Money is exact; None where a price is not known."""

    origin: Origin | None
    answers: int = 0
    size: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    unused_usd: Fraction = Fraction(0)
    ended: Counter[str] = field(default_factory=Counter)
    use: Counter[str] = field(default_factory=Counter)
    unused: list[bytes] = field(default_factory=list)

    def add(self, entry: Entry, verdict: str) -> None:
        self.answers += 1
        self.size += entry.size
        self.ended[entry.ended] += 1
        self.use[verdict] += 1
        if entry.ended != "damaged":
            self.tokens_in += entry.tokens_in
            self.tokens_out += entry.tokens_out
        if verdict == "unused":
            self.unused.append(entry.key)
            if entry.ended != "damaged":
                self.unused_usd += self._cost(entry.tokens_in, entry.tokens_out)

    @property
    def priced(self) -> bool:
        return self.origin is not None and self.origin.usd_in != ""

    def _cost(self, tokens_in: int, tokens_out: int) -> Fraction:
        if self.origin is None or not self.priced:
            return Fraction(0)
        return tokens_in * Fraction(self.origin.usd_in) + tokens_out * Fraction(self.origin.usd_out)

    @property
    def usd(self) -> Fraction:
        return self._cost(self.tokens_in, self.tokens_out)

    @property
    def teacher(self) -> dict[str, Any]:
        """The identity of its teacher."""
        import json

        found = {} if self.origin is None else json.loads(self.origin.identity)
        return {str(n).removeprefix("teacher."): v for n, v in found.items()}

    @property
    def model(self) -> str:
        teacher = self.teacher
        model = teacher.get("model") or teacher.get("identity") or teacher.get("provider") or "unknown"
        return model if isinstance(model, str) else "a model trained here"

    def data(self) -> dict[str, Any]:
        names = ("recipe", "step", "teacher")
        return {
            **{n: None if self.origin is None else getattr(self.origin, n) for n in names},
            **{n: self.teacher.get(n) for n in ("provider", "model")},
            "answers": self.answers,
            "bytes": self.size,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "usd": _decimal(self.usd) if self.priced else None,
            "ended": dict(self.ended),
            **{n: self.use[n] for n in ("used", "unused", "unsure")},
        }


def _grouped(path: Path, use: Use) -> list[Group]:
    from alchemist_runtime.calls import cache_files

    groups: dict[Origin | None, Group] = {}
    if not path.exists():
        return []
    with _problems():
        for entry in cache_files.entries(path):
            group = groups.setdefault(entry.origin, Group(entry.origin))
            group.add(entry, use.verdict(entry))
    return sorted(groups.values(), key=lambda g: (g.origin is None, -g.answers))


def _data(groups: list[Group], use: Use) -> dict[str, Any]:
    ended = sum((g.ended for g in groups), Counter[str]())
    return {
        "answers": sum(g.answers for g in groups),
        "ended": dict(ended),
        **{n: sum(g.use[n] for g in groups) for n in ("used", "unused", "unsure")},
        "usd": _usd_text(groups, "usd"),
        "origins": [g.data() for g in groups],
        "unknown_steps": use.unseen,
        "unreadable_recipes": use.broken,
    }


def _usd_text(groups: Iterable[Group], name: str) -> str:
    """Dollars of what has a price, exact."""
    return _decimal(sum((getattr(g, name) for g in groups), Fraction(0)))


def _decimal(value: Fraction) -> str:
    from alchemist_runtime.schema.attributes import decimal

    return decimal(value)


# --- what is printed --------------------------------------------------------------------------------------------------


def _stats_lines(name: str, size: int, groups: list[Group], use: Use) -> Iterator[str]:
    answers = sum(g.answers for g in groups)
    yield f"{name}: {_count(answers)}, {_bytes(size)}"
    if not answers:
        return
    yield ""
    yield from _table(groups, lambda g: g.answers, lambda g: g.usd, use)
    yield ""
    ended = sum((g.ended for g in groups), Counter[str]())
    yield "ended    " + ", ".join(f"{n:,} {_ENDED[what]}" for what, n in ended.most_common())
    counts = {n: sum(g.use[n] for g in groups) for n in ("used", "unused", "unsure")}
    yield f"used     {counts['used']:,} by the recipes here, {counts['unused']:,} by none" + (
        f", {counts['unsure']:,} perhaps" if counts["unsure"] else ""
    )
    yield from _doubts(use)
    if ended["damaged"]:
        yield "help     `alchemist verify --repair` takes damaged answers out of use; the next run asks again"


#: How an answer ended, in words.
_ENDED = {
    "whole": "whole",
    "cut": "cut at a limit",
    "filtered": "stopped by a filter",
    "broken": "broken off",
    "unread": "in which no answer was found",
    "damaged": "damaged",
}


def _gc_lines(groups: list[Group], use: Use) -> Iterator[str]:
    if groups:
        yield "no recipe here needs these:"
        yield ""
        yield from _table(groups, lambda g: len(g.unused), lambda g: g.unused_usd, use)
    else:
        yield "nothing to remove: every answer is needed, or may be"
    yield from _doubts(use)


def _table(
    groups: list[Group], answers: Callable[[Group], int], usd: Callable[[Group], Fraction], use: Use
) -> list[str]:
    from alchemist_dsl.cli.compile import terminal_width
    from alchemist_dsl.document.text import format_table
    from alchemist_dsl.estimate.checks import money

    rows = []
    for g in groups:
        who = ("unknown", "", "") if g.origin is None else (g.origin.recipe, g.origin.step, g.origin.teacher)
        paid = "?" if not g.priced else f"${money(usd(g))}" if usd(g) else "$0"
        rows.append((*who, g.model if g.origin else "", f"{answers(g):,}", paid, f"{g.use['used']:,}"))
    head = ("asked by", "step", "teacher", "model", "answers", "paid", "used")
    return format_table(head, rows, terminal_width(), right={4, 5, 6})


def _doubts(use: Use) -> Iterator[str]:
    if use.unseen:
        yield f"note     what {quoted(use.unseen)} would ask is not known: what it reads is not built"
    if use.broken:
        yield f"note     {quoted(use.broken)} cannot be read, and may use any of them"


def quoted(names: Iterable[str]) -> str:
    listed = [f"`{n}`" for n in names]
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")


def _count(n: int) -> str:
    return f"{n:,} answer{'s' if n != 1 else ''}"


def _bytes(n: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if abs(n) < 1000 or unit == "MB":
            return f"{n:,} {unit}" if unit == "bytes" else f"{n:,.1f} {unit}"
        n = n / 1000  # type: ignore[assignment]
    raise AssertionError


def _print_json(data: dict[str, Any]) -> None:
    import json

    click.echo(json.dumps(data, indent=2))


# --- the project and its problems -------------------------------------------------------------------------------------


def _cache_of(folder: Path) -> tuple[Project, Path]:
    """A project with the place of its cache."""
    from alchemist_dsl.project.workspace import project_of

    if not folder.is_dir():
        _usage(f"the folder `{folder}` does not exist")
    project = project_of(folder / "x")
    return project, project.state / "calls.sqlite"


def _usage(text: str) -> NoReturn:
    click.echo(f"error: {text}", err=True)
    sys.exit(2)


def _refuse(headline: str, help_: str | None = None, *, code: int = 1) -> NoReturn:
    click.echo(f"error: {headline}" + (f"\nhelp: {help_}" if help_ else ""), err=True)
    sys.exit(code)


class _problems:
    """Print the problem of a file that cannot be read or written, and exit."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from alchemist_runtime.schema.codes import RunError

        from alchemist_dsl.cli.output import format_problem

        if isinstance(error, RunError):
            click.echo(format_problem(error.problem), err=True)
            sys.exit(error.exit_code)


# --- batches ---------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@click.option("--cancel", metavar="BATCH", multiple=True, help="Cancel this batch; `all` for each of RECIPE.")
@_FORMAT
@recipe_options()
def batches(recipe: Path | None, cancel: tuple[str, ...], format_: str, options: RecipeOptions) -> None:
    """List the batches that RECIPE has in flight, with their status at the server; cancel them with --cancel.

    What a batch had answered before it was cancelled is billed, and the next run uses it. RECIPE may be left out where
    the folder holds only one."""
    from alchemist_dsl.cli.output import compiled_or_exit, exit_code, only_recipe

    found = recipe or only_recipe(Path())
    if found is None:
        raise click.UsageError("this folder does not hold exactly one recipe; name it: `alchemist batches RECIPE`")
    result = compiled_or_exit(found, warnings=False, **options.arguments())
    if result.plan is None:
        sys.exit(exit_code(result))
    displayed = _in_flight(result, cancel)
    if format_ == "json":
        _print_json({"batches": [_batches_data(b) for b in displayed]})
    else:
        for line in _lines(str(found), displayed):
            click.echo(line)
    if any(b.record.batch in cancel or "all" in cancel for b in displayed if not b.known):
        sys.exit(3)


def _in_flight(result: Compiled, cancel: Collection[str]) -> list[InFlight]:
    from alchemist_runtime.calls import batch_api
    from alchemist_runtime.schema.plan import TeacherStepSpec

    assert result.plan is not None
    teachers = {
        n.id: teacher
        for n, spec in result.plan.of(TeacherStepSpec)
        if (teacher := result.plan.teachers[spec.teacher]).provider == "openai"
    }
    folder = result.project.state / "batches"
    records = batch_api.Folder(folder).records()
    known = {r.batch for r in records if r.batch and r.node in teachers}
    if unknown := sorted(set(cancel) - known - {"all"}):
        raise click.UsageError(
            f"no step of this recipe has a batch `{unknown[0]}` in flight; `alchemist batches` lists them"
        )
    chosen = known if "all" in cancel else set(cancel)
    return asyncio.run(batch_api.in_flight(folder, teachers, chosen))


def _lines(recipe: str, shown: Sequence[InFlight]) -> Iterator[str]:
    from alchemist_dsl.cli.compile import terminal_width
    from alchemist_dsl.document.text import format_table

    if not shown:
        yield "no batch is in flight"
        return
    rows = [
        (b.record.batch or "-", b.record.node, f"{len(b.record.keys):,}", _age(b.record.made), b.status) for b in shown
    ]
    yield from format_table(("batch", "step", "calls", "submitted", "status"), rows, terminal_width(), right={2})
    yield ""
    if any(b.ended for b in shown):
        yield f"`alchemist run {recipe}` reads the answers of those that have ended"
    if any(b.known and not b.ended for b in shown):
        yield (
            f"`alchemist batches {recipe} --cancel BATCH` cancels one; what it has answered by then is billed, and the"
            " next run uses it"
        )


def _age(result: float) -> str:
    """How long ago, in the largest whole unit."""
    seconds = max(0.0, time.time() - result)
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if n := int(seconds // size):
            return f"{n} {unit}{'s' if n != 1 else ''} ago"
    return "just now"


def _batches_data(b: InFlight) -> dict[str, Any]:
    r = b.record
    return {
        "batch": r.batch,
        "step": r.node,
        "server": r.url,
        "calls": len(r.keys),
        "submitted": r.made,
        "status": b.status,
        "known": b.known,
        "ended": b.ended,
    }
