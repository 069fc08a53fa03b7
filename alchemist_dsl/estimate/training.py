"""What is expected of a training: packs, steps, tokens, GPU hours, and the memory that its layout takes on each GPU."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema.plan import Plan, TrainSpec

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.estimate.ranges import NOTHING, UNKNOWN, Range, between, exactly
from alchemist_dsl.ir import Program

#: Operations a second of the GPU that hours are of where no run has measured any: an A100 in bf16 (312 TFLOP/s), at a
#: use of 20% to 55% of that, 40% expected.
_PEAK: Final = 312 * 10**12
_USE: Final = (Fraction(11, 20), Fraction(2, 5), Fraction(1, 5))
_BILLIONS: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[bB](?![A-Za-z])")
_MILLIONS: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[mM](?![A-Za-z])")
#: Part of a pack that first-fit decreasing usually fills.
_FILL: Final = Fraction(19, 20)


@dataclass(frozen=True, slots=True)
class Course:
    """How a training goes. `counts`: by their name in the plan; `learnt`: tokens, all passes together."""

    learnt: Range
    counts: Mapping[str, Range] = field(default_factory=dict)


def course(spec: TrainSpec, rows: Range, tokens: Range) -> Course:
    """Sequences, steps and tokens of a training over these rows, `tokens` each. No sequence is longer than
    `max_length`.
    """
    most, size = spec.max_length, sequences(spec)
    if most < 1 or not size:
        return Course(UNKNOWN)
    each = _cut(tokens, most)
    if spec.packing == "none":
        number, of_one = rows, each
    else:
        number, of_one = _packs(spec, rows.times(each), rows)
    passes = None if spec.steps is not None else Fraction(spec.epochs or 1)
    steps = exactly(spec.steps or 0) if passes is None else _ceiling(number.times(passes / size))
    learnt = of_one.times(steps.times(size)) if passes is None else rows.times(each).times(passes)
    counts = {
        "packs" if spec.packing != "none" else "sequences": number,
        "steps_per_epoch": _ceiling(number.times(Fraction(1, 1) / size)),
        "tokens_per_step": of_one.times(size),
        "steps": steps,
    }
    return Course(learnt, counts)


def sequences(spec: TrainSpec) -> Fraction:
    """Packs, or rows without packing, of one optimiser step."""
    value = Fraction(str(spec.batch.get("value", 1)))
    return value / spec.max_length if spec.batch.get("unit") == "tokens" else value


def _cut(tokens: Range, most: int) -> Range:
    if not tokens.known:
        return Range(Fraction(0), None, Fraction(most))
    return tokens.at_most(most)


def _packs(spec: TrainSpec, total: Range, rows: Range) -> tuple[Range, Range]:
    """Packs of so many tokens, and the tokens of one. First-fit leaves no two packs half empty: there are at most twice
    as many as full ones, and one more; one stream is cut into full ones."""
    most, fill = spec.max_length, Fraction(1) if spec.packing == "wrapped" else _FILL
    low, value, high = total.ends()
    if low is None or value is None or high is None:
        return Range(Fraction(0), None, rows.high), between(0, most * fill, most)
    if high == 0:
        return NOTHING, NOTHING
    fewest, usual = (Fraction(max(1, math.ceil(t / most))) for t in (low, value / fill))
    largest = Fraction(math.ceil(high / most) if fill == 1 else 2 * high // most + 1)
    number = Range(fewest, usual, max(usual, largest), "declared")
    if fill != 1 and rows.high is not None:
        number = number.at_most(rows.high)
    one = Range(low / (number.high or 1), value / (number.value or 1), Fraction(most), "declared")
    return number, one.at_most(most)


def _ceiling(r: Range) -> Range:
    low, value, high = (None if x is None else Fraction(max(1, math.ceil(x))) for x in r.ends())
    return Range(low, value, high, r.basis)


def parameters(spec: TrainSpec) -> int | None:
    """Parameters of the base model, by its name (`…-6.7b-…`) or its shape; None where neither tells."""
    if spec.init.name == "scratch":
        args = {k: int(v) for k, v in spec.init.args.items() if str(v).isdigit()}
        hidden, layers = args.get("hidden", 128), args.get("layers", 2)
        return layers * (4 * hidden**2 + 3 * hidden * args.get("intermediate", 384))
    for pattern, scale in ((_BILLIONS, 10**9), (_MILLIONS, 10**6)):
        found = pattern.search(spec.base or "")
        if found:
            return int(Fraction(found.group(1)) * scale)
    return None


def gpu_hours(spec: TrainSpec, learnt: Range, fact: Mapping[str, Any] | None) -> Range:
    """GPU hours of a training: by the measured speed of its last run on GPUs, else 6 operations for each parameter and
    token (4 with LoRA: no gradients of frozen weights; Kaplan et al. 2020, arXiv 2001.08361) on an A100."""
    if fact is not None and fact.get("gpus"):
        speed = Fraction(str(fact["tokens_per_second"]))
        return learnt.times(int(fact["gpus"]) / speed / 3600) if speed else UNKNOWN
    size = parameters(spec)
    if size is None:
        return UNKNOWN
    each = Fraction((4 if spec.method.name == "lora" else 6) * size, 3600 * _PEAK)
    fast, usual, slow = (each / use for use in _USE)
    return learnt.times(between(fast, usual, slow))


# --- memory -----------------------------------------------------------------------------------------------------------

#: Bytes of the optimiser's state for each trained parameter: AdamW keeps two numbers in fp32, in 8 bits two bytes;
#: Adafactor keeps a row and a column of each matrix, which is next to nothing.
_STATES: Final = {"adamw": 8, "adamw_8bit": 2, "adafactor": 0, "sgd": 0, "lion": 4}
#: Part of the weights that adapters of the usual ranks add.
_ADAPTERS: Final = Fraction(1, 100)
#: Memory of the GPUs that large models are trained on: A100, H100.
COMMON_GPU: Final = 80 * 10**9
#: GPUs of a layout that cuts the model among them, where the recipe leaves their number open: one machine of the usual
#: kind.
_MACHINE: Final = 8
#: Tokens of one forward pass on a GPU where `micro_batch` is not given.
_FORWARD: Final = 16_384
#: From this size on activations are computed again in the backward pass, as `alchemist_runtime.train.trainer` has it.
_RECOMPUTED: Final = 10**9
_VOCABULARY: Final = 64_000


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on each GPU."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations


def gpus(spec: TrainSpec) -> int | None:
    """GPUs of a training, as far as its recipe says."""
    each = spec.processes or (None if spec.gpus == "auto" else int(spec.gpus))
    return None if each is None else each * spec.nodes


def memory(spec: TrainSpec) -> Memory | None:
    """What a layout takes on each GPU; None where it trains on the CPU, or the size of the model is unknown.

    A trained parameter is 4 bytes of weights and 4 of gradients in fp32 beside the optimiser's state (Rajbhandari et
    al. 2020, arXiv 1910.02054); DeepSpeed in half precision holds a copy of 2 bytes more, and gradients of 2. Frozen
    weights under LoRA lie there in the precision of the training. Activations: 34 bytes for each token, layer and
    hidden size (Korthikanti et al. 2022, arXiv 2205.05198), 2 where they are computed again, one layer's and the logits
    beside them; the shape is that of a decoder of this size whose hidden size is 128 times its layers.
    """
    size = parameters(spec)
    if size is None or spec.gpus == "0" or spec.parallel not in _CUT:
        return None
    half = 2 if spec.precision != "fp32" else 4
    lora = spec.method.name == "lora"
    trained = int(size * _ADAPTERS) if lora else size
    state = _STATES.get(spec.optimizer, 8)
    deepspeed = spec.parallel.startswith("zero") and half == 2
    weights = (size * half if lora else 0) + trained * (half if deepspeed else 4)
    gradients = trained * (half if deepspeed else 4)
    optimizer = trained * (state + (4 if deepspeed else 0))  # DeepSpeed's copy in fp32 lies with the states
    many = gpus(spec) or _MACHINE * spec.nodes
    cut = {name: many if name in _CUT[spec.parallel] else 1 for name in _PARTS}
    return Memory(
        weights // cut["weights"],
        gradients // cut["gradients"],
        optimizer // cut["optimizer"],
        _activations(spec, size, half),
    )


_PARTS: Final = ("weights", "gradients", "optimizer")
#: What a layout cuts among the GPUs.
_CUT: Final[Mapping[str, tuple[str, ...]]] = {
    "ddp": (),
    "zero2": ("gradients", "optimizer"),
    "zero3": _PARTS,
    "fsdp": _PARTS,
}


def _activations(spec: TrainSpec, size: int, half: int) -> int:
    if spec.init.name == "scratch":
        hidden, layers, words = (int(spec.init.args.get(n, d)) for n, d in (("hidden", 128), ("layers", 2), ("", 264)))
    else:
        hidden, words = round((size * 128 / 12) ** (1 / 3)), _VOCABULARY
        layers = max(1, hidden // 128)
    tokens = (spec.micro_batch or max(1, _FORWARD // max(1, spec.max_length))) * spec.max_length
    layer = 34 * tokens * hidden * half // 2
    kept = half * tokens * hidden * layers + layer if size >= _RECOMPUTED else layer * layers
    return kept + tokens * words * (half + 4)


def too_large(plan: Plan, program: Program) -> list[Diagnostic]:
    """A815 for each training whose layout takes more than a common GPU has."""
    out = []
    for node, spec in plan.of(TrainSpec):
        need = memory(spec)
        if need is None or need.total <= COMMON_GPU:
            continue
        block = program.blocks[node.id]
        written = block.attrs.get("parallel")
        state = need.weights + need.gradients + need.optimizer
        fit = layouts_that_fit(spec)
        out.append(
            Diagnostic(
                "A815",
                f"`{node.id}` takes about {gigabytes(need.total)} on each GPU under {spec.parallel}; an A100 or H100"
                f" has {gigabytes(COMMON_GPU)}",
                block.name_span if written is None or written.origin == "default" else written.value.span,
                note=(
                    f"{gigabytes(state)} for weights, gradients and optimiser, {gigabytes(need.activations)} for"
                    " activations"
                ),
                help=(
                    f"what fits: {', '.join(fit)}"
                    if fit
                    else "use more GPUs, a smaller model, or a smaller `micro_batch`"
                ),
            )
        )
    return out


def layouts_that_fit(spec: TrainSpec) -> list[str]:
    """Changes of a training that bring it below the memory of a common GPU, the smallest change of the result first."""
    many = gpus(spec)
    several = many is None or many > 1
    found = []
    for layout in ("zero2", "fsdp") if several else ():
        if layout != spec.parallel and (m := memory(replace(spec, parallel=layout))):
            for nodes in (spec.nodes, 2 * spec.nodes, 4 * spec.nodes):
                m = memory(replace(spec, parallel=layout, nodes=nodes))
                if m is not None and m.total <= COMMON_GPU:
                    on = (many or _MACHINE * spec.nodes) * nodes // spec.nodes
                    found.append(f"`parallel = {layout}` on {on} GPUs ({gigabytes(m.total)} each)")
                    break
    lora = replace(spec, method=replace(spec.method, name="lora", args={}))
    if spec.method.name != "lora" and (m := memory(lora)) and m.total <= COMMON_GPU:
        found.append(f"`method = lora()` ({gigabytes(m.total)})")
    return found


def gigabytes(count: int) -> str:
    """Bytes for people: 107 GB, 2.1 GB."""
    return f"{count / 1e9:,.0f} GB" if count >= 10**10 else f"{count / 1e9:.1f} GB"
