"""Expression trees of the plan over columns: one Arrow array for a whole batch, never a Python loop over its rows.

Null: anything over null is null; `and` and `or` are three-valued, as in SQL (`false and null` is false, `true or null`
is true), so that `x == null or chars(x) < 80` asks what it says; `x == null` and `x != null` ask; a condition that is
null does not hold, which is for the caller to apply. Numbers: whole literals compare with ints as ints; an exact
fraction ("1/20") is rounded to the nearest 64-bit float before it is compared, as the column's own values were when
they were read. `/` gives a real; a division by zero is null. JSON is text that holds JSON: it is read by path, and cast
where it meets another type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, Final, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.engine.row_functions import (
    Datum,
    Session,
    as_type,
    cast_null,
    column_error,
    common_type,
    each_distinct,
    in_one_spelling,
    is_number,
    json_text,
    literal,
    plain,
    python_values,
    read_json,
    record_types,
    session,
    spread,
    unified,
)
from alchemist_runtime.engine.streams import TURN, column_type
from alchemist_runtime.engine.vector_functions import VECTOR, Call, Tokenizer
from alchemist_runtime.schema import plan
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.expressions import expression
from alchemist_runtime.schema.functions import FUNCTIONS
from alchemist_runtime.schema.rows import required

Batch: TypeAlias = pa.RecordBatch | pa.Table


def evaluate(
    expr: plan.Expr,
    batch: Batch,
    *,
    out: pa.StructArray | None = None,
    texts: Mapping[str, str] | None = None,
    tokenizer: Tokenizer | None = None,
    types: Mapping[str, str] | None = None,
    session: Session | None = None,
) -> pa.Array:
    """An expression over the rows of a batch; for several expressions over one batch use one `Scope`.

    `out`: the teacher's answers, one for each row. `texts`: templates by digest. `tokenizer` counts the tokens of
    texts. `types`: column types, `out.NAME` for fields of the answer; they tell json from text. RunError where a value
    does not fit.
    """
    scope = Scope(batch, out=out, texts=texts, tokenizer=tokenizer, types=types, session=session)
    return scope(expr)


class Scope:
    """One batch of rows; what several expressions share (`code(response)` in four rules) is computed once."""

    def __init__(
        self,
        batch: Batch,
        *,
        out: pa.StructArray | None = None,
        texts: Mapping[str, str] | None = None,
        tokenizer: Tokenizer | None = None,
        types: Mapping[str, str] | None = None,
        session: Session | None = None,
    ) -> None:
        self.batch, self.out, self.n = batch, out, batch.num_rows
        self.texts, self.tokenizer, self.types = texts or {}, tokenizer, types or {}
        self._session = session
        self._known: dict[bytes, Datum] = {}

    def __call__(self, expr: plan.Expr) -> pa.Array:
        """The value of an expression in each row."""
        return spread(self.value(expr), self.n)

    def take(self, keep: np.ndarray[Any, np.dtype[np.int64]]) -> Scope:
        """The same over some of the rows, with what is already computed."""
        at = pa.array(keep)
        chosen = Scope(
            self.batch.take(at),
            out=None if self.out is None else self.out.take(at),
            texts=self.texts,
            tokenizer=self.tokenizer,
            types=self.types,
            session=self._session,
        )
        chosen._known = {k: v.take(at) if isinstance(v, pa.Array) else v for k, v in self._known.items()}
        return chosen

    def value(self, expr: plan.Expr) -> Datum:
        """The value of an expression: a scalar where it does not depend on the row."""
        if expr[0] == "lit":
            return literal(expr[1], expr[2])
        if expr[0] not in _NODES:
            raise ValueError(f"`{expr[0]}` has no value in a row")
        key = orjson.dumps(expr, option=orjson.OPT_SORT_KEYS)
        if key not in self._known:
            try:
                self._known[key] = _NODES[expr[0]](self, expr)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, TypeError) as e:
                raise column_error(f"`{expression(expr)}` does not fit its values: {e}") from e
        return self._known[key]

    def array(self, expr: plan.Expr) -> pa.Array:
        return spread(self.value(expr), self.n)

    def json(self, expr: plan.Expr) -> pa.Array:
        """The value of an expression as JSON texts; a text stands as it is, for it is JSON already."""
        value = self.array(expr)
        if pa.types.is_string(value.type) or pa.types.is_null(value.type):
            return cast_null(value, pa.string())
        result = [json_text(v) for v in self._plain(expr)]
        return pa.array(result, pa.string())

    def _plain(self, expr: plan.Expr) -> Sequence[Any]:
        """The value of an expression as Python values, with what is JSON in records and lists read."""
        match expr:
            case ["record", dict(fields)] if fields:
                rows = zip(*(self._plain(e) for e in fields.values()), strict=True)
                return [dict(zip(fields, row, strict=True)) for row in rows]
            case ["list", list(parts)] if parts:
                return [list(row) for row in zip(*map(self._plain, parts), strict=True)]
        value = self.array(expr)
        known = self.types.get(expr[1]) if expr[0] == "col" else None
        return python_values(value, "json" if self.is_json(expr) else known)

    @property
    def session(self) -> Session:
        return self._session or session()

    def is_json(self, expr: plan.Expr) -> bool:
        """Whether the text that an expression gives is JSON, as far as the types tell."""
        match expr:
            case ["col", str(name)]:
                return required(self.types.get(name, "")) == "json"
            case ["out", str(name)]:
                return required(self.types.get(f"out.{name}", "")) == "json"
            case ["lit", str(type_), _]:
                return required(type_) == "json"
            case ["field", base, str(name)]:
                return self._field_is_json(base, name)
            case ["item", base, _]:
                return bool(pa.types.is_string(self.value(base).type))
            case ["call", "json", _]:
                return True
            case ["call", "coalesce", args]:
                return self._all_json(_variadic(args["x"]))
            case ["call", "pick", args]:
                return self._all_json([args["then"], args["otherwise"]])
        return False

    def _field_is_json(self, base: plan.Expr, name: str) -> bool:
        type_ = self.value(base).type
        if pa.types.is_string(type_):
            return True
        if type_ == TURN:
            return name not in ("role", "content", "extra")
        return (
            required(record_types(self.types.get(base[1], "")).get(name, "")) == "json" if base[0] == "col" else False
        )

    def _all_json(self, parts: Sequence[plan.Expr]) -> bool:
        known = [p for p in parts if not _is_null(p)]
        return bool(known) and all(self.is_json(p) for p in known)


# --- what the nodes mean ----------------------------------------------------------------------------------------------


def _is_null(expr: plan.Expr) -> bool:
    return expr[0] == "lit" and expr[2] is None


def _variadic(expr: plan.Expr) -> list[plan.Expr]:
    return list(expr[1]) if expr[0] == "list" else [expr]


def _column(scope: Scope, expr: plan.Expr) -> Datum:
    name = expr[1]
    if name not in scope.batch.schema.names:
        have = ", ".join(scope.batch.schema.names) or "none"
        raise RunError(Problem("A503", f"the rows have no column `{name}`", note=f"columns read: {have}"), exit_code=1)
    return plain(scope.batch.column(name))


def _out(scope: Scope, expr: plan.Expr) -> Datum:
    if scope.out is None:
        raise ValueError(f"`out.{expr[1]}` has a value only where a teacher answers")
    return plain(pc.struct_field(scope.out, expr[1]))


def _field(scope: Scope, expr: plan.Expr) -> Datum:
    _, base, name = expr
    value = scope.array(base)
    if pa.types.is_null(value.type):
        return pa.nulls(scope.n, pa.string())
    if pa.types.is_string(value.type):
        return _path(scope, expr)
    if not pa.types.is_struct(value.type):
        raise column_error(f"`{expression(base)}` has no fields: it is {column_type(value.type)}")
    if value.type.get_field_index(name) >= 0:
        return plain(pc.struct_field(value, name))
    if value.type == TURN:
        extra = pc.struct_field(value, "extra")
        return each_distinct(extra, lambda v: json_text(_step(read_json(v), name)), pa.string())
    have = ", ".join(f.name for f in value.type)
    raise column_error(f"`{expression(base)}` has no field `{name}`; its fields: {have}")


def _item(scope: Scope, expr: plan.Expr) -> Datum:
    _, base, index = expr
    value = scope.array(base)
    if pa.types.is_null(value.type):
        return pa.nulls(scope.n, pa.string())
    if pa.types.is_string(value.type):
        return _path(scope, expr)
    if not pa.types.is_list(value.type):
        raise column_error(f"`{expression(base)}` has no elements: it is {column_type(value.type)}")
    at = cast_null(scope.array(index), pa.int64())
    missing = pc.or_(at.is_null(), value.is_null()).to_numpy(zero_copy_only=False)
    number = pc.fill_null(at, 0).to_numpy()
    length = pc.fill_null(pc.list_value_length(value), 0).to_numpy(zero_copy_only=False)
    number = np.where(number < 0, number + length, number)
    missing |= (number < 0) | (number >= length)
    starts = value.offsets.to_numpy()[: len(value)]
    return plain(value.values.take(pa.array(starts + number, pa.int64(), mask=missing)))


def _path(scope: Scope, expr: plan.Expr) -> pa.Array:
    """A path into JSON, read once per distinct text for all its steps."""
    steps: list[Any] = []
    while expr[0] in ("field", "item"):
        if expr[0] == "item" and expr[2][0] != "lit":
            index = scope.array(expr[2]).to_pylist()
            inner = scope.array(expr[1]).to_pylist()
            found = [
                None if v is None or i is None else _step(read_json(v), i) for v, i in zip(inner, index, strict=True)
            ]
            base = pa.array([json_text(v) for v in found], pa.string())
            break
        if not pa.types.is_string(scope.value(expr[1]).type):
            base = scope.array(expr)
            break
        steps.insert(0, expr[2] if expr[0] == "field" else int(expr[2][2]))
        expr = expr[1]
    else:
        base = scope.array(expr)
    if not steps:
        return base
    return each_distinct(base, lambda v: json_text(reduce(_step, steps, read_json(v))), pa.string())


def _step(value: Any, step: Any) -> Any:
    """One step of a path; None where there is nothing."""
    if isinstance(step, str):
        return value.get(step) if isinstance(value, dict) else None
    if isinstance(value, list) and -len(value) <= step < len(value):
        return value[step]
    return None


def _call(scope: Scope, expr: plan.Expr) -> Datum:
    _, name, provided = expr
    function = FUNCTIONS[name]
    args: dict[str, Any] = {}
    json: dict[str, Any] = {}
    for param in function.params:
        if param.variadic:
            parts = _variadic(provided[param.name]) if param.name in provided else []
            args[param.name] = [scope.value(p) for p in parts]
            json[param.name] = [scope.is_json(p) for p in parts]
        elif param.name in provided:
            args[param.name] = scope.value(provided[param.name])
            json[param.name] = scope.is_json(provided[param.name])
        else:
            args[param.name] = literal(*_default(param.default))
    if function.shape == "vector":
        return VECTOR[name](Call(name, args, json, scope.n, scope.tokenizer))
    arrays = []
    for param in function.params:
        array = spread(args[param.name], scope.n)
        if json.get(param.name) and param.type == "text":
            array = as_type(array, pa.string(), json=True)
        arrays.append(_row_argument(name, array, param.type))
    return scope.session.apply(name, arrays)


def _row_argument(name: str, array: pa.Array, type_: str) -> pa.Array:
    wanted = required(type_)
    fits = {"text": pa.types.is_string, "int": pa.types.is_integer}.get(wanted)
    if fits is None or fits(array.type) or pa.types.is_null(array.type):
        return array
    raise column_error(f"`{name}` takes {wanted}, not {column_type(array.type)}", f"cast it with {wanted}(…)")


def _default(value: object) -> tuple[str, Any]:
    if value is None:
        return "null", None
    return ("bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "text"), value


def _condition(scope: Scope, expr: plan.Expr) -> Datum:
    value = scope.value(expr)
    if scope.is_json(expr):
        value = as_type(value, pa.bool_(), json=True)
    if not (pa.types.is_boolean(value.type) or pa.types.is_null(value.type)):
        raise column_error(f"`{expression(expr)}` is no condition: it is {column_type(value.type)}")
    return cast_null(value, pa.bool_())


def _not(scope: Scope, expr: plan.Expr) -> Datum:
    return pc.invert(_condition(scope, expr[1]))


def _and(scope: Scope, expr: plan.Expr) -> Datum:
    return reduce(pc.and_kleene, (_condition(scope, e) for e in expr[1]))


def _or(scope: Scope, expr: plan.Expr) -> Datum:
    return reduce(pc.or_kleene, (_condition(scope, e) for e in expr[1]))


_COMPARE: Final[Mapping[str, Callable[..., Datum]]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def _cmp(scope: Scope, expr: plan.Expr) -> Datum:
    _, op, left, right = expr
    if op in ("==", "!=") and (_is_null(left) or _is_null(right)):
        if _is_null(left) and _is_null(right):
            return pa.scalar(op == "==")
        requested = scope.value(left if _is_null(right) else right)
        return pc.is_null(requested) if op == "==" else pc.is_valid(requested)
    return _compared(op, *_pair(scope, left, right, f"`{op}`"), scope.n)


def _compared(op: str, a: Datum, b: Datum, n: int) -> Datum:
    if pa.types.is_nested(a.type):
        if op not in ("==", "!="):
            raise column_error(f"`{op}` does not order {column_type(a.type)}")
        same = [
            None if x is None or y is None else (x == y) is (op == "==")
            for x, y in zip(spread(a, n).to_pylist(), spread(b, n).to_pylist(), strict=True)
        ]
        return pa.array(same, pa.bool_())
    if pa.types.is_null(a.type):
        return pa.scalar(None, pa.bool_())
    return _COMPARE[op](a, b)


def _pair(scope: Scope, left: plan.Expr, right: plan.Expr, what: str) -> tuple[Datum, Datum]:
    """Two values of one type; where one of them is JSON it is cast to the type of the other."""
    a, b = scope.value(left), scope.value(right)
    json_a, json_b = scope.is_json(left), scope.is_json(right)
    if json_a and not json_b:
        a = as_type(a, _json_wanted(b.type), json=True)
    elif json_b and not json_a:
        b = as_type(b, _json_wanted(a.type), json=True)
    elif json_a and json_b:
        a, b = in_one_spelling(a), in_one_spelling(b)
    a, b = _id_text(a, b), _id_text(b, a)
    first, second = unified([a, b], what)
    return first, second


def _json_wanted(type_: pa.DataType) -> pa.DataType:
    """JSON numbers are compared as reals, so that 1.5 is not lost against a whole number."""
    return pa.float64() if is_number(type_) else pa.string() if pa.types.is_null(type_) else type_


def _id_text(value: Datum, other: Datum) -> Datum:
    """An id beside a text is its 32 hex digits."""
    if pa.types.is_fixed_size_binary(value.type) and pa.types.is_string(other.type):
        if isinstance(value, pa.Scalar):
            return pa.scalar(None if value.as_py() is None else value.as_py().hex(), pa.string())
        return each_distinct(value, bytes.hex, pa.string())
    return value


_ARITHMETIC: Final[Mapping[str, Callable[..., Datum]]] = {
    "+": pc.add_checked,
    "-": pc.subtract_checked,
    "*": pc.multiply_checked,
}


def _number(scope: Scope, expr: plan.Expr) -> Datum:
    value = scope.value(expr)
    if scope.is_json(expr):
        return as_type(value, pa.float64(), json=True)
    if pa.types.is_null(value.type):
        return cast_null(value, pa.int64())
    if not is_number(value.type):
        raise column_error(
            f"`{expression(expr)}` is {column_type(value.type)}, not a number", "cast it with int(…) or real(…)"
        )
    return value


def _num(scope: Scope, expr: plan.Expr) -> Datum:
    _, op, left, right = expr
    a, b = _number(scope, left), _number(scope, right)
    if op != "/":
        a, b = unified([a, b], f"`{op}`")
        return _ARITHMETIC[op](a, b)
    divisor = cast_null(b, pa.float64())
    nothing = pa.scalar(None, pa.float64())
    divisor = pc.if_else(pc.equal(divisor, 0.0), nothing, divisor)
    return pc.divide(cast_null(a, pa.float64()), divisor)


def _neg(scope: Scope, expr: plan.Expr) -> Datum:
    return pc.negate_checked(_number(scope, expr[1]))


def _cat(scope: Scope, expr: plan.Expr) -> Datum:
    parts = []
    for part in expr[1:]:
        value = scope.value(part)
        if scope.is_json(part):
            value = as_type(value, pa.string(), json=True)
        elif pa.types.is_null(value.type):
            value = cast_null(value, pa.string())
        elif not pa.types.is_string(value.type):
            raise column_error(f"`{expression(part)}` is {column_type(value.type)}, not a text", "cast it with text(…)")
        parts.append(value)
    return pc.binary_join_element_wise(*parts, "")


def _in(scope: Scope, expr: plan.Expr) -> Datum:
    _, left, right = expr
    if right[0] == "interval":
        low = _compared(">=", *_pair(scope, left, right[1], "`in`"), scope.n)
        high = _compared("<=", *_pair(scope, left, right[2], "`in`"), scope.n)
        return pc.and_kleene(low, high)
    if right[0] == "list":
        same = [_compared("==", *_pair(scope, left, e, "`in`"), scope.n) for e in right[1]]
        if not same:
            return pc.if_else(pc.is_valid(scope.value(left)), False, pa.scalar(None, pa.bool_()))
        return reduce(pc.or_kleene, same)
    return _in_column(scope, left, right)


def _in_column(scope: Scope, left: plan.Expr, right: plan.Expr) -> Datum:
    """Membership in a list that is itself a column."""
    values, lists = scope.array(left), scope.array(right)
    if scope.is_json(right):
        lists = pa.array([read_json(v) if v else None for v in lists.to_pylist()])
    if not pa.types.is_list(lists.type):
        raise column_error(f"`in` needs a list or an interval, not {column_type(lists.type)}")
    if common_type([values.type, lists.type.value_type]) is None:
        raise column_error(
            f"`{expression(left)}` is {column_type(values.type)}; the list holds {column_type(lists.type.value_type)}"
        )
    held = [
        None if v is None or x is None else v in x for v, x in zip(values.to_pylist(), lists.to_pylist(), strict=True)
    ]
    return pa.array(held, pa.bool_())


def _list(scope: Scope, expr: plan.Expr) -> Datum:
    parts = [spread(v, scope.n) for v in unified([scope.value(e) for e in expr[1]], "a list")]
    width = len(parts)
    if not width:
        return pa.array([[]] * scope.n, pa.list_(pa.string()))
    order = np.arange(width * scope.n).reshape(width, scope.n).T.reshape(-1)
    values = pa.concat_arrays(parts).take(pa.array(order))
    offsets = pa.array(np.arange(scope.n + 1) * width, pa.int32())
    return pa.ListArray.from_arrays(offsets, values)


def _record(scope: Scope, expr: plan.Expr) -> Datum:
    fields = {name: scope.array(e) for name, e in expr[1].items()}
    fields = {k: cast_null(v, pa.string()) if pa.types.is_null(v.type) else v for k, v in fields.items()}
    if not fields:
        return pa.array([{}] * scope.n, pa.struct([]))
    return pa.StructArray.from_arrays(list(fields.values()), names=list(fields))


def _template(scope: Scope, expr: plan.Expr) -> Datum:
    from alchemist_runtime.engine.turns import render

    _, digest, names = expr
    columns: dict[str, Sequence[Any]] = {}
    for name in names:
        if name == "out" and scope.out is not None and name not in scope.batch.schema.names:
            fields = {k[4:]: t for k, t in scope.types.items() if k.startswith("out.")}
            type_ = "record<" + ", ".join(f"{k}: {t}" for k, t in fields.items()) + ">"
            columns[name] = python_values(scope.out, type_ if fields else None)
        else:
            columns[name] = python_values(scope.array(["col", name]), scope.types.get(name))
    ids = scope.batch.column("_id") if "_id" in scope.batch.schema.names else None
    place = (lambda i: f"row {ids[i].as_py().hex()}") if ids is not None else None
    return pa.array(render(scope.texts[digest], columns, scope.n, place=place), pa.string())


_NODES: Final[Mapping[str, Callable[[Scope, plan.Expr], Datum]]] = {
    "col": _column,
    "out": _out,
    "field": _field,
    "item": _item,
    "call": _call,
    "not": _not,
    "neg": _neg,
    "and": _and,
    "or": _or,
    "cmp": _cmp,
    "num": _num,
    "cat": _cat,
    "in": _in,
    "list": _list,
    "record": _record,
    "template": _template,
}


# --- for messages -----------------------------------------------------------------------------------------------------
