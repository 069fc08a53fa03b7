"""`recipe.lock`: facts about the world that keys and estimates rest on, one a line, keyed by the resource that they
tell of.

Pure: text to facts and back. What fills it (files, hub, packages) is in `resources.py`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

LOCK_VERSION: Final = 1
FILES: Final = "files"  # path from the project's root -> digest, size, rows, columns
HUB: Final = "hub"  # "owner/name@revision as written" -> revision (40 hex digits), license of its card
PYTHON: Final = "python"  # "package" -> digest, version, python (minor)
TOKENIZERS: Final = "tokenizers"  # name -> revision, license
MODELS: Final = "models"  # "owner/name@revision as written" -> revision, license: bases, teachers
SOURCES: Final = "sources"  # "recipe#name" -> license as declared, columns that it gives
TEACHERS: Final = "teachers"  # "recipe#name" -> provider, model, input and output price per 1M tokens, or free
MEASURED: Final = "measured"  # step key -> node, rows, origins, dropped, calls, tokens_in, tokens_out, usd
#: Sections of what recipes themselves say.
DECLARED: Final = (SOURCES, TEACHERS)
#: What says which bytes the rest of a fact tells of.
PINS: Final = ("digest", "revision")
_HEAD: Final = "# Written by alchemist, to be committed. One fact a line, keyed by what it is about.\n"

Fact = Mapping[str, Any]


class LockError(ValueError):
    """The text is not a lock that this version can read; the message says why."""


@dataclass(frozen=True, slots=True)
class Lock:
    """Facts by section and resource. Sections and facts that this version does not know are kept as they are."""

    sections: Mapping[str, Mapping[str, Fact]] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)  # unknown keys of the top level

    def fact(self, section: str, resource: str) -> Fact | None:
        """What is known of a resource, None if nothing is."""
        return self.sections.get(section, {}).get(resource)

    def with_facts(self, section: str, facts: Mapping[str, Fact]) -> Lock:
        """The same lock with these facts added or changed; keys of a fact that are not given stay."""
        old = self.sections.get(section, {})
        new = {name: {**old.get(name, {}), **fact} for name, fact in facts.items()}
        return Lock({**self.sections, section: {**old, **new}}, self.extra)

    def with_whole(self, section: str, facts: Mapping[str, Fact]) -> Lock:
        """The same lock with these facts as they are, in place of what was known of them."""
        return Lock({**self.sections, section: {**self.sections.get(section, {}), **facts}}, self.extra)

    def without(self, section: str, resources: frozenset[str]) -> Lock:
        """The same lock without these resources."""
        left = {k: v for k, v in self.sections.get(section, {}).items() if k not in resources}
        return Lock({**self.sections, section: left}, self.extra)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A fact that two sides changed differently. None: it is not there. `section` is "" for what stands above the
    sections.
    """

    section: str
    resource: str
    base: Any
    ours: Any
    theirs: Any


def merge(base: Lock, ours: Lock, theirs: Lock) -> tuple[Lock, tuple[Conflict, ...]]:
    """Three versions of a lock as one, fact by fact, and the facts that want a person: in the lock these stand as in
    `ours`.

    Figures of steps never conflict: they are unions, and where both sides measured the same step, ours stand."""
    conflicts: list[Conflict] = []
    sections: dict[str, Mapping[str, Fact]] = {}
    for section in sorted({*base.sections, *ours.sections, *theirs.sections}):
        one, two, three = (side.sections.get(section, {}) for side in (base, ours, theirs))
        sections[section] = _merged_section(section, one, two, three, conflicts)
    extra = _merged_section("", base.extra, ours.extra, theirs.extra, conflicts)
    return Lock({name: facts for name, facts in sections.items() if facts}, extra), tuple(conflicts)


def _merged_section(
    section: str, base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any], conflicts: list[Conflict]
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in sorted({*base, *ours, *theirs}):
        three = (base.get(name), ours.get(name), theirs.get(name))
        found, agreed = _merged(*three, measured=section == MEASURED)
        if not agreed:
            conflicts.append(Conflict(section, name, *three))
        if found is not None:
            out[name] = found
    return out


def _merged(base: Any, ours: Any, theirs: Any, *, measured: bool) -> tuple[Any, bool]:
    """One fact of three, and whether the sides agree. A fact that one side left as it was is the other side's."""
    if same(ours, theirs) or same(theirs, base):
        return ours, True
    if same(ours, base):
        return theirs, True
    if measured:  # figures that one side dropped and the other wrote anew stay
        return theirs if ours is None else ours, True
    by_key = _by_key(base, ours, theirs)
    return (ours, False) if by_key is None else (by_key, True)


def _by_key(base: Any, ours: Any, theirs: Any) -> dict[str, Any] | None:
    """A fact merged key by key, None where that is no answer. Only where both sides mean the same bytes: the rows of
    one version of a file beside the digest of another would be a fact about nothing."""
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        return None
    if any(not same(ours.get(pin), theirs.get(pin)) for pin in PINS):
        return None
    before = base if isinstance(base, Mapping) else {}
    out: dict[str, Any] = {}
    for key in sorted({*before, *ours, *theirs}):
        values = (before.get(key), ours.get(key), theirs.get(key))
        found, agreed = _merged(*values, measured=False)
        if not agreed:
            return None
        if found is not None:
            out[key] = found
    return out


def same(one: Any, other: Any) -> bool:
    """Whether two facts read the same: `1`, `1.0` and `true` are three."""
    if one is None or other is None:
        return one is other
    return _value(one) == _value(other)


def loads(text: str) -> Lock:
    """Read a lock. LockError names the line where the text is not TOML, or the version that is too new."""
    if "\n<<<<<<< " in text or text.startswith("<<<<<<< "):
        raise LockError("it holds the markers of an unfinished merge")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise LockError(str(e)) from e
    except RecursionError as e:
        raise LockError("its values are nested too deeply") from e
    version = data.pop("version", LOCK_VERSION)
    if not isinstance(version, int) or version > LOCK_VERSION:
        raise LockError(f"its version is {version!r}; this program reads up to {LOCK_VERSION}")
    sections = {k: v for k, v in data.items() if _is_section(v)}
    extra = {k: v for k, v in data.items() if k not in sections}
    return Lock(sections, extra)


def _is_section(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(fact, dict) for fact in value.values())


def dumps(lock: Lock, conflicts: Iterable[Conflict] = ()) -> str:
    """The lock as text: sections and resources sorted, one line each. A fact in conflict stands as both sides have it,
    between git's markers."""
    open_: dict[str, dict[str, Conflict]] = {}
    for conflict in conflicts:
        open_.setdefault(conflict.section, {})[conflict.resource] = conflict
    lines = [_HEAD, f"version = {LOCK_VERSION}\n"]
    lines += _facts(lock.extra, open_.pop("", {}), _key)
    for name in sorted(lock.sections.keys() | open_.keys()):
        if facts := _facts(lock.sections.get(name, {}), open_.get(name, {}), _text):
            lines += [f"\n[{_key(name)}]\n", *facts]
    return "".join(lines)


def _facts(facts: Mapping[str, Any], conflicts: Mapping[str, Conflict], key: Callable[[str], str]) -> list[str]:
    lines: list[str] = []
    for name in sorted(facts.keys() | conflicts.keys()):
        if (conflict := conflicts.get(name)) is None:
            lines.append(f"{key(name)} = {_value(facts[name])}\n")
        else:
            sides = [
                "" if side is None else f"{key(name)} = {_value(side)}\n" for side in (conflict.ours, conflict.theirs)
            ]
            lines.append(f"<<<<<<< ours\n{sides[0]}=======\n{sides[1]}>>>>>>> theirs\n")
    return lines


def _key(key: str) -> str:
    bare = key.replace("_", "").replace("-", "")
    return key if bare.isascii() and bare.isalnum() else _text(key)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _text(value)
        case list() | tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
        case Mapping():
            inner = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in sorted(value.items()))
            return f"{{ {inner} }}" if inner else "{}"
        case _:
            return str(value)  # dates and times of TOML, written as they are read


_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}


def _text(text: str) -> str:
    return '"' + "".join(_escaped(c) for c in text) + '"'


def _escaped(c: str) -> str:
    if c in _ESCAPES:
        return _ESCAPES[c]
    return f"\\u{ord(c):04x}" if ord(c) < 0x20 or ord(c) == 0x7F else c


# --- drift -----------------------------------------------------------------------------------------------------------

#: What was found out, by section and resource. None in a fact: there is none, or of other bytes it cannot be told.
Current = Mapping[str, Mapping[str, Fact]]
Kind = Literal["new", "more", "changed", "unused"]

_WHAT: Final[Mapping[str, str]] = {
    FILES: "file",
    HUB: "dataset",
    PYTHON: "package",
    TOKENIZERS: "tokenizer",
    MODELS: "model",
    SOURCES: "source",
    TEACHERS: "teacher",
    MEASURED: "figures of",
}
#: The order of a fact's parts in words: what a person asks first.
_ORDER: Final = (
    "provider",
    "model",
    "free",
    "input",
    "output",
    "license",
    "rows",
    "columns",
    "size",
    "version",
    "python",
    "revision",
    "digest",
)


_BRIEF: Final = frozenset({"provider", "model", "free", "input", "output", "license", "rows", "version", "revision"})


@dataclass(frozen=True, slots=True)
class Change:
    """A fact before and after. `new`: the lock does not know it; `more`: it knows a part; `unused`: no recipe rests on
    it.
    """

    section: str
    resource: str
    kind: Kind
    before: Fact | None
    after: Fact | None


def compare(lock: Lock, current: Current) -> tuple[Change, ...]:
    """Every fact of the world that the lock does not know, or knows otherwise; sorted."""
    found = (
        _change(section, name, lock.fact(section, name), fact)
        for section, facts in sorted(current.items())
        for name, fact in sorted(facts.items())
    )
    return tuple(c for c in found if c is not None)


def _change(section: str, name: str, known: Fact | None, found: Fact) -> Change | None:
    reported = {k: v for k, v in found.items() if v is not None}
    if known is None:
        return Change(section, name, "new", None, reported)
    after = {**known, **reported}
    others = any(pin in reported and not same(known.get(pin), reported[pin]) for pin in PINS)
    if others or section in DECLARED:
        after = {k: v for k, v in after.items() if k not in found or k in reported}
    if same(known, after):
        return None
    more = all(k in after and same(v, after[k]) for k, v in known.items())
    return Change(section, name, "more" if more else "changed", known, after)


def unused(lock: Lock, used: Mapping[str, Iterable[str]]) -> tuple[Change, ...]:
    """Facts of known sections that nothing rests on. `used`: resources by section; sections that are not named are left
    out.
    """
    return tuple(
        Change(section, name, "unused", fact, None)
        for section in sorted(used)
        for name, fact in sorted(lock.sections.get(section, {}).items())
        if name not in set(used[section])
    )


def applied(lock: Lock, changes: Iterable[Change]) -> Lock:
    """The lock as the changes want it."""
    for c in changes:
        if c.after is None:
            lock = lock.without(c.section, frozenset({c.resource}))
        else:
            lock = lock.with_whole(c.section, {c.resource: c.after})
    return lock


# --- words ------------------------------------------------------------------------------------------------------------


def subject(section: str, resource: str, fact: Fact | None = None) -> str:
    """What a fact is about, for people."""
    what = _WHAT.get(section, f"[{section}]")
    if section == MEASURED:
        return f"{what} `{(fact or {}).get('node', '?')}` ({short(resource)})"
    recipe, mark, name = resource.rpartition("#")
    if section in (SOURCES, TEACHERS) and mark:
        return f"{what} `{name}` of {recipe}"
    return f"{what} `{resource}`"


def parts(change: Change) -> list[str]:
    """What a change is, part by part: `rows 80,000 → 81,234 (+1,234)`."""
    before, after = change.before or {}, change.after or {}
    keys = sorted({*before, *after}, key=lambda k: (_position(k), k))
    if change.before is None or change.after is None:
        return [_format_part(k, (before or after)[k]) for k in keys]
    return [
        part for k in keys if not same(before.get(k), after.get(k)) for part in _differs(k, before.get(k), after.get(k))
    ]


def sentence(change: Change) -> str:
    """A change in a line."""
    what = subject(change.section, change.resource, change.before or change.after)
    return f"{what}: {', '.join(parts(change))}"


def brief(change: Change) -> str:
    """A fact that is new or goes, without what only the lock itself is for: digests, sizes, columns."""
    what = subject(change.section, change.resource, change.before or change.after)
    fact = {k: v for k, v in (change.after or change.before or {}).items() if k in _BRIEF}
    said = parts(Change(change.section, change.resource, "new", None, fact))
    return f"{what}: {', '.join(said)}" if said else what


def _position(key: str) -> int:
    return _ORDER.index(key) if key in _ORDER else len(_ORDER) - 2


def _format_part(key: str, value: Any) -> str:
    match key, value:
        case "columns", Mapping():
            return f"columns {', '.join(f'{n}: {t}' for n, t in value.items()) or 'none'}"
        case "free", True:
            return "free of charge"
        case "license", "":
            return "no licence stated"
        case _:
            return f"{_word(key)} {_drift_value(key, value)}"


def _differs(key: str, before: Any, after: Any) -> Iterator[str]:
    if key == "columns" and isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _columns(before, after)
    elif before is None:
        yield f"{_format_part(key, after)} (not known before)"
    elif after is None:
        yield f"{_format_part(key, before)} (not known any more)"
    else:
        yield f"{_word(key)} {_drift_value(key, before)} → {_drift_value(key, after)}{_by(before, after)}"


def _columns(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*before, *after]):
        match before.get(name), after.get(name):
            case None, now:
                yield f"column `{name}: {now}` is new"
            case was, None:
                yield f"column `{name}: {was}` is gone"
            case was, now if was != now:
                yield f"column `{name}` {was} → {now}"
            case _:
                pass


def _word(key: str) -> str:
    return {"license": "licence", "digest": "content", "python": "Python"}.get(key, key)


def _drift_value(key: str, value: Any) -> str:
    match value:
        case "" if key == "license":
            return "none stated"
        case str() if key in PINS:
            return short(value)
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}" + (" bytes" if key == "size" else "")
        case Mapping():
            return ", ".join(f"{k} {_drift_value(k, v)}" for k, v in sorted(value.items()))
        case list() | tuple():
            return ", ".join(_drift_value("", v) for v in value)
        case _:
            return str(value)


def _by(before: Any, after: Any) -> str:
    numbers = all(isinstance(v, int) and not isinstance(v, bool) for v in (before, after))
    return f" ({after - before:+,})" if numbers else ""


def short(digest: str) -> str:
    """The first digits of a digest or a commit."""
    return digest.removeprefix("b2:")[:12]
