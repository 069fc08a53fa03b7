"""One server for the tests of a file, in a project of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pygls", reason="the extra `lsp` is not installed")

from editor import Editor


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("project").resolve()
    (root / ".git").mkdir()
    rows = '{"instruction": "Add.", "response": "a + b", "topic": "sums"}\n'
    (root / "rows.jsonl").write_text(rows * 3, "utf-8")
    return root


@pytest.fixture(scope="module")
def editor(project: Path) -> Iterator[Editor]:
    made = Editor(project)
    yield made
    logged = made.logged
    made.close()
    assert not logged, logged
