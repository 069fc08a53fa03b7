"""What is expected of a training: packs, steps, tokens, and the memory of each GPU."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from alchemist_runtime.schema.plan import Estimate, Method, Node, TrainSpec
from alchemist_runtime.train.prepare import pieces
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.cli.compile import plan_text
from alchemist_dsl.cli.show import node_lines
from alchemist_dsl.estimate.figures import figures, with_estimates
from alchemist_dsl.estimate.ranges import UNKNOWN, exactly
from alchemist_dsl.estimate.training import course, gigabytes, layouts_that_fit, memory
from alchemist_dsl.project.workspace import Project


def spec(**more: Any) -> TrainSpec:
    fields: dict[str, Any] = {
        "init": Method(name="pretrained"),
        "method": Method(name="full"),
        "batch": {"unit": "packs", "value": 16},
        "max_length": 1000,
        "learning_rate": "1/1000",
        "schedule": Method(name="constant"),
        "epochs": "2",
    }
    return TrainSpec(**(fields | more))


def values(made: Any) -> dict[str, int]:
    counts = {name: int(r.value) for name, r in made.counts.items()}
    return {**counts, "tokens": int(made.learnt.value)}


def test_rows_without_packing_are_sequences() -> None:
    plain = spec(packing="none", batch={"unit": "rows", "value": 16})
    made = course(plain, exactly(1_000), exactly(100))
    assert values(made) == {
        "sequences": 1_000,
        "steps_per_epoch": 63,
        "tokens_per_step": 1_600,
        "steps": 125,
        "tokens": 200_000,
    }
    assert made.learnt == exactly(200_000)


def test_no_row_is_longer_than_it_may_be() -> None:
    plain = spec(packing="none", batch={"unit": "rows", "value": 10}, max_length=50)
    assert values(course(plain, exactly(1_000), exactly(100)))["tokens_per_step"] == 500


def test_steps_of_a_packed_training_see_packs_not_rows() -> None:
    made = course(spec(epochs=None, steps=5), exactly(1_000), exactly(100))
    assert values(made) == {"packs": 106, "steps_per_epoch": 7, "tokens_per_step": 15_094, "steps": 5, "tokens": 75_471}
    assert made.learnt.high == 5 * 16 * 1_000
    few = course(spec(epochs=None, steps=5), exactly(1_000_000), exactly(100))
    assert abs(few.learnt.value - 5 * 16 * 950) < 100  # however many rows there are


def test_a_batch_in_tokens_is_full_packs_and_a_stream_is_cut_into_full_ones() -> None:
    made = course(spec(packing="wrapped", batch={"unit": "tokens", "value": 32_000}), exactly(1_000), exactly(100))
    assert values(made) == {
        "packs": 100,
        "steps_per_epoch": 4,
        "tokens_per_step": 32_000,
        "steps": 7,
        "tokens": 200_000,
    }


def test_what_is_not_known_is_bounded() -> None:
    made = course(spec(), UNKNOWN, UNKNOWN)
    assert not made.learnt.known and not made.counts["packs"].known
    assert made.counts["tokens_per_step"].high == 16_000
    assert course(spec(), exactly(70), UNKNOWN).counts["packs"].high == 70


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.sampled_from(["ffd", "wrapped"]))
def test_the_packs_that_come_lie_in_the_range(lengths: list[int], packing: str) -> None:
    mean = Fraction(sum(lengths), len(lengths))
    expected = course(spec(packing=packing, max_length=400), exactly(len(lengths)), exactly(mean))
    found = len(pieces(np.array(lengths), 400, packing))
    low, _, high = expected.counts["packs"].ends()
    assert low is not None and high is not None and low <= found <= high


# --- memory -----------------------------------------------------------------------------------------------------------

LARGE = {"base": "deepseek-ai/deepseek-coder-6.7b-base", "max_length": 4096}


@pytest.mark.parametrize(
    ("more", "states"),
    [
        ({}, "107 GB"),
        ({"optimizer": "adafactor"}, "54 GB"),
        ({"optimizer": "adamw_8bit"}, "67 GB"),
        ({"parallel": "fsdp", "gpus": "8"}, "13 GB"),
        ({"parallel": "fsdp", "gpus": "4", "nodes": 4}, "6.7 GB"),
        ({"parallel": "zero3", "gpus": "8"}, "13 GB"),
        ({"parallel": "zero2", "gpus": "8"}, "25 GB"),
        ({"parallel": "zero2", "gpus": "8", "precision": "fp32"}, "37 GB"),
        ({"method": Method(name="lora")}, "14 GB"),
    ],
)
def test_memory_of_a_layout(more: dict[str, Any], states: str) -> None:
    found = memory(spec(**LARGE, **more))
    assert found is not None
    assert gigabytes(found.weights + found.gradients + found.optimizer) == states
    assert 5e9 < found.activations < 30e9


def test_memory_is_of_gpus_and_of_known_sizes() -> None:
    assert memory(spec(**LARGE, gpus="0")) is None
    assert memory(spec(base="owner/model")) is None
    assert memory(spec(**LARGE, parallel="mine.yaml")) is None


def test_what_fits_is_named() -> None:
    assert layouts_that_fit(spec(**LARGE)) == [
        "`parallel = zero2` on 8 GPUs (38 GB each)",
        "`parallel = fsdp` on 8 GPUs (26 GB each)",
        "`method = lora()` (27 GB)",
    ]
    assert layouts_that_fit(spec(**LARGE, gpus="1")) == ["`method = lora()` (27 GB)"]
    (fsdp, *_) = layouts_that_fit(spec(base="x-70b", max_length=4096, parallel="zero2"))
    assert "`parallel = fsdp` on 32 GPUs" in fsdp


TRAINED = """train big {
  data = rows_a
  base = "owner/coder-6.7b"
  revision = "0123456789012345678901234567890123456789"
  epochs = 1
  batch = 16 packs
  max_length = 4096 tokens
  learning_rate = 1e-5
}
"""


def test_a_layout_that_is_too_large_is_a_warning(work, slice_) -> None:
    text = slice_ + TRAINED.replace("rows_a", "sft")
    made = work.compile(text)
    (told,) = [d for d in made.diagnostics if d.code == "A815"]
    assert "`big` takes about 120 GB on each GPU under ddp" in told.headline
    assert told.note is not None and told.note.startswith("107 GB for weights, gradients and optimiser")
    assert told.help is not None and "`parallel = fsdp` on 8 GPUs" in told.help
    for line in ("  parallel = fsdp\n", "  gpus = 0\n", "  method = lora()\n"):
        again = work.compile(text.replace("  epochs = 1\n", f"  epochs = 1\n{line}"))
        assert not [d for d in again.diagnostics if d.code == "A815"]


def test_the_plan_says_how_a_training_goes_and_what_its_last_run_left_out(work, slice_) -> None:
    made = work.compile(slice_ + TRAINED.replace("rows_a", "sft"))
    lines = plan_text(made, 120).splitlines()
    (at,) = (i for i, line in enumerate(lines) if line.startswith("training big: "))
    assert "packs of 4,096 tokens, " in lines[at] and "steps an epoch" in lines[at]
    assert "proved on the model that no row of a pack sees another" in lines[at + 1]
    assert (
        "about 120 GB on each GPU under ddp: weights 27 GB, gradients 27 GB, optimizer 54 GB, activations 13 GB"
        in lines[at + 2]
    )
    plan = made.plan
    counts = {"trained": 5_667, "cut": 1_908, "left_out.nothing_to_learn": 333, "packs": 700, "steps": 44}
    node = plan.node("big")
    last = {n: Estimate(low=str(v), value=str(v), high=str(v), basis="last_run") for n, v in counts.items()}
    told = replace(node, estimate={**node.estimate, **last})
    nodes: list[Node] = [told if n.id == "big" else n for n in plan.nodes]
    from alchemist_dsl.cli.compile import plan_lines

    text = "\n".join(plan_lines(replace(plan, nodes=nodes), 120))
    assert "its last run trained 5,667 rows, cut 1,908 at 4,096 tokens, left out 333 (nothing_to_learn)" in text
    assert "training big: 700 packs of 4,096 tokens" in text


def test_show_writes_what_the_last_run_of_a_training_measured(work, slice_) -> None:
    plan = work.compile(slice_ + TRAINED.replace("rows_a", "sft")).plan
    fact = {
        "rows": 8,
        "packs": 3,
        "steps": 2,
        "tokens": 471,
        "trained": 5,
        "left_out": {"too_long": 3},
        "gpus": 1,
        "tokens_per_second": 0.7,
    }
    key = plan.node("big").key
    told = with_estimates(plan, figures(plan, lambda k: fact if k == key else None, {}))
    lines = [" ".join(x.split()) for x in node_lines(told.node("big"), told, Project(work.root))]
    for line in (
        "packs 3",
        "steps_per_epoch 1",
        "tokens_per_step 236",
        "steps 2",
        "trained 5",
        "left_out.too_long 3",
        "tokens 471",
    ):
        assert f"{line} (last_run)" in lines
    assert "gpu_hours 0.187 GPU h (last_run)" in lines


def test_a_model_has_a_card_that_says_what_was_left_out(work, slice_) -> None:
    from alchemist_runtime.report.card import model_card

    plan = work.compile(slice_ + TRAINED.replace("rows_a", "sft")).plan
    prepared = {
        "read": 6_000,
        "rows": 5_667,
        "eval": None,
        "cut": {"a": 1_908},
        "left_out": {"nothing_to_learn": {"a": 333}},
        "max_length": 4_096,
    }
    figures = {"prepared": prepared, "steps": 44, "tokens": 9_000, "first_loss": 2.0, "last_loss": 1.5}
    card = model_card(plan, plan.node("big"), figures)
    assert "6,000 rows: 5,667 trained, 1,908 cut at 4,096 tokens, 333 left out (nothing_to_learn)." in card
    assert "base_model: owner/coder-6.7b\n" in card and "| on_long | drop |" in card
