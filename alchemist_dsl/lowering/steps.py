"""Steps from stream to stream: map, filter, dedup, decontaminate, teacher steps, tasks, mixtures."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

from alchemist_runtime.schema.attributes import ByKind
from alchemist_runtime.schema.plan import (
    DecontaminateSpec,
    EvaluateSpec,
    Expr,
    MeasureSpec,
    Method,
    Take,
    TaskSpec,
    TrainSpec,
    variant_part,
)

from alchemist_dsl.ir import Block, EntryV, ExprV, MethodV, Qty, RecordV, RefV, TemplateV, TextV
from alchemist_dsl.lowering.canonical import canon_value
from alchemist_dsl.lowering.scope import (
    Scope,
    base_folder,
    declared,
    flag,
    items,
    locked_base,
    method,
    quantity,
    salt,
    text,
    texts,
    trees,
    whole,
)

Lower = Callable[[Block, Scope], Any]
#: By kind what describes its blocks in the plan, where that is more than `lowered`.
LOWER: ByKind[Lower] = ByKind()
lowers = LOWER.of


def lowered(block: Block, scope: Scope, **special: Any) -> Any:
    """What the plan holds of a block: its attributes by the types of their fields, and what kinds share.

    `special`: fields that follow from more than the attribute of their name."""
    kind = block.declared
    shared: dict[str, Callable[[], Any]] = {
        "sets": lambda: scope.sets(block),
        "select": lambda: scope.select(block),
        "rules": lambda: scope.rules(block),
        "salt": lambda: salt(block),
    }
    for field in fields(kind.spec):
        family: Any = kind.attributes[field.name].family if field.name in kind.attributes else None
        if field.name not in special and field.name in shared:
            special[field.name] = shared[field.name]()
        elif field.name not in special and family is not None:
            special[field.name] = scope.component(family, method(block, field.name))
    return kind.spec(**declared(block, kind.spec, **special))


@lowers("decontaminate")
def decontaminate(block: Block, scope: Scope) -> DecontaminateSpec:
    """Methods by name and arguments: a row leaks if any says so, so their order says nothing."""
    found = [m for m in items(block.get("method")) if isinstance(m, MethodV)]
    found.sort(key=lambda m: (m.name, sorted((k, str(v)) for k, v in m.args.items())))
    return DecontaminateSpec(
        on=trees(block, "on"), methods=[scope.component("decontaminate", m) for m in found], rules=scope.rules(block)
    )


@lowers("relabel", "generate")
def teacher_step(block: Block, scope: Scope) -> Any:
    inputs = {name: e.tree for name, e in sorted(block.prompt_inputs.items())}
    return lowered(block, scope, teacher=target(block, "teacher"), prompt=target(block, "prompt"), inputs=inputs)


def target(block: Block, name: str) -> str:
    """The block that an attribute refers to."""
    value = block.get(name)
    if not isinstance(value, RefV):
        raise LookupError(f"{block.kind} {block.name} names no {name}")
    return value.target


@lowers("task")
def task(block: Block, scope: Scope) -> TaskSpec:
    standard: Any = block.standard_task
    sound = quantity(block, "sound")
    share = None if sound is None or sound.value == 0 else str(sound.value)
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
    reported = next((r for r, role in zip(block.inputs, block.roles, strict=True) if role == "learn"), None)
    schema = None if reported is None else scope.program.schemas.get((reported.target, reported.port))
    if reported is None or schema is None:
        return None
    if reported.port != "trace":
        return ["col", "lang"] if "lang" in schema.columns else None
    record = schema.columns.get("after", "")
    return ["field", ["col", "after"], "lang"] if "lang:" in record else None


@lowers("mixture")
def mixture(block: Block, scope: Scope) -> Any:
    """Entries by name: their order says nothing."""
    on_short, repeat_max = _on_short(block)
    if scope.options.limit is not None:
        on_short, repeat_max = "shrink", None  # a trial run has too little of everything
    return lowered(
        block,
        scope,
        unit=unit(block),
        take=[_take(i, e) for i, e in enumerate(entries(block))],
        weights=_weights(block),
        on_short=on_short,
        repeat_max=repeat_max,
        redraw="per_epoch" if text(block, "redraw") == "per_epoch" else None,
        tokenizer=tokenizer(block, scope),
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
    value = None if entry.value is None else str(entry.value)
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


# --- sources ---------------------------------------------------------------------------------------------------------


def reader_name(block: Block) -> str:
    """The component of the family `sources` that reads a block: hub, files, python or missing."""
    for name in ("missing", "hub", "python", "files"):
        if block.get(name) is not None:
            return name
    return "missing"


@lowers("source")
def source(block: Block, scope: Scope) -> Any:
    on_bad, max_bad = _on_bad_row(block)
    return lowered(
        block,
        scope,
        **_read(block, scope),
        salt=source_salt(block),
        run_limit=scope.options.limit,
        on_bad_row=on_bad,
        max_bad=max_bad,
        schema_columns=scope.schema(block),
    )


@lowers("suite")
def suite(block: Block, scope: Scope) -> Any:
    return lowered(block, scope, **_read(block, scope), evaluation=_evaluation(block, scope))


def _read(block: Block, scope: Scope) -> dict[str, Any]:
    """What sources and suites have alike."""
    return {
        "name": block.name,
        "reader": reader(block, scope),
        "files": files(block, scope),
        "columns": dict(scope.facts.columns(block) or {}),
        "id_column": text(block, "id"),
    }


def source_salt(block: Block) -> str:
    """Repository, configuration and split of a hub dataset; the name of any other source."""
    if block.get("hub") is None:
        return salt(block)
    parts = [text(block, "hub"), text(block, "config"), *texts(block, "split")]
    return "/".join(p or "" for p in parts)


def reader(block: Block, scope: Scope) -> Method:
    name = reader_name(block)
    return Method(name=name, version=scope.version("sources", name), args=_ARGS[name](block, scope))


def _hub(block: Block, scope: Scope) -> dict[str, Any]:
    args = {
        "repo": text(block, "hub"),
        "revision": scope.place(block).revision or text(block, "revision"),
        "config": text(block, "config"),
        "split": texts(block, "split"),
        "files": texts(block, "files"),
        "format": text(block, "format"),
    }
    return {k: v for k, v in args.items() if v not in (None, [])}


def _python(block: Block, scope: Scope) -> dict[str, Any]:
    return {"modules": texts(block, "python"), "doctests": flag(block, "doctests")}


def _files(block: Block, scope: Scope) -> dict[str, Any]:
    return {}


_ARGS = {"hub": _hub, "python": _python, "files": _files, "missing": _files}


def files(block: Block, scope: Scope) -> list[dict[str, str]]:
    """The local files that a block's patterns match, by path."""
    if reader_name(block) != "files":
        return []
    facts = sorted(scope.place(block).files, key=lambda f: f.path)
    return [{"path": f.path, "digest": f.digest, "format": f.format} for f in facts]


def _on_bad_row(block: Block) -> tuple[Any, int | None]:
    match block.get("on_bad_row"):
        case MethodV(name="skip", args=args):
            most = args.get("max", 0)
            return "skip", int(most) if most is not None else None
        case _:
            return "error", None


def _evaluation(block: Block, scope: Scope) -> dict[str, Any]:
    found = {name: block.get(name) for name in ("shots", "template", "decoding")}
    return {name: canon_value(value) for name, value in found.items() if value is not None}


# --- targets ---------------------------------------------------------------------------------------------------------


@lowers("export")
def export(block: Block, scope: Scope) -> Any:
    return lowered(
        block,
        scope,
        path=_place(block, scope.program.variant),
        split=_split(block),
        license=text(block, "license") or scope.stated("license"),
        title=text(block, "title") or scope.stated("title"),
        schema_columns=scope.schema(block),
    )


def _place(block: Block, variant: str | None) -> str | None:
    """The folder of an export, relative to the project; in the recipe it is relative to the recipe.

    A variant has folders of its own beside those of the recipe, unless it names one, so that no run replaces another's
    data.
    """
    written = block.attrs.get("path")
    if written is None or not isinstance(written.value, TextV):
        return None
    folder = posixpath.join(posixpath.dirname(block.span.file), written.value.value)
    folder = posixpath.normpath(folder)
    if variant is None or written.origin.startswith("variant:"):
        return folder
    return f"{folder}-{variant_part(variant)}"


def _split(block: Block) -> dict[str, str]:
    value = block.get("split")
    if not isinstance(value, RecordV):
        return {}
    return {k: str(v.value) for k, v in sorted(value.fields.items()) if isinstance(v, Qty)}


@lowers("train")
def train(block: Block, scope: Scope) -> Any:
    spec: TrainSpec = lowered(
        block,
        scope,
        base=_base(block),
        revision=locked_base(block, scope) or text(block, "revision"),
        average="rows" if text(block, "average") == "rows" else None,
        chat_template=_chat_template(block, scope),
        seed=train_seed(block, scope),
        **_held_out(block),
    )
    return replace(spec, command=command(spec))


def command(spec: TrainSpec) -> list[str]:
    """The `accelerate launch` command line, with `{processes}` and `{node_dir}` left open."""
    from alchemist_runtime.train.launch import command as launch_line

    return list(launch_line(spec))


def train_seed(block: Block, scope: Scope) -> int:
    own = whole(block, "seed")
    return seed(scope) if own is None else own


def seed(scope: Scope) -> int:
    recipe = scope.program.recipe
    return (whole(recipe, "seed") or 0) if recipe is not None else 0


def _base(block: Block) -> str | None:
    match block.get("base"):
        case RefV(target=name):
            return name
        case TextV() as named:
            return base_folder(named) or named.value
        case _:
            return None


def _held_out(block: Block) -> dict[str, Any]:
    found = quantity(block, "eval_share")
    if found is None or found.value == Fraction(0):
        return {"eval_share": None}
    if found.kind == "rows":
        return {"eval_share": None, "eval_rows": int(found.value)}
    return {"eval_share": str(found.value)}


def _chat_template(block: Block, scope: Scope) -> dict[str, str] | None:
    """A template by its digest in `texts`, with what it was taken from; or the model to take it from, with its
    commit.
    """
    match block.get("chat_template"):
        case TemplateV(text=value, taken=taken):
            return dict([taken] if taken else []) | {"text": scope.keep(value)}
        case TextV(value=value):
            found = scope.facts.model(value, None)
            return {"model": value} | ({} if found is None else {"revision": found})
        case _:
            return None


@lowers("evaluate")
def evaluate(block: Block, scope: Scope) -> EvaluateSpec:
    suites = [v.target for v in items(block.get("suites")) if isinstance(v, RefV)]
    return EvaluateSpec(**declared(block, EvaluateSpec, suites=sorted(set(suites))))


@lowers("measure")
def measure(block: Block, scope: Scope) -> MeasureSpec:
    by = block.get("by")
    metrics = [m for m in items(block.get("metrics")) if isinstance(m, MethodV)]
    return MeasureSpec(
        by=by.text if isinstance(by, ExprV) else text(block, "by") or "origin",
        metrics=[scope.component("metrics", m) for m in metrics],
    )
