"""What a step tells its workflow: outputs, the job's summary, annotations, and text of others that is no command."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal


def write_outputs(environment: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Set outputs of the step; their values are single lines."""
    _append(environment.get("GITHUB_OUTPUT"), "".join(f"{k}={v}\n" for k, v in values.items()))


def write_summary(environment: Mapping[str, str], text: str) -> None:
    """Add Markdown to the job's summary."""
    _append(environment.get("GITHUB_STEP_SUMMARY"), f"{text}\n")


def _append(path: str | None, text: str) -> None:
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


def annotate(kind: Literal["notice", "warning", "error"], text: str) -> None:
    """A message that GitHub shows at the top of the run."""
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::{kind} title=alchemist review::{escaped}", flush=True)


def log_others(text: str) -> None:
    """Put text that we did not write into the log. It may hold a recipe's own words, so no line of it is taken for a
    command.
    """
    if not text.strip():
        return
    stop = secrets.token_hex(16)
    sys.stdout.write(f"::stop-commands::{stop}\n{text.rstrip(chr(10))}\n::{stop}::\n")
    sys.stdout.flush()
