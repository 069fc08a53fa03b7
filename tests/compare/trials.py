"""Small projects that are compiled and carried out in this process, and compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alchemist_runtime.engine import local
from alchemist_runtime.engine.compare import DataDiff, compare_plans
from alchemist_runtime.engine.context import Context
from alchemist_runtime.schema.plan import Plan

from alchemist_dsl.project.workspace import compile_recipe, project_of


@dataclass
class Trial:
    """A folder with one recipe, in the state of its last edit."""

    root: Path

    @property
    def path(self) -> Path:
        return self.root / "r.recipe"

    def plan(self, text: str) -> Plan:
        """The plan of a recipe."""
        self.path.write_text(text)
        made = compile_recipe(self.path)
        assert made.plan is not None, made.diagnostics
        return made.plan

    def run(self, text: str, *targets: str) -> Plan:
        """Carry a recipe out, up to the targets."""
        plan = self.plan(text)
        project = project_of(self.path)
        local.run(Context(plan, project.root, project.state, project.store), targets or None)
        return plan

    def compared(self, before: Plan, after: Plan, *steps: str, samples: int = 2) -> DataDiff:
        """The data of two plans compared, steps of one name as pairs; all of them without names."""
        old, new = ([n.id for n in p.nodes] for p in (before, after))
        names = steps or tuple(dict.fromkeys([*old, *new]))
        pairs = [(n if n in old else None, n if n in new else None) for n in names]
        return compare_plans(project_of(self.path).store, before, after, pairs, samples=samples)
