"""Actions and reasons after changes, and what `compile`, `show` and `why` print of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.engine.placed import MARKER
from alchemist_runtime.plan import Plan
from click.testing import CliRunner, Result

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
        ports = {"rows": {"rows": 10, "per_origin": {}}}
        (folder / "manifest.json").write_text(
            json.dumps({"format": 1, "key": node.key, "ports": ports, "figures": {}})
        )
        if node.kind == "export":
            target = work.root / node.spec.path
            target.mkdir(exist_ok=True)
            (target / MARKER).write_text(json.dumps({"key": node.key}))
        nodes[node.id] = {
            "key": node.key,
            "action": "built",
            "ingredients": made.ingredients[node.id],
        }
    record = {
        "record": 1,
        "run": "r-1",
        "recipe": plan.recipe["path"],
        "variant": None,
        "nodes": nodes,
    }
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
        ("dedup pool {", "dedup pool {\n  method = minhash()", "pool", [("attribute_changed", "method"), ("operator_changed", "version.dedup.exact"), ("operator_changed", "version.dedup.minhash")]),
        ("seed = 7", "seed = 8", "reviewed", [("seed_changed", "seed")]),
        ('"gpt-4o-2024-08-06"', '"gpt-4o-2024-11-20"', "evolved", [("teacher_changed", "teacher.model")]),
        ("prompt = alchemy.review", "prompt = mine", "reviewed", None),
        ("set lang = lang(response)", "set lang = lang(instruction)", "pool", [("input_changed", "tagged")]),
    ],
)  # fmt: skip
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
    assert reasons(plan, "rows_a") == [("file_changed", "file.0")]
    assert actions(plan)["rows_b"] == "reuse" and actions(plan)["tagged"] == "build"


def test_a_larger_share_extends_and_calls_only_for_the_new_rows(work, full):
    work.write(full)
    build(work)
    plan = work.plan(full.replace("percent = 25%", "percent = 50%"))
    (node,) = [n for n in plan.now.nodes if n.id == "evolved"]
    assert node.action == "extend" and [(r.before, r.after) for r in node.reasons] == [
        ("1/4", "1/2")
    ]
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


# --- commands ---------------------------------------------------------------------------------------------------------------------------


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
    head = next(i for i, line in enumerate(lines) if line.startswith("step"))
    assert lines[head].split() == ["step", "kind", "rows", "calls", "cost", "action", "why"]
    assert any(line.split()[:3] == ["tagged", "map", "60"] for line in lines)
    assert all(len(line) <= 120 for line in lines)


def test_compile_writes_the_plan(work, full, tmp_path):
    work.write(full)
    made = call(compile_, work.recipe, "-o", tmp_path / "plan.json", "--portable")
    assert made.exit_code == 0
    plan = Plan.model_validate_json((tmp_path / "plan.json").read_text())
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
    assert "select   10% per origin" in made and "reads    safe (from)" in made
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
    assert "~ rule `too_short`: drop chars(response) < 11  (was drop chars(response) < 10)" in text
    last = text.strip().splitlines()[-1]
    assert (
        last.startswith("and then, because they read it: ")
        and "tiny" in last
        and "pool" not in last
    )


def test_why_nothing_happens(work, full):
    work.write(full)
    build(work)
    text = call(why, "sft", work.recipe).output
    assert "is there: a run would take it as it is" in text and "the same as in run r-1" in text
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
