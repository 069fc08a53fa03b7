"""Bad input, as a user meets it: each time the message, its place, the way out, and that after it the run goes
through.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.schema.plan import digest
from e2e_cli import ALCHEMIST, alchemist, built, edit, environment, exported, jsonl, place, refused, run, squares
from fault_server import FaultServer, error
from servers import free_port

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
SOURCE = place(RECIPE, "source a", "a")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "r.recipe").write_text(RECIPE)
    jsonl(tmp_path / "data/a.jsonl", squares(20))
    return tmp_path


def stored(project: Path, kind: str) -> Path:
    """The folder of the finished step of a kind."""
    for manifest in (project / ".alchemist/store").glob("*/manifest.json"):
        if json.loads(manifest.read_bytes()).get("kind") == kind:
            return manifest.parent
    raise AssertionError(f"no {kind} is finished")


def nothing_taken(project: Path) -> None:
    """After a failure: no export, and no finished result of the source."""
    assert not (project / "out").exists()
    kinds = [json.loads(m.read_bytes())["kind"] for m in (project / ".alchemist/store").glob("*/manifest.json")]
    assert "source" not in kinds and "export" not in kinds


# --- records ----------------------------------------------------------------------------------------------------------

BAD_RECORDS = {
    "cut-off": ('{"instruction": "Add", "resp', "not JSON"),
    "no-object": ("[1, 2]", "a list, not an object"),
    "column-lacks": ('{"instruction": "Add"}', "`response` is null"),
    "null": ('{"instruction": "Add", "response": null}', "`response` is null"),
    "no-utf8": ('{"instruction": "A\udcff", "response": "b"}', "not UTF-8"),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_a_bad_record(case: str, project: Path) -> None:
    line, why = BAD_RECORDS[case]
    text = "".join(json.dumps(r) + "\n" for r in squares(3)) + line + "\n" + json.dumps(squares(1)[0])
    (project / "data/a.jsonl").write_bytes(text.encode("utf-8", "surrogateescape"))
    done = alchemist("run", "r.recipe", cwd=project)
    refused(done, 3, "A305", "data/a.jsonl:4", why, "skip(max = 1)", at=SOURCE)
    nothing_taken(project)
    if case not in ("cut-off", "null"):
        return
    edit(project, 'a.jsonl"\n', 'a.jsonl"\n  on_bad_row = skip(max = 1)\n')
    nodes = run("r.recipe", project)
    assert nodes["a"]["rows"] == 4 and nodes["a"]["figures"]["dropped"] == {"bad_row": 1}


def test_a_late_value_of_another_type(project: Path) -> None:
    """A number where all records before it have text: one bad record, and the texts stay as they are."""
    jsonl(project / "data/a.jsonl", [*squares(150), {"instruction": "Add", "response": 42}])
    done = alchemist("run", "r.recipe", cwd=project)
    refused(done, 3, "A305", "data/a.jsonl:151", "`response` is a number, not text", at=SOURCE)
    nothing_taken(project)
    edit(project, 'a.jsonl"\n', 'a.jsonl"\n  on_bad_row = skip(max = 1)\n')
    edit(project, '"out"\n', '"out"\n  format = jsonl\n')
    run("r.recipe", project)
    (file,) = (project / "out/data").iterdir()
    lines = file.read_text().splitlines()
    assert sorted(json.loads(x)["response"] for x in lines) == sorted(r["response"] for r in squares(150))


def test_a_column_that_no_record_has(project: Path) -> None:
    jsonl(project / "data/a.jsonl", [{"instruction": "Add", "output": "Done so."}])
    done = alchemist("run", "r.recipe", cwd=project)
    says = "its columns: instruction, output", "set response = output"
    refused(done, 1, "A304", *says, at=place(RECIPE, "source a"))
    edit(project, 'a.jsonl"\n', 'a.jsonl"\n  set response = output\n')
    assert run("r.recipe", project)["a"]["rows"] == 1


def test_ragged_rows_of_a_table(project: Path) -> None:
    recipe = edit(project, "a.jsonl", "a.csv")
    text = "instruction,response\nOne,Answer one\nTwo\nThree,Answer three,more\nFour,Answer four\n"
    (project / "data/a.csv").write_text(text)
    done = alchemist("run", "r.recipe", cwd=project)
    says = "cannot take 2 of its 4 records", "data/a.csv:3", "data/a.csv:4", "skip(max = 2)"
    refused(done, 3, "A305", *says, at=place(recipe, "source a", "a"))
    nothing_taken(project)
    text = text.replace("Two\n", "Two,Answer two\n").replace(",more", "")
    (project / "data/a.csv").write_text(text)
    assert run("r.recipe", project)["a"]["rows"] == 4


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_missing_file(project: Path) -> None:
    (project / "data/a.jsonl").rename(project / "data/b.jsonl")
    done = alchemist("run", "r.recipe", cwd=project)
    at = place(RECIPE, '  files = "', '"')
    refused(done, 1, "A302", "`data/a.jsonl` matches no file", "`data/b.jsonl`", at=at)
    assert not (project / ".alchemist/store").exists() and not (project / "recipe.lock").exists()
    (project / "data/b.jsonl").rename(project / "data/a.jsonl")
    run("r.recipe", project)


def test_a_folder_of_nearly_that_name(project: Path) -> None:
    recipe = edit(project, "data/a.jsonl", "data/leetcode/*.jsonl")
    jsonl(project / "data/leet_code/a.jsonl", squares(3))
    done = alchemist("run", "r.recipe", cwd=project)
    refused(done, 1, "A302", "data/leet_code", at=place(recipe, '  files = "', '"'))
    edit(project, "leetcode", "leet_code")
    assert run("r.recipe", project)["a"]["rows"] == 3


def test_an_empty_source(project: Path) -> None:
    (project / "data/a.jsonl").write_text("\n")
    done = alchemist("run", "r.recipe", cwd=project)
    refused(done, 3, "A308", "`a` gives no row", "data/a.jsonl", at=SOURCE)
    nothing_taken(project)
    jsonl(project / "data/a.jsonl", squares(3))
    run("r.recipe", project)


def test_a_file_type_that_nobody_reads(project: Path) -> None:
    recipe = edit(project, "a.jsonl", "a.xlsx")
    (project / "data/a.xlsx").write_text("x")
    done = alchemist("run", "r.recipe", cwd=project)
    refused(done, 1, "A303", ".jsonl", ".parquet", at=place(recipe, '  files = "', '"'))


def test_a_download_that_broke_off(project: Path) -> None:
    edit(project, "a.jsonl", "a.jsonl.gz")
    packed = gzip.compress("".join(json.dumps(r) + "\n" for r in squares(3_000)).encode())
    (project / "data/a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    done = alchemist("run", "r.recipe", cwd=project)
    refused(done, 3, "A312", "data/a.jsonl.gz", "an interrupted download", at=SOURCE)
    nothing_taken(project)
    (project / "data/a.jsonl.gz").write_bytes(packed)
    assert run("r.recipe", project)["a"]["rows"] == 3_000


# --- mixtures ---------------------------------------------------------------------------------------------------------

MIXTURE = """mixture sft {
  total = 100 rows
  take {
    clean = 60%
    other = rest
  }
}

source other {
  files = "data/other.jsonl"
}

"""


def test_a_mixture_that_cannot_be_filled(project: Path) -> None:
    edit(project, "data = clean", "data = sft")
    recipe = edit(project, "export", MIXTURE + "export")
    jsonl(project / "data/other.jsonl", squares(90))
    # with 20 rows there, that is known before anything is built
    done = alchemist("run", "r.recipe", cwd=project)
    says = "`clean` should give 60 rows but has at most 20", "60% of 100 rows", "lower it to 20%"
    refused(done, 1, "A602", *says, at=place(recipe, "    clean = ", "clean"))
    assert not (project / ".alchemist/store").exists()
    # with 70 only the filter brings it to light
    jsonl(project / "data/a.jsonl", [{**r, "response": "No"} for r in squares(20)] + squares(50))
    done = alchemist("run", "r.recipe", cwd=project)
    says = "`clean` should give 60 rows but has 50", "finished before: a, clean"
    refused(done, 1, "A602", *says, at=place(recipe, "    clean = ", "clean"))
    assert not (project / "out").exists()
    edit(project, "clean = 60%", "clean = 50%")
    nodes = run("r.recipe", project)
    assert nodes["sft"]["rows"] == 100 and "clean" not in built(nodes)


# --- exports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["folder", "file"])
def test_something_in_the_way_of_an_export(what: str, project: Path) -> None:
    mine = project / "out" / "mine.txt" if what == "folder" else project / "out"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("my own work")
    done = alchemist("run", "r.recipe", cwd=project)
    at = place(RECIPE, "export dataset", "dataset")
    refused(done, 3, "A906", "`out` exists and was not written by alchemist", at=at)
    assert mine.read_text() == "my own work" and not (project / ".alchemist/store").exists()
    (project / "out").rename(project / "mine")
    assert built(run("r.recipe", project)) == {"a", "clean", "dataset"}
    assert (project / "out/README.md").exists()
    assert sorted(p.name for p in project.glob(".out*")) == []


# --- plans ------------------------------------------------------------------------------------------------------------


def test_a_file_that_changes_after_the_plan(project: Path) -> None:
    assert alchemist("compile", "r.recipe", "-o", "plan.json", cwd=project).returncode == 0
    jsonl(project / "data/a.jsonl", squares(21))
    done = alchemist("run", "plan.json", cwd=project)
    says = "`data/a.jsonl` changed", "run the recipe again"
    refused(done, 3, "A913", *says, at=place(RECIPE, "source a"))
    nothing_taken(project)
    assert run("r.recipe", project)["a"]["rows"] == 21


def test_a_plan_of_a_later_program(project: Path) -> None:
    assert alchemist("compile", "r.recipe", "-o", "plan.json", cwd=project).returncode == 0
    plan = json.loads((project / "plan.json").read_text())
    whole = json.dumps(plan)
    (project / "plan.json").write_text(json.dumps({**plan, "plan_format": "2.0"}))
    done = alchemist("run", "plan.json", cwd=project)
    refused(done, 3, "A904", "plan format 2.0", at=None)
    (project / "plan.json").write_text(whole[:100])
    cut = alchemist("run", "plan.json", cwd=project)
    assert cut.returncode == 2 and "`plan.json` is no plan" in cut.stderr
    newer = {**plan, "plan_format": "1.7", "of_later": [1]}  # minor versions only add
    newer["digest"] = digest({k: v for k, v in newer.items() if k not in ("now", "digest")})
    (project / "plan.json").write_text(json.dumps(newer))
    assert alchemist("run", "plan.json", cwd=project).returncode == 0


# --- what alchemist keeps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["manifest.json", "rows-00000.parquet"])
def test_a_damaged_result_is_named_and_made_again_alone(file: str, project: Path) -> None:
    run("r.recipe", project)
    whole = exported(project)
    damaged = stored(project, "source") / file
    damaged.write_bytes(damaged.read_bytes()[:40])
    shutil.rmtree(project / "out")
    done = alchemist("run", "r.recipe", "--format", "json", cwd=project)
    assert done.returncode == 0, done.stderr
    assert f"warning[A907 damaged-store]: the stored result of `a` was damaged (`{file}`:" in done.stderr
    nodes = {n["node"]: n["action"] for n in json.loads(done.stdout)["nodes"]}
    assert nodes == {"a": "built", "clean": "reused", "dataset": "built"}
    assert exported(project) == whole


def test_a_result_that_is_gone_is_made_again(project: Path) -> None:
    """The filter is finished, but it only points at the rows of the source."""
    run("r.recipe", project)
    whole = exported(project)
    shutil.rmtree(stored(project, "source"))
    assert built(run("r.recipe", project)) == set()  # nobody needs it
    shutil.rmtree(project / "out")
    assert built(run("r.recipe", project)) == {"a", "dataset"}
    assert exported(project) == whole


def test_a_damaged_lock_and_a_torn_record(project: Path) -> None:
    run("r.recipe", project)
    lock = (project / "recipe.lock").read_text()
    (project / "recipe.lock").write_text(lock.replace("[files]", "[files"))
    done = alchemist("run", "r.recipe", cwd=project)
    refused(done, 1, "A908", "`recipe.lock` cannot be read", at="recipe.lock")
    (project / "recipe.lock").write_text(lock)
    with (project / ".alchemist/runs.jsonl").open("a") as records:
        records.write('{"record": 1, "run": "torn')
    edit(project, "< 5", "< 6")
    assert "clean" in built(run("r.recipe", project))
    last = (project / ".alchemist/runs.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["nodes"]["clean"]["action"] == "built"


# --- the command line -------------------------------------------------------------------------------------------------


def test_a_value_of_the_wrong_type(project: Path) -> None:
    edit(project, "source a", "param least: int = 5\n\nsource a")
    recipe = edit(project, "< 5", "< param.least")
    done = alchemist("run", "r.recipe", "--set", "least=five", cwd=project)
    says = "`--set least=five` is not a whole number", place(recipe, "param least: int", "int")
    refused(done, 1, "A207", *says, at="--set:1:13")
    done = alchemist("run", "r.recipe", "--set", "lest=6", cwd=project)
    refused(done, 1, "A116", "did you mean `least`", at="--set:1:7")
    assert alchemist("run", "r.recipe", "--set", "least", cwd=project).returncode == 2
    assert not (project / ".alchemist/store").exists()
    run("r.recipe", project, "--set", "least=6")


def test_a_recipe_that_is_not_there(project: Path) -> None:
    done = alchemist("run", "q.recipe", cwd=project)
    assert done.returncode == 2 and "did you mean `r.recipe`" in done.stderr


# --- disks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[Path, str], None]]:
    """Mount a small file system, or change how it is mounted; gone after the test."""
    mounted: list[Path] = []

    def mount(at: Path, options: str) -> None:
        if at in mounted:
            command = ["mount", "-o", f"remount,{options}", str(at)]
        else:
            at.mkdir(parents=True, exist_ok=True)
            command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)]
            mounted.append(at)
        subprocess.run(command, check=True)

    yield mount
    for at in mounted:
        subprocess.run(["umount", "-l", str(at)], check=True)


def noise(n: int) -> list[dict[str, str]]:
    """Rows that no compression makes small."""
    return [{"instruction": f"{i}", "response": os.urandom(300).hex()} for i in range(n)]


@pytest.mark.needs("mount")
def test_a_full_disk(project: Path, small: Callable[[Path, str], None]) -> None:
    jsonl(project / "data/a.jsonl", noise(3_000))
    small(project / ".alchemist", "size=1m")
    done = alchemist("run", "r.recipe", cwd=project)
    refused(done, 3, "A905", "no space left", "`a`", "free some space", at=SOURCE)
    nothing_taken(project)
    small(project / ".alchemist", "size=40m")
    assert run("r.recipe", project)["a"]["rows"] == 3_000
    last = (project / ".alchemist/runs.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["nodes"]["a"]["rows"] == 3_000


def test_a_file_that_may_not_grow(project: Path) -> None:
    """The same on a machine where nothing can be mounted: no file may be larger than 300 kB."""
    jsonl(project / "data/a.jsonl", noise(3_000))
    done = subprocess.run(
        [*ALCHEMIST, "run", "r.recipe"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
    )
    refused(done, 3, "A905", "no space left", at=SOURCE)
    nothing_taken(project)
    run("r.recipe", project)


@pytest.mark.parametrize("where", ["dataset:write", "dataset:swap", "clean:manifest"])
def test_a_disk_that_fills_up_on_the_way(where: str, project: Path) -> None:
    fault = {"ALCHEMIST_FAULT": f"full@{where}:1"}
    done = alchemist("run", "r.recipe", cwd=project, env=fault)
    refused(done, 3, "A905", f"while `{where.split(':')[0]}` was written", at=None)
    assert sorted(p.name for p in project.iterdir() if "out" in p.name) == []
    nodes = run("r.recipe", project)
    assert "a" not in built(nodes) and (project / "out/README.md").exists()


@pytest.mark.needs("mount")
def test_a_project_that_may_not_be_written(tmp_path: Path, small: Callable[[Path, str], None]) -> None:
    project = tmp_path / "project"
    small(project, "size=10m")
    (project / "r.recipe").write_text(RECIPE)
    jsonl(project / "data/a.jsonl", squares(20))
    small(project, "ro")
    assert alchemist("compile", "r.recipe", cwd=project).returncode == 0
    done = alchemist("run", "r.recipe", cwd=project)
    refused(done, 3, "A914", "read-only file system", at=SOURCE)
    small(project, "rw")
    run("r.recipe", project)
    small(project, "ro")
    assert built(run("r.recipe", project)) == set()  # what is there is there


# --- teachers ---------------------------------------------------------------------------------------------------------

TEACHER = '''edition 2026

teacher served {
  provider = openai
  model = "gpt-4o-mini-2024-07-18"
  base_url = "URL"
  api_key_env = "TEACHER_KEY"
  identity = "the test server"
  price = free
  concurrency = 2
  retries = 1
}

prompt ask {
  input {
    instruction: text
    response: text
  }
  output {
    prompt: text
  }
  user = jinja"""
    What made {{ response }} out of {{ instruction }}
    """
}

source a {
  files = "data/a.jsonl"
}

relabel harmonized {
  from = a
  teacher = served
  prompt = ask
}

export dataset {
  data = harmonized
  path = "out"
}
'''
STEP = place(TEACHER, "relabel harmonized", "harmonized")
KEY = {"TEACHER_KEY": "sk-test-recognisable-0123456789"}


@pytest.fixture
def served() -> Iterator[Callable[..., FaultServer]]:
    started: list[FaultServer] = []

    def serve(answer: Any, port: int = 0) -> FaultServer:
        started.append(FaultServer(answer, port))
        return started[-1]

    yield serve
    for server in started:
        server.close()


def taught(project: Path, url: str) -> None:
    (project / "r.recipe").write_text(TEACHER.replace("URL", url))


def test_a_key_that_is_not_set(project: Path) -> None:
    taught(project, "https://teacher.invalid/v1")
    done = alchemist("run", "r.recipe", cwd=project)
    says = "environment variable `TEACHER_KEY`", "https://teacher.invalid/v1"
    refused(done, 3, "A701", *says, at=STEP)
    assert not (project / "out").exists()


def test_a_wrong_key(project: Path, served: Callable[..., FaultServer]) -> None:
    no = error(401, f"Incorrect API key provided: {KEY['TEACHER_KEY']}", code="invalid_api_key")
    server = served(lambda n, body: no)
    taught(project, server.base_url)
    done = alchemist("run", "r.recipe", cwd=project, env=KEY)
    refused(done, 3, "A708", "refuses the key in `TEACHER_KEY`", at=STEP)
    assert server.asked <= 2  # as many as went out at once
    assert KEY["TEACHER_KEY"] not in done.stderr + done.stdout
    server.answer = lambda n, body: "Say it."
    assert run("r.recipe", project, env=KEY)["harmonized"]["figures"]["calls_new"] == 20


def test_a_server_that_is_down(project: Path, served: Callable[..., FaultServer]) -> None:
    port = free_port()
    taught(project, f"http://127.0.0.1:{port}/v1")
    done = alchemist("run", "r.recipe", cwd=project)
    says = "cannot be reached", "start the server", f"127.0.0.1:{port}"
    refused(done, 3, "A708", *says, at=STEP)
    served(lambda n, body: "Say it.", port)
    assert run("r.recipe", project)["harmonized"]["figures"]["calls_new"] == 20


@pytest.mark.parametrize(
    "written", ['api_key_env = "SECRET"', 'api_key = "SECRET"', 'base_url = "http://me:SECRET@127.0.0.1/v1"']
)
def test_a_key_in_the_recipe(written: str, project: Path, served: Callable[..., FaultServer]) -> None:
    server = served(lambda n, body: "Say it.")
    name, secret = written.split(" = ")[0], "sk-proj-0123456789abcdefghij"
    lines = TEACHER.replace("URL", server.base_url).split("\n")
    lines = [x for x in lines if not x.startswith(f"  {name} =")]
    lines.insert(lines.index("  price = free"), f"  {written.replace('SECRET', secret)}")
    recipe = "\n".join(lines)
    (project / "r.recipe").write_text(recipe)
    at = place(recipe, f'  {name} = "', name if name == "api_key" else '"')
    for command in ("check", "run"):
        done = alchemist(command, "r.recipe", cwd=project)
        refused(done, 1, "A707", "api_key_env", at=at)
        assert secret not in done.stdout + done.stderr
    assert server.asked == 0


def test_a_damaged_call_cache(project: Path, served: Callable[..., FaultServer]) -> None:
    server = served(lambda n, body: "Say it.")
    taught(project, server.base_url)
    run("r.recipe", project)
    cache = project / ".alchemist/calls.sqlite"
    cache.write_bytes(b"no database" + cache.read_bytes()[11:])
    shutil.rmtree(stored(project, "relabel"))
    shutil.rmtree(project / "out")
    done = alchemist("run", "r.recipe", cwd=project)
    refused(done, 3, "A907", "the call cache cannot be read", "calls.sqlite", at=STEP)
    assert server.asked == 20
    for file in cache.parent.glob("calls.sqlite*"):
        file.rename(project / file.name)
    run("r.recipe", project)
    assert server.asked == 40


def test_a_full_disk_for_answers(project: Path, served: Callable[..., FaultServer]) -> None:
    server = served(lambda n, body: "Say it.")
    taught(project, server.base_url)
    fault = {"ALCHEMIST_FAULT": "full@calls:write:2"}
    done = alchemist("run", "r.recipe", cwd=project, env=fault)
    refused(done, 3, "A905", "no space left", "stored answers are kept", at=STEP)
    before = server.asked
    nodes = run("r.recipe", project)
    assert nodes["harmonized"]["figures"]["calls_cached"] > 0
    assert server.asked < before + 20


def test_nobody_waits_for_a_server_that_says_nothing(project: Path, served: Callable[..., FaultServer]) -> None:
    """A request without an answer ends at `timeout`; the run ends resumable."""
    server = served(lambda n, body: ("stall", 30))
    taught(project, server.base_url)
    edit(project, "  concurrency = 2\n  retries = 1\n", "  retries = 0\n  timeout = 1s\n")
    done = alchemist("run", "r.recipe", cwd=project)
    refused(done, 3, "A705", "no answer within 1 s", at=STEP)
