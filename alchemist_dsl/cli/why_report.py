"""What a step is made of as lines: one an ingredient, what differs before and now, texts word by word, inputs by their
names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from alchemist_runtime.schema.plan import Node, Plan

from alchemist_dsl.comparison.words import word_diff
from alchemist_dsl.document.blocks import Code, terminal
from alchemist_dsl.document.text import changed_lines
from alchemist_dsl.explain.staleness import TEMPLATES, Past, Remembered, edges_of, files_of, is_file, is_input, roles_of
from alchemist_dsl.explain.wording import path_words, short, value_words


@dataclass(frozen=True, slots=True)
class View:
    """A step now and as a run last made it. `texts`: templates by digest, of now and of earlier runs."""

    plan: Plan
    node: Node
    now: Mapping[str, Any]
    last: Remembered | None
    past: Mapping[str, Past] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    width: int = 100
    color: bool = False

    @property
    def before(self) -> Mapping[str, Any]:
        return {} if self.last is None else self.last.ingredients


def lines(view: View) -> Iterator[str]:
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


def _mark(view: View, new: Any, old: Any) -> str:
    if not view.before or new == old:
        return " "
    return "+" if old is None else "-" if new is None else "~"


def _ingredient(view: View, path: str) -> Iterator[str]:
    new, old = view.now.get(path), view.before.get(path)
    mark = _mark(view, new, old)
    name = _named(view, path)
    if path in TEMPLATES and mark == "~":
        yield from _text(view, name, str(old), str(new))
        return
    shown = value_words(path, old if mark == "-" else new)
    was = f"{value_words(path, old)} → " if mark == "~" else ""
    yield f"  {mark} {name}: {was}{shown}"


def _named(view: View, path: str) -> str:
    """The ingredient's name, with the teacher's and the prompt's where the step has them."""
    name = path_words(path)
    for kind in ("teacher", "prompt"):
        block, end = getattr(view.node.spec, kind, None), f"of the {kind}"
        if isinstance(block, str) and name.endswith(end):
            name = f"{name.removesuffix(end)}of {kind} `{block}`"
    return name


def _text(view: View, name: str, old: str, new: str) -> Iterator[str]:
    """A template word by word where both texts are at hand."""
    before, after = view.texts.get(old), view.texts.get(new)
    if before is None or after is None:
        yield f"  ~ {name}: text {short(old)} → {short(new)}"
        return
    pieces = word_diff(before, after)
    came = sum(len(t.split()) for mark, t in pieces if mark == "added")
    went = sum(len(t.split()) for mark, t in pieces if mark == "removed")
    yield f"  ~ {name}: {_words(went)} went, {_words(came)} came"
    yield from (f"      {line}" for line in terminal([Code(changed_lines(pieces))], view.width - 6, view.color))


def _words(n: int) -> str:
    return "1 word" if n == 1 else f"{n:,} words"


# --- files ------------------------------------------------------------------------------------------------------------


def _files(view: View) -> Iterator[str]:
    now = files_of(view.node)
    before = now if view.last is None else view.last.files
    for path in sorted({*now, *before}):
        new, old = now.get(path), before.get(path)
        mark = _mark(view, new, old)
        was = f"{short(str(old))} → " if mark == "~" else ""
        yield f"  {mark} file `{path}`: {was}{short(str(new or old))}"


# --- inputs -----------------------------------------------------------------------------------------------------------


def _inputs(view: View, role: str) -> Iterator[str]:
    """The inputs of a role: those of now, then those that are no longer read."""
    old, new = edges_of(view.before, role), edges_of(view.now, role)
    gone = [e for e in old if not any(_same_place(view, e, n) for n in new)]
    for edge in new:
        was = next((e for e in old if _same_place(view, e, edge)), None)
        name = f"`{role}` reads {_name(view, edge)}"
        if not view.before or was == edge:
            yield f"    {name}"
        elif was is None:
            yield f"  + {name}"
        else:
            yield f"  ~ {name}, whose result is another: {short(was['key'])} → {short(edge['key'])}"
    for edge in gone:
        yield f"  - `{role}` read {_name(view, edge)}"


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
