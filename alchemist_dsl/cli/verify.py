"""`alchemist verify`: holds everything that a project keeps against what was written: results, answers, exports,
records.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alchemist_dsl.cli.options import format_option

if TYPE_CHECKING:
    from alchemist_runtime.storage.store import Manifest

    from alchemist_dsl.project.workspace import Project


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is not as it was written. `repair` makes the next run see that; None: nobody but a person can mend
    it.
    """

    what: str  # result | answers | export | records | texts | lock
    name: str
    why: str
    place: str
    repair: Callable[[], object] | None = None


@dataclass
class Checked:
    """What was looked at, and what is wrong with it. `unsummed`: results of an earlier version, which wrote no
    digests.
    """

    counts: dict[str, int] = field(default_factory=dict)
    unsummed: int = 0
    damage: list[Damage] = field(default_factory=list)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=".")
@click.option(
    "--repair", is_flag=True, help="Take what is damaged out of use: the next run makes it again, and nothing else."
)
@format_option()
def verify(folder: Path, repair: bool, format_: str) -> None:
    """Read every byte that the project of FOLDER keeps and hold it against its checksum. Exits with 1 where one
    differs.
    """
    from alchemist_runtime.schema.codes import OK, SAID_NO, USAGE

    from alchemist_dsl.project.workspace import project_of

    if not folder.is_dir():
        click.echo(f"error: there is no folder `{folder}`", err=True)
        sys.exit(USAGE)
    found = checked(project_of(folder / "x"))
    for one in found.damage if repair else ():
        if one.repair is not None:
            one.repair()
    if format_ == "json":
        _json(found)
    else:
        for line in _lines(found, repair):
            click.echo(line)
    sys.exit(SAID_NO if found.damage else OK)


def checked(project: Project) -> Checked:
    """Everything that a project keeps, looked at once."""
    out = Checked()
    _results(project, out)
    _answers(project, out)
    _records(project, out)
    return out


def _results(project: Project, out: Checked) -> None:
    from alchemist_runtime.schema.codes import RunError
    from alchemist_runtime.schema.kinds import KINDS

    store, seen = project.store, set()
    for key in store.all_keys():
        try:
            result = store.manifest(key)
            if result is None or result.path in seen:
                continue
            seen.add(result.path)
            out.unsummed += not result.files
            result.verify()
        except RunError as error:
            p, broken = error.problem, error.damaged or key
            name = _step(store.path(broken)) or f"{broken[3:15]}…"
            why = f"{Path(p.place or '').name}: {p.note}"
            mend = partial(store.give_up, broken) if error.damaged else None
            out.damage.append(Damage("result", name, why, p.place or "", mend))
            continue
        kind = KINDS.get(str(result.data.get("kind")))
        if kind is not None and kind.writes:
            out.damage += _export(project, result)
            out.counts["exports"] = out.counts.get("exports", 0) + 1
    out.counts["results"] = len(seen)


def _step(folder: Path) -> str | None:
    """The step that a result was made for, as far as its manifest can be read."""
    from alchemist_runtime.schema.sealed import read_json

    try:
        return str(read_json((folder / "manifest.json").read_bytes())["node"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _export(project: Project, result: Manifest) -> Iterator[Damage]:
    """Files of an export, where it still is the one that lies in its folder."""
    from alchemist_runtime.engine.export_step import changed, marked

    path = result.figures.get("path")
    if not isinstance(path, str) or (marked(project.root / path) or {}).get("key") != result.data["key"]:
        return
    for name in changed(project.root / path, result, again=True):
        file = project.root / path / name
        mend = partial(os.utime, file) if file.exists() else lambda: None
        yield Damage("export", path, f"{name} is not as it was written", str(file), mend)


def _answers(project: Project, out: Checked) -> None:
    from alchemist_runtime.calls.cache import CallCache
    from alchemist_runtime.schema.codes import RunError

    path = project.state / "calls.sqlite"
    if not path.exists():
        return
    cache = CallCache(path)
    try:
        out.counts["answers"], worn = cache.verify()
        if worn:
            said = f"{len(worn):,} of {out.counts['answers']:,} answers are damaged"
            out.damage.append(Damage("answers", path.name, said, str(path), lambda: cache.forget(worn)))
    except RunError as error:
        p = error.problem
        out.damage.append(Damage("answers", path.name, f"{p.note}; {p.help}", str(path)))
    finally:
        cache.close()


def _records(project: Project, out: Checked) -> None:
    from alchemist_runtime.schema.plan import text_digest

    from alchemist_dsl.project.workspace import read_lock, read_runs

    runs = project.state / "runs.jsonl"
    lines = len(runs.read_bytes().splitlines()) if runs.is_file() else 0
    out.counts["records"] = lines
    if lost := lines - len(read_runs(project)):
        said = f"{lost:,} of {lines:,} lines are damaged; they are left out wherever runs are compared"
        out.damage.append(Damage("records", runs.name, said, str(runs)))
    for text in sorted((project.state / "texts").glob("*")):
        out.counts["texts"] = out.counts.get("texts", 0) + 1
        if text_digest(text.read_text("utf-8", "replace")) != f"b2:{text.name}":
            said = "its bytes are not those that were written"
            out.damage.append(Damage("texts", f"{text.name[:12]}…", said, str(text), text.unlink))
    for problem in read_lock(project)[1]:
        said = f"{problem.headline}; {problem.help}"
        out.damage.append(Damage("lock", "recipe.lock", said, str(project.lock_file)))


# --- what is printed --------------------------------------------------------------------------------------------------


def _lines(found: Checked, repaired: bool) -> Iterator[str]:
    for one in found.damage:
        yield f"{one.what:<8} {one.name}: {one.why}"
        yield f"         {os.path.relpath(one.place)}"
    counts = ", ".join(f"{n:,} {what if n != 1 else what[:-1]}" for what, n in found.counts.items())
    yield f"checked  {counts}"
    if found.unsummed:
        yield f"note     {found.unsummed:,} of the results were made by an earlier version, which wrote no digests"
    mendable = [d for d in found.damage if d.repair is not None]
    if mendable and repaired:
        yield "repaired what is damaged is out of use; the next `alchemist run` makes it again, and nothing else"
    elif mendable:
        yield "help     `alchemist verify --repair` takes it out of use, so that the next run makes it again"


def _json(found: Checked) -> None:
    import json

    damage = [{n: getattr(d, n) for n in ("what", "name", "why", "place")} for d in found.damage]
    data = {"checked": found.counts, "without_digests": found.unsummed, "damage": damage}
    click.echo(json.dumps(data, indent=2))
