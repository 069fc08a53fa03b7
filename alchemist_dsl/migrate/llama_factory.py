"""LLaMA-Factory: a training YAML, and the dataset_info.json that says what its datasets are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from alchemist_dsl.migrate import hf, training
from alchemist_dsl.migrate.hf import Pair
from alchemist_dsl.migrate.reading import Reading, Refused, none_found, of_source
from alchemist_dsl.migrate.recipe_draft import Draft, Remark, Source, counted, percent, plain
from alchemist_dsl.migrate.source_location import DRAWN, At, place
from alchemist_dsl.migrate.tracked_mapping import Asked, Log, TreeError, masked
from alchemist_dsl.migrate.tracked_mapping import read as read_tree
from alchemist_dsl.source import SourceFile

INFO: Final = "dataset_info.json"
_COLUMNS: Final = ("prompt", "query", "response", "history", "messages", "system", "tools")
_TAGS: Final = {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system", "observation_tag": "tool"}


def read(reading: Reading) -> Draft:
    """The draft of a LLaMA-Factory configuration. Refused where it is no supervised tuning."""
    requested, draft = reading.begin()
    stage = requested.text("stage") if "stage" in requested else "sft"
    if stage not in ("sft", "pt"):
        raise Refused(
            f"`stage: {training._short(str(stage))}` is no supervised tuning, which is all that a recipe says",
            requested.place("stage"),
            "only the stages sft and pt can be taken over",
        )
    out: dict[str, Any] = {}
    seed = training.seed(requested, "seed", 42)
    draft.seed = training.seed(requested, "data_seed", seed)
    _data(reading, requested, draft, plain_text=stage == "pt")
    if not training.base(requested, out, "model_name_or_path", "model_revision"):
        return training.nothing_trained(requested, draft, USED, LEFT, UNSAID, FAMILIES)
    hf.read(requested, out, reading.gpus, learning_rate=5e-5, precision="fp32")
    if requested.flag("pure_bf16"):
        out["precision"] = "bf16"
        requested.otherwise("pure_bf16", "weights stay in fp32 here, the computation is in bf16", "precision")
    length = requested.whole("cutoff_len", 1, 10**8)
    out["max_length"] = f"{length or 2048} tokens"
    training.held_out(requested, out, "val_size")
    _loss(requested, out, stage == "pt")
    _method(requested, out)
    _template(requested)
    if draft.seed != seed:
        out["seed"] = seed
    draft.train = training.sequences(out)
    if requested.flag("use_swanlab"):
        requested.unsaid("use_swanlab", f"figures go to {', '.join(training.REPORTS)} only", "report")
    requested.rest(LEFT, UNSAID, USED, FAMILIES)
    return draft


def _loss(requested: Asked, out: dict[str, Any], plain_text: bool) -> None:
    neat = requested.flag("neat_packing")
    packed = requested.flag("packing") if "packing" in requested else plain_text
    out["packing"] = "ffd" if neat else "wrapped" if packed and plain_text else "ffd" if packed else "none"
    if packed and not neat and not plain_text:
        requested.otherwise("packing", "rows of one pack see each other there; here they do not", "packing")
    prompt = requested.flag("train_on_prompt")
    last = requested.flag("mask_history")
    out["loss"] = "all" if prompt or plain_text else "last" if last else "assistant"


def _method(requested: Asked, out: dict[str, Any]) -> None:
    kind = requested.text("finetuning_type") if "finetuning_type" in requested else "lora"
    keys = ("lora_rank", "lora_alpha", "lora_dropout", "lora_target")
    if kind != "lora":
        for key in keys:
            if key in requested:
                requested.leave(key, f"`finetuning_type` is {kind}")
        if kind != "full":
            requested.unsaid("finetuning_type", "all weights are trained instead", "method")
        return
    rank = requested.whole("lora_rank", 1, 65536) or 8
    alpha = (requested.whole("lora_alpha", 1, 131072)) or 2 * rank
    dropout = (requested.real("lora_dropout", 0, 1)) or 0.0
    where = training.targets(requested, "lora_target", "all-linear")
    training.lora(requested, out, r=rank, alpha=alpha, dropout=dropout, targets=where)


def _template(requested: Asked) -> None:
    name = requested.text("template")
    if name in (None, "default", "empty"):
        return
    requested.otherwise(
        "template",
        f"`{training._short(str(name))}` is a template of LLaMA-Factory; the base's own is taken",
        "chat_template",
        help='where the base has none: `chat_template = "owner/model"`',
    )


# --- data -------------------------------------------------------------------------------------------------------------


def _data(reading: Reading, requested: Asked, draft: Draft, *, plain_text: bool) -> None:
    names = (requested.texts("dataset")) or []
    folder = (requested.text("dataset_dir")) or "data"
    info, root = _info(reading, folder)
    limit = requested.whole("max_samples", 1)
    for name in names:
        source = reading.source(draft, name)
        entry = info.value.data.get(name) if info and isinstance(info.value.data, dict) else None
        if info and entry is not None and isinstance(entry.data, dict):
            own = Asked(entry, f"{INFO}: {name}", info.log, of_source(source))
            _entry(reading, own, source, root, plain_text)
        elif folder == "ONLINE" or (info is None and "/" in name):
            own = Asked(requested.value, "", reading.log, of_source(source))
            place(own, source, At("dataset"), reading.files, path=name)
            if plain_text:
                hf.text(source, "instruction")
            else:
                hf.pair(source, Pair("instruction", "output", "input"), None)
            own.remark("without dataset_info.json LLaMA-Factory reads rows as alpaca", "instruction")
        else:
            what = f"{INFO} does not name it" if info else f"there is no {INFO}"
            source.attrs = {"missing": what}
            own = Asked(requested.value, "", reading.log, of_source(source))
            own.otherwise(
                "dataset",
                f"where `{training._short(name)}` comes from is not known: {what}",
                "missing",
                help=f"put {INFO} beside the YAML, or in `dataset_dir`",
            )
        if limit is not None and "missing" not in source.attrs:
            source.attrs["limit"] = counted(limit, "rows")
            line = requested.line("max_samples")
            source.remarks.append(Remark(f"max_samples (line {line}): {DRAWN}", "limit"))
    if limit is not None:
        requested.log.add(
            "A953", f"`max_samples`: {DRAWN}", requested.place("max_samples"), label="said with a difference"
        )
    if info is not None:
        reading.log.problems += info.log.problems
    _mixed(requested, draft)
    none_found(reading, draft, "the YAML names no dataset")


def _info(reading: Reading, folder: str) -> tuple[Asked | None, str]:
    """dataset_info.json, and the folder that its files are in."""
    for at in dict.fromkeys((folder.rstrip("/"), "")):
        path = f"{at}/{INFO}" if at else INFO
        text = reading.files.read(path)
        if text is None:
            continue
        source = SourceFile(reading.files.shown(path), text)
        try:
            value, _ = read_tree(source)
        except TreeError as error:
            raise Refused(f"{INFO}: {error.headline}", error.span, error.help) from None
        if not isinstance(value.data, dict):
            raise Refused(f"{INFO} is no mapping of names", value.span)
        source, value = masked(source, value)
        reading.others[source.path] = source
        log = Log(reading.log.tool, source, left=reading.log.left, used=reading.log.used, reported=reading.log.reported)
        return Asked(value, INFO, log, of_source(Source("_"))), at
    return None, folder


def _entry(reading: Reading, own: Asked, source: Source, root: str, plain_text: bool) -> None:
    if own.flag("ranking"):
        source.attrs = {"missing": "pairs of answers for preference training"}
        own.unsaid("ranking", "preference training", "missing")
        for beside in own.data:
            if beside != "ranking":
                own.leave(beside, "goes with `ranking`")
        return
    if "hf_hub_url" in own:
        place(own, source, At("hf_hub_url", "subset", "split"), reading.files)
        if "folder" in own and "hub" in source.attrs:
            source.attrs["files"] = f"{(own.text('folder') or '').strip('/')}/**"
    elif "file_name" in own:
        name = own.text("file_name") or ""
        place(own, source, At("file_name"), reading.files, path=f"{root}/{name}" if root else f"./{name}")
    else:
        source.attrs = {"missing": "it comes neither from the Hugging Face hub nor from a file"}
        other = own.first("ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
        if other:
            own.unsaid(other, "a recipe reads the Hugging Face hub and files", "missing")
    number = own.whole("num_samples", 1)
    if number is not None and "missing" not in source.attrs:
        source.amount = counted(number, "rows")
    _columns(reading, own, source, plain_text)
    own.rest(
        {"shard_num": "how data is read"},
        dict.fromkeys(("images", "videos", "audios"), PICTURES),
        (
            "hf_hub_url",
            "file_name",
            "subset",
            "split",
            "folder",
            "num_samples",
            "formatting",
            "columns",
            "tags",
            "ranking",
        ),
    )


def _columns(reading: Reading, own: Asked, source: Source, plain_text: bool) -> None:
    """The `set` statements, by LLaMA-Factory's rule: with `columns`, what they do not name is not there."""
    inner = own.table("columns")
    form = (own.text("formatting")) or "alpaca"
    usual = {"prompt": "instruction", "query": "input", "response": "output", "messages": "conversations"}
    provided = {k: inner.text(k) for k in _COLUMNS if k in inner} if inner else usual
    if plain_text:
        hf.text(source, provided.get("prompt") or "text")
        own.remark("text without turns: it is the answer to an empty question, in the chat template", "instruction")
    elif form in ("sharegpt", "openai"):
        hf.conversation(source, provided.get("messages") or "conversations")
        hf.tools(source, provided.get("tools"))
        if inner and "system" in inner:
            source.sets["system"] = provided["system"]
        _tags(own)
    else:
        if form != "alpaca":
            own.unsaid("formatting", "it is read as alpaca")
        pair = Pair(
            provided.get("prompt") or "instruction",
            provided.get("response") or "output",
            provided.get("query"),
            provided.get("system"),
        )
        hf.pair(source, pair, None)
        if inner and "history" in inner:
            inner.unsaid("history", "earlier turns as pairs; write `set history = …`")
    if inner:
        inner.rest(
            {},
            {
                **dict.fromkeys(("images", "videos", "audios"), PICTURES),
                "chosen": "preference training",
                "rejected": "preference training",
                "kto_tag": "preference training",
            },
            _COLUMNS,
        )


def _tags(own: Asked) -> None:
    tags = own.table("tags")
    if tags is None:
        return
    for key, names in (("role_tag", hf.ROLE_KEYS), ("content_tag", hf.CONTENT_KEYS)):
        name = tags.text(key)
        if name is not None and name not in names:
            tags.unsaid(key, f"`turns(…)` reads {', '.join(sorted(names))}", "messages")
    for key, role in _TAGS.items():
        name = tags.text(key)
        if name is not None and name.lower() not in hf.ROLES[role]:
            tags.unsaid(key, f"`turns(…)` does not take `{training._short(name)}` for {role}", "messages")
    name = tags.text("function_tag")
    if name not in (None, "function_call"):
        tags.unsaid("function_tag", "calls of tools stand in the assistant's turn", "messages")
    tags.rest({}, {}, (*_TAGS, "role_tag", "content_tag", "function_tag"))


def _mixed(requested: Asked, draft: Draft) -> None:
    """How sets are mixed: one after the other, or by probability until the first is used up."""
    how = (requested.text("mix_strategy")) or "concat"
    odds = requested.texts("interleave_probs")
    if how == "concat" or not odds:
        if odds:
            requested.leave("interleave_probs", "`mix_strategy` is concat")
        if how != "concat":
            requested.unsaid("mix_strategy", "all of each is taken", help="it goes with `interleave_probs`")
        return
    numbers = [_share(o) for o in odds]
    known = [n for n in numbers if n is not None]
    if len(known) != len(draft.sources) or not sum(known):
        requested.unsaid("interleave_probs", "there is not one number for each dataset")
        return
    exact = abs(sum(known) - 1) < 1e-9 and all(round(n, 6) == n for n in known)
    for source, number in zip(draft.sources, known, strict=True):
        if source.amount is not None:
            requested.remark(f"{source.name}: num_samples of {source.amount} gives way to its share")
        source.amount = percent(number) if exact else f"{plain(Decimal(repr(number)))} parts"
    draft.mixture["unit"] = "rows"
    if how == "interleave_over":
        requested.otherwise(
            "mix_strategy",
            "rows repeat there until the last set is used up; here the mixture ends when the first is",
            help="say a `total` and `on_short = repeat(max = 4x)`",
        )


def _share(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None


# --- llama factory keys ----------------------------------------------------------------------------------------------

TITLE: Final = "LLaMA-Factory"
USED: Final[dict[str, str]] = {
    "model_name_or_path": "`base`",
    "model_revision": "`revision`",
    "stage": "`sft`, or `pt` as `loss = all`; all others are refused",
    "dataset": "a source each, by dataset_info.json",
    "dataset_dir": "where dataset_info.json is",
    "max_samples": "`limit` of every source",
    "mix_strategy": "`concat` as all of each, `interleave_under` as shares",
    "interleave_probs": "shares of the mixture",
    "cutoff_len": "`max_length`",
    "packing": "`packing = wrapped`",
    "neat_packing": "`packing = ffd`",
    "train_on_prompt": "`loss = all`",
    "mask_history": "`loss = last`",
    "val_size": "`eval_share`",
    "finetuning_type": "`method`",
    "lora_rank": "`method`",
    "lora_alpha": "`method`",
    "lora_dropout": "`method`",
    "lora_target": "`method`",
    "use_swanlab": "`report`",
    "pure_bf16": "`precision`",
    **hf.USED,
    "dataset_info.json: hf_hub_url": "`hub`",
    "dataset_info.json: file_name": "`files`",
    "dataset_info.json: subset": "`config`",
    "dataset_info.json: split": "`split`",
    "dataset_info.json: folder": "`files`",
    "dataset_info.json: num_samples": "an amount of the mixture",
    "dataset_info.json: formatting": "alpaca, sharegpt and openai: the `set` statements",
    "dataset_info.json: columns": "the `set` statements",
    "dataset_info.json: tags": "read by `turns(…)`",
}

_SPEED: Final = "memory and speed only"
_CHAT: Final = "answers and evaluations, no training"
PICTURES: Final = "pictures, films and sounds"
LEFT: Final[dict[str, str]] = {
    **hf.LEFT,
    **dict.fromkeys(
        (
            "overwrite_cache",
            "preprocessing_batch_size",
            "tokenized_path",
            "data_shared_file_system",
            "buffer_size",
            "streaming",
            "cache_dir",
        ),
        "how data is prepared and kept",
    ),
    **dict.fromkeys(
        (
            "flash_attn",
            "use_unsloth",
            "use_unsloth_gc",
            "enable_liger_kernel",
            "disable_gradient_checkpointing",
            "use_reentrant_gc",
            "upcast_layernorm",
            "upcast_lmhead_output",
            "use_fast_tokenizer",
            "use_v1_kernels",
            "ray_num_workers",
            "ray_init_kwargs",
            "ray_run_name",
            "ray_storage_path",
            "resources_per_worker",
            "placement_strategy",
            "master_addr",
            "master_port",
            "double_quantization",
            "quantization_method",
            "quantization_type",
            "quantization_device_map",
            "use_hyper_parallel",
            "hyper_parallel_args",
            "use_megatron_bridge",
            "megatron_bridge_args",
        ),
        _SPEED,
    ),
    **dict.fromkeys(
        (
            "predict_with_generate",
            "eval_num_beams",
            "infer_backend",
            "infer_dtype",
            "offload_folder",
            "use_kv_cache",
            "eval_on_each_dataset",
            "compute_accuracy",
            "do_sample",
            "temperature",
            "top_p",
            "top_k",
            "max_new_tokens",
            "repetition_penalty",
        ),
        _CHAT,
    ),
    **dict.fromkeys(
        ("plot_loss", "print_param_status", "include_effective_tokens_per_second", "enable_torch_profiler"), hf._LOG
    ),
    **dict.fromkeys(
        ("export_dir", "export_size", "export_device", "export_legacy_format", "export_hub_model_id"), hf._OUT
    ),
    "ignore_pad_token_for_loss": "what fills up is never trained",
    "media_dir": PICTURES,
    "tool_format": "the chat template writes tools",
    "create_new_adapter": "an adapter is always new here",
}
UNSAID: Final[dict[str, str]] = {
    **hf.UNSAID,
    "eval_dataset": "sets of their own for the evaluation loss; `eval_share` holds rows of the training data out",
    "default_system": "a system turn for rows without one; write `set system = …` in the sources",
    "enable_thinking": "an argument of the chat template; write `set template_args = …` in the sources",
    "preserve_thinking": "an argument of the chat template; write `set template_args = …` in the sources",
    "adapter_name_or_path": "an adapter to start from",
    "adapter_folder": "an adapter to start from",
    "resize_vocab": "new tokens of the tokenizer",
    "split_special_tokens": "another way to cut texts into tokens",
    "add_tokens": "new tokens of the tokenizer",
    "add_special_tokens": "new tokens of the tokenizer",
    "new_special_tokens_config": "new tokens of the tokenizer",
    "init_special_tokens": "new tokens of the tokenizer",
    "rope_scaling": "other position encodings",
    "shift_attn": "shifted attention",
    "mixture_of_depths": "another form of the model",
    "moe_aux_loss_coef": "a loss that balances the experts",
    "quantization_bit": "a quantised base under LoRA; here it is in the precision of the training",
    "additional_target": "modules that are trained in full beside LoRA",
    "loraplus_lr_ratio": "LoRA+",
    "loraplus_lr_embedding": "LoRA+",
    "use_rslora": "another scale of LoRA",
    "use_dora": "DoRA",
    "pissa_init": "PiSSA",
    "pissa_iter": "PiSSA",
    "pissa_convert": "PiSSA",
    "use_galore": "GaLore",
    "use_apollo": "APOLLO",
    "use_badam": "BAdam",
    "use_adam_mini": "Adam-mini",
    "use_muon": "Muon",
    "use_llama_pro": "a training of some layers only",
    "freeze_trainable_layers": "a training of some layers only",
    "freeze_trainable_modules": "a training of some layers only",
    "freeze_extra_modules": "a training of some layers only",
    "use_dft_loss": "another loss",
    "use_asft_loss": "another loss",
    "use_eaft_loss": "another loss",
    "disable_shuffling": "rows in the order of the set; here every epoch draws a new order",
    "early_stopping_steps": "a training that ends by its figures",
    "fp8": "a training in 8 bits",
    **dict.fromkeys(
        (
            "freeze_vision_tower",
            "freeze_multi_modal_projector",
            "freeze_language_model",
            "image_max_pixels",
            "image_min_pixels",
            "video_max_pixels",
            "video_min_pixels",
            "video_fps",
            "video_maxlen",
            "audio_sampling_rate",
        ),
        PICTURES,
    ),
}
FAMILIES: Final[dict[str, str]] = {
    "swanlab_": hf._LOG,
    "vllm_": _CHAT,
    "sglang_": _CHAT,
    "profiler_": hf._LOG,
    "galore_": "goes with `use_galore`",
    "apollo_": "goes with `use_apollo`",
    "badam_": "goes with `use_badam`",
    "asft_": "goes with `use_asft_loss`",
    "eaft_": "goes with `use_eaft_loss`",
    "fp8_": "goes with `fp8`",
    "kt_": _SPEED,
    "hyper_parallel_": _SPEED,
    "oft_": "goes with OFT",
}
