"""The teacher without a model: answers from the syntax of what it is given, deterministic, offline, and honest about
being rules.

It reads the typed inputs of a request, never the words of a prompt. What it does is named by the prompt: `describe`
says in a sentence what a response does, `review` marks and refines code, `evolve` changes an instruction together with
its response.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from alchemist_runtime.calls.teacher import CallFailed, Client, Reply, Request
from alchemist_runtime.schema import plan
from alchemist_runtime.schema.registry import teacher

#: Rule -> (inputs that it needs, inputs that it reads when they are there, outputs that it can fill). `describe` fills
#: one output of any name, of type text.
FIELDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]] = {
    "describe": (("response",), ("instruction", "lang"), ()),
    "review": (("response",), ("instruction", "lang"), ("correctness", "clarity", "suggestions", "refined")),
    "evolve": (("instruction", "response"), ("lang",), ("instruction", "response")),
}


@teacher(version=2)
def rules(spec: plan.Teacher) -> Client:
    """Rules in place of a model: hindsight labels, reviews and evolutions from the syntax of the code; free,
    offline.
    """
    return Rules(spec.name)


class Rules:
    """Answers at once; holds nothing."""

    def __init__(self, name: str) -> None:
        self._name = name

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
    return _ANSWERS[rule](request)


def _describe(request: Request) -> str:
    from alchemist_runtime.teachers._rules.describe import describe

    name = _single(request)
    asked = _text(request, "instruction") or ""
    sentence = describe(request.inputs["response"], _text(request, "lang"), request.sample, asked)
    return sentence if request.outputs[name] == "text" else json.dumps({name: sentence}, ensure_ascii=False)


def _single(request: Request) -> str:
    texts = [n for n, t in request.outputs.items() if t in ("text", "text?")]
    if len(request.outputs) != 1 or len(texts) != 1:
        raise CallFailed("`rules = describe` gives one output of type text", stop=True)
    return texts[0]


def _review(request: Request) -> str:
    from alchemist_runtime.teachers._rules.review import review

    _known(request)
    made = review(request.inputs["response"], _text(request, "instruction"), _text(request, "lang"))
    if made is None:
        return "No rule judges this answer."
    values: dict[str, Any] = {
        "correctness": made.correctness,
        "clarity": made.clarity,
        "suggestions": "\n".join(made.suggestions),
        "refined": made.refined,
    }
    return _fill(request, values)


def _evolve(request: Request) -> str:
    from alchemist_runtime.teachers._rules.evolve import evolve

    _known(request)
    if set(request.outputs) != {"instruction", "response"}:
        raise CallFailed(
            "`rules = evolve` gives the outputs `instruction` and `response`, both: the new code answers the new"
            " instruction",
            stop=True,
        )
    inputs = request.inputs
    made = evolve(inputs["instruction"], inputs["response"], _text(request, "lang"), request.sample)
    if made is None:
        return "No rule evolves this instruction."
    return _fill(request, {"instruction": made.instruction, "response": made.response})


def _known(request: Request) -> None:
    outputs = FIELDS[str(request.rules)][2]
    for name in request.outputs:
        if name not in outputs:
            raise CallFailed(
                f"`rules = {request.rules}` cannot fill the output `{name}`; it knows {', '.join(outputs)}", stop=True
            )


def _text(request: Request, name: str) -> str | None:
    value = request.inputs.get(name)
    return value if isinstance(value, str) and value else None


def _fill(request: Request, values: Mapping[str, Any]) -> str:
    if list(request.outputs.values()) == ["text"]:
        return str(values[next(iter(request.outputs))])
    return json.dumps({name: values[name] for name in request.outputs}, ensure_ascii=False)


_ANSWERS: Final[dict[str, Callable[[Request], str]]] = {"describe": _describe, "review": _review, "evolve": _evolve}
