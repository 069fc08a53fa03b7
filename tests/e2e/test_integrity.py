"""Damaged bytes: whatever is flipped, cut or deleted in what a project keeps, a run that says 0 wrote the right
data.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_cli import call, exported, jsonl

EVERY = os.environ.get("ALCHEMIST_TEST_ALL") == "1"
TRIALS = 200 if EVERY else 16

RECIPE = """edition 2026

teacher rules {
  provider = rules
}

prompt ask {
  rules = describe
  input {
    instruction: text
    response: text
  }
  output {
    prompt: text
  }
}

source a {
  files = "data/a.jsonl"
}

suite items {
  files = "data/items.jsonl"
  text = ["prompt"]
  id = "id"
}

filter clean {
  from = a
  drop chars(response) < 24 as short
}

map tagged {
  from = clean
  set topic = "squares"
}

dedup once {
  from = tagged
  method = exact()
}

decontaminate safe {
  from = once
  against = items
}

relabel asked {
  from = safe
  teacher = rules
  prompt = ask
  mode = replace
  set instruction = out.prompt
}

mixture sft {
  total = 60 rows
  take {
    asked = rest
  }
}

export dataset {
  data = sft
  path = "out"
}
"""
#: What a person changes between the two runs: nothing, the last step, an early one, and the export is gone.
EDITS = {
    "nothing": ("", ""),
    "format": ('path = "out"', 'path = "out"\n  format = jsonl'),
    "filter": ("< 24", "< 25"),
    "gone": ("", ""),
}


def run(project: Path, *more: str) -> tuple[int, str]:
    return call("run", project / "r.recipe", *more)


def data(project: Path) -> dict[str, str]:
    """Digests of the exported rows; the card holds the day."""
    return {n: d for n, d in exported(project).items() if "/data/" in n}


def edited(project: Path, edit: str) -> Path:
    recipe = project / "r.recipe"
    recipe.write_text(recipe.read_text().replace(*EDITS[edit], 1))
    if edit == "gone":
        shutil.rmtree(project / "out")
    return project


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every step is finished."""
    project = tmp_path_factory.mktemp("kept") / "project"
    rows = [
        {
            "instruction": f"Write a function that returns the square of {i % 90} and tell how.",
            "response": f"def square():\n    return {i % 90} ** 2" + " # yes" * (i % 7),
        }
        for i in range(120)
    ]
    jsonl(project / "data/a.jsonl", rows)
    jsonl(project / "data/items.jsonl", [{"id": "1", "prompt": "return the square of " * 9}])
    (project / "r.recipe").write_text(RECIPE)
    code, said = run(project)
    assert code == 0, said
    return project


@pytest.fixture(scope="module")
def right(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What each edit exports where nothing is damaged."""
    out = {}
    for edit in EDITS:
        project = tmp_path_factory.mktemp(edit) / "project"
        shutil.copytree(kept, project, symlinks=True)
        code, said = run(edited(project, edit))
        assert code == 0, said
        out[edit] = data(project)
    return out


def victims(project: Path) -> list[Path]:
    places = (project / ".alchemist", project / "out", project / "recipe.lock")
    files: Iterator[Path] = (f for p in places for f in ([p] if p.is_file() else p.rglob("*")))
    wanted = (f for f in files if f.is_file() and not f.is_symlink())
    return sorted(f for f in wanted if f.suffix not in (".lock", ".log") or f.name == "recipe.lock")


def damage(file: Path, how: str, dice: random.Random) -> None:
    if how == "delete":
        file.unlink()
        return
    content = bytearray(file.read_bytes())
    if how == "cut":
        del content[dice.randrange(len(content) + 1) :]
    elif content:
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    file.write_bytes(content)


@pytest.mark.parametrize("trial", range(TRIALS))
def test_flips_and_deletions(trial: int, kept: Path, right: dict[str, dict[str, str]], tmp_path: Path) -> None:
    dice = random.Random(f"damage {trial}")
    project = tmp_path / "project"
    shutil.copytree(kept, project, symlinks=True)
    file = dice.choice(victims(project))
    how = dice.choice(["flip", "flip", "cut", "delete"])
    edit = dice.choice(list(EDITS))
    damage(file, how, dice)
    code, said = run(edited(project, edit))
    told = f"{how} {file.relative_to(project)}, {edit}: {said}"
    assert code in (0, 1, 3), told
    if code == 0:
        assert data(project) == right[edit], told
    else:
        assert "error[A" in said and "help: " in said, told


def result(project: Path, kind: str) -> Path:
    """The folder of the finished step of a kind."""
    for manifest in (project / ".alchemist/store").glob("*/manifest.json"):
        if json.loads(manifest.read_bytes()).get("kind") == kind:
            return manifest.parent
    raise AssertionError(f"no {kind} is finished")


@pytest.mark.parametrize("edit", ["format", "gone", "filter"])
@pytest.mark.parametrize("kind", ["suite", "source", "decontaminate", "relabel"])
def test_a_result_that_was_deleted(
    kind: str, edit: str, kept: Path, right: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """Also of a step whose rows nobody shows: the card tells of all of them."""
    project = tmp_path / "project"
    shutil.copytree(kept, project, symlinks=True)
    shutil.rmtree(result(project, kind))
    code, said = run(edited(project, edit))
    assert code == 0, said
    assert data(project) == right[edit]
    lost = "its result is no longer in the store" in (project / "out/README.md").read_text()
    assert lost == (kind == "suite" and edit != "filter")


# --- alchemist verify -------------------------------------------------------------------------------------------------


def verify(project: Path, *more: str) -> tuple[int, str]:
    return call("verify", project, *more)


@pytest.fixture
def project(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


def test_verify_of_what_is_whole(project: Path) -> None:
    code, said = verify(project)
    assert code == 0 and said.startswith("checked  1 export, 9 results, "), said
    code, said = verify(project, "--format", "json")
    assert code == 0 and json.loads(said)["damage"] == []


def test_verify_finds_every_flip(project: Path) -> None:
    """Of files that no run would read, too. A lock is made by hand and has no checksum; it is only read."""
    dice = random.Random(4)
    for file in victims(project):
        if file.name in (".alchemist-result", "recipe.lock", "lock") or file.parent.name == "by-content":
            continue
        if file == project / ".alchemist/files" or file.suffix == ".sqlite":
            continue
        whole = file.read_bytes()
        damage(file, "flip", dice)
        code, said = verify(project)
        assert code == 1 or file.name == ".alchemist-export.json", f"{file}: {said}"
        file.write_bytes(whole)
    assert verify(project)[0] == 0


def test_verify_repairs_by_the_next_run(project: Path, right: dict[str, dict[str, str]]) -> None:
    worn = [result(project, "map") / "set-00000.parquet", project / "out/README.md"]
    worn = [w if w.exists() else next(w.parent.glob("*.parquet")) for w in worn]
    for file in worn:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        stat = file.stat()
        file.write_bytes(content)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    code, said = verify(project)
    assert code == 1 and "result   tagged: " in said and "export   out: README.md" in said, said
    assert "alchemist verify --repair" in said
    assert verify(project, "--repair")[0] == 1
    code, said = run(project)
    assert code == 0, said
    assert data(project) == right["nothing"]
    assert verify(project)[0] == 0


def test_verify_names_damaged_answers(project: Path) -> None:
    import sqlite3

    with sqlite3.connect(project / ".alchemist/calls.sqlite") as db:
        db.execute("UPDATE answers SET text = text || ' ' WHERE rowid IN (1, 2, 3)")
    code, said = verify(project, "--repair")
    assert code == 1 and "answers  calls.sqlite: 3 of " in said, said
    assert verify(project)[0] == 0


def test_damaged_answers_are_asked_for_again(project: Path, right: dict[str, dict[str, str]]) -> None:
    import sqlite3

    with sqlite3.connect(project / ".alchemist/calls.sqlite") as db:
        db.execute("UPDATE answers SET text = replace(text, 'a', 'e')")
    shutil.rmtree(result(project, "relabel"))
    code, said = run(edited(project, "filter"))
    assert code == 0 and "damaged in the call cache and asked for again" in said, said
    assert data(project) == right["filter"]


# --- what is shaped wrongly -------------------------------------------------------------------------------------------

ODD = [
    "{}",
    "[]",
    "7",
    "null",
    '{"format": 1}',
    '{"format": 1, "ports": 3, "figures": {}}',
    "[" * 100_000,
    '{"format": 1, "ports": {"rows": {}}, "figures": {}}',
    '{"same_as": "b2:../../x"}',
    '{"same_as": 7}',
    "\xff\xfe",
    '{"format": "1"}',
    '{"nodes": ' + "[" * 500 + "]" * 500 + "}",
    '{"nodes": {"a": 1}}',
    '{"nodes": {"a": {"key": []}}}',
]


@pytest.mark.parametrize("text", ODD)
def test_odd_manifests_records_and_caches(text: str, project: Path, right: dict[str, dict[str, str]]) -> None:
    """Each file is one of somebody else: the commands go on, and the data is right."""
    odd = text.encode("latin-1")
    (result(project, "map") / "manifest.json").write_bytes(odd)
    (result(project, "export") / "manifest.json").write_bytes(odd)
    with (project / ".alchemist/runs.jsonl").open("ab") as file:
        file.write(odd + b"\n")
    (project / ".alchemist/files").write_bytes(odd)
    (project / "out/.alchemist-export.json").write_bytes(odd)
    recipe = str(project / "r.recipe")
    for command in (
        ["compile", recipe],
        ["why", "clean", recipe],
        ["show", recipe, "tagged"],
        ["diff", recipe, recipe],
        ["verify", str(project)],
    ):
        code, said = call(*command)
        assert code in (0, 1), said
    code, said = run(edited(project, "filter"))
    assert code == 0, said
    assert data(project) == right["filter"]


def test_an_entry_that_stands_for_itself(project: Path) -> None:
    folder = result(project, "map")
    (folder / "manifest.json").write_text(json.dumps({"same_as": f"b2:{folder.name}"}))
    assert run(edited(project, "gone"))[0] == 0


def test_a_folder_of_somebody_else_in_the_store_is_not_removed(project: Path) -> None:
    folder = result(project, "map")
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    code, said = run(edited(project, "gone"))
    assert code == 3 and "error[A906 foreign-folder]" in said, said
    assert (folder / "mine.txt").read_text() == "mine"


# --- stores of earlier versions ---------------------------------------------------------------------------------------


def as_before(project: Path) -> None:
    """Everything without its checksums, as versions before them wrote it."""
    from alchemist_runtime.schema.sealed import unseal

    for file in (project / ".alchemist").rglob("*"):
        if file.name == "manifest.json":
            made, _ = unseal(file.read_bytes())
            kept = {n: v for n, v in made.items() if n not in ("files", "inputs", "placed")}
            file.write_text(json.dumps(kept, indent=1))
        elif file.name == ".alchemist-result":
            file.unlink()
        elif file.suffix == ".npy":
            file.write_bytes(file.read_bytes()[:-16])
    for file in (project / ".alchemist/runs.jsonl", project / "out/.alchemist-export.json"):
        lines = [unseal(line)[0] for line in file.read_bytes().splitlines()]
        for line in lines:
            line.pop("files", None)
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("edit", EDITS)
def test_a_store_without_checksums_is_still_good(edit: str, project: Path, right: dict[str, dict[str, str]]) -> None:
    as_before(project)
    assert "note     9 of the results were made by an earlier version" in verify(project)[1]
    code, said = run(edited(project, edit))
    assert code == 0 and ("nothing to do" in said) == (edit == "nothing"), said
    assert data(project) == right[edit]


def test_rows_that_were_made_again_otherwise_are_seen(project: Path) -> None:
    """A view shows rows of another step: where these have changed since, what it shows is not what it chose."""
    from alchemist_runtime.schema.sealed import seal, unseal

    manifest = result(project, "source") / "manifest.json"
    made, _ = unseal(manifest.read_bytes())
    made["ports"]["rows"]["digest"] = "b2:" + "0" * 64
    manifest.write_bytes(seal(made))
    code, said = run(edited(project, "gone"))
    assert code == 0, said
    assert "the stored result of `clean` was damaged" in said and "have changed since" in said, said
