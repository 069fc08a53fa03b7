"""A teacher that says back what it is asked, for tests and documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alchemist_runtime.calls.teacher import Client, Reply, Request, whole
from alchemist_runtime.schema.functions import Type, type_of
from alchemist_runtime.schema.registry import teacher

if TYPE_CHECKING:
    from alchemist_runtime.schema import plan


@teacher(answers="messages")
def echo(spec: plan.Teacher) -> Client:
    """The last message of the user, said back: free, offline, for tests and documentation.

    Every text of an answer is that message; any other value is the first of its type: the lowest number of its range
    (0 where it has none), `false`, the first choice, no elements of a list, the message as the one turn of `messages`.
    """
    return Echo()


class Echo:
    """Answers at once; holds nothing."""

    async def reply(self, request: Request) -> Reply:
        """Plain text for one text output, JSON otherwise."""
        from alchemist_runtime.calls.answers import is_plain, is_probability
        from alchemist_runtime.schema.sealed import as_json

        said = next((m["content"] for m in reversed(request.messages) if m["role"] == "user"), "")
        values = {name: _value(type_of(t), said) for name, t in request.outputs.items()}
        if is_plain(request.outputs):
            return Reply(whole(request, said))
        return Reply(as_json(*values.values()) if is_probability(request.outputs) else as_json(values))

    async def close(self) -> None: ...


def _value(type_: Type, said: str) -> Any:
    match type_.name:
        case "int" | "real":
            bounds = [b for b in (type_.low, min(0, type_.high or 0)) if b is not None]
            return int(bounds[0]) if type_.name == "int" else float(bounds[0])
        case "bool":
            return False
        case "enum":
            return type_.options[0]
        case "list":
            return []
        case "record":
            return {name: _value(t, said) for name, t in type_.fields}
        case "messages":
            return [{"role": "user", "content": said}]
    return said
