"""Tokens a second of our training and of TRL's SFTTrainer on the same prepared tokens, on one GPU. Prints, asserts
nothing.

python tests/bench/train_gpu.py [--layers 12 --hidden 1024 --max-length 2048 --steps 40 --batch 16 --micro 4] [--base
PATH] Needs a CUDA device; TRL is compared with where it is installed (`pip install trl`).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WORDS = [
    "value",
    "list",
    "return",
    "check",
    "index",
    "merge",
    "count",
    "order",
    "token",
    "float",
    "parse",
    "error",
    "class",
    "yield",
    "build",
]


def rows(n: int) -> Iterator[Any]:
    """Made-up rows of log-normal length, the same in every run."""
    import pyarrow as pa

    draw = random.Random(3)
    for at in range(0, n, 1000):
        texts = [
            [" ".join(draw.choices(WORDS, k=min(2_000, int(draw.lognormvariate(m, 0.7))))) for m in (3.2, 4.6)]
            for _ in range(min(1000, n - at))
        ]
        ids = [hashlib.blake2b(f"{at + i}".encode(), digest_size=16).digest() for i in range(len(texts))]
        yield pa.record_batch(
            {
                "instruction": [t[0] for t in texts],
                "response": [t[1] for t in texts],
                "_id": pa.array(ids, pa.binary(16)),
                "_root": pa.array(ids, pa.binary(16)),
                "origin": ["made"] * len(texts),
            }
        )


def ours(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from alchemist_runtime.schema.plan import Method, TrainSpec
    from alchemist_runtime.train.step import run_train

    scratch = {
        "layers": args.layers,
        "hidden": args.hidden,
        "heads": args.hidden // 64,
        "intermediate": args.hidden * 8 // 3 // 64 * 64,
        "context": args.max_length,
    }
    spec = TrainSpec(
        base=args.base,
        init=Method(name="pretrained") if args.base else Method(name="scratch", args=scratch),
        method=Method(name="full"),
        steps=args.steps,
        batch={"unit": "rows", "value": args.batch},
        micro_batch=args.micro,
        max_length=args.max_length,
        learning_rate="1/10000",
        schedule=Method(name="constant", args={}),
        processes=1,
    )
    return run_train(spec, lambda: rows(args.rows), folder, seed=1)


TRL = """
import json, sys, time
from pathlib import Path
import numpy as np
import torch
from datasets import load_dataset
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer
from alchemist_runtime.train.data import Collator, Sequence_

folder, base, steps, micro, batch, length = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
gpu = torch.cuda.is_available()
data = load_dataset("parquet", data_files=str(folder / "prepared" / "train-*.parquet"), split="train")
data = data.remove_columns(["ids", "origins"])
if base:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
else:
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder / "start"), dtype=torch.float32)
model.config.use_cache = False
tokenizer = AutoTokenizer.from_pretrained(folder / "start")
pack = Collator(pad=tokenizer.pad_token_id or 0, packed=True)

def collate(rows):
    return pack([Sequence_(*(np.array(r[c], np.int32) for c in ("input_ids", "labels", "lengths"))) for r in rows])

class Clock(TrainerCallback):
    ends = []
    def on_step_end(self, *_, **__):
        if gpu:
            torch.cuda.synchronize()
        self.ends.append(time.monotonic())

config = SFTConfig(
    output_dir=str(folder / "trl"), max_steps=steps, per_device_train_batch_size=micro,
    gradient_accumulation_steps=batch // micro, learning_rate=1e-4, lr_scheduler_type="constant", bf16=gpu,
    use_cpu=not gpu, gradient_checkpointing=sum(p.numel() for p in model.parameters()) >= 1e9,
    max_length=length, packing=False, save_strategy="no", report_to="none", logging_steps=1, disable_tqdm=True,
    dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False, seed=1,
)
trainer = SFTTrainer(
    model=model, args=config, train_dataset=data, data_collator=collate, callbacks=[Clock()],
    processing_class=tokenizer,
)
trainer.train()
mean = sum(map(len, data["input_ids"])) / len(data)
seconds = Clock.ends[-1] - Clock.ends[0]
print(json.dumps({"tokens_per_second": mean * batch * (steps - 1) / seconds, "seconds": seconds}))
"""


def theirs(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """TRL in a process of its own, on the same packs."""
    values = [args.steps, args.micro, args.batch, args.max_length]
    line = [sys.executable, "-c", textwrap.dedent(TRL), str(folder), args.base or "", *map(str, values)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run(line, capture_output=True, text=True, check=False, env=env)
    if run.returncode:
        print(run.stderr[-3000:], file=sys.stderr)
        sys.exit("TRL's run failed")
    found: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base")
    parser.add_argument("--anyway", action="store_true", help="also without a GPU, to try the script")
    for name, default in (
        ("layers", 12),
        ("hidden", 1024),
        ("max-length", 2048),
        ("steps", 40),
        ("batch", 16),
        ("micro", 4),
        ("rows", 8000),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    from alchemist_runtime.train.launch import visible_gpus

    if not visible_gpus() and not args.anyway:
        print("no CUDA device here: nothing to measure")
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        own = ours(args, folder)
        print(f"device      {own['device']}, {own['parameters']:,} parameters, {args.steps} steps")
        print(f"alchemist   {own['tokens_per_second']:>12,.0f} tokens/s   MFU {own['mfu']}")
        if importlib.util.find_spec("trl") is None:
            print("TRL         not installed: pip install trl")
            return
        other = theirs(args, folder)
        ratio = own["tokens_per_second"] / other["tokens_per_second"]
        print(f"TRL         {other['tokens_per_second']:>12,.0f} tokens/s   ratio {ratio:.3f} (goal: at least 0.98)")


if __name__ == "__main__":
    main()
