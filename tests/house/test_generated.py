"""What is generated is fresh: reference pages, schemas, messages in the pages of codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from alchemist_dsl.docs import __main__ as docs

ROOT = Path(__file__).resolve().parents[2]


def test_generated_files_are_fresh() -> None:
    assert [str(p.relative_to(ROOT)) for p in docs.stale()] == [], "run `make docs`"


def test_check_names_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    monkeypatch.setattr(docs, "DOCS", folder)
    assert docs.main(["--check"]) == 1
    assert docs.main(["--write"]) == 0
    (folder / "schemas" / "kind-gone.json").write_text("{}")
    (folder / "reference" / "kinds.md").write_text("old")
    capsys.readouterr()
    assert docs.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "docs/reference/kinds.md is not fresh; run `make docs`",
        "docs/schemas/kind-gone.json is not fresh; run `make docs`",
    ]
    assert docs.main(["--write"]) == 0 and docs.main(["--check"]) == 0
    assert not (folder / "schemas" / "kind-gone.json").exists()
    assert docs.main([]) == 2
