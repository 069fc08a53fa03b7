"""YAML text -> plain values that know their places. Only what safe loading gives; a mistake has a line and a column."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from alchemist_dsl.source import SourceFile, Span

#: Values that a file may stand for. Aliases of aliases can make a small file a huge one.
MOST: Final = 100_000
#: Characters of a configuration; the largest that tools ship have a hundredth of it.
LARGEST: Final = 256 << 10
_SHOWN: Final = 60
_COLLECTIONS: Final = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_SIMPLE: Final = ("null", "bool", "int", "float", "str", "timestamp")


class TreeError(ValueError):
    """The text cannot be read; `span` is where."""

    def __init__(self, headline: str, span: Span, help: str | None = None) -> None:
        super().__init__(headline)
        self.headline, self.span, self.help = headline, span, help


@dataclass(frozen=True, slots=True)
class Value:
    """A value with its place. `raw` is a scalar as it was written; `keys` are the places of a mapping's keys."""

    data: bool | int | float | str | tuple[Value, ...] | dict[str, Value] | None
    span: Span
    raw: str = ""
    keys: dict[str, Span] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The value on a line of its own, short."""
        match self.data:
            case dict():
                return "{ " + ", ".join(self.data)[:_SHOWN] + " }"
            case tuple():
                inner = ", ".join(v.shown for v in self.data[:4])
                return f"[{inner[:_SHOWN]}{', …' if len(self.data) > 4 else ''}]"
            case _:
                text = " ".join("".join(c if c.isprintable() else " " for c in self.raw).split())
                return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"

    def names(self) -> Iterator[tuple[str, Span]]:
        """Every key in it with its place."""
        yield from self.keys.items()
        inner = self.data.values() if isinstance(self.data, dict) else self.data if isinstance(self.data, tuple) else ()
        for value in inner:
            yield from value.names()

    def scalars(self, name: str = "") -> Iterator[tuple[str, Value]]:
        """Every scalar in it with the name of the key that it stands under."""
        match self.data:
            case dict():
                for key, value in self.data.items():
                    yield from value.scalars(key)
            case tuple():
                for value in self.data:
                    yield from value.scalars(name)
            case _:
                yield name, self


def read(source: SourceFile) -> tuple[Value, list[tuple[str, Span]]]:
    """The value of a YAML file, and the keys that it writes twice. TreeError where it is none."""
    import yaml

    text = source.text.replace("\t", " ") if source.path.endswith(".json") else source.text
    if len(text) > LARGEST:
        raise TreeError(f"the file is larger than {LARGEST >> 10} KiB, which no configuration is", source.span(0, 1))
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        at = min(int(error.position or 0), max(0, len(text) - 1))
        character = f"U+{error.character:04X}" if isinstance(error.character, int) else "a character"
        raise TreeError(f"the YAML holds {character}, which YAML does not allow", source.span(at, at + 1)) from None
    except yaml.MarkedYAMLError as error:
        raise _yaml_error(source, error) from None
    except RecursionError:
        raise TreeError("the YAML is nested too deeply", source.span(0, 1)) from None
    if node is None:
        raise TreeError("the YAML is empty", source.span(0, 0))
    reader = _Reader(source, loader)
    try:
        return reader.value(node), reader.twice
    except yaml.MarkedYAMLError as error:
        raise _yaml_error(source, error) from None
    except RecursionError:
        raise TreeError("the YAML is nested too deeply", source.span(0, 1)) from None


def _yaml_error(source: SourceFile, error: Any) -> TreeError:
    mark = error.problem_mark or error.context_mark
    at = min(mark.index, len(source.text)) if mark else 0
    what = " ".join(str(error.problem or error.context or "it cannot be read").split())
    return TreeError(f"the YAML is broken: {what}", source.span(at, min(at + 1, len(source.text))))


class _Reader:
    """Turns YAML's nodes into values."""

    def __init__(self, source: SourceFile, loader: Any) -> None:
        self.source, self.loader = source, loader
        self.twice: list[tuple[str, Span]] = []
        self._left = MOST
        self._open: set[int] = set()
        self._merged: dict[int, int] = {}

    def value(self, node: Any) -> Value:
        span = self._span(node)
        self._left -= 1
        if self._left < 0:
            raise TreeError(f"the YAML stands for more than {MOST:,} values", span)
        if id(node) in self._open:
            raise TreeError("the YAML holds itself", span)
        if node.id != "scalar" and node.tag not in _COLLECTIONS:
            raise self._tagged(node, span)
        self._open.add(id(node))
        try:
            match node.id:
                case "mapping":
                    return self._mapping(node, span)
                case "sequence":
                    return Value(tuple(self.value(n) for n in node.value), span)
                case _:
                    return self._scalar(node, span)
        finally:
            self._open.discard(id(node))

    def _tagged(self, node: Any, span: Span) -> TreeError:
        ways = "write plain numbers, texts, lists and mappings"
        return TreeError(f"the YAML has a value of the kind `{node.tag}`", span, ways)

    def _span(self, node: Any) -> Span:
        start, end = node.start_mark.index, node.end_mark.index
        if node.id != "scalar":  # only where it begins: a mapping may be the whole file
            line = self.source.text.find("\n", start, end)
            end = end if line < 0 else line
        return self.source.span(start, max(start, end))

    def _scalar(self, node: Any, span: Span) -> Value:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind not in _SIMPLE:
            raise self._tagged(node, span)
        try:
            data = self.loader.construct_object(node)
        except (ValueError, OverflowError) as error:
            raise TreeError(f"the YAML has a value that cannot be read: {error}", span) from None
        if kind == "timestamp":
            data = node.value
        if isinstance(data, float) and not math.isfinite(data):
            data = node.value
        if isinstance(data, str) and any(0xD800 <= ord(c) < 0xE000 for c in data):
            raise TreeError("the YAML has half a character (a lone surrogate)", span)
        return Value(data, span, node.value)

    def _pairs(self, node: Any) -> int:
        """How many pairs a mapping has once what it merges is written out; merges of merges double at every step."""
        if node.id == "sequence":
            return sum(map(self._pairs, node.value))
        if node.id != "mapping":
            return 1
        if id(node) not in self._merged:
            self._merged[id(node)] = 0  # of one that merges itself
            self._merged[id(node)] = sum(
                self._pairs(value) if key.tag == "tag:yaml.org,2002:merge" else 1 for key, value in node.value
            )
        return self._merged[id(node)]

    def _mapping(self, node: Any, span: Span) -> Value:
        own: set[str] = set()
        for key, _ in node.value:
            if key.id != "scalar":
                raise TreeError("the YAML has a key that is a list or a mapping", self._span(key))
            if key.value in own:
                self.twice.append((key.value, self._span(key)))
            own.add(key.value)
        if self._pairs(node) > MOST:
            raise TreeError(f"the YAML merges more than {MOST:,} keys", span)
        self.loader.flatten_mapping(node)  # `<<`: what is merged comes first, what is written wins
        data: dict[str, Value] = {}
        keys: dict[str, Span] = {}
        for key, value in node.value:
            data[str(key.value)], keys[str(key.value)] = self.value(value), self._span(key)
        return Value(data, span, keys=keys)
