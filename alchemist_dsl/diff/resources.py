"""What steps refer to by name, teachers and prompts: told once, with the steps that use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alchemist_runtime.schema.plan import Plan

from alchemist_dsl.diff.changes import changes
from alchemist_dsl.diff.effects import worst
from alchemist_dsl.diff.model import Category, ResourceDiff
from alchemist_dsl.explain.description import Facts, prompt, teacher


def resources_between(old: Plan, new: Plan) -> Iterator[ResourceDiff]:
    """Teachers and prompts by name, once each, with the steps that use them; one that is only called otherwise is
    one.
    """
    teachers = (
        {k: t.identity_key for k, t in old.teachers.items()},
        {k: t.identity_key for k, t in new.teachers.items()},
    )
    for before, after in _by_name(*teachers):
        yield from _resource(
            "teacher",
            (before, after),
            None if before is None else teacher(old.teachers[before]),
            None if after is None else teacher(new.teachers[after]),
            _users(old if after is None else new, "teacher", after or before),
        )
    prompts = {k: p.key for k, p in old.prompts.items()}, {k: p.key for k, p in new.prompts.items()}
    for before, after in _by_name(*prompts):
        yield from _resource(
            "prompt",
            (before, after),
            None if before is None else prompt(old.prompts[before], old),
            None if after is None else prompt(new.prompts[after], new),
            _users(old if after is None else new, "prompt", after or before),
        )


def _by_name(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[tuple[str | None, str | None]]:
    """Names on both sides: the same one, else of an equal key, else of one side alone. `old`, `new`: keys by name."""
    left = {key: name for name, key in old.items() if name not in new}
    for name, key in new.items():
        yield (name if name in old else left.pop(key, None)), name
    yield from ((name, None) for name in left.values())


def _resource(
    kind: str, names: tuple[str | None, str | None], old: Facts | None, new: Facts | None, users: list[str]
) -> Iterator[ResourceDiff]:
    before, after = names
    found = [] if old is None or new is None else changes(old, new)
    if before == after and not found:
        return
    status = "added" if old is None else "removed" if new is None else "changed"
    category: Category = worst([c.category for c in found]) if found else "metadata"
    yield ResourceDiff.model_validate(
        {
            "id": after or before,
            "before_id": before if after is not None and before not in (None, after) else None,
            "kind": kind,
            "status": status,
            "category": category,
            "changes": found,
            "used_by": users,
        }
    )


def _users(plan: Plan, kind: str, name: str | None) -> list[str]:
    return [n.id for n in plan.nodes if getattr(n.spec, kind, None) == name]
