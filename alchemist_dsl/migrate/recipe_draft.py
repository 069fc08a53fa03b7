"""The one form between every tool's configuration and a recipe: sources with amounts, a mixture, a training,
remarks.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema.attributes import RESERVED
from alchemist_runtime.schema.kinds import TAKEN

from alchemist_dsl.migrate import recipe_data
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.format import format_text

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Names of ports and of what is read here as a word of its own.
_SPOKEN_FOR: Final = RESERVED | TAKEN | {"dropped", "trace", "sft", "dataset", "rows"}


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment in a block, above one of its attributes or, without one, at its end."""

    text: str
    at: str = ""


@dataclass(slots=True)
class Source:
    """A source: `attrs` and `sets` as data of a recipe; `amount` is how much of it is taken, None is all."""

    name: str
    attrs: dict[str, Any] = field(default_factory=dict)
    sets: dict[str, Any] = field(default_factory=dict)
    amount: str | None = None
    remarks: list[Remark] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """A recipe to be. `train` is None where the configuration names no model: then the data is exported."""

    title: str
    seed: int | None = None
    sources: list[Source] = field(default_factory=list)
    mixture: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] | None = None
    train_name: str = "model"
    remarks: dict[str, list[Remark]] = field(default_factory=dict)  # of recipe, mixture, train

    def remark(self, block: str, text: str, at: str = "") -> None:
        self.remarks.setdefault(block, []).append(Remark(text, at))


def named(text: str, taken: Container[str]) -> str:
    """A name for a block after a text, one that is not taken: `allenai/tulu-3` gives `tulu_3`."""
    last = [p for p in re.split(r"[\\/]", text) if p.strip(".")] or ["data"]
    stem = re.sub(r"\.(jsonl?|ndjson|csv|tsv|parquet|arrow)(\.gz|\.zst)?$", "", last[-1].lower())
    name = re.sub(r"[^a-z0-9]+", "_", stem).strip("_")[:40].strip("_") or "data"
    name = name if _WORD.fullmatch(name) else f"data_{name}"
    name = f"{name}_set" if name in _SPOKEN_FOR else name
    number, found = 2, name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def column(name: str) -> str:
    """A column in an expression."""
    if _WORD.fullmatch(name) and name not in RESERVED | {"param", "out", "row"}:
        return name
    import json

    return f"row[{json.dumps(name, ensure_ascii=False)}]"


# --- write -----------------------------------------------------------------------------------------------------------

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
        result = {"kind": "source", "name": source.name, **source.attrs}
        yield result | ({"set": source.sets} if source.sets else {}), source.remarks
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


# --- amounts ---------------------------------------------------------------------------------------------------------

#: What is smaller is nothing: numbers of recipes have no exponent below this.
_LEAST = Decimal("1e-100")


def real(number: float) -> str:
    """A real as people write it: `2e-5`, `0.03`, `1.5`."""
    exact = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    if abs(exact) < _LEAST:
        return "0"
    if exact and abs(exact) < Decimal("0.001"):
        digits, exponent = f"{exact.normalize():e}".split("e")
        return f"{digits}e{int(exponent)}"
    return plain(exact)


def plain(number: Decimal) -> str:
    """A decimal without exponent and without zeros at its end, to twelve places."""
    text = f"{round(number, 12):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float | Fraction) -> str:
    """A share as a percent, exact where decimals can be, else to four places."""
    return f"{plain(_decimal(share, 100))}%"


def times(share: float | Fraction) -> str:
    """A share as a multiplier of a set's own size."""
    return f"{plain(_decimal(share, 1))}x"


def _decimal(share: float | Fraction, factor: int) -> Decimal:
    if isinstance(share, Fraction):
        exact = Decimal(share.numerator * factor) / Decimal(share.denominator)
        return exact if Fraction(exact) == share * factor else round(exact, 4)
    return Decimal(repr(share)) * factor


def counted(number: int, unit: str) -> str:
    """`9_500 rows`, `1 row`."""
    return f"{number:_} {unit.removesuffix('s') if number == 1 else unit}"
