"""The colours of drawings on light and on dark pages; every text stands out from its ground by 4.5 to 1 and more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from alchemist_dsl.graph.model import Tone as Name


@dataclass(frozen=True, slots=True)
class Tone:
    """A card: its ground, its border and mark, the text that says its state."""

    ground: str
    border: str
    word: str


@dataclass(frozen=True, slots=True)
class Theme:
    page: str
    text: str
    quiet: str  # second lines
    line: str
    frame: str
    tones: Mapping[Name, Tone]


LIGHT: Final = Theme(
    page="#ffffff",
    text="#1c2024",
    quiet="#565d66",
    line="#7d8590",
    frame="#f4f5f7",
    tones={
        "build": Tone("#fff7e6", "#b7791f", "#855000"),
        "extend": Tone("#e8f6fb", "#1f7a9c", "#0f627f"),
        "reuse": Tone("#ebf8ee", "#2f7d43", "#256a37"),
        "skip": Tone("#ffffff", "#858d97", "#565d66"),
        "not_run": Tone("#fbf0fa", "#93408a", "#84377b"),
        "planned": Tone("#f3f6fb", "#5b6b86", "#4a5870"),
        "added": Tone("#e3f7e8", "#1a7f37", "#176d30"),
        "removed": Tone("#fdecea", "#c0362c", "#ab2d24"),
        "changed": Tone("#fff7e6", "#b7791f", "#855000"),
        "indirect": Tone("#e8f6fb", "#1f7a9c", "#0f627f"),
        "unchanged": Tone("#ffffff", "#858d97", "#565d66"),
    },
)
DARK: Final = Theme(
    page="#12151a",
    text="#e8eaed",
    quiet="#a7afb9",
    line="#7b8491",
    frame="#1a1e25",
    tones={
        "build": Tone("#2b2312", "#d59f3f", "#ecbf6c"),
        "extend": Tone("#11262e", "#4fb0d3", "#82cbe6"),
        "reuse": Tone("#13271a", "#58b071", "#86d09b"),
        "skip": Tone("#161a20", "#6b7480", "#a7afb9"),
        "not_run": Tone("#2a1728", "#c675bb", "#dc9ad3"),
        "planned": Tone("#1b2230", "#8797b4", "#aebbd3"),
        "added": Tone("#12291a", "#3fb950", "#74d183"),
        "removed": Tone("#301715", "#ef6a60", "#f7938b"),
        "changed": Tone("#2b2312", "#d59f3f", "#ecbf6c"),
        "indirect": Tone("#11262e", "#4fb0d3", "#82cbe6"),
        "unchanged": Tone("#161a20", "#6b7480", "#a7afb9"),
    },
)


def contrast(one: str, other: str) -> float:
    """How far two colours stand out from each other, 1 to 21 (WCAG 2)."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    parts = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
