"""Puts a finished folder in its place as a whole, and never over a folder that alchemist did not write."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alchemist_runtime.engine.placed import MARKER
from alchemist_runtime.errors import Problem, RunError


def refuse_foreign(target: Path, node: str, shown: str) -> None:
    """RunError A906 if there is something at the target that alchemist did not write."""
    if not target.exists() or (target / MARKER).is_file():
        return
    if target.is_dir() and all(p.is_dir() for p in target.rglob("*")):
        return
    raise RunError(
        Problem(
            "A906",
            "foreign-folder",
            f"`{shown}` exists and was not written by alchemist, so it is not overwritten",
            node=node,
            help="choose another `path`, or move that folder away",
        ),
        exit_code=3,
    )


def put(made: Path, target: Path, marker: Mapping[str, Any]) -> None:
    """Copy a finished folder beside its target, then exchange the two by rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.new-{os.getpid()}")
    old = target.with_name(f".{target.name}.old-{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        shutil.copytree(made, fresh, copy_function=_link)
        (fresh / MARKER).write_text(json.dumps(marker, sort_keys=True, indent=1) + "\n")
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except OSError:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _link(source: str, target: str) -> str:
    """Real files of their own: an edit of the exported file must not reach into the store."""
    return str(shutil.copyfile(source, target))
