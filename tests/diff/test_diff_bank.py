"""The bank of edits: what each is said to mean, and that a run afterwards does just that."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.schema.plan import Estimate
from bank import CASES, Bench, Case, Made, read_cases, rewrite
from jsonschema import Draft202012Validator

from alchemist_dsl.comparison.compare import compare, flows
from alchemist_dsl.comparison.flows import Flow
from alchemist_dsl.comparison.model import Diff
from alchemist_dsl.comparison.report import document
from alchemist_dsl.document.blocks import markdown, terminal

SCHEMA = Draft202012Validator(json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "diff.json").read_text()))
FILES = sorted(CASES.glob("*.md"))
GOLDEN = os.environ.get("GOLDEN") == "write" or os.environ.get("UPDATE_GOLDEN") == "1"
#: Kinds that leave no rows of their own in the store.
_ENDS = ("export", "train", "evaluate", "measure")


def _all() -> list[object]:
    found = []
    for path in FILES:
        for case in read_cases(path):
            found.append(pytest.param(case, id=f"{path.stem}: {case.title}"))
    return found


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    """A project that was carried out, once for all its cases."""
    made: dict[str, Bench] = {}

    def get(name: str) -> Bench:
        if name not in made:
            made[name] = Bench(tmp_path_factory.mktemp("bank"), name)
        return made[name]

    return get


@pytest.fixture(scope="session", autouse=GOLDEN)
def _written(bench: Callable[[str], Bench]) -> None:
    for path in FILES:
        made = []
        for case in read_cases(path):
            place = bench(case.project)
            place.edit(case)
            made.append(place.compare(case).blocks())
        rewrite(path, made)


def test_the_bank_is_large() -> None:
    assert sum(len(read_cases(p)) for p in FILES) >= 90


@pytest.mark.parametrize("case", _all())
def test_what_an_edit_is_said_to_mean(case: Case, bench: Callable[[str], Bench]) -> None:
    place = bench(case.project)
    made = place.compared(case, anew=True)
    assert made.readable, made.recipe.messages
    if not GOLDEN:
        assert made.blocks() == case.expected
    broken = any(c.after and c.after["verdict"] == "fail" for c in made.recipe.checks)
    if place.offline and broken:
        assert "A901" in place.refused("after")
    elif place.offline and not case.variant:
        Truth(place, case, made).holds()


@pytest.mark.parametrize("case", _all()[::3])
def test_the_other_way_round_an_edit_means_the_opposite(case: Case, bench: Callable[[str], Bench]) -> None:
    before, after = bench(case.project).compared(case).found.pairs[0]
    assert before is not None and after is not None
    assert compare(before, before).status == compare(after, after).status == "same"
    there, back = compare(before, after), compare(after, before)
    opposite = {"added": "removed", "removed": "added", "extending": "narrowing", "narrowing": "extending"}
    turned = {n.before_id or n.id: n for n in back.nodes}
    assert {n.id for n in there.nodes} == {n.before_id or n.id for n in back.nodes}
    for node in there.nodes:
        other = turned[node.id]
        assert (opposite.get(node.status, node.status), node.direct) == (other.status, other.direct)
        if node.status == "changed":
            assert opposite.get(node.category, node.category) == other.category, node.id
        mine = {c.path: (c.before, c.after) for c in node.changes}
        theirs = {c.path: (c.after, c.before) for c in other.changes}
        assert mine == theirs


@pytest.mark.parametrize("case", _all()[::3])
def test_every_form_can_be_written(case: Case, bench: Callable[[str], Bench]) -> None:
    made = bench(case.project).compared(case).diff
    SCHEMA.validate(json.loads(made.model_dump_json(exclude_none=True)))
    assert Diff.model_validate_json(made.model_dump_json(exclude_none=True)) == made
    assert "\n".join(markdown(document(made))) and terminal(document(made, everything=True), 60, color=True)


# --- what really happens ----------------------------------------------------------------------------------------------


class Truth:
    """A comparison against what a run of the edited recipe does and makes."""

    def __init__(self, place: Bench, case: Case, made: Made) -> None:
        self.case, self.made = case, made
        before, after = made.found.pairs[0]
        assert before is not None and after is not None
        self.flows = flows(before, after)
        options = [x for text in case.sets for x in ("--set", text)]
        self.done = place.run("after", *options)
        self.nodes = {n.id: n for n in made.recipe.nodes if n.status != "removed"}
        if not case.sets:
            self.data = {s.after: s for s in place.data(made).steps if s.after}

    def holds(self) -> None:
        self.totals()
        if self.case.sets:  # of both sides: the base was not carried out with it
            return
        self.nothing_else_is_built()
        for name, node in self.nodes.items():
            self.action(name, node)
            self.counts(name, node)
        for name in self.flows:
            self.rows(name)
        for name, node in self.nodes.items():
            self.category(name, node)
        self.stops()

    def action_of(self, name: str) -> str:
        """What became of a step; one that nobody had to look at was there."""
        return self.done[name]["action"] if name in self.done else "reused"

    def nothing_else_is_built(self) -> None:
        for name in self.done:
            if name not in self.nodes:
                assert self.action_of(name) in ("reused", "not run"), (name, "is not in the diff")

    def action(self, name: str, node: Any) -> None:
        done = self.action_of(name)
        match node.action:
            case "reuse":
                assert done in ("reused", "equal"), (name, done)
            case "build" | "extend":
                assert done in ("built", "equal"), (name, done)
            case "skip":
                assert done == "not run", (name, done)
        if node.category in ("cosmetic", "metadata") and node.kind != "export":  # which is put elsewhere
            assert done in ("reused", "equal"), (name, node.category, done)

    def counts(self, name: str, node: Any) -> None:
        done = self.done.get(name)
        if done is None or done["action"] in ("reused", "not run"):
            assert node.calls_new is None or node.calls_new.value == "0", (name, node.calls_new)
            return
        agrees(node.rows.after, done["rows"], f"rows of {name}")
        if node.calls_new is not None and done["action"] == "built":
            agrees(node.calls_new, done["figures"]["calls_new"], f"new calls of {name}")
            agrees(node.calls_cached, done["figures"]["calls_cached"], f"cached calls of {name}")
        if node.calls_new is not None and done["action"] == "equal":
            agrees(node.calls_new, 0, f"new calls of {name}, which is equal")

    def rows(self, name: str) -> None:
        """What is proved of every port is so."""
        step = self.data[name]
        if step.kind in _ENDS:
            return
        proved = self.flows[name]
        for port in step.ports:
            flow: Flow = getattr(proved, port.port)
            where = f"{name}.{port.port}"
            match flow.kind:
                case "same":
                    assert (port.added, port.removed, port.changed) == (0, 0, 0), (where, flow)
                case "grow":
                    assert (port.removed, port.changed) == (0, 0), (where, flow)
                case "shrink":
                    assert (port.added, port.changed) == (0, 0), (where, flow)
                case "content":
                    assert (port.added, port.removed) == (0, 0), (where, flow)
                    differ = {c.name for c in port.columns if c.changed}
                    assert differ <= flow.columns, (where, differ - flow.columns)

    def category(self, name: str, node: Any) -> None:
        """After `extending` the old rows are all there as they were, after `narrowing` there are no other ones."""
        step = self.data[name]
        rows = next((p for p in step.ports if p.port == "rows"), None)
        if rows is None or step.kind in _ENDS or node.status != "changed":
            return
        if node.category == "extending":
            assert rows.removed == 0, (name, rows)
            assert rows.changed == 0 or self.in_place(name), (name, rows)
        if node.category == "narrowing":
            assert rows.added == 0, (name, rows)
            assert rows.changed == 0 or self.in_place(name), (name, rows)

    def in_place(self, name: str) -> bool:
        """Whether a step changes rows where they stand: then more or fewer of them are changed."""
        node = next(n for n in self.made.plans[1].nodes if n.id == name)
        return getattr(node.spec, "mode", None) == "replace"

    def stops(self) -> None:
        """Where nothing came of a change and the steps behind were left as they are, it was said that it may stop."""
        for name, node in self.nodes.items():
            if self.action_of(name) != "equal" or node.action == "reuse":
                continue
            for cause in (self.nodes[b] for b in node.because):
                if cause.direct and not cause.because and not self.answers_anew(cause):
                    assert cause.may_stop or cause.action == "reuse", (cause.id, "stopped unannounced", name)

    @staticmethod
    def answers_anew(node: Any) -> bool:
        """Whether a teacher answers new questions: that the answers are the old ones is chance, or the rules teacher's
        way.
        """
        return node.calls_new is not None and node.calls_new.value != "0"

    def totals(self) -> None:
        """The sum of the new calls is that of the run."""
        built = [d for d in self.done.values() if d["action"] == "built"]
        new = sum(d["figures"].get("calls_new", 0) for d in built)
        agrees(self.made.recipe.totals.calls_new, new, "all new calls")


def agrees(said: Estimate | None, real: int | None, what: str) -> None:
    """A count that is said to be exact is the real one; of any other the real one lies in its range."""
    if said is None or real is None:
        return
    if said.basis == "exact" and said.low == said.value == said.high:
        assert Fraction(said.value or 0) == real, (what, said, real)
        return
    assert said.low is None or Fraction(said.low) <= real, (what, said, real)
    assert said.high is None or real <= Fraction(said.high), (what, said, real)
