"""Whether an export still lies where the run put it. Light: a run with nothing to do asks this and reads no data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from alchemist_runtime.schema.plan import ExportSpec, Node, Plan, card_digest
from alchemist_runtime.schema.sealed import file_digest, stamp, unseal
from alchemist_runtime.storage.store import Manifest

if TYPE_CHECKING:
    from alchemist_runtime.engine.context import Context

MARKER = ".alchemist-export.json"


def folder(ctx: Context, spec: ExportSpec) -> Path | None:
    """Where an export goes, None where it only goes to the hub, or nothing may be moved."""
    return ctx.project / spec.path if spec.path and not ctx.options.limited else None


def marker(plan: Plan, node: Node) -> dict[str, str | None]:
    """What is written beside an export: its key, and what its card says that no key holds."""
    return {"key": node.key, "card": card_digest(plan, node), "recipe": plan.recipe.get("path"), "node": node.id}


def marked(where: Path) -> dict[str, Any] | None:
    """The marker of a folder; an empty one where it cannot be read, None where there is none."""
    try:
        found, _ = unseal((where / MARKER).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def in_place(project: Path, plan: Plan, node: Node, manifest: Manifest) -> bool:
    """Whether the folder holds what this key made: its marker says so, and every file is as it was put there."""
    where = project / (getattr(node.spec, "path", None) or "")
    found, wanted = marked(where), marker(plan, node)
    if not found or any(found.get(n) != wanted[n] for n in ("key", "card")):
        return False
    return not changed(where, manifest)


def changed(where: Path, manifest: Manifest, *, again: bool = False) -> list[str]:
    """The files of an export that are gone, or are not those that were written. `again`: read those too that nobody
    wrote to.
    """
    stamps = {} if again else manifest.data.get("placed", {})
    files = manifest.figures.get("files", {})
    return [
        name
        for name, size in files.items()
        if not _same(where / name, size, stamps.get(name), manifest.files.get(f"files/{name}"))
    ]


def _same(path: Path, size: int, put: list[int] | None, made: Any) -> bool:
    """A file that nobody wrote to since is the same; another one is where its bytes are, as far as their digest is
    known.
    """
    try:
        now = stamp(path)
        if now[0] != size or now == put or made is None:
            return now[0] == size
        return bool(file_digest(path) == made["digest"])
    except OSError:
        return False
