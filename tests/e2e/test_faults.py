"""Faulty servers, kills, races, budgets, consent, secrets and Ctrl-C, with real processes and a server that counts."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from command_line import PATIENCE
from e2e_cli import (
    ALCHEMIST,
    alchemist,
    built,
    edit,
    environment,
    exported,
    jsonl,
    place,
    refused,
    run,
    start,
    wait_for,
)
from fault_server import FaultServer, completion, error

CONCURRENCY = 4
ROWS = 160
SECRET = "sk-recognisable-0123456789abcdef"
IN, OUT = 40, 20  # tokens that the server counts for each call

RECIPE = '''edition 2026

teacher served {
  provider = openai
  model = "gpt-4o-mini-2024-07-18"
  base_url = "URL"
  api_key_env = "OPENAI_API_KEY"
  identity = "the test server"
  price = free
  max_tokens = 50 tokens
  concurrency = 4
  timeout = 1s
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

generate asked {
  from = a
  teacher = served
  prompt = ask
  mode = replace
  max_failed = 10%
  set instruction = out.prompt
}

export dataset {
  data = asked
  path = "out"
}
'''
STEP = place(RECIPE, "generate asked", "asked")
PRICE = """price {
    input = $10 per 1M tokens
    output = $30 per 1M tokens
  }"""
PAID = place(RECIPE.replace("price = free", PRICE), "generate asked", "asked")
COST = Decimal(10 * IN + 30 * OUT) / 1_000_000  # dollars of one call


def question(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """The same answer to the same question, whatever the run."""
    number = re.search(r"Square (\d+)", question(body))
    assert number is not None
    usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
    return completion(f"What is {number[1]} times itself?", usage=usage)


def good(n: int, body: dict[str, Any]) -> Any:
    time.sleep(0.01)
    return answer(body)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with_answers = FaultServer(good)
    yield with_answers
    with_answers.close()


def write_project(folder: Path, url: str, price: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    recipe = RECIPE.replace("URL", url)
    (folder / "r.recipe").write_text(recipe.replace("price = free", price or "price = free"))
    rows = ({"instruction": f"Square {i}.", "response": f"The square is {i * i}."} for i in range(ROWS))
    jsonl(folder / "data/a.jsonl", rows)
    return folder


@pytest.fixture
def project(tmp_path: Path, server: FaultServer) -> Path:
    return write_project(tmp_path, server.base_url)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The exported files of a run that nothing disturbs."""
    server = FaultServer(good)
    project = write_project(tmp_path_factory.mktemp("undisturbed"), server.base_url)
    run("r.recipe", project)
    server.close()
    assert server.asked == ROWS
    return exported(project)


def paid(server: FaultServer) -> Counter[str]:
    return Counter(question(b) for b in server.bodies)


# --- a faulty server --------------------------------------------------------------------------------------------------

FAULTS = (error(429, "slow down", retry_after="0.1"), error(500), error(503), "cut", "garbage", "half", ("stall", 1.5))


def test_a_faulty_server(project: Path, server: FaultServer, undisturbed: dict[str, str]) -> None:
    """Every fourteenth call goes wrong, each time in another way: nothing is lost and nothing is half an answer."""
    faults = iter(FAULTS * 10)
    lock, gone_wrong = threading.Lock(), [0]

    def faulty(n: int, body: dict[str, Any]) -> Any:
        if n % 14 != 7:
            return good(n, body)
        with lock:
            gone_wrong[0] += 1
            return next(faults)

    server.answer = faulty
    nodes = run("r.recipe", project)
    figures = nodes["asked"]["figures"]
    assert gone_wrong[0] >= len(FAULTS)
    assert figures["tries_repeated"] == gone_wrong[0] and figures["calls_failed"] == 0
    assert figures["calls_new"] == ROWS and nodes["asked"]["rows"] == ROWS
    assert exported(project) == undisturbed


def test_what_failed_for_a_passing_reason_is_asked_again(
    project: Path, server: FaultServer, undisturbed: dict[str, str]
) -> None:
    """Such rows are not final: every run asks for them, and for no others, until they are answered."""
    edit(project, "timeout = 1s", "timeout = 1s\n  retries = 0")

    def broken(n: int, body: dict[str, Any]) -> Any:
        return error(500) if "Square 3" in question(body) else good(n, body)

    server.answer = broken
    first = run("r.recipe", project)
    assert (first["asked"]["figures"]["calls_passing"], first["asked"]["rows"]) == (11, ROWS)
    assert exported(project) != undisturbed
    said = alchemist("compile", "r.recipe", cwd=project).stdout
    assert "retry of 11 rows whose calls failed" in said
    assert "`asked` is rebuilt" in said
    still = run("r.recipe", project)
    assert built(still) == {"asked"}, "what came of it is the same, so the export stands"
    assert server.asked == ROWS + 11
    server.answer = good
    third = run("r.recipe", project)
    assert built(third) == {"asked", "dataset"}
    assert server.asked == ROWS + 22
    assert exported(project) == undisturbed
    assert built(run("r.recipe", project)) == set()


def test_what_a_server_refused_is_asked_again_when_a_person_says_so(
    project: Path, server: FaultServer, undisturbed: dict[str, str]
) -> None:
    def picky(n: int, body: dict[str, Any]) -> Any:
        if "Square 3" not in question(body):
            return good(n, body)
        return error(400, "not this one") if "Square 33" in question(body) else completion("")

    server.answer = picky
    figures = run("r.recipe", project)["asked"]["figures"]
    assert (figures["calls_refused"], figures["calls_passing"]) == (11, 0)
    assert figures["dropped"] == {"call_failed": 1, "unreadable": 10}
    server.answer = good
    assert built(run("r.recipe", project)) == set()
    assert built(run("r.recipe", project, "--retry", "refused")) == {"asked", "dataset"}
    assert server.asked == ROWS + 11
    assert exported(project) == undisturbed
    assert built(run("r.recipe", project, "--retry", "refused")) == set()


def test_calls_that_fail_for_good_are_recorded(project: Path, server: FaultServer) -> None:
    """Rows that the server never answers keep their text and stand in `.dropped`; the run says how many, and goes
    on.
    """

    def picky(n: int, body: dict[str, Any]) -> Any:
        return error(400, "I do not like this one") if "Square 3" in question(body) else good(n, body)

    server.answer = picky
    refusals = sum(f"{i}".startswith("3") for i in range(ROWS))  # 3, 30 to 39
    done = alchemist("run", "r.recipe", cwd=project)
    assert done.returncode == 0, done.stderr
    assert f"call_failed {refusals}" in done.stderr
    lines = (project / "out/data").glob("*.parquet")
    import pyarrow.parquet as pq

    rows = [r for f in lines for r in pq.read_table(f).to_pylist()]
    kept = {r["instruction"] for r in rows if r["instruction"].startswith("Square")}
    assert len(rows) == ROWS
    assert kept == {f"Square {i}." for i in range(ROWS) if f"{i}".startswith("3")}


def test_too_many_failures_stop_the_run(project: Path, server: FaultServer) -> None:
    server.answer = lambda n, body: good(n, body) if n <= 60 else error(400, "enough")
    done = alchemist("run", "r.recipe", cwd=project)
    says = "more than 10%", "enough", "max_failed", "the 60 answers so far are kept"
    refused(done, 3, "A705", *says, at=STEP)
    assert not (project / "out").exists()
    server.answer = good
    nodes = run("r.recipe", project)
    assert nodes["asked"]["figures"]["calls_cached"] == 60
    assert nodes["asked"]["figures"]["calls_new"] == ROWS - 60


# --- kills and races --------------------------------------------------------------------------------------------------


def test_killed_while_a_teacher_answers(project: Path, server: FaultServer, undisturbed: dict[str, str]) -> None:
    """Two kills on the way: what was paid again is at most what was in flight or not yet on disk at each of them."""
    for at in (50, 110):
        process = start("run", "r.recipe", cwd=project)
        wait_for(process, lambda at=at: server.asked >= at)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        time.sleep(0.1)  # what is on its way reaches the server
    run("r.recipe", project)
    assert exported(project) == undisturbed
    again = [q for q, times in paid(server).items() if times > 1]
    # answers are committed every 50 ms at the latest; in that time each place is answered some times
    in_flight = CONCURRENCY + CONCURRENCY * 50 // 10
    assert len(paid(server)) == ROWS and len(again) <= 2 * in_flight, len(again)


def test_two_runs_at_once(project: Path, server: FaultServer, undisturbed: dict[str, str]) -> None:
    both = [start("run", "r.recipe", cwd=project) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + err
    assert server.asked == ROWS
    assert exported(project) == undisturbed
    assert not [p for p in project.iterdir() if p.name.startswith(".out")]


CODE = """edition 2026

source a {
  files = "data/a.jsonl"
}

filter clean {
  from = a
  drop not parses(code(response), "python") as broken
  drop clarity(code(response), "python") < 4 as unclear
}

export dataset {
  data = clean
  path = "out"
}
"""


def test_no_worker_outlives_a_killed_run(tmp_path: Path) -> None:
    """Workers hold the run's output open: it ends only when the last of them is gone."""
    (tmp_path / "r.recipe").write_text(CODE)
    body = "def f{0}_{1}(a, b):\n    total = a + b * {1}\n    return total + {0}\n\n\n"
    jsonl(
        tmp_path / "data/a.jsonl",
        ({"instruction": f"{i}", "response": "".join(body.format(i, j) for j in range(15))} for i in range(4_000)),
    )
    process = start("run", "r.recipe", cwd=tmp_path)
    clean = tmp_path / ".alchemist/store"
    wait_for(process, lambda: len(list(clean.glob("*.tmp"))) == 1 and bool(list(clean.glob("*/manifest.json"))))
    time.sleep(1)
    assert process.poll() is None, "the filter was done before it was killed"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)


# --- money ------------------------------------------------------------------------------------------------------------


def test_a_budget_holds_and_can_be_raised(tmp_path: Path, server: FaultServer) -> None:
    project = write_project(tmp_path, server.base_url, PRICE)
    done = alchemist("run", "r.recipe", "--budget", "$0.08", cwd=project)
    refused(done, 3, "A703", "the budget of this run ($0.08) is reached", "`--budget`", at=PAID)
    first = server.asked
    assert 0 < first * COST <= Decimal("0.08")
    assert not (project / "out").exists()
    nodes = run("r.recipe", project, "--budget", "$1")
    assert server.asked == ROWS and max(paid(server).values()) == 1
    figures = nodes["asked"]["figures"]
    assert figures["calls_cached"] == first
    assert Fraction(figures["usd"]) == Fraction(COST) * (ROWS - first)


def test_nothing_is_spent_without_consent(tmp_path: Path, server: FaultServer) -> None:
    project = write_project(tmp_path, server.base_url, PRICE)
    done = alchemist("run", "r.recipe", cwd=project)
    says = "160 new calls to served", "there is no terminal to confirm on", "--budget"
    refused(done, 3, "A709", *says, at=PAID)
    # a plan without a word on this machine's state is no way around it
    alchemist("compile", "r.recipe", "--portable", "-o", "plan.json", cwd=project)
    refused(alchemist("run", "plan.json", cwd=project), 3, "A709", "160 new calls", at=None)
    assert server.asked == 0
    no, said = on_a_terminal(project, "n\n")
    assert no == 3 and said.count("Go on?") == 1 and server.asked == 0
    yes, said = on_a_terminal(project, "y\n")
    assert yes == 0 and said.count("Go on?") == 1 and server.asked == ROWS
    again, said = on_a_terminal(project, "")
    assert again == 0 and "Go on?" not in said and server.asked == ROWS


def on_a_terminal(project: Path, reply: str) -> tuple[int, str]:
    """Run the recipe on a terminal, and reply once to a question; its exit code and what it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*ALCHEMIST, "run", "r.recipe"],
        cwd=project,
        env=environment({"TERM": "xterm", "COLUMNS": "100"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, until = "", time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # Linux: the other side is closed
                piece = b""
            if not piece:
                break
            shown += piece.decode(errors="replace")
        elif process.poll() is not None:
            break
        if reply and "Go on?" in shown:
            os.write(ours, reply.encode())
            reply = ""
    code = process.wait(10)
    os.close(ours)
    return code, shown


# --- secrets ----------------------------------------------------------------------------------------------------------


def holding(project: Path, secret: str) -> list[str]:
    files = (p for p in project.rglob("*") if p.is_file())
    return [str(p) for p in files if secret.encode() in p.read_bytes()]


def test_a_key_stays_in_the_environment(project: Path, server: FaultServer) -> None:
    """Refused, failing, interrupted by a bug of our own, and good: the key is in no file and in no output."""
    key = {"OPENAI_API_KEY": SECRET}
    said = []
    told = error(401, f"Incorrect API key provided: {SECRET}. Bearer {SECRET}")
    server.answer = lambda n, body: told
    said.append(alchemist("run", "r.recipe", cwd=project, env=key))
    server.answer = lambda n, body: error(400, f"what is {SECRET}?")
    said.append(alchemist("run", "r.recipe", cwd=project, env=key))
    server.answer = good
    said.append(alchemist("run", "r.recipe", cwd=project, env=key))
    said.append(alchemist("compile", "r.recipe", "-o", "plan.json", cwd=project, env=key))
    said.append(alchemist("show", "r.recipe", "--format", "json", cwd=project, env=key))
    assert [d.returncode for d in said[:4]] == [3, 3, 0, 0], said
    assert server.keys == {f"Bearer {SECRET}"}
    for done in said:
        assert SECRET not in done.stdout + done.stderr
    assert (project / ".alchemist/calls.sqlite").exists() and (project / "plan.json").exists()
    assert holding(project, SECRET) == []


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


def test_ctrl_c_while_a_teacher_answers(project: Path, server: FaultServer, undisturbed: dict[str, str]) -> None:

    def slow_for_a_while(n: int, body: dict[str, Any]) -> Any:
        time.sleep(0.3 if 60 <= n < 70 else 0.01)
        return answer(body)

    server.answer = slow_for_a_while
    process = start("run", "r.recipe", cwd=project)
    wait_for(process, lambda: server.asked >= 60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert server.asked < ROWS  # it stops long before its work is done
    assert "stopping when calls in flight are back" in err
    assert "re-run the same command" in err and "finished before: a" in err
    assert "Traceback" not in err
    before = server.asked
    nodes = run("r.recipe", project)
    assert nodes["asked"]["figures"]["calls_cached"] == before  # all that came in are kept
    assert server.asked == ROWS and max(paid(server).values()) == 1
    assert exported(project) == undisturbed


TRAINING = """edition 2026

source a {
  files = "data/a.jsonl"
}

train tiny {
  data = a
  init = scratch(layers = 1, hidden = 32, heads = 2, intermediate = 64, context = 128)
  steps = 40
  batch = 4 packs
  max_length = 128 tokens
  learning_rate = 1e-3
  schedule = constant
  gpus = 0
  processes = 1
}
"""


@pytest.mark.slow
def test_ctrl_c_while_a_model_trains(tmp_path: Path) -> None:
    (tmp_path / "r.recipe").write_text(TRAINING)
    jsonl(
        tmp_path / "data/a.jsonl", ({"instruction": f"Square {i}.", "response": f"It is {i * i}."} for i in range(40))
    )

    def steps() -> list[int]:
        files = (tmp_path / ".alchemist/store").glob("*/train.jsonl")
        lines = [json.loads(x) for f in files for x in f.read_text().splitlines(True) if x[-1:] == "\n"]
        return [x["step"] for x in lines if "step" in x]

    process = start("run", "r.recipe", cwd=tmp_path)
    wait_for(process, lambda: len(steps()) >= 3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "re-run the same command" in err and "Traceback" not in err
    stopped = max(steps())
    assert stopped < 40
    nodes = run("r.recipe", tmp_path)
    assert built(nodes) == {"tiny"}
    assert nodes["tiny"]["figures"]["steps"] == 40
    whole = steps()
    assert whole == sorted(set(whole)) and whole[0] == 1  # it went on where it had stopped
