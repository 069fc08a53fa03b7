"""Checks the chat template of a training: which of its forms is meant, and what the template reads."""

from __future__ import annotations

import contextlib
import posixpath
import re
from dataclasses import replace
from datetime import date
from typing import Final

from alchemist_runtime.train import families

from alchemist_dsl import ir
from alchemist_dsl.check.block_checker import Building
from alchemist_dsl.check.problems import either
from alchemist_dsl.check.templates import check_template
from alchemist_dsl.diagnostics.suggest import near
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.decode import decode

#: What a file with a template is called; every other name is one of a model.
FILES: Final = (".jinja", ".jinja2", ".j2", ".txt")
#: Either of these makes a folder something that a tokenizer is loaded from.
_TOKENIZER: Final = ("tokenizer_config.json", "chat_template.jinja")
#: The function by which a template asks for today.
DATED: Final = "strftime_now"
#: A model of the hub; older ones have no owner.
MODEL: Final = re.compile(r"[\w.\-]+(/[\w.\-]+)?")


def chat_template(b: Building) -> None:
    """Read what `chat_template` names: a file and `training(…)` become their text, the path of a folder one from
    the project's."""
    value = b.get("chat_template")
    if isinstance(value, ir.TextV):
        _named(b, value)
    elif isinstance(value, ir.MethodV):
        _family(b, value)
    if b.ok:
        _date(b)


def _read(b: Building, path: str) -> bytes | None:
    with contextlib.suppress(OSError):  # a pipe, a link that leads outside
        return b.world.loader.read(path)
    return None


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
    elif any(_read(b, f"{path}/{n}") is not None for n in _TOKENIZER):
        _put(b, replace(value, value=path))
    else:
        _fail(b, value, f"there is no model in the folder `{path}`")


def _file(b: Building, value: ir.TextV, path: str) -> None:
    data = _read(b, path)
    if data is None:
        folder, name = posixpath.split(path)
        others = [f for f in b.world.loader.listing(folder) if f.endswith(FILES) and f != name]
        close = near(name, others, 3)
        _fail(b, value, f"there is no chat template `{path}`", f"there is `{close[0]}`" if close else None)
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


def _family(b: Building, value: ir.MethodV) -> None:
    name = str(value.args.get("family"))
    if name in families.NAMES:
        text = families.template(name)
        _put(b, ir.TemplateV(value.span, text, (), ("training", name)))
        return
    close = near(name, families.NAMES, 1)
    b.error(
        "A411",
        f"there is no template for training the family `{name}`",
        value.span,
        help=f'did you mean `training("{close[0]}")`?' if close else f"it is {either(families.NAMES)}",
    )


def _fail(b: Building, value: ir.TextV, headline: str, help: str | None = None) -> None:
    b.error(
        "A411",
        headline,
        value.span,
        help=help
        or 'write `jinja"""…"""` for a template, `"chat.jinja"` for a file, or `"owner/model"` for that of a model; '
        "paths are relative to the recipe",
    )


# --- the day that a template writes -----------------------------------------------------------------------------------


def _date(b: Building) -> None:
    """`date` is a day; a template that asks for today has one, and no other template."""
    day, template = b.get("date"), b.get("chat_template")
    if isinstance(day, ir.TextV) and not _is_day(day.value):
        b.error(
            "A201",
            f"`date` is a day of the calendar, and `{day.value}` is none",
            day.span,
            help='for example `date = "2026-11-30"`',
        )
        return
    text = template.text if isinstance(template, ir.TemplateV) else _text_of_folder(b)
    if text is None:
        return
    span = b.name_span if template is None else template.span
    if DATED in text and day is None:
        b.problem(
            "A412",
            "the chat template writes the day of the run into every row",
            span,
            note="the same recipe gives other tokens tomorrow",
            help='pin it in the `train` block: `date = "2026-11-30"`',
        )
    elif DATED not in text and day is not None:
        b.problem("A412", "the chat template writes no date, so `date` says nothing", day.span, help="delete the line")


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _text_of_folder(b: Building) -> str | None:
    """The template of a folder of the project that `chat_template` names, or else `base`; None where nobody knows it
    here.
    """
    named = b.get("chat_template") or b.get("base")
    if not isinstance(named, ir.TextV):
        return None
    folder = named.value
    if "base" in b.attrs and named is b.attrs["base"].value and folder.startswith("."):
        folder = posixpath.normpath(posixpath.join(posixpath.dirname(named.span.file), folder))
    own = _read(b, f"{folder}/{_TOKENIZER[1]}")
    if own is not None:
        return own.decode(errors="replace")
    config = _read(b, f"{folder}/{_TOKENIZER[0]}")
    return None if config is None else config.decode(errors="replace")
