"""The functions of shape `vector`: Arrow kernels over whole columns, by the name that the language gives them.

Every function takes its arguments by parameter name; the first is an array, others are arrays or scalars. Null is
handled by the kernels: null in, null out. `json` among the arguments is text: `Call.json` says which ones hold JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.engine.row_functions import (
    Datum,
    as_type,
    cast_null,
    column_error,
    each_distinct,
    int_of,
    is_number,
    read_json,
    real_of,
    spread,
    text_of,
    unified,
)
from alchemist_runtime.engine.streams import TURN, column_type
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.sealed import dumps

Tokenizer = Callable[[Sequence[str]], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its arguments, which of them hold JSON text, how many rows there are, and what counts tokens."""

    name: str
    args: Mapping[str, Any]  # a variadic parameter holds a list
    json: Mapping[str, Any]
    n: int
    tokenizer: Tokenizer | None = None

    def array(self, name: str = "x") -> pa.Array:
        return spread(self.args[name], self.n)

    def text(self, name: str = "x") -> pa.Array:
        """An argument that must be text; JSON is read as text."""
        return _text(self.name, self.array(name), self.json.get(name, False))

    def constant(self, name: str) -> Any:
        """The Python value of an argument that is the same in all rows; LookupError if it is not."""
        value = self.args[name]
        if isinstance(value, pa.Scalar):
            return value.as_py()
        raise LookupError(name)


def _text(function: str, array: pa.Array, json: bool) -> pa.Array:
    if json:
        return as_type(array, pa.string(), json=True)
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), pa.string())
    if not pa.types.is_string(array.type):
        raise column_error(f"`{function}` takes a text, not {column_type(array.type)}", "cast it with text(…)")
    return array


def _numbers(call: Call, name: str = "x") -> pa.Array:
    array = call.array(name)
    if call.json.get(name):
        return as_type(array, pa.float64(), json=True)
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), pa.float64())
    if not is_number(array.type):
        raise column_error(
            f"`{call.name}` takes a number, not {column_type(array.type)}", "cast it with int(…) or real(…)"
        )
    return array


def _per_row(arrays: Sequence[pa.Array], function: Callable[..., Any], type_: pa.DataType) -> pa.Array:
    """The rare case of a pattern that differs from row to row."""
    rows = zip(*(a.to_pylist() for a in arrays), strict=True)
    return pa.array([None if None in row else function(*row) for row in rows], type_)


def _with_text(
    call: Call, name: str, kernel: Callable[[pa.Array, Any], pa.Array], slow: Callable[..., Any], type_: pa.DataType
) -> pa.Array:
    """A kernel that needs its second argument constant; row by row where it is a column."""
    x = call.text()
    try:
        value = call.constant(name)
    except LookupError:
        return _per_row([x, call.array(name)], slow, type_)
    return pa.nulls(len(x), type_) if value is None else kernel(x, value)


# --- text -------------------------------------------------------------------------------------------------------------


def chars(call: Call) -> pa.Array:
    return pc.utf8_length(call.text()).cast(pa.int64())


def words(call: Call) -> pa.Array:
    return pc.count_substring_regex(call.text(), r"[\pL\pN_]+").cast(pa.int64())


def lines(call: Call) -> pa.Array:
    x = call.text()
    unended = pc.and_(pc.greater(pc.binary_length(x), 0), pc.invert(pc.ends_with(x, "\n")))
    return pc.add(pc.count_substring(x, "\n").cast(pa.int64()), unended.cast(pa.int64()))


def tokens(call: Call) -> pa.Array:
    x = call.array()
    if pa.types.is_list(x.type):
        return _list_tokens(call, x)
    x = call.text()
    if call.tokenizer is None:
        return pc.divide(pc.add(pc.utf8_length(x).cast(pa.int64()), 3), 4)
    codes = x.dictionary_encode()
    counted = call.tokenizer(codes.dictionary.to_pylist()) if len(codes.dictionary) else []
    return pa.array(counted, pa.int64()).take(codes.indices)


def _list_tokens(call: Call, x: pa.ListArray) -> pa.Array:
    """Tokens of all contents of a conversation, or of all texts of a list."""
    inner = x.flatten()
    texts = pc.struct_field(inner, "content") if x.type.value_type == TURN else inner
    counted = tokens(Call("tokens", {"x": texts}, {}, len(texts), call.tokenizer))
    sums = np.zeros(len(x), np.int64)
    parents = pc.list_parent_indices(x).to_numpy()
    np.add.at(sums, parents, pc.fill_null(counted, 0).to_numpy(zero_copy_only=False))
    return pa.array(sums, mask=x.is_null().to_numpy(zero_copy_only=False))


def lower(call: Call) -> pa.Array:
    return pc.utf8_lower(call.text())


def strip(call: Call) -> pa.Array:
    return pc.utf8_trim_whitespace(call.text())


_SPACE: Final = r"[\t-\r\x{1C}-\x{20}\x{85}\p{Z}]+"


def squeeze(call: Call) -> pa.Array:
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(call.text(), _SPACE, " "))


def head(call: Call) -> pa.Array:
    return _with_text(
        call, "n", lambda x, n: pc.utf8_slice_codeunits(x, 0, max(n, 0)), lambda x, n: x[: max(n, 0)], pa.string()
    )


def _halves(x: pa.Array, mark: str) -> pa.ListArray:
    return pc.split_pattern(x, mark, max_splits=1)


def _side(x: pa.Array, mark: str, side: int) -> pa.Array:
    """The part before (0) or after (1) the first mark, null where the mark is not there."""
    if mark == "":
        return x if side == 1 else pc.utf8_slice_codeunits(x, 0, 0)
    halves = _halves(x, mark)
    found = pc.equal(pc.list_value_length(halves), 2)
    starts = halves.offsets[: len(halves)].to_numpy()
    mask = pc.fill_null(found, False).to_numpy(zero_copy_only=False)
    return halves.values.take(pa.array(starts + side, mask=~mask))


def after(call: Call) -> pa.Array:
    return _with_text(
        call,
        "mark",
        lambda x, mark: _side(x, mark, 1),
        lambda x, mark: x.partition(mark)[2] if mark and mark in x else (None if mark else x),
        pa.string(),
    )


def before(call: Call) -> pa.Array:
    return _with_text(
        call,
        "mark",
        lambda x, mark: _side(x, mark, 0),
        lambda x, mark: x.partition(mark)[0] if mark and mark in x else (None if mark else ""),
        pa.string(),
    )


def replace(call: Call) -> pa.Array:
    try:
        old, new = call.constant("old"), call.constant("new")
    except LookupError:
        columns = [call.text(), call.text("old"), call.text("new")]
        return _per_row(columns, lambda x, o, n: x.replace(o, n) if o else x, pa.string())
    x = call.text()
    if old is None or new is None:
        return pa.nulls(len(x), pa.string())
    return pc.replace_substring(x, old, new) if old else x


def _any_of(call: Call, kernel: Callable[[pa.Array, str], pa.Array], slow: Callable[[str, str], bool]) -> pa.Array:
    """Whether one of the given texts does; null if any of them is."""
    x, result = call.text(), None
    for mark in call.args["any"]:
        if isinstance(mark, pa.Scalar):
            value = mark.as_py()
            mine = pa.nulls(len(x), pa.bool_()) if value is None else kernel(x, value)
        else:
            mine = _per_row([x, mark], slow, pa.bool_())
        result = mine if result is None else pc.or_(result, mine)
    if result is None:
        return pc.if_else(pc.is_valid(x), False, pa.scalar(None, pa.bool_()))
    return result


def contains(call: Call) -> pa.Array:
    return _any_of(call, pc.match_substring, lambda x, mark: mark in x)


def starts_with(call: Call) -> pa.Array:
    return _any_of(call, pc.starts_with, str.startswith)


def ends_with(call: Call) -> pa.Array:
    return _any_of(call, pc.ends_with, str.endswith)


def matches(call: Call) -> pa.Array:
    return _by_pattern(call, pc.match_substring_regex, pa.bool_())


def count(call: Call) -> pa.Array:
    return _by_pattern(call, pc.count_substring_regex, pa.int64())


Kernel = Callable[[pa.Array, str], pa.Array]


def _by_pattern(call: Call, kernel: Kernel, type_: pa.DataType) -> pa.Array:
    """A kernel that takes one pattern at a time, over patterns that may differ from row to row."""
    x = call.text()
    pattern = call.args["pattern"]
    if isinstance(pattern, pa.Scalar):
        value = pattern.as_py()
        return pa.nulls(len(x), type_) if value is None else _match(kernel, x, value).cast(type_)
    patterns = pattern.dictionary_encode()
    out = pa.nulls(len(x), type_)
    for number, value in enumerate(patterns.dictionary.to_pylist()):
        mine = pc.fill_null(pc.equal(patterns.indices, number), False)
        out = pc.if_else(mine, _match(kernel, x, value).cast(type_), out)
    return out


def _match(kernel: Kernel, x: pa.Array, pattern: str) -> pa.Array:
    try:
        return kernel(x, pattern)
    except pa.ArrowInvalid as e:
        why = str(e).removeprefix("Invalid regular expression: ")
        problem = Problem(
            "A208",
            f"`{pattern}` is not a regular expression that RE2 accepts: {why}",
            help="RE2 has no look-around and no back-references",
        )
        raise RunError(problem, exit_code=1) from None


def join(call: Call) -> pa.Array:
    x = call.array()
    if pa.types.is_null(x.type):
        return pa.nulls(len(x), pa.string())
    if not pa.types.is_list(x.type) or not (
        pa.types.is_string(x.type.value_type) or pa.types.is_null(x.type.value_type)
    ):
        raise column_error(f"`join` takes a list of texts, not {column_type(x.type)}")
    return pc.binary_join(x.cast(pa.list_(pa.string())), call.text("separator"))


def ascii_share(call: Call) -> pa.Array:
    x = call.text()
    length = pc.utf8_length(x).cast(pa.float64())
    foreign = pc.count_substring_regex(x, r"[^\x00-\x7f]").cast(pa.float64())
    share = pc.divide(pc.subtract(length, foreign), pc.if_else(pc.equal(length, 0), 1.0, length))
    return pc.if_else(pc.equal(length, 0), 1.0, share)


# --- values -----------------------------------------------------------------------------------------------------------


def text(call: Call) -> pa.Array:
    x = call.array()
    if call.json.get("x"):
        return as_type(x, pa.string(), json=True)
    if pa.types.is_string(x.type):
        return x
    if pa.types.is_integer(x.type) or pa.types.is_boolean(x.type) or pa.types.is_null(x.type):
        return cast_null(x, pa.string())
    return each_distinct(x, text_of, pa.string())


def int_(call: Call) -> pa.Array:
    x = call.array()
    if pa.types.is_integer(x.type):
        return x
    if pa.types.is_boolean(x.type):
        return x.cast(pa.int64())
    if pa.types.is_nested(x.type):
        return pa.nulls(len(x), pa.int64())
    return each_distinct(x, _read(call, int_of), pa.int64())


def real(call: Call) -> pa.Array:
    x = call.array()
    if is_number(x.type):
        value = cast_null(x, pa.float64())
        return pc.if_else(pc.is_finite(value), value, pa.scalar(None, pa.float64()))
    if pa.types.is_nested(x.type):
        return pa.nulls(len(x), pa.float64())
    return each_distinct(x, _read(call, real_of), pa.float64())


def _read(call: Call, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    if call.json.get("x"):
        return lambda v: function(read_json(v))
    return function


def len_(call: Call) -> pa.Array:
    x = call.array()
    if call.json.get("x"):
        return each_distinct(x, _json_length, pa.int64())
    if pa.types.is_list(x.type):
        return pc.list_value_length(x).cast(pa.int64())
    if pa.types.is_string(x.type) or pa.types.is_null(x.type):
        return chars(call)
    raise column_error(f"`len` takes a list or a text, not {column_type(x.type)}")


def _json_length(value: str) -> int | None:
    data = read_json(value)
    return len(data) if isinstance(data, (str, list, dict)) else None


def coalesce(call: Call) -> pa.Array:
    values = unified(_json_aside(call, "x"), "`coalesce`")
    out = spread(values[0], call.n)
    for value in values[1:]:
        out = _choose(pc.is_valid(out), out, spread(value, call.n))
    return out


def pick(call: Call) -> pa.Array:
    condition = pc.fill_null(cast_null(call.array("condition"), pa.bool_()), False)
    then, otherwise = call.args["then"], call.args["otherwise"]
    if call.json.get("then") != call.json.get("otherwise"):
        then, otherwise = (
            as_type(v, _other(v, w), json=True) if j else v
            for v, w, j in ((then, otherwise, call.json.get("then")), (otherwise, then, call.json.get("otherwise")))
        )
    then, otherwise = unified([then, otherwise], "`pick`")
    return _choose(condition, spread(then, call.n), spread(otherwise, call.n))


def _other(mine: Datum, other: Datum) -> pa.DataType:
    return mine.type if pa.types.is_null(other.type) else other.type


def _json_aside(call: Call, name: str) -> list[Datum]:
    """Several values of which some are JSON: all of them, or the JSON ones cast to what the others are."""
    values, flags = call.args[name], call.json.get(name)
    flags = flags if isinstance(flags, list) else [bool(flags)] * len(values)
    typed = [v.type for v, j in zip(values, flags, strict=True) if not j and not pa.types.is_null(v.type)]
    if not typed:
        return list(values)
    return [as_type(v, typed[0], json=True) if j else v for v, j in zip(values, flags, strict=True)]


def _choose(condition: pa.Array, then: pa.Array, otherwise: pa.Array) -> pa.Array:
    """`if_else` that also takes nested types."""
    if not pa.types.is_nested(then.type):
        return pc.if_else(condition, then, otherwise)
    n = len(then)
    at = np.where(condition.to_numpy(zero_copy_only=False), np.arange(n), n + np.arange(n))
    return pa.concat_arrays([then, otherwise]).take(pa.array(at))


def _extreme(call: Call, kernel: Callable[..., pa.Array]) -> pa.Array:
    flags = call.json.get("x")
    flags = flags if isinstance(flags, list) else [False] * len(call.args["x"])
    values = [as_type(v, pa.float64(), json=True) if j else v for v, j in zip(call.args["x"], flags, strict=True)]
    for value in values:
        if not (is_number(value.type) or pa.types.is_null(value.type)):
            raise column_error(f"`{call.name}` takes numbers, not {column_type(value.type)}")
    values = [spread(v, call.n) for v in unified(values, f"`{call.name}`")]
    if pa.types.is_null(values[0].type):
        return pa.nulls(call.n, pa.int64())
    return kernel(*values, skip_nulls=False)


def min_(call: Call) -> pa.Array:
    return _extreme(call, pc.min_element_wise)


def max_(call: Call) -> pa.Array:
    return _extreme(call, pc.max_element_wise)


def abs_(call: Call) -> pa.Array:
    return pc.abs(_numbers(call))


def round_(call: Call) -> pa.Array:
    x = _numbers(call)
    if pa.types.is_integer(x.type):
        return x
    whole = pc.round(x, round_mode="half_to_even")
    fits = pc.and_(pc.is_finite(whole), pc.less(pc.abs(whole), 2.0**63))
    return pc.if_else(fits, whole, pa.scalar(None, pa.float64())).cast(pa.int64())


def hash_(call: Call) -> pa.Array:
    """BLAKE2b-64 of the seed and the value's JSON, its upper 53 bits as a fraction."""
    x = call.array()
    write = _canonical_json if call.json.get("x") else _canonical
    seed = call.args["seed"]
    if isinstance(seed, pa.Scalar):
        start = seed.as_py()
        if start is None:
            return pa.nulls(call.n, pa.float64())
        return each_distinct(x, lambda v: _draw(write(v), start), pa.float64())
    return _per_row([x, seed], lambda v, s: _draw(write(v), s), pa.float64())


def _canonical(value: Any) -> bytes:
    return dumps(value, sort=True)


def _canonical_json(value: str) -> bytes:
    return dumps(read_json(value), sort=True)


def _draw(data: bytes, seed: int) -> float:
    head = (seed % 2**64).to_bytes(8, "big")
    digest = hashlib.blake2b(head + data, digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


# --- turns ------------------------------------------------------------------------------------------------------------


def roles(call: Call) -> pa.Array:
    x = call.array()
    if pa.types.is_null(x.type):
        return pa.nulls(len(x), pa.list_(pa.string()))
    if x.type != pa.list_(TURN):
        raise column_error(f"`roles` takes a conversation, not {column_type(x.type)}", "read it with turns(…)")
    return each_distinct(x, lambda m: [t["role"] for t in m], pa.list_(pa.string()))


VECTOR: Final[Mapping[str, Callable[[Call], pa.Array]]] = {
    f.__name__.rstrip("_"): f
    for f in (
        chars,
        words,
        lines,
        tokens,
        lower,
        strip,
        squeeze,
        head,
        after,
        before,
        replace,
        contains,
        starts_with,
        ends_with,
        matches,
        count,
        join,
        ascii_share,
        text,
        int_,
        real,
        len_,
        coalesce,
        pick,
        min_,
        max_,
        abs_,
        round_,
        hash_,
        roles,
    )
}
