"""Runs that a fault ends, each in a fork of one process: what they import is imported once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_DRIVER = """
import os, sys
{script}
for fault, root in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    child = os.fork()
    if child == 0:
        os.environ["ALCHEMIST_FAULT"] = fault
        os.chdir(root)
        go()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def ended(script: str, faults: Mapping[str, Path]) -> dict[str, int]:
    """By fault the exit code of a run in a folder. `script` is Python: imports, and `go()`, which runs in the current
    folder.
    """
    args = [str(part) for pair in faults.items() for part in pair]
    command = [sys.executable, "-c", _DRIVER.format(script=script), *args]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    codes = [int(line) for line in done.stdout.splitlines() if line.lstrip("-").isdigit()]
    return dict(zip(faults, codes, strict=True))
