"""A mapping of YAML that remembers what was asked of it, so that no key is lost without a word."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from alchemist_dsl.checker.values import SECRET
from alchemist_dsl.diagnostics.model import Diagnostic, near
from alchemist_dsl.source import SourceFile, Span

#: Keys that hold a secret, whatever the value looks like.
_SECRET_KEY: Final = re.compile(
    r"(^|_)(api_?key|secret|password|passwd|credentials?|webhook(_url)?|access_key|private_key"
    r"|auth_token|hub_token|hf_token|wandb_key|use_auth_token|access_token)$|^token$",
    re.IGNORECASE,
)
_LOGIN: Final = re.compile(r"[a-z][a-z0-9+.\-]*://[^/\s]*@", re.IGNORECASE)
#: Where the libraries look for what a key held.
_VARIABLES: Final = (
    ("wandb", "WANDB_API_KEY"),
    ("comet", "COMET_API_KEY"),
    ("swanlab", "SWANLAB_API_KEY"),
    ("mlflow", "MLFLOW_TRACKING_TOKEN"),
    ("openai", "OPENAI_API_KEY"),
    ("ms_hub", "MODELSCOPE_API_TOKEN"),
    ("", "HF_TOKEN"),
)
#: Values that switch something off.
_OFF: Final = (False, 0, 0.0, "", "no", "none", "None", "off", "false", "False")
NOT_SET: Final = "not set"
NOTHING: Final = "there is nothing here that it goes with"
_MOST: Final = 1e15


class Remarked(Protocol):
    """Puts a comment into the recipe, above an attribute of the block or at its end."""

    def __call__(self, text: str, at: str = "") -> None: ...


@dataclass(slots=True)
class Log:
    """What became of the keys of a file: problems, and those that change no result, with the reason."""

    tool: str
    source: SourceFile
    problems: list[Diagnostic] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    reported: set[str] = field(default_factory=set)

    def add(self, code: str, headline: str, span: Span, *, label: str = "", help: str | None = None) -> None:
        self.problems.append(Diagnostic(code, headline, span, label=label, help=help))

    def line(self, span: Span) -> int:
        return self.source.position(span.start)[0]


def secret(name: str, value: Value) -> str | None:
    """The environment variable that a secret belongs in; None where the value is none."""
    if not isinstance(value.data, str) or not value.data.strip():
        return None
    text = value.data.strip()
    if not (_SECRET_KEY.search(name) or SECRET.match(text) or _LOGIN.search(text)):
        return None
    lowered = name.lower()
    if re.fullmatch(r"[A-Z][A-Z0-9_]*", name):  # it is one already
        return name
    return next(variable for part, variable in _VARIABLES if part in lowered)


def masked(source: SourceFile, root: Value) -> tuple[SourceFile, Value]:
    """The file as it may be shown, and its values, with stars for every secret. Places stay."""
    text = source.text
    found = {v.span for name, v in root.scalars() if secret(name, v)}
    names = {span for name, span in root.names() if SECRET.match(name) or _LOGIN.search(name)}
    for span in found | names:
        stars = "".join("\n" if c == "\n" else "*" for c in text[span.start : span.end])
        text = text[: span.start] + stars + text[span.end :]
    return SourceFile(source.path, text), _starred(root, found, names)


def _starred(value: Value, found: Collection[Span], names: Collection[Span]) -> Value:
    match value.data:
        case dict():
            displayed = {k: "***" if s in names else k for k, s in value.keys.items()}
            data = {displayed[k]: _starred(v, found, names) for k, v in value.data.items()}
            return replace(value, data=data, keys={displayed[k]: s for k, s in value.keys.items()})
        case tuple():
            return replace(value, data=tuple(_starred(v, found, names) for v in value.data))
        case _:
            return replace(value, raw="***") if value.span in found else value


class Asked:
    """One mapping. `path` names it in messages ("datasets[0]"); `remark` puts a comment into the recipe."""

    def __init__(self, value: Value, path: str, log: Log, remark: Remarked) -> None:
        assert isinstance(value.data, dict)
        self.value, self.path, self.log, self.remark = value, path, log, remark
        self.data = value.data
        self._seen: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self.data and self.data[key].data is not None

    def name(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def place(self, key: str) -> Span:
        return self.value.keys.get(key, self.value.span)

    def line(self, key: str) -> int:
        return self.log.line(self.place(key))

    def get(self, key: str) -> Value | None:
        """The value of a key, which is thereby used; None where it is missing, null or a secret."""
        value = self.data.get(key)
        if value is None or value.data is None or (secret(key, value) is not None):
            return None
        self._seen.add(key)
        self.log.used.add(self.name(key))
        return value

    def first(self, *keys: str) -> str | None:
        """The first of several keys that is set; the others are named as left aside where they are set as well."""
        there = [k for k in keys if k in self]
        for other in there[1:]:
            self.leave(other, f"`{there[0]}` counts")
        return there[0] if there else None

    def take_over(self, other: Asked) -> None:
        """Count what another view of the same mapping has asked for as asked for here."""
        self._seen |= other._seen

    # --- values of a kind ---------------------------------------------------------------------------------------------

    def text(self, key: str) -> str | None:
        value = self.get(key)
        match None if value is None else value.data:
            case str(text):
                return text
            case bool() | int() | float() if value is not None:
                return value.raw
            case None:
                return None
        self._wrong(key, "a text")
        return None

    def flag(self, key: str) -> bool | None:
        value = self.get(key)
        if value is None:
            return None
        words = {
            "true": True,
            "false": False,
            "yes": True,
            "no": False,
            "on": True,
            "off": False,
            "1": True,
            "0": False,
        }
        found = words.get(value.raw.lower())
        if found is None:
            self._wrong(key, "true or false")
        return found

    def real(self, key: str, low: float = 0.0, high: float = _MOST) -> float | None:
        return self._between(key, low, high, "a number")

    def whole(self, key: str, low: int = 0, high: int = int(_MOST)) -> int | None:
        number = self._between(key, low, high, "a whole number")
        if number is not None and number != int(number):
            self._wrong(key, "a whole number")
            return None
        return None if number is None else int(number)

    def _between(self, key: str, low: float, high: float, what: str) -> float | None:
        value = self.get(key)
        if value is None:
            return None
        number = _number(value)
        if number is not None and low <= number <= high:
            return number
        upto = f" to {high:g}" if high < _MOST else ""
        self._wrong(key, what if number is None else f"{what} from {low:g}{upto}")
        return None

    def texts(self, key: str) -> list[str] | None:
        """A list of texts, or one text, which may have commas."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value.data, tuple):
            text = self.text(key)
            return None if text is None else [p.strip() for p in text.split(",") if p.strip()]
        items = [v for v in value.data if isinstance(v.data, str | int | float)]
        if len(items) < len(value.data) or any(secret(key, v) for v in items):
            self._wrong(key, "a list of texts")
            return None
        return [v.data if isinstance(v.data, str) else v.raw for v in items]

    def tables(self, key: str, remark: Callable[[int], Remarked]) -> Iterator[Asked]:
        """The mappings of a list of mappings; what is none is reported."""
        value = self.get(key)
        if value is None:
            return
        if not isinstance(value.data, tuple):
            self._wrong(key, "a list")
            return
        for number, item in enumerate(value.data):
            name = f"{self.name(key)}[{number}]"
            if isinstance(item.data, dict):
                yield Asked(item, name, self.log, remark(number))
            else:
                self.log.reported.add(name)
                self.log.add("A953", f"`{name}` is no mapping", item.span, help="write its keys below it")

    def table(self, key: str, remark: Remarked | None = None) -> Asked | None:
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value.data, dict):
            self._wrong(key, "a mapping")
            return None
        return Asked(value, self.name(key), self.log, remark or self.remark)

    def _wrong(self, key: str, wanted: str) -> None:
        self.log.used.discard(self.name(key))
        self.unsaid(key, f"it is not {wanted}")

    # --- what is not taken over ---------------------------------------------------------------------------------------

    def leave(self, key: str, why: str) -> None:
        """A key that changes no result."""
        self._seen.add(key)
        self.log.left[self.name(key)] = why

    def unsaid(self, key: str, why: str, at: str = "", help: str | None = None) -> None:
        """A key that a recipe does not say: a comment and a warning."""
        self._seen.add(key)
        self.log.reported.add(self.name(key))
        value = self.data[key]
        self.remark(f"{key}: {value.shown} (line {self.line(key)}) is not said here: {why}", at)
        self.log.add(
            "A952",
            f"a recipe does not say `{self.name(key)}`: {why}",
            self.place(key),
            label="kept as a comment",
            help=help,
        )

    def otherwise(self, key: str, why: str, at: str = "", help: str | None = None) -> None:
        """A key that is taken over, but means something else here: a comment and a warning."""
        self._seen.add(key)
        self.log.reported.add(self.name(key))
        value = self.data.get(key)
        what = f"{key} (line {self.line(key)})" if value is not None else f"without `{key}`"
        self.remark(f"{what}: {why}", at)
        self.log.add("A953", f"`{self.name(key)}`: {why}", self.place(key), label="said with a difference", help=help)

    def rest(
        self,
        left: Mapping[str, str],
        unsaid: Mapping[str, str],
        known: Collection[str] = (),
        families: Mapping[str, str] | None = None,
    ) -> None:
        """Account for every key that nothing asked for. `left` and `unsaid`: key -> why; `families`: the same by
        prefix.
        """
        for key, value in self.data.items():
            if key in self._seen:
                continue
            why = left.get(key) or next((w for p, w in (families or {}).items() if key.startswith(p)), None)
            variable = next((v for n, s in value.scalars(key) if (v := secret(n, s))), None)
            if variable is not None:
                self._secret(key, variable)
            elif value.data is None:
                self.leave(key, NOT_SET)
            elif why is not None:
                self.leave(key, why)
            elif key in unsaid and isinstance(value.data, bool | int | float | str) and value.data in _OFF:
                self.leave(key, "switched off")
            elif key in unsaid:
                self.unsaid(key, unsaid[key])
            elif key in known:
                self.leave(key, NOTHING)
            else:
                self._unknown(key, {*left, *unsaid, *known})

    def _secret(self, key: str, variable: str) -> None:
        self._seen.add(key)
        self.log.reported.add(self.name(key))
        self.remark(f"{key} (line {self.line(key)}) holds a key: set the environment variable {variable} instead", "")
        self.log.add(
            "A955",
            f"`{self.name(key)}` holds a key or token, which never stands in a recipe",
            self.place(key),
            label="left out",
            help=f"set the environment variable {variable} where the run is started",
        )

    def _unknown(self, key: str, known: Iterable[str]) -> None:
        self._seen.add(key)
        self.log.reported.add(self.name(key))
        others = near(key, known, 1)
        hint = f"did you mean `{others[0]}`?" if others else None
        self.remark(f"{key}: {self.data[key].shown} (line {self.line(key)}) is no key that we know", "")
        self.log.add(
            "A954",
            f"`{self.name(key)}` is no key of {self.log.tool} that we know",
            self.place(key),
            label="kept as a comment",
            help=hint,
        )


def _number(value: Value) -> float | None:
    """A number; also one written so that YAML reads a text (`2e-5`), as the tools read it."""
    if isinstance(value.data, bool):
        return None
    if isinstance(value.data, int | float):
        return float(value.data) if abs(value.data) < 1e300 else None
    if isinstance(value.data, str):
        try:
            number = float(value.data)
        except ValueError:
            return None
        return number if abs(number) < 1e300 else None
    return None


# --- tree ------------------------------------------------------------------------------------------------------------

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
