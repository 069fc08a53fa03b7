"""Components: a function plus what the language must know of it. Importing this module imports nothing heavy.

A component is one file under `sources/`, `operators/dedup/`, `operators/decontaminate/`, `teachers/`, `exporters/` or
`metrics/`; the file's name is the component's name in the language. Its keyword-only parameters are the parameters in
the recipe: annotation, default and (by `Annotated[int, Range(1, 64)]`) range. The docstring's first paragraph is the
help text. Heavy libraries are imported inside the function, so that a signature can be read at once.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

Family = Literal["sources", "dedup", "decontaminate", "teachers", "exporters", "metrics"]
FAMILIES: Final[tuple[Family, ...]] = ("sources", "dedup", "decontaminate", "teachers", "exporters", "metrics")
#: What the answers of a teacher come from: a server, a model in this process, what calls recorded; or, by a function
#: that is free and always at hand, from the rendered messages or from the typed inputs of a prompt alone.
Origin = Literal["server", "model", "recording", "messages", "inputs"]


@dataclass(frozen=True, slots=True)
class Range:
    """Closed range of a number."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ComponentParam:
    name: str
    type: str  # int | real | percent | text | bool | list<text>
    default: Any = ...  # ... = required
    range: Range | None = None


@dataclass(frozen=True, slots=True)
class Component:
    family: Family
    name: str
    function: Callable[..., Any]
    params: tuple[ComponentParam, ...]
    doc: str
    version: int
    requires: tuple[tuple[str, str], ...] = ()  # (library, extra that brings it)
    answers: Origin = "server"  # of a teacher

    @property
    def offline(self) -> bool:
        """Whether a teacher answers by a function of the question alone: free, without a model, its version in keys."""
        return self.answers in ("messages", "inputs")


_TYPES: Final[dict[Any, str]] = {
    int: "int",
    float: "real",
    str: "text",
    bool: "bool",
    list[str]: "list<text>",
    tuple[str, ...]: "list<text>",
}


def _params(function: Callable[..., Any]) -> tuple[ComponentParam, ...]:
    named = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    # only theirs: the other annotations may name types of libraries that are not imported here
    only = types.SimpleNamespace(__annotations__={p.name: p.annotation for p in named})
    hints = typing.get_type_hints(only, function.__globals__, include_extras=True)
    out = []
    for p in named:
        hint, bounds = hints[p.name], None
        if typing.get_origin(hint) is typing.Annotated:
            hint, *extra = typing.get_args(hint)
            bounds = next((e for e in extra if isinstance(e, Range)), None)
        default = ... if p.default is inspect.Parameter.empty else p.default
        if isinstance(default, tuple):
            default = list(default)  # as plans write it
        out.append(ComponentParam(p.name, _TYPES[hint], default, bounds))
    return tuple(out)


def component(
    family: Family, *, version: int = 1, requires: tuple[tuple[str, str], ...] = (), answers: Origin = "server"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a function as a component of a family; its name is the function's, without a trailing `_`."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        doc = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
        name, params = function.__name__.rstrip("_"), _params(function)
        made = Component(family, name, function, params, doc, version, requires, answers)
        function.__alchemist__ = made  # type: ignore[attr-defined]
        return function

    return mark


def source(**kw: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return component("sources", **kw)


def dedup(**kw: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return component("dedup", **kw)


def decontaminate(**kw: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return component("decontaminate", **kw)


def teacher(**kw: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return component("teachers", **kw)


def exporter(**kw: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return component("exporters", **kw)


def metric(**kw: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return component("metrics", **kw)
