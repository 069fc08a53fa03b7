"""What other tools call an attribute: the name that a person most likely meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Name elsewhere -> names here; the first that the kind has is meant.
_ELSEWHERE: Final[dict[str, tuple[str, ...]]] = {
    "batch_size": ("batch",),
    "per_device_train_batch_size": ("micro_batch", "batch"),
    "micro_batch_size": ("micro_batch",),
    "lr": ("learning_rate",),
    "num_epochs": ("epochs",),
    "num_train_epochs": ("epochs",),
    "max_steps": ("steps",),
    "max_seq_length": ("max_length",),
    "max_seq_len": ("max_length",),
    "seq_len": ("max_length",),
    "sequence_len": ("max_length",),
    "lr_scheduler_type": ("schedule",),
    "lr_scheduler": ("schedule",),
    "scheduler": ("schedule",),
    "model_name_or_path": ("base", "model"),
    "base_model": ("base", "model"),
    "model": ("base",),
    "name": ("title",),
    "file": ("files",),
    "path": ("files",),
    "data_files": ("files",),
    "dataset": ("data", "hub", "from"),
    "repo": ("hub",),
    "repo_id": ("hub",),
    "dataset_name": ("hub", "data"),
    "input": ("from", "data"),
    "inputs": ("from", "data"),
    "source": ("from", "data"),
    "sources": ("from", "data"),
    "from": ("data", "learn"),
    "data": ("from", "learn"),
    "output": ("path",),
    "output_dir": ("path",),
    "licence": ("license",),
    "subset": ("config",),
    "columns": ("on",),
    "key": ("on",),
    "benchmarks": ("against", "suites"),
    "suites": ("against",),
    "shards": ("split",),
    "ratio": ("select",),
    "sample": ("select",),
    "fraction": ("select",),
    "n": ("samples",),
    "num_samples": ("samples",),
    "max_new_tokens": ("max_tokens",),
    "system_prompt": ("system",),
    "user_prompt": ("user",),
    "template": ("user",),
    "api_base": ("base_url",),
    "endpoint": ("base_url",),
    "gradient_clip": ("max_grad_norm",),
    "size": ("total", "limit"),
}


def meant(name: str, attributes: Iterable[str]) -> str | None:
    """The attribute of a kind that goes by another name elsewhere."""
    known = set(attributes)
    return next((a for a in _ELSEWHERE.get(name.lower(), ()) if a in known), None)
