"""What every process of a training is told, as a file that stands beside what it refers to."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from alchemist_runtime.schema.plan import TrainSpec, from_json, to_json
from alchemist_runtime.storage.store import write_atomic


def rank() -> int:
    """The number of this process among all of a training; 0 does what is done once."""
    return int(os.environ.get("RANK", "0"))


@dataclass(frozen=True, slots=True)
class Job:
    """What a training process is told. Paths are relative to the folder of the job file."""

    spec: TrainSpec
    folder: Path
    seed: int
    processes: int
    cpu: bool
    tokenizer: str
    model: str | None
    revision: str | None
    per_step: int  # sequences of one optimiser step, over all processes
    micro_batch: int
    accumulate: int
    steps: int
    warmup_steps: int
    save_steps: int
    rows: int
    packs: int
    notes: list[str] = field(default_factory=list)

    @staticmethod
    def read(path: Path) -> Job:
        data = json.loads(path.read_text())
        spec = from_json(TrainSpec, data.pop("spec"))
        return Job(spec=spec, folder=path.resolve().parent, **data)

    def write(self, path: Path) -> None:
        data = {k: getattr(self, k) for k in self.__dataclass_fields__ if k not in ("spec", "folder")}
        data["spec"] = to_json(self.spec)
        write_atomic(path, json.dumps(data, indent=1, sort_keys=True).encode())

    def at(self, name: str) -> Path:
        return self.folder / name

    @property
    def base_revision(self) -> str | None:
        """The revision to load `model` at; a folder has none."""
        return None if self.model is None or Path(self.model).is_dir() else self.revision
