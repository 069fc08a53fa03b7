"""The end of a training: held-out loss, the model as an ordinary folder, the figures last."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from alchemist_runtime.storage import faults
from alchemist_runtime.train.base_model import new_weights
from alchemist_runtime.train.data import NOTHING, Ordered, mapped
from alchemist_runtime.train.spec_file import Job, rank

if TYPE_CHECKING:
    from alchemist_runtime.train.log import TrainLog


def finish(job: Job, trainer: Any, log: TrainLog) -> None:
    """Held-out loss, the model's folder, the figures, in this order; the figures say that all is there."""
    loss = eval_loss(job, trainer)
    save(job, trainer)
    trainer.accelerator.wait_for_everyone()
    if rank() != 0:
        return
    faults.point("train", "saved")
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
