"""How a tool's rows are laid out -> the `set` statements of a source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from alchemist_runtime.schema.attributes import RESERVED

from alchemist_dsl.migrate.recipe_draft import Source, column

Columns = frozenset[str] | None

#: Keys of a turn and names of roles that `turns(…)` reads.
ROLE_KEYS: Final = frozenset({"role", "from", "speaker"})
CONTENT_KEYS: Final = frozenset({"content", "value", "text"})
ROLES: Final[Mapping[str, frozenset[str]]] = {
    "user": frozenset({"user", "human", "prompter", "question", "instruction"}),
    "assistant": frozenset({"assistant", "gpt", "bot", "model", "chatgpt", "answer", "ai", "chatbot"}),
    "system": frozenset({"system"}),
    "tool": frozenset({"tool", "function", "observation", "function_response", "tool_response"}),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Columns of one question and one answer; `input` goes below the question where a row has one."""

    instruction: str
    response: str
    input: str | None = None
    system: str | None = None
    between: str = "\n"


def conversation(source: Source, field: str) -> None:
    """Turns in a column. One called `messages` is read as such without a word."""
    if field != "messages":
        source.sets["messages"] = f"turns({column(field)})"


def pair(source: Source, layout: Pair, have: Columns) -> None:
    """A question and an answer. A column `input` that the records do not have is left out."""
    if layout.system and (have is None or layout.system in have):
        _set(source, "system", layout.system)
    if layout.input and (have is None or layout.input in have):
        source.sets["instruction"] = _joined(layout.instruction, layout.input, layout.between)
    else:
        _set(source, "instruction", layout.instruction)
    _set(source, "response", layout.response)


def text(source: Source, field: str) -> None:
    """Text without turns: all of it is the response."""
    source.sets["instruction"] = {"recipe": '""'}
    source.sets["response"] = column(field)


def tools(source: Source, field: str | None) -> None:
    if field and field != "tools":
        source.sets["tools"] = column(field)


def _set(source: Source, name: str, field: str) -> None:
    if field != name:
        source.sets[name] = column(field)


def _joined(first: str, second: str, between: str) -> Any:
    """Two columns, the second only where a row has it."""
    if all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", n) and n not in _JINJA | RESERVED for n in (first, second)):
        mark = between.replace("\n", "\\n")
        return {"template": f'{{{{ {first} }}}}{{{{ "{mark}" ~ {second} if {second} else "" }}}}'}
    import json

    a, b = column(first), f'coalesce(text({column(second)}), "")'
    return f'{a} + pick({b} == "", "", {json.dumps(between)} + {b})'


_JINJA: Final = frozenset(
    {
        "if",
        "else",
        "is",
        "for",
        "loop",
        "none",
        "None",
        "True",
        "False",
        "true",
        "false",
        "self",
        "super",
        "caller",
        "varargs",
        "kwargs",
        "range",
        "dict",
        "lipsum",
        "cycler",
        "joiner",
        "namespace",
        "recursive",
        "and",
        "or",
        "not",
        "in",
    }
)
