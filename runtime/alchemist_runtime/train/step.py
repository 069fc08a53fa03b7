"""One `train` step from rows to a model: prepare, launch, collect. What is finished is kept, so a second call goes
on.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alchemist_runtime.schema.plan import TrainSpec, digest, to_json
from alchemist_runtime.storage.store import write_atomic
from alchemist_runtime.train import batching
from alchemist_runtime.train.base_model import needs
from alchemist_runtime.train.launch import Devices, Job, OnProgress, devices, launch

if TYPE_CHECKING:
    from alchemist_runtime.train.base_model import Start
    from alchemist_runtime.train.prepare import Batches

#: Tokens of one forward pass where `micro_batch` is not given.
_FORWARD_TOKENS: Final = {True: 8_192, False: 16_384}  # on the CPU, on a GPU
#: Without `save_every`: a checkpoint after each tenth of the steps, but not oftener than this.
_LEAST_SAVE_STEPS: Final = 100


@dataclass(frozen=True, slots=True)
class Shape:
    """How one optimiser step is cut: `per_step` = `micro_batch` × `accumulate` × processes, exactly."""

    per_step: int
    micro_batch: int
    accumulate: int


def shape(spec: TrainSpec, processes: int, cpu: bool) -> Shape:
    """Cut a batch among processes and forward passes; RunError A809 with the nearest sizes where it does not divide."""
    value = int(Fraction(str(spec.batch["value"])))
    total = batching.sequences(spec.batch["unit"], value, spec.max_length)
    own = batching.each(total, processes, spec.micro_batch, "rows" if spec.packing == "none" else "packs")
    micro = spec.micro_batch
    if micro is None:
        most = max(1, _FORWARD_TOKENS[cpu] // spec.max_length)
        micro = max(m for m in range(1, min(most, own) + 1) if own % m == 0)
    return Shape(total, micro, own // micro)


def amount(value: Any, steps: int, rows_per_step: float) -> int:
    """Steps that a percentage ("3/100"), a number of steps, or a number of rows stands for."""
    unit, number = ("percent", value) if not isinstance(value, dict) else (value["unit"], value["value"])
    if isinstance(value, int):
        unit = "steps"
    exact = Fraction(str(number))
    match unit:
        case "steps":
            return int(exact)
        case "rows":
            return round(exact / Fraction(rows_per_step)) if rows_per_step else 0
        case _:
            return math.ceil(exact * steps)


def _extras(spec: TrainSpec) -> None:
    """RunError A910 for the first library that the spec needs and this environment lacks."""
    needed = {"torch": "train", "transformers": "train", "accelerate": "train"}
    if spec.method.name == "lora":
        needed["peft"] = "lora"
    if spec.optimizer in ("adamw_8bit", "lion"):
        needed["bitsandbytes"] = ""
    needed |= dict.fromkeys(spec.report, "")
    needs(needed, "training as declared")


def _fresh(spec: TrainSpec, folder: Path, seed: int, base: Path | None) -> None:
    """Drop what an earlier call for another training left in the folder."""
    speed = {"parallel", "gpus", "nodes", "processes", "micro_batch", "save_every", "report", "command"}
    own = {name: value for name, value in to_json(spec).items() if name not in speed}
    key = digest([own, seed, str(base) if base else None])
    mark = folder / "train.key"
    if mark.exists() and mark.read_text() == key:
        return
    for name in ("prepared", "start", "checkpoints", "work", "model", "adapter"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("metrics.json", "train.jsonl", "job.json", "train.log"):
        (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(mark, key.encode())


def run_train(
    spec: TrainSpec,
    batches: Batches,
    out_dir: Path,
    *,
    base_dir: Path | None = None,
    seed: int = 0,
    processes: int | None = None,
    project_root: Path = Path(),
    on_progress: Callable[[dict[str, Any]], None] = lambda _: None,
    texts: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Train a model on some rows and return its figures.

    `out_dir` gets prepared/, start/ (tokenizer and template), train.jsonl, train.log, model/ (adapter/ too with LoRA)
    and metrics.json, written last. `base_dir` is the model folder of another training; `processes` overrides the
    spec's; `texts` resolves a template that the spec names by digest. Progress: {"stage", "done", "total", "unit"}
    before, then the lines of train.jsonl. RunError A801, A802, A803, A805, A806, A808 to A811, A814, A910;
    KeyboardInterrupt after the checkpoint that Ctrl-C asks for.
    """
    _extras(spec)
    out_dir, project = out_dir.resolve(), project_root.resolve()
    base_dir = base_dir.resolve() if base_dir else None
    _fresh(spec, out_dir, seed, base_dir)
    if (out_dir / "metrics.json").exists():
        try:
            return _figures(out_dir)
        except ValueError:  # damaged since: found out again from the last checkpoint
            (out_dir / "metrics.json").unlink()
    on = devices(spec, processes)
    cut = shape(spec, on.processes, on.cpu)
    start, summary = _prepared(spec, batches, out_dir, base_dir, project, texts or {}, seed, on_progress)
    on_progress({"stage": "prepared", "prepared": summary})
    job = _job(spec, on, cut, start, summary, seed, out_dir)
    on_progress({"stage": f"starting {on.processes} processes", "step": 0, "steps": job.steps})
    result = launch(
        spec,
        out_dir / "job.json",
        on=on,
        project=project,
        log=out_dir / "train.log",
        figures=out_dir / "train.jsonl",
        on_progress=on_progress,
    )
    if result.stopped:
        raise KeyboardInterrupt
    for name in ("stop", "train.lock", "work"):
        path = out_dir / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return _figures(out_dir)


def _figures(folder: Path) -> dict[str, Any]:
    """The figures of a finished training, with those of its prepared set."""
    figures: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return {**figures, "prepared": json.loads((folder / "prepared" / "summary.json").read_text())}


def _prepared(
    spec: TrainSpec,
    batches: Batches,
    out_dir: Path,
    base_dir: Path | None,
    project: Path,
    texts: Mapping[str, str],
    seed: int,
    on_progress: OnProgress,
) -> tuple[Start, dict[str, Any]]:
    from alchemist_runtime.train.base_model import prepare_start, scratch_sizes
    from alchemist_runtime.train.prepare import Settings, prepare

    if spec.init.name == "scratch":
        scratch_sizes(spec.init.args, spec.max_length)
    start, tokenizer = prepare_start(spec, out_dir / "start", base_dir=base_dir, project=project, texts=texts)
    settings = Settings(
        max_length=spec.max_length,
        packing=spec.packing,
        loss=spec.loss,
        on_long=spec.on_long,
        eval_share=Fraction(spec.eval_share or 0),
        eval_rows=spec.eval_rows,
        seed=seed % 2**64,
        special_tokens_in_text=spec.special_tokens_in_text,
        date=spec.date,
    )
    summary = prepare(batches, out_dir / "prepared", tokenizer=tokenizer, settings=settings, on_progress=on_progress)
    return start, summary


def _job(
    spec: TrainSpec, on: Devices, cut: Shape, start: Start, summary: Mapping[str, Any], seed: int, out_dir: Path
) -> Job:
    """Write the job file of a training."""
    packs, rows = summary["packs"], summary["rows"]
    epochs = Fraction(spec.epochs or 1)
    steps = spec.steps or max(1, math.ceil(epochs * packs / cut.per_step))
    rows_per_step = rows * cut.per_step / packs
    save = spec.save_every
    every = amount(save, steps, rows_per_step) if save else max(_LEAST_SAVE_STEPS, -(-steps // 10))
    notes = [on.note] if on.note else []
    if on.cpu and spec.precision != "fp32":
        notes.append(f"`precision = {spec.precision}` is for GPUs: on the CPU everything is computed in fp32")
    job = Job(
        spec=spec,
        folder=out_dir,
        seed=seed,
        processes=on.processes,
        cpu=on.cpu,
        tokenizer="start",
        model=start.model,
        revision=start.revision,
        per_step=cut.per_step,
        micro_batch=cut.micro_batch,
        accumulate=cut.accumulate,
        steps=steps,
        warmup_steps=amount(spec.schedule.args.get("warmup") or 0, steps, rows_per_step),
        save_steps=max(1, every) if every < steps else 0,
        rows=rows,
        packs=packs,
        notes=notes,
    )
    job.write(out_dir / "job.json")
    return job
