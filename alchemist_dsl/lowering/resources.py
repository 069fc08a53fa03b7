"""Teachers and prompts: what teacher steps refer to by name."""

from __future__ import annotations

from typing import Any, Final

from alchemist_runtime.schema.plan import Price, Prompt, Teacher

from alchemist_dsl.check.test_rows import literal
from alchemist_dsl.ir import Block, ChoiceV, Qty, RecordV, RefV, TemplateV
from alchemist_dsl.lowering.base_models import base_folder, own_model
from alchemist_dsl.lowering.scope import Scope
from alchemist_dsl.lowering.targets import locked_base
from alchemist_dsl.lowering.values import decimal, exact, flag, items, quantity, text, texts, whole

#: Questions that a model in this process answers at once, where the recipe does not say: memory of the CPU is not got
#: back.
LARGEST_BATCH: Final = 16


def teacher(block: Block, scope: Scope) -> Teacher:
    """A teacher without its identity key."""
    timeout = quantity(block, "timeout")
    here = text(block, "provider") == "transformers"
    return Teacher(
        name=block.name,
        provider=text(block, "provider") or "",
        model=_model(block),
        revision=(locked_base(block, scope, "model") if here else None) or text(block, "revision"),
        base_url=text(block, "base_url"),
        identity=text(block, "identity"),
        api_key_env=_key_variable(block),
        sampling=_sampling(block),
        extra=fields(block, "extra"),
        query=fields(block, "query"),
        headers_env=fields(block, "headers_env"),
        price=price(block, scope),
        rate=[_rate(r) for r in items(block.get("rate")) if isinstance(r, Qty)],
        concurrency=_concurrency(block, here),
        timeout_seconds=0.0 if here else 120.0 if timeout is None else float(timeout.value),
        retries=6 if (retries := whole(block, "retries")) is None else retries,
        batch=flag(block, "batch"),
        at=scope.at(block.span),
    )


def _model(block: Block) -> str | None:
    """The model's name; for one that is loaded here its folder from the project's root, or the training that makes
    it.
    """
    model, own = block.get("model"), own_model(block)
    if isinstance(model, RefV):
        return model.target
    return (own and base_folder(own[1])) or text(block, "model")


def _concurrency(block: Block, here: bool) -> int:
    attr = block.attrs.get("concurrency")
    unsaid = attr is None or attr.origin == "default"
    return LARGEST_BATCH if here and unsaid else whole(block, "concurrency") or 64


def _key_variable(block: Block) -> str | None:
    """Only a served model wants a key, and the default one goes to nobody but the server that it belongs to."""
    if text(block, "provider") != "openai":
        return None
    attr = block.attrs.get("api_key_env")
    foreign = text(block, "base_url") is not None
    return None if attr is not None and attr.origin == "default" and foreign else text(block, "api_key_env")


def _sampling(block: Block) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in ("temperature", "top_p"):
        found = quantity(block, name)
        if found is not None:
            out[name] = decimal(found.value)
    if (most := whole(block, "max_tokens")) is not None:
        out["max_tokens"] = most
    if stop := texts(block, "stop"):
        out["stop"] = stop
    if (seed := whole(block, "seed")) is not None:
        out["seed"] = seed
    if effort := text(block, "reasoning_effort"):
        out["reasoning_effort"] = effort
    return out


def fields(block: Block, name: str) -> dict[str, Any]:
    """The fields of a record that nobody declares, as JSON data."""
    value = block.get(name)
    return literal(value) if isinstance(value, RecordV) else {}


def price(block: Block, scope: Scope) -> Price | None:
    """Exact dollars per token. What no server answers costs nothing; an unwritten price is unknown."""
    match block.get("price"):
        case RecordV(fields=fields):
            return Price(input=_per_token(fields.get("input")), output=_per_token(fields.get("output")))
        case ChoiceV(name="free"):
            return Price(free=True)
        case _:
            return None if scope.origin(block) == "server" else Price(free=True)


def _per_token(value: object) -> str:
    if not isinstance(value, Qty):
        return "0"
    return exact(value.value / value.per[1]) if value.per else exact(value.value)


def _rate(value: Qty) -> dict[str, str]:
    return {"unit": value.unit or "calls", "per_second": exact(value.value)}


def prompt(block: Block, scope: Scope) -> Prompt:
    """A prompt without its key."""
    return Prompt(
        name=block.name,
        inputs={f.name: f.type for f in block.input_fields},
        outputs={f.name: f.type for f in block.output_fields},
        system=_digest(block, "system", scope),
        user=_digest(block, "user", scope),
        rules=text(block, "rules"),
        shots=whole(block, "shots") or 0,
        turn="user" if text(block, "turn") == "user" else None,
        prefill=_digest(block, "prefill", scope),
        at=scope.at(block.span),
    )


def _digest(block: Block, name: str, scope: Scope) -> str | None:
    value = block.get(name)
    return scope.keep(value.text) if isinstance(value, TemplateV) else None
