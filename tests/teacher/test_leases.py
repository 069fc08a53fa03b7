"""Runs at the same time that put equal questions: each is paid once, and nobody waits for a run that has ended or
stands still.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.calls import ledger
from alchemist_runtime.calls.cache import CallCache
from alchemist_runtime.calls.teacher import Reply
from asked import call_batch, requests, teacher
from command_line import PATIENCE
from stub import Stub

ROWS = 200
QUESTIONS = [f"question {i}" for i in range(ROWS)]
KEYS = [bytes([i]) * 24 for i in range(8)]
#: A process that has imported everything and forks a run for each line that it reads.
FORKS = """
import json, os, signal, sys
sys.path[:0] = {path!r}
from pathlib import Path
from alchemist_runtime.calls import ledger as leases
from alchemist_runtime.calls.dispatch import ClientPool
from alchemist_runtime.calls import openai_client as chat
from asked import call_batch, requests, teacher
from test_leases import QUESTIONS

def run(url, state, lease, result):
    leases.LEASE_SECONDS, leases.BEAT_SECONDS = lease, lease / 5
    spec = teacher(url, concurrency=8)
    pool = ClientPool(Path(state))
    asking = call_batch(pool, spec, len(QUESTIONS))
    outcomes = pool.ask(asking, requests(spec, QUESTIONS))
    pool.close()
    data = json.dumps([asking.call_stats.new, [o.reply and o.reply.text for o in outcomes]])
    Path(result + ".part").write_text(data)
    os.rename(result + ".part", result)

chat.Chat(teacher("http://127.0.0.1:1/v1"), "none")._client
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            run(*json.loads(line))
        finally:
            os._exit(0)
    print(child, flush=True)
"""


@pytest.fixture(scope="module")
def forks() -> Iterator[subprocess.Popen[str]]:
    code = FORKS.format(path=[str(Path(__file__).parent), *sys.path])
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.kill()


class Run:
    """A process that asks all questions."""

    def __init__(self, forks: Any, url: str, state: Path, lease: float, number: int) -> None:
        self.file = state.parent / f"result-{number}.json"
        forks.stdin.write(json.dumps([url, str(state), lease, str(self.file)]) + "\n")
        forks.stdin.flush()
        self.pid = int(forks.stdout.readline())

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def result(self) -> tuple[int, list[str]]:
        """New calls, and the answers in order."""
        until = time.monotonic() + PATIENCE
        while not self.file.exists() and time.monotonic() < until:
            time.sleep(0.02)
        new, answers = json.loads(self.file.read_text())
        return new, answers


@pytest.fixture
def runs(stub: Stub, tmp_path: Path, forks: Any) -> Iterator[Callable[..., list[Run]]]:
    """Two runs at once over one call cache."""
    started: list[Run] = []

    def two(lease: float = 60.0) -> list[Run]:
        state = tmp_path / ".alchemist"
        started.extend(Run(forks, stub.base_url, state, lease, i) for i in range(2))
        return started

    yield two
    for run in started:
        run.signal(signal.SIGKILL)


def wait_for(stub: Stub, n: int) -> None:
    until = time.monotonic() + PATIENCE
    while len(stub.requests(status=200)) < n and time.monotonic() < until:
        time.sleep(0.01)


def locked(file: Path) -> bool:
    """Whether a process holds the file for longer than a commit takes."""
    db = sqlite3.connect(file, timeout=2, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        db.execute("ROLLBACK")
        return False
    except sqlite3.OperationalError:
        return True
    finally:
        db.close()


def answered(answers: list[str]) -> bool:
    return len(answers) == ROWS and all(q in a for q, a in zip(QUESTIONS, answers, strict=True))


def test_two_runs_with_equal_questions_pay_once(stub: Stub, runs: Any, tmp_path: Path) -> None:
    stub.control(delay=0.02)
    one, two = runs()
    (new_one, answers_one), (new_two, answers_two) = one.result(), two.result()
    assert len(stub.hist) == ROWS
    assert new_one + new_two == ROWS
    assert answered(answers_one) and answers_one == answers_two
    with sqlite3.connect(tmp_path / ".alchemist" / "calls.sqlite") as db:
        assert {keys for (keys,) in db.execute("SELECT keys FROM leases")} == {b""}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGINT])
def test_what_a_run_leaves_behind_is_taken_over(stub: Stub, runs: Any, tmp_path: Path, number: int) -> None:
    """Only what was in flight there is asked twice: a killed run is found out at once, one that stands still when its
    lease ends.
    """
    stub.control(delay=0.05)
    one, two = runs(lease=1.5 if number == signal.SIGSTOP else 60.0)
    wait_for(stub, 40)
    file = tmp_path / ".alchemist" / "calls.sqlite"
    one.signal(number)
    while number == signal.SIGSTOP and locked(file):  # it stands in the middle of a commit
        one.signal(signal.SIGCONT)
        time.sleep(0.02)
        one.signal(number)
    with sqlite3.connect(file) as db:
        kept = db.execute("SELECT count(*) FROM answers").fetchone()[0]
    in_flight = len(stub.hist) - kept
    _, answers = two.result()
    assert answered(answers)
    stats = stub.stats()
    assert stats["bodies"] == ROWS and stats["max_per_body"] <= 2
    assert stats["requests"] <= ROWS + (0 if number == signal.SIGINT else in_flight)
    assert in_flight < ROWS / 4


def test_a_question_that_fails_in_one_run_is_asked_by_the_other(stub: Stub, pool: Any, tmp_path: Path) -> None:
    """The first call for `[[b=flaky…]]` fails for good; the run that waited for it puts it itself."""
    questions = ["a [[b=flaky:400,1]]", *(f"q{i}" for i in range(9))]
    spec = teacher(stub.base_url, concurrency=4, retries=0)
    stub.control(delay=0.1)
    found: list[list[Any]] = []

    def ask() -> None:
        mine = pool()
        asking = call_batch(mine, spec, 100)
        found.append(mine.ask(asking, requests(spec, questions)))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(sum(o.reply is None for o in outcomes) for outcomes in found) == [0, 1]
    assert [len(stub.requests(q=q)) for q in questions] == [2] + [1] * 9


def test_a_run_that_stands_still_is_not_waited_for_without_end(
    stub: Stub, pool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heart beats, and no answer comes."""
    monkeypatch.setattr("alchemist_runtime.calls.dispatch.STANDSTILL_SECONDS", -19.5)  # + 2 * timeout
    spec = teacher(stub.base_url)
    asked = requests(spec, QUESTIONS[:5])
    other = CallCache(tmp_path / ".alchemist" / "calls.sqlite")
    assert other.lease([asked[0].call_key])[0] == {asked[0].call_key}
    mine = pool()
    began = time.monotonic()
    outcomes = mine.ask(call_batch(mine, spec, 5), asked)
    assert all(o.reply is not None for o in outcomes) and len(stub.hist) == 5
    assert time.monotonic() - began >= 0.5
    other.close()


def test_a_recording_is_asked_without_leases(stub: Stub, pool: Any, tmp_path: Path) -> None:
    spec = teacher(stub.base_url)
    first = pool(state=tmp_path / "one")
    first.ask(call_batch(first, spec, 5), requests(spec, QUESTIONS[:5]))
    first.close()
    recording = tmp_path / "one" / "calls.sqlite"
    recording.chmod(0o444)
    before = recording.read_bytes()
    player = pool(state=tmp_path / "two", replay=recording)
    assert player.ask(call_batch(player, spec, 5), requests(spec, QUESTIONS[:5]))[4].reply
    assert recording.read_bytes() == before


# --- the leases themselves --------------------------------------------------------------------------------------------


@pytest.fixture
def caches(tmp_path: Path) -> Iterator[Callable[[], CallCache]]:
    made: list[CallCache] = []

    def cache() -> CallCache:
        made.append(CallCache(tmp_path / "calls.sqlite"))
        return made[-1]

    yield cache
    for each in made:
        each.close()


def test_a_lease_is_one_owners_until_its_answer(caches: Any) -> None:
    one, two = caches(), caches()
    assert one.lease(KEYS[:5])[0] == set(KEYS[:5])
    assert two.lease(KEYS[3:7])[0] == set(KEYS[5:7])
    assert two.leased_elsewhere(KEYS) == set(KEYS[:5])
    one.put(KEYS[0], Reply("answer"))
    one.give_back([KEYS[1], KEYS[5]])  # the latter is not its own
    one.flush()
    assert two.leased_elsewhere(KEYS) == set(KEYS[2:5])
    assert two.get_many(KEYS[:1]) == {KEYS[0]: Reply("answer")}
    assert one.leased_elsewhere(KEYS) == set(KEYS[5:7])
    assert two.lease(KEYS[2:3], anyway=True)[0] == {KEYS[2]}
    one.close()
    assert two.lease(KEYS)[0] == set(KEYS)


def test_heartbeats_keep_leases_and_a_late_one_loses_them(caches: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "LEASE_SECONDS", 0.4)
    monkeypatch.setattr(ledger, "BEAT_SECONDS", 0.1)
    one, two = caches(), caches()
    one.lease(KEYS[:2])
    time.sleep(0.8)
    assert two.leased_elsewhere(KEYS) == set(KEYS[:2])
    monkeypatch.setattr(ledger, "BEAT_SECONDS", 60.0)
    time.sleep(0.6)
    assert two.leased_elsewhere(KEYS) == set()
    assert two.lease(KEYS[:2])[0] == set(KEYS[:2])
    one.give_back()  # ends nothing of the new owner
    one.flush()
    assert one.leased_elsewhere(KEYS) == set(KEYS[:2])


def test_an_owner_of_another_machine_is_believed_until_its_lease_ends(caches: Any, tmp_path: Path) -> None:
    """Its process cannot be looked for; a clock that was set back makes no lease hold for ever."""
    one, two = caches(), caches()
    one.lease(KEYS[:1])
    with sqlite3.connect(tmp_path / "calls.sqlite") as db:
        db.execute("UPDATE leases SET host = 'elsewhere', started = '1'")
    assert two.leased_elsewhere(KEYS) == set(KEYS[:1])
    with sqlite3.connect(tmp_path / "calls.sqlite") as db:
        db.execute("UPDATE leases SET until = ?", (time.time() + 3_600,))
    assert two.leased_elsewhere(KEYS) == set()


def test_a_process_with_the_number_of_a_dead_one_is_another(caches: Any, tmp_path: Path) -> None:
    one, two = caches(), caches()
    one.lease(KEYS[:1])
    with sqlite3.connect(tmp_path / "calls.sqlite") as db:
        db.execute("UPDATE leases SET started = '1'")
    assert two.leased_elsewhere(KEYS) == set()
