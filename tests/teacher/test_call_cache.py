"""The call cache: what is committed stays, whatever becomes of the process; what is damaged is said."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from alchemist_runtime.calls import cache
from alchemist_runtime.calls.cache import BATCH, CallCache
from alchemist_runtime.calls.teacher import Reply
from alchemist_runtime.schema.codes import RunError
from command_line import PATIENCE


def key(i: int) -> bytes:
    return hashlib.blake2b(str(i).encode(), digest_size=24).digest()


def reply(i: int) -> Reply:
    return Reply(f"answer {i} " * 20, i, 2 * i, "stop")


def test_answers_come_back_as_they_were_put(tmp_path: Path) -> None:
    path = tmp_path / "a" / "calls.sqlite"
    cache = CallCache(path)
    assert cache.get_many([key(1)]) == {}
    for i in range(1_000):
        cache.put(key(i), reply(i))
    cache.close()
    again = CallCache(path)
    wanted = [key(i) for i in range(0, 2_000, 2)]
    assert again.get_many(wanted) == {key(i): reply(i) for i in range(0, 1_000, 2)}
    assert again.known(wanted) == {key(i) for i in range(0, 1_000, 2)}
    assert len(again) == 1_000
    again.close()


def test_an_answer_is_found_before_it_is_committed_and_the_first_one_stays(tmp_path: Path) -> None:
    cache = CallCache(tmp_path / "c.sqlite")
    cache.put(key(1), reply(1))
    assert cache.get_many([key(1)]) == {key(1): reply(1)}
    cache.put(key(1), reply(2))
    cache.flush()
    cache.put(key(1), reply(3))
    cache.flush()
    assert cache.get_many([key(1)]) == {key(1): reply(1)}
    cache.close()


def test_commits_after_64_answers_and_after_50_ms(tmp_path: Path) -> None:
    cache = CallCache(tmp_path / "c.sqlite")

    def committed() -> int:
        with sqlite3.connect(tmp_path / "c.sqlite") as other:
            return int(other.execute("SELECT count(*) FROM answers").fetchone()[0])

    cache.put(key(-1), reply(1))
    cache.flush()
    for i in range(3):
        cache.put(key(i), reply(i))
    until = time.monotonic() + PATIENCE
    while committed() < 4 and time.monotonic() < until:
        time.sleep(0.01)
    assert committed() == 4, "a small batch waits for no second one"
    for i in range(10, 10 + 3 * BATCH):
        cache.put(key(i), reply(i))
    cache.flush()
    assert committed() == 4 + 3 * BATCH
    cache.close()


WRITER = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from test_call_cache import key, reply
from alchemist_runtime.calls.cache import CallCache
cache = CallCache(Path({file!r}))
i = {first}
while True:
    for _ in range(50):
        cache.put(key(i), reply(i))
        i += 1
    cache.flush()
    print(i, flush=True)
"""


def _writer(file: Path, first: int) -> subprocess.Popen[str]:
    path = [str(Path(__file__).parent), *sys.path]
    code = WRITER.format(path=path, file=str(file), first=first)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_kill_9_loses_nothing_committed_and_leaves_nothing_half(tmp_path: Path) -> None:
    file = tmp_path / "c.sqlite"
    for round_ in range(3):
        first = round_ * 1_000_000
        process = _writer(file, first)
        assert process.stdout is not None
        told = first
        for _ in range(5 + 7 * round_):
            told = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        rest = [int(line) for line in process.stdout.read().split()]
        process.wait()
        told = max([told, *rest])
        cache = CallCache(file)
        wanted = [key(i) for i in range(first, told)]
        assert cache.get_many(wanted) == {key(i): reply(i) for i in range(first, told)}
        later = cache.get_many([key(i) for i in range(told, told + 200)])
        assert all(r == reply(r.tokens_in) for r in later.values())
        cache.close()
    with sqlite3.connect(file) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    file = tmp_path / "c.sqlite"
    writers = [_writer(file, 0), _writer(file, 1_000)]
    told = []
    for w in writers:
        assert w.stdout is not None
        told.append([int(w.stdout.readline()) for _ in range(10)][-1])
    for w in writers:
        w.kill()
        w.wait()
    cache = CallCache(file)
    for first, end in zip((0, 1_000), told, strict=True):
        assert len(cache.get_many([key(i) for i in range(first, end)])) == end - first
    cache.close()


def test_a_damaged_file_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    file = tmp_path / "calls.sqlite"
    file.write_bytes(b"this is no database at all, however long it may be" * 100)
    cache = CallCache(file)
    with pytest.raises(RunError) as e:
        cache.get_many([key(1)])
    assert e.value.problem.code == "A907"
    assert "move it away" in (e.value.problem.help or "")
    with pytest.raises(RunError) as e:
        cache.put(key(1), reply(1))
    assert e.value.problem.code == "A907"
    cache.close()


def test_a_file_with_damaged_pages_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "calls.sqlite"
    cache = CallCache(file)
    for i in range(2_000):
        cache.put(key(i), reply(i))
    cache.close()
    data = bytearray(file.read_bytes())
    data[8_192 : len(data) - 8_192] = os.urandom(len(data) - 16_384)
    file.write_bytes(data)
    cache = CallCache(file)
    with pytest.raises(RunError) as e:
        cache.get_many([key(i) for i in range(2_000)])
    assert e.value.problem.code == "A907"
    cache.close()


def test_a_file_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "calls.sqlite"
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(RunError, match="newer version"):
        CallCache(file).put(key(1), reply(1))


def test_a_full_disk_is_said_and_what_was_committed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "calls.sqlite"
    cache = CallCache(file)
    cache.put(key(1), reply(1))
    cache.flush()
    monkeypatch.setenv("ALCHEMIST_FAULT", "full@*:commit:2")
    monkeypatch.setattr("alchemist_runtime.storage.store._SEEN", Counter({"calls:commit": 1}))
    cache.put(key(2), reply(2))
    with pytest.raises(RunError) as e:
        cache.flush()
    assert e.value.problem.code == "A905"
    monkeypatch.delenv("ALCHEMIST_FAULT")
    with pytest.raises(RunError):
        cache.close()
    again = CallCache(file)
    assert again.known([key(1), key(2)]) == {key(1)}
    again.close()


def test_a_recording_is_read_where_nobody_may_write(tmp_path: Path) -> None:
    file = tmp_path / "r" / "calls.sqlite"
    cache = CallCache(file)
    cache.put(key(1), reply(1))
    cache.close()
    before = sorted(p.name for p in file.parent.iterdir())
    recording = CallCache(file, read_only=True)
    assert recording.get_many([key(1)]) == {key(1): reply(1)}
    assert sorted(p.name for p in file.parent.iterdir()) == before == ["calls.sqlite"]
    with pytest.raises(TypeError):
        recording.put(key(2), reply(2))
    recording.close()


def test_an_answer_whose_bytes_changed_is_asked_for_again(tmp_path: Path) -> None:
    file = tmp_path / "calls.sqlite"
    cache = CallCache(file)
    for i in range(50):
        cache.put(key(i), reply(i))
    cache.close()
    with sqlite3.connect(file) as db:
        db.execute("UPDATE answers SET text = text || '!' WHERE key = ?", (key(7),))
        db.execute("UPDATE answers SET tokens_in = tokens_in + 1 WHERE key = ?", (key(8),))
    cache = CallCache(file)
    assert set(cache.get_many([key(i) for i in range(50)])) == {key(i) for i in range(50) if i not in (7, 8)}
    assert cache.damaged == {key(7), key(8)}
    assert cache.verify() == (50, [key(7), key(8)])
    cache.put(key(7), reply(1007))
    cache.close()
    again = CallCache(file)
    assert again.get_many([key(7), key(8)]) == {key(7): reply(1007)}
    again.close()
    again.forget([key(8)])
    assert again.verify() == (49, [])
    again.close()


def test_a_file_of_an_earlier_format_is_read_and_gets_checksums(tmp_path: Path) -> None:
    file = tmp_path / "calls.sqlite"
    with sqlite3.connect(file) as db:
        db.execute(
            "CREATE TABLE answers (key BLOB NOT NULL UNIQUE, text TEXT NOT NULL, tokens_in INTEGER NOT NULL,"
            " tokens_out INTEGER NOT NULL, finish TEXT NOT NULL)"
        )
        r = reply(1)
        row = (key(1), r.text, r.tokens_in, r.tokens_out, r.finish_reason)
        db.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", row)
        db.execute("PRAGMA user_version = 1")
    recording = CallCache(file, read_only=True)
    assert recording.get_many([key(1)]) == {key(1): reply(1)}
    recording.close()
    cache = CallCache(file)
    assert cache.get_many([key(1)]) == {key(1): reply(1)}
    cache.put(key(2), reply(2))
    cache.close()
    again = CallCache(file)
    assert again.get_many([key(1), key(2)]) == {key(1): reply(1), key(2): reply(2)}
    again.close()
    with sqlite3.connect(file) as db:
        sums = db.execute("SELECT sum IS NULL FROM answers ORDER BY rowid").fetchall()
    assert sums == [(1,), (0,)]


def test_a_file_that_another_process_makes_meanwhile_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at its version and the look at its tables."""
    file = tmp_path / "calls.sqlite"
    file.touch()
    version = cache._version

    def late(connection: sqlite3.Connection, path: Path) -> int:
        seen = version(connection, path)
        if seen == 0 and file.stat().st_size == 0:
            monkeypatch.setattr(cache, "_version", version)
            with contextlib.closing(CallCache(file)) as other:
                other.put(b"k" * 24, Reply("an answer"))
                other.flush()
        return seen

    monkeypatch.setattr(cache, "_version", late)
    with contextlib.closing(CallCache(file)) as reader:
        assert reader.get_many([b"k" * 24])[b"k" * 24].text == "an answer"
