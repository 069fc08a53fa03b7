"""The launch line, the accelerate configurations, the devices, the cut of a batch, and how a failure reads."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.schema.plan import Method, TrainSpec
from alchemist_runtime.train import launch, step


def spec(**more: Any) -> TrainSpec:
    fields: dict[str, Any] = {
        "init": Method(name="scratch", args={}),
        "method": Method(name="full"),
        "batch": {"unit": "rows", "value": 8},
        "max_length": 512,
        "learning_rate": "1/1000",
        "schedule": Method(name="constant"),
    }
    return TrainSpec(**(fields | more))


def test_the_line_in_the_plan() -> None:
    assert " ".join(launch.command(spec())) == (
        "accelerate launch --config_file {accelerate}/ddp.yaml --num_processes {processes} --num_machines 1 "
        "--mixed_precision bf16 --module alchemist_runtime.train --job {job}"
    )
    line = launch.command(spec(parallel="conf/own.yaml", precision="fp32", nodes=2), "j.json", "16")
    assert line[3] == "conf/own.yaml" and line[line.index("--mixed_precision") + 1] == "no"
    assert line[line.index("--num_processes") + 1] == "16"
    assert line[line.index("--machine_rank") + 1] == "{machine_rank}"


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, alchemist_runtime.train.launch, alchemist_runtime.train.step; print(*sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(Path(launch.__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert run.returncode == 0, run.stderr
    heavy = {"torch", "transformers", "accelerate", "pyarrow", "numpy", "datasets", "tokenizers"}
    assert not heavy & set(run.stdout.split())


@pytest.mark.parametrize("name", launch.SHIPPED)
def test_accelerate_takes_every_shipped_configuration(name: str) -> None:
    """accelerate itself reads the file and the line; it would raise on a key or an option that it does not know."""
    pytest.importorskip("accelerate")
    from accelerate.commands import launch as theirs

    path = launch.config_folder() / f"{name}.yaml"
    assert launch.own_config(path) == path
    line = launch.command(spec(parallel=name), "job.json", "2", config=str(path))
    args = theirs.launch_command_parser().parse_args(line[2:])
    args, defaults, _ = theirs._validate_launch_command(args)
    assert args.num_processes == 2 and args.num_machines == 1 and args.main_process_port == 0
    assert args.module and args.training_script == "alchemist_runtime.train"
    assert args.training_script_args == ["--job", "job.json"]
    kind = {"ddp": "multi_gpu", "fsdp": "use_fsdp"}.get(name, "use_deepspeed")
    assert getattr(args, kind)
    if name == "fsdp":
        assert args.fsdp_version == 2 and args.fsdp_auto_wrap_policy == "TRANSFORMER_BASED_WRAP"
    if kind == "use_deepspeed":
        assert args.zero_stage == int(name[-1]) and defaults.deepspeed_config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("distributed_type: FSDP\nnum_procs: 2\n", "`num_procs`"),
        ("distributed_type: FSDP\nfsdp_config:\n  fsdp_shardin: x\n", "`fsdp_config.fsdp_shardin`"),
        ("num_processes: 2\n", "`distributed_type`"),
        ("a: [", "cannot be used"),
        (None, "no such file"),
    ],
)
def test_an_own_configuration_is_checked(tmp_path: Path, text: str | None, said: str) -> None:
    pytest.importorskip("accelerate")
    path = tmp_path / "own.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RunError) as caught:
        launch.own_config(path)
    assert caught.value.problem.code == "A805" and caught.value.exit_code == 1
    assert said in caught.value.problem.headline and caught.value.problem.place == str(path)


# --- devices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "count"), [("", 0), ("-1", 0), ("0", 1), ("0,3", 2), ("GPU-a, GPU-b", 2), ("0,-1,1", 1)]
)
def test_gpus_by_name(monkeypatch: pytest.MonkeyPatch, named: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert launch.visible_gpus() == count


def test_gpus_by_the_driver_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: H200 (UUID: x)'\necho 'GPU 1: H200 (UUID: y)'\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert launch.visible_gpus() == 2
    monkeypatch.setenv("PATH", "/nonexistent")
    assert launch.visible_gpus() == 0


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert launch.devices(spec()) == launch.Devices(True, 1)
    assert launch.devices(spec(processes=2)).processes == 2
    assert launch.devices(spec(processes=2), 3).processes == 3
    fsdp = launch.devices(spec(parallel="fsdp"))
    assert fsdp.cpu and "needs GPUs" in str(fsdp.note)
    with pytest.raises(RunError, match="2 GPUs are requested"):
        launch.devices(spec(gpus="2"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert launch.devices(spec()) == launch.Devices(False, 2)
    assert launch.devices(spec(nodes=2)).processes == 4
    assert launch.devices(spec(gpus="0", processes=2)).cpu
    with pytest.raises(RunError, match="3 processes are requested"):
        launch.devices(spec(processes=3))


def test_the_environment_joins_cpu_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")
    env = launch.environment(spec(), launch.Devices(True, 2))
    assert env["ACCELERATE_USE_CPU"] == "true" and env["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert int(env["OMP_NUM_THREADS"]) == max(1, min(16, len(os.sched_getaffinity(0)) // 2))
    assert env["WANDB_MODE"] == "disabled"
    assert launch.environment(spec(report=["wandb"]), launch.Devices(True, 2))["WANDB_MODE"] == "online"


# --- the cut of a batch -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "processes", "cut"),
    [
        ({}, 2, (8, 4, 1)),
        ({"max_length": 4096}, 2, (8, 2, 2)),
        ({"max_length": 16384}, 1, (8, 1, 8)),
        ({"micro_batch": 1}, 2, (8, 1, 4)),
        ({"batch": {"unit": "tokens", "value": 524288}, "max_length": 8192}, 8, (64, 1, 8)),
        ({"batch": {"unit": "rows", "value": 30}}, 2, (30, 15, 1)),
        ({"batch": {"unit": "rows", "value": 46}}, 2, (46, 1, 23)),
    ],
)
def test_a_batch_is_cut_exactly(more: dict[str, Any], processes: int, cut: tuple[int, int, int]) -> None:
    shape = step.shape(spec(**more), processes, True)
    assert (shape.per_step, shape.micro_batch, shape.accumulate) == cut
    assert shape.micro_batch * shape.accumulate * processes == shape.per_step


@pytest.mark.parametrize(
    ("more", "processes", "way_out"),
    [
        ({}, 3, "6 or 9 packs"),
        ({"packing": "none"}, 5, "5 or 10 rows"),
        ({}, 16, "take 16 packs"),
        ({"micro_batch": 3}, 2, "6 or 12 packs"),
        ({"batch": {"unit": "tokens", "value": 1000}}, 1, "512 or 1,024 tokens"),
    ],
)
def test_a_batch_that_does_not_divide(more: dict[str, Any], processes: int, way_out: str) -> None:
    with pytest.raises(RunError) as caught:
        step.shape(spec(**more), processes, True)
    assert caught.value.problem.code == "A809" and caught.value.exit_code == 1
    assert way_out in str(caught.value.problem.help)


@pytest.mark.parametrize(
    ("value", "steps"),
    [
        ("3/100", 6),
        ("0", 0),
        (15, 15),
        ({"unit": "steps", "value": 15}, 15),
        ({"unit": "rows", "value": 300}, 10),
        ({"unit": "percent", "value": "1/10"}, 20),
    ],
)
def test_amounts_of_steps(value: Any, steps: int) -> None:
    assert step.amount(value, 200, 30.0) == steps


def test_missing_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n in ("peft", "wandb") else real(n))
    with pytest.raises(RunError) as caught:
        step._extras(spec(method=Method(name="lora", args={"r": 4})))
    assert caught.value.problem.code == "A910" and "alchemist-dsl[lora]" in str(caught.value.problem.help)
    with pytest.raises(RunError, match="wandb"):
        step._extras(spec(report=["wandb"]))


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "headline"),
    [
        ("RuntimeError: EADDRINUSE, address in use", 1, "their port is in use"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried …", 1, "ran out of memory"),
        ("nothing to see", -signal.SIGKILL, "was killed"),
        ("OSError: [Errno 28] No space left on device", 1, "no space left"),
        ("Traceback\nValueError: x", 1, "exit code 1"),
    ],
)
def test_a_failure_is_read_from_the_log(tmp_path: Path, text: str, code: int, headline: str) -> None:
    log = tmp_path / "train.log"
    log.write_text(f"{'line' + chr(10)}" * 50 + text + "\n")
    problem = launch._failure(tmp_path, log, code).problem
    assert problem.code == "A803" and headline in problem.headline
    assert problem.place == str(log) and str(problem.note).endswith(text.splitlines()[-1])


def test_what_the_training_says_itself_comes_first(tmp_path: Path) -> None:
    problem = {
        "code": "A802",
        "headline": "training started in 1 process instead of 2",
        "node": None,
        "place": None,
        "note": None,
        "help": None,
        "severity": "error",
    }
    data = {"problem": problem, "exit_code": 3}
    (tmp_path / "error-00001.json").write_text(json.dumps(data))
    error = launch._failure(tmp_path, tmp_path / "train.log", 1)
    assert error.problem.code == "A802" and error.exit_code == 3
