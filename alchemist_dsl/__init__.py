"""alchemist: a declarative language for fine-tuning data recipes.

`check`, `compile`, `run` and `diff` are its Python interface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemist_dsl.api import Checked, Compiled, Diff, Ran, RecipeError, RunError, check, compile, diff, run

__all__ = ["Checked", "Compiled", "Diff", "Ran", "RecipeError", "RunError", "check", "compile", "diff", "run"]


def __getattr__(name: str) -> Any:
    """Import the interface when it is used, so that the command line starts without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from alchemist_dsl import api

    return getattr(api, name)
