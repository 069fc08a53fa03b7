"""Servers for teacher tests: llmock, which nobody here wrote, and a small one that fails on command."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.calls.dispatch import ClientPool
from command_line import PATIENCE
from fault_server import Answer, FaultServer
from stub import Stub


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], FaultServer]]:
    """Start a server whose answers a function of (number of the request, its body) decides."""
    started: list[FaultServer] = []

    def start(answer: Answer) -> FaultServer:
        started.append(FaultServer(answer))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A server that behaves as real ones do, as marks in the questions or its mode say."""
    server = Stub()
    yield server
    server.close()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Callable[..., ClientPool]]:
    """Teachers of a run in a folder of its own, closed at the end."""
    opened: list[ClientPool] = []

    def make(**more: Any) -> ClientPool:
        opened.append(ClientPool(more.pop("state", tmp_path / ".alchemist"), **more))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def llmock() -> Iterator[Callable[..., str]]:
    """Start llmock with these options; gives its base URL."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> str:
        port = free_port()
        command = [Path(sys.executable).with_name("llmock"), "serve", "--port", str(port)]
        command += ["--host", "127.0.0.1", "--log-level", "error", *options]  # type: ignore[list-item]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        base = f"http://127.0.0.1:{port}"
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{base}/v1/models", timeout=1).read()
                return f"{base}/v1"
            except OSError as e:
                if getattr(e, "code", None) is not None:  # it answers, if only with a refusal
                    return f"{base}/v1"
                time.sleep(0.1)
        raise TimeoutError("llmock did not start")

    yield start
    for process in running:
        process.terminate()
        process.wait(10)
