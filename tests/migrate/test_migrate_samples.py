"""Configurations of other tools, written for these tests, and the recipes that come of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alchemist_dsl.checker import check
from alchemist_dsl.compiler import severity
from alchemist_dsl.diagnostics.render import render
from alchemist_dsl.migrate.run import Migrated, migrate
from alchemist_dsl.migrate.source_location import Kind, NoFiles
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.format import format_text

SAMPLES = Path(__file__).parent / "samples"
GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(p for p in SAMPLES.iterdir() if p.is_file())
SECRETS = ("0123456789secret", "hf_abcdefghij", "hf_zyxwvuts", "hf_qwerty")


class Beside(NoFiles):
    """The folder of samples, where one file of data is."""

    def kind(self, path: str) -> Kind | None:
        return "file" if path.endswith("factory/notes.json") else None

    def read(self, path: str) -> str | None:
        file = SAMPLES / path
        return file.read_text("utf-8") if file.is_file() else None

    def columns(self, path: str) -> frozenset[str] | None:
        return frozenset({"instruction", "output"})


def made(path: Path) -> Migrated:
    gpus = 16 if path.suffix == ".sh" else None
    return migrate(SourceFile(path.name, path.read_text("utf-8")), files=Beside(), gpus=gpus)


def told(found: Migrated) -> str:
    """The messages, one a line, and the keys that change no result."""
    return render(found.problems, found.sources, "concise") + "".join(
        f"left out: {key}: {why}\n" for key, why in found.left.items()
    )


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_golden(path: Path) -> None:
    found = made(path)
    assert found.recipe is not None
    outcome = {path.name + ".recipe": found.recipe, path.name + ".txt": told(found)}
    for name, text in outcome.items():
        if os.environ.get("UPDATE_GOLDEN") == "1":
            GOLDEN.mkdir(exist_ok=True)
            (GOLDEN / name).write_text(text, "utf-8")
        assert (GOLDEN / name).read_text("utf-8") == text


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_sample_checks_and_is_formatted(path: Path) -> None:
    recipe = made(path).recipe
    assert recipe is not None
    file = SourceFile("-", recipe)
    assert [d.headline for d in check(file, lambda _: None)[1] if severity(d) == "error"] == []
    assert format_text(file)[0] == recipe


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_no_secret_leaves_the_configuration(path: Path) -> None:
    found = made(path)
    shown = f"{found.recipe}{told(found)}{render(found.problems, found.sources)}"
    assert not [s for s in SECRETS if s in shown]
    given = path.read_text("utf-8")
    if any(s in given for s in SECRETS) and "env:" not in given:
        assert "A955" in {p.code for p in found.problems}


def test_golden_files_belong_to_samples() -> None:
    assert {p.name.rpartition(".")[0] for p in GOLDEN.iterdir()} == {p.name for p in FILES}
