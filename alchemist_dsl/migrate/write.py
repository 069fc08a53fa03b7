"""A draft -> the text of a recipe: formatted, its remarks as comments beside what they speak of."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from alchemist_dsl.migrate import recipe_data
from alchemist_dsl.migrate.recipe_draft import Draft, Remark
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.format import format_text

_WIDTH: Final = 96
MIXTURE: Final = "sft"
EXPORT: Final = "dataset"


def write(draft: Draft, head: str) -> str:
    """The recipe. `head` is the comment that it opens with."""
    parts = [f"edition {recipe_data.EDITION}\n", "\n".join(_comment(head, "")) + "\n"]
    parts += [_block(b, remarks) for b, remarks in _blocks(draft)]
    return format_text(SourceFile("-", "\n".join(parts)))[0]


def _blocks(draft: Draft) -> Iterator[tuple[dict[str, Any], Iterable[Remark]]]:
    remarks = draft.remarks
    recipe: dict[str, Any] = {"kind": "recipe", "title": draft.title}
    if draft.seed is not None:
        recipe["seed"] = draft.seed
    yield recipe, remarks.get("recipe", ())
    for source in draft.sources:
        made = {"kind": "source", "name": source.name, **source.attrs}
        yield made | ({"set": source.sets} if source.sets else {}), source.remarks
    stream = draft.sources[0].name
    mixture = _mixture(draft)
    if mixture is not None:
        stream = MIXTURE
        yield mixture, remarks.get("mixture", ())
    else:
        remarks = {**remarks, "train": [*remarks.get("mixture", ()), *remarks.get("train", ())]}
    if draft.train is None:
        yield (
            {"kind": "export", "name": EXPORT, "data": stream, "path": f"out/{draft.train_name}"},
            remarks.get("train", ()),
        )
    else:
        yield {"kind": "train", "name": draft.train_name, "data": stream, **draft.train}, remarks.get("train", ())


def _mixture(draft: Draft) -> dict[str, Any] | None:
    """The mixture; None where one source is taken whole."""
    head = {"kind": "mixture", "name": MIXTURE, **draft.mixture}
    sources = draft.sources
    if all(s.amount is None for s in sources):
        return None if len(sources) == 1 else {**head, "from": [s.name for s in sources]}
    return {**head, "take": {s.name: s.amount or "all" for s in sources}}


def _block(block: Mapping[str, Any], remarks: Iterable[Remark]) -> str:
    """The text of a block with its remarks: above the attribute that they speak of, else at its end."""
    lines = recipe_data.block(block).splitlines()
    for remark in remarks:
        start = (f"  {remark.at} = ", f"  {remark.at} {{", f"  set {remark.at} = ")
        at = next((i for i, line in enumerate(lines) if remark.at and line.startswith(start)), len(lines) - 1)
        lines[at:at] = _comment(remark.text, "  ")
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str) -> list[str]:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    width = _WIDTH - len(indent)
    return [f"{indent}# {part}" for part in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)]
