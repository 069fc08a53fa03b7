"""Two plans, their steps in pairs, to what differs between the results that a store holds of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from alchemist_runtime.engine.compare.files import alike, match, opened_files
from alchemist_runtime.engine.compare.model import (
    DataDiff,
    GroupDiff,
    Made,
    Missing,
    Move,
    PortDiff,
    Sample,
    Side,
    State,
    StepDiff,
)
from alchemist_runtime.engine.compare.reading import Places
from alchemist_runtime.engine.compare.rows import Compared, Comparison, codes, one_side, row_sample, shown
from alchemist_runtime.engine.compare.rows import state as port_state
from alchemist_runtime.engine.context import Context, edges, give_back
from alchemist_runtime.engine.streams import Stream
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.schema.plan import Node, Plan
from alchemist_runtime.schema.rows import DROPPED, PORTS, ROWS
from alchemist_runtime.storage.store import Manifest, Store, disk_problem

#: Kinds that leave figures and no rows.
ROWLESS = {"evaluate": "an evaluation has no rows", "measure": "a measure has no rows"}


def compare_plans(
    store: Store,
    before: Plan,
    after: Plan,
    pairs: Sequence[tuple[str | None, str | None]],
    *,
    samples: int = 3,
    after_store: Store | None = None,
) -> DataDiff:
    """Compare what the store holds of two plans, step by step; a pair names a step on each side, None where it is not
    there. `after_store`: where the results of `after` lie, if that is another store.

    A result that is missing or damaged makes its step `unknown`, and the others are compared all the same."""
    with tempfile.TemporaryDirectory(prefix="alchemist-compare-") as scratch:
        sides = _Sides(_context(before, store), _context(after, after_store or store), samples, Path(scratch))
        steps = tuple(sides.step(old, new) for old, new in pairs)
    return DataDiff(steps, _made(before), _made(after))


def _context(plan: Plan, store: Store) -> Context:
    return Context(plan, store.root.parent, store.root, store)


def _made(plan: Plan) -> Made:
    return Made(plan.recipe.get("path"), plan.variant)


@dataclass
class _Sides:
    """Both plans over one store."""

    before: Context
    after: Context
    samples: int
    scratch: Path
    places: Places = field(default_factory=Places)

    def step(self, old: str | None, new: str | None) -> StepDiff:
        """Compare one step."""
        found = StepDiff(old, new, self._kind(old, new), "unknown")
        try:
            if old is None or new is None:
                return self._alone(found)
            return self._both(found, self.before.node(old), self.after.node(new))
        except RunError as error:
            problem = error.problem
            node = problem.node or found.name
            return replace(found, state="unknown", problem=replace(problem, node=node))
        except OSError as error:  # no room for the files of a far order
            full = disk_problem(error, f"the comparison of `{found.name}`", found.name)
            if full is None:
                raise
            return replace(found, state="unknown", problem=full)
        finally:
            self.before.step_over()
            self.after.step_over()

    def _kind(self, old: str | None, new: str | None) -> str:
        if new is not None:
            return self.after.node(new).kind
        assert old is not None, "a pair names a step"
        return self.before.node(old).kind

    # --- a step that one side alone has -------------------------------------------------------------------------------

    def _alone(self, found: StepDiff) -> StepDiff:
        side: Side = "before" if found.after is None else "after"
        ctx = self.before if side == "before" else self.after
        state: State = "removed" if side == "before" else "added"
        if found.kind in ROWLESS or found.kind == "train":
            return replace(found, state=state, note=_no_rows(found.kind))
        manifest = ctx.store.manifest(ctx.node(found.name).key)
        if manifest is None:
            return replace(found, state=state, missing=(Missing(side, found.name, found.name),))
        ports = tuple(_alone_port(side, *p) for p in _described(manifest))
        return replace(found, state=state, ports=ports)

    # --- a step that both have ----------------------------------------------------------------------------------------

    def _both(self, found: StepDiff, old: Node, new: Node) -> StepDiff:
        one_store = self.before.store.root == self.after.store.root
        equal = old.key == new.key and one_store  # a teacher may answer otherwise in another store
        if found.kind in ROWLESS:
            return replace(found, state="rowless", note=_no_rows(found.kind))
        if found.kind == "train" and old.kind == "train":
            return self._training(found, old, new)
        if equal:
            manifest = self.after.store.manifest(new.key)
            ports = tuple(_equal_port(*p) for p in _described(manifest)) if manifest else ()
            return replace(found, state="same", ports=ports)
        absent = [*_absent(self.before, "before", old), *_absent(self.after, "after", new)]
        if absent:
            return replace(found, missing=tuple(absent))
        manifests = self.before.manifest(old.id), self.after.manifest(new.id)
        if found.kind == "export" and old.kind == "export":
            return self._exports(found, *manifests)
        return self._ports(found, old, new, *manifests)

    def _ports(self, found: StepDiff, old: Node, new: Node, before: Manifest, after: Manifest) -> StepDiff:
        ports: list[PortDiff] = []
        compared: dict[str, Compared] = {}
        for name in PORTS:
            a, b = before.data["ports"].get(name), after.data["ports"].get(name)
            if a is None and b is None:
                continue
            if a is None or b is None:
                side: Side = "after" if a is None else "before"
                ports.append(_alone_port(side, name, a or b))
            elif a["digest"] == b["digest"] and a["columns"] == b["columns"]:
                ports.append(_equal_port(name, b))
            else:
                streams = self.before.open(old.id, name), self.after.open(new.id, name)
                compared[name] = self._compared(name, *streams)
                ports.append(compared[name].diff)
        return replace(found, state=port_state(ports), ports=tuple(ports), moves=tuple(self._moves(compared)))

    def _compared(self, port: str, before: Stream, after: Stream) -> Compared:
        names = f"{port} before", f"{port} after"
        comparison = Comparison(self.samples, self.scratch, names, self.places)
        compared = comparison.port(port, before, after)
        give_back()
        return compared

    def _exports(self, found: StepDiff, before: Manifest, after: Manifest) -> StepDiff:
        """The files that two exports wrote, split by split."""
        ports: list[PortDiff] = []
        with (
            opened_files(before.path / "files", self.scratch) as old,
            opened_files(after.path / "files", self.scratch) as new,
        ):
            for name in dict.fromkeys([*old, *new]):
                a, b = old.get(name), new.get(name)
                if a is None or b is None:
                    ports.append(one_side(name, a, b))
                else:
                    ports.append(self._compared(name, *alike(a, b)).diff)
        return replace(found, state=port_state(ports), ports=tuple(ports))

    def _training(self, found: StepDiff, old: Node, new: Node) -> StepDiff:
        """The rows that two trainings read: their models have no rows."""
        if old.key == new.key and self.before.store.root == self.after.store.root:
            return replace(found, state="same")
        found = replace(found, note=_no_rows("train"))
        absent = [
            replace(m, step=node.id)
            for ctx, side, node in self._with_sides(old, new)
            for i in edges(node, "data")
            for m in _absent(ctx, side, ctx.node(node.inputs[i].node))
        ]
        if absent:
            return replace(found, missing=tuple(absent))
        fed = [self._fed(ctx, node) for ctx, _, node in self._with_sides(old, new)]
        if fed[0] == fed[1]:
            rows = sum(self.after.edge(new.inputs[i]).n for i in edges(new, "data"))
            return replace(found, state="rowless", ports=(PortDiff("data", rows, rows, read=False),))
        streams = self.before.inputs(old, "data"), self.after.inputs(new, "data")
        diff = self._compared("data", *streams).diff
        return replace(found, state="rowless" if diff.same else "changed", ports=(diff,))

    def _with_sides(self, old: Node, new: Node) -> Iterator[tuple[Context, Side, Node]]:
        yield self.before, "before", old
        yield self.after, "after", new

    def _fed(self, ctx: Context, node: Node) -> list[tuple[Any, ...]]:
        """Digests of what a step reads as data."""
        found = []
        for i in edges(node, "data"):
            edge = node.inputs[i]
            port = ctx.manifest(edge.node).port(edge.port)
            found.append((port["digest"], edge.origin, dict(port["columns"])))
        return found

    # --- rows that moved ----------------------------------------------------------------------------------------------

    def _moves(self, compared: Mapping[str, Compared]) -> Iterator[Move]:
        """Rows that were passed on and are now refused, by the rule that refuses them; and the reverse."""
        kept, refused = compared.get(ROWS), compared.get(DROPPED)
        if kept is None or refused is None:
            return
        yield from self._moved("dropped", kept, refused)
        yield from self._moved("rows", refused, kept)

    def _moved(self, to: Literal["dropped", "rows"], left: Compared, entered: Compared) -> Iterator[Move]:
        gone, come = left.matched.removed, entered.matched.added
        pairs = match(left.keys[0].take(gone), entered.keys[1].take(come), copies=False)
        old, new = gone[pairs.before], come[pairs.after]
        stream, rows = (entered.after, new) if to == "dropped" else (left.before, old)
        if not len(rows) or "rule" not in stream.types:
            return
        names: dict[str | None, int] = {}
        by_rule = codes(stream, "rule", names)[rows]
        for rule, number in sorted(names.items(), key=lambda n: str(n[0])):
            mine = np.flatnonzero(by_rule == number)
            if len(mine):
                first = entered.keys[1].first(new[mine], self.samples)
                at = mine[[int(np.flatnonzero(new[mine] == row)[0]) for row in first]]
                some = [_moved_sample(left, entered, int(old[i]), int(new[i])) for i in at]
                yield Move(str(rule), to, len(mine), tuple(some))


def _moved_sample(left: Compared, entered: Compared, old: int, new: int) -> Sample:
    """A row that moved, as it stands in the port that it left and in the one that it entered."""
    return replace(row_sample(entered, None, new), before=shown(left.places, left.before, old))


# --- descriptions of ports --------------------------------------------------------------------------------------------


def _described(manifest: Manifest) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Ports of a step with their counts; the splits of an export."""
    for name in PORTS:
        if name in manifest.data["ports"]:
            yield name, manifest.port(name)
    for split, rows in manifest.figures.get("splits", {}).items():
        yield split, {"rows": rows, "per_origin": {}}


def _alone_port(side: Side, name: str, port: Mapping[str, Any]) -> PortDiff:
    rows = port["rows"]
    came = side == "after"
    origins = tuple(
        GroupDiff(o, 0, n, added=n) if came else GroupDiff(o, n, 0, removed=n) for o, n in port["per_origin"].items()
    )
    if came:
        return PortDiff(name, None, rows, added=rows, origins=origins, read=False)
    return PortDiff(name, rows, None, removed=rows, origins=origins, read=False)


def _equal_port(name: str, port: Mapping[str, Any]) -> PortDiff:
    origins = tuple(GroupDiff(o, n, n) for o, n in port["per_origin"].items())
    return PortDiff(name, port["rows"], port["rows"], origins=origins, read=False)


def _no_rows(kind: str) -> str:
    return ROWLESS.get(kind, "the model of a training has no rows") + " that could be compared"


def _absent(ctx: Context, side: Side, node: Node) -> list[Missing]:
    """What is not in the store of a step: its own result, or one whose rows it shows."""
    lost: dict[str, None] = {}
    todo, met = [node.id], {node.id}
    while todo:
        name = todo.pop()
        this = ctx.node(name)
        manifest = ctx.store.manifest(this.key)
        if manifest is None:
            lost[name] = None
            continue
        views = {i for p in manifest.data["ports"].values() for d in p["parts"] for i in d.get("view", ())}
        fresh = {this.inputs[i].node for i in views} - met
        met |= fresh
        todo += sorted(fresh)
    return [Missing(side, node.id, name) for name in lost]
