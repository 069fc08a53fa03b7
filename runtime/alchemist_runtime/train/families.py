"""Families of models whose own chat template does not show what the model wrote: templates for training them, and where
replies stand in what their own templates write. Both are our own writing, after the layouts that the models are known
by.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "templates"
NAMES: Final = tuple(sorted(p.stem for p in _FOLDER.glob("*.jinja")))


def template(name: str) -> str:
    """The text of a family's template for training; KeyError for a family that has none."""
    if name not in NAMES:
        raise KeyError(name)
    return (_FOLDER / f"{name}.jinja").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where replies stand: behind `open`, up to and with one of `close`. `signs`: what the family's own template
    holds.
    """

    name: str
    signs: tuple[str, ...]
    open: str
    close: tuple[str, ...]

    def replies(self, text: str) -> list[tuple[int, int]] | None:
        """The replies of a rendered conversation, in order; messages that follow each other are one. None where one has
        no end.
        """
        found: list[tuple[int, int]] = []
        at = 0
        while (start := text.find(self.open, at)) >= 0:
            first = start + len(self.open)
            ends = [e + len(c) for c in self.close if (e := text.find(c, first)) >= 0]
            if not ends:
                return None
            at = min(ends)
            if found and found[-1][1] == start:
                first = found.pop()[0]
            found.append((first, at))
        return found


_CHATML: Final = ("<|im_start|>assistant\n", ("<|im_end|>",))
#: The first whose signs all stand in a template is its layout.
LAYOUTS: Final = (
    Layout("qwen3_5", ("<|im_start|>", "</think>", "<function="), *_CHATML),
    Layout("qwen3", ("<|im_start|>", "</think>"), *_CHATML),
    Layout(
        "gpt_oss",
        ("<|start|>", "<|channel|>", "<|message|>"),
        "<|start|>assistant",
        ("<|end|>", "<|return|>", "<|call|>"),
    ),
    Layout("phi3", ("<|assistant|>", "<|end|>"), "<|assistant|>\n", ("<|end|>",)),
    Layout("deepseek", ("<｜Assistant｜>", "<｜User｜>"), "<｜Assistant｜>", ("<｜end▁of▁sentence｜>",)),
    Layout("nemotron_nano", ("<SPECIAL_11>", "<SPECIAL_12>"), "<SPECIAL_11>Assistant\n", ("<SPECIAL_12>",)),
    Layout(
        "llama3",
        ("<|start_header_id|>", "</think>"),
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ("<|eot_id|>", "<|eom_id|>"),
    ),
)


def layout(text: str) -> Layout | None:
    """The layout of a chat template, by what stands in it; None for all others."""
    return next((one for one in LAYOUTS if all(sign in text for sign in one.signs)), None)
