"""A comparison as lines for a terminal: what is weaker first, then the steps, the mixtures, the promises, the sums."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from alchemist_dsl.comparison import phrases
from alchemist_dsl.comparison.model import Change, Diff, Entry, Mark, MixtureDiff, NodeDiff, RecipeDiff, ResourceDiff
from alchemist_dsl.explain.wording import count

_RED, _GREEN, _YELLOW, _BOLD, _DIM = "31", "32", "33", "1", "2"
_TONES: Final = {"breaking": _RED, "removed": _RED, "extending": _GREEN, "added": _GREEN, "narrowing": _YELLOW}
#: Cells of the bar of a whole mixture.
_BAR: Final = 20


@dataclass(frozen=True, slots=True)
class _Paint:
    on: bool

    def __call__(self, tone: str | None, text: str) -> str:
        return f"\x1b[{tone}m{text}\x1b[0m" if self.on and tone and text else text


def lines(diff: Diff, width: int, *, color: bool = False, everything: bool = False) -> list[str]:
    """The whole comparison, at most `width` columns wide where words can be folded."""
    paint = _Paint(color)
    if not diff.recipes:
        return [_nothing(diff)]
    out: list[str] = []
    for recipe in diff.recipes:
        out += [*_recipe(recipe, width, paint, everything), ""]
    if len(diff.recipes) > 1:
        out += _sum(diff, width, paint)
    elif diff.same:
        out.append(_same(diff.same))
    return out if out[-1] else out[:-1]


def _nothing(diff: Diff) -> str:
    compared = f" ({diff.same} recipe{'s' if diff.same != 1 else ''} compared)" if diff.same else ""
    return f"no difference between {diff.before} and {diff.after}{compared}"


def _same(n: int) -> str:
    return f"= {n} other recipe{'s' if n != 1 else ''} unchanged"


def _recipe(r: RecipeDiff, width: int, paint: _Paint, everything: bool) -> Iterator[str]:
    head = phrases.headline(r)
    yield paint(_BOLD, head)
    if r.status == "unreadable":
        yield from _unreadable(r, paint)
        return
    for weak in r.relaxed:
        yield from _folded(f"! {weak.kind} weaker: {weak.headline}{_at(weak.at)}", width, 2, paint, _RED)
    direct, indirect, quiet = phrases.ordered(r.nodes)
    for c in r.params:
        yield from _folded(f"~ param {c.path}  {phrases.change(c)}", width, 4, paint)
    for c in r.recipe:
        yield from _folded(f"~ {phrases.name(c.path)}  {phrases.change(c)}", width, 4, paint)
    for resource in r.resources:
        yield from _resource(resource, width, paint)
    for group in phrases.grouped(direct):
        yield from _group(group, width, paint) if len(group) > 1 else _node(group[0], width, paint)
    yield from _followers(indirect, width, paint)
    yield from _declarations(r, width, paint, everything)
    yield from _quiet(r, quiet, width, paint)
    for m in r.mixtures:
        if phrases.entries(m)[0]:
            yield ""
            yield from mixture(m, width)
    if r.checks:
        yield ""
    for check in r.checks:
        failed = check.after is not None and check.after["verdict"] == "fail"
        yield from _folded(f"check {phrases.check_line(check)}", width, 6, paint, _RED if failed else None)
    if r.category not in ("cosmetic", "same"):
        yield ""
        yield from _folded("Total: " + " · ".join(phrases.totals(r.totals, r.now)), width, 7, paint, _BOLD)
        if r.totals.unbuilt:
            yield from _folded(
                f"       of it for steps that did not change but were never built here: {', '.join(r.totals.unbuilt)}",
                width,
                7,
                paint,
                _DIM,
            )
        yield paint(_DIM, f"       {phrases.basis_note(r)}")
    note = phrases.assumed_note(r)
    if note is not None:
        yield from _folded(f"note: {note}", width, 6, paint, _DIM)


def _at(at: object) -> str:
    file, line = getattr(at, "file", None), getattr(at, "line", None)
    return "" if file is None else f" ({file}:{line})"


def _folded(text: str, width: int, indent: int, paint: _Paint, tone: str | None = None) -> Iterator[str]:
    wrapped = textwrap.wrap(
        text,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )
    yield from (paint(tone, line) for line in wrapped or [text])


# --- steps ------------------------------------------------------------------------------------------------------------


def _node(n: NodeDiff, width: int, paint: _Paint) -> Iterator[str]:
    sign, means = phrases.SIGNS[n.status], phrases.means(n)
    tone = _TONES.get(n.status, _TONES.get(n.category))
    where = f"line {n.at.line}" if n.at is not None else ""
    facts = [means, phrases.does(n), where]
    yield f"{paint(tone, f'{sign} {n.kind} {n.id}')}  {' · '.join(f for f in facts if f)}"
    if n.status == "changed":
        yield from _changes(phrases.shown_changes(n), width, paint)
    if n.because:
        yield from _folded(f"    and what it reads: {', '.join(n.because)}", width, 8, paint)
    yield from _figures(n, width, paint)
    if n.may_stop is not None:
        yield from _folded(f"    may stop here: {n.may_stop}", width, 8, paint, _DIM)
    for note in n.notes:
        yield from _folded(f"    note: {note}", width, 10, paint, _YELLOW)


def _group(nodes: Sequence[NodeDiff], width: int, paint: _Paint) -> Iterator[str]:
    """Sources that came or went together, on one line."""
    first = nodes[0]
    tone = _TONES.get(first.status)
    names = ", ".join(n.id for n in nodes)
    text = f"{phrases.SIGNS[first.status]} {len(nodes)} {first.kind}s {first.status}: {names}"
    yield from _folded(text, width, 4, paint, tone)


def _figures(n: NodeDiff, width: int, paint: _Paint) -> Iterator[str]:
    found = [f"{name} {text}" for name, text in phrases.figures(n)]
    if found and n.category != "metadata":
        yield from _folded("    " + " · ".join(found), width, 6, paint)


def _changes(found: Sequence[Change], width: int, paint: _Paint) -> Iterator[str]:
    """One line a value; a text as the words that differ."""
    wide = min(24, max((len(phrases.name(c.path)) for c in found), default=0))
    for c in found:
        label = phrases.name(c.path)
        yield from _folded(f"    {label:<{wide}}  {phrases.change(c)}", width, 6 + wide, paint)
        yield from (f"      {line}" for line in worded(c.words, width - 6, paint.on))


def _resource(r: ResourceDiff, width: int, paint: _Paint) -> Iterator[str]:
    used = f"used by {', '.join(r.used_by)}" if r.used_by else "no step uses it"
    tone = _TONES.get(r.status, _TONES.get(r.category))
    head = f"{phrases.SIGNS[r.status]} {r.kind} {r.id}"
    means = phrases.resource_means(r)
    yield f"{paint(tone, head)}  {means} · {used}"
    yield from _changes(r.changes, width, paint)


def _followers(nodes: Sequence[NodeDiff], width: int, paint: _Paint) -> Iterator[str]:
    """Steps that only follow: one line each, in columns."""
    wide = max((len(f"{n.kind} {n.id}") for n in nodes), default=0)
    for n in nodes:
        facts = [phrases.means(n), phrases.does(n)]
        facts += [
            f"{name} {text}" for name, text in phrases.figures(n) if name != "rows" or n.rows.before != n.rows.after
        ]
        text = f"~ {f'{n.kind} {n.id}':<{wide}}  {' · '.join(f for f in facts if f)}"
        yield from _folded(text, width, wide + 4, paint)


def _declarations(r: RecipeDiff, width: int, paint: _Paint, everything: bool) -> Iterator[str]:
    for d in r.declarations:
        if d.category == "cosmetic":
            continue
        yield f"{phrases.SIGNS[d.status]} {d.kind} {d.name}".rstrip() + "  " + "no run reads it"
        shown = d.lines if everything else d.lines[:8]
        for line in shown:
            yield paint(_GREEN if line.startswith("+") else _RED, f"    {line[:width]}")
        if len(shown) < len(d.lines):
            yield f"    … {len(d.lines) - len(shown)} more lines (`--all`)"


def _quiet(r: RecipeDiff, quiet: Sequence[NodeDiff], width: int, paint: _Paint) -> Iterator[str]:
    cosmetic = [n.id for n in quiet if n.category == "cosmetic"]
    cosmetic += [d.name for d in r.declarations if d.category == "cosmetic"]
    meta = [n.id for n in quiet if n.category == "metadata"]
    if cosmetic:
        yield from _folded(f"~ only written differently: {', '.join(cosmetic)}", width, 4, paint, _DIM)
    elif r.category == "cosmetic":
        yield paint(_DIM, "~ only comments, order or layout differ")
    if meta:
        yield from _folded(f"~ metadata only: {', '.join(meta)}", width, 4, paint, _DIM)
    if r.unchanged:
        yield paint(_DIM, f"= {r.unchanged} step{'s' if r.unchanged != 1 else ''} unchanged")


def _unreadable(r: RecipeDiff, paint: _Paint) -> Iterator[str]:
    yield from r.messages
    if not r.lines:
        return
    yield ""
    yield "the lines that differ:"
    for line in r.lines:
        tone = _GREEN if line.startswith("+") else _RED if line.startswith("-") else None
        yield paint(tone, f"  {line}")


# --- texts ------------------------------------------------------------------------------------------------------------


def worded(words: Sequence[tuple[Mark, str]], width: int, color: bool) -> list[str]:
    """The lines of a text in which a word differs, with `[-gone-]` and `{+come+}` as git marks them, or in colour."""
    paint = _Paint(color)
    rows: list[list[tuple[Mark, str]]] = [[]]
    for mark, text in words:
        first, *rest = text.split("\n")
        rows[-1].append((mark, first))
        rows += [[(mark, line)] for line in rest]
    out = []
    for row in rows:
        if any(mark != "same" and text for mark, text in row):
            out.append("".join(_piece(mark, text, paint) for mark, text in _clipped(row, width)))
    return out


def _piece(mark: Mark, text: str, paint: _Paint) -> str:
    if not text:
        return ""
    match mark:
        case "added":
            return paint(_GREEN, text) if paint.on else f"{{+{text}+}}"
        case "removed":
            return paint(_RED, text) if paint.on else f"[-{text}-]"
        case _:
            return text


def _clipped(row: list[tuple[Mark, str]], width: int) -> list[tuple[Mark, str]]:
    """Of a long line what stands around the changes."""
    if sum(len(t) for _, t in row) <= width:
        return row
    out: list[tuple[Mark, str]] = []
    for i, (mark, text) in enumerate(row):
        if mark == "same" and len(text) > 40:
            head = "" if i == 0 else text[:18]
            tail = "" if i == len(row) - 1 else text[-18:]
            text = f"{head}…{tail}"
        out.append((mark, text))
    return out


# --- mixtures ---------------------------------------------------------------------------------------------------------


def mixture(m: MixtureDiff, width: int) -> Iterator[str]:
    """Entries before and after as a table with bars."""
    from alchemist_dsl.document.text import format_table

    found, same = phrases.entries(m)
    rows = [(e.name, *_side(e.before), *_side(e.after), bar(e.after or e.before, e.after is None)) for e in found]
    yield f"mixture {m.id}: rows {phrases.from_to(m.rows)}"
    head = ("entry", "before", "rows", "share", "after", "rows", "share", "")
    used = [i for i in range(len(head)) if any(row[i] for row in rows)]
    right = {k for k, i in enumerate(used) if i in (2, 3, 5, 6)}
    shown = [[row[i] for i in used] for row in rows]
    yield from (f"  {line}" for line in format_table([head[i] for i in used], shown, width - 2, right=right))
    if same:
        yield f"  = {same} entr{'y' if same == 1 else 'ies'} unchanged"


def _side(e: Entry | None) -> tuple[str, str, str]:
    if e is None:
        return "", "", ""
    rows = "" if e.rows is None or e.amount.endswith(" rows") else count(e.rows)
    return e.amount, rows, phrases.share(e.share)


def bar(e: Entry | None, gone: bool, cells: int = _BAR) -> str:
    """The share of an entry as a bar; of one that is gone, an empty one."""
    if e is None or e.share is None:
        return ""
    return ("░" if gone else "█") * round(cells * Fraction(e.share))


def _sum(diff: Diff, width: int, paint: _Paint) -> Iterable[str]:
    kinds = [
        f"{sum(r.status == s for r in diff.recipes)} {s}"
        for s in ("changed", "added", "removed", "unreadable")
        if any(r.status == s for r in diff.recipes)
    ]
    yield from _folded(
        f"All recipes: {', '.join(kinds)}, {diff.same} unchanged · " + " · ".join(phrases.totals(diff.totals, "")),
        width,
        13,
        paint,
        _BOLD,
    )
