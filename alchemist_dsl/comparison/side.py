"""One side of a comparison: a plan with what stands around it, whether it came from a recipe, a revision or a plan
file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alchemist_runtime.schema.plan import Plan

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.estimate.figures import Measured, Places
from alchemist_dsl.ir import Program
from alchemist_dsl.lowering.canonical import Ingredients
from alchemist_dsl.passes import NODE_KINDS
from alchemist_dsl.source import SourceFile


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a look at the store says of a teacher step that would run: questions without an answer in the call cache,
    and with one. At least `least` are new (a step before may have asked the others), at most `most`, with the draws
    that refusals may lead to. `rows`: what would leave the step, where every answer is there."""

    new: int
    cached: int
    least: int
    most: int
    rows: int | None = None

    @property
    def exact(self) -> bool:
        """Whether nothing can lead to more questions or to fewer."""
        return self.least == self.new == self.most


@dataclass(frozen=True, slots=True)
class Side:
    """`label`: what a person calls it. `ahead`: what a look at the store says of teacher steps; None where nobody
    looked. `stored`: keys of the *other* side's plan whose results lie in that store."""

    label: str
    path: str
    plan: Plan | None
    text: str | None = None  # of the recipe; None: a plan file
    program: Program | None = None
    ingredients: Mapping[str, Ingredients] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
    sources: Mapping[str, SourceFile] = field(default_factory=dict)
    ahead: Mapping[str, Ahead] | None = None
    stored: frozenset[str] = frozenset()
    measured: Measured | None = None  # figures of earlier runs by step key; None: nothing but the plan is known
    places: Places = field(default_factory=dict)
    assumed: tuple[str, ...] = ()  # data files that are taken as they lie here now
    root: Path | None = None  # the project whose store holds its results; None: nowhere


@dataclass(frozen=True, slots=True)
class Declared:
    """A block as it is written. `step`: it is one that a plan may hold."""

    name: str
    kind: str
    text: str
    step: bool


def declared(side: Side) -> dict[str, Declared]:
    """Every block of the side's own files (not of the shipped library), by name."""
    if side.program is None:
        return {}
    out = {}
    for name, block in side.program.blocks.items():
        file = side.program.files.get(block.span.file)
        if file is not None and not block.span.file.startswith("std:"):
            text = file.text[block.span.start : block.span.end]
            out[name] = Declared(name, block.kind, text, block.kind in NODE_KINDS)
    return out
