"""Whether an export still lies where the run put it. Light: a run with nothing to do asks this and reads no data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from alchemist_runtime.plan import ExportSpec, Node
from alchemist_runtime.store import Manifest

if TYPE_CHECKING:
    from alchemist_runtime.engine.context import Context

MARKER = ".alchemist-export.json"


def folder(ctx: Context, spec: ExportSpec) -> Path | None:
    """Where an export goes, None where it only goes to the hub, or nothing may be moved."""
    return ctx.project / spec.path if spec.path and not ctx.options.limited else None


def in_place(ctx: Context, node: Node, manifest: Manifest) -> bool:
    """Whether the folder holds what this key made: its marker says so and every file has its size."""
    spec: ExportSpec = node.spec  # type: ignore[assignment]
    where = folder(ctx, spec)
    if where is None:
        return True
    try:
        marker = json.loads((where / MARKER).read_bytes())
    except (OSError, ValueError):
        return False
    if marker.get("key") != node.key:
        return False
    files: dict[str, int] = manifest.figures.get("files", {})
    try:
        return all((where / name).stat().st_size == size for name, size in files.items())
    except OSError:
        return False
