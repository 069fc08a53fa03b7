"""`alchemist textconv`: a recipe in the layout that `git diff` compares, so that only what was said differs."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("file", metavar="FILE")
def textconv(file: str) -> None:
    """Print the canonical form of the recipe FILE for `git diff`; `-` is standard input.

    Comments and order stay. Blank lines, line breaks and spaces are always the same, so a change of layout is no
    difference. Blocks that do not parse are printed as they are, and what is no text at all byte for byte.

    `alchemist new --git` has git use it; by hand: `git config diff.recipe.textconv "alchemist textconv"`.
    """
    data = _read(file)
    sys.stdout.flush()
    sys.stdout.buffer.write(_canonical(file, data))
    sys.stdout.buffer.flush()


def _canonical(path: str, data: bytes) -> bytes:
    """What git compares. Git shows no diff at all where this fails, so it must not: at worst it is the file as it
    is.
    """
    from alchemist_dsl.syntax.decode import decode
    from alchemist_dsl.syntax.format import canonical

    source, _ = decode(path, data)
    if source is None:
        return data
    try:
        return canonical(source).encode()
    except Exception as error:
        reason = f"{type(error).__name__}; this is our bug"
        click.echo(f"warning: `{path}` is shown as it is ({reason})", err=True)
        return data


def _read(path: str) -> bytes:
    from alchemist_dsl.project.folder import read_file

    try:
        return sys.stdin.buffer.read() if path == "-" else read_file(Path(path))
    except FileNotFoundError:
        raise click.UsageError(f"there is no recipe `{path}`") from None
    except OSError as error:
        raise click.UsageError(f"`{path}` cannot be opened: {error.strerror}") from None
