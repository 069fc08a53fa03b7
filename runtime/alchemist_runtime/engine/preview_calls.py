"""What a teacher step would ask, before it asks: its questions rendered over stored inputs and looked up in the call
cache.

Nothing is sent, built or written. Of a refused answer that is in the cache the further draws are looked up too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alchemist_runtime.calls.cache import CallCache
from alchemist_runtime.calls.cache_files import Recorded
from alchemist_runtime.calls.dispatch import Outcome
from alchemist_runtime.calls.teacher import Reply, Request
from alchemist_runtime.engine.context import Context
from alchemist_runtime.engine.expressions import columns_read
from alchemist_runtime.engine.filter_map import candidates, in_draw_order, sieves
from alchemist_runtime.engine.prompt_calls import CALL_FAILED, HALVINGS, Asking, Draw
from alchemist_runtime.engine.streams import Stream
from alchemist_runtime.engine.turns import columns_for, with_messages
from alchemist_runtime.schema.catalog import origin
from alchemist_runtime.schema.errors import RunError
from alchemist_runtime.schema.plan import Node, Plan, Teacher, TeacherStepSpec
from alchemist_runtime.storage.store import Store

#: Rows rendered at a time.
ROWS = 4_096


@dataclass(frozen=True, slots=True)
class Ahead:
    """`new`: questions without an answer in the cache; `most` of them with the further draws that refusals may lead to,
    `least` where a step before may have asked them; `rows`: what would leave the step, known where every answer is
    there; tokens of the answers in the cache."""

    new: int
    cached: int
    least: int
    most: int
    rows: int | None
    tokens_in: int = 0
    tokens_out: int = 0


def ahead(plan: Plan, project: Path, state: Path, nodes: Sequence[Node]) -> dict[str, Ahead]:
    """What these steps would ask one after the other, in the order of the plan, for those whose inputs are in the
    store.

    A question that a step before asks too is answered when the later one comes to it."""
    out: dict[str, Ahead] = {}
    asked: set[bytes] = set()
    unseen: set[tuple[str, str]] = set()  # teacher and prompt of steps whose questions are not known
    with _opened(plan, project, state) as (ctx, cache):
        for node in nodes:
            if not isinstance(node.spec, TeacherStepSpec):
                continue
            kind = _kind_of_question(plan, node.spec)
            if not _ready(ctx, node):
                unseen.add(kind)
                continue
            found = _look(ctx, node, node.spec, _Lookup(cache, seen=asked))
            out[node.id] = replace(found, least=0) if kind in unseen else found
            if found.most > found.new:
                unseen.add(kind)  # further draws are other questions, which a later step may put too
            ctx.step_over()
    return out


def needed(plan: Plan, project: Path, state: Path) -> tuple[dict[str, set[bytes]], list[str]]:
    """By step, the keys of the answers that it takes from the cache or would ask for; and the steps of which nobody can
    say, since what they read is not in the store."""
    keys: dict[str, set[bytes]] = {}
    unseen: list[str] = []
    with _opened(plan, project, state) as (ctx, cache):
        for node in plan.nodes:
            if not isinstance(node.spec, TeacherStepSpec):
                continue
            lookup = _Lookup(cache, every=set())
            try:
                if not _ready(ctx, node):
                    unseen.append(node.id)
                    continue
                _look(ctx, node, node.spec, lookup)
            except RunError:  # what it reads is damaged, or its questions cannot be put
                unseen.append(node.id)
                continue
            keys[node.id] = lookup.every or set()
            ctx.step_over()
    return keys, unseen


@contextmanager
def _opened(plan: Plan, project: Path, state: Path) -> Iterator[tuple[Context, CallCache | None]]:
    path = state / "calls.sqlite"
    cache = CallCache(path, read_only=True) if path.exists() else None
    ctx = Context(plan, project, state, Store(state))
    try:
        yield ctx, cache
    finally:
        if cache is not None:
            cache.close()
        session = ctx.services.pop("session", None)
        if session is not None:
            session.close()


def _kind_of_question(plan: Plan, spec: TeacherStepSpec) -> tuple[str, str]:
    """Steps may put equal questions where the teacher and the prompt are the same."""
    return plan.teachers[spec.teacher].identity_key, plan.prompts[spec.prompt].key


def _ready(ctx: Context, node: Node) -> bool:
    """Whether all that the questions are made of is there."""
    needed = {e.node for e in node.inputs if e.role in ("from", "examples")}
    return all(ctx.store.manifest(ctx.node(n).key) is not None for n in needed)


@dataclass
class _TeacherClient:
    spec: Teacher


@dataclass
class _CallBatch:
    """Stands where a teacher would be asked."""

    teacher_client: _TeacherClient


@dataclass
class _Lookup:
    """Answers from the cache alone, and counts. An equal question is asked once; the others take its answer."""

    cache: CallCache | None
    new: int = 0
    cached: int = 0
    seen: set[bytes] = field(default_factory=set)
    tokens_in: int = 0
    tokens_out: int = 0
    every: set[bytes] | None = None  # the keys of all questions, where they are wanted

    def ask(self, call_batch: Any, requests: Sequence[Request]) -> list[Outcome]:
        keys = [r.call_key for r in requests]
        found = self._found(call_batch.teacher_client.spec, requests)
        once = [r for k, r in found.items() if k not in self.seen]  # an answer is paid once
        self.tokens_in += sum(r.tokens_in for r in once)
        self.tokens_out += sum(r.tokens_out for r in once)
        self.seen.update(found)
        out = []
        for key in keys:
            reply = found.get(key)
            if reply is not None or key in self.seen:
                self.cached += 1
            else:
                self.new += 1
                self.seen.add(key)
            out.append(Outcome(reply, cached=True) if reply is not None else Outcome(None, "not asked yet"))
        return out

    def _found(self, spec: Teacher, requests: Sequence[Request]) -> dict[bytes, Reply]:
        if self.cache is None:
            found, keys = {}, set[bytes]()
        elif origin(spec.provider) == "recording":
            recorded = Recorded(self.cache, spec)
            found = recorded.get_many(requests)
            keys = set().union(*(recorded.keys(r) for r in requests)) if self.every is not None else set()
            keys = self.cache.known(list(keys))
        else:
            found = self.cache.get_many([r.call_key for r in requests])
            keys = set(found)
        if self.every is not None:
            self.every |= keys
            self.every.update(r.call_key for r in requests if r.call_key not in found)
        return found


def _look(ctx: Context, node: Node, spec: TeacherStepSpec, lookup: _Lookup) -> Ahead:
    stream = ctx.inputs(node, "from")
    chosen = candidates(ctx, stream, spec)
    if spec.accept is not None:
        chosen = in_draw_order(ctx, stream, spec, chosen)
    call_batch = _CallBatch(_TeacherClient(ctx.plan.teachers[spec.teacher]))
    asking = Asking(ctx, node, spec, lookup, call_batch)  # type: ignore[arg-type]
    accepted = waiting = drawn = start = 0
    lot = ROWS
    while start < len(chosen):
        if spec.accept is not None:  # what is not asked yet may be accepted
            lacking = spec.accept - accepted - waiting
            if lacking <= 0:
                break
            lot = min(ROWS, -(-lacking // spec.samples))
        draws = _draws(asking, stream, spec, chosen[start : start + lot])
        accepted += sum(d.rule is None for d in draws)
        waiting += sum(d.rule == CALL_FAILED for d in draws)
        drawn += len(draws)
        start += lot
    if spec.accept is not None:
        accepted = min(accepted, spec.accept)
    beyond = max(0, len(chosen) - start) * spec.samples if waiting else 0
    further = spec.retries_on_reject + (HALVINGS if spec.on_long == "truncate" else 0)
    rows = {"replace": stream.n, "add": stream.n + accepted, "only": accepted}[spec.mode]
    certain = waiting == 0 or spec.mode == "replace"
    most = (lookup.new + beyond) * (1 + further) * (1 + spec.repair)
    rows_out = rows if certain else None
    took = lookup.tokens_in, lookup.tokens_out
    new = lookup.new
    if beyond and accepted:  # of those that are asked then, the same share will do
        new = min(-(-new * (drawn - waiting) // accepted), most)
    return Ahead(new, lookup.cached, lookup.new, most, rows_out, *took)


def _draws(asking: Asking, stream: Stream, spec: TeacherStepSpec, positions: Any) -> list[Draw]:
    """The draws of some rows, with the columns that questions and rules read."""
    exprs = [*spec.inputs.values(), *(r.expr for r in sieves(spec.rules))]
    wanted = sorted(frozenset().union(*(columns_read(e) for e in exprs)) if exprs else ())
    names = columns_for(stream, wanted)
    table = stream.select(positions).table(names or ["_id"]).combine_chunks()
    batches = table.to_batches()
    if not batches:
        return []
    return asking.batch(with_messages(batches[0], wanted), stream.types)
