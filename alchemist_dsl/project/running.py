"""Carries out a compiled recipe: with consent to what it costs and sends, and with the verdicts of its checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any, Literal

from alchemist_runtime.engine import local
from alchemist_runtime.engine.context import Context, Options
from alchemist_runtime.engine.verdicts import judge_check
from alchemist_runtime.schema.plan import Check, Node

from alchemist_dsl.project.consent import Ask, agree_to_cost, agree_to_hosts
from alchemist_dsl.project.workspace import Compiled

Verdict = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run. `verdicts`: of every check that was reached, with the value found where there is one."""

    result: local.Result
    verdicts: Sequence[tuple[Check, Verdict, str | None]] = ()
    not_run: frozenset[str] = field(
        default_factory=frozenset
    )  # steps that this version does not carry out, or need one

    @property
    def ok(self) -> bool:
        """Whether everything was built and no check says no."""
        broken = any(v == "fail" and c.severity == "error" for c, v, _ in self.verdicts)
        return not (self.result.failed or self.not_run or broken)

    @property
    def steps(self) -> Mapping[str, local.Done]:
        """What became of every step."""
        return {d.node: d for d in self.result.done}


def prepare(
    compiled: Compiled, options: Options, *, upto: Sequence[str] = (), hosts: Sequence[str] = (), ask: Ask | None = None
) -> Context:
    """The context of a run, once somebody has agreed to what it spends and to where it sends keys.

    `ask` puts a question to a person; without it only budgets and `hosts` agree. Raises RunError A702, A709, A713."""
    assert compiled.plan is not None
    plan, project = compiled.plan, compiled.project
    ctx = Context(plan, project.root, project.state, project.store, options=options)
    most = None if options.budget is None else Fraction(options.budget)

    def consent(nodes: Sequence[Node], ask: Ask | None) -> None:
        agree_to_cost(plan, nodes, most, ask)
        agree_to_hosts(plan, project.root, nodes, hosts, ask)

    if options.replay is None:
        consent(local.unfinished(ctx, list(upto) or None), ask)
        ctx.agree = partial(consent, ask=None)
    return ctx


def record(compiled: Compiled, ctx: Context, result: local.Result, *, locked: bool) -> None:
    """After the steps: outputs point at this run's results, and the lock takes facts and figures over."""
    if not ctx.options.limited and not result.failed:
        local.point_at(ctx, result)
    if not locked and not result.failed:  # the lock stays as it is, figures too
        compiled.after_run(result)


def judged(ctx: Context, result: local.Result) -> Ran:
    """The result with the verdicts of the checks whose steps are built."""
    stuck = frozenset(d.node for d in result.done if d.action == "not run")
    verdicts: list[tuple[Check, Any, str | None]] = [
        (c, "unknown", None) if stuck & set(c.reads) else (c, *judge_check(ctx, c))
        for c in ctx.plan.checks
        if stuck & set(c.reads) or _reached(ctx, c.reads)
    ]
    if ctx.options.limited:  # a run that leaves rows out breaks no promise
        verdicts = [(c, "unknown" if v == "fail" else v, value) for c, v, value in verdicts]
    return Ran(result, verdicts, stuck)


def _reached(ctx: Context, reads: list[str]) -> bool:
    """Whether everything that a check reads is built: after `--upto` a part of the promises is not reached."""
    return all(
        ctx.store.manifest(ctx.node(name).key) is not None for name in reads if name in {n.id for n in ctx.plan.nodes}
    )
