"""The plan: what a recipe lowers to and what the runtime carries out. Plain, versioned JSON; the border of the two
packages.

Two parts. The portable part (everything but `now`) follows from recipe, imports, params and lock, and is byte-identical
everywhere; `digest` covers it. `now` says what a run on this machine would do.

Exact numbers (shares, money, reals) are strings: "1/20", "0.0005". Expressions are nested JSON lists, see `Expr`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from alchemist_runtime.schema.errors import Problem, RunError
from alchemist_runtime.schema.sealed import KEY, read_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

PLAN_FORMAT = "1.0"
CANON = "alc/1"

#: A typed expression tree. A call's arguments are always by parameter name (a variadic parameter holds a ["list", …]).
#:   ["lit", TYPE, VALUE]           VALUE as JSON; exact numbers as strings in lowest terms; ["lit", "null", null]
#:   ["col", NAME]                  a column of the row as it came in (also _id, origin, rule, before, …)
#:   ["out", NAME]                  a field of the teacher's answer
#:   ["field", E, NAME]             a field of a record or of json
#:   ["item", E, E]                 an element, from 0, negative from the end
#:   ["call", FUNCTION, {PARAM: E}]
#:   ["not", E]  ["neg", E]  ["and", [E…]]  ["or", [E…]]
#:   ["cmp", "==" "!=" "<" "<=" ">" ">=", A, B]  ["num", "+" "-" "*" "/", A, B]  ["cat", A, B] (text)
#:   ["in", A, B]                   B a ["list", [E…]] or an ["interval", LO, HI] (closed)
#:   ["list", [E…]]  ["record", {NAME: E}]
#:   ["template", DIGEST, [NAMES]]  the template `texts[DIGEST]` rendered over these columns of the row
#: and in `expect` and `check` also
#:   ["total", NAME]                "rows" or "tokens" of the step itself, "dropped.RULE"
#:   ["ref", NODE, PORT, ORIGIN]    a stream, argument of rows(…), share(…)
#:   ["plan", NAME]                 "cost", "calls", …
_PARTS: dict[str, tuple[type, ...]] = {
    "lit": (str, object),
    "col": (str,),
    "out": (str,),
    "field": (list, str),
    "item": (list, list),
    "call": (str, dict),
    "not": (list,),
    "neg": (list,),
    "and": (list,),
    "or": (list,),
    "cmp": (str, list, list),
    "num": (str, list, list),
    "cat": (list, list),
    "in": (list, list),
    "list": (list,),
    "record": (dict,),
    "interval": (object, object),
    "template": (str, list),
    "total": (str,),
    "plan": (str,),
    "ref": (str, str, object),
}
_SEVERAL = frozenset({"and", "or", "list"})


def _tree(expr: list[Any]) -> list[Any]:
    """An expression as it is. ValueError where it is none."""
    todo: list[Any] = [expr]
    while todo:
        tree = todo.pop()
        kind = tree[0] if isinstance(tree, list) and tree and isinstance(tree[0], str) else ""
        parts = _PARTS.get(kind)
        if parts is None or len(tree) != len(parts) + 1:
            raise ValueError(f"{str(tree)[:60]} is no expression")
        if not all(map(isinstance, tree[1:], parts)):
            raise ValueError(f"a part of {str(tree)[:60]} is no expression")
        if kind in ("lit", "template"):
            continue
        for part in tree[1:]:
            if isinstance(part, dict):
                todo += part.values()
            elif isinstance(part, list):
                todo += part if kind in _SEVERAL else [part]
    return expr


class _Checked:
    """Has pydantic look at expressions when a plan is read; importing the plan does not import pydantic."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core.core_schema import no_info_after_validator_function

        return no_info_after_validator_function(_tree, handler(source))


Expr = Annotated[list[Any], _Checked()]


@dataclass(frozen=True, kw_only=True)
class At:
    file: str  # relative to the project, with "/", or "std:…"
    line: int
    column: int


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One input stream of a node: a port of another node, or the part of it that came from one source."""

    node: str
    port: Literal["rows", "dropped", "trace", "rest", "train", "eval"] = "rows"
    origin: str | None = None
    role: str = "from"  # from | against | learn | sound | data | take.NAME | examples | model | suites | tokenizer
    key: str
    take: Literal["all"] | int = "all"


@dataclass(frozen=True, kw_only=True)
class Select:
    """Which rows a step works on. Exactly one of fraction, count, where."""

    fraction: str | None = None  # "1/20"
    count: int | None = None
    where: Expr | None = None
    per: list[str] = field(default_factory=list)  # inside each group of these columns
    best: list[Expr] = field(default_factory=list)  # the highest instead of a draw by hash; later ones break ties
    salt: str = ""


@dataclass(frozen=True, kw_only=True)
class Rule:
    verb: Literal["keep", "drop", "expect"]
    name: str
    expr: Expr
    text: str  # as written, for reports
    at: At | None = None


@dataclass(frozen=True, kw_only=True)
class SetColumn:
    column: str
    type: str
    expr: Expr


@dataclass(frozen=True, kw_only=True)
class Method:
    """A component with its arguments, defaults filled in: minhash(ngram = 5, …)."""

    name: str
    version: int = 1
    args: dict[str, Any] = field(default_factory=dict)


# --- resources that steps refer to ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Price:
    input: str = "0"  # dollars per token, exact: "3/100000"
    output: str = "0"
    free: bool = False


@dataclass(frozen=True, kw_only=True)
class Teacher:
    name: str
    provider: str  # component of the family `teachers`
    model: str | None = None
    revision: str | None = None
    base_url: str | None = None
    identity: str | None = None
    api_key_env: str | None = None
    #: temperature, top_p (exact strings; absent: not sent), max_tokens, stop, seed, reasoning_effort
    sampling: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)  # further fields of the body
    query: dict[str, str] = field(default_factory=dict)  # parameters of the address
    headers_env: dict[str, str] = field(default_factory=dict)  # header -> environment variable with its value
    price: Price | None = None  # None: unknown
    rate: list[dict[str, Any]] = field(default_factory=list)  # [{"unit": "calls" | "tokens", "per_second": "25/3"}]
    concurrency: int = 64
    timeout_seconds: float = 120.0  # 0: an answer is waited for as long as it takes
    retries: int = 6
    batch: bool = False
    #: provider, model, revision, sampling, extra, query, identity or foreign base_url
    identity_of: dict[str, Any] = field(default_factory=dict)
    identity_key: str = ""  # H(identity_of): in call keys and node keys
    at: At | None = None

    @property
    def charged(self) -> Price | None:
        """What a token costs in the way that it is asked: the Batch API takes half."""
        if self.price is None or not self.batch:
            return self.price
        return replace(
            self.price, input=str(Fraction(self.price.input) / 2), output=str(Fraction(self.price.output) / 2)
        )


@dataclass(frozen=True, kw_only=True)
class Prompt:
    name: str
    inputs: dict[str, str]  # field -> type
    outputs: dict[str, str]
    system: str | None = None  # digest in `texts`
    user: str | None = None
    rules: str | None = None  # describe | evolve | review
    shots: int = 0
    turn: Literal["user"] | None = None  # whose turn the model writes; None: the assistant's
    prefill: str | None = None  # digest in `texts` of how that turn begins
    key: str = ""
    at: At | None = None


# --- specs, one per kind ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    kind: Literal["source"] = "source"
    name: str  # data: it becomes `origin`
    salt: str  # repo/config/split, or the source's name for files
    reader: Method  # component of the family `sources`: files | python | hub | missing
    #: [{"path": relative, "digest": "b2:…", "format": "jsonl"}], sorted, from the lock
    files: list[dict[str, str]] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)  # known columns of the record as read ({}: unknown)
    sets: list[SetColumn] = field(default_factory=list)
    id_column: str | None = None
    limit: int | None = None  # rows, of lowest hash
    run_limit: int | None = None  # run --limit
    on_bad_row: Literal["error", "skip"] = "error"
    max_bad: int | None = None
    rules: list[Rule] = field(default_factory=list)
    license: str | None = None
    missing: str | None = None
    schema_columns: dict[str, str] = field(default_factory=dict)  # required columns and types of the row schema


@dataclass(frozen=True, kw_only=True)
class MapSpec:
    kind: Literal["map"] = "map"
    sets: list[SetColumn]
    select: Select | None = None
    mode: Literal["only", "replace", "add"] = "replace"
    salt: str = ""
    rules: list[Rule] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class FilterSpec:
    kind: Literal["filter"] = "filter"
    rules: list[Rule]
    select: Select | None = None


@dataclass(frozen=True, kw_only=True)
class DedupSpec:
    kind: Literal["dedup"] = "dedup"
    on: list[Expr]
    method: Method
    prefer: Expr | None = None
    clusters: Literal["star", "connected"] = "star"
    rules: list[Rule] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    kind: Literal["split"] = "split"
    eval: str  # share, exact
    salt: str


@dataclass(frozen=True, kw_only=True)
class SuiteSpec:
    kind: Literal["suite"] = "suite"
    name: str
    reader: Method
    files: list[dict[str, str]] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    sets: list[SetColumn] = field(default_factory=list)
    text: list[str]  # columns that hold text to look for
    id_column: str | None = None
    entry_point: str | None = None
    engine: str | None = None
    license: str | None = None
    evaluation: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DecontaminateSpec:
    kind: Literal["decontaminate"] = "decontaminate"
    on: list[Expr]  # texts of a row; default: all turns
    methods: list[Method]
    rules: list[Rule] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class TeacherStepSpec:
    """relabel and generate."""

    kind: Literal["relabel", "generate"]
    teacher: str  # in plan.teachers
    prompt: str  # in plan.prompts
    select: Select | None = None
    mode: Literal["only", "replace", "add"]
    place: Literal["before", "after", "system"] | None = None  # relabel; already lowered into `sets`
    sets: list[SetColumn]
    rules: list[Rule] = field(default_factory=list)
    samples: int = 1
    accept: int | None = None  # so many rows are enough
    retries_on_reject: int = 0
    repair: int = 0
    max_failed: str = "1/20"
    budget: str | None = None  # dollars
    on_long: Literal["error", "drop", "truncate"] = "error"
    inputs: dict[str, Expr]  # prompt input -> expression over the row
    salt: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    kind: Literal["task"] = "task"
    standard: Literal["evolution", "filtering", "review"] | None = None
    instruction: Expr  # ["template", …]
    response: Expr
    system: Expr | None = None
    #: [{"name": "short_response", "rules": ["too_short"], "text": "…"}]
    classes: list[dict[str, Any]] = field(default_factory=list)
    sound: str | None = None  # share of the task rows whose answer is "none of these"
    select: Select | None = None
    lang: Expr | None = None
    salt: str = ""
    rules: list[Rule] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Take:
    name: str
    edge: int  # index in node.inputs
    amount: Literal["share", "parts", "rest", "rows", "tokens", "all", "multiplier"]
    value: str | None = None  # exact
    missing: bool = False  # all its rows come from `missing` sources


@dataclass(frozen=True, kw_only=True)
class MixtureSpec:
    kind: Literal["mixture"] = "mixture"
    unit: Literal["rows", "tokens"]
    total: int | None = None  # in `unit`
    take: list[Take]
    weights: Method | None = None  # by_size(temperature): the parts of all entries, from their sizes
    on_short: Literal["error", "repeat", "shrink"] = "error"
    repeat_max: str | None = None
    redraw: Literal["per_epoch"] | None = None  # None: the draw is made once
    tokenizer: dict[str, Any] | None = (
        None  # {"name": …, "revision": …} | {"bytes": true} | None: declared estimate chars / 4
    )
    salt: str = ""
    rules: list[Rule] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    kind: Literal["export"] = "export"
    format: Literal["parquet", "jsonl", "messages"] = "parquet"
    path: str | None = None
    hub: str | None = None
    columns: list[str] = field(default_factory=list)
    lineage: Literal["columns", "sidecar"] = "columns"
    split: dict[str, str] = field(default_factory=dict)  # {"train": "19/20", "eval": "1/20"}
    license: str | None = None
    title: str | None = None
    schema_columns: dict[str, str] = field(default_factory=dict)
    salt: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    kind: Literal["train"] = "train"
    base: str | None = None  # path, hub id, or the name of a train node (then an edge of role "model")
    revision: str | None = None
    init: Method  # pretrained() | scratch(hidden = 128, layers = 2, …)
    method: Method  # full() | lora(r = 16, …)
    epochs: str | None = None
    steps: int | None = None
    batch: dict[str, Any]  # {"unit": "packs" | "tokens" | "rows", "value": 128}
    max_length: int
    packing: Literal["none", "ffd", "wrapped"] = "ffd"
    loss: Literal["assistant", "last", "all"] = "assistant"
    average: Literal["rows"] | None = None  # what the loss is a mean over; None: the tokens of a batch
    optimizer: str = "adamw"
    learning_rate: str
    schedule: Method
    weight_decay: str = "0"
    max_grad_norm: str = "1"
    dropout: str | None = None
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    chat_template: dict[str, str] | None = None
    date: str | None = None  # the day that the chat template writes: "2026-11-30"
    special_tokens_in_text: Literal["error", "keep", "split"] = "keep"
    eval_share: str | None = None
    eval_rows: int | None = None
    seed: int = 0
    # how fast, not what: in no key
    parallel: str = "ddp"
    gpus: str = "auto"
    nodes: int = 1
    processes: int | None = None
    micro_batch: int | None = None
    save_every: dict[str, Any] | None = None
    report: list[str] = field(default_factory=list)
    on_long: Literal["error", "drop", "truncate"] = "drop"
    command: list[str] = field(default_factory=list)  # accelerate launch … {processes} …


@dataclass(frozen=True, kw_only=True)
class EvaluateSpec:
    kind: Literal["evaluate"] = "evaluate"
    suites: list[str]
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class MeasureSpec:
    kind: Literal["measure"] = "measure"
    by: str = "origin"
    metrics: list[Method] = field(default_factory=list)


class _ByKind:
    """Has pydantic choose the spec by its `kind`, so that it tells of the fields of that one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import Field

        return handler.generate_schema(Annotated[source, Field(discriminator="kind")])


Spec = Annotated[
    SourceSpec
    | MapSpec
    | FilterSpec
    | DedupSpec
    | SplitSpec
    | SuiteSpec
    | DecontaminateSpec
    | TeacherStepSpec
    | TaskSpec
    | MixtureSpec
    | ExportSpec
    | TrainSpec
    | EvaluateSpec
    | MeasureSpec,
    _ByKind(),
]


# --- the plan ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Estimate:
    low: str | None = None
    value: str | None = None
    high: str | None = None
    #: scaled: the last run of another version, by how much there is to do now
    basis: Literal["last_run", "scaled", "sampled", "declared", "exact", "unknown"] = "unknown"


@dataclass(frozen=True, kw_only=True)
class Node:
    id: str
    kind: str
    doc: str | None = None
    at: At
    inputs: list[Edge] = field(default_factory=list)
    spec: Spec
    key: str
    meta_key: str
    own_key: str = (
        ""  # the key's ingredients without the inputs' keys; with the inputs' content digests: the content key
    )
    runnable: bool = True  # False: this version compiles the node but does not run it
    columns: dict[str, dict[str, str]] = field(default_factory=dict)  # port -> column -> type
    estimate: dict[str, Estimate] = field(default_factory=dict)  # rows, calls, tokens_in, tokens_out, usd


@dataclass(frozen=True, kw_only=True)
class Check:
    id: str
    at: At
    severity: Literal["warn", "error"] = "error"
    expr: Expr
    text: str
    verdict: Literal["pass", "fail", "unknown"] = "unknown"
    value: str | None = None
    reads: list[str] = field(default_factory=list)  # nodes


@dataclass(frozen=True, kw_only=True)
class Param:
    name: str
    type: str
    value: str  # canonical text
    origin: str  # default | set | file | environment | variant


@dataclass(frozen=True, kw_only=True)
class Reason:
    code: str
    path: str | None = None
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, kw_only=True)
class NowNode:
    id: str
    action: Literal["reuse", "build", "extend", "skip"]
    reasons: list[Reason] = field(default_factory=list)
    calls_cached: int | None = None
    calls_new: int | None = None
    usd: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Now:
    nodes: list[NowNode] = field(default_factory=list)
    base_run: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    plan_format: str = PLAN_FORMAT
    canon: str = CANON
    edition: int
    title: str | None = None
    recipe: dict[str, Any]  # {"path": …, "digest": …, "imports": [...]}
    variant: str | None = None
    seed: int = 0
    license: str | None = None
    tokenizer: dict[str, Any] | None = None  # of `tokens(…)` in expressions; form as in MixtureSpec
    params: list[Param] = field(default_factory=list)
    teachers: dict[str, Teacher] = field(default_factory=dict)
    prompts: dict[str, Prompt] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # digest -> template text
    nodes: list[Node]  # topological order, ties by name
    checks: list[Check] = field(default_factory=list)
    totals: dict[str, Estimate] = field(default_factory=dict)  # usd, calls, tokens_in, tokens_out (from scratch)
    digest: str = ""
    now: Now | None = None

    def node(self, id_: str) -> Node:
        """The node of this name; KeyError if there is none."""
        return next(n for n in self.nodes if n.id == id_)


def to_json(value: Any, *, without_none: bool = False) -> Any:
    """What a plan, or a part of one, is as JSON data. `without_none`: fields that are None are left out."""
    match value:
        case list():
            return [to_json(v, without_none=without_none) for v in value]
        case dict():
            return {k: to_json(v, without_none=without_none) for k, v in value.items()}
        case _ if is_dataclass(value):
            found = ((f.name, getattr(value, f.name)) for f in fields(value))
            return {
                name: to_json(v, without_none=without_none) for name, v in found if not (without_none and v is None)
            }
        case _:
            return value


def from_json(type_: type[T], data: Any) -> T:
    """A part of a plan from JSON data. pydantic.ValidationError where it is none; unknown fields are ignored."""
    made: T = adapter(type_).validate_python(data)  # type: ignore[arg-type]
    return made


@cache
def adapter(type_: Any) -> TypeAdapter[Any]:
    """What reads a part of a plan from JSON data, and tells its schema."""
    from pydantic import TypeAdapter

    return TypeAdapter(type_)


def variant_part(variant: str) -> str:
    """A variant's name as part of the name of a folder: `grid[5%,add]` is `grid-5%-add`."""
    return re.sub(r"[^\w.%+]+", "-", variant).strip("-")


def not_run(nodes: Iterable[Node], there: Callable[[Node], bool] | None = None) -> set[str]:
    """Nodes that this version does not carry out, and those that need one of them; `there`: its result is at hand
    anyway.
    """
    out: set[str] = set()
    for node in nodes:
        if node.runnable and not any(e.node in out for e in node.inputs):
            continue
        if there is None or not there(node):
            out.add(node.id)
    return out


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8. ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """`b2:` and the BLAKE2b-256 of a value's canonical JSON, in hex."""
    return "b2:" + hashlib.blake2b(canonical(value), digest_size=32).hexdigest()


def text_digest(text: str) -> str:
    """`b2:` and the BLAKE2b-256 of a text in UTF-8."""
    return "b2:" + hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def card_digest(plan: Plan, node: Node) -> str:
    """A digest of what the card of an export says and no key holds: titles and licences."""
    licences = {n.id: n.spec.license for n in plan.nodes if isinstance(n.spec, SourceSpec)}
    title, licence = (getattr(node.spec, n, None) for n in ("title", "license"))
    return digest([title or plan.title, licence or plan.license, licences])


def works(plan: Plan) -> dict[str, str]:
    """By node a digest of everything that the engine is told to do for it and for what it reads, whatever the keys
    say.
    """
    out: dict[str, str] = {}
    for node in plan.nodes:
        spec = node.spec
        edges = [[e.role, e.port, e.origin, e.take, out[e.node]] for e in node.inputs]
        named = [getattr(plan, f"{n}s").get(getattr(spec, n, None)) for n in ("teacher", "prompt")]
        told = [m and to_json(m) for m in (spec, *named)]
        out[node.id] = digest([node.kind, plan.seed, plan.tokenizer, edges, told])
    return out


def portable(plan: Plan) -> dict[str, Any]:
    """The part of a plan that is the same on every machine, as JSON data without its digest."""
    data: dict[str, Any] = to_json(replace(plan, now=None), without_none=True)
    del data["digest"]
    return data


def dump(plan: Plan) -> str:
    """The plan file: indented JSON with sorted keys and a final newline."""
    data = to_json(plan, without_none=True)
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


# --- plans from outside -----------------------------------------------------------------------------------------------


class NotAPlan(ValueError):
    """A file is no plan; the message says why."""


_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_FORMATS = ("jsonl", "json", "csv", "parquet", "arrow")


def load(data: bytes, shown: str) -> Plan:
    """The plan of a file that anybody may have written: nothing in it is taken on trust.

    Raises NotAPlan, RunError A904 for one of a newer program, A917 where its digest or its keys do not fit what it
    says, A909 where it names a place outside the project."""
    try:
        found = read_json(data)
        version = str(found["plan_format"])
    except (KeyError, TypeError):
        raise NotAPlan("it does not say its `plan_format`") from None
    except ValueError as error:
        raise NotAPlan(" ".join(str(error).split())) from None
    if version.partition(".")[0] != PLAN_FORMAT.partition(".")[0]:
        raise RunError(_too_new(shown, version))
    from pydantic import ValidationError

    try:
        plan = from_json(Plan, found)
        wrong = None if plan.digest else "it has no digest"
        if wrong is None:
            told = digest({k: v for k, v in found.items() if k not in ("now", "digest")})
            changed = told != plan.digest
            wrong = "its digest is not that of what it says" if changed else _misfit(plan)
    except ValidationError as error:
        raise NotAPlan(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    except (RecursionError, ValueError, TypeError, ArithmeticError) as error:
        raise NotAPlan(" ".join(str(error).split())) from None
    if wrong is not None:
        raise RunError(_changed(shown, wrong))
    for place in _places(plan):
        if not inside(place):
            raise RunError(_outside(shown, place))
    return plan


def inside(path: str) -> bool:
    """Whether a path as a plan writes it stays in the project: relative, and never upward."""
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts and "\0" not in path


def _misfit(plan: Plan) -> str | None:
    """What does not fit in a plan whose digest is right. NotAPlan where a step reads what does not stand before it."""
    for name, text in plan.texts.items():
        if text_digest(text) != name:
            return f"the text {name[:15]}… has another digest"
    for teacher in plan.teachers.values():
        if not teacher.identity_of:
            return f"it does not say what the answers of `{teacher.name}` are kept under, as an earlier version did not"
        if digest(teacher.identity_of) != teacher.identity_key or not _is(teacher):
            return f"the answers of `{teacher.name}` would be kept as those of another teacher"
    known: dict[str, str] = {}
    for node in plan.nodes:
        if not _NAME.fullmatch(node.id) or node.id in known:
            return f"`{node.id}` is no name of a step, or that of two"
        if not KEY.fullmatch(node.key) or not KEY.fullmatch(node.own_key):
            return f"the key of `{node.id}` is none"
        if node.kind != node.spec.kind:
            return f"`{node.id}` is a {node.kind} and described as a {node.spec.kind}"
        for edge in node.inputs:
            if edge.node not in known:
                raise NotAPlan(f"`{node.id}` reads `{edge.node}`, which does not stand before it")
            if known[edge.node] != edge.key:
                return f"`{node.id}` reads `{edge.node}` under a key that is not its own"
        known[node.id] = node.key
        spec = node.spec
        if isinstance(spec, TeacherStepSpec) and not (spec.teacher in plan.teachers and spec.prompt in plan.prompts):
            return f"`{node.id}` names a teacher or prompt that the plan does not have"
        if isinstance(spec, TeacherStepSpec) and (trained := _trained(asked := plan.teachers[spec.teacher])):
            read = [e.key for e in node.inputs if e.role == "model" and e.node == asked.model]
            if read != [trained]:
                return f"`{node.id}` asks `{asked.name}` and does not read the training that makes it"
        if isinstance(spec, MixtureSpec) and any(t.edge not in range(len(node.inputs)) for t in spec.take):
            return f"`{node.id}` takes from an input that it does not have"
        for file in getattr(spec, "files", ()):
            if not KEY.fullmatch(file.get("digest", "")) or file.get("format") not in _FORMATS:
                return f"a file of `{node.id}` has no digest, or no format"
    lacks = [d for d in _templates(plan) if d not in plan.texts]
    return f"it does not hold the text {lacks[0][:15]}…" if lacks else None


def _is(teacher: Teacher) -> bool:
    """Whether a teacher is the one that its identity tells of: what it is asked for is what its answers are kept
    under.
    """
    told = {name.removeprefix("teacher."): value for name, value in teacher.identity_of.items()}
    named = ("provider", "revision", "identity")
    model = told.get("model")
    sampling = {
        "temperature": "none",
        "top_p": "1",  # the API's own default: what sends it and what sends none is one teacher
        "max_tokens": 1024,
        **teacher.sampling,
    }
    same = {n: sampling.get(n) for n in ("stop", "seed", "reasoning_effort")}
    same |= {n: getattr(teacher, n) or None for n in ("extra", "query")}
    url, own = teacher.base_url, told.get("base_url")
    elsewhere = url is not None and urlsplit(url).hostname != "api.openai.com"
    return (
        all(told.get(name) == getattr(teacher, name) for name in named)
        and (model == teacher.model or isinstance(model, dict))
        and (not elsewhere or teacher.identity is not None or own == (url or "").rstrip("/"))
        and all(
            _number(told.get(n, default)) == _number(sampling[n])
            for n, default in (("temperature", "0"), ("top_p", "1"))
        )
        and int(str(told.get("max_tokens", 1024)).split()[0]) == sampling["max_tokens"]
        and all(told.get(n) == value for n, value in same.items())
    )


def _trained(teacher: Teacher) -> str | None:
    """The key of the training whose model a teacher is, as its answers are kept; None for any other."""
    model = teacher.identity_of.get("teacher.model")
    return str(model["train"]) if isinstance(model, dict) and "train" in model else None


def _number(text: str) -> Fraction | None:
    return None if text == "none" else Fraction(text)


def _templates(plan: Plan) -> Iterator[str]:
    """The texts that a plan names by digest."""
    for prompt in plan.prompts.values():
        yield from (d for d in (prompt.system, prompt.user, prompt.prefill) if d is not None)
    todo: list[Any] = [to_json(n.spec) for n in plan.nodes]
    while todo:
        match todo.pop():
            case ["template", str(name), list()]:
                yield name
            case list() as items:
                todo += items
            case dict() as items:
                todo += items.values()


def _places(plan: Plan) -> Iterator[str]:
    """Where a plan says that something is written."""
    yield str(plan.recipe.get("path") or "recipe")
    for node in plan.nodes:
        if isinstance(node.spec, ExportSpec) and node.spec.path is not None:
            yield node.spec.path


def _too_new(shown: str, found: str) -> Problem:
    return Problem(
        "A904",
        f"`{shown}` has plan format {found[:20]}, this program reads {PLAN_FORMAT}",
        help="update this program, or compile the recipe again",
    )


def _changed(shown: str, why: str) -> Problem:
    return Problem(
        "A917",
        f"`{shown}` is not as the compiler wrote it: {why}",
        note="its results would be stored under keys that stand for something else",
        help="change the recipe, and compile it again",
    )


def _outside(shown: str, place: str) -> Problem:
    return Problem(
        "A909",
        f"`{shown}` writes to `{place[:200]}`, which lies outside the project",
        help="compile a recipe that writes into the project",
    )
