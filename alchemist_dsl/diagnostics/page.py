"""The page of a code: Markdown beside this module -> what it means, a recipe that gives the message, the mended
recipe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alchemist_runtime.schema.codes import AREAS, CODES

FOLDER: Final = Path(__file__).parent / "pages"
WRONG, RIGHT, TODO = "Wrong", "Right", "What to do"
#: What every example finds beside it, unless it brings its own.
ROWS: Final = {"rows.jsonl": '{"instruction": "Add two numbers.", "response": "Use +."}\n'}
#: Said where an example reads that file.
ABOUT_ROWS: Final = "`rows.jsonl` is any file of records with the texts `instruction` and `response`."

_FENCE: Final = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.M | re.S)
_TITLE: Final = re.compile(r"^## (.+)$", re.M)


@dataclass(frozen=True, slots=True)
class Example:
    """A recipe, the files beside it, and what `check` says of it."""

    recipe: str
    files: Mapping[str, str]
    sets: str = ""  # "name=value", given from outside
    encoding: str = "utf-8"
    says: str = ""

    @property
    def bytes(self) -> bytes:
        return self.recipe.encode(self.encoding)


@dataclass(frozen=True, slots=True)
class Page:
    code: str
    front: Mapping[str, str]
    text: str
    wrong: Example | None  # None: no check of a recipe can show it
    right: Example | None
    todo: str

    @property
    def slug(self) -> str:
        return CODES[self.code].slug

    @property
    def summary(self) -> str:
        return CODES[self.code].summary

    @property
    def area(self) -> str:
        return AREAS[self.code[:2]]


def path_of(code: str) -> Path:
    return FOLDER / f"{code}.md"


def load(code: str) -> Page:
    """Read the page of a code. KeyError for a code that is not in the table."""
    if code not in CODES:
        raise KeyError(code)
    return parse(code, path_of(code).read_text("utf-8"))


def parse(code: str, text: str) -> Page:
    """The parts of a page. ValueError where it is not built like one."""
    head, _, body = text.removeprefix("---\n").partition("\n---\n")
    front = dict(line.split(": ", 1) for line in head.splitlines())
    if front.get("code") != code or front.get("slug") != CODES[code].slug:
        raise ValueError(f"{code}.md opens with {head!r}")
    first, *rest = _TITLE.split(body)
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    if sections.keys() - {WRONG, RIGHT, TODO}:
        raise ValueError(f"{code}.md has a section that pages do not have")
    wrong = _example(sections, WRONG, front.get("set", ""), front.get("encoding", "utf-8"), {})
    before = {} if wrong is None else wrong.files
    right = _example(sections, RIGHT, front.get("right set", ""), "utf-8", before)
    return Page(code, front, first.strip(), wrong, right, sections.get(TODO, "").strip())


def _example(
    sections: Mapping[str, str], title: str, sets: str, encoding: str, before: Mapping[str, str]
) -> Example | None:
    if title not in sections:
        return None
    blocks = _FENCE.findall(sections[title])
    recipe = next(body for kind, _, body in blocks if kind == "recipe")
    files = {name.strip(): body for kind, name, body in blocks if kind == "file"}
    says = next((body for kind, _, body in blocks if kind == "text"), "")
    return Example(recipe, {**before, **files}, sets, encoding, says)


def with_says(text: str, says: str) -> str:
    """The text of a page with the message that its wrong recipe gives now."""
    start = text.index(f"## {WRONG}\n")
    end = text.find("\n## ", start + 1)
    section = text[start:] if end < 0 else text[start:end]
    kept = re.sub(r"^```text\n.*?^```\n*", "", section, flags=re.M | re.S).rstrip("\n")
    result = f"{kept}\n\n```text\n{says.rstrip()}\n```\n"
    return text[:start] + result + ("" if end < 0 else text[end:])


def markdown(page: Page) -> str:
    """A page for a reader of Markdown, with its title and without its front."""
    out = [f"# {page.code} {page.slug}", page.summary, page.text]
    for title, example in ((WRONG, page.wrong), (RIGHT, page.right)):
        if example is None:
            continue
        out += [f"## {title}", f"```recipe\n{example.recipe}```"]
        out += [f"`{name}`\n\n```text\n{body}```" for name, body in _own(page, title).items()]
        if example.says:
            out.append(f"```text\n{example.says}```")
    if page.todo:
        out += [f"## {TODO}", page.todo]
    if _reads_rows(page):
        out.append(ABOUT_ROWS)
    return "\n\n".join(out) + "\n"


def terminal_text(page: Page) -> str:
    """A page for a terminal."""
    out = [f"{CODES[page.code].severity}[{page.code} {page.slug}] · {page.area}", page.summary]
    out.append(page.text)
    for title, example in ((WRONG, page.wrong), (RIGHT, page.right)):
        if example is None:
            continue
        provided = f", with `--set {example.sets}`" if example.sets else ""
        out += [f"{title}{provided}:", _indented(example.recipe)]
        out += [f"with the file {n}:\n\n{_indented(b)}" for n, b in _own(page, title).items()]
        if example.says:
            out += ["which gives:", _indented(example.says)]
    if page.todo:
        out += [f"{TODO}:", page.todo]
    if _reads_rows(page):
        out.append(ABOUT_ROWS)
    return "\n\n".join(part.rstrip("\n") for part in out) + "\n"


def table(link: str = "") -> str:
    """All codes by area as Markdown tables. `link`: what stands before the file name of a page, to make links of the
    codes.
    """
    out = []
    for area, title in AREAS.items():
        out += [f"## {area} {title}\n", "| code | name | severity | what it says |", "|---|---|---|---|"]
        for code, (slug, severity, summary) in CODES.items():
            if code.startswith(area):
                displayed = f"[{code}]({link}{code}.md)" if link else code
                out.append(f"| {displayed} | `{slug}` | {severity} | {summary} |")
        out.append("")
    return "\n".join(out)


def _own(page: Page, title: str) -> Mapping[str, str]:
    """The files to show with an example: those that the one before does not show already."""
    if title == WRONG:
        return {} if page.wrong is None else page.wrong.files
    before = {} if page.wrong is None else page.wrong.files
    mine = {} if page.right is None else page.right.files
    return {name: body for name, body in mine.items() if before.get(name) != body}


def _reads_rows(page: Page) -> bool:
    both = [e for e in (page.wrong, page.right) if e is not None]
    return any("rows.jsonl" in e.recipe and "rows.jsonl" not in e.files for e in both)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.rstrip("\n").splitlines())
