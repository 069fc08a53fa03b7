"""What a training runs on: GPUs counted without torch, the number of processes, and their environment."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alchemist_runtime.schema.errors import Problem, RunError
from alchemist_runtime.schema.plan import TrainSpec, from_json, to_json
from alchemist_runtime.storage.store import write_atomic

#: bf16 operations a second, dense, as the makers state them.
PEAK_FLOPS: Final = {
    "B200": 2250e12,
    "GH200": 989e12,
    "H200": 989e12,
    "H100": 989e12,
    "H800": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
}

if TYPE_CHECKING:
    from alchemist_runtime.schema.plan import TrainSpec


def visible_gpus() -> int:
    """GPUs that a training would see, counted without torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        listed = [d.strip() for d in named.split(",")]
        return len([d for d in listed[: listed.index("-1")] if d] if "-1" in listed else [d for d in listed if d])
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        answer = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=30, check=False)
        return sum(line.startswith("GPU ") for line in answer.stdout.splitlines())
    return 0


@dataclass(frozen=True, slots=True)
class Devices:
    """What trains: on the CPU if there is no GPU. `processes` counts all machines."""

    cpu: bool
    processes: int
    note: str | None = None


def devices(spec: TrainSpec, processes: int | None = None) -> Devices:
    """Where a spec is trained on this machine; RunError A802 where more GPUs are asked for than there are."""
    gpus = visible_gpus()
    wanted = processes or spec.processes
    asked = gpus if spec.gpus == "auto" else int(spec.gpus)
    if asked > gpus:
        raise RunError(
            Problem(
                "A802",
                f"{asked} GPUs are asked for, this machine shows {gpus}",
                help="write `gpus = auto`, or `gpus = 0` to train on the CPU",
            )
        )
    if asked == 0:
        note = f"`parallel = {spec.parallel}` needs GPUs: on the CPU every process holds the whole model"
        return Devices(True, (wanted or 1) * spec.nodes, note if spec.parallel != "ddp" else None)
    local = wanted or asked
    if local > gpus:
        raise RunError(
            Problem(
                "A802",
                f"{local} processes are asked for, this machine shows {gpus} GPUs",
                help="take one process for each GPU: leave `processes` out",
            )
        )
    return Devices(False, local * spec.nodes)


def threads(processes: int) -> int:
    """Threads of one process: its share of the cores that this machine lets us use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(16, cores // max(1, processes)))


def environment(spec: TrainSpec, on: Devices) -> dict[str, str]:
    """The environment of the training processes."""
    env = dict(os.environ)
    env["PYTHONPATH"] = os.pathsep.join(p for p in (str(Path(__file__).parents[2]), env.get("PYTHONPATH", "")) if p)
    env["HF_HUB_DISABLE_TELEMETRY"] = env["DO_NOT_TRACK"] = "1"
    if "wandb" not in spec.report:
        env["WANDB_MODE"] = "disabled"
    env["TOKENIZERS_PARALLELISM"] = "false"
    env.setdefault("OMP_NUM_THREADS", str(threads(on.processes // spec.nodes)))
    env["ALCHEMIST_PARENT"] = str(os.getpid())
    if on.cpu:
        # without this the launcher starts processes that do not know of one another
        env["ACCELERATE_USE_CPU"] = "true"
        env["CUDA_VISIBLE_DEVICES"] = ""
    return env


# --- spec file -------------------------------------------------------------------------------------------------------


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
