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


def write(made: Trained) -> str:
    """The YAML."""
    import yaml

    keys = {k: v for part in (_model, _data, _rates, _speed) for k, v in part(made)}
    lines = [
        f"# {made.block.name} of {made.recipe}, by `alchemist export --to axolotl`. Run it with: axolotl train FILE",
        "# Paths are from the folder in which axolotl is run.",
    ]
    remarks = dict(made.remarks)
    for key, value in keys.items():
        for attribute in [a for a in remarks if _PLACES.get(a) == key]:
            lines.append(f"# {attribute}: {remarks.pop(attribute)}")
        lines.append(yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=10**6).rstrip("\n"))
    lines += [f"# {attribute}: {why}" for attribute, why in remarks.items()]
    return "\n".join(lines) + "\n"


Keys = Iterator[tuple[str, Any]]


def _model(made: Trained) -> Keys:
    yield "base_model", made.base
    if revision := made.text("revision"):
        yield "revision_of_model", revision
    if made.word("method") == "lora":
        lora = made.arguments("method")
        yield "adapter", "lora"
        yield "lora_r", lora["r"]
        yield "lora_alpha", lora["alpha"]
        yield "lora_dropout", float(Fraction(str(lora["dropout"])))
        if lora["targets"] == "all-linear":
            yield "lora_target_linear", True
        else:
            yield "lora_target_modules", [t.strip() for t in str(lora["targets"]).split(",")]
    template = made.template()
    match template:
        case ("jinja", text):
            yield "chat_template", "jinja"
            yield "chat_template_jinja", text
        case ("file", path):
            yield "chat_template", "jinja"
            yield "chat_template_jinja", path
        case ("model", name):
            yield "chat_template", "tokenizer_default"
            made.unsaid(
                "chat_template",
                f"axolotl takes no template from another model; save that of {name} and name the file in"
                " chat_template_jinja",
            )
        case _:
            yield "chat_template", "tokenizer_default"


def _data(made: Trained) -> Keys:
    entry: dict[str, Any] = {"path": made.rows, "split": "train", "type": "chat_template", "field_messages": "messages"}
    loss = made.word("loss")
    if loss == "last":
        entry |= {"roles_to_train": [], "train_on_eos": None}
    yield "datasets", [entry]
    if loss == "all":
        yield "train_on_inputs", True
    if made.word("average") == "rows":
        made.unsaid("average", "axolotl averages over the tokens of a batch")
    yield "sequence_len", made.max_length
    yield "excess_length_strategy", _ON_LONG[made.word("on_long") or "drop"]
    packing = made.word("packing")
    yield "sample_packing", packing != "none"
    if packing != "none":
        yield "attn_implementation", "flash_attention_2"  # else rows of one pack see each other
    if packing == "wrapped":
        made.unsaid("packing", "axolotl packs whole rows; it cuts texts for pretraining only")
    if (share := made.held_out()) is not None:
        yield "val_set_size", share
    yield "seed", made.seed


def _rates(made: Trained) -> Keys:
    micro, times = made.cut()
    yield "micro_batch_size", micro
    yield "gradient_accumulation_steps", times
    steps = made.number("steps")
    if steps is not None:
        yield "max_steps", int(steps)
    else:
        yield "num_epochs", made.number("epochs")
    yield "optimizer", _optimizer(made)
    yield "learning_rate", float(made.number("learning_rate") or 0)
    yield from _schedule(made)
    yield "weight_decay", float(made.number("weight_decay") or 0)
    yield "max_grad_norm", float(made.number("max_grad_norm") or 0)
    if made.number("dropout"):
        made.unsaid("dropout", "axolotl has no key for the model's own dropout")


def _optimizer(made: Trained) -> str:
    name = made.word("optimizer") or "adamw"
    if name == "adamw_8bit" and made.word("parallel") == "fsdp":
        return "adamw_torch_8bit"  # that of bitsandbytes does not go with FSDP
    return OPTIMIZERS[name]


def _schedule(made: Trained) -> Keys:
    name = made.word("schedule")
    yield "lr_scheduler", "constant_with_warmup" if name == "constant" else name
    match made.warmup():
        case ("share", share):
            yield "warmup_ratio", share
        case ("steps", steps):
            yield "warmup_steps", steps
        case _:
            yield "warmup_steps", 0
    if made.floor and name == "cosine":
        yield "cosine_min_lr_ratio", made.floor
    elif made.floor:
        made.unsaid("schedule", "axolotl has a floor for cosine only")


def _speed(made: Trained) -> Keys:
    precision = made.word("precision")
    yield "bf16", precision == "bf16"
    yield "fp16", precision == "fp16"
    how = made.word("parallel")
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
    elif file := made.text("parallel"):
        made.unsaid("parallel", f"axolotl has keys of its own for what {file} says")
    if every := made.save():
        yield "save_steps", every
    for name in made.reports():
        yield _REPORT[name], True
    yield "output_dir", f"out/{made.block.name}"
