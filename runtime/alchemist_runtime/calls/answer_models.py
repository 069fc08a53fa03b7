"""The pydantic models of typed answers, made from the declared fields; plain answers load no pydantic."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, WrapValidator, with_config
from typing_extensions import TypedDict

from alchemist_runtime.schema.exact_json import as_json
from alchemist_runtime.schema.types import TURN, Type, type_of

_INT64 = range(-(2**63), 2**63)


@cache
def adapter(outputs: tuple[tuple[str, str], ...]) -> TypeAdapter[dict[str, Any]]:
    """The model of an answer, made from its declared fields."""
    return TypeAdapter(_record(tuple((n, type_of(t)) for n, t in outputs)))


def _record(fields: tuple[tuple[str, Type], ...]) -> Any:
    """An object with these fields; others are left out, and one that may be null may be missing."""

    def declared(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {n: value.get(n) for n, t in fields if n in value or t.optional}

    make: Any = TypedDict  # called with fields that no type checker knows
    made = make("Answer", {n: _model(t) for n, t in fields})
    return Annotated[with_config(ConfigDict(strict=True, extra="forbid"))(made), BeforeValidator(declared)]


def _model(type_: Type) -> Any:
    made: Any
    bounds = Field(ge=_exact(type_.low), le=_exact(type_.high))
    match type_.name:
        case "int":
            made = Annotated[int, bounds, AfterValidator(_int64), BeforeValidator(_whole)]
        case "real":
            made = Annotated[float, bounds, Field(allow_inf_nan=False)]
        case "bool":
            made = bool
        case "enum":
            made = Literal[type_.options]
        case "list":
            assert type_.element is not None
            made = list[_model(type_.element)]  # type: ignore[misc]
        case "record":
            made = _record(type_.fields)
        case "messages":
            made = list[Annotated[_record(TURN), WrapValidator(_turn)]]  # type: ignore[misc]
        case "json":
            return Annotated[Any, AfterValidator(_json_or_null if type_.optional else _json_text)]
        case _:
            made = str
    return made | None if type_.optional else made


def _turn(value: Any, handler: Any) -> dict[str, Any]:
    """A turn as rows hold it, with what else it says as JSON."""
    turn = handler(value)
    rest = {k: v for k, v in value.items() if k not in turn}
    return {**turn, "extra": as_json(rest) if rest else None}


def _json_text(value: Any) -> str:
    if value is None:
        raise ValueError("null")
    return as_json(value)


def _json_or_null(value: Any) -> str | None:
    return None if value is None else as_json(value)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _int64(value: int) -> int:
    if value not in _INT64:
        raise ValueError("more than 64 bits")
    return value


def _exact(bound: float | None) -> float | None:
    return bound if bound is None or bound != int(bound) else int(bound)
