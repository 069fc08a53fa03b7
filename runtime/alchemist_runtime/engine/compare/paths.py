"""Two exported folders, or two files of rows, to what differs between them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from alchemist_runtime.engine.compare.files import alike, opened
from alchemist_runtime.engine.compare.model import DataDiff, PortDiff, StepDiff
from alchemist_runtime.engine.compare.rows import Comparison, one_side, state
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.storage.store import disk_problem


def compare_paths(before: Path, after: Path, *, samples: int = 3) -> DataDiff:
    """Compare two exported folders split by split, or two parquet or jsonl files; rows are matched by `_id`.

    RunError A312 where a path is neither, or cannot be read; A304 where rows have no ids."""
    if before.is_dir() != after.is_dir() and before.exists() and after.exists():
        raise RunError(
            Problem(
                "A312",
                f"`{before}` and `{after}` cannot be compared: one is a folder and one a file",
                place=str(after),
                help="name two folders that exports wrote, or two files",
            )
        )
    try:
        ports = _ports(before, after, samples)
    except OSError as error:  # no room for JSON lines laid out in columns
        full = disk_problem(error, "the comparison")
        if full is None:
            raise
        raise RunError(full) from error
    step = StepDiff(str(before), str(after), "dataset", state(ports), ports)
    return DataDiff((step,))


def _ports(before: Path, after: Path, samples: int) -> tuple[PortDiff, ...]:
    with (
        tempfile.TemporaryDirectory(prefix="alchemist-compare-") as folder,
        opened(before, Path(folder)) as old,
        opened(after, Path(folder)) as new,
    ):
        comparison = Comparison(samples, Path(folder), (str(before), str(after)))
        ports: list[PortDiff] = []
        for name in dict.fromkeys([*old, *new]):
            a, b = old.get(name), new.get(name)
            if a is None or b is None:
                ports.append(one_side(name, a, b))
            else:
                ports.append(comparison.port(name, *alike(a, b)).diff)
        return tuple(ports)
