"""JSON in and out as it stands: keys in the order of the record, whole numbers with all their digits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

#: How deep the lists and objects of a record may hold each other.
LEVELS: Final = 200
TOO_DEEP: Final = f"nested more than {LEVELS} levels deep"


def loads(data: bytes | str) -> Any:
    """JSON read with whole numbers of any size. ValueError for what is none, infinities and NaN among it."""
    import orjson

    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as first:  # Python's own reader takes half a surrogate pair too
        try:
            return _whole(data)
        except json.JSONDecodeError as e:
            raise ValueError(f"not JSON: {first}") from e
    return _whole(data) if _vast(value) else value  # a float now, but maybe a whole number there


def twice(data: bytes, canonical: bytes) -> list[str]:
    """The keys that an object of a JSON text has more than once. `canonical`: the text as it was read and written
    again, which has fewer quotes then; only such texts are looked at."""
    # \u0022 is a quote too
    same = data.count(b'"') == canonical.count(b'"') and b"\\u00" not in data
    if same or _quotes(data) <= _quotes(canonical):
        return []
    found: dict[str, None] = {}

    def members(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            found.update(dict.fromkeys(n for n in names if names.count(n) > 1))

    json.loads(data, object_pairs_hook=members)
    return list(found)


def _quotes(data: bytes) -> int:
    return data.count(b'"') - data.count(b'\\"')


def dumps(value: Any, *, sort: bool = False) -> bytes:
    """JSON without spaces, in UTF-8; `sort`: with the keys of every object in order, so that equal values are equal
    bytes. Bytes are written in hex, other things of Python as text. ValueError for what is nested too deep."""
    import orjson

    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS if sort else None)
    except (TypeError, orjson.JSONEncodeError):  # whole numbers beyond 64 bits, deep nesting
        try:
            text = json.dumps(
                value, sort_keys=sort, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
            )
        except RecursionError as e:
            raise ValueError(TOO_DEEP) from e
        return text.encode("utf-8", "surrogatepass")


def as_json(value: Any) -> str:
    """`dumps` as text."""
    return dumps(value).decode("utf-8", "surrogatepass")


def _whole(data: bytes | str) -> Any:
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except RecursionError as e:
        raise ValueError(TOO_DEEP) from e
    except ValueError as e:
        if "int_max_str_digits" not in str(e):
            raise
        raise ValueError("a whole number has more than 4,300 digits") from e


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _vast(value: Any) -> bool:
    """Whether a number beyond 64 bits is among the values."""
    todo: list[Iterable[Any]] = [[value]]
    while todo:
        inner = todo.pop()
        for v in inner:
            kind = type(v)
            if kind is str:
                continue
            if kind is float:
                if abs(v) >= 2**63:
                    return True
            elif kind is dict:
                todo.append(v.values())
            elif kind is list:
                todo.append(v)
    return False


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)
