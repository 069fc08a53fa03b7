"""What a comparison says, as a document: warnings first, then the steps, the mixtures, the checks, the sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import Estimate

from alchemist_dsl.comparison.model import (
    Change,
    CheckDiff,
    Declaration,
    Diff,
    Entry,
    MixtureDiff,
    MixtureRow,
    NodeDiff,
    Pair,
    RecipeDiff,
    ResourceDiff,
    Totals,
)
from alchemist_dsl.comparison.resources import relative_words
from alchemist_dsl.document.blocks import (
    Alert,
    Block,
    Code,
    Field,
    Fields,
    Fold,
    Heading,
    Item,
    Paragraph,
    Small,
    Table,
)
from alchemist_dsl.document.text import TONES, Mark, Piece, Text, changed_lines, code_in, joined, names, plural
from alchemist_dsl.estimate.checks import money
from alchemist_dsl.explain.wording import count
from alchemist_dsl.explain.wording import hours as hours_of

_TONES: Final[dict[str, Mark]] = {**TONES, "breaking": "red", "extending": "green", "narrowing": "yellow"}
#: Cells of the bar of a whole mixture.
_BAR: Final = 12
#: Lines that a terminal shows of a declaration.
_MOST_LINES: Final = 8


def document(diff: Diff, *, everything: bool = False) -> list[Block]:
    """Describe a whole comparison. `everything`: with all lines of blocks that no run reads."""
    if not diff.recipes:
        compared = f" ({plural(diff.same, 'recipe')} compared)" if diff.same else ""
        return [Paragraph(f"no difference between {diff.before} and {diff.after}{compared}")]
    alone = len(diff.recipes) == 1
    out = [block for recipe in diff.recipes for block in _recipe(recipe, alone, everything)]
    if not alone:
        out.append(Paragraph(joined([f"All recipes: {_counted(diff)}", *totals(diff.totals)]), "strong", 13))
    elif diff.same:
        out.append(Small([[("sign", "same"), ("same", f"{plural(diff.same, 'other recipe')} unchanged")]]))
    return out


def sides(diff: Diff) -> Small:
    """Name both sides, for a reader who did not name them."""
    return Small([f"{diff.before} → {diff.after}"])


def _counted(diff: Diff) -> str:
    kinds = [(s, sum(r.status == s for r in diff.recipes)) for s in ("changed", "added", "removed", "unreadable")]
    return ", ".join([*(f"{n} {s}" for s, n in kinds if n), f"{diff.same} unchanged"])


def _recipe(r: RecipeDiff, alone: bool, everything: bool) -> Iterator[Block]:
    yield Heading(headline(r))
    where: list[Piece] = [] if alone else [("same", " in "), ("name", r.path)]
    if r.status == "unreadable":
        yield Alert(
            [
                ("strong", "not comparable"),
                *where,
                ("same", ": it does not compile, so what the change means is unknown"),
            ]
        )
        yield Fold("messages", [Code(r.messages)], is_open=True, titled=False)
        if r.lines:
            yield Fold("the lines that differ", [Code(r.lines, "diff")], is_open=True)
        return
    for weak in r.relaxed:
        at = f" ({weak.at.file}:{weak.at.line})" if weak.at is not None else ""
        yield Alert([("strong", f"{weak.kind} weaker"), *where, ("same", ": "), *code_in(weak.headline), ("same", at)])
    failing = [c for c in r.checks if c.after is not None and c.after["verdict"] == "fail"]
    for check in failing:
        yield Alert([("strong", "check fails"), *where, ("same", f": {check_line(check)}")], "warning")
    direct, indirect, quiet = ordered(r.nodes)
    for c in r.params:
        yield Item(change(c), [("same", "param "), ("name", c.path)], "changed")
    for c in r.recipe:
        yield Item(change(c), name(c.path), "changed")
    yield from map(_resource, r.resources)
    for group in grouped(direct):
        yield _node(group[0]) if len(group) == 1 else _group(group)
    if indirect:
        some = ", ".join(n.id for n in indirect[:6]) + (", …" if len(indirect) > 6 else "")
        summary = f"{len(indirect)} more follow{'s' if len(indirect) == 1 else ''}: {some}"
        yield Fold(summary, list(map(_follower, indirect)), titled=False)
    yield from (_declaration(d, everything) for d in r.declarations if d.category != "cosmetic")
    yield Small(list(_quiet(r, quiet)))
    yield from (mixture(m) for m in r.mixtures if entries(m)[0])
    for check in r.checks:
        if check not in failing:
            yield Item([("strong", "check"), ("same", f" {check_line(check)}")])
    if r.category not in ("cosmetic", "same"):
        total: Sequence[Text] = totals(r.totals)
        yield Paragraph([("same", "Total: "), *joined(total)], "strong" if alone else None, 7)
        unbuilt = ", ".join(r.totals.unbuilt)
        notes = [f"including steps that did not change but were never built here: {unbuilt}"] if unbuilt else []
        yield Small([*notes, basis_note(r)], indent=7)
    if r.assumed:
        some = ", ".join(r.assumed[:3]) + (", …" if len(r.assumed) > 3 else "")
        note = f"note: not in git nor in the revision's recipe.lock, so compared as it is here now: {some}"
        yield Small([note])


def _node(n: NodeDiff) -> Item:
    below: list[Block] = [_changes(shown_changes(n))] if n.status == "changed" and shown_changes(n) else []
    if n.because:
        below.append(Item(f"inputs changed too: {', '.join(n.because)}"))
    found = [f"{name} {text}" for name, text in figures(n)]
    if found and n.category != "metadata":
        below.append(Item(" · ".join(found)))
    if n.may_stop is not None:
        below.append(Item(f"may stop here: {n.may_stop}", mark="dim"))
    below += [Item(code_in(f"note: {note}"), mark="yellow") for note in n.notes]
    facts = joined([means(n), does(n), f"line {n.at.line}" if n.at is not None else ""])
    tone = _tone(n.status, n.category)
    return Item(facts, [("same", f"{n.kind} "), ("name", n.id)], n.status, tone, below)


def _tone(status: str, category: str = "") -> Mark | None:
    return _TONES.get(category if status == "changed" else status)


def _group(nodes: Sequence[NodeDiff]) -> Item:
    """Sources that came or went together, on one line."""
    first = nodes[0]
    head = f"{len(nodes)} {first.kind}s {first.status}"
    return Item(names(n.id for n in nodes), head, first.status, _tone(first.status))


def _follower(n: NodeDiff) -> Item:
    """A step that only follows."""
    found = [f"{name} {text}" for name, text in figures(n) if name != "rows" or n.rows.before != n.rows.after]
    return Item(joined([means(n), does(n), *found]), [("same", f"{n.kind} "), ("name", n.id)], "changed")


def _changes(found: Sequence[Change]) -> Fields:
    """One line a value; a text as the words that differ."""
    return Fields([Field(name(c.path), change(c), changed_lines(c.words)) for c in found])


def _resource(r: ResourceDiff) -> Item:
    used: list[Piece] = [("same", "used by "), *names(r.used_by)] if r.used_by else [("same", "no step uses it")]
    tone = _tone(r.status, r.category)
    head: list[Piece] = [("same", f"{r.kind} "), ("name", r.id)]
    return Item(joined([resource_means(r), used]), head, r.status, tone, [_changes(r.changes)] if r.changes else [])


def _declaration(d: Declaration, everything: bool) -> Item:
    lines = Code(d.lines, "diff", None if everything else _MOST_LINES)
    below = [Fold("lines", [lines], titled=False)] if d.lines else []
    return Item("no run reads it", [("same", f"{d.kind} "), ("name", d.name)], d.status, blocks=below)


def _quiet(r: RecipeDiff, quiet: Sequence[NodeDiff]) -> Iterator[Text]:
    cosmetic = [n.id for n in quiet if n.category == "cosmetic"]
    cosmetic += [d.name for d in r.declarations if d.category == "cosmetic"]
    meta = [n.id for n in quiet if n.category == "metadata"]
    if cosmetic:
        yield [("sign", "changed"), ("same", f"only formatting differs in: {', '.join(cosmetic)}")]
    elif r.category == "cosmetic":
        yield [("sign", "changed"), ("same", "only comments, order or layout differ")]
    if meta:
        yield [("sign", "changed"), ("same", f"metadata only: {', '.join(meta)}")]
    if r.unchanged:
        yield [("sign", "same"), ("same", f"{plural(r.unchanged, 'step')} unchanged")]


def mixture(m: MixtureDiff) -> Fold:
    """Entries before and after as a table with bars."""
    found, same = entries(m)
    rows = []
    for e in found:
        rows.append([e.name, _side(e.before), _side(e.after), _shares(e), _bar(e.after or e.before, e.after is None)])
    below: list[Block] = [Table(("entry", "before", "after", "share", ""), rows)]
    if same:
        below.append(Small([[("sign", "same"), ("same", f"{plural(same, 'entry', 'entries')} unchanged")]]))
    return Fold(f"mixture {m.id}: rows {from_to(m.rows)}", below, is_open=True)


def _side(e: Entry | None) -> str:
    if e is None:
        return ""
    rows = count(e.rows)
    if rows in ("", "?") or e.amount.endswith(" rows"):
        return e.amount
    return f"{e.amount} {'= ' if rows[0].isdigit() else ''}{rows} rows"


def _shares(e: MixtureRow) -> str:
    """The share on both sides, one figure where they agree; that of an entry which is not there is 0."""
    both = [
        "0%" if side is None else share(side.share) if side.share is not None else "unknown"
        for side in (e.before, e.after)
    ]
    return "" if "unknown" in both and set(both) <= {"unknown", "0%"} else " → ".join(dict.fromkeys(both))


def _bar(e: Entry | None, gone: bool) -> str:
    """The share of an entry as a bar, one cell at least where there are rows; of one that is gone, an empty one."""
    if e is None or e.share is None or not (part := Fraction(e.share)):
        return ""
    return ("░" if gone else "█") * max(1, round(_BAR * part))


# --- words ------------------------------------------------------------------------------------------------------------

_GROUPS: Final = {
    "rule": "rule {}",
    "expect": "expect {}",
    "set": "set {}",
    "take": "entry {}",
    "file": "file {}",
    "map": "map {}",
    "classes": "class {}",
}


def name(path: str) -> str:
    """A value's name for people."""
    group, dot, rest = path.partition(".")
    if dot and group in _GROUPS:
        return _GROUPS[group].format(rest)
    return {"##": "doc comment", "rules.order": "order of the rules"}.get(path, path)


def change(c: Change) -> str:
    """What became of a value, on one line; a text only by its size."""
    if c.tokens is not None and (c.words or c.before is None or c.after is None):
        old, new = c.tokens
        what = "text added" if c.before is None else "text removed" if c.after is None else "text"
        return f"{what}, {new - old:+,} tokens ({old:,} -> {new:,})"
    if c.path == "teacher" or c.path == "prompt" or c.path == "teacher.settings":
        return f"{c.after}" if c.before == c.after else f"{c.before} -> {c.after}"
    if c.path.startswith("file.") and c.before and c.after:
        return f"content changed ({c.before} -> {c.after})"
    if (c.added or c.removed) and c.before is not None and c.after is not None:
        return ", ".join([*(f"+{x}" for x in c.added), *(f"-{x}" for x in c.removed)])
    if c.before is None:
        return f"+ {c.after}"
    if c.after is None:
        return f"- {c.before}"
    more = f" ({relative_words(c.relative)})" if c.relative is not None else ""
    return f"{c.before} -> {c.after}{more}"


# --- figures ----------------------------------------------------------------------------------------------------------


def number(e: Estimate | None) -> str:
    """A count; of an inexact one the range."""
    if e is None or e.value is None or e.low == e.value == e.high or e.low is None or e.high is None:
        return how_many(e)
    return f"{how_many(e)} ({int(e.low):,} to {int(e.high):,})"


def how_many(e: Estimate | None) -> str:
    """A count without its range."""
    displayed = "none" if e is None else count(e)
    return "unknown" if displayed in ("", "?") else displayed


def dollars(e: Estimate | None) -> str:
    if e is None or e.value is None:
        return "unknown" if e is None or e.high is None else f"at most ${money(Fraction(e.high))}"
    return _dollar(Fraction(e.value))


def _dollar(value: Fraction) -> str:
    sign = "-" if value < 0 else ""
    return f"{sign}$0" if value == 0 else f"{sign}${money(abs(value))}"


def dollars_range(e: Estimate) -> str:
    """Money with its range and its basis."""
    displayed = dollars(e)
    if e.value is None:
        return displayed
    if e.low == e.value == e.high or e.low is None or e.high is None:
        return f"{displayed} ({basis(e)})" if e.basis not in ("exact",) and e.value != "0" else displayed
    return f"{displayed} ({_dollar(Fraction(e.low))} to {_dollar(Fraction(e.high))}, {basis(e)})"


def basis(e: Estimate) -> str:
    """What a figure rests on."""
    return {"last_run": "last run", "unknown": "nothing known"}.get(e.basis, e.basis)


def signed_dollars(e: Estimate | None) -> str:
    if e is None or e.value is None:
        return "unknown"
    value = Fraction(e.value)
    return _dollar(value) if value <= 0 else f"+{_dollar(value)}"


def hours(e: Estimate) -> str:
    """GPU hours with their range."""
    if e.value is None:
        return "GPU hours unknown"
    displayed = f"{hours_of(e.value)} GPU h"
    if displayed.startswith("under"):
        return displayed
    if e.low is None or e.high is None or e.low == e.high:
        return f"{displayed} ({basis(e)})"
    return f"about {displayed} ({hours_of(e.low)} to {hours_of(e.high)}, {basis(e)})"


def from_to(p: Pair) -> str:
    """A count on both sides with the difference."""
    if p.before is None:
        return number(p.after)
    if p.after is None:
        return f"{how_many(p.before)} -> none"
    if (p.before.low, p.before.value, p.before.high) == (p.after.low, p.after.value, p.after.high):
        return number(p.after)
    more = ""
    if p.delta is not None and p.delta.value is not None:
        more = f" ({int(p.delta.value):+,})"
    return f"{how_many(p.before)} -> {how_many(p.after)}{more}"


def money_from_to(p: Pair) -> str:
    if p.before is None:
        return dollars(p.after)
    if p.after is None:
        return f"{dollars(p.before)} -> none"
    if p.before == p.after:
        return dollars(p.after)
    return f"{dollars(p.before)} -> {dollars(p.after)} ({signed_dollars(p.delta)})"


def calls(n: NodeDiff) -> str:
    """The questions that a run would ask."""
    new, cached = n.calls_new, n.calls_cached
    if new is None:
        return ""
    if not _is_known(new):
        return "unknown"
    words = f"{number(new)} new"
    if cached is not None and cached.value not in (None, "0"):
        words += f", {count(cached)} reused"
    return f"{words} ({basis(new)})" if new.value != "0" or new.basis != "exact" else words


def figures(n: NodeDiff) -> Iterator[tuple[str, str]]:
    """The figures of a step that say something, each with its name."""
    if _is_known(n.rows.before) or _is_known(n.rows.after):
        yield "rows", from_to(n.rows)
    if n.calls_new is not None:
        yield "calls", calls(n)
    elif n.status == "removed" and n.calls.before is not None:
        yield "calls", from_to(n.calls)
    if not _free(n.usd.before) or not _free(n.usd.after):
        if _is_known(n.tokens.before) or _is_known(n.tokens.after):
            yield "tokens", from_to(n.tokens)
        if n.usd_now is None or n.status == "removed":
            yield "from scratch", money_from_to(n.usd)
        elif _is_known(n.usd.after) or _is_known(n.usd.before) or _is_known(n.usd_now):
            yield "from scratch", money_from_to(n.usd)
            yield "to run now", dollars_range(n.usd_now)
        else:
            yield "cost", "unknown"
    if n.trains:
        if _is_known(n.tokens.before) or _is_known(n.tokens.after):
            yield "tokens", from_to(n.tokens)
        if n.gpu_hours.after is not None and n.status != "removed":
            yield "training", hours(n.gpu_hours.after)


def _is_known(e: Estimate | None) -> bool:
    """Whether anything is known of a figure."""
    return e is not None and (e.value is not None or e.high is not None)


def _free(e: Estimate | None) -> bool:
    return e is None or (e.value == "0" and e.high == "0")


def means(n: NodeDiff) -> str:
    """The category of a step's change, or what makes it change."""
    if n.status != "changed":
        return n.status
    if n.before_id is not None and n.category in ("metadata", "cosmetic"):
        return f"renamed from {n.before_id}, free"
    renamed = f"renamed from {n.before_id}, " if n.before_id is not None else ""
    if n.direct:
        return f"{renamed}{n.category}"
    proved = f", {n.category}" if n.category in ("extending", "narrowing") else ""
    return f"{renamed}indirect{proved}"


def resource_means(r: ResourceDiff) -> str:
    """What became of a teacher or a prompt."""
    if r.before_id is not None:
        return f"renamed from {r.before_id}" + (f", {r.category}" if r.changes else "")
    return r.category if r.status == "changed" else r.status


def does(n: NodeDiff) -> str:
    """What a run does with a step."""
    if n.action is None or n.status == "removed":
        return ""
    if n.trains and n.action == "build":
        return "retrains" if n.status == "changed" else "trains"
    if n.action == "reuse":
        return "up to date" if n.category not in ("metadata", "cosmetic") else "unchanged"
    changed = n.status == "changed"
    return {"build": "rebuilt" if changed else "built", "extend": "extended", "skip": "not run"}[n.action]


def check_line(c: CheckDiff) -> str:
    """A promise on both sides."""
    some = c.after or c.before
    assert some is not None
    if c.before is None:
        return f"{c.id}: {some['text']}: {_verdict(some)} (new)"
    if c.after is None:
        return f"{c.id}: {some['text']}: removed (was {_verdict(some)})"
    text = c.after["text"] if c.before["text"] == c.after["text"] else f"{c.before['text']} -> {c.after['text']}"
    old, new = _verdict(c.before), _verdict(c.after)
    return f"{c.id}: {text}: {new if old == new else f'{old} -> {new}'}"


def _verdict(side: dict[str, str]) -> str:
    word = {"pass": "pass", "fail": "FAIL", "unknown": "open"}[side["verdict"]]
    return f"{word} ({side['value']})" if "value" in side else word


def share(text: str | None) -> str:
    """A share of a mixture, to a tenth of a percent."""
    return "" if text is None else f"{float(Fraction(text)):.1%}"


def totals(t: Totals) -> list[str]:
    """The sums in sentences' parts, the most important first."""
    out = []
    if not (_free(t.usd_scratch.before) and _free(t.usd_scratch.after)):
        out.append(f"from scratch {money_from_to(t.usd_scratch)}")
        out.append(f"to run now {dollars_range(t.usd_now)}")
        if _is_known(t.tokens.before) or _is_known(t.tokens.after):
            out.append(f"tokens {from_to(t.tokens)}")
    if not _is_known(t.calls_new):
        out.append("new calls unknown")
    elif t.calls_new.value != "0" or t.calls_new.high not in ("0", None):
        out.append(
            f"{number(t.calls_new)} new calls"
            + (f", {count(t.calls_cached)} reused" if t.calls_cached.value not in (None, "0") else "")
        )
    else:
        out.append("0 new calls")
    if t.retrains:
        cost = "" if t.gpu_hours.after is None else f" ({hours(t.gpu_hours.after)})"
        out.append(f"retrains {', '.join(t.retrains)}{cost}")
    return out


def basis_note(r: RecipeDiff) -> str:
    """What `now` counts from."""
    if r.now == "here":
        return "now: counted from this machine's store and call cache"
    return f"now: what is left to do after a complete run of {r.before}"


def headline(r: RecipeDiff) -> list[Piece]:
    """A recipe's line: its name, what became of it, and the worst of its changes."""
    path = r.path if r.before_path is None else f"{r.before_path} -> {r.path}"
    if r.status == "unreadable":
        return [("name", path), ("same", ": cannot be compared")]
    return [("name", path), ("same", f": {r.status if r.status in ('added', 'removed') else r.category}")]


def ordered(nodes: Sequence[NodeDiff]) -> tuple[list[NodeDiff], list[NodeDiff], list[NodeDiff]]:
    """Steps that changed themselves, those that follow, and those that only look or are called different."""
    quiet = [
        n
        for n in nodes
        if n.category in ("cosmetic", "metadata") and not n.changes and not n.notes and n.before_id is None
    ]
    loud = [n for n in nodes if n not in quiet]
    return [n for n in loud if n.direct], [n for n in loud if not n.direct], quiet


def entries(m: MixtureDiff) -> tuple[list[MixtureRow], int]:
    """The entries of a mixture that differ, and the number of those that do not."""
    differ = [e for e in m.entries if e.before is None or e.after is None or _entry(e.before) != _entry(e.after)]
    return differ, len(m.entries) - len(differ)


def _entry(e: Entry) -> tuple[object, ...]:
    return e.amount, e.rows and e.rows.value, e.rows and e.rows.high, e.share


def grouped(nodes: Sequence[NodeDiff]) -> list[list[NodeDiff]]:
    """Steps in their order; sources and suites that came or went together are one group."""
    out: list[list[NodeDiff]] = []
    for n in nodes:
        last = out[-1][-1] if out else None
        same = last is not None and (last.kind, last.status) == (n.kind, n.status)
        if same and KINDS[n.kind].reads and n.status != "changed":
            out[-1].append(n)
        else:
            out.append([n])
    return out


def shown_changes(n: NodeDiff) -> list[Change]:
    """The changes that the step's own lines tell: entries stand in the mixture's table, settings with the teacher."""
    elsewhere = ("teacher.settings", "teacher.name", "prompt.name")
    found = [c for c in n.changes if c.path not in elsewhere or len(n.changes) == 1]
    return [c for c in found if not c.path.startswith("take.")]
