"""Keys that transformers' TrainingArguments brings into TRL and LLaMA-Factory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema.attributes import RESERVED

from alchemist_dsl.migrate import training
from alchemist_dsl.migrate.recipe_draft import Source, column, real
from alchemist_dsl.migrate.tracked_mapping import Asked

#: Key -> what becomes of it, for the documentation; everything here is asked for below.
USED: Final[dict[str, str]] = {
    "per_device_train_batch_size": "`micro_batch`, and times `gradient_accumulation_steps` times devices `batch`",
    "gradient_accumulation_steps": "`batch`",
    "num_train_epochs": "`epochs`",
    "max_steps": "`steps`",
    "learning_rate": "`learning_rate`",
    "lr_scheduler_type": "`schedule`: constant, linear, cosine; others by the nearest, with a warning",
    "lr_scheduler_kwargs": "`schedule(floor = …)` from `min_lr_rate` or `min_lr`",
    "warmup_steps": "`schedule(warmup = …)`",
    "warmup_ratio": "`schedule(warmup = …)`",
    "optim": "`optimizer`",
    "weight_decay": "`weight_decay`",
    "max_grad_norm": "`max_grad_norm`",
    "bf16": "`precision`",
    "fp16": "`precision`",
    "seed": "`seed`",
    "data_seed": "`recipe.seed`",
    "save_steps": "`save_every`",
    "save_strategy": "`save_every`",
    "report_to": "`report`",
    "deepspeed": "`parallel = zero2`, `zero3`",
    "fsdp": "`parallel = fsdp`",
    "fsdp_config": "`parallel = fsdp`",
}

_EVAL = "when and how the evaluation loss is taken; it trains nothing"
_LOG = "what is written while it trains"
_OUT = "where results go: a run keeps them in `.alchemist/outputs`"
_HUB = "publishing a model: no part of a training"
_LOAD = "how batches are loaded: speed only"
_MEMORY = "memory and speed only"
_RESUME = "a run goes on by itself where it was stopped"

LEFT: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            "output_dir",
            "overwrite_output_dir",
            "run_name",
            "save_total_limit",
            "save_only_model",
            "save_on_each_node",
            "save_safetensors",
            "logging_dir",
            "project",
        ),
        _OUT,
    ),
    **dict.fromkeys(
        (
            "logging_steps",
            "logging_strategy",
            "logging_first_step",
            "logging_nan_inf_filter",
            "log_level",
            "log_level_replica",
            "log_on_each_node",
            "disable_tqdm",
            "include_num_input_tokens_seen",
            "include_tokens_per_second",
            "skip_memory_metrics",
            "debug",
            "trackio_space_id",
            "trackio_bucket_id",
            "trackio_static_space_id",
        ),
        _LOG,
    ),
    **dict.fromkeys(
        (
            "do_train",
            "do_eval",
            "do_predict",
            "eval_strategy",
            "evaluation_strategy",
            "eval_steps",
            "eval_delay",
            "eval_on_start",
            "per_device_eval_batch_size",
            "eval_accumulation_steps",
            "prediction_loss_only",
            "bf16_full_eval",
            "fp16_full_eval",
            "include_for_metrics",
            "batch_eval_metrics",
            "eval_do_concat_batches",
            "eval_use_gather_object",
            "eval_packing",
        ),
        _EVAL,
    ),
    **dict.fromkeys(
        ("push_to_hub", "hub_model_id", "hub_strategy", "hub_private_repo", "hub_always_push", "hub_revision"), _HUB
    ),
    **dict.fromkeys(
        (
            "dataloader_num_workers",
            "dataloader_pin_memory",
            "dataloader_persistent_workers",
            "dataloader_prefetch_factor",
            "dataloader_multiprocessing_context",
            "dataloader_in_order",
            "remove_unused_columns",
            "preprocessing_num_workers",
            "dataset_num_proc",
            "accelerator_config",
            "group_by_length",
            "length_column_name",
            "train_sampling_strategy",
        ),
        _LOAD,
    ),
    **dict.fromkeys(
        (
            "gradient_checkpointing",
            "gradient_checkpointing_kwargs",
            "activation_checkpointing",
            "activation_checkpointing_kwargs",
            "torch_compile",
            "torch_compile_backend",
            "torch_compile_mode",
            "use_liger_kernel",
            "liger_kernel_config",
            "torch_empty_cache_steps",
            "tf32",
            "use_cache",
            "attn_implementation",
            "torch_dtype",
            "dtype",
            "low_cpu_mem_usage",
            "padding_free",
            "pad_to_multiple_of",
            "activation_offloading",
            "trust_remote_code",
            "use_cpu",
            "auto_find_batch_size",
        ),
        _MEMORY,
    ),
    **dict.fromkeys(
        (
            "ddp_timeout",
            "ddp_find_unused_parameters",
            "ddp_bucket_cap_mb",
            "ddp_broadcast_buffers",
            "ddp_static_graph",
            "ddp_backend",
            "local_rank",
            "parallelism_config",
        ),
        "how devices talk to each other: speed only",
    ),
    **dict.fromkeys(
        (
            "resume_from_checkpoint",
            "ignore_data_skip",
            "restore_callback_states_from_checkpoint",
            "enable_jit_checkpoint",
        ),
        _RESUME,
    ),
    "full_determinism": "what is drawn follows from the seed in any case",
    "label_names": "labels are made from the turns",
}

UNSAID: Final[dict[str, str]] = {
    "neftune_noise_alpha": "noise on the embeddings",
    "label_smoothing_factor": "smoothed labels",
    "optim_args": "further settings of the optimiser",
    "optim_target_modules": "an optimiser for some modules only",
    "load_best_model_at_end": "the choice of a checkpoint by its figures",
    "metric_for_best_model": "the choice of a checkpoint by its figures",
    "greater_is_better": "the choice of a checkpoint by its figures",
    "dataloader_drop_last": "a last batch that is not full is left out; here it is trained on",
}

_ADAM: Final = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}


def read(requested: Asked, out: dict[str, Any], gpus: int | None, *, learning_rate: float, precision: str) -> None:
    """Fill in a `train` block."""
    training.batch(requested, out, "per_device_train_batch_size", "gradient_accumulation_steps", gpus, default=8)
    training.passes(requested, out, "num_train_epochs", "max_steps", default=3.0)
    out["learning_rate"] = training.text(real(learning_rate))
    training.numbers(
        requested,
        out,
        {
            "learning_rate": ("learning_rate", 0, 1e6),
            "weight_decay": ("weight_decay", 0, 1e6),
            "max_grad_norm": ("max_grad_norm", 0, 1e9),
        },
    )
    warm = training.warmup(requested, "warmup_steps", "warmup_ratio")
    training.schedule(requested, out, "lr_scheduler_type", warm, floor(requested, out), default="linear")
    training.optimizer(requested, out, "optim")
    _precision(requested, out, precision)
    training.save(requested, out, "save_steps", "save_strategy", _epochs(out))
    training.report(requested, out, "report_to")
    training.parallel(requested, out)
    betas(requested)
    if requested.flag("average_tokens_across_devices") is False:
        requested.otherwise(
            "average_tokens_across_devices", "every token of a batch counts alike here, on whatever device"
        )


def _epochs(out: dict[str, Any]) -> float | None:
    return float(out["epochs"]["recipe"]) if "epochs" in out else None


def floor(requested: Asked, out: dict[str, Any]) -> Fraction | None:
    inner = requested.table("lr_scheduler_kwargs")
    if inner is None:
        return None
    rate = inner.real("min_lr_rate", 0, 1)
    least = inner.real("min_lr", 0)
    cycles = inner.real("num_cycles", 0)
    if cycles not in (None, 1, 0.5):
        inner.unsaid("num_cycles", "one fall is all that there is", "schedule")
    inner.rest({}, {})
    if rate is not None:
        return Fraction(str(rate))
    peak = Fraction(out["learning_rate"]["recipe"])
    return min(Fraction(1), Fraction(str(least)) / peak) if least and peak else None


def _precision(requested: Asked, out: dict[str, Any], default: str) -> None:
    bf16 = requested.flag("bf16")
    fp16 = requested.flag("fp16")
    if fp16:
        out["precision"] = "fp16"
    elif bf16:
        out["precision"] = "bf16"
    else:
        out["precision"] = "fp32" if bf16 is False else default


def betas(requested: Asked) -> None:
    for key, usual in _ADAM.items():
        if key in requested:
            number = requested.real(key)
            if number is not None and number != usual:
                requested.unsaid(key, f"the optimiser's own constant; here it is {usual:g}", "optimizer")


# --- row layout ------------------------------------------------------------------------------------------------------

Columns = frozenset[str] | None

#: Keys of a turn and names of roles that `turns(…)` reads.
ROLE_KEYS: Final = frozenset({"role", "from", "speaker"})
CONTENT_KEYS: Final = frozenset({"content", "value", "text"})
ROLES: Final[Mapping[str, frozenset[str]]] = {
    "user": frozenset({"user", "human", "prompter", "question", "instruction"}),
    "assistant": frozenset({"assistant", "gpt", "bot", "model", "chatgpt", "answer", "ai", "chatbot"}),
    "system": frozenset({"system"}),
    "tool": frozenset({"tool", "function", "observation", "function_response", "tool_response"}),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Columns of one question and one answer; `input` goes below the question where a row has one."""

    instruction: str
    response: str
    input: str | None = None
    system: str | None = None
    between: str = "\n"


def conversation(source: Source, field: str) -> None:
    """Turns in a column. One called `messages` is read as such without a word."""
    if field != "messages":
        source.sets["messages"] = f"turns({column(field)})"


def pair(source: Source, layout: Pair, have: Columns) -> None:
    """A question and an answer. A column `input` that the records do not have is left out."""
    if layout.system and (have is None or layout.system in have):
        _set(source, "system", layout.system)
    if layout.input and (have is None or layout.input in have):
        source.sets["instruction"] = _joined(layout.instruction, layout.input, layout.between)
    else:
        _set(source, "instruction", layout.instruction)
    _set(source, "response", layout.response)


def text(source: Source, field: str) -> None:
    """Text without turns: all of it is the response."""
    source.sets["instruction"] = {"recipe": '""'}
    source.sets["response"] = column(field)


def tools(source: Source, field: str | None) -> None:
    if field and field != "tools":
        source.sets["tools"] = column(field)


def _set(source: Source, name: str, field: str) -> None:
    if field != name:
        source.sets[name] = column(field)


def _joined(first: str, second: str, between: str) -> Any:
    """Two columns, the second only where a row has it."""
    if all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", n) and n not in _JINJA | RESERVED for n in (first, second)):
        mark = between.replace("\n", "\\n")
        return {"template": f'{{{{ {first} }}}}{{{{ "{mark}" ~ {second} if {second} else "" }}}}'}
    import json

    a, b = column(first), f'coalesce(text({column(second)}), "")'
    return f'{a} + pick({b} == "", "", {json.dumps(between)} + {b})'


_JINJA: Final = frozenset(
    {
        "if",
        "else",
        "is",
        "for",
        "loop",
        "none",
        "None",
        "True",
        "False",
        "true",
        "false",
        "self",
        "super",
        "caller",
        "varargs",
        "kwargs",
        "range",
        "dict",
        "lipsum",
        "cycler",
        "joiner",
        "namespace",
        "recursive",
        "and",
        "or",
        "not",
        "in",
    }
)
