"""Passes: small rewrites of a checked program, in the order of `PASSES`, before it is lowered to a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.ir import Program
from alchemist_dsl.passes.demand import demand
from alchemist_dsl.passes.needed import Options, needed
from alchemist_dsl.passes.order import order
from alchemist_dsl.passes.salts import salts

Pass = Callable[[Program, Options], tuple[Program, tuple[Diagnostic, ...]]]

#: `salts`: every draw and every made id has a salt that survives renames · `demand`: teacher steps are asked for as
#: many rows as a mixture takes · `needed`: only what the roots read stays · `order`: every block after the blocks that
#: it reads, ties by name.
PASSES: Final[tuple[Pass, ...]] = (salts, demand, needed, order)

__all__ = ["PASSES", "Options", "Pass"]
