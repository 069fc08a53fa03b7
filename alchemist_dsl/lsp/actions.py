"""Diagnostics as the editor takes them, and the ways out of them: edits, all safe edits at once, the page of a code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from alchemist_runtime.schema.codes import CODES
from lsprotocol import types as lsp
from pygls.uris import from_fs_path

from alchemist_dsl.diagnostics.model import Diagnostic, severity
from alchemist_dsl.diagnostics.page import path_of
from alchemist_dsl.diagnostics.render import sort_unique
from alchemist_dsl.lsp.analysis import Analysis
from alchemist_dsl.lsp.documents import Converter
from alchemist_dsl.source import SourceFile

EXPLAIN: Final = "alchemist.explain"
SOURCE: Final = "alchemist"
_SEVERITIES: Final = {"error": lsp.DiagnosticSeverity.Error, "warning": lsp.DiagnosticSeverity.Warning}
#: Codes of what is there and nothing reads: editors show it faded.
_UNUSED: Final = frozenset({"unused-step", "unused-import", "unused-input", "unused-rule"})


def problems(analysis: Analysis) -> Mapping[str, list[Diagnostic]]:
    """Problems of a check by the file in which they stand."""
    sources = analysis.context.loader.files
    found: dict[str, list[Diagnostic]] = {}
    for problem in sort_unique(analysis.diagnostics, sources):
        found.setdefault(problem.span.file, []).append(problem)
    return found


def published(
    problem: Diagnostic, sources: Mapping[str, SourceFile], uri: Callable[[str], str], converter: Converter
) -> lsp.Diagnostic:
    """A problem in the protocol's form."""
    code = CODES.get(problem.code)
    page = from_fs_path(str(path_of(problem.code)))
    notes = [problem.note, f"help: {problem.help}" if problem.help else None]
    headline = problem.headline + (f"\n{problem.label}" if problem.label else "")
    return lsp.Diagnostic(
        range=converter.span(sources[problem.span.file], problem.span),
        message="\n".join([headline, *(n for n in notes if n)]),
        severity=_SEVERITIES[severity(problem)],
        code=problem.code,
        code_description=lsp.CodeDescription(page) if page and path_of(problem.code).exists() else None,
        source=SOURCE,
        tags=[lsp.DiagnosticTag.Unnecessary] if code is not None and code.slug in _UNUSED else None,
        related_information=[
            lsp.DiagnosticRelatedInformation(
                lsp.Location(uri(label.span.file), converter.span(sources[label.span.file], label.span)), label.text
            )
            for label in problem.labels
            if label.span.file in sources
        ]
        or None,
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """A range of a document for which ways out are wanted. `only`: the kinds of action that the client shows."""

    uri: str
    start: int
    end: int
    only: Sequence[str] | None = None

    def wants(self, kind: str) -> bool:
        return self.only is None or any(kind == o or kind.startswith(o + ".") for o in self.only)


def actions(
    analysis: Analysis, requested: Asked, converter: Converter, uri: Callable[[str], str]
) -> Iterator[lsp.CodeAction]:
    """The ways out of the problems in a range."""
    source = analysis.source
    here = problems(analysis).get(source.path, [])
    if requested.wants(lsp.CodeActionKind.QuickFix):
        for problem in here:
            if problem.span.start <= requested.end and problem.span.end >= requested.start:
                displayed = published(problem, analysis.context.loader.files, uri, converter)
                yield from _fix(problem, displayed, source, requested.uri, converter)
                yield _explain(problem, displayed)
    if requested.wants(lsp.CodeActionKind.SourceFixAll):
        safe = _apart([p for p in here if p.edit is not None and p.edit.safe])
        edits = [_edit(p, source, converter) for p in safe]
        if edits:
            yield lsp.CodeAction(
                title=f"Fix {len(edits)} problem{'s' if len(edits) != 1 else ''}",
                kind=lsp.CodeActionKind.SourceFixAll,
                edit=lsp.WorkspaceEdit(changes={requested.uri: edits}),
            )


def _fix(
    problem: Diagnostic, shown: lsp.Diagnostic, source: SourceFile, uri: str, converter: Converter
) -> Iterator[lsp.CodeAction]:
    edit = problem.edit
    if edit is None or edit.span.file != source.path:
        return
    yield lsp.CodeAction(
        title=_title(problem, source),
        kind=lsp.CodeActionKind.QuickFix,
        diagnostics=[shown],
        is_preferred=edit.safe,
        edit=lsp.WorkspaceEdit(changes={uri: [_edit(problem, source, converter)]}),
    )


def _title(problem: Diagnostic, source: SourceFile) -> str:
    assert problem.edit is not None
    new = " ".join(problem.edit.text.split())
    old = " ".join(source.text[problem.edit.span.start : problem.edit.span.end].split())
    if not new:
        return f"Delete `{old}`" if old else "Delete it"
    if len(new) > 60:
        return "Mend it"
    return f"Replace `{old}` by `{new}`" if old and len(old) <= 60 else f"Write `{new}`"


def _edit(problem: Diagnostic, source: SourceFile, converter: Converter) -> lsp.TextEdit:
    assert problem.edit is not None
    return lsp.TextEdit(converter.span(source, problem.edit.span), problem.edit.text)


def _apart(found: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Those whose edits do not touch each other."""
    out: list[Diagnostic] = []
    for problem in sorted(found, key=lambda p: (p.edit.span.start, p.edit.span.end) if p.edit else (0, 0)):
        before = out[-1].edit if out else None
        if problem.edit is not None and (before is None or problem.edit.span.start > before.span.end):
            out.append(problem)
    return out


def _explain(problem: Diagnostic, shown: lsp.Diagnostic) -> lsp.CodeAction:
    title = f"Explain {problem.code}"
    return lsp.CodeAction(
        title=title,
        kind=lsp.CodeActionKind.QuickFix,
        diagnostics=[shown],
        command=lsp.Command(title, EXPLAIN, arguments=[problem.code]),
    )


# --- formatting ------------------------------------------------------------------------------------------------------

#: Changed lines up to which they are compared one by one.
_MOST: Final = 2000


def edits(source: SourceFile, converter: Converter) -> list[lsp.TextEdit]:
    """Edits that bring a document into its one layout; none where it stands in it."""
    from alchemist_dsl.syntax.format import format_text

    text, _ = format_text(source)
    if text == source.text:
        return []
    old, new = _lines(source.text), _lines(text)
    same = _common(old, new)
    end = _common(old[same:][::-1], new[same:][::-1])
    left, right = old[same : len(old) - end], new[same : len(new) - end]
    if max(len(left), len(right)) > _MOST:
        return [_line_edit(source, converter, same, same + len(left), right)]
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    return [
        _line_edit(source, converter, same + i, same + j, right[a:b])
        for tag, i, j, a, b in matcher.get_opcodes()
        if tag != "equal"
    ]


def _lines(text: str) -> list[str]:
    *whole, rest = text.split("\n")
    return [line + "\n" for line in whole] + ([rest] if rest else [])


def _common(one: list[str], two: list[str]) -> int:
    count = 0
    for a, b in zip(one, two, strict=False):
        if a != b:
            break
        count += 1
    return count


def _line_edit(source: SourceFile, converter: Converter, first: int, last: int, new: list[str]) -> lsp.TextEdit:
    starts = (*source.starts, len(source.text))
    start, end = starts[min(first, len(starts) - 1)], starts[min(last, len(starts) - 1)]
    return lsp.TextEdit(converter.range(source, start, end), "".join(new))
