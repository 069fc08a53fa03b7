"""Inlay hints: the share of the whole that an entry of a mixture really gets, where the recipe alone fixes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema import catalog
from alchemist_runtime.schema.plan import Node

from alchemist_dsl import ir
from alchemist_dsl.compiler import compile_program, has_errors
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.explain import wording
from alchemist_dsl.ir import Block, Program
from alchemist_dsl.lowering.facts import SourceFacts
from alchemist_dsl.lsp.analysis import Analysis
from alchemist_dsl.lsp.hover import percent
from alchemist_dsl.lsp.names import LocalFacts
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

_RELATIVE: Final = ("share", "parts", "rest")


@dataclass(frozen=True, slots=True)
class Hint:
    """A short text after a place, and a sentence about it."""

    offset: int
    text: str
    why: str


def hints(analysis: Analysis, start: int, end: int) -> Iterator[Hint]:
    """The hints of a range of the document."""
    for key, block in analysis.program.blocks.items():
        if block.kind == "mixture" and block.span.file == analysis.source.path and not block.poisoned:
            values = _values(analysis, key)
            for entry, share in realised(block).items():
                at = values.get(entry)
                if at is not None and start <= at.end <= end:
                    yield from _hint(at, share, next(e for e in block.entries if e.name == entry))


def _hint(at: Span, share: Fraction | None, entry: ir.EntryV) -> Iterator[Hint]:
    if entry.missing:
        yield Hint(at.end, "left out", "Its sources are missing: the other entries grow in proportion.")
    elif share is not None and not (entry.amount == "share" and entry.value == share):
        reported = percent(share)
        text = reported if reported.startswith("≈") else f"= {reported}"
        yield Hint(at.end, text, "The share of the mixture that this entry gets.")


def _values(analysis: Analysis, key: str) -> dict[str, Span]:
    """Where the amounts of a mixture stand in the document."""
    entries = analysis.context.bodies[key].blocks.get("take", {})
    found: dict[str, Span] = {}
    for name, placed in entries.items():
        if isinstance(placed.stmt, ast.Assign) and placed.stmt.value.span.file == analysis.source.path:
            found[name] = placed.stmt.value.span
    return found


def realised(block: ir.Block) -> dict[str, Fraction | None]:
    """The share that every entry gets of the whole; None where that hangs on the data.

    Entries without data are left out and the others grow in proportion.
    """
    there = [e for e in block.entries if not e.missing]
    counted = _counted(block, there)
    shares = sum((e.value or Fraction(0) for e in there if e.amount == "share"), Fraction(0))
    fixed = sum((v for v in counted.values() if v is not None), Fraction(0))
    known = all(v is not None for v in counted.values())
    relative = [e for e in there if e.amount in ("parts", "rest")]
    weights = sum((_weight(e) for e in relative), Fraction(0))
    out: dict[str, Fraction | None] = {e.name: None for e in block.entries}
    whole = _whole(there, shares, counted, known, bool(relative))
    for entry in there:
        if entry.amount == "share" and entry.value is not None:
            out[entry.name] = entry.value / whole if whole else None
        elif entry.amount in ("parts", "rest") and known and weights:
            left = 1 - shares - fixed
            out[entry.name] = left * _weight(entry) / weights if left >= 0 else None
        elif entry.amount not in _RELATIVE:
            out[entry.name] = _of_fixed(entry, there, shares, counted, bool(relative))
    return out


def _weight(entry: ir.EntryV) -> Fraction:
    return Fraction(1) if entry.amount == "rest" else entry.value or Fraction(0)


def _counted(block: ir.Block, entries: list[ir.EntryV]) -> dict[str, Fraction | None]:
    """Shares of the total that counts stand for: `20k rows` of `total = 1M rows`."""
    total = block.get("total")
    out: dict[str, Fraction | None] = {}
    for entry in entries:
        if entry.amount in _RELATIVE:
            continue
        fits = isinstance(total, ir.Qty) and entry.amount == total.kind and total.value
        out[entry.name] = (
            entry.value / total.value if fits and isinstance(total, ir.Qty) and entry.value is not None else None
        )
    return out


def _whole(
    entries: list[ir.EntryV], shares: Fraction, counted: dict[str, Fraction | None], known: bool, relative: bool
) -> Fraction:
    """What the shares are shares of: of the total, or, where all are shares and some have no data, of what is left."""
    only_shares = not counted and not relative
    return shares if only_shares and entries else Fraction(1)


def _of_fixed(
    entry: ir.EntryV, entries: list[ir.EntryV], shares: Fraction, counted: dict[str, Fraction | None], relative: bool
) -> Fraction | None:
    """The share of an entry with an amount of its own: of the total, or of what the shares leave."""
    if counted[entry.name] is not None:
        return counted[entry.name]
    others = [e for e in entries if e.amount not in _RELATIVE]
    if relative or any(v is not None for v in counted.values()):
        return None
    if len(others) == 1:
        return 1 - shares
    same = {e.amount for e in others}
    if len(same) == 1 and same <= {"rows", "tokens"}:
        total = sum((e.value or Fraction(0) for e in others), Fraction(0))
        return (1 - shares) * (entry.value or 0) / total if total else None
    return None


# --- estimates -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is at hand without waiting: files as the checks know them, pins and figures of the lock."""

    local_files: LocalFacts

    def source(self, block: Block) -> SourceFacts:
        if block.get("files") is not None and block.get("hub") is None:
            facts = self.local_files.source(block)
            return SourceFacts(facts.files)
        if block.get("hub") is not None:
            return self.local_files.resources.source(block)
        return SourceFacts()

    def columns(self, block: Block) -> Mapping[str, str] | None:
        return self.local_files.columns(block)

    def tokenizer(self, name: str) -> str | None:
        return self.local_files.resources.tokenizer(name)

    def model(self, name: str, revision: str | None) -> str | None:
        return self.local_files.resources.model(name, revision)

    def local(self, path: str) -> str | None:
        return None

    def base(self, block: Block) -> Diagnostic | None:
        return None

    def measured(self, key: str) -> Mapping[str, Any] | None:
        return self.local_files.resources.measured(key)


def estimates(analysis: Analysis, facts: LocalFacts) -> dict[str, str]:
    """A line for every step by its key; empty where the recipe has errors."""
    program: Program = analysis.program
    if has_errors(analysis.checked.diagnostics):
        return {}
    plan = compile_program(program, catalog.find, _Facts(facts)).plan
    if plan is None:
        return {}
    return {node.id: line for node in plan.nodes if (line := _line(node))}


def _line(node: Node) -> str:
    known = node.estimate
    basis = known["rows"].basis.replace("_", " ") if "rows" in known else ""
    parts = []
    for name, word in (("rows", "rows"), ("calls", "teacher calls")):
        reported = wording.count(known.get(name))
        if reported and reported != "?":
            of = f" ({basis})" if name == "rows" and basis not in ("", "unknown") else ""
            parts.append(f"{reported} {word}{of}")
    money = wording.dollars(known.get("usd"))
    if money and money != "?":
        parts.append(money)
    return f"Expected: {', '.join(parts)}" if parts else ""
