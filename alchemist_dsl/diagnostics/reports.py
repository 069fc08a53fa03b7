"""Diagnostics -> what code hosts read: SARIF 2.1.0 with columns in UTF-16, and the annotation lines of GitHub's
runners.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from alchemist_runtime.schema.codes import AREAS, CODES

from alchemist_dsl.diagnostics.model import Diagnostic, Edit, severity
from alchemist_dsl.diagnostics.model import plain as one
from alchemist_dsl.diagnostics.page import load, markdown, plain
from alchemist_dsl.source import SourceFile, Span

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
    page = load(code)
    rule = {
        "id": code,
        "name": "".join(word.capitalize() for word in slug.split("-")),
        "shortDescription": {"text": summary},
        "fullDescription": {"text": page.text},
        "help": {"text": plain(page), "markdown": markdown(page)},
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
    return "\n".join(one(part) for part in parts if part)


def _location(span: Span, label: str, sources: Mapping[str, SourceFile]) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(span.file)}}
    region = _region(span, sources)
    if region:
        place["region"] = region
    location: dict[str, Any] = {"physicalLocation": place}
    if label:
        location["message"] = {"text": one(label)}
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
    return {"description": {"text": one(help or "mend it")}, "artifactChanges": [change]}


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
    shown = ",".join(f"{name}={_property(str(value))}" for name, value in fields.items())
    return f"::{severity(d)} {shown}::{_data(_message(d))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
