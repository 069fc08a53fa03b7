"""`alchemist merge-lock`: git's merge driver for `recipe.lock`. Facts are merged one by one; only what both sides say
differently is left to a person."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from alchemist_dsl.project.lockfile import Conflict, Lock

_path = click.Path(path_type=Path)


@click.command("merge-lock")
@click.argument("base", type=_path)
@click.argument("ours", type=_path)
@click.argument("theirs", type=_path)
@click.argument("name", metavar="[PATH]", default="recipe.lock")
def merge_lock(base: Path, ours: Path, theirs: Path, name: str) -> None:
    """Merge THEIRS into OURS, where both come from BASE: three versions of `recipe.lock`. PATH is its name in messages.

    Git calls it once it is set up, by `alchemist new --git` or by hand:
    `git config merge.recipe-lock.driver "alchemist merge-lock %O %A %B %P"`.
    A fact that both sides changed differently stands between markers, and the exit code is 1.
    """
    from alchemist_dsl.project.lockfile import LockError, dumps, merge

    try:
        sides = [_lock(path, side) for path, side in ((base, "base"), (ours, "ours"), (theirs, "theirs"))]
    except LockError as problem:
        _line_by_line(base, ours, theirs, name, str(problem))
    merged, conflicts = merge(*sides)
    _write(ours, dumps(merged, conflicts))
    if conflicts:
        click.echo(_told(name, conflicts), err=True)
        sys.exit(1)


def _lock(path: Path, side: str) -> Lock:
    from alchemist_dsl.project.lockfile import LockError, loads

    try:
        return loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise click.UsageError(f"there is no file `{path}`") from None
    except OSError as error:
        raise click.UsageError(f"`{path}` cannot be opened: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LockError(f"the version of {side} is not UTF-8") from None
    except LockError as error:
        raise LockError(f"the version of {side} cannot be read: {error}") from None


def _line_by_line(base: Path, ours: Path, theirs: Path, name: str, why: str) -> NoReturn:
    """What cannot be read as facts: git's own merge, so that nothing is lost and markers stand where it is open."""
    labels = ("-L", "ours", "-L", "base", "-L", "theirs")
    command = ["git", "merge-file", "--quiet", *labels, str(ours), str(base), str(theirs)]
    click.echo(f"{name}: {why}; merged line by line instead", err=True)
    try:
        code = subprocess.run(command).returncode
    except OSError as error:
        click.echo(f"error: git cannot be started: {error.strerror}", err=True)
        sys.exit(3)
    sys.exit(0 if code == 0 else 1 if code < 128 else 3)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8", newline="\n")
    except OSError as error:
        click.echo(f"error: `{path}` cannot be written: {error.strerror}", err=True)
        sys.exit(3)


def _told(name: str, conflicts: tuple[Conflict, ...]) -> str:
    facts = f"{len(conflicts)} fact{'s' if len(conflicts) > 1 else ''}"
    lines = [f"{name}: both sides changed {facts} differently:"]
    lines += [f"  {f'[{c.section}] ' if c.section else ''}{c.resource}" for c in conflicts]
    lines.append(
        "keep one line of each pair and take the markers away; `alchemist compile --locked` says whether it holds here"
    )
    return "\n".join(lines)
