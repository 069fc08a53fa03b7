"""What all tests share: things that a machine may lack, and the list of what did not run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"


def _mounts() -> bool:
    """Whether this process may mount: root without the right to is usual in containers."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    trial = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    return subprocess.run(trial, capture_output=True).returncode == 0


THINGS = {
    "data": (DATA.is_dir(), "the public sets are not there: ../shared/data beside the checkout"),
    "chromium": (shutil.which("chromium") is not None, "chromium is not installed"),
    "node": (shutil.which("npm") is not None, "node and npm are not installed"),
    "tmux": (shutil.which("tmux") is not None, "tmux is not installed"),
    "mount": (_mounts(), "mounting a small file system needs root and the right to mount"),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    every = os.environ.get("ALCHEMIST_TEST_ALL") == "1"
    for item in items:
        for mark in item.iter_markers("needs"):
            there, why = THINGS[mark.args[0]]
            if not there and not every:
                item.add_marker(pytest.mark.skip(reason=why))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        there, why = THINGS[mark.args[0]]
        if not there:
            pytest.fail(f"this run must not skip anything, but {why}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests did not run:")
        reasons = {
            str(r.longrepr[2]) if isinstance(r.longrepr, tuple) else str(r.longrepr)
            for r in skipped
        }
        for reason in sorted(reasons):
            terminalreporter.write_line(f"  {reason}")


@pytest.fixture
def data() -> Path:
    """The folder of public sets; tests that use it carry `needs("data")`."""
    return DATA
