"""Whatever a configuration says: the recipe checks and is formatted, every key is accounted for, nothing crashes."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.checker import check
from alchemist_dsl.compiler import severity
from alchemist_dsl.migrate.run import Migrated, migrate
from alchemist_dsl.migrate.tools import TOOLS
from alchemist_dsl.migrate.tracked_mapping import NOTHING
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.format import format_text

HUB = st.sampled_from(["acme/talks", "acme/Code-Alpaca_20k", "squad", "acme/1.5-set", "acme/drop"])
PATH = st.one_of(HUB, st.sampled_from(["./data/a.jsonl", "s3://bucket/x", "a b/c", "../up.parquet", ""]))
SPLIT = st.sampled_from(
    ["train", "test_sft", "train[:100]", "train[10%:]", "train[5:2]", "a+b", "train[-5:]", "x y", "train[:0%]"]
)
NUMBER = st.one_of(
    st.integers(-3, 5000),
    st.floats(0, 1),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(["2e-5", "1e400", "0.1", "x", "1_000"]),
)
WORDS = st.sampled_from(
    [
        "cosine",
        "linear",
        "constant",
        "polynomial",
        "adamw_torch",
        "adamw_8bit",
        "lion_8bit",
        "muon",
        "epoch",
        "no",
        "best",
        "lora",
        "qlora",
        "full",
        "freeze",
        "chatml",
        "llama3",
        "alpaca",
        "chat_template",
        "completion",
        "sharegpt",
        "wrapped",
        "truncate",
        "concat",
        "interleave_under",
        "zero3.json",
        "all",
        "q_proj, v_proj",
        "wandb",
        "{% if %}",
        "{{ messages }}",
        "main",
        "v1",
        "sft",
        "pt",
    ]
)
ANY: st.SearchStrategy[Any] = st.recursive(
    st.one_of(NUMBER, WORDS, SPLIT, PATH, st.booleans(), st.none(), st.text(max_size=12)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abcdef_", min_size=1, max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
NEEDED: dict[str, dict[str, Any]] = {
    "axolotl": {"base_model": "acme/base", "learning_rate": 1e-4},
    "llama-factory": {"model_name_or_path": "acme/base", "dataset_dir": "ONLINE"},
    "trl": {"model_name_or_path": "acme/base"},
    "open-instruct": {"model_name_or_path": "acme/base"},
}
ENTRIES = {
    "axolotl": [
        "path",
        "name",
        "split",
        "type",
        "revision",
        "data_files",
        "ds_type",
        "field_messages",
        "roles_to_train",
        "roles",
        "shards",
        "message_property_mappings",
        "field",
        "chat_template",
        "train_on_eos",
        "trust_remote_code",
    ],
    "trl": ["path", "name", "split", "data_files", "data_dir", "columns", "fraction"],
}
LISTS = {"axolotl": ("datasets",), "llama-factory": (), "trl": ("datasets",), "open-instruct": ()}


def entries(tool: str) -> st.SearchStrategy[list[Any]]:
    fields = {key: st.one_of(PATH if key == "path" else SPLIT if key == "split" else ANY, ANY) for key in ENTRIES[tool]}
    return st.lists(st.fixed_dictionaries({}, optional=fields), max_size=3)


@st.composite
def configurations(draw: st.DrawFn, tool: str) -> dict[str, Any]:
    keys = sorted(TOOLS[tool].keys - {"datasets", "rl", "reward_model", "process_reward_model"})
    chosen = draw(st.lists(st.sampled_from(keys), max_size=12, unique=True))
    made: dict[str, Any] = {key: draw(ANY) for key in chosen}
    made |= draw(st.dictionaries(st.text("xyz_", min_size=1, max_size=8), ANY, max_size=2))
    made |= NEEDED[tool]
    for name in LISTS[tool]:
        made[name] = draw(entries(tool))
    if tool == "open-instruct":
        made["dataset_mixer"] = draw(st.dictionaries(PATH, st.one_of(NUMBER, st.integers(0, 20)), max_size=4))
    if tool == "llama-factory":
        made["dataset"] = ",".join(draw(st.lists(HUB, max_size=3)))
    return made


def accounted(found: Migrated, given: dict[str, Any]) -> None:
    known = found.used | set(found.left) | found.reported
    assert {str(k) for k in given} <= known
    for key in ("datasets",):
        for number, entry in enumerate(given.get(key) or []):
            if isinstance(entry, dict) and key not in found.left:
                assert {f"{key}[{number}].{k}" for k in entry} <= known


@pytest.mark.parametrize("tool", sorted(TOOLS))
@given(data=st.data())
def test_any_configuration(tool: str, data: st.DataObject) -> None:
    configuration = data.draw(configurations(tool))
    text = yaml.safe_dump(configuration, sort_keys=False)
    found = migrate(SourceFile("some.yaml", text), tool=tool)
    if found.recipe is None:
        assert {p.code for p in found.problems} <= {"A950", "A951"}
        return
    file = SourceFile("-", found.recipe)
    assert [(d.code, d.headline) for d in check(file, lambda _: None)[1] if severity(d) == "error"] == []
    assert format_text(file)[0] == found.recipe
    accounted(found, configuration)


@given(st.text(max_size=80))
def test_any_text_gives_a_recipe_or_a_place(text: str) -> None:
    found = migrate(SourceFile("some.yaml", text.replace("\r", "")))
    assert found.recipe is not None or found.problems
    for problem in found.problems:
        assert 0 <= problem.span.start <= problem.span.end <= len(text) + 1


MIXER = "model_name_or_path: a/b\ndataset_mixer_list: [a/b, {}]\n"


@pytest.mark.parametrize(
    ("written", "amount", "warned"),
    [
        ("1", "1 row", True),
        ("1.0", None, False),
        ("10", "10 rows", True),
        ("11", "11 rows", False),
        ("0.5", "0.5x", False),
        ("3.0", "3x", False),
        ("9500", "9_500 rows", False),
        ("'1'", "1 row", True),
        ("'1.0'", None, False),
    ],
)
def test_a_point_makes_a_factor_of_an_amount(written: str, amount: str | None, warned: bool) -> None:
    found = migrate(SourceFile("m.yaml", MIXER.format(written)), gpus=1)
    assert found.recipe is not None
    assert f"b = {amount}" in found.recipe if amount else "mixture" not in found.recipe
    assert ("rows, not a factor" in [p.label for p in found.problems]) is warned


@pytest.mark.parametrize(
    "key", ["hf_token", "hub_token", "wandb_api_key", "api_key", "MY_SECRET", "comet_api_key", "token"]
)
@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_a_key_is_named_and_never_shown(tool: str, key: str) -> None:
    from alchemist_dsl.diagnostics.render import FORMATS, render

    text = yaml.safe_dump({**NEEDED[tool], key: "pa55-phrase-nobody-may-see"})
    found = migrate(SourceFile("c.yaml", text), tool=tool)
    assert "A955" in {p.code for p in found.problems}
    shown = [str(found.recipe), *(render(found.problems, found.sources, f) for f in FORMATS)]
    assert not [s for s in shown if "pa55" in s]


@pytest.mark.parametrize(
    "text",
    [
        "model_name_or_path: a/b\ndataset_mixer:\n  https://me:pa55-phrase@host/set: 1\n",
        "model_name_or_path: a/b\ndataset_mixer_list: [https://me:pa55-phrase@host/set, 1]\n",
        "model_name_or_path: https://me:pa55-phrase@host/model\ndataset_mixer: {a/b: 1.0}\n",
        "model_name_or_path: a/b\ndataset_mixer: {a/b: 1.0}\nodd: {deep: [hf_pa55phrasepa55phrase]}\n",
        "model_name_or_path: a/b\ndataset_mixer_list: https://me:pa55-phrase@host/set 1\n",
        "--model_name_or_path a/b --dataset_mixer_list a/b 1.0 --hf_token pa55-phrase\n",
    ],
)
def test_a_key_is_found_wherever_it_stands(text: str) -> None:
    from alchemist_dsl.diagnostics.render import FORMATS, render

    found = migrate(SourceFile("c.yaml", text), tool="open-instruct")
    assert found.problems
    shown = [str(found.recipe), *(render(found.problems, found.sources, f) for f in FORMATS)]
    assert not [s for s in shown if "pa55" in s]


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        ("a: 1\nb: [1,\n", 3, 1, "broken"),
        ("a: 1\n\tb: 2\n", 2, 1, "broken"),
        ("a: !!python/object/apply:os.system ['x']\n", 1, 4, "kind"),
        ("- a\n- b\n", 1, 1, "a list"),
        ("just words\n", 1, 1, "one value"),
        ("", 1, 1, "empty"),
        ("a: 1\n---\nb: 2\n", 2, 1, "document"),
        ("a: &x [*x]\n", 1, 4, "holds itself"),
        ("a: \x07\n", 1, 4, "U+0007"),
        ("? [a]\n: 1\n", 1, 3, "key"),
        ('a: "\\ud800"\n', 1, 4, "surrogate"),
    ],
)
def test_broken_yaml_has_a_line_and_a_column(text: str, line: int, column: int, part: str) -> None:
    source = SourceFile("x.yaml", text)
    (problem,) = migrate(source).problems
    assert problem.code == "A950"
    assert source.position(problem.span.start) == (line, column)
    assert part in problem.headline


def test_a_small_file_that_stands_for_a_huge_one_is_refused() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in itertools.pairwise("abcdefgh")]
    (problem,) = migrate(SourceFile("x.yaml", "\n".join(lines))).problems
    assert "100,000" in problem.headline


MANY = {
    "merges": "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 60)),
    "nested": "a: " + "{a: " * 5_000,
    "long": "a: 1\n" * 60_000,
}


@pytest.mark.parametrize("case", MANY)
def test_a_configuration_takes_time_by_its_length(case: str) -> None:
    begun = time.process_time()
    made = migrate(SourceFile("a.yaml", MANY[case]))
    assert made.recipe is None and made.problems[0].code == "A950"
    assert time.process_time() - begun < 5


def test_merged_keys_count_and_keys_written_twice_are_named() -> None:
    text = "base: &b\n  lr_scheduler: linear\n<<: *b\nbase_model: a/b\nlearning_rate: 1\nlearning_rate: 2e-4\ndatasets: []\n"
    found = migrate(SourceFile("x.yaml", text))
    assert found.recipe is not None
    assert "schedule = linear" in found.recipe
    assert "learning_rate = 2e-4" in found.recipe
    assert "`learning_rate` is written twice; the last one counts" in {p.headline for p in found.problems}


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_what_the_tables_say_of_a_key_is_so(tool: str) -> None:
    """A key is in one table only, and one that is called used is asked for by the reader."""
    known = TOOLS[tool]
    tables = (known.used, known.left, known.unsaid)
    for one, other in itertools.combinations(tables, 2):
        assert set(one) & set(other) == set()
    asked = {k for k in known.used if "[" not in k and ":" not in k}
    for key in sorted(asked - set(NEEDED[tool])):
        text = yaml.safe_dump({**NEEDED[tool], key: "some words of ours"})
        found = migrate(SourceFile("c.yaml", text), tool=tool)
        assert "is no key of" not in "".join(p.headline for p in found.problems)
        assert key in found.used | found.reported | set(found.left) or found.recipe is None, key
        assert found.left.get(key) != NOTHING or key in {"dataset_config_name", "dataset_config"}, key
