"""The folder of a project as the light commands need it: where it is, its recipes, the shipped library, outside values.

Loads nothing but the standard library, so that `check` stays quick.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alchemist_dsl.syntax.decode import LARGEST

LOCK: Final = "recipe.lock"
STATE: Final = ".alchemist"
STD: Final = "std:"


def read_file(path: Path, root: Path | None = None, most: int = -1) -> bytes:
    """The bytes of a file, at most so many. OSError in plain words for what is no regular file, and for a link that
    leads out of `root`: a repository of others could name any file of this machine by it."""
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):  # opening a pipe would wait for who writes to it
        what = "a named pipe" if stat.S_ISFIFO(kind) else "a device or socket"
        raise OSError(0, f"it is {what}, not a file; `-` reads standard input")
    if root is not None and not leads_inside(path, root):
        raise OSError(0, "it is a link that leads out of the project")
    with path.open("rb") as file:
        return file.read(most)


def read_recipe(path: Path, root: Path | None = None) -> bytes:
    """The bytes of a recipe, of one that is too large those that show it."""
    return read_file(path, root, LARGEST + 1)


def leads_inside(path: Path, root: Path) -> bool:
    """Whether a path lies in a folder once its links are followed."""
    real, base = os.path.realpath(path), os.path.realpath(root)
    return real == base or real.startswith(base.rstrip(os.sep) + os.sep)


@dataclass(frozen=True, slots=True)
class Folder:
    """The root of a project: the nearest folder upward with `recipe.lock` or `.git`, else the recipe's own."""

    root: Path

    def relative(self, path: Path) -> str:
        """A path as plans and messages name it: from the root, with `/`."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def read(self, path: str) -> bytes | None:
        """The bytes of a recipe of the project, or of the library: `std:NAME`; None if there is none.

        OSError for one that may not be read: its `strerror` says why."""
        try:
            if path.startswith(STD):
                return read_recipe(library() / f"{path.removeprefix(STD)}.recipe")
            return read_recipe(self.root / path, self.root)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
            return None  # ValueError: a name with a null byte

    def listing(self, folder: str) -> Sequence[str]:
        """Names beside a file that is not there, for suggestions."""
        if folder == STD:
            return sorted(f.stem for f in library().glob("*.recipe"))
        try:
            return sorted(p.name for p in (self.root / folder).iterdir())
        except OSError:
            return ()


def folder_of(recipe: Path) -> Folder:
    """The project folder of a recipe."""
    own = recipe.resolve().parent
    for at in (own, *own.parents):
        if (at / LOCK).exists() or (at / ".git").exists():
            return Folder(at)
    return Folder(own)


def library() -> Path:
    """The folder of the shipped library: in the package, else in the checkout."""
    packaged = Path(__file__).parents[1] / "_recipes" / "std"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "recipes" / "std"


def unopened(recipe: Path, error: OSError, what: str = "recipe") -> str:
    """Why a recipe, or a plan, cannot be read, and one of a near name."""
    from difflib import get_close_matches

    if not isinstance(error, FileNotFoundError):
        return f"`{recipe}` cannot be opened: {error.strerror}"
    names = sorted(p.name for p in recipe.parent.glob("*.recipe" if what == "recipe" else "*.json"))
    near = get_close_matches(recipe.name, names, 1)
    help_ = f"; did you mean `{recipe.parent / near[0]}`?" if near else ""
    return f"there is no {what} `{recipe}`{help_}"


def is_plan(path: Path) -> bool:
    return path.suffix == ".json"


# --- params ----------------------------------------------------------------------------------------------------------

ENVIRONMENT: Final = "ALCHEMIST_PARAM_"


class ParamsError(ValueError):
    """`--set` or `--params` cannot be read; the message says why."""


def outside_values(
    sets: Iterable[str] = (), params_file: Path | None = None, environment: Mapping[str, str] | None = None
) -> dict[str, tuple[str, str]]:
    """Values of parameters from outside: name -> (text, where from). A later place wins: file, environment, `--set`.

    Raises ParamsError."""
    out: dict[str, tuple[str, str]] = {}
    if params_file is not None:
        out |= {name: (text, "file") for name, text in _from_file(params_file).items()}
    known = os.environ if environment is None else environment
    for variable, text in sorted(known.items()):
        if variable.startswith(ENVIRONMENT) and variable != ENVIRONMENT:
            out[variable.removeprefix(ENVIRONMENT).lower()] = (text, "environment")
    for item in sets:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise ParamsError(f"`--set {item}` has no value; write `--set NAME=VALUE`")
        out[name.strip()] = (text.strip(), "set")
    return out


def _from_file(path: Path) -> dict[str, str]:
    try:
        import tomllib

        text = read_file(path).decode("utf-8")
        data = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        if not isinstance(data, dict):
            raise ParamsError(f"`{path}` holds no names with values")
        return {name: _as_written(value) for name, value in data.items()}
    except OSError as e:
        raise ParamsError(f"`{path}` cannot be read: {e.strerror}") from e
    except RecursionError as e:
        raise ParamsError(f"`{path}` cannot be read: its values are nested too deeply") from e
    except ParamsError:
        raise
    except ValueError as e:
        raise ParamsError(f"`{path}` cannot be read: {e}") from e


def _as_written(value: Any) -> str:
    """A value of TOML or JSON in the recipe's own words: a text stands as it is, so `"5%"` is a percent."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case list():
            return "[" + ", ".join(_inner(v) for v in value) + "]"
        case dict():
            return "{ " + ", ".join(f"{k} = {_inner(v)}" for k, v in value.items()) + " }"
        case _:
            return str(value)


def _inner(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else _as_written(value)
