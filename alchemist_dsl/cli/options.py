"""The options that commands about a recipe share, declared once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class RecipeOptions:
    """What was chosen of a recipe; the fields are the parameters of `compile_recipe`."""

    sets: tuple[str, ...] = ()
    params_file: Path | None = None
    variant: str | None = None
    upto: tuple[str, ...] = ()
    limit: int | None = None
    locked: bool = False

    @property
    def of_recipe(self) -> bool:
        """Whether something was chosen that a plan file can no longer change: anything but `upto`."""
        return replace(self, upto=()) != RecipeOptions()

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments of `compile_recipe`."""
        return asdict(self)


_OPTIONS: Final = {
    "sets": click.option("--set", "sets", metavar="NAME=VALUE", multiple=True, help="Value of a parameter."),
    "params_file": click.option(
        "--params", "params_file", type=click.Path(path_type=Path), help="File with values of parameters, TOML or JSON."
    ),
    "variant": click.option("--variant", metavar="NAME", help="A variant of the recipe."),
    "upto": click.option("--upto", metavar="NODE", multiple=True, help="Only this step and what it needs."),
    "limit": click.option(
        "--limit", type=click.IntRange(1), metavar="N", help="Only N rows of each source; a run replaces no output."
    ),
    "locked": click.option("--locked", is_flag=True, help="Refuse anything that differs from recipe.lock."),
}


def recipe_options(*more: str) -> Callable[[F], F]:
    """Add `--set`, `--params`, `--variant` and the named others; the command gets them as `options: RecipeOptions`."""
    names = ("sets", "params_file", "variant", *more)

    def add(command: F) -> F:
        @wraps(command)
        def command_with(**values: Any) -> Any:
            chosen = {f.name: values.pop(f.name) for f in fields(RecipeOptions) if f.name in names}
            return command(**values, options=RecipeOptions(**chosen))

        wrapped: Any = command_with
        for name in reversed(names):
            wrapped = _OPTIONS[name](wrapped)
        return cast(F, wrapped)

    return add


def format_option(*forms: str, help: str = "Form of what is printed.") -> Callable[[F], F]:
    """Add `--format`, which the command gets as `format_`: `text`, and the named forms (`json` where none is named)."""
    return click.option(
        "--format", "format_", type=click.Choice(["text", *(forms or ("json",))]), default="text", help=help
    )
