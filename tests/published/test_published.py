"""The published recipes: they check, compile without a network, say their figures, and change by one line for one
fact.
"""

from __future__ import annotations

import difflib
import re
import shutil
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest
from alchemist_runtime.schema.plan import Plan
from alchemist_runtime.schema.planning import not_run

from alchemist_dsl.checker import check
from alchemist_dsl.compiler import severity
from alchemist_dsl.diagnostics.model import Severity
from alchemist_dsl.ir import Program
from alchemist_dsl.project.workspace import Compiled, Project, compile_recipe
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.format import format_text

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "published"
NAMES = sorted(p.stem for p in RECIPES.glob("*.recipe"))
SERIES = sorted(n for n in NAMES if n.startswith("tulu3_"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipes in a project of their own, whose lock knows nothing: no network is asked."""
    place = tmp_path_factory.mktemp("published")
    shutil.copytree(RECIPES, place / "recipes" / "published")
    (place / "recipe.lock").touch()
    return place / "recipes" / "published"


@cache
def compiled(folder: Path, name: str, variant: str | None = None) -> Compiled:
    return compile_recipe(folder / f"{name}.recipe", variant=variant, here=False)


def plan_of(made: Compiled) -> Plan:
    errors = [d.headline for d in made.diagnostics if severity(d) is Severity.ERROR]
    assert errors == []
    assert made.plan is not None
    return made.plan


def program_of(made: Compiled) -> Program:
    assert made.program is not None
    return made.program


def written(folder: Path, tmp_path: Path, name: str, old: str, new: str) -> Compiled:
    """A recipe with one fact changed; the change is one line."""
    shutil.copytree(folder, tmp_path / "recipes" / "published")
    (tmp_path / "recipe.lock").touch()
    file = tmp_path / "recipes" / "published" / f"{name}.recipe"
    before = file.read_text()
    assert before.count(old) == 1, f"`{old}` stands {before.count(old)} times in {name}"
    after = before.replace(old, new)
    file.write_text(after)
    lines = [x for x in difflib.ndiff(before.splitlines(), after.splitlines()) if x[0] in "+-"]
    assert len(lines) <= 2, lines
    return compile_recipe(file, here=False)


def changed(before: Plan, after: Plan) -> set[str]:
    """Nodes that one plan has and the other has not, or that are made in another way themselves."""
    one = {n.id: n.own_key for n in before.nodes}
    two = {n.id: n.own_key for n in after.nodes}
    return {name for name in {*one, *two} if one.get(name) != two.get(name)}


# --- all of them ------------------------------------------------------------------------------------------------------


def test_there_are_fourteen_publications() -> None:
    told = {re.search(r"^# R(\d+)\.", p.read_text(), re.M) for p in RECIPES.glob("*.recipe")}
    assert {int(m[1]) for m in told if m} == set(range(1, 15))


@pytest.mark.parametrize("name", NAMES)
def test_compiles(folder: Path, name: str) -> None:
    made = compiled(folder, name)
    plan = plan_of(made)
    assert plan.nodes and any(n.kind in ("train", "export") for n in plan.nodes)
    assert [b.name for b in program_of(made).blocks.values() if b.poisoned] == []


@pytest.mark.parametrize("name", NAMES)
def test_says_what_is_not_run(folder: Path, name: str) -> None:
    made = compiled(folder, name)
    told = "\n".join(
        f"{d.headline} {d.label} {file.text[d.span.start : d.span.end]}"
        for d in made.diagnostics
        if d.code == "A807" and (file := made.sources[d.span.file])
    )
    for node in plan_of(made).nodes:
        if not node.runnable and "." not in node.id:
            assert f"`{node.id}`" in told or node.id in told, f"nobody says that {node.id} is not run"
    assert bool(told) == any(not n.runnable for n in plan_of(made).nodes)


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_compiles(folder: Path, name: str) -> None:
    for variant in program_of(compiled(folder, name)).variants:
        assert plan_of(compiled(folder, name, variant)).variant == variant


@pytest.mark.parametrize("name", NAMES)
def test_is_formatted(name: str) -> None:
    text = (RECIPES / f"{name}.recipe").read_text()
    assert format_text(SourceFile(f"{name}.recipe", text)) == (text, ())


@pytest.mark.parametrize("name", NAMES)
def test_says_what_is_ours_and_invents_no_revision(name: str) -> None:
    text = (RECIPES / f"{name}.recipe").read_text()
    assert not re.search(r"^\s*revision =", text, re.M)
    if name not in SERIES:
        assert "ublication's" in text and (
            "ours" in text or "our " in text or "Our " in text or "Everything is" in text
        )


@pytest.mark.parametrize("name", [n for n in NAMES if n not in SERIES])
def test_says_which_names_nobody_has_verified(name: str) -> None:
    text = (RECIPES / f"{name}.recipe").read_text()
    head = " ".join(line.removeprefix("#").strip() for line in text.split("\n\n")[1].split("\n"))
    told = re.search(r"Unverified, written from memory: (.*?)\.(?: |$)(?=[A-Z]|$)", head)
    assert told or "Names of " in head
    for quoted in re.findall(r"`([^`]+)`", told[1] if told else ""):
        assert f'"{quoted}"' in text, f"{quoted} is not in the recipe"


# --- figures ----------------------------------------------------------------------------------------------------------


def rows_of(program: Program, mixture: str = "sft") -> Fraction:
    """Rows that the counts of a mixture say; a multiple is of the source's `limit`."""
    total = Fraction(0)
    for entry in program.blocks[mixture].entries:
        assert entry.value is not None, entry.name
        if entry.amount == "rows":
            total += entry.value
        else:
            assert entry.amount == "multiplier"
            limit = program.blocks[entry.stream.target].get("limit")
            total += entry.value * limit.value  # type: ignore[union-attr]
    return total


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("tulu3", 939_344),
        ("tulu3_70b", 939_344),
        ("tulu3_no_wildchat", 839_344),
        ("tulu3_no_safety", 828_361),
        ("tulu3_no_persona", 654_425),
        ("tulu3_no_math", 605_092),
        ("olmo3_think", 2_268_468),
        ("olmo3_instruct", 2_152_112),
    ],
)
def test_amounts_add_up_to_the_published_total(folder: Path, name: str, total: int) -> None:
    made = compiled(folder, name)
    assert rows_of(program_of(made)) == total
    said = [c.text for c in plan_of(made).checks if "rows(sft)" in c.text]
    assert [int(re.sub(r"\D", "", t.split("==")[1])) for t in said] == [total]


def test_second_stage_of_opencoder(folder: Path) -> None:
    assert rows_of(program_of(compiled(folder, "opencoder")), "fine") == 367_000  # as far as there are rows
    assert rows_of(program_of(compiled(folder, "opencoder")), "broad") == 4_000_000


def test_nemotron_sizes(folder: Path) -> None:
    plan = plan_of(compiled(folder, "nemotron_post_v2"))
    sizes = [int(r.expr[3][2]) for n in plan.nodes if n.kind == "source" for r in n.spec.rules]
    assert len(sizes) == 9 and sum(sizes) == 6_341_414


def test_twenty_five_splits_with_their_weights(folder: Path) -> None:
    plan = plan_of(compiled(folder, "smollm3"))
    take = {t.name: t.value or t.amount for t in plan.node("sft").spec.take}
    assert len(take) == 25
    weighed = {n: v for n, v in take.items() if v != "all"}
    assert weighed == {
        "magpie_ultra": "1/2",
        "openhermes": "1/2",
        "openthoughts": "2/5",
        "multilingual_think": "3/10",
        "openthoughts_think": "1/50",
    }
    splits = {tuple(plan.node(n).spec.reader.args["split"]) for n in take}
    assert len(splits) == 25
    assert {plan.node(n).spec.sets[0].column for n in take} == {"template_args"}


def test_what_is_missing_keeps_its_weight(folder: Path) -> None:
    plan = plan_of(compiled(folder, "nemotron_super"))
    take = plan.node("blend").spec.take
    assert len([t for t in take if t.missing]) == 13
    assert sum(Fraction(t.value or 0) for t in take if t.missing) == Fraction("47.5")
    assert sum(Fraction(t.value or 0) for t in take if not t.missing) == Fraction("58.3")


# --- constructs -------------------------------------------------------------------------------------------------------


def edges(plan: Plan, node: str, role: str) -> list[tuple[str, str]]:
    return [(e.node, e.port) for e in plan.node(node).inputs if e.role == role]


@pytest.mark.parametrize(
    ("name", "second", "first"),
    [
        ("magicoder", "magicoder_s", "magicoder"),
        ("inversecoder", "inversecoder", "on_synthetic"),
        ("opencoder", "stage_two", "stage_one"),
        ("smollm3", "smollm3", "mid_trained"),
        ("nemotron_super", "second", "first"),
        ("olmo3_instruct", "instruct", "think.think"),
    ],
)
def test_two_stages(folder: Path, name: str, second: str, first: str) -> None:
    plan = plan_of(compiled(folder, name))
    assert edges(plan, second, "model") == [(first, "rows")]
    assert [n.id for n in plan.nodes].index(first) < [n.id for n in plan.nodes].index(second)


def test_rejects_are_examples_of_the_next_round(folder: Path) -> None:
    plan = plan_of(compiled(folder, "wavecoder"))
    assert edges(plan, "judged_again", "examples") == [("judged", "rows"), ("judged", "dropped")]
    assert edges(plan, "drafts_again", "from") == [("first_half", "dropped")]
    assert plan.node("core").spec.select.best[0][:2] == ["call", "coverage"]


def test_a_trained_model_is_a_teacher(folder: Path) -> None:
    plan = plan_of(compiled(folder, "inversecoder"))
    assert edges(plan, "inverted", "model") == [("first", "rows")]
    assert plan.node("best").spec.select.per == ["_parent"]
    assert plan.node("best").spec.select.best == [["col", "score"]]
    assert plan.prompts["judge.correct"].outputs == {"yes": "prob"}


def test_a_step_that_cannot_run_stops_what_needs_it(folder: Path) -> None:
    plan = plan_of(compiled(folder, "starcoder2_instruct"))
    stuck = not_run(plan.nodes)
    assert {"passing", "one_each", "sft", "starcoder2_instruct"} <= stuck
    assert "answered" not in stuck and "seeds" not in stuck


def test_rows_say_how_the_template_takes_them(folder: Path) -> None:
    plan = plan_of(compiled(folder, "nemotron_super"))
    sets = {s.column: s.expr for s in plan.node("some_without").spec.sets}
    assert sets["template_args"] == ["record", {"enable_thinking": ["lit", "bool", False]}]
    assert plan.node("second").spec.average == "rows"


# --- one fact, one line -----------------------------------------------------------------------------------------------


ONE_FACT = [
    ("smollm3", "openthoughts_think = 0.02x", "openthoughts_think = 0.05x", {"sft"}),
    ("tulu3", "sciriff = 10_000 rows", "sciriff = 12_000 rows", {"sft"}),
    ("tulu3", "method = ngram(n = 8, share = 50%)", "method = ngram(n = 13)", {"clean"}),
    ("starcoder2_instruct", "samples = 10", "samples = 20", {"answered"}),
    ("kodcode", "retries_on_reject = 9", "retries_on_reject = 4", {"solved"}),
    (
        "opencodeinstruct_refined",
        "keep lowest >= param.lowest_mark as low_mark",
        "keep lowest == 5 as low_mark",
        {"refined"},
    ),
    ("nemotron_super", "swe = 3.0 parts", "swe = 4.0 parts", {"blend"}),
    ("inversecoder", "  base = on_synthetic\n", "  base = on_synthetic\n  dropout = 0.1\n", {"inversecoder"}),
    ("olmo3_think", "select = 16 rows per instruction", "select = 8 rows per instruction", {"capped"}),
    ("opencoder", "    ngram(n = 10),", "    ngram(n = 13),", {"broad_clean", "fine_clean"}),
    ("magicoder", "select = 75k rows", "select = 50k rows", {"oss"}),
    ("wavecoder", "select = 25k rows", "select = 30k rows", {"core"}),
    ("xcoder", "  select = 40k rows", "  select = 60k rows", {"chosen"}),
    ("smollm2", "epochs = 2", "epochs = 3", {"smollm2"}),
    ("openthoughts", "epochs = 3", "epochs = 4", {"openthinker"}),
    ("openthoughts3", "    code_answers = 250k rows", "    code_answers = 300k rows", {"sft"}),
    ("olmo3_instruct", "learning_rate = 8e-5", "learning_rate = 5e-5", {"instruct", "probed"}),
    ("opencodereasoning", "threshold = 0.7", "threshold = 0.8", {"far"}),
    ("nemotron_nano", "clean.swe = 8x", "clean.swe = 4x", {"sft"}),
    ("nemotron_post_v2", "total = 1M rows", "total = 2M rows", {"sft"}),
    ("starchat2", "eval_share = 1_000 rows", "eval_share = 500 rows", {"starchat2"}),
    ("olympiccoder", "ngram(n = 8)", "ngram(n = 10)", {"clean"}),
    (
        "evol_teacher",
        "select = hash(_id, 1) < 0.2",
        "select = hash(_id, 1) < 0.1",
        {"constraint_1", "constraint_2", "constraint_3"},
    ),
]


@pytest.mark.parametrize(("name", "old", "new", "moved"), ONE_FACT)
def test_one_fact_is_one_line(folder: Path, tmp_path: Path, name: str, old: str, new: str, moved: set[str]) -> None:
    after = written(folder, tmp_path, name, old, new)
    assert changed(plan_of(compiled(folder, name)), plan_of(after)) == moved


def test_one_fact_of_every_publication_is_tried() -> None:
    assert {name for name, *_ in ONE_FACT} | set(SERIES) == set(NAMES)


# --- the series -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("tulu3_70b", {"tulu3"}),
        ("tulu3_no_wildchat", {"sft", "wildchat"}),
        ("tulu3_no_safety", {"sft", "coconot", "wildguard", "wildjailbreak"}),
        ("tulu3_no_persona", {"sft", "persona_math", "persona_gsm", "persona_python", "persona_algebra", "persona_if"}),
        ("tulu3_no_math", {"sft", "persona_math", "persona_gsm", "persona_algebra", "openmath_gsm", "numina_tir"}),
    ],
)
def test_a_series_differs_only_where_it_says(folder: Path, name: str, moved: set[str]) -> None:
    base, other = plan_of(compiled(folder, "tulu3")), plan_of(compiled(folder, name))
    assert changed(base, other) == moved
    assert len((RECIPES / f"{name}.recipe").read_text().splitlines()) < 35
    unused = [d.headline for d in compiled(folder, name).diagnostics if d.code == "A505"]
    assert unused == [], "a file may leave out what the one that it extends uses"


def test_the_table_of_the_docs_is_that_of_the_files() -> None:
    page = (ROOT / "docs" / "published.md").read_text()
    told = dict(re.findall(r"^\| [^|]*\[`(\w+)`\]\([^)]*\) \| (\d+) \|", page, re.M))
    assert {n: int(v) for n, v in told.items()} == {
        n: len((RECIPES / f"{n}.recipe").read_text().splitlines()) for n in NAMES
    }


#: The bundled recipes in which what a teacher wrote is trained on or exported unsearched, as published: the steps and
#: who reads them.
UNSEARCHED = {
    "evol_teacher": {("constraint_1", "dataset")},
    "kodcode": {("solved", "v1"), ("reasoned", "sft_r1")},
    "opencodereasoning": {("answered", "reasoner")},
    "openthoughts": {("answered", "unverified_173k"), ("answered", "openthinker")},
    "openthoughts3": {("code_answers", "openthinker3"), ("code_answers", "probed")},
}


@pytest.mark.parametrize("name", [*NAMES, "../alchemistcoder", "../quickstart"])
def test_only_these_train_on_answers_unsearched_and_their_heads_say_so(name: str) -> None:
    path = f"recipes/published/{name}.recipe"
    text = (ROOT / path).read_text()
    _, problems = check(SourceFile(path, text), Project(ROOT).read)
    found = [d.headline for d in problems if d.code == "A507"]
    read = [re.fullmatch(r"rows that `(\w+)` wrote reach `(\w+)` .*", told) for told in found]
    assert {m.groups() if m else None for m in read} == UNSEARCHED.get(name, set())
    assert ("\n# A507 is true here: " in text) == (name in UNSEARCHED)
