"""What a recipe declares and people review beside its keys, as facts of the lock: licences, row schemas, prices."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from alchemist_runtime.schema.plan import Node, Plan, SourceSpec, SuiteSpec, Teacher
from alchemist_runtime.schema.units import decimal

from alchemist_dsl.project import lockfile as locks
from alchemist_dsl.project.lockfile import Fact, Lock, same


def declared(plan: Plan, lock: Lock) -> dict[str, dict[str, Fact]]:
    """Facts of a plan's sources, suites and teachers, by section and `RECIPE#NAME`.

    A variant shares the facts of its recipe; where it says something else, its own stand under `RECIPE@VARIANT#NAME`.
    """
    sources = {n.id: _source(n) for n in plan.nodes if isinstance(n.spec, SourceSpec | SuiteSpec)}
    teachers = {t.name: _teacher(t) for t in plan.teachers.values()}
    found = {locks.SOURCES: sources, locks.TEACHERS: teachers}
    return {section: _named(section, facts, plan, lock) for section, facts in found.items()}


def _named(section: str, facts: Mapping[str, Fact], plan: Plan, lock: Lock) -> dict[str, Fact]:
    recipe = str(plan.recipe.get("path"))
    out: dict[str, Fact] = {}
    for name, fact in facts.items():
        shared, own = f"{recipe}#{name}", f"{recipe}@{plan.variant}#{name}"
        known = lock.fact(section, shared)
        alone = plan.variant is not None and (
            lock.fact(section, own) is not None
            or (known is not None and any(not same(known.get(k), v) for k, v in fact.items()))
        )
        out[own if alone else shared] = fact
    return out


def _source(node: Node) -> dict[str, Any]:
    assert isinstance(node.spec, SourceSpec | SuiteSpec)
    columns = node.columns.get("rows")
    return {"license": node.spec.license, **({"columns": dict(columns)} if columns else {})}


def _teacher(teacher: Teacher) -> dict[str, Any]:
    price = teacher.price
    known = price is not None and not price.free
    return {
        "provider": teacher.provider,
        "model": teacher.model,
        "free": True if price is not None and price.free else None,
        "input": _price(price.input) if known and price is not None else None,
        "output": _price(price.output) if known and price is not None else None,
    }


def _price(per_token: str) -> str:
    return f"${decimal(Fraction(per_token) * 1_000_000)} per 1M tokens"
