"""The tools whose configurations can be read, and which of them a file is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from alchemist_dsl.migrate import axolotl, llama_factory, open_instruct, trl
from alchemist_dsl.migrate.reading import Reading
from alchemist_dsl.migrate.recipe_draft import Draft
from alchemist_dsl.migrate.tracked_mapping import Value


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: its reader and what it knows of keys. `signs` are keys that no other tool has."""

    title: str
    read: Callable[[Reading], Draft]
    used: Mapping[str, str]
    left: Mapping[str, str]
    unsaid: Mapping[str, str]
    signs: frozenset[str]
    families: Mapping[str, str] = field(default_factory=dict)  # beginnings of keys that are left out

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(k for k in (*self.used, *self.left, *self.unsaid) if "[" not in k and ":" not in k)


TOOLS: Final[Mapping[str, Tool]] = {
    "axolotl": Tool(
        axolotl.TITLE,
        axolotl.read,
        axolotl.USED,
        axolotl.LEFT,
        axolotl.UNSAID,
        frozenset({"base_model", "sequence_len", "micro_batch_size", "sample_packing", "pretraining_dataset"}),
        axolotl.FAMILIES,
    ),
    "llama-factory": Tool(
        llama_factory.TITLE,
        llama_factory.read,
        llama_factory.USED,
        llama_factory.LEFT,
        llama_factory.UNSAID,
        frozenset({"finetuning_type", "cutoff_len", "template", "stage", "dataset_dir", "dataset"}),
        llama_factory.FAMILIES,
    ),
    "trl": Tool(
        trl.TITLE,
        trl.read,
        trl.USED,
        trl.LEFT,
        trl.UNSAID,
        frozenset(
            {
                "dataset_mixture",
                "dataset_train_split",
                "assistant_only_loss",
                "completion_only_loss",
                "packing_strategy",
                "dataset_num_proc",
                "max_length",
                "use_peft",
                "test_split_size",
                "dataset_text_field",
            }
        ),
    ),
    "open-instruct": Tool(
        open_instruct.TITLE,
        open_instruct.read,
        open_instruct.USED,
        open_instruct.LEFT,
        open_instruct.UNSAID,
        frozenset(
            {
                "dataset_mixer",
                "dataset_mixer_list",
                "dataset_mixer_list_splits",
                "max_train_steps",
                "checkpointing_steps",
                "dataset_mix_dir",
                "with_tracking",
                "use_slow_tokenizer",
            }
        ),
        open_instruct.FAMILIES,
    ),
}


def detect(value: Value) -> list[str]:
    """The tools that a file may be for, the likeliest alone where one is."""
    provided = set(value.data) if isinstance(value.data, dict) else set()
    signs = {name: len(provided & tool.signs) for name, tool in TOOLS.items()}
    most = max(signs.values())
    found = [n for n, s in signs.items() if s == most] if most else []
    if not found and "datasets" in provided and "base_model" not in provided:
        found = ["trl"]
    if not found and {"model_name_or_path", "dataset_name"} <= provided:
        found = ["trl"]
    if len(found) > 1:  # several signs alike: who knows more of the keys
        known = {n: len(provided & TOOLS[n].keys) for n in found}
        best = max(known.values())
        found = [n for n in found if known[n] == best]
    return found
