"""A stand-in of GitHub for a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from github_server import GitHub


@pytest.fixture
def github() -> Iterator[GitHub]:
    server = GitHub()
    yield server
    server.close()
