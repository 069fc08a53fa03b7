"""`alchemist why`: every ingredient of a step's key, what differs from the last run, and what would run again because
of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from alchemist_runtime.schema.plan import Node, Plan, to_json

from alchemist_dsl.cli.options import RecipeOptions, format_option, recipe_options
from alchemist_dsl.comparison.words import word_diff
from alchemist_dsl.document.blocks import Block, Code, Fold, Item, Paragraph, terminal
from alchemist_dsl.document.text import Sign, changed_lines, colored, plural
from alchemist_dsl.explain.staleness import TEMPLATES, Past, Remembered, edges_of, files_of, is_file, is_input, roles_of
from alchemist_dsl.explain.wording import path_words, short, value_words

if TYPE_CHECKING:
    from alchemist_runtime.schema.plan import NowNode, Reason

    from alchemist_dsl.explain.staleness import Cause, Step
    from alchemist_dsl.project.workspace import Compiled


@click.command()
@click.argument("node", required=False)
@click.argument("recipe", required=False, type=click.Path(path_type=Path))
@click.option("--rerun", is_flag=True, help="Every step that would run again, by what it comes from.")
@format_option()
@recipe_options()
def why(node: str | None, recipe: Path | None, rerun: bool, format_: str, options: RecipeOptions) -> None:
    """Say why a run of RECIPE would build or reuse NODE; with --rerun, why anything would run again.

    RECIPE may be left out where the folder holds only one: `alchemist why NODE`, `alchemist why --rerun`."""
    from alchemist_dsl.cli.compile import terminal_width
    from alchemist_dsl.cli.output import compiled_or_exit, exit_code
    from alchemist_dsl.cli.show import find_node

    found = _recipe(node, recipe, rerun)
    result = compiled_or_exit(found, warnings=False, **options.arguments())
    if result.plan is None:
        sys.exit(exit_code(result))
    history = _History(result)
    if rerun:
        data, blocks = rerun_data(result.plan, history), rerun_document(result.plan, history)
    else:
        displayed = find_node(result.plan, node or "")
        data, blocks = node_data(history, result.plan, displayed), node_document(history, result.plan, displayed)
    if format_ == "json":
        click.echo(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        click.echo("\n".join(terminal(blocks, terminal_width(), colored(sys.stdout))))


def _recipe(node: str | None, recipe: Path | None, rerun: bool) -> Path:
    """The recipe that is meant; a usage error where that is not clear."""
    from alchemist_dsl.cli.output import only_recipe

    if rerun and recipe is not None:
        raise click.UsageError(
            "--rerun tells of all steps: `alchemist why --rerun RECIPE`; for one step leave --rerun out"
        )
    if not rerun and node is None:
        raise click.UsageError(
            "name a step: `alchemist why NODE`; or all that would run again: `alchemist why --rerun`"
        )
    found = Path(node) if rerun and node else recipe or only_recipe(Path())
    if found is None:
        form = "--rerun" if rerun else "NODE"
        raise click.UsageError(f"this folder does not hold exactly one recipe; name it: `alchemist why {form} RECIPE`")
    return found


class _History:
    """What earlier runs of a project recorded, read once."""

    def __init__(self, result: Compiled) -> None:
        from alchemist_dsl.project.workspace import last_records, past, read_runs

        assert result.plan is not None
        records = read_runs(result.project)
        self.made = result
        self.past = past(records)
        self.last = last_records(records, result.plan)
        self.causes = self._causes(result.plan)

    def _causes(self, plan: Plan) -> tuple[Cause, ...]:
        from alchemist_dsl.explain.staleness import causes

        return causes(plan, self.made.ingredients, self.last, self.past)

    def texts(self, plan: Plan, *tables: Mapping[str, Any]) -> dict[str, str]:
        """The templates that ingredients name by digest, as far as they are at hand."""
        from alchemist_dsl.explain.staleness import TEMPLATES
        from alchemist_dsl.project.workspace import kept_text

        known = dict(plan.texts)
        for digest in {str(t[p]) for t in tables for p in TEMPLATES & t.keys()} - known.keys():
            text = kept_text(self.made.project, digest)
            if text is not None:
                known[digest] = text
        return known


def node_data(history: _History, plan: Plan, node: Node) -> dict[str, Any]:
    """The same as JSON: action, reasons, causes, ingredients now and before, and the nodes that would follow."""
    last, now = history.last.get(node.id), history.made.ingredients[node.id]
    doing = _doing(plan, node)
    before = {} if last is None else last.ingredients
    return {
        "node": node.id,
        "key": node.key,
        "action": doing.action if doing else None,
        "reasons": [to_json(r, without_none=True) for r in doing.reasons] if doing else [],
        "causes": [_cause(c, s) for c in history.causes for s in c.steps if s.node == node.id],
        "ingredients": dict(now),
        "before": (
            None
            if last is None
            else {"key": last.key, "run": last.run, "ingredients": dict(before), "files": dict(last.files)}
        ),
        "texts": history.texts(plan, now, before),
        "then": following(plan, node),
    }


def _cause(cause: Cause, step: Step) -> dict[str, Any]:
    return {
        "root": cause.root or step.node,
        "reasons": [to_json(r, without_none=True) for r in cause.reasons],
        "words": _because(cause),
        "chain": list(step.chain),
    }


def node_document(history: _History, plan: Plan, node: Node) -> list[Block]:
    """Describe a step: what a run would do and why, what its result is made of, and what would follow."""
    last, now = history.last.get(node.id), history.made.ingredients[node.id]
    texts = history.texts(plan, now, {} if last is None else last.ingredients)
    view = View(plan, node, now, last, history.past, texts)
    return [
        *_verdict(plan, node, last, history),
        Fold("what its result is made of:", list(_ingredients(view))),
        *_then(plan, node),
    ]


# --- all that would run again -----------------------------------------------------------------------------------------


def rerun_data(plan: Plan, history: _History) -> dict[str, Any]:
    """All that would run again, by cause, as JSON."""
    doing = {n.id: n.action for n in plan.now.nodes} if plan.now else {}
    return {
        "steps": len(plan.nodes),
        "rerun": [n.id for n in plan.nodes if doing.get(n.id) in ("build", "extend")],
        "causes": [
            {
                "root": c.root,
                "reasons": [to_json(r, without_none=True) for r in c.reasons],
                "words": _because(c),
                "steps": [{"node": s.node, "action": doing.get(s.node), "chain": list(s.chain)} for s in c.steps],
            }
            for c in history.causes
        ],
    }


def rerun_document(plan: Plan, history: _History) -> list[Block]:
    """Describe all that would run again, by cause."""
    again = [n for n in plan.now.nodes if n.action in ("build", "extend")] if plan.now else []
    total = plural(len(plan.nodes), "step")
    if not again:
        return [Paragraph(f"nothing would run again: of {total} every result that is needed is there")]
    seen: set[str] = set()
    out: list[Block] = [Paragraph(f"{len(again)} of {total} would run")]
    for cause in history.causes:
        names = [s.node for s in cause.steps]
        new, old = [n for n in names if n not in seen], [n for n in names if n in seen]
        items = [Item(", ".join(new))] if new else []
        items += [Item(f"{'and ' if new else ''}as above: {', '.join(old)}")] if old else []
        out.append(Fold(f"because {_because(cause)}:", items))
        seen |= set(names)
    return out


def _because(cause: Cause) -> str:
    """A cause in words, with the step that it is in."""
    from alchemist_dsl.explain.wording import reason

    if cause.root is None:
        (only,) = cause.reasons
        return _COMMON.get(only.code, reason(only))
    return f"of `{cause.root}`: {'; '.join(_words(r) for r in cause.reasons)}"


_COMMON = {
    "never_built": "they were never built",
    "output_missing": "their results are gone",
    "output_incomplete": "their results are incomplete",
    "cache_evicted": "their results are no longer stored, and downstream steps need them",
    "forced": "they were requested",
    "unknown_history": "there is no record of an earlier run of them",
}


def _words(r: Reason) -> str:
    from alchemist_dsl.explain.wording import reason

    if r.code != "input_changed":
        return reason(r)
    if r.before is None:
        return f"`{r.path}` also reads {r.after}"
    if r.after is None:
        return f"`{r.path}` no longer reads {r.before}"
    return f"`{r.path}` reads {r.after} instead of {r.before}"


# --- one step ---------------------------------------------------------------------------------------------------------


def _doing(plan: Plan, node: Node) -> NowNode | None:
    return next((n for n in plan.now.nodes if n.id == node.id), None) if plan.now else None


def _verdict(plan: Plan, node: Node, last: Remembered | None, history: _History) -> Iterator[Block]:
    """What a run would do with the step, and the changes that it follows from."""
    from alchemist_runtime.schema.planning import not_run

    from alchemist_dsl.explain.wording import reason, skip_reason

    doing = _doing(plan, node)
    there = {n.id for n in plan.now.nodes if n.action == "reuse"} if plan.now else set()
    stuck = not_run(plan.nodes, lambda n: n.id in there)
    explained = {s.node for c in history.causes for s in c.steps} | {c.root for c in history.causes}
    head = {
        "reuse": "is up to date: a run would reuse its result",
        "skip": f"would be skipped: {skip_reason(node, stuck)}",
        "build": "would be built",
        "extend": "would be extended; existing answers are kept",
    }[doing.action if doing else "build"]
    found = [
        f"because {reason(r)}"
        for r in (doing.reasons if doing else [])
        # else what changed there says more
        if r.code != "input_changed" or r.before or r.after or r.path not in explained
    ]
    found += [
        f"because {_because(cause)} ({' → '.join(step.chain)})"
        for cause in history.causes
        for step in cause.steps
        if step.node == node.id and len(step.chain) > 1
    ]
    if last is None:
        found.append(f"key {short(node.key)}; no earlier run of it is on record")
    elif last.key == node.key:
        found.append(f"key {short(node.key)}, the same as in run {last.run}")
    else:
        found.append(f"key {short(last.key)} in run {last.run}, {short(node.key)} now")
    yield Fold(f"{node.kind} `{node.id}` {head}", [Item(text) for text in found])


def following(plan: Plan, node: Node) -> list[str]:
    """The nodes that read this one, directly or not, and that a run would build."""
    after = {node.id}
    for other in plan.nodes:
        if any(e.node in after for e in other.inputs):
            after.add(other.id)
    doing = {n.id: n.action for n in plan.now.nodes} if plan.now else {}
    return [n.id for n in plan.nodes if n.id in after - {node.id} and doing.get(n.id) in ("build", "extend")]


def _then(plan: Plan, node: Node) -> Iterator[Block]:
    after = following(plan, node)
    doing = _doing(plan, node)
    if doing is None or doing.action != "reuse":
        yield Paragraph(
            f"downstream, would run too: {', '.join(after)}" if after else "nothing downstream would run because of it"
        )


# --- ingredients ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class View:
    """A step now and as a run last made it. `texts`: templates by digest, of now and of earlier runs."""

    plan: Plan
    node: Node
    now: Mapping[str, Any]
    last: Remembered | None
    past: Mapping[str, Past] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def before(self) -> Mapping[str, Any]:
        return {} if self.last is None else self.last.ingredients


def _ingredients(view: View) -> Iterator[Item]:
    """Every ingredient: `~` differs, `+` is new, `-` is gone."""
    by_path = bool(files_of(view.node)) and (view.last is None or bool(view.last.files))
    paths = {*view.now, *view.before} - {"kind"}
    plain = [p for p in paths if not is_input(p) and not (by_path and is_file(p))]
    first = [p for p in plain if _position(p)[0] == 0]
    for path in sorted(first, key=_position):
        yield from _ingredient(view, path)
    for role in roles_of(view.now, view.before):
        yield from _inputs(view, role)
    if by_path:
        yield from _files(view)
    for path in sorted(set(plain) - set(first), key=_position):
        yield from _ingredient(view, path)


def _position(path: str) -> tuple[int, str]:
    """What a person wrote first, then versions."""
    first = path.partition(".")[0]
    late = {"file": 2, "module": 2, "revision": 2, "version": 4, "operator_version": 4}
    return late.get(first, 3 if first in ("seed", "salt", "source_salt") else 0), path


def _sign(view: View, new: Any, old: Any) -> Sign:
    if not view.before or new == old:
        return "none"
    return "added" if old is None else "removed" if new is None else "changed"


def _ingredient(view: View, path: str) -> Iterator[Item]:
    new, old = view.now.get(path), view.before.get(path)
    sign = _sign(view, new, old)
    name = _named(view, path)
    if path in TEMPLATES and sign == "changed":
        yield from _text(view, name, str(old), str(new))
        return
    displayed = value_words(path, old if sign == "removed" else new)
    was = f"{value_words(path, old)} → " if sign == "changed" else ""
    yield Item(f"{name}: {was}{displayed}", sign=sign)


def _named(view: View, path: str) -> str:
    """The ingredient's name, with the teacher's and the prompt's where the step has them."""
    name = path_words(path)
    for kind in ("teacher", "prompt"):
        block, end = getattr(view.node.spec, kind, None), f"of the {kind}"
        if isinstance(block, str) and name.endswith(end):
            name = f"{name.removesuffix(end)}of {kind} `{block}`"
    return name


def _text(view: View, name: str, old: str, new: str) -> Iterator[Item]:
    """A template word by word where both texts are at hand."""
    before, after = view.texts.get(old), view.texts.get(new)
    if before is None or after is None:
        yield Item(f"{name}: text {short(old)} → {short(new)}", sign="changed")
        return
    pieces = word_diff(before, after)
    came = sum(len(t.split()) for mark, t in pieces if mark == "added")
    went = sum(len(t.split()) for mark, t in pieces if mark == "removed")
    words = f"{name}: {plural(went, 'word')} removed, {came:,} added"
    yield Item(words, sign="changed", blocks=[Code(changed_lines(pieces))])


# --- files ------------------------------------------------------------------------------------------------------------


def _files(view: View) -> Iterator[Item]:
    now = files_of(view.node)
    before = now if view.last is None else view.last.files
    for path in sorted({*now, *before}):
        new, old = now.get(path), before.get(path)
        sign = _sign(view, new, old)
        was = f"{short(str(old))} → " if sign == "changed" else ""
        yield Item(f"file `{path}`: {was}{short(str(new or old))}", sign=sign)


# --- inputs -----------------------------------------------------------------------------------------------------------


def _inputs(view: View, role: str) -> Iterator[Item]:
    """The inputs of a role: those of now, then those that are no longer read."""
    old, new = edges_of(view.before, role), edges_of(view.now, role)
    gone = [e for e in old if not any(_same_place(view, e, n) for n in new)]
    for edge in new:
        was = next((e for e in old if _same_place(view, e, edge)), None)
        name = f"`{role}` reads {_name(view, edge)}"
        if not view.before or was == edge:
            yield Item(name, sign="none")
        elif was is None:
            yield Item(name, sign="added")
        else:
            changed = f"{short(was['key'])} → {short(edge['key'])}"
            yield Item(f"{name}, whose result changed: {changed}", sign="changed")
    for edge in gone:
        yield Item(f"`{role}` read {_name(view, edge)}", sign="removed")


def _same_place(view: View, old: Any, new: Any) -> bool:
    return _name(view, old) == _name(view, new)


def _name(view: View, edge: Mapping[str, Any]) -> str:
    """The step that an edge comes from, by its key; of earlier keys by what the runs recorded."""
    key = str(edge.get("key"))
    name = next((e.node for e in view.node.inputs if e.key == key), None)
    if name is None:
        found = view.past.get(key)
        name = found.node if found else f"a step that had the key {short(key)}"
    port = "" if edge.get("port") in (None, "rows") else f".{edge['port']}"
    return name + port + (f".{edge['origin']}" if edge.get("origin") else "")
