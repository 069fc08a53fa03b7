"""Trainings that really run: two processes that learn together, stops of every kind, and the same losses from a plain
loop.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.schema.plan import Method, TrainSpec
from alchemist_runtime.train import launch
from alchemist_runtime.train.step import run_train
from command_line import PATIENCE
from train_rows import source, sums

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(launch.visible_gpus() > 0, reason="these trainings are made for the CPU"),
]

ROWS = sums(160)
SCRATCH = {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 64, "context": 256}


def spec(**more: Any) -> TrainSpec:
    fields: dict[str, Any] = {
        "init": Method(name="scratch", args=SCRATCH),
        "method": Method(name="full"),
        "batch": {"unit": "rows", "value": 8},
        "steps": 12,
        "max_length": 160,
        "learning_rate": "1/100",
        "schedule": Method(name="cosine", args={"warmup": "1/10", "floor": "0"}),
        "weight_decay": "1/100",
        "dropout": "1/10",
        "eval_share": "1/10",
        "processes": 2,
        "micro_batch": 2,
        "save_every": {"unit": "steps", "value": 4},
    }
    return TrainSpec(**(fields | more))


def losses(folder: Path) -> dict[int, float]:
    lines = [json.loads(x) for x in (folder / "train.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines] == sorted({x["step"] for x in lines})
    return {x["step"]: x["loss"] for x in lines}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
    """One training on two processes, its figures, and what it told."""
    folder = tmp_path_factory.mktemp("undisturbed")
    told: list[dict[str, Any]] = []
    metrics = run_train(spec(), source(ROWS), folder, seed=11, on_progress=told.append)
    return folder, metrics, told


def test_two_processes_learn_together(undisturbed: Any) -> None:
    folder, metrics, told = undisturbed
    assert metrics["world_size"] == 2 and metrics["steps"] == 12
    assert (metrics["per_step"], metrics["micro_batch"], metrics["accumulate"]) == (8, 2, 2)
    assert metrics["last_loss"] < 0.7 * metrics["first_loss"]
    assert metrics["first_loss"] == pytest.approx(5.57, abs=0.2)  # ln 264: it knows nothing yet
    assert metrics["eval_loss"] < 0.8 * metrics["first_loss"]
    assert list(losses(folder)) == list(range(1, 13))
    assert [t["step"] for t in told if "loss" in t] == list(range(1, 13))
    assert metrics["precision"] == "fp32" and any("bf16" in n for n in metrics["notes"])
    assert metrics["mfu"] is None and metrics["tokens"] == told[-1]["tokens"]
    summary = json.loads((folder / "prepared" / "summary.json").read_text())
    assert summary["rows"] + summary["eval"]["rows"] == 160
    assert not (folder / "checkpoints").exists() and not (folder / "work").exists()


def test_the_model_is_an_ordinary_folder(undisturbed: Any) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = undisturbed[0] / "model"
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert not list(folder.glob("*.bin"))  # no pickle
    chat = [{"role": "user", "content": "Add 3 to the number."}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
    made = model.generate(**ids, max_new_tokens=8, do_sample=False)
    assert made.shape[1] > ids["input_ids"].shape[1]


def test_a_second_call_does_nothing(undisturbed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from alchemist_runtime.train import step as train_job

    folder, metrics, _ = undisturbed
    monkeypatch.setattr(train_job, "launch", lambda *a, **k: pytest.fail("launched again"))
    again = run_train(spec(), lambda: pytest.fail("read again"), folder, seed=11)
    assert again == metrics


def test_a_plain_loop_over_accelerate_gives_the_same_losses(tmp_path: Path) -> None:
    """One process, no Trainer, whole batches: the same order, masks and schedule must give the same course as two
    processes that each take their share in two forward passes."""
    import torch
    from accelerate import Accelerator
    from alchemist_runtime.train.base_model import new_weights
    from alchemist_runtime.train.data import Collator, Ordered, mapped, order
    from alchemist_runtime.train.trainer import factor

    run_train(spec(dropout=None, steps=6), source(ROWS), tmp_path, seed=11)
    packs = mapped(tmp_path / "prepared", "train", tmp_path / "again", first=True)
    data = Ordered(packs, order(len(packs), 8, epochs=None, steps=6, seed=11), pad=256)
    collate = Collator(pad=256, packed=True)
    accelerator = Accelerator(cpu=True)
    model = new_weights(tmp_path / "start", 11)
    model.config.use_cache = False
    norms, others = [], []
    for name, p in model.named_parameters():
        (norms if "norm" in name else others).append(p)
    groups = [{"params": others, "weight_decay": 0.01}, {"params": norms, "weight_decay": 0.0}]
    optimizer = accelerator.prepare_optimizer(torch.optim.AdamW(groups, lr=0.01))
    model = accelerator.prepare_model(model)
    found = []
    for step in range(6):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * factor("cosine", {"floor": "0"}, step, 1, 6)
        loss = model(**collate([data[i] for i in range(step * 8, step * 8 + 8)])).loss
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    assert found == pytest.approx(list(losses(tmp_path).values()), abs=1e-4)


def background(folder: Path, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """The same training in a process of its own, which can be killed."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "import test_training as t\n"
        "t.run_train(t.spec(), t.source(t.ROWS), Path(sys.argv[1]), seed=11)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **(env or {})},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if child.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"it never happened: {child.stderr.read().decode()[-2000:] if child.stderr else ''}")
        time.sleep(0.02)


def reached(folder: Path, step: int) -> Callable[[], bool]:
    log = folder / "train.jsonl"
    return lambda: log.exists() and log.read_text().count("\n") >= step


def assert_same(folder: Path, undisturbed: Any) -> None:
    """The losses to 4 decimals and more, and the weights."""
    from safetensors.torch import load_file

    whole, again = losses(undisturbed[0]), losses(folder)
    assert list(again) == list(whole)
    assert list(again.values()) == pytest.approx(list(whole.values()), abs=5e-5)
    whole_model, model = (load_file(f / "model" / "model.safetensors") for f in (undisturbed[0], folder))
    assert all((model[n] - whole_model[n]).abs().max() < 1e-5 for n in whole_model)


def test_kill_9_and_on(tmp_path: Path, undisturbed: Any) -> None:
    """The parent dies; its processes end by themselves; the next call goes on from the last checkpoint."""
    child = background(tmp_path)
    wait_for(reached(tmp_path, 5), child)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    told: list[dict[str, Any]] = []
    metrics = run_train(spec(), source(ROWS), tmp_path, seed=11, on_progress=told.append)
    steps = [t["step"] for t in told if "loss" in t]
    assert metrics["steps"] == 12
    assert steps[-1] == 12 and 4 in losses(tmp_path)
    assert (tmp_path / "train.log").read_text().count("resuming at step") == 2  # both processes
    assert_same(tmp_path, undisturbed)


def test_a_checkpoint_that_was_cut_short_is_passed_over(
    tmp_path: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes die between the files of the second checkpoint and its mark."""
    monkeypatch.setenv("ALCHEMIST_FAULT", "kill@train:checkpoint:2")
    with pytest.raises(RunError) as caught:
        run_train(spec(), source(ROWS), tmp_path, seed=11)
    assert caught.value.problem.code == "A803" and caught.value.problem.place == str(tmp_path / "train.log")
    assert "killed" in caught.value.problem.headline
    assert (tmp_path / "checkpoints" / "checkpoint-8").exists()
    monkeypatch.delenv("ALCHEMIST_FAULT")
    run_train(spec(), source(ROWS), tmp_path, seed=11)
    assert "resuming at step 4" in (tmp_path / "train.log").read_text()
    assert_same(tmp_path, undisturbed)


def test_ctrl_c_stops_at_a_checkpoint(tmp_path: Path, undisturbed: Any) -> None:
    child = background(tmp_path)
    wait_for(reached(tmp_path, 2), child)
    os.kill(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=PATIENCE)
    assert child.returncode == -signal.SIGINT or child.returncode == 130, errors.decode()[-2000:]
    assert b"KeyboardInterrupt" in errors
    done = len(losses(tmp_path))
    marks = [p.parent.name for p in (tmp_path / "checkpoints").glob("*/complete.json")]
    assert f"checkpoint-{done}" in marks and done < 12
    run_train(spec(), source(ROWS), tmp_path, seed=11)
    assert f"resuming at step {done}" in (tmp_path / "train.log").read_text()
    assert_same(tmp_path, undisturbed)


def test_the_world_that_was_asked_for_or_none(tmp_path: Path, undisturbed: Any) -> None:
    """The trap: `--cpu --num_processes 2` starts one process and says nothing. The training says it."""
    job = json.loads((undisturbed[0] / "job.json").read_text())
    (tmp_path / "job.json").write_text(json.dumps(job))
    for name in ("prepared", "start"):
        (tmp_path / name).symlink_to(undisturbed[0] / name)
    line = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu"]
    line += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    line += ["--module", "alchemist_runtime.train", "--job", str(tmp_path / "job.json")]
    env = launch.environment(spec(), launch.Devices(True, 2))
    del env["ACCELERATE_USE_CPU"], env["ALCHEMIST_PARENT"]
    run = subprocess.run(line, env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert run.returncode != 0
    assert "A802 training started in 1 process instead of 2" in run.stderr
    said = json.loads((tmp_path / "error-00000.json").read_text())
    assert said["problem"]["code"] == "A802"
    assert not (tmp_path / "train.jsonl").exists()


def test_lora_on_a_trained_base(tmp_path: Path, undisturbed: Any) -> None:
    pytest.importorskip("peft")
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    base = undisturbed[0] / "model"
    metrics = run_train(
        spec(
            init=Method(name="pretrained"),
            base="first",
            method=Method(name="lora", args={"r": 4, "alpha": 8, "dropout": 0, "targets": "all-linear"}),
            processes=1,
            steps=4,
            packing="none",
            save_every=None,
            optimizer="adafactor",
            eval_share=None,
        ),
        source(ROWS),
        tmp_path,
        base_dir=base,
        seed=2,
    )
    assert metrics["first_loss"] < 0.8 * undisturbed[1]["first_loss"]  # it starts from the trained weights
    assert 0 < metrics["trained_parameters"] < metrics["parameters"] / 2
    assert metrics["eval_loss"] is None
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert adapter and all("lora" in name for name in adapter)
    before, after = (AutoModelForCausalLM.from_pretrained(f).state_dict() for f in (base, tmp_path / "model"))
    assert before.keys() == after.keys()
    moved = {n for n in before if (before[n] - after[n]).abs().max() > 0}
    assert moved and all("proj" in n for n in moved)
