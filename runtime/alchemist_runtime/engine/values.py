"""Values behind Arrow columns: the common type of two, casts of text and JSON, and functions applied once per distinct
value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.engine.streams import TURN, arrow_type, column_type
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.rows import required
from alchemist_runtime.schema.sealed import as_json, dumps, loads

#: What an expression evaluates to before it is spread over the rows.
Datum: TypeAlias = pa.Array | pa.Scalar
INT64 = range(-(2**63), 2**63)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def column_error(headline: str, help_: str | None = None) -> RunError:
    """The error for a value that has another type than it is read with."""
    return RunError(Problem("A504", headline, help=help_), exit_code=1)


def spread(value: Datum, n: int) -> pa.Array:
    """A value as an array of n: a scalar is repeated."""
    return pa.repeat(value, n) if isinstance(value, pa.Scalar) else value


def literal(type_: str, value: Any) -> pa.Scalar:
    """A literal of a plan: exact numbers are strings, whole ones become int64, others the nearest float."""
    if value is None or required(type_) == "null":
        return pa.scalar(None, pa.null() if required(type_) == "null" else arrow_type(type_))
    wanted = arrow_type(type_)
    if pa.types.is_integer(wanted) or pa.types.is_floating(wanted):
        exact = Fraction(str(value))
        if pa.types.is_integer(wanted) and exact.denominator == 1 and int(exact) in INT64:
            return pa.scalar(int(exact), pa.int64())
        return pa.scalar(float(exact), pa.float64())
    if required(type_) == "json":
        return pa.scalar(as_json(value), pa.string())
    return pa.scalar(value, wanted)


def is_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_))


def common_type(types: Sequence[pa.DataType]) -> pa.DataType | None:
    """The type that values of these types share; null if there is none but null, None if they do not go together."""
    known = [t for t in types if not pa.types.is_null(t)]
    if not known:
        return pa.null()
    if all(t == known[0] for t in known):
        return known[0]
    if all(is_number(t) for t in known):
        return pa.float64() if any(pa.types.is_floating(t) for t in known) else pa.int64()
    if all(pa.types.is_list(t) for t in known):
        inner = common_type([t.value_type for t in known])
        return None if inner is None else pa.list_(inner)
    return None


def unified(values: Sequence[Datum], what: str) -> list[Datum]:
    """The values cast to their common type; an error that names the types where there is none."""
    wanted = common_type([v.type for v in values])
    if wanted is None:
        names = sorted({column_type(v.type) for v in values if not pa.types.is_null(v.type)})
        raise column_error(f"{what} takes values of one type, not {' and '.join(names)}")
    return [v if v.type == wanted else cast_null(v, wanted) for v in values]


def cast_null(value: Datum, wanted: pa.DataType) -> Datum:
    """A cast that also takes the null type to any type, nested ones included; whole numbers become the nearest
    float.
    """
    if not pa.types.is_null(value.type):
        return value.cast(wanted, safe=wanted != pa.float64())
    if isinstance(value, pa.Scalar):
        return pa.scalar(None, wanted)
    return pa.nulls(len(value), wanted)


def plain(array: pa.Array) -> pa.Array:
    """A column as this module's functions expect it: one chunk, decoded, plain string, int64, float64."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    type_ = array.type
    if pa.types.is_dictionary(type_):
        return plain(array.dictionary_decode())
    if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return array.cast(pa.string())
    if pa.types.is_integer(type_) and type_ != pa.int64():
        return array.cast(pa.int64())
    if pa.types.is_decimal(type_) or (pa.types.is_floating(type_) and type_ != pa.float64()):
        return array.cast(pa.float64(), safe=False)
    if pa.types.is_large_list(type_):
        return array.cast(pa.list_(type_.value_type))
    return array


# --- once per distinct value ------------------------------------------------------------------------------------------


def each_distinct(array: pa.Array, function: Callable[[Any], Any], result: pa.DataType) -> pa.Array:
    """`function` of every value, called once for each distinct one; null stays null. Nested values: once for each
    row.
    """
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), result)
    if pa.types.is_nested(array.type):
        values = [None if v is None else function(v) for v in array.to_pylist()]
        return pa.array(values, result)
    codes = array.dictionary_encode()
    built = pa.array([function(v) for v in codes.dictionary.to_pylist()], result)
    return built.take(codes.indices)


def distinct_rows(arrays: Sequence[pa.Array]) -> tuple[list[tuple[Any, ...]], np.ndarray[Any, np.dtype[np.int64]]]:
    """The distinct combinations of values, in order of first occurrence, and for each row the number of its own."""
    columns, codes = [], None
    for array in arrays:
        encoded = array.dictionary_encode()
        mine = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        columns.append((encoded.dictionary.to_pylist(), mine))
        codes = mine if codes is None else codes * (len(columns[-1][0]) + 1) + mine + 1
    assert codes is not None
    _, first, number = np.unique(codes, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    rows = np.sort(first)
    combinations = list(
        zip(*([None if i < 0 else v[i] for i in mine[rows].tolist()] for v, mine in columns), strict=True)
    )
    return combinations, rank[number.reshape(-1)]


# --- casts of text and JSON -------------------------------------------------------------------------------------------


def read_json(text: str) -> Any:
    """A text read as JSON, None if it is none."""
    try:
        return loads(text)
    except ValueError:
        return None


def json_text(value: Any) -> str | None:
    """A value as JSON text; None for null."""
    return None if value is None else as_json(value)


def in_one_spelling(array: Datum) -> Datum:
    """JSON texts with the keys of their objects sorted: equal values become equal texts."""
    if isinstance(array, pa.Scalar):
        return in_one_spelling(pa.array([array.as_py()], pa.string()))[0]
    return each_distinct(array, lambda v: dumps(read_json(v), sort=True).decode(), pa.string())


def number_of(value: Any) -> int | float | None:
    """A text, number or truth value as a number: int where it is whole, None if it is none or not finite."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text) is None:
            return None
        if text.lstrip("+-").isdigit():
            return int(text)
        value = float(text)
    if isinstance(value, float):
        if not np.isfinite(value):
            return None
        return int(value) if value.is_integer() else value
    return value if isinstance(value, int) else None


def int_of(value: Any) -> int | None:
    """A value as a whole number of 64 bits, None if it is none."""
    number = number_of(value)
    return number if isinstance(number, int) and number in INT64 else None


def real_of(value: Any) -> float | None:
    """A value as a finite real, None if it is none."""
    number = number_of(value)
    if number is None:
        return None
    try:
        return float(number)
    except OverflowError:
        return None


def text_of(value: Any) -> str | None:
    """A value as text: text as it stands, numbers and truth values as JSON writes them, ids in hex, the rest as
    JSON.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    return json_text(value)


def as_type(array: Datum, wanted: pa.DataType, *, json: bool) -> pa.Array | pa.Scalar:
    """JSON text cast to a type: text, int, real, bool; null where it does not fit."""
    if not json:
        return cast_null(array, wanted)
    if isinstance(array, pa.Scalar):
        return as_type(pa.array([array.as_py()], pa.string()), wanted, json=True)[0]
    if wanted == pa.string():
        return each_distinct(array, lambda v: text_of(read_json(v)), wanted)
    if wanted == pa.int64():
        return each_distinct(array, lambda v: int_of(read_json(v)), wanted)
    if wanted == pa.float64():
        return each_distinct(array, lambda v: real_of(read_json(v)), wanted)
    if wanted == pa.bool_():
        return each_distinct(array, lambda v: v if isinstance(v := read_json(v), bool) else None, wanted)
    raise column_error(f"json cannot be read as {column_type(wanted)}", "cast it with text(…), int(…) or real(…)")


# --- Python values for templates and teachers -------------------------------------------------------------------------


def python_values(array: pa.Array, type_: str | None = None) -> list[Any]:
    """A column as Python values: messages as dicts with all their keys, json read, ids in hex."""
    array = plain(array)
    name = required(type_) if type_ else column_type(array.type)
    if array.type == pa.list_(TURN):
        return [None if m is None else [turn_dict(t) for t in m] for m in array.to_pylist()]
    if name == "json" and array.type == pa.string():
        return each_parsed(array)
    if pa.types.is_fixed_size_binary(array.type):
        return [None if v is None else v.hex() for v in array.to_pylist()]
    if pa.types.is_struct(array.type):
        inner = record_types(name)
        fields = [python_values(f, inner.get(t.name)) for f, t in zip(array.flatten(), array.type, strict=True)]
        names = [f.name for f in array.type]
        valid = array.is_valid().to_pylist()
        rows = zip(*fields, strict=True) if fields else iter([()] * len(array))
        return [dict(zip(names, row, strict=True)) if ok else None for ok, row in zip(valid, rows, strict=True)]
    return list(array.to_pylist())


def each_parsed(array: pa.Array) -> list[Any]:
    """JSON texts as the values that they hold."""
    return [None if v is None else read_json(v) for v in array.to_pylist()]


def record_types(type_: str) -> Mapping[str, str]:
    """The fields of `record<a: text, b: json>`; nothing for another type."""
    from alchemist_runtime.engine.streams import split_types

    name = required(type_.strip())
    if not name.startswith("record<"):
        return {}
    parts = [p.partition(":") for p in split_types(name[7:-1])]
    return {p[0].strip(): p[2].strip() for p in parts}


def turn_dict(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn with its other keys beside role and content."""
    out = {"role": turn["role"], "content": turn["content"]}
    if turn.get("extra"):
        out.update(loads(turn["extra"]))
    return out
