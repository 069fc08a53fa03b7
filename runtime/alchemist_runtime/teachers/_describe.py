"""Hindsight labels: reads what a response really is and says it in one sentence that may stand before its instruction."""

from __future__ import annotations

from typing import Final

from alchemist_runtime.operators import _fences, _grammars, _languages
from alchemist_runtime.operators import code as code_functions
from alchemist_runtime.teachers import _python_facts, _text_facts, _tree_facts
from alchemist_runtime.teachers._facts import Draw, Facts, an, listed
from alchemist_runtime.teachers._shown import without_prose

_VERBS: Final = ("Write", "Implement", "Provide", "Create", "Answer with", "Respond with", "Give")


def describe(response: str, lang: str | None = None, sample: int = 0) -> str:
    """One sentence on what a response does and how: language, unit, ideas its syntax proves, and what comes with it.

    Nothing of the response is repeated but names of functions, classes, parameters and modules, and no result of a
    calculation. The wording is drawn by hash of the response and `sample`.
    """
    facts = read(response, lang)
    draw = Draw(response, sample)
    for named in (True, False):
        sentence = (
            _prose(facts, draw) if facts.language is None else _code(facts, draw, named=named)
        )
        if not copies(sentence, response):
            return sentence
    return _plain(facts)


def copies(sentence: str, response: str) -> bool:
    """Whether a sentence holds a whole line of the response (of 12 characters or more)."""
    return any(
        len(x) >= 12 and x in sentence for line in response.splitlines() if (x := line.strip())
    )


#: Units whose length is none of the response: lines that try them out may follow.
_NO_LENGTH: Final = ("one-liner", "function", "method")


def read(response: str, lang: str | None = None) -> Facts:
    """The facts of a response."""
    name = lang or code_functions.lang(response)
    blocks = [c for tag, c in code_functions.blocks(response) if tag in (name, None)]
    if name is None and not blocks:
        return _text_facts.prose_facts(response)
    code = "\n\n".join(blocks) if blocks else response
    out = _of_code(code, name)
    whole = (
        out is not None and name in _grammars.PARSED and name != "bash"
    )  # bash takes prose for commands
    if out is None and not blocks:
        out = _of_code(without_prose(response), name)
    if out is None:
        out = _text_facts.code_facts(code, name or "code", broken=name in _grammars.PARSED)
    if len(out.says) + len(out.others) < 2 and out.unit not in _NO_LENGTH:
        _text_facts.length(sum(1 for line in code.split("\n") if line.strip()), out)
    if blocks or not whole:
        _around(response, bool(blocks), out)
    return out


def _of_code(code: str, lang: str | None) -> Facts | None:
    if lang == "python":
        tree = _grammars.module(code.strip("\n"))
        if tree is None or not tree.body:
            return None
        out = _python_facts.facts(tree, code)
        if code.lstrip().startswith(">>>"):
            out.unit = "interactive session"
            out.name = None
            out.have("the output of each step", "shown output")
        return out
    if lang in _grammars.PARSED and lang != "json":
        return _tree_facts.facts(code.strip(), lang) if lang else None
    return _text_facts.code_facts(code, lang) if lang else None


def _around(response: str, fenced: bool, out: Facts) -> None:
    """Text before or after the code."""
    lines = response.strip().split("\n")
    if fenced:
        marks = [i for i, line in enumerate(lines) if line.strip().startswith(("```", "~~~"))]
        before = any(line.strip() for line in lines[: marks[0]]) if marks else False
        after = len(marks) > 1 and any(line.strip() for line in lines[marks[-1] + 1 :])
        if len(_fences.scan(response)) > 1:
            out.have("the code in several blocks", "separate blocks of code")
    else:
        plain = [
            i
            for i, line in enumerate(lines)
            if _languages.prose(line) and not line.startswith((" ", "\t"))
        ]
        before = bool(plain) and plain[0] == 0
        after = bool(plain) and plain[-1] == len(lines) - 1
    if before and after:
        out.have("explanations before and after the code", "text around the code")
    elif before:
        out.have("a short introduction", "a sentence before the code")
    elif after:
        out.have("an explanation after the code", "a few words after the code")


# --- wording ------------------------------------------------------------------------------------------------------------------


def _code(facts: Facts, draw: Draw, *, named: bool) -> str:
    noun = (
        " ".join([*facts.adjectives, "{language}", facts.unit])
        if facts.unit != "code"
        else "{language} code"
    )
    name = f" {draw.one(('named', 'called'))} `{facts.name}`" if facts.name and named else ""
    if " one " in noun and name:  # program around one function -> program around the function `f`
        noun, name = f"{noun.replace(' one ', ' the ')} `{facts.name}`", ""
    language = str(facts.language)
    that = _that(facts, draw)
    tail = f" that {listed(that)}" if that else ""
    with_ = _with(facts, draw)
    if with_:
        tail += f"{',' if that or name else ''} {draw.one(('with', 'together with') if len(with_) == 1 else ('with',))} {listed(with_)}"
    bare = noun.replace("{language} ", "")
    whole = noun.replace("{language}", language)
    frame = draw.below(6)
    if facts.unit == "code":
        return f"{draw.one(_VERBS)} {whole}{tail}."
    if frame == 0:
        return (
            f"In {language}, {draw.one(('write', 'implement', 'create'))} {an(bare)}{name}{tail}."
        )
    if frame == 1:
        return f"The answer should be {an(whole)}{name}{tail}."
    if frame == 2 and not name:
        return f"Use {language} and {draw.one(('write', 'give', 'provide'))} {an(bare)}{tail}."
    return f"{draw.one(_VERBS)} {an(whole)}{name}{tail}."


def _that(facts: Facts, draw: Draw) -> list[str]:
    """Up to three ideas, the most telling first, the rest drawn; lesser ones only fill up to two."""
    chosen = _drawn(facts.says, draw, 2 + (draw.below(3) > 0), first=True)
    if len(chosen) < 2:
        chosen += _drawn(facts.others, draw, 2 - len(chosen))
    return [draw.one(w) for w in chosen]


def _drawn(
    items: list[tuple[str, ...]], draw: Draw, n: int, *, first: bool = False
) -> list[tuple[str, ...]]:
    """n of the items in their order, drawn among the earlier ones; `first`: the first always."""
    left = list(range(len(items)))
    picked = [left.pop(0)] if first and left else []
    while left and len(picked) < n:
        picked.append(left.pop(draw.below(min(3, len(left)))))
    return [items[i] for i in sorted(picked)]


def _with(facts: Facts, draw: Draw) -> list[str]:
    count = 2 if draw.below(3) or facts.unit == "worked steps" else 1
    return [draw.one(w) for w in facts.has[:1] + _drawn(facts.has[1:], draw, count - 1)]


def _prose(facts: Facts, draw: Draw) -> str:
    unit = facts.unit
    with_ = _with(facts, draw)
    tail = f", with {listed(with_)}" if with_ else ""
    if unit == "nothing":
        return "Leave the answer empty."
    if unit == "worked steps":
        return _steps(facts, draw, tail)
    if unit in ("number", "word", "phrase", "token"):
        noun = "string of characters" if unit == "token" else unit
        return draw.one(
            (
                f"Answer with a single {noun} and nothing else.",
                f"Give only a {noun} as the answer.",
                f"Reply with just one {noun}.",
                f"Let the answer be one {noun}, without any explanation.",
            )
        )
    length = facts.others[0][0] if facts.others else "a few words"
    if unit == "list":
        what = draw.one(facts.says[0])
        return draw.one(
            (
                f"Give an answer that {what}{tail}.",
                f"Write, in {length}, an answer that {what}{tail}.",
                f"The answer should be text that {what}{tail}.",
            )
        )
    amount = facts.says[0][0]
    return draw.one(
        (
            f"Answer in {amount} of plain text, {length} long{tail}.",
            f"Explain it in words, in {amount} and {length}{tail}.",
            f"Reply in prose of {amount}, {length} in all{tail}.",
            f"Give a written answer of {length} in {amount}{tail}.",
        )
    )


def _steps(facts: Facts, draw: Draw, tail: str) -> str:
    count = facts.says[0][0]
    steps = f"{count} {'step' if count == 'one' else 'steps'}"
    used = listed([w[0] for w in facts.others])
    by = f" by {used}{', in this order' * bool(facts.adjectives)}" if used else ""
    end = ""
    if facts.name:
        end = ("," if tail else "") + draw.one(
            (
                " and put the result on a last line of its own after four hash signs",
                " and end with a line of four hash signs and the result",
                " and close with the result after `####`",
            )
        )
    comma = "," if facts.adjectives else ""
    return draw.one(
        (
            f"Solve it in {steps}{by}{tail}{end}.",
            f"Work it out{by}{comma} in {steps}{tail}{end}.",
            f"Show the working in {steps}{by}{tail}{end}.",
            f"Reason{by}{comma} in {steps}{tail}{end}.",
        )
    )


def _plain(facts: Facts) -> str:
    return f"Answer in {facts.language}." if facts.language else "Answer in plain text."
