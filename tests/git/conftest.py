"""A repository for a test."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_repo import Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "project")
