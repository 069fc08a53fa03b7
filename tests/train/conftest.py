"""Fixtures of the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def byte_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The byte tokenizer of `init = scratch`."""
    pytest.importorskip("transformers")
    from alchemist_runtime.train.base_model import load_tokenizer, write_byte_tokenizer

    folder = tmp_path_factory.mktemp("bytes")
    write_byte_tokenizer(Path(folder), 2048)
    return load_tokenizer(str(folder))
