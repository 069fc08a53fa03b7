"""Keys: what moves them and what does not; a golden table holds them still."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from alchemist_runtime.schema.attributes import decimal
from alchemist_runtime.schema.functions import FUNCTIONS
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import dump

from alchemist_dsl.lowering.canonical import canon_value, frozen_default

HERE = Path(__file__).parent / "golden"


def moved(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_golden_keys_and_plan(work, monkeypatch):
    """A key that moves makes every user's step run again. If that is meant, bump the version of what changed and `make
    golden`.
    """
    monkeypatch.setattr("alchemist_dsl.lowering.keys.PYTHON_MINOR", "3.11")
    plan = work.plan((HERE / "every_kind.recipe").read_text(), here=False)
    made = {"keys.json": json.dumps({n.id: n.key for n in plan.nodes}, indent=2) + "\n", "plan.json": dump(plan)}
    if os.environ.get("UPDATE_GOLDEN"):
        for name, text in made.items():
            (HERE / name).write_text(text)
    for name, text in made.items():
        assert text == (HERE / name).read_text()


COSMETIC = {
    "comment": ("filter clean {", "# a remark\nfilter clean {"),
    "doc": ("filter clean {", "## What it is for.\nfilter clean {"),
    "spaces": ("drop chars(response) < 10", "drop   chars( response )  <  10"),
    "order of attributes": ("  select = param.part\n  teacher = paid\n", "  teacher = paid\n  select = param.part\n"),
    "order of set": (
        "  set instruction = out.instruction\n  set response = out.response\n",
        "  set response = out.response\n  set instruction = out.instruction\n",
    ),
    "order of entries": ("    evolution = 10%\n    filtering = 5%\n", "    filtering = 5%\n    evolution = 10%\n"),
    "another spelling of a number": ("select = 10% per origin", "select = 10.0% per origin"),
    "a default written out": ("dedup pool {", "dedup pool {\n  method = exact()\n  on = [instruction, response]"),
    "a default of a method": ("against = items", "against = items\n  method = [ngram(n = 10)]"),
    "a default with its unit": ("max_length = 128 tokens", "max_length = 128"),
    "path of an export": ('path = "out"', 'path = "elsewhere"'),
    "title": ('title = "A small recipe"', 'title = "Another title"'),
    "licence": ('license = "MIT"', 'license = "Apache-2.0"'),
    "rate": ("500/min", "900/min"),
    "price": ("$2.5 per 1M", "$3.5 per 1M"),
    "retries": ("  provider = openai\n", "  provider = openai\n  retries = 2\n  timeout = 30s\n  concurrency = 8\n"),
    "budget": ("  samples = 1\n", "  budget = $3\n"),
    "top_p as the API has it": ("  provider = openai\n", "  provider = openai\n  top_p = 1\n"),
    "top_p left out": ("  provider = openai\n", "  provider = openai\n  top_p = none\n"),
    "headers": ("  provider = openai\n", '  provider = openai\n  headers_env {\n    "api-key" = "K"\n  }\n'),
    "nothing added": ("  provider = openai\n", "  provider = openai\n  extra {\n  }\n  query = {}\n"),
    "processes": ("  epochs = 1\n", "  epochs = 1\n  processes = 2\n  gpus = 0\n  save_every = 5 steps\n"),
    "an expectation": (
        "drop chars(response) < 10 as too_short",
        "drop chars(response) < 10 as too_short\n  expect rows >= 1",
    ),
    "a check": ("expect plan.cost <= $5", "expect plan.cost <= $6"),
    "an unused block": (
        "check promises",
        "filter unread {\n  from = pool\n  drop chars(response) < 3\n}\ncheck promises",
    ),
    "a test": (
        "check promises",
        'test "it drops" {\n  step = clean\n  given = [{ instruction = "a", response = "b" }]\n  expect rows == 0\n}\ncheck promises',
    ),
}


@pytest.mark.parametrize("name", COSMETIC)
def test_what_moves_no_key(work, full, name):
    old, new = COSMETIC[name]
    base = full.replace("  teacher = paid\n", "  teacher = paid\n  samples = 1\n") if name == "budget" else full
    assert old in base
    assert moved(work.keys(base), work.keys(base.replace(old, new, 1))) == set()


def test_the_type_of_a_further_field_is_part_of_the_key(work, full):
    """A server that gets `20` and one that gets `"20"` are asked different things; where they stand says nothing."""

    def keys(extra: str) -> dict[str, str]:
        old = "  provider = openai\n"
        return work.keys(full.replace(old, f"{old}  extra {{\n{extra}\n  }}\n", 1))

    whole, text = keys("top_k = 20\nmin_p = 0"), keys('top_k = "20"\nmin_p = 0')
    assert moved(whole, text) == after("evolved")
    assert moved(whole, keys('"min_p" = 0\ntop_k = 2_0')) == set()
    assert moved(keys("a { b = [1, true] }"), keys("a = { b = [1, true] }")) == set()


def after(*names: str) -> set[str]:
    """These steps and what reads them in the full recipe."""
    readers = {
        "rows_a": {"tagged"},
        "rows_b": {"tagged"},
        "items": {"safe", "bench"},
        "tagged": {"pool"},
        "pool": {"clean"},
        "clean": {"safe", "filtering"},
        "safe": {"evolved", "harmonized", "reviewed"},
        "evolved": {"harmonized", "evolution"},
        "harmonized": {"sft"},
        "reviewed": {"review"},
        "evolution": {"sft"},
        "filtering": {"sft"},
        "review": {"sft"},
        "sft": {"dataset", "tiny"},
        "tiny": {"bench"},
    }
    found = set(names)
    while more := {r for n in found for r in readers.get(n, set())} - found:
        found |= more
    return found


EVERYTHING_THAT_DRAWS = after("evolved", "harmonized", "reviewed", "filtering", "sft")
MEANT = {
    "a rule": ("chars(response) < 10", "chars(response) < 11", after("clean")),
    "the name of a rule": ("as too_short", "as brief", None),
    "another verb": ("keep parses(code", "drop parses(code", after("clean")),
    "a method": ("dedup pool {", "dedup pool {\n  method = minhash()", after("pool")),
    "an argument": ("against = items", "against = items\n  method = ngram(n = 8)", after("safe")),
    "a column": ("set lang = lang(response)", "set lang = lang(instruction)", after("tagged")),
    "order of streams": ("    rows_a,\n    rows_b,\n", "    rows_b,\n    rows_a,\n", after("tagged")),
    "a share": ("select = 10% per origin", "select = 11% per origin", after("harmonized")),
    "groups of a share": ("select = 10% per origin", "select = 10%", after("harmonized")),
    "a count": ("select = 5 rows", "select = 6 rows", after("reviewed")),
    "a parameter": ("percent = 25%", "percent = 30%", after("evolved")),
    "the model": ('"gpt-4o-2024-08-06"', '"gpt-4o-mini-2024-07-18"', after("evolved")),
    "sampling": ("  provider = openai\n", "  provider = openai\n  temperature = 0.5\n", after("evolved")),
    "no temperature": ("  provider = openai\n", "  provider = openai\n  temperature = none\n", after("evolved")),
    "another top_p": ("  provider = openai\n", "  provider = openai\n  top_p = 0.9\n", after("evolved")),
    "a seed of the sampling": ("  provider = openai\n", "  provider = openai\n  seed = 0\n", after("evolved")),
    "thinking": ("  provider = openai\n", "  provider = openai\n  reasoning_effort = none\n", after("evolved")),
    "a further field": (
        "  provider = openai\n",
        "  provider = openai\n  extra {\n    top_k = 20\n  }\n",
        after("evolved"),
    ),
    "a parameter of the address": (
        "  provider = openai\n",
        '  provider = openai\n  query {\n    "api-version" = "1"\n  }\n',
        after("evolved"),
    ),
    "another server": (
        "  provider = openai\n",
        '  provider = openai\n  base_url = "http://localhost:8000/v1"\n',
        after("evolved"),
    ),
    "samples": ("  teacher = paid\n", "  teacher = paid\n  samples = 2\n", after("evolved")),
    "place": ("  prompt = alchemy.relabel\n", "  prompt = alchemy.relabel\n  place = after\n", after("harmonized")),
    "classes": ("uncompilable_code = parses", "broken = parses", after("filtering")),
    "sound rows": ("sound = 20%", "sound = 10%", after("filtering")),
    "an amount": ("evolution = 10%", "evolution = 11%", after("sft")),
    "on_short": ("  on_short = shrink\n", "  on_short = repeat(max = 2x)\n", after("sft")),
    "the split": ("train = 90%\n    eval = 10%", "train = 80%\n    eval = 20%", after("dataset")),
    "the format": ('path = "out"', 'path = "out"\n  format = jsonl', after("dataset")),
    "learning rate": ("1e-3", "2e-3", after("tiny")),
    "the model's shape": ("hidden = 32", "hidden = 64", after("tiny")),
    "the seed": ("seed = 7", "seed = 8", EVERYTHING_THAT_DRAWS | {"evolution", "review", "dataset", "tiny", "bench"}),
    "the name of a source": ("rows_a", "rows_c", None),
    "the schema": ('  title = "A small recipe"\n', "  schema = own\n", None),
}


@pytest.mark.parametrize("name", MEANT)
def test_what_moves_keys_moves_those_and_no_others(work, full, name):
    old, new, expected = MEANT[name]
    assert old in full
    text = full.replace(old, new) if name in ("the name of a source",) else full.replace(old, new, 1)
    if name == "the name of a rule":
        text = text.replace("short_response = too_short", "short_response = brief")
        expected = after("clean")
    if name == "the schema":
        text += "\nschema own {\n  instruction: text\n  response: text\n  lang: text?\n}\n"
        expected = after("rows_a", "rows_b")
    if name == "the name of a source":
        expected = after("rows_a") | {"rows_c"}
    before, now = work.keys(full), work.keys(text)
    assert moved(before, now) == expected


def test_a_changed_template_moves_the_steps_that_ask_it(work, full):
    own = full.replace("prompt = alchemy.review", "prompt = mine") + (
        "\nprompt mine {\n  input {\n    instruction: text\n    response: text\n  }\n  output {\n    note: text\n  }\n"
        '  user = jinja"""\n    Read {{ instruction }} and {{ response }}.\n    """\n}\n'
    )
    own = (
        own.replace("  teacher = rules\n  prompt = mine", "  teacher = paid\n  prompt = mine")
        .replace("task review {\n  learn = reviewed.trace\n}\n", "")
        .replace("    review = 3 rows\n", "    reviewed = 3 rows\n")
    )
    indented = own.replace("    Read {{", "        Read {{").replace('.\n    """', '.\n        """')
    changed = own.replace("Read {{", "See {{")
    assert indented != own and moved(work.keys(own), work.keys(indented)) == set()
    assert moved(work.keys(own), work.keys(changed)) == {"reviewed", "sft", "dataset", "tiny", "bench"}


def test_a_renamed_file_moves_no_key_and_changed_bytes_do(work, full):
    before = work.keys(full)
    (work.root / "data/a.jsonl").rename(work.root / "data/renamed.jsonl")
    assert moved(before, work.keys(full.replace("data/a.jsonl", "data/renamed.jsonl"))) == set()
    with (work.root / "data/renamed.jsonl").open("a") as file:
        file.write('{"instruction": "one more", "response": "yes"}\n')
    assert moved(before, work.keys()) == after("rows_a")


def test_a_renamed_step_is_free_where_it_draws_nothing(work, full):
    before = work.keys(full)
    now = work.keys(re.sub(r"\bclean\b", "tidy", full))
    assert now.pop("tidy") == before.pop("clean")
    assert now == before


def test_a_renamed_suite_moves_what_names_it_in_its_rows(work, full):
    """`.dropped` says `leak of SUITE`: under the old name, a rule that asks for the new one would find nothing."""
    before = work.keys(full)
    now = work.keys(re.sub(r"\bitems\b(?!\.)", "exam", full))
    assert now.pop("exam") == before.pop("items")
    assert moved(before, now) == after("safe")


def test_moved_keeps_the_draw_of_a_renamed_step(work, full):
    before = work.keys(full)
    renamed = re.sub(r"\breviewed\b", "judged", full)
    assert work.keys(renamed)["judged"] != before["reviewed"]
    kept = work.keys(renamed + "\nmoved {\n  from = reviewed\n  to = judged\n}\n")
    assert kept["judged"] == before["reviewed"] and kept["sft"] == before["sft"]


def test_a_salt_written_by_hand_counts_as_the_name(work, full):
    text = full.replace("  select = 5 rows\n", '  select = 5 rows\n  salt = "reviewed"\n')
    assert moved(work.keys(full), work.keys(text)) == set()


def test_limit_is_in_the_keys_of_sources(work, full):
    assert moved(work.keys(full), work.keys(limit=3)) >= {"rows_a", "rows_b", "tagged"}


def test_identity_of_a_teacher_stands_for_its_address(work, full):
    here = full.replace(
        "  provider = openai\n", '  provider = openai\n  identity = "llama at home"\n  base_url = "http://a/v1"\n'
    )
    there = here.replace("http://a/v1", "http://b/v1")
    assert moved(work.keys(here), work.keys(there)) == set()
    official = full.replace("  provider = openai\n", '  provider = openai\n  base_url = "https://api.openai.com/v1"\n')
    assert moved(work.keys(full), work.keys(official)) == set()


def test_metadata_moves_the_meta_key_alone(work, full):
    before, now = (work.node("evolved", full), work.node("evolved", full.replace("500/min", "900/min")))
    assert before.key == now.key and before.meta_key != now.meta_key


def test_own_key_does_not_know_the_inputs_keys(work, full):
    before, now = (
        work.node("pool", full),
        work.node("pool", full.replace("set lang = lang(response)", "set lang = lang(instruction)")),
    )
    assert before.key != now.key and before.own_key == now.own_key


def test_the_key_is_the_digest_of_the_ingredients(work, full):
    from alchemist_dsl.lowering.keys import node_key

    made = work.compile(full)
    assert made.plan is not None
    for node in made.plan.nodes:
        stored = json.loads(json.dumps(made.ingredients[node.id]))
        assert node_key(stored) == node.key


@pytest.mark.parametrize(
    "kind, name", [(k, a) for k, spec in KINDS.items() for a, at in spec.attributes.items() if at.frozen_default]
)
def test_every_default_has_a_canonical_form(kind, name):
    value = frozen_default(kind, name)
    assert value is not None
    json.dumps(value)


@pytest.mark.parametrize(
    "block, kind",
    [
        ("pool", "dedup"),
        ("safe", "decontaminate"),
        ("evolved", "generate"),
        ("harmonized", "relabel"),
        ("sft", "mixture"),
        ("dataset", "export"),
        ("tiny", "train"),
        ("rows_a", "source"),
        ("filtering", "task"),
    ],
)
def test_every_default_of_a_kind_may_be_written_out(work, full, block, kind):
    """A default says the same written out; what equals the first published one is left out of keys."""
    before = work.keys(full)
    header = f"{kind} {block} {{\n"
    start = full.index(header) + len(header)
    body = full[start : full.index("\n}\n", start)]
    for name, spec in KINDS[kind].attributes.items():
        if spec.default_text is None or spec.affects != "data" or re.search(rf"^  {name} =", body, re.M):
            continue
        if kind == "source" and name == "split":
            continue  # only with `hub`
        text = full[:start] + f"  {name} = {spec.default_text}\n" + full[start:]
        assert moved(before, work.keys(text)) == set(), name


def test_numbers_of_the_same_value_are_equal():
    from fractions import Fraction

    from alchemist_runtime.schema.attributes import PERCENT, ROWS, TOKENS, integer

    from alchemist_dsl.ir import Qty
    from alchemist_dsl.source import Span

    at = Span("x", 0, 0)
    bare, counted = (Qty(at, "int", Fraction(128), "128"), Qty(at, "tokens", Fraction(128), "128 tokens"))
    assert canon_value(bare, TOKENS | integer(1)) == canon_value(counted, TOKENS | integer(1)) == "128"
    share, rows = Qty(at, "percent", Fraction(1, 20), "5%"), Qty(at, "rows", Fraction(5), "5 rows")
    assert canon_value(share, PERCENT | ROWS) == "1/20 percent"
    assert canon_value(rows, PERCENT | ROWS) == "5 rows"


@pytest.mark.parametrize("text", ["0", "1", "1/2", "1/2000", "5/4", "-3/8", "123456789/1000000"])
def test_decimals_are_exact(text):
    from fractions import Fraction

    assert Fraction(decimal(Fraction(text))) == Fraction(text)
    assert "/" not in decimal(Fraction(text))


def test_a_rule_without_a_name_is_called_by_one_spelling(work, full):
    def with_rule(text: str) -> str:
        return full.replace(
            "  drop chars(response) < 10 as too_short", f"  drop chars(response) < 10 as too_short\n  {text}"
        )

    one, two = (
        with_rule('drop contains(response, "x","y") and not (1 <2)'),
        with_rule('drop contains( response, "x", "y" ) and not(1 < 2)'),
    )
    assert work.keys(one) == work.keys(two)
    names = [r.name for r in work.node("clean", two).spec.rules]
    assert names == ["too_short", 'contains(response, "x", "y") and (not (1 < 2))', "parses"]


def test_other_weights_in_the_folder_of_a_local_base_move_the_key(work, full):
    text = full.replace("  init = scratch(layers = 1, hidden = 32)\n", '  base = "models/own"\n')
    (work.root / "models/own").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        (work.root / "models/own" / name).write_text("{}")
    (work.root / "models/own/model.safetensors").write_bytes(b"one")
    before = work.keys(text)
    (work.root / "models/own/model.safetensors").write_bytes(b"two")
    assert moved(before, work.keys()) == {"tiny", "bench"}


def test_long_rows_are_left_out_by_default_and_the_first_default_stays_out_of_keys(work, full):
    def ingredients(line: str) -> dict[str, object]:
        text = full.replace("  max_length = 128 tokens\n", f"  max_length = 128 tokens\n{line}")
        return dict(work.compile(text).ingredients["tiny"])

    assert ingredients("")["attribute.on_long"] == "drop"
    assert ingredients('  on_long = "drop"\n') == ingredients("")
    assert "attribute.on_long" not in ingredients("  on_long = truncate\n")
    # one stream cut into packs has no long rows, so its keys stay as they were
    assert "attribute.on_long" not in ingredients("  packing = wrapped\n")


def test_a_plain_answer_has_a_version_and_structured_ones_and_labels_have_none(work, full):
    """Until it was kept as sent, the white space around it was left out; the call cache holds what was sent."""
    ask = """
prompt say {
  input { instruction: text }
  output { answer: TYPE }
  user = "{{ instruction }}"
}
generate said {
  from = safe
  teacher = paid
  prompt = say
  set said = out.answer
}
export told {
  data = said
  path = "told"
}
"""
    for type_, version in (("text", 2), ("text?", 2), ("int", None), ("list<text>", None)):
        made = work.compile(full + ask.replace("TYPE", type_)).ingredients
        assert made["said"].get("version.answer") == version
        assert all("version.answer" not in i for name, i in made.items() if name != "said")


def test_a_batch_in_packs_has_the_key_that_it_had_in_rows(work, full):
    made = work.compile(full.replace("batch = 4 packs", "batch = 4 packs\n  micro_batch = 2 packs"))
    assert made.ingredients["tiny"]["attribute.batch"] == "4 rows"
    rows = full.replace("batch = 4 packs", "batch = 4 rows\n  packing = none")
    assert work.compile(rows).ingredients["tiny"]["attribute.batch"] == "4 rows"
    tokens = full.replace("batch = 4 packs", "batch = 512 tokens")
    assert work.compile(tokens).ingredients["tiny"]["attribute.batch"] == "512 tokens"


def test_a_function_in_the_first_part_of_a_condition_counts(work, full, monkeypatch):
    """Its later versions, the tokenizer that it counts with, the Python that runs it."""
    first = full.replace("drop chars(response) < 10", "drop tokens(response) < 10 and words(response) < 3")
    assert "tokenizer" in work.compile(first).ingredients["clean"]
    before = work.keys(first)
    monkeypatch.setitem(FUNCTIONS, "tokens", replace(FUNCTIONS["tokens"], version=2))
    assert "clean" in moved(before, work.keys(first))
    python = full.replace("drop chars(response) < 10", 'drop lang(response) == "c" and words(response) < 3')
    python = python.replace("keep parses(code(response), lang) as parses", "keep words(response) > 1 as parses")
    assert "version.python" in work.compile(python).ingredients["clean"]
