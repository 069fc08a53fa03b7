"""Programs become plans: nodes in order, specs, edges, resources."""

from __future__ import annotations

import pytest
from alchemist_runtime.schema.plan import TeacherStepSpec, TrainSpec, dump, load


def test_nodes_stand_after_what_they_read_and_ties_go_by_name(work, full):
    plan = work.plan(full)
    names = [n.id for n in plan.nodes]
    assert names[:3] == ["items", "rows_a", "rows_b"]
    for node in plan.nodes:
        assert all(names.index(e.node) < names.index(node.id) for e in node.inputs)


def test_only_what_a_root_reads_is_in_the_plan(work, slice_):
    extra = slice_ + "\nfilter unread {\n  from = given\n  drop chars(response) < 5\n}\n"
    assert [n.id for n in work.plan(extra).nodes] == ["given", "clean", "sft", "dataset"]


def test_upto_builds_a_step_and_what_it_reads(work, full):
    plan = work.plan(full, upto=("clean",))
    assert [n.id for n in plan.nodes] == ["rows_a", "rows_b", "tagged", "pool", "clean"]
    assert plan.checks == []  # they count steps that are not in this plan, or money of none


def test_upto_an_unknown_step_is_an_error_that_names_the_steps(work, slice_):
    made = work.compile(slice_, upto=("cleen",))
    assert made.plan is None
    (problem,) = [d for d in made.diagnostics if d.code == "A912"]
    assert "cleen" in problem.headline and "`clean`" in (problem.note or "")


def test_edges_carry_port_origin_and_role(work, full):
    plan = work.plan(full)
    edges = {(n.id, e.role): (e.node, e.port) for n in plan.nodes for e in n.inputs}
    assert edges["evolution", "learn"] == ("evolved", "trace")
    assert edges["filtering", "learn"] == ("clean", "dropped")
    assert edges["filtering", "sound"] == ("clean", "rows")
    assert edges["safe", "against"] == ("items", "rows")
    assert edges["sft", "take.review"] == ("review", "rows")
    assert edges["dataset", "data"] == ("sft", "rows")
    assert edges["bench", "model"] == ("tiny", "rows")


def test_origin_of_a_port_reaches_the_edge(work, full):
    text = full.replace("    harmonized = all", "    harmonized.rows_a = all")
    edge = next(e for e in work.node("sft", text).inputs if e.node == "harmonized")
    assert edge.origin == "rows_a"


def test_teacher_steps_name_their_resources(work, full):
    plan = work.plan(full)
    spec = plan.node("harmonized").spec
    assert isinstance(spec, TeacherStepSpec)
    assert (spec.teacher, spec.prompt, spec.mode, spec.place) == ("rules", "alchemy.relabel", "replace", "before")
    assert spec.select is not None and spec.select.fraction == "1/10" and spec.select.per == ["origin"]
    assert [s.column for s in spec.sets] == ["instruction"]
    prompt = plan.prompts["alchemy.relabel"]
    assert prompt.user in plan.texts and prompt.system in plan.texts
    assert "<answer>" in plan.texts[prompt.user]


def test_prices_and_rates_are_exact(work, full):
    teacher = work.plan(full).teachers["paid"]
    assert teacher.price is not None
    assert (teacher.price.input, teacher.price.output) == ("1/400000", "1/100000")
    assert teacher.rate == [{"unit": "calls", "per_second": "25/3"}, {"unit": "tokens", "per_second": "100000/3"}]
    assert teacher.api_key_env == "OPENAI_API_KEY"


def test_only_needed_resources_are_in_the_plan(work, full):
    plan = work.plan(full, upto=("harmonized",))
    assert set(plan.prompts) == {"alchemy.evolve", "alchemy.relabel"}
    assert set(plan.texts) == {d for p in plan.prompts.values() for d in (p.system, p.user)}


def test_tasks_get_the_templates_of_the_library(work, full):
    plan = work.plan(full)
    spec = plan.node("filtering").spec
    assert spec.standard == "filtering" and spec.sound == "1/5"
    assert spec.instruction[0] == "template" and spec.instruction[1] in plan.texts
    assert [c["name"] for c in spec.classes] == ["short_response", "uncompilable_code"]


def test_train_carries_one_launch_line(work, full):
    spec = work.node("tiny", full).spec
    assert isinstance(spec, TrainSpec)
    assert spec.command[:2] == ["accelerate", "launch"] and "{processes}" in spec.command
    assert spec.learning_rate == "0.001" and spec.epochs == "1" and spec.seed == 7


def test_what_this_version_does_not_run_says_so(work, full):
    plan = work.plan(full)
    assert not plan.node("bench").runnable
    assert plan.node("tiny").runnable and plan.node("evolved").runnable


def test_columns_of_every_port(work, full):
    plan = work.plan(full)
    clean = plan.node("clean").columns
    assert clean["rows"]["response"] == "text"
    assert clean["dropped"]["rule"] == "text"
    assert plan.node("evolved").columns["trace"].keys() >= {"before", "out", "after"}


def test_mixture_without_unit_counts_in_the_unit_of_its_entries(work, slice_):
    text = slice_.replace("  unit = rows\n", "")
    assert work.node("sft", text).spec.unit == "rows"


def test_files_are_listed_by_path_with_digest_and_columns(work, full):
    spec = work.node("rows_b", full).spec
    (file,) = spec.files
    assert file["path"] == "data/b.jsonl" and file["format"] == "jsonl" and file["digest"].startswith("b2:")
    assert spec.columns == {"instruction": "text", "output": "text"}


def test_the_plan_survives_its_file(work, full):
    plan = work.plan(full)
    assert load(dump(plan).encode(), "plan.json") == plan


def test_two_folders_give_the_same_bytes(work_at, full):
    one, two = (dump(work_at(name).plan(full, here=False)) for name in ("one", "deeper/two"))
    assert one == two
    assert str(work_at("one").root) not in one


def test_imports_with_digest_are_on_record(work, full):
    (found,) = work.plan(full).recipe["imports"]
    assert found["path"] == "std:alchemy" and found["digest"].startswith("b2:")


def test_parameters_say_where_they_come_from(work, full, monkeypatch, tmp_path):
    def value(**options):
        (param,) = work.plan(full, **options).params
        return param.value, param.origin

    assert value() == ("25%", "default")
    file = tmp_path / "p.toml"
    file.write_text('part = "30%"\n')
    assert value(params_file=file) == ("30%", "file")
    monkeypatch.setenv("ALCHEMIST_PARAM_PART", "35%")
    assert value(params_file=file) == ("35%", "environment")
    assert value(params_file=file, sets=["part=40%"]) == ("40%", "set")


def test_limit_reaches_every_source(work, full):
    plan = work.plan(full, limit=5)
    assert [plan.node(n).spec.run_limit for n in ("rows_a", "rows_b")] == [5, 5]


@pytest.mark.parametrize(
    "pattern, said",
    [("data/c.jsonl", "did you mean"), ("dat/a.jsonl", "nearest existing folder"), ("data/*.txt", "files")],
)
def test_a_pattern_without_files_is_an_error_with_a_way_out(work, slice_, pattern, said):
    made = work.compile(slice_.replace("data/a.jsonl", pattern))
    (problem,) = [d for d in made.diagnostics if d.code == "A302"]
    assert made.plan is None and said in (problem.help or "")


def test_an_unknown_type_of_file_is_an_error(work, slice_):
    (work.root / "data/a.xyz").write_text("x")
    made = work.compile(slice_.replace("data/a.jsonl", "data/a.xyz"))
    assert [d.code for d in made.diagnostics if d.code == "A303"] == ["A303"]


def test_the_tokenizer_of_a_mixture_is_that_of_the_model_that_reads_it(work, full):
    text = full.replace("  unit = rows\n", "  unit = tokens\n").replace("    review = 3 rows\n", "    review = all\n")
    assert work.node("sft", text).spec.tokenizer == {"bytes": True}
    named = text.replace(
        '  title = "A small recipe"\n', '  tokenizer = "owner/model"\n  revision = "' + "c" * 40 + '"\n'
    )
    assert work.node("sft", named).spec.tokenizer == {"name": "owner/model", "revision": "c" * 40}
    assert work.node("sft", named).key != work.node("sft", text).key


def test_upto_moves_no_key(work, full):
    text = full.replace("  unit = rows\n", "  unit = tokens\n").replace("    review = 3 rows\n", "    review = all\n")
    assert work.node("sft", text, upto=("sft",)).key == work.node("sft").key


def test_compiling_any_text_never_raises(work, full):
    import random
    import re

    tokens = [m.span() for m in re.finditer(r"\w+|[^\w\s]", full)]
    draw = random.Random(1)
    for _ in range(60):
        (a, b), (x, y) = draw.choice(tokens), draw.choice(tokens)
        made = work.compile(full[:a] + full[x:y] + full[b:])
        assert made.plan is not None or made.diagnostics
