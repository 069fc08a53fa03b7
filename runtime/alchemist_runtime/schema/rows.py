"""Names and types of what a row carries: standard columns, identity columns, column types.

A column type is a short text, the same in recipes, plans and messages: `text`, `int`, `real`, `bool`, `json`,
`messages`, `prob`, `list<T>`, `enum("a","b")`, each with a trailing `?` where null is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from alchemist_runtime.schema.sealed import as_json

SYSTEM: Final = "system"
INSTRUCTION: Final = "instruction"
RESPONSE: Final = "response"
HISTORY: Final = "history"
MESSAGES: Final = "messages"

#: The columns of the schema `sft`. The turns are stored as these four; `messages` is computed from them and read into
#: them.
TURN_COLUMNS: Final = (SYSTEM, INSTRUCTION, RESPONSE, HISTORY)
#: `history` holds the turns between the system turn and the last user turn; `_tail` those between that one and its
#: final reply (tool calls and their results), so that a conversation of any shape survives the four columns without
#: loss.
TAIL: Final = "_tail"
#: Further keys of the system, instruction and response turns (tool calls, names), as JSON by turn column.
EXTRA: Final = "_extra"

SFT: Final[dict[str, str]] = {
    "system": "text?",
    "instruction": "text",
    "response": "text",
    "history": "messages?",
    "lang": "text?",
    "tools": "json?",
    "template_args": "json?",
}

#: Identity: 128-bit ids (16 bytes in Arrow, 32 hex digits in exports), the source's name, the step that wrote the row.
ID: Final = "_id"
PARENT: Final = "_parent"
ROOT: Final = "_root"
COPY: Final = "_copy"
ORIGIN: Final = "origin"
MADE_BY: Final = "made_by"
IDENTITY: Final = (ID, PARENT, ROOT, ORIGIN, MADE_BY)
IDENTITY_TYPES: Final[dict[str, str]] = {
    "_id": "id",
    "_parent": "id?",
    "_root": "id",
    "origin": "text",
    "made_by": "text",
}

ROWS: Final = "rows"
DROPPED: Final = "dropped"
TRACE: Final = "trace"
PORTS: Final = (ROWS, DROPPED, TRACE)

#: Columns that `.dropped` adds to the columns of the step's input; some kinds add more (compiler, `check/columns.py`).
DROPPED_COLUMNS: Final[dict[str, str]] = {"rule": "text", "reason": "text?"}


def nullable(type_: str) -> bool:
    """Whether null is a value of this column type."""
    return type_.endswith("?")


def required(type_: str) -> str:
    """The same type without null."""
    return type_.removesuffix("?")


def optional(type_: str) -> str:
    """The same type with null."""
    return type_ if type_.endswith("?") else type_ + "?"


# --- message ---------------------------------------------------------------------------------------------------------

CONTENT = "content"


def text_of(content: Any) -> str:
    """The text of a content: as it is, none of null, the texts of a list of parts, else its JSON."""
    match content:
        case str():
            return content
        case None:
            return ""
        case list() if all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
            return "".join(p["text"] for p in content)
        case _:
            return as_json(content)


def message(role: str, text: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The turn as it was read, or with the text that a step has written."""
    others = {key: value for key, value in extra.items() if key != CONTENT}
    as_read = CONTENT in extra and text_of(extra[CONTENT]) == text
    return {"role": role, CONTENT: extra[CONTENT] if as_read else text, **others}
