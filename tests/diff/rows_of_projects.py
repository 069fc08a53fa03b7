"""The rows of the bank's projects: programs of our own, some short, some twice, some with a benchmark's problem in
them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: Files of every project, each with its number of rows.
SIZES: Mapping[str, int] = {"web.jsonl": 60, "book.jsonl": 24, "more/new.jsonl": 6}
PROBLEM = "Return how many litres of rain the walls of a garden hold between them after a storm"
_VERBS = ("add", "join", "count", "sort", "flip")


def write(folder: Path, sizes: Mapping[str, int] = SIZES) -> None:
    """Put the files of rows and the benchmark into a project's folder."""
    for name, n in sizes.items():
        _lines(folder / name, rows(name, n))
    _lines(folder / "problems.jsonl", problems())


def rows(name: str, n: int) -> Iterator[dict[str, Any]]:
    """The first n rows of a file: a longer file begins like a shorter one."""
    for i in range(n):
        yield _row(name.partition(".")[0].replace("/", "_"), i)


def _row(name: str, i: int) -> dict[str, Any]:
    verb = _VERBS[i % len(_VERBS)]
    function = f"{verb}_{name}_{i}"
    lines = [f"def {function}(items, other):", f'    """{verb.title()} the items and {i}."""']
    lines += [f"    step_{k} = items[{k}] + other" for k in range(i % 4)]
    lines += [f"    return sorted(items) + [other, {i}]"]
    instruction = f"Write a function that will {verb} a list of {name} items, number {i}."
    response = "\n".join(lines)
    match i % 12:
        case 3:
            response = f"Use {verb}."
        case 5:
            instruction = f"My homework {i}: {verb} two lists."
        case 7 if i > 12:
            instruction, response = (f"Please {verb}.", f"def twice(x):\n    return [x, x]\n# {verb} " + "x" * 60)
        case 9:
            instruction = f"{PROBLEM}. Number {i}."
        case 11:
            response += f"\n\n\ndef litres(walls):\n    return sum(walls) + {i}"
    return {"instruction": instruction, "response": response, "topic": f"t{i % 3}"}


def problems() -> Iterator[dict[str, Any]]:
    """Items of a benchmark."""
    yield {"id": "p0", "prompt": PROBLEM, "solution": "litres held = low side less the wall", "entry": "litres"}
    yield {
        "id": "p1",
        "prompt": "Say in which week of the year the harvest of an orchard begins",
        "solution": "week = day // 7 of the first ripe apple",
        "entry": "harvest",
    }


def _lines(path: Path, found: Iterator[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in found))
