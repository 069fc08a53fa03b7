"""Leases on questions: runs that share a call cache ask an equal question once.

Each run that asks has one row: who it is, which questions it asks, and until when that holds; a heartbeat moves the end
on. A lease is free for others once its owner is dead or has let it expire. It is taken before the cache is looked at
for the last time and ends after its answer is written, so whoever gets one sees the answer that came meanwhile.
"""

from __future__ import annotations

import functools
import os
import platform
import secrets
import sqlite3
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from alchemist_runtime.calls.teacher import KEY_BYTES

#: How long leases hold without a heartbeat, and how often there is one.
LEASE_SECONDS, BEAT_SECONDS = 60.0, 15.0
#: `keys`: the questions, one behind the other. One row is written for many of them.
SCHEMA: Final = """CREATE TABLE IF NOT EXISTS leases (
  owner INTEGER PRIMARY KEY,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  started TEXT NOT NULL,
  until REAL NOT NULL,
  keys BLOB NOT NULL
)"""


class Leases:
    """The leases of one owner: a call cache opened by a process. Connections are the caller's, as are their errors."""

    def __init__(self) -> None:
        self._owner = secrets.randbits(62)  # never one that another run had before
        self._written: float | None = None

    @property
    def due_in(self) -> float:
        """Seconds until the next heartbeat."""
        return 0.0 if self._written is None else self._written + BEAT_SECONDS - time.monotonic()

    def take(
        self, connection: sqlite3.Connection, held: Collection[bytes], keys: Collection[bytes], *, anyway: bool = False
    ) -> tuple[set[bytes], bool]:
        """Those of the keys that are leased to this owner from now on, beside those that it holds; all of them with
        `anyway`, whoever asks them. And whether there was nobody else in the last `LEASE_SECONDS`."""
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            old = time.time() - LEASE_SECONDS
            connection.execute("DELETE FROM leases WHERE until < ?", (old,))
            others = connection.execute("SELECT count(*) FROM leases WHERE owner != ?", (self._owner,))
            alone = others.fetchone()[0] == 0
            taken = set() if alone or anyway else self.elsewhere(connection, keys)
            ours = set(keys) - taken
            self.write(connection, ours.union(held))
        return ours, alone

    def elsewhere(self, connection: sqlite3.Connection, keys: Iterable[bytes]) -> set[bytes]:
        """Those of the keys that others hold who are alive."""
        found, wanted = set[bytes](), set(keys)
        rows = connection.execute("SELECT * FROM leases WHERE owner != ?", (self._owner,))
        for _, host, pid, started, until, held in rows:
            both = {held[i : i + KEY_BYTES] for i in range(0, len(held), KEY_BYTES)} & wanted
            if both and _alive(host, pid, started, until):
                found |= both
        return found

    def anybody(self, connection: sqlite3.Connection) -> bool:
        """Whether others ask anything."""
        rows = connection.execute("SELECT * FROM leases WHERE owner != ?", (self._owner,))
        return any(keys and _alive(*who) for _, *who, keys in rows)

    def write(self, connection: sqlite3.Connection, held: Collection[bytes]) -> None:
        """Say that this owner is alive and what it asks."""
        until = time.time() + LEASE_SECONDS
        row = (self._owner, _here(), *_me(os.getpid()), until, b"".join(held))
        connection.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?)", row)
        self._written = time.monotonic()

    def end(self, connection: sqlite3.Connection) -> None:
        """Give everything back. The row stays for a while, so that others see that somebody was here."""
        if self._written is not None:
            gone = "UPDATE leases SET keys = x'', until = ? WHERE owner = ?"
            connection.execute(gone, (time.time(), self._owner))
            self._written = None


def _alive(host: str, pid: int, started: str, until: float) -> bool:
    """Whether an owner still asks what it holds."""
    # what holds longer than any lease was written by a clock that has been set back since
    if not 0 < until - time.time() <= LEASE_SECONDS + BEAT_SECONDS:
        return False
    return host != _here() or _started(pid) == started


@functools.cache
def _here() -> str:
    """The machine since its start and its view of processes: where this is equal, a process has the same number."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


@functools.lru_cache(maxsize=1)
def _me(pid: int) -> tuple[int, str]:
    """This process, which a fork changes."""
    return pid, _started(pid)


def _started(pid: int) -> str:
    """When a process of this machine started, in the kernel's count; "" where there is none, or no way to know."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    except (OSError, IndexError, ValueError):
        return ""
