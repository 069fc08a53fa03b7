"""What a recipe is for: datasets on disk, trained models, evaluations, measurements."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from fractions import Fraction
from typing import Any

from alchemist_runtime.schema.plan import EvaluateSpec, ExportSpec, MeasureSpec, TrainSpec, variant_part

from alchemist_dsl.ir import Block, ExprV, MethodV, Qty, RecordV, RefV, TemplateV, TextV
from alchemist_dsl.lowering.base_models import base_folder
from alchemist_dsl.lowering.scope import Scope, salt
from alchemist_dsl.lowering.values import declared, exact, items, method, quantity, text, whole


def export(block: Block, scope: Scope) -> ExportSpec:
    return ExportSpec(
        **declared(
            block,
            ExportSpec,
            path=_place(block, scope.program.variant),
            split=_split(block),
            license=text(block, "license") or scope.stated("license"),
            title=text(block, "title") or scope.stated("title"),
            schema_columns=scope.schema(block),
            salt=salt(block),
        )
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
    return {k: exact(v.value) for k, v in sorted(value.fields.items()) if isinstance(v, Qty)}


def train(block: Block, scope: Scope) -> TrainSpec:
    spec = TrainSpec(
        **declared(
            block,
            TrainSpec,
            base=_base(block),
            revision=locked_base(block, scope) or text(block, "revision"),
            average="rows" if text(block, "average") == "rows" else None,
            chat_template=_chat_template(block, scope),
            seed=train_seed(block, scope),
            **_held_out(block),
        )
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


def locked_base(block: Block, scope: Scope, name: str = "base") -> str | None:
    """The commit that the lock pins a model of the hub to; None where the recipe names one itself, or nobody knows
    it.
    """
    value, written = block.get(name), text(block, "revision")
    if (
        not isinstance(value, TextV)
        or base_folder(value)
        or (name == "base" and method(block, "init").name == "scratch")
    ):
        return None
    found = scope.facts.model(value.value, written)
    return None if found == written else found


def _held_out(block: Block) -> dict[str, Any]:
    found = quantity(block, "eval_share")
    if found is None or found.value == Fraction(0):
        return {"eval_share": None}
    if found.kind == "rows":
        return {"eval_share": None, "eval_rows": int(found.value)}
    return {"eval_share": exact(found.value)}


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


def evaluate(block: Block, scope: Scope) -> EvaluateSpec:
    suites = [v.target for v in items(block.get("suites")) if isinstance(v, RefV)]
    return EvaluateSpec(**declared(block, EvaluateSpec, suites=sorted(set(suites))))


def measure(block: Block, scope: Scope) -> MeasureSpec:
    by = block.get("by")
    metrics = [m for m in items(block.get("metrics")) if isinstance(m, MethodV)]
    return MeasureSpec(
        by=by.text if isinstance(by, ExprV) else text(block, "by") or "origin",
        metrics=[scope.component("metrics", m) for m in metrics],
    )
