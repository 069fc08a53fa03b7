"""`alchemist new`: a small project that runs offline, and what git needs to know of recipes. Nothing that is there is
replaced.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

STARTER: Final = Path(__file__).resolve().parents[1] / "starter"
RECIPE: Final = "first.recipe"
ATTRIBUTES: Final = ("*.recipe diff=recipe linguist-language=HCL", "recipe.lock merge=recipe-lock linguist-generated")
IGNORED: Final = (".alchemist/",)
#: A hunk of `git diff` is headed by the line before it that fits: the block that it stands in. The second pattern has
#: an empty group: behind the end of a block stands no name, rather than that of the block before.
_BLOCK: Final = r"""^([a-z_]+( +([A-Za-z_][A-Za-z_0-9]*|"[^"]*"))? *[{])"""
_END: Final = "^[}] *( *)"
GIT_SETTINGS: Final = {
    "diff.recipe.textconv": "alchemist textconv",
    "diff.recipe.xfuncname": f"{_BLOCK}\n{_END}",
    "merge.recipe-lock.name": "recipe.lock, fact by fact",
    "merge.recipe-lock.driver": "alchemist merge-lock %O %A %B %P",
}


@click.command()
@click.argument("folder", metavar="[FOLDER]", default=".", type=click.Path(path_type=Path))
@click.option("--git", "git_", is_flag=True, help="Also tell git of this clone how to show and merge recipes.")
@click.option("--pre-commit", is_flag=True, help="Also write .pre-commit-config.yaml.")
@click.option("--github", is_flag=True, help="Also write a workflow that comments pull requests.")
def new(folder: Path, git_: bool, pre_commit: bool, github: bool) -> None:
    """Begin a project in FOLDER (the current one otherwise): a recipe that runs offline, sample rows, and files for
    git.

    What is there already stays as it is; lines that .gitattributes and .gitignore lack are added.
    """
    if folder.exists() and not folder.is_dir():
        raise click.UsageError(f"`{folder}` is a file; name a folder")
    top = _repository(folder)
    if git_ and top is None:
        raise click.UsageError(f"`{folder}` is in no git repository: run `git init` there first, or leave out `--git`")
    try:
        done = _files(folder, top or folder, pre_commit, github)
        for line in done:
            click.echo(line)
    except OSError as error:
        place = f"`{_shown(Path(error.filename))}`" if error.filename else f"`{folder}`"
        click.echo(f"error: {place} cannot be written: {error.strerror}", err=True)
        sys.exit(3)
    click.echo()
    if git_:
        assert top is not None
        _tell_git(top)
    else:
        click.echo(_by_hand())
    click.echo(f"\nNext: `{_enter(folder)}alchemist run {RECIPE} --upto clean`")


# --- files ------------------------------------------------------------------------------------------------------------


def _files(folder: Path, top: Path, pre_commit: bool, github: bool) -> Iterator[str]:
    """Write what is missing; a line for each file."""
    from alchemist_dsl.project.folder import folder_of

    folder.mkdir(parents=True, exist_ok=True)
    root = folder_of(folder / RECIPE).root
    fresh = not (folder / RECIPE).exists()
    yield _written(RECIPE, folder / RECIPE)
    if fresh:
        yield _written("data/samples.jsonl", folder / "data" / "samples.jsonl")
    inside = os.path.relpath(folder.resolve(), root)
    out = f"/{Path(inside, 'out').as_posix()}/"
    yield _added(root / ".gitattributes", ATTRIBUTES)
    yield _added(root / ".gitignore", [*IGNORED, out] if fresh else IGNORED)
    if pre_commit:
        yield _written("pre-commit-config.yaml", top / ".pre-commit-config.yaml")
    if github:
        yield _written("recipe-diff.yml", top / ".github" / "workflows" / "recipe-diff.yml")


def _written(template: str, path: Path) -> str:
    """Write a file of the starter where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write((STARTER / template).read_bytes())
    except FileExistsError:
        return f"kept   {_shown(path)} (it was there)"
    return f"wrote  {_shown(path)}"


def _added(path: Path, lines: Sequence[str]) -> str:
    """Add the lines that a file lacks to its end, with its own line ends."""
    try:
        old = path.read_bytes()
    except FileNotFoundError:
        old = None
    known = {b" ".join(line.split()) for line in (old or b"").splitlines()}
    missing = [line.encode() for line in lines if line.encode() not in known]
    if not missing:
        return f"kept   {_shown(path)} (it has the lines)"
    end = b"\r\n" if b"\r\n" in (old or b"") else b"\n"
    gap = end if old and not old.endswith(b"\n") else b""
    with path.open("ab") as file:
        file.write(gap + b"".join(line + end for line in missing))
    if old is None:
        return f"wrote  {_shown(path)}"
    return f"added  {len(missing)} line{'s' if len(missing) > 1 else ''} to {_shown(path)}"


def _shown(path: Path) -> str:
    return os.path.relpath(path)


def _enter(folder: Path) -> str:
    import shlex

    here = _shown(folder)
    return "" if here == "." else f"cd {shlex.quote(here)} && "


# --- git --------------------------------------------------------------------------------------------------------------


def _repository(folder: Path) -> Path | None:
    """The top of the repository that a folder is in or would be in."""
    own = folder.resolve()
    return next((at for at in (own, *own.parents) if (at / ".git").exists()), None)


def _by_hand() -> str:
    import shlex

    lines = ["git shows recipes by their blocks and merges recipe.lock once it is told, in every clone anew:"]
    lines += [f"  git config {key} {shlex.quote(value)}" for key, value in GIT_SETTINGS.items()]
    return "\n".join([*lines, "`alchemist new --git` does that."])


def _tell_git(top: Path) -> None:
    """Make the settings of this clone; one that somebody chose otherwise stays."""
    import subprocess

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(top), "config", *arguments], capture_output=True, text=True)

    reported: list[str] = []
    kept: list[str] = []
    for key, value in GIT_SETTINGS.items():
        try:
            found = git("--get", key)
            if found.returncode == 0:
                if found.stdout.removesuffix("\n") != value:
                    kept.append(f"{key} = {found.stdout.strip()}")
                continue
            done = git("--local", key, value)
        except OSError as error:
            click.echo(f"error: git cannot be started: {error.strerror}", err=True)
            sys.exit(3)
        if done.returncode:
            click.echo(f"error: git refused `{key}`: {done.stderr.strip()}", err=True)
            sys.exit(3)
        reported.append(key)
    click.echo(f"told git: {', '.join(reported)}" if reported else "git was told before")
    for line in kept:
        click.echo(f"kept     {line} (set before; `git config --unset` takes it away)")
