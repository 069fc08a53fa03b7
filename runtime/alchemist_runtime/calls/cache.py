"""The call cache: every answer that was paid for, by call key, in `.alchemist/calls.sqlite`.

A writer thread commits when 64 answers wait or 50 ms have passed; an answer that is not committed counts as in flight.
Any number of processes may read and write one file; a question that one of them asks is leased to it (`ledger.py`).
Every answer has a checksum: one whose bytes changed on the disk is taken for one that is not there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from alchemist_runtime.calls.ledger import SCHEMA, Leases
from alchemist_runtime.calls.teacher import Reply, ending, scrub
from alchemist_runtime.schema import plan
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.storage import store

BATCH = 64
DELAY_SECONDS = 0.05
FORMAT = 4  # 1 had no checksums, 2 no reasoning, 3 no origins
#: How long a writer waits for another process that commits.
BUSY_SECONDS = 60.0
#: Answers take 1 to 3 kB: a small page would hold one of them and be half empty.
PAGE_BYTES = 8_192
_READ = 500  # keys asked for in one statement
_SCHEMA = """CREATE TABLE IF NOT EXISTS answers (
  key BLOB NOT NULL UNIQUE,
  text TEXT NOT NULL,
  tokens_in INTEGER NOT NULL,
  tokens_out INTEGER NOT NULL,
  finish TEXT NOT NULL,
  sum BLOB,
  reasoning TEXT,
  origin INTEGER
)"""
_ORIGINS = """CREATE TABLE IF NOT EXISTS origins (
  id INTEGER PRIMARY KEY,
  recipe TEXT NOT NULL,
  step TEXT NOT NULL,
  teacher TEXT NOT NULL,
  identity TEXT NOT NULL,
  usd_in TEXT NOT NULL,
  usd_out TEXT NOT NULL,
  UNIQUE (recipe, step, teacher, identity, usd_in, usd_out)
)"""
ORIGIN = "recipe, step, teacher, identity, usd_in, usd_out"
#: What each format after the first added.
_ADDED = {2: "sum BLOB", 3: "reasoning TEXT", 4: "origin INTEGER"}
#: The columns that make an answer.
_ANSWER = (2, 3)
_PUT = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def _columns(version: int) -> str:
    """The columns of an answer, with null for those that a file of this format lacks."""
    added = (_ADDED[n].split()[0] if n <= version else "NULL" for n in _ANSWER)
    return ", ".join(("key, text, tokens_in, tokens_out, finish", *added))


def _sum(*row: Any) -> bytes:
    """The checksum of a row as it is stored; what is not there counts for nothing."""
    row = row[:5] if row[5:] == (None,) else row
    return hashlib.blake2b(repr(row).encode("utf-8", "replace"), digest_size=8).digest()


def _whole(row: Sequence[Any]) -> bool:
    """Whether a row of key, answer, checksum and reasoning is as it was written; an earlier version wrote no
    checksum.
    """
    return row[5] is None or row[5] == _sum(*row[:5], row[6])


@dataclass(frozen=True, slots=True)
class Origin:
    """Who first asked a question, and at what price. `identity`: that of the teacher, as JSON, without what is secret;
    prices in exact dollars a token, "" where nobody knows them."""

    recipe: str
    step: str
    teacher: str
    identity: str
    usd_in: str
    usd_out: str

    @classmethod
    def of(cls, teacher: plan.Teacher, step: str, recipe: str) -> Origin:
        """The origin of what a step asks a teacher."""
        price = teacher.charged
        usd = ("", "") if price is None else ("0", "0") if price.free else (price.input, price.output)
        return cls(recipe, step, teacher.name, identity(teacher.identity_of), *usd)


def identity(of: Mapping[str, Any]) -> str:
    """What a teacher's answers are kept under, as one text that can be shown."""
    return scrub(json.dumps(of, sort_keys=True))


class CallCache:
    """Answers by call key. `put` never waits for the disk; `flush` does. RunError A907 for a damaged file, A905 for a
    full disk.

    `damaged`: keys whose answers were found with other bytes than were written; a new answer replaces such a one, and
    one that broke off, which counts as not there."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.damaged: set[bytes] = set()
        self._read_only = read_only
        self._broken: set[bytes] = set()
        self._reader: sqlite3.Connection | None = None
        self._waiting: dict[bytes, Reply] = {}  # handed over, not yet committed
        self._asked: dict[bytes, Origin] = {}  # by whom, of the same
        self._origins: dict[Origin, int] = {}
        self._committing: dict[bytes, Reply] = {}
        self._changed = threading.Condition()
        self._hurry = self._closing = False
        self._leases, self._telling = Leases(), threading.Lock()
        self._leased: set[bytes] = set()
        self._given_back: set[bytes] = set()  # leases that end at once
        self._failed: RunError | None = None
        self._writer: threading.Thread | None = None

    # --- reading ------------------------------------------------------------------------------------------------------

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, Reply]:
        """The answers that are there, by key."""
        with self._changed:
            found = {k: r for k in keys if (r := self._waiting.get(k) or self._committing.get(k)) is not None}
        rest = [k for k in keys if k not in found]
        for row in self._select(None, rest):
            if _whole(row):
                reply = Reply(row[1], row[2], row[3], row[4], row[6])
                if reply.ending == "broken":
                    self._broken.add(row[0])
                else:
                    found[row[0]] = reply
            elif isinstance(row[0], bytes):
                self.damaged.add(row[0])
        return found

    def verify(self) -> tuple[int, list[bytes]]:
        """How many answers there are, and the keys of those that are damaged. RunError A907 where the file itself
        is.
        """
        reader = self._open_reader()
        if reader is None:
            return 0, []
        with _errors(self.path):
            said = reader.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if said != "ok":
                raise sqlite3.DatabaseError(said)
            query = f"SELECT {_columns(_version(reader, self.path))} FROM answers"
            found = [(row[0], _whole(row)) for row in reader.execute(query)]
        return len(found), [key for key, whole in found if not whole]

    def replace(self, key: bytes) -> None:
        """Let a new answer take the place of the one that is there."""
        self._broken.add(key)

    def forget(self, keys: Sequence[bytes]) -> None:
        """Remove answers."""
        with _errors(self.path), closing(_open_to_write(self.path)) as connection:
            _delete(connection, keys)

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of the keys that have an answer."""
        return {key for key, finish in self._select("key, finish", keys) if ending(finish) != "broken"}

    def identities(self) -> list[str]:
        """The identities of teachers whose answers are here, those that came first first; none of what is older than
        origins.
        """
        reader = self._open_reader()
        with _errors(self.path):
            if reader is None or _version(reader, self.path) < 4:
                return []
            found = reader.execute("SELECT identity FROM origins ORDER BY id")
            return list(dict.fromkeys(text for (text,) in found))

    def tokens_of(self, recipe: str, step: str, teacher: plan.Teacher) -> tuple[int, int, int]:
        """Answers that a step got of a teacher, at whatever price, and their tokens in and out."""
        reader = self._open_reader()
        with _errors(self.path):
            if reader is None or _version(reader, self.path) < 4:
                return 0, 0, 0
            query = (
                "SELECT count(*), coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0) FROM answers WHERE origin"
                " IN (SELECT id FROM origins WHERE recipe = ? AND step = ? AND identity = ?)"
            )
            requested = (recipe, step, identity(teacher.identity_of))
            n, tokens_in, tokens_out = reader.execute(query, requested).fetchone()
            return int(n), int(tokens_in), int(tokens_out)

    def __len__(self) -> int:
        reader = self._open_reader()
        if reader is None:
            return 0
        with _errors(self.path):
            return int(reader.execute("SELECT count(*) FROM answers").fetchone()[0])

    def _select(self, columns: str | None, keys: Sequence[bytes]) -> Iterable[tuple[Any, ...]]:
        """These columns, or all, of the keys that are there."""
        reader = self._open_reader() if keys else None
        if reader is None:
            return []
        rows: list[tuple[Any, ...]] = []
        with _errors(self.path):
            columns = columns or _columns(_version(reader, self.path))
            for start in range(0, len(keys), _READ):
                part = keys[start : start + _READ]
                marks = ",".join("?" * len(part))
                query = f"SELECT {columns} FROM answers WHERE key IN ({marks})"
                rows += reader.execute(query, part).fetchall()
        return rows

    def _open_reader(self) -> sqlite3.Connection | None:
        if self._reader is None and self.path.exists():
            with _errors(self.path):
                self._reader = _open_to_read(self.path, alone=self._read_only)
                if self._reader is not None:
                    _version(self._reader, self.path)
                    # what this connection writes are leases, which need not outlive the machine
                    self._reader.execute("PRAGMA synchronous = NORMAL")
        return self._reader

    # --- writing ------------------------------------------------------------------------------------------------------

    def put(self, key: bytes, reply: Reply, origin: Origin | None = None) -> None:
        """Hand an answer over to be committed. The first answer of a key stays; its lease ends."""
        with self._changed:
            self._writing()
            self._waiting.setdefault(key, reply)
            if origin is not None:
                self._asked.setdefault(key, origin)
            if len(self._waiting) in (1, BATCH):
                self._changed.notify_all()

    def lease(self, keys: Sequence[bytes], *, anyway: bool = False) -> tuple[set[bytes], bool]:
        """Those of the keys whose questions are to be asked here; another run that lives asks the others. Whatever
        another run answered before is in the cache now. `anyway`: whoever asks them. And whether there was no other run
        of late."""
        with self._changed:
            self._writing()
        reader = self._open_reader()
        assert reader is not None  # there is a writer
        with self._telling, _errors(self.path):
            ours, alone = self._leases.take(reader, self._leased, keys, anyway=anyway)
            with self._changed:
                if not self._leased:
                    self._changed.notify_all()  # heartbeats begin
                self._leased |= ours
        return ours, alone

    def leased_elsewhere(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of the keys whose questions another run asks."""
        reader = self._open_reader()
        assert reader is not None  # there is a writer
        with _errors(self.path):
            return self._leases.elsewhere(reader, keys)

    def give_back(self, keys: Iterable[bytes] | None = None) -> None:
        """End leases, all of them without keys: nobody has to wait for these answers."""
        with self._changed:
            self._given_back |= self._leased if keys is None else self._leased.intersection(keys)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything that was handed over is on disk."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            while self._busy and self._failed is None:
                self._changed.wait()
            self._hurry = False
            if self._failed is not None:
                raise self._failed

    def close(self) -> None:
        """Commit what waits and close the file. Safe to call twice."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._closing = False
        self._leased.clear()
        self._given_back.clear()
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    @property
    def _busy(self) -> bool:
        return bool(self._waiting or self._committing or self._given_back)

    def _writing(self) -> None:
        """See that there is a writer. RunError where it had to stop."""
        if self._failed is not None:
            raise self._failed
        if self._writer is None:
            self._start()

    def _start(self) -> None:
        if self._read_only:
            raise TypeError(f"{self.path} is open for reading only")
        with _errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = _open_to_write(self.path)
        self._writer = threading.Thread(target=self._write, args=(connection,), name="calls", daemon=True)
        self._writer.start()

    def _write(self, connection: sqlite3.Connection) -> None:
        try:
            while self._take():
                with _errors(self.path):
                    if self._committing:
                        origins = self._numbered(connection)
                        _commit(connection, self._committing, self.damaged | self._broken, origins)
                    with self._changed:
                        self._leased -= self._committing.keys()
                        self._given_back -= self._committing.keys()
                        self._committing = {}
                    self._tell(connection)
                with self._changed:
                    self._changed.notify_all()
            with _errors(self.path):
                self._leases.end(connection)
        except RunError as error:
            with self._changed:
                self._failed = error
                self._changed.notify_all()
        finally:
            connection.close()

    def _take(self) -> bool:
        """Wait for a batch, or for something to say of leases; False when the cache is closed and nothing is left."""
        with self._changed:
            while not self._waiting and not self._given_back and not self._closing:
                left = self._leases.due_in if self._leased else None
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            until = time.monotonic() + DELAY_SECONDS
            while 0 < len(self._waiting) < BATCH and not self._closing and not self._hurry:
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            self._committing, self._waiting = self._waiting, {}
            return bool(self._committing or self._given_back) or not self._closing

    def _numbered(self, connection: sqlite3.Connection) -> dict[bytes, int]:
        """The numbers of the origins of what is committed; a new one gets its number."""
        with self._changed:
            requested = {k: self._asked.pop(k) for k in self._committing if k in self._asked}
        for origin in set(requested.values()) - self._origins.keys():
            self._origins[origin] = _number(connection, origin)
        return {key: self._origins[origin] for key, origin in requested.items()}

    def _tell(self, connection: sqlite3.Connection) -> None:
        """End the leases that were given back, and say that the others hold. Those of written answers may stand for a
        while: whoever waits looks for the answer first."""
        with self._telling:
            with self._changed:
                ended = self._given_back - self._waiting.keys()
                self._given_back -= ended
                self._leased -= ended
            if not self._leased:
                self._leases.end(connection)
            elif ended or self._leases.due_in <= 0:
                self._leases.write(connection, self._leased)


def _commit(
    connection: sqlite3.Connection, answers: Mapping[bytes, Reply], replaced: Set[bytes], origins: Mapping[bytes, int]
) -> None:
    store.point("calls", "write")
    rows = [(k, r.text, r.tokens_in, r.tokens_out, r.finish_reason, r.reasoning) for k, r in answers.items()]
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        _delete(connection, answers.keys() & replaced)
        found = [(*row[:5], _sum(*row), row[5], origins.get(row[0])) for row in rows]
        connection.executemany(_PUT, found)
        store.point("calls", "commit")
    store.point("calls", "committed")


def _delete(connection: sqlite3.Connection, keys: Iterable[bytes]) -> None:
    connection.executemany("DELETE FROM answers WHERE key = ?", [(k,) for k in keys])


def _number(connection: sqlite3.Connection, origin: Origin) -> int:
    """The number of an origin; a new one gets one."""
    row, marks = astuple(origin), "?, ?, ?, ?, ?, ?"
    connection.execute(f"INSERT OR IGNORE INTO origins ({ORIGIN}) VALUES ({marks})", row)
    found = connection.execute(f"SELECT id FROM origins WHERE ({ORIGIN}) = ({marks})", row)
    return int(found.fetchone()[0])


def _connect(name: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=uri)


def _open_to_read(path: Path, *, alone: bool) -> sqlite3.Connection | None:
    """A connection that reads; None where another process has made the file but nothing in it."""
    log = path.with_name(path.name + "-wal")
    if alone and not log.exists():  # a recording: may lie where nobody may write, even a lock
        connection = _connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
    else:
        connection = _connect(str(path))
    try:
        if _version(connection, path) == 0:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                connection.close()
                return None
            if _version(connection, path) == 0:  # not made by another process just now
                raise sqlite3.DatabaseError("it holds something else")
    except BaseException:
        connection.close()
        raise
    return connection


def _open_to_write(path: Path) -> sqlite3.Connection:
    connection = _connect(str(path))
    try:
        if _version(connection, path) == 0:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            _patiently(connection, "PRAGMA journal_mode = WAL")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
        _upgrade(connection)
        connection.execute(_ORIGINS)
        connection.execute(SCHEMA)
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _upgrade(connection: sqlite3.Connection) -> None:
    """A file of an earlier format gets the columns that it lacks, empty for the answers that it has."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == FORMAT:
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        now = connection.execute("PRAGMA user_version").fetchone()[0]
        for number in range(now + 1, FORMAT + 1):
            connection.execute(f"ALTER TABLE answers ADD COLUMN {_ADDED[number]}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > FORMAT:
        raise RunError(_newer(path))
    return version


def _patiently(connection: sqlite3.Connection, statement: str) -> None:
    """Execute what SQLite refuses at once, without its usual wait, while another process holds the file."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as e:
            if e.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


class _errors:
    """Turns what SQLite and the disk say into RunError: full disk A905, a damaged or locked file A907."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (sqlite3.Error, OSError)):
            raise RunError(_problem(self._path, error)) from error


def _problem(path: Path, error: sqlite3.Error | OSError) -> Problem:
    place, full = str(path), (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno in full):
        return Problem(
            "A905",
            "there is no space left on the device for the teacher's answers",
            place=place,
            help="free some space and re-run; stored answers are kept and not paid for again",
        )
    if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Problem(
            "A907",
            f"another process has held the call cache for more than {BUSY_SECONDS:.0f} s",
            place=place,
            help="wait for the other run or stop it, then re-run",
        )
    return Problem(
        "A907",
        "the call cache cannot be read or written",
        place=place,
        note=str(error),
        help=(
            f"repair it with `sqlite3 {path.name} .recover`, or move it away: the next run starts an empty one "
            "and pays for its calls again"
        ),
    )


def _newer(path: Path) -> Problem:
    return Problem(
        "A907",
        "the call cache was written by a newer version of this program",
        place=str(path),
        help="update the program, or move the file away to start an empty one",
    )
