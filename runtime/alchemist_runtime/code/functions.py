"""The expression functions about code: which language a text holds, whether it parses, how clear and how organised it
is.

Pure functions of the text, with pinned results: what they answer is part of the bytes of a dataset. A text may be plain
code or prose around Markdown fences. Null in, null out.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from alchemist_runtime.code import clarity as _clarity
from alchemist_runtime.code import grammars, languages


def lang(text: str | None) -> str | None:
    """The language of the code in a text; None if there is no code.

    With fences: the language with the most characters in fenced blocks, by tag, or by syntax where a block has no tag.
    A tag we do not know is given back as it stands, in lower case; blocks of output (`text`, `output`) do not count.
    Without fences: by syntax: python, javascript, typescript, java, c, cpp, go, rust, bash, sql, html, json, and also
    csharp, css, haskell, kotlin, perl, php, powershell, r, ruby, scala, swift. Lines that read as sentences are no
    evidence of code.
    """
    if text is None:
        return None
    found = blocks(text)
    return _main(found) if found else languages.detect(text)


def code(text: str | None) -> str | None:
    """The code of a text: its fenced blocks joined by a blank line, or the whole text if it parses as its language.

    Of blocks in several languages only those of `lang(text)` count; untagged ones count only where no block has a tag.
    Python whose strings hold fences is taken whole. None where the text holds no fence and is prose or does not parse.
    """
    if text is None:
        return None
    found = blocks(text)
    if not found:
        name = languages.detect(text)
        return text if name is not None and grammars.parses(text.strip(), name) else None
    main = _main(found)
    chosen = [c for name, c in found if name == main] or [c for _, c in found]
    return "\n\n".join(c for c in chosen if c.strip())


def fences(text: str) -> int:
    """The number of fenced code blocks (``` or ~~~); one that is never closed counts."""
    return len(languages.scan(text))


def blocks(text: str) -> list[tuple[str | None, str]]:
    """The fenced blocks of code in order, with their language, from the tag or by syntax; none for Python that holds
    fences.
    """
    found = languages.scan(text)
    if not found or _is_python(text):
        return []
    coded = [b for b in found if not b.plain] or found
    if any(b.lang for b in coded):
        return [(b.lang, b.code) for b in coded]
    return [(languages.detect(b.code), b.code) for b in coded]


def parses(text: str | None, lang: str | None = None) -> bool | None:
    """Whether code parses in a language, by default that of the text; true for a language without a parser, or no code.

    Parsers: ast for Python (what 3.12 to 3.14 brought is known on 3.11, too), orjson for JSON, tree-sitter for
    javascript, typescript, java, c, cpp, go, rust, bash. Code of more than 50,000 characters (bash 10,000, Python a
    million) is not judged, and passes. A snippet that lacks only what goes around it (a class, a function) parses, and
    so does a `>>>` session. Python that gives or takes an argument twice does not. Of a text with fences, the blocks of
    that language must parse, each by itself, unless the fences stand in strings or comments of code that parses as a
    whole.
    """
    if text is None:
        return None
    name = lang or _lang(text)
    if name is None or name not in grammars.PARSED:
        return True
    whole = languages.hidden(text) if languages.scan(text) else text
    bare = whole.strip("\n") if name == "python" else whole.strip()
    if (whole == text or not _is_markdown(text, name)) and grammars.parses(bare, name):
        return True
    found = blocks(text)
    mine = [c for tag, c in found if tag == name] or [c for tag, c in found if tag is None]
    return bool(mine) and all(grammars.parses(c, name) for c in mine)


def clarity(text: str | None, lang: str | None = None) -> int | None:
    """Clarity of code, 0 to 10: the sum of five parts, all read from the characters, so that broken code has one too.

    See `_clarity.measure` for the exact definition: names 0-3, layout 0-2, nesting 0-2, length of functions 0-1,
    comments 0-2.
    """
    if text is None:
        return None
    return _clarity.measure(_judged(text), lang or _lang(text))


def organised(text: str | None, lang: str | None = None) -> bool | None:
    """Whether code is organised in functions or classes, or so short that it needs none.

    Counted are statements, the inner ones too, but no imports, docstrings, declarations of a single name as a constant,
    and no `if __name__ == "__main__"` block. Organised is code with at most 5 statements outside of functions and
    classes, or with at least as many inside as outside. Scripts in bash may have 20. Languages without functions here
    (sql, html, json, …) and prose are organised.
    """
    if text is None:
        return None
    return _clarity.is_organised(_judged(text), lang or _lang(text))


#: What lets a string of Python go on in the next line.
_OPENERS: Final = ('"""', "'''", "\\\n", "\\\r")

_lang = lang  # the parameter of that name hides the function


def _main(found: list[tuple[str | None, str]]) -> str | None:
    """The language with the most characters; the first of equals."""
    size: Counter[str] = Counter()
    for name, text in found:
        if name is not None:
            size[name] += len(text)
    return max(size, key=lambda name: size[name], default=None)


def _judged(text: str) -> str:
    """What of a text is code: the blocks of its language, or all of it."""
    return (code(text) if languages.scan(text) else None) or text


def _is_python(text: str) -> bool:
    """Whether all of it is Python: then its fences stand in strings. Markdown around fences never parses."""
    return not _is_markdown(text, "python") and grammars.module(text) is not None


def _is_markdown(text: str, lang: str) -> bool:
    """Whether it is plain without a parser that a text with fences is no code as a whole."""
    return text.lstrip()[:3] in ("```", "~~~") or (lang == "python" and _outside_strings(text))


def _outside_strings(text: str) -> bool:
    """Whether a line begins with backticks that no string of Python can hold: none was opened that goes over lines.
    Quick.
    """
    found = languages.BACKTICKS.search(text)
    if found is None or ">>>" in text:  # of a session only some lines count
        return False
    return not any(mark in text[: found.start()] for mark in _OPENERS)


# --- batch -----------------------------------------------------------------------------------------------------------

#: Stands for "the first argument itself", so that a whole text need not travel back or be kept twice.
ITSELF: Final = ("itself",)


def over(name: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The function of this module over some rows; a result that is the first argument itself is a mark."""
    function: Callable[..., Any] = globals()[name]
    return [_call(function, row) for row in rows]


def _call(function: Callable[..., Any], row: tuple[Any, ...]) -> Any:
    value = function(*row)
    return ITSELF if isinstance(value, str) and value == row[0] else value


def leave_with_parent() -> None:
    """End this worker when the run that started it is gone, killed say: nobody else would tell it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_after, args=(parent.sentinel,), daemon=True).start()


def _leave_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
