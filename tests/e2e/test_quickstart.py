"""The main job: the shipped quickstart, from four sources to a trained model, in a folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from e2e_cli import alchemist, built, calls, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    return tmp_path


@pytest.mark.slow
def test_from_sources_to_a_model(project: Path) -> None:
    before = alchemist("compile", "recipes/quickstart.recipe", cwd=project)
    assert before.returncode == 0 and before.stderr == "", before.stderr
    nodes = run("recipes/quickstart.recipe", project)

    dropped = {
        f"{n}.{rule}": k
        for n, d in nodes.items()
        for rule, k in d["figures"].get("dropped", {}).items()
        if d["kind"] != "task"
    }
    assert all(dropped.values()), f"rules that never fired: {[r for r, k in dropped.items() if not k]}"
    for rule in (
        "clean.too_short",
        "clean.broken_code",
        "clean.unclear",
        "clean.disorganised",
        "pool.duplicate",
        "evolved.too_long",
        "harmonized.wordy",
    ):
        assert rule in dropped
    assert dropped["safe.leak of problems"] >= 10
    assert nodes["safe"]["figures"]["items_leaked"] == 10
    assert nodes["final"]["rows"] >= 3_000
    assert {n: d["figures"]["chosen"] for n, d in nodes.items() if n == "harmonized"}["harmonized"] == pytest.approx(
        0.05 * nodes["final"]["rows"], rel=0.02
    )

    train = nodes["tiny"]["figures"]
    assert train["world_size"] == 2 and train["last_loss"] < 0.8 * train["first_loss"]
    model = project / ".alchemist/outputs/recipes/quickstart/tiny/model"
    assert (model / "model.safetensors").is_file() and (model / "tokenizer.json").is_file()

    import datasets

    found = datasets.load_dataset(str(project / "outputs/quickstart"))
    assert sum(found[s].num_rows for s in found) == nodes["sft"]["rows"]
    assert {r for s in found for r in found[s].unique("origin")} == {"chat", "numeric", "sessions", "stdlib"}

    again = run("recipes/quickstart.recipe", project)
    assert built(again) == set() and calls(again) == 0


def test_the_variant_is_the_paper_s_baseline(project: Path) -> None:
    done = alchemist("compile", "recipes/quickstart.recipe", "--variant", "directly_mix", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "evolution" not in done.stdout and "review" not in done.stdout and "harmonized" in done.stdout
    paper = alchemist("compile", "recipes/alchemistcoder.recipe", "--variant", "directly_mix", cwd=project)
    assert paper.returncode == 0, paper.stderr
