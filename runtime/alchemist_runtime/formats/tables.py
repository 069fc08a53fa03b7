"""Values of typed tables (parquet, Arrow) as JSON data: exact, or refused one by one with the column that holds
them.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

import numpy as np
import pyarrow as pa

from alchemist_runtime.formats.records import Unheld

#: Parts of a second in Arrow's units.
_PARTS: Final[Mapping[str, int]] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def records(batch: pa.RecordBatch | pa.Table) -> Iterator[dict[str, Any] | Unheld]:
    """The rows as records. A row with a value that cannot be held is an `Unheld`, which names the column. ValueError
    where two columns have one name."""
    names = batch.schema.names
    _distinct(names, "columns")
    columns = [_values(c) for c in batch.columns]
    for row in zip(*columns, strict=True) if columns else iter([()] * batch.num_rows):
        record = dict(zip(names, row, strict=True))
        bad = next((n for n, v in record.items() if isinstance(v, Unheld)), None)
        if bad is None:
            yield record
        else:
            displayed = {n: v.shown if isinstance(v, Unheld) else v for n, v in record.items()}
            yield Unheld(f"`{bad}` {record[bad].reason}", repr(displayed)[:2000])


def plain(value: Any) -> Any:
    """A value of Python as JSON data: dates and decimals as text, durations in seconds, bytes as base64, NaN as
    null.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return None if math.isnan(value) else value
        case dict():
            return {k: plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
        case bytes():
            return base64.b64encode(value).decode()
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return value.total_seconds()
        case decimal.Decimal():
            return str(value)
    return str(value)


def _values(array: pa.Array) -> list[Any]:
    """The values of a column. Python has no nanoseconds, so these are read value by value where there are some."""
    try:
        wanted = _micro(array.type)
        held = array if wanted == array.type else array.cast(wanted)
        return [plain(v) for v in held.to_pylist()]
    except (pa.ArrowException, ValueError, OverflowError, LookupError):
        return [_held(s) for s in array]


def _micro(type_: pa.DataType) -> pa.DataType:
    """The type with microseconds for nanoseconds."""
    if pa.types.is_timestamp(type_) and type_.unit == "ns":
        return pa.timestamp("us", type_.tz)
    if pa.types.is_duration(type_) and type_.unit == "ns":
        return pa.duration("us")
    if pa.types.is_time(type_) and type_.unit == "ns":
        return pa.time64("us")
    if pa.types.is_struct(type_):
        return pa.struct([f.with_type(_micro(f.type)) for f in type_])
    if pa.types.is_list(type_):
        return pa.list_(_micro(type_.value_type))
    if pa.types.is_large_list(type_):
        return pa.large_list(_micro(type_.value_type))
    if "[ns" in str(type_):  # in a map, a dictionary, a view of lists
        raise ValueError(str(type_))
    return type_


def _held(scalar: pa.Scalar) -> Any:
    try:
        return _value(scalar)
    except UnicodeDecodeError as e:
        return Unheld(f"is not UTF-8 at byte {e.start + 1}", e.object.decode("utf-8", "replace"))
    except (pa.ArrowException, ValueError, OverflowError, LookupError) as e:
        return Unheld(f"cannot be held: {e}", f"a value of the type {scalar.type}")


def _value(scalar: pa.Scalar) -> Any:
    type_ = scalar.type
    if not scalar.is_valid:
        return None
    if pa.types.is_dictionary(type_) or isinstance(type_, pa.BaseExtensionType):
        return _value(scalar.value)
    if pa.types.is_struct(type_):
        names = [f.name for f in type_]
        _distinct(names, "fields")
        return {n: _value(scalar[i]) for i, n in enumerate(names)}
    if pa.types.is_map(type_):
        return [[_value(e[0]), _value(e[1])] for e in scalar.values]
    if pa.types.is_nested(type_) and hasattr(scalar, "values"):
        return [_value(v) for v in scalar.values]
    if pa.types.is_temporal(type_) and not pa.types.is_interval(type_):
        return _moment(scalar)
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return scalar.as_buffer().to_pybytes().decode()
    return plain(scalar.as_py())


def _moment(scalar: pa.Scalar) -> Any:
    """A date, time or duration as Python writes it, and in the same form what Python cannot hold: nanoseconds, far
    years.
    """
    type_ = scalar.type
    try:
        return plain(scalar.cast(_micro(type_)).as_py())
    except (pa.ArrowException, ValueError, OverflowError, LookupError):
        pass
    unit: Any = "D" if pa.types.is_date32(type_) else "ms" if pa.types.is_date(type_) else type_.unit
    if pa.types.is_duration(type_):
        exact = Fraction(scalar.value, _PARTS[unit])
        seconds = float(exact)
        if Fraction(repr(seconds)) == exact:
            return seconds
        return str(decimal.Decimal(scalar.value) / _PARTS[unit])
    whole = np.datetime64(scalar.value, unit)
    if np.isnat(whole):
        raise ValueError("the lowest of all values has no date")
    if pa.types.is_time(type_):
        return str(whole).partition("T")[2]
    if pa.types.is_date(type_):
        return str(whole.astype("datetime64[D]"))
    return _zoned(whole, type_)


def _zoned(whole: np.datetime64, type_: pa.TimestampType) -> str:
    """A moment with the offset of its zone; with that of UTC where the zone is unknown, or the year beyond the
    calendar.
    """
    if type_.tz is None:
        return str(whole)
    try:
        seconds = int(whole.astype("datetime64[s]").astype(np.int64))
        near = pa.scalar(seconds, pa.int64()).cast(pa.timestamp("s", type_.tz)).as_py()
        return f"{whole + np.timedelta64(near.utcoffset())}{near.isoformat()[19:]}"
    except (pa.ArrowException, ValueError, OverflowError, LookupError):
        return f"{whole}+00:00"


def _distinct(names: list[str], what: str) -> None:
    twice = next((n for n, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"two {what} are called `{twice}`")
