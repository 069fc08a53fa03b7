"""A teacher that has only its recorded answers: whatever is not among them is an error, and nothing goes over the
network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alchemist_runtime.calls.teacher import CallFailed, Client, Reply, Request
from alchemist_runtime.schema.registry import teacher

if TYPE_CHECKING:
    from alchemist_runtime.schema import plan


@teacher(answers="recording")
def replay(spec: plan.Teacher) -> Client:
    """Recorded answers only, by call key; a question that was not recorded is an error."""
    return Recording(spec.name)


class Recording:
    """Knows nothing beyond the call cache, which was asked before."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def reply(self, request: Request) -> Reply:
        reason = f"no answer of `{self._name}` is recorded for this question"
        raise CallFailed(reason, stop=True, kind="not_recorded")

    async def close(self) -> None: ...
