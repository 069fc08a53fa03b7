"""What a step may use while it runs: the plan, the store, its inputs as streams, and the services of the run."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.plan import Edge, Node, Plan, works
from alchemist_runtime.storage.store import Manifest, Store, outdated

if TYPE_CHECKING:
    import pyarrow as pa

    from alchemist_runtime.engine.expressions import Scope
    from alchemist_runtime.engine.streams import Stream
    from alchemist_runtime.engine.vector_functions import Tokenizer


# --- progress --------------------------------------------------------------------------------------------------------


class Progress(Protocol):
    """`figures` are what a person wants to see of a step: rows, calls, dollars, loss."""

    def start(self, node: str, kind: str, action: str) -> None: ...
    def advance(self, node: str, done: int, total: int | None, unit: str, note: str = "") -> None: ...
    def finish(self, node: str, figures: Mapping[str, Any], seconds: float) -> None: ...
    def warn(self, problem: Problem) -> None: ...


class Silent:
    """Keeps the warnings, shows nothing."""

    def __init__(self) -> None:
        self.warnings: list[Problem] = []

    def start(self, node: str, kind: str, action: str) -> None: ...
    def advance(self, node: str, done: int, total: int | None, unit: str, note: str = "") -> None: ...
    def finish(self, node: str, figures: Mapping[str, Any], seconds: float) -> None: ...
    def warn(self, problem: Problem) -> None:
        self.warnings.append(problem)


# --- memory ----------------------------------------------------------------------------------------------------------


def give_back() -> None:
    """Return what the allocators keep for later. Costs some milliseconds a step; kept, it adds up to a gigabyte."""
    pa.default_memory_pool().release_unused()
    _trim()()


@cache
def _trim() -> Callable[[], object]:
    """glibc's `malloc_trim`; nothing where there is none."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda: None
    return lambda: trim(0)


# --- context ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says of a run and no plan does."""

    budget: str | None = None  # dollars, exact
    replay: Path | None = None
    processes: int | None = None
    limited: bool = False  # --limit: nothing outside the store is moved
    from_file: bool = False  # the plan's keys are as good as whoever wrote its file
    keep_going: bool = False  # a step that fails stops only what needs it
    retry_refused: bool = False  # ask again where an answer was refused


@dataclass
class Context:
    """One run over one plan in one project. `state` is the `.alchemist` folder."""

    plan: Plan
    project: Path
    state: Path
    store: Store
    progress: Progress = field(default_factory=Silent)
    options: Options = field(default_factory=Options)
    #: key -> stream of a port, opened once
    _open: dict[tuple[str, str], Stream] = field(default_factory=dict)
    _nodes: dict[str, Node] = field(default_factory=dict)
    #: services that outlive a step: the call cache, teacher clients, worker processes; closed by the engine
    services: dict[str, Any] = field(default_factory=dict)
    #: node -> why its result, which lies there, cannot be used
    lost: dict[str, Problem] = field(default_factory=dict)
    #: nodes that this run has made
    fresh: set[str] = field(default_factory=set)
    #: asked before nodes are built that nobody counted on: what costs money needs a yes. RunError A709.
    agree: Callable[[Sequence[Node]], None] = lambda _: None

    def __post_init__(self) -> None:
        self._nodes = {n.id: n for n in self.plan.nodes}

    @cached_property
    def works(self) -> Mapping[str, str]:
        """What is done for each node, by digest."""
        return works(self.plan)

    @cached_property
    def _read(self) -> Mapping[str, set[str]]:
        """The ports beside `rows` of each node that others read."""
        found: dict[str, set[str]] = {n.id: set() for n in self.plan.nodes}
        for edge in (e for n in self.plan.nodes for e in n.inputs if e.port != "rows"):
            found[edge.node].add(edge.port)
        return found

    @cached_property
    def outdated(self) -> Mapping[str, int]:
        """The nodes whose results are there and are made again all the same, with how many rows of each are asked
        again.
        """
        refused = self.options.retry_refused
        return outdated(self.plan.nodes, self.made, refused=refused, fresh=self.fresh)

    def node(self, name: str) -> Node:
        return self._nodes[name]

    def manifest(self, node: str) -> Manifest:
        """What a finished step left; LookupError where it is not finished."""
        result = self.made(self._nodes[node])
        if result is None:
            raise LookupError(f"`{node}` is not built")
        return result

    def made(self, node: Node, key: str | None = None) -> Manifest | None:
        """What a node left in the store, under its own or another key; None where there is nothing, or nothing to
        trust. RunError A907 where nobody can tell."""
        try:
            result = self.store.manifest(key or node.key)
        except RunError as error:
            if error.damaged is None:
                raise
            self.lost[node.id] = error.problem
            return None
        if result is not None and result.data.get("work", "") not in ("", self.works[node.id]):
            return None  # a plan from a file made it, and does something else under this key
        if result is not None and not self._read[node.id] <= result.data["ports"].keys():
            return None  # an earlier version made it, without a port that is read now
        return result

    def open(self, node: str, port: str = "rows") -> Stream:
        """The rows of a port of a finished step."""
        from alchemist_runtime.engine.views import open_port

        key = (self._nodes[node].key, port)
        if key not in self._open:
            self._open[key] = open_port(self, self._nodes[node], port)
        return self._open[key]

    def step_over(self) -> None:
        """Forget the streams that are open, with the row groups they hold, and give memory back: the next step opens
        its own.
        """

        self._open.clear()
        self.__dict__.pop("outdated", None)
        give_back()

    def edge(self, edge: Edge) -> Stream:
        """The rows that come in by an edge."""
        stream = self.open(edge.node, edge.port)
        return stream.of_origin(edge.origin) if edge.origin else stream

    def inputs(self, node: Node, *roles: str) -> Stream:
        """The rows of all edges of these roles (`take` means every entry), one after the other."""
        from alchemist_runtime.engine.streams import Stream

        return Stream.concat([self.edge(node.inputs[i]) for i in edges(node, *roles)])

    def scope(self, batch: pa.RecordBatch, types: Mapping[str, str], out: pa.StructArray | None = None) -> Scope:
        """A batch in which expressions are evaluated, with the run's templates, tokenizer, worker processes and
        verdicts.
        """
        from alchemist_runtime.engine.expressions import Scope
        from alchemist_runtime.engine.row_functions import Session

        if "session" not in self.services:
            self.services["session"] = Session()
        return Scope(
            batch, out=out, texts=self.texts, tokenizer=self.tokenizer(), types=types, session=self.services["session"]
        )

    def tokenizer(self) -> Tokenizer | None:
        """What counts the tokens of `tokens(…)`: the plan's tokenizer; None counts characters / 4."""
        if self.plan.tokenizer is None:
            return None
        if "tokenizer" not in self.services:
            from alchemist_runtime.train.tokens import counter

            self.services["tokenizer"] = counter(self.plan.tokenizer, self.project)
        return self.services["tokenizer"]  # type: ignore[no-any-return]

    @property
    def texts(self) -> Mapping[str, str]:
        return self.plan.texts


def edges(node: Node, *roles: str) -> list[int]:
    """Numbers of a node's edges of these roles, in order."""
    return [i for i, e in enumerate(node.inputs) if e.role in roles or e.role.partition(".")[0] in roles]
