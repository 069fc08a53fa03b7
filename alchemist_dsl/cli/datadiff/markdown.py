"""A comparison of two results as Markdown that GitHub shows: a table, and each step folded."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from alchemist_dsl.cli.datadiff.words import (
    called,
    columns,
    cut,
    headline,
    missing,
    moved,
    moves,
    notes,
    quiet,
    safe,
    state_words,
    title,
    told,
    unread,
    unseen,
)

if TYPE_CHECKING:
    from alchemist_runtime.engine.compare import DataDiff, PortDiff, Sample, StepDiff

_SIGNS: Final = {"added": "➕", "removed": "➖", "changed": "✏️", "moved": "↪"}
_SPECIAL: Final = re.compile(r"([\\`*_\[\]|~#])")


def data_markdown(result: DataDiff) -> list[str]:
    """The comparison as lines of Markdown. Nothing of the data is read as Markdown or HTML, and nobody is mentioned."""
    head = headline(result)
    out = [f"**{_text(head[:1].upper() + head[1:])}**"]
    table = [line for step in result.steps for line in _row(step)]
    if table:
        head = "| step | rows | added | removed | changed | columns |"
        out += ["", head, "|---|---:|---:|---:|---:|---|", *table]
    out += [line for words in missing(result) for line in ("", f"> {_words(words)}")]
    seen: set[object] = set()
    for step in result.steps:
        if told(step):
            out += ["", *_step(step, seen)]
    out += [line for words in quiet(result) for line in ("", f"<sub>{_text(words)}</sub>")]
    return out


def _row(step: StepDiff) -> Iterator[str]:
    if not step.ports and (step.incomplete or step.state in ("added", "removed")):
        yield f"| {_text(step.name)} | | | | | {_text(state_words(step))} |"
        return
    for port in step.ports:
        if port.same:
            continue
        name = step.name if port.port == "rows" else f"{step.name}.{port.port}"
        rows = " → ".join("–" if n is None else f"{n:,}" for n in (port.before, port.after))
        counts = " | ".join(f"{n:,}" if n else "" for n in (port.added, port.removed, port.changed))
        shown = ", ".join(_text(c.name) for c in port.columns) or ("order" if port.reordered else "")
        yield f"| {_text(name)} | {rows} | {counts} | {shown} |"


def _step(step: StepDiff, seen: set[object]) -> Iterator[str]:
    yield f"<details><summary>{html.escape(title(step))}</summary>"
    yield ""
    yield from (f"- {_text(words)}" for words in unread(step))
    if step.note:
        yield f"- {_text(step.note)}"
    for words, samples in moves(step):
        yield f"- {_text(words)}"
        yield from _samples(samples, "moved")
    moved((s for m in step.moves for s in m.samples), seen)
    for port in step.ports:
        if not port.same:
            yield from _port(port, seen)
    yield ""
    yield "</details>"


def _port(port: PortDiff, seen: set[object]) -> Iterator[str]:
    prefix = "" if port.port == "rows" else f"`.{safe(port.port)}` "
    for words in notes(port):
        yield f"- {prefix}{_text(words)}"
    for kind, samples in port.samples.items():
        yield from _samples(unseen(samples, kind, seen), kind)


def _samples(samples: Sequence[Sample], kind: str) -> Iterator[str]:
    """Each sample in a `pre`: inside of it nothing is Markdown, and its marks are tags of HTML."""
    for sample in samples:
        yield ""
        yield f"{_SIGNS.get(kind, '')} {_text(called(sample))}"
        yield ""
        lines = []
        for name, pieces in columns(sample, kind):
            shown = "".join(_piece(mark, text) for mark, text in cut(pieces))
            lines.append(f"<b>{html.escape(safe(name))}</b> {shown}")
        yield "<pre>" + "\n".join(lines) + "</pre>"
        yield ""


def _piece(mark: str, text: str) -> str:
    shown = html.escape(text, quote=False)
    tag = {"added": "ins", "removed": "del"}.get(mark)
    return f"<{tag}>{shown}</{tag}>" if tag else shown


def _text(text: str) -> str:
    """Text as Markdown shows it literally."""
    shown = _SPECIAL.sub(r"\\\1", html.escape(safe(text), quote=False))
    return shown.replace("@", "@\u200b").replace("\n", " ")


def _words(text: str) -> str:
    """Our own sentence, with its commands as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return _text(text)
    return "".join(f"`{p}`" if i % 2 else _text(p) for i, p in enumerate(parts))
