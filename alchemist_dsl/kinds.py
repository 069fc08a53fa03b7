"""The kinds of block and their attributes: one table that checking, keys, defaults, completion and docs read.

Attribute types (alternatives with `|`), and the value of `ir` that they become:
  text -> TextV · bool -> BoolV · int, int(1..), real(0..1), percent, rows, packs, tokens, multiplier, money, price,
  bytes, duration, rate, steps -> Qty (in base units) · choice(a,b) -> ChoiceV · template -> TemplateV · expr, condition
  -> ExprV · select -> SelectV · ref(KIND,…) -> RefV · stream -> RefV · method(FAMILY or NAME(params),…) -> MethodV ·
  list(T) -> ListV (where list(T) stands, a single T is a list of one) · record(a: T, …) -> RecordV
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Affects = Literal["data", "cost", "speed", "doc"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """`default` is recipe text. `key_default`: the first published default; what equals it is left out of keys for
    ever.
    """

    type: str
    doc: str
    default: str | None = None
    required: bool = False
    affects: Affects = "data"
    order: Literal["sequence", "set"] = "sequence"
    since: int = 2026
    key_default: str | None = None

    @property
    def frozen_default(self) -> str | None:
        return self.default if self.key_default is None else self.key_default


@dataclass(frozen=True, slots=True)
class Kind:
    """`statements`: which statements beside attributes a block takes: set, keep, drop, expect, field, and sub-block
    names.
    """

    doc: str
    attributes: dict[str, Attribute]
    statements: frozenset[str] = frozenset()
    blocks: tuple[str, ...] = ()  # sub-blocks that are not attributes: take, classes, input, output
    name: Literal["required", "optional", "none", "text"] = "required"
    stream: bool = False  # its name may stand where a stream may
    ports: tuple[str, ...] = ()
    root: bool = False  # built by `run` without being asked for
    runnable: bool = True  # this version carries it out
    draws: bool = False  # the seed is part of its key
    operator_version: int = 1


#: Methods of the language that no component of this version brings, by family. What a component of the same name says
#: of its parameters comes first, so a method moves from here to a file of its own without a recipe changing.
METHODS: Final[dict[str, str]] = {
    "dedup": "method(fuzzy(ratio: real(0..100) = 95),embedding(model: text, threshold: real(0..1)|percent = 0.9))",
    "decontaminate": (
        "method(fuzzy(ratio: real(0..100) = 95),embedding(model: text, threshold: real(0..1)|percent ="
        " 0.9),syntax_tree(threshold: real(0..1)|percent = 0.9))"
    ),
    "metrics": (
        "method(style(),overlap(),separability(),cpd(model: text|ref(train)),ifd(model: text|ref(train)),leakage(suite:"
        " list(ref(suite))))"
    ),
}

#: Attributes whose entries are expressions; in other records without declared fields a text is a text.
NAMED_EXPRESSIONS: Final = frozenset({"map"})

A = Attribute
_FROM = A("list(stream)", "The stream or streams it reads, one after the other.", required=True)
_SELECT = A("select", "The rows it works on: a share, a count or a condition, `per` a column.")
_BEST = A("list(expr)", "Instead of a draw by hash, the rows for which this is highest; later expressions break ties.")
_MODE = (
    "What leaves the step: only the chosen rows, all rows with the chosen ones changed, or all rows and changed copies."
)
_EXTENDS = A(
    "ref(same)", "A block of the same kind from which everything comes that is not written here.", affects="doc"
)
_SALT = A("text", "Salt of its draw and its new ids; default: its name.", affects="data")
_LICENSE = A("text", "SPDX identifier of the licence.", affects="doc")


def _teacher_step(mode: str) -> dict[str, Attribute]:
    return {
        "from": _FROM,
        "select": _SELECT,
        "best": _BEST,
        "mode": A("choice(only,replace,add)", _MODE, default=mode),
        "teacher": A("ref(teacher)", "The model that answers.", required=True),
        "prompt": A("ref(prompt)", "What it is asked.", required=True),
        "map": A("record", "Prompt input = expression over the row, where names differ."),
        "samples": A("int(1..1000)", "Answers for each row (with `mode = only`).", default="1"),
        "accept": A(
            "rows",
            "Ask until so many rows have been accepted (with `mode = only`); the others are not asked about. Default:"
            " as many as the only mixture that reads them takes.",
        ),
        "retries_on_reject": A("int(0..100)", "Further draws for each answer that a rule refuses.", default="0"),
        "repair": A(
            "int(0..5)",
            "How often an answer that does not fit its output is sent back with what is wrong; without it never.",
        ),
        "max_failed": A(
            "percent",
            "Share of calls that may fail for good, or of answers that may be unusable, before the step stops.",
            default="5%",
            affects="speed",
        ),
        "budget": A("money", "The most that this step may spend in one run.", affects="cost"),
        "on_long": A(
            "choice(error,drop,truncate)", "What happens to a row that does not fit the context.", default="error"
        ),
        "salt": _SALT,
        "extends": _EXTENDS,
    }


KINDS: Final[dict[str, Kind]] = {
    "recipe": Kind(
        "Metadata and defaults of the file.",
        {
            "title": A("text", "A name for people.", affects="doc"),
            "license": A("text", "Licence that the result claims.", affects="doc"),
            "seed": A("int(0..18446744073709551615)", "Seed of every draw.", default="0"),
            "schema": A("ref(schema)", "Row schema of sources, exports and training; default `sft`."),
            "tokenizer": A("text | ref(train)", "Tokenizer that counts tokens where nothing nearer names one."),
            "revision": A("text", "Revision of the tokenizer, 40 hex digits."),
            "extends": A("text", "A recipe file from which everything comes that is not written here.", affects="doc"),
        },
        name="none",
    ),
    "schema": Kind("Columns of a row.", {"extends": _EXTENDS}, statements=frozenset({"field"})),
    "source": Kind(
        "Where rows come from: exactly one of `hub`, `files`, `python`, `missing`.",
        {
            "hub": A("text", "Dataset id on the hub, `owner/name`."),
            "revision": A("text", "Commit of the dataset, 40 hex digits; without it the lock pins one."),
            "config": A("text", "Configuration of the dataset."),
            "split": A("list(text)", "Split or splits.", default='"train"'),
            "files": A(
                "list(text)",
                "Globs of local files, relative to the recipe; with `hub`, inside the repository. jsonl, json, csv,"
                " parquet, arrow, also .gz and .zst.",
            ),
            "format": A("choice(jsonl,json,csv,parquet,arrow)", "Format, where the ending does not tell."),
            "python": A("list(text)", "Installed packages or modules whose documented functions become rows."),
            "doctests": A(
                "bool", "With `python`: rows from doctest sessions instead of whole functions.", default="false"
            ),
            "missing": A("text", "Why this source is declared but not available."),
            "limit": A("rows", "At most so many rows, those of lowest hash."),
            "id": A("text", "Column to take as identity instead of the record's content."),
            "license": _LICENSE,
            "on_bad_row": A(
                "choice(error) | method(skip(max: int = 0))",
                "What happens to a record that cannot be read.",
                default="error",
            ),
            "schema": A("ref(schema)", "Row schema that it must give; default: the recipe's."),
            "extends": _EXTENDS,
        },
        statements=frozenset({"set", "expect"}),
        stream=True,
        ports=("rows", "dropped"),
    ),
    "teacher": Kind(
        "A model that answers prompts.",
        {
            "provider": A("choice(openai,transformers,rules,replay,echo)", "Who answers.", required=True),
            "model": A(
                "text | ref(train)",
                "Model name; with `provider = transformers` a folder, a GGUF file, a name on the hub, or a train block:"
                " its final weights.",
            ),
            "revision": A("text", "Revision of the model."),
            "base_url": A("text", "Address of an OpenAI-compatible server.", affects="speed"),
            "identity": A(
                "text", "What the model is, whatever server answers: part of keys instead of a foreign base_url."
            ),
            "api_key_env": A(
                "text",
                "Environment variable with the key; with a `base_url` of your own no key is sent unless you name one.",
                default='"OPENAI_API_KEY"',
                affects="speed",
            ),
            "temperature": A(
                "real(0..2) | choice(none)",
                "Sampling temperature. `none` sends none, for models that take none.",
                default="0",
            ),
            "top_p": A(
                "real(0..1) | choice(none)",
                "Nucleus sampling. `none` sends none, and the server's own default holds.",
                default="none",
                key_default="1",
            ),
            "max_tokens": A("tokens | int(1..)", "Longest answer.", default="1024 tokens"),
            "stop": A("list(text)", "Texts that end an answer."),
            "seed": A(
                "int(0..2147483647)",
                "Seed of the sampling, for servers that take one. Further answers to a row are drawn with the numbers"
                " after it.",
            ),
            "reasoning_effort": A(
                "choice(none,minimal,low,medium,high,xhigh) | text",
                "How much the model thinks before it answers. Unless it is written, nothing is sent; `none` is a word"
                " of the API.",
            ),
            "extra": A(
                "record",
                "Further fields of a request's body, for what a server takes beyond the API: numbers, texts, true or"
                " false, lists, blocks.",
            ),
            "query": A("record", "Parameters of the address, for example Azure's `api-version`."),
            "headers_env": A(
                "record",
                "Headers of a request, each with the environment variable that holds its value.",
                affects="speed",
            ),
            "price": A(
                "choice(free) | record(input: price, output: price)",
                "Price of its tokens; `free` for a local model.",
                affects="cost",
            ),
            "rate": A("list(rate)", "Most calls and tokens in a time.", affects="speed"),
            "concurrency": A(
                "int(1..4096)",
                "Most calls at once; with `provider = transformers` the largest batch, 16 unless it is written.",
                default="64",
                affects="speed",
            ),
            "timeout": A("duration", "Longest wait for an answer.", default="2m", affects="speed"),
            "retries": A("int(0..100)", "Tries after the first for a call that fails.", default="6", affects="speed"),
            "batch": A(
                "bool",
                "All calls of a step at once by the Batch API of its server: half the price, within 24 hours.",
                default="false",
                affects="cost",
            ),
            "extends": _EXTENDS,
        },
    ),
    "prompt": Kind(
        "A request to a teacher.",
        {
            "system": A("template", "System turn."),
            "user": A("template", "User turn."),
            "examples": A("list(stream)", "Streams with the fields of input and output, shown as earlier turns."),
            "shots": A("int(0..64)", "How many examples.", default="0"),
            "rules": A("choice(describe,evolve,review)", "What the rules teacher does for it."),
            "turn": A(
                "choice(assistant,user)",
                "Whose turn the model writes: with `user` it makes up the request itself.",
                default="assistant",
            ),
            "prefill": A("template", "How the model's turn begins; the model goes on from there."),
            "extends": _EXTENDS,
        },
        blocks=("input", "output"),
    ),
    "map": Kind(
        "New or changed columns.",
        {
            "from": _FROM,
            "select": _SELECT,
            "best": _BEST,
            "mode": A("choice(only,replace,add)", _MODE, default="replace"),
            "salt": _SALT,
            "extends": _EXTENDS,
        },
        statements=frozenset({"set", "expect"}),
        stream=True,
        ports=("rows", "rest"),
    ),
    "filter": Kind(
        "Ordered rules that refuse rows, counted by rule.",
        {"from": _FROM, "select": _SELECT, "best": _BEST, "salt": _SALT, "extends": _EXTENDS},
        statements=frozenset({"keep", "drop", "expect"}),
        stream=True,
        ports=("rows", "dropped", "rest"),
    ),
    "dedup": Kind(
        "Refuses rows that resemble one that stays.",
        {
            "from": _FROM,
            "on": A("list(expr)", "What is compared, together.", default="[instruction, response]"),
            "method": A("method(dedup)", "How.", default="exact()"),
            "clusters": A(
                "choice(star,connected)",
                "What a group is: rows that resemble the one that stays, or all that are linked through others.",
                default="star",
            ),
            "prefer": A(
                "expr",
                "The row for which this is highest stays; default: the first in the order of `from`, then the"
                " lowest id.",
            ),
            "extends": _EXTENDS,
        },
        statements=frozenset({"expect"}),
        stream=True,
        ports=("rows", "dropped"),
    ),
    "split": Kind(
        "Two parts of a stream, `NAME.train` and `NAME.eval`, that an export and a training both read.",
        {
            "from": _FROM,
            "eval": A(
                "percent",
                "Share of the part `eval`, cut by source row; near-duplicate groups stay together.",
                required=True,
            ),
            "salt": _SALT,
            "extends": _EXTENDS,
        },
        stream=True,
        ports=("rows", "train", "eval"),
        draws=True,
    ),
    "suite": Kind(
        "A benchmark: items to keep out of the data and to evaluate on.",
        {
            "hub": A("text", "Dataset id on the hub."),
            "revision": A("text", "Commit, 40 hex digits."),
            "config": A("text", "Configuration."),
            "split": A("list(text)", "Split or splits.", default='"test"'),
            "files": A("list(text)", "Globs of local files, relative to the recipe."),
            "format": A("choice(jsonl,json,csv,parquet,arrow)", "Format, where the ending does not tell."),
            "missing": A("text", "Why its items are not available."),
            "text": A(
                "list(text)",
                "Columns whose text must not be in the data, of the items or set here.",
                default='["prompt"]',
            ),
            "id": A("text", "Column with the item's name."),
            "entry_point": A("text", "Column with the name of the function asked for."),
            "license": _LICENSE,
            "engine": A("text", "What scores it: lm_eval task, evalplus set, or own."),
            "shots": A("int(0..64)", "Examples shown.", default="0"),
            "template": A("template", "How an item is asked."),
            "decoding": A("record", "Sampling while scored."),
            "extends": _EXTENDS,
        },
        statements=frozenset({"set"}),
        stream=True,
        ports=("rows",),
    ),
    "decontaminate": Kind(
        "Refuses rows that leak a benchmark.",
        {
            "from": _FROM,
            "on": A("list(expr)", "Texts of the row that are searched; default: all turns."),
            "against": A("list(stream)", "Suites or streams.", required=True, order="set"),
            "method": A(
                "list(method(decontaminate))",
                "How; a row leaks if any says so.",
                default="[ngram(n = 10)]",
                order="set",
            ),
            "extends": _EXTENDS,
        },
        statements=frozenset({"expect"}),
        stream=True,
        ports=("rows", "dropped"),
    ),
    "relabel": Kind(
        "AlchemistPrompts: a teacher says what the response does, and that goes before the instruction.",
        {
            **_teacher_step("replace"),
            "place": A("choice(before,after,system)", "Where the first text output goes.", default="before"),
        },
        statements=frozenset({"set", "keep", "drop", "expect"}),
        stream=True,
        ports=("rows", "dropped", "trace", "rest"),
        draws=True,
    ),
    "generate": Kind(
        "Any other teacher step: evolve, answer, review, judge.",
        _teacher_step("only"),
        statements=frozenset({"set", "keep", "drop", "expect"}),
        stream=True,
        ports=("rows", "dropped", "trace", "rest"),
        draws=True,
    ),
    "task": Kind(
        "A comprehension task: a template over a port, made from the data's own making.",
        {
            "learn": A("list(stream)", "The port it tells of.", required=True),
            "instruction": A("template", "What is asked; without templates the standard task of the port."),
            "response": A("template", "The answer."),
            "system": A("template", "System turn."),
            "sound": A("percent", 'Share of task rows about kept rows, whose answer is "none of these".', default="0%"),
            "select": _SELECT,
            "best": _BEST,
            "salt": _SALT,
            "extends": _EXTENDS,
        },
        statements=frozenset({"expect"}),
        blocks=("classes",),
        stream=True,
        ports=("rows", "dropped"),
        draws=True,
        operator_version=2,
    ),
    "mixture": Kind(
        "The sampling ratios.",
        {
            "from": A("list(stream)", "All of each, instead of `take`."),
            "weights": A("method(by_size(temperature: real = 1))", "With `from`: shares by size."),
            "total": A("rows | tokens", "Size of the whole."),
            "unit": A("choice(rows,tokens)", "What shares are shares of, where there is no total."),
            "on_short": A(
                "choice(error,shrink) | method(repeat(max: multiplier = 4x))",
                "What happens where an entry has too few rows.",
                default="error",
            ),
            "redraw": A("choice(once,per_epoch)", "Whether every epoch draws anew.", default="once"),
            "tokenizer": A("text | ref(train)", "Tokenizer that counts tokens."),
            "revision": A("text", "Revision of the tokenizer."),
            "salt": _SALT,
            "extends": _EXTENDS,
        },
        statements=frozenset({"expect"}),
        blocks=("take",),
        stream=True,
        ports=("rows",),
        draws=True,
    ),
    "export": Kind(
        "A dataset on disk or on the hub, with a dataset card.",
        {
            "data": A("stream", "What is written.", required=True),
            "format": A(
                "choice(parquet,jsonl,messages)",
                "File format; `messages` is JSON lines of chat messages.",
                default="parquet",
            ),
            "path": A("text", "Folder, relative to the recipe.", affects="doc"),
            "hub": A(
                "text", "Dataset id on the hub. This version writes the dataset and does not send it.", affects="doc"
            ),
            "columns": A("list(text | name)", "Further columns to write."),
            "lineage": A(
                "choice(columns,sidecar)", "Identity columns in the data or in a file beside it.", default="columns"
            ),
            "split": A(
                "record(train: percent, eval: percent)", "Cut by source row; near-duplicate groups stay together."
            ),
            "license": _LICENSE,
            "title": A("text", "Name on the card.", affects="doc"),
            "salt": _SALT,
            "extends": _EXTENDS,
        },
        root=True,
    ),
    "train": Kind(
        "Supervised tuning, launched with accelerate.",
        {
            "data": A("stream", "What it learns.", required=True),
            "base": A("text | ref(train)", "Model to start from: a path, a hub id, or an earlier train block."),
            "revision": A("text", "Revision of the base, 40 hex digits."),
            "init": A(
                "choice(pretrained) | method(scratch(layers: int = 2, hidden: int = 128, heads: int = 4, intermediate:"
                " int = 384, context: int = 2048))",
                "Weights to start with; scratch makes a small Llama-style model and a byte tokenizer.",
                default="pretrained",
            ),
            "method": A(
                "choice(full) | method(lora(r: int = 16, alpha: int = 32, dropout: real = 0, targets: text ="
                ' "all-linear"))',
                "All weights or LoRA.",
                default="full",
            ),
            "epochs": A("real(0..) | int(0..)", "Passes over the data."),
            "steps": A("int(1..) | steps", "Optimiser steps, instead of epochs."),
            "batch": A(
                "packs | tokens | rows",
                "Per optimiser step, all devices together: packs or tokens, without packing rows.",
                required=True,
            ),
            "micro_batch": A(
                "packs | rows", "Packs, without packing rows, per device and forward pass.", affects="speed"
            ),
            "max_length": A("tokens | int(1..)", "Longest sequence.", required=True),
            "packing": A(
                "choice(none,ffd,wrapped)",
                "How rows share a sequence: not at all; whole rows in packs, first-fit decreasing; one stream cut into"
                " packs.",
                default="ffd",
            ),
            "loss": A("choice(assistant,last,all)", "Which tokens count.", default="assistant"),
            "average": A(
                "choice(tokens,rows)",
                "What the loss is a mean over: all tokens of a batch alike, or each row first.",
                default="tokens",
            ),
            "optimizer": A("choice(adamw,adamw_8bit,adafactor,sgd,lion)", "Optimiser.", default="adamw"),
            "learning_rate": A("real(0..)", "Peak learning rate.", required=True),
            "schedule": A(
                "method(constant(warmup: percent|steps|rows = 0%),linear(warmup: percent|steps|rows = 0%, floor:"
                " percent = 0%),cosine(warmup: percent|steps|rows = 0%, floor: percent = 0%))",
                "Course of the learning rate.",
                default="cosine(warmup = 3%)",
            ),
            "weight_decay": A("real(0..)", "Weight decay.", default="0"),
            "max_grad_norm": A("real(0..)", "Gradient clipping.", default="1"),
            "dropout": A("real(0..1)", "Dropout, where the model has it."),
            "precision": A("choice(bf16,fp16,fp32)", "Number format of the computation.", default="bf16"),
            "chat_template": A(
                "template | text | method(training(family: text))",
                'Chat template: a template; a file, `"chat.jinja"`; a model to take it from, `"owner/model"`; or one'
                ' for training a family of models, `training("qwen3")`. Without it the base\'s own.',
            ),
            "date": A(
                "text",
                "The day that a chat template writes where it asks for today, `2026-11-30`. Without it the day of the"
                " run.",
            ),
            "special_tokens_in_text": A(
                "choice(error,keep,split)",
                "Control tokens of the tokenizer in the text of rows: an error, read as control tokens, or split like"
                " other text.",
                default='"keep"',
            ),
            "eval_share": A("percent | rows", "Held out for the evaluation loss, cut by source row.", default="0%"),
            "seed": A("int(0..18446744073709551615)", "Seed of the training; default: the recipe's."),
            "parallel": A(
                "choice(ddp,fsdp,zero2,zero3) | text",
                "How devices share the work, or an accelerate configuration file.",
                default="ddp",
                affects="speed",
            ),
            "gpus": A(
                "choice(auto) | int(0..)", "GPUs per machine; 0 trains on the CPU.", default="auto", affects="speed"
            ),
            "processes": A("int(1..)", "Processes per machine; default: one for each GPU.", affects="speed"),
            "nodes": A("int(1..)", "Machines.", default="1", affects="speed"),
            "save_every": A("steps | percent", "Checkpoints.", affects="speed"),
            "report": A(
                "list(choice(tensorboard,wandb,mlflow,trackio))", "Where figures go beside the log.", affects="speed"
            ),
            "on_long": A(
                "choice(error,drop,truncate)",
                "What happens to a row longer than max_length: an error, left out, or cut at its end; both are"
                " counted.",
                default='"drop"',
                key_default="truncate",
            ),
            "extends": _EXTENDS,
        },
        root=True,
        draws=True,
        operator_version=2,
    ),
    "evaluate": Kind(
        "Benchmarks of a trained model.",
        {
            "model": A("ref(train) | text", "What is evaluated.", required=True),
            "suites": A("list(ref(suite))", "On what.", required=True, order="set"),
            "limit": A("rows", "Items of each suite."),
            "extends": _EXTENDS,
        },
        root=True,
        runnable=False,
    ),
    "measure": Kind(
        "Diagnostics of a dataset.",
        {
            "data": A("stream", "What is measured.", required=True),
            "by": A("text | expr", "Column that splits the figures.", default='"origin"'),
            "metrics": A("list(method(metrics))", "Which figures.", required=True),
            "extends": _EXTENDS,
        },
        root=True,
        runnable=False,
    ),
    "check": Kind(
        "Promises about plan and result: pass, fail or unknown.",
        {"severity": A("choice(warn,error)", "What a no means.", default="error", affects="doc")},
        statements=frozenset({"expect"}),
        root=True,
    ),
    "test": Kind(
        "A unit test of one step, offline.",
        {
            "step": A("ref(any)", "The step under test.", required=True, affects="doc"),
            "given": A(
                "record | list(record)",
                "Rows that enter it; or, for several inputs, `{ NAME = [rows], … }`.",
                required=True,
                affects="doc",
            ),
            "reply": A(
                "text | record | list(text | record)",
                "What the teacher answers: to every call, or one after the other; a text is sent as it is.",
                affects="doc",
            ),
        },
        statements=frozenset({"expect"}),
        name="text",
    ),
    "variant": Kind("A named ablation of this file.", {"extends": _EXTENDS}, statements=frozenset({"set"})),
    "moved": Kind(
        "A rename that keeps selections.",
        {
            "from": A("name", "The old name.", required=True, affects="doc"),
            "to": A("name", "The new name.", required=True, affects="doc"),
        },
        name="none",
    ),
}

#: Words that are not names, because they mean something in the language itself.
RESERVED: Final = frozenset(
    {"set", "keep", "drop", "expect", "as", "per", "and", "or", "not", "in", "true", "false", "null"}
)


def spelled(choice: str) -> str:
    """A choice as it is written: one that is a reserved word stands in quotes, `on_long = "drop"`."""
    return f'"{choice}"' if choice in RESERVED else choice


#: Names that no block may take, because they mean something else where a name may stand.
TAKEN: Final = frozenset({"param", "out", "row", "plan", "all", "rest", "sft", "edition", "import", "any"}) - {"sft"}
