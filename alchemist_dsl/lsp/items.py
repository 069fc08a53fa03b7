"""One suggestion, as the pure side makes it: where it goes is decided where the text is known."""

from __future__ import annotations

from dataclasses import dataclass

from lsprotocol.types import CompletionItemKind as K


@dataclass(frozen=True, slots=True)
class Item:
    """`snippet` in the editor's form (`$0` is where the cursor goes). `sort`: small ones come first."""

    label: str
    kind: K
    detail: str = ""
    doc: str = ""
    snippet: str = ""
    sort: str = "5"
    start: int | None = None  # where the replaced text begins, if not at the word


def item(
    label: str, kind: K, detail: str = "", doc: str = "", snippet: str = "", sort: str = "5", start: int | None = None
) -> Item:
    return Item(label, kind, detail, doc, snippet, sort, start)


__all__ = ["Item", "K", "item"]
