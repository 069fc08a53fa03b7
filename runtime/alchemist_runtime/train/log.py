"""The log of a training: one JSON line per step, marks on finished checkpoints, the final model and its figures."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from alchemist_runtime.storage import store
from alchemist_runtime.storage.store import write_atomic
from alchemist_runtime.train.base_model import new_weights
from alchemist_runtime.train.data import NOTHING, Ordered, mapped
from alchemist_runtime.train.launch import PEAK_FLOPS, Job, rank

if TYPE_CHECKING:
    from alchemist_runtime.train.data import Packs


@dataclass(frozen=True, slots=True)
class Cost:
    """The work of a model: its parameters, and floating-point operations for each token (forward and backward)."""

    parameters: int
    trained: int
    per_token: float


def cost(model: Any, packs: Packs) -> Cost:
    """6 operations for each weight that multiplies, and causal attention over documents of the set's lengths."""
    inputs = model.get_input_embeddings().weight
    outputs = model.get_output_embeddings()
    tied = outputs is not None and outputs.weight is inputs
    parameters = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    config = model.config
    layers = getattr(config, "num_hidden_layers", 0)
    width = getattr(config, "hidden_size", 0)
    mean_length = packs.squares() / max(1, int(packs.tokens().sum()))
    weights = parameters - (0 if tied else inputs.numel())
    return Cost(parameters, trained, 6 * weights + 6 * layers * width * mean_length)


class TrainLog:
    """The JSON-lines log of one training. `tokens` of step k is the sum over all steps up to k."""

    def __init__(self, job: Job, trainer: Any, tokens: list[int], cost: Cost) -> None:
        self.job, self.trainer, self.tokens, self.cost = job, trainer, tokens, cost
        self.path: Path = job.at("train.jsonl")
        self.lines: list[dict[str, Any]] = []
        self.begun = self.before = 0.0
        self.main = rank() == 0

    def open(self, step: int) -> None:
        """Keep the lines up to a step that a checkpoint holds, so that each step stands there once."""
        if not self.main:
            return
        if self.path.exists():
            known = [json.loads(x) for x in self.path.read_text().splitlines() if x.endswith("}")]
            self.lines = [x for x in known if x["step"] <= step]
        self.before = self.lines[-1]["seconds"] if self.lines else 0.0
        write_atomic(self.path, "".join(json.dumps(x) + "\n" for x in self.lines).encode())

    def add(self, step: int, figures: dict[str, Any]) -> None:
        """One step: `tokens_per_second` over the time since the step before."""
        seconds = self.before + time.monotonic() - self.begun
        last = self.lines[-1]["seconds"] if self.lines else 0.0
        line = {
            "step": step,
            "steps": self.job.steps,
            "loss": figures["loss"],
            "learning_rate": figures["learning_rate"],
            "grad_norm": figures.get("grad_norm"),
            "tokens": sum(self.tokens[:step]),
            "tokens_per_second": round(self.tokens[step - 1] / max(seconds - last, 1e-9), 1),
            "seconds": round(seconds, 3),
        }
        self.lines.append(line)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def finish(self, *, eval_loss: float | None) -> None:
        """Write `metrics.json`."""
        job, lines = self.job, self.lines
        tokens, seconds = lines[-1]["tokens"], lines[-1]["seconds"]
        steady = lines[1:] or lines  # the first step pays for warming up
        speed = sum(self.tokens[x["step"] - 1] for x in steady) / max(
            1e-9, sum(self.tokens[x["step"] - 1] / x["tokens_per_second"] for x in steady if x["tokens_per_second"])
        )
        metrics = {
            "first_loss": lines[0]["loss"],
            "last_loss": lines[-1]["loss"],
            "eval_loss": eval_loss,
            "steps": job.steps,
            "tokens": tokens,
            "rows": job.rows,
            "seconds": seconds,
            "tokens_per_second": round(speed, 1),
            "world_size": job.processes,
            "per_step": job.per_step,
            "micro_batch": job.micro_batch,
            "accumulate": job.accumulate,
            "device": _device(job),
            "precision": "fp32" if job.cpu else job.spec.precision,
            "parameters": self.cost.parameters,
            "trained_parameters": self.cost.trained,
            "mfu": _mfu(job, speed * self.cost.per_token),
            "notes": job.notes,
        }
        write_atomic(job.at("metrics.json"), json.dumps(metrics, indent=1).encode())

    def callback(self, base: Any) -> Any:
        """The Trainer callback that writes the log, marks checkpoints and looks for the request to stop."""
        log, job = self, self.job

        class Watch(base):  # type: ignore[misc]
            def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                log.begun = time.monotonic()

            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
                if log.main and logs and "loss" in logs:
                    log.add(state.global_step, logs)

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                store.point("train", "step")
                if _stop_requested(job, log.trainer):
                    control.should_training_stop = True
                    control.should_save = state.global_step < job.steps

            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                log.trainer.accelerator.wait_for_everyone()
                store.point("train", "checkpoint")
                if log.main:
                    folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
                    write_atomic(folder / "complete.json", b"{}\n")
                log.trainer.accelerator.wait_for_everyone()

        return Watch()


def _stop_requested(job: Job, trainer: Any) -> bool:
    """Whether the file `stop` is there, decided by one process for all: they must stop at the same step."""
    found = job.at("stop").exists()
    if job.processes == 1:
        return found
    flag = torch.tensor([int(found)], device=trainer.args.device)
    torch.distributed.broadcast(flag, src=0)
    return bool(flag.item())


def _device(job: Job) -> str:
    if job.cpu:
        return "cpu"
    return torch.cuda.get_device_name(0)


def _mfu(job: Job, flops: float) -> float | None:
    """Share of the devices' peak that the model's own work makes up; None on a CPU or an unknown device."""
    if job.cpu:
        return None
    name = _device(job)
    peak = next((v for k, v in PEAK_FLOPS.items() if k in name), None)
    return round(flops / (peak * job.processes), 4) if peak else None


# --- finish ----------------------------------------------------------------------------------------------------------


def finish(job: Job, trainer: Any, log: TrainLog) -> None:
    """Held-out loss, the model's folder, the figures, in this order; the figures say that all is there."""
    loss = eval_loss(job, trainer)
    save(job, trainer)
    trainer.accelerator.wait_for_everyone()
    if rank() != 0:
        return
    store.point("train", "saved")
    log.finish(eval_loss=loss)
    for name in ("checkpoints", "work", "base"):
        shutil.rmtree(job.at(name), ignore_errors=True)


def eval_loss(job: Job, trainer: Any) -> float | None:
    """Mean loss over all held-out tokens. Every process does the same number of batches, as sharded models need."""
    if not any(job.at("prepared").glob("eval-*.parquet")):
        return None
    args, world = trainer.args, job.processes
    with args.main_process_first(desc="held-out packs"):
        packs = mapped(job.at("prepared"), "eval", job.at("work"), first=args.local_process_index == 0)
    each = job.micro_batch
    places = np.full(-(-len(packs) // (each * world)) * each * world, NOTHING, dtype=np.int64)
    places[: len(packs)] = np.arange(len(packs))
    data = Ordered(packs, places, trainer.data_collator.pad)
    model = trainer.model_wrapped
    model.eval()
    total = torch.zeros(2, dtype=torch.float64, device=args.device)
    for at in range(args.process_index * each, len(data), each * world):
        batch = trainer._prepare_inputs(trainer.data_collator([data[i] for i in range(at, at + each)]))
        learnt = (batch["labels"][:, 1:] >= 0).sum()
        with torch.no_grad(), trainer.accelerator.autocast():
            loss = model(**batch).loss
        if learnt:
            total += torch.stack([loss.double() * learnt, learnt.double()])
    total = trainer.accelerator.reduce(total, "sum")
    return float(total[0] / total[1]) if total[1] else None


def save(job: Job, trainer: Any) -> None:
    """The final model as a folder that `from_pretrained` loads, tokenizer and template with it; LoRA merged, adapter
    beside.
    """
    lora = job.spec.method.name == "lora"
    final, temporary = job.at("model"), job.at("model.part")
    if rank() == 0:
        for old in (final, temporary):
            shutil.rmtree(old, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    elif not (lora or trainer.is_deepspeed_enabled):
        trainer.accelerator.unwrap_model(trainer.model).to(_stored_in(job))
    trainer.save_model(str(job.at("adapter") if lora else temporary))
    trainer.accelerator.wait_for_everyone()
    if rank() != 0:
        return
    if lora:
        merge(job, temporary)
    (temporary / "training_args.bin").unlink(missing_ok=True)  # a pickle, of no use here
    (job.at("adapter") / "training_args.bin").unlink(missing_ok=True)
    for file in job.at(job.tokenizer).iterdir():
        if file.name != "config.json":
            shutil.copy2(file, temporary / file.name)
    temporary.rename(final)


def _stored_in(job: Job) -> torch.dtype:
    """The number format of the base's files; what is trained from it leaves in the same."""
    from transformers import AutoConfig

    if job.model is None:
        return torch.float32
    config = AutoConfig.from_pretrained(job.model, revision=job.base_revision)
    found = getattr(config, "dtype", None)
    return found if isinstance(found, torch.dtype) else torch.float32


def merge(job: Job, folder: Path) -> None:
    """Write base and adapter as one model."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    if job.model is None:
        base = new_weights(job.at(job.tokenizer), job.seed)
    else:
        base = AutoModelForCausalLM.from_pretrained(
            job.model, revision=job.base_revision, dtype=torch.float32 if job.cpu else "auto"
        )
    merged = PeftModel.from_pretrained(base, str(job.at("adapter"))).merge_and_unload()
    merged.save_pretrained(folder)
