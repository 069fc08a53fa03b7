"""Compares materialised results by row: what `alchemist diff --data` shows."""

from alchemist_runtime.engine.compare.model import (
    ColumnDiff,
    DataDiff,
    GroupDiff,
    Made,
    Missing,
    Move,
    Outcome,
    PortDiff,
    Sample,
    StepDiff,
)
from alchemist_runtime.engine.compare.paths import compare_paths
from alchemist_runtime.engine.compare.plans import compare_plans

__all__ = [
    "ColumnDiff",
    "DataDiff",
    "GroupDiff",
    "Made",
    "Missing",
    "Move",
    "Outcome",
    "PortDiff",
    "Sample",
    "StepDiff",
    "compare_paths",
    "compare_plans",
]
