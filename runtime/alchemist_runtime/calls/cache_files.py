"""The call cache as a file: what it holds by whom, a part of it as a file of its own, two of them merged, answers
removed.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from alchemist_runtime.calls import cache
from alchemist_runtime.calls.cache import CallCache, Origin, identity
from alchemist_runtime.calls.ledger import Leases
from alchemist_runtime.calls.teacher import KEY_BYTES, UNREAD, Reply, Request, call_key, ending
from alchemist_runtime.schema import catalog, plan

#: Key, answer, checksum and reasoning, and who asked.
_Row = tuple[tuple[Any, ...], Origin | None]
#: Answers written in one transaction.
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """What one answer comes to. `ended`: whole, cut, filtered, broken, or `unread` where no answer was found in what
    was paid; `damaged` where its bytes are not those that were written. `origin`: None where an earlier version wrote
    it."""

    key: bytes
    size: int  # bytes of its texts
    tokens_in: int
    tokens_out: int
    ended: str
    origin: Origin | None


@dataclass
class Merged:
    """What became of the answers of another file. `other`: the same question has another answer here, which stays;
    `left`: damaged or broken off."""

    new: int = 0
    same: int = 0
    other: int = 0
    left: int = 0


@dataclass
class Copied:
    """Answers in a new file, and damaged ones, which are left out."""

    answers: int = 0
    damaged: int = 0
    size: int = 0


def entries(path: Path) -> Iterator[Entry]:
    """Every answer of a file, in the order in which they came. RunError A907 where the file is none, or damaged."""
    with _reading(path) as connection:
        for row, origin in _rows(connection, path):
            ended = "unread" if row[4] == UNREAD else ending(str(row[4]))
            size = sum(len(t.encode("utf-8", "replace")) for t in (row[1], row[6]) if isinstance(t, str))
            yield Entry(row[0], size, row[2], row[3], ended if _sound(row) else "damaged", origin)


def export(path: Path, target: Path, keys: Collection[bytes] | None = None) -> Copied:
    """Write the answers of these keys, or all, into a new file that `run --replay` takes. FileExistsError where there
    is one.
    """
    if target.exists():
        raise FileExistsError(target)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    done = Copied()
    try:
        with _reading(path) as connection, _writing(part) as out:
            out.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            for lot in _lots(_rows(connection, path)):
                wanted = [(row, origin) for row, origin in lot if keys is None or row[0] in keys]
                sound = [(row, origin) for row, origin in wanted if _sound(row)]
                done.damaged += len(wanted) - len(sound)
                done.answers += _put(out, sound)
        os.link(part, target)  # never over a file that came in the meantime
    finally:
        part.unlink(missing_ok=True)
    done.size = target.stat().st_size
    return done


def merge(path: Path, source: Path) -> Merged:
    """Take over the answers of another file. Of two answers to one question the one that is here stays, if it is
    whole.
    """
    done = Merged()
    with _reading(source) as other, _writing(path) as own:
        for lot in _lots(_rows(other, source)):
            sound = {r[0]: (r, o) for r, o in lot if _sound(r) and ending(r[4]) != "broken"}
            done.left += len(lot) - len(sound)
            marks = ",".join("?" * len(sound))
            query = f"SELECT {cache._columns(cache.FORMAT)} FROM answers WHERE key IN ({marks})"
            with own:
                own.execute("BEGIN IMMEDIATE")
                here = {row[0]: row for row in own.execute(query, list(sound))}
                worn = [k for k, r in here.items() if not _sound(r) or ending(r[4]) == "broken"]
                cache._delete(own, worn)
                stays = here.keys() - worn
                same = sum(here[k][1:5] == sound[k][0][1:5] for k in stays)
                new = [pair for key, pair in sound.items() if key not in stays]
                done.new += _insert(own, new)
            done.same += same
            done.other += len(stays) - same
    return done


def remove(path: Path, keys: Collection[bytes]) -> None:
    """Remove answers, and give their room back to the disk."""
    with cache._errors(path), _writing(path) as connection:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            cache._delete(connection, keys)
            unused = "DELETE FROM origins WHERE id NOT IN (SELECT origin FROM answers WHERE origin IS NOT NULL)"
            connection.execute(unused)
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def in_use(path: Path) -> bool:
    """Whether a run that lives asks questions whose answers go into this file."""
    with _reading(path) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return ("leases",) in tables and Leases().anybody(connection)


def _lots(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    while lot := list(islice(rows, _AT_ONCE)):
        yield lot


# --- rows -------------------------------------------------------------------------------------------------------------


def _rows(connection: sqlite3.Connection, path: Path) -> Iterator[_Row]:
    """Key, answer, checksum and reasoning of every answer, with its origin."""
    version = cache._version(connection, path)
    origins: dict[int, Origin] = {}
    if version >= 4:
        found = connection.execute(f"SELECT id, {cache.ORIGIN} FROM origins")
        origins = {number: Origin(*row) for number, *row in found}
    column = "origin" if version >= 4 else "NULL"
    query = f"SELECT {cache._columns(version)}, {column} FROM answers ORDER BY rowid"
    for *row, origin in connection.execute(query):
        yield tuple(row), origins.get(origin)


def _sound(row: tuple[Any, ...]) -> bool:
    """Whether a row is an answer as it was written; another program may have made the file."""
    kinds = (bytes, str, int, int, str)
    right = all(isinstance(v, kind) for v, kind in zip(row, kinds, strict=False))
    return right and len(row[0]) == KEY_BYTES and cache._whole(row)


def _put(connection: sqlite3.Connection, rows: list[_Row]) -> int:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        return _insert(connection, rows)


def _insert(connection: sqlite3.Connection, rows: list[_Row]) -> int:
    """Insert answers that are not there, inside a transaction; how many."""
    numbers = {o: cache._number(connection, o) for o in {o for _, o in rows if o is not None}}
    found = [(*row, None if o is None else numbers[o]) for row, o in rows]
    connection.executemany(cache._PUT, found)
    return len(found)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    with cache._errors(path):
        if not path.exists():
            raise FileNotFoundError(2, "there is no such file")
        connection = cache._open_to_read(path, alone=True)
        with closing(sqlite3.connect(":memory:") if connection is None else connection) as reader:
            if connection is None:  # another process has made the file but nothing in it
                reader.execute(cache._SCHEMA)
            yield reader


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    with cache._errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(cache._open_to_write(path)) as connection:
            yield connection


# --- recorded --------------------------------------------------------------------------------------------------------

#: What tells teachers apart that answer the same question: who passes it on, and in which version.
_WHO = ("teacher.provider", "teacher.version")


class Recorded:
    """Answers to a teacher's questions, whatever provider gave them.

    The key of an answer holds the provider. So a question is looked up under its own key, then under that of each
    provider of this version, then under the identities that the recording tells of and that differ in the provider
    alone; where the teacher names no `base_url`, in that and in `query` too."""

    def __init__(self, cache: CallCache, spec: plan.Teacher) -> None:
        self._cache = cache
        own = spec.identity_of
        found = [_by(own, name) for name in catalog.names("teachers") if name != "replay"]
        found += [other for text in cache.identities() if _same(other := json.loads(text), own)]
        found.sort(key=lambda other: catalog.offline(str(other.get(_WHO[0]))))  # paid answers before free ones
        self._others = {
            plan.digest(other): replace(spec, provider=str(other.get(_WHO[0])), identity_key=plan.digest(other))
            for other in found
            if other != own
        }

    def keys(self, request: Request) -> set[bytes]:
        """Every key that an answer to a question may have."""
        return {request.call_key, *(_key(other, request) for other in self._others.values())}

    def get_many(self, requests: Sequence[Request]) -> dict[bytes, Reply]:
        """The answers that are there, by the key of the request."""
        found = self._cache.get_many([r.call_key for r in requests])
        for other in self._others.values():
            lacking = [r for r in requests if r.call_key not in found]
            keys = {_key(other, r): r.call_key for r in lacking}
            found |= {keys[k]: reply for k, reply in self._cache.get_many(list(keys)).items()}
        return found


def _key(spec: plan.Teacher, r: Request) -> bytes:
    return call_key(spec, r.messages, r.outputs, r.sample, inputs=r.inputs, rules=r.rules, continues=r.continues)


def _by(own: Mapping[str, Any], provider: str) -> dict[str, Any]:
    """The identity of the same teacher behind another provider."""
    other = {**own, _WHO[0]: provider}
    other.pop(_WHO[1], None)
    if (component := catalog.find("teachers", provider)) is not None and component.offline:
        other[_WHO[1]] = component.version
    return other


def _same(other: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether two identities differ in the provider alone."""
    left = {*_WHO} if "teacher.base_url" in own else {*_WHO, "teacher.base_url", "teacher.query"}
    mine, theirs = ({n: v for n, v in of.items() if n not in left} for of in (own, other))
    return identity(mine) == identity(theirs)
