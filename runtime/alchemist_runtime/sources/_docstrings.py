"""A docstring as the words of a request: prose without markup, what goes in, what comes out."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

#: Longer descriptions are cut at the end of a paragraph.
PROSE_CHARS = 700
_UNDERLINE = re.compile(r"^\s*[-=~]{3,}\s*$")
_ROLE = re.compile(r":(?:[a-z]+:)*[a-z]+:`~?([^`<]+?)(?:\s*<[^`>]*>)?`")
_SECTION = re.compile(
    r"^(?:Args|Arguments|Returns?|Raises|Yields|Examples?|Notes?|Usage|See also|Parameters):{0,2}\s*$", re.I
)
_DIRECTIVE = re.compile(r"^\s*\.\. ")
_FIELD = re.compile(r"^\s*[:@](?:param|type|returns?|rtype|raises?|keyword|arg)\b")


@dataclass(frozen=True, slots=True)
class Doc:
    """Paragraphs of prose; parameters with what is said of them; what is returned."""

    summary: str
    prose: str
    parameters: tuple[tuple[str, str], ...] = ()
    returns: str | None = None


def read(docstring: str, name: str = "") -> Doc | None:
    """The parts of a docstring; None where it says too little to ask for anything. A first line `name(…)` is left
    out.
    """
    lines = inspect.cleandoc(docstring).splitlines()
    if name and lines and re.fullmatch(rf"(?:\w+\.)*{re.escape(name)}\s*\(.*\)(?:\s*->.*)?\.?", lines[0].strip()):
        lines = lines[1:]
    sections = _sections(lines)
    prose = _prose(sections.pop("", []))
    if not prose:
        return None
    parameters = tuple(_entries(sections.get("Parameters", [])))
    given = _entries(sections.get("Returns", []))
    returns = given[0] if given else None
    told = None if returns is None else (f"{returns[0]}: {returns[1]}" if returns[1] else returns[0])
    return Doc(prose[0], _cut(prose), parameters, told)


def _sections(lines: list[str]) -> dict[str, list[str]]:
    """Lines by section, as numpydoc underlines them; "" is what stands before the first one."""
    sections: dict[str, list[str]] = {"": []}
    name = ""
    for i, line in enumerate(lines):
        under = lines[i + 1] if i + 1 < len(lines) else ""
        if line.strip() and _UNDERLINE.match(under):
            name = line.strip()
            sections.setdefault(name, [])
        elif not _UNDERLINE.match(line):
            sections[name].append(line)
    return sections


def _prose(lines: list[str]) -> list[str]:
    """Paragraphs of plain sentences up to the first example, field list, directive or section."""
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if (
            line.lstrip().startswith(">>>")
            or _FIELD.match(line)
            or _DIRECTIVE.match(line)
            or _SECTION.match(line.strip())
        ):
            break
        if line.strip():
            paragraphs[-1].append(line.rstrip())
        elif paragraphs[-1]:
            paragraphs.append([])
    return [p for p in (_flow(q) for q in paragraphs if q) if p]


def _flow(lines: list[str]) -> str:
    """A paragraph on one line; where lines are indented (a list, a table, code) it stays as it is."""
    text = "\n".join(lines) if any(x.startswith((" ", "-", "*")) for x in lines[1:]) else " ".join(lines)
    return unmarked(text).replace("::", ":") if text.endswith("::") else unmarked(text)


def unmarked(text: str) -> str:
    """Without the markup of reStructuredText: roles, double back quotes, escapes."""
    text = _ROLE.sub(lambda m: f"`{m[1]}`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text).replace("\\*", "*").replace("\\_", "_").strip()


def _cut(paragraphs: list[str]) -> str:
    kept = [paragraphs[0]]
    for paragraph in paragraphs[1:]:
        if sum(map(len, kept)) + len(paragraph) > PROSE_CHARS:
            break
        kept.append(paragraph)
    while len(kept) > 1 and kept[-1].endswith(":"):  # what it announces is not told
        kept.pop()
    return "\n\n".join(kept).removesuffix(":")


def _entries(lines: list[str]) -> list[tuple[str, str]]:
    """The entries of a numpydoc section: `name : type` and the first sentence of what is said of it."""
    entries: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.strip() and not line.startswith(" "):
            entries.append((unmarked(line.strip()), []))
        elif line.strip() and entries:
            entries[-1][1].append(line.strip())
    return [(_named(head), _first_sentence(" ".join(body))) for head, body in entries]


def _named(head: str) -> str:
    name, colon, type_ = head.partition(" : ")
    return f"`{name.strip()}` ({type_.strip()})" if colon else head


def _first_sentence(text: str) -> str:
    text = unmarked(text)
    end = re.search(r"(?<=[a-z0-9)`])\.(?=\s+[A-Z])", text)
    return text[: end.end()] if end else text
