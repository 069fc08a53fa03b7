"""A turn as chat formats write it, and as a row holds it: its text in a column, its further keys beside.

A content that is no text (null beside tool calls, the parts of a multimodal message) is one of the further keys. It
stands as long as the text is the one that was read off it; a text that a step has written takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alchemist_runtime.schema.exact_json import as_json

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
