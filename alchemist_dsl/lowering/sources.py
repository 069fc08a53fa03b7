"""Sources and suites: where rows come from, pinned by what the lock knows."""

from __future__ import annotations

from typing import Any

from alchemist_runtime.schema.plan import Method, SourceSpec, SuiteSpec

from alchemist_dsl.ir import Block, MethodV
from alchemist_dsl.lowering.canonical import canon_value
from alchemist_dsl.lowering.scope import Scope, salt
from alchemist_dsl.lowering.values import declared, flag, text, texts


def reader_name(block: Block) -> str:
    """The component of the family `sources` that reads a block: hub, files, python or missing."""
    for name in ("missing", "hub", "python", "files"):
        if block.get(name) is not None:
            return name
    return "missing"


def source(block: Block, scope: Scope) -> SourceSpec:
    on_bad, max_bad = _on_bad_row(block)
    return SourceSpec(
        **declared(
            block,
            SourceSpec,
            **_read(block, scope),
            salt=source_salt(block),
            run_limit=scope.options.limit,
            on_bad_row=on_bad,
            max_bad=max_bad,
            rules=scope.rules(block),
            schema_columns=scope.schema(block),
        )
    )


def suite(block: Block, scope: Scope) -> SuiteSpec:
    return SuiteSpec(**declared(block, SuiteSpec, **_read(block, scope), evaluation=_evaluation(block, scope)))


def _read(block: Block, scope: Scope) -> dict[str, Any]:
    """What sources and suites have alike."""
    return {
        "name": block.name,
        "reader": reader(block, scope),
        "files": files(block, scope),
        "columns": dict(scope.facts.columns(block) or {}),
        "sets": scope.sets(block),
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
