"""`alchemist why`: every ingredient of a step's key, what differs from the last run, and what would run again because
of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from alchemist_runtime.schema.plan import to_json

from alchemist_dsl.cli.options import RecipeOptions, recipe_options

if TYPE_CHECKING:
    from alchemist_runtime.schema.plan import Node, NowNode, Plan, Reason

    from alchemist_dsl.explain.staleness import Cause, Remembered, Step
    from alchemist_dsl.project.workspace import Compiled


@click.command()
@click.argument("node", required=False)
@click.argument("recipe", required=False, type=click.Path(path_type=Path))
@click.option("--rerun", is_flag=True, help="Every step that would run again, by what it comes from.")
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Form of what is printed."
)
@recipe_options()
def why(node: str | None, recipe: Path | None, rerun: bool, format_: str, options: RecipeOptions) -> None:
    """Say why a run of RECIPE would build or reuse NODE; with --rerun, why anything would run again.

    RECIPE may be left out where the folder holds only one: `alchemist why NODE`, `alchemist why --rerun`."""
    from alchemist_dsl.cli.output import compiled_or_exit, exit_code
    from alchemist_dsl.cli.show import find_node

    found = _recipe(node, recipe, rerun)
    made = compiled_or_exit(found, warnings=False, **options.arguments())
    if made.plan is None:
        sys.exit(exit_code(made))
    told = _History(made)
    if rerun:
        _print(rerun_data(made.plan, told), rerun_lines(made.plan, told, _width()), format_)
        return
    shown = find_node(made.plan, node or "")
    _print(data(told, made.plan, shown), lines(told, made.plan, shown, _width()), format_)


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


def _print(data: dict[str, Any], lines: list[str], format_: str) -> None:
    if format_ == "json":
        import json

        click.echo(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        click.echo("\n".join(lines))


def _width() -> int:
    from alchemist_dsl.cli.compile import terminal_width

    return terminal_width()


class _History:
    """What earlier runs of a project recorded, read once."""

    def __init__(self, made: Compiled) -> None:
        from alchemist_dsl.project.workspace import last_records, past, read_runs

        assert made.plan is not None
        records = read_runs(made.project)
        self.made = made
        self.past = past(records)
        self.last = last_records(records, made.plan)
        self.causes = self._causes(made.plan)

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


def data(told: _History, plan: Plan, node: Node) -> dict[str, Any]:
    """The same as JSON: action, reasons, causes, ingredients now and before, and the nodes that would follow."""
    last, now = told.last.get(node.id), told.made.ingredients[node.id]
    doing = _doing(plan, node)
    before = {} if last is None else last.ingredients
    return {
        "node": node.id,
        "key": node.key,
        "action": doing.action if doing else None,
        "reasons": [to_json(r, without_none=True) for r in doing.reasons] if doing else [],
        "causes": [_cause(c, s) for c in told.causes for s in c.steps if s.node == node.id],
        "ingredients": dict(now),
        "before": (
            None
            if last is None
            else {"key": last.key, "run": last.run, "ingredients": dict(before), "files": dict(last.files)}
        ),
        "texts": told.texts(plan, now, before),
        "then": following(plan, node),
    }


def _cause(cause: Cause, step: Step) -> dict[str, Any]:
    return {
        "root": cause.root or step.node,
        "reasons": [to_json(r, without_none=True) for r in cause.reasons],
        "words": _because(cause),
        "chain": list(step.chain),
    }


def lines(told: _History, plan: Plan, node: Node, width: int) -> list[str]:
    """The answer for people."""
    from alchemist_dsl.cli import why_report
    from alchemist_dsl.document.text import colored

    last, now = told.last.get(node.id), told.made.ingredients[node.id]
    texts = told.texts(plan, now, {} if last is None else last.ingredients)
    view = why_report.View(plan, node, now, last, told.past, texts, width, colored(sys.stdout))
    return [
        *_verdict(plan, node, last, told, width),
        "",
        "what its result is made of:",
        *why_report.lines(view),
        "",
        *_then(plan, node),
    ]


def _roots(told: _History, node: Node, width: int) -> Iterator[str]:
    """The changes further up that the step runs again for."""
    for cause in told.causes:
        for step in cause.steps:
            if step.node == node.id and len(step.chain) > 1:
                way = " → ".join(step.chain)
                yield from _folded(f"  because {_because(cause)} ({way})", width, 4)


# --- all that would run again -----------------------------------------------------------------------------------------


def rerun_data(plan: Plan, told: _History) -> dict[str, Any]:
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
            for c in told.causes
        ],
    }


def rerun_lines(plan: Plan, told: _History, width: int) -> list[str]:
    """All that would run again, by cause, for people."""
    again = [n for n in plan.now.nodes if n.action in ("build", "extend")] if plan.now else []
    total = f"{len(plan.nodes)} step{'s' if len(plan.nodes) != 1 else ''}"
    if not again:
        return [f"nothing would run again: of {total} every result that is needed is there"]
    seen: set[str] = set()
    out = [f"{len(again)} of {total} would run"]
    for cause in told.causes:
        out += ["", *_folded(f"because {_because(cause)}:", width, 2)]
        names = [s.node for s in cause.steps]
        new, old = [n for n in names if n not in seen], [n for n in names if n in seen]
        if new:
            out += _folded("  " + ", ".join(new), width, 2)
        if old:
            out += _folded(f"  {'and ' if new else ''}as above: {', '.join(old)}", width, 2)
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
    "cache_evicted": "their results are no longer stored, and what would run reads them",
    "forced": "they were asked for",
    "unknown_history": "nothing is known of an earlier run of them",
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


def _folded(text: str, width: int, indent: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


# --- one step ---------------------------------------------------------------------------------------------------------


def _doing(plan: Plan, node: Node) -> NowNode | None:
    return next((n for n in plan.now.nodes if n.id == node.id), None) if plan.now else None


def _verdict(plan: Plan, node: Node, last: Remembered | None, told: _History, width: int) -> Iterator[str]:
    from alchemist_dsl.explain.wording import reason, short

    doing = _doing(plan, node)
    explained = {s.node for c in told.causes for s in c.steps} | {c.root for c in told.causes}
    action = doing.action if doing else "build"
    head = {
        "reuse": "is there: a run would take it as it is",
        "skip": _skipped(plan, node),
        "build": "would be built",
        "extend": "would be extended; every answer that is there is kept",
    }[action]
    yield f"{node.kind} `{node.id}` {head}"
    for r in doing.reasons if doing else []:
        if r.code != "input_changed" or r.before or r.after or r.path not in explained:
            # else what changed there says more
            yield f"  because {reason(r)}"
    yield from _roots(told, node, width)
    if last is None:
        yield f"  key {short(node.key)}; no earlier run of it is on record"
    elif last.key == node.key:
        yield f"  key {short(node.key)}, the same as in run {last.run}"
    else:
        yield f"  key {short(last.key)} in run {last.run}, {short(node.key)} now"


def _skipped(plan: Plan, node: Node) -> str:
    from alchemist_runtime.schema.planning import not_run

    if not node.runnable:
        return "would not be run: this version does not carry it out"
    there = {n.id for n in plan.now.nodes if n.action == "reuse"} if plan.now else set()
    stuck = not_run(plan.nodes, lambda n: n.id in there)
    needed = next((e.node for e in node.inputs if e.node in stuck), None)
    if needed is not None:
        return f"would not be run: it needs `{needed}`, which is not run"
    return "is not needed: nothing that would run reads it"


def following(plan: Plan, node: Node) -> list[str]:
    """The nodes that read this one, directly or not, and that a run would build."""
    after = {node.id}
    for other in plan.nodes:
        if any(e.node in after for e in other.inputs):
            after.add(other.id)
    doing = {n.id: n.action for n in plan.now.nodes} if plan.now else {}
    return [n.id for n in plan.nodes if n.id in after - {node.id} and doing.get(n.id) in ("build", "extend")]


def _then(plan: Plan, node: Node) -> Iterator[str]:
    after = following(plan, node)
    doing = _doing(plan, node)
    if doing is not None and doing.action == "reuse":
        return
    if after:
        yield "and then, because they read it: " + ", ".join(after)
    else:
        yield "nothing else would run because of it"


# --- value diff ------------------------------------------------------------------------------------------------------

#: Room for a value on one line; longer texts are cut around the first difference.
ROOM: Final = 84
_COLUMN: Final = 44
_BEFORE: Final = 24


def shown(value: Any) -> str:
    """A value about as a recipe writes it."""
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return f"{value:.1f}"
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(value, ensure_ascii=False, default=str)


def compared(op: str | None, wanted: Any, got: Any) -> list[str]:
    """Lines that show what was expected and what came."""
    both = isinstance(wanted, str) and isinstance(got, str)
    if op in ("==", None) and both and ("\n" in wanted.strip("\n") or "\n" in got.strip("\n")):
        return list(_columns(wanted.split("\n"), got.split("\n")))
    expected, came = _expected(op, wanted), shown(got)
    at = _difference(expected, came) if op == "==" and both else None
    if at is None:
        return [f"expected  {_cut(expected, 0)[0]}", f"got       {_cut(came, 0)[0]}"]
    one, _ = _cut(expected, at)
    two, where = _cut(came, at)
    return [f"expected  {one}", f"got       {two}", f"          {' ' * where}^ here"]


def _expected(op: str | None, wanted: Any) -> str:
    if op in ("==", None):
        return shown(wanted)
    return f"anything but {shown(wanted)}" if op == "!=" else f"{op} {shown(wanted)}"


def _difference(a: str, b: str) -> int | None:
    """Where two texts first differ."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)


def _cut(text: str, at: int) -> tuple[str, int]:
    """A text that fits a line, with the place `at` in it."""
    text = _visible(text)
    if len(text) <= ROOM:
        return text, at
    start = max(0, min(at - _BEFORE, len(text) - ROOM + 1))
    piece = text[start : start + ROOM - 2]
    head, tail = "…" * (start > 0), "…" * (start + len(piece) < len(text))
    return head + piece + tail, at - start + len(head)


def cut(text: str) -> str:
    """A text that fits a line."""
    return _cut(text, 0)[0]


def _columns(wanted: Sequence[str], got: Sequence[str]) -> Iterator[str]:
    """Two columns of lines; `≠` where they differ, `<` where one is lacking, `>` where one is too many."""
    pairs = list(_paired(wanted, got))
    width = min(_COLUMN, max(len("expected"), *(len(a or "") for a, _ in pairs)))
    yield f"{'expected':<{width}} │ got"
    for a, b in pairs:
        sign = "│" if a == b else ">" if a is None else "<" if b is None else "≠"
        for i, (left, right) in enumerate(_wrapped(a or "", b or "")):
            yield f"{left:<{width}} {sign if i == 0 else '│'} {right}".rstrip()


def _paired(a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[str | None, str | None]]:
    for tag, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            yield from zip(a[i:j], b[k:m], strict=True)
            continue
        for n in range(max(j - i, m - k)):
            yield (a[i + n] if i + n < j else None, b[k + n] if k + n < m else None)


def _wrapped(left: str, right: str) -> Iterator[tuple[str, str]]:
    """A pair of long lines in several pieces."""
    for at in range(0, max(len(left), len(right), 1), _COLUMN):
        yield _visible(left[at : at + _COLUMN]), _visible(right[at : at + _COLUMN])


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text.replace("\t", "→"))
