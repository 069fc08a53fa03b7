"""docs/migrate.md: what becomes of the keys of other tools, from the tables that `alchemist migrate` reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

_BEGIN: Final = """# Recipes from other tools, and back

`alchemist migrate FILE` reads the configuration of another training tool and writes the recipe that says the same, beside it:

```
$ alchemist migrate sft.yaml --gpus 8
warning[A952 not-said]: a recipe does not say `neftune_noise_alpha`: noise on the embeddings
 --> sft.yaml:56:1
56 | neftune_noise_alpha: 5
   | ^^^^^^^^^^^^^^^^^^^ kept as a comment

6 keys change no result and are left out: flash_attention, gradient_checkpointing, output_dir, …; `--format json` says why
wrote sft.recipe (from axolotl, 1 warning)
next: alchemist check sft.recipe
```

- **No key is lost without a word.** It is used; or it changes no result, and the list below says why; or it stands in the recipe as a
  comment beside where it belongs, with its line, and is a warning.
- **The recipe passes `alchemist check` and is formatted**, whatever the configuration holds. Data that is not there becomes a source
  that is declared `missing`; a template that cannot be read is left out with a warning. Only a file that is there and lacks the columns
  that the configuration names is an error, with its place in the recipe.
- **No key or token is taken over or shown.** The message names the environment variable that it belongs in.
- **Nothing is written over.** `-o RECIPE` names another file, `-o -` is standard output.
- **`batch` counts all devices together**, and these tools count for one: `--gpus N` says how many there were.
- Defaults of the tool that are not ours are written out. Rows that it takes by their number are drawn by hash here, as many.

The tool is told by its keys; `--from` says it where they do not. Only YAML that safe loading reads is read; a mistake has its line and
column. Paths are looked for beside the configuration and from the current folder, and stand in the recipe as the recipe reads them.
"""
_EXPORT: Final = """## Back: `alchemist export`

`alchemist export RECIPE [TRAIN] --to axolotl` prints a `train` block as an axolotl YAML, `--to trl` as a Python script with TRL's
`SFTTrainer` that runs by hand; `-o FILE` writes it, never over a file. Both read the rows that an `export` of the same stream with
`format = messages` wrote. `--gpus N` shares the batch out. What both sides say comes back by `alchemist migrate` as the same training.

| attribute | axolotl | TRL |
|---|---|---|
| `base`, `revision` | `base_model`, `revision_of_model` | `model`, `model_init_kwargs` |
| `data` | `datasets`, type `chat_template` | `load_dataset` of the exported file |
| `method = lora(…)` | `adapter`, `lora_…` | `LoraConfig` |
| `epochs`, `steps` | `num_epochs`, `max_steps` | `num_train_epochs`, `max_steps` |
| `batch`, `micro_batch` | `micro_batch_size`, `gradient_accumulation_steps` | `per_device_train_batch_size`, `gradient_accumulation_steps` |
| `max_length`, `packing` | `sequence_len`, `sample_packing`; `wrapped` is not said | `max_length`, `packing`, `packing_strategy` |
| `loss` | `roles_to_train`, `train_on_inputs` | `assistant_only_loss`, prompt and completion |
| `optimizer`, `learning_rate`, `weight_decay`, `max_grad_norm` | the same | the same |
| `schedule` | `lr_scheduler`, `warmup_…`, `cosine_min_lr_ratio`; a floor of linear is not said | `lr_scheduler_type`, `warmup_steps`; likewise |
| `precision` | `bf16`, `fp16` | `bf16`, `fp16` |
| `chat_template` | `chat_template_jinja`; that of another model is not said | `chat_template_path`, or in the script |
| `eval_share`, `seed`, `save_every`, `report` | `val_set_size`, `seed`, `save_steps`, `use_…` | the same |
| `on_long` | `excess_length_strategy` | `truncate` only |
| `parallel` | `deepspeed`, `fsdp_config` | a comment: it is accelerate's |
| `dropout`, `average = rows` | not said | not said |

What is not said is a comment in what was written and a warning (A956) at the recipe's line. A training that starts from new weights
(`init = scratch(…)`) has no counterpart and is refused.
"""


def migrate_page() -> str:
    """docs/migrate.md"""
    from alchemist_dsl.migrate.axolotl import PAIRS
    from alchemist_dsl.migrate.tools import TOOLS

    out = [_BEGIN]
    for name, tool in TOOLS.items():
        out.append(f"## {tool.title}\n\n`--from {name}`\n")
        out.append("| key | becomes |\n|---|---|\n" + "".join(f"| `{k}` | {v} |\n" for k, v in tool.used.items()))
        if name == "axolotl":
            out.append(_types(PAIRS))
        out.append("Not said, a comment and a warning where it is switched on:\n\n" + _grouped(tool.unsaid))
        families = {f"{beginning}…": why for beginning, why in tool.families.items()}
        out.append("No part of a result, and left out:\n\n" + _grouped({**tool.left, **families}))
    return "\n".join([*out, _EXPORT])


def _types(pairs: Mapping[str, object]) -> str:
    listed = ", ".join(f"`{p}`" for p in pairs)
    return (
        "Types of datasets: `chat_template` and `sharegpt` as turns; a mapping of columns as it says; `completion` and"
        f" `pretrain` as text that is all trained; as question and answer {listed}. Others are code of axolotl: the"
        " source is declared `missing`.\n"
    )


def _grouped(table: Mapping[str, str]) -> str:
    """Keys with one reason on one line."""
    groups: dict[str, list[str]] = {}
    for key, why in table.items():
        groups.setdefault(why, []).append(key)
    return "".join(_lines(groups))


def _lines(groups: Mapping[str, list[str]]) -> Iterator[str]:
    for why, keys in groups.items():
        yield f"- {', '.join(f'`{k}`' for k in keys)}: {why}\n"
