"""A plan -> what its drawings show: steps with figures and what a run would do with them, and the links between
them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from alchemist_runtime.schema.plan import Edge, Estimate, Node, NowNode, Plan
from alchemist_runtime.schema.planning import not_run

from alchemist_dsl.explain.wording import amount, count, dollars, dollars_range, range_words, reason, skip_reason

#: What a run would do with a step; `planned`: the plan does not say, `not_run`: this version does not carry it out.
State = Literal["build", "extend", "reuse", "skip", "not_run", "planned"]
#: How a step differs from the one of another plan.
Mark = Literal["added", "removed", "changed", "indirect", "unchanged"]
Tone = State | Mark

STATES: Final[Mapping[State, str]] = {
    "build": "build",
    "extend": "extend",
    "reuse": "reuse",
    "skip": "skip",
    "not_run": "not run",
    "planned": "planned",
}
#: What a number of steps in a state, or with a mark, are called; in this order.
LEGEND: Final[Mapping[Tone, str]] = {
    "build": "build",
    "extend": "extend",
    "reuse": "reuse",
    "skip": "skip",
    "not_run": "not run by this version",
    "planned": "steps",
    "added": "added",
    "removed": "removed",
    "changed": "changed",
    "indirect": "changed by what they read",
    "unchanged": "unchanged",
}
#: Roles of an input that a line says by itself.
_PLAIN: Final = frozenset({"from", "data"})
_FIGURES: Final[Mapping[str, str]] = {
    "rows": "rows",
    "calls": "teacher calls",
    "tokens_in": "tokens in",
    "tokens_out": "tokens out",
    "usd": "cost",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """An expected amount; it says itself in the words of every command."""

    name: str
    estimate: Estimate

    @property
    def value(self) -> str:
        return dollars(self.estimate) if self.name == "usd" else count(self.estimate)

    @property
    def what(self) -> str:
        """What it counts."""
        return _FIGURES[self.name]

    @property
    def basis(self) -> str:
        """Its range, and what it rests on."""
        return range_words(self.estimate, money_=self.name == "usd")


@dataclass(frozen=True, slots=True)
class Stream:
    """One input: which port, which source's part of it, in which role; `amount`: what a mixture takes of it."""

    port: str
    origin: str | None
    role: str
    amount: str = ""

    @property
    def label(self) -> str:
        """What a drawing says beside its line; nothing for rows that a step just reads."""
        part = f".{self.port}" if self.port != "rows" else ""
        part += f".{self.origin}" if self.origin else ""
        return " ".join(word for word in (self.lead, part) if word)

    @property
    def lead(self) -> str:
        """The amount that is taken, or the role where it is not plain reading."""
        return self.amount or ("" if self.role in _PLAIN else self.role)


@dataclass(frozen=True, slots=True)
class Link:
    """Everything that a step reads of another one."""

    source: str
    target: str
    streams: tuple[Stream, ...]

    def label(self, most: int = 2) -> str:
        """The labels of its streams; only their number where there are more than `most`."""
        if len(self.streams) > most:
            return f"{len(self.streams)} streams"
        return ", ".join(s.label for s in self.streams if s.label)


@dataclass(frozen=True, slots=True)
class Step:
    """A node of the plan, in words."""

    name: str
    kind: str
    state: State
    why: tuple[str, ...]
    figures: tuple[Figure, ...]
    new: tuple[Figure, ...]  # what a run now would ask and spend of it
    key: str
    place: str  # file:line
    doc: str = ""
    columns: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()  # of each port
    mark: Mark | None = None

    @property
    def tone(self) -> Tone:
        """What its colour and its sign say: in a comparison its mark, else its state."""
        return self.mark or self.state

    @property
    def doing(self) -> str:
        """What a run would do with it, in a word; empty where the plan does not say, or the step is gone."""
        return "" if self.state == "planned" or self.mark == "removed" else STATES[self.state]

    @property
    def change(self) -> str:
        """Its mark in a word; empty where nothing changed."""
        return "" if self.mark is None or self.mark == "unchanged" else self.mark

    def figure(self, name: str) -> str:
        """An expected amount for a table; empty where the step has none of the kind."""
        return next((f.value for f in self.figures if f.name == name), "")


@dataclass(frozen=True, slots=True)
class Graph:
    """Steps in an order in which every one stands behind what it reads, and near it."""

    title: str
    recipe: str
    plan: str  # first digits of its digest
    variant: str | None
    steps: tuple[Step, ...]
    links: tuple[Link, ...]
    total: str  # calls and money from scratch, in a sentence; empty where no teacher is asked

    def step(self, name: str) -> Step:
        """The step of this name; KeyError if there is none."""
        found = next((s for s in self.steps if s.name == name), None)
        if found is None:
            raise KeyError(name)
        return found

    def into(self, name: str) -> tuple[Link, ...]:
        return tuple(link for link in self.links if link.target == name)

    def out_of(self, name: str) -> tuple[Link, ...]:
        return tuple(link for link in self.links if link.source == name)

    def call_stats(self) -> tuple[tuple[Tone, int], ...]:
        """How many steps there are in each state, or with each mark; those without one left out."""
        counted = ((tone, sum(s.tone == tone for s in self.steps)) for tone in LEGEND)
        return tuple((tone, n) for tone, n in counted if n)


# --- from a plan ------------------------------------------------------------------------------------------------------


def graph_of(plan: Plan) -> Graph:
    """The graph of a plan."""
    doing = {n.id: n for n in plan.now.nodes} if plan.now else {}
    stuck = not_run(plan.nodes, lambda n: n.id in doing and doing[n.id].action == "reuse")
    result = {n.id: _step(n, doing.get(n.id), stuck) for n in plan.nodes}
    links = tuple(link for n in plan.nodes for link in _links(n))
    return Graph(
        title=plan.title or "",
        recipe=str(plan.recipe.get("path", "")),
        plan=plan.digest.removeprefix("b2:")[:12],
        variant=plan.variant,
        steps=tuple(result[name] for name in drawing_order(list(result), links)),
        links=links,
        total=_total(plan),
    )


def _step(node: Node, doing: NowNode | None, stuck: Collection[str]) -> Step:
    state = _state(node, doing)
    why = tuple(reason(r) for r in doing.reasons) if doing else ()
    if state in ("skip", "not_run"):
        why = (skip_reason(node, stuck),)
    new: dict[str, Estimate] = {}
    if doing is not None and doing.calls_new is not None:
        value = str(doing.calls_new)
        new["calls"] = Estimate(low="0", value=value, high=value, basis="declared")
    if doing is not None and doing.usd is not None:
        new["usd"] = doing.usd
    return Step(
        name=node.id,
        kind=node.kind,
        state=state,
        why=why,
        figures=_figures(node.estimate),
        new=_figures(new) if state in ("build", "extend") else (),
        key=node.key,
        place=f"{node.at.file}:{node.at.line}",
        doc=node.doc or "",
        columns=tuple(
            (port, tuple(sorted(node.columns[port].items())))  # in a plan file keys are sorted
            for port in ("rows", "dropped", "trace", "rest", "train", "eval")
            if port in node.columns
        ),
    )


def _state(node: Node, doing: NowNode | None) -> State:
    if doing is not None and doing.action != "skip":
        return doing.action
    if not node.runnable:
        return "not_run"
    return "planned" if doing is None else "skip"


def _figures(estimates: Mapping[str, Estimate]) -> tuple[Figure, ...]:
    found = ((name, estimates.get(name)) for name in _FIGURES)
    return tuple(Figure(name, e) for name, e in found if e is not None)


def _links(node: Node) -> list[Link]:
    """One link for each node that is read, in the order of the inputs."""
    takes = {t.edge: t for t in getattr(node.spec, "take", [])}
    found: dict[str, list[Stream]] = {}
    for number, edge in enumerate(node.inputs):
        take = takes.get(number)
        taken = "" if take is None else amount(take.amount, take.value)
        found.setdefault(edge.node, []).append(_stream(edge, taken))
    return [Link(source, node.id, tuple(streams)) for source, streams in found.items()]


def _stream(edge: Edge, taken: str) -> Stream:
    return Stream(edge.port, edge.origin, edge.role, taken)


def _total(plan: Plan) -> str:
    calls, usd = plan.totals.get("calls"), plan.totals.get("usd")
    if calls is None or usd is None or calls.value == "0":
        return ""
    return f"{count(calls)} teacher calls, {dollars_range(usd)} from scratch"


# --- order ------------------------------------------------------------------------------------------------------------


def drawing_order(names: list[str], links: Iterable[Link]) -> list[str]:
    """The names so that each stands behind what it reads and as near to it as can be: longest chain first, what is read
    directly last."""
    inputs: dict[str, list[str]] = {name: [] for name in names}
    read: set[str] = set()
    for link in links:
        inputs[link.target].append(link.source)
        read.add(link.source)
    height: dict[str, int] = {}
    for name in _post_order(names, inputs):
        height[name] = 1 + max((height[i] for i in inputs[name]), default=0)
    by_height = {name: sorted(found, key=lambda i: -height[i]) for name, found in inputs.items()}
    return _post_order([name for name in names if name not in read], by_height)


def _post_order(roots: Iterable[str], inputs: Mapping[str, list[str]]) -> list[str]:
    done: dict[str, None] = {}
    for root in roots:
        ahead = [(root, False)]
        while ahead:
            name, read = ahead.pop()
            if read:
                done.setdefault(name)
            elif name not in done:
                ahead.append((name, True))
                ahead += [(i, False) for i in reversed(inputs[name])]
    return list(done)


# --- parts and comparisons --------------------------------------------------------------------------------------------


def upto(graph: Graph, names: Iterable[str]) -> Graph:
    """The part of a graph that these steps need."""
    kept = set(names)
    for step in reversed(graph.steps):
        if step.name in kept:
            kept |= {link.source for link in graph.into(step.name)}
    return replace(
        graph,
        steps=tuple(s for s in graph.steps if s.name in kept),
        links=tuple(link for link in graph.links if link.target in kept),
        total="" if len(kept) < len(graph.steps) else graph.total,
    )


def compared(before: Graph, after: Graph, marks: Mapping[str, Mark]) -> Graph:
    """The second graph with its marks, and beside it the steps of the first one that are marked as removed."""
    gone = {s.name: s for s in before.steps if marks.get(s.name) == "removed"}
    here = {s.name: s for s in after.steps}
    steps = {name: replace(s, mark=marks.get(name, "unchanged")) for name, s in {**gone, **here}.items()}
    links = list(after.links)
    known = {(link.source, link.target) for link in links}
    for link in before.links:
        ends = {link.source, link.target}
        old = bool(ends & gone.keys()) and ends <= steps.keys()
        if (link.source, link.target) in known or not old:
            continue
        if link.source not in _reached(link.target, links):  # the two may run in opposite ways
            links.append(link)
    ordered = drawing_order(list(steps), links)
    return replace(after, steps=tuple(steps[name] for name in ordered), links=tuple(links))


def _reached(start: str, links: Iterable[Link]) -> set[str]:
    """What is made of a step, with the step itself."""
    after: dict[str, list[str]] = {}
    for link in links:
        after.setdefault(link.source, []).append(link.target)
    found, ahead = {start}, [start]
    while ahead:
        more = [name for name in after.get(ahead.pop(), ()) if name not in found]
        found.update(more)
        ahead += more
    return found
