"""Completion at every kind of place, also while other lines are broken."""

from __future__ import annotations

import pytest
from editor import CURSOR, Editor
from lsprotocol import types as lsp

HEAD = '''edition 2026
import "std:alchemy" as alchemy

## How many rows get a hint.
param hinted: percent = 5%

source first {
  files = "rows.jsonl"
}

source more {
  files = "rows.jsonl"
}

teacher judge {
  provider = rules
}

prompt ask {
  rules = review
  input {
    instruction: text
    response: text
  }
  output {
    correctness: int(0..10)
    clarity: int(0..10)
    suggestions: text
    refined: text
  }
  user = jinja"""
    {{ instruction }}
    """
}

filter clean {
  from = [
    first,
    more,
  ]
  drop chars(response) < 3 as short
  drop topic == "spam" as spam
}

generate judged {
  from = clean
  teacher = judge
  prompt = ask
  keep out.clarity > 3 as unclear
}
'''

PLACES = {
    "kinds": ("fil‸\n", {"filter", "source", "mixture", "param", "import"}, {"edition", "from"}),
    "attributes": ("filter x {\n  ‸\n}\n", {"from", "select", "keep", "drop", "expect"}, {"set", "hub"}),
    "attributes that are there": ("filter x {\n  from = first\n  ‸\n}\n", {"select"}, {"from"}),
    "sub-blocks": ("mixture x {\n  ‸\n}\n", {"take", "total", "unit"}, {"classes"}),
    "choices": ("map x {\n  mode = ‸\n}\n", {"only", "replace", "add"}, {"rows"}),
    "streams": (
        "filter x {\n  from = ‸\n}\n",
        {"first", "clean", "judged", "alchemy.humaneval"},
        {"judge", "ask", "x"},
    ),
    "streams in a list": ("filter x {\n  from = [\n    first,\n    ‸\n  ]\n}\n", {"clean", "more"}, {"judge"}),
    "teachers": ("generate x {\n  teacher = ‸\n}\n", {"judge"}, {"rows", "ask"}),
    "prompts": ("generate x {\n  prompt = ‸\n}\n", {"ask", "alchemy.relabel"}, {"judge", "rows"}),
    "members of an import": ("generate x {\n  prompt = alchemy.‸\n}\n", {"relabel", "evolve", "review"}, {"humaneval"}),
    "ports": ("filter x {\n  from = clean.‸\n}\n", {"dropped", "first", "more"}, {"trace"}),
    "ports of a teacher step": ("task x {\n  learn = judged.‸\n}\n", {"dropped", "trace"}, set()),
    "columns": ("filter x {\n  from = clean\n  drop ‸\n}\n", {"response", "topic", "origin", "chars", "lang"}, {"out"}),
    "columns inside a call": ("filter x {\n  from = clean\n  drop chars(‸\n}\n", {"topic", "response"}, set()),
    "fields of the answer": (
        "generate x {\n  from = clean\n  teacher = judge\n  prompt = ask\n  keep out.‸\n}\n",
        {"clarity", "refined"},
        {"topic"},
    ),
    "columns to set": ("map x {\n  from = clean\n  set ‸\n}\n", {"response", "topic", "lang"}, {"chars"}),
    "columns on the right of set": (
        "map x {\n  from = clean\n  set a = ‸\n}\n",
        {"topic", "chars", "param.hinted"},
        set(),
    ),
    "columns after per": ("map x {\n  from = clean\n  select = 5% per ‸\n}\n", {"origin", "topic"}, {"chars"}),
    "columns in a list": ("dedup x {\n  from = clean\n  on = [instruction, ‸]\n}\n", {"topic", "response"}, {"rows"}),
    "units": ("filter x {\n  from = clean\n  select = 50 ‸\n}\n", {"rows", "per"}, {"tokens"}),
    "units of an amount": ("mixture x {\n  take {\n    clean = 50 ‸\n  }\n}\n", {"rows", "tokens", "parts"}, set()),
    "entries of a mixture": ("mixture x {\n  take {\n    ‸\n  }\n}\n", {"clean", "judged", "first"}, {"judge"}),
    "ports of an entry": ("mixture x {\n  take {\n    clean.‸\n  }\n}\n", {"first", "more", "dropped"}, set()),
    "amounts": ("mixture x {\n  take {\n    clean = ‸\n  }\n}\n", {"all", "rest", "param.hinted"}, {"clean"}),
    "parameters": ("filter x {\n  select = param.‸\n}\n", {"hinted"}, {"rows"}),
    "methods": ("dedup x {\n  method = ‸\n}\n", {"exact", "minhash"}, {"ngram"}),
    "parameters of a method": (
        "dedup x {\n  method = minhash(ngram = 5, ‸)\n}\n",
        {"permutations", "threshold"},
        {"ngram"},
    ),
    "methods in a list": ("decontaminate x {\n  method = [‸]\n}\n", {"ngram"}, {"minhash"}),
    "parts of a record": ("teacher x {\n  price {\n    ‸\n  }\n}\n", {"input", "output"}, {"model"}),
    "units of a price": ("teacher x {\n  price {\n    input = $5 per 1M ‸\n  }\n}\n", {"tokens"}, {"rows"}),
    "rules of a class": (
        "task x {\n  learn = clean.dropped\n  classes {\n    bad = ‸\n  }\n}\n",
        {"short", "spam"},
        {"clean"},
    ),
    "types of a field": ("schema x {\n  a: ‸\n}\n", {"text", "int", "messages", "list"}, {"rate", "clean"}),
    "types of a parameter": ("param x: ‸\n", {"percent", "tokens", "enum"}, {"messages"}),
    "bools": ("teacher x {\n  batch = ‸\n}\n", {"true", "false"}, {"rows"}),
    "figures of the plan": ("check x {\n  expect plan.‸\n}\n", {"cost", "calls"}, {"topic"}),
    "aggregates": ("check x {\n  expect ‸\n}\n", {"rows", "share", "plan.cost"}, {"topic"}),
    "streams in a promise": ("check x {\n  expect rows(‸\n}\n", {"clean", "judged"}, {"topic"}),
    "totals of a step": (
        'filter x {\n  from = clean\n  drop topic == "a" as a_rule\n  expect ‸\n}\n',
        {"rows", "dropped.a_rule"},
        {"topic"},
    ),
    "variants: blocks": ("variant x {\n  set ‸\n}\n", {"param", "clean", "judged"}, {"topic"}),
    "variants: attributes": ("variant x {\n  set judged.‸\n}\n", {"select", "teacher"}, {"hub"}),
    "variants: values": ("variant x {\n  set judged.mode = ‸\n}\n", {"only", "add"}, {"clean"}),
    "imports": ('import "‸', {"std:alchemy"}, {"clean"}),
    "variables of a prompt": (
        'prompt x {\n  input { code: text }\n  output { a: text }\n  user = jinja"""\n    {{ ‸ }}\n    """\n}\n',
        {"code"},
        {"topic"},
    ),
    "columns in a template over the row": (
        'map x {\n  from = clean\n  set b = jinja"""\n    {{ ‸ }}\n    """\n}\n',
        {"topic", "response"},
        {"code"},
    ),
    "filters": (
        'map x {\n  from = clean\n  set b = jinja"""\n    {{ topic | ‸ }}\n    """\n}\n',
        {"trim", "upper"},
        {"topic"},
    ),
    "tags": ('map x {\n  from = clean\n  set b = jinja"""\n    {% ‸ %}\n    """\n}\n', {"if", "for"}, {"topic"}),
    "names of a template": (
        'map x {\n  from = clean\n  set b = jinja"""\n    {% for word in topic %}{{ ‸ }}\n    """\n}\n',
        {"word", "loop"},
        set(),
    ),
    "steps of a test": ('test "a" {\n  step = ‸\n}\n', {"clean", "judged"}, set()),
    "inputs of a prompt": (
        "generate x {\n  from = clean\n  teacher = judge\n  prompt = ask\n  map {\n    ‸\n  }\n}\n",
        {"instruction", "response"},
        {"topic"},
    ),
    "nothing in a comment": ("# a ‸\n", set(), {"filter"}),
    "nothing in a text": ('recipe {\n  title = "a ‸"\n}\n', set(), {"rows"}),
    "nothing in the text of a template": (
        'map x {\n  from = clean\n  set b = jinja"""\n    a ‸\n    """\n}\n',
        set(),
        {"topic"},
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_completion(editor: Editor, place: str) -> None:
    text, wanted, unwanted = PLACES[place]
    found = editor.completed(HEAD + "\n" + text)
    assert wanted <= found.keys(), sorted(found)
    assert not unwanted & found.keys(), sorted(found)
    if place.startswith("nothing"):
        assert not found


#: Lines that somebody is in the middle of, in another block.
BROKEN = [
    "  from = [",
    "  from = ",
    "  drop chars(",
    "  drop chars(response <",
    '  title = "a',
    "  set x",
    "  from = [first, (clean",
    "  }",
    "  {",
    "  drop = = 3",
    "  §",
]


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_line_never_takes_completion_away_elsewhere(editor: Editor, line: str) -> None:
    head = HEAD.replace("filter clean {\n", f"map half {{\n  from = first\n{line}\n}}\n\nfilter clean {{\n")
    places = {
        "filter x {\n  from = ‸\n}\n": {"first", "clean", "judged"},
        "filter x {\n  from = clean\n  drop ‸\n}\n": {"response", "chars", "topic"},
        "generate x {\n  prompt = ‸\n}\n": {"ask"},
        "mixture x {\n  ‸\n}\n": {"take"},
    }
    for text, wanted in places.items():
        found = editor.completed(head + "\n" + text)
        assert wanted <= found.keys(), (text, sorted(found))


def test_what_is_known_outlives_a_half_written_line_upstream(editor: Editor) -> None:
    name = "outlives.recipe"
    editor.open(name, HEAD + "\nfilter x {\n  from = clean\n  drop  == 1\n}\n")
    editor.diagnostics(name)
    editor.replace(name, 'files = "rows.jsonl"\n}\n\nsource more', "files = \n}\n\nsource more")
    editor.replace(name, "  from = [\n    first,\n    more,\n  ]", "  from = [fi")
    editor.diagnostics(name)
    found = editor.complete(name, "  drop ‸ == 1")
    assert {"topic", "response"} <= found.keys()


def test_items_carry_type_doc_and_the_exact_place(editor: Editor) -> None:
    name = "items.recipe"
    editor.open(name, HEAD + '\nmap x {\n  from = clean\n  set a = "😀" + top\n}\n')
    found = editor.complete(name, 'set a = "😀" + top‸')
    item = found["topic"]
    assert item.detail == "text" and isinstance(item.text_edit, lsp.TextEdit)
    assert editor.slice(name, item.text_edit.range) == "top"
    chars = found["chars"]
    assert isinstance(chars.documentation, lsp.MarkupContent)
    assert "Length in code points" in chars.documentation.value
    assert chars.insert_text_format == lsp.InsertTextFormat.Snippet
    attributes = editor.completed(HEAD + "\nteacher x {\n  ‸\n}\n")
    assert attributes["provider"].sort_text < attributes["stop"].sort_text  # what is needed comes first
    assert "Sampling temperature" in attributes["temperature"].documentation.value  # type: ignore[union-attr]
    assert "0" in (attributes["temperature"].detail or "")


def test_every_offset_of_a_recipe_can_be_asked(editor: Editor) -> None:
    name = "everywhere.recipe"
    editor.open(name, HEAD)
    for offset in range(0, len(HEAD), 3):
        editor.complete(name, offset)
    assert CURSOR not in HEAD
