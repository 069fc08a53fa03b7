"""Results of tests as text for people, as JSON, and as JUnit XML for CI."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Final

from alchemist_dsl.document.text import plural

if TYPE_CHECKING:
    from alchemist_runtime.engine.step_test import Miss
    from alchemist_runtime.schema.codes import Problem

    from alchemist_dsl.cli.test_runner import At, Failure, Result, Tested

Path = Callable[[str], str]  # a path of the project as the reader would write it
Paint = Callable[[str, str], str]  # (colour, text) -> text
#: Rows for which an expectation is shown to fail; the others are counted.
ROWS: Final = 3
_WORD: Final = {"passed": ("green", "ok     "), "failed": ("red", "FAILED "), "error": ("yellow", "ERROR  ")}


# --- text -------------------------------------------------------------------------------------------------------------


def lines(checked: Sequence[Tested], path: Path, paint: Paint) -> Iterator[str]:
    """A line for each test, then what failed, then the sum."""
    for one in checked:
        yield path(one.recipe)
        if one.wrong:
            yield "  it has errors, so its tests were not carried out"
        elif not one.results:
            yield "  no tests" if not one.found else "  no test of this name"
        for result in one.results:
            colour, word = _WORD[result.outcome]
            yield f"  {paint(colour, word)} {result.name} ({result.step}, {_seconds(result.seconds)})"
    for result in _results(checked):
        if result.outcome != "passed":
            yield ""
            yield from _details(result, path, paint)


def total(checked: Sequence[Tested], seconds: float) -> str:
    """`3 tests: 2 passed, 1 failed in 0.4 s`."""
    found = list(_results(checked))
    counts = [
        (sum(r.outcome == "passed" for r in found), "passed"),
        (sum(r.outcome == "failed" for r in found), "failed"),
        (sum(r.outcome == "error" for r in found), "not carried out"),
    ]
    said = ", ".join(f"{n} {word}" for n, word in counts if n) or "nothing was carried out"
    wrong = sum(one.wrong for one in checked)
    more = f"; {plural(wrong, 'recipe')} with errors" if wrong else ""
    return f"{plural(len(found), 'test')}: {said}{more} in {_seconds(seconds)}"


def _results(checked: Sequence[Tested]) -> Iterator[Result]:
    for one in checked:
        yield from one.results


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s"


def _details(result: Result, path: Path, paint: Paint) -> Iterator[str]:
    colour, word = _WORD[result.outcome]
    yield f"{paint(colour, word.strip())} {result.name}"
    yield f"  {_row_summary(result)}"
    for failure in result.failures:
        yield f"  {_place(failure.at, path)}"
        yield f"    {cut(' '.join(failure.text.split()))}"
        yield from (f"      {line}" for line in _misses(failure, result))
    for at, problem in result.problems:
        yield f"  {_place(at, path)}"
        yield from (f"    {line}" for line in _problem(problem))
    for note in result.notes:
        yield f"  note: {note}"


def _place(at: At, path: Path) -> str:
    return f"{path(at.file)}:{at.line}:{at.column}"


def _row_summary(result: Result) -> str:
    """`2 rows given to clean: 1 left, 1 dropped (too_short 1)`."""
    rows = f"{plural(result.given, 'row')} given to `{result.step}`"
    summary = result.summary
    if "rows" not in summary:
        return rows
    parts = [f"{summary['rows']} left"]
    if "dropped" in summary or summary["rules"]:
        rules = ", ".join(f"{n} {v}" for n, v in summary["rules"].items())
        number = summary.get("dropped", sum(summary["rules"].values()))
        parts.append(f"{number} dropped" + (f" ({rules})" if rules else ""))
    if "trace" in summary:
        parts.append(f"{plural(summary['trace'], 'answer')} accepted")
    return f"{rows}: {', '.join(parts)}"


def _misses(failure: Failure, result: Result) -> Iterator[str]:
    part = failure.text.removeprefix("expect ")
    for miss in failure.misses[:ROWS]:
        if miss.text != part and miss.reason is None:
            part = miss.text
            yield f"in it: {cut(part)}"
        yield from _miss(miss, result)
    left = len(failure.misses) - ROWS
    if left > 0:
        yield f"… and {left} more"


def _miss(miss: Miss, result: Result) -> Iterator[str]:
    if miss.reason is not None:
        yield miss.reason
        return
    if miss.row is not None:
        yield f"row {miss.row} of {result.summary['rows']}{_root(miss, result)}"
    if miss.op is None:
        yield from ("expected  true", "got       false")
    else:
        yield from compared(miss.op, miss.wanted, miss.got)
    width = max((len(n) for n in miss.reads), default=0)
    for name, value in miss.reads.items():
        yield f"{name:<{max(width, 8)}}  {cut(shown(value))}"


def _root(miss: Miss, result: Result) -> str:
    if miss.root is None:
        return ""
    node, number = miss.root
    of = f" of `{result.labels[node]}`" if len(result.labels) > 1 and node in result.labels else ""
    return f", from given row {number}{of}"


def _problem(problem: Problem) -> Iterator[str]:
    yield f"{problem.severity}[{problem.code} {problem.slug}]: {problem.headline}"
    if problem.place:
        yield f"at: {problem.place}"
    if problem.note:
        yield f"note: {problem.note}"
    if problem.help:
        yield f"help: {problem.help}"


# --- JSON -------------------------------------------------------------------------------------------------------------


def data(checked: Sequence[Tested], path: Path, seconds: float) -> dict[str, Any]:
    """Everything as JSON data. Values of rows stand as they are."""
    found = list(_results(checked))
    return {
        "recipes": [
            {
                "recipe": path(one.recipe),
                "diagnostics": _diagnostics(one, path) if one.wrong else [],
                "tests": [_result(r, path) for r in one.results],
            }
            for one in checked
        ],
        "passed": sum(r.outcome == "passed" for r in found),
        "failed": sum(r.outcome == "failed" for r in found),
        "errors": sum(r.outcome == "error" for r in found),
        "seconds": round(seconds, 3),
    }


def _diagnostics(one: Tested, path: Path) -> Any:
    """What is wrong with a recipe, as `check --format json` says it."""
    from alchemist_dsl.diagnostics.render import render

    return json.loads(render(one.diagnostics, one.sources, "json", shown=path))


def _result(result: Result, path: Path) -> dict[str, Any]:
    return {
        "name": result.name,
        "step": result.step,
        **_where(result.at, path),
        "outcome": result.outcome,
        "seconds": round(result.seconds, 3),
        "given": result.given,
        "came": dict(result.summary),
        "failures": [
            {
                **_where(f.at, path),
                "expect": f.text.removeprefix("expect "),
                "misses": [_miss_data(m) for m in f.misses],
            }
            for f in result.failures
        ],
        "problems": [
            {**_where(at, path), "code": p.code, "headline": p.headline, "note": p.note, "help": p.help}
            for at, p in result.problems
        ],
        "notes": list(result.notes),
    }


def _where(at: At, path: Path) -> dict[str, Any]:
    return {"file": path(at.file), "line": at.line, "column": at.column}


def _miss_data(miss: Miss) -> dict[str, Any]:
    return {
        "part": miss.text,
        "op": miss.op,
        "expected": _json_value(miss.wanted),
        "got": _json_value(miss.got),
        "row": miss.row,
        "given_row": None if miss.root is None else miss.root[1],
        "reads": {n: _json_value(v) for n, v in miss.reads.items()},
        "reason": miss.reason,
    }


def _json_value(value: Any) -> Any:
    """A value that JSON can hold."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return shown(value)


# --- JUnit XML --------------------------------------------------------------------------------------------------------

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(checked: Sequence[Tested], path: Path, seconds: float) -> bytes:
    """JUnit XML: a suite for each recipe, a case for each test, with its file and line."""
    from xml.etree import ElementTree as xml

    sums = _sums(list(_results(checked)), checked, seconds)
    root = xml.Element("testsuites", {"name": "alchemist test", **sums})
    for one in checked:
        sums = _sums(one.results, [one], sum(r.seconds for r in one.results))
        suite = xml.SubElement(root, "testsuite", {"name": path(one.recipe), "skipped": "0", **sums})
        if one.wrong:
            case = xml.SubElement(
                suite,
                "testcase",
                name="check",
                classname=path(one.recipe),
                file=path(one.recipe),
                line="1",
                time="0.000",
            )
            reported = "\n".join(d.headline for d in one.diagnostics)
            _set_message(xml.SubElement(case, "error", type="check"), "the recipe has errors", reported)
        for result in one.results:
            suite.append(_case(result, one, path))
    xml.indent(root)
    return bytes(xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _sums(results: Sequence[Result], checked: Sequence[Tested], seconds: float) -> dict[str, str]:
    wrong = sum(one.wrong for one in checked)
    return {
        "tests": str(len(results) + wrong),
        "failures": str(sum(r.outcome == "failed" for r in results)),
        "errors": str(sum(r.outcome == "error" for r in results) + wrong),
        "time": f"{seconds:.3f}",
    }


def _case(result: Result, one: Tested, path: Path) -> Any:
    from xml.etree import ElementTree as xml

    case = xml.Element(
        "testcase",
        name=_xml(result.name),
        classname=f"{path(one.recipe)}.{result.step}",
        file=path(result.at.file),
        line=str(result.at.line),
        time=f"{result.seconds:.3f}",
    )
    reported = [line for failure in result.failures for line in _failure(failure, result, path)]
    for at, problem in result.problems:
        reported += [_place(at, path), *(f"  {line}" for line in _problem(problem))]
    if result.failures:
        texts = [f.text for f in result.failures]
        more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
        built = xml.SubElement(case, "failure", type="expect")
        _set_message(built, texts[0] + more, "\n".join([*reported, _row_summary(result)]))
    elif result.problems:
        _, first = result.problems[0]
        _set_message(xml.SubElement(case, "error", type=first.code), first.headline, "\n".join(reported))
    return case


def _failure(failure: Failure, result: Result, path: Path) -> Iterator[str]:
    yield _place(failure.at, path)
    yield f"  {failure.text}"
    yield from (f"    {line}" for line in _misses(failure, result))


def _set_message(element: Any, message: str, text: str) -> None:
    element.set("message", _xml(" ".join(message.split())))
    element.text = _xml(text)


def _xml(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)


# --- value diff ------------------------------------------------------------------------------------------------------

#: Room for a value on one line; longer texts are cut around the first difference.
ROOM: Final = 84
_COLUMN: Final = 44
_BEFORE: Final = 24


def shown(value: Any) -> str:
    """A value about as a recipe writes it."""
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return f"{value:.1f}"
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(value, ensure_ascii=False, default=str)


def compared(op: str | None, wanted: Any, got: Any) -> list[str]:
    """Lines that show what was expected and what came."""
    both = isinstance(wanted, str) and isinstance(got, str)
    if op in ("==", None) and both and ("\n" in wanted.strip("\n") or "\n" in got.strip("\n")):
        return list(_columns(wanted.split("\n"), got.split("\n")))
    expected, came = _expected(op, wanted), shown(got)
    at = _difference(expected, came) if op == "==" and both else None
    if at is None:
        return [f"expected  {_cut(expected, 0)[0]}", f"got       {_cut(came, 0)[0]}"]
    one, _ = _cut(expected, at)
    two, where = _cut(came, at)
    return [f"expected  {one}", f"got       {two}", f"          {' ' * where}^ here"]


def _expected(op: str | None, wanted: Any) -> str:
    if op in ("==", None):
        return shown(wanted)
    return f"anything but {shown(wanted)}" if op == "!=" else f"{op} {shown(wanted)}"


def _difference(a: str, b: str) -> int | None:
    """Where two texts first differ."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)


def _cut(text: str, at: int) -> tuple[str, int]:
    """A text that fits a line, with the place `at` in it."""
    text = _visible(text)
    if len(text) <= ROOM:
        return text, at
    start = max(0, min(at - _BEFORE, len(text) - ROOM + 1))
    piece = text[start : start + ROOM - 2]
    head, tail = "…" * (start > 0), "…" * (start + len(piece) < len(text))
    return head + piece + tail, at - start + len(head)


def cut(text: str) -> str:
    """A text that fits a line."""
    return _cut(text, 0)[0]


def _columns(wanted: Sequence[str], got: Sequence[str]) -> Iterator[str]:
    """Two columns of lines; `≠` where they differ, `<` where one is lacking, `>` where one is too many."""
    pairs = list(_paired(wanted, got))
    width = min(_COLUMN, max(len("expected"), *(len(a or "") for a, _ in pairs)))
    yield f"{'expected':<{width}} │ got"
    for a, b in pairs:
        sign = "│" if a == b else ">" if a is None else "<" if b is None else "≠"
        for i, (left, right) in enumerate(_wrapped(a or "", b or "")):
            yield f"{left:<{width}} {sign if i == 0 else '│'} {right}".rstrip()


def _paired(a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[str | None, str | None]]:
    for tag, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            yield from zip(a[i:j], b[k:m], strict=True)
            continue
        for n in range(max(j - i, m - k)):
            yield (a[i + n] if i + n < j else None, b[k + n] if k + n < m else None)


def _wrapped(left: str, right: str) -> Iterator[tuple[str, str]]:
    """A pair of long lines in several pieces."""
    for at in range(0, max(len(left), len(right), 1), _COLUMN):
        yield _visible(left[at : at + _COLUMN]), _visible(right[at : at + _COLUMN])


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text.replace("\t", "→"))
