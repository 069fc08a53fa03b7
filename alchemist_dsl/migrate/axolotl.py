"""axolotl: one YAML with datasets and hyper-parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from alchemist_dsl.migrate import hf, training
from alchemist_dsl.migrate.axolotl_keys import ENTRY_LEFT, ENTRY_UNSAID, FAMILIES, LEFT, UNSAID, USED
from alchemist_dsl.migrate.hf import Columns, Pair, betas
from alchemist_dsl.migrate.reading import Reading, Refused, distinct, none_found, of_source
from alchemist_dsl.migrate.recipe_draft import Draft, Source, times
from alchemist_dsl.migrate.source_location import DRAWN, At, Files, place
from alchemist_dsl.migrate.tracked_mapping import Asked

#: Types of datasets whose rows are one question and one answer, by the first words of their name.
PAIRS: Final[Mapping[str, Pair]] = {
    "alpaca": Pair("instruction", "output", "input"),
    "alpaca_chat": Pair("instruction", "output", "input"),
    "alpaca_chat.load_qa": Pair("question", "answer"),
    "alpaca_chat.load_concise": Pair("instruction", "response", "input"),
    "alpaca_chat.load_camel_ai": Pair("message_1", "message_2"),
    "alpaca_instruct": Pair("instruction", "output", "input"),
    "alpaca_w_system": Pair("instruction", "output", "input", "system"),
    "alpaca_w_system.load_open_orca": Pair("question", "response", None, "system_prompt"),
    "alpaca_w_system.load_open_orca_chatml": Pair("question", "response", None, "system_prompt"),
    "gpteacher": Pair("instruction", "response", "input"),
    "oasst": Pair("INSTRUCTION", "RESPONSE"),
    "jeopardy": Pair("question", "answer", "category"),
    "summarizetldr": Pair("article", "summary"),
    "context_qa": Pair("question", "answer", "article"),
    "context_qa.load_v2": Pair("question", "answer", "context"),
}

#: Formats of a type of one's own that put nothing around the rows.
_BARE: Final = ("{instruction}", "{instruction} {input}", "{instruction}\n{input}", "{instruction}\n\n{input}")
_AT: Final = At("path", "name", "split", "revision", "data_files", "ds_type")
CHATML: Final = (
    "{%- for message in messages -%}\n"
    '{{- "<|im_start|>" + message.role + "\\n" + message.content + "<|im_end|>\\n" -}}\n'
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    '{{- "<|im_start|>assistant\\n" -}}\n'
    "{%- endif -%}"
)


def read(reading: Reading) -> Draft:
    """The draft of an axolotl configuration. Refused where it is no supervised tuning, or lacks what axolotl needs."""
    asked, draft = reading.begin()
    for key in ("rl", "reward_model", "process_reward_model"):
        if key in asked and asked.flag(key) is not False:
            raise Refused(
                f"`{key}` is preference training or reinforcement learning, which a recipe does not say",
                asked.place(key),
                "only supervised tuning can be taken over",
            )
    out: dict[str, Any] = {}
    trained = _data(reading, asked, draft, out)
    seed = training.seed(asked, "seed", 42)
    draft.seed = seed
    if not training.base(asked, out, "base_model", "revision_of_model"):
        raise Refused("there is no `base_model`", reading.value.span, "axolotl needs one, and so does a training here")
    _rates(asked, out, reading.gpus)
    _sequences(asked, out)
    _method(asked, out)
    _template(asked, out, reading.files)
    _saving(asked, out)
    inputs = asked.flag("train_on_inputs")
    out.setdefault("loss", "all" if inputs else trained)
    draft.train = training.sequences(out)
    asked.rest(LEFT, UNSAID, USED, FAMILIES)
    return draft


# --- data -------------------------------------------------------------------------------------------------------------


def _data(reading: Reading, asked: Asked, draft: Draft, out: dict[str, Any]) -> str:
    """Sources with their layouts; what counts in the loss."""
    losses: set[str] = set()
    made: list[Source] = []

    def remark(number: int) -> Any:
        made.append(reading.source(draft, "data"))
        return of_source(made[-1])

    for entry in asked.tables("datasets", remark):
        losses.add(_entry(reading, draft, entry, made[-1]))
    plain = asked.get("pretraining_dataset")
    if plain is not None and isinstance(plain.data, str):
        _plain_text(reading, draft, asked, reading.source(draft, plain.data), "pretraining_dataset")
    elif plain is not None:
        for entry in asked.tables("pretraining_dataset", remark):
            reading.rename(draft, made[-1], entry.text("path") or "data")
            _plain_text(reading, draft, entry, made[-1], "path")
            entry.rest(
                {"trust_remote_code": ENTRY_LEFT["trust_remote_code"]},
                {"skip": "rows that are passed over"},
                ("path", "name", "split"),
            )
    if plain is not None:
        out["loss"], out["packing"] = "all", "wrapped"
    none_found(reading, draft, "the YAML names no dataset")
    distinct(draft)
    if len(losses) > 1:
        asked.remark("the sets say different things of what is trained; this is for all of them", "loss")
    return "all" if "all" in losses else "last" if losses == {"last"} else "assistant"


def _plain_text(reading: Reading, draft: Draft, asked: Asked, source: Source, key: str) -> None:
    place(
        asked,
        source,
        At(key, "name" if key == "path" else "", "split" if key == "path" else "", files="data_files"),
        reading.files,
    )
    field = asked.text("text_column")
    hf.text(source, field or "text")
    if "type" in asked:
        asked.leave("type", "plain text")
    asked.otherwise(
        key, "text without turns: it is the answer to an empty question, in the chat template", "instruction"
    )


def _entry(reading: Reading, draft: Draft, entry: Asked, source: Source) -> str:
    reading.rename(draft, source, entry.text("path") or "data")
    have = place(entry, source, _AT, reading.files)
    shards = entry.whole("shards", 1, 10**6)
    if shards is not None and shards > 1:
        source.amount = times(Fraction(1, shards))
        entry.otherwise("shards", DRAWN)
    loss = _type(entry, source, have)
    entry.rest(ENTRY_LEFT, ENTRY_UNSAID, [k.removeprefix("datasets[].") for k in USED if "[]" in k])
    return loss


def _type(entry: Asked, source: Source, have: Columns) -> str:
    """The `set` statements of a dataset's type; what counts in the loss."""
    value = entry.get("type")
    if value is None:
        (
            entry.otherwise("type", "axolotl reads rows of tokens; a recipe reads texts", "")
            if "type" in entry.data
            else None
        )
        return "assistant"
    if isinstance(value.data, dict):
        return _own_type(entry, source, have)
    kind = (entry.text("type") or "").partition(":")[0]
    if kind in ("chat_template", "chat_template.default", "sharegpt", "chatml", "llama3"):
        return _turns(entry, source, "conversations" if kind == "sharegpt" else "messages")
    if kind in PAIRS or kind.split(".")[0] == "alpaca":
        hf.pair(source, PAIRS.get(kind, PAIRS["alpaca"]), have)
        entry.otherwise(
            "type",
            f"axolotl writes `{kind}` rows in a prompt of its own; here they go through the chat template",
            "instruction",
        )
        return "assistant"
    if kind in ("completion", "pretrain"):
        hf.text(source, entry.text("field") or "text" if "field" in entry else "text")
        entry.otherwise(
            "type", "text without turns: it is the answer to an empty question, in the chat template", "instruction"
        )
        return "all"
    source.attrs = {"missing": f"its type {training._short(kind)} is code of axolotl"}
    entry.unsaid(
        "type",
        "the layout of these rows is code of axolotl; say where `instruction` and `response` come from",
        "missing",
    )
    return "assistant"


def _turns(entry: Asked, source: Source, default: str) -> str:
    field = entry.text("field_messages")
    hf.conversation(source, field or default)
    hf.tools(source, entry.text("field_tools"))
    _keys(entry)
    _roles(entry)
    if "roles_to_train" not in entry.data:
        return "assistant"
    value = entry.data["roles_to_train"]
    names = set(entry.texts("roles_to_train") or ())
    if not names:  # the last answer only
        entry.leave("roles_to_train", "nothing is listed: `loss = last`")
        return "last"
    if names <= hf.ROLES["assistant"]:
        return "assistant"
    entry.otherwise("roles_to_train", f"`loss = all` counts every turn, this {value.shown}")
    return "all"


def _keys(entry: Asked) -> None:
    """Keys of a turn: `turns(…)` knows the usual ones."""
    usual = {"role": hf.ROLE_KEYS, "content": hf.CONTENT_KEYS}
    for key, names in (("message_field_role", hf.ROLE_KEYS), ("message_field_content", hf.CONTENT_KEYS)):
        name = entry.text(key)
        if name is not None and name not in names:
            entry.unsaid(key, f"`turns(…)` reads {', '.join(sorted(names))}", "messages")
    inner = entry.table("message_property_mappings")
    if inner is None:
        return
    for key, names in usual.items():
        name = inner.text(key)
        if name is not None and name not in names:
            inner.unsaid(key, f"`turns(…)` reads {', '.join(sorted(names))}", "messages")
    inner.rest({}, dict.fromkeys(inner.data, "further keys of a turn keep their names"))


def _roles(entry: Asked) -> None:
    inner = entry.table("roles")
    if inner is None:
        return
    for key in list(inner.data):
        names = set(inner.texts(key) or ())
        known = hf.ROLES.get(key, frozenset({key}))
        if odd := sorted(n for n in names if n.lower() not in known):
            inner.unsaid(key, f"`turns(…)` does not take {', '.join(odd)} for {key}", "messages")
    inner.rest({}, {})


def _own_type(entry: Asked, source: Source, have: Columns) -> str:
    """A type that the YAML itself describes: columns and formats. Without a format, `instruction input`."""
    inner = entry.table("type")
    assert inner is not None
    form = inner.text("format")
    below = inner.text("field_input") or "input" if form is None or "{input}" in form else None
    inner.get("field_input")
    between = "\n" if form and "{instruction}\n" in form else " "
    question = inner.text("field_instruction") or "instruction"
    answer = inner.text("field_output") or "output"
    hf.pair(source, Pair(question, answer, below, inner.text("field_system"), between), have)
    prompt = inner.text("system_prompt")
    if prompt and "field_system" not in inner:
        source.sets = {"system": {"recipe": json.dumps(prompt, ensure_ascii=False)}, **source.sets}
    elif prompt:
        inner.unsaid("system_prompt", "a system turn for rows without one", "system")
    why = "a prompt around the rows; here they go through the chat template"
    for key in ("format", "no_input_format"):
        if (inner.text(key) or "{instruction}").strip() not in _BARE:
            inner.unsaid(key, why, "instruction")
    inner.rest({}, {"system_format": why})
    return "assistant"


# --- training ---------------------------------------------------------------------------------------------------------


def _rates(asked: Asked, out: dict[str, Any], gpus: int | None) -> None:
    training.batch(asked, out, "micro_batch_size", "gradient_accumulation_steps", gpus, default=1, total="batch_size")
    training.passes(asked, out, "num_epochs", "max_steps", default=1.0)
    training.numbers(
        asked,
        out,
        {
            "learning_rate": ("learning_rate", 0, 1e6),
            "weight_decay": ("weight_decay", 0, 1e6),
            "max_grad_norm": ("max_grad_norm", 0, 1e9),
        },
    )
    if "learning_rate" not in out:
        raise Refused(
            "there is no `learning_rate` that can be read",
            asked.place("learning_rate"),
            "axolotl needs one, and so does a training here",
        )
    warm = training.warmup(asked, "warmup_steps", "warmup_ratio")
    if warm is None and not {"warmup_steps", "warmup_ratio"} & {
        k for k in ("warmup_steps", "warmup_ratio") if k in asked
    }:
        warm = "3%"
        asked.remark("axolotl warms up for 3% of the steps, but no more than 100", "schedule")
    training.schedule(asked, out, "lr_scheduler", warm, floor(asked, out), default="cosine")
    training.optimizer(asked, out, "optimizer")
    betas(asked)


def floor(asked: Asked, out: dict[str, Any]) -> Fraction | None:
    from alchemist_dsl.migrate.hf import floor as given

    floor = given(asked, out)
    ratio = asked.real("cosine_min_lr_ratio", 0, 1)
    return Fraction(str(ratio)) if ratio is not None else floor


def _sequences(asked: Asked, out: dict[str, Any]) -> None:
    length = asked.whole("sequence_len", 1, 10**8)
    out["max_length"] = f"{length or 512} tokens"
    long = asked.text("excess_length_strategy")
    ways = {None: "drop", "drop": "drop", "truncate": "truncate", "raise": "error"}
    if long not in ways:
        asked.unsaid("excess_length_strategy", "`drop` stands for it", "on_long")
    out["on_long"] = ways.get(long, "drop")
    packed = asked.flag("sample_packing")
    out.setdefault("packing", "ffd" if packed else "none")
    training.held_out(asked, out, "val_set_size")
    _precision(asked, out)


def _precision(asked: Asked, out: dict[str, Any]) -> None:
    def on(*keys: str) -> bool | None:
        values = [asked.get(k) for k in keys if k in asked]
        words = [v.raw.lower() for v in values if v is not None]
        return None if not words else any(w in ("true", "auto", "full", "yes", "on") for w in words)

    half, brain, full = on("fp16", "float16"), on("bf16", "bfloat16"), on("float32")
    out["precision"] = "bf16" if brain else "fp16" if half else "fp32" if brain is False or full else "bf16"


def _method(asked: Asked, out: dict[str, Any]) -> None:
    keys = ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target_linear")
    adapter = asked.text("adapter")
    if not adapter:
        for key in keys:
            if key in asked:
                asked.leave(key, "there is no `adapter`")
        return
    if adapter == "qlora":
        asked.otherwise("adapter", "the base is not quantised here: LoRA in the precision of the training", "method")
        if "load_in_4bit" in asked:
            asked.leave("load_in_4bit", "said of `adapter`")
    elif adapter != "lora":
        asked.unsaid("adapter", "LoRA stands for it", "method")
    linear = asked.flag("lora_target_linear")
    where = training.targets(asked, "lora_target_modules", "all-linear")
    if not linear and "lora_target_modules" not in asked:
        asked.remark("the YAML names no modules: all linear ones", "method")
    training.lora(
        asked,
        out,
        r=asked.whole("lora_r", 1, 65536) or 8,
        alpha=asked.whole("lora_alpha", 1, 65536) or 16,
        dropout=asked.real("lora_dropout", 0, 1) or 0.0,
        targets="all-linear" if linear else where,
    )


def _template(asked: Asked, out: dict[str, Any], files: Files) -> None:
    written = asked.text("chat_template_jinja")
    name = asked.text("chat_template")
    if written and "{" in written:
        out["chat_template"] = {"template": written.strip("\n")}
    elif written and (found := training.chat_template(asked, "chat_template_jinja", written, files)):
        out["chat_template"] = found
    elif written:
        return
    elif name == "chatml":
        out["chat_template"] = {"template": CHATML}
    elif name and name.startswith("tokenizer_default_fallback"):
        asked.otherwise("chat_template", "the base's own template, which must be there", "chat_template")
    elif name and name not in ("tokenizer_default", "jinja"):
        asked.unsaid(
            "chat_template",
            f"`{training._short(name)}` is a template of axolotl; the base's own is taken",
            "chat_template",
            help='take it from a model: `chat_template = "owner/model"`',
        )


def _saving(asked: Asked, out: dict[str, Any]) -> None:
    epochs = float(out["epochs"]["recipe"]) if "epochs" in out else None
    each = asked.whole("saves_per_epoch", 0, 10**6)
    training.save(asked, out, "save_steps", "save_strategy", epochs)
    if each and "save_every" not in out:
        training.saves_per_epoch(out, epochs, each)
    there = {
        "tensorboard": ("use_tensorboard",),
        "wandb": ("wandb_project", "use_wandb"),
        "mlflow": ("mlflow_tracking_uri", "use_mlflow"),
        "trackio": ("trackio_project_name", "use_trackio"),
    }
    on = [tool for tool, keys in there.items() if any(_on(asked, k) for k in keys)]
    if on:
        out["report"] = on
    training.parallel(asked, out)


def _on(asked: Asked, key: str) -> bool:
    value = asked.get(key)
    return value is not None and value.data not in (False, "")
