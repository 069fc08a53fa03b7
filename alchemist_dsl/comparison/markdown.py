"""A comparison as GitHub Markdown: a comment that is read on a phone first, with the details folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from alchemist_dsl.comparison import phrases
from alchemist_dsl.comparison.model import Diff, Entry, MixtureDiff, NodeDiff, RecipeDiff, ResourceDiff
from alchemist_dsl.comparison.text import bar, worded
from alchemist_dsl.explain.wording import count

#: Cells of the bar of a whole mixture: it stands beside three columns on a phone.
_BAR: Final = 8


def markdown(diff: Diff) -> list[str]:
    """The whole comparison as lines of Markdown."""
    if not diff.recipes:
        return ["**Recipes:** no difference."]
    out = list(_summary(diff))
    for recipe in diff.recipes:
        out += ["", *_recipe(recipe)]
    out += ["", f"<sub>{_foot(diff)}</sub>"]
    return out


def _summary(diff: Diff) -> Iterator[str]:
    """What a reviewer must know before anything else."""
    for r in diff.recipes:
        for weak in r.relaxed:
            yield f"> [!CAUTION]\n> **{weak.kind} weaker** in {_code(r.path)}: {_rich(weak.headline)}\n"
        for c in r.checks:
            if c.after is not None and c.after["verdict"] == "fail":
                yield f"> [!WARNING]\n> **check fails** in {_code(r.path)}: {_text(phrases.check_line(c))}\n"
        if r.status == "unreadable":
            yield f"> [!CAUTION]\n> {_code(r.path)} does not compile, so what the change means is unknown.\n"
    t = diff.totals
    if any(r.status != "unreadable" for r in diff.recipes):
        yield "**" + " · ".join(_text(p) for p in phrases.totals(t, "")) + "**"


def _foot(diff: Diff) -> str:
    same = f"{diff.same} other recipe{'s' if diff.same != 1 else ''} unchanged. " if diff.same else ""
    readable = [r for r in diff.recipes if r.status != "unreadable"]
    note = phrases.basis_note(readable[0]) + "." if readable else ""
    return f"{_text(diff.before)} → {_text(diff.after)}. {same}{_text(note[:1].upper() + note[1:])}"


def _recipe(r: RecipeDiff) -> Iterator[str]:
    yield f"### {_code(r.path)}: {_headline(r)}"
    yield ""
    if r.status == "unreadable":
        yield from _fold("messages", ["```text", *r.messages, "```"], is_open=True)
        if r.lines:
            yield from _fold("line diff", ["```diff", *r.lines, "```"], is_open=True)
        return
    direct, indirect, quiet = phrases.ordered(r.nodes)
    lines = [f"- **param** {_code(c.path)} {_text(phrases.change(c))}" for c in r.params]
    lines += [f"- **{phrases.name(c.path)}** {_text(phrases.change(c))}" for c in r.recipe]
    for resource in r.resources:
        lines += _resource(resource)
    for group in phrases.grouped(direct):
        lines += _node(group[0]) if len(group) == 1 else [_group(group)]
    yield from lines
    if indirect:
        yield ""
        yield from _fold(
            f"{len(indirect)} more follow{'s' if len(indirect) == 1 else ''}: {_names(indirect)}", _followers(indirect)
        )
    for m in r.mixtures:
        if not phrases.entries(m)[0]:
            continue
        yield ""
        yield from _fold(f"mixture {m.id}: rows {phrases.from_to(m.rows)}", list(_mixture(m)), is_open=True)
    if r.checks:
        yield ""
        yield "| check | |\n|---|---|"
        for c in r.checks:
            name, _, promise = phrases.check_line(c).partition(": ")
            yield f"| {_text(name)} | {_cell(promise)} |"
    blocks = [d for d in r.declarations if d.category != "cosmetic"]
    for d in blocks:
        yield ""
        yield from _fold(f"{d.kind} {d.name} {d.status}; no run reads it", ["```diff", *d.lines, "```"])
    note = phrases.assumed_note(r)
    if note is not None:
        yield ""
        yield f"<sub>Note: {_text(note)}</sub>"
    rest = _quiet(r, quiet)
    if rest:
        yield ""
        yield f"<sub>{rest}</sub>"


def _headline(r: RecipeDiff) -> str:
    return (
        phrases.headline(r)
        .removeprefix(r.path if r.before_path is None else f"{r.before_path} -> {r.path}")
        .removeprefix(": ")
    )


def _names(nodes: Sequence[NodeDiff]) -> str:
    shown = ", ".join(n.id for n in nodes[:6])
    return shown + (", …" if len(nodes) > 6 else "")


def _node(n: NodeDiff) -> list[str]:
    sign = {"added": "➕", "removed": "➖", "changed": "✏️"}[n.status]
    facts = " · ".join(f for f in (phrases.means(n), phrases.does(n)) if f)
    out = [f"- {sign} **{n.kind} {_code(n.id)}** {_text(facts)}"]
    if n.status == "changed":
        for c in phrases.shown_changes(n):
            out.append(f"  - {_text(phrases.name(c.path))}: {_text(phrases.change(c))}")
            out += _words(c.words)
    figures = list(phrases.figures(n)) if n.category != "metadata" else []
    if figures:
        out.append("  - " + " · ".join(f"{name} {_text(text)}" for name, text in figures))
    if n.may_stop is not None:
        out.append(f"  - may stop here: {_text(n.may_stop)}")
    out += [f"  - note: {_rich(note)}" for note in n.notes]
    return out


def _group(nodes: Sequence[NodeDiff]) -> str:
    sign = {"added": "➕", "removed": "➖"}[nodes[0].status]
    names = ", ".join(_code(n.id) for n in nodes)
    return f"- {sign} **{len(nodes)} {nodes[0].kind}s {nodes[0].status}** {names}"


def _resource(r: ResourceDiff) -> list[str]:
    used = f"used by {', '.join(map(_code, r.used_by))}" if r.used_by else "no step uses it"
    means = _text(phrases.resource_means(r))
    out = [f"- ✏️ **{r.kind} {_code(r.id)}** {means} · {used}"]
    for c in r.changes:
        out.append(f"  - {_text(phrases.name(c.path))}: {_text(phrases.change(c))}")
        out += _words(c.words)
    return out


def _words(words: Sequence[tuple[str, str]]) -> list[str]:
    """The lines of a text that differ, as a code block inside the item."""
    shown = worded(words, 100, False)  # type: ignore[arg-type]
    if not shown:
        return []
    fence = "`" * max(3, 1 + max((_longest_ticks(line) for line in shown), default=0))
    return [f"    {fence}text", *(f"    {line}" for line in shown), f"    {fence}"]


def _longest_ticks(text: str) -> int:
    best = run = 0
    for c in text:
        run = run + 1 if c == "`" else 0
        best = max(best, run)
    return best


def _followers(nodes: Sequence[NodeDiff]) -> list[str]:
    out = ["| step | | |", "|---|---|---|"]
    for n in nodes:
        facts = ", ".join(f for f in (phrases.means(n), phrases.does(n)) if f)
        figures = " · ".join(f"{name} {text}" for name, text in phrases.figures(n))
        out.append(f"| {n.kind} {_code(n.id)} | {_cell(facts)} | {_cell(figures)} |")
    return out


def _mixture(m: MixtureDiff) -> Iterator[str]:
    yield "| entry | before | after | share |"
    yield "|---|---|---|---|"
    found, same = phrases.entries(m)
    for e in found:
        shown = bar(e.after or e.before, e.after is None, _BAR)
        share = " → ".join(
            dict.fromkeys(phrases.share(s.share) for s in (e.before, e.after) if s is not None and s.share is not None)
        )
        yield f"| {_cell(e.name)} | {_side(e.before)} | {_side(e.after)} | {share} {shown} |"
    if same:
        yield ""
        yield f"<sub>{same} entr{'y' if same == 1 else 'ies'} unchanged</sub>"


def _side(e: Entry | None) -> str:
    if e is None:
        return ""
    rows = count(e.rows)
    known = rows not in ("", "?") and not e.amount.endswith(" rows")
    return _cell(e.amount + (f" = {rows} rows" if known else ""))


def _quiet(r: RecipeDiff, quiet: Sequence[NodeDiff]) -> str:
    cosmetic = [n.id for n in quiet if n.category == "cosmetic"]
    meta = [n.id for n in quiet if n.category == "metadata"]
    parts = []
    if cosmetic:
        parts.append(f"only written differently: {', '.join(cosmetic)}")
    elif r.category == "cosmetic":
        parts.append("only comments, order or layout differ")
    if meta:
        parts.append(f"metadata only: {', '.join(meta)}")
    if r.unchanged:
        parts.append(f"{r.unchanged} steps unchanged")
    return _text("; ".join(parts))


def _fold(summary: str, body: Sequence[str], *, is_open: bool = False) -> Iterator[str]:
    yield f"<details{' open' if is_open else ''}><summary>{_html(summary)}</summary>"
    yield ""
    yield from body
    yield ""
    yield "</details>"


# --- escapes ----------------------------------------------------------------------------------------------------------


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(text: str) -> str:
    """Text as Markdown shows it literally: what a recipe holds is data, and mentions nobody."""
    out = _html(text)
    for sign in "\\`*_[]|~#":
        out = out.replace(sign, f"\\{sign}")
    return out.replace("@", "@\u200b").replace("\n", " ")


def _rich(text: str) -> str:
    """Text in which names stand in backticks."""
    parts = text.split("`")
    return "".join(_code(p) if i % 2 and p else _text(p) for i, p in enumerate(parts))


def _cell(text: str) -> str:
    return _text(text)


def _code(text: str) -> str:
    ticks = "`" * (1 + _longest_ticks(text))
    return f"{ticks}{text}{ticks}" if "`" not in text else f"{ticks} {text} {ticks}"
