"""All recipes of a project, with their variants, beside its `recipe.lock`: what they rest on, and what the world says
of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.plan import Plan, TrainSpec

from alchemist_dsl.compiler import has_errors
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.project import lockfile as locks
from alchemist_dsl.project.facts_on_disk import COMMIT, pinned_name
from alchemist_dsl.project.folder import STD, library
from alchemist_dsl.project.lockfile import Change, Fact, Lock, applied, compare, unused
from alchemist_dsl.project.workspace import Compiled, Project, compile_recipe, project_of
from alchemist_dsl.source import SourceFile

Resource = tuple[str, str]  # section, name in it
#: Sections whose facts the hub is asked for, and what it is asked for there.
ASKED: Final[Mapping[str, Any]] = {locks.HUB: "dataset", locks.MODELS: "model", locks.TOKENIZERS: "model"}
#: Sections of which a fact that no recipe rests on may be taken out.
_PRUNED: Final = (locks.FILES, locks.HUB, locks.PYTHON, locks.TOKENIZERS, locks.MODELS, locks.SOURCES, locks.TEACHERS)


@dataclass(frozen=True, slots=True)
class Unasked:
    """A fact that could not be held against the world, and why."""

    section: str
    resource: str
    problem: Problem


@dataclass
class Survey:
    """What recipes rest on. `current`: what was found out. `users`: "RECIPE#BLOCK" by resource."""

    project: Project
    lock: Lock
    current: dict[str, dict[str, Fact]] = field(default_factory=dict)
    users: dict[Resource, set[str]] = field(default_factory=dict)
    problems: list[Diagnostic] = field(default_factory=list)
    sources: dict[str, SourceFile] = field(default_factory=dict)
    recipes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)  # files of the lock that are not on this machine
    unasked: list[Unasked] = field(default_factory=list)
    steps: set[tuple[str, str | None, str]] = field(default_factory=set)  # recipe, variant, step
    imported: set[str] = field(default_factory=set)

    @property
    def changes(self) -> tuple[Change, ...]:
        return compare(self.lock, self.current)

    def unused(self) -> tuple[Change, ...]:
        """Facts that nothing here rests on; to be asked only where all recipes of the project were read."""
        used: dict[str, set[str]] = {s: set(self.current.get(s, {})) for s in _PRUNED}
        for section, name in self.users:
            used[section].add(name)
        figures = self.lock.sections.get(locks.MEASURED, {})
        used[locks.MEASURED] = {k for k, f in figures.items() if self._current(f)}
        return unused(self.lock, used)

    def _current(self, figures: Fact) -> bool:
        """Whether a recipe still has the step; figures that do not say of which recipe they are stay."""
        recipe, variant, node = (figures.get(k) for k in ("recipe", "variant", "node"))
        of_many = (recipe, str(variant).partition("[")[0] + _OF_MANY, node)
        return recipe is None or (recipe, variant, node) in self.steps or of_many in self.steps

    def named(self, name: str) -> set[Resource]:
        """What a name means: a resource as the lock names it, a hub id without its revision, or a block that rests on
        some.
        """
        return {
            resource
            for resource, users in self.users.items()
            if name in (resource[1], *_repo(resource), *_blocks(users))
        }

    def names(self) -> set[str]:
        """Every name that `named` knows."""
        return {
            name for resource, users in self.users.items() for name in (resource[1], *_repo(resource), *_blocks(users))
        }


def _repo(resource: Resource) -> tuple[str, ...]:
    return (split_name(resource[1])[0],) if resource[0] in ASKED else ()


def _blocks(users: Iterable[str]) -> Iterator[str]:
    """A block by its name, and by `RECIPE#NAME`."""
    for user in users:
        yield user
        yield user.rpartition("#")[2]


def split_name(name: str) -> tuple[str, str | None]:
    """`owner/name@revision` as its parts."""
    repo, mark, ref = name.partition("@")
    return repo, ref if mark else None


#: In place of what `any(…)` chooses: any run of a variant that has too many to be looked at one by one.
_OF_MANY: Final = "[*]"


# --- recipes ----------------------------------------------------------------------------------------------------------


def recipes_of(project: Project) -> list[Path]:
    """Every recipe file of a project, but for hidden folders and projects inside it."""
    found = sorted(project.root.rglob("*.recipe"))
    return [
        path
        for path in found
        if path.is_file()
        and not any(p.startswith(".") for p in path.relative_to(project.root).parts)
        and project_of(path).root == project.root
    ]


def survey(project: Project, lock: Lock, recipes: Iterable[Path], *, again: bool = False) -> Survey:
    """Compile recipes with all their variants and collect what they rest on. `again`: hash every file again.

    A file with mistakes that another recipe imports is a part of that one, not a recipe."""
    out = Survey(project, lock)
    wrong: dict[str, Compiled] = {}
    for path in recipes:
        result = compile_recipe(path, here=False, rehash=again, lock=applied(lock, out.changes))
        displayed = project.relative(path.resolve())
        if result.plan is None:  # a promise that the plan breaks is no reason not to pin its files
            wrong[displayed] = result
        else:
            out.recipes.append(displayed)
        _take(out, result, displayed)
        for variant in result.program.variants if result.program is not None and result.plan else ():
            more = compile_recipe(path, here=False, rehash=again, variant=variant, lock=applied(lock, out.changes))
            _take(out, more, displayed)
            if more.plan is None and displayed not in wrong:
                wrong[displayed] = more
    for displayed, result in wrong.items():
        if displayed not in out.imported:
            out.broken.append(displayed)
            out.problems += [d for d in result.diagnostics if has_errors([d])]
    return out


def _take(out: Survey, result: Compiled, shown: str) -> None:
    out.sources |= result.sources
    if result.program is not None:
        out.imported |= {_on_disk(out.project, f) for f in result.program.files} - {shown}
    resources = result.resources
    if resources is None or result.plan is None:
        return
    for section, facts in resources.seen.items():
        out.current.setdefault(section, {}).update(facts)
    out.absent |= resources.absent
    for resource, users in resources.users.items():
        more = _loaded(result.plan, resource) if resource[0] in ASKED else ()
        named = {u for u in (*users, *more) if u}
        out.users.setdefault(resource, set()).update(f"{shown}#{u}" for u in named)
    runs = {result.plan.variant}
    if result.plan.variant and result.program is not None:
        runs |= {f"{v}{_OF_MANY}" for v in result.program.crowded if result.plan.variant.startswith(f"{v}[")}
    out.steps |= {(shown, run, n.id) for run in runs for n in result.plan.nodes}
    for resource, user in _models(result.plan):
        out.users.setdefault(resource, set()).add(f"{shown}#{user}")


def _on_disk(project: Project, file: str) -> str:
    """The path of an imported file; the shipped library may lie in the project."""
    if not file.startswith(STD):
        return file
    return project.relative(library() / f"{file.removeprefix(STD)}.recipe")


def _models(plan: Plan) -> Iterator[tuple[Resource, str]]:
    """Models of the hub that served teachers name with a revision; for those that are loaded here the plan holds a
    commit, and they were asked for by name."""
    for teacher in plan.teachers.values():
        served = teacher.provider != "transformers"
        if served and teacher.model and teacher.revision and "/" in teacher.model:
            yield (locks.MODELS, pinned_name(teacher.model, teacher.revision)), teacher.name


def _loaded(plan: Plan, resource: Resource) -> Iterator[str]:
    """The trainings that start from a model, and the teachers that load it."""
    model = split_name(resource[1])[0]
    yield from (node.id for node, spec in plan.of(TrainSpec) if spec.base == model)
    for teacher in plan.teachers.values():
        if teacher.provider == "transformers" and teacher.model == model:
            yield teacher.name


# --- the hub ----------------------------------------------------------------------------------------------------------


def ask(found: Survey, wanted: Callable[[Resource], bool]) -> None:
    """Ask the hub for what is not known of its datasets and models, and again for what is `wanted`."""
    answers: dict[tuple[str, str, str | None], Fact | Problem] = {}
    down: tuple[str, Problem] | None = None  # the dataset or model at which the hub did not answer
    for section, name in sorted(r for r in found.users if r[0] in ASKED):
        repo, ref = split_name(name)
        known = found.lock.fact(section, name) or {}
        again = wanted((section, name)) and not (ref is not None and COMMIT.fullmatch(ref))
        if not again and isinstance(known.get("revision"), str):
            if "license" in known:
                continue
            ref = known["revision"]
        key = (ASKED[section], repo, ref)
        answer = answers.get(key) or _unreached(down, repo) or _answer(repo, ref, ASKED[section])
        answers[key] = answer
        if isinstance(answer, Problem):
            down = down or ((repo, answer) if answer.code == "A309" else None)
            found.unasked.append(Unasked(section, name, answer))
        else:
            found.current.setdefault(section, {})[name] = answer


def _unreached(down: tuple[str, Problem] | None, repo: str) -> Problem | None:
    """A hub that did not answer once is not asked again for every other name."""
    if down is None:
        return None
    first, problem = down
    return replace(problem, headline=problem.headline.replace(f"`{first}`", f"`{repo}`"))


def _answer(repo: str, ref: str | None, kind: Any) -> Fact | Problem:
    from alchemist_runtime.sources.hub import facts

    try:
        return facts(repo, ref, kind=kind)
    except RunError as error:
        return error.problem


def licences(found: Survey) -> list[tuple[str, str, str, str]]:
    """Sources that declare another licence than the hub's card states: source, declared, dataset, stated."""
    out = []
    for (section, name), users in sorted(found.users.items()):
        fact = found.current.get(section, {}).get(name) or found.lock.fact(section, name) or {}
        stated = str(fact.get("license") or "")
        for user in sorted(users) if section == locks.HUB and stated else ():
            own = found.current.get(locks.SOURCES, {}).get(user, {}).get("license")
            if own and own.casefold() != stated.casefold():
                out.append((user, str(own), name, stated))
    return out
