"""`alchemist cache`: what the call cache holds and costs, files of answers, and that nothing is removed that a recipe
may need.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.calls.cache import CallCache
from alchemist_runtime.calls.teacher import Reply
from command_line import PATIENCE
from e2e_cli import alchemist, edit, jsonl, run, squares, start
from fault_server import FaultServer

RECIPE = '''edition 2026

teacher t {{
  provider = openai
  model = "m-2026-01-01"
  base_url = "{url}"
  api_key_env = "NONE_SET"
  price {{
    input = $2 per 1M tokens
    output = $10 per 1M tokens
  }}
}}

prompt ask {{
  input {{
    instruction: text
  }}
  user = jinja"""
    {word} {{{{ instruction }}}}
    """
  output {{
    answer: text
  }}
}}

source s {{
  files = "rows.jsonl"
}}

generate g {{
  from = s
  teacher = t
  prompt = ask
  budget = $1
  set response = out.answer
}}

export d {{
  data = g
  path = "{word}"
  format = jsonl
}}
'''
#: Of one answer: 10 tokens in, 5 out.
USD = (10 * 2 + 5 * 10) / 1e6


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    found = FaultServer(lambda n, body: f"re: {body['messages'][-1]['content']}")
    yield found
    found.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, server: FaultServer) -> Path:
    """Two recipes that were run: 20 questions each, none in common."""
    folder = tmp_path_factory.mktemp("made")
    jsonl(folder / "rows.jsonl", squares(20))
    (folder / "recipe.lock").touch()
    for name, word in (("r.recipe", "Say"), ("other.recipe", "Tell")):
        (folder / name).write_text(RECIPE.format(url=server.base_url, word=word))
        run(name, folder)
    assert server.asked == 40
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project"))


def cache(project: Path, *args: str | Path, code: int = 0) -> Any:
    done = alchemist("cache", *args, "--format", "json", cwd=project)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def file_of(project: Path) -> Path:
    return project / ".alchemist" / "calls.sqlite"


def keys(file: Path) -> set[bytes]:
    with sqlite3.connect(file) as db:
        return {key for (key,) in db.execute("SELECT key FROM answers")}


def test_what_it_holds(project: Path) -> None:
    found = cache(project, "stats")
    assert (found["answers"], found["used"], found["unused"], found["unsure"]) == (40, 40, 0, 0)
    assert found["ended"] == {"whole": 40} and float(found["usd"]) == pytest.approx(40 * USD)
    origins = {o["recipe"]: o for o in found["origins"]}
    assert origins.keys() == {"r.recipe", "other.recipe"}
    mine = origins["r.recipe"]
    assert (mine["step"], mine["teacher"], mine["model"]) == ("g", "t", "m-2026-01-01")
    assert (mine["tokens_in"], mine["tokens_out"], mine["used"]) == (200, 100, 20)
    edit(project, "Say", "Please say")
    found = cache(project, "stats")
    assert (found["used"], found["unused"]) == (20, 20)
    said = alchemist("cache", "stats", cwd=project).stdout
    assert ".alchemist/calls.sqlite: 40 answers" in said
    assert "used     20 by the recipes here, 20 by none" in said
    assert "r.recipe      g     t        m-2026-01-01       20  $0.0014     0" in said, said


def test_what_is_damaged_or_of_an_earlier_version_is_said(project: Path) -> None:
    with sqlite3.connect(file_of(project)) as db:
        db.execute("UPDATE answers SET text = text || '!' WHERE rowid = 3")
        db.execute("UPDATE answers SET origin = NULL WHERE rowid <= 5")
    found = cache(project, "stats")
    assert found["ended"] == {"whole": 39, "damaged": 1}
    unknown = next(o for o in found["origins"] if o["recipe"] is None)
    assert (unknown["answers"], unknown["usd"], unknown["used"]) == (5, None, 5)
    assert len(cache(project, "verify", code=1)["damaged"]) == 1
    assert "1 of 40 answers are damaged" in alchemist("cache", "verify", cwd=project).stdout
    done = cache(project, "export", "all.sqlite")
    assert (done["answers"], done["damaged"]) == (39, 1)
    assert cache(project, "verify", "all.sqlite")["answers"] == 39


def test_a_project_that_asked_nothing(tmp_path: Path) -> None:
    (tmp_path / "recipe.lock").touch()
    assert cache(tmp_path, "stats")["answers"] == cache(tmp_path, "verify")["answers"] == 0
    assert cache(tmp_path, "gc", "--yes")["removed"] == 0
    assert "no call cache" in cache(tmp_path, "export", "f.sqlite", code=3)
    assert not (tmp_path / ".alchemist/calls.sqlite").exists()


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_recipes_answers_replay_elsewhere(project: Path, server: FaultServer, tmp_path: Path) -> None:
    assert cache(project, "export", "one.sqlite", "r.recipe")["answers"] == 20
    assert cache(project, "export", "step.sqlite", "r.recipe", "--step", "g")["answers"] == 20
    assert cache(project, "export", "t.sqlite", "--teacher", "t")["answers"] == 40
    assert cache(project, "export", "all.sqlite")["answers"] == 40
    assert not list(project.glob("*.part")) and not list(project.glob("*.sqlite-*"))
    away = tmp_path / "away"
    jsonl(away / "rows.jsonl", squares(20))
    (away / "recipe.lock").touch()
    (away / "r.recipe").write_bytes((project / "r.recipe").read_bytes())
    asked = server.asked
    nodes = run("r.recipe", away, "--replay", str(project / "one.sqlite"))
    assert nodes["g"]["figures"]["calls_cached"] == 20 and server.asked == asked
    edit(project, "Say", "Please say")
    done = cache(project, "export", "none.sqlite", "r.recipe")
    assert (done["answers"], done["unanswered"]) == (0, 20)


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["there.sqlite"], 2, "already exists and is not overwritten"),
        (["no/folder.sqlite"], 2, "the folder `no` does not exist"),
        (["f.sqlite", "--step", "g"], 2, "--step, --variant, --set and --params belong to a recipe"),
        (["f.sqlite", "r.recipe", "--step", "h"], 2, "`r.recipe` has no step `h` that asks"),
        (["f.sqlite", "r.recipe", "--teacher", "x"], 2, "they ask `t`"),
        (["f.sqlite", "--teacher", "x"], 1, "the cache holds answers of `t`"),
        (["f.sqlite", "rr.recipe"], 2, "did you mean `r.recipe`?"),
    ],
)
def test_an_export_that_cannot_be(project: Path, args: list[str], code: int, says: str) -> None:
    (project / "there.sqlite").write_text("mine")
    done = alchemist("cache", "export", *args, cwd=project)
    assert done.returncode == code and says in done.stderr, done.stderr
    assert (project / "there.sqlite").read_text() == "mine"
    assert not (project / "f.sqlite").exists()


def test_two_caches_become_one_and_what_is_here_stays(project: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    (away / ".alchemist").mkdir(parents=True)
    (away / "recipe.lock").touch()
    shared = sorted(keys(file_of(project)))
    mine = CallCache(file_of(away))
    mine.put(shared[0], Reply("mine"))
    mine.put(shared[1], Reply("worn"))
    mine.put(b"x" * 24, Reply("another question"))
    mine.close()
    with sqlite3.connect(file_of(away)) as db:
        db.execute("UPDATE answers SET text = 'other' WHERE text = 'worn'")
    with sqlite3.connect(file_of(project)) as db:
        db.execute("UPDATE answers SET text = text || '!' WHERE key = ?", (shared[2],))
    file = str(file_of(project))
    assert cache(away, "import", file) == {"new": 38, "same": 0, "kept": 1, "left": 1}
    assert cache(away, "import", file) == {"new": 0, "same": 38, "kept": 1, "left": 1}
    found = CallCache(file_of(away))
    got = found.get_many([shared[0], shared[1]])
    assert got[shared[0]].text == "mine" and got[shared[1]].text.startswith("re: ")
    assert found.verify() == (40, [])
    found.close()
    recipes = {o["recipe"]: o["answers"] for o in cache(away, "stats")["origins"]}
    assert sum(recipes.values()) == 40 and recipes[None] == 2


def test_a_file_that_is_no_cache_is_not_taken_over(project: Path) -> None:
    (project / "odd.sqlite").write_bytes(b"no database" * 100)
    done = alchemist("cache", "import", "odd.sqlite", cwd=project)
    assert done.returncode == 3 and "error[A907" in done.stderr, done.stderr
    assert alchemist("cache", "import", "gone.sqlite", cwd=project).returncode == 2
    assert alchemist("cache", "import", ".alchemist/calls.sqlite", cwd=project).returncode == 2
    with sqlite3.connect(project / "made.sqlite") as db:  # by another program
        db.execute("CREATE TABLE answers (key, text, tokens_in, tokens_out, finish, sum, reasoning, origin)")
        db.execute("CREATE TABLE origins (id, recipe, step, teacher, identity, usd_in, usd_out)")
        db.execute("INSERT INTO answers VALUES ('short', 7, 'x', NULL, 'stop', NULL, NULL, NULL)")
        db.execute("PRAGMA user_version = 4")
    assert cache(project, "import", "made.sqlite") == {"new": 0, "same": 0, "kept": 0, "left": 1}
    assert cache(project, "verify")["answers"] == 40


# --- removing ---------------------------------------------------------------------------------------------------------


def test_only_what_no_recipe_needs_is_removed_and_only_with_a_yes(project: Path, server: FaultServer) -> None:
    edit(project, "Say", "Please say")
    before = keys(file_of(project))
    done = alchemist("cache", "gc", cwd=project)
    assert done.returncode == 3 and "help: pass `--yes`" in done.stderr
    assert "r.recipe  g     t        m-2026-01-01       20  $0.0014" in done.stdout, done.stdout
    assert keys(file_of(project)) == before
    found = cache(project, "gc", "--yes")
    assert found["removed"] == 20 and float(found["usd"]) == pytest.approx(20 * USD)
    asked = server.asked
    run("other.recipe", project)
    (project / ".alchemist/store").rename(project / "gone")
    run("other.recipe", project)
    assert server.asked == asked, "what the other recipe needs is still there"
    run("r.recipe", project)
    assert server.asked == asked + 20
    assert cache(project, "gc", "--yes")["removed"] == 0


def test_what_a_step_may_need_stays_while_its_questions_are_not_known(project: Path) -> None:
    """Its source is not built: the answers of its teacher may be its own; those of another teacher are not."""
    edit(project, "Say", "Please say")
    (project / ".alchemist/store").rename(project / "gone")
    done = alchemist("cache", "gc", "--yes", cwd=project)
    assert done.returncode == 0 and "nothing to remove" in done.stdout
    assert "what `other.recipe: g`, `r.recipe: g` would ask is not known" in done.stdout
    for name in ("r.recipe", "other.recipe"):
        text = (project / name).read_text()
        (project / name).write_text(text.replace("m-2026-01-01", "n-2026-01-01"))
    assert cache(project, "gc", "--yes")["removed"] == 40


def test_what_a_step_asks_that_nothing_reads_is_needed_too(project: Path) -> None:
    """`run --upto` builds it."""
    text = (project / "r.recipe").read_text()
    (project / "r.recipe").write_text(text[: text.index("export d {")])
    run("r.recipe", project, "--upto", "g")
    assert cache(project, "stats")["used"] == 40
    assert cache(project, "gc", "--yes")["removed"] == 0
    assert cache(project, "export", "g.sqlite", "r.recipe", "--step", "g")["answers"] == 20


def test_nothing_is_removed_while_a_recipe_cannot_be_read(project: Path) -> None:
    edit(project, "from = s", "from = nothing")
    done = alchemist("cache", "gc", "--yes", cwd=project)
    assert done.returncode == 1 and "`r.recipe` cannot be read" in done.stderr
    assert len(keys(file_of(project))) == 40
    found = cache(project, "stats")
    assert (found["used"], found["unsure"], found["unused"]) == (20, 20, 0)


def test_nothing_is_removed_under_a_run(project: Path) -> None:
    edit(project, "Say", "Please say")
    asks = CallCache(file_of(project))
    asks.lease([b"x" * 24])
    done = alchemist("cache", "gc", "--yes", cwd=project)
    assert done.returncode == 3 and "a run is using the cache" in done.stderr
    asks.close()
    assert cache(project, "gc", "--yes")["removed"] == 20


def test_two_recipes_at_once_pay_an_equal_question_once(made: Path, server: FaultServer, tmp_path: Path) -> None:
    """Their steps differ in what they make of the answer, so that neither is the other's result."""
    jsonl(tmp_path / "rows.jsonl", squares(60))
    (tmp_path / "recipe.lock").touch()
    text = (made / "r.recipe").read_text().replace("Say", "Whisper")
    (tmp_path / "a.recipe").write_text(text.replace("  price", "  concurrency = 4\n  price"))
    (tmp_path / "b.recipe").write_text(
        text.replace("= out.answer", '= out.answer + "!"').replace('"Whisper"', '"loud"')
    )
    asked, answer = server.asked, server.answer

    def slowly(number: int, body: dict[str, Any]) -> Any:
        time.sleep(0.05)
        return answer(number, body)

    server.answer = slowly
    runs = [start("run", name, "--format", "json", cwd=tmp_path) for name in ("a.recipe", "b.recipe")]
    said = [run.communicate(timeout=PATIENCE) for run in runs]
    server.answer = answer
    assert [run.returncode for run in runs] == [0, 0], said
    assert server.asked == asked + 60
    nodes = [{n["node"]: n["figures"] for n in json.loads(out)["nodes"]} for out, _ in said]
    assert [n["g"]["calls"] for n in nodes] == [60, 60]
    assert sum(n["g"]["calls_new"] for n in nodes) == 60
    assert sum(float(n["g"]["usd"]) for n in nodes) == pytest.approx(60 * USD)
