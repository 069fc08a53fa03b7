"""The local engine: carries out a plan node by node, skips what exists, and leaves a record of the run."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alchemist_runtime.engine.context import Context
from alchemist_runtime.schema.codes import NOT_CARRIED_OUT, SAID_NO, Problem, RunError
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import Edge, ExportSpec, Node, Plan, SuiteSpec, TeacherStepSpec, digest, variant_part
from alchemist_runtime.schema.planning import must_be_there, needed, not_run
from alchemist_runtime.schema.sealed import seal
from alchemist_runtime.storage import store
from alchemist_runtime.storage.store import Manifest, Output, looked_at, name_of, remove_result, write_atomic

Step = Callable[[Context, Node, Output], None]


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a node in a run."""

    node: str
    kind: str
    action: str  # built | reused | equal (built before under another key) | not run | failed
    key: str
    rows: int | None
    figures: Mapping[str, Any]
    seconds: float


@dataclass
class Result:
    """A finished or broken-off run."""

    run: str
    done: list[Done] = field(default_factory=list)
    problem: Problem | None = None
    unrecorded: OSError | None = None  # why the run could not be added to `runs.jsonl`
    failed: dict[str, RunError] = field(default_factory=dict)  # with `keep_going`, by node

    @property
    def names(self) -> set[str]:
        return {d.node for d in self.done}


def finished(ctx: Context, node: Node) -> Manifest | None:
    """The manifest of a node that needs no work: its result is there, and so is what it put outside the store."""
    manifest = ctx.made(node)
    if manifest is None or node.id in ctx.outdated:
        return None
    if node.kind == "export":
        from alchemist_runtime.engine.export_step import folder, in_place

        if folder(ctx, node.spec) is None:  # type: ignore[arg-type]
            return manifest
        return manifest if in_place(ctx.project, ctx.plan, node, manifest) else None
    return manifest


@dataclass(frozen=True, slots=True)
class _Results:
    """What the store and the project hold of a plan's results."""

    ctx: Context

    def finished(self, node: Node) -> bool:
        return finished(self.ctx, node) is not None

    def stored(self, node: Node) -> bool:
        return self.ctx.made(node) is not None

    def shows(self, node: Node) -> set[str]:
        return {node.inputs[i].node for i in looked_at(self.ctx.manifest(node.id))}


def unfinished(ctx: Context, targets: Iterable[str] | None) -> list[Node]:
    """The nodes that a run would work on."""
    nodes, results = needed(ctx.plan.nodes, targets), _Results(ctx)
    wanted = must_be_there(nodes, results, targets) - not_run(nodes, results.finished)
    return [n for n in nodes if n.id in wanted and not results.finished(n)]


def run(
    ctx: Context,
    targets: Iterable[str] | None = None,
    *,
    ingredients: Mapping[str, Any] | None = None,
    result: Result | None = None,
) -> Result:
    """Carry out a plan up to the targets. The result has a problem where the run broke off; nothing finished is lost.

    KeyboardInterrupt passes through after the record of the run is written."""
    started = time.time()
    result = result or Result(run_name())
    try:
        _work(ctx, targets, result)
    except RunError as error:
        result.problem = error.problem
        raise
    finally:
        try:
            close(ctx)
        finally:
            _record(ctx, result, started, ingredients or {})
    return result


def _work(ctx: Context, targets: Iterable[str] | None, result: Result) -> None:
    """Carry the nodes out. A stored result that turns out to be damaged while it is read is made again, and the run
    goes on.
    """
    nodes = needed(ctx.plan.nodes, targets)
    _clear_way(ctx, targets)
    given_up: set[str] = set()
    while True:
        try:
            _pass(ctx, nodes, targets, result)
            break
        except RunError as error:
            if error.damaged is None or error.damaged in given_up:
                raise
            given_up.add(error.damaged)
            _give_up(ctx, nodes, result, error)
    place = {n.id: i for i, n in enumerate(nodes)}
    result.done.sort(key=lambda d: place[d.node])
    if result.failed:
        result.problem = next(iter(result.failed.values())).problem


def _clear_way(ctx: Context, targets: Iterable[str] | None) -> None:
    """See before anything is spent that every export may be written where it goes. RunError A906, A909, A915."""
    from alchemist_runtime.engine.export_step import refuse_foreign

    for node in unfinished(ctx, targets):
        if isinstance(node.spec, ExportSpec) and node.spec.path and not ctx.options.limited:
            refuse_foreign(ctx.project, node.spec.path, node.id, ctx.plan.recipe.get("path"))


def _pass(ctx: Context, nodes: list[Node], targets: Iterable[str] | None, result: Result) -> None:
    todo = must_be_there(nodes, _Results(ctx), targets)
    stuck = set(result.failed)  # and what needs these
    for node in nodes:
        try:
            if node.id in todo and node.id not in result.names:
                waits = stuck & {e.node for e in node.inputs} and finished(ctx, node) is None
                result.done.append(_not_run(ctx, node) if waits else _placed(ctx, node))
                if result.done[-1].action == "not run":
                    stuck.add(node.id)
            _expectations(ctx, node)
        except RunError as error:
            if error.damaged or not ctx.options.keep_going:
                raise
            result.failed[node.id] = error
            stuck.add(node.id)
            failed = Done(node.id, node.kind, "failed", node.key, None, {}, 0.0)
            result.done = [*(d for d in result.done if d.node != node.id), failed]
            ctx.step_over()


def _give_up(ctx: Context, nodes: list[Node], result: Result, error: RunError) -> None:
    """Forget a damaged result. RunError where it is none of this plan's, or where making it again costs what nobody
    agreed to.
    """
    path = ctx.store.folder / (error.damaged or "").removeprefix("b2:")
    found = {n.id: ctx.made(n) for n in nodes}
    holders = {name for name, made in found.items() if made is not None and made.path == path}
    if not holders:
        raise error
    ctx.agree([n for n in nodes if n.id in holders])
    ctx.step_over()
    ctx.store.give_up(error.damaged or "")
    result.done = [d for d in result.done if d.node not in holders]
    ctx.lost.update({name: replace(error.problem, node=name) for name in holders})
    trained = [name for name in holders if ctx.node(name).kind == "train"]
    if trained:  # hours that nobody counted on
        way_out = f"run again to train `{trained[0]}` anew"
        raise RunError(replace(error.problem, node=trained[0], help=way_out))


def close(ctx: Context) -> None:
    """Give back what outlives a step: worker processes, the call cache, connections."""
    services = list(ctx.services.values())
    ctx.services.clear()
    for service in services:
        close = getattr(service, "shutdown", None) or getattr(service, "close", None)
        if close:
            close()


def _placed(ctx: Context, node: Node) -> Done:
    """Carry a node out; a problem that names no node gets this one, so that a person sees where it arose."""
    try:
        return _carry_out(ctx, node)
    except RunError as error:
        if error.problem.node is None:
            error.problem = replace(error.problem, node=node.id)
        raise


def _carry_out(ctx: Context, node: Node) -> Done:
    begun = time.perf_counter()
    manifest = finished(ctx, node)
    if manifest is not None:
        return _done(node, "reused", manifest, begun)
    if not node.runnable or any(ctx.made(ctx.node(e.node)) is None for e in node.inputs):
        return _not_run(ctx, node)
    content = content_key(ctx, node)
    same = ctx.store.by_content(content)
    manifest = None if same in (None, node.key) else ctx.made(node, same)
    if manifest is not None and manifest.figures.get("calls_passing"):
        manifest = None  # these rows are asked again
    if same is not None and manifest is not None and node.kind != "export":
        ctx.store.alias(node.key, same)
        ctx.progress.start(node.id, node.kind, "equal")
        ctx.progress.finish(node.id, manifest.figures, 0.0)
        return _done(node, "equal", manifest, begun)
    if (lost := ctx.lost.pop(node.id, None)) is not None:
        ctx.progress.warn(_made_again(node, lost))
    ctx.progress.start(node.id, node.kind, "build")
    store.point(node.id, "start")
    with ctx.store.building(node.key, node.id) as out:
        again = finished(ctx, node)  # built by another process while this one waited?
        if again is not None:
            return _done(node, "reused", again, begun)
        if "teachers" in ctx.services and not isinstance(node.spec, TeacherStepSpec):
            ctx.services["teachers"].rest()  # the model of a step before: this one may want the memory
        _step(node.kind)(ctx, node, out)
        manifest = out.finish(
            kind=node.kind,
            content_key=content,
            inputs=[_content(ctx, e) for e in node.inputs],
            seconds=round(time.perf_counter() - begun, 3),
            **({"work": ctx.works[node.id]} if ctx.options.from_file else {}),
        )
    ctx.fresh.add(node.id)
    ctx.step_over()
    done = _done(node, "built", manifest, begun)
    ctx.progress.finish(node.id, {**manifest.figures, "rows": done.rows}, done.seconds)
    return done


def _not_run(ctx: Context, node: Node) -> Done:
    ctx.progress.start(node.id, node.kind, "waits" if node.runnable else "not run")
    return Done(node.id, node.kind, "not run", node.key, None, {}, 0.0)


def _made_again(node: Node, lost: Problem) -> Problem:
    """What a person is told of a result that was there and could not be used."""
    what = f"`{Path(lost.place or '').name}`: {lost.note}"
    said = f"the stored result of `{node.id}` was damaged ({what}) and is made again"
    return replace(lost, headline=said, node=node.id, help=None, severity="warning")


def _step(kind: str) -> Step:
    import importlib

    module, _, name = (KINDS[kind].run or "").partition(":")
    return getattr(importlib.import_module(f"alchemist_runtime.engine.{module}"), name)  # type: ignore[no-any-return]


def _done(node: Node, action: str, manifest: Manifest, begun: float) -> Done:
    rows = manifest.data["ports"].get("rows", {}).get("rows")
    return Done(node.id, node.kind, action, node.key, rows, manifest.figures, round(time.perf_counter() - begun, 3))


def content_key(ctx: Context, node: Node) -> str:
    """`H(what the step does, digests of the content of its inputs)`: equal content is never made twice, whatever its
    history.
    """
    inputs = [[e.role, e.port, e.origin, e.take, _content(ctx, e), *_read_as(ctx, e)] for e in node.inputs]
    return digest(["content/1", node.own_key, inputs])


def _content(ctx: Context, edge: Edge) -> str:
    """Digest of what comes in by an edge: of the rows of a port, or of the files of a trained model."""
    manifest = ctx.manifest(edge.node)
    if edge.role != "model":
        return str(manifest.port(edge.port)["digest"])
    files = {n: f["digest"] for n, f in manifest.files.items() if n.startswith("model/")}
    return digest(["model", files or ctx.node(edge.node).key])


def _read_as(ctx: Context, edge: Edge) -> list[Any]:
    """What decides how rows are read beside the rows themselves: which columns of a benchmark hold its texts."""
    spec = ctx.node(edge.node).spec
    if not isinstance(spec, SuiteSpec):
        return []
    return [[*spec.text], spec.id_column, spec.entry_point]


# --- after a step -----------------------------------------------------------------------------------------------------


def _expectations(ctx: Context, node: Node) -> None:
    from alchemist_runtime.engine.verdicts import broken_expectation

    rules = [r for r in getattr(node.spec, "rules", []) if r.verb == "expect"]
    if not rules or ctx.made(node) is None:
        return
    for rule in rules:
        problem = broken_expectation(ctx, node, rule)
        if problem is not None and ctx.options.limited:
            headline = f"`expect {rule.text}` of `{node.id}` is not judged"
            note = "this run leaves rows out: it has a `--limit`"
            ctx.progress.warn(
                replace(problem, code="A902", headline=headline, note=note, help=None, severity="warning")
            )
        elif problem is not None:
            raise RunError(problem, exit_code=SAID_NO if problem.code == "A911" else NOT_CARRIED_OUT)


# --- the record of a run ----------------------------------------------------------------------------------------------


def run_name() -> str:
    """Name of a run: when it started, and its process."""
    moment = datetime.datetime.now(tz=datetime.UTC)
    return f"r-{moment:%Y%m%d-%H%M%S}-{os.getpid()}"


def _record(ctx: Context, result: Result, started: float, ingredients: Mapping[str, Any]) -> None:
    """Append the run to `runs.jsonl`: what each node was made of and what it came to. One line, one write."""
    nodes = {
        d.node: {
            "key": d.key,
            "kind": d.kind,
            "action": d.action,
            "rows": d.rows,
            "figures": d.figures,
            "seconds": d.seconds,
            "ingredients": ingredients.get(d.node, {}),
            **_files(ctx.node(d.node)),
        }
        for d in result.done
    }
    line = {
        "record": 1,
        "run": result.run,
        "recipe": ctx.plan.recipe.get("path"),
        "variant": ctx.plan.variant,
        "limited": ctx.options.limited,
        "plan": ctx.plan.digest,
        "started": round(started, 3),
        "seconds": round(time.time() - started, 3),
        "problem": result.problem.code if result.problem else None,
        "nodes": nodes,
    }
    try:
        _keep_texts(ctx)
        _append(ctx.state / "runs.jsonl", seal(line))
    except OSError as error:  # a full disk: what was built is there, and what is wrong with it is said already
        result.unrecorded = error


def _files(node: Node) -> dict[str, dict[str, str]]:
    """The files that a source read, path -> digest: keys hold their digests alone."""
    files = {f["path"]: f["digest"] for f in getattr(node.spec, "files", ()) if "digest" in f}
    return {"files": files} if files else {}


def _keep_texts(ctx: Context) -> None:
    """Keep the plan's templates by digest, so that a later change can be shown in words."""
    folder = ctx.state / "texts"
    for name, text in ctx.plan.texts.items():
        path = folder / name_of(name)
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, text.encode())


def _append(path: Path, line: bytes) -> None:
    """Add a line by one write; a line that a full disk or a crash cut off before is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(handle).st_size
        torn = size and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, (b"\n" if torn else b"") + line + b"\n")
    finally:
        os.close(handle)


def outputs_of(plan: Plan) -> Path:
    """Where a recipe's results are pointed at, below `outputs`: its path in the project without the ending, and the
    variant.
    """
    path = Path(str(plan.recipe.get("path") or "recipe").removeprefix("-")).with_suffix("")
    place = path if path.name else Path("recipe")
    return place.with_name(f"{place.name}-{variant_part(plan.variant)}") if plan.variant else place


def point_at(ctx: Context, result: Result) -> None:
    """Let `outputs/RECIPE/NODE` point at what the run's nodes made. Moved only after a complete run."""
    folder: Path = ctx.state / "outputs" / outputs_of(ctx.plan)
    folder.mkdir(parents=True, exist_ok=True)
    for done in result.done:
        if done.action in ("not run", "failed"):
            continue
        manifest = ctx.made(ctx.node(done.node))
        if manifest is None:
            continue
        link, temporary = folder / done.node, folder / f".{done.node}.{os.getpid()}"
        target = os.path.relpath(manifest.path, folder)
        if link.is_symlink() and os.readlink(link) == target:  # noqa: PTH115 (text beside text)
            continue
        if link.is_dir() and not link.is_symlink():  # a copy of the project that followed its links
            remove_result(link)
        temporary.symlink_to(target, target_is_directory=True)
        temporary.replace(link)
