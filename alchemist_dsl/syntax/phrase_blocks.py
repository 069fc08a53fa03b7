"""What to say where the top level, a header or the form of a block is wrong."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

from alchemist_dsl.diagnostics.model import Diagnostic, Edit, near
from alchemist_dsl.syntax.phrase_values import ENDS, OPERATORS, RESERVED, VALUES, Mistake
from alchemist_dsl.syntax.repair import VERBS
from alchemist_dsl.syntax.trivia import END


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


# --- statements -------------------------------------------------------------------------------------------------------

#: What other languages write where a column is set.
_ASSIGNS: Final = frozenset({"let", "var", "const", "def", "column", "col", "add", "update", "assign", "with"})
_BEFORE_VALUES: Final = OPERATORS - {"DOT"} | VERBS | {"EQ", "LPAR", "COMMA", "LSQB", "PER"}


def double_equals(m: Mistake) -> Diagnostic | None:
    end = m.path_end()
    if m.i != end or end == m.first or m.top:
        return None
    if m.here == "EQUAL":
        return Diagnostic(
            "A001",
            "an attribute is set with one `=`; `==` compares",
            m.span(m.i),
            help="write `=`",
            edit=Edit(m.span(m.i), "="),
        )
    if m.here in ("PLUS", "MINUS", "STAR") and m.kind(m.i + 1) == "EQ":
        return Diagnostic(
            "A002",
            f"there is no `{m.text(m.i)}=`; a recipe says what a value is, not how it changes",
            m.span(m.i, m.i + 1),
            help="write `=` and the whole value",
        )
    return None


def arrow(m: Mistake) -> Diagnostic | None:
    if m.here == "MORE" and m.before in ("EQ", "MINUS") and m.i - 1 >= m.path_end():
        span = m.span(m.i - 1, m.i)
        return Diagnostic("A002", "a value is set with `=`", span, help="write `=`", edit=Edit(span, "="))
    return None


def missing_equals(m: Mistake) -> Diagnostic | None:
    end = m.path_end()
    if m.top or end == m.first or m.kind(end) not in VALUES or m.i < end:
        return None
    if m.kind(end) == "LBRACE" or (m.kind(end) == "LPAR" and m.kind(m.first) != "SET"):
        return None
    if m.kind(end) == "NAME" and m.kind(end + 1) == "EQ" and m.kinds[m.first] != "SET":
        return _two_names(m, end)
    if m.here in ENDS or m.i == end or m.kind(end) == "NAME":
        path = m.shown(m.first, end - 1)
        value = _several(m, end) or m.shown(end, m.value_end())
        return Diagnostic(
            "A001",
            f"`{path}` needs `=` before its value",
            m.after(end - 1),
            "here",
            help=f"write `{path} = {value}`",
            edit=Edit(m.after(end - 1), " ="),
        )
    return None


def _list_without_brackets(m: Mistake) -> Diagnostic | None:
    """`from = a, b`: the second name is read as a statement of its own."""
    kinds, tokens = m.kinds, m.where.tokens
    first = m.first
    line = tokens.source.text.rfind("\n", 0, tokens.starts[first]) + 1
    while first > 0 and kinds[first - 1] not in ("NEWLINE", "LBRACE"):
        first -= 1
    if first == m.first or kinds[m.first - 1] != "COMMA" or tokens.starts[first] < line:
        return None
    if kinds[first : first + 2] != ["NAME", "EQ"] or "EQ" in kinds[first + 2 : m.first]:
        return None
    last = m.first
    while kinds[last + 1] not in ENDS - {"COMMA"}:
        last += 1
    displayed, name = m.source(first + 2, last), m.text(first)
    span = m.span(first + 2, last)
    return Diagnostic(
        "A002",
        f"several values of `{name}` go into a list",
        span,
        help=f"write `{name} = [{displayed}]`",
        edit=Edit(span, f"[{displayed}]"),
    )


def _several(m: Mistake, first: int) -> str | None:
    """`[a, b]`, where names with commas between follow on the line."""
    kinds, last = m.kinds, first
    while kinds[last : last + 3] == ["NAME", "COMMA", "NAME"]:
        last += 2
    if last == first or kinds[last + 1] not in ENDS:
        return None
    return f"[{m.source(first, last)}]"


def missing_name(m: Mistake) -> Diagnostic | None:
    """`= 350`: a line that starts with its `=`."""
    if m.here != "EQ" or m.i != m.first or m.top:
        return None
    value = m.shown(m.i + 1, m.value_end()) if m.kind(m.i + 1) else "…"
    return Diagnostic("A002", "the name before this `=` is missing", m.span(m.i), help=f"write `NAME = {value}`")


def missing_type(m: Mistake) -> Diagnostic | None:
    """`score:` and nothing behind it."""
    if m.here not in ENDS or m.before != "COLON" or m.i != m.first + 2 or m.top:
        return None
    name = m.text(m.first)
    return Diagnostic(
        "A016",
        f"`{name}` has no type",
        m.span(m.i - 1),
        help=f"write `{name}: text` for a field, `{name} = …` for an attribute",
    )


def _two_names(m: Mistake, second: int) -> Diagnostic:
    """`from from = pool`, `let lang = lang(response)`."""
    one, two = m.shown(m.first, second - 1), m.text(second)
    whole = m.span(m.first, second)
    if one == two:
        return Diagnostic(
            "A002", f"`{one}` stands twice", m.span(second), "again", help=f"write `{one} = …`", edit=Edit(whole, one)
        )
    if one.lower() in _ASSIGNS or near(one, ("set",), 1):
        return Diagnostic(
            "A002",
            f"a column is set with `set`, not with `{one}`",
            m.span(m.first),
            help=f"write `set {two} = …`",
            edit=Edit(m.span(m.first), "set"),
        )
    return Diagnostic(
        "A002",
        f"two names stand before the `=`: `{one}` and `{two}`",
        whole,
        help=f"write `{one} = …` or `{two} = …`, each on a line of its own",
    )


def colon(m: Mistake) -> Diagnostic | None:
    """`epochs: 2`, `a := 1`, `{ a: 1 }`, `f(n: 5)`."""
    colon = next((j for j in (m.i, m.i - 1) if m.kind(j) == "COLON"), m.first + 1)
    if m.kind(colon) != "COLON" or (m.top and m.kinds[m.first] == "PARAM" and colon == m.first + 2):
        return None
    if m.here == "EQ" and m.before == "COLON":
        span = m.span(m.i - 1, m.i)
        return Diagnostic(
            "A009", "attributes are set with `=`, not with `:=`", span, help="write `=`", edit=Edit(span, "=")
        )
    if m.kind(colon - 1) != "NAME" or m.i < colon:
        return None
    name = m.text(colon - 1)
    inside = m.around()
    last = m.value_end() if not inside else colon + 1
    value = m.shown(colon + 1, last) if m.kind(colon + 1) and last > colon else "…"
    what = {"LPAR": "arguments", "LBRACE": "the fields of a record"}.get(inside, "attributes")
    if not inside and m.kinds[m.where.opener] == "LBRACE" and _in_record(m):
        what = "the fields of a record"
    gap = "" if m.where.tokens.ends[colon] < m.where.tokens.starts[colon + 1] else " "
    return Diagnostic(
        "A009",
        f"{what} are set with `=`; `:` declares the type of a field",
        m.span(colon),
        help=f"write `{name} = {value}`",
        edit=Edit(m.span(colon), " =" + gap),
    )


def _in_record(m: Mistake) -> bool:
    """Whether the block around the statement is a record: it stands after `=`, `,` or an opening bracket."""
    opener = m.where.opener
    return opener > 0 and m.kinds[opener - 1] in ("EQ", "COMMA", "LSQB", "LPAR", "NEWLINE")


def missing_value(m: Mistake) -> Diagnostic | None:
    if m.here not in ENDS and m.here not in ("RSQB", "RPAR"):
        return None
    if m.before == "EQ":
        name = m.text(m.i - 2) if m.i - 2 >= m.first else ""
        return Diagnostic(
            "A016", f"`{name}` has no value", m.span(m.i - 1), help="write a value after the `=`, or delete the line"
        )
    if m.before in VERBS or m.before == "SET":
        word = m.text(m.i - 1)
        what = "a column and its value" if word == "set" else "a condition"
        example = "set lang = lang(response)" if word == "set" else f"{word} chars(response) < 80"
        return Diagnostic("A016", f"`{word}` needs {what}", m.span(m.i - 1), help=f"for example `{example}`")
    if m.before in ("AS", "PER"):
        word = m.text(m.i - 1)
        what = "a name" if m.before == "AS" else "a column or a count"
        return Diagnostic(
            "A016", f"`{word}` needs {what} after it", m.span(m.i - 1), help=f"write it, or delete `{word}`"
        )
    end = m.path_end()
    if (listed := _list_without_brackets(m)) is not None:
        return listed
    if m.i == end and end > m.first and not m.top and m.here != "LPAR":
        path = m.shown(m.first, end - 1)
        return Diagnostic(
            "A016", f"`{path}` has no value", m.span(m.first, end - 1), help=f"write `{path} = …`, or delete the line"
        )
    return None


# --- what names get wrong ---------------------------------------------------------------------------------------------


def reserved(m: Mistake) -> Diagnostic | None:
    """A reserved word where a name is needed."""
    at = _reserved_token(m)
    if at is None:
        return None
    word = m.text(at)
    before = m.kind(at - 1)
    if at == m.i and before == "DOT":
        help = f'a column of this name is read as `{m.text(at - 2)}["{word}"]`'
    elif at == m.i and before in _BEFORE_VALUES:
        help = f'a column of this name is read as `row["{word}"]`'
        if before == "EQ" and m.kind(m.first) != "SET":
            help += f', a choice of this name is written in quotes: `"{word}"`'
    else:
        help = f"choose another name, for example `{word}_`"
    return Diagnostic("A017", f"`{word}` is a reserved word and cannot be a name", m.span(at), help=help)


def _reserved_token(m: Mistake) -> int | None:
    """The reserved word that stands where a name should, at or right before the token that does not fit."""
    if m.here in ("EQ", "COLON"):
        named = m.kind(m.i - 2) in ("", "DOT", "COMMA", "LPAR", "SET")
        return m.i - 1 if m.before in RESERVED and named else None
    if m.here not in RESERVED or "NAME" not in m.expected or (m.top and m.i == m.first):
        return None
    if m.here in ("AND", "OR", "IN") and m.before in ("", "NAME"):
        return None  # an operator without its left side, not a name
    named = m.before in _BEFORE_VALUES or m.before in ("", "DOT", "SET", "AS", "NAME", "PARAM")
    return m.i if named else None


def rule_name(m: Mistake) -> Diagnostic | None:
    """What follows `as`: quotes, hyphens."""
    if m.before == "AS" and m.here in ("STRING", "NUMBER"):
        return name_form(m, m.i, m.i)
    if m.here in ("MINUS", "DOT") and m.before == "NAME" and m.kind(m.i - 2) == "AS":
        return name_form(m, m.i - 1, m.value_end())
    return None
