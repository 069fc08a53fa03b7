"""The program that trains, in every process: `accelerate launch … --module alchemist_runtime.train --job
JOB.json`.

Reads a prepared set, trains with transformers' Trainer, leaves `model/`, `train.jsonl` and, last of all,
`metrics.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import json
import os
import sys
import threading
import time
import traceback
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.train.launch import Job, rank

if TYPE_CHECKING:
    from alchemist_runtime.train.log import TrainLog

OPTIMIZERS: Final = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
}
#: Libraries that transformers loads if they are there and that nothing here uses. Without them a small training on the
#: CPU, where imports are most of the time, starts a quarter faster.
UNUSED: Final = ("datasets", "scipy", "sklearn")
#: A checkpoint that a crash cut short lacks this file.
COMPLETE: Final = "complete.json"


# --- the process ------------------------------------------------------------------------------------------------------


def _settle(job: Job) -> None:
    """Environment that libraries read when they are imported."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if "wandb" not in job.spec.report:
        os.environ["WANDB_MODE"] = "disabled"
    if job.cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        os.environ["ACCELERATE_MIXED_PRECISION"] = "no"
    if job.cpu and "transformers" not in sys.modules:
        for name in UNUSED:
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    if job.spec.report:
        os.environ.setdefault("WANDB_DIR", str(job.at("reports")))


def _gone(pid: int) -> bool:
    """Whether a process is no more (one that nobody has buried counts as gone)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
    except (OSError, IndexError):
        return False


def _watch(parent: int) -> None:
    """End with the process that started the training: an orphan would write into a folder that a new run works in."""

    def look() -> None:
        while not _gone(parent):
            time.sleep(0.05)  # a step of a small training takes longer
        os._exit(1)

    if Path("/proc/self/stat").exists():
        threading.Thread(target=look, daemon=True).start()


@contextlib.contextmanager
def _alone(path: Path) -> Any:
    """Hold the folder's lock; a training that is about to end may hold it for a moment longer."""
    with path.open("a") as file:
        for _ in range(300):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.2)
        else:
            raise RunError(
                Problem(
                    "A803",
                    "another training is running in the same folder",
                    place=str(path.parent),
                    help="wait for it, or end it",
                )
            )
        yield


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="alchemist_runtime.train", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="job file")
    job = Job.read(parser.parse_args(argv).job)
    if parent := os.environ.get("ALCHEMIST_PARENT"):
        _watch(int(parent))
    _settle(job)
    try:
        with _alone(job.at("train.lock")) if rank() == 0 else contextlib.nullcontext():
            run(job)
    except RunError as error:
        _report(job, error.problem, error.exit_code)
        return 3
    except Exception as error:
        traceback.print_exc()
        short = type(error).__name__
        _report(job, _no_memory(job) if short == "OutOfMemoryError" else _unforeseen(error), 3)
        return 1
    return 0


def _report(job: Job, problem: Problem, exit_code: int) -> None:
    data = {"problem": asdict(problem), "exit_code": exit_code}
    temporary = job.at(f"error-{rank():05d}.part")
    temporary.write_text(json.dumps(data))
    temporary.replace(temporary.with_suffix(".json"))
    print(f"{problem.code} {problem.headline}", file=sys.stderr)


def _unforeseen(error: Exception) -> Problem:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Problem(
            "A905",
            "there is no space left on the device while the training wrote",
            help="free some space and re-run; training resumes from the last checkpoint",
        )
    said = " ".join(str(error).split())[:300]
    return Problem(
        "A803",
        f"the training failed: {type(error).__name__}: {said}",
        help="read the log; the next run resumes from the last checkpoint",
    )


def _no_memory(job: Job) -> Problem:
    return Problem(
        "A803",
        f"the device ran out of memory at micro_batch = {job.micro_batch}, max_length = {job.spec.max_length}",
        help="lower `micro_batch` or `max_length`, or use `method = lora(…)` or `parallel = fsdp`",
    )


# --- the training -----------------------------------------------------------------------------------------------------


def last_complete(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    found = [p.parent for p in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(found, key=lambda p: int(p.name.rpartition("-")[2]), default=None)


def factor(name: str, args: dict[str, Any], step: int, warmup: int, steps: int) -> float:
    """The learning rate of a step (from 0) as a part of its peak."""
    import math

    if step < warmup:
        return (step + 1) / warmup
    if name == "constant":
        return 1.0
    floor = float(Fraction(str(args.get("floor") or 0)))
    done = (step - warmup) / max(1, steps - warmup)
    left = (1 + math.cos(math.pi * done)) / 2 if name == "cosine" else 1 - done
    return floor + (1 - floor) * max(0.0, left)


def _arguments(job: Job) -> Any:
    from transformers import TrainingArguments

    spec, gpu = job.spec, not job.cpu
    return TrainingArguments(
        output_dir=str(job.at("checkpoints")),
        per_device_train_batch_size=job.micro_batch,
        gradient_accumulation_steps=job.accumulate,
        num_train_epochs=1,
        learning_rate=float(Fraction(spec.learning_rate)),
        weight_decay=float(Fraction(spec.weight_decay)),
        max_grad_norm=float(Fraction(spec.max_grad_norm)),
        optim=OPTIMIZERS[spec.optimizer],
        bf16=gpu and spec.precision == "bf16",
        fp16=gpu and spec.precision == "fp16",
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps" if job.save_steps else "no",
        save_steps=job.save_steps or 1,
        save_total_limit=2,
        report_to=list(spec.report) or "none",
        disable_tqdm=True,
        seed=job.seed % 2**32,
        use_cpu=job.cpu,
        dataloader_pin_memory=gpu,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        average_tokens_across_devices=True,
    )


def _check_world(job: Job, found: int) -> None:
    if found == job.processes:
        return
    raise RunError(
        Problem(
            "A802",
            f"training started in {found} process{'' if found == 1 else 'es'} instead of {job.processes}",
            note="each would train alone on the same data and write over the others",
            help=(
                "launch with `--num_processes` and a configuration that joins the processes; on the CPU "
                "ACCELERATE_USE_CPU=true must be set"
            ),
        )
    )


def _model(job: Job, flash: bool) -> Any:
    """The model in the format that it trains in: weights in fp32, a frozen base under LoRA in the precision asked
    for.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from alchemist_runtime.train.base_model import new_weights, no_model

    spec = job.spec
    if job.model is None:
        model = new_weights(job.at(job.tokenizer), job.seed)
    else:
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(spec.precision, torch.float32)
        frozen = spec.method.name == "lora" and not job.cpu
        # by default the best that the model supports of what comes with torch
        for attention in ({"attn_implementation": "flash_attention_2"}, {}) if flash else ({},):
            try:
                model = AutoModelForCausalLM.from_pretrained(
                    job.model,
                    revision=job.base_revision,
                    config=_config(AutoConfig, job),
                    dtype=half if frozen else torch.float32,
                    **attention,
                )
                break
            except (OSError, ValueError, ImportError) as error:
                if not attention:
                    raise no_model(job.model, job.revision, error) from error
    model.config.use_cache = False
    return _with_lora(model, job) if spec.method.name == "lora" else model


def _config(auto: Any, job: Job) -> Any:
    """The model's configuration with the dropout asked for, where it has such a thing."""
    config = auto.from_pretrained(job.model, revision=job.base_revision)
    if job.spec.dropout is not None:
        names = ("attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "dropout")
        for name in (n for n in names if hasattr(config, n)):
            setattr(config, name, float(Fraction(job.spec.dropout)))
    return config


def _with_lora(model: Any, job: Job) -> Any:
    from peft import LoraConfig, get_peft_model

    args = job.spec.method.args
    targets = str(args.get("targets", "all-linear"))
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=int(args.get("r", 16)),
        lora_alpha=int(args.get("alpha", 32)),
        lora_dropout=float(Fraction(str(args.get("dropout", 0)))),
        target_modules=targets if targets == "all-linear" else [t.strip() for t in targets.split(",")],
    )
    return get_peft_model(model, config)


def run(job: Job) -> None:
    """Train; RunError for what a person can mend."""
    import transformers
    from transformers import set_seed
    from transformers.utils import logging
    from transformers.utils.import_utils import is_flash_attn_2_available

    from alchemist_runtime.train.log import finish

    quiet: Any = logging.set_verbosity_error
    quiet()
    arguments = _arguments(job)
    _check_world(job, arguments.world_size)
    set_seed(job.seed % 2**32)
    flash = not job.cpu and job.spec.precision != "fp32" and bool(is_flash_attn_2_available())
    model = _model(job, flash)
    if not job.cpu and sum(p.numel() for p in model.parameters()) >= 1e9:
        arguments.gradient_checkpointing = True  # else activations decide what fits
    trainer, log = _trainer(job, transformers, model, arguments)
    _check_world(job, trainer.accelerator.num_processes)
    checkpoint = last_complete(job.at("checkpoints"))
    done = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    if done:
        print(f"resuming at step {done}", flush=True)
    log.open(done)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.state.global_step < job.steps:
        return  # stopped on request; the checkpoint is written
    finish(job, trainer, log)


def _trainer(job: Job, transformers: Any, model: Any, arguments: Any) -> tuple[Any, TrainLog]:
    import torch

    from alchemist_runtime.train.data import Collator, Ordered, mapped, order
    from alchemist_runtime.train.log import TrainLog, cost

    spec = job.spec
    with arguments.main_process_first(desc="packs"):
        packs = mapped(job.at("prepared"), "train", job.at("work"), first=arguments.local_process_index == 0)
    epochs = Fraction(spec.epochs) if spec.epochs is not None else None
    places = order(len(packs), job.per_step, epochs=epochs, steps=spec.steps, seed=job.seed)
    assert len(places) == job.steps * job.per_step
    sizes = packs.tokens()
    per_step = [int(sizes[p[p >= 0]].sum()) for p in places.reshape(job.steps, job.per_step)]
    pad = model.config.pad_token_id
    flat = "flash" in str(getattr(model.config, "_attn_implementation", ""))
    collator = Collator(pad if pad is not None else 0, spec.packing != "none", flat)

    class OwnTrainer(transformers.Trainer):  # type: ignore[misc]
        """Trainer with our order of sequences and our course of the learning rate."""

        lr_scheduler: Any

        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            if self.lr_scheduler is None:
                schedule = spec.schedule
                self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                    optimizer or self.optimizer,
                    lambda s: factor(schedule.name, schedule.args, s, job.warmup_steps, job.steps),
                )
            return self.lr_scheduler

    trainer = OwnTrainer(
        model=model, args=arguments, train_dataset=Ordered(packs, places, collator.pad), data_collator=collator
    )
    log = TrainLog(job, trainer, per_step, cost(model, packs))
    for kind in (transformers.PrinterCallback, transformers.ProgressCallback):
        trainer.remove_callback(kind)
    trainer.add_callback(log.callback(transformers.TrainerCallback))
    if spec.packing != "none":
        trainer.add_callback(_proof(transformers.TrainerCallback, job, trainer))
    return trainer, log


def _proof(base: Any, job: Job, trainer: Any) -> Any:
    """A callback that looks before the first step whether rows of a pack see one another in this very model."""

    class Proof(base):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            prove(job, trainer)

    return Proof()


def prove(job: Job, trainer: Any) -> None:
    """RunError A814 where a row of a pack sees the rows before it. Asks the model as it trains: wrapped, in every
    process.
    """
    from alchemist_runtime.train.data import isolation

    model, collate = trainer.model_wrapped, trainer.data_collator
    config = trainer.accelerator.unwrap_model(trainer.model).config
    half = trainer.accelerator.autocast if collate.flat else contextlib.nullcontext

    def logits(batch: Any) -> Any:
        with half():
            return model(**trainer._prepare_inputs(dict(batch))).logits

    was_training = model.training
    model.eval()
    found = isolation(logits, collate, config.get_text_config().vocab_size)
    model.train(was_training)
    if found.holds:
        return
    rows = max(1, round(job.per_step * job.rows / max(1, job.packs)))
    raise RunError(
        Problem(
            "A814",
            f"a model of type `{config.model_type}` does not keep the rows of a pack apart: each would be trained"
            " behind others",
            note=(
                f"the logits of a row move by {found.seen:.1g} of their spread with another row before it in the pack,"
                f" by {found.rounding:.1g} with one behind it"
            ),
            help=f"write `packing = none`, and for as much in each step `batch = {rows} rows`",
        ),
        exit_code=1,
    )


def leave(code: int) -> None:
    """End at once: taking torch down object by object costs seconds, and all files are written and closed."""
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.modules.get("wandb") or sys.modules.get("mlflow"):
        sys.exit(code)  # these finish their reports on the way out
    os._exit(code)
