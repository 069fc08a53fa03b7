"""Evolves a request together with its answer: every way changes the code so that it does what is newly asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from alchemist_runtime.code import grammars
from alchemist_runtime.teachers._rules import evolve_other, evolve_python, pysource
from alchemist_runtime.teachers._rules.fixes_other import tree
from alchemist_runtime.teachers._rules.shown import NAMES, Draw, Shown, edited, is_session, shown, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

#: What is asked in addition, in several wordings, and the code that does it.
Made = tuple[tuple[str, ...], str]
Way = Callable[[Shown], Made | None]


@dataclass(frozen=True, slots=True)
class Evolution:
    instruction: str
    response: str
    way: str


def _on_functions(way: Callable[[pysource.Python, pysource.Function], Made | None]) -> Way:
    """A way over a Python function: the last one at the top that is not `main`."""

    def run(code: Shown) -> Made | None:
        py = pysource.parse(code.code) if code.lang == "python" else None
        found = [n for n in py.tree.body if isinstance(n, pysource.FUNCTION) and n.name != "main"] if py else []
        return way(py, found[-1]) if py is not None and found else None

    return run


#: Name -> (how likely it is drawn where it fits: the rarer it fits, the likelier; the way). `DEEP` changes the
#: algorithm or the data structure, `PLAIN` adds a requirement and leaves them.
DEEP: Final[dict[str, tuple[int, Way]]] = {
    **{n: (w, _on_functions(f)) for n, (w, f) in evolve_python.DEEP.items()},
    **evolve_other.DEEP,
}
PLAIN: Final[dict[str, tuple[int, Way]]] = {
    **{n: (w, _on_functions(f)) for n, (w, f) in evolve_python.PLAIN.items()},
    **evolve_other.PLAIN,
    "debug": (5, lambda _: None),  # see `_faulty`, which draws its place
}


def evolve(instruction: str, response: str, lang: str | None = None, sample: int = 0) -> Evolution | None:
    """One of the ways that fit: half of them change the algorithm or the data structure where one such fits. None where
    none does.

    The response must be code alone, or text with one fenced block, which is then replaced in its place.
    """
    code = shown(response, instruction, lang)
    if code is None or not instruction.strip() or is_session(code.code) or not _whole(code, response):
        return None
    if code.lang not in grammars.PARSED or not grammars.parses(code.code, code.lang):
        return None
    draw = Draw(instruction + "\0" + response, sample)
    for side in [DEEP, PLAIN] if draw.below(2) else [PLAIN, DEEP]:
        left = dict(side)
        while left:
            name = list(left)[draw.weighted([w for w, _ in left.values()])]
            made = _sound(left.pop(name)[1], code)
            if made is not None:
                return Evolution(_joined(instruction, draw.one(made[0])), response.replace(code.code, made[1]), name)
            if name == "debug" and (faulty := _faulty(code, draw)) is not None:
                return Evolution(f"{instruction.rstrip()}\n\n{faulty[0][0]}", faulty[1], name)
    return None


def fitting(code: str, lang: str) -> list[str]:
    """The ways that fit a piece of code, `debug` aside."""
    shown_ = Shown(lang, code, True, False)
    return [n for n, (_, way) in (DEEP | PLAIN).items() if _sound(way, shown_)]


def _sound(way: Way, code: Shown) -> Made | None:
    made = way(code)
    return made if made and made[1] != code.code and grammars.parses(made[1], code.lang) else None


def _whole(code: Shown, response: str) -> bool:
    return (code.alone or code.block) and response.count(code.code) == 1


def _joined(instruction: str, more: str) -> str:
    text = instruction.rstrip()
    if text[-1] not in ".!?:;\"'`)}]":
        text += "."
    return f"{text}\n{more}" if "\n" in text or text[-1] not in ".!?" else f"{text} {more}"


#: An operator and one that always gives the other result.
_OPPOSITE: Final = {
    "<": ">=",
    ">": "<=",
    "<=": ">",
    ">=": "<",
    "==": "!=",
    "!=": "==",
    "===": "!==",
    "!==": "===",
    "in": "not in",
    "is": "is not",
}


def _faulty(code: Shown, draw: Draw) -> Made | None:
    """A copy of the code with one comparison turned round, to find and put right."""
    t = tree(code.code, code.lang) if code.lang not in ("json", "bash") else None
    if t is None or not 3 <= code.code.count("\n") < 40:
        return None
    spots = [
        o
        for n in t.nodes
        if n.type in ("if_statement", "if_expression") and (test := n.child_by_field_name("condition")) is not None
        for o in _operators(test)
    ]
    if not spots:
        return None
    at = spots[draw.below(len(spots))]
    start, end = t.span(at)
    good = text_of(at)
    bad = edited(t.raw, [(start, end, _OPPOSITE[good])])
    fence = "~~~" if "```" in code.code else "```"
    tag = code.lang if code.lang in NAMES else ""
    ask = draw.one(
        (
            "This attempt has a fault. Find it and give the correct code:",
            "One operator in this attempt is wrong. Which one? Put it right:",
            "Correct this faulty attempt, and say what was wrong with it:",
        )
    )
    said = f"In line {t.line(start)}, `{_OPPOSITE[good]}` must be `{good}`:"
    return (f"{ask}\n\n{fence}{tag}\n{bad}\n{fence}",), f"{said}\n\n{fence}{tag}\n{code.code}\n{fence}"


def _operators(test: Node) -> list[Node]:
    """The one comparison that a condition is; none where it is anything else."""
    while test.type in ("parenthesized_expression", "condition_clause") and test.named_child_count == 1:
        test = test.named_children[0]
    if test.type in ("comparison_operator", "binary_expression"):
        found = [c for c in test.children if text_of(c) in _OPPOSITE and not c.is_named]
        return found if len(found) == 1 and len(test.children) == 3 else []
    return []
