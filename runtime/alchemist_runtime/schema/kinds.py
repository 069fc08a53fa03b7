"""The kinds of block: each declared once, by its attributes and by what a plan holds of it.

An attribute with an annotation is a field of the plan too. Checking, lowering, keys, descriptions, completion, JSON
Schemas and docs read these declarations.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Annotated, Any, Final, Literal

from alchemist_runtime.schema.attributes import (
    BOOL,
    CHOICE,
    DECLARED,
    DURATION,
    EXPR,
    MONEY,
    MULTIPLIER,
    NAME,
    PACKS,
    PERCENT,
    PRICE,
    RATE,
    ROWS,
    SELECT,
    STEPS,
    STREAM,
    TEMPLATE,
    TEXT,
    TOKENS,
    Amount,
    AttrType,
    Call,
    attr,
    choice,
    component,
    integer,
    kind,
    list_of,
    percent,
    real,
    record,
    ref,
    signature,
    spec,
    whole,
)
from alchemist_runtime.schema.expressions import Expr

# --- parts of what a plan holds ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class At:
    file: str  # relative to the project, with "/", or "std:…"
    line: int
    column: int


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


@dataclass(frozen=True, kw_only=True)
class Price:
    input: str = "0"  # dollars per token, exact: "3/100000"
    output: str = "0"
    free: bool = False


@dataclass(frozen=True, kw_only=True)
class Take:
    name: str
    edge: int  # index in node.inputs
    amount: Literal["share", "parts", "rest", "rows", "tokens", "all", "multiplier"]
    value: str | None = None  # exact
    missing: bool = False  # all its rows come from `missing` sources


_THRESHOLD = (real(0, 1) | PERCENT, Amount("real", Fraction(9, 10)))
_FUZZY = signature("fuzzy", ratio=(real(0, 100), whole(95)))
_EMBEDDING = signature("embedding", model=TEXT, threshold=_THRESHOLD)
#: Methods of the language that no component of this version brings, by family. What a component of the same name says
#: of its parameters comes first, so a method moves from here to a file of its own without a recipe changing.
METHODS: Final[dict[str, AttrType]] = {
    "dedup": _FUZZY | _EMBEDDING,
    "decontaminate": _FUZZY | _EMBEDDING | signature("syntax_tree", threshold=_THRESHOLD),
    "metrics": signature("style")
    | signature("overlap")
    | signature("separability")
    | signature("cpd", model=TEXT | ref("train"))
    | signature("ifd", model=TEXT | ref("train"))
    | signature("leakage", suite=list_of(ref("suite"))),
}

#: Attributes whose entries are expressions; in other records without declared fields a text is a text.
NAMED_EXPRESSIONS: Final = frozenset({"map"})

# --- the kinds --------------------------------------------------------------------------------------------------------

_FROM = attr(list_of(STREAM), "The stream or streams it reads, one after the other.", required=True)
_SELECT = attr(SELECT, "The rows it works on: a share, a count or a condition, `per` a column.")
_BEST = attr(
    list_of(EXPR), "Instead of a draw by hash, the rows for which this is highest; later expressions break ties."
)
_MODE = (
    "What leaves the step: only the chosen rows, all rows with the chosen ones changed, or all rows and changed copies."
)
_EXTENDS = attr(
    ref("same"), "A block of the same kind from which everything comes that is not written here.", affects="doc"
)
_SALT = attr(TEXT, "Salt of its draw and its new ids; default: its name.", stored="")
_LICENSE = attr(TEXT, "SPDX identifier of the licence.", affects="doc")


@kind("Metadata and defaults of the file.", name="none")
class RecipeBlock:
    kind = "recipe"
    title = attr(TEXT, "A name for people.", affects="doc")
    license = attr(TEXT, "Licence that the result claims.", affects="doc")
    seed = attr(integer(0, 18446744073709551615), "Seed of every draw.", whole(0))
    schema = attr(ref("schema"), "Row schema of sources, exports and training; default `sft`.")
    tokenizer = attr(TEXT | ref("train"), "Tokenizer that counts tokens where nothing nearer names one.")
    revision = attr(TEXT, "Revision of the tokenizer, 40 hex digits.")
    extends = attr(TEXT, "A recipe file from which everything comes that is not written here.", affects="doc")


@kind("Columns of a row.", statements=frozenset({"field"}))
class SchemaBlock:
    kind = "schema"
    extends = _EXTENDS


@kind(
    "Where rows come from: exactly one of `hub`, `files`, `python`, `missing`.",
    statements=frozenset({"expect", "set"}),
    stream=True,
    ports=("rows", "dropped"),
    run="sources:run_source",
    reads=True,
)
class SourceSpec:
    kind: Literal["source"] = "source"
    hub = attr(TEXT, "Dataset id on the hub, `owner/name`.")
    revision = attr(TEXT, "Commit of the dataset, 40 hex digits; without it the lock pins one.")
    config = attr(TEXT, "Configuration of the dataset.")
    split = attr(list_of(TEXT), "Split or splits.", "train")
    #: [{"path": relative, "digest": "b2:…", "format": "jsonl"}], sorted, from the lock
    files: list[dict[str, str]] = attr(
        list_of(TEXT),
        "Globs of local files, relative to the recipe; with `hub`, inside the repository. jsonl, json, csv, parquet, "
        "arrow, also .gz and .zst.",
    )
    format = attr(choice("jsonl", "json", "csv", "parquet", "arrow"), "Format, where the ending does not tell.")
    python = attr(list_of(TEXT), "Installed packages or modules whose documented functions become rows.")
    doctests = attr(BOOL, "With `python`: rows from doctest sessions instead of whole functions.", False)
    missing: str | None = attr(TEXT, "Why this source is declared but not available.")
    limit: int | None = attr(ROWS, "At most so many rows, those of lowest hash.")  # rows, of lowest hash
    id = attr(TEXT, "Column to take as identity instead of the record's content.")
    license: str | None = _LICENSE
    on_bad_row: Literal["error", "skip"] = attr(
        choice("error") | signature("skip", max=(integer(), whole(0))),
        "What happens to a record that cannot be read.",
        "error",
    )
    schema = attr(ref("schema"), "Row schema that it must give; default: the recipe's.")
    extends = _EXTENDS
    name: str  # data: it becomes `origin`
    salt: str  # repo/config/split, or the source's name for files
    reader: Method  # component of the family `sources`: files | python | hub | missing
    columns: dict[str, str] = field(default_factory=dict)  # known columns of the record as read ({}: unknown)
    sets: list[SetColumn] = field(default_factory=list)
    id_column: str | None = None
    run_limit: int | None = None  # run --limit
    max_bad: int | None = None
    rules: list[Rule] = field(default_factory=list)
    schema_columns: dict[str, str] = field(default_factory=dict)  # required columns and types of the row schema


@kind("A model that answers prompts.")
class Teacher:
    kind = "teacher"
    #: component of the family `teachers`
    provider: str = attr(choice("openai", "transformers", "rules", "replay", "echo"), "Who answers.", required=True)
    model: str | None = attr(
        TEXT | ref("train"),
        "Model name; with `provider = transformers` a folder, a GGUF file, a name on the hub, or a train block: its "
        "final weights.",
    )
    revision: str | None = attr(TEXT, "Revision of the model.")
    base_url: str | None = attr(TEXT, "Address of an OpenAI-compatible server.", affects="speed")
    identity: str | None = attr(
        TEXT, "What the model is, whatever server answers: part of keys instead of a foreign base_url."
    )
    api_key_env: str | None = attr(
        TEXT,
        "Environment variable with the key; with a `base_url` of your own no key is sent unless you name one.",
        "OPENAI_API_KEY",
        stored=None,
        affects="speed",
    )
    temperature = attr(
        real(0, 2) | choice("none"), "Sampling temperature. `none` sends none, for models that take none.", whole(0)
    )
    top_p = attr(
        real(0, 1) | choice("none"),
        "Nucleus sampling. `none` sends none, and the server's own default holds.",
        "none",
        key_default=whole(1),
    )
    max_tokens = attr(TOKENS | integer(1), "Longest answer.", Amount("tokens", Fraction(1024)))
    stop = attr(list_of(TEXT), "Texts that end an answer.")
    seed = attr(
        integer(0, 2147483647),
        "Seed of the sampling, for servers that take one. Further answers to a row are drawn with the numbers after "
        "it.",
    )
    reasoning_effort = attr(
        choice("none", "minimal", "low", "medium", "high", "xhigh") | TEXT,
        "How much the model thinks before it answers. Unless it is written, nothing is sent; `none` is a word of the "
        "API.",
    )
    #: further fields of the body
    extra: dict[str, Any] = attr(
        record(),
        "Further fields of a request's body, for what a server takes beyond the API: numbers, texts, true or false, "
        "lists, blocks.",
    )
    #: parameters of the address
    query: dict[str, str] = attr(record(), "Parameters of the address, for example Azure's `api-version`.")
    #: header -> environment variable with its value
    headers_env: dict[str, str] = attr(
        record(), "Headers of a request, each with the environment variable that holds its value.", affects="speed"
    )
    #: None: unknown
    price: Price | None = attr(
        choice("free") | record(input=PRICE, output=PRICE),
        "Price of its tokens; `free` for a local model.",
        affects="cost",
    )
    #: [{"unit": "calls" | "tokens", "per_second": "25/3"}]
    rate: list[dict[str, Any]] = attr(list_of(RATE), "Most calls and tokens in a time.", affects="speed")
    concurrency: int = attr(
        integer(1, 4096),
        "Most calls at once; with `provider = transformers` the largest batch, 16 unless it is written.",
        whole(64),
        affects="speed",
    )
    timeout = attr(DURATION, "Longest wait for an answer.", Amount("duration", Fraction(120)), affects="speed")
    retries: int = attr(integer(0, 100), "Tries after the first for a call that fails.", whole(6), affects="speed")
    batch: bool = attr(
        BOOL,
        "All calls of a step at once by the Batch API of its server: half the price, within 24 hours.",
        False,
        affects="cost",
    )
    extends = _EXTENDS
    name: str
    #: temperature, top_p (exact strings; absent: not sent), max_tokens, stop, seed, reasoning_effort
    sampling: dict[str, Any] = field(default_factory=dict)
    timeout_seconds: float = 120.0  # 0: an answer is waited for as long as it takes
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


@kind("A request to a teacher.", blocks=("input", "output"))
class Prompt:
    kind = "prompt"
    system: str | None = attr(TEMPLATE, "System turn.")  # digest in `texts`
    user: str | None = attr(TEMPLATE, "User turn.")
    examples = attr(list_of(STREAM), "Streams with the fields of input and output, shown as earlier turns.")
    shots: int = attr(integer(0, 64), "How many examples.", whole(0))
    #: describe | evolve | review
    rules: str | None = attr(choice("describe", "evolve", "review"), "What the rules teacher does for it.")
    #: whose turn the model writes; None: the assistant's
    turn: Literal["user"] | None = attr(
        choice("assistant", "user"),
        "Whose turn the model writes: with `user` it makes up the request itself.",
        "assistant",
        stored=None,
    )
    #: digest in `texts` of how that turn begins
    prefill: str | None = attr(TEMPLATE, "How the model's turn begins; the model goes on from there.")
    extends = _EXTENDS
    name: str
    inputs: dict[str, str]  # field -> type
    outputs: dict[str, str]
    key: str = ""
    at: At | None = None


@kind(
    "New or changed columns.",
    statements=frozenset({"expect", "set"}),
    stream=True,
    ports=("rows", "rest"),
    run="filter_map:run_map",
    counts=("rows",),
)
class MapSpec:
    kind: Literal["map"] = "map"
    from_ = _FROM
    select: Select | None = _SELECT
    best = _BEST
    mode: Literal["only", "replace", "add"] = attr(CHOICE, _MODE, "replace")
    salt: str = _SALT
    extends = _EXTENDS
    sets: list[SetColumn]
    rules: list[Rule] = field(default_factory=list)


@kind(
    "Ordered rules that refuse rows, counted by rule.",
    statements=frozenset({"drop", "expect", "keep"}),
    stream=True,
    ports=("rows", "dropped", "rest"),
    run="filter_map:run_filter",
    keeps=True,
    counts=("rows", "dropped"),
)
class FilterSpec:
    kind: Literal["filter"] = "filter"
    from_ = _FROM
    select: Select | None = _SELECT
    best = _BEST
    salt = _SALT
    extends = _EXTENDS
    rules: list[Rule]


@kind(
    "Refuses rows that resemble one that stays.",
    statements=frozenset({"expect"}),
    stream=True,
    ports=("rows", "dropped"),
    run="dedup_steps:run_dedup",
    keeps=True,
    counts=("rows", "dropped"),
    refuses=("duplicate",),
)
class DedupSpec:
    kind: Literal["dedup"] = "dedup"
    from_ = _FROM
    on: list[Expr] = attr(list_of(EXPR), "What is compared, together.", ("instruction", "response"))
    method: Method = attr(component("dedup"), "How.", Call("exact"))
    clusters: Literal["star", "connected"] = attr(
        CHOICE, "What a group is: rows that resemble the one that stays, or all that are linked through others.", "star"
    )
    prefer: Expr | None = attr(
        EXPR, "The row for which this is highest stays; default: the first in the order of `from`, then the lowest id."
    )
    extends = _EXTENDS
    rules: list[Rule] = field(default_factory=list)


@kind(
    "Two parts of a stream, `NAME.train` and `NAME.eval`, that an export and a training both read.",
    stream=True,
    ports=("rows", "train", "eval"),
    draws=True,
    run="export_step:run_split",
    keeps=True,
    makes_ids=True,
)
class SplitSpec:
    kind: Literal["split"] = "split"
    from_ = _FROM
    #: share, exact
    eval: str = attr(
        PERCENT, "Share of the part `eval`, cut by source row; near-duplicate groups stay together.", required=True
    )
    salt: str = _SALT
    extends = _EXTENDS


@kind(
    "A benchmark: items to keep out of the data and to evaluate on.",
    statements=frozenset({"set"}),
    stream=True,
    ports=("rows",),
    run="sources:run_suite",
    reads=True,
)
class SuiteSpec:
    kind: Literal["suite"] = "suite"
    hub = attr(TEXT, "Dataset id on the hub.")
    revision = attr(TEXT, "Commit, 40 hex digits.")
    config = attr(TEXT, "Configuration.")
    split = attr(list_of(TEXT), "Split or splits.", "test")
    files: list[dict[str, str]] = attr(list_of(TEXT), "Globs of local files, relative to the recipe.")
    format = attr(choice("jsonl", "json", "csv", "parquet", "arrow"), "Format, where the ending does not tell.")
    missing = attr(TEXT, "Why its items are not available.")
    #: columns that hold text to look for
    text: list[str] = attr(
        list_of(TEXT), "Columns whose text must not be in the data, of the items or set here.", ("prompt",)
    )
    id = attr(TEXT, "Column with the item's name.")
    entry_point: str | None = attr(TEXT, "Column with the name of the function asked for.")
    license: str | None = _LICENSE
    engine: str | None = attr(TEXT, "What scores it: lm_eval task, evalplus set, or own.")
    shots = attr(integer(0, 64), "Examples shown.", whole(0))
    template = attr(TEMPLATE, "How an item is asked.")
    decoding = attr(record(), "Sampling while scored.")
    extends = _EXTENDS
    name: str
    reader: Method
    columns: dict[str, str] = field(default_factory=dict)
    sets: list[SetColumn] = field(default_factory=list)
    id_column: str | None = None
    evaluation: dict[str, Any] = field(default_factory=dict)


@kind(
    "Refuses rows that leak a benchmark.",
    statements=frozenset({"expect"}),
    stream=True,
    ports=("rows", "dropped"),
    run="dedup_steps:run_decontaminate",
    keeps=True,
    counts=("rows", "dropped"),
)
class DecontaminateSpec:
    kind: Literal["decontaminate"] = "decontaminate"
    from_ = _FROM
    #: texts of a row; default: all turns
    on: list[Expr] = attr(list_of(EXPR), "Texts of the row that are searched; default: all turns.")
    against = attr(list_of(STREAM), "Suites or streams.", required=True, order="set")
    method = attr(
        list_of(component("decontaminate")),
        "How; a row leaks if any says so.",
        (Call("ngram", (("n", whole(10)),)),),
        order="set",
    )
    extends = _EXTENDS
    methods: list[Method]
    rules: list[Rule] = field(default_factory=list)


@spec
class TeacherStepSpec:
    """What `relabel` and `generate` share."""

    kind: str
    from_ = _FROM
    select: Select | None = _SELECT
    best = _BEST
    mode: Literal["only", "replace", "add"] = attr(CHOICE, _MODE, required=True)
    teacher: str = attr(ref("teacher"), "The model that answers.", required=True)  # in plan.teachers
    prompt: str = attr(ref("prompt"), "What it is asked.", required=True)  # in plan.prompts
    map = attr(record(), "Prompt input = expression over the row, where names differ.")
    samples: int = attr(integer(1, 1000), "Answers for each row (with `mode = only`).", whole(1))
    #: so many rows are enough
    accept: int | None = attr(
        ROWS,
        "Ask until so many rows have been accepted (with `mode = only`); the others are not asked about. Default: as "
        "many as the only mixture that reads them takes.",
    )
    retries_on_reject: int = attr(integer(0, 100), "Further draws for each answer that a rule refuses.", whole(0))
    repair: int = attr(
        integer(0, 5),
        "How often an answer that does not fit its output is sent back with what is wrong; without it never.",
        stored=0,
    )
    max_failed: str = attr(
        PERCENT,
        "Share of calls that may fail for good, or of answers that may be unusable, before the step stops.",
        percent(5),
        affects="speed",
    )
    budget: str | None = attr(MONEY, "The most that this step may spend in one run.", affects="cost")  # dollars
    on_long: Literal["error", "drop", "truncate"] = attr(
        CHOICE, "What happens to a row that does not fit the context.", "error"
    )
    salt: str = _SALT
    extends = _EXTENDS
    place: Literal["before", "after", "system"] | None = None  # relabel; already lowered into `sets`
    sets: list[SetColumn]
    rules: list[Rule] = field(default_factory=list)
    inputs: dict[str, Expr]  # prompt input -> expression over the row


@kind(
    "AlchemistPrompts: a teacher says what the response does, and that goes before the instruction.",
    statements=frozenset({"drop", "expect", "keep", "set"}),
    stream=True,
    ports=("rows", "dropped", "trace", "rest"),
    draws=True,
    run="teacher_steps:run_teacher_step",
    counts=("rows", "dropped", "trace", "calls"),
    refuses=("unreadable", "no_input"),
)
class RelabelSpec(TeacherStepSpec):
    kind: Literal["relabel"] = "relabel"
    mode: Literal["only", "replace", "add"] = attr(CHOICE, _MODE, "replace")
    #: relabel; already lowered into `sets`
    place: Literal["before", "after", "system"] | None = attr(
        choice("before", "after", "system"), "Where the first text output goes.", "before", stored=None
    )


@kind(
    "Any other teacher step: evolve, answer, review, judge.",
    statements=frozenset({"drop", "expect", "keep", "set"}),
    stream=True,
    ports=("rows", "dropped", "trace", "rest"),
    draws=True,
    run="teacher_steps:run_teacher_step",
    counts=("rows", "dropped", "trace", "calls"),
    refuses=("unreadable", "no_input"),
    makes_ids=True,
)
class GenerateSpec(TeacherStepSpec):
    kind: Literal["generate"] = "generate"
    mode: Literal["only", "replace", "add"] = attr(CHOICE, _MODE, "only")


@kind(
    "A comprehension task: a template over a port, made from the data's own making.",
    statements=frozenset({"expect"}),
    blocks=("classes",),
    stream=True,
    ports=("rows", "dropped"),
    draws=True,
    operator_version=2,
    run="tasks:run_task",
    counts=("rows", "dropped"),
    refuses=("empty",),
    makes_ids=True,
)
class TaskSpec:
    kind: Literal["task"] = "task"
    learn = attr(list_of(STREAM), "The port it tells of.", required=True)
    #: ["template", …]
    instruction: Expr = attr(TEMPLATE, "What is asked; without templates the standard task of the port.")
    response: Expr = attr(TEMPLATE, "The answer.")
    system: Expr | None = attr(TEMPLATE, "System turn.")
    #: share of the task rows whose answer is "none of these"
    sound: str | None = attr(
        PERCENT, 'Share of task rows about kept rows, whose answer is "none of these".', percent(0), stored=None
    )
    select: Select | None = _SELECT
    best = _BEST
    salt: str = _SALT
    extends = _EXTENDS
    standard: Literal["evolution", "filtering", "review"] | None = None
    #: [{"name": "short_response", "rules": ["too_short"], "text": "…"}]
    classes: list[dict[str, Any]] = field(default_factory=list)
    lang: Expr | None = None
    rules: list[Rule] = field(default_factory=list)


@kind(
    "The sampling ratios.",
    statements=frozenset({"expect"}),
    blocks=("take",),
    stream=True,
    ports=("rows",),
    draws=True,
    run="mixture_rows:run_mixture",
    counts=("rows", "tokens"),
    makes_ids=True,
)
class MixtureSpec:
    kind: Literal["mixture"] = "mixture"
    from_ = attr(list_of(STREAM), "All of each, instead of `take`.")
    #: by_size(temperature): the parts of all entries, from their sizes
    weights: Method | None = attr(signature("by_size", temperature=(real(), whole(1))), "With `from`: shares by size.")
    total: int | None = attr(ROWS | TOKENS, "Size of the whole.")  # in `unit`
    unit: Literal["rows", "tokens"] = attr(CHOICE, "What shares are shares of, where there is no total.")
    on_short: Literal["error", "repeat", "shrink"] = attr(
        choice("error", "shrink") | signature("repeat", max=(MULTIPLIER, Amount("multiplier", Fraction(4)))),
        "What happens where an entry has too few rows.",
        "error",
    )
    #: None: the draw is made once
    redraw: Literal["per_epoch"] | None = attr(
        choice("once", "per_epoch"), "Whether every epoch draws anew.", "once", stored=None, unsupported="per_epoch"
    )
    tokenizer: dict[str, Any] | None = attr(TEXT | ref("train"), "Tokenizer that counts tokens.")
    revision = attr(TEXT, "Revision of the tokenizer.")
    salt: str = _SALT
    extends = _EXTENDS
    take: list[Take]
    repeat_max: str | None = None
    rules: list[Rule] = field(default_factory=list)


@kind(
    "A dataset on disk or on the hub, with a dataset card.",
    root=True,
    run="export_step:run_export",
    sink=True,
    writes=True,
)
class ExportSpec:
    kind: Literal["export"] = "export"
    data = attr(STREAM, "What is written.", required=True)
    format: Literal["parquet", "jsonl", "messages"] = attr(
        CHOICE, "File format; `messages` is JSON lines of chat messages.", "parquet"
    )
    path: str | None = attr(TEXT, "Folder, relative to the recipe.", affects="doc")
    hub: str | None = attr(
        TEXT, "Dataset id on the hub. This version writes the dataset and does not send it.", affects="doc"
    )
    columns: list[str] = attr(list_of(TEXT | NAME), "Further columns to write.")
    lineage: Literal["columns", "sidecar"] = attr(
        CHOICE, "Identity columns in the data or in a file beside it.", "columns"
    )
    #: {"train": "19/20", "eval": "1/20"}
    split: dict[str, str] = attr(
        record(train=PERCENT, eval=PERCENT), "Cut by source row; near-duplicate groups stay together."
    )
    license: str | None = _LICENSE
    title: str | None = attr(TEXT, "Name on the card.", affects="doc")
    salt: str = _SALT
    extends = _EXTENDS
    schema_columns: dict[str, str] = field(default_factory=dict)


@kind(
    "Supervised tuning, launched with accelerate.",
    root=True,
    draws=True,
    operator_version=2,
    run="export_step:run_train_node",
    sink=True,
)
class TrainSpec:
    kind: Literal["train"] = "train"
    data = attr(STREAM, "What it learns.", required=True)
    #: path, hub id, or the name of a train node (then an edge of role "model")
    base: str | None = attr(TEXT | ref("train"), "Model to start from: a path, a hub id, or an earlier train block.")
    revision: str | None = attr(TEXT, "Revision of the base, 40 hex digits.")
    #: pretrained() | scratch(hidden = 128, layers = 2, …)
    init: Method = attr(
        choice("pretrained")
        | signature(
            "scratch",
            layers=(integer(), whole(2)),
            hidden=(integer(), whole(128)),
            heads=(integer(), whole(4)),
            intermediate=(integer(), whole(384)),
            context=(integer(), whole(2048)),
        ),
        "Weights to start with; scratch makes a small Llama-style model and a byte tokenizer.",
        "pretrained",
    )
    #: full() | lora(r = 16, …)
    method: Method = attr(
        choice("full")
        | signature(
            "lora",
            r=(integer(), whole(16)),
            alpha=(integer(), whole(32)),
            dropout=(real(), whole(0)),
            targets=(TEXT, "all-linear"),
        ),
        "All weights or LoRA.",
        "full",
    )
    epochs: str | None = attr(real(0) | integer(0), "Passes over the data.")
    steps: int | None = attr(integer(1) | STEPS, "Optimiser steps, instead of epochs.")
    #: {"unit": "packs" | "tokens" | "rows", "value": 128}
    batch: dict[str, Any] = attr(
        PACKS | TOKENS | ROWS,
        "Per optimiser step, all devices together: packs or tokens, without packing rows.",
        required=True,
    )
    micro_batch: int | None = attr(
        PACKS | ROWS, "Packs, without packing rows, per device and forward pass.", affects="speed"
    )
    max_length: int = attr(TOKENS | integer(1), "Longest sequence.", required=True)
    packing: Literal["none", "ffd", "wrapped"] = attr(
        CHOICE,
        "How rows share a sequence: not at all; whole rows in packs, first-fit decreasing; one stream cut into packs.",
        "ffd",
    )
    loss: Literal["assistant", "last", "all"] = attr(CHOICE, "Which tokens count.", "assistant")
    #: what the loss is a mean over; None: the tokens of a batch
    average: Literal["rows"] | None = attr(
        choice("tokens", "rows"),
        "What the loss is a mean over: all tokens of a batch alike, or each row first.",
        "tokens",
        stored=None,
        unsupported="rows",
    )
    optimizer: str = attr(choice("adamw", "adamw_8bit", "adafactor", "sgd", "lion"), "Optimiser.", "adamw")
    learning_rate: str = attr(real(0), "Peak learning rate.", required=True)
    schedule: Method = attr(
        signature("constant", warmup=(PERCENT | STEPS | ROWS, percent(0)))
        | signature("linear", warmup=(PERCENT | STEPS | ROWS, percent(0)), floor=(PERCENT, percent(0)))
        | signature("cosine", warmup=(PERCENT | STEPS | ROWS, percent(0)), floor=(PERCENT, percent(0))),
        "Course of the learning rate.",
        Call("cosine", (("warmup", percent(3)),)),
    )
    weight_decay: str = attr(real(0), "Weight decay.", whole(0))
    max_grad_norm: str = attr(real(0), "Gradient clipping.", whole(1))
    dropout: str | None = attr(real(0, 1), "Dropout, where the model has it.")
    precision: Literal["bf16", "fp16", "fp32"] = attr(CHOICE, "Number format of the computation.", "bf16")
    chat_template: dict[str, str] | None = attr(
        TEMPLATE | TEXT | signature("training", family=TEXT),
        'Chat template: a template; a file, `"chat.jinja"`; a model to take it from, `"owner/model"`; or one for '
        'training a family of models, `training("qwen3")`. Without it the base\'s own.',
    )
    #: the day that the chat template writes: "2026-11-30"
    date: str | None = attr(
        TEXT,
        "The day that a chat template writes where it asks for today, `2026-11-30`. Without it the day of the run.",
    )
    special_tokens_in_text: Literal["error", "keep", "split"] = attr(
        CHOICE,
        "Control tokens of the tokenizer in the text of rows: an error, read as control tokens, or split like other "
        "text.",
        "keep",
    )
    eval_share: str | None = attr(
        PERCENT | ROWS, "Held out for the evaluation loss, cut by source row.", percent(0), stored=None
    )
    seed: int = attr(integer(0, 18446744073709551615), "Seed of the training; default: the recipe's.", stored=0)
    # how fast, not what: in no key
    parallel: str = attr(
        choice("ddp", "fsdp", "zero2", "zero3") | TEXT,
        "How devices share the work, or an accelerate configuration file.",
        "ddp",
        affects="speed",
    )
    gpus: str = attr(choice("auto") | integer(0), "GPUs per machine; 0 trains on the CPU.", "auto", affects="speed")
    processes: int | None = attr(integer(1), "Processes per machine; default: one for each GPU.", affects="speed")
    nodes: int = attr(integer(1), "Machines.", whole(1), affects="speed")
    save_every: dict[str, Any] | None = attr(STEPS | PERCENT, "Checkpoints.", affects="speed")
    report: list[str] = attr(
        list_of(choice("tensorboard", "wandb", "mlflow", "trackio")),
        "Where figures go beside the log.",
        affects="speed",
    )
    on_long: Literal["error", "drop", "truncate"] = attr(
        CHOICE,
        "What happens to a row longer than max_length: an error, left out, or cut at its end; both are counted.",
        "drop",
        key_default="truncate",
    )
    extends = _EXTENDS
    eval_rows: int | None = None
    command: list[str] = field(default_factory=list)  # accelerate launch … {processes} …


@kind("Benchmarks of a trained model.", root=True)
class EvaluateSpec:
    kind: Literal["evaluate"] = "evaluate"
    model = attr(ref("train") | TEXT, "What is evaluated.", required=True)
    suites: list[str] = attr(list_of(ref("suite")), "On what.", required=True, order="set")
    limit: int | None = attr(ROWS, "Items of each suite.")
    extends = _EXTENDS


@kind("Diagnostics of a dataset.", root=True)
class MeasureSpec:
    kind: Literal["measure"] = "measure"
    data = attr(STREAM, "What is measured.", required=True)
    by: str = attr(TEXT | EXPR, "Column that splits the figures.", "origin")
    metrics: list[Method] = attr(list_of(component("metrics")), "Which figures.", required=True)
    extends = _EXTENDS


@kind("Promises about plan and result: pass, fail or unknown.", statements=frozenset({"expect"}), root=True)
class CheckBlock:
    kind = "check"
    severity = attr(choice("warn", "error"), "What a no means.", "error", affects="doc")


@kind("A unit test of one step, offline.", statements=frozenset({"expect"}), name="text")
class TestBlock:
    kind = "test"
    step = attr(ref("any"), "The step under test.", required=True, affects="doc")
    given = attr(
        record() | list_of(record()),
        "Rows that enter it; or, for several inputs, `{ NAME = [rows], … }`.",
        required=True,
        affects="doc",
    )
    reply = attr(
        TEXT | record() | list_of(TEXT | record()),
        "What the teacher answers: to every call, or one after the other; a text is sent as it is.",
        affects="doc",
    )


@kind("A named ablation of this file.", statements=frozenset({"set"}))
class VariantBlock:
    kind = "variant"
    extends = _EXTENDS


@kind("A rename that keeps selections.", name="none")
class MovedBlock:
    kind = "moved"
    from_ = attr(NAME, "The old name.", required=True, affects="doc")
    to = attr(NAME, "The new name.", required=True, affects="doc")


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
    | RelabelSpec
    | GenerateSpec
    | TaskSpec
    | MixtureSpec
    | ExportSpec
    | TrainSpec
    | EvaluateSpec
    | MeasureSpec,
    _ByKind(),
]


KINDS: Final = DECLARED

#: Names that no block may take, because they mean something else where a name may stand.
TAKEN: Final = frozenset({"param", "out", "row", "plan", "all", "rest", "sft", "edition", "import", "any"}) - {"sft"}
