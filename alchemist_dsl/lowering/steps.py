"""Steps from stream to stream: map, filter, dedup, decontaminate, teacher steps, tasks, mixtures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from alchemist_runtime.schema.plan import (
    DecontaminateSpec,
    DedupSpec,
    Expr,
    FilterSpec,
    GenerateSpec,
    MapSpec,
    Method,
    MixtureSpec,
    RelabelSpec,
    SplitSpec,
    Take,
    TaskSpec,
)

from alchemist_dsl.ir import Block, EntryV, MethodV, RefV, TemplateV
from alchemist_dsl.lowering.scope import Scope, salt
from alchemist_dsl.lowering.values import declared, exact, items, method, quantity, text, trees


def map_(block: Block, scope: Scope) -> MapSpec:
    given = {"sets": scope.sets(block), "select": scope.select(block), "salt": salt(block)}
    return MapSpec(**declared(block, MapSpec, rules=scope.rules(block), **given))


def filter_(block: Block, scope: Scope) -> FilterSpec:
    return FilterSpec(rules=scope.rules(block), select=scope.select(block))


def dedup(block: Block, scope: Scope) -> DedupSpec:
    component = scope.component("dedup", method(block, "method"))
    return DedupSpec(**declared(block, DedupSpec, method=component, rules=scope.rules(block)))


def decontaminate(block: Block, scope: Scope) -> DecontaminateSpec:
    """Methods by name and arguments: a row leaks if any says so, so their order says nothing."""
    found = [m for m in items(block.get("method")) if isinstance(m, MethodV)]
    found.sort(key=lambda m: (m.name, sorted((k, str(v)) for k, v in m.args.items())))
    return DecontaminateSpec(
        on=trees(block, "on"), methods=[scope.component("decontaminate", m) for m in found], rules=scope.rules(block)
    )


def split(block: Block, scope: Scope) -> SplitSpec:
    return SplitSpec(**declared(block, SplitSpec, salt=salt(block)))


def teacher_step(block: Block, scope: Scope) -> RelabelSpec | GenerateSpec:
    spec = GenerateSpec if block.kind == "generate" else RelabelSpec
    return spec(
        **declared(
            block,
            spec,
            teacher=target(block, "teacher"),
            prompt=target(block, "prompt"),
            select=scope.select(block),
            sets=scope.sets(block),
            rules=scope.rules(block),
            inputs={name: e.tree for name, e in sorted(block.prompt_inputs.items())},
            salt=salt(block),
        )
    )


def target(block: Block, name: str) -> str:
    """The block that an attribute refers to."""
    value = block.get(name)
    if not isinstance(value, RefV):
        raise LookupError(f"{block.kind} {block.name} names no {name}")
    return value.target


def task(block: Block, scope: Scope) -> TaskSpec:
    standard: Any = block.standard_task
    sound = quantity(block, "sound")
    share = None if sound is None or sound.value == 0 else exact(sound.value)
    return TaskSpec(
        standard=standard,
        instruction=_template(block, "instruction", scope) or ["lit", "null", None],
        response=_template(block, "response", scope) or ["lit", "null", None],
        system=_template(block, "system", scope),
        classes=[{"name": c.name, "rules": sorted(c.rules), "text": c.name.replace("_", " ")} for c in block.classes],
        sound=share,
        select=scope.select(block),
        lang=_lang(block, scope),
        salt=salt(block),
        rules=scope.rules(block),
    )


def _template(block: Block, name: str, scope: Scope) -> Expr | None:
    value = block.get(name)
    return scope.template(value) if isinstance(value, TemplateV) else None


def _lang(block: Block, scope: Scope) -> Expr | None:
    """The language of the row that a task tells of, where its port carries one."""
    told = next((r for r, role in zip(block.inputs, block.roles, strict=True) if role == "learn"), None)
    schema = None if told is None else scope.program.schemas.get((told.target, told.port))
    if told is None or schema is None:
        return None
    if told.port != "trace":
        return ["col", "lang"] if "lang" in schema.columns else None
    record = schema.columns.get("after", "")
    return ["field", ["col", "after"], "lang"] if "lang:" in record else None


def mixture(block: Block, scope: Scope) -> MixtureSpec:
    """Entries by name: their order says nothing."""
    on_short, repeat_max = _on_short(block)
    if scope.options.limit is not None:
        on_short, repeat_max = "shrink", None  # a trial run has too little of everything
    return MixtureSpec(
        **declared(
            block,
            MixtureSpec,
            unit=unit(block),
            take=[_take(i, e) for i, e in enumerate(entries(block))],
            weights=_weights(block),
            on_short=on_short,
            repeat_max=repeat_max,
            redraw="per_epoch" if text(block, "redraw") == "per_epoch" else None,
            tokenizer=tokenizer(block, scope),
            salt=salt(block),
            rules=scope.rules(block),
        )
    )


def _weights(block: Block) -> Method | None:
    value = block.get("weights")
    return Method(name=value.name, args=value.args) if isinstance(value, MethodV) else None


def entries(block: Block) -> tuple[EntryV, ...]:
    """The entries of `take` by name, or all of each stream of `from`."""
    found = block.entries or [EntryV(_stream_name(ref), ref, "all", None, ref.span) for ref in block.inputs]
    if block.get("weights") is not None:  # their parts follow from their sizes
        found = [replace(e, amount="parts", value=None) for e in found]
    return tuple(sorted(found, key=lambda e: e.name))


def _stream_name(ref: RefV) -> str:
    parts = [ref.target, *([] if ref.port == "rows" else [ref.port]), *filter(None, [ref.origin])]
    return ".".join(parts)


def _take(index: int, entry: EntryV) -> Take:
    value = None if entry.value is None else exact(entry.value)
    return Take(name=entry.name, edge=index, amount=entry.amount, value=value, missing=entry.missing)


def unit(block: Block) -> Any:
    """What shares are shares of: the unit of `total`, else `unit`, else that of the entries."""
    total = quantity(block, "total")
    if total is not None:
        return total.kind
    written = text(block, "unit")
    return written or ("tokens" if any(e.amount == "tokens" for e in block.entries) else "rows")


def counts_tokens(block: Block) -> bool:
    """Whether what a mixture draws depends on token counts."""
    return unit(block) == "tokens" or any(e.amount == "tokens" for e in block.entries)


def _on_short(block: Block) -> tuple[Any, str | None]:
    match block.get("on_short"):
        case MethodV(name="repeat", args=args):
            return "repeat", None if args.get("max") is None else str(args["max"])
        case _:
            return text(block, "on_short") or "error", None


def tokenizer(block: Block | None, scope: Scope) -> dict[str, Any] | None:
    """Of a mixture: its own, else the recipe's, else that of the base model that reads it."""
    for owner in (block, scope.program.recipe):
        if owner is not None and owner.get("tokenizer") is not None:
            return _declared(owner, scope)
    return None if block is None else _of_reader(block, scope)


def _declared(owner: Block, scope: Scope) -> dict[str, Any]:
    value = owner.get("tokenizer")
    if isinstance(value, RefV):
        return _of_train((scope.whole or scope.program).blocks[value.target], scope)
    name = text(owner, "tokenizer") or ""
    return _pinned(name, text(owner, "revision") or scope.facts.tokenizer(name))


def _pinned(name: str, revision: str | None) -> dict[str, Any]:
    return {"name": name} if revision is None else {"name": name, "revision": revision}


def _of_reader(block: Block, scope: Scope) -> dict[str, Any] | None:
    """By the trainings that read a mixture, directly or through other steps; the checker has refused two different
    ones.
    """
    blocks = (scope.whole or scope.program).blocks
    after = {block.name}
    while more := {b.name for b in blocks.values() if any(r.target in after for r in b.inputs)} - after:
        after |= more
    readers = sorted(name for name in after if blocks[name].kind == "train")
    return _of_train(blocks[readers[0]], scope) if readers else None


def _of_train(train: Block, scope: Scope) -> dict[str, Any]:
    base = train.get("base")
    if isinstance(base, RefV):
        return _of_train((scope.whole or scope.program).blocks[base.target], scope)
    if method(train, "init").name == "scratch":
        return {"bytes": True}
    name, written = text(train, "base") or "", text(train, "revision")
    return _pinned(name, scope.facts.model(name, written) or written)
