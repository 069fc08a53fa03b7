"""Whether an export still lies where the run put it. Light: a run with nothing to do asks this and reads no data."""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alchemist_runtime.schema.errors import Problem, RunError
from alchemist_runtime.schema.plan import ExportSpec, Node, Plan, card_digest
from alchemist_runtime.schema.sealed import file_digest, seal, stamp, unseal
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


# --- export folder ---------------------------------------------------------------------------------------------------

_OURS: Final = re.compile(r"README\.md|(lineage/)?data/(train|eval)(-[0-9a-f]{12})?(-\d{5,})?\.(parquet|jsonl)")


def refuse_foreign(project: Path, shown: str, node: str, recipe: str | None) -> None:
    """RunError A906 if there is something at the target that alchemist did not write, A915 if another recipe of the
    project exports there, A909 if a link leads out of the project."""
    target = project / shown
    if not target.resolve().is_relative_to(project.resolve()):
        raise RunError(
            Problem(
                "A909",
                f"`{shown}` is a link that leads out of the project",
                node=node,
                place=str(target.resolve()),
                help="choose a `path` that stays in the project",
            )
        )
    found = marked(target)
    other = (found or {}).get("recipe")
    if isinstance(other, str) and other != recipe and (project / other).is_file():
        raise RunError(
            Problem(
                "A915",
                f"`{shown}` holds the export `{found and found.get('node')}` of `{other}`",
                node=node,
                note="each run would replace what the other recipe wrote",
                help=(
                    f'a `path` of its own, for example `path = "{node}"`; or remove the folder, if that export is no'
                    " longer wanted"
                ),
            )
        )
    if found is not None or not os.path.lexists(target):
        return
    if target.is_dir() and next(_files(target), None) is None:
        return
    raise _foreign(f"`{shown}` exists and was not written by alchemist, so it is not overwritten", node)


def _foreign(headline: str, node: str) -> RunError:
    way_out = "choose another `path`, or move that folder away"
    return RunError(Problem("A906", headline, node=node, help=way_out))


def put(made: Path, target: Path, marker: Mapping[str, Any]) -> dict[str, list[int]]:
    """Put a finished folder in its place; returns the stamp of every file there.

    The new folder is made beside the old one and the two are exchanged by rename. A folder that cannot be renamed,
    because something is mounted there, is filled file by file."""
    target = target.resolve()  # a link inside the project stays one
    names = sorted(_files(made))
    beside = sorted(target.parent.glob(f".{glob.escape(target.name)}.old-*"))
    if beside and not os.path.lexists(target):  # a run was killed between its two renames
        beside[-1].rename(target)
    before = _written(target)
    foreign = sorted(set(_files(target)) - before - {MARKER})
    if taken := [n for n in foreign if n in names]:
        said = f"`{taken[0]}` in the folder of the export was not written by alchemist, so it is not overwritten"
        raise _foreign(said, str(marker.get("node")))
    mark = {**marker, "files": names}
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_mount():
        _fill(made, target, names, before, mark)
    else:
        _exchange(made, target, foreign, mark)
    return {name: stamp(target / name) for name in names}


def _exchange(made: Path, target: Path, foreign: Iterable[str], mark: Mapping[str, Any]) -> None:
    fresh = target.with_name(f".{target.name}.new-{os.getpid()}")
    old = target.with_name(f".{target.name}.old-{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        shutil.copytree(made, fresh, copy_function=shutil.copyfile)
        for name in foreign:
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            _keep(target / name, fresh / name)
        (fresh / MARKER).write_bytes(seal(mark) + b"\n")
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except OSError:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _keep(mine: Path, there: Path) -> None:
    """The very file of somebody else, at its new place: until the exchange it has both names."""
    try:
        os.link(mine, there, follow_symlinks=False)
    except OSError:
        shutil.copy2(mine, there, follow_symlinks=False)


def _fill(made: Path, target: Path, names: list[str], before: set[str], mark: Mapping[str, Any]) -> None:
    """Exchange the files of a folder one by one. Meanwhile its marker fits no key, so a run that is cut off is made up
    for.
    """
    begun = {**mark, "key": None, "files": sorted(before | set(names))}
    (target / MARKER).write_bytes(seal(begun) + b"\n")
    for name in names:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        shutil.copyfile(made / name, temporary)
        temporary.replace(path)
    for name in before - set(names):
        (target / name).unlink(missing_ok=True)
    (target / MARKER).write_bytes(seal(mark) + b"\n")


def _files(folder: Path) -> Iterator[str]:
    """The files and links below a folder, by their names in it. OSError where not everything can be seen."""

    def unseen(error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise error

    for at, folders, files in os.walk(folder, onerror=unseen):
        links = [f for f in folders if (Path(at) / f).is_symlink()]
        yield from ((Path(at) / f).relative_to(folder).as_posix() for f in [*files, *links])


def _written(target: Path) -> set[str]:
    """What alchemist wrote into a folder: its marker lists it; an earlier version's, and a damaged one, does not, so
    there what is called as exports call it."""
    mark = marked(target)
    if mark is None:
        return set()
    if isinstance(mark.get("files"), list):
        return {str(name) for name in mark["files"]}
    return {name for name in _files(target) if _OURS.fullmatch(name)}
