"""Values of parameters from outside a recipe: the command line, the environment, a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from alchemist_dsl.project.folder import read_file

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
