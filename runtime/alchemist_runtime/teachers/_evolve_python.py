"""Ways to evolve Python code. Each names what it asks for and returns code that does it; all but those that ask for another
behaviour leave what the code does as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from alchemist_runtime.teachers import _edits
from alchemist_runtime.teachers._edits import Source
from alchemist_runtime.teachers._evolve_behaviour import generator, memoise, none_check
from alchemist_runtime.teachers._evolve_documents import docstring, example_checks, hints
from alchemist_runtime.teachers._evolve_layout import (
    guard,
    keyword_only,
    logging_call,
    main_function,
    rename,
)
from alchemist_runtime.teachers._ways import Made


def _python(change: Callable[[Source], Made]) -> Callable[[str, str], Made]:
    def way(code: str, lang: str) -> Made:
        source = _edits.parse(code) if lang == "python" else None
        return change(source) if source is not None else None

    way.__doc__ = change.__doc__
    return way


WAYS: Final = {
    "type hints": _python(hints),
    "none check": _python(none_check),
    "memoise": _python(memoise),
    "generator": _python(generator),
    "docstring": _python(docstring),
    "example checks": _python(example_checks),
    "main guard": _python(guard),
    "main function": _python(main_function),
    "logging": _python(logging_call),
    "snake case": _python(rename),
    "keyword only": _python(keyword_only),
}
