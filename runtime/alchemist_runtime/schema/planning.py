"""What a run works on: one answer for `run`, `compile`, `why`, `graph` and `diff`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import Node


class Results(Protocol):
    """What is known of the results of a plan's nodes."""

    def finished(self, node: Node) -> bool:
        """Whether a node needs no work: its result is there, and so is what it put outside the store."""

    def stored(self, node: Node) -> bool:
        """Whether its result is in the store, whole."""

    def shows(self, node: Node) -> Collection[str]:
        """The nodes whose rows a stored result shows without holding them."""


def needed(nodes: Sequence[Node], targets: Iterable[str] | None) -> list[Node]:
    """The nodes that the targets need, in the plan's order; all without targets."""
    if targets is None:
        return list(nodes)
    by_name = {n.id: n for n in nodes}
    wanted: set[str] = set()
    todo = list(targets)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += [e.node for e in by_name[name].inputs]
    return [n for n in nodes if n.id in wanted]


def not_run(nodes: Iterable[Node], finished: Callable[[Node], bool] | None = None) -> set[str]:
    """Nodes that this version does not carry out, and those that need one of them, unless they are finished anyway."""
    out: set[str] = set()
    for node in nodes:
        if node.runnable and not any(e.node in out for e in node.inputs):
            continue
        if finished is None or not finished(node):
            out.add(node.id)
    return out


def must_be_there(
    nodes: Sequence[Node], results: Results, targets: Iterable[str] | None = None, also: Iterable[str] = ()
) -> set[str]:
    """The nodes to look at: the targets, or else roots and what nobody reads; `also`; and what those need that are not
    finished.

    What only finished nodes read is left alone. A result that is read is whole only with the results that it shows:
    where one of those is gone, it is made again. Nodes that are not run are among them where they are asked for, and
    nothing is built for them alone."""
    by_name = {n.id: n for n in nodes}
    if targets is not None:
        goals = set(targets)
    else:
        read = {e.node for n in nodes for e in n.inputs}
        goals = {n.id for n in nodes if n.id not in read or KINDS[n.kind].root}
    goals |= set(also)
    wanted: set[str] = set()
    opened: set[str] = set()  # by a node that is built
    stuck = not_run(nodes, results.finished)
    for node in reversed(nodes):
        if node.id not in goals:
            continue
        wanted.add(node.id)
        inputs = {e.node for e in node.inputs}
        if node.id in stuck:  # what feeds nothing else is not worth its time and money
            goals |= inputs & stuck
        elif not results.finished(node):
            goals |= inputs
            opened |= inputs
        elif node.id in opened:
            displayed = set(results.shows(node))
            opened |= displayed
            goals |= {name for name in displayed if not _whole(by_name[name], by_name, results)}
    return wanted


def _whole(node: Node, by_name: dict[str, Node], results: Results) -> bool:
    return results.stored(node) and all(_whole(by_name[n], by_name, results) for n in results.shows(node))
