"""What a person names on the command line -> the sides of a comparison: files, plans, git revisions, folders."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alchemist_dsl.comparison.side import Side
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.ir import Block, TextV
from alchemist_dsl.lowering.facts import FileFact, SourceFacts
from alchemist_dsl.project import lockfile as locks
from alchemist_dsl.project.facts_on_disk import Resources, describe, texts_of
from alchemist_dsl.project.folder import LOCK, STD, Folder, is_plan, unopened
from alchemist_dsl.project.lockfile import Lock, LockError

if TYPE_CHECKING:
    from alchemist_runtime.schema.plan import Plan

    from alchemist_dsl.comparison.model import Diff, RecipeDiff
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
        changed = of_file(path, settings, label=f"{named} ({settings.variant})")
        return Comparison(named, changed.label, [(plain, changed)])
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
    return Comparison(pair[0].label, pair[1].label, [pair])


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
        return of_file(path, settings, label=named)
    split = _split(named)
    if split is None:
        if path.suffix in (".recipe", ".json"):
            raise BadOperand(unopened(path, FileNotFoundError()))
        return None
    return _present(_of_revision(*split, settings), named)


def _split(named: str) -> tuple[Revision, str] | None:
    """`REV:path`, the path from the top of the repository or from here; None where it is not of that form."""

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
    from alchemist_dsl.project.workspace import project_of

    project = project_of(file)
    try:
        revision = revision_of(project, name)
    except NoRevision as e:
        raise BadOperand(f"{e}; name two files, or a revision") from e
    return revision, project.relative(file.resolve())


# --- sides ------------------------------------------------------------------------------------------------------------


def of_file(path: Path, settings: Settings, label: str | None = None) -> Side:
    """A recipe or a plan as it lies here."""
    from alchemist_dsl.project.folder import ParamsError
    from alchemist_dsl.project.workspace import compile_recipe, project_of

    name = label or str(path)
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
        result = compile_recipe(
            path, sets=settings.sets, params_file=settings.params, variant=settings.variant, here=here
        )
    except ParamsError as e:
        raise BadOperand(str(e)) from e
    except OSError as e:
        raise BadOperand(unopened(path, e)) from e
    return _from_compiled(result, name, path)


def _from_compiled(result: Compiled, name: str, path: Path) -> Side:
    inside = result.project.relative(path.resolve()) if str(path) != "-" else "-"
    file = result.sources.get(inside)
    return Side(
        label=name,
        path=inside,
        plan=result.plan,
        text=None if file is None else file.text,
        program=result.whole,
        ingredients=result.ingredients,
        diagnostics=result.diagnostics,
        sources=result.sources,
        ahead=None if result.plan is None or result.plan.now is None else {},
        measured=None if result.resources is None else result.resources.measured,
        places=result.places,
        root=result.project.root,
    )


def _of_revision(revision: Revision, path: str, settings: Settings) -> Side | None:
    """A recipe of a revision; None where it has none there."""
    from alchemist_runtime.schema import catalog

    from alchemist_dsl.compiler import compile_text
    from alchemist_dsl.passes import Options
    from alchemist_dsl.project.folder import ParamsError, library, outside_values
    from alchemist_dsl.project.workspace import Project, read_lock
    from alchemist_dsl.syntax.decode import decode

    data = revision.read(path)
    label = f"{revision.name}:{path}"
    if data is None:
        return None
    if path.endswith(".json"):
        return replace(_plan_of_revision(data, label, path), root=revision.root)
    file, problems = decode(path, data)
    if file is None:
        return Side(label, path, None, diagnostics=problems)
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
    result = compile_text(
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
        label,
        path,
        result.plan,
        file.text,
        result.whole,
        result.ingredients,
        (*problems, *result.diagnostics),
        result.sources,
        root=revision.root,
        measured=facts.measured,
        places=result.places,
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


def _plan_of_revision(data: bytes, label: str, path: str) -> Side:
    from alchemist_runtime.schema.codes import RunError
    from alchemist_runtime.schema.plan import NotAPlan, load

    try:
        plan = load(data, label)
    except NotAPlan as e:
        raise BadOperand(f"`{label}` is no plan: {e}") from e
    except RunError as e:
        raise BadOperand(e.problem.headline) from e
    return Side(label, str(plan.recipe.get("path") or path), plan)


# --- everything that changed ------------------------------------------------------------------------------------------


def _since(before: str, after: str | None, folder: Path, settings: Settings) -> Comparison:
    """Every recipe of a folder's project that differs between two revisions, or a revision and what lies here."""

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
    displayed = [(b, a) for b, a in found if (b or a or "").startswith(within)]
    pairs = [
        (
            None if b is None else _of_revision(old, b, settings),
            (
                None
                if a is None
                else (
                    of_file(project.root / a, settings, label=_here(project, a))
                    if new is None
                    else _of_revision(new, a, settings)
                )
            ),
        )
        for b, a in displayed
    ]
    total = len([r for r in _all(project, new) if r.startswith(within)])
    compared = sum(a is not None for _, a in displayed)
    return Comparison(before, after or "the working tree", pairs, total - compared, project)


def _hint(named: str) -> str:
    """What may have been meant: a recipe or a branch of a near name."""
    from difflib import get_close_matches

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
    from alchemist_dsl.comparison.compare import combine

    recipes = [_recipe(b, a, note) for b, a in found.pairs]
    return combine(found.before, found.after, recipes, found.same)


def _recipe(before: Side | None, after: Side | None, note: Callable[[str], None]) -> RecipeDiff:
    from alchemist_dsl.comparison.compare import compare, one_sided, unreadable

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
    from alchemist_runtime.engine.prompt_calls import ahead
    from alchemist_runtime.schema.codes import RunError
    from alchemist_runtime.schema.plan import TeacherStepSpec

    from alchemist_dsl.comparison.side import Ahead
    from alchemist_dsl.project.workspace import Project

    project = Project(side.root)
    doing = {n.id for n in plan.now.nodes if n.action in ("build", "extend")}
    nodes = [n for n, _ in plan.of(TeacherStepSpec) if n.id in doing]
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


# --- revisions -------------------------------------------------------------------------------------------------------


class NoRevision(ValueError):
    """There is no such revision, or no repository; the message says which."""


def git(root: Path, *args: str) -> bytes:
    """The output of a git command in a folder. NoRevision where git is missing or refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *args], capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as e:
        raise NoRevision("git is not installed") from e
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise NoRevision(lines[0] if lines else f"git {args[0]} failed")
    return done.stdout


@lru_cache
def toplevel(folder: Path) -> Path:
    """The working tree that a folder lies in. NoRevision where it lies in none."""
    try:
        return Path(git(folder, "rev-parse", "--show-toplevel").decode().strip())
    except NoRevision as e:
        if "not a git repository" in str(e):
            raise NoRevision(f"`{folder}` is in no git repository") from e
        raise


@lru_cache
def commit_of(root: Path, revision: str) -> str | None:
    """The commit that a revision names, None where it names none."""
    if revision.startswith("-"):
        return None
    try:
        found = git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except NoRevision:
        return None
    return found.decode().strip()


class _Objects:
    """One `git cat-file --batch` for all that is read of a repository."""

    def __init__(self, top: Path) -> None:
        self.process = subprocess.Popen(
            ["git", "-C", str(top), "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def read(self, blob: str) -> bytes:
        """The bytes of a blob. NoRevision where git gives none: a partial clone, say."""
        requested, answer = self.process.stdin, self.process.stdout
        assert requested is not None and answer is not None
        requested.write(f"{blob}\n".encode())
        requested.flush()
        head = answer.readline().split()
        if len(head) != 3:
            raise NoRevision(f"git has no object {blob}")
        data = answer.read(int(head[2]))
        answer.read(1)
        return data


@lru_cache
def _objects(top: Path) -> _Objects:
    return _Objects(top)


@dataclass(frozen=True)
class Revision(Folder):
    """A project at a commit. `top`: of the working tree; `name`: what a person calls the commit."""

    top: Path
    commit: str
    name: str

    @cached_property
    def prefix(self) -> str:
        """The project's folder in the repository, with a `/` at its end; empty for the top."""
        inside = Path(os.path.relpath(self.root.resolve(), self.top.resolve())).as_posix()
        return "" if inside == "." else f"{inside}/"

    @cached_property
    def blobs(self) -> Mapping[str, str]:
        """Every file of the project at this commit, by its path in the project, with its blob."""
        listed = git(self.top, "ls-tree", "-r", "-z", "--full-tree", self.commit, "--", self.prefix or ".")
        out = {}
        for line in listed.decode("utf-8", "surrogateescape").split("\0"):
            facts, _, path = line.partition("\t")
            if path.startswith(self.prefix) and facts.split()[1:2] == ["blob"]:
                out[path.removeprefix(self.prefix)] = facts.split()[2]
        return out

    def read(self, path: str) -> bytes | None:
        if path.startswith(STD):
            return super().read(path)
        blob = self.blobs.get(posixpath.normpath(path))
        return None if blob is None else _objects(self.top).read(blob)

    def listing(self, folder: str) -> Sequence[str]:
        if folder == STD:
            return super().listing(folder)
        at = "" if folder in ("", ".") else f"{folder.rstrip('/')}/"
        inside = (p.removeprefix(at) for p in self.blobs if p.startswith(at))
        return sorted({p.partition("/")[0] for p in inside})

    def lock(self) -> Lock:
        """The lock of the revision; an empty one where there was none. LockError as it comes."""
        data = self.read(LOCK)
        return Lock() if data is None else locks.loads(data.decode("utf-8"))


@dataclass
class Recorded(Resources):
    """Facts of a revision: from its lock and its git tree, before what lies here now."""

    revision: Revision | None = None
    assumed: set[str] = field(default_factory=set)  # files that were taken as they lie here now

    def _files(self, block: Block) -> SourceFacts:
        files: dict[str, FileFact] = {}
        problems: list[Diagnostic] = []
        written = getattr(block.get("format"), "name", None)
        here: SourceFacts | None = None
        for pattern in texts_of(block, "files"):
            found = self._remembered(pattern, written)
            known = {f.path for f in found if isinstance(f, FileFact)}
            found += self._tracked(pattern, written, known)
            if not found:
                here = here or super()._files(block)
                self.assumed |= {f.path for f in here.files}
                found = [f for f in here.files if self._matches(f.path, pattern)]
                problems += [p for p in here.problems if p.span == pattern.span]
            files |= {f.path: f for f in found if isinstance(f, FileFact)}
        return SourceFacts(files=tuple(files[p] for p in sorted(files)), problems=tuple(problems))

    def _matches(self, path: str, pattern: TextV) -> bool:
        return fnmatchcase(path, self._wanted(pattern))

    def _wanted(self, pattern: TextV) -> str:
        folder = posixpath.dirname(pattern.span.file)
        return posixpath.normpath(posixpath.join(folder, pattern.value))

    def _tracked(self, pattern: TextV, format_: str | None, known: set[str]) -> list[FileFact]:
        """Data files that are in git, but for those that are known."""
        from alchemist_runtime.formats.files import format_of

        out = []
        assert self.revision is not None
        for path in self.revision.blobs:
            kind = format_ or format_of(path)
            if kind is not None and path not in known and self._matches(path, pattern):
                out.append(self._from_blob(path, kind))
        return out

    def _from_blob(self, path: str, kind: str) -> FileFact:
        assert self.revision is not None
        data = self.revision.read(path) or b""
        digest = "b2:" + hashlib.blake2b(data, digest_size=32).hexdigest()
        known = self._same_here(path, digest, kind)
        if known is not None:
            return known
        suffix = "".join(Path(path).suffixes[-2:])
        with tempfile.NamedTemporaryFile(suffix=suffix) as copy:
            copy.write(data)
            copy.flush()
            rows, columns, _ = describe(Path(copy.name), path, kind, len(data))
        return FileFact(path, digest, kind, len(data), rows, columns)

    def _same_here(self, path: str, digest: str, kind: str) -> FileFact | None:
        """What is known of the file that lies here, where it is the same."""
        try:
            if self.cache.get(self.root / path)["digest"] != digest:
                return None
        except OSError:
            return None
        fact = self._file(path, kind)
        return fact if isinstance(fact, FileFact) else None

    def _package(self, name: str) -> str | None:
        fact = self.lock.fact(locks.PYTHON, name)
        found = None if fact is None else fact.get("digest")
        return str(found) if found else super()._package(name)

    def base(self, block: Block) -> Diagnostic | None:
        return None  # the weights of back then need not lie here

    def local(self, path: str) -> str | None:
        """A file or folder of the project that a training starts from: from git, else as it lies here."""
        assert self.revision is not None
        inside = {p: b for p, b in self.revision.blobs.items() if p == path or p.startswith(f"{path.rstrip('/')}/")}
        if not inside:
            return super().local(path)
        digests = {p: "b2:" + hashlib.blake2b(self.revision.read(p) or b"", digest_size=32).hexdigest() for p in inside}
        if path in digests:
            return digests[path]
        from alchemist_runtime.schema.plan import digest

        folder = path.rstrip("/")
        return digest([[p.removeprefix(f"{folder}/"), d] for p, d in sorted(digests.items())])


def revision_of(project: Folder, name: str) -> Revision:
    """A project at a revision that a person named. NoRevision where there is none."""
    top = toplevel(project.root)
    commit = commit_of(top, name)
    if commit is None:
        raise NoRevision(f"there is no git revision `{name}`")
    return Revision(project.root, top, commit, name)


def lock_of(revision: Revision) -> tuple[Lock, str | None]:
    """The lock of a revision, and what is wrong with it."""
    try:
        return revision.lock(), None
    except (LockError, UnicodeDecodeError) as e:
        return Lock(), f"`{LOCK}` of {revision.name} cannot be read: {e}"


# --- what changed -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moved:
    """A file on both sides, by its path in the project; None where it is not there."""

    before: str | None
    after: str | None


def changed_files(project: Folder, before: Revision, after: Revision | None) -> list[Moved]:
    """Files of the project that differ between two commits, or a commit and what lies here; renames are found by
    git.
    """
    since = [before.commit] + ([after.commit] if after is not None else [])
    listed = git(before.top, "diff", "--name-status", "-z", "-M", *since, "--", before.prefix or ".")
    out = list(_statuses(listed.decode("utf-8", "surrogateescape"), before.prefix))
    if after is None:
        new = git(project.root, "ls-files", "--others", "--exclude-standard", "-z")
        out += [Moved(None, p) for p in new.decode("utf-8", "surrogateescape").split("\0") if p]
    return out


def _statuses(listed: str, prefix: str) -> Sequence[Moved]:
    parts = [p for p in listed.split("\0") if p]
    out, at = [], 0
    while at < len(parts):
        kind = parts[at][0]
        old = parts[at + 1].removeprefix(prefix)
        if kind in ("R", "C"):
            out.append(Moved(old if kind == "R" else None, parts[at + 2].removeprefix(prefix)))
            at += 3
            continue
        out.append(Moved(None if kind == "A" else old, None if kind == "D" else old))
        at += 2
    return out
