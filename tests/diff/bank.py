"""The bank of edits: Markdown with a change of a small project, what `alchemist diff` says of it, and the means to
carry both out.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import rows_of_projects
from alchemist_runtime.engine.compare import DataDiff, compare_plans
from alchemist_runtime.schema.plan import Plan
from alchemist_runtime.storage.store import Store
from click.testing import CliRunner

from alchemist_dsl.cli.run import run as run_command
from alchemist_dsl.comparison.model import Diff, NodeDiff, RecipeDiff
from alchemist_dsl.comparison.report import document
from alchemist_dsl.document.blocks import terminal
from alchemist_dsl.project.lockfile import Lock, dumps
from alchemist_dsl.project.operands import Comparison, Settings, compared, comparison

HERE = Path(__file__).parent
CASES = HERE / "cases"
RECIPE = "r.recipe"
WIDTH = 100
_FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```\n", re.M | re.S)


@dataclass
class Case:
    """One section of a file of cases: an edit of a project, and what the comparison says."""

    title: str
    project: str
    edits: list[tuple[str, str]] = field(default_factory=list)  # file, hunk
    files: dict[str, str] = field(default_factory=dict)  # whole
    rows: dict[str, int] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    expected: dict[str, str] = field(default_factory=dict)

    @property
    def variant(self) -> str | None:
        return self.options.get("variant")

    @property
    def sets(self) -> tuple[str, ...]:
        return (self.options["set"],) if "set" in self.options else ()


def read_cases(path: Path) -> list[Case]:
    """All cases of a file. Its first lines name the project: `Project: chain`, or a recipe that is only compiled."""
    before, *sections = _sections(path.read_text())
    found = re.search(r"^Project: `(.+?)`", before, re.M)
    assert found, path
    return [_case(s, found[1]) for s in sections]


def _sections(text: str) -> list[str]:
    """What stands before the first heading, and each case; a recipe's doc comments are no headings."""
    out, fenced = [""], False
    for line in text.splitlines(keepends=True):
        fenced ^= line.startswith("```")
        if line.startswith("## ") and not fenced:
            out.append("")
        out[-1] += line
    return out


def _case(section: str, project: str) -> Case:
    own = re.search(r"^Project: `(.+?)`", section, re.M)
    case = Case(section.splitlines()[0][3:].strip(), own[1] if own else project)
    for kind, argument, body in _FENCE.findall(section):
        match kind:
            case "diff":
                case.edits.append((argument.strip(), body))
            case "recipe":
                case.files[argument.strip()] = body
            case "rows":
                case.rows = {k: int(v) for k, v in (x.split(" = ") for x in body.splitlines())}
            case "options":
                case.options = dict(line.split(" ", 1) for line in body.splitlines())
            case _:
                case.expected[kind] = body
    return case


def edited(text: str, hunks: str) -> str:
    """A text with hunks like those of a unified diff, without numbers; `...` parts them."""
    for hunk in re.split(r"^\.\.\.\n", hunks, flags=re.M):
        old = [x[1:] for x in hunk.splitlines() if x[:1] in "- "]
        new = [x[1:] for x in hunk.splitlines() if x[:1] in "+ "]
        found, wanted = text.splitlines(), old
        places = [i for i in range(len(found)) if found[i : i + len(wanted)] == wanted]
        if not wanted:
            text += "\n".join(new) + "\n"
            continue
        assert len(places) == 1, f"{len(places)} places hold:\n{hunk}"
        at = places[0]
        text = "\n".join([*found[:at], *new, *found[at + len(wanted) :]]) + "\n"
    return text


# --- projects ---------------------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """A folder with a project that was carried out, `before`, and `after`, a copy with an edit."""

    folder: Path
    name: str
    known: dict[str, Made] = field(default_factory=dict)  # by the case, as text

    def __post_init__(self) -> None:
        before = self.folder / "before"
        if self.own:
            shutil.copytree(HERE / "projects" / self.name, before)
            rows_of_projects.write(before)
        else:
            shutil.copytree(HERE.parents[1] / "recipes", before / "recipes")
            (before / "recipe.lock").write_text(dumps(Lock()))
        if self.offline:
            self.run("before")

    @property
    def recipe(self) -> str:
        return RECIPE if self.own else f"recipes/{self.name}.recipe"

    @property
    def own(self) -> bool:
        """Whether it is one of the bank's projects; else it is a recipe that comes with alchemist."""
        return (HERE / "projects" / self.name).is_dir()

    @property
    def offline(self) -> bool:
        """Whether it is carried out here: no money, no training."""
        return self.own and self.name != "trains"

    def edit(self, case: Case) -> None:
        """Make `after` anew."""
        after = self.folder / "after"
        shutil.rmtree(after, ignore_errors=True)
        shutil.copytree(self.folder / "before", after, symlinks=True)
        for name, text in case.files.items():
            (after / name).parent.mkdir(parents=True, exist_ok=True)
            (after / name).write_text(text)
        for name, hunks in case.edits:
            path = after / (name or self.recipe)
            path.write_text(edited(path.read_text(), hunks))
        if case.rows:
            rows_of_projects.write(after, case.rows)

    def compare(self, case: Case) -> Made:
        """The comparison of both folders, or of a recipe with its variant."""
        with chdir(self.folder):
            sides = [f"{x}/{self.recipe}" for x in (["after"] if case.variant else ["before", "after"])]
            found = comparison(sides, Settings(case.sets, None, case.variant))
            return Made(found, compared(found))

    def compared(self, case: Case, *, anew: bool = False) -> Made:
        """What the comparison of a case says; `anew`: with `after` made, for what comes next."""
        if anew or repr(case) not in self.known:
            self.edit(case)
            self.known[repr(case)] = self.compare(case)
        return self.known[repr(case)]

    def run(self, side: str, *options: str) -> dict[str, dict[str, Any]]:
        """Carry a side out; what became of each step."""
        done = CliRunner().invoke(run_command, [str(self.folder / side / RECIPE), "--format", "json", *options])
        assert done.exit_code == 0, done.output
        return {n["node"]: n for n in json.loads(done.stdout)["nodes"]}

    def refused(self, side: str) -> str:
        """What is said where a recipe is not carried out."""
        done = CliRunner().invoke(run_command, [str(self.folder / side / RECIPE)])
        assert done.exit_code == 1, done.output
        return done.output

    def data(self, made: Made) -> DataDiff:
        """The rows of both sides compared, by the store of `after`, which holds both."""
        old, new = made.plans
        by_new = {n.id: n.before_id for n in made.recipe.nodes if n.before_id}
        before, after = ([n.id for n in p.nodes] for p in (old, new))
        pairs = [(by_new.get(n, n) if by_new.get(n, n) in before else None, n) for n in after]
        return compare_plans(Store(self.folder / "after" / ".alchemist"), old, new, pairs, samples=0)


@dataclass(frozen=True)
class Made:
    """A comparison."""

    found: Comparison
    diff: Diff

    @cached_property
    def recipe(self) -> RecipeDiff:
        """The only recipe that differs; an empty one where none does."""
        if not self.diff.recipes:
            return RecipeDiff(path=RECIPE, status="same")
        assert len(self.diff.recipes) == 1
        return self.diff.recipes[0]

    @property
    def readable(self) -> bool:
        return self.recipe.status != "unreadable"

    @property
    def plans(self) -> tuple[Plan, Plan]:
        before, after = self.found.pairs[0]
        assert before is not None and after is not None and before.plan and after.plan
        return before.plan, after.plan

    def blocks(self) -> dict[str, str]:
        """What the case file holds: what it means, in a form that wording does not move, and what is printed."""
        return {
            "means": "".join(f"{x}\n" for x in meaning(self.recipe)),
            "says": "".join(f"{x}\n".replace(" \n", "\n") for x in terminal(document(self.diff), WIDTH)),
        }


def meaning(r: RecipeDiff) -> Iterator[str]:
    """Categories, whether a step changed itself, what is weaker, and the values that differ."""
    yield r.category if r.status in ("changed", "same") else r.status
    yield from (f"weaker {w.kind}: {w.node}" for w in r.relaxed)
    yield from (f"param {c.path}: {_sides(c)}" for c in r.params)
    yield from (f"recipe {c.path}: {_sides(c)}" for c in r.recipe)
    for x in r.resources:
        yield f"{x.kind} {x.id}: {x.status} {x.category}, used by {', '.join(x.used_by) or 'none'}"
        yield from (f"  {c.path} ({c.category})" for c in x.changes)
    for n in r.nodes:
        yield f"{n.kind} {n.id}: {', '.join(_node(n))}"
        yield from (f"  {c.path} ({c.category}): {_sides(c)}" for c in n.changes)
    yield from (f"{d.kind} {d.name}: {d.status} {d.category}" for d in r.declarations)
    yield from (f"check {c.id}: {_verdict(c.before)} -> {_verdict(c.after)}" for c in r.checks)
    if r.status == "changed":
        yield f"unchanged: {r.unchanged}"


def _node(n: NodeDiff) -> Iterator[str]:
    yield n.category if n.status == "changed" else n.status
    if n.before_id is not None:
        yield f"was {n.before_id} (by {n.match})"
    if not n.direct:
        yield "indirect"
    if n.because:
        yield f"because of {' '.join(n.because)}"
    if n.may_stop:
        yield "may stop"
    if n.action is not None:
        yield f"-> {n.action}"


def _sides(change: Any) -> str:
    if change.words:
        return f"a text, {change.tokens[0]} -> {change.tokens[1]} tokens"
    if change.path.startswith("file."):
        return "other content" if change.before and change.after else "came" if change.after else "went"
    return f"{change.before or 'none'} -> {change.after or 'none'}"


def _verdict(side: Mapping[str, str] | None) -> str:
    return "none" if side is None else side["verdict"]


def rewrite(path: Path, made: Sequence[Mapping[str, str]]) -> None:
    """Put what is said now into the expected blocks of a file."""
    before, *sections = _sections(path.read_text())
    out = [before]
    for section, blocks in zip(sections, made, strict=True):
        for kind, body in blocks.items():
            fence = f"```{kind}\n{body}```\n"
            if f"```{kind}\n" in section:
                section = re.sub(rf"^```{kind}\n.*?^```\n", lambda _, f=fence: f, section, flags=re.M | re.S)
            else:
                section = section.rstrip("\n") + "\n\n" + fence + "\n"
        out.append(section)
    path.write_text("".join(out).rstrip("\n") + "\n")
