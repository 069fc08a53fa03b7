"""The world around a recipe: its project folder, files, library, parameters, lock, store and earlier runs."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from alchemist_runtime.schema import catalog
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import Node, Plan, text_digest
from alchemist_runtime.schema.sealed import unseal
from alchemist_runtime.storage.store import Manifest, Store, left_out, looked_at, name_of, outdated, write_atomic

from alchemist_dsl.compiler import Compilation, compile_text, has_errors
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.explain.staleness import Finished, Past, Remembered, State
from alchemist_dsl.ir import Program
from alchemist_dsl.lowering.canonical import Ingredients
from alchemist_dsl.lowering.facts import SourceFacts
from alchemist_dsl.passes import Options
from alchemist_dsl.project import lockfile as locks
from alchemist_dsl.project.facts_on_disk import FileCache, Resources
from alchemist_dsl.project.folder import LOCK, STATE, Folder, folder_of, library, outside_values, read_file, read_recipe
from alchemist_dsl.project.lockfile import Lock, LockError, applied, parts, subject
from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax.decode import decode

STDIN: Final = "-"


@dataclass(frozen=True, slots=True)
class Project(Folder):
    """A project folder with what a run keeps there: `recipe.lock` and `.alchemist/`."""

    @property
    def state(self) -> Path:
        return self.root / STATE

    @property
    def lock_file(self) -> Path:
        return self.root / LOCK

    @property
    def store(self) -> Store:
        return Store(self.state)


def project_of(recipe: Path) -> Project:
    """The project of a recipe: the nearest folder upward with `recipe.lock` or `.git`, else the recipe's own."""
    return Project(folder_of(recipe).root)


# --- lock -------------------------------------------------------------------------------------------------------------


def read_lock(project: Project) -> tuple[Lock, tuple[Diagnostic, ...]]:
    """The project's lock; an empty one where there is none."""
    try:
        return locks.loads(read_file(project.lock_file, project.root).decode("utf-8")), ()
    except FileNotFoundError:
        return Lock(), ()
    except (OSError, UnicodeDecodeError, LockError) as e:
        problem = Diagnostic(
            "A908",
            f"`{LOCK}` cannot be read: {e.strerror if isinstance(e, OSError) else e}",
            Span(LOCK, 0, 0),
            help="fix it or restore it from git; deleted, it is created again",
        )
        return Lock(), (problem,)


def write_lock(project: Project, lock: Lock) -> bool:
    """Write the lock where its text changed; returns whether it did."""
    text = locks.dumps(lock)
    try:
        if project.lock_file.read_text("utf-8") == text:
            return False
    except (OSError, UnicodeDecodeError):
        pass
    write_atomic(project.lock_file, text.encode())
    return True


# --- compiling --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compiled:
    """A recipe with everything that a command may want of it. `sources`: files by path, for messages."""

    plan: Plan | None
    program: Program | None
    diagnostics: tuple[Diagnostic, ...]
    project: Project
    sources: Mapping[str, SourceFile] = field(default_factory=dict)
    ingredients: Mapping[str, Ingredients] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    resources: Resources | None = None
    whole: Program | None = None  # before steps that nothing reads were left out
    places: Mapping[str, SourceFacts] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.project.root

    def shown(self, path: Path) -> str:
        """A path as a person in the current folder would write it."""
        return os.path.relpath(path)

    def after_run(self) -> None:
        """After a complete run: facts and figures go into the lock. A run with a limit leaves no trace there."""
        limited = self.plan is not None and any(getattr(n.spec, "run_limit", None) for n in self.plan.nodes)
        if not limited:
            record_figures(self)


def compile_recipe(
    path: str | Path,
    *,
    sets: Iterable[str] = (),
    params_file: Path | None = None,
    variant: str | None = None,
    limit: int | None = None,
    upto: Iterable[str] | None = None,
    locked: bool = False,
    forced: Iterable[str] = (),
    here: bool = True,
    pin: bool = False,
    rehash: bool = False,
    lock: Lock | None = None,
) -> Compiled:
    """Compile a recipe of the file system; `-` is standard input. `here`: say also what a run on this machine would do.
    `pin`: ask the hub for revisions that neither recipe nor lock names. `rehash`: trust no digest of an earlier
    command. `lock`: facts to go by, instead of those of the project.

    Raises FileNotFoundError for the recipe itself, ParamsError for `--set` and `--params`."""
    project, displayed, data = open_recipe(path)
    file, problems = decode(displayed, data)
    if file is None:
        return Compiled(None, None, problems, project)
    if lock is None:
        lock, more = read_lock(project)
        problems += more
    cache = FileCache(project.state / "files", again=locked or rehash)
    resources = Resources(project.root, lock, cache, std=library(), pin=pin and not locked)
    values = outside_values(sets, params_file)
    result = compile_text(
        file,
        project.read,
        listing=project.listing,
        find=catalog.find,
        facts=resources,
        outside=values,
        options=Options(upto=tuple(upto or ()), limit=limit, variant=variant),
        state=lambda plan: read_state(project, plan, forced) if here else None,
    )
    cache.save()
    if result.plan is not None and not values and str(path) != STDIN:
        resources.declare(result.plan)
    if locked:
        problems += tuple(_differences(resources, displayed, result.program))
    return _compiled(result, problems, project, lock, resources)


def open_recipe(path: str | Path) -> tuple[Project, str, bytes]:
    """Return the project of a recipe, its path there and its bytes; `-` is standard input. OSError as it comes."""
    if str(path) == STDIN:
        return project_of(Path.cwd() / "-"), "-", sys.stdin.buffer.read()
    file = Path(path)
    project = project_of(file)
    return project, project.relative(file.resolve()), read_recipe(file)


def _compiled(
    result: Compilation, problems: tuple[Diagnostic, ...], project: Project, lock: Lock, resources: Resources
) -> Compiled:
    wrong = has_errors(problems)
    return Compiled(
        plan=None if wrong else result.plan,
        program=result.program,
        diagnostics=(*problems, *result.diagnostics),
        project=project,
        sources=result.sources,
        ingredients=result.ingredients,
        lock=lock,
        resources=resources,
        whole=result.whole,
        places=result.places,
    )


def _differences(resources: Resources, shown: str, program: Program | None) -> Iterable[Diagnostic]:
    """What `--locked` refuses: facts that the lock does not know, or knows otherwise, before and after."""
    for change in resources.changes:
        known = change.kind == "changed"
        what = subject(change.section, change.resource)
        said = parts(change)
        yield Diagnostic(
            "A908",
            (
                f"{what} differs from {LOCK}: {said[0]}"
                if known
                else (
                    f"{what} is not in {LOCK}"
                    if change.kind == "new"
                    else f"{LOCK} does not know all of {what}: {said[0]}"
                )
            ),
            _where(resources, change.section, change.resource, shown, program),
            note=", ".join(said[1 if change.kind != "new" else 0 :]) or None,
            help=_way_out(change.kind, change.resource),
        )
    for section, name in sorted(resources.unpinned):
        yield Diagnostic(
            "A908",
            f"{subject(section, name)} is not in {LOCK}",
            _where(resources, section, name, shown, program),
            help=_way_out("new", name),
        )


def _way_out(kind: str, resource: str) -> str:
    name = resource.rpartition("#")[2]
    if kind == "changed":
        return f"revert it, or accept the change with `alchemist lock --update {name}` and commit the lock"
    return "`alchemist lock` adds it; review and commit the lock"


def _where(resources: Resources, section: str, name: str, shown: str, program: Program | None) -> Span:
    """The block that rests on a fact; the recipe where none is known."""
    users = resources.users.get((section, name), set()) | {name.rpartition("#")[2]}
    blocks = {} if program is None else program.blocks
    return next((blocks[u].name_span for u in sorted(users) if u in blocks), Span(shown, 0, 0))


def add_facts(compiled: Compiled, *, changed: bool = False) -> Lock:
    """Write facts that the lock did not know; after a complete run also those that changed. Returns the lock as it is
    now.

    What another command wrote meanwhile stays: facts are added to the lock as it lies there."""
    lock = compiled.lock
    if compiled.resources is not None:
        wanted = [c for c in compiled.resources.changes if changed or c.kind != "changed"]
        if wanted:
            lock = change_lock(compiled.project, lock, lambda found: applied(found, wanted))
    return lock


def change_lock(project: Project, known: Lock, change: Callable[[Lock], Lock]) -> Lock:
    """Change the lock as it lies there, one command at a time, and return it. Nothing is touched where nothing changes.

    A lock that cannot be read any more (somebody merges just now) is left alone: the next command says what is wrong
    with it.
    """
    found, problems = read_lock(project)
    if problems:
        return change(known)
    result = change(found)
    if locks.dumps(result) == locks.dumps(found) and project.lock_file.exists():
        return result
    project.state.mkdir(parents=True, exist_ok=True)
    with (project.state / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        again, problems = read_lock(project)
        if problems:
            return result
        result = change(again)
        write_lock(project, result)
    return result


# --- figures of a run -------------------------------------------------------------------------------------------------


def record_figures(compiled: Compiled) -> Compiled:
    """After a complete run: write changed facts and what every step measured into the lock, and estimate anew from
    it.
    """
    if compiled.plan is None:
        return compiled
    add_facts(compiled, changed=True)
    plan, store = compiled.plan, compiled.project.store
    lock = change_lock(compiled.project, compiled.lock, lambda found: with_measured(found, plan, store))
    return replace(compiled, lock=lock)


def with_measured(lock: Lock, plan: Plan, store: Store) -> Lock:
    """The lock with the figures of every finished step of a plan; figures of other keys of the same steps go."""
    facts = {n.key: measured(n, store) for n in plan.nodes}
    known = {key: fact for key, fact in facts.items() if fact is not None}
    names = {n.id for n in plan.nodes if n.key in known}
    section = lock.sections.get(locks.MEASURED, {})
    recipe = plan.recipe.get("path")
    old = frozenset(
        k
        for k, f in section.items()
        if f.get("node") in names and f.get("recipe") == recipe and k not in known and f.get("variant") == plan.variant
    )
    marked: dict[str, dict[str, Any]] = {
        k: {**f, "recipe": recipe, **({"variant": plan.variant} if plan.variant else {})} for k, f in known.items()
    }
    return lock.without(locks.MEASURED, old).with_facts(locks.MEASURED, marked)


def measured(node: Node, store: Store) -> dict[str, Any] | None:
    """Figures of a finished step as the lock keeps them."""
    try:
        manifest = store.manifest(node.key)
    except RunError:
        return None
    if manifest is None:
        return None
    ports, figures = manifest.data.get("ports", {}), manifest.figures
    out: dict[str, Any] = {"node": node.id}
    if "rows" in ports:
        out |= {"rows": ports["rows"]["rows"], "origins": dict(ports["rows"].get("per_origin", {}))}
        if isinstance(figures.get("rows_in"), int):
            result = {n: x for n, x in figures.get("added", {}).items() if x}
            sums = {"left_out": left_out(figures), "added": result}
            out |= {"rows_in": figures["rows_in"], **{n: x for n, x in sums.items() if x}}
    out |= {port: ports[port]["rows"] for port in ("trace", "rest") if port in ports}
    if isinstance(figures.get("dropped"), Mapping):
        out["dropped"] = dict(figures["dropped"])
    if isinstance(figures.get("entries"), list):
        out["entries"] = {e["name"]: e["rows"] for e in figures["entries"]}
    if "calls_new" in figures or "calls" in figures:
        both = figures.get("calls_new", 0) + figures.get("calls_cached", 0)
        out["calls"] = figures.get("calls", both)
        out |= {k: figures[k] for k in ("tokens_in", "tokens_out") if isinstance(figures.get(k), int)}
    if node.kind == "train" and isinstance(figures.get("tokens"), int):
        out |= {"tokens": figures["tokens"], **_course(figures)}
        if figures.get("device") not in (None, "cpu"):
            out |= {"gpus": figures["world_size"], "device": figures["device"]}
            out["tokens_per_second"] = figures["tokens_per_second"]
    return out


def _course(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Packs and steps of a training, and what became of its rows."""
    prepared = figures.get("prepared") or {}
    left = {why: sum(n.values()) for why, n in (prepared.get("left_out") or {}).items()}
    out = {
        "steps": figures.get("steps"),
        "packs": prepared.get("packs"),
        "trained": prepared.get("rows"),
        "held_out": (prepared.get("eval") or {}).get("rows"),
        "cut": sum(prepared.get("cut", {}).values()),
        "left_out": left,
    }
    return {name: value for name, value in out.items() if value}


# --- state ------------------------------------------------------------------------------------------------------------


def read_state(project: Project, plan: Plan, forced: Iterable[str] = ()) -> State:
    """What the store and the records of earlier runs say of a plan's nodes."""
    store = project.store
    found = {n.id: _stored(store, n) for n in plan.nodes}
    stored = {n.key: found[n.id][0] for n in plan.nodes}
    moved = (
        n.id
        for n in plan.nodes
        if KINDS[n.kind].writes and stored[n.key] == "complete" and not _in_place(project, plan, n)
    )
    records = read_runs(project)
    last = last_records(records, plan)
    return State(
        found={key: state for key, state in stored.items() if state is not None},
        last=last,
        moved=frozenset(moved),
        forced=frozenset(forced),
        run=next((r["run"] for r in reversed(records) if r.get("recipe") == plan.recipe.get("path")), None),
        views={name: seen for name, (_, seen) in found.items() if seen},
        again=outdated(plan.nodes, partial(_manifest, store)),
    )


def _manifest(store: Store, node: Node) -> Manifest | None:
    """The manifest of a node; None where it is damaged, which is told elsewhere."""
    try:
        return store.manifest(node.key)
    except RunError:
        return None


def _stored(store: Store, node: Node) -> tuple[Finished | None, frozenset[str]]:
    """What lies in the store of a node, and the inputs whose rows it shows without holding them. RunError A907 where
    nobody can tell: a plan would call for work that is done."""
    try:
        manifest = store.manifest(node.key)
    except RunError as error:
        if error.damaged is None:
            raise
        return "incomplete", frozenset()
    if manifest is not None:
        return "complete", _inputs_read(manifest, node)
    path = store.path(node.key)
    begun = path.exists() or path.with_suffix(".tmp").exists()
    return ("incomplete" if begun else None), frozenset()


def _inputs_read(manifest: Manifest, node: Node) -> frozenset[str]:
    return frozenset(node.inputs[i].node for i in looked_at(manifest) if i < len(node.inputs))


def _in_place(project: Project, plan: Plan, node: Node) -> bool:
    """Whether an export still lies where it was put, with the card that it would have now."""
    from alchemist_runtime.engine.export_step import in_place

    manifest = project.store.manifest(node.key)
    path = getattr(node.spec, "path", None)
    return path is None or (manifest is not None and in_place(project.root, plan, node, manifest))


def read_runs(project: Project) -> list[dict[str, Any]]:
    """Records of earlier runs, oldest first. A line that a crash cut off, or whose bytes changed since, is left out."""
    try:
        lines = (project.state / "runs.jsonl").read_bytes().splitlines()
    except OSError:
        return []
    return [record for record in map(_record, lines) if record is not None]


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found, sealed = unseal(line)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return found if sealed or _is_record(found) else None


def _is_record(found: Mapping[str, Any]) -> bool:
    """Whether a line without a checksum, of an earlier version or of somebody else, is shaped as a record."""
    nodes = found.get("nodes")
    return isinstance(nodes, dict) and all(
        isinstance(node, dict)
        and isinstance(node.get("key"), str)
        and all(isinstance(node.get(part, {}), dict) for part in ("ingredients", "files"))
        for node in nodes.values()
    )


def last_records(records: list[dict[str, Any]], plan: Plan) -> dict[str, Remembered]:
    """The newest record of every node of a plan, of the same variant where there is one."""
    wanted = {n.id for n in plan.nodes}
    out: dict[str, Remembered] = {}
    same = [r for r in records if r.get("recipe") == plan.recipe.get("path") and not r.get("limited")]
    for record in sorted(same, key=lambda r: r.get("variant") == plan.variant):
        for name, node in record["nodes"].items():
            if name in wanted and node.get("action") != "not run":
                out[name] = _remembered(record, node)
    return out


def _remembered(record: Mapping[str, Any], node: Mapping[str, Any]) -> Remembered:
    return Remembered(record.get("run", ""), node.get("key", ""), node.get("ingredients", {}), node.get("files", {}))


def past(records: Iterable[Mapping[str, Any]]) -> dict[str, Past]:
    """Every key that a run has a record of: which node it was, and of what it was made."""
    return {
        node["key"]: Past(name, _remembered(record, node))
        for record in records
        for name, node in record["nodes"].items()
        if node.get("key") and node.get("action") != "not run"
    }


def kept_text(project: Project, digest: str) -> str | None:
    """A template that a run of this project kept, None where it is not at hand."""
    try:
        text = (project.state / "texts" / name_of(digest)).read_text("utf-8")
    except (OSError, UnicodeDecodeError, RunError):
        return None
    return text if text_digest(text) == digest else None
