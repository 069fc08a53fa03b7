"""The arithmetic of a mixture: how many rows each entry gives, as whole copies and a drawn remainder. Exact, pure, no
data.

A target is an exact fraction of the mixture's unit. Rows: targets are rounded by the largest remainder, ties in the
order of the entries, so that they add up to the total. Tokens: an entry ends at the row, in draw order, where its
tokens are nearest to the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from alchemist_runtime.engine.select import quota
from alchemist_runtime.schema.errors import Problem, RunError
from alchemist_runtime.schema.plan import MixtureSpec, Take

#: `on_short = repeat` without `max`: language.md gives 4x.
REPEAT_MAX: Final = Fraction(4)
_RELATIVE: Final = ("share", "parts", "rest")


@dataclass(frozen=True, slots=True)
class EntrySize:
    """What an entry has: rows, their tokens, and exactly the tokens of its first k rows in draw order where these are
    known.
    """

    rows: int
    tokens: int | None = None
    cumulative: np.ndarray[Any, np.dtype[np.int64]] | None = None

    @staticmethod
    def counted(tokens_in_draw_order: np.ndarray[Any, Any]) -> EntrySize:
        """From the tokens of each row, rows in draw order."""
        sums = np.cumsum(tokens_in_draw_order, dtype=np.int64)
        return EntrySize(len(sums), int(sums[-1]) if len(sums) else 0, sums)

    def stock(self, unit: str) -> Fraction:
        """All of it, once."""
        return Fraction(self.rows if unit == "rows" else self._all_tokens())

    def _all_tokens(self) -> int:
        if self.tokens is None:
            raise ValueError("a mixture of tokens needs the tokens of its entries")
        return self.tokens

    def tokens_of(self, rows: int) -> Fraction:
        """Tokens of the first rows in draw order; by the average where rows are not counted one by one."""
        if not rows or not self.rows:
            return Fraction(0)
        if self.cumulative is not None:
            return Fraction(int(self.cumulative[rows - 1]))
        return Fraction(self._all_tokens() * rows, self.rows)

    def rows_for(self, tokens: Fraction) -> int:
        """How many rows, in draw order, come nearest to so many tokens (fewer than all of them)."""
        if self.cumulative is None:
            return min(_half_up(tokens * self.rows / self._all_tokens()), self.rows)
        k = int(np.searchsorted(self.cumulative, int(tokens), side="right"))
        if k < self.rows and self.tokens_of(k + 1) - tokens < tokens - self.tokens_of(k):
            k += 1
        return k

    def measure(self, copies: int, remainder: int, unit: str) -> Fraction:
        if unit == "rows":
            return Fraction(copies * self.rows + remainder)
        return copies * self.stock(unit) + self.tokens_of(remainder)

    def fill(self, target: Fraction, unit: str) -> tuple[int, int]:
        """Whole copies and the rows drawn beside them that come nearest to a target."""
        stock = self.stock(unit)
        if not stock:
            return 0, 0
        copies = int(target // stock)
        left = target - copies * stock
        remainder = int(left) if unit == "rows" else self.rows_for(left)
        return (copies + 1, 0) if remainder == self.rows else (copies, remainder)


@dataclass(frozen=True, slots=True)
class EntryCount:
    """What one entry gives: `copies` times all its rows, and `remainder` rows more, the first in draw order."""

    name: str
    wanted: Fraction  # in the mixture's unit
    gives: Fraction  # likewise; expected where tokens are estimated
    copies: int
    remainder: int
    has: int  # rows
    missing: bool = False
    short: bool = False

    @property
    def rows(self) -> int:
        return self.copies * self.has + self.remainder

    @property
    def epochs(self) -> Fraction:
        """How often its rows come in, on average."""
        return Fraction(self.rows, self.has) if self.has else Fraction(0)


@dataclass(frozen=True, slots=True)
class MixtureCounts:
    unit: str
    entries: tuple[EntryCount, ...]
    covered: Fraction  # share of the recipe that is there; below 1 where entries are missing

    @property
    def total(self) -> Fraction:
        return sum((e.gives for e in self.entries), Fraction(0))

    @property
    def rows(self) -> int:
        return sum(e.rows for e in self.entries)

    def shares(self) -> tuple[Fraction, ...]:
        """Expected share of each entry, in the mixture's unit."""
        whole = self.total
        return tuple(e.gives / whole if whole else Fraction(0) for e in self.entries)


def plan_counts(spec: MixtureSpec, sizes: Sequence[EntrySize], *, node: str | None = None) -> MixtureCounts:
    """How many rows each entry of a mixture gives; `sizes[i]` belongs to `spec.take[i]`.

    RunError A602 if an entry has too little and `on_short` does not help, A601 if the entries do not add up to `total`,
    A603 if nothing fixes the total, A608 if there is nothing at all.
    """
    return _Sum(spec, tuple(sizes), node).counts()


@dataclass(frozen=True)
class _Sum:
    """One mixture while it is worked out. Numbers of entries are positions in `spec.take`."""

    spec: MixtureSpec
    sizes: tuple[EntrySize, ...]
    node: str | None

    # --- the parts of the sum -----------------------------------------------------------------------------------------

    def here(self, *amounts: str) -> list[int]:
        return [i for i, t in enumerate(self.spec.take) if not t.missing and (not amounts or t.amount in amounts)]

    def fixed(self) -> list[int]:
        return [i for i in self.here() if self.spec.take[i].amount not in _RELATIVE]

    def value(self, i: int) -> Fraction:
        return Fraction(self.spec.take[i].value or 1)

    def share_sum(self) -> Fraction:
        """Of all shares, missing ones included."""
        return sum((Fraction(t.value or 0) for t in self.spec.take if t.amount == "share"), Fraction(0))

    def weights(self) -> dict[int, Fraction]:
        """Parts and rest, missing ones included; `rest` is the only part, or weighs one."""
        takes = enumerate(self.spec.take)
        return {i: Fraction(t.value or 1) for i, t in takes if t.amount in ("parts", "rest")}

    # --- fixed entries ------------------------------------------------------------------------------------------------

    def fixed_fill(self, i: int) -> tuple[int, int, Fraction, bool]:
        """Copies, remainder, what was wanted in the entry's own terms, and whether it has less."""
        take, size = self.spec.take[i], self.sizes[i]
        if take.amount == "all":
            return 1, 0, Fraction(size.rows), False
        if take.amount == "multiplier":
            times = self.value(i)
            copies, part = int(times), times - int(times)
            extra = quota(part, size.rows)
            return (copies + 1, 0, times, False) if extra == size.rows and part else (copies, extra, times, False)
        unit = take.amount
        target = self.value(i)
        limit = self.limit(i, unit)
        short = target > limit
        copies, remainder = size.fill(min(target, limit), unit)
        return copies, remainder, target, short

    def limit(self, i: int, unit: str) -> Fraction:
        """The most that an entry may give: its stock, or with `on_short = repeat` some times that."""
        times = Fraction(self.spec.repeat_max or REPEAT_MAX) if self.spec.on_short == "repeat" else 1
        return self.sizes[i].stock(unit) * times

    # --- relative entries ---------------------------------------------------------------------------------------------

    def targets(self, total: Fraction, fixed: Fraction) -> dict[int, Fraction]:
        """What each share and part should give of a total; what is missing is made up for by the others, in
        proportion.
        """
        take = self.spec.take
        absent = sum((self.absent_fixed(t) for t in take if t.missing), Fraction(0))
        shares = {i: Fraction(t.value or 0) * total for i, t in enumerate(take) if t.amount == "share"}
        weights = self.weights()
        left = total - fixed - absent - sum(shares.values())
        whole = sum(weights.values())
        parts = {i: left * w / whole for i, w in weights.items()} if whole else {}
        every = {**shares, **parts}
        present = {i: t for i, t in every.items() if not take[i].missing}
        given = sum(present.values(), Fraction(0))
        lost = sum(every.values(), absent) - given
        growth = (given + lost) / given if given else Fraction(1)
        return {i: t * growth for i, t in sorted(present.items())}

    def absent_fixed(self, take: Take) -> Fraction:
        """What a missing entry of known size would have given of a total."""
        known = take.amount == self.spec.unit and self.spec.total is not None
        return Fraction(take.value or 0) if known else Fraction(0)

    def counts(self) -> MixtureCounts:
        if not self.here():
            raise self.problem("A608", "the mixture takes nothing: none of its entries is there")
        fills = {i: self.fixed_fill(i) for i in self.fixed()}
        if self.spec.on_short != "shrink":
            self.refuse_short({i: (f[2], self.spec.take[i].amount) for i, f in fills.items() if f[3]}, None)
        measured = {i: self.sizes[i].measure(f[0], f[1], self.spec.unit) for i, f in fills.items()}
        fixed = sum(measured.values(), Fraction(0))
        total, targets = self.relative(fixed)
        fitted = self.fitted(total, targets, fixed)
        whole = self.whole_targets(fitted, fixed, total)
        entries = []
        for i, take in enumerate(self.spec.take):
            size = self.sizes[i]
            if take.missing:
                entries.append(EntryCount(take.name, Fraction(0), Fraction(0), 0, 0, 0, missing=True))
                continue
            if i in fills:
                copies, remainder, wanted, short = fills[i]
                wanted = wanted if take.amount == self.spec.unit else measured[i]
            else:
                copies, remainder = size.fill(whole[i], self.spec.unit)
                wanted, short = targets[i], fitted[i] < targets[i]
            gives = size.measure(copies, remainder, self.spec.unit)
            entries.append(EntryCount(take.name, wanted, gives, copies, remainder, size.rows, short=short))
        if not any(e.rows for e in entries):
            raise self.problem("A608", "the mixture takes nothing: all its entries are empty")
        return MixtureCounts(self.spec.unit, tuple(entries), self.covered(total, fixed))

    def relative(self, fixed: Fraction) -> tuple[Fraction, dict[int, Fraction]]:
        """The total, and what each share and part should give of it."""
        relative = self.here(*_RELATIVE)
        if self.spec.total is not None:
            total = Fraction(self.spec.total)
            self.adds_up(total, fixed)
            return total, self.targets(total, fixed)
        if not relative:
            return fixed, {}
        if not self.fixed():
            unit_targets = self.targets(Fraction(1), Fraction(0))
            if any(t.missing and t.amount not in _RELATIVE for t in self.spec.take):
                whole = sum(unit_targets.values(), Fraction(0)) or Fraction(1)
                unit_targets = {i: t / whole for i, t in unit_targets.items()}
            else:
                self.adds_up(Fraction(1), Fraction(0))
            stock = [self.sizes[i].stock(self.spec.unit) / t for i, t in unit_targets.items() if t]
            total = Fraction(int(min(stock, default=Fraction(0))))
            return total, {i: t * total for i, t in unit_targets.items()}
        if self.weights():
            raise self.problem(
                "A603",
                "`rest` and parts divide what other entries leave of a total, and there is no `total`",
                help="add `total = …`, or write a share",
            )
        return self.from_fixed(fixed)

    def from_fixed(self, fixed: Fraction) -> tuple[Fraction, dict[int, Fraction]]:
        """Shares of a total that the entries which are not shares fix."""
        take = self.spec.take
        lost = sum((Fraction(t.value or 0) for t in take if t.missing and t.amount == "share"), Fraction(0))
        if self.share_sum() >= 1:
            raise self.problem(
                "A601", f"the shares add up to {_percent(self.share_sum())} and leave nothing for the other entries"
            )
        shares = {i: self.value(i) / (1 - lost) for i in self.here("share")}
        total = fixed / (1 - sum(shares.values()))
        return total, {i: s * total for i, s in shares.items()}

    def adds_up(self, total: Fraction, fixed: Fraction) -> None:
        """Refuse entries that are more than the total, or less where no part takes the rest."""
        absent = sum((self.absent_fixed(t) for t in self.spec.take if t.missing), Fraction(0))
        given = fixed + absent + self.share_sum() * total
        if given <= total and (self.weights() or given == total):
            return
        if not fixed and not absent:
            headline = f"the shares add up to {_percent(given / total)}"
        else:
            headline = f"the entries add up to {_number(given)} {self.spec.unit}, `total` is {_number(total)}"
        help_ = "lower them" if given > total else "add an entry `= rest`, or raise them"
        raise self.problem("A601", headline, help=help_)

    # --- too little ---------------------------------------------------------------------------------------------------

    def fitted(self, total: Fraction, targets: dict[int, Fraction], fixed: Fraction) -> dict[int, Fraction]:
        """The targets as far as the entries reach, by `on_short`."""
        limits = {i: self.limit(i, self.spec.unit) for i in targets}
        short = {i: t for i, t in targets.items() if t > limits[i]}
        if not short:
            return targets
        if self.spec.on_short != "shrink":
            self.refuse_short({i: (t, self.spec.unit) for i, t in short.items()}, total)
        if self.spec.total is not None:
            low, high = (int(fixed), int(total))  # targets rise with the total: the largest that all entries reach
            while low < high:
                middle = (low + high + 1) // 2
                tried = self.targets(Fraction(middle), fixed)
                fits = all(0 <= t <= limits[i] for i, t in tried.items())
                low, high = (middle, high) if fits else (low, middle - 1)
            targets = {i: max(t, Fraction(0)) for i, t in self.targets(Fraction(low), fixed).items()}
        return {i: min(t, limits[i]) for i, t in targets.items()}

    def refuse_short(self, short: dict[int, tuple[Fraction, str]], total: Fraction | None) -> None:
        """A602 that names every entry that has too little, and the ways out."""
        if not short:
            return

        def lack(i: int) -> Fraction:
            return short[i][0] / (self.sizes[i].stock(short[i][1]) or Fraction(1, 1000))

        worst = max(short, key=lack)
        wanted, unit = short[worst]
        has = self.sizes[worst].stock(unit)
        name = self.spec.take[worst].name
        repeat = (
            f", {_times(self.limit(worst, unit) / has)} of it {_number(self.limit(worst, unit))}"
            if has and self.spec.on_short == "repeat"
            else ""
        )
        headline = f"`{name}` should give {_number(wanted)} {unit} but has {_number(has)}{repeat}"
        others = [
            f"`{self.spec.take[i].name}` {_number(w)} of {_number(self.sizes[i].stock(u))}"
            for i, (w, u) in sorted(short.items())
            if i != worst
        ]
        note = f"also short: {', '.join(others)}" if others else None
        raise self.problem("A602", headline, entry=name, note=note, help=self.ways_out(worst, wanted, unit, total))

    def ways_out(self, i: int, wanted: Fraction, unit: str, total: Fraction | None) -> str:
        take, ways = self.spec.take[i], []
        has, most = self.sizes[i].stock(unit), self.limit(i, unit)
        if take.amount == "share" and total:
            ways.append(f"lower it to {_percent_down(most / total)}")
        elif take.amount in ("rows", "tokens"):
            ways.append(f"lower it to {_number(most)} {take.amount}, or write `all`")
        if self.spec.total is not None and take.amount in _RELATIVE:
            ways.append("lower `total`")
        if has:
            times = -(-wanted // has)
            ways.append(f"`on_short = repeat(max = {max(int(times), 2)}x)`")
        ways.append("`on_short = shrink`")
        return f"{', '.join(ways[:-1])} or {ways[-1]}"

    # --- whole rows ---------------------------------------------------------------------------------------------------

    def whole_targets(self, targets: dict[int, Fraction], fixed: Fraction, total: Fraction) -> dict[int, Fraction]:
        """Targets as whole rows that add up; tokens stay as they are."""
        if self.spec.unit == "tokens" or not targets:
            return targets
        wanted = sum(targets.values(), Fraction(0))
        rows = apportion(
            list(targets.values()), min(_half_up(wanted), sum(int(self.limit(i, "rows")) for i in targets))
        )
        return {i: Fraction(r) for i, r in zip(targets, rows, strict=True)}

    def covered(self, total: Fraction, fixed: Fraction) -> Fraction:
        """The share of the recipe whose entries are there; entries of unknown size (`all`, `2x`) do not count."""
        if not any(t.missing for t in self.spec.take):
            return Fraction(1)
        lost = sum((Fraction(t.value or 0) for t in self.spec.take if t.missing and t.amount == "share"), Fraction(0))
        weights = self.weights()
        if total:
            absent = sum((self.absent_fixed(t) for t in self.spec.take if t.missing), Fraction(0)) / total
            left = 1 - (fixed / total if self.spec.total is not None else 0) - absent - self.share_sum()
            gone = sum((w for i, w in weights.items() if self.spec.take[i].missing), Fraction(0))
            lost += absent + (left * gone / sum(weights.values()) if gone else 0)
        return max(1 - lost, Fraction(0))

    def problem(self, code: str, headline: str, **more: Any) -> RunError:
        return RunError(Problem(code, headline, node=self.node, **more), exit_code=1)


def apportion(targets: Sequence[Fraction], whole: int) -> list[int]:
    """Whole numbers that add up to `whole`, by the largest remainder; ties go to the earlier."""
    floors = [int(t) for t in targets]
    spare = whole - sum(floors)
    by_remainder = sorted(range(len(targets)), key=lambda i: (floors[i] - targets[i], i))
    for i in by_remainder[: max(spare, 0)]:
        floors[i] += 1
    return floors


def _half_up(x: Fraction) -> int:
    return int((2 * x + 1) // 2)


def _number(x: Fraction) -> str:
    return f"{_half_up(x):,}"


def _percent(x: Fraction) -> str:
    return f"{float(100 * x):.6g}%"


def _percent_down(x: Fraction) -> str:
    """A percentage that is surely reached: one decimal, rounded down; more where that is zero."""
    for digits in (1, 2, 3, 4):
        if int(x * 100 * 10**digits):
            return f"{int(x * 100 * 10**digits) / 10**digits:g}%"
    return "0%"


def _times(x: Fraction) -> str:
    return f"{float(x):g}x"
