"""Facts about a response, and how one of several honest wordings is chosen for them: by hash, the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_NUMBERS: Final = [
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]

_SPELLED: Final = ("HTML", "SQL", "XML", "R ")  # read letter by letter, from a vowel on


def number_word(n: int) -> str:
    return _NUMBERS[n] if n < len(_NUMBERS) else str(n)


def plural(word: str, n: int) -> str:
    return word if n == 1 else word + "s"


def an(noun: str) -> str:
    """The noun with its indefinite article."""
    if noun.startswith(_SPELLED):
        return f"an {noun}"
    first = noun.lstrip("`").lower()
    vowel = first[:1] in "aeiou" and not first.startswith(("one", "uni", "use"))
    return f"{'an' if vowel else 'a'} {noun}"


@dataclass(slots=True)
class Facts:
    """What a response proves, in the order of how telling it is. Each phrase comes with its other wordings.

    `says`: ideas, `others`: lesser ones that fill up (both "that …"), `has`: things that come with it ("with …").
    """

    language: str | None
    unit: str = "code"
    name: str | None = None
    adjectives: list[str] = field(default_factory=list)
    says: list[tuple[str, ...]] = field(default_factory=list)
    others: list[tuple[str, ...]] = field(default_factory=list)
    has: list[tuple[str, ...]] = field(default_factory=list)

    def say(self, *wordings: str) -> None:
        self.says.append(wordings)

    def also(self, *wordings: str) -> None:
        self.others.append(wordings)

    def have(self, *wordings: str) -> None:
        self.has.append(wordings)


class Draw:
    """Choices that follow from a text and a sample index alone."""

    def __init__(self, text: str, sample: int = 0) -> None:
        self._seed = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
        self._sample = sample
        self._count = 0

    def below(self, n: int) -> int:
        self._count += 1
        message = f"{self._sample}/{self._count}".encode()
        value = hashlib.blake2b(message, key=self._seed, digest_size=8).digest()
        return int.from_bytes(value, "big") % n

    def one(self, options: Sequence[str]) -> str:
        return options[self.below(len(options))]


def listed(items: Sequence[str]) -> str:
    """a, b and c"""
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]
