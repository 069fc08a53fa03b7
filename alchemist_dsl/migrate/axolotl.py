"""axolotl: one YAML with datasets and hyper-parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from alchemist_dsl.migrate import hf, training
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
    requested, draft = reading.begin()
    for key in ("rl", "reward_model", "process_reward_model"):
        if key in requested and requested.flag(key) is not False:
            raise Refused(
                f"`{key}` is preference training or reinforcement learning, which a recipe does not say",
                requested.place(key),
                "only supervised tuning can be taken over",
            )
    out: dict[str, Any] = {}
    trained = _data(reading, requested, draft, out)
    seed = training.seed(requested, "seed", 42)
    draft.seed = seed
    if not training.base(requested, out, "base_model", "revision_of_model"):
        raise Refused("there is no `base_model`", reading.value.span, "axolotl needs one, and so does a training here")
    _rates(requested, out, reading.gpus)
    _sequences(requested, out)
    _method(requested, out)
    _template(requested, out, reading.files)
    _saving(requested, out)
    inputs = requested.flag("train_on_inputs")
    out.setdefault("loss", "all" if inputs else trained)
    draft.train = training.sequences(out)
    requested.rest(LEFT, UNSAID, USED, FAMILIES)
    return draft


# --- data -------------------------------------------------------------------------------------------------------------


def _data(reading: Reading, requested: Asked, draft: Draft, out: dict[str, Any]) -> str:
    """Sources with their layouts; what counts in the loss."""
    losses: set[str] = set()
    result: list[Source] = []

    def remark(number: int) -> Any:
        result.append(reading.source(draft, "data"))
        return of_source(result[-1])

    for entry in requested.tables("datasets", remark):
        losses.add(_entry(reading, draft, entry, result[-1]))
    plain = requested.get("pretraining_dataset")
    if plain is not None and isinstance(plain.data, str):
        _plain_text(reading, draft, requested, reading.source(draft, plain.data), "pretraining_dataset")
    elif plain is not None:
        for entry in requested.tables("pretraining_dataset", remark):
            reading.rename(draft, result[-1], entry.text("path") or "data")
            _plain_text(reading, draft, entry, result[-1], "path")
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
        requested.remark("the sets say different things of what is trained; this is for all of them", "loss")
    return "all" if "all" in losses else "last" if losses == {"last"} else "assistant"


def _plain_text(reading: Reading, draft: Draft, requested: Asked, source: Source, key: str) -> None:
    place(
        requested,
        source,
        At(key, "name" if key == "path" else "", "split" if key == "path" else "", files="data_files"),
        reading.files,
    )
    field = requested.text("text_column")
    hf.text(source, field or "text")
    if "type" in requested:
        requested.leave("type", "plain text")
    requested.otherwise(
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


def _rates(requested: Asked, out: dict[str, Any], gpus: int | None) -> None:
    training.batch(
        requested, out, "micro_batch_size", "gradient_accumulation_steps", gpus, default=1, total="batch_size"
    )
    training.passes(requested, out, "num_epochs", "max_steps", default=1.0)
    training.numbers(
        requested,
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
            requested.place("learning_rate"),
            "axolotl needs one, and so does a training here",
        )
    warm = training.warmup(requested, "warmup_steps", "warmup_ratio")
    if warm is None and not {"warmup_steps", "warmup_ratio"} & {
        k for k in ("warmup_steps", "warmup_ratio") if k in requested
    }:
        warm = "3%"
        requested.remark("axolotl warms up for 3% of the steps, but no more than 100", "schedule")
    training.schedule(requested, out, "lr_scheduler", warm, floor(requested, out), default="cosine")
    training.optimizer(requested, out, "optimizer")
    betas(requested)


def floor(requested: Asked, out: dict[str, Any]) -> Fraction | None:
    from alchemist_dsl.migrate.hf import floor as given

    floor = given(requested, out)
    ratio = requested.real("cosine_min_lr_ratio", 0, 1)
    return Fraction(str(ratio)) if ratio is not None else floor


def _sequences(requested: Asked, out: dict[str, Any]) -> None:
    length = requested.whole("sequence_len", 1, 10**8)
    out["max_length"] = f"{length or 512} tokens"
    long = requested.text("excess_length_strategy")
    ways = {None: "drop", "drop": "drop", "truncate": "truncate", "raise": "error"}
    if long not in ways:
        requested.unsaid("excess_length_strategy", "`drop` stands for it", "on_long")
    out["on_long"] = ways.get(long, "drop")
    packed = requested.flag("sample_packing")
    out.setdefault("packing", "ffd" if packed else "none")
    training.held_out(requested, out, "val_set_size")
    _precision(requested, out)


def _precision(requested: Asked, out: dict[str, Any]) -> None:
    def on(*keys: str) -> bool | None:
        values = [requested.get(k) for k in keys if k in requested]
        words = [v.raw.lower() for v in values if v is not None]
        return None if not words else any(w in ("true", "auto", "full", "yes", "on") for w in words)

    half, brain, full = on("fp16", "float16"), on("bf16", "bfloat16"), on("float32")
    out["precision"] = "bf16" if brain else "fp16" if half else "fp32" if brain is False or full else "bf16"


def _method(requested: Asked, out: dict[str, Any]) -> None:
    keys = ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target_linear")
    adapter = requested.text("adapter")
    if not adapter:
        for key in keys:
            if key in requested:
                requested.leave(key, "there is no `adapter`")
        return
    if adapter == "qlora":
        requested.otherwise(
            "adapter", "the base is not quantised here: LoRA in the precision of the training", "method"
        )
        if "load_in_4bit" in requested:
            requested.leave("load_in_4bit", "said of `adapter`")
    elif adapter != "lora":
        requested.unsaid("adapter", "LoRA stands for it", "method")
    linear = requested.flag("lora_target_linear")
    where = training.targets(requested, "lora_target_modules", "all-linear")
    if not linear and "lora_target_modules" not in requested:
        requested.remark("the YAML names no modules: all linear ones", "method")
    training.lora(
        requested,
        out,
        r=requested.whole("lora_r", 1, 65536) or 8,
        alpha=requested.whole("lora_alpha", 1, 65536) or 16,
        dropout=requested.real("lora_dropout", 0, 1) or 0.0,
        targets="all-linear" if linear else where,
    )


def _template(requested: Asked, out: dict[str, Any], files: Files) -> None:
    written = requested.text("chat_template_jinja")
    name = requested.text("chat_template")
    if written and "{" in written:
        out["chat_template"] = {"template": written.strip("\n")}
    elif written and (found := training.chat_template(requested, "chat_template_jinja", written, files)):
        out["chat_template"] = found
    elif written:
        return
    elif name == "chatml":
        out["chat_template"] = {"template": CHATML}
    elif name and name.startswith("tokenizer_default_fallback"):
        requested.otherwise("chat_template", "the base's own template, which must be there", "chat_template")
    elif name and name not in ("tokenizer_default", "jinja"):
        requested.unsaid(
            "chat_template",
            f"`{training._short(name)}` is a template of axolotl; the base's own is taken",
            "chat_template",
            help='take it from a model: `chat_template = "owner/model"`',
        )


def _saving(requested: Asked, out: dict[str, Any]) -> None:
    epochs = float(out["epochs"]["recipe"]) if "epochs" in out else None
    each = requested.whole("saves_per_epoch", 0, 10**6)
    training.save(requested, out, "save_steps", "save_strategy", epochs)
    if each and "save_every" not in out:
        training.saves_per_epoch(out, epochs, each)
    there = {
        "tensorboard": ("use_tensorboard",),
        "wandb": ("wandb_project", "use_wandb"),
        "mlflow": ("mlflow_tracking_uri", "use_mlflow"),
        "trackio": ("trackio_project_name", "use_trackio"),
    }
    on = [tool for tool, keys in there.items() if any(_on(requested, k) for k in keys)]
    if on:
        out["report"] = on
    training.parallel(requested, out)


def _on(requested: Asked, key: str) -> bool:
    value = requested.get(key)
    return value is not None and value.data not in (False, "")


# --- axolotl keys ----------------------------------------------------------------------------------------------------

TITLE: Final = "axolotl"
USED: Final[dict[str, str]] = {
    "base_model": "`base`",
    "revision_of_model": "`revision`",
    "datasets": "a source each, together in a `mixture`",
    "datasets[].path": "`hub`, or `files` where it is on the disk",
    "datasets[].name": "`config`",
    "datasets[].split": "`split`; slices as `limit` or an amount, with a warning",
    "datasets[].revision": "`revision`",
    "datasets[].data_files": "`files`",
    "datasets[].ds_type": "`format`, where the ending does not tell",
    "datasets[].type": "the `set` statements; see the list of types",
    "datasets[].field_messages": "`set messages = turns(…)`",
    "datasets[].field_tools": "`set tools = …`",
    "datasets[].message_property_mappings": "read by `turns(…)`",
    "datasets[].message_field_role": "read by `turns(…)`",
    "datasets[].message_field_content": "read by `turns(…)`",
    "datasets[].roles": "read by `turns(…)`",
    "datasets[].roles_to_train": "`loss`",
    "datasets[].field": "`set response = …` of `completion`",
    "datasets[].shards": "an amount, `0.25x`",
    "val_set_size": "`eval_share`",
    "sequence_len": "`max_length`",
    "excess_length_strategy": "`on_long`",
    "sample_packing": "`packing`",
    "pretraining_dataset": "sources of plain text, `loss = all`, `packing = wrapped`",
    "micro_batch_size": "`micro_batch`, and times `gradient_accumulation_steps` times devices `batch`",
    "gradient_accumulation_steps": "`batch`",
    "batch_size": "`batch`",
    "num_epochs": "`epochs`",
    "max_steps": "`steps`",
    "learning_rate": "`learning_rate`",
    "lr_scheduler": "`schedule`",
    "lr_scheduler_kwargs": "`schedule(floor = …)` from `min_lr_rate` or `min_lr`",
    "cosine_min_lr_ratio": "`schedule(floor = …)`",
    "warmup_steps": "`schedule(warmup = …)`",
    "warmup_ratio": "`schedule(warmup = …)`",
    "optimizer": "`optimizer`",
    "weight_decay": "`weight_decay`",
    "max_grad_norm": "`max_grad_norm`",
    "train_on_inputs": "`loss = all`",
    "adapter": "`method = lora(…)`",
    "lora_r": "`method`",
    "lora_alpha": "`method`",
    "lora_dropout": "`method`",
    "lora_target_modules": "`method`",
    "lora_target_linear": "`method`",
    "bf16": "`precision`",
    "fp16": "`precision`",
    "seed": "`seed`",
    "chat_template": "`chat_template`: `tokenizer_default`, `jinja` and `chatml`",
    "chat_template_jinja": "`chat_template`",
    "save_steps": "`save_every`",
    "save_strategy": "`save_every`",
    "saves_per_epoch": "`save_every`",
    "wandb_project": "`report`",
    "use_wandb": "`report`",
    "use_tensorboard": "`report`",
    "use_mlflow": "`report`",
    "mlflow_tracking_uri": "`report`",
    "use_trackio": "`report`",
    "trackio_project_name": "`report`",
    "deepspeed": "`parallel = zero2`, `zero3`",
    "fsdp": "`parallel = fsdp`",
    "fsdp_config": "`parallel = fsdp`",
}

_OUT: Final = "where results go: a run keeps them in `.alchemist/outputs`"
_LOG: Final = "what is written while it trains"
_EVAL: Final = "when and how the evaluation loss is taken; it trains nothing"
_SPEED: Final = "memory and speed only"
_MADE: Final = "how axolotl prepares and keeps its data"
LEFT: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            "output_dir",
            "hub_model_id",
            "hub_strategy",
            "hub_revision",
            "push_dataset_to_hub",
            "save_safetensors",
            "save_total_limit",
            "save_only_model",
            "save_first_step",
            "tokenizer_save_jinja_files",
            "merge_lora",
            "merge_method",
        ),
        _OUT,
    ),
    **dict.fromkeys(
        (
            "logging_steps",
            "profiler_steps",
            "profiler_steps_start",
            "include_tokens_per_second",
            "include_tkps",
            "debug",
            "use_otel_metrics",
            "otel_metrics_host",
            "otel_metrics_port",
            "loss_watchdog_threshold",
            "loss_watchdog_patience",
            "axolotl_config_path",
        ),
        _LOG,
    ),
    **dict.fromkeys(
        (
            "evals_per_epoch",
            "eval_steps",
            "eval_strategy",
            "evaluation_strategy",
            "eval_batch_size",
            "eval_sample_packing",
            "eval_sequence_len",
            "eval_table_size",
            "eval_max_new_tokens",
            "eval_causal_lm_metrics",
            "do_causal_lm_eval",
            "generate_samples",
            "num_generation_samples",
            "do_bench_eval",
            "bench_dataset",
        ),
        _EVAL,
    ),
    **dict.fromkeys(
        (
            "flash_attention",
            "sdp_attention",
            "xformers_attention",
            "flex_attention",
            "eager_attention",
            "sage_attention",
            "attn_implementation",
            "flash_optimum",
            "flash_attn_cross_entropy",
            "flash_attn_rms_norm",
            "flash_attn_fuse_mlp",
            "flex_attn_compile_kwargs",
            "fused_attn_kernel",
            "large_head_attention",
            "flash_attn_d512",
            "sdpa_varlen",
            "gradient_checkpointing",
            "gradient_checkpointing_kwargs",
            "selective_checkpointing",
            "activation_offloading",
            "layer_offloading",
            "tf32",
            "torch_compile",
            "torch_compile_backend",
            "torch_compile_mode",
            "torch_compile_options",
            "low_cpu_mem_usage",
            "gpu_memory_limit",
            "max_memory",
            "device",
            "device_map",
            "world_size",
            "local_rank",
            "ddp",
            "ddp_timeout",
            "ddp_bucket_cap_mb",
            "ddp_broadcast_buffers",
            "ddp_find_unused_parameters",
            "gc_steps",
            "gc_collect_steps",
            "torch_empty_cache_steps",
            "auto_find_batch_size",
            "group_by_length",
            "pad_to_sequence_len",
            "pad_to_multiple_of",
            "multipack_real_batches",
            "batch_flattening",
            "sample_packing_group_size",
            "sample_packing_bin_size",
            "sample_packing_sequentially",
            "sample_packing_eff_est",
            "sample_packing_mp_start_method",
            "lora_on_cpu",
            "lora_mlp_kernel",
            "lora_qkv_kernel",
            "lora_o_kernel",
            "lora_embedding_kernel",
            "use_kernels",
            "chunked_cross_entropy",
            "chunked_cross_entropy_num_chunks",
            "cut_cross_entropy",
            "tiled_mlp",
            "tiled_mlp_num_shards",
            "tiled_mlp_use_original_mlp",
            "unsloth_cross_entropy_loss",
            "unsloth_lora_mlp",
            "unsloth_lora_qkv",
            "unsloth_lora_o",
            "qlora_sharded_model_loading",
            "experimental_skip_move_to_device",
            "fsdp_version",
            "fsdp_final_state_dict_type",
            "dp_shard_size",
            "dp_replicate_size",
            "sequence_parallel_degree",
            "context_parallel_size",
            "heads_k_stride",
            "ring_attn_func",
            "tensor_parallel_size",
            "expert_parallel_size",
            "deepcompile",
            "accelerator_config",
            "use_scattermoe",
            "use_sonicmoe",
            "experts_implementation",
        ),
        _SPEED,
    ),
    **dict.fromkeys(
        (
            "dataset_prepared_path",
            "dataset_processes",
            "dataset_num_proc",
            "dataset_keep_in_memory",
            "dataset_shard_num",
            "num_dataset_shards_to_save",
            "dataloader_num_workers",
            "dataloader_prefetch_factor",
            "dataloader_pin_memory",
            "shuffle_merged_datasets",
            "shuffle_before_merging_datasets",
            "skip_prepare_dataset",
            "remove_unused_columns",
            "streaming",
            "streaming_multipack_buffer_size",
            "pretrain_multipack_buffer_size",
            "preprocess_iterable",
            "total_num_tokens",
            "total_supervised_tokens",
            "is_preprocess",
        ),
        _MADE,
    ),
    **dict.fromkeys(
        ("resume_from_checkpoint", "auto_resume_from_checkpoints"), "a run goes on by itself where it was stopped"
    ),
    **dict.fromkeys(
        (
            "model_type",
            "tokenizer_type",
            "processor_type",
            "tokenizer_use_fast",
            "tokenizer_legacy",
            "trust_remote_code",
            "is_falcon_derived_model",
            "is_llama_derived_model",
            "is_mistral_derived_model",
            "is_qwen_derived_model",
            "type_of_model",
            "base_model_ignore_patterns",
        ),
        "how a model is loaded is told by the model itself",
    ),
    **dict.fromkeys(
        (
            "strict",
            "hf_use_auth_token",
            "gradio_title",
            "gradio_share",
            "gradio_server_name",
            "gradio_server_port",
            "use_ray",
            "ray_run_name",
            "ray_num_workers",
            "resources_per_worker",
        ),
        "how axolotl itself is run",
    ),
}
UNSAID: Final[dict[str, str]] = {
    "test_datasets": "sets of their own for the evaluation loss; `eval_share` holds rows of the training data out",
    "special_tokens": "tokens of the tokenizer; the base's own are taken",
    "tokens": "new tokens of the tokenizer",
    "added_tokens_overrides": "new tokens of the tokenizer",
    "eot_tokens": "tokens that end a turn; the chat template says them",
    "tokenizer_config": "a tokenizer that is not the base's",
    "base_model_config": "a configuration that is not the base's",
    "model_config": "changes of the base's configuration",
    "overrides_of_model_config": "changes of the base's configuration",
    "lora_model_dir": "an adapter to start from",
    "lora_modules_to_save": "modules that are trained in full beside LoRA",
    "lora_target_parameters": "LoRA on parameters that are no modules",
    "lora_fan_in_fan_out": "how an adapter lays out its weights",
    "peft_use_dora": "DoRA",
    "peft_use_rslora": "another scale of LoRA",
    "peft_layers_to_transform": "LoRA on some layers only",
    "peft": "further settings of the adapter",
    "loraplus_lr_ratio": "LoRA+",
    "loraplus_lr_embedding": "LoRA+",
    "load_in_4bit": "weights in 4 bits under LoRA; here they are in the precision of the training",
    "load_in_8bit": "weights in 8 bits under LoRA; here they are in the precision of the training",
    "gptq": "a quantised base",
    "bnb_config_kwargs": "a quantised base",
    "quantization": "a quantised model",
    "qat": "training for a quantised model",
    "fp8": "a training in 8 bits",
    "unfrozen_parameters": "a training of some parameters only",
    "neftune_noise_alpha": "noise on the embeddings",
    "noisy_embedding_alpha": "noise on the embeddings",
    "embedding_lr": "a learning rate of their own for the embeddings",
    "embedding_lr_scale": "a learning rate of their own for the embeddings",
    "lr_groups": "learning rates of their own for some modules",
    "lr_quadratic_warmup": "another course of the warm-up",
    "cosine_constant_lr_ratio": "a constant end of the schedule",
    "lr_div_factor": "another course of the learning rate",
    "optim_args": "further settings of the optimiser",
    "optim_target_modules": "an optimiser for some modules only",
    "adam_epsilon2": "a constant of an optimiser that is not here",
    "adam_beta3": "a constant of an optimiser that is not here",
    "early_stopping_patience": "a training that ends by its figures",
    "load_best_model_at_end": "the choice of a checkpoint by its figures",
    "metric_for_best_model": "the choice of a checkpoint by its figures",
    "greater_is_better": "the choice of a checkpoint by its figures",
    "curriculum_sampling": "rows in the order of the set; here every epoch draws a new order",
    "dataset_exact_deduplication": "write a `dedup` step: `method = exact()`",
    "min_sample_len": "write a `filter` step: `drop tokens(response) < …`",
    "dataloader_drop_last": "a last batch that is not full is left out; here it is trained on",
    "plugins": "code of its own",
    "trainer_cls": "code of its own",
    "default_system_message": "a system turn for rows without one; write `set system = …` in the sources",
    "chat_template_kwargs": "arguments of the chat template; write `set template_args = …` in the sources",
    "relora": "ReLoRA",
    "use_pose": "PoSE",
    "s2_attention": "shifted attention",
    "rope_scaling": "other position encodings",
    "reinit_weights": "new weights: `init = scratch()` makes a small model",
    "resize_token_embeddings_to_32x": "the size of the embeddings",
    "fix_untrained_tokens": "embeddings of tokens that nobody trained",
    "use_eaft": "another loss",
    "llama4_linearized_experts": "another form of the model's experts",
    "quantize_moe_experts": "a quantised base",
}
FAMILIES: Final[dict[str, str]] = {
    "wandb_": _LOG,
    "mlflow_": _LOG,
    "hf_mlflow_": _LOG,
    "comet_": _LOG,
    "trackio_": _LOG,
    "swanlab_": _LOG,
    "generation_": _EVAL,
    "liger_": _SPEED,
    "gradio_": "how axolotl itself is run",
    "ray_": "how axolotl itself is run",
}
ENTRY_LEFT: Final = {
    "trust_remote_code": "code of a dataset is never run here",
    "preprocess_shards": _MADE,
    "shards_idx": "the rows are drawn by hash instead",
    "train_on_eos": "the end of every trained turn is trained",
    "train_on_eot": "the end of every trained turn is trained",
    "conversation": "the name of a template; the base's own is taken",
}
ENTRY_UNSAID: Final = {
    "chat_template": "a template for this set only; `train` has one for all",
    "chat_template_jinja": "a template for this set only; `train` has one for all",
    "drop_system_message": "a system turn that is dropped; write a `map` step",
    "field_thinking": "a column with the reasoning",
    "template_thinking_key": "a column with the reasoning",
    "split_thinking": "a column with the reasoning",
    "message_field_training": "which turns are trained, said in the data",
    "message_field_training_detail": "which texts are trained, said in the data",
    "input_transform": "code of its own",
    "input_format": "code of its own",
    "field_human": "columns of an older layout",
    "field_model": "columns of an older layout",
    "logprobs_field": "distillation",
    "temperature": "distillation",
}
