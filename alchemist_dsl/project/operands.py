"""What a person names on the command line -> the sides of a comparison: files, plans, git revisions, folders."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alchemist_dsl.comparison.side import Side
from alchemist_dsl.project.folder import is_plan, unopened

if TYPE_CHECKING:
    from alchemist_runtime.schema.plan import Plan

    from alchemist_dsl.comparison.model import Diff, RecipeDiff
    from alchemist_dsl.project.revisions import Revision
    from alchemist_dsl.project.workspace import Compiled, Project


class BadOperand(ValueError):
    """What was named is no side of a comparison; the message says why and what to write."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for both sides."""

    sets: tuple[str, ...] = ()
    params: Path | None = None
    variant: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Pairs of sides with what both are called; None: there is no such recipe on that side."""

    before: str
    after: str
    pairs: Sequence[tuple[Side | None, Side | None]]
    same: int = 0  # recipes that were looked at and cannot differ
    project: Project | None = None


def comparison(operands: Sequence[str], settings: Settings) -> Comparison:
    """Read the operands: none, `A`, `A B` or `A..B`. BadOperand where they make no comparison."""
    if len(operands) == 1 and ".." in operands[0] and not Path(operands[0]).exists():
        operands = operands[0].split("..", 1)
    match list(operands):
        case []:
            return _since("HEAD", None, Path(), settings)
        case [one]:
            return _one(one, settings)
        case [one, two]:
            return _two(one, two, settings)
        case _:
            raise BadOperand("name two sides at most")


def _one(named: str, settings: Settings) -> Comparison:
    path = Path(named)
    if path.is_dir():
        return _since("HEAD", None, path, settings)
    if path.suffix == ".json" and path.exists():
        raise BadOperand(f"`{named}` is a plan: name the plan or recipe to compare it with")
    if path.exists() and settings.variant is not None:
        plain = of_file(path, replace(settings, variant=None))
        changed = of_file(path, settings, called=f"{named} ({settings.variant})")
        return Comparison(named, changed.called, [(plain, changed)])
    if path.exists():
        revision, inside = _at("HEAD", path)
        pair = _present(_of_revision(revision, inside, settings), named), of_file(path, settings)
        return Comparison(f"HEAD:{inside}", named, [pair])
    split = _split(named)
    if split is not None:
        revision, inside = split
        file = revision.root / inside
        before = _present(_of_revision(revision, inside, settings), named)
        after = of_file(file, settings) if file.exists() else None
        return Comparison(named, os.path.relpath(file), [(before, after)])
    return _since(named, None, Path(), settings)


def _two(one: str, two: str, settings: Settings) -> Comparison:
    if Path(one).is_dir() and Path(two).is_dir():
        return _folders(Path(one), Path(two), settings)
    sides = [_side(named, settings) for named in (one, two)]
    if all(s is not None for s in sides):
        return Comparison(one, two, [(sides[0], sides[1])])
    if sides[0] is None and sides[1] is None:
        return _since(one, two, Path(), settings)
    revision, file = (one, two) if sides[0] is None else (two, one)
    if Path(file).is_dir() or not Path(file).exists():
        raise BadOperand(f"`{one}` and `{two}` are no two sides of a comparison")
    return _revision_and_file(revision, Path(file), settings, swapped=sides[0] is not None)


def _revision_and_file(name: str, file: Path, settings: Settings, *, swapped: bool) -> Comparison:
    """`diff main x.recipe`: the file as it was at the revision."""
    revision, inside = _at(name, file)
    old = _present(_of_revision(revision, inside, settings), f"{name}:{inside}")
    new = of_file(file, settings)
    pair = (new, old) if swapped else (old, new)
    return Comparison(pair[0].called, pair[1].called, [pair])


def _present(side: Side | None, named: str) -> Side:
    if side is None:
        revision, _, path = named.partition(":")
        where = f"`{path}` at `{revision}`" if path else f"`{named}` at HEAD"
        raise BadOperand(f"there is no {where}; a recipe that is new is shown by `alchemist diff REV`")
    return side


def _side(named: str, settings: Settings) -> Side | None:
    """A file, a plan or `REV:path`; None for what may be a revision."""
    path = Path(named)
    if path.is_file() or named == "-":
        return of_file(path, settings, called=named)
    split = _split(named)
    if split is None:
        if path.suffix in (".recipe", ".json"):
            raise BadOperand(unopened(path, FileNotFoundError()))
        return None
    return _present(_of_revision(*split, settings), named)


def _split(named: str) -> tuple[Revision, str] | None:
    """`REV:path`, the path from the top of the repository or from here; None where it is not of that form."""
    from alchemist_dsl.project.revisions import NoRevision, commit_of, revision_of, toplevel

    name, colon, path = named.partition(":")
    if not colon or not name or not path:
        return None
    try:
        top = toplevel(Path())
    except NoRevision as e:
        raise BadOperand(str(e)) from e
    if commit_of(top, name) is None:
        raise BadOperand(f"there is no git revision `{name}`")
    for file in dict.fromkeys((top / path, Path.cwd() / path)):
        project = _project(file)
        revision = revision_of(project, name)
        inside = project.relative(file)
        if inside in revision.blobs:
            return revision, inside
    raise BadOperand(f"`{name}` has no file `{path}`{_near(revision.blobs, path)}")


def _near(known: Any, path: str) -> str:
    from difflib import get_close_matches

    found = get_close_matches(path, [p for p in known if p.endswith(".recipe")], 1)
    return f"; did you mean `{found[0]}`?" if found else ""


def _project(file: Path) -> Project:
    """The project of a recipe that may not be there any more."""
    from alchemist_dsl.project.workspace import project_of

    folder = file.parent
    while not folder.exists():
        folder = folder.parent
    return project_of(folder / file.name)


def _at(name: str, file: Path) -> tuple[Revision, str]:
    from alchemist_dsl.project.revisions import NoRevision, revision_of
    from alchemist_dsl.project.workspace import project_of

    project = project_of(file)
    try:
        revision = revision_of(project, name)
    except NoRevision as e:
        raise BadOperand(f"{e}; name two files, or a revision") from e
    return revision, project.relative(file.resolve())


# --- sides ------------------------------------------------------------------------------------------------------------


def of_file(path: Path, settings: Settings, called: str | None = None) -> Side:
    """A recipe or a plan as it lies here."""
    from alchemist_dsl.project.folder import ParamsError
    from alchemist_dsl.project.workspace import compile_recipe, project_of

    name = called or str(path)
    if is_plan(path):
        from alchemist_runtime.schema.plan import NotAPlan, load

        try:
            plan = load(path.read_bytes(), str(path))
        except OSError as e:
            raise BadOperand(unopened(path, e, "plan")) from e
        except NotAPlan as e:
            raise BadOperand(f"`{path}` is no plan: {e}") from e
        return Side(name, str(plan.recipe.get("path") or path), plan, root=project_of(path).root)
    project = project_of(path)
    here = (project.state / "store").is_dir()
    try:
        made = compile_recipe(
            path, sets=settings.sets, params_file=settings.params, variant=settings.variant, here=here
        )
    except ParamsError as e:
        raise BadOperand(str(e)) from e
    except OSError as e:
        raise BadOperand(unopened(path, e)) from e
    return _from_compiled(made, name, path)


def _from_compiled(made: Compiled, name: str, path: Path) -> Side:
    inside = made.project.relative(path.resolve()) if str(path) != "-" else "-"
    file = made.sources.get(inside)
    return Side(
        called=name,
        path=inside,
        plan=made.plan,
        text=None if file is None else file.text,
        program=made.whole,
        ingredients=made.ingredients,
        diagnostics=made.diagnostics,
        sources=made.sources,
        ahead=None if made.plan is None or made.plan.now is None else {},
        measured=None if made.resources is None else made.resources.measured,
        places=made.places,
        root=made.project.root,
    )


def _of_revision(revision: Revision, path: str, settings: Settings) -> Side | None:
    """A recipe of a revision; None where it has none there."""
    from alchemist_runtime.schema import catalog

    from alchemist_dsl.compiler import compile_text
    from alchemist_dsl.passes import Options
    from alchemist_dsl.project.folder import ParamsError, library, outside_values
    from alchemist_dsl.project.revisions import Recorded, lock_of
    from alchemist_dsl.project.workspace import Project, read_lock
    from alchemist_dsl.syntax.decode import decode

    data = revision.read(path)
    called = f"{revision.name}:{path}"
    if data is None:
        return None
    if path.endswith(".json"):
        return replace(_plan_of_revision(data, called, path), root=revision.root)
    file, problems = decode(path, data)
    if file is None:
        return Side(called, path, None, diagnostics=problems)
    lock, wrong = lock_of(revision)
    if wrong is not None:
        raise BadOperand(wrong)
    project = Project(revision.root)
    current, _ = read_lock(project)
    lock = _with_measured(lock, current)
    cache, packages = _looked_up(project.state)
    facts = Recorded(project.root, lock, cache, std=library(), packages_known=packages, revision=revision)
    try:
        outside = outside_values(settings.sets, settings.params)
    except ParamsError as e:
        raise BadOperand(str(e)) from e
    made = compile_text(
        file,
        revision.read,
        listing=revision.listing,
        find=catalog.find,
        facts=facts,
        outside=outside,
        options=Options(variant=settings.variant),
    )
    cache.save()
    return Side(
        called,
        path,
        made.plan,
        file.text,
        made.whole,
        made.ingredients,
        (*problems, *made.diagnostics),
        made.sources,
        root=revision.root,
        measured=facts.measured,
        places=made.places,
        assumed=tuple(sorted(facts.assumed)),
    )


@lru_cache
def _looked_up(state: Path) -> tuple[Any, dict[str, str | None]]:
    """What is found out of files and packages here, once for all sides."""
    from alchemist_dsl.project.facts_on_disk import FileCache

    return FileCache(state / "files"), {}


def _with_measured(lock: Any, current: Any) -> Any:
    """The lock of a revision with the figures of today's lock for keys that it has none of: a key says what was
    measured.
    """
    from alchemist_dsl.project.lockfile import MEASURED

    known = lock.sections.get(MEASURED, {})
    more = {k: f for k, f in current.sections.get(MEASURED, {}).items() if k not in known}
    return lock.with_facts(MEASURED, more) if more else lock


def _plan_of_revision(data: bytes, called: str, path: str) -> Side:
    from alchemist_runtime.schema.errors import RunError
    from alchemist_runtime.schema.plan import NotAPlan, load

    try:
        plan = load(data, called)
    except NotAPlan as e:
        raise BadOperand(f"`{called}` is no plan: {e}") from e
    except RunError as e:
        raise BadOperand(e.problem.headline) from e
    return Side(called, str(plan.recipe.get("path") or path), plan)


# --- everything that changed ------------------------------------------------------------------------------------------


def _since(before: str, after: str | None, folder: Path, settings: Settings) -> Comparison:
    """Every recipe of a folder's project that differs between two revisions, or a revision and what lies here."""
    from alchemist_dsl.project.revisions import NoRevision, changed_files, revision_of

    project = _project(folder.resolve() / "x")
    try:
        old = revision_of(project, before)
        new = None if after is None else revision_of(project, after)
    except NoRevision as e:
        raise BadOperand(f"{e}{_hint(before)}") from e
    moved = changed_files(project, old, new)
    inside = project.relative(folder.resolve())
    within = "" if inside == "." else f"{inside}/"
    found = list(_recipes(project, old, new, moved))
    shown = [(b, a) for b, a in found if (b or a or "").startswith(within)]
    pairs = [
        (
            None if b is None else _of_revision(old, b, settings),
            (
                None
                if a is None
                else (
                    of_file(project.root / a, settings, called=_here(project, a))
                    if new is None
                    else _of_revision(new, a, settings)
                )
            ),
        )
        for b, a in shown
    ]
    total = len([r for r in _all(project, new) if r.startswith(within)])
    compared = sum(a is not None for _, a in shown)
    return Comparison(before, after or "the working tree", pairs, total - compared, project)


def _hint(named: str) -> str:
    """What may have been meant: a recipe or a branch of a near name."""
    from difflib import get_close_matches

    from alchemist_dsl.project.revisions import NoRevision, git

    try:
        listed = git(Path(), "for-each-ref", "--format=%(refname:short)").decode().split()
    except NoRevision:
        listed = []
    files = [p.as_posix() for p in Path(named).parent.glob("*.recipe")]
    near = get_close_matches(named, [*files, *listed], 2)
    if not near:
        return "" if not named.endswith((".recipe", ".json")) else f", and no file `{named}`"
    return f", and no file `{named}`; did you mean {' or '.join(f'`{n}`' for n in near)}?"


def _here(project: Project, path: str) -> str:
    return os.path.relpath(project.root / path)


def _all(project: Project, revision: Revision | None) -> list[str]:
    if revision is not None:
        return [p for p in revision.blobs if p.endswith(".recipe")]
    return [
        project.relative(p)
        for p in project.root.rglob("*.recipe")
        if not any(part.startswith(".") for part in p.relative_to(project.root).parts)
    ]


def _recipes(
    project: Project, old: Revision, new: Revision | None, moved: Any
) -> Iterator[tuple[str | None, str | None]]:
    """Recipes that changed, came or went, and those that read one that did: by import, by `extends`, or by the lock."""
    from alchemist_dsl.project.folder import LOCK

    changed = {m.after for m in moved} | {m.before for m in moved}
    renamed = {m.after: m.before for m in moved if m.after and m.before and m.after != m.before}
    facts = LOCK in changed and _facts_differ(project, old, new)
    if new is None:
        changed |= _data_elsewhere(project, old)
    side = new or project
    after = set(_all(project, new))
    before = {p for p in old.blobs if p.endswith(".recipe")}
    for path in sorted(after):
        was = path if path in before else renamed.get(path)
        if facts or path in changed or any(_named(n, changed) for n in _reads(path, side)):
            yield was, path
    yield from ((p, None) for p in sorted(before - after - set(renamed.values())))


def _data_elsewhere(project: Project, old: Revision) -> set[str]:
    """Data files that lie here with another content than the lock of the revision says: git may not track them."""
    from alchemist_dsl.project.facts_on_disk import FileCache
    from alchemist_dsl.project.lockfile import FILES
    from alchemist_dsl.project.revisions import lock_of

    cache, out = FileCache(project.state / "files"), set()
    for path, fact in lock_of(old)[0].sections.get(FILES, {}).items():
        try:
            if cache.get(project.root / path)["digest"] != fact.get("digest"):
                out.add(path)
        except OSError:
            continue
    cache.save()
    return out


def _reads(path: str, folder: Any, seen: frozenset[str] = frozenset()) -> set[str]:
    """What a recipe names in quotes, and what the recipes among that name: other recipes, patterns of data files,
    folders.
    """
    import posixpath
    import re

    text = ""
    if path in seen:
        return set()
    with contextlib.suppress(OSError):
        text = (folder.read(path) or b"").decode("utf-8", "replace")
    at = posixpath.dirname(path)
    named = {posixpath.normpath(posixpath.join(at, m)) for m in re.findall(r'"([^"\n]+)"', text)}
    deeper = (_reads(n, folder, seen | {path}) for n in named if n.endswith(".recipe"))
    return named.union(*deeper)


def _named(pattern: str, files: set[str | None]) -> bool:
    """Whether a name in a recipe stands for one of some files: its path, a pattern, a folder around it."""
    from fnmatch import fnmatchcase

    return any(f is not None and (fnmatchcase(f, pattern) or f.startswith(f"{pattern}/")) for f in files)


def _facts_differ(project: Project, old: Revision, new: Revision | None) -> bool:
    """Whether anything but figures of runs differs in the lock."""
    from alchemist_dsl.project.lockfile import MEASURED
    from alchemist_dsl.project.revisions import lock_of
    from alchemist_dsl.project.workspace import read_lock

    before, _ = lock_of(old)
    after = read_lock(project)[0] if new is None else lock_of(new)[0]
    names = ({*before.sections} | {*after.sections}) - {MEASURED}
    return any(before.sections.get(n, {}) != after.sections.get(n, {}) for n in names)


def _folders(one: Path, two: Path, settings: Settings) -> Comparison:
    """Two folders: recipes by their path inside."""
    names = [{p.relative_to(folder).as_posix() for p in folder.rglob("*.recipe")} for folder in (one, two)]
    if not names[0] and not names[1]:
        raise BadOperand(
            f"neither `{one}` nor `{two}` holds a recipe; `--data` compares the rows of two exported folders"
        )
    pairs = []
    same = 0
    for name in sorted(names[0] | names[1]):
        sides = [
            of_file(folder / name, settings) if name in known else None
            for folder, known in zip((one, two), names, strict=True)
        ]
        pairs.append((sides[0], sides[1]))
    return Comparison(str(one), str(two), pairs, same)


# --- what they say of each other --------------------------------------------------------------------------------------


def compared(found: Comparison, note: Callable[[str], None] = lambda text: None) -> Diff:
    """The whole comparison as a value. `note` is called with what could not be looked at."""
    from alchemist_dsl.comparison.project_diff import whole

    recipes = [_recipe(b, a, note) for b, a in found.pairs]
    return whole(found.before, found.after, recipes, found.same)


def _recipe(before: Side | None, after: Side | None, note: Callable[[str], None]) -> RecipeDiff:
    from alchemist_dsl.comparison.compare import compare
    from alchemist_dsl.comparison.project_diff import one_sided, unreadable

    if before is None or after is None:
        some = after or before
        assert some is not None
        if some.plan is None:
            return unreadable(before, after)
        return one_sided(before, _looked_at(None, after, note) if after is not None else None)
    if before.plan is None or after.plan is None:
        return unreadable(before, after)
    looked = _looked_at(before.plan, after, note)
    if looked.ahead is not None:
        before = _with_store(before, looked)
    return compare(before, looked)


def _looked_at(before: Plan | None, side: Side, note: Callable[[str], None]) -> Side:
    """The side with what its store says of the questions that a run would ask, and of results that lie there."""
    plan = side.plan
    if side.ahead is None or side.root is None or plan is None or plan.now is None:
        return side
    from alchemist_runtime.engine.preview_calls import ahead
    from alchemist_runtime.schema.errors import RunError
    from alchemist_runtime.schema.plan import TeacherStepSpec

    from alchemist_dsl.comparison.impact import Ahead
    from alchemist_dsl.project.workspace import Project

    project = Project(side.root)
    doing = {n.id for n in plan.now.nodes if n.action in ("build", "extend")}
    nodes = [n for n in plan.nodes if n.id in doing and isinstance(n.spec, TeacherStepSpec)]
    try:
        found = ahead(plan, project.root, project.state, nodes) if nodes else {}
        stored = {n.key for n in (before.nodes if before else []) if project.store.manifest(n.key)}
    except (RunError, OSError) as error:
        text = error.problem.headline if isinstance(error, RunError) else str(error)
        note(f"the store cannot be read ({text}); new calls are estimates")
        return replace(side, ahead=None)
    looked = {k: Ahead(a.new, a.cached, a.least, a.most, a.rows) for k, a in found.items()}
    return _with_store(replace(side, ahead=looked, stored=frozenset(stored)), side)


def _with_store(side: Side, here: Side) -> Side:
    """The side with figures of results that lie in the store, where `recipe.lock` has none of them."""
    from alchemist_dsl.project.workspace import Project, measured

    if side.plan is None or side.measured is None or here.root is None:
        return side
    store, nodes, known = (Project(here.root).store, {n.key: n for n in side.plan.nodes}, side.measured)

    def figures(key: str) -> Mapping[str, Any] | None:
        fact = known(key)
        return measured(nodes[key], store) if fact is None and key in nodes else fact

    return replace(side, measured=figures)
