"""A training -> an axolotl YAML. What axolotl does not say is a comment in it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

from alchemist_dsl.migrate.training import Trained

OPTIMIZERS: Final = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
}
_ON_LONG: Final = {"drop": "drop", "truncate": "truncate", "error": "raise"}
_REPORT: Final = {
    "tensorboard": "use_tensorboard",
    "wandb": "use_wandb",
    "mlflow": "use_mlflow",
    "trackio": "use_trackio",
}
#: Attribute -> the first key that it becomes, above which its comment stands.
_PLACES: Final = {
    "base": "base_model",
    "data": "datasets",
    "batch": "micro_batch_size",
    "micro_batch": "micro_batch_size",
    "packing": "sample_packing",
    "schedule": "lr_scheduler",
    "chat_template": "chat_template",
    "parallel": "deepspeed",
    "method": "adapter",
}


def write(result: Trained) -> str:
    """The YAML."""
    import yaml

    keys = {k: v for part in (_model, _data, _rates, _speed) for k, v in part(result)}
    lines = [
        f"# {result.block.name} of {result.recipe}, by `alchemist export --to axolotl`. Run with: axolotl train FILE",
        "# Paths are from the folder in which axolotl is run.",
    ]
    remarks = dict(result.remarks)
    for key, value in keys.items():
        for attribute in [a for a in remarks if _PLACES.get(a) == key]:
            lines.append(f"# {attribute}: {remarks.pop(attribute)}")
        lines.append(yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=10**6).rstrip("\n"))
    lines += [f"# {attribute}: {why}" for attribute, why in remarks.items()]
    return "\n".join(lines) + "\n"


Keys = Iterator[tuple[str, Any]]


def _model(result: Trained) -> Keys:
    yield "base_model", result.base
    if revision := result.text("revision"):
        yield "revision_of_model", revision
    if result.word("method") == "lora":
        lora = result.arguments("method")
        yield "adapter", "lora"
        yield "lora_r", lora["r"]
        yield "lora_alpha", lora["alpha"]
        yield "lora_dropout", float(Fraction(str(lora["dropout"])))
        if lora["targets"] == "all-linear":
            yield "lora_target_linear", True
        else:
            yield "lora_target_modules", [t.strip() for t in str(lora["targets"]).split(",")]
    template = result.template()
    match template:
        case ("jinja", text):
            yield "chat_template", "jinja"
            yield "chat_template_jinja", text
        case ("file", path):
            yield "chat_template", "jinja"
            yield "chat_template_jinja", path
        case ("model", name):
            yield "chat_template", "tokenizer_default"
            result.unsaid(
                "chat_template",
                f"axolotl takes no template from another model; save that of {name} and name the file in"
                " chat_template_jinja",
            )
        case _:
            yield "chat_template", "tokenizer_default"


def _data(result: Trained) -> Keys:
    entry: dict[str, Any] = {
        "path": result.rows,
        "split": "train",
        "type": "chat_template",
        "field_messages": "messages",
    }
    loss = result.word("loss")
    if loss == "last":
        entry |= {"roles_to_train": [], "train_on_eos": None}
    yield "datasets", [entry]
    if loss == "all":
        yield "train_on_inputs", True
    if result.word("average") == "rows":
        result.unsaid("average", "axolotl averages over the tokens of a batch")
    yield "sequence_len", result.max_length
    yield "excess_length_strategy", _ON_LONG[result.word("on_long") or "drop"]
    packing = result.word("packing")
    yield "sample_packing", packing != "none"
    if packing != "none":
        yield "attn_implementation", "flash_attention_2"  # else rows of one pack see each other
    if packing == "wrapped":
        result.unsaid("packing", "axolotl packs whole rows; it cuts texts for pretraining only")
    if (share := result.held_out()) is not None:
        yield "val_set_size", share
    yield "seed", result.seed


def _rates(result: Trained) -> Keys:
    micro, times = result.cut()
    yield "micro_batch_size", micro
    yield "gradient_accumulation_steps", times
    steps = result.number("steps")
    if steps is not None:
        yield "max_steps", int(steps)
    else:
        yield "num_epochs", result.number("epochs")
    yield "optimizer", _optimizer(result)
    yield "learning_rate", float(result.number("learning_rate") or 0)
    yield from _schedule(result)
    yield "weight_decay", float(result.number("weight_decay") or 0)
    yield "max_grad_norm", float(result.number("max_grad_norm") or 0)
    if result.number("dropout"):
        result.unsaid("dropout", "axolotl has no key for the model's own dropout")


def _optimizer(result: Trained) -> str:
    name = result.word("optimizer") or "adamw"
    if name == "adamw_8bit" and result.word("parallel") == "fsdp":
        return "adamw_torch_8bit"  # that of bitsandbytes does not go with FSDP
    return OPTIMIZERS[name]


def _schedule(result: Trained) -> Keys:
    name = result.word("schedule")
    yield "lr_scheduler", "constant_with_warmup" if name == "constant" else name
    match result.warmup():
        case ("share", share):
            yield "warmup_ratio", share
        case ("steps", steps):
            yield "warmup_steps", steps
        case _:
            yield "warmup_steps", 0
    if result.floor and name == "cosine":
        yield "cosine_min_lr_ratio", result.floor
    elif result.floor:
        result.unsaid("schedule", "axolotl has a floor for cosine only")


def _speed(result: Trained) -> Keys:
    precision = result.word("precision")
    yield "bf16", precision == "bf16"
    yield "fp16", precision == "fp16"
    how = result.word("parallel")
    if how in ("zero2", "zero3"):
        yield "deepspeed", f"deepspeed_configs/{how}.json"
    elif how == "fsdp":
        yield "fsdp_version", 2
        yield (
            "fsdp_config",
            {
                "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
                "reshard_after_forward": True,
                "state_dict_type": "FULL_STATE_DICT",
            },
        )
    elif file := result.text("parallel"):
        result.unsaid("parallel", f"axolotl has keys of its own for what {file} says")
    if every := result.save():
        yield "save_steps", every
    for name in result.reports():
        yield _REPORT[name], True
    yield "output_dir", f"out/{result.block.name}"
