"""Renaming: the declaration and all references at once. What is data keeps its name, unless the editor can ask
first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.schema.attributes import RESERVED
from alchemist_runtime.schema.kinds import KINDS, TAKEN

from alchemist_dsl.checker.names import Decl
from alchemist_dsl.lsp.analysis import Analyser, Analysis
from alchemist_dsl.lsp.hover import declared
from alchemist_dsl.lsp.names import Occurrence, Symbol
from alchemist_dsl.lsp.navigation import Found, places
from alchemist_dsl.project.folder import STD

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
#: Names that become data: why, in a sentence.
_DATA: Final = {
    "rule": "the name of a rule stands in the column `rule` of the refused rows",
    "class": "the name of a class is an answer of the task",
}
_FIXED: Final = {
    "input": "the inputs of a prompt are called like the columns that they take",
    "output": "the teacher answers with this name, and traces hold it",
    "field": "it is the name of a column",
}


class Refused(Exception):
    """Why a name stays as it is."""


@dataclass(frozen=True, slots=True)
class Change:
    """A new text at a place."""

    at: Found
    text: str


@dataclass(frozen=True, slots=True)
class Renaming:
    """All changes. `data`: why the data changes with it; None where nothing runs again."""

    changes: tuple[Change, ...]
    data: str | None = None


def renamable(analysis: Analysis, offset: int) -> Occurrence:
    """The name at an offset. Raises Refused where there is none, or none that may change."""
    occurrence = analysis.names.at(analysis.source.path, offset)
    if occurrence is None:
        raise Refused("there is no name to change here; columns are data, and keep theirs")
    symbol = occurrence.symbol
    if symbol.span.file.startswith(STD):
        raise Refused(f"`{symbol.name}` belongs to the shipped library")
    if symbol.what in _FIXED:
        raise Refused(f"`{symbol.name}` keeps its name: {_FIXED[symbol.what]}")
    return occurrence


def rename(analyser: Analyser, analysis: Analysis, offset: int, new: str) -> Renaming:
    """The changes that give the name at an offset a new spelling. Raises Refused."""
    symbol = renamable(analysis, offset).symbol
    if new == symbol.name:
        return Renaming(())
    _free(analysis, symbol, new)
    found = places(analyser, analysis, symbol)
    changes = [Change(f, new) for f in found]
    decl = declared(analysis, symbol) if symbol.what == "block" else None
    if decl is not None and _salted(analysis, decl):
        changes.append(_moved(analysis, found, symbol, new))
    return Renaming(tuple(changes), _why_data(symbol))


def _why_data(symbol: Symbol) -> str | None:
    if symbol.what == "block" and symbol.kind == "source":
        return "the name of a source stands in the column `origin` of its rows"
    return _DATA.get(symbol.what)


def _free(analysis: Analysis, symbol: Symbol, new: str) -> None:
    """Refuse a name that is none, or that something else has."""
    if not _NAME.match(new):
        raise Refused(f"`{new}` is no name; names are letters, digits and `_`")
    if new in RESERVED:
        raise Refused(f"`{new}` is a word of the language")
    if symbol.what in ("block", "alias"):
        port = symbol.kind == "source" and new in ("dropped", "trace", "rows")
        if new in TAKEN or port:
            raise Refused(f"`{new}` means something else in the language")
        scopes = [s for s in analysis.context.loader.scopes.values() if symbol.span.file in s.files]
        if any(new in s.decls or new in s.aliases for s in scopes):
            raise Refused(f"`{new}` is there already")
    elif symbol.what == "param" and new in analysis.scope.params:
        raise Refused(f"there is a parameter `{new}` already")
    elif symbol.what == "rule":
        decl = analysis.scope.decls.get(symbol.owner)
        rules = decl.body.rules if decl is not None else []
        if any(r.stmt.name is not None and r.stmt.name.name == new for r in rules):
            raise Refused(f"`{symbol.owner}` has a rule `{new}` already")


def _salted(analysis: Analysis, decl: Decl) -> bool:
    """Whether the name of a block decides which rows it draws, and no `moved` says so yet."""
    kind, body = KINDS[decl.kind], decl.body
    if "salt" not in kind.attributes or "salt" in body.attrs:
        return False
    known = (d.body.attrs.get("to") for d in analysis.scope.unnamed if d.kind == "moved")
    if any(p is not None and getattr(p.stmt.value, "name", None) == decl.name for p in known):
        return False
    return kind.draws or "select" in body.attrs or "split" in {*body.attrs, *body.blocks}


def _moved(analysis: Analysis, found: list[Found], symbol: Symbol, new: str) -> Change:
    """A `moved` block at the end of the declaring file: the same rows are drawn under the new name."""
    home = next(f for f in found if f.declares and f.span == symbol.span)
    text = home.source.text
    end = len(text)
    lead = "\n" if text.endswith("\n") else "\n\n"
    block = f"{lead}moved {{\n  from = {symbol.name}\n  to = {new}\n}}\n"
    return Change(Found(home.real, home.source, home.source.span(end, end), home.uri), block)
