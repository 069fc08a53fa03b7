"""open-instruct: the YAML or the command line of its finetune script, with the mixers' amounts."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Final

from alchemist_dsl.migrate import hf, training
from alchemist_dsl.migrate.hf import Pair
from alchemist_dsl.migrate.reading import Reading, Refused, none_found, of_source
from alchemist_dsl.migrate.recipe_draft import Draft, Source, counted, percent, real, times
from alchemist_dsl.migrate.source_location import DRAWN, At, place
from alchemist_dsl.migrate.tracked_mapping import Asked, Value

TITLE: Final = "open-instruct"
USED: Final[dict[str, str]] = {
    "model_name_or_path": "`base`",
    "model_revision": "`revision`",
    "dataset_mixer_list": (
        "a source each; `9500` is `9_500 rows`, `0.5` is `0.5x`, `1.0` is all, `1` is one row, with a warning"
    ),
    "dataset_mixer": "the same, as a mapping",
    "dataset_mixer_list_splits": "`split`",
    "dataset_name": "`hub`, or `files`",
    "dataset_config_name": "`config`",
    "train_file": "`files`",
    "max_train_samples": "`limit`, where there is one set",
    "max_seq_length": "`max_length`",
    "per_device_train_batch_size": "`micro_batch`, and times `gradient_accumulation_steps` times devices `batch`",
    "gradient_accumulation_steps": "`batch`",
    "num_train_epochs": "`epochs`",
    "max_train_steps": "`steps`",
    "learning_rate": "`learning_rate`",
    "lr_scheduler_type": "`schedule`",
    "warmup_ratio": "`schedule(warmup = …)`",
    "final_lr_ratio": "`schedule(floor = …)`",
    "weight_decay": "`weight_decay`",
    "clip_grad_norm": "`max_grad_norm`",
    "use_8bit_optimizer": "`optimizer = adamw_8bit`",
    "use_lora": "`method = lora(…)`",
    "lora_rank": "`method`",
    "lora_alpha": "`method`",
    "lora_dropout": "`method`",
    "seed": "`seed`",
    "checkpointing_steps": "`save_every`",
    "report_to": "`report`",
}
_OUT: Final = "where results go: a run keeps them in `.alchemist/outputs`"
_LOG: Final = "what is written while it trains"
_HOUSE: Final = "how its makers run and publish"
_SPEED: Final = "memory and speed only"
_DATA: Final = "how data is prepared and kept"
LEFT: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            "output_dir",
            "exp_name",
            "run_name",
            "do_not_randomize_output_dir",
            "keep_last_n_checkpoints",
            "clean_checkpoints_at_end",
            "dataset_mix_dir",
        ),
        _OUT,
    ),
    **dict.fromkeys(("logging_steps", "with_tracking", "verbose"), _LOG),
    **dict.fromkeys(
        (
            "push_to_hub",
            "save_to_hub",
            "gs_bucket_path",
            "oe_eval_tasks",
            "oe_eval_max_length",
            "oe_eval_gpu_multiplier",
            "try_launch_beaker_eval_jobs",
            "try_auto_save_to_beaker",
            "eval_workspace",
            "eval_priority",
        ),
        _HOUSE,
    ),
    **dict.fromkeys(
        (
            "preprocessing_num_workers",
            "overwrite_cache",
            "dataset_cache_mode",
            "dataset_local_cache_dir",
            "dataset_config_hash",
            "dataset_skip_cache",
            "cache_dataset_only",
            "dataset_target_columns",
            "dataset_mixer_list_cache",
        ),
        _DATA,
    ),
    **dict.fromkeys(
        (
            "low_cpu_mem_usage",
            "use_flash_attn",
            "gradient_checkpointing",
            "use_liger_kernel",
            "fused_optimizer",
            "timeout",
            "sync_each_batch",
            "sequence_parallel_size",
            "use_slow_tokenizer",
            "trust_remote_code",
            "packing",
            "deepspeed",
            "additional_model_arguments",
        ),
        _SPEED,
    ),
    "resume_from_checkpoint": "a run goes on by itself where it was stopped",
}
FAMILIES: Final[dict[str, str]] = {"wandb_": _LOG, "hf_": _HOUSE, "beaker_": _HOUSE}
UNSAID: Final[dict[str, str]] = {
    "dataset_transform_fn": "steps of its own over the rows; here they are cut at `max_length`",
    "use_qlora": "weights in 4 bits under LoRA; here they are in the precision of the training",
    "config_name": "a configuration that is not the base's",
    "tokenizer_revision": "a tokenizer that is not the base's",
    "chat_template_name": "a template of open-instruct; the base's own is taken",
    "add_bos": "a token that begins a row; the chat template says it",
    "load_balancing_loss": "a loss that balances the experts",
    "load_balancing_weight": "a loss that balances the experts",
    "reduce_loss": "a sum instead of a mean in the loss",
}
#: Keys of trainings that are no supervised tuning.
_OTHER: Final = (
    "dpo_beta",
    "beta",
    "loss_type",
    "reward_model_path",
    "ground_truths_key",
    "rlvr",
    "num_samples_per_prompt_rollout",
)
#: Below this a whole number is rather meant as a factor: open-instruct warns of it, too.
_FEW: Final = 10


def read(reading: Reading) -> Draft:
    """The draft of an open-instruct configuration. Refused where it is no supervised tuning."""
    requested, draft = reading.begin()
    for key in _OTHER:
        if key in requested:
            raise Refused(
                f"`{key}` belongs to preference training or reinforcement learning, which a recipe does not say",
                requested.place(key),
                "only supervised tuning can be taken over",
            )
    out: dict[str, Any] = {}
    draft.seed = training.seed(requested, "seed", 42)
    _data(reading, requested, draft)
    if not training.base(requested, out, "model_name_or_path", "model_revision"):
        return training.nothing_trained(requested, draft, USED, LEFT, UNSAID, FAMILIES)
    length = requested.whole("max_seq_length", 1, 10**8)
    out["max_length"] = f"{length or 1024} tokens"
    out["packing"], out["loss"] = "none", "assistant"
    _rates(requested, out, reading.gpus)
    _method(requested, out)
    draft.train = training.sequences(out)
    tokenizer = requested.text("tokenizer_name")
    if tokenizer is not None and tokenizer != out.get("base"):
        requested.unsaid(
            "tokenizer_name", "a tokenizer that is not the base's; for its chat template alone write `chat_template`"
        )
    requested.rest(LEFT, UNSAID, [*USED, "tokenizer_name"], FAMILIES)
    return draft


def _rates(requested: Asked, out: dict[str, Any], gpus: int | None) -> None:
    training.batch(requested, out, "per_device_train_batch_size", "gradient_accumulation_steps", gpus, default=8)
    key = requested.first("num_train_epochs", "num_epochs") or "num_train_epochs"
    training.passes(requested, out, key, "max_train_steps", default=2.0)
    out["learning_rate"] = training.text("2e-5")
    training.numbers(
        requested, out, {"learning_rate": ("learning_rate", 0, 1e6), "weight_decay": ("weight_decay", 0, 1e6)}
    )
    share = requested.real("warmup_ratio", 0, 1) if "warmup_ratio" in requested else 0.03
    floor = requested.real("final_lr_ratio", 0, 1)
    warm = percent(share) if share else None
    training.schedule(
        requested, out, "lr_scheduler_type", warm, Fraction(str(floor)) if floor else None, default="linear"
    )
    clip = requested.real("clip_grad_norm", -1) if "clip_grad_norm" in requested else -1.0
    out["max_grad_norm"] = training.text(real(max(clip or 0.0, 0.0)))
    if clip is not None and clip < 0:
        requested.remark("open-instruct clips no gradient unless it is told", "max_grad_norm")
    if requested.flag("use_8bit_optimizer"):
        out["optimizer"] = "adamw_8bit"
    out["precision"] = "bf16"
    training.report(requested, out, "report_to")
    every = requested.text("checkpointing_steps")
    if every and every.isdecimal() and int(every):
        out["save_every"] = counted(int(every), "steps")
    elif every == "epoch" and "epochs" in out:
        training.saves_per_epoch(out, float(out["epochs"]["recipe"]), 1)


def _method(requested: Asked, out: dict[str, Any]) -> None:
    keys = ("lora_rank", "lora_alpha", "lora_dropout")
    if not requested.flag("use_lora"):
        for key in keys:
            if key in requested:
                requested.leave(key, "there is no `use_lora`")
        return
    rank = requested.whole("lora_rank", 1, 65536) or 64
    alpha = requested.whole("lora_alpha", 1, 65536)
    dropout = requested.real("lora_dropout", 0, 1) if "lora_dropout" in requested else 0.1
    training.lora(
        requested,
        out,
        r=rank,
        alpha=alpha or 16,
        dropout=dropout or 0.0,
        targets="q_proj, o_proj, v_proj, k_proj, gate_proj, up_proj, down_proj",
    )


# --- data -------------------------------------------------------------------------------------------------------------


def _data(reading: Reading, requested: Asked, draft: Draft) -> None:
    which = requested.first("dataset_mixer_list", "dataset_mixer", "dataset_name", "train_file")
    pairs: list[tuple[str, Value | None]] = []
    if which in ("dataset_mixer_list", "dataset_mixer"):
        pairs = _pairs(requested, which)
    elif which:
        pairs = [(requested.text(which) or "data", None)]
    splits = requested.texts("dataset_mixer_list_splits")
    if splits and len(splits) not in (1, len(pairs)):
        requested.unsaid("dataset_mixer_list_splits", "there is not one for each set")
        splits = None
    for number, (name, amount) in enumerate(pairs):
        source = reading.source(draft, name)
        own = Asked(requested.value, "", reading.log, of_source(source))
        have = place(own, source, At(which or "", "dataset_config_name"), reading.files, path=name)
        _layout(source, have)
        requested.take_over(own)
        if splits and "hub" in source.attrs:
            chosen = splits[number if len(splits) > 1 else 0]
            if re.fullmatch(r"[\w.\-/]+", chosen) and chosen != "train":
                source.attrs["split"] = chosen
        if amount is not None:
            source.amount = _amount(own, draft, which or "", name, amount)
    _total(requested, draft)
    none_found(reading, draft, "the configuration names no dataset")


def _layout(source: Source, have: hf.Columns) -> None:
    """Rows without `messages` by their columns, as its mixer converts them; unknown ones are read as `messages`."""
    if have is None or "messages" in have:
        return
    for pair in (Pair("instruction", "output", "input"), Pair("prompt", "completion")):
        if {pair.instruction, pair.response} <= have:
            hf.pair(source, pair, have)
            return
    if "conversations" in have:
        hf.conversation(source, "conversations")


def _pairs(requested: Asked, which: str) -> list[tuple[str, Value | None]]:
    value = requested.get(which)
    if value is None:  # an address with a login
        return []
    match value.data:
        case dict():
            return list(value.data.items())
        case tuple() if len(value.data) % 2 == 0:
            return [(n.raw, a) for n, a in zip(value.data[::2], value.data[1::2], strict=True)]
        case str() if len(words := value.data.split()) % 2 == 0:
            return [(n, Value(a, value.span, a)) for n, a in zip(words[::2], words[1::2], strict=True)]
        case _:
            requested.unsaid(which, "it is no list of sets and amounts in turn")
            return []


def _amount(own: Asked, draft: Draft, key: str, name: str, amount: Value) -> str | None:
    """With a point a factor, without one a number of rows: `1.0` is all of a set, `1` one row of it."""
    written = amount.raw.strip()
    line = own.log.line(amount.span)
    if re.fullmatch(r"[0-9][0-9_]*", written):
        rows = int(written)
        draft.mixture["on_short"] = training.text("repeat(max = 4x)")
        if rows == 0:
            return "0x"
        if rows <= _FEW:
            meant = f"`{rows}` is {counted(rows, 'rows')}; {rows * 100}% of the set would be `{rows}.0`"
            own.remark(f"{key} (line {line}): {meant}", "")
            own.log.add("A953", f"`{name}` in `{key}`: {meant}", amount.span, label="rows, not a factor")
        return counted(rows, "rows")
    try:
        factor = float(written)
    except ValueError:
        factor = -1.0
    if not 0 <= factor <= 10_000:
        own.remark(f"{key} (line {line}): {amount.shown} is no amount: all of it is taken", "")
        own.log.reported.add(key)
        own.log.add("A952", f"`{name}` in `{key}` has an amount that is none", amount.span, label="all of it is taken")
        return None
    return None if factor == 1 else times(factor)


def _total(requested: Asked, draft: Draft) -> None:
    rows = requested.whole("max_train_samples", 1)
    if rows is None:
        return
    if len(draft.sources) == 1 and draft.sources[0].amount is None and "missing" not in draft.sources[0].attrs:
        draft.sources[0].attrs["limit"] = counted(rows, "rows")
        own = Asked(requested.value, "", requested.log, of_source(draft.sources[0]))
        own.otherwise("max_train_samples", DRAWN, "limit")
    else:
        requested.unsaid("max_train_samples", "the first rows of the whole mixture; here every set has its amount")
