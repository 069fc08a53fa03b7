"""Projects with something odd in them: a small project, and one of its files changed at random."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from random import Random
from typing import Any

RECIPE = '''edition 2026

import "lib.recipe" as lib

recipe {
  title = "Small"
  seed = 3
}

param least: int = 5

source a {
  files = "data/a.jsonl"
  on_bad_row = skip(max = 2)
}

source b {
  files = "data/b.csv"
}

teacher house {
  provider = rules
}

map tagged {
  from = a
  set system = jinja"""
    Answer {{ instruction | upper }} in {{ lang or "words" }}.
    """
  set size = chars(response)
}

filter clean {
  from = [
    tagged,
    b,
  ]
  drop chars(response) < param.least as short
  extends = lib.base
}

dedup once {
  from = clean
  method = minhash(threshold = 0.8)
}

mixture sft {
  total = 6 rows
  take {
    once = rest
  }
}

export dataset {
  data = sft
  path = "out"
  format = jsonl
}

check promises {
  expect rows(sft) >= 1
}

variant grid {
  set param.least = any(1, 5)
}

test "short answers go" {
  step = clean
  given = [{ instruction = "Say", response = "no" }]
  expect dropped.short == 1
}
'''
LIBRARY = """edition 2026

filter base {
  drop contains(response, "http") as linked
}
"""
YAML = """base_model: owner/name
datasets:
  - path: owner/rows
    type: alpaca
sequence_len: 2048
micro_batch_size: 4
learning_rate: 0.0002
num_epochs: 3
"""
#: What stands in the place of something, or beside it.
ODD = (
    "",
    "\0",
    "\n",
    "\ufeff",
    "\u202e",
    "\ud800",
    "é中😀",
    "{{",
    "}}",
    "{%",
    '"',
    '"""',
    "'",
    "[" * 300,
    "{" * 300,
    "(" * 300,
    "]",
    "}",
    "#",
    "any(",
    "param.",
    "std:",
    "../",
    "/dev/zero",
    "/",
    "*",
    "**/*",
    "9" * 400,
    "-1",
    "0",
    "1e999",
    "900_000_000_000",
    "NaN",
    "null",
    "true",
    "100%",
    "0%",
    "1B tokens",
    "{{ 'x' * 99999999999 }}",
    "{{ 9 ** (9 ** 9) }}",
    "x" * 3_000,
    "import",
    "extends",
    "from",
    "=",
    "..",
    "\\u0000",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    1.5,
    "",
    "x",
    "../../x",
    "b2:" + "0" * 64,
    [],
    {},
    [[]],
    {"a": None},
)


def build(folder: Path) -> None:
    """The project as it should be, not run yet."""
    (folder / "data").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "r.recipe").write_text(RECIPE)
    (folder / "lib.recipe").write_text(LIBRARY)
    rows = [{"instruction": f"Add {i}", "response": f"The sum of it is {i}.", "lang": "en"} for i in range(8)]
    (folder / "data/a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    lines = [f"Ask {i},Here is number {i} of all" for i in range(4)]
    (folder / "data/b.csv").write_text("\n".join(["instruction,response", *lines]) + "\n")
    (folder / "train.yaml").write_text(YAML)
    (folder / "params.json").write_text('{"least": 4}')


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("check", "r.recipe"),
    ("check", "r.recipe", "--format", "json"),
    ("check", "."),
    ("fmt", "--check", "r.recipe"),
    ("fmt", "--diff", "."),
    ("textconv", "r.recipe"),
    ("compile", "r.recipe"),
    ("compile", "r.recipe", "--params", "params.json"),
    ("compile", "r.recipe", "--locked"),
    ("compile", "r.recipe", "--variant", "grid[1]"),
    ("run", "r.recipe"),
    ("run", "r.recipe", "--upto", "clean"),
    ("run", "plan.json"),
    ("show", "plan.json"),
    ("show", "r.recipe", "clean"),
    ("graph", "r.recipe"),
    ("graph", "plan.json"),
    ("diff", "plan.json", "r.recipe"),
    ("why", "r.recipe"),
    ("why", "r.recipe", "clean"),
    ("test", "r.recipe"),
    ("lock",),
    ("lock", "--check"),
    ("migrate", "train.yaml"),
    ("merge-lock", "recipe.lock", "recipe.lock", "recipe.lock"),
    ("export", "r.recipe"),
    ("docs", "filter"),
    ("explain", "A101"),
    ("cost", "r.recipe"),
    ("cache", "stats"),
    ("cache", "verify"),
    ("cache", "gc", "--yes"),
    ("cache", "export", "e.sqlite"),
)


def _files(folder: Path) -> list[Path]:
    """Every file of the project and of its store, those that people write first."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return [p for p in found if ".alchemist" not in p.parts] * 6 + found


def disturb(folder: Path, draw: Random) -> str:
    """Change a file of the project, or several; what was done."""
    return "; ".join(_disturb(folder, draw) for _ in range(draw.choice((1, 1, 1, 2, 3))))


def _disturb(folder: Path, draw: Random) -> str:
    path = draw.choice(_files(folder))
    how = draw.choice((_words, _words, _lines, _bytes, _json, _json, _place))
    try:
        how(path, draw)
    except (ValueError, UnicodeError, RecursionError, IndexError):
        _bytes(path, draw)
        how = _bytes
    return f"{how.__name__.strip('_')} of {path.relative_to(folder)}"


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def _words(path: Path, draw: Random) -> None:
    """A word, number or mark becomes another, of the text itself or an odd one."""
    text = path.read_text("utf-8")
    parts = re.findall(r"\w+|\s+|[^\w\s]", text) or [""]
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(parts))
        new = draw.choice(ODD) if draw.random() < 0.6 else draw.choice(parts)
        parts[at] = draw.choice((new, parts[at] + new, "", new * draw.choice((1, 50))))
    _write(path, "".join(parts))


def _lines(path: Path, draw: Random) -> None:
    """A line goes, comes twice, comes a hundred times, or stands elsewhere."""
    lines = path.read_text("utf-8").split("\n")
    at, to = draw.randrange(len(lines)), draw.randrange(len(lines))
    line = lines.pop(at)
    lines[to:to] = [line] * draw.choice((0, 1, 2, 100))
    _write(path, "\n".join(lines))


def _bytes(path: Path, draw: Random) -> None:
    """Flipped, cut off, or others altogether."""
    data = bytearray(path.read_bytes())
    match draw.randrange(4):
        case 0:
            data = data[: draw.randrange(len(data) + 1)]
        case 1:
            data = bytearray(draw.randbytes(draw.randrange(60)))
        case _:
            for _ in range(draw.choice((1, 1, 4, 30))):
                if data:
                    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def _json(path: Path, draw: Random) -> None:
    """A value of a JSON file, or of one of its lines, becomes another one, goes, or is wrapped deeply."""
    text = path.read_text("utf-8")
    lines = [text] if path.suffix == ".json" else text.split("\n")
    at = draw.randrange(len(lines))
    value = json.loads(lines[at])
    places: list[tuple[Any, Any]] = []
    row = [value]
    while row:
        one = row.pop()
        inner = list(one.items()) if isinstance(one, dict) else list(enumerate(one)) if isinstance(one, list) else []
        places += [(one, key) for key, _ in inner]
        row += [v for _, v in inner]
    holder, key = draw.choice(places)
    match draw.randrange(5):
        case 0:
            del holder[key]
        case 1:
            holder[key] = [holder[key]]
        case _:
            holder[key] = draw.choice(VALUES)
    lines[at] = json.dumps(value)
    if draw.random() < 0.1:
        lines[at] = lines[at].replace("null", "[" * 600 + "]" * 600, 1)
    _write(path, "\n".join(lines))


def _place(path: Path, draw: Random) -> None:
    """Not there, a folder, empty, a link to itself, or one to another file of the project."""
    path.unlink()
    match draw.randrange(5):
        case 0:
            path.mkdir()
        case 1:
            path.touch()
        case 2:
            path.symlink_to(path.name)
        case 3:
            other = draw.choice(_files(path.parent) or [path])
            path.symlink_to(os.path.relpath(other, path.parent))


def copy(whole: Path, folder: Path) -> None:
    shutil.copytree(whole, folder, symlinks=True)
