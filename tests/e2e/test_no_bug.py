"""No command ends in "our bug" on any text, file or folder: a few examples here, many with `make test-all`."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random

import odd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ALL = os.environ.get("ALCHEMIST_TEST_ALL") == "1"
TEXTS = st.lists(st.sampled_from(odd.ODD) | st.text(max_size=20), max_size=12).map("".join)
BYTES = TEXTS.map(lambda t: t.encode("utf-8", "surrogatepass")) | st.binary(max_size=80)
JSON = st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
ENDINGS = ("jsonl", "json", "csv", "tsv", "parquet", "arrow", "jsonl.gz", "jsonl.zst")
ON_RECIPES = (
    ("check",),
    ("check", "--format", "sarif"),
    ("fmt", "--diff"),
    ("textconv",),
    ("compile",),
    ("graph",),
    ("test",),
)
#: A file that is ours to write, and a command that reads it.
OURS = (
    ("plan.json", "show", "plan.json"),
    ("plan.json", "run", "plan.json"),
    ("plan.json", "diff", "plan.json", "r.recipe"),
    ("recipe.lock", "compile", "r.recipe"),
    ("recipe.lock", "lock"),
    ("params.json", "compile", "r.recipe", "--params", "params.json"),
    ("train.yaml", "migrate", "train.yaml"),
    (".alchemist/runs.jsonl", "why", "r.recipe"),
    (".alchemist/files", "compile", "r.recipe"),
)


def examples(few: int) -> settings:
    """Each example is a whole command."""
    return settings(max_examples=40 * few if ALL else few)


def ends(folder: Path, *args: str) -> int:
    """The exit code of a command in this process; AssertionError where it is our bug."""
    from alchemist_dsl.cli.main import main

    said = io.BytesIO()
    out = io.TextIOWrapper(said, encoding="utf-8", write_through=True)
    with chdir(folder), redirect_stdout(out), redirect_stderr(out), pytest.raises(SystemExit) as left:
        main(list(args))
    assert left.value.code != 4, said.getvalue().decode()
    return int(left.value.code or 0)


@contextmanager
def copied(whole: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as room:
        odd.copy(whole, Path(room) / "project")
        yield Path(room) / "project"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project that ran, with a plan beside its recipe."""
    folder = tmp_path_factory.mktemp("whole") / "project"
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("ALCHEMIST_PARAM_")]:
            patch.delenv(name)
        patch.setenv("ALCHEMIST_DEBUG", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("XDG_CONFIG_HOME", str(folder.parent))
        odd.build(folder)
        assert ends(folder, "run", "r.recipe") == 0
        assert ends(folder, "compile", "r.recipe", "-o", "plan.json") == 0
        yield folder


@examples(12)
@given(draw=st.randoms(use_true_random=False), args=st.sampled_from(odd.COMMANDS))
def test_a_project_with_something_odd_in_it(draw: Random, args: tuple[str, ...], whole: Path) -> None:
    with copied(whole) as folder:
        odd.disturb(folder, draw)
        ends(folder, *args)


@examples(12)
@given(data=BYTES, args=st.sampled_from(ON_RECIPES))
def test_any_text_as_a_recipe(data: bytes, args: tuple[str, ...], whole: Path) -> None:
    with copied(whole) as folder:
        (folder / "r.recipe").write_bytes(data)
        ends(folder, *args, "r.recipe")


@examples(12)
@given(data=BYTES, ending=st.sampled_from(ENDINGS), verb=st.sampled_from(("check", "run")))
def test_any_bytes_as_data(data: bytes, ending: str, verb: str, tmp_path: Path, whole: Path) -> None:
    (tmp_path / f"x.{ending}").write_bytes(data)
    text = f'edition 2026\nsource a {{\n  files = "x.{ending}"\n}}\nexport d {{\n  data = a\n  path = "out"\n}}\n'
    (tmp_path / "r.recipe").write_text(text)
    ends(tmp_path, verb, "r.recipe")
    shutil.rmtree(tmp_path / ".alchemist", ignore_errors=True)


@examples(9)
@given(data=BYTES | JSON, args=st.sampled_from(OURS))
def test_any_bytes_as_a_file_of_ours(data: bytes, args: tuple[str, ...], whole: Path) -> None:
    with copied(whole) as folder:
        (folder / args[0]).write_bytes(data)
        ends(folder, *args[1:])
        (folder / args[0]).unlink(missing_ok=True)
        (folder / args[0]).mkdir()
        ends(folder, *args[1:])
