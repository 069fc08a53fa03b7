"""From a training spec to running processes: the one `accelerate launch` line, and the care around it.

Nothing heavy is imported: the compiler writes the line into the plan, and the parent of a training needs no torch.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.plan import TrainSpec, from_json, to_json
from alchemist_runtime.schema.sealed import read_json
from alchemist_runtime.storage.store import write_atomic

#: Configurations of our own; any other `parallel` is a file of the user's.
SHIPPED: Final = ("ddp", "fsdp", "zero2", "zero3")
_MIXED: Final = {"bf16": "bf16", "fp16": "fp16", "fp32": "no"}
_POLL_SECONDS: Final = 0.2
_TAIL_LINES: Final = 12
#: How long a training may take to write its last checkpoint after Ctrl-C.
_STOP_SECONDS: Final = 600.0

OnProgress = Callable[[dict[str, Any]], None]


# --- the line ---------------------------------------------------------------------------------------------------------


def command(
    spec: TrainSpec,
    job: str = "{job}",
    processes: str = "{processes}",
    *,
    config: str | None = None,
    mixed: str | None = None,
    machine: tuple[str, str, str] = ("{machine_rank}", "{main_ip}", "{main_port}"),
) -> list[str]:
    """The command that trains: with braces as it stands in the plan, or filled in. `processes` is the total of all
    machines.
    """
    shipped = f"{{accelerate}}/{spec.parallel}.yaml" if spec.parallel in SHIPPED else spec.parallel
    line = ["accelerate", "launch", "--config_file", config or shipped]
    line += ["--num_processes", processes, "--num_machines", str(spec.nodes)]
    line += ["--mixed_precision", mixed or _MIXED[spec.precision]]
    if spec.nodes > 1:
        rank, address, port = machine
        line += ["--machine_rank", rank, "--main_process_ip", address, "--main_process_port", port]
    return [*line, "--module", "alchemist_runtime.train", "--job", job]


def config_folder() -> Path:
    """Where the shipped accelerate configurations are: in the package, else in the checkout."""
    packaged = Path(__file__).parents[1] / "_accelerate"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "accelerate"


def own_config(path: Path) -> Path:
    """Check a user's accelerate configuration; RunError A805 where it is missing or has a key that accelerate does not
    know.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise _config_error(path, "there is no such file", "name ddp, fsdp, zero2, zero3 or a file") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _config_error(path, " ".join(str(error).split())[:200], "mend the file") from error
    if not isinstance(data, dict) or "distributed_type" not in data:
        raise _config_error(path, "it does not say `distributed_type`", "make one with `accelerate config`")
    if unknown := sorted(_unknown_keys(data)):
        names = ", ".join(f"`{k}`" for k in unknown)
        raise _config_error(path, f"accelerate does not know {names}", "correct or remove the key")
    return path


def _unknown_keys(data: Mapping[str, Any]) -> set[str]:
    from accelerate.commands.config.config_args import ClusterConfig
    from accelerate.commands.launch import launch_command_parser

    options = {a.dest for a in launch_command_parser()._actions}
    found = set(data) - set(ClusterConfig.__dataclass_fields__) - {"fp16", "dynamo_backend"}
    for section, prefix in (("fsdp_config", "fsdp_"), ("deepspeed_config", "")):
        for key in data.get(section) or {}:
            name = key if key.startswith(prefix) else prefix + key
            if name not in options:
                found.add(f"{section}.{key}")
    return found


def _config_error(path: Path, why: str, way_out: str) -> RunError:
    problem = Problem(
        "A805", f"the accelerate configuration `{path.name}` cannot be used: {why}", place=str(path), help=way_out
    )
    return RunError(problem, exit_code=1)


# --- running it -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How a training ended: whether it was stopped before its end (then it goes on next time)."""

    stopped: bool
    seconds: float


def _line(spec: TrainSpec, on: Devices, job: Path, project: Path) -> list[str]:
    if on.cpu or spec.parallel in SHIPPED:
        config = config_folder() / f"{'ddp' if on.cpu else spec.parallel}.yaml"
    else:
        config = own_config(project / spec.parallel)
    if not on.cpu and spec.parallel.startswith("zero") and importlib.util.find_spec("deepspeed") is None:
        raise RunError(
            Problem(
                "A910",
                f"`parallel = {spec.parallel}` needs the library deepspeed",
                help="run `pip install deepspeed`, or use `parallel = fsdp`",
            )
        )
    line = command(
        spec,
        str(job),
        str(on.processes),
        config=str(config),
        mixed="no" if on.cpu else None,
        machine=_machine(spec, on, job),
    )
    return [sys.executable, "-m", "accelerate.commands.accelerate_cli", *line[1:]]


def _machine(spec: TrainSpec, on: Devices, job: Path) -> tuple[str, str, str]:
    names = ("MACHINE_RANK", "MASTER_ADDR", "MASTER_PORT")
    if spec.nodes > 1 and any(n not in os.environ for n in names):
        line = " ".join(command(spec, str(job), str(on.processes)))
        raise RunError(
            Problem(
                "A803",
                f"training on {spec.nodes} machines is started on each of them",
                note=f"the line is: {line}",
                help="set MACHINE_RANK, MASTER_ADDR and MASTER_PORT on every machine and run there again",
            )
        )
    rank, address, port = (os.environ.get(n, "") for n in names)
    return rank, address, port


def launch(
    spec: TrainSpec, job: Path, *, on: Devices, project: Path, log: Path, figures: Path, on_progress: OnProgress
) -> TrainResult:
    """Run a job file under `accelerate launch` and follow it.

    `figures` is the JSON-lines file that the training writes; each new line is passed on. Ctrl-C asks the training to
    write a checkpoint and stop (KeyboardInterrupt follows); a second one ends it at once. RunError A802, A803 or
    whatever the training itself reported.
    """
    folder = job.parent
    stop = folder / "stop"
    for old in (stop, *folder.glob("error-*.json")):
        old.unlink(missing_ok=True)
    started = time.monotonic()
    with log.open("ab") as sink:
        child = subprocess.Popen(
            _line(spec, on, job, project),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=environment(spec, on),
            cwd=project,
            start_new_session=True,  # Ctrl-C of the terminal reaches us alone
        )
    try:
        stopped = _follow(child, _Tail(figures, on_progress), stop)
    finally:
        _end(child)
    if child.returncode != 0:
        raise _failure(folder, log, child.returncode)
    stopped = stopped or not (folder / "metrics.json").exists()
    return TrainResult(stopped, time.monotonic() - started)


class _Tail:
    """Passes on the lines that are added to a file."""

    def __init__(self, path: Path, tell: OnProgress) -> None:
        self.path, self.tell, self.at, self.rest = path, tell, 0, b""

    def look(self) -> None:
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self.at:  # cut back to a checkpoint
                self.at, self.rest = 0, b""
            file.seek(self.at)
            new = file.read()
            self.at += len(new)
            *lines, self.rest = (self.rest + new).split(b"\n")
            for line in lines:
                try:
                    said = json.loads(line)
                except ValueError:  # of an earlier call, and damaged since
                    continue
                self.tell(said)


def _follow(child: subprocess.Popen[bytes], tail: _Tail, stop: Path) -> bool:
    """Wait for the end; True if it was asked to stop."""
    while True:
        try:
            while child.poll() is None:
                time.sleep(_POLL_SECONDS)
                tail.look()
            tail.look()
            return stop.exists()
        except KeyboardInterrupt:
            if stop.exists():
                _end(child)
                raise
            stop.touch()
            tail.tell({"stage": "stopping at the next step"})
            deadline = time.monotonic() + _STOP_SECONDS
            while child.poll() is None and time.monotonic() < deadline:
                try:
                    time.sleep(_POLL_SECONDS)
                    tail.look()
                except KeyboardInterrupt:
                    break
            _end(child)
            raise


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the whole process group of a child that still runs."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


# --- what went wrong --------------------------------------------------------------------------------------------------


def _failure(folder: Path, log: Path, code: int) -> RunError:
    """What the training itself said, else what its log shows."""
    for path in sorted(folder.glob("error-*.json")):
        try:
            said = read_json(path.read_bytes())
            problem = Problem(**{**said["problem"], "place": said["problem"]["place"] or str(log)})
            return RunError(problem, exit_code=said["exit_code"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # it was cut off while it was written
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    tail = "\n".join(lines[-_TAIL_LINES:])
    headline, way_out = _cause("\n".join(lines[-400:]), code)
    return RunError(Problem("A803", headline, place=str(log), note=tail or None, help=way_out))


#: What a log holds, what it means, and what helps.
_CAUSES: Final = (
    (
        ("Address already in use", "EADDRINUSE"),
        "the training processes could not connect: their port is in use",
        "re-run; with several machines, set MASTER_PORT to a free port",
    ),
    (("No space left on device",), "there is no space left on the disk for the training", "make room, then run again"),
    (
        ("out of memory", "OutOfMemoryError", "SIGKILL"),
        "a training process was killed or ran out of memory",
        "lower `micro_batch` or `max_length`, or use `parallel = fsdp`; the checkpoints are kept",
    ),
)


def _cause(text: str, code: int) -> tuple[str, str]:
    """The headline and the help for a log and an exit code."""
    if code == -signal.SIGKILL:
        text += "\nSIGKILL"
    for signs, headline, way_out in _CAUSES:
        if any(sign in text for sign in signs):
            return headline, way_out
    return f"the training ended with exit code {code}", "read the log; the next run resumes from the last checkpoint"


# --- devices ---------------------------------------------------------------------------------------------------------

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
    requested = gpus if spec.gpus == "auto" else int(spec.gpus)
    if requested > gpus:
        raise RunError(
            Problem(
                "A802",
                f"{requested} GPUs are requested, but this machine has {gpus}",
                help="write `gpus = auto`, or `gpus = 0` to train on the CPU",
            )
        )
    if requested == 0:
        note = f"`parallel = {spec.parallel}` needs GPUs: on the CPU every process holds the whole model"
        return Devices(True, (wanted or 1) * spec.nodes, note if spec.parallel != "ddp" else None)
    local = wanted or requested
    if local > gpus:
        raise RunError(
            Problem(
                "A802",
                f"{local} processes are requested, but this machine has {gpus} GPUs",
                help="use one process per GPU: omit `processes`",
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
