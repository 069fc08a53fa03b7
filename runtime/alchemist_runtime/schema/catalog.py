"""Finds components: shipped ones by file name, imported when named; others through entry points, scanned only for
unknown names.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from alchemist_runtime.schema.registry import Component, Family

_FOLDERS: dict[Family, str] = {
    "sources": "sources",
    "dedup": "operators.dedup",
    "decontaminate": "operators.decontaminate",
    "teachers": "teachers",
    "exporters": "exporters",
    "metrics": "metrics",
}
GROUP = "alchemist.components"


def names(family: Family) -> tuple[str, ...]:
    """Names of a family's shipped components, sorted; reads file names, imports nothing."""
    folder = Path(__file__).parents[1] / _FOLDERS[family].replace(".", "/")
    return tuple(sorted(p.stem.rstrip("_") for p in folder.glob("*.py") if not p.stem.startswith("_")))


@cache
def find(family: Family, name: str) -> Component | None:
    """The component of this name, None if nobody brings one."""
    if name in names(family):
        module = importlib.import_module(f"alchemist_runtime.{_FOLDERS[family]}.{_stem(family, name)}")
        for value in vars(module).values():
            made = getattr(value, "__alchemist__", None)
            if isinstance(made, Component) and made.family == family and made.name == name:
                return made
        raise LookupError(f"{module.__name__} declares no {family} component `{name}`")
    return _foreign(family, name)


def has(family: Family, name: str) -> bool:
    """Whether there is such a component. Imports none that is shipped."""
    return name in names(family) or _foreign(family, name) is not None


def _stem(family: Family, name: str) -> str:
    folder = Path(__file__).parents[1] / _FOLDERS[family].replace(".", "/")
    return name if (folder / f"{name}.py").exists() else name + "_"


def _foreign(family: Family, name: str) -> Component | None:
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP, name=f"{family}.{name}"):
        made = getattr(entry.load(), "__alchemist__", None)
        if isinstance(made, Component):
            return made
    return None
