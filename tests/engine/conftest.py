"""A run over a plan in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.engine.context import Context, Silent
from alchemist_runtime.schema import plan as p
from alchemist_runtime.storage.store import Store


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., Context]:
    def make(plan: p.Plan, root: Path | None = None, **more: Any) -> Context:
        root = root or tmp_path
        return Context(plan, root, root / ".alchemist", Store(root / ".alchemist"), Silent(), **more)

    return make
