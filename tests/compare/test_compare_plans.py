"""Two versions of a recipe, both carried out, and what their results differ in: step by step, origins, rules, moves,
what is missing.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.engine.compare import DataDiff, PortDiff, StepDiff
from alchemist_runtime.engine.context import Context
from alchemist_runtime.storage.store import Store, name_of
from trials import Trial

RECIPE = """edition 2026

recipe {
  title = "Compared"
}

source web {
  files = "web.jsonl"
}

source book {
  files = "book.jsonl"
}

map tagged {
  from = [
    web,
    book,
  ]
  set topic = "any"
}

filter tidy {
  from = tagged
  drop chars(response) < 30 as too_short
  drop chars(response) > 55 as too_long
}

dedup unique {
  from = tidy
  on = response
  method = exact
}

mixture sft {
  unit = rows
  take {
    unique = 2x
  }
}

export made {
  data = sft
  path = "made"
}
"""


def step(diff: DataDiff, name: str) -> StepDiff:
    return next(s for s in diff.steps if s.name == name)


def port(diff: DataDiff, name: str, port: str = "rows") -> PortDiff:
    return next(p for p in step(diff, name).ports if p.port == port)


def test_the_same_recipe_has_the_same_data_and_nothing_is_read(trial: Trial) -> None:
    plan = trial.run(RECIPE)
    for path in (trial.root / ".alchemist/store").rglob("*.parquet"):
        path.unlink()  # manifests alone can tell it
    diff = trial.compared(plan, plan)
    assert diff.outcome == "same" and {s.state for s in diff.steps} == {"same"}
    assert port(diff, "tidy").before == port(diff, "tidy").after == 30
    assert not any(p.read for s in diff.steps for p in s.ports)
    assert [p.port for p in step(diff, "made").ports] == ["train"]


def test_a_stricter_rule_moves_rows_to_the_dropped_ones(trial: Trial) -> None:
    before = trial.run(RECIPE)
    after = trial.run(RECIPE.replace("< 30", "< 35"))
    diff = trial.compared(before, after)
    assert diff.outcome == "different"
    assert [s.state for s in diff.steps[:3]] == ["same"] * 3  # both sources and `tagged`
    rows, dropped = port(diff, "tidy"), port(diff, "tidy", "dropped")
    assert (rows.before, rows.after, rows.added, rows.removed) == (30, 24, 0, 6)
    assert rows.changed == 0 and not rows.columns and not rows.reordered
    assert [(c.name, c.changed) for c in dropped.columns] == [("reason", 24)]  # it quotes the rule
    assert [(o.name, o.before, o.after, o.removed) for o in rows.origins] == [("book", 10, 8, 2), ("web", 20, 16, 4)]
    counts = {r.name: (r.before, r.after, r.added) for r in dropped.rules}
    assert counts == {"too_long": (6, 6, 0), "too_short": (24, 30, 6)}
    [move] = step(diff, "tidy").moves
    assert (move.rule, move.to, move.rows, len(move.samples)) == ("too_short", "dropped", 6, 2)
    for sample in move.samples:
        assert sample.before is not None and sample.after is not None
        assert sample.before["response"] == sample.after["response"]
        assert 30 <= len(sample.before["response"]) < 35
        assert sample.after["rule"] == "too_short" and "35" in sample.after["reason"]
    [back] = step(trial.compared(after, before), "tidy").moves
    assert (back.rule, back.to, back.rows) == ("too_short", "rows", 6)
    assert back.samples[0].before is not None and back.samples[0].before["rule"] == "too_short"


def test_a_rule_that_takes_over_rows_of_another_one(trial: Trial) -> None:
    text = RECIPE.replace(
        "  drop chars(response) < 30 as too_short\n",
        "  drop chars(response) < 20 as tiny\n  drop chars(response) < 30 as too_short\n",
    )
    diff = trial.compared(trial.run(RECIPE), trial.run(text), "tidy")
    dropped = port(diff, "tidy", "dropped")
    assert port(diff, "tidy").same and not port(diff, "tidy").read
    assert {c.name for c in dropped.columns} == {"rule", "reason"}
    counts = {r.name: (r.before, r.after, r.changed) for r in dropped.rules}
    assert counts == {"too_long": (6, 6, 0), "too_short": (24, 12, 0), "tiny": (0, 12, 12)}
    assert step(diff, "tidy").moves == ()


def test_changed_values_reach_every_step_behind(trial: Trial) -> None:
    before = trial.run(RECIPE)
    after = trial.run(RECIPE.replace('set topic = "any"', "set topic = lower(instruction)"))
    diff = trial.compared(before, after)
    for name in ("tagged", "tidy", "unique", "sft"):
        rows = port(diff, name)
        assert rows.changed == rows.before == rows.after, name
        assert [(c.name, c.changed) for c in rows.columns] == [("topic", rows.after)], name
        assert rows.samples["changed"][0].before == {"topic": "any"}, name
    assert port(diff, "made", "train").same  # the export does not hold that column


def test_a_column_of_another_type_and_one_that_is_new(trial: Trial) -> None:
    after = RECIPE.replace('set topic = "any"', "set topic = chars(response)\n  set more = 1")
    diff = trial.compared(trial.run(RECIPE, "tidy"), trial.run(after, "tidy"), "tagged")
    columns = {(c.name, c.before, c.after, c.changed) for c in port(diff, "tagged").columns}
    assert columns == {("topic", "text", "int", 60), ("more", None, "int", 0)}


def test_copies_of_a_mixture_are_told_apart(trial: Trial) -> None:
    diff = trial.compared(trial.run(RECIPE), trial.run(RECIPE.replace("2x", "3x")))
    rows = port(diff, "sft")
    assert rows.before and (rows.added, rows.removed, rows.changed) == (rows.before // 2, 0, 0)
    assert {s.copy for s in rows.samples["added"]} == {2}
    written = port(diff, "made", "train")
    assert (written.before, written.after, written.added) == (rows.before, rows.after, rows.added)
    single = trial.compared(trial.run(RECIPE), trial.run(RECIPE.replace("2x", "all")), "sft")
    rows = port(single, "sft")
    assert rows.before == 2 * (rows.after or 0) == 2 * rows.removed
    assert [(c.name, c.after) for c in rows.columns] == [("_copy", None)]


def test_splits_of_an_export_are_compared_one_by_one(trial: Trial) -> None:
    split = '  path = "made"\n  split {\n    train = 80%\n    eval = 20%\n  }\n'
    whole, parts = (trial.run(RECIPE), trial.run(RECIPE.replace('  path = "made"\n', split)))
    diff = trial.compared(whole, parts, "made")
    train, held = port(diff, "made", "train"), port(diff, "made", "eval")
    assert train.removed == held.added == held.after and held.before is None
    assert step(diff, "made").state == "changed"


@pytest.mark.parametrize("format_", ["jsonl", "messages"])
def test_exports_of_other_formats_are_read_as_well(trial: Trial, format_: str) -> None:
    text = RECIPE.replace('path = "made"', f'path = "made"\n  format = {format_}')
    before, after = trial.run(text), trial.run(text.replace("2x", "3x"))
    train = port(trial.compared(before, after, "made"), "made", "train")
    assert train.added == (train.before or 0) // 2 and not train.changed


def test_an_order_alone_is_a_change(trial: Trial) -> None:
    swapped = RECIPE.replace("    web,\n    book,\n", "    book,\n    web,\n")
    diff = trial.compared(trial.run(RECIPE, "tidy"), trial.run(swapped, "tidy"), "tagged")
    rows = port(diff, "tagged")
    assert rows.reordered and not rows.same and not (rows.added or rows.removed or rows.changed)
    assert diff.outcome == "different"


def test_what_is_not_in_the_store_is_said_and_no_change_is_claimed(trial: Trial) -> None:
    before = trial.run(RECIPE)
    after = trial.plan(RECIPE.replace("< 30", "< 35"))
    diff = trial.compared(before, after)
    assert diff.outcome == "incomplete"
    tidy = step(diff, "tidy")
    assert tidy.state == "unknown" and not tidy.ports
    assert [(m.side, m.step, m.needs) for m in tidy.missing] == [("after", "tidy", "tidy")]
    assert step(diff, "tagged").state == "same"


def test_a_result_whose_input_is_gone_names_that_input(trial: Trial) -> None:
    before, after = trial.run(RECIPE), trial.run(RECIPE.replace("< 30", "< 35"))
    key = before.node("tagged").key
    shutil.rmtree(trial.root / ".alchemist/store" / name_of(key))
    tidy = step(trial.compared(before, after), "tidy")
    assert {(m.side, m.step, m.needs) for m in tidy.missing} == {
        ("before", "tidy", "tagged"),
        ("after", "tidy", "tagged"),
    }


def test_steps_that_one_side_alone_has(trial: Trial) -> None:
    start, end = RECIPE.index("dedup unique"), RECIPE.index("mixture sft")
    without = RECIPE[:start] + RECIPE[end:].replace("unique = 2x", "tidy = 2x")
    full, less = trial.run(RECIPE), trial.run(without)
    gone = step(trial.compared(full, less), "unique")
    assert gone.state == "removed" and gone.ports[0].before and gone.ports[0].after is None
    come = step(trial.compared(less, full), "unique")
    assert come.state == "added" and come.ports[0].added == come.ports[0].after
    text = RECIPE.replace("unique = 2x", "later = 2x").replace(
        "mixture sft", "filter later {\n  from = unique\n  keep true\n}\n\nmixture sft"
    )
    unbuilt = trial.compared(full, trial.plan(text), "later")
    assert unbuilt.outcome == "incomplete" and unbuilt.steps[0].missing


def test_a_renamed_step_is_compared_with_its_old_self(trial: Trial) -> None:
    from alchemist_runtime.engine.compare import compare_plans

    before = trial.run(RECIPE)
    after = trial.run(RECIPE.replace("tidy", "neat").replace("< 30", "< 35"))
    diff = compare_plans(Store(trial.root / ".alchemist"), before, after, [("tidy", "neat")])
    assert (diff.steps[0].before, diff.steps[0].after) == ("tidy", "neat")
    assert diff.steps[0].ports[0].removed == 6


TRAIN = """
train model {
  data = sft
  init = scratch(hidden = 32, layers = 1, heads = 2)
  epochs = 1
  batch = 4 packs
  max_length = 64 tokens
  learning_rate = 1e-3
}
"""


def test_a_training_is_compared_by_the_rows_that_it_reads(trial: Trial) -> None:
    before, after = trial.run(RECIPE + TRAIN, "sft"), trial.run(RECIPE.replace("2x", "3x") + TRAIN, "sft")
    model = step(trial.compared(before, after), "model")
    assert model.state == "changed" and model.ports[0].port == "data" and model.ports[0].added
    assert model.note and "model" in model.note
    slower = trial.plan((RECIPE + TRAIN).replace("1e-3", "1e-4"))
    model = step(trial.compared(before, slower), "model")
    assert (model.state, model.ports[0].same, model.ports[0].read) == ("rowless", True, False)
    assert model.note and "model" in model.note


def test_a_damaged_shard_is_named_and_the_other_steps_are_compared(trial: Trial) -> None:
    before = trial.run(RECIPE)
    after = trial.run(RECIPE.replace('set topic = "any"', "set topic = lower(instruction)"))
    store = Store(trial.root / ".alchemist")
    [shard] = (store.path(after.node("tagged").key)).glob("set-*.parquet")
    shard.write_bytes(shard.read_bytes()[:-40])
    diff = trial.compared(before, after)
    tagged = step(diff, "tagged")
    assert tagged.state == "unknown" and tagged.problem is not None
    assert tagged.problem.code == "A907" and tagged.problem.place == str(shard)
    assert shard.name in tagged.problem.headline and tagged.problem.node == "tagged"
    assert diff.outcome == "incomplete" and step(diff, "web").state == "same"


def test_a_damaged_manifest_is_named(trial: Trial) -> None:
    before, after = trial.run(RECIPE), trial.run(RECIPE.replace("< 30", "< 35"))
    manifest = Store(trial.root / ".alchemist").path(after.node("tidy").key) / "manifest.json"
    manifest.write_text("{")
    tidy = step(trial.compared(before, after), "tidy")
    assert tidy.problem is not None and tidy.problem.place == str(manifest)


def test_counts_agree_with_the_rows_that_the_ports_hold(trial: Trial) -> None:
    """The comparison over stored views against a plain look at both streams."""
    from naive import compared

    before = trial.run(RECIPE)
    text = RECIPE.replace("< 30", "< 25").replace('"any"', "lower(instruction)")
    after = trial.run(text.replace("2x", "3x"))
    diff = trial.compared(before, after)
    state = trial.root / ".alchemist"
    for name in ("web", "tagged", "tidy", "unique", "sft"):
        tables = []
        for plan in (before, after):
            stream = Context(plan, trial.root, state, Store(state)).open(name)
            tables.append(stream.table(list(stream.types)).to_pylist())
        found, columns = port(diff, name), set(tables[0][0]) - {"_id", "_copy"}
        want = compared(*tables, sorted(columns))
        assert (found.added, found.removed, found.changed) == (want["added"], want["removed"], want["changed"]), name
        assert {c.name: c.changed for c in found.columns} == want["columns"], name
        assert found.reordered == want["reordered"], name


def test_the_store_is_left_as_it_was(trial: Trial) -> None:
    before, after = trial.run(RECIPE), trial.run(RECIPE.replace("< 30", "< 35"))
    files = sorted(str(p) for p in Path(trial.root).rglob("*"))
    trial.compared(before, after)
    assert sorted(str(p) for p in Path(trial.root).rglob("*")) == files


def test_no_room_for_temporary_files_is_said_and_no_change_is_claimed(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from alchemist_runtime.engine.compare import rows

    before, after = trial.run(RECIPE), trial.run(RECIPE.replace("< 30", "< 35"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rows, "values", full)
    tidy = step(trial.compared(before, after), "tidy")
    assert tidy.state == "unknown" and tidy.problem is not None and tidy.problem.code == "A905"


def test_what_one_step_has_read_is_not_read_again_behind_it(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    from alchemist_runtime.engine.compare import rows

    before = trial.run(RECIPE, "sft")
    after = trial.run(RECIPE.replace('"any"', "lower(instruction)"), "sft")
    read: list[tuple[str, int]] = []
    values = rows.values

    def counted(stream: Any, name: str, index: Any, scratch: Path) -> Any:
        read.append((name, len(index)))
        return values(stream, name, index, scratch)

    monkeypatch.setattr(rows, "values", counted)
    diff = trial.compared(before, after, "tagged", "tidy", "unique", "sft")
    assert sum(n for name, n in read if name == "topic") == 2 * 60  # both sides of `tagged`
    own = {"rule", "reason", "kept", "similarity"}  # that each step writes of what it drops
    assert {name for name, n in read if n} <= {"topic", *own}
    assert port(diff, "sft").changed == port(diff, "sft").after
    read.clear()
    alone = trial.compared(before, after, "sft")
    assert sum(n for _, n in read) > 0 and alone.steps[0] == diff.steps[3]


def test_two_stores_are_compared_by_content_even_where_keys_are_equal(trial: Trial, tmp_path: Path) -> None:
    """A key says what was asked of a teacher, not what it answered: only one store holds one result for it."""
    from alchemist_runtime.engine.compare import compare_plans
    from alchemist_runtime.schema.sealed import seal, unseal

    plan = trial.run(RECIPE, "sft")
    other = tmp_path / "other"
    shutil.copytree(trial.root / ".alchemist", other)
    stores = Store(trial.root / ".alchemist"), Store(other)
    pairs = [(n, n) for n in ("web", "tagged", "sft")]
    diff = compare_plans(stores[0], plan, plan, pairs, after_store=stores[1])
    assert diff.outcome == "same" and not any(p.read for s in diff.steps for p in s.ports)
    folder = stores[1].path(plan.node("tagged").key)
    manifest, _ = unseal((folder / "manifest.json").read_bytes())
    manifest["ports"]["rows"]["digest"] = "b2:other"
    (folder / "manifest.json").write_bytes(seal(manifest))
    tagged = compare_plans(stores[0], plan, plan, pairs, after_store=stores[1]).steps[1]
    assert tagged.state == "same" and tagged.ports[0].read
    shutil.rmtree(folder)
    lost = compare_plans(stores[0], plan, plan, pairs, after_store=stores[1])
    assert lost.outcome == "incomplete" and lost.steps[1].missing[0].side == "after"
