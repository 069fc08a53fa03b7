"""A teacher for tests: it answers what a test says, in the order of its questions, and knows nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from alchemist_runtime.calls import answers
from alchemist_runtime.calls.teacher import Reply, Request, whole
from alchemist_runtime.schema.codes import Problem, RunError

#: What a test says of one answer: fields of the prompt's output, or the reply's own text.
Said = Mapping[str, Any] | str


class Mock:
    """Gives one answer to every question, or a list of answers one after the other. Equal questions are asked once."""

    def __init__(self, node: str, said: Said | Sequence[Said]) -> None:
        self._node = node
        self._always = said if isinstance(said, str | Mapping) else None
        self._list: Sequence[Said] = () if isinstance(said, str | Mapping) else said
        self.asked = 0

    @property
    def left(self) -> int:
        """Answers that no question got."""
        return 0 if self._always is not None else max(len(self._list) - self.asked, 0)

    async def reply(self, request: Request) -> Reply:
        """The next answer. RunError where there is none."""
        self.asked += 1
        said = self._always
        if said is None:
            if self.asked > len(self._list):
                raise RunError(self._missing(request))
            said = self._list[self.asked - 1]
        text = said if isinstance(said, str) else _text(said, request.outputs)
        return Reply(text if answers.is_probability(request.outputs) else whole(request, text))

    async def close(self) -> None: ...

    def _missing(self, request: Request) -> Problem:
        had = len(self._list)
        return Problem(
            "A712",
            f"`{self._node}` asks a {_nth(self.asked)} time, and `reply` has {had or 'no'}"
            f" answer{'' if had == 1 else 's'}",
            node=self._node,
            note="it asks about " + _shown(request.inputs),
            help="add an answer to the list, or write one record for every call",
        )


def _text(said: Mapping[str, Any], outputs: Mapping[str, str]) -> str:
    """The reply as a model sends it: plain text or a bare number where the prompt has one output of that kind, else
    JSON.
    """
    if answers.is_plain(outputs) or answers.is_probability(outputs):
        value = next(iter(said.values()))
        return value if isinstance(value, str) else json.dumps(value)
    return json.dumps(said, ensure_ascii=False)


def _nth(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0)
    return f"{number}{ending or 'th'}"


def _shown(inputs: Mapping[str, Any]) -> str:
    parts = (f"{n} = {json.dumps(v, ensure_ascii=False, default=str)}" for n, v in inputs.items())
    text = ", ".join(p if len(p) <= 60 else p[:59] + "…" for p in parts)
    return text or "nothing of the row"
