"""`alchemist fmt`: recipes in their one layout, in place, or only what would change."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alchemist_dsl.cli.options import format_option
from alchemist_dsl.document.text import plural

if TYPE_CHECKING:
    from alchemist_dsl.diagnostics.model import Diagnostic
    from alchemist_dsl.source import SourceFile


@dataclass(frozen=True, slots=True)
class Formatted:
    """One file before and after. `after` is None where it is not text; `problems` are those of its syntax."""

    path: str  # "-": standard input
    source: SourceFile
    before: bytes
    after: bytes | None
    problems: tuple[Diagnostic, ...]

    @property
    def changed(self) -> bool:
        return self.after is not None and self.after != self.before


@click.command()
@click.argument("paths", metavar="[FILE|FOLDER|-]...", nargs=-1)
@click.option("--check", is_flag=True, help="Write nothing; name the files that would change, exit 1 if there are any.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
@format_option(help="For people, or JSON.")
def fmt(paths: tuple[str, ...], check: bool, diff: bool, format_: str) -> None:
    """Format recipes: a folder is all recipes in it and below, none is the current folder, `-` standard input to
    output.

    Comments, order and keys stay. Blocks that do not parse are left as they are, and named.
    """
    done = [_format(path) for path in _expanded(paths or (".",))]
    wanted = [f for f in done if f.changed and f.path != "-" and not (check or diff)]
    failed = {f.path: problem for f in wanted if (problem := _write(f))}
    written = {f.path for f in wanted} - failed.keys()
    if format_ == "json":
        click.echo(json.dumps([_as_json(f, f.path in written) for f in done], indent=2, ensure_ascii=False))
    else:
        _say(done, written, check, diff)
    for line in failed.values():
        click.echo(line, err=True)
    if failed:
        sys.exit(3)
    sys.exit(1 if any(f.problems or (check and f.changed) for f in done) else 0)


def _expanded(paths: Sequence[str]) -> list[str]:
    """The files named and those in folders, each once; not in folders whose name begins with a dot."""
    out: dict[str, None] = {}
    for path in paths:
        if path == "-" or not os.path.isdir(path):  # noqa: PTH112 (keeps `./x` as the user wrote it)
            out[path] = None
            continue
        inside = list(_recipes(path))
        if not inside:
            raise click.UsageError(f"there is no recipe in the folder `{path}`")
        out.update(dict.fromkeys(inside))
    return list(out)


def _recipes(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(files):
            if name.endswith(".recipe"):
                yield os.path.normpath(os.path.join(place, name))  # noqa: PTH118 (as above)


def _format(path: str) -> Formatted:
    from alchemist_dsl.source import SourceFile
    from alchemist_dsl.syntax.decode import decode
    from alchemist_dsl.syntax.format import format_text

    before = _read(path, recipe=True)
    source, problems = decode(path, before)
    if source is None:
        return Formatted(path, SourceFile(path, ""), before, None, problems)
    text, problems = format_text(source)
    return Formatted(path, source, before, text.encode(), problems)


def _read(path: str, *, recipe: bool) -> bytes:
    """Read a file, or standard input. `recipe`: as a recipe of its project; else whatever it is, all of it."""
    from alchemist_dsl.project.folder import folder_of, read_file, read_recipe

    if path == "-":
        return sys.stdin.buffer.read()
    try:
        file = Path(path)
        return read_recipe(file, folder_of(file.parent / "-").root) if recipe else read_file(file)
    except FileNotFoundError:
        raise click.UsageError(f"there is no recipe `{path}`") from None
    except OSError as error:
        raise click.UsageError(f"`{path}` cannot be opened: {error.strerror}") from None


def _write(formatted: Formatted) -> str | None:
    """Put the new text in the place of the old one at once, with the file's mode; what went wrong."""
    import stat
    import tempfile

    assert formatted.after is not None
    path = Path(formatted.path).resolve()  # a link stays one
    temporary = None
    try:
        if not os.access(path, os.W_OK):
            raise PermissionError(13, "it is read-only")
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(formatted.after)
        temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        return f"error: `{formatted.path}` cannot be written: {error.strerror}"
    return None


def _say(done: Sequence[Formatted], written: Set[str], check: bool, diff: bool) -> None:
    from alchemist_dsl.cli.output import show
    from alchemist_dsl.syntax.format import PARSES

    for one in done:
        if diff:
            click.echo(_diff(one), nl=False)
        elif one.path == "-" and not check:
            _put(one)
        elif check and one.changed:
            click.echo(one.path)
        elif one.path in written:
            click.echo(f"formatted {one.path}")
        show(one.problems, {one.path: one.source})
        if any(p.code not in PARSES for p in one.problems):
            click.echo(f"the parts of `{one.path}` that do not parse were left unchanged\n", err=True)
    if diff or [f.path for f in done] == ["-"]:
        return
    if check:
        changed = sum(f.changed for f in done)
        click.echo(f"{changed} of {plural(len(done), 'file')} would change", err=True)
    else:
        click.echo(f"{plural(len(done), 'file')}: {len(written)} formatted, {len(done) - len(written)} as before")


def _put(formatted: Formatted) -> None:
    """The text to standard output: as bytes, for it is a file; as it came where it is not text."""
    sys.stdout.flush()
    after = formatted.before if formatted.after is None else formatted.after
    sys.stdout.buffer.write(after)
    sys.stdout.buffer.flush()


def _diff(formatted: Formatted) -> str:
    import difflib
    import re

    if not formatted.changed or formatted.after is None:
        return ""
    before, after = (re.findall(r"[^\n]*\n|[^\n]+\Z", data.decode()) for data in (formatted.before, formatted.after))
    lines = difflib.unified_diff(before, after, formatted.path, f"{formatted.path} (formatted)")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _as_json(formatted: Formatted, written: bool) -> dict[str, object]:
    from alchemist_dsl.diagnostics.render import render

    out: dict[str, object] = {"file": formatted.path, "changed": formatted.changed, "written": written}
    if formatted.path == "-" and formatted.after is not None:
        out["text"] = formatted.after.decode()
    sources = {formatted.path: formatted.source}
    return out | {"problems": json.loads(render(formatted.problems, sources, "json"))}


# --- textconv --------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("file", metavar="FILE")
def textconv(file: str) -> None:
    """Print the canonical form of the recipe FILE for `git diff`; `-` is standard input.

    Comments and order stay. Blank lines, line breaks and spaces are always the same, so a change of layout is no
    difference. Blocks that do not parse are printed as they are, and what is no text at all byte for byte.

    `alchemist new --git` has git use it; by hand: `git config diff.recipe.textconv "alchemist textconv"`.
    """
    data = _read(file, recipe=False)
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
