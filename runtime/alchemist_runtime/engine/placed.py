"""Whether an export still lies where the run put it. Light: a run with nothing to do asks this and reads no data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from alchemist_runtime.plan import ExportSpec, Node, Plan, card_digest
from alchemist_runtime.store import Manifest

if TYPE_CHECKING:
    from alchemist_runtime.engine.context import Context

MARKER = ".alchemist-export.json"


def folder(ctx: Context, spec: ExportSpec) -> Path | None:
    """Where an export goes, None where it only goes to the hub, or nothing may be moved."""
    return ctx.project / spec.path if spec.path and not ctx.options.limited else None


def marker(plan: Plan, node: Node) -> dict[str, str | None]:
    """What is written beside an export: its key, and what its card says that no key holds."""
    return {
        "key": node.key,
        "card": card_digest(plan, node),
        "recipe": plan.recipe.get("path"),
        "node": node.id,
    }


def same(found: object, plan: Plan, node: Node) -> bool:
    """Whether a marker that was read is that of this export as the plan has it."""
    made = marker(plan, node)
    return isinstance(found, dict) and all(found.get(n) == made[n] for n in ("key", "card"))


def in_place(ctx: Context, node: Node, manifest: Manifest) -> bool:
    """Whether the folder holds what this key made: its marker says so and every file has its size."""
    spec: ExportSpec = node.spec  # type: ignore[assignment]
    where = folder(ctx, spec)
    if where is None:
        return True
    try:
        found = json.loads((where / MARKER).read_bytes())
    except (OSError, ValueError):
        return False
    if not same(found, ctx.plan, node):
        return False
    files: dict[str, int] = manifest.figures.get("files", {})
    try:
        return all((where / name).stat().st_size == size for name, size in files.items())
    except OSError:
        return False
