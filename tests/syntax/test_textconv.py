"""`textconv`: texts that differ in layout alone are one text, and git always gets one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner
from command_line import cli_bytes
from format_texts import damaged, read, recipes, tree
from hypothesis import example, given
from hypothesis import strategies as st
from relaid import relaid

from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.format import PARSES, canonical, format_text

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.recipe"))


def shown(text: str) -> str:
    return canonical(SourceFile("r.recipe", text))


def textconv(*args: str, cwd: Path, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return cli_bytes("textconv", *args, cwd=cwd, stdin=data)


# --- layout is no difference, all else is -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT)))
@pytest.mark.parametrize("seed", range(3))
def test_another_layout_of_a_shipped_recipe_is_the_same(path: Path, seed: int) -> None:
    text = path.read_text()
    other = relaid(text, Random(seed))
    assert other != text and tree(read(other)[0]) == tree(read(text)[0])
    assert shown(other) == shown(text)


@given(recipes(), st.integers())
def test_another_layout_of_any_recipe_is_the_same(text: str, seed: int) -> None:
    other = relaid(text, Random(seed))
    assert tree(read(other)[0]) == tree(read(text)[0]), "the new layout says the same"
    out = shown(text)
    assert shown(other) == out
    assert tree(read(out)[0]) == tree(read(text)[0])  # comments, in order, are part of it
    assert shown(out) == out
    assert shown(format_text(SourceFile("r.recipe", text))[0]) == out


def test_one_fact_a_line() -> None:
    text = 'edition 2026\nmap a { from = b }\n\n\nfilter c {from=[a,b]\n\n  keep lang in ["x", "y"]; drop f(1,\n 2,) < (1\n + 2) }\n'
    assert shown(text.replace(";", ",")) == (
        "edition 2026\n\nmap a {\n  from = b\n}\n\nfilter c {\n  from = [\n    a,\n    b,\n  ]\n"
        '  keep lang in [\n    "x",\n    "y",\n  ]\n  drop f(1, 2) < (1 + 2)\n}\n'
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("seed = 1", "seed = 2"),
        ("seed = 1", "seed = 1  # why"),
        ("seed = 1", 'title = "a"\n  seed = 1'),
        ("seed = 1_000", "seed = 1k"),  # numbers stand as they are written
        ('a = """\n    x\n    """', 'a = """\n    x\n\n    """'),  # a text's blank lines are text
    ],
)
def test_what_was_said_otherwise_differs(before: str, after: str) -> None:
    head = "edition 2026\n\nrecipe {\n  "
    assert shown(f"{head}{before}\n}}\n") != shown(f"{head}{after}\n}}\n")


# --- never fails ------------------------------------------------------------------------------------------------------


@given(st.data())
def test_a_damaged_recipe_is_laid_out_as_far_as_it_parses(data: st.DataObject) -> None:
    text = data.draw(damaged(data.draw(recipes())))
    source = SourceFile("r.recipe", text)
    out = canonical(source)
    if set(read(text)[1]) - PARSES:
        assert out == format_text(source)[0]


@given(st.binary())
@example(b"edition 2026\n\xff\n")
@example(b"\xff\xfee\x00")
@example(b"\xef\xbb\xbfedition 2026\r\n")
@example(b"<<<<<<< ours\nedition 2026\n")
def test_any_bytes_give_a_text_and_exit_0(data: bytes) -> None:
    from alchemist_dsl.cli.fmt import textconv as command

    done = CliRunner().invoke(command, ["-"], input=data)
    assert done.exit_code == 0 and not done.stderr
    assert bool(done.stdout_bytes.strip()) == bool(data.removeprefix(b"\xef\xbb\xbf").strip())


def test_a_mistake_of_ours_shows_the_file_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from alchemist_dsl.cli.fmt import textconv as command

    def fails(source: SourceFile) -> str:
        raise RecursionError

    monkeypatch.setattr("alchemist_dsl.syntax.format.canonical", fails)
    done = CliRunner().invoke(command, ["-"], input=b"edition   2026\n")
    assert (done.exit_code, done.stdout) == (0, "edition   2026\n")
    assert done.stderr == "warning: `-` is shown as it is (RecursionError; this is our bug)\n"


# --- the command ------------------------------------------------------------------------------------------------------


def test_a_file_and_standard_input(tmp_path: Path) -> None:
    (tmp_path / "a.recipe").write_bytes(b"edition   2026\r\nmap a {from=b}")
    done = textconv("a.recipe", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"edition 2026\n\nmap a {\n  from = b\n}\n"
    assert textconv("-", cwd=tmp_path, data=b"edition   2026").stdout == b"edition 2026\n"


def test_no_file(tmp_path: Path) -> None:
    done = textconv("a.recipe", cwd=tmp_path)
    assert (done.returncode, b"there is no recipe `a.recipe`" in done.stderr) == (2, True)
    done = textconv(".", cwd=tmp_path)
    assert (done.returncode, b"`.` cannot be opened: Is a directory" in done.stderr) == (2, True)
    assert textconv(cwd=tmp_path).returncode == 2


def test_it_loads_little() -> None:
    """Git starts it twice for every file of a diff."""
    heavy = ("lark", "jinja2", "pydantic", "numpy", "alchemist_dsl.checker", "alchemist_runtime.schema.plan")
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom alchemist_dsl.cli.main import group\n"
        "done = CliRunner().invoke(group, ['textconv', sys.argv[1]])\nassert done.exit_code == 0\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(ROOT / "recipes" / "quickstart.recipe")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
