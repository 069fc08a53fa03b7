"""A command line (`--learning_rate 5e-6 --dataset_mixer_list a 1.0 b 0.5`), also in a shell script -> values with
places.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

from alchemist_dsl.migrate.tracked_mapping import TreeError, Value
from alchemist_dsl.source import SourceFile, Span

_TOKEN: Final = re.compile(
    r"""(?:\\\n|[ \t])+|(?P<comment>#[^\n]*)|(?P<end>\n|;|&&|\|)|(?P<word>(?:[^\s"'\\;|&]|\\.|"(?:\\.|[^"\\])*"|'[^']*'|&(?!&))+)""",
    re.DOTALL,
)


def is_command_line(text: str) -> bool:
    """Whether a text is a command line and no YAML."""
    return re.search(r"(?m)^[^#\n]*(?:^|\s)--dataset_mixer(?:_list)?\b", text) is not None


def read(source: SourceFile) -> Value:
    """The options of the one command that has a mixer. TreeError where its quotes do not close."""
    words = max(_commands(source), key=_rank, default=[])
    data: dict[str, Value] = {}
    keys: dict[str, Span] = {}
    start = _script(words)
    at = start
    while at < len(words):
        text, span = words[at]
        at += 1
        if not text.startswith("--"):
            continue
        name, equals, inline = text[2:].partition("=")
        provided = [(inline, span)] if equals else []
        while not equals and at < len(words) and not words[at][0].startswith("--"):
            provided.append(words[at])
            at += 1
        name = name.replace("-", "_")
        data[name], keys[name] = _value(provided, span), span
    return Value(data, source.span(0, 0), keys=keys)


def _rank(words: list[tuple[str, Span]]) -> int:
    return sum(w.startswith("--dataset_mixer") for w, _ in words)


def _script(words: list[tuple[str, Span]]) -> int:
    """Where the options of the script begin: behind its name, if a launcher stands before it."""
    return next((i + 1 for i, (w, _) in enumerate(words) if w.endswith(".py")), 0)


def _value(given: list[tuple[str, Span]], span: Span) -> Value:
    if not given:
        return Value(True, span, "true")
    values = tuple(Value(_typed(t), s, t) for t, s in given)
    return values[0] if len(values) == 1 else Value(values, values[0].span)


def _typed(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text.lower(), text)


def _commands(source: SourceFile) -> Iterator[list[tuple[str, Span]]]:
    words: list[tuple[str, Span]] = []
    at = 0
    while at < len(source.text):
        found = _TOKEN.match(source.text, at)
        if found is None:
            if source.text[at] in "\r\f\v\\&":
                at += 1
                continue
            raise TreeError("a quote of the command line is never closed", source.span(at, at + 1))
        at = found.end()
        if found["word"] is not None:
            plain = " ".join(shlex.split(found["word"])) if _quoted(found["word"]) else found["word"]
            words.append((plain, source.span(found.start(), found.end())))
        elif found["end"] is not None:
            yield words
            words = []
    yield words


def _quoted(word: str) -> bool:
    return any(c in word for c in "\"'\\")
