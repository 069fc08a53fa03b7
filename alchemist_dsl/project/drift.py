"""What the world says now beside what `recipe.lock` says: changes fact by fact, in words and in numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from alchemist_dsl.project import lockfile as locks
from alchemist_dsl.project.lockfile import Fact, Lock, same

#: What was found out, by section and resource. None in a fact: there is none, or of other bytes it cannot be told.
Current = Mapping[str, Mapping[str, Fact]]
Kind = Literal["new", "more", "changed", "unused"]

_WHAT: Final[Mapping[str, str]] = {
    locks.FILES: "file",
    locks.HUB: "dataset",
    locks.PYTHON: "package",
    locks.TOKENIZERS: "tokenizer",
    locks.MODELS: "model",
    locks.SOURCES: "source",
    locks.TEACHERS: "teacher",
    locks.MEASURED: "figures of",
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
    told = {k: v for k, v in found.items() if v is not None}
    if known is None:
        return Change(section, name, "new", None, told)
    after = {**known, **told}
    others = any(pin in told and not same(known.get(pin), told[pin]) for pin in locks.PINS)
    if others or section in locks.DECLARED:
        after = {k: v for k, v in after.items() if k not in found or k in told}
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
    if section == locks.MEASURED:
        return f"{what} `{(fact or {}).get('node', '?')}` ({short(resource)})"
    recipe, mark, name = resource.rpartition("#")
    if section in (locks.SOURCES, locks.TEACHERS) and mark:
        return f"{what} `{name}` of {recipe}"
    return f"{what} `{resource}`"


def parts(change: Change) -> list[str]:
    """What a change is, part by part: `rows 80,000 → 81,234 (+1,234)`."""
    before, after = change.before or {}, change.after or {}
    keys = sorted({*before, *after}, key=lambda k: (_position(k), k))
    if change.before is None or change.after is None:
        return [_said(k, (before or after)[k]) for k in keys]
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


def _said(key: str, value: Any) -> str:
    match key, value:
        case "columns", Mapping():
            return f"columns {', '.join(f'{n}: {t}' for n, t in value.items()) or 'none'}"
        case "free", True:
            return "free of charge"
        case "license", "":
            return "no licence stated"
        case _:
            return f"{_word(key)} {_value(key, value)}"


def _differs(key: str, before: Any, after: Any) -> Iterator[str]:
    if key == "columns" and isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _columns(before, after)
    elif before is None:
        yield f"{_said(key, after)} (not known before)"
    elif after is None:
        yield f"{_said(key, before)} (not known any more)"
    else:
        yield f"{_word(key)} {_value(key, before)} → {_value(key, after)}{_by(before, after)}"


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


def _value(key: str, value: Any) -> str:
    match value:
        case "" if key == "license":
            return "none stated"
        case str() if key in locks.PINS:
            return short(value)
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}" + (" bytes" if key == "size" else "")
        case Mapping():
            return ", ".join(f"{k} {_value(k, v)}" for k, v in sorted(value.items()))
        case list() | tuple():
            return ", ".join(_value("", v) for v in value)
        case _:
            return str(value)


def _by(before: Any, after: Any) -> str:
    numbers = all(isinstance(v, int) and not isinstance(v, bool) for v in (before, after))
    return f" ({after - before:+,})" if numbers else ""


def short(digest: str) -> str:
    """The first digits of a digest or a commit."""
    return digest.removeprefix("b2:")[:12]
