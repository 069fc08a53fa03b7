"""What a run leaves outside its store: exports that keep what is not theirs, exit codes, and how a run ends early."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.storage import store
from e2e_cli import call, edit, exported, jsonl, place, squares

RECIPE = """edition 2026

source a {
  files = "data/a.jsonl"
}

filter clean {
  from = a
  drop chars(response) < 5 as short
}

export dataset {
  data = clean
  path = "out"
}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    jsonl(folder / "data/a.jsonl", squares(20))
    (folder / "r.recipe").write_text(RECIPE)
    monkeypatch.chdir(folder)
    return folder


# --- exports ----------------------------------------------------------------------------------------------------------


def test_an_export_of_equal_size_and_other_bytes_is_written_again(project: Path) -> None:
    assert call("run", "r.recipe")[0] == 0
    whole = exported(project)
    file = next((project / "out/data").glob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    code, said = call("run", "r.recipe")
    assert code == 0 and "nothing to do" not in said
    assert exported(project) == whole


def test_a_copied_or_touched_export_is_left_alone(project: Path) -> None:
    assert call("run", "r.recipe")[0] == 0
    for file in (project / "out").rglob("*.parquet"):
        os.utime(file)
    assert "nothing to do" in call("run", "r.recipe")[1]


def test_an_export_deletes_only_what_it_wrote(project: Path) -> None:
    edit(project, 'path = "out"', 'path = "out"\n  format = jsonl')
    assert call("run", "r.recipe")[0] == 0
    mine = {"notes.md": "mine", "data/extra.csv": "a,b", "deep/er/x": "x"}
    for name, text in mine.items():
        (project / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (project / "out" / name).write_text(text)
    (project / "out/link").symlink_to("notes.md")
    edit(project, "\n  format = jsonl", "")
    assert call("run", "r.recipe")[0] == 0
    assert {name: (project / "out" / name).read_text() for name in mine} == mine
    assert (project / "out/link").is_symlink()
    assert {f.suffix for f in (project / "out/data").glob("train*")} == {".parquet"}
    assert sorted(p.name for p in project.iterdir() if p.name.startswith(".out")) == []


@pytest.mark.parametrize("mark", [b"", b'{"check": "0"}', b"[]", None])
def test_beside_a_marker_that_cannot_be_read_only_what_exports_are_called_is_replaced(
    mark: bytes | None, project: Path
) -> None:
    """None: the marker is a folder, which no read tells from a disk that does not answer."""
    assert call("run", "r.recipe")[0] == 0
    whole, marker = exported(project), project / "out/.alchemist-export.json"
    mine = {"data/train.csv": "mine", "data/test-00000.parquet": "mine", "lineage/why.md": "mine"}
    for name, text in mine.items():
        (project / "out" / name).parent.mkdir(exist_ok=True)
        (project / "out" / name).write_text(text)
    marker.unlink()
    if mark is None:
        marker.mkdir()
    else:
        marker.write_bytes(mark)
    edit(project, "< 5", "< 17")
    code, said = call("run", "r.recipe")
    assert code == 0, said
    assert {name: (project / "out" / name).read_text() for name in mine} == mine
    assert not {n for n in whole if "/data/" in n} & exported(project).keys(), "the old rows"


def test_a_run_that_was_killed_between_the_renames_of_an_export(project: Path) -> None:
    assert call("run", "r.recipe")[0] == 0
    whole = exported(project)
    (project / "out/mine.txt").write_text("mine")
    (project / "out").rename(project / ".out.old-1")
    assert call("run", "r.recipe")[0] == 0
    assert (project / "out/mine.txt").read_text() == "mine"
    assert whole.items() <= exported(project).items() and not (project / ".out.old-1").exists()


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "out/deep").mkdir(parents=True)
    (project / "out/deep/mine").write_text("mine")
    scandir = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    code, said = call("run", "r.recipe")
    assert code == 3 and "error[A914 not-writable]" in said, said
    assert (project / "out/deep/mine").read_text() == "mine"


def test_an_export_overwrites_no_file_of_somebody_else(project: Path) -> None:
    edit(project, 'path = "out"', 'path = "elsewhere"\n  format = jsonl')
    assert call("run", "r.recipe")[0] == 0
    name = next((project / "elsewhere/data").glob("*.jsonl")).name
    edit(project, '"elsewhere"\n  format = jsonl', '"out"')
    assert call("run", "r.recipe")[0] == 0
    (project / "out/data" / name).write_text("mine")
    edit(project, 'path = "out"', 'path = "out"\n  format = jsonl')
    code, said = call("run", "r.recipe")
    assert code == 3 and "error[A906 foreign-folder]" in said and f"data/{name}" in said, said
    assert (project / "out/data" / name).read_text() == "mine"


def test_a_folder_where_something_is_mounted_is_filled(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount point cannot be renamed."""
    (project / "out").mkdir()
    rename, is_mount = Path.rename, Path.is_mount

    def busy(self: Path, target: object) -> object:
        if self == project / "out":
            raise OSError(16, "Device or resource busy", str(self))
        return rename(self, target)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "rename", busy)
    monkeypatch.setattr(Path, "is_mount", lambda self: self == project / "out" or is_mount(self))
    assert call("run", "r.recipe")[0] == 0
    (project / "out/mine.txt").write_text("mine")
    before = exported(project)
    edit(project, 'path = "out"', 'path = "out"\n  format = jsonl')
    assert call("run", "r.recipe")[0] == 0
    files = {p.relative_to(project / "out").as_posix() for p in (project / "out").rglob("*") if p.is_file()}
    (rows,) = (project / "out/data").glob("*")
    assert rows.suffix == ".jsonl"
    assert files - {f"data/{rows.name}"} == {"README.md", "mine.txt", ".alchemist-export.json"}
    edit(project, "\n  format = jsonl", "")
    assert call("run", "r.recipe")[0] == 0
    assert exported(project) == before


@pytest.mark.needs("mount")
def test_an_export_into_a_real_mount(project: Path) -> None:
    (project / "out").mkdir()
    command = (
        "mount -t tmpfs tmpfs out && python -m alchemist_dsl run r.recipe && ls out/data"
        " && sed -i 's/< 5/< 16/' r.recipe && python -m alchemist_dsl run r.recipe && ls out"
    ).replace("python", os.sys.executable)  # type: ignore[attr-defined]
    done = subprocess.run(["unshare", "-m", "sh", "-c", command], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ".parquet" in done.stdout


def test_two_recipes_with_one_folder(project: Path) -> None:
    (project / "s.recipe").write_text(RECIPE.replace("export dataset", "export other").replace("< 5", "< 6"))
    assert call("run", "r.recipe")[0] == 0
    whole = exported(project)
    code, said = call("run", "s.recipe")
    assert code == 3 and "error[A915 same-folder]" in said, said
    assert "`out` holds the export `dataset` of `r.recipe`" in said
    assert place((project / "s.recipe").read_text(), "export other", "other")[8:] in said
    assert exported(project) == whole
    (project / "r.recipe").unlink()  # it was renamed
    assert call("run", "s.recipe")[0] == 0


def test_where_an_export_goes_is_looked_at_before_anything_is_built(project: Path) -> None:
    (project / "out").mkdir()
    (project / "out/mine").write_text("mine")
    assert call("run", "r.recipe")[0] == 3
    assert not (project / ".alchemist/store").exists()


# --- how a run ends ---------------------------------------------------------------------------------------------------

MEASURE = """
measure looked {
  data = clean
  metrics = cpd(model = "owner/model")
}
"""


def test_what_was_asked_for_and_not_built_is_3(project: Path) -> None:
    with (project / "r.recipe").open("a") as file:
        file.write(MEASURE)
    code, said = call("run", "r.recipe")
    assert code == 3 and "error[A918 not-built]: `looked` was not built" in said, said
    assert (project / "out/README.md").exists()
    assert call("run", "r.recipe", "--upto", "dataset")[0] == 0


TWO = """
source b {
  files = "data/b.jsonl"
}

export second {
  data = b
  path = "second"
}
"""


def test_keep_going_builds_what_does_not_need_the_failed_step(project: Path) -> None:
    edit(project, "drop chars(response) < 5 as short", "drop chars(response) < 5 as short\n  expect rows >= 100")
    jsonl(project / "data/b.jsonl", [{"instruction": "Do.", "response": "Done."}])
    with (project / "r.recipe").open("a") as file:
        file.write(TWO)
    code, said = call("run", "r.recipe", "--format", "json")
    assert code == 1 and not (project / "second").exists()
    code, said = call("run", "r.recipe", "--keep-going")
    assert code == 1 and "error[A911 expect-failed]" in said, said
    assert (project / "second/README.md").exists() and not (project / "out").exists()
    lines = {line.split()[0]: line for line in reversed(said.splitlines()) if "  " in line}
    assert lines["clean"].endswith("failed") and lines["dataset"].endswith("not run")
    record = json.loads((project / ".alchemist/runs.jsonl").read_text().splitlines()[-1])
    assert record["problem"] == "A911" and record["nodes"]["second"]["action"] == "built"
    edit(project, ">= 100", ">= 10")
    code, said = call("run", "r.recipe")
    assert code == 0 and (project / "out/README.md").exists()


@pytest.mark.parametrize("interrupt", [signal.default_int_handler, signal.SIG_IGN])
def test_terminate_is_interrupt(interrupt: Any, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of what a shell script starts with `&`: there SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, interrupt)
    point = store.point

    def terminated(step: str, at: str) -> None:
        if (step, at) == ("clean", "write"):
            os.kill(os.getpid(), signal.SIGTERM)
        point(step, at)

    monkeypatch.setattr(store, "point", terminated)
    try:
        code, said = call("run", "r.recipe")
        assert signal.getsignal(signal.SIGINT) is interrupt
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 130 and "interrupted: finished steps are kept" in said
    assert "finished before: a" in said
    monkeypatch.undo()
    os.chdir(project)
    code, said = call("run", "r.recipe", "--format", "json")
    assert code == 0


def test_a_project_that_was_copied_with_its_links_resolved(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("run", "r.recipe")[0] == 0
    copy = tmp_path / "copy"
    shutil.copytree(project, copy, symlinks=False)
    pointed = copy / ".alchemist/outputs/r/clean"
    assert pointed.is_dir() and not pointed.is_symlink()
    monkeypatch.chdir(copy)
    edit(copy, "< 5", "< 16")
    code, said = call("run", "r.recipe")
    assert code == 0, said
    assert pointed.is_symlink() and (pointed / "manifest.json").exists()


def test_a_folder_of_somebody_else_among_the_outputs_stays(project: Path) -> None:
    mine = project / ".alchemist/outputs/r/clean"
    mine.mkdir(parents=True)
    (mine / "mine.txt").write_text("mine")
    code, said = call("run", "r.recipe")
    assert code == 3 and "error[A906 foreign-folder]" in said
    assert (mine / "mine.txt").read_text() == "mine"
