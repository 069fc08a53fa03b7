"""Finds components: those of the runtime by file name, imported when named; those of packages beside it by their entry
point, which stands here too; others through entry points, scanned only for unknown names.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from alchemist_runtime.schema.registry import Component, Family, Origin

_FOLDERS: dict[Family, str] = {
    "sources": "sources",
    "dedup": "operators.dedup",
    "decontaminate": "operators.decontaminate",
    "teachers": "teachers",
    "exporters": "exporters",
    "metrics": "metrics",
}
GROUP = "alchemist.components"
#: Entry points of this distribution's own packages, as `pyproject.toml` declares them: known without a scan.
OWN: dict[str, str] = {"teachers.rules": "alchemist_rules.teacher:rules"}


def names(family: Family) -> tuple[str, ...]:
    """Names of a family's shipped components, sorted; reads file names, imports nothing."""
    folder = Path(__file__).parents[1] / _FOLDERS[family].replace(".", "/")
    beside = [name.partition(".")[2] for name in OWN if name.startswith(f"{family}.")]
    return tuple(sorted([*beside, *(p.stem.rstrip("_") for p in folder.glob("*.py") if not p.stem.startswith("_"))]))


@cache
def find(family: Family, name: str) -> Component | None:
    """The component of this name, None if nobody brings one."""
    if own := OWN.get(f"{family}.{name}"):
        place, _, function = own.partition(":")
        return _declared(getattr(importlib.import_module(place), function))
    if name in names(family):
        module = importlib.import_module(f"alchemist_runtime.{_FOLDERS[family]}.{_stem(family, name)}")
        for value in vars(module).values():
            result = _declared(value)
            if result is not None and result.family == family and result.name == name:
                return result
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
        if (result := _declared(entry.load())) is not None:
            return result
    return None


def _declared(value: object) -> Component | None:
    result = getattr(value, "__alchemist__", None)
    return result if isinstance(result, Component) else None


def origin(provider: str) -> Origin:
    """What the answers of a teacher with this provider come from; those of one that nobody brings, from a server."""
    found = find("teachers", provider)
    return "server" if found is None else found.answers


def offline(provider: str) -> bool:
    """Whether a teacher with this provider answers by a function of the question alone."""
    found = find("teachers", provider)
    return found is not None and found.offline
