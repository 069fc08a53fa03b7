"""Diagnostics while typing: incremental edits, other alphabets, broken texts, unsaved imports, and the ways out."""

from __future__ import annotations

from editor import Editor
from lsprotocol import types as lsp

SMALL = """edition 2026

source texts {
  files = "rows.jsonl"
}

filter clean {
  from = texts
  drop chars(response) < 3 as short
}

export done {
  data = clean
  path = "out"
}
"""


def codes(found: list[lsp.Diagnostic]) -> list[str]:
    return [str(d.code) for d in found]


def test_a_right_recipe_has_no_problems(editor: Editor) -> None:
    editor.open("right.recipe", SMALL)
    assert editor.diagnostics("right.recipe") == []


def test_an_edit_brings_a_problem_and_another_takes_it_away(editor: Editor) -> None:
    editor.open("edit.recipe", SMALL)
    editor.diagnostics("edit.recipe")
    editor.replace("edit.recipe", "from = texts", "from = textz")
    (problem,) = editor.diagnostics("edit.recipe")
    assert problem.code == "A103"
    assert editor.slice("edit.recipe", problem.range) == "textz"
    assert problem.source == "alchemist" and problem.severity == lsp.DiagnosticSeverity.Error
    assert problem.related_information is not None
    assert editor.slice("edit.recipe", problem.related_information[0].location.range) == "texts"
    editor.replace("edit.recipe", "textz", "texts")
    assert editor.diagnostics("edit.recipe") == []


def test_positions_count_utf16(editor: Editor) -> None:
    name = "wide.recipe"
    editor.open(name, SMALL.replace("< 3 as short", '< 3 and response != "𝒳😀é" and respons == "ж" as short'))
    (problem,) = editor.diagnostics(name)
    assert editor.slice(name, problem.range) == "respons"
    line = editor.texts[name].split("\n")[problem.range.start.line]
    assert problem.range.start.character == line.index("respons ==") + 2  # two wide characters before it
    editor.replace(name, "respons ==", "response ==")
    assert editor.diagnostics(name) == []


def test_edits_behind_wide_characters_land_where_they_belong(editor: Editor) -> None:
    name = "wide2.recipe"
    editor.open(name, SMALL.replace("edition 2026", "# 😀😀 line one\u2028still line one\x0c\nedition 2026"))
    editor.diagnostics(name)
    editor.replace(name, "still line one", "😀 still")
    editor.replace(name, "from = texts", "from = textz")
    problems = editor.diagnostics(name)
    assert [editor.slice(name, p.range) for p in problems] == ["textz"], problems


def test_windows_line_ends(editor: Editor) -> None:
    name = "crlf.recipe"
    editor.open(name, SMALL.replace("from = texts", "from = textz").replace("\n", "\r\n"))
    (problem,) = editor.diagnostics(name)
    assert (problem.range.start.line, problem.range.start.character) == (7, 9)


def test_a_whole_text_and_several_changes_at_once(editor: Editor) -> None:
    name = "full.recipe"
    editor.open(name, "edition 2026\n")
    editor.texts[name] = SMALL.replace("clean", "cleaner", 1)
    at = editor.position(name, editor.texts[name].index("cleaner"))
    end = lsp.Position(at.line, at.character + len("cleaner"))
    editor.change(
        name,
        lsp.TextDocumentContentChangeWholeDocument(SMALL.replace("clean", "cleaner", 1)),
        lsp.TextDocumentContentChangePartial(range=lsp.Range(at, end), text="clean"),
    )
    assert editor.diagnostics(name) == []


def test_broken_texts_never_silence_the_server(editor: Editor) -> None:
    name = "broken.recipe"
    editor.open(name, SMALL)
    for cut in (
        "filter clean {\n  from = [",
        '"""',
        'jinja"""\n{{ x',
        "}}}}",
        "\x00",
        "edition",
        "param x",
        "source",
        'test "',
        "ü{",
        "a." * 300,
        "{" * 200,
    ):
        text = f"{cut}\n{SMALL}{cut}"
        editor.texts[name] = text
        editor.change(name, lsp.TextDocumentContentChangeWholeDocument(text))
        assert editor.diagnostics(name), cut
        for method, params in (
            (lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL, lsp.DocumentSymbolParams),
            (lsp.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, lsp.SemanticTokensParams),
        ):
            editor.ask(method, params(lsp.TextDocumentIdentifier(editor.uri(name))))
        for offset in range(0, len(text), 7):
            editor.complete(name, offset)
        editor.hover(name, len(text) // 2)
        editor.definition(name, len(text) // 2)


def test_unsaved_imports_count(editor: Editor) -> None:
    editor.open("parts/lib.recipe", "edition 2026\n\nteacher rules {\n  provider = rules\n}\n")
    text = """edition 2026
import "parts/lib.recipe" as lib

prompt ask {
  rules = describe
  input { response: text }
  output { hint: text }
}

source texts {
  files = "rows.jsonl"
}

relabel hinted {
  from = texts
  teacher = lib.rules
  prompt = ask
}

export done {
  data = hinted
  path = "out"
}
"""
    editor.open("user.recipe", text)
    assert codes(editor.diagnostics("user.recipe")) == []
    editor.replace("parts/lib.recipe", "teacher rules", "teacher other")
    found = editor.until("user.recipe", lambda p: p.diagnostics).diagnostics
    assert codes(found) == ["A109"]
    editor.replace("parts/lib.recipe", "teacher other", "teacher rules")
    editor.until("user.recipe", lambda p: not p.diagnostics)


def test_problems_of_a_closed_import_are_shown_at_their_file(editor: Editor) -> None:
    (editor.root / "lost.recipe").write_text("edition 2026\n\nteacher t {\n  provider = rulez\n}\n", "utf-8")
    editor.open("opens.recipe", SMALL.replace("\n\n", '\nimport "lost.recipe" as lost\n\n', 1))
    found = editor.until("lost.recipe", lambda p: p.diagnostics).diagnostics
    assert codes(found) == ["A213"]
    uri = lsp.TextDocumentIdentifier(editor.uri("opens.recipe"))
    editor.client.text_document_did_close(lsp.DidCloseTextDocumentParams(uri))
    editor.until("lost.recipe", lambda p: not p.diagnostics)
    editor.until("opens.recipe", lambda p: not p.diagnostics)


def test_ways_out(editor: Editor) -> None:
    name = "fix.recipe"
    editor.open(name, SMALL.replace("from = texts", "from = textz").replace("< 3", "< 3 charz"))
    problems = editor.diagnostics(name)
    problem = next(p for p in problems if p.code == "A103")
    found = editor.actions(name, problem)
    fix = found["Replace `textz` by `texts`"]
    assert fix.edit is not None and fix.edit.changes is not None
    assert "from = texts\n" in editor.apply(name, list(fix.edit.changes[editor.uri(name)]))
    explain = found["Explain A103"]
    assert "alchemist.explain" in str(explain.command)
    page = editor.ask(lsp.WORKSPACE_EXECUTE_COMMAND, lsp.ExecuteCommandParams("alchemist.explain", arguments=["A103"]))
    assert "A103" in page and "unknown-name" in page


def test_all_safe_fixes_at_once(editor: Editor) -> None:
    name = "fixall.recipe"
    editor.open(name, SMALL.replace("from = texts", "from = textz").replace("data = clean", "data = cleen"))
    editor.diagnostics(name)
    whole = lsp.Range(lsp.Position(0, 0), lsp.Position(99, 0))
    context = lsp.CodeActionContext([], only=[lsp.CodeActionKind.SourceFixAll])
    (action,) = editor.ask(
        lsp.TEXT_DOCUMENT_CODE_ACTION,
        lsp.CodeActionParams(lsp.TextDocumentIdentifier(editor.uri(name)), whole, context),
    )
    assert editor.apply(name, list(action.edit.changes[editor.uri(name)])) == SMALL


def test_formatting(editor: Editor) -> None:
    name = "layout.recipe"
    editor.open(name, SMALL.replace("  from = texts", "      from=texts"))
    edits = editor.ask(
        lsp.TEXT_DOCUMENT_FORMATTING,
        lsp.DocumentFormattingParams(lsp.TextDocumentIdentifier(editor.uri(name)), lsp.FormattingOptions(2, True)),
    )
    assert len(edits) == 1 and edits[0].range.start.line == edits[0].range.end.line - 1
    assert editor.apply(name, edits) == SMALL
