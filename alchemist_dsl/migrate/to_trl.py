"""A training -> a plain Python script with TRL's SFTTrainer. What TRL does not say is a comment in it."""

from __future__ import annotations

import pprint
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

from alchemist_dsl.migrate.to_axolotl import OPTIMIZERS
from alchemist_dsl.migrate.training import Trained

_SCRIPT: Final = '''\
"""{title}, by `alchemist export --to trl`. Run it with: {launch}"""

from pathlib import Path

from datasets import load_dataset
{imports}
{remarks}
HERE = Path(__file__).resolve().parent
ROWS = HERE / {rows!r}
BASE = {base!r}
{constants}

{layout}


rows = load_dataset(str(ROWS), split="train")
rows = rows.map(conversation, remove_columns=rows.column_names)
{split}
config = SFTConfig(
{config}
)
{tokenizer}trainer = SFTTrainer(
{trainer}
)
trainer.train()
trainer.save_model(config.output_dir)
'''
_TURNS: Final = '''\
def conversation(row):
    """The turns of a row, as the export wrote them."""
    return {"messages": row["messages"]}'''
_LAST: Final = '''\
def conversation(row):
    """The last answer of a row, which is learned, and what comes before it."""
    return {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}'''


def write(result: Trained) -> str:
    """The script."""
    config = dict(_config(result))
    lora = result.arguments("method") if result.word("method") == "lora" else None
    template, share = result.template(), result.held_out()
    own = template is not None and template[0] == "jinja"
    imports = ["from peft import LoraConfig"] * bool(lora)
    imports += ["from transformers import AutoTokenizer"] * own
    imports.append("from trl import SFTConfig, SFTTrainer")
    trainer = {"model": "BASE", "args": "config", "train_dataset": "rows"}
    trainer |= {"eval_dataset": "held_out"} if share else {}
    trainer |= {"processing_class": "tokenizer"} if own else {}
    trainer |= {"peft_config": _lora(lora)} if lora else {}
    revision = result.text("revision")
    at = f", revision={revision!r}" if revision else ""
    return _SCRIPT.format(
        title=f"{result.block.name} of {result.recipe}".replace("\\", "/").replace('"', "'"),
        launch=_launch(result),
        imports="\n".join(imports),
        remarks="".join(f"\n# {_line(f'{a}: {why}')}" for a, why in result.remarks.items()),
        rows=result.rows,
        base=result.base,
        constants=f"CHAT_TEMPLATE = {template[1]!r}\n" if own and template else "",
        layout=_LAST if result.word("loss") == "last" else _TURNS,
        split=_split(share, config["seed"]),
        config="\n".join(f"    {k}={_shown(v)}," for k, v in config.items()),
        tokenizer=(
            f"tokenizer = AutoTokenizer.from_pretrained(BASE{at})\ntokenizer.chat_template = CHAT_TEMPLATE\n"
            if own
            else ""
        ),
        trainer="\n".join(f"    {k}={v}," for k, v in trainer.items()),
    )


def _line(text: str) -> str:
    return " ".join(text.split())


def _shown(value: Any) -> str:
    return value["code"] if isinstance(value, dict) and set(value) == {"code"} else pprint.pformat(value)


def _split(share: int | float | None, seed: int) -> str:
    if share is None:
        return ""
    return (
        f"halves = rows.train_test_split(test_size={share!r}, seed={seed})\nrows, held_out = halves['train'],"
        " halves['test']\n"
    )


def _lora(lora: dict[str, Any]) -> str:
    where = str(lora["targets"])
    modules = where if where == "all-linear" else [t.strip() for t in where.split(",")]
    return (
        f"LoraConfig(r={lora['r']}, lora_alpha={lora['alpha']}, lora_dropout={float(Fraction(str(lora['dropout'])))},"
        f' target_modules={modules!r}, task_type="CAUSAL_LM")'
    )


def _launch(result: Trained) -> str:
    how = result.word("parallel")
    if result.gpus == 1 and how in (None, "ddp"):
        return "python FILE"
    result.remarks["parallel"] = {
        "ddp": "the devices are accelerate's affair",
        "fsdp": "name an accelerate configuration with FSDP: accelerate launch --config_file …",
    }.get(how or "", f"name an accelerate configuration for {how or result.text('parallel')}")
    return f"accelerate launch --num_processes {result.gpus} FILE"


def _config(result: Trained) -> Iterator[tuple[str, Any]]:
    yield "output_dir", {"code": f"str(HERE / {f'out/{result.block.name}'!r})"}
    yield "seed", result.seed
    yield from _rates(result)
    yield from _sequences(result)
    precision = result.word("precision")
    yield "bf16", precision == "bf16"
    yield "fp16", precision == "fp16"
    if revision := result.text("revision"):
        yield "model_init_kwargs", {"revision": revision}
    if every := result.save():
        yield "save_steps", every
    yield "report_to", result.reports() or "none"
    if result.held_out():
        yield "eval_strategy", "epoch"


def _rates(result: Trained) -> Iterator[tuple[str, Any]]:
    micro, times = result.cut()
    yield "per_device_train_batch_size", micro
    yield "gradient_accumulation_steps", times
    steps = result.number("steps")
    if steps is not None:
        yield "max_steps", int(steps)
    else:
        yield "num_train_epochs", result.number("epochs")
    yield "optim", OPTIMIZERS[result.word("optimizer") or "adamw"]
    yield "learning_rate", float(result.number("learning_rate") or 0)
    name = result.word("schedule")
    if result.floor and name == "cosine":
        yield "lr_scheduler_type", "cosine_with_min_lr"
        yield "lr_scheduler_kwargs", {"min_lr_rate": result.floor}
    else:
        yield "lr_scheduler_type", "constant_with_warmup" if name == "constant" else name
        if result.floor:
            result.unsaid("schedule", "transformers has a floor for cosine only")
    warm = result.warmup()
    yield "warmup_steps", warm[1] if warm else 0  # below one it is a share, as of transformers 5
    yield "weight_decay", float(result.number("weight_decay") or 0)
    yield "max_grad_norm", float(result.number("max_grad_norm") or 0)
    if result.number("dropout"):
        result.unsaid("dropout", "TRL has no argument for the model's own dropout")


def _sequences(result: Trained) -> Iterator[tuple[str, Any]]:
    yield "max_length", result.max_length
    packing = result.word("packing")
    yield "packing", packing != "none"
    if packing != "none":
        yield "packing_strategy", "wrapped" if packing == "wrapped" else "bfd"
    loss = result.word("loss")
    if loss == "last":
        yield "completion_only_loss", True
    else:
        yield "assistant_only_loss", loss == "assistant"
    template = result.template()
    if loss == "assistant" and template is not None and template[0] == "jinja":
        if "generation" not in template[1]:
            result.unsaid(
                "loss",
                "TRL tells the assistant's turns by marks of the template, `{% generation %}`, and this one has none",
            )
    elif loss == "assistant":
        result.remarks["loss"] = (
            "TRL tells the assistant's turns by marks of the template; it knows those of the usual models"
        )
    if result.word("average") == "rows":
        result.unsaid("average", "TRL averages over the tokens of a batch")
    if (long := result.word("on_long")) != "truncate":
        result.unsaid("on_long", f"TRL cuts long rows; here it is {long}")
    if template is not None and template[0] == "file":
        yield "chat_template_path", {"code": f"str(HERE / {template[1]!r})"}
    elif template is not None and template[0] == "model":
        yield "chat_template_path", template[1]
