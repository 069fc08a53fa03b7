"""What to say where the top level, a header or the form of a block is wrong."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from alchemist_dsl.diagnostics.model import Diagnostic, Edit
from alchemist_dsl.syntax.mistake import Mistake
from alchemist_dsl.syntax.repair import VERBS
from alchemist_dsl.syntax.tokens import END


def edition(m: Mistake) -> Diagnostic | None:
    word = m.text(m.first) if m.first < len(m.kinds) - 1 else ""
    if m.top and m.first == 0 and (word == "edition" or (m.here == "NUMBER" and m.i == 0)):
        return Diagnostic(
            "A012",
            "the first line of a recipe is `edition 2026`",
            m.span(m.first, m.value_end()),
            help="write `edition 2026`",
            edit=Edit(m.span(m.first, m.value_end()), "edition 2026"),
        )
    return None


def import_(m: Mistake) -> Diagnostic | None:
    if not (m.top and m.kinds[m.first] == "IMPORT"):
        return None
    path = m.text(m.first + 1) if m.kind(m.first + 1) == "STRING" else None
    if path is None:
        return Diagnostic(
            "A002",
            "`import` takes a file in quotes",
            m.span(m.i),
            help='write for example `import "std:alchemy" as alchemy`',
        )
    if m.i == m.first + 2 and m.here != "AS":
        stem = re.sub(r"\W+", "_", PurePosixPath(path.strip('"').split(":")[-1]).stem) or "lib"
        return Diagnostic(
            "A002",
            "an import needs a name, `as NAME`",
            m.span(m.first, m.first + 1),
            help=f"write `import {path} as {stem}`",
            edit=Edit(m.after(m.first + 1), f" as {stem}") if m.here in ("NEWLINE", END) else None,
        )
    return None


def param(m: Mistake) -> Diagnostic | None:
    if not (m.top and m.kinds[m.first] == "PARAM" and m.kind(m.first + 1) == "NAME"):
        return None
    if m.i != m.first + 2 or m.here not in ("EQ", "NEWLINE", END):
        return None
    name = m.text(m.first + 1)
    value = m.text(m.i + 1) if m.here == "EQ" and m.kind(m.i + 1) else ""
    kind = m.kind(m.i + 1) if value else ""
    type = "percent" if value.endswith("%") else {"STRING": "text", "TRUE": "bool", "FALSE": "bool"}.get(kind, "int")
    return Diagnostic(
        "A002",
        f"the parameter `{name}` needs a type",
        m.span(m.first + 1),
        help=f"write `param {name}: {type}{' = ' + value if value else ''}`",
        edit=Edit(m.after(m.first + 1), f": {type}", safe=False) if value else None,
    )


def top_level(m: Mistake) -> Diagnostic | None:
    """Attributes and rules outside of any block, headers without braces."""
    if not m.top:
        return None
    end = m.path_end()
    if m.kinds[m.first] in VERBS or m.kinds[m.first] == "SET":
        return Diagnostic(
            "A002",
            f"`{m.text(m.first)}` stands inside a block",
            m.span(m.first),
            help="at the top level stand `edition`, `import`, `param` and blocks `KIND NAME { … }`",
        )
    if m.here == "EQ" and m.i == end and end > m.first:
        return Diagnostic(
            "A002",
            f"`{m.shown(m.first, end - 1)}` is set outside of any block",
            m.span(m.first, end - 1),
            help=(
                "attributes stand inside a block; a value for several blocks is a parameter, "
                f"`param {m.text(m.first)}: TYPE = VALUE`"
            ),
        )
    if m.here == "COLON" and m.i == m.first + 1 and m.kinds[m.first] == "NAME":
        return Diagnostic(
            "A002",
            f"`{m.text(m.first)}` is declared outside of any block",
            m.span(m.first),
            help=f"a parameter is written `param {m.shown(m.first, m.value_end())}`",
            edit=Edit(
                m.span(m.first).__class__(m.span(m.first).file, m.span(m.first).start, m.span(m.first).start), "param "
            ),
        )
    if m.here in ("NEWLINE", END) and m.kinds[m.first] == "NAME" and 1 <= m.i - m.first <= 2:
        header = m.shown(m.first, m.i - 1)
        return Diagnostic(
            "A002", f"`{header}` has no block", m.span(m.first, m.i - 1), help=f"write `{header} {{ … }}`"
        )
    return None


def header(m: Mistake) -> Diagnostic | None:
    """`filter clean = {`, `filter my-name {`, `filter a b {`, `filter clean() {`."""
    if m.kinds[m.first] != "NAME" or _body(m) < 0 or m.kind(m.first + 1) == "EQ":
        return None
    brace = _body(m)
    if m.here in ("EQ", "COLON") and m.i == brace - 1:
        return Diagnostic(
            "A002",
            f"a block is opened without `{m.text(m.i)}`",
            m.span(m.i),
            help=f"write `{m.shown(m.first, m.i - 1)} {{`",
            edit=Edit(m.span(m.i), ""),
        )
    if m.here == "COLON" and m.i == m.first + 1:
        return Diagnostic(
            "A002",
            "a block is opened without `:`",
            m.span(m.i),
            help=f"write `{m.text(m.first)} {m.shown(m.i + 1, brace - 1)} {{`",
            edit=Edit(m.span(m.i), ""),
        )
    if m.kind(m.first + 1) == "NAME" and m.text(m.first) == m.text(m.first + 1) and brace > m.first + 2:
        return Diagnostic(
            "A002",
            f"`{m.text(m.first)}` stands twice",
            m.span(m.first + 1),
            "again",
            help=f"write `{m.text(m.first)} {m.shown(m.first + 2, brace - 1)} {{`",
            edit=Edit(m.span(m.first, m.first + 1), m.text(m.first)),
        )
    if m.kind(brace - 1) == "NAME" and m.text(brace - 1) == m.text(brace - 2) and brace == m.first + 3:
        return Diagnostic(
            "A002",
            f"`{m.text(brace - 1)}` stands twice",
            m.span(brace - 1),
            "again",
            help=f"write `{m.text(m.first)} {m.text(brace - 1)} {{`",
            edit=Edit(m.span(brace - 2, brace - 1), m.text(brace - 1)),
        )
    if m.i > m.first and brace > m.first + 1 and m.i <= brace:
        return name_form(m, m.first + 1, brace - 1)
    return None


def _body(m: Mistake) -> int:
    """The `{` that ends the first line of a statement that reads like a header; -1 if there is none."""
    stop = m.where.stop
    if m.kinds[stop - 1] != "RBRACE" or stop - 1 <= m.first:
        return -1
    brace = m.where.nest.partner[stop - 1]
    inside = {m.kinds[i] for i in range(m.first, brace)}
    return brace if brace > m.first and not inside & {"LSQB", "LBRACE", "NEWLINE"} else -1


def name_form(m: Mistake, first: int, last: int) -> Diagnostic:
    """A name that is none: with hyphens, with a digit ahead, of two words."""
    written = m.shown(first, last)
    better = re.sub(r"\W+", "_", written.strip('"')).strip("_")
    if better[:1].isdigit():
        better = "_" + better
    return Diagnostic(
        "A002",
        f"`{written}` is not a name",
        m.span(first, last),
        note="names are letters, digits and `_`, and do not start with a digit",
        help=f"write `{better}`" if better.isidentifier() else None,
        edit=Edit(m.span(first, last), better, safe=False) if better.isidentifier() else None,
    )
