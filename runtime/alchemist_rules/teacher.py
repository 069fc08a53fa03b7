"""`provider = rules`: answers from the syntax of the code in the inputs of a request, deterministic and offline.

It reads the typed inputs of a request, never the words of a prompt. What it does is named by the prompt: `describe`
says in a sentence what a response does, `review` marks and refines code, `evolve` changes an instruction together with
its response.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from alchemist_runtime.calls.teacher import CallFailed, Client, Reply, Request
from alchemist_runtime.schema.registry import teacher

#: Rule -> (inputs that it needs, outputs that it can fill). `describe` fills one output of any name, of type text.
FIELDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "describe": (("response",), ()),
    "review": (("response",), ("correctness", "clarity", "suggestions", "refined")),
    "evolve": (("instruction", "response"), ("instruction", "response")),
}


@teacher(version=3, answers="inputs")
def rules(spec: object) -> Client:
    """Rules in place of a model: labels, reviews and evolutions from the syntax of the code; free, offline."""
    return Rules()


class Rules:
    """Answers at once; holds nothing."""

    async def reply(self, request: Request) -> Reply:
        """The answer of the rule that the prompt names."""
        return Reply(answer(request))

    async def close(self) -> None: ...


def answer(request: Request) -> str:
    """Plain text for one text output, JSON otherwise. CallFailed where the prompt asks for what rules cannot do.

    A row that no rule evolves or judges is answered by a sentence that is no JSON, so that it is refused as
    `unreadable` and counted, and never passes for an evolved or a reviewed one.
    """
    rule = request.rules or ""
    if rule not in FIELDS:
        reason = "the rules teacher needs a prompt with `rules = describe`, `evolve` or `review`"
        raise CallFailed(reason, stop=True)
    for name in FIELDS[rule][0]:
        if name not in request.inputs:
            raise CallFailed(f"`rules = {rule}` reads the input `{name}`, which the prompt lacks", stop=True)
        if not isinstance(request.inputs[name], str):
            raise CallFailed(f"the input `{name}` is null in this row")
    known = FIELDS[rule][1]
    for name in request.outputs if known else ():
        if name not in known:
            reason = f"`rules = {rule}` cannot fill the output `{name}`; it knows {', '.join(known)}"
            raise CallFailed(reason, stop=True)
    return _ANSWERS[rule](request)


def _describe(request: Request) -> str:
    from alchemist_rules.describe import describe

    if list(request.outputs.values()) not in (["text"], ["text?"]):
        raise CallFailed("`rules = describe` gives one output of type text", stop=True)
    words = (_text(request, "lang"), request.sample, _text(request, "instruction") or "")
    sentence = describe(request.inputs["response"], *words)
    return _fill(request, dict.fromkeys(request.outputs, sentence))


def _review(request: Request) -> str:
    from alchemist_rules.review import review

    result = review(request.inputs["response"], _text(request, "instruction"), _text(request, "lang"))
    if result is None:
        return "No rule judges this answer."
    return _fill(request, {**asdict(result), "suggestions": "\n".join(result.suggestions)})


def _evolve(request: Request) -> str:
    from alchemist_rules.evolve import evolve

    if len(request.outputs) < 2:
        raise CallFailed("`rules = evolve` gives the outputs `instruction` and `response`, both", stop=True)
    inputs = request.inputs
    result = evolve(inputs["instruction"], inputs["response"], _text(request, "lang"), request.sample)
    return "No rule evolves this instruction." if result is None else _fill(request, asdict(result))


def _text(request: Request, name: str) -> str | None:
    value = request.inputs.get(name)
    return value if isinstance(value, str) and value else None


def _fill(request: Request, values: Mapping[str, Any]) -> str:
    if list(request.outputs.values()) == ["text"]:
        return str(values[next(iter(request.outputs))])
    return json.dumps({name: values[name] for name in request.outputs}, ensure_ascii=False)


_ANSWERS: Final[dict[str, Callable[[Request], str]]] = {"describe": _describe, "review": _review, "evolve": _evolve}
