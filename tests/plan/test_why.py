"""Actions and reasons after changes, and what `compile`, `show` and `why` print of them."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.engine.export_step import MARKER, marker
from alchemist_runtime.schema.plan import Plan, from_json
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemist_dsl.cli.compile import compile_
from alchemist_dsl.cli.show import show
from alchemist_dsl.cli.why import why


def build(work, *names: str) -> Plan:
    """Pretend that a run finished: manifests, the export's marker, and a record, as the engine leaves them."""
    made = work.compile()
    plan = made.plan
    nodes: dict[str, Any] = {}
    for node in plan.nodes:
        if not node.runnable or (names and node.id not in names):
            continue
        folder = work.root / ".alchemist/store" / node.key.removeprefix("b2:")
        folder.mkdir(parents=True, exist_ok=True)
        port = {"rows": 10, "per_origin": {}, "columns": {}, "parts": [], "digest": node.key}
        ports = {"rows": port}
        (folder / "manifest.json").write_text(json.dumps({"format": 1, "key": node.key, "ports": ports, "figures": {}}))
        if node.kind == "export":
            target = work.root / node.spec.path
            target.mkdir(exist_ok=True)
            (target / MARKER).write_text(json.dumps(marker(plan, node)))
        nodes[node.id] = {
            "key": node.key,
            "action": "built",
            "ingredients": made.ingredients[node.id],
            "files": {f["path"]: f["digest"] for f in getattr(node.spec, "files", [])},
        }
    for digest, text in plan.texts.items():
        (work.root / ".alchemist/texts").mkdir(exist_ok=True)
        (work.root / ".alchemist/texts" / digest.removeprefix("b2:")).write_text(text)
    record = {"record": 1, "run": "r-1", "recipe": plan.recipe["path"], "variant": None, "nodes": nodes}
    with (work.root / ".alchemist/runs.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    return plan


def actions(plan: Plan) -> dict[str, str]:
    return {n.id: n.action for n in plan.now.nodes}


def reasons(plan: Plan, node: str) -> list[tuple[str, str | None]]:
    return [(r.code, r.path) for n in plan.now.nodes if n.id == node for r in n.reasons]


def test_a_first_run_builds_everything(work, full):
    plan = work.plan(full)
    assert set(actions(plan).values()) == {"build", "skip"}
    assert actions(plan)["bench"] == "skip"  # this version does not run it
    assert reasons(plan, "clean") == [("never_built", None)]


def test_a_second_run_does_nothing(work, full):
    work.write(full)
    build(work)
    assert set(actions(work.plan()).values()) == {"reuse", "skip"}


@pytest.mark.parametrize(
    "old, new, node, expected",
    [
        ("chars(response) < 10", "chars(response) < 11", "clean", [("attribute_changed", "rule.too_short")]),
        (
            "dedup pool {",
            "dedup pool {\n  method = minhash()",
            "pool",
            [
                ("attribute_changed", "method"),
                ("operator_changed", "version.dedup.exact"),
                ("operator_changed", "version.dedup.minhash"),
            ],
        ),
        ("seed = 7", "seed = 8", "reviewed", [("seed_changed", "seed")]),
        ('"gpt-4o-2024-08-06"', '"gpt-4o-2024-11-20"', "evolved", [("teacher_changed", "teacher.model")]),
        ("prompt = alchemy.review", "prompt = mine", "reviewed", None),
        ("set lang = lang(response)", "set lang = lang(instruction)", "pool", [("input_changed", "tagged")]),
    ],
)
def test_every_change_has_its_reason(work, full, old, new, node, expected):
    mine = '\nprompt mine {\n  rules = review\n  input {\n    instruction: text\n    response: text\n  }\n  output {\n    correctness: int(0..10)\n    clarity: int(0..10)\n    suggestions: text\n    refined: text\n  }\n  user = jinja"""\n    {{ instruction }} {{ response }}\n    """\n}\n'
    work.write(full)
    build(work)
    plan = work.plan(full.replace(old, new, 1) + (mine if "mine" in new else ""))
    found = reasons(plan, node)
    if expected is None:
        assert {"template_changed"} == {code for code, _ in found}
        assert {path for _, path in found} == {"prompt.system", "prompt.user"}
    else:
        assert found == expected
    assert actions(plan)["rows_a"] == "reuse"


def test_changed_bytes_of_a_file(work, full):
    work.write(full)
    build(work)
    with (work.root / "data/a.jsonl").open("a") as file:
        file.write('{"instruction": "x", "response": "y"}\n')
    plan = work.plan()
    assert reasons(plan, "rows_a") == [("file_changed", "data/a.jsonl")]
    assert actions(plan)["rows_b"] == "reuse" and actions(plan)["tagged"] == "build"


def test_a_larger_share_extends_and_calls_only_for_the_new_rows(work, full):
    work.write(full)
    build(work)
    plan = work.plan(full.replace("percent = 25%", "percent = 50%"))
    (node,) = [n for n in plan.now.nodes if n.id == "evolved"]
    assert node.action == "extend" and [(r.before, r.after) for r in node.reasons] == [("1/4", "1/2")]
    assert node.calls_new == int(plan.node("evolved").estimate["calls"].value) // 2
    smaller = work.plan(full.replace("percent = 25%", "percent = 5%"))
    assert actions(smaller)["evolved"] == "build"


def test_lost_and_broken_results(work, full):
    work.write(full)
    plan = build(work)
    store = work.root / ".alchemist/store"
    (store / plan.node("sft").key[3:] / "manifest.json").unlink()
    (store / plan.node("dataset").key[3:] / "manifest.json").write_text("{broken")
    (work.root / ".alchemist/store" / plan.node("tiny").key[3:] / "manifest.json").unlink()
    (work.root / ".alchemist/store" / plan.node("tiny").key[3:]).rmdir()
    again = work.plan()
    assert reasons(again, "dataset") == [("output_incomplete", None)]
    assert reasons(again, "sft") == [("output_incomplete", None)]
    assert reasons(again, "tiny") == [("output_missing", None)]


def test_a_record_without_paths_still_tells_that_a_file_changed(work, full):
    work.write(full)
    build(work)
    path = work.root / ".alchemist/runs.jsonl"
    record = json.loads(path.read_text())
    for node in record["nodes"].values():
        del node["files"]
    path.write_text(json.dumps(record) + "\n")
    (work.root / "data/a.jsonl").write_text('{"instruction": "x", "response": "y"}\n')
    assert reasons(work.plan(), "rows_a") == [("file_changed", "file.0")]
    assert "~ file 1: " in call(why, "rows_a", work.recipe).output


def test_files_that_come_and_go_are_told_by_their_paths(work, full):
    work.write(full.replace('files = "data/a.jsonl"', 'files = "data/many/*.jsonl"'))
    (work.root / "data/many").mkdir()
    for name in "bcd":
        (work.root / f"data/many/{name}.jsonl").write_text(f'{{"instruction": "{name}", "response": "r"}}\n')
    build(work)
    (work.root / "data/many/b.jsonl").rename(work.root / "data/many/a.jsonl")
    (work.root / "data/many/d.jsonl").write_text('{"instruction": "d", "response": "s"}\n')
    plan = work.plan()
    assert reasons(plan, "rows_a") == [
        ("file_changed", "data/many/a.jsonl"),
        ("file_changed", "data/many/b.jsonl"),
        ("file_changed", "data/many/d.jsonl"),
    ]
    text = call(why, "rows_a", work.recipe).output
    assert "because file `data/many/a.jsonl` is new" in text
    assert "because file `data/many/b.jsonl` is gone" in text
    assert "+ file `data/many/a.jsonl`: " in text and "- file `data/many/b.jsonl`: " in text
    assert "    file `data/many/c.jsonl`: " in text and "~ file `data/many/d.jsonl`: " in text


def test_a_pin_that_moved_is_a_changed_revision(work, full):
    def pinned(commit: str) -> None:
        (work.root / "recipe.lock").write_text(f'version = 1\n[hub]\n"owner/set" = {{ revision = "{commit * 40}" }}\n')

    work.write(full.replace('files = "data/a.jsonl"', 'hub = "owner/set"'))
    pinned("a")
    build(work)
    pinned("b")
    assert reasons(work.plan(), "rows_a") == [("source_revision_changed", "revision")]
    text = call(why, "rows_a", work.recipe).output
    assert "because the revision changed" in text and f"`revision`: {'a' * 40} → {'b' * 40}" in text


def test_a_result_between_others_that_is_no_longer_stored(work, full):
    work.write(full)
    plan = build(work)
    folder = work.root / ".alchemist/store" / plan.node("pool").key[3:]
    (folder / "manifest.json").unlink()
    folder.rmdir()
    assert actions(work.plan())["pool"] == "skip"  # nobody needs it
    plan = work.plan(full.replace("< 10", "< 11"))
    assert reasons(plan, "pool") == [("cache_evicted", None)]
    assert actions(plan)["pool"] == "build" and actions(plan)["tagged"] == "reuse"


def test_a_result_that_only_shows_others_is_whole_with_these_alone(work, full):
    """The rows of `pool` are those of `tagged`: where these are gone and something reads `pool` anew, they are made
    again.
    """
    work.write(full)
    plan = build(work)
    store = work.root / ".alchemist/store"
    for name in ("pool", "tagged"):
        path = store / plan.node(name).key[3:] / "manifest.json"
        data = json.loads(path.read_text())
        data["ports"]["rows"]["parts"] = [{"view": [0]}]
        path.write_text(json.dumps(data))
    gone = store / plan.node("rows_a").key[3:]
    (gone / "manifest.json").unlink()
    gone.rmdir()
    assert actions(work.plan())["rows_a"] == "skip"
    again = work.plan(full.replace("< 10", "< 11"))
    assert actions(again)["pool"] == "reuse"
    assert reasons(again, "rows_a") == [("cache_evicted", None)]


def test_an_export_that_somebody_moved_away(work, full):
    work.write(full)
    build(work)
    (work.root / "out" / MARKER).unlink()
    plan = work.plan()
    assert reasons(plan, "dataset") == [("output_missing", "out")]
    assert actions(plan)["sft"] == "reuse"


def test_what_only_finished_steps_read_is_left_alone(work, full):
    work.write(full)
    plan = build(work)
    (work.root / ".alchemist/store" / plan.node("pool").key[3:] / "manifest.json").unlink()
    assert actions(work.plan())["pool"] == "skip"


def test_forced_steps(work, full):
    work.write(full)
    build(work)
    plan = work.plan(forced=("sft",))
    assert reasons(plan, "sft") == [("forced", None)] and actions(plan)["harmonized"] == "reuse"


def test_a_record_without_ingredients_is_no_history(work, full):
    work.write(full)
    build(work)
    path = work.root / ".alchemist/runs.jsonl"
    record = json.loads(path.read_text())
    for node in record["nodes"].values():
        node["ingredients"] = {}
    path.write_text(json.dumps(record) + "\n" + '{"cut off')
    plan = work.plan(full.replace("< 10", "< 11"))
    assert reasons(plan, "clean") == [("unknown_history", None)]


def test_the_newest_record_counts(work, full):
    work.write(full)
    build(work)
    work.write(full.replace("< 10", "< 11"))
    build(work)
    plan = work.plan(full.replace("< 10", "< 12"))
    (node,) = [n for n in plan.now.nodes if n.id == "clean"]
    assert "11" in (node.reasons[0].before or "")


def test_now_is_no_part_of_the_portable_plan(work, full):
    before = work.plan(full)
    build(work)
    after = work.plan()
    assert before.digest == after.digest and before.now != after.now
    assert work.plan(here=False).now is None


def test_every_reason_of_the_language_occurs():
    """The codes of reasons.py are those that the tests above make happen, and each has words."""
    from alchemist_runtime.schema.plan import Reason

    from alchemist_dsl.explain import staleness as made
    from alchemist_dsl.explain import wording

    known = {
        *made._CODES.values(),
        "template_changed",
        "attribute_changed",
        "never_built",
        "output_missing",
        "output_incomplete",
        "cache_evicted",
        "forced",
        "unknown_history",
    }
    assert known == {
        "never_built",
        "attribute_changed",
        "input_changed",
        "template_changed",
        "source_revision_changed",
        "file_changed",
        "teacher_changed",
        "operator_changed",
        "seed_changed",
        "output_missing",
        "output_incomplete",
        "cache_evicted",
        "forced",
        "unknown_history",
    }
    for code in known:
        said = wording.reason(Reason(code=code, path=None if code in wording._PLAIN else "x", before="1", after="2"))
        assert said and "{" not in said


# --- commands ---------------------------------------------------------------------------------------------------------


def call(command: Any, *args: object) -> Result:
    made = CliRunner().invoke(command, [str(a) for a in args])
    if made.exception is not None and not isinstance(made.exception, SystemExit):
        raise made.exception
    return made


def test_compile_prints_a_table(work, full):
    work.write(full)
    made = call(compile_, work.recipe)
    assert made.exit_code == 0
    lines = made.output.splitlines()
    head = next(line for line in lines if line.startswith("step"))
    assert head.split() == ["step", "kind", "rows", "calls", "cost", "action", "why"]
    assert any(line.split()[:3] == ["tagged", "map", "60"] for line in lines)
    assert [line for line in lines if len(line) > 120] == []


def test_compile_writes_the_plan(work, full, tmp_path):
    work.write(full)
    made = call(compile_, work.recipe, "-o", tmp_path / "plan.json", "--portable")
    assert made.exit_code == 0
    plan = from_json(Plan, json.loads((tmp_path / "plan.json").read_text()))
    assert plan.now is None and plan.digest == work.plan().digest
    printed = call(compile_, work.recipe, "--format", "json", "--portable")
    assert printed.stdout == (tmp_path / "plan.json").read_text()


def test_a_wrong_recipe_exits_1_and_no_recipe_exits_2(work, full, tmp_path):
    work.write(full.replace("from = pool", "from = pol"))
    assert call(compile_, work.recipe).exit_code == 1
    missing = call(compile_, tmp_path / "r.recip")
    assert missing.exit_code == 2 and "there is no recipe" in missing.output
    assert call(compile_, work.write(full).recipe, "--set", "part").exit_code == 2


def test_show_of_a_plan_file_and_of_a_step(work, full, tmp_path):
    work.write(full)
    call(compile_, work.recipe, "-o", tmp_path / "plan.json")
    assert "sft" in call(show, tmp_path / "plan.json").output
    made = call(show, tmp_path / "plan.json", "harmonized").output
    facts = [line.split(maxsplit=1) for line in made.splitlines()]
    assert ["select", "10%"] in facts and ["select.per", "origin"] in facts and ["from", "[safe, evolved]"] in facts
    data = json.loads(call(show, tmp_path / "plan.json", "clean", "--format", "json").output)
    assert data["kind"] == "filter"


@pytest.mark.parametrize(
    "content, code, said",
    [
        ("{}", 2, "no plan"),
        ("not json", 2, "no plan"),
        ('{"plan_format": "2.0"}', 3, "A904"),
        ('{"plan_format": "1.7"}', 2, "no plan"),
    ],
)
def test_show_refuses_what_is_no_plan(tmp_path: Path, content, code, said):
    path = tmp_path / "plan.json"
    path.write_text(content)
    made = call(show, path)
    assert made.exit_code == code and said in made.output


def test_an_unknown_step_gets_a_near_name(work, full):
    work.write(full)
    made = call(show, work.recipe, "cleen")
    assert made.exit_code == 2 and "did you mean `clean`?" in made.output


def test_why_says_what_changed_and_what_follows(work, full):
    work.write(full)
    build(work)
    work.write(full.replace("chars(response) < 10", "chars(response) < 11"))
    text = call(why, "clean", work.recipe).output
    assert "filter `clean` would be built" in text
    assert "because rule `too_short` drop chars(response) < 10 -> drop chars(response) < 11" in text
    assert "~ rule `too_short`: drop chars(response) < 10 → drop chars(response) < 11" in text
    last = text[text.index("\n\ndownstream, would run too: ") :]
    assert "tiny" in last and "pool" not in last


def test_why_nothing_happens(work, full):
    work.write(full)
    build(work)
    text = call(why, "sft", work.recipe).output
    assert "is up to date: a run would reuse its result" in text and "the same as in run r-1" in text
    assert "`take.evolution` reads evolution" in text


def test_why_in_json_has_both_sides(work, full):
    work.write(full)
    build(work)
    work.write(full.replace("select = 10% per origin", "select = 20% per origin"))
    data = json.loads(call(why, "harmonized", work.recipe, "--format", "json").output)
    assert data["action"] == "extend"
    assert data["ingredients"]["select.share"] == "1/5"
    assert data["before"]["ingredients"]["select.share"] == "1/10"
    assert data["then"] == ["sft", "dataset", "tiny"]


def test_why_finds_the_only_recipe_of_the_folder(work, full, monkeypatch):
    work.write(full)
    monkeypatch.chdir(work.root)
    assert "filter `clean`" in call(why, "clean").output
    (work.root / "other.recipe").write_text("edition 2026\n")
    assert call(why, "clean").exit_code == 2


def test_why_shows_an_old_prompt_word_by_word(work, full):
    mine = """
prompt mine {
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
  user = jinja\"\"\"
    Is this answer right? {{ instruction }}
    {{ response }}
    \"\"\"
}
"""
    text = full.replace("alchemy.review", "mine") + mine
    work.write(text)
    build(work)
    work.write(text.replace("Is this answer right?", "Is this short answer correct?"))
    said = call(why, "reviewed", work.recipe).output
    assert "because the text of `user` of the prompt changed" in said
    assert "~ `user` of prompt `mine`: 1 word removed, 2 added" in said
    assert "Is this {+short +}answer [-right-]{+correct+}?" in said
    data = json.loads(call(why, "reviewed", work.recipe, "--format", "json").output)
    digest = data["before"]["ingredients"]["prompt.user"]
    assert "right?" in data["texts"][digest]
    for file in (work.root / ".alchemist/texts").iterdir():
        file.unlink()
    short = call(why, "reviewed", work.recipe).output
    assert f"~ `user` of prompt `mine`: text {digest[3:15]} → " in short


def test_why_names_inputs_and_what_they_were(work, full):
    work.write(full)
    build(work)
    work.write(full.replace("evolution = 10%", "evolved = 10%").replace("  evolution = ", "  x = "))
    work.write(full.replace("from = clean\n  against", "from = pool\n  against"))
    said = call(why, "safe", work.recipe).output
    assert "+ `from` reads pool" in said and "- `from` read clean" in said
    assert "`against` reads items" in said


def test_why_goes_back_to_the_first_change(work, full):
    work.write(full)
    build(work)
    work.write(full.replace("set lang = lang(response)", "set lang = lang(instruction)"))
    said = call(why, "sft", work.recipe).output
    assert (
        "because of `tagged`: `set lang` lang(response) -> lang(instruction) "
        "(tagged → pool → clean → filtering → sft)" in " ".join(said.split())
    )
    assert "`harmonized` changed" not in said
    data = json.loads(call(why, "sft", work.recipe, "--format", "json").output)
    assert [c["root"] for c in data["causes"]] == ["tagged"]
    assert data["causes"][0]["chain"][0] == "tagged" and data["causes"][0]["chain"][-1] == "sft"


def test_rerun_groups_by_cause(work, full):
    work.write(full)
    assert "because they were never built:" in call(why, "--rerun", work.recipe).output
    build(work)
    assert "nothing would run again" in call(why, "--rerun", work.recipe).output
    work.write(full.replace("select = 10% per origin", "select = 20% per origin").replace("< 10", "< 11"))
    said = call(why, "--rerun", work.recipe).output.splitlines()
    assert said[0] == "11 of 17 steps would run"
    at = said.index("because of `harmonized`: `select` 10% -> 20%:")
    assert said[at + 1].strip() == "as above: harmonized, sft, dataset, tiny"
    data = json.loads(call(why, "--rerun", work.recipe, "--format", "json").output)
    assert [c["root"] for c in data["causes"]] == ["clean", "harmonized"]
    (step,) = [s for s in data["causes"][1]["steps"] if s["node"] == "dataset"]
    assert step == {"node": "dataset", "action": "build", "chain": ["harmonized", "sft", "dataset"]}


def test_rerun_finds_a_cause_in_a_step_that_is_built_already(work, full):
    """`--upto clean` after a change: what reads `clean` runs again for what changed in `clean` since."""
    work.write(full)
    build(work)
    work.write(full.replace("< 10", "< 11"))
    build(work, "clean")
    plan = work.plan()
    assert actions(plan)["clean"] == "reuse" and reasons(plan, "safe") == [("input_changed", "clean")]
    data = json.loads(call(why, "--rerun", work.recipe, "--format", "json").output)
    (cause,) = data["causes"]
    assert cause["root"] == "clean" and cause["reasons"][0]["path"] == "rule.too_short"
    assert cause["steps"][0] == {"node": "filtering", "action": "build", "chain": ["clean", "filtering"]}
    assert "clean" not in {s["node"] for s in cause["steps"]}


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "name a step"),
        (["--rerun", "clean", "r.recipe"], "for one step leave --rerun out"),
        (["--rerun", "nowhere.recipe"], "there is no recipe"),
        (["cleen", "r.recipe"], "did you mean `clean`"),
    ],
)
def test_why_refuses_what_is_not_clear(work, full, monkeypatch, arguments, said):
    work.write(full)
    monkeypatch.chdir(work.root)
    made = call(why, *arguments)
    assert made.exit_code == 2 and said in made.output


EDITS = [
    ("rows_a", 'license = "MIT"\n}', 'limit = 20 rows\n  license = "MIT"\n}'),
    ("tagged", "set lang = lang(response)", "set lang = lang(instruction)"),
    ("pool", "dedup pool {", "dedup pool {\n  on = response"),
    ("clean", "< 10", "< 11"),
    ("safe", "against = items", "against = items\n  method = ngram(n = 5)"),
    ("evolved", '"gpt-4o-2024-08-06"', '"gpt-4o-2024-11-20"'),
    ("harmonized", "select = 10% per origin", "select = 20% per origin"),
    ("sft", "review = 3 rows", "review = 4 rows"),
    ("dataset", "train = 90%\n    eval = 10%", "train = 80%\n    eval = 20%"),
    ("tiny", "epochs = 1", "epochs = 2"),
]


@settings(max_examples=12)  # each compiles several times
@given(st.sets(st.integers(0, len(EDITS) - 1), min_size=1, max_size=4))
def test_every_rerun_has_a_cause_that_somebody_made(work_at, full, chosen):
    name = "-".join(map(str, sorted(chosen)))
    work = work_at(name).write(full)
    shutil.rmtree(work.root / ".alchemist", ignore_errors=True)
    build(work)
    text = full
    for i in chosen:
        assert EDITS[i][1] in text, EDITS[i]
        text = text.replace(EDITS[i][1], EDITS[i][2], 1)
    plan = work.plan(text)
    data = json.loads(call(why, "--rerun", work.recipe, "--format", "json").output)
    again = {n for n, action in actions(plan).items() if action in ("build", "extend")}
    assert {s["node"] for c in data["causes"] for s in c["steps"]} == again == set(data["rerun"])
    assert {c["root"] for c in data["causes"]} == {EDITS[i][0] for i in chosen}
    reads = {(e.node, n.id) for n in plan.nodes for e in n.inputs}
    for cause in data["causes"]:
        for step in cause["steps"]:
            chain = step["chain"]
            assert chain[0] == cause["root"] and chain[-1] == step["node"]
            assert all(link in reads for link in pairwise(chain))
