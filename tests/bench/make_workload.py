"""Seeded generator of a code workload: `python make_workload.py ROWS FOLDER`.

Writes alpha, beta, gamma and delta.jsonl (id, instruction, response, source, lang), bench.jsonl (up to 664 benchmark
problems) and truth.jsonl (what was planted; it is not in the rows). The text is real code of this machine: Python
functions of the standard library and of installed packages, JavaScript functions of npm, Java methods of a JDK's
src.zip, the latter two where they exist. Planted: 5% exact duplicates, 10% near duplicates (with their true word-5-gram
Jaccard similarity), 0.5% rows that hold a benchmark problem, 4% broken Python blocks, 3% short responses. The same
machine gives the same files; figures compare only within one run.
"""

from __future__ import annotations

import ast
import builtins
import json
import keyword
import random
import re
import sys
import sysconfig
import textwrap
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SOURCES = {"alpha": 0.4, "beta": 0.3, "gamma": 0.2, "delta": 0.1}
LANGUAGES = {"python": ("Python", 0.6), "javascript": ("JavaScript", 0.18), "java": ("Java", 0.22)}
VERBS = ("Write", "Implement", "Create", "Refactor", "Explain and fix", "Add tests for", "Optimize", "Document")
OPENINGS = ("Please ", "Hello! ", "Task: ", "As an expert engineer: ")
SUFFIXES = ["item", "node", "value", "entry", "key", "ctx", "buf", "acc", "left", "right", "head", "tmp2", "src", "dst"]
BREAKS = (" ((", "\n  ]]", " = = ", "\n    :::")
KEYWORDS = """function return const this public static final void private switch case while else throw throws null true
false boolean char long byte super protected typeof async await catch finally default break continue extends instanceof
synchronized"""
KEPT_WORDS = {*keyword.kwlist, *dir(builtins), *KEYWORDS.split()}
SHORTEST, LONGEST = 150, 1600  # characters of a function
PROBLEMS = 664

_JAVASCRIPT = re.compile(
    r"^[ \t]*(?:export |async |static )*(?:function\s+)?([A-Za-z_$][\w$]{3,})\s*\([^)\n]{0,80}\)\s*\{", re.M
)
_JAVA = re.compile(
    r"^    (?:public|protected|private|static|final|synchronized|abstract|\s)+[\w<>\[\], ?]+\s([a-z]\w{2,})"
    r"\([^)]{0,200}\)[^{;]{0,80}\{",
    re.M,
)
_JAVA_PARTS = ("java.base/", "java.desktop/", "java.xml/", "java.sql", "java.net", "java.logging")
_WORD = re.compile(r"\w+")


class Function(NamedTuple):
    name: str
    code: str
    doc: str = ""


@dataclass(slots=True)
class Row:
    instruction: str
    response: str
    lang: str


# --- real code --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pool:
    """Functions of this machine: some for the benchmark, the others, by language, for the rows."""

    problems: list[Function]
    functions: dict[str, list[Function]]

    @staticmethod
    def collect(most: int) -> Pool:
        """At most so many functions of each language."""
        library = [p for p in _files(sysconfig.get_path("stdlib"), "py") if "site-packages" not in p.parts]
        random.Random(1).shuffle(library)
        library.sort(key=lambda p: "test" in p.parts)
        packages = [p for p in _files(sysconfig.get_path("purelib"), "py") if "botocore" not in p.parts]
        random.Random(2).shuffle(packages)
        problems = [f for f in _python(library[:330]) if len(f.doc.split()) >= 14][:PROBLEMS]
        functions = {
            "python": _first(_python(library[330:] + packages), most),
            "javascript": _first(_javascript(), most),
            "java": _first(_java(), most),
        }
        return Pool(problems, {lang: found for lang, found in functions.items() if found})


def _files(folder: str, ending: str) -> list[Path]:
    return sorted(Path(folder).rglob(f"*.{ending}"))


def _first(functions: Iterator[Function], most: int) -> list[Function]:
    """The first ones, each code once."""
    seen: dict[str, Function] = {}
    for function in functions:
        seen.setdefault(function.code, function)
        if len(seen) >= most:
            break
    return list(seen.values())


def _python(paths: list[Path]) -> Iterator[Function]:
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text)
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        lines = text.splitlines()
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or not node.end_lineno:
                continue
            code = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))
            if SHORTEST <= len(code) <= LONGEST and "```" not in code and _parses(code):
                yield Function(node.name, code, (ast.get_docstring(node) or "")[:400])


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError):
        return False
    return True


def _javascript() -> Iterator[Function]:
    for path in _files("/usr/lib/node_modules", "js"):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        if len(text) <= 60 * max(1, text.count("\n")):  # not minified
            names = {"switch", "while", "catch"}
            yield from (f for f in _braced(text, _JAVASCRIPT) if f.name not in names)


def _java() -> Iterator[Function]:
    for archive in sorted(Path("/usr/lib/jvm").glob("*/lib/src.zip"))[:1]:
        if not archive.exists():
            return
        with zipfile.ZipFile(archive) as files:
            for name in files.namelist():
                if name.startswith(_JAVA_PARTS) and name.endswith(".java"):
                    yield from _braced(files.read(name).decode("utf-8", "replace"), _JAVA)


def _braced(text: str, head: re.Pattern[str]) -> Iterator[Function]:
    """Functions of a language with braces, from the head to the brace that closes it."""
    for match in head.finditer(text):
        depth = 0
        for at in range(match.end() - 1, min(len(text), match.end() + LONGEST)):
            depth += (text[at] == "{") - (text[at] == "}")
            if depth == 0:
                code = textwrap.dedent(text[match.start() : at + 1]).strip("\n")
                if len(code) >= SHORTEST and "```" not in code:
                    yield Function(match.group(1), code)
                break


# --- rows -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Writer:
    """Draws rows from the pool."""

    pool: Pool
    draw: random.Random
    words: list[str] = field(init=False)
    docs: list[str] = field(init=False)
    decks: dict[str, list[Function]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        docs = (f.doc.replace("\n", " ") for f in self.pool.functions["python"])
        self.docs = [d for d in docs if len(d) > 60]
        found = {w for d in self.docs[:20_000] for w in d.split() if w.isalpha() and len(w) > 2}
        self.words = sorted(found)

    def row(self) -> Row:
        """One row: prose and one or several functions in a fenced block."""
        draw = self.draw
        langs = list(self.pool.functions)
        lang = draw.choices(langs, [LANGUAGES[k][1] for k in langs])[0]
        functions = [self._function(lang)]
        while sum(len(f.code) for f in functions) < 900 and draw.random() < 0.6:
            functions.append(self._function(lang))
        code = "\n\n\n".join(self.renamed(f.code, draw.randint(0, 5)) for f in functions)
        response = f"{self._sentence(6, 14)} {self._prose(draw.choice([0, 1]))}\n\n```{lang}\n{code}\n```\n\n{self._prose(draw.choice([1, 1, 2]))}"
        if len(response) > 3000:  # shorten the prose, never the block
            response = f"```{lang}\n{code}\n```\n"[:3400]
        return Row(self._instruction(functions[0], lang), response, lang)

    def _instruction(self, function: Function, lang: str) -> str:
        draw = self.draw
        about = function.doc.replace("\n", " ") or self._sentence(10, 25)
        text = f"{draw.choice(VERBS)} a {LANGUAGES[lang][0]} routine named `{function.name}`. {about} {self._prose(draw.choice([0, 1, 1, 2, 3]))}"
        if draw.random() < 0.15:
            text += "\n\nHere is the code so far:\n\n" + "\n".join(function.code.splitlines()[:8])
        text = text[:1500].rstrip()
        return text if len(text) >= 100 else f"{text} {self._sentence(14, 20)}"

    def _function(self, lang: str) -> Function:
        """Each function once before any comes again: few natural repeats."""
        if not self.decks.get(lang):
            self.decks[lang] = self.draw.sample(self.pool.functions[lang], len(self.pool.functions[lang]))
        return self.decks[lang].pop()

    def _sentence(self, low: int, high: int) -> str:
        text = " ".join(self.draw.choices(self.words, k=self.draw.randint(low, high)))
        return text[0].upper() + text[1:] + "."

    def _prose(self, sentences: int) -> str:
        draw = self.draw
        return " ".join(
            draw.choice(self.docs) if draw.random() < 0.5 else self._sentence(8, 18) for _ in range(sentences)
        )

    def renamed(self, code: str, count: int) -> str:
        """Rename some identifiers, so that a function used again differs."""
        names = sorted(set(re.findall(r"\b[a-z_]{4,}\b", code)) - KEPT_WORDS)
        self.draw.shuffle(names)
        for name in names[:count]:
            code = re.sub(rf"\b{name}\b", f"{name}_{self.draw.choice(SUFFIXES)}", code)
        return code

    def near(self, row: Row) -> Row:
        """A near duplicate: some words of the prose and some identifiers changed; code that parsed still parses."""
        draw = self.draw
        rate = draw.uniform(0.002, 0.03)

        def edited(text: str) -> str:
            return _WORD.sub(lambda m: draw.choice(self.words) if draw.random() < rate * 1.6 else m[0], text)

        before, *rest = row.response.split("```")
        response = edited(before)
        if len(rest) == 2:
            block = self.renamed(rest[0], max(1, int(rate * 60))) if draw.random() < 0.7 else rest[0]
            response = f"{response}```{block}```{edited(rest[1])}"
        else:
            response = edited(row.response)
        instruction = edited(row.instruction)
        if draw.random() < 0.3:
            instruction = draw.choice(OPENINGS) + instruction
        return Row(instruction, response, row.lang)


def jaccard(a: Row, b: Row) -> float:
    """Similarity of two rows' sets of word 5-grams."""
    one, two = (_five_grams(f"{row.instruction}\n{row.response}") for row in (a, b))
    return len(one & two) / len(one | two)


def _five_grams(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


def _problems(pool: Pool) -> list[dict[str, str]]:
    out = []
    for k, (name, code, doc) in enumerate(pool.problems):
        head = code.split('"""')[0].split("'''")[0].rstrip()
        prompt = f'{head}\n    """{doc}"""\n' if k < 164 else doc.replace("\n", " ")
        set_name = "HE" if k < 164 else "MB"
        out.append({"task_id": f"{set_name}/{k}", "prompt": prompt, "solution": code, "entry_point": name})
    return out


@dataclass(slots=True)
class Workload:
    rows: list[Row]
    truth: dict[int, dict[str, object]]
    problems: list[dict[str, str]]


def make(count: int) -> Workload:
    """Rows with what was planted in them, by row number."""
    pool = Pool.collect(2 * count)
    writer = Writer(pool, random.Random(20261123))
    work = Workload([], {}, _problems(pool))
    exact, near, leaks = int(count * 0.05), int(count * 0.10), int(count * 0.005)
    for k in range(count - exact - near):
        work.rows.append(writer.row())
        _spoil(work, k, writer.draw, leak=k < leaks)
    sound = [k for k in range(leaks, len(work.rows)) if k not in work.truth]
    for k in writer.draw.choices(sound, k=exact):
        work.truth[len(work.rows)] = {"kind": "exact", "of": k}
        work.rows.append(work.rows[k])
    for k in writer.draw.sample(sound, near):
        made = writer.near(work.rows[k])
        value = round(jaccard(work.rows[k], made), 4)
        work.truth[len(work.rows)] = {"kind": "near", "of": k, "jaccard": value}
        work.rows.append(made)
    return work


def _spoil(work: Workload, k: int, draw: random.Random, *, leak: bool) -> None:
    """Plant a leak, a broken block or a short answer in the row, or nothing."""
    row = work.rows[k]
    if leak:
        problem = work.problems[k % len(work.problems)]
        prompt = problem["prompt"].upper() if k % 7 == 0 else problem["prompt"]
        text = draw.choice([problem["prompt"], problem["solution"], prompt])
        if draw.random() < 0.5:
            row.instruction = f"{row.instruction[:300]}\n\n{text}"
        else:
            row.response += f"\n\n{text}"
        work.truth[k] = {"kind": "contaminated"}
    elif row.lang == "python" and draw.random() < 0.04 / 0.6:
        at = row.response.find("```python") + 40
        row.response = row.response[:at] + draw.choice(BREAKS) + row.response[at:]
        work.truth[k] = {"kind": "broken"}
    elif draw.random() < 0.03:
        row.response = row.response[: draw.randint(10, 180)].split("```")[0]
        work.truth[k] = {"kind": "short"}


def write(work: Workload, folder: Path) -> None:
    """The six files; a row's id is its number, its place in the files is drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(20261124)
    order = draw.sample(range(len(work.rows)), len(work.rows))
    names = draw.choices(list(SOURCES), list(SOURCES.values()), k=len(order))
    files: dict[str, list[dict[str, object]]] = {name: [] for name in SOURCES}
    for k, name in zip(order, names, strict=True):
        row = work.rows[k]
        record = {"id": k, "instruction": row.instruction, "response": row.response}
        files[name].append({**record, "source": name, "lang": row.lang})
    files["bench"] = [dict(p) for p in work.problems]
    files["truth"] = [{"id": k, **planted} for k, planted in work.truth.items()]
    for name, records in files.items():
        lines = (json.dumps(r, ensure_ascii=False) + "\n" for r in records)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    write(make(int(sys.argv[1])), Path(sys.argv[2]))
