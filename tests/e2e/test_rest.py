"""`NAME.rest`: the rows that `select` did not choose, of every step that selects, as they came in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from alchemist_runtime.schema.sealed import seal, unseal
from click.testing import CliRunner
from e2e_cli import jsonl

from alchemist_dsl.cli.main import group

RECIPE = """edition 2026
import "std:alchemy" as alchemy
teacher rules {
  provider = rules
  price = free
}
source a {
  files = "a.jsonl"
}
filter clean {
  from = a
  drop chars(response) < 4 as short
  select = 12 rows
}
map marked {
  from = clean
  select = 50%
  mode = only
  set lang = "python"
}
relabel told {
  from = clean
  select = 25%
  teacher = rules
  prompt = alchemy.relabel
}
generate evolved {
  from = clean
  select = response == "x = 7" or response == "x = 8"
  teacher = rules
  prompt = alchemy.evolve
  set instruction = out.instruction
  set response = out.response
}
"""
EXPORT = 'export {0} {{\n  data = {1}\n  path = "{0}"\n}}\n'
STEPS = ("clean", "marked", "told", "evolved")


def run(*more: str) -> dict[str, dict[str, Any]]:
    done = CliRunner().invoke(group, ["run", "r.recipe", "--format", "json", *more])
    assert done.exit_code == 0, done.output
    return {n["node"]: n for n in json.loads(done.stdout)["nodes"]}


def ids(folder: str) -> list[str]:
    return [i for p in sorted(Path(folder).glob("data/*.parquet")) for i in pq.read_table(p)["_id"].to_pylist()]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.lock").touch()
    jsonl(
        tmp_path / "a.jsonl",
        [{"instruction": f"Set {i}.", "response": f"x = {i}" if i % 5 else "x"} for i in range(20)],
    )
    return tmp_path


def test_what_is_chosen_and_the_rest_are_all_that_came_in(project: Path) -> None:
    streams = {"all_clean": "clean", **{f"{s}_rest": f"{s}.rest" for s in STEPS}, "only": "marked"}
    text = RECIPE + "".join(EXPORT.format(n, s) for n, s in streams.items())
    (project / "r.recipe").write_text(text)
    nodes = run()
    clean = ids("all_clean")
    assert len(clean) == 12 and len(ids("clean_rest")) == 4, "4 of 20 are too short"
    assert not {*clean} & {*ids("clean_rest")}
    assert sorted(ids("only") + ids("marked_rest")) == sorted(clean)
    for step in ("marked", "told", "evolved"):
        rest, chosen = ids(f"{step}_rest"), nodes[step]["figures"]["chosen"]
        assert rest == [i for i in clean if i in {*rest}], "in their order"
        assert len(rest) == 12 - chosen


def test_rows_and_rest_are_no_rows_twice(project: Path) -> None:
    """A604 recommends what is so: with the rows of a step and what it refused, the rest is all of its input."""
    entries = "mixture sft {{\n  from = [\n    {},\n    {},\n  ]\n}}\n" + EXPORT.format("dataset", "sft").replace(
        "{", "{{"
    ).replace("}", "}}")
    said = {}
    for pair in (
        ("clean", "a"),
        ("marked", "clean"),
        ("told.rest", "told"),
        ("marked.rest", "marked"),
        ("clean.rest", "clean"),
    ):
        (project / "r.recipe").write_text(RECIPE + entries.format(*pair))
        done = CliRunner().invoke(group, ["check", "r.recipe", "--format", "json"])
        found = [d for d in json.loads(done.stdout) if d["code"] == "A604"]
        said[pair[0]] = [(d["headline"], d["help"]) for d in found]
    twice = "so they would be trained on twice"
    assert said == {
        "clean": [
            (
                f"rows of `clean` are also in `a`, {twice}",
                "drop one of them, or take what only one has: `clean.dropped` and `clean.rest`",
            )
        ],
        "marked": [
            (
                f"rows of `marked` are also in `clean`, {twice}",
                "drop one of them, or take what only one has: `marked.rest`",
            )
        ],
        "told.rest": [(f"rows of `told.rest` are also in `told`, {twice}", "drop one of them from the mixture")],
        "marked.rest": [],
        "clean.rest": [],
    }


def test_a_step_without_select_has_no_rest(project: Path) -> None:
    text = RECIPE.replace("  select = 12 rows\n", "") + EXPORT.format("dataset", "clean.rest")
    (project / "r.recipe").write_text(text)
    done = CliRunner().invoke(group, ["check", "r.recipe"])
    assert done.exit_code == 1
    assert "only steps with `select` have `.rest`" in done.output


def test_a_result_of_an_earlier_version_is_made_again_where_its_rest_is_read(project: Path) -> None:
    (project / "r.recipe").write_text(RECIPE + EXPORT.format("dataset", "told"))
    keys = {n: made["key"] for n, made in run().items()}
    for manifest in project.glob(".alchemist/store/*/manifest.json"):
        data, _ = unseal(manifest.read_bytes())
        data.get("ports", {}).pop("rest", None)
        manifest.write_bytes(seal(data))
    nodes = run()
    assert {n["action"] for n in nodes.values()} == {"reused"}, "nothing reads it"
    (project / "r.recipe").write_text(RECIPE + EXPORT.format("dataset", "told") + EXPORT.format("untold", "told.rest"))
    nodes = run()
    assert {n for n, made in nodes.items() if made["action"] == "built"} == {"told", "untold"}
    assert nodes["told"]["key"] == keys["told"]
    assert nodes["told"]["figures"]["calls_new"] == 0 and len(ids("untold")) == 12 - nodes["told"]["figures"]["chosen"]
