"""The rows of a mixture: which ones each entry gives, how often, and in which order they stand; and what came of the
shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from alchemist_runtime.engine.context import Context
from alchemist_runtime.engine.select import Ids, Positions, draw_order, quota, shuffle_order
from alchemist_runtime.engine.streams import Stream
from alchemist_runtime.engine.views import Part, port
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.mixtures import (
    EXACT,
    RELATIVE,
    absent,
    covered,
    percent,
    present,
    share_sum,
    targets,
    times_allowed,
    ways_out,
    weights,
    whole,
)
from alchemist_runtime.schema.plan import MixtureSpec, Node, Take
from alchemist_runtime.schema.rows import COPY
from alchemist_runtime.storage.store import Output
from alchemist_runtime.train.tokens import Counts, row_tokens


@dataclass(frozen=True, slots=True)
class Drawn:
    """The rows of a mixture in their final order: row i is row `position[i]` of entry `entry[i]`.

    `copy[i]` numbers the occurrences of one id in the mixture, over all entries, so that (id, copy) names a row of it.
    """

    entry: np.ndarray[Any, np.dtype[np.int32]]
    position: Positions
    copy: np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True, slots=True)
class Realised:
    """What came in by one entry from one origin; shares are of the whole mixture, epochs are times the entry's own
    rows.
    """

    entry: str
    origin: str
    rows: int
    tokens: int | None
    share_rows: float
    share_tokens: float | None
    epochs: float


def draw(counts: MixtureCounts, ids: Sequence[Ids], seed: int, salt: str) -> Drawn:
    """The rows of every entry, shuffled. `ids[i]`: those of entry i; what its counts say are its first rows in draw
    order.

    All entries draw by the same hash, so a larger amount keeps the rows of a smaller one, and a renamed entry its rows.
    """
    entries, positions = [], []
    for number, (entry, own) in enumerate(zip(counts.entries, ids, strict=True)):
        if entry.missing or not entry.rows:
            continue
        every = np.tile(np.arange(len(own), dtype=np.int64), entry.copies)
        extra = np.sort(draw_order(own, seed, salt)[: entry.remainder]) if entry.remainder else every[:0]
        chosen = np.concatenate([every, extra])
        positions.append(chosen)
        entries.append(np.full(len(chosen), number, np.int32))
    if not positions:
        nothing = np.zeros(0, np.int64)
        return Drawn(nothing.astype(np.int32), nothing, nothing.astype(np.int32))
    entry_of, position = np.concatenate(entries), np.concatenate(positions)
    all_ids = np.concatenate([ids[e][p] for e, p in _runs(entry_of, position)])
    copy = occurrences(all_ids)
    order = shuffle_order(all_ids, seed, salt, copy)
    return Drawn(entry_of[order], position[order], copy[order])


def _runs(entry_of: np.ndarray[Any, Any], position: Positions) -> list[tuple[int, Positions]]:
    """The positions of each entry, in the order in which the entries stand."""
    starts = np.flatnonzero(np.r_[True, entry_of[1:] != entry_of[:-1]])
    ends = np.r_[starts[1:], len(entry_of)]
    return [(int(entry_of[a]), position[a:b]) for a, b in zip(starts, ends, strict=True)]


def occurrences(ids: Ids) -> np.ndarray[Any, np.dtype[np.int32]]:
    """For each row how often its id stood before it."""
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    ranked = ids[order]
    new = np.ones(len(ids), bool)
    new[1:] = np.any(ranked[1:] != ranked[:-1], axis=1)
    starts = np.flatnonzero(new)
    rank = np.arange(len(ids)) - np.repeat(starts, np.diff(np.r_[starts, len(ids)]))
    out = np.empty(len(ids), np.int32)
    out[order] = rank
    return out


def realised(
    counts: MixtureCounts,
    drawn: Drawn,
    origins: Sequence[np.ndarray[Any, Any]],
    tokens: Sequence[np.ndarray[Any, Any]] | None = None,
) -> tuple[Realised, ...]:
    """Rows and tokens per entry and origin, by entry and then by name. `origins[i]`, `tokens[i]`: of each row of entry
    i.
    """
    total_rows = len(drawn.entry)
    found: list[tuple[str, str, int, int | None, int]] = []
    for number, entry in enumerate(counts.entries):
        mine = drawn.position[drawn.entry == number]
        if not len(mine):
            continue
        names, codes = np.unique(np.asarray(origins[number], dtype=str), return_inverse=True)
        rows = np.bincount(codes[mine], minlength=len(names))
        own = np.bincount(codes, minlength=len(names))
        weights = None if tokens is None else np.asarray(tokens[number], dtype=np.int64)
        for i, name in enumerate(names):
            if rows[i]:
                amount = None if weights is None else int(weights[mine[codes[mine] == i]].sum())
                found.append((entry.name, str(name), int(rows[i]), amount, int(own[i])))
    total_tokens = sum(f[3] or 0 for f in found)
    return tuple(
        Realised(
            entry,
            origin,
            rows,
            amount,
            rows / total_rows,
            None if amount is None or not total_tokens else amount / total_tokens,
            rows / own,
        )
        for entry, origin, rows, amount, own in found
    )


# --- mixture step ----------------------------------------------------------------------------------------------------


def run_mixture(ctx: Context, node: Node, out: Output) -> None:
    spec: MixtureSpec = node.spec  # type: ignore[assignment]
    streams = [ctx.edge(node.inputs[t.edge]) for t in spec.take]
    ids = [s.ids() for s in streams]
    counted = _tokens(ctx, spec, streams)
    sizes = [
        EntrySize(s.n) if t is None else EntrySize.counted(t[draw_order(i, ctx.plan.seed, spec.salt)])
        for s, i, t in zip(streams, ids, counted, strict=True)
    ]
    spec = weighted(spec, sizes)
    counts = plan_counts(spec, sizes, node=node.id)
    drawn = draw(counts, ids, ctx.plan.seed, spec.salt)
    if not len(drawn.entry):
        raise RunError(
            Problem(
                "A608",
                f"`{node.id}` takes no rows: its entries are empty",
                node=node.id,
                help="`alchemist run` prints how many rows each rule dropped",
            )
        )
    _write(ctx, node, out, spec, streams, drawn)
    _figures(ctx, out, spec, streams, counts, drawn, counted)


def weighted(spec: MixtureSpec, sizes: Sequence[EntrySize]) -> MixtureSpec:
    """With `weights = by_size(temperature = T)`: entry i counts size(i) ** (1 / T) parts, the temperature-scaled mixing
    of multilingual and multi-task training (arXiv 1910.10683, section 3.5.2): 1 is in proportion, larger is more
    even."""
    if spec.weights is None:
        return spec
    temperature = float(Fraction(str(spec.weights.args.get("temperature", "1"))))
    take = [
        replace(t, value=str(Fraction(float(s.stock(spec.unit)) ** (1 / temperature)).limit_denominator(10**6)))
        for t, s in zip(spec.take, sizes, strict=True)
    ]
    return replace(spec, take=take)


def _tokens(ctx: Context, spec: MixtureSpec, streams: list[Stream]) -> list[Counts | None]:
    """Tokens of every row of each entry: where the mixture is one of tokens, or where counting costs nothing."""
    cheap = spec.tokenizer is None or bool(spec.tokenizer.get("bytes"))
    needed = spec.unit == "tokens" or any(t.amount == "tokens" for t in spec.take)
    if not needed and not cheap:
        return [None] * len(streams)
    return [row_tokens(s, spec.tokenizer, ctx.project) for s in streams]


def _write(ctx: Context, node: Node, out: Output, spec: MixtureSpec, streams: list[Stream], drawn: Drawn) -> None:
    """The port `rows`: positions in the entries, one after the other, in the order of the shuffle."""
    starts = np.cumsum([0, *(s.n for s in streams)])
    positions = starts[drawn.entry] + drawn.position
    repeated = bool(drawn.copy.any())
    table = None
    types = dict(Stream.concat(streams).types)
    if repeated:
        table = out.write_table("copies", pa.table({COPY: pa.array(drawn.copy, pa.int64())}))
        types[COPY] = "int"
    part = Part(edges=tuple(t.edge for t in spec.take), select=out.array("order", positions), set=table)
    port(ctx, node, out, "rows", [part], types)


def _figures(
    ctx: Context,
    out: Output,
    spec: MixtureSpec,
    streams: list[Stream],
    counts: MixtureCounts,
    drawn: Drawn,
    counted: list[Counts | None],
) -> None:
    origins = [np.asarray(s.column("origin").to_pylist(), dtype=object) for s in streams]
    known = [c for c in counted if c is not None]
    tokens = known if len(known) == len(streams) else None
    by_origin = realised(counts, drawn, origins, tokens)
    entries: list[dict[str, Any]] = []
    for take, entry in zip(spec.take, counts.entries, strict=True):
        mine = [r for r in by_origin if r.entry == entry.name]
        entries.append(
            {
                "name": entry.name,
                "asked": asked(take),
                "has": entry.has,
                "rows": entry.rows,
                "tokens": sum(r.tokens or 0 for r in mine) if tokens is not None else None,
                "epochs": float(entry.epochs),
                "short": entry.short,
                "missing": entry.missing,
                "origins": {r.origin: r.rows for r in mine},
            }
        )
    out.figures["rows_in"] = sum(s.n for s in streams)
    out.figures["rows"] = len(drawn.entry)
    out.figures["entries"] = entries
    out.figures["not_taken"] = sum(max(e["has"] - e["rows"], 0) for e in entries)
    out.figures["added"] = {"repeated": sum(max(e["rows"] - e["has"], 0) for e in entries)}
    out.figures["covered"] = str(counts.covered)
    if tokens is not None:
        out.figures["tokens"] = sum(e["tokens"] for e in entries)
        out.figures["tokens_by"] = "characters / 4" if spec.tokenizer is None else "tokenizer"


def asked(take: Take) -> str:
    """The amount of an entry as it was asked for, for tables."""
    value: Any = Fraction(take.value) if take.value is not None else None
    match take.amount:
        case "share":
            return f"{float(value * 100):g}%"
        case "parts":
            return f"{float(value):g} parts"
        case "multiplier":
            return f"{float(value):g}x"
        case "rows" | "tokens":
            return f"{int(value):,} {take.amount}"
        case _:
            return take.amount


# --- mixture counts --------------------------------------------------------------------------------------------------


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

    def value(self, i: int) -> Fraction:
        return Fraction(self.spec.take[i].value or 1)

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
        return self.sizes[i].stock(unit) * times_allowed(self.spec)

    # --- relative entries ---------------------------------------------------------------------------------------------

    def counts(self) -> MixtureCounts:
        if not any(not t.missing for t in self.spec.take):
            raise self.problem("A608", "the mixture is empty: all of its entries are missing")
        fills = {i: self.fixed_fill(i) for i in present(self.spec, relative=False)}
        if self.spec.on_short != "shrink":
            self.refuse_short({i: (f[2], self.spec.take[i].amount) for i, f in fills.items() if f[3]}, None)
        measured = {i: self.sizes[i].measure(f[0], f[1], self.spec.unit) for i, f in fills.items()}
        fixed = sum(measured.values(), Fraction(0))
        total, wanted_of = self.relative(fixed)
        fitted = self.fitted(total, wanted_of, fixed)
        in_rows = self.whole_targets(fitted)
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
                copies, remainder = size.fill(in_rows[i], self.spec.unit)
                wanted, short = wanted_of[i], fitted[i] < wanted_of[i]
            gives = size.measure(copies, remainder, self.spec.unit)
            entries.append(EntryCount(take.name, wanted, gives, copies, remainder, size.rows, short=short))
        if not any(e.rows for e in entries):
            raise self.problem("A608", "the mixture is empty: all of its entries are empty")
        return MixtureCounts(self.spec.unit, tuple(entries), covered(self.spec, total, fixed))

    def relative(self, fixed: Fraction) -> tuple[Fraction, dict[int, Fraction]]:
        """The total, and what each share and part should give of it."""
        spec = self.spec
        relative, others = present(spec, relative=True), present(spec, relative=False)
        if spec.total is not None:
            self.adds_up(Fraction(spec.total), fixed)
        elif not relative:
            return fixed, {}
        elif not others:
            if not any(t.missing and t.amount not in RELATIVE for t in spec.take):
                self.adds_up(Fraction(1), Fraction(0))
        elif weights(spec):
            raise self.problem(
                "A603",
                "`rest` and parts divide what other entries leave of a total, and there is no `total`",
                help="add `total = …`, or write a share",
            )
        elif share_sum(spec.take) >= 1:
            provided = percent(share_sum(spec.take))
            raise self.problem("A601", f"the shares add up to {provided} and leave nothing for the other entries")
        total = whole(spec, fixed, {} if others else {i: self.sizes[i].stock(spec.unit) for i in relative}, EXACT)
        if spec.total is None and not others:
            total = Fraction(int(total))
        return total, targets(spec, total, fixed, EXACT)

    def adds_up(self, total: Fraction, fixed: Fraction) -> None:
        """Refuse entries that are more than the total, or less where no part takes the rest."""
        gone = absent(self.spec)
        provided = fixed + gone + share_sum(self.spec.take) * total
        if provided <= total and (weights(self.spec) or provided == total):
            return
        if not fixed and not gone:
            headline = f"the shares add up to {percent(provided / total)}"
        else:
            headline = f"the entries add up to {_number(provided)} {self.spec.unit}, `total` is {_number(total)}"
        help_ = "lower them" if provided > total else "add an entry `= rest`, or raise them"
        raise self.problem("A601", headline, help=help_)

    # --- too little ---------------------------------------------------------------------------------------------------

    def fitted(self, total: Fraction, wanted: dict[int, Fraction], fixed: Fraction) -> dict[int, Fraction]:
        """The targets as far as the entries reach, by `on_short`."""
        limits = {i: self.limit(i, self.spec.unit) for i in wanted}
        short = {i: t for i, t in wanted.items() if t > limits[i]}
        if not short:
            return wanted
        if self.spec.on_short != "shrink":
            self.refuse_short({i: (t, self.spec.unit) for i, t in short.items()}, total)
        if self.spec.total is not None:
            low, high = (int(fixed), int(total))  # targets rise with the total: the largest that all entries reach
            while low < high:
                middle = (low + high + 1) // 2
                tried = targets(self.spec, Fraction(middle), fixed, EXACT)
                fits = all(0 <= t <= limits[i] for i, t in tried.items())
                low, high = (middle, high) if fits else (low, middle - 1)
            reached = targets(self.spec, Fraction(low), fixed, EXACT)
            wanted = {i: max(t, Fraction(0)) for i, t in reached.items()}
        return {i: min(t, limits[i]) for i, t in wanted.items()}

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
        help_ = ways_out(self.spec, self.spec.take[worst], wanted, has, total)
        raise self.problem("A602", headline, entry=name, note=note, help=help_)

    # --- whole rows ---------------------------------------------------------------------------------------------------

    def whole_targets(self, wanted_of: dict[int, Fraction]) -> dict[int, Fraction]:
        """Targets as whole rows that add up; tokens stay as they are."""
        if self.spec.unit == "tokens" or not wanted_of:
            return wanted_of
        wanted = sum(wanted_of.values(), Fraction(0))
        rows = apportion(
            list(wanted_of.values()), min(_half_up(wanted), sum(int(self.limit(i, "rows")) for i in wanted_of))
        )
        return {i: Fraction(r) for i, r in zip(wanted_of, rows, strict=True)}

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


def _times(x: Fraction) -> str:
    return f"{float(x):g}x"
