"""Diagnostics -> text for people, one line each for tools, JSON, or what code hosts read. Knows columns of wide
characters and tabs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal
from urllib.parse import quote

from alchemist_runtime.schema.codes import AREAS, CODES

from alchemist_dsl.diagnostics.model import Diagnostic, Edit, Severity, masked, printable, severity
from alchemist_dsl.document.text import Mark, cell, style
from alchemist_dsl.source import SourceFile, Span

Format = Literal["text", "concise", "json", "sarif", "github"]
FORMATS: Final[tuple[Format, ...]] = ("text", "concise", "json", "sarif", "github")

_TAB: Final = 4
_WIDTH: Final = 100  # of a shown source line; longer ones are cut around the place
_FIX_COLUMN: Final = 76


def render(
    diagnostics: Sequence[Diagnostic],
    sources: Mapping[str, SourceFile],
    format: Format = "text",
    color: bool = False,
    shown: Callable[[str], str] = str,
) -> str:
    """All diagnostics in one form. `sources` by path; a file that is not there is named without showing its line.
    `shown`: a path as the reader would write it."""
    if shown is not str:
        diagnostics = [_moved(d, shown) for d in diagnostics]
        sources = {shown(path): source for path, source in sources.items()}
    if format == "json":
        return json.dumps([_as_json(d, sources) for d in diagnostics], indent=2, ensure_ascii=False) + "\n"
    if format == "concise":
        return "".join(_concise(d, sources) + "\n" for d in diagnostics)
    if format == "sarif":
        return sarif(diagnostics, sources)
    if format == "github":
        return github(diagnostics, sources)
    return "\n".join(_text(d, sources, color) for d in diagnostics)


def _moved(d: Diagnostic, shown: Callable[[str], str]) -> Diagnostic:
    def at(span: Span) -> Span:
        return Span(shown(span.file), span.start, span.end)

    return replace(
        d,
        span=at(d.span),
        labels=tuple(replace(one, span=at(one.span)) for one in d.labels),
        edit=replace(d.edit, span=at(d.edit.span)) if d.edit else None,
    )


def sort_unique(
    diagnostics: Iterable[Diagnostic], sources: Mapping[str, SourceFile] | None = None
) -> tuple[Diagnostic, ...]:
    """By file, offset and code, without repetitions. Files in the order of `sources`, else by name."""
    order = {path: i for i, path in enumerate(sources or ())}
    seen: dict[tuple[str, str, Span], Diagnostic] = {}
    for d in diagnostics:
        seen.setdefault((d.code, d.headline, d.span), d)
    return tuple(
        sorted(seen.values(), key=lambda d: (order.get(d.span.file, len(order)), d.span.file, d.span.start, d.code))
    )


# --- one line and JSON ------------------------------------------------------------------------------------------------


def _concise(d: Diagnostic, sources: Mapping[str, SourceFile]) -> str:
    source = sources.get(d.span.file)
    line, column = source.position(d.span.start) if source else (1, 1)
    help = f"; {_one_line(d.help)}" if d.help else ""
    where = f"{d.span.file}:{line}:{column}"
    return f"{where}: {severity(d)}[{d.code}]: {_one_line(d.headline)}{help}"


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())


def _as_json(d: Diagnostic, sources: Mapping[str, SourceFile]) -> dict[str, object]:
    """An object of the JSON form. `start` and `end` are offsets in code points, lines and columns count from 1, ends
    are exclusive; `edit` replaces its place by its text, and a tool may apply it unasked where it is safe."""
    return {
        "code": d.code,
        "slug": CODES[d.code].slug,
        "severity": str(severity(d)),
        "headline": masked(d.headline),
        "place": _place(d.span, sources),
        "label": d.label,
        "labels": [{"place": _place(one.span, sources), "text": one.text} for one in d.labels],
        "note": d.note and masked(d.note),
        "help": d.help and masked(d.help),
        "edit": {"place": _place(d.edit.span, sources), "text": d.edit.text, "safe": d.edit.safe} if d.edit else None,
    }


def _place(span: Span, sources: Mapping[str, SourceFile]) -> dict[str, object]:
    place: dict[str, object] = {"file": span.file, "start": span.start, "end": span.end}
    source = sources.get(span.file)
    if source:
        place["line"], place["column"] = source.position(span.start)
        place["end_line"], place["end_column"] = source.position(span.end)
    return place


# --- text -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Mark:
    """A stretch of one line that is underlined."""

    line: int
    start: int  # columns from 0, in code points
    end: int
    text: str
    sign: str


def _text(d: Diagnostic, sources: Mapping[str, SourceFile], color: bool) -> str:
    kind = severity(d)
    tone: Mark = "error" if kind is Severity.ERROR else "warning"
    slug = CODES[d.code].slug
    out = [style(tone, f"{kind}[{d.code} {slug}]", color) + style("strong", f": {printable(d.headline)}", color)]
    source = sources.get(d.span.file)
    same = [one for one in d.labels if one.span.file == d.span.file]
    other = [one for one in d.labels if one.span.file != d.span.file]
    if source is None:
        out.append(style("place", " --> ", color) + d.span.file)
    else:
        line, column = source.position(d.span.start)
        out.append(style("place", " --> ", color) + f"{d.span.file}:{line}:{column}")
        primary = _mark(source, d.span, d.label, "^")
        out += _lines(source, primary, [_mark(source, s.span, s.text, "-") for s in same], tone, color)
    for one in other:
        out += _elsewhere(one.span, one.text, sources, color)
    if d.help:
        out.append(_advice("help", d.help, d.edit is not None and d.edit.safe, color))
    if d.note:
        out.append(_advice("note", d.note, False, color))
    return "\n".join(out) + "\n"


def _advice(word: str, text: str, fix: bool, color: bool) -> str:
    first, *rest = printable(text).split("\n")
    line = f"{word}: {first}"
    if fix:
        line = f"{line:<{_FIX_COLUMN}} {' ' * (len(line) > _FIX_COLUMN)}" + style("fix", "fix", color)
    line = style("fix", word, color) + line[len(word) :] if color else line
    return "\n".join([line, *(" " * (len(word) + 2) + more for more in rest)])


def _elsewhere(span: Span, text: str, sources: Mapping[str, SourceFile], color: bool) -> list[str]:
    source = sources.get(span.file)
    if source is None:
        return [style("place", " ::: ", color) + f"{span.file}: {text}"]
    line, column = source.position(span.start)
    head = style("place", " ::: ", color) + f"{span.file}:{line}:{column}"
    return [head, *_lines(source, _mark(source, span, text, "-"), [], "place", color)]


def _mark(source: SourceFile, span: Span, text: str, sign: str) -> _Mark:
    line, column = source.position(span.start)
    end_line, end_column = source.position(max(span.end, span.start))
    if end_line > line:  # a long place is shown by its first line
        end_column = len(source.line(line).rstrip()) + 1
    return _Mark(line, column - 1, max(end_column - 1, column), text, sign)


def _lines(source: SourceFile, primary: _Mark, labels: list[_Mark], tone: Mark, color: bool) -> list[str]:
    """The source lines with their underlines: the primary one first, then the others in their order."""
    groups: dict[int, list[_Mark]] = {primary.line: [primary]}
    for mark in labels:
        groups.setdefault(mark.line, []).append(mark)
    width = max(len(str(line)) for line in groups)
    out: list[str] = []
    for line, marks in groups.items():
        displayed, starts = _window(masked(source.line(line)), marks)
        out.append(style("place", f"{line:>{width}} | ", color) + displayed)
        for mark in marks:
            start, end = starts(mark.start), starts(mark.end)
            line_tone = tone if mark.sign == "^" else "place"
            text = f" {printable(mark.text)}" if mark.text else ""
            under = mark.sign * max(end - start, 1) + text
            out.append(style("place", f"{'':>{width}} | ", color) + " " * start + style(line_tone, under, color))
    return out


class _Columns:
    """Code points of a line -> cells on the screen, after cutting `offset` cells at the left."""

    def __init__(self, cells: list[int], offset: int) -> None:
        self.cells = cells
        self.offset = offset

    def __call__(self, column: int) -> int:
        return max(self.cells[min(column, len(self.cells) - 1)] - self.offset + (1 if self.offset else 0), 0)


def _window(line: str, marks: list[_Mark]) -> tuple[str, _Columns]:
    """A line as it is shown: tabs expanded, cut around its first mark where it is long."""
    pieces: list[str] = []
    cells = [0]
    for char in line:
        at = cells[-1]
        piece = " " * (_TAB - at % _TAB) if char == "\t" else char if char.isprintable() else "\ufffd"
        pieces.append(piece)
        cells.append(at + (len(piece) if char == "\t" else cell(piece)))
    cells += [cells[-1]] * 2  # the end of the line can be pointed at
    cells[-1] += 1
    if cells[len(line)] <= _WIDTH:
        return "".join(pieces), _Columns(cells, 0)
    focus = min(m.start for m in marks)
    last = max(m.end for m in marks)
    room = _WIDTH - 2
    left = 0 if cells[min(last, len(line))] <= room else max(cells[min(focus, len(line))] - _WIDTH // 3, 0)
    first = next(i for i, cell in enumerate(cells) if cell >= left)
    end = first
    while end < len(line) and cells[end + 1] - cells[first] <= room:
        end += 1
    displayed = ("…" if first else "") + "".join(pieces[first:end]) + ("…" if end < len(line) else "")
    limit = [min(cell, cells[end] + 1) for cell in cells]
    return displayed, _Columns(limit, cells[first])


# --- reports ---------------------------------------------------------------------------------------------------------

SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_PROGRAM: Final = "alchemist-dsl"
#: Where pages of codes lie below the address of the documentation.
_PAGE: Final = "alchemist_dsl/diagnostics/pages/{}.md"


# --- SARIF ------------------------------------------------------------------------------------------------------------


def sarif(diagnostics: Sequence[Diagnostic], sources: Mapping[str, SourceFile]) -> str:
    """One run of `check` as SARIF: a rule for every code that is given, a result for every diagnostic."""
    codes = sorted({d.code for d in diagnostics})
    version, home = _about()
    driver = {"name": "alchemist", "version": version, "rules": [_rule(code, home) for code in codes]}
    if home:
        driver["informationUri"] = home
    run = {
        "tool": {"driver": driver},
        "columnKind": "utf16CodeUnits",
        "results": [_result(d, codes.index(d.code), sources) for d in diagnostics],
    }
    log = {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _about() -> tuple[str, str | None]:
    """This program's version, and the address of its repository where the package names one."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        about = metadata(_PROGRAM)
    except PackageNotFoundError:
        return "0", None
    urls = dict(line.split(", ", 1) for line in about.get_all("Project-URL") or ())
    return about["Version"], urls.get("Repository")


def _rule(code: str, home: str | None) -> dict[str, Any]:
    slug, level, summary = CODES[code]
    from alchemist_dsl.diagnostics import page as pages

    page = pages.load(code)
    rule = {
        "id": code,
        "name": "".join(word.capitalize() for word in slug.split("-")),
        "shortDescription": {"text": summary},
        "fullDescription": {"text": page.text},
        "help": {"text": pages.terminal_text(page), "markdown": pages.markdown(page)},
        "defaultConfiguration": {"level": level},
        "properties": {"tags": [AREAS[code[:2]]], "slug": slug},
    }
    if home:
        rule["helpUri"] = f"{home.rstrip('/')}/blob/main/{_PAGE.format(code)}"
    return rule


def _result(d: Diagnostic, rule: int, sources: Mapping[str, SourceFile]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": d.code,
        "ruleIndex": rule,
        "level": str(severity(d)),
        "message": {"text": _message(d)},
        "locations": [_location(d.span, d.label, sources)],
    }
    related = [_location(x.span, x.text, sources) for x in d.labels]
    if related:
        result["relatedLocations"] = [{"id": i, **place} for i, place in enumerate(related)]
    if d.edit is not None and d.edit.safe:
        result["fixes"] = [_fix(d.edit, d.help, sources)]
    return result


def _message(d: Diagnostic) -> str:
    parts = (d.headline, d.note and f"note: {d.note}", d.help and f"help: {d.help}")
    return "\n".join(printable(part) for part in parts if part)


def _location(span: Span, label: str, sources: Mapping[str, SourceFile]) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(span.file)}}
    region = _region(span, sources)
    if region:
        place["region"] = region
    location: dict[str, Any] = {"physicalLocation": place}
    if label:
        location["message"] = {"text": printable(label)}
    return location


def _region(span: Span, sources: Mapping[str, SourceFile]) -> dict[str, int] | None:
    """Lines and columns from 1, columns in UTF-16 units, the end exclusive; None where the file is not at hand."""
    source = sources.get(span.file)
    if source is None:
        return None
    line, column = _utf16(source, span.start)
    end_line, end_column = _utf16(source, max(span.end, span.start))
    return {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column}


def _utf16(source: SourceFile, offset: int) -> tuple[int, int]:
    line, column = source.position(offset)
    before = source.line(line)[: column - 1]
    return line, len(before.encode("utf-16-le", "surrogatepass")) // 2 + 1


def _fix(edit: Edit, help: str | None, sources: Mapping[str, SourceFile]) -> dict[str, Any]:
    region = _region(edit.span, sources) or {"startLine": 1, "startColumn": 1}
    replacement = {"deletedRegion": region, "insertedContent": {"text": edit.text}}
    change = {"artifactLocation": {"uri": _uri(edit.span.file)}, "replacements": [replacement]}
    return {"description": {"text": printable(help or "apply the fix")}, "artifactChanges": [change]}


def _uri(path: str) -> str:
    """A path as a URI reference, relative where the path is; files of the library have one of their own, `std:NAME`."""
    if path.startswith("std:"):
        return "std:" + quote(path.removeprefix("std:"))
    if path.startswith("/"):
        return "file://" + quote(path)
    return quote(path.replace("\\", "/"), safe="/")


# --- GitHub -----------------------------------------------------------------------------------------------------------


def github(diagnostics: Sequence[Diagnostic], sources: Mapping[str, SourceFile]) -> str:
    """One line for each diagnostic, which GitHub's runner shows beside the line of the recipe."""
    return "".join(_annotation(d, sources) + "\n" for d in diagnostics)


def _annotation(d: Diagnostic, sources: Mapping[str, SourceFile]) -> str:
    source = sources.get(d.span.file)
    line, column = source.position(d.span.start) if source else (1, 1)
    title = f"{d.code} {CODES[d.code].slug}"
    fields = {"file": d.span.file, "line": line, "col": column, "title": title}
    displayed = ",".join(f"{name}={_property(str(value))}" for name, value in fields.items())
    return f"::{severity(d)} {displayed}::{_data(_message(d))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
