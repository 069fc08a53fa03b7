"""The plan: what a recipe lowers to and what the runtime carries out. Plain, versioned JSON; the border of the two packages.

Two parts. The portable part (everything but `now`) follows from recipe, imports, params and lock, and is byte-identical
everywhere; `digest` covers it. `now` says what a run on this machine would do.

Exact numbers (shares, money, reals) are strings: "1/20", "0.0005". Expressions are nested JSON lists, see `Expr`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PLAN_FORMAT = "1.0"
CANON = "alc/1"

#: A typed expression tree. A call's arguments are always by parameter name (a variadic parameter holds a ["list", …]).
#:   ["lit", TYPE, VALUE]          VALUE as JSON; exact numbers as strings in lowest terms; ["lit", "null", null]
#:   ["col", NAME]                 a column of the row as it came in (also _id, origin, rule, before, …)
#:   ["out", NAME]                 a field of the teacher's answer
#:   ["field", E, NAME]            a field of a record or of json        ["item", E, E]   an element, from 0, negative from the end
#:   ["call", FUNCTION, {PARAM: E}]
#:   ["not", E]   ["neg", E]   ["and", [E…]]   ["or", [E…]]
#:   ["cmp", "==" "!=" "<" "<=" ">" ">=", A, B]    ["num", "+" "-" "*" "/", A, B]    ["cat", A, B] (text)
#:   ["in", A, B]                  B a ["list", [E…]] or an ["interval", LO, HI] (closed)
#:   ["list", [E…]]   ["record", {NAME: E}]
#:   ["template", DIGEST, [NAMES]] the template `texts[DIGEST]` rendered over these columns of the row
#: and in `expect` and `check` also
#:   ["total", NAME]               "rows" or "tokens" of the step itself, "dropped.RULE"
#:   ["ref", NODE, PORT, ORIGIN]   a stream, argument of rows(…), share(…)       ["plan", NAME]   "cost", "calls", …
Expr = list[Any]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class At(Model):
    file: str  # relative to the project, with "/", or "std:…"
    line: int
    column: int


class Edge(Model):
    """One input stream of a node: a port of another node, or the part of it that came from one source."""

    node: str
    port: Literal["rows", "dropped", "trace"] = "rows"
    origin: str | None = None
    role: str = "from"  # from | against | learn | sound | data | take.NAME | examples | model | suites | tokenizer
    key: str
    take: Literal["all"] | int = "all"


class Select(Model):
    """Which rows a step works on. Exactly one of fraction, count, where."""

    fraction: str | None = None  # "1/20"
    count: int | None = None
    where: Expr | None = None
    per: list[str] = []  # inside each group of these columns
    best: list[Expr] = []  # the highest instead of a draw by hash; later ones break ties
    salt: str = ""


class Rule(Model):
    verb: Literal["keep", "drop", "expect"]
    name: str
    expr: Expr
    text: str  # as written, for reports
    at: At | None = None


class SetColumn(Model):
    column: str
    type: str
    expr: Expr


class Method(Model):
    """A component with its arguments, defaults filled in: minhash(ngram = 5, …)."""

    name: str
    version: int = 1
    args: dict[str, Any] = {}


# --- resources that steps refer to -------------------------------------------------------------------------------------------


class Price(Model):
    input: str = "0"  # dollars per token, exact: "3/100000"
    output: str = "0"
    free: bool = False


class Teacher(Model):
    name: str
    provider: str  # component of the family `teachers`
    model: str | None = None
    revision: str | None = None
    base_url: str | None = None
    identity: str | None = None
    api_key_env: str | None = None
    sampling: dict[str, Any] = {}  # temperature, top_p (exact strings), max_tokens, stop
    price: Price | None = None  # None: unknown
    rate: list[dict[str, Any]] = []  # [{"unit": "calls" | "tokens", "per_second": "25/3"}]
    concurrency: int = 64
    timeout_seconds: float = 120.0
    retries: int = 6
    batch: bool = False
    identity_key: str = ""  # H(provider, model, revision, sampling, identity or foreign base_url): in call keys and node keys
    at: At | None = None


class Prompt(Model):
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


# --- specs, one per kind ------------------------------------------------------------------------------------------------------


class SourceSpec(Model):
    kind: Literal["source"] = "source"
    name: str  # data: it becomes `origin`
    salt: str  # repo/config/split, or the source's name for files
    reader: Method  # component of the family `sources`: files | python | hub | missing
    files: list[
        dict[str, str]
    ] = []  # [{"path": relative, "digest": "b2:…", "format": "jsonl"}], sorted, from the lock
    columns: dict[str, str] = {}  # known columns of the record as read ({}: unknown)
    sets: list[SetColumn] = []
    id_column: str | None = None
    limit: int | None = None  # rows, of lowest hash
    run_limit: int | None = None  # run --limit
    on_bad_row: Literal["error", "skip"] = "error"
    max_bad: int | None = None
    rules: list[Rule] = []
    license: str | None = None
    missing: str | None = None
    schema_columns: dict[str, str] = {}  # required columns and types of the row schema


class MapSpec(Model):
    kind: Literal["map"] = "map"
    sets: list[SetColumn]
    select: Select | None = None
    mode: Literal["only", "replace", "add"] = "replace"
    salt: str = ""
    rules: list[Rule] = []


class FilterSpec(Model):
    kind: Literal["filter"] = "filter"
    rules: list[Rule]
    select: Select | None = None


class DedupSpec(Model):
    kind: Literal["dedup"] = "dedup"
    on: list[Expr]
    method: Method
    prefer: Expr | None = None
    rules: list[Rule] = []


class SuiteSpec(Model):
    kind: Literal["suite"] = "suite"
    name: str
    reader: Method
    files: list[dict[str, str]] = []
    columns: dict[str, str] = {}
    text: list[str]  # columns that hold text to look for
    id_column: str | None = None
    entry_point: str | None = None
    engine: str | None = None
    license: str | None = None
    evaluation: dict[str, Any] = {}


class DecontaminateSpec(Model):
    kind: Literal["decontaminate"] = "decontaminate"
    on: list[Expr]  # texts of a row; default: all turns
    methods: list[Method]
    rules: list[Rule] = []


class TeacherStepSpec(Model):
    """relabel and generate."""

    kind: Literal["relabel", "generate"]
    teacher: str  # in plan.teachers
    prompt: str  # in plan.prompts
    select: Select | None = None
    mode: Literal["only", "replace", "add"]
    place: Literal["before", "after", "system"] | None = (
        None  # relabel; already lowered into `sets`
    )
    sets: list[SetColumn]
    rules: list[Rule] = []
    samples: int = 1
    retries_on_reject: int = 0
    max_failed: str = "1/20"
    budget: str | None = None  # dollars
    on_long: Literal["error", "drop", "truncate"] = "error"
    inputs: dict[str, Expr]  # prompt input -> expression over the row
    salt: str = ""


class TaskSpec(Model):
    kind: Literal["task"] = "task"
    standard: Literal["evolution", "filtering", "review"] | None = None
    instruction: Expr  # ["template", …]
    response: Expr
    system: Expr | None = None
    classes: list[
        dict[str, Any]
    ] = []  # [{"name": "short_response", "rules": ["too_short"], "text": "…"}]
    sound: str | None = None  # share of the task rows whose answer is "none of these"
    select: Select | None = None
    lang: Expr | None = None
    salt: str = ""
    rules: list[Rule] = []


class Take(Model):
    name: str
    edge: int  # index in node.inputs
    amount: Literal["share", "parts", "rest", "rows", "tokens", "all", "multiplier"]
    value: str | None = None  # exact
    missing: bool = False  # all its rows come from `missing` sources


class MixtureSpec(Model):
    kind: Literal["mixture"] = "mixture"
    unit: Literal["rows", "tokens"]
    total: int | None = None  # in `unit`
    take: list[Take]
    weights: Method | None = (
        None  # by_size(temperature): the parts of all entries, from their sizes
    )
    on_short: Literal["error", "repeat", "shrink"] = "error"
    repeat_max: str | None = None
    redraw: Literal["per_epoch"] | None = None  # None: the draw is made once
    tokenizer: dict[str, Any] | None = (
        None  # {"name": …, "revision": …} | {"bytes": true} | None: declared estimate chars / 4
    )
    salt: str = ""
    rules: list[Rule] = []


class ExportSpec(Model):
    kind: Literal["export"] = "export"
    format: Literal["parquet", "jsonl", "messages"] = "parquet"
    path: str | None = None
    hub: str | None = None
    columns: list[str] = []
    lineage: Literal["columns", "sidecar"] = "columns"
    split: dict[str, str] = {}  # {"train": "19/20", "eval": "1/20"}
    license: str | None = None
    title: str | None = None
    schema_columns: dict[str, str] = {}
    salt: str = ""


class TrainSpec(Model):
    kind: Literal["train"] = "train"
    base: str | None = (
        None  # path, hub id, or the name of a train node (then an edge of role "model")
    )
    revision: str | None = None
    init: Method  # pretrained() | scratch(hidden = 128, layers = 2, …)
    method: Method  # full() | lora(r = 16, …)
    epochs: str | None = None
    steps: int | None = None
    batch: dict[str, Any]  # {"unit": "rows" | "tokens", "value": 128}
    max_length: int
    packing: Literal["none", "ffd", "wrapped"] = "ffd"
    loss: Literal["assistant", "last", "all"] = "assistant"
    average: Literal["rows"] | None = (
        None  # what the loss is a mean over; None: the tokens of a batch
    )
    optimizer: str = "adamw"
    learning_rate: str
    schedule: Method
    weight_decay: str = "0"
    max_grad_norm: str = "1"
    dropout: str | None = None
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    chat_template: dict[str, str] | None = None
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
    report: list[str] = []
    on_long: Literal["error", "drop", "truncate"] = "truncate"
    command: list[str] = []  # accelerate launch … {processes} …


class EvaluateSpec(Model):
    kind: Literal["evaluate"] = "evaluate"
    suites: list[str]
    limit: int | None = None


class MeasureSpec(Model):
    kind: Literal["measure"] = "measure"
    by: str = "origin"
    metrics: list[Method] = []


Spec = Annotated[
    SourceSpec
    | MapSpec
    | FilterSpec
    | DedupSpec
    | SuiteSpec
    | DecontaminateSpec
    | TeacherStepSpec
    | TaskSpec
    | MixtureSpec
    | ExportSpec
    | TrainSpec
    | EvaluateSpec
    | MeasureSpec,
    Field(discriminator="kind"),
]


# --- the plan -----------------------------------------------------------------------------------------------------------------


class Estimate(Model):
    low: str | None = None
    value: str | None = None
    high: str | None = None
    #: scaled: the last run of another version, by how much there is to do now
    basis: Literal["last_run", "scaled", "sampled", "declared", "exact", "unknown"] = "unknown"


class Node(Model):
    id: str
    kind: str
    doc: str | None = None
    at: At
    inputs: list[Edge] = []
    spec: Spec
    key: str
    meta_key: str
    own_key: str = ""  # the key's ingredients without the inputs' keys; with the inputs' content digests: the content key
    runnable: bool = True  # False: this version compiles the node but does not run it
    columns: dict[str, dict[str, str]] = {}  # port -> column -> type
    estimate: dict[str, Estimate] = {}  # rows, calls, tokens_in, tokens_out, usd


class Check(Model):
    id: str
    at: At
    severity: Literal["warn", "error"] = "error"
    expr: Expr
    text: str
    verdict: Literal["pass", "fail", "unknown"] = "unknown"
    value: str | None = None
    reads: list[str] = []  # nodes


class Param(Model):
    name: str
    type: str
    value: str  # canonical text
    origin: str  # default | set | file | environment | variant


class Reason(Model):
    code: str
    path: str | None = None
    before: str | None = None
    after: str | None = None


class NowNode(Model):
    id: str
    action: Literal["reuse", "build", "extend", "skip"]
    reasons: list[Reason] = []
    calls_cached: int | None = None
    calls_new: int | None = None
    usd: Estimate | None = None


class Now(Model):
    nodes: list[NowNode] = []
    base_run: str | None = None


class Plan(Model):
    plan_format: str = PLAN_FORMAT
    canon: str = CANON
    edition: int
    title: str | None = None
    recipe: dict[str, Any]  # {"path": …, "digest": …, "imports": [...]}
    variant: str | None = None
    seed: int = 0
    license: str | None = None
    tokenizer: dict[str, Any] | None = None  # of `tokens(…)` in expressions; form as in MixtureSpec
    params: list[Param] = []
    teachers: dict[str, Teacher] = {}
    prompts: dict[str, Prompt] = {}
    texts: dict[str, str] = {}  # digest -> template text
    nodes: list[Node]  # topological order, ties by name
    checks: list[Check] = []
    totals: dict[str, Estimate] = {}  # usd, calls, tokens_in, tokens_out (from scratch)
    digest: str = ""
    now: Now | None = None

    def node(self, id_: str) -> Node:
        """The node of this name; KeyError if there is none."""
        return next(n for n in self.nodes if n.id == id_)


def variant_part(variant: str) -> str:
    """A variant's name as part of the name of a folder: `grid[5%,add]` is `grid-5%-add`."""
    return re.sub(r"[^\w.%+]+", "-", variant).strip("-")


def not_run(nodes: Iterable[Node], there: Callable[[Node], bool] | None = None) -> set[str]:
    """Nodes that this version does not carry out, and those that need one of them; `there`: its result is at hand anyway."""
    out: set[str] = set()
    for node in nodes:
        if node.runnable and not any(e.node in out for e in node.inputs):
            continue
        if there is None or not there(node):
            out.add(node.id)
    return out


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8. ValueError for NaN and infinities."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


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


def portable(plan: Plan) -> dict[str, Any]:
    """The part of a plan that is the same on every machine, as JSON data without its digest."""
    return plan.model_dump(mode="json", exclude={"now", "digest"}, exclude_none=True)


def dump(plan: Plan) -> str:
    """The plan file: indented JSON with sorted keys and a final newline."""
    data = plan.model_dump(mode="json", exclude_none=True)
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
