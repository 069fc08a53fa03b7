"""TRL: the YAML of `trl sft --config`, with one dataset, a `datasets` mixture, or a `dataset_mixture` of the alignment
handbook.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from alchemist_dsl.migrate import hf, training
from alchemist_dsl.migrate.hf import Columns
from alchemist_dsl.migrate.reading import Reading, Refused, distinct, none_found, of_source
from alchemist_dsl.migrate.recipe_draft import Draft, Source, percent, plain, times
from alchemist_dsl.migrate.source_location import At, Files, place
from alchemist_dsl.migrate.tracked_mapping import Asked

TITLE: Final = "TRL"
USED: Final[dict[str, str]] = {
    "model_name_or_path": "`base`",
    "model_revision": "`revision`",
    "datasets": "a source each, together in a `mixture`",
    "datasets[].path": "`hub`, or `files` where it is on the disk",
    "datasets[].name": "`config`",
    "datasets[].split": "`split`; slices as `limit` or an amount, with a warning",
    "datasets[].data_files": "`files`",
    "datasets[].data_dir": "`files`",
    "datasets[].columns": "which layout the rows have: `messages`, prompt and completion, or text",
    "datasets[].fraction": "its share of the mixture, the largest that repeats nothing",
    "dataset_mixture": (
        "the handbook's mixture: `id`, `config`, `split`, `columns`, `weight` (a part of each set's own size), `seed`, "
        "`test_split_size`"
    ),
    "dataset_name": "`hub`, or `files`",
    "dataset_config": "`config`",
    "dataset_train_split": "`split`",
    "test_split_size": "`eval_share`",
    "dataset_text_field": "`set response = …`",
    "chat_template_path": "`chat_template`",
    "chat_template": "`chat_template`",
    "max_length": "`max_length`",
    "max_seq_length": "`max_length`",
    "packing": "`packing`",
    "packing_strategy": "`packing = ffd`, `wrapped`",
    "assistant_only_loss": "`loss`",
    "completion_only_loss": "`loss`",
    "use_peft": "`method = lora(…)`",
    "lora_r": "`method`",
    "lora_alpha": "`method`",
    "lora_dropout": "`method`",
    "lora_target_modules": "`method`",
    **hf.USED,
}
LEFT: Final[dict[str, str]] = {
    **hf.LEFT,
    "env": "environment variables are set where the run is started",
    "dataset_test_split": hf._EVAL,
    "dataset_streaming": "how data is read, not which",
    "streaming": "how data is read, not which",
    "ignore_bias_buffers": "how devices talk to each other: speed only",
    "shuffle_dataset": "rows are drawn in a new order for every epoch in any case",
    "truncation_mode": "the beginning of a long row is kept",
    "loss_type": "the same loss, computed in another way",
    "lora_task_type": "the model writes text in any case",
    "use_bnb_nested_quant": "goes with 4 bits",
    "bnb_4bit_quant_type": "goes with 4 bits",
    "bnb_4bit_quant_storage": "goes with 4 bits",
    "bnb_4bit_compute_dtype": "goes with 4 bits",
    "gradient_checkpointing_use_reentrant": hf._MEMORY,
}
UNSAID: Final[dict[str, str]] = {
    **hf.UNSAID,
    "eos_token": "a text that ends a turn; the chat template says it",
    "pad_token": "the token that fills up",
    "router_aux_loss_coef": "a loss that balances the experts",
    "model_init_kwargs": "further arguments of the model",
    "dataset_kwargs": "further arguments of the preparation",
    "load_in_4bit": "weights in 4 bits under LoRA; here they are in the precision of the training",
    "load_in_8bit": "weights in 8 bits under LoRA; here they are in the precision of the training",
    "use_rslora": "another scale of LoRA",
    "use_dora": "DoRA",
    "lora_modules_to_save": "modules that are trained in full beside LoRA",
    "lora_target_parameters": "LoRA on parameters that are no modules",
    "tokenizer_name_or_path": "a tokenizer that is not the base's",
}
#: Keys of trainings that are no supervised tuning.
_OTHER: Final = (
    "beta",
    "rewards",
    "num_generations",
    "max_prompt_length",
    "max_completion_length",
    "reward_model_path",
    "ref_model_init_kwargs",
)
_ENTRY: Final = ("path", "name", "split", "data_files", "data_dir", "columns", "fraction", "id", "config", "weight")
_TEXT: Final = hf.Pair("prompt", "completion")


def read(reading: Reading) -> Draft:
    """The draft of a TRL configuration. Refused where it is no supervised tuning."""
    requested, draft = reading.begin()
    for key in _OTHER:
        if key in requested:
            raise Refused(
                f"`{key}` belongs to preference training or reinforcement learning, which a recipe does not say",
                requested.place(key),
                "only supervised tuning can be taken over",
            )
    out: dict[str, Any] = {}
    seed = training.seed(requested, "seed", 42)
    draft.seed = training.seed(requested, "data_seed", seed)
    kinds = _data(reading, requested, draft, out)
    if not training.base(requested, out, "model_name_or_path", "model_revision"):
        return training.nothing_trained(requested, draft, USED, LEFT, UNSAID)
    training.held_out(requested, out, "test_split_size")
    hf.read(requested, out, reading.gpus, learning_rate=2e-5, precision="bf16")
    _sequences(requested, out, reading.files)
    _weights(requested)
    out["loss"] = _loss(requested, kinds)
    _method(requested, out)
    if draft.seed != seed:
        out["seed"] = seed
    draft.train = training.sequences(out)
    requested.rest(LEFT, UNSAID, USED)
    return draft


# --- data -------------------------------------------------------------------------------------------------------------


def _data(reading: Reading, requested: Asked, draft: Draft, out: dict[str, Any]) -> set[str]:
    """Sources and mixture; the layouts that their rows have."""
    field = requested.text("dataset_text_field")
    kinds: set[str] = set()
    which = requested.first("dataset_mixture", "datasets", "dataset_name")
    if which == "dataset_mixture":
        inner = requested.table("dataset_mixture", reading.remarks(draft, "mixture"))
        if inner is not None:
            kinds |= _entries(reading, inner, draft, At("id", "config", "split"), field)
            draft.seed = training.seed(inner, "seed", 0)
            training.held_out(inner, out, "test_split_size")
            inner.rest({}, {}, ("datasets", "seed", "test_split_size"))
    elif which == "datasets":
        kinds |= _entries(reading, requested, draft, At("path", "name", "split", files="data_files"), field)
        _fractions(requested, draft)
    elif which == "dataset_name":
        source = reading.source(draft, requested.text("dataset_name") or "data")
        own = Asked(requested.value, "", reading.log, of_source(source))
        have = place(own, source, At("dataset_name", "dataset_config", "dataset_train_split"), reading.files)
        kinds.add(_layout(own, source, None, have, field, "dataset_name"))
        requested.take_over(own)
    for key in ("dataset_config", "dataset_train_split"):
        if key in requested and which != "dataset_name":
            requested.leave(key, f"`{which}` counts" if which else "there is no `dataset_name`")
    none_found(reading, draft, "the YAML names no dataset")
    distinct(draft)
    return kinds


def _entries(reading: Reading, requested: Asked, draft: Draft, at: At, field: str | None) -> set[str]:
    kinds = set()
    result: list[Source] = []

    def remark(number: int) -> Any:
        result.append(reading.source(draft, "data"))
        return of_source(result[-1])

    for entry in requested.tables("datasets", remark):
        source = result[-1]
        where = entry.text(at.path) or "data"
        inside = (entry.texts(at.files) or [where])[0] if at.files else where
        reading.rename(draft, source, inside if where in ("json", "csv", "parquet") else where)
        if at.files and "data_dir" in entry:
            folder = entry.text("data_dir") or ""
            have = (
                place(entry, source, At("data_dir"), reading.files, path=f"{where}/{folder}")
                if reading.files.kind(where)
                else _below(entry, source, at, reading, folder)
            )
        else:
            have = place(entry, source, at, reading.files)
        kinds.add(_layout(entry, source, entry.texts("columns"), have, field, "columns"))
        _amount(entry, source)
        entry.rest({}, {}, _ENTRY)
    return kinds


def _below(entry: Asked, source: Source, at: At, reading: Reading, folder: str) -> Columns:
    """A folder of a hub's repository."""
    have = place(entry, source, at, reading.files)
    if "hub" in source.attrs and "files" not in source.attrs:
        source.attrs["files"] = f"{folder.strip('/')}/**"
    return have


def _layout(
    requested: Asked, source: Source, columns: list[str] | None, have: Columns, field: str | None, key: str
) -> str:
    """Which columns are the conversation: as the YAML says, else as the records have it, else `messages`."""
    known = frozenset(columns) if columns else have
    if field and field != "text" and (known is None or field in known):
        hf.text(source, field)
        return "text"
    if known is None or "messages" in known:
        if known is None and "missing" not in source.attrs:
            requested.remark("the YAML does not name its columns: read as `messages`", "")
        return "messages"
    if "conversations" in known:
        hf.conversation(source, "conversations")
        return "messages"
    if {"prompt", "completion"} <= known:
        hf.pair(source, _TEXT, known)
        return "pair"
    if (field or "text") in known:
        hf.text(source, field or "text")
        requested.otherwise(key, "text without turns: it is the answer to an empty question, in the chat template")
        return "text"
    if {"instruction", "response"} <= known:
        return "pair"
    if columns:
        requested.unsaid(key, "no layout that TRL trains on; say where `instruction` and `response` come from")
    return "messages"


def _amount(entry: Asked, source: Source) -> None:
    """`weight` of the handbook: a part of the set's own size. `fraction` of TRL is looked at when all are known."""
    weight = entry.real("weight", 0, 1000)
    if weight is not None and weight != 1:
        source.amount = times(weight)
        if weight > 1:
            entry.otherwise("weight", "the handbook stops at a weight above 1; here rows repeat", "weight")
    fraction = entry.real("fraction", 0, 1e9)
    if fraction is not None:
        source.amount = f"={fraction!r}"


def _fractions(requested: Asked, draft: Draft) -> None:
    """Shares of the final mixture, brought to a sum of one, which repeat nothing."""
    provided = {s.name: Fraction(s.amount[1:]) for s in draft.sources if (s.amount or "").startswith("=") and s.amount}
    if not provided:
        return
    total = sum(provided.values())
    whole = len(provided) == len(draft.sources) and total > 0
    exact = whole and all((share / total * 10**6).denominator == 1 for share in provided.values())
    for source in draft.sources:
        share = provided.get(source.name, Fraction(0))
        parts = f"{plain(Decimal(repr(float(share))))} parts"
        source.amount = None if not whole else percent(share / total) if exact else parts
    if whole:
        draft.mixture["unit"] = "rows"
    else:
        requested.unsaid(
            "datasets", "TRL takes a `fraction` of all sets or of none, and not all of them zero; all rows are taken"
        )


# --- training ---------------------------------------------------------------------------------------------------------


def _sequences(requested: Asked, out: dict[str, Any], files: Files) -> None:
    key = requested.first("max_length", "max_seq_length")
    length = requested.whole(key, 1, 10**8) if key else None
    out["max_length"] = f"{length or 1024} tokens"
    packed = requested.flag("packing")
    strategy = requested.text("packing_strategy")
    if strategy in ("bfd_split", "bfd-requeue"):
        requested.otherwise(
            "packing_strategy", "the rest of a long row is cut off instead of packed as a row of its own", "packing"
        )
    elif strategy not in (None, "bfd", "ffd", "wrapped"):
        requested.unsaid("packing_strategy", "`ffd` stands for it", "packing")
    out["packing"] = "none" if not packed else "wrapped" if strategy == "wrapped" else "ffd"
    path = requested.text("chat_template_path")
    written = requested.text("chat_template")
    if written and "{" in written:
        out["chat_template"] = {"template": written.strip("\n")}
    elif (name := path or written) and (
        found := training.chat_template(requested, "chat_template_path" if path else "chat_template", name, files)
    ):
        out["chat_template"] = found


def _weights(requested: Asked) -> None:
    """In which format the weights are loaded, and so trained."""
    for key in ("dtype", "torch_dtype"):
        word = (requested.text(key) or "") if key in requested else ""
        if word in ("bfloat16", "float16") and not ("use_peft" in requested and requested.flag("use_peft")):
            requested.otherwise(
                key, "the weights themselves are kept in fp32, only the computation is in half precision", "precision"
            )
        elif key in requested:
            requested.leave(key, "memory and speed only")


def _loss(requested: Asked, kinds: set[str]) -> str:
    """TRL's rules: all tokens of a conversation, the completion of a pair, unless it is told."""
    assistant = requested.flag("assistant_only_loss")
    completion = requested.flag("completion_only_loss")
    if assistant:
        return "assistant"
    if "pair" in kinds and completion is not False:
        if len(kinds) > 1:
            requested.remark(
                "TRL counts the whole of a conversation and the answer of a pair; here it is the answer of both", "loss"
            )
        return "last"
    return "all"


def _method(requested: Asked, out: dict[str, Any]) -> None:
    keys = ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules")
    if not (requested.flag("use_peft")):
        for key in (*keys, "use_rslora", "use_dora", "load_in_4bit", "load_in_8bit"):
            if key in requested and (key in keys or not requested.flag(key) or "load" not in key):
                requested.leave(key, "there is no `use_peft`")
        return
    if "lora_target_modules" not in requested:
        requested.otherwise(
            "lora_target_modules", "peft chooses the modules by the model; here they are all linear ones", "method"
        )
    training.lora(
        requested,
        out,
        r=requested.whole("lora_r", 1, 65536) or 16,
        alpha=requested.whole("lora_alpha", 1, 65536) or 32,
        dropout=_or(requested.real("lora_dropout", 0, 1), 0.05),
        targets=training.targets(requested, "lora_target_modules", "all-linear"),
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
