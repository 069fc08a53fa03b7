"""Evolves an instruction together with its response by rule: every way changes the code so that it does what is newly asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.operators import _fences, _grammars
from alchemist_runtime.operators import code as code_functions
from alchemist_runtime.teachers import _edits, _evolve_other, _evolve_python
from alchemist_runtime.teachers._facts import Draw


@dataclass(frozen=True, slots=True)
class Evolution:
    instruction: str
    response: str
    way: str  # name of the way, as in WAYS


#: A way takes the code and gives (what is asked in addition, in several wordings; the code that does it), None if it does not fit.
Way = Callable[[str, str], tuple[tuple[str, ...], str] | None]

WAYS: Final[dict[str, Way]] = {**_evolve_python.WAYS, **_evolve_other.WAYS}


def evolve(
    instruction: str, response: str, lang: str | None = None, sample: int = 0
) -> Evolution | None:
    """One of the ways that fit, drawn by hash of both texts and `sample`; None where none fits.

    The response must be code alone, or text with one fenced block, which is then replaced in its place.
    """
    name = lang or code_functions.lang(response)
    code = _only_code(response, name) if name else None
    if code is None or name is None or not instruction.strip():
        return None
    draw = Draw(instruction + "\0" + response, sample)
    left = list(WAYS)
    while left:
        way = left.pop(draw.below(len(left)))
        made = WAYS[way](code, name)
        if made is None or made[1] == code or not _grammars.parses(made[1], name):
            continue
        wordings, new = made
        return Evolution(_joined(instruction, draw.one(wordings)), response.replace(code, new), way)
    return None


def fitting(code: str, lang: str) -> list[str]:
    """The ways that fit a piece of code."""
    return [way for way, change in WAYS.items() if change(code, lang) is not None]


def _only_code(response: str, lang: str) -> str | None:
    blocks = code_functions.blocks(response)
    if len(_fences.scan(response)) == 1 and len(blocks) == 1:
        code = blocks[0][1]
        return code if response.count(code) == 1 and _grammars.parses(code, lang) else None
    if blocks:
        return None
    bare = response.strip("\n")
    if lang == "python":
        return bare if _edits.parse(bare) is not None else None
    return bare if lang in _grammars.PARSED and _grammars.parses(bare, lang) else None


def _joined(instruction: str, more: str) -> str:
    text = instruction.rstrip()
    if text[-1] not in ".!?:;\"'`)}]":
        text += "."
    return f"{text}\n{more}" if "\n" in text or text[-1] not in ".!?" else f"{text} {more}"
