"""Servers for the runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from servers import free_port, program, server


@pytest.fixture
def llmock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Start llmock with these options; gives its base URL."""
    with ExitStack() as stack:

        def start(*options: str) -> str:
            port = free_port()
            log = tmp_path_factory.mktemp("llmock") / "log"
            command = [program("llmock"), "serve", "--port", str(port), *options]
            stack.enter_context(server(command, f"http://127.0.0.1:{port}/v1/models", log))
            return f"http://127.0.0.1:{port}/v1"

        yield start


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`transformers serve` with a tiny model made here; gives "BASE_URL MODEL"."""
    from alchemist_runtime.train.base_model import scratch_model

    folder = tmp_path_factory.mktemp("tiny") / "model"
    scratch_model(folder, {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 64, "context": 4096}, 1)
    port = free_port()
    command = [program("transformers"), "serve", str(folder), "--port", str(port), "--device", "cpu"]
    with server(command, f"http://127.0.0.1:{port}/health", Path(folder.parent / "log")):
        yield f"http://127.0.0.1:{port}/v1 {folder}"
