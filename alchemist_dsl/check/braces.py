"""Warns where a plain text in `set` holds `{{ … }}`: it stays as it is written, though a template was most likely
meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from alchemist_dsl.check.block_checker import Building
from alchemist_dsl.check.expressions import Env, row_variables
from alchemist_dsl.check.templates import template_span
from alchemist_dsl.diagnostics.model import Edit
from alchemist_dsl.diagnostics.suggest import near
from alchemist_dsl.syntax import ast

_READ: Final = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)[^{}]*\}\}")

_HOW: Final = 'write a template: `jinja"""`, the text on lines of its own, `"""`'


def literal_braces(b: Building, value: ast.Expr, env: Env) -> None:
    """Report plain texts of an assignment whose `{{ name }}` means a column of the row, or could."""
    for text in _texts(value):
        for found in _READ.finditer(text.value):
            name = found[1]
            if name == "out" and env.out is not None:
                _report(b, text, found, None, 'join texts: `"…" + out.FIELD`; a template reads the columns of the row')
                break
            if _means_a_column(name, env):
                edit = _as_template(b, text) if text is value else None
                block = text.form == "block"
                help_ = "put `jinja` before the quotes" if block else _HOW
                _report(b, text, found, edit, help_)
                break


def _texts(value: ast.Expr) -> Iterator[ast.Text]:
    """Texts that become part of the column."""
    match value:
        case ast.Text(form="string" | "block"):
            yield value
        case ast.Binary(op="+", left=left, right=right):
            yield from _texts(left)
            yield from _texts(right)
        case ast.Call(function=ast.Ident(name="coalesce"), args=args):
            for argument in args:
                yield from _texts(argument.value)
        case _:
            pass


def _means_a_column(name: str, env: Env) -> bool:
    known = row_variables(env.stream)
    return known.open or name in known.types or bool(near(name, known.types, 1))


def _report(b: Building, text: ast.Text, found: re.Match[str], edit: Edit | None, help_: str) -> None:
    b.problem(
        "A410",
        f"`{' '.join(found[0].split())}` stays as it is written: the text around it is no template",
        template_span(text, found.start(), len(found[0])),
        help=help_,
        edit=edit,
    )


def _as_template(b: Building, text: ast.Text) -> Edit | None:
    """The same text as a template; None where its own quotes are in the way."""
    if text.form == "block":
        start = text.span.start
        return Edit(type(text.span)(text.span.file, start, start), "jinja", safe=False)
    file = b.world.loader.files.get(text.span.file)
    if file is None or '"""' in text.value or file.text[text.span.end :][:1] not in ("\n", ""):
        return None
    line = file.text[file.text.rfind("\n", 0, text.span.start) + 1 : text.span.start]
    indent = line[: len(line) - len(line.lstrip())] + "  "
    lines = "".join(f"{indent}{one}\n" if one else "\n" for one in text.value.split("\n"))
    return Edit(text.span, f'jinja"""\n{lines}{indent}"""', safe=False)
