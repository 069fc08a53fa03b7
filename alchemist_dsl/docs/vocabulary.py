"""The words of the language by their part of speech, read off the tables of kinds, functions and numbers."""

from __future__ import annotations

from typing import Final

from alchemist_runtime.schema.attributes import RESERVED
from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.rows import IDENTITY_TYPES, SFT, required

from alchemist_dsl.syntax.decode import SUFFIXES, TIMES, UNITS

#: Words that mean something where a line of the file's top level begins, and are names elsewhere.
_TOP: Final = ("edition", "import", "param")
_VALUES: Final = ("true", "false", "null")
_OPERATORS: Final = ("and", "or", "not", "in")


def _types() -> list[str]:
    from alchemist_dsl.checker.load import TYPES

    columns = (*SFT.values(), *IDENTITY_TYPES.values())
    return sorted({*TYPES, *(required(type_) for type_ in columns)})


def vocabulary() -> dict[str, list[str]]:
    """Lists of words by part of speech; each in an order that a change of the tables leaves alone."""
    return {
        "kinds": sorted(KINDS),
        "blocks": sorted({b for kind in KINDS.values() for b in kind.blocks}),
        "attributes": sorted({name for kind in KINDS.values() for name in kind.attributes}),
        "functions": sorted({*FUNCTIONS, *AGGREGATES}),
        "types": _types(),
        "top": list(_TOP),
        "statements": sorted(RESERVED - {*_VALUES, *_OPERATORS}),
        "operators": list(_OPERATORS),
        "values": list(_VALUES),
        "units": list(UNITS),
        "suffixes": list(SUFFIXES),
        "times": list(TIMES),
    }
