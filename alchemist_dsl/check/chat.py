"""Checks the chat template of a training: which of its forms is meant, and what the template reads."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from typing import Final

from alchemist_dsl import ir
from alchemist_dsl.check.building import Building
from alchemist_dsl.check.templates import check_template
from alchemist_dsl.diagnostics.suggest import near
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.decode import decode

#: What a file with a template is called; every other name is one of a model.
FILES: Final = (".jinja", ".jinja2", ".j2", ".txt")
#: Either of these makes a folder something that a tokenizer is loaded from.
_TOKENIZER: Final = ("tokenizer_config.json", "chat_template.jinja")
MODEL: Final = re.compile(r"[\w.\-]+(/[\w.\-]+)?")


def chat_template(b: Building) -> None:
    """Read what `chat_template` names: a file becomes its text, the path of a folder one from the project's."""
    value = b.get("chat_template")
    if isinstance(value, ir.TextV):
        _named(b, value)


def _put(b: Building, value: ir.Value) -> None:
    b.attrs["chat_template"] = replace(b.attrs["chat_template"], value=value)


def _named(b: Building, value: ir.TextV) -> None:
    name = value.value
    file, placed = name.endswith(FILES), name.startswith((".", "/", "~"))
    if not file and not placed:
        if not MODEL.fullmatch(name):
            _fail(b, value, f"`{name}` is no template, no file and no model")
        return
    path = posixpath.normpath(posixpath.join(posixpath.dirname(value.span.file), name))
    if path.startswith(("/", "~", "../")):
        b.error(
            "A411",
            f"the chat template `{name}` lies outside the project",
            value.span,
            help="copy the file into the project",
        )
    elif file:
        _file(b, value, path)
    elif any(b.world.loader.read(f"{path}/{n}") is not None for n in _TOKENIZER):
        _put(b, replace(value, value=path))
    else:
        _fail(b, value, f"there is no model in the folder `{path}`")


def _file(b: Building, value: ir.TextV, path: str) -> None:
    data = b.world.loader.read(path)
    if data is None:
        folder, name = posixpath.split(path)
        others = [f for f in b.world.loader.listing(folder) if f.endswith(FILES) and f != name]
        close = near(name, others, 3)
        _fail(
            b,
            value,
            f"there is no chat template `{path}`",
            f"there is `{close[0]}`" if close else None,
        )
        return
    source, problems = decode(path, data)
    b.world.problems.take(problems)
    reads = None
    if source is not None:
        b.world.loader.files[path] = source  # so that problems are shown where they are
        whole = ast.Text(source.span(0, len(source.text)), source.text, "template", source.starts)
        assert b.variables is not None
        reads = check_template(whole, b.variables, b.world.problems)
    if source is None or reads is None:
        b.ok = False
        return
    _put(b, ir.TemplateV(value.span, source.text, reads, ("file", path)))


def _fail(b: Building, value: ir.TextV, headline: str, help: str | None = None) -> None:
    b.error(
        "A411",
        headline,
        value.span,
        help=help
        or 'write `jinja"""…"""` for a template, `"chat.jinja"` for a file, or `"owner/model"` for that of a model; paths are relative to the recipe',
    )
