"""The arithmetic of a mixture: the size of the whole, what each entry should give of it, and the share that is there.

It is written once, over numbers that the caller brings: exact fractions where a run counts rows, ranges where a plan
estimates them. Entries are numbered by their positions in `spec.take`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from alchemist_runtime.schema.kinds import MixtureSpec, Take

#: Amounts that depend on the size of the whole.
RELATIVE: Final = ("share", "parts", "rest")
#: `on_short = repeat` without `max`: language.md gives 4x.
REPEAT_MAX: Final = Fraction(4)


class Number(Protocol):
    """What the arithmetic needs of a number."""

    def __add__(self, other: Any, /) -> Self: ...
    def __sub__(self, other: Any, /) -> Self: ...
    def __mul__(self, other: Any, /) -> Self: ...


N = TypeVar("N", bound=Number)


@dataclass(frozen=True, slots=True)
class Numbers(Generic[N]):
    """A type of numbers: how a fraction becomes one, the fraction that one is expected to be, and the least of several
    (of none: what is said of a whole that nothing limits).
    """

    exact: Callable[[Fraction], N]
    expected: Callable[[N], Fraction]
    least: Callable[[Sequence[N]], N]


EXACT: Final[Numbers[Fraction]] = Numbers(lambda x: x, lambda x: x, lambda xs: min(xs, default=Fraction(0)))


def present(spec: MixtureSpec, *, relative: bool) -> list[int]:
    """The entries whose rows are not declared missing: shares and parts, or those with an amount of their own."""
    return [i for i, t in enumerate(spec.take) if not t.missing and (t.amount in RELATIVE) == relative]


def share_sum(takes: Iterable[Take]) -> Fraction:
    """The sum of the shares among these entries."""
    return sum((Fraction(t.value or 0) for t in takes if t.amount == "share"), Fraction(0))


def weights(spec: MixtureSpec) -> dict[int, Fraction]:
    """Parts and `rest`, missing ones included; `rest` is the only part, or weighs one."""
    return {i: Fraction(t.value or 1) for i, t in enumerate(spec.take) if t.amount in ("parts", "rest")}


def absent(spec: MixtureSpec) -> Fraction:
    """What missing entries of known size would have given of a declared total."""
    if spec.total is None:
        return Fraction(0)
    return sum((Fraction(t.value or 0) for t in spec.take if t.missing and t.amount == spec.unit), Fraction(0))


def whole(spec: MixtureSpec, fixed: N, stock: Mapping[int, N], numbers: Numbers[N]) -> N:
    """The size of the mixture: declared, or what makes `fixed` the part that the shares leave, or the largest without
    repeats. `fixed`: what entries with an amount of their own give; `stock[i]`: what entry i has.
    """
    if spec.total is not None:
        return numbers.exact(Fraction(spec.total))
    if present(spec, relative=False) or not present(spec, relative=True):
        left = 1 - sum(_grown_shares(spec).values(), Fraction(0))
        return fixed * (1 / left) if left > 0 and share_sum(spec.take) < 1 else numbers.least([])
    return numbers.least([stock[i] * (1 / p) for i, p in _proportions(spec).items() if p])


def targets(spec: MixtureSpec, size: N, fixed: N, numbers: Numbers[N]) -> dict[int, N]:
    """What each share and part that is there should give of a whole of this size. The others make up for missing ones,
    in proportion; with ranges, in the proportion that is expected.
    """
    if spec.total is None:
        provided = _grown_shares(spec) if present(spec, relative=False) else _proportions(spec)
        return {i: size * p for i, p in provided.items()}
    every = _before_growth(spec, size, fixed, numbers)
    here = {i: t for i, t in sorted(every.items()) if not spec.take[i].missing}
    lacking = absent(spec)
    if len(here) == len(every) and not lacking:
        return here
    middle, taken = (numbers.exact(numbers.expected(n)) for n in (size, fixed))
    expected = {i: numbers.expected(t) for i, t in _before_growth(spec, middle, taken, numbers).items()}
    given_by_all = sum(expected.values(), lacking)
    given_by_here = sum((expected[i] for i in here), Fraction(0))
    growth = given_by_all / given_by_here if given_by_here else Fraction(1)
    return {i: t * growth for i, t in here.items()}


def _before_growth(spec: MixtureSpec, size: N, fixed: N, numbers: Numbers[N]) -> dict[int, N]:
    """What each share and part gives where nothing is missing; missing ones included."""
    weight = weights(spec)
    heavy = sum(weight.values(), Fraction(0))
    left = size * (1 - share_sum(spec.take)) - fixed - numbers.exact(absent(spec))
    out = {i: size * Fraction(t.value or 0) for i, t in enumerate(spec.take) if t.amount == "share"}
    return out | ({i: left * (w / heavy) for i, w in weight.items()} if heavy else {})


def _proportions(spec: MixtureSpec) -> dict[int, Fraction]:
    """Shares of the whole of each share and part that is there, where nothing else is in it; they add up to one."""
    every = _before_growth(spec, Fraction(1), Fraction(0), EXACT)
    here = {i: t for i, t in sorted(every.items()) if not spec.take[i].missing}
    together = sum(here.values(), Fraction(0)) or Fraction(1)
    return {i: t / together for i, t in here.items()}


def _grown_shares(spec: MixtureSpec) -> dict[int, Fraction]:
    """Shares of a whole that other entries fix: of what the missing shares leave of it."""
    left = 1 - share_sum(t for t in spec.take if t.missing)
    shares = {i: spec.take[i] for i in present(spec, relative=True) if spec.take[i].amount == "share"}
    return {i: Fraction(t.value or 0) / left for i, t in shares.items()} if left > 0 else {}


def covered(spec: MixtureSpec, size: Fraction, fixed: Fraction) -> Fraction:
    """The share of the recipe whose entries are there; missing entries of unknown size (`all`, `2x`) do not count."""
    lost = share_sum(t for t in spec.take if t.missing)
    weight = weights(spec)
    if size and any(t.missing for t in spec.take):
        provided = absent(spec) / size
        left = 1 - (fixed / size if spec.total is not None else 0) - provided - share_sum(spec.take)
        gone = sum((w for i, w in weight.items() if spec.take[i].missing), Fraction(0))
        lost += provided + (left * gone / sum(weight.values()) if gone and left > 0 else 0)
    return max(1 - lost, Fraction(0))


# --- entries that have too little -------------------------------------------------------------------------------------


def times_allowed(spec: MixtureSpec) -> Fraction:
    """How often a mixture may take a row."""
    return Fraction(spec.repeat_max or REPEAT_MAX) if spec.on_short == "repeat" else Fraction(1)


def ways_out(spec: MixtureSpec, take: Take, wanted: Fraction, has: Fraction, size: Fraction | int | None) -> str:
    """What helps where an entry has less than it should give; `size`: of the whole, where it is known."""
    ways, most = [], has * times_allowed(spec)
    if take.amount == "share" and size:
        ways.append(f"lower it to {percent(_rounded_down(most / size))}")
    elif take.amount in ("rows", "tokens"):
        ways.append(f"lower it to {int(most):,} {take.amount}, or write `all`")
    if spec.total is not None and take.amount in RELATIVE:
        ways.append("lower `total`")
    if has:
        ways.append(f"`on_short = repeat(max = {max(2, -(-wanted // has))}x)`")
    ways.append("`on_short = shrink`")
    return f"{', '.join(ways[:-1])} or {ways[-1]}"


def percent(share: Fraction) -> str:
    """A share as a percentage of at most six digits."""
    return f"{float(100 * share):.6g}%"


def _rounded_down(share: Fraction) -> Fraction:
    """A share that is surely reached: in tenths of a percent, finer where that is nothing."""
    steps = next((s for s in (1_000, 10_000, 100_000, 1_000_000) if share * s >= 1), 1_000)
    return Fraction(int(share * steps), steps)
