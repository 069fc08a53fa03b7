"""Navigation, renaming, hover, outline, colours and hints, over several files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from editor import CURSOR, Editor
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

LIB = '''edition 2026

teacher judge {
  provider = rules
}

prompt ask {
  rules = describe
  input { response: text }
  output { hint: text }
  user = jinja"""
    Say it: {{ response }}
    """
}
'''
MAIN = """edition 2026
import "lib.recipe" as lib
import "std:alchemy" as alchemy

## The share that gets a hint.
param hinted: percent = 5%

source texts {
  files = "rows.jsonl"
  set topic = lower(topic)
}

source more {
  files = "rows.jsonl"
}

filter clean {
  from = [
    texts,
    more,
  ]
  drop chars(response) < 3 as short
  drop topic == "😀" as smile
  expect dropped.short <= 10
}

relabel told {
  from = clean
  select = param.hinted per origin
  teacher = lib.judge
  prompt = lib.ask
  map { response = response }
}

task refused {
  learn = clean.dropped
  classes {
    bad = [short, smile]
  }
}

mixture all_rows {
  total = 1_000 rows
  take {
    told = 60%
    clean.texts = 3 parts
    refused = 1 parts
    more = 100 rows
  }
}

export done {
  data = all_rows
  path = "out"
}

check small {
  expect rows(told) <= 100
}

variant other {
  set param.hinted = 10%
  set told.select = 50%
  set all_rows.take.refused = null
}
"""
CHILD = """edition 2026

recipe {
  extends = "main.recipe"
}

filter clean {
  drop chars(response) > 100_000 as long
}
"""


@pytest.fixture(scope="module")
def files(editor: Editor, project: Path) -> Iterator[Editor]:
    (project / "lib.recipe").write_text(LIB, "utf-8")
    (project / "child.recipe").write_text(CHILD, "utf-8")
    editor.open("main.recipe", MAIN)
    editor.texts["lib.recipe"], editor.texts["child.recipe"] = LIB, CHILD
    assert [d for d in editor.diagnostics("main.recipe") if d.severity == lsp.DiagnosticSeverity.Error] == []
    yield editor


def words(editor: Editor, found: list[lsp.Location]) -> list[tuple[str, str]]:
    """File and line of every place, the name itself checked."""
    out = []
    for place in found:
        name = Path(place.uri).name
        line = editor.texts[name].split("\n")[place.range.start.line].strip()
        out.append((name, line))
    return out


def target(editor: Editor, place: lsp.Location | None) -> str:
    assert place is not None
    name = Path(place.uri).name
    return name + ": " + editor.texts[name].split("\n")[place.range.start.line].strip()


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ("data = all_ro‸ws", "main.recipe: mixture all_rows {"),
        ("teacher = lib.ju‸dge", "lib.recipe: teacher judge {"),
        ("prompt = li‸b.ask", 'main.recipe: import "lib.recipe" as lib'),
        ('import "lib.re‸cipe"', "lib.recipe: edition 2026"),
        ("param.hin‸ted per", "main.recipe: param hinted: percent = 5%"),
        ("clean.te‸xts = 3", "main.recipe: source texts {"),
        ("bad = [sh‸ort", "main.recipe: drop chars(response) < 3 as short"),
        ("dropped.sho‸rt", "main.recipe: drop chars(response) < 3 as short"),
        ("map { respo‸nse =", "lib.recipe: input { response: text }"),
        ("drop top‸ic ==", "main.recipe: set topic = lower(topic)"),
        ("rows(to‸ld)", "main.recipe: relabel told {"),
        ("take.refu‸sed", "main.recipe: task refused {"),
    ],
)
def test_definition(files: Editor, place: str, wanted: str) -> None:
    assert target(files, files.definition("main.recipe", place)) == wanted


def test_definition_in_the_library(files: Editor) -> None:
    files.open("std.recipe", MAIN.replace("prompt = lib.ask", "prompt = alchemy.relabel"))
    found = files.definition("std.recipe", "alchemy.rela‸bel")
    assert found is not None and found.uri.endswith("/std/alchemy.recipe")
    line = Path(found.uri.removeprefix("file://")).read_text("utf-8").split("\n")[found.range.start.line]
    assert line.startswith("prompt relabel")


def test_the_opened_library_is_not_called_wrong(files: Editor) -> None:
    library = Path(__file__).resolve().parents[2] / "recipes" / "std" / "alchemy.recipe"
    files.open(str(library), library.read_text("utf-8"))
    assert files.diagnostics(str(library)) == []


def test_references_go_over_files(files: Editor) -> None:
    found = words(files, files.references("main.recipe", "filter cle‸an {"))
    assert ("child.recipe", "filter clean {") in found
    assert found.count(("main.recipe", "from = clean")) == 1
    assert ("main.recipe", "clean.texts = 3 parts") in found
    assert ("main.recipe", "learn = clean.dropped") in found
    assert len(found) == len(set(found)) == 5


def test_references_from_the_imported_file(files: Editor) -> None:
    files.open("lib.recipe", LIB)
    found = words(files, files.references("lib.recipe", "teacher jud‸ge"))
    assert found == [
        ("lib.recipe", "teacher judge {"),
        ("main.recipe", "teacher = lib.judge"),
        ("std.recipe", "teacher = lib.judge"),
    ]


def changed(editor: Editor, edit: lsp.WorkspaceEdit) -> dict[str, str]:
    """Texts after a change of the workspace."""
    out = {}
    for uri, edits in (edit.changes or {}).items():
        out[Path(uri).name] = editor.apply(Path(uri).name, list(edits))
    for change in edit.document_changes or ():
        assert isinstance(change, lsp.TextDocumentEdit)
        name = Path(change.text_document.uri).name
        out[name] = editor.apply(name, list(change.edits))  # type: ignore[arg-type]
    return out


def test_rename_over_files(files: Editor) -> None:
    files.open("lib.recipe", LIB)
    texts = changed(files, files.rename("lib.recipe", "teacher jud‸ge", "referee"))
    assert texts["lib.recipe"] == LIB.replace("judge", "referee")
    assert texts["main.recipe"] == MAIN.replace("lib.judge", "lib.referee")


def test_rename_of_a_base_reaches_what_extends_it(files: Editor) -> None:
    texts = changed(files, files.rename("main.recipe", "from = cle‸an\n", "tidy"))
    assert "filter tidy {" in texts["child.recipe"]
    assert "clean" not in texts["main.recipe"].replace("cleaner", "")


def test_rename_of_a_drawing_step_keeps_its_draw(files: Editor) -> None:
    texts = changed(files, files.rename("main.recipe", "relabel to‸ld", "hinted_rows"))
    assert texts["main.recipe"].endswith("\nmoved {\n  from = told\n  to = hinted_rows\n}\n")
    assert "rows(hinted_rows)" in texts["main.recipe"] and "set hinted_rows.select" in texts["main.recipe"]
    files.open("renamed.recipe", texts["main.recipe"])
    errors = [d for d in files.diagnostics("renamed.recipe") if d.severity == lsp.DiagnosticSeverity.Error]
    assert errors == []


def test_rename_of_alias_and_parameter(files: Editor) -> None:
    texts = changed(files, files.rename("main.recipe", "prompt = li‸b.ask", "ours"))
    assert texts["main.recipe"] == MAIN.replace("lib.", "ours.").replace('"ours.recipe" as lib', '"lib.recipe" as ours')
    texts = changed(files, files.rename("main.recipe", "param hin‸ted", "told_share"))
    assert texts["main.recipe"].count("told_share") == 3 and "hinted" not in texts["main.recipe"]


def test_what_is_data_is_confirmed_first(files: Editor) -> None:
    for place in ("source te‸xts", "as sho‸rt", "ba‸d ="):
        edit = files.rename("main.recipe", place, "renamed")
        assert edit.changes is None and edit.change_annotations is not None
        (note,) = edit.change_annotations.values()
        assert note.needs_confirmation and note.description
        assert "renamed" in changed(files, edit)["main.recipe"]
    short = changed(files, files.rename("main.recipe", "as sho‸rt", "brief"))["main.recipe"]
    assert "as brief" in short and "dropped.brief" in short and "[brief, smile]" in short


@pytest.mark.parametrize(
    ("name", "place", "new", "why"),
    [
        ("main.recipe", "cle‸an {", "a-b", "no name"),
        ("main.recipe", "cle‸an {", "set", "word of the language"),
        ("main.recipe", "cle‸an {", "told", "there already"),
        ("main.recipe", "cle‸an {", "lib", "there already"),
        ("main.recipe", "chars(respo‸nse)", "answer", "columns are data"),
        ("lib.recipe", "output { hi‸nt", "answer", "teacher answers with this name"),
    ],
)
def test_rename_says_why_not(files: Editor, name: str, place: str, new: str, why: str) -> None:
    with pytest.raises(JsonRpcException, match=why):
        files.rename(name, place, new)


def test_without_a_way_to_ask_data_keeps_its_name(project: Path) -> None:
    editor = Editor(project, asks=False)
    try:
        editor.open("main.recipe", MAIN)
        with pytest.raises(JsonRpcException, match="this name is data"):
            editor.rename("main.recipe", "source te‸xts", "others")
    finally:
        editor.close()


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ("fil‸ter clean", ["Ordered rules that refuse rows", "`.dropped`"]),
        ("sel‸ect = param", ["select: share, rows or condition", "`per` a column"]),
        ("drop ch‸ars(", ["chars(x: text) -> int", "Length in code points", "Counts chars"]),
        ("chars(respo‸nse) < 3", ["`response: text`"]),
        (
            "from = cl‸ean",
            ["filter clean", "| `topic` | `text", "`clean.dropped` has also `rule`, `reason`", "as `short`"],
        ),
        ("param.hin‸ted per", ["param hinted: percent = 5%", "The share that gets a hint.", "Here `5%` (default)"]),
        ("lib.as‸k", ["prompt ask", "gets back: `hint: text`"]),
        ("told = 6‸0%", ["`60%` = 3/5, a share"]),
        ("1_0‸00 rows", ["1,000 rows"]),
        ("rows(to‸ld)", ["relabel told"]),
        ("ro‸ws(told)", ["rows(x: stream) -> int"]),
        ("learn = cle‸an.dropped", ["filter clean"]),
    ],
)
def test_hover(files: Editor, place: str, wanted: list[str]) -> None:
    text = files.hover("main.recipe", place)
    for words_ in wanted:
        assert words_ in text, text


def test_hover_of_a_step_tells_what_it_gives(files: Editor) -> None:
    files.open("costs.recipe", MAIN)
    for _ in range(40):  # the estimate comes in a moment, and is there when asked again
        text = files.hover("costs.recipe", "filter cle‸an")
        if "Expected:" in text:
            break
    assert "≤ 6 rows" in text


def test_hover_in_templates_and_methods(files: Editor) -> None:
    files.open("lib.recipe", LIB)
    assert "An input of the prompt `ask`" in files.hover("lib.recipe", "{{ resp‸onse }}")
    text = (
        MAIN
        + '\ndedup once {\n  from = clean\n  method = minhash(ngram = 5)\n}\n\nmap wide {\n  from = once\n  set topic = jinja"""\n    {{ topic }}\n    """\n}\n'
    )
    files.open("methods.recipe", text)
    assert "threshold" in files.hover("methods.recipe", "method = min‸hash")
    assert "`topic: text" in files.hover("methods.recipe", "{{ top‸ic }}")


def test_outline(files: Editor) -> None:
    found = files.ask(
        lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL,
        lsp.DocumentSymbolParams(lsp.TextDocumentIdentifier(files.uri("main.recipe"))),
    )
    names = [s.name for s in found]
    assert names[:6] == ["lib", "alchemy", "hinted", "texts", "more", "clean"]
    clean = found[5]
    assert clean.detail == "filter" and [c.name for c in clean.children][:2] == ["short", "smile"]
    assert files.slice("main.recipe", clean.selection_range) == "clean"
    take = next(c for s in found if s.name == "all_rows" for c in s.children)
    assert [c.name for c in take.children] == ["told", "clean.texts", "refused", "more"]
    for symbol in itertools.chain(found, *(s.children for s in found)):
        assert symbol.range.start <= symbol.selection_range.start
        assert symbol.selection_range.end <= symbol.range.end


def test_colours(files: Editor) -> None:
    found = files.ask(
        lsp.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL,
        lsp.SemanticTokensParams(lsp.TextDocumentIdentifier(files.uri("main.recipe"))),
    )
    legend = files.server.semantic_tokens_provider
    assert legend is not None
    kinds = legend.legend.token_types
    seen: dict[str, set[str]] = {}
    line = column = 0
    for down, right, length, kind, _ in zip(*[iter(found.data)] * 5, strict=True):
        line, column = line + down, right if down else column + right
        range_ = lsp.Range(lsp.Position(line, column), lsp.Position(line, column + length))
        seen.setdefault(kinds[kind], set()).add(files.slice("main.recipe", range_))
    assert {"edition", "import", "as", "param", "drop", "set", "null", "per"} <= seen["keyword"]
    assert {"source", "filter", "mixture"} <= seen["class"]
    assert {"clean", "told", "refused"} <= seen["variable"]
    assert {"lib", "alchemy"} <= seen["namespace"]
    assert "hinted" in seen["parameter"] and "short" in seen["event"]
    assert {"chars", "rows", "lower"} <= seen["function"]
    assert "percent" in seen["type"] and {"5%", "1_000 rows"} <= seen["number"]
    assert '"😀"' in seen["string"]
    assert "## The share that gets a hint." in seen["comment"]


def shares(editor: Editor, name: str) -> dict[str, str]:
    """The hint of every line that has one."""
    whole = lsp.Range(lsp.Position(0, 0), lsp.Position(9999, 0))
    found = editor.ask(
        lsp.TEXT_DOCUMENT_INLAY_HINT, lsp.InlayHintParams(lsp.TextDocumentIdentifier(editor.uri(name)), whole)
    )
    lines = editor.texts[name].split("\n")
    return {lines[h.position.line].strip(): str(h.label) for h in found}


def test_hints_tell_the_share_that_an_entry_gets(files: Editor) -> None:
    assert shares(files, "main.recipe") == {
        "clean.texts = 3 parts": "= 22.5%",
        "refused = 1 parts": "= 7.5%",
        "more = 100 rows": "= 10%",
    }


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("unit = rows\n  take {\n    clean = 75%\n    told = rest\n  }", {"told = rest": "= 25%"}),
        ("unit = rows\n  take {\n    clean = all\n    told = 5%\n  }", {"clean = all": "= 95%"}),
        ("unit = rows\n  take {\n    clean = all\n    more = all\n    told = 5%\n  }", {}),
        (
            "unit = rows\n  take {\n    clean = 3 rows\n    more = 1 rows\n    told = 20%\n  }",
            {"clean = 3 rows": "= 60%", "more = 1 rows": "= 20%"},
        ),
        (
            "unit = rows\n  take {\n    clean = 1 parts\n    told = 2 parts\n  }",
            {"clean = 1 parts": "≈ 33.33%", "told = 2 parts": "≈ 66.67%"},
        ),
        ("unit = rows\n  take {\n    clean = 100%\n    gone = rest\n  }", {}),
        (
            "unit = rows\n  take {\n    clean = 20%\n    told = 20%\n    gone = 60%\n  }",
            {"clean = 20%": "= 50%", "told = 20%": "= 50%", "gone = 60%": "left out"},
        ),
    ],
)
def test_hints_of_other_mixtures(files: Editor, body: str, wanted: dict[str, str]) -> None:
    gone = '\nsource gone {\n  missing = "not published"\n}\n'
    before, rest = MAIN.split("mixture all_rows {\n")
    after = rest[rest.index("}\n\nexport") :].split("variant other")[0]
    files.open("mixed.recipe", f"{before}mixture all_rows {{\n  {body}\n{after}{gone}")
    assert shares(files, "mixed.recipe") == wanted


def test_the_cursor_mark_is_in_no_text() -> None:
    assert CURSOR not in MAIN + LIB + CHILD


PAID = '''edition 2026

source texts {
  files = "rows.jsonl"
}

teacher paid {
  provider = openai
  model = "m-2026-01-01"
  price {
    input = $2 per 1M tokens
    output = $8 per 1M tokens
  }
}

prompt ask {
  input { response: text }
  output { hint: text }
  user = jinja"""
    What asks for {{ response }}?
    """
}

relabel hinted {
  from = texts
  teacher = paid
  prompt = ask
}

export done {
  data = hinted
  path = "out"
}
'''


def test_hover_of_a_teacher_step_tells_rows_calls_and_cost(files: Editor) -> None:
    files.open("paid.recipe", PAID)
    for _ in range(40):
        text = files.hover("paid.recipe", "relabel hin‸ted")
        if "Expected:" in text:
            break
    expected = next(line for line in text.split("\n") if "Expected:" in line)
    assert "Expected: 3 rows (exact), 3 teacher calls, ~$0.000" in expected
    assert "`hinted.trace`" in text and "| `instruction` | `text" in text
