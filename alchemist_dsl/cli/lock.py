"""`alchemist lock`: what `recipe.lock` should know, what it knows otherwise, and what nothing needs any more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from alchemist_dsl.cli.options import format_option
from alchemist_dsl.cli.output import show
from alchemist_dsl.document.text import plural

if TYPE_CHECKING:
    from alchemist_dsl.project.lockfile import Change, Conflict, Lock
    from alchemist_dsl.project.pinning import Resource, Survey
    from alchemist_dsl.project.workspace import Project


#: New facts that are listed for people.
SHOWN: Final = 20
#: Of what a silent hub was not asked for.
NAMED: Final = 5


@click.command()
@click.argument("recipes", metavar="[RECIPE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--update",
    "updates",
    multiple=True,
    metavar="NAME",
    help="Resolve this again: a source, suite, teacher, training, file, package, model, or dataset of the hub.",
)
@click.option("--update-all", is_flag=True, help="Resolve everything again.")
@click.option("--check", is_flag=True, help="Write nothing; say what has changed since.")
@click.option("--prune", is_flag=True, help="Take out what no recipe of the project uses.")
@format_option()
def lock(
    recipes: tuple[Path, ...], updates: tuple[str, ...], update_all: bool, check: bool, prune: bool, format_: str
) -> None:
    """Write into recipe.lock what it does not know yet of RECIPE; without one, of every recipe of the project.

    A fact that is known never changes but by --update NAME or --update-all. --check asks the hub again and hashes every
    file again, writes nothing, and exits with 1 where something differs, with 3 where something could not be asked."""
    from alchemist_dsl.project.pinning import ask, survey
    from alchemist_dsl.project.workspace import read_lock

    request = Request(updates, update_all, check, prune)
    _check_options(request, recipes)
    project, paths = _recipes(recipes)
    known, unreadable = read_lock(project)
    if unreadable:
        show(unreadable, {})
        sys.exit(1)
    found = survey(project, known, paths, again=check or update_all or bool(updates))
    show(found.problems, found.sources)
    targets = _targets(found, updates)
    ask(found, lambda resource: check or update_all or resource in targets)
    whole = not recipes and not found.broken
    if prune and not whole:
        click.echo("error: --prune needs every recipe of the project to be readable; nothing was removed", err=True)
        sys.exit(1)
    done = _outcome(found, request, targets, whole)
    if done.written:
        _write(project, done.written, found)
    if format_ == "json":
        click.echo(json.dumps(data(found, done), indent=2, sort_keys=True, ensure_ascii=False))
    else:
        for line in lines(found, done, request):
            click.echo(line)
    sys.exit(_exit_code(found, done, request))


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for."""

    updates: tuple[str, ...]
    update_all: bool
    check: bool
    prune: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """Changes that are written, changes that are only told, and facts that nothing uses."""

    written: tuple[Change, ...]
    left: tuple[Change, ...]
    unused: tuple[Change, ...]


def _check_options(request: Request, recipes: Sequence[Path]) -> None:
    """Refuse options that contradict each other."""
    writes = [("--update", request.updates), ("--update-all", request.update_all), ("--prune", request.prune)]
    for option, provided in writes:
        if request.check and provided:
            raise click.UsageError(f"--check writes nothing, {option} does; give one of them")
    if request.prune and recipes:
        raise click.UsageError("--prune looks at every recipe of the project; leave the names of recipes out")


def _recipes(recipes: Sequence[Path]) -> tuple[Project, list[Path]]:
    from alchemist_dsl.project.folder import unopened
    from alchemist_dsl.project.pinning import recipes_of
    from alchemist_dsl.project.workspace import project_of

    for path in recipes:
        if not path.is_file():
            error = IsADirectoryError(21, "it is a folder") if path.is_dir() else FileNotFoundError()
            raise click.UsageError(unopened(path, error))
    project = project_of(recipes[0] if recipes else Path.cwd() / "-")
    for path in recipes:
        other = project_of(path)
        if other.root != project.root:
            raise click.UsageError(f"`{recipes[0]}` and `{path}` belong to two projects, each with a lock of its own")
    found = list(recipes) or recipes_of(project)
    if not found:
        raise click.UsageError(f"there is no recipe in `{project.root}`")
    return project, found


def _targets(found: Survey, updates: Sequence[str]) -> set[Resource]:
    """What the names of `--update` mean; a usage error with near names where one means nothing."""
    from alchemist_dsl.diagnostics.model import near

    out: set[Resource] = set()
    for name in updates:
        meant = found.named(name)
        if not meant:
            close = near(name, sorted(found.names()), 3)
            hint = (
                f"; did you mean {' or '.join(f'`{c}`' for c in close)}?"
                if close
                else ": name a source, suite, teacher, training, file, package, model or dataset"
            )
            raise click.UsageError(f"no recipe here rests on `{name}`{hint}")
        out |= meant
    return out


def _outcome(found: Survey, request: Request, targets: set[Resource], whole: bool) -> Outcome:
    changes, unused = found.changes, found.unused() if whole else ()
    if request.check:
        return Outcome((), changes, unused)
    taken = tuple(c for c in changes if c.kind != "changed" or request.update_all or (c.section, c.resource) in targets)
    gone = unused if request.prune else ()
    left = tuple(c for c in changes if c not in taken)
    return Outcome((*taken, *gone), left, () if request.prune else unused)


def _write(project: Project, changes: Sequence[Change], found: Survey) -> None:
    from alchemist_dsl.project.lockfile import applied
    from alchemist_dsl.project.workspace import change_lock

    try:
        change_lock(project, found.lock, lambda known: applied(known, changes))
    except OSError as error:
        click.echo(f"error: recipe.lock cannot be written: {error.strerror}", err=True)
        sys.exit(3)


def _exit_code(found: Survey, done: Outcome, request: Request) -> int:
    from alchemist_runtime.schema.codes import NOT_CARRIED_OUT, OK, SAID_NO

    if found.broken or (request.check and done.left):
        return SAID_NO
    refused = any(u.problem.code == "A310" for u in found.unasked)  # there is no such revision
    if refused:
        return SAID_NO
    if found.unasked or (request.check and found.absent):
        return NOT_CARRIED_OUT
    return OK


# --- what is printed --------------------------------------------------------------------------------------------------


def data(found: Survey, done: Outcome) -> dict[str, Any]:
    """The same as JSON."""
    from alchemist_dsl.project.pinning import licences

    return {
        "recipes": found.recipes,
        "broken": found.broken,
        "written": [_data(c) for c in done.written],
        "differs": [_data(c) for c in done.left],
        "unused": [_data(c) for c in done.unused],
        "unasked": (
            [
                {"section": u.section, "resource": u.resource, "code": u.problem.code, "why": u.problem.headline}
                for u in found.unasked
            ]
            + [
                {"section": "files", "resource": path, "code": None, "why": "not on this machine"}
                for path in sorted(found.absent)
            ]
        ),
        "licences": [
            {"source": s, "declared": own, "dataset": name, "card": stated} for s, own, name, stated in licences(found)
        ],
    }


def _data(change: Change) -> dict[str, Any]:
    from alchemist_dsl.project.lockfile import sentence

    return {
        "section": change.section,
        "resource": change.resource,
        "kind": change.kind,
        "before": None if change.before is None else dict(change.before),
        "after": None if change.after is None else dict(change.after),
        "words": sentence(change),
    }


_MARKS = {"new": "+", "more": "+", "changed": "~", "unused": "-"}


def lines(found: Survey, done: Outcome, request: Request) -> Iterator[str]:
    """The answer for people."""
    yield from _written_lines(found, done, request)
    if done.left:
        yield _kept_headline(done.left, request)
        yield from _change_lines(done.left)
    if done.unused:
        yield (
            f"{plural(len(done.unused), 'fact')} that no recipe here uses; `alchemist lock --prune` takes"
            f" {'it' if len(done.unused) == 1 else 'them'} out"
        )
        yield from _change_lines(done.unused)
    yield from _notes(found, request)


def _written_lines(found: Survey, done: Outcome, request: Request) -> Iterator[str]:
    total = sum(len(facts) for facts in found.lock.sections.values())
    if done.written:
        yield f"recipe.lock: {plural(len(done.written), 'fact')} written"
        yield from _change_lines(done.written)
        if any(_moves(c) for c in done.written):
            yield "what a run would make again because of it: `alchemist why --rerun`"
    elif request.check and not done.left:
        rest = " as far as it could be asked" if found.unasked or found.absent else ""
        yield f"recipe.lock is up to date{rest}: {total:,} facts, {plural(len(found.recipes), 'recipe')}"
    elif request.updates:
        yield "recipe.lock: nothing to write; what was requested is up to date"
    elif not request.check:
        yield f"recipe.lock: nothing to write; {total:,} facts, {plural(len(found.recipes), 'recipe')}"


def _moves(change: Change) -> bool:
    """Whether the keys of steps move with a fact."""
    from alchemist_dsl.project.lockfile import PINS

    before, after = change.before or {}, change.after or {}
    return change.kind != "unused" and any(before.get(p) != after.get(p) for p in PINS)


def _kept_headline(left: Sequence[Change], request: Request) -> str:
    if request.check:
        return f"{plural(len(left), 'fact')} that differ from recipe.lock"
    them = "it" if len(left) == 1 else "them"
    way = f"`--update NAME` or `--update-all` takes {them} over"
    return f"{plural(len(left), 'fact')} changed; recipe.lock keeps {them} as recorded; {way}"


def _change_lines(changes: Sequence[Change]) -> Iterator[str]:
    """Changes a line each; all that change what was known, and of the others the first."""
    plain = [c for c in changes if c.kind in ("new", "unused")]
    yield from (_line(c) for c in changes if c not in plain)
    yield from map(_line, plain[:SHOWN])
    if len(plain) > SHOWN:
        yield f"  … and {len(plain) - SHOWN:,} more (`--format json` has them all)"


def _line(change: Change) -> str:
    from alchemist_dsl.project.lockfile import brief, sentence

    words = brief(change) if change.kind in ("new", "unused") else sentence(change)
    return f"  {_MARKS[change.kind]} {words}"


def _notes(found: Survey, request: Request) -> Iterator[str]:
    from alchemist_dsl.project.lockfile import subject
    from alchemist_dsl.project.pinning import licences

    for source, own, name, stated in licences(found):
        yield (
            f"note: source `{source.rpartition('#')[2]}` of {source.rpartition('#')[0]} declares {own}, the card of"
            f" `{name}` states {stated}"
        )
    unreached = [u for u in found.unasked if u.problem.code == "A309"]
    for u in [*(u for u in found.unasked if u not in unreached), *unreached[:1]]:
        yield f"not asked: {subject(u.section, u.resource)}: {u.problem.headline}"
        others = [subject(o.section, o.resource) for o in unreached if o is not u]
        if u in unreached and others:
            rest = f" and {len(others) - NAMED:,} more" if len(others) > NAMED else ""
            yield f"  nor {', '.join(others[:NAMED])}{rest}"
        if u.problem.help:
            yield f"  help: {u.problem.help}"
    for path in sorted(found.absent) if request.check else ():
        yield f"not asked: file `{path}` is not on this machine"
    for name in found.broken:
        yield f"skipped: {name} has errors"


# --- merge lock ------------------------------------------------------------------------------------------------------

_path = click.Path(path_type=Path)


@click.command("merge-lock")
@click.argument("base", type=_path)
@click.argument("ours", type=_path)
@click.argument("theirs", type=_path)
@click.argument("name", metavar="[PATH]", default="recipe.lock")
def merge_lock(base: Path, ours: Path, theirs: Path, name: str) -> None:
    """Merge THEIRS into OURS, where both come from BASE: three versions of `recipe.lock`. PATH is its name in messages.

    Git calls it once it is set up, by `alchemist new --git` or by hand:
    `git config merge.recipe-lock.driver "alchemist merge-lock %O %A %B %P"`.
    A fact that both sides changed differently stands between markers, and the exit code is 1.
    """
    from alchemist_dsl.project.lockfile import LockError, dumps, merge

    try:
        sides = [_lock(path, side) for path, side in ((base, "base"), (ours, "ours"), (theirs, "theirs"))]
    except LockError as problem:
        _line_by_line(base, ours, theirs, name, str(problem))
    merged, conflicts = merge(*sides)
    _merge_lock_write(ours, dumps(merged, conflicts))
    if conflicts:
        click.echo(_conflict_message(name, conflicts), err=True)
        sys.exit(1)


def _lock(path: Path, side: str) -> Lock:
    from alchemist_dsl.project.lockfile import LockError, loads

    try:
        return loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise click.UsageError(f"there is no file `{path}`") from None
    except OSError as error:
        raise click.UsageError(f"`{path}` cannot be opened: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LockError(f"the version of {side} is not UTF-8") from None
    except LockError as error:
        raise LockError(f"the version of {side} cannot be read: {error}") from None


def _line_by_line(base: Path, ours: Path, theirs: Path, name: str, why: str) -> NoReturn:
    """What cannot be read as facts: git's own merge, so that nothing is lost and markers stand where it is open."""
    labels = ("-L", "ours", "-L", "base", "-L", "theirs")
    command = ["git", "merge-file", "--quiet", *labels, str(ours), str(base), str(theirs)]
    click.echo(f"{name}: {why}; merged line by line instead", err=True)
    try:
        code = subprocess.run(command).returncode
    except OSError as error:
        click.echo(f"error: git cannot be started: {error.strerror}", err=True)
        sys.exit(3)
    sys.exit(0 if code == 0 else 1 if code < 128 else 3)


def _merge_lock_write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8", newline="\n")
    except OSError as error:
        click.echo(f"error: `{path}` cannot be written: {error.strerror}", err=True)
        sys.exit(3)


def _conflict_message(name: str, conflicts: tuple[Conflict, ...]) -> str:
    lines = [f"{name}: both sides changed {plural(len(conflicts), 'fact')} differently:"]
    lines += [f"  {f'[{c.section}] ' if c.section else ''}{c.resource}" for c in conflicts]
    lines.append(
        "keep one line of each pair and take the markers away; `alchemist compile --locked` says whether it holds here"
    )
    return "\n".join(lines)
