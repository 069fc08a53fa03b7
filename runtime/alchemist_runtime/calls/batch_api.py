"""Questions by the Batch API: written to a file, uploaded, submitted, waited for, and read back at half the price.

What was submitted is written to `.alchemist/batches` before it is waited for, so that a run that was ended, or one
elsewhere with the same state, takes up the batch instead of paying again. A record without the id of a batch is one
whose submission nobody saw the end of: the server is asked for a batch with its mark before anything is sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from alchemist_runtime.calls.cache import CallCache
from alchemist_runtime.calls.completion import HOPELESS
from alchemist_runtime.calls.dispatch import CallBatch, Outcome, TeacherClient, cannot, kept
from alchemist_runtime.calls.ledger import dollars
from alchemist_runtime.calls.openai_client import Chat, headers_of, key_of
from alchemist_runtime.calls.teacher import CallFailed, Lease, Reply, Request, Used, Want, scrub
from alchemist_runtime.schema import plan
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.sealed import seal, unseal
from alchemist_runtime.storage import store
from alchemist_runtime.storage.store import disk_errors, write_atomic

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from openai.types import Batch

T = TypeVar("T")

#: Limits of the API on one file.
MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000
ENDPOINT: Final = "/v1/chat/completions"
#: Pauses between two looks at a batch, from the first to the longest.
FIRST_PAUSE_SECONDS, PAUSE_GROWTH, LONGEST_PAUSE_SECONDS = 2.0, 1.5, 60.0
#: How long a server that does not answer is asked again about a batch.
PATIENCE_SECONDS = 3_600.0
#: Looks for a batch whose submission broke off, before it is submitted again.
LOOKS = 5
#: How often a batch is halved that the server has no room for.
MOST_HALVINGS = 8
#: Files are larger than answers.
FILE_SECONDS = 600.0
#: The key of the metadata by which a batch is found again.
MARK: Final = "alchemist"
#: Other ways of asking that are tried for one question, where the server does not know one.
ADAPTATIONS = 3
_DAY = 86_400.0
#: What servers answer that do not have the API.
_LACKING: Final = frozenset({404, 405, 501})
_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
_CUSTOM_ID: Final = re.compile(rb'"custom_id"\s*:\s*"([0-9a-f]+)"')


# --- what is in flight ------------------------------------------------------------------------------------------------


@dataclass
class Record:
    """A batch as it is known beside the cache: the questions in it, and where it is."""

    path: Path
    url: str
    node: str
    keys: list[str]  # call keys in hexadecimal, which are the `custom_id`s
    made: float = field(default_factory=time.time)
    file: str | None = None  # id of the input
    batch: str | None = None  # id; None: nobody saw whether it was accepted
    taken_up: bool = False  # whether an earlier run, or another one, submitted it

    @property
    def name(self) -> str:
        return self.path.stem

    def write(self) -> None:
        held = {n: getattr(self, n) for n in ("url", "node", "keys", "made", "file", "batch")}
        with disk_errors(self.node):
            write_atomic(self.path, seal(held))

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".lock").unlink(missing_ok=True)

    def answered(self, keys: Container[str], batch: Batch) -> None:
        """Forget these questions. The answers to others, which a changed recipe or another step asks, stay where they
        are.
        """
        self.keys = [k for k in self.keys if k not in keys]
        if self.keys and _status(batch) != "failed":
            self.write()
        else:
            self.remove()

    def lock(self) -> BaseFileLock:
        """Held by whoever submits it."""
        from filelock import FileLock

        return FileLock(self.path.with_suffix(".lock"))

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """The record in a file; None where another process has removed it. RunError A907."""
        try:
            data, _ = unseal(path.read_bytes())
            return cls(path, **data, taken_up=True)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as e:
            raise RunError(_damaged(path, e)) from e


@dataclass(frozen=True, slots=True)
class Folder:
    """The records of a project's batches."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other process adds a record."""
        from filelock import FileLock

        self.path.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path / "lock"):
            yield

    def records(self) -> list[Record]:
        """All of them, the oldest first."""
        found = [Record.read(p) for p in sorted(self.path.glob("*.json"))]
        return sorted((r for r in found if r is not None), key=lambda r: r.made)

    def touching(self, keys: Iterable[str]) -> list[Record]:
        """The records that hold one of these questions."""
        wanted = set(keys)
        return [r for r in self.records() if not wanted.isdisjoint(r.keys)]

    def tidy(self, cache: CallCache) -> None:
        """Forget batches whose questions are all answered: a run was ended before it did."""
        for record in self.records():
            keys = [bytes.fromhex(k) for k in record.keys]
            if len(cache.known(keys)) == len(keys):
                record.remove()


# --- the server -------------------------------------------------------------------------------------------------------


class Server:
    """Files and batches of a teacher's server. CallFailed where it refuses; what passes is tried again."""

    def __init__(self, chat: Chat, retries: int) -> None:
        self._chat, self._api, self._retries = chat, chat._client, retries

    async def submit(self, record: Record, lines: bytes) -> None:
        """Upload a batch's input and submit it. The record then has its id."""
        file = await self._tried(lambda: self._upload(record.name, lines))
        if not isinstance(getattr(file, "id", None), str):
            raise CallFailed("the server gives an uploaded file no id", status=404)
        record.file = file.id
        record.write()
        accepting = asyncio.ensure_future(self._create(record))
        try:
            batch = await asyncio.shield(accepting)
        except asyncio.CancelledError:  # what is being submitted is seen to its end
            with suppress(CallFailed):
                self._accepted(record, await accepting)
            raise
        self._accepted(record, batch)

    def _accepted(self, record: Record, batch: Batch) -> None:
        if not isinstance(getattr(batch, "id", None), str):
            raise CallFailed("the server gives a submitted batch no id", status=404)
        store.point(record.node, "batch-accepted")
        record.batch = batch.id
        record.write()
        store.point(record.node, "batch-submitted")

    async def _upload(self, name: str, lines: bytes) -> Any:
        return await self._api.files.create(
            file=(f"{name}.jsonl", lines, "application/jsonl"), purpose="batch", timeout=FILE_SECONDS
        )

    async def _create(self, record: Record) -> Batch:
        """Submit. Where the answer was lost, see first whether the server has it. A record that was refused loses its
        file.
        """
        pause, tries, file = _Pause(), 0, record.file or ""
        while True:
            try:
                return await self._once(
                    lambda: self._api.batches.create(
                        input_file_id=file,
                        endpoint=ENDPOINT,
                        completion_window="24h",
                        metadata={MARK: record.name, "step": record.node[:512]},
                    )
                )
            except CallFailed as failed:
                unseen = failed.kind == "lost" or ((failed.status or 0) >= 500 and failed.status not in _LACKING)
                if unseen and (found := await self._found(record, pause, failed)) is not None:
                    return found
                tries += 1
                if not _passes(failed) or tries > self._retries:
                    record.file = record.file if unseen else None
                    raise
                await pause(failed.retry_after)

    async def _found(self, record: Record, pause: _Pause, failed: CallFailed) -> Batch | None:
        """A batch whose submission was lost, when it shows."""
        for _ in range(LOOKS):
            try:
                if (found := await self.find(record)) is not None:
                    return found
            except CallFailed as blind:
                why = f"{failed.reason}; whether it accepted the batch is unknown: {blind.reason}"
                raise CallFailed(why, kind="lost") from blind
            await pause()
        return None

    async def find(self, record: Record) -> Batch | None:
        """The batch that was submitted for a record."""

        async def look() -> Batch | None:
            async for batch in self._api.batches.list(limit=100):
                marked = (batch.metadata or {}).get(MARK) == record.name
                if marked or (record.file is not None and batch.input_file_id == record.file):
                    return batch
                if batch.created_at and batch.created_at < record.made - _DAY:
                    break
            return None

        return await self._tried(look)

    async def look(self, record: Record, patience: float = PATIENCE_SECONDS) -> Batch:
        """How a batch stands. A server that does not answer is asked again for as long as one is patient."""
        batch = record.batch or ""
        return await self._tried(lambda: self._api.batches.retrieve(batch), patience)

    async def cancel(self, record: Record) -> Batch:
        """Have the server stop a batch, and say how it stands then. One that has ended stays as it is."""
        batch = record.batch or ""
        try:
            return await self._tried(lambda: self._api.batches.cancel(batch))
        except CallFailed:
            now = await self.look(record, patience=0.0)
            if _status(now) not in _ENDED:
                raise
            return now

    async def fetch(self, file: str, path: Path) -> None:
        """Write a file of the server to the disk."""

        async def read() -> None:
            content = self._api.files.with_streaming_response.content
            async with content(file, timeout=FILE_SECONDS) as response:
                with path.open("wb") as out:
                    async for part in response.iter_bytes():
                        out.write(part)

        await self._tried(read, PATIENCE_SECONDS)

    async def _once(self, call: Callable[[], Awaitable[T]]) -> T:
        import aiohttp
        import httpx2
        from openai import APIConnectionError, APIStatusError

        try:
            return await call()
        except APIStatusError as e:
            raise self._chat._refused(e.response.status_code, e.response.text, e.response.headers) from e
        except APIConnectionError as e:
            raise self._chat._broken(_cause(e)) from e
        except (httpx2.HTTPError, aiohttp.ClientError) as e:
            raise self._chat._broken(e) from e

    async def _tried(self, call: Callable[[], Awaitable[T]], patience: float = 0.0) -> T:
        """Call, and again where that may help: `retries` times, and for as long as one is patient."""
        pause, tries, until = _Pause(), 0, time.monotonic() + patience
        while True:
            try:
                return await self._once(call)
            except CallFailed as failed:
                tries += 1
                if not _passes(failed) or (tries > self._retries and time.monotonic() >= until):
                    raise
                await pause(failed.retry_after)


def _passes(failed: CallFailed) -> bool:
    return failed.retry and failed.status not in _LACKING


class _Pause:
    """Waits, longer each time."""

    def __init__(self) -> None:
        self._seconds = FIRST_PAUSE_SECONDS

    async def __call__(self, least: float | None = None) -> None:
        seconds = self._seconds
        self._seconds = min(LONGEST_PAUSE_SECONDS, seconds * PAUSE_GROWTH)
        await asyncio.sleep(max(seconds, least or 0.0))


def _cause(error: BaseException) -> Any:
    return error.__cause__ or error


@dataclass(frozen=True, slots=True)
class InFlight:
    """A submitted batch, and how it stands at its server: in the server's words, or why nobody can say."""

    record: Record
    status: str
    known: bool = True
    ended: bool = False


async def in_flight(folder: Path, teachers: Mapping[str, plan.Teacher], cancel: Container[str] = ()) -> list[InFlight]:
    """The batches of a project, each as its server says; those of `cancel` are cancelled first.

    `teachers`: by the step that asks them. A server is asked only where it is the one that took the batch.
    """
    found = []
    chats: dict[str, Chat] = {}
    try:
        for record in Folder(folder).records():
            spec = teachers.get(record.node)
            if spec is None:
                found.append(InFlight(record, "of a step that is not in this recipe", known=False))
                continue
            if spec.name not in chats:
                chats[spec.name] = Chat(spec, key_of(spec), headers_of(spec))
            found.append(await _stands(chats[spec.name], record, cancel))
    finally:
        for chat in chats.values():
            await chat.close()
    return found


async def _stands(chat: Chat, record: Record, cancel: Container[str]) -> InFlight:
    if record.batch is None:
        return InFlight(record, "not known to be accepted; the next run looks for it", known=False)
    if record.url != _url_of(chat):
        return InFlight(record, f"at {record.url}, which this recipe no longer asks", known=False)
    server = Server(chat, chat._spec.retries)
    try:
        if record.batch in cancel:
            batch = await server.cancel(record)
        else:
            batch = await server.look(record, patience=0.0)
    except CallFailed as failed:
        return InFlight(record, failed.reason, known=False)
    return InFlight(record, _standing([batch], named=False), ended=_status(batch) in _ENDED)


def _url_of(chat: Chat) -> str:
    return scrub(str(chat._client.base_url)).rstrip("/")


# --- asking -----------------------------------------------------------------------------------------------------------


class Batched(CallBatch):
    """The questions of one step to one teacher, by batches: the answers that come are judged as those of single
    calls.
    """

    at_once = MOST_REQUESTS

    def __init__(
        self, teacher_client: TeacherClient, *args: Any, folder: Path, warn: Callable[[Problem], None], **more: Any
    ) -> None:
        # answers are put into the cache as they are read, before the batch is forgotten; the records are its leases
        super().__init__(replace(teacher_client, keeps=False, leases=False), *args, **more)
        self._folder, self._warn = Folder(folder), warn
        self._came: dict[str, Reply | CallFailed] = {}
        self._tries: Counter[str] = Counter()
        self._flying: list[Record] = []
        self._fresh: list[Reply] = []

    @property
    def _chat(self) -> Chat:
        chat = self.teacher_client.client
        assert isinstance(chat, Chat)
        return chat

    async def answer(self, requests: Sequence[Request]) -> list[Outcome]:
        """The outcome of every request, in order. RunError where the step must stop; what is answered by then is
        kept.
        """
        outcomes: list[Outcome | None] = [None] * len(requests)
        self._first, self._waiting, self._fresh = {}, {}, []
        self._folder.tidy(self.teacher_client.cache)
        misses = list(self._misses(requests, outcomes))
        try:
            await self._ask_all({requests[i].call_key.hex(): requests[i] for i in misses})
        except (asyncio.CancelledError, RunError):
            if left := [r for r in self._flying if r.batch]:
                self._warn(self._left(left))
            raise
        finally:
            self.teacher_client.cache.flush()
            self._report(now=True)
        for i in misses:
            outcome = await self._one(requests[i])
            self._settle(requests, outcomes, i, outcome)
        for reply in self._fresh:
            super()._judge(reply)
        self._report(now=True)
        if self._halted is not None:
            raise self._halted
        assert all(o is not None for o in outcomes)
        return outcomes  # type: ignore[return-value]

    async def _insist(self, request: Request) -> Reply:
        came = self._came.pop(request.call_key.hex())
        if isinstance(came, CallFailed):
            raise came
        return came

    def _judge(self, reply: Reply) -> None:
        self._fresh.append(reply)  # all are paid: none is judged before all are counted

    async def _ask_all(self, todo: dict[str, Request]) -> None:
        if not todo:
            return
        server = Server(self._chat, self.teacher_client.spec.retries)
        try:
            while todo:
                todo = await self._round(server, todo)
        except CallFailed as failed:
            raise RunError(self._refusal(failed)) from failed
        finally:
            self.call_stats.server = ""

    async def _round(self, server: Server, todo: dict[str, Request]) -> dict[str, Request]:
        """Ask these, or wait for those of them that are in flight. What of them is to be asked again."""
        self._flying = await self._in_flight(server, todo)
        held = {k for r in self._flying for k in r.keys}
        fresh = [r for k, r in todo.items() if k not in held]
        lease = await self._reserve(fresh) if fresh else None
        waiting = deque(self._parts(fresh))
        used = Used(0, 0)
        again: dict[str, Request] = {}
        halvings, room = 0, True
        try:
            while waiting or self._flying:
                if waiting and (room or not self._flying):
                    self._flying += await self._submit(server, waiting.popleft())
                    continue
                record, batch = await self._ended(server)
                if full := _no_room(batch):
                    self._flying.remove(record)
                    record.remove()
                    part = [todo[k] for k in record.keys if k in todo]
                    halvings += not self._flying
                    if halvings > MOST_HALVINGS or (len(part) < 2 and not self._flying):
                        raise CallFailed(full)
                    if record.taken_up:  # not reserved in this run
                        again |= {r.call_key.hex(): r for r in part}
                    else:
                        cut = len(part) if self._flying else len(part) // 2
                        waiting.extendleft(p for p in (part[cut:], part[:cut]) if p)
                        room = False
                    continue
                halvings, room = 0, True
                took = await self._collect(server, record, batch, todo, again)
                self._flying.remove(record)
                record.answered(todo, batch)
                if record.taken_up:
                    cost = self.account.cost(took.tokens_in, took.tokens_out)
                    for ledger in self.account.ledgers:  # reserved when it was submitted
                        ledger.free(Decimal(0), cost)
                else:
                    used = Used(used.tokens_in + took.tokens_in, used.tokens_out + took.tokens_out)
        finally:
            if lease is not None:
                lease.settle(None if any(not r.taken_up for r in self._flying) else used)
        return again

    # --- submitting ---------------------------------------------------------------------------------------------------

    async def _in_flight(self, server: Server, keys: Iterable[str]) -> list[Record]:
        """The batches that hold one of these questions."""
        found = []
        for record in self._folder.touching(keys):
            if record.url != self._url:
                raise RunError(self._away(record))
            settled = record if record.batch else await self._settled(server, record)
            if settled is not None:
                found.append(settled)
        return found

    async def _settled(self, server: Server, record: Record) -> Record | None:
        """A record whose submission nobody saw the end of, when it is known what became of it; None where nothing
        did.
        """
        from filelock import Timeout

        lock, pause = record.lock(), _Pause()
        while True:
            try:
                lock.acquire(blocking=False)
                break
            except Timeout:  # another process is about to submit it
                await pause()
        try:
            now = Record.read(record.path)
            if now is None or now.batch:
                return now
            try:
                found = await server.find(now)
            except CallFailed as failed:
                raise RunError(self._unknown(now, failed)) from failed
            if found is None:
                now.remove()
                return None
            now.batch = found.id
            now.write()
            return now
        finally:
            lock.release()

    async def _submit(self, server: Server, part: Sequence[Request]) -> list[Record]:
        """Submit a batch of these questions, without those that another process has submitted or answered meanwhile."""
        left = {r.call_key.hex(): r for r in part}
        while True:
            others = await self._in_flight(server, left)
            left = {k: r for k, r in left.items() if not any(k in o.keys for o in others)}
            with self._folder.locked():
                if self._folder.touching(left):
                    continue
                for key, reply in self.teacher_client.cache.get_many([r.call_key for r in left.values()]).items():
                    if not self._refused(key, reply):
                        self._came[key.hex()] = reply
                        del left[key.hex()]
                if not left:
                    return others
                record = self._record(left)
                lock = record.lock()
                lock.acquire()
                record.write()
            break
        try:
            await server.submit(record, b"".join(map(self._line, left.values())))
        except BaseException:
            if record.batch or record.file:  # the server has it, or may have it
                self._flying.append(record)
            else:
                record.remove()
            raise
        finally:
            lock.release()
        return [*others, record]

    def _record(self, left: Mapping[str, Request]) -> Record:
        path = self._folder.path / f"{uuid.uuid4().hex}.json"
        return Record(path, self._url, self.node, list(left))

    @property
    def _url(self) -> str:
        return _url_of(self._chat)

    def _line(self, request: Request) -> bytes:
        import orjson

        line = {
            "custom_id": request.call_key.hex(),
            "method": "POST",
            "url": ENDPOINT,
            "body": self._chat._body(request),
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def _parts(self, requests: Sequence[Request]) -> Iterator[list[Request]]:
        """As many questions together as the API takes."""
        part: list[Request] = []
        size = 0
        for request in requests:
            more = len(self._line(request))
            if part and (len(part) == MOST_REQUESTS or size + more > MOST_BYTES):
                yield part
                part, size = [], 0
            part.append(request)
            size += more
        if part:
            yield part

    async def _reserve(self, requests: Sequence[Request]) -> Lease:
        """Reserve the worst case of all of them. RunError A703 where a budget does not bear it."""
        wants = [self.teacher_client.want(r) for r in requests]
        whole = Want(*(sum(getattr(w, n) for w in wants) for n in ("tokens_in", "most_in", "most_out")))
        amount = self.account.cost(whole.most_in, whole.most_out)
        full = self.account._full(amount)
        if full is not None and full.reserved == 0:
            what = "this run" if full.node is None else f"`{full.node}`"
            raise RunError(
                Problem(
                    "A703",
                    f"the budget of {what} ({dollars(full.limit or full.spent)}) does not cover a batch of"
                    f" {len(wants):,} calls, which may cost up to {dollars(amount)}",
                    node=self.node,
                    note=(
                        f"{dollars(full.spent)} are spent; nothing was sent: a batch is reserved whole, with"
                        " `max_tokens` for each answer"
                    ),
                    help=(
                        f"raise `{full.name}`, lower `max_tokens`, or set `batch = false` to ask call by call until the"
                        " budget is reached"
                    ),
                )
            )
        return await self.account.reserve(whole)

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def _ended(self, server: Server) -> tuple[Record, Batch]:
        """The first batch in flight that has ended."""
        pause = _Pause()
        while True:
            seen = [(r, await self._looked_at(server, r)) for r in self._flying]
            self.call_stats.server = _standing([b for _, b in seen])
            self._report(now=True)
            for record, batch in seen:
                if _status(batch) in _ENDED:
                    return record, batch
            await pause()

    async def _looked_at(self, server: Server, record: Record) -> Batch:
        try:
            return await server.look(record)
        except CallFailed as failed:
            raise RunError(self._lost(record, failed)) from failed

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _collect(
        self, server: Server, record: Record, batch: Batch, todo: Mapping[str, Request], again: dict[str, Request]
    ) -> Used:
        """Read what came of a batch; `again` gets what is to be asked once more. Tokens that it took."""
        keys = todo.keys() & record.keys
        sent = next((self._chat._body(todo[k]) for k in keys), {})
        came: dict[str, Reply | CallFailed] = {}
        for file in (batch.output_file_id, batch.error_file_id):
            if file:
                path = record.path.with_suffix(f".{os.getpid()}.part")
                try:
                    await server.fetch(file, path)
                    for key, verdict in self._read(path, todo):
                        if isinstance(verdict, Reply) or key not in came:
                            came[key] = verdict
                except CallFailed as failed:
                    raise RunError(self._lost(record, failed)) from failed
                finally:
                    path.unlink(missing_ok=True)
        done = batch.request_counts.completed if batch.request_counts else 0
        if done and not batch.output_file_id:
            nowhere = f"{done:,} answers are there, but the server names no file with them"
            raise RunError(self._lost(record, CallFailed(nowhere)))
        for key in keys - came.keys():
            came[key] = _unanswered(batch, record.keys.index(key) + 1 if batch.errors else 0)
        used = self._keep(came, todo)
        self.teacher_client.cache.flush()
        store.point(record.node, "batch-collected")
        for key, verdict in came.items():
            if isinstance(verdict, CallFailed) and self._once_more(key, verdict, sent):
                self._tries[key] += 1
                self.call_stats.retried += 1
                again[key] = todo[key]
            else:
                self._came[key] = verdict
        return used

    def _read(self, path: Path, todo: Mapping[str, Request]) -> Iterator[tuple[str, Reply | CallFailed]]:
        """What the lines of a file say, in whatever order."""
        with path.open("rb") as lines:
            for line in lines:
                said = _parsed(line)
                key = str(said.get("custom_id"))
                if key in todo:
                    try:
                        yield key, self._verdict(said, todo[key])
                    except CallFailed as failed:
                        yield key, failed

    def _verdict(self, said: Mapping[str, Any], request: Request) -> Reply:
        error, response = said.get("error"), said.get("response")
        if isinstance(response, dict) and response.get("body") is not None:
            body, status = response["body"], response.get("status_code") or 200
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            if status < 400:
                return self._chat._parse(content, request)
            raise self._chat._refused(int(status), content.decode(), {})
        reported = error if isinstance(error, dict) else {"message": error}
        message, code = scrub(str(reported.get("message") or reported.get("code"))), reported.get("code")
        raise CallFailed(
            f"the server says: {message}" + (f" ({code})" if code else ""),
            retry=code == "batch_expired",
            kind="passing" if code in ("batch_expired", "batch_cancelled") else "refused",
        )

    def _keep(self, came: Mapping[str, Reply | CallFailed], todo: Mapping[str, Request]) -> Used:
        """Put the answers into the cache. Tokens that they took; where nobody counted them, what they can have taken at
        most.
        """
        used_in = used_out = 0
        for key, reply in came.items():
            if isinstance(reply, Reply):
                if reply.counted:
                    used_in += reply.tokens_in
                    used_out += reply.tokens_out
                if reply.ending != "broken":
                    self.teacher_client.cache.put(bytes.fromhex(key), reply, self._origin)
            unknown = not reply.counted if isinstance(reply, Reply) else reply.kind == "lost"
            if unknown:
                want = self.teacher_client.want(todo[key])
                used_in += want.most_in
                used_out += want.most_out
        return Used(used_in, used_out)

    def _once_more(self, key: str, failed: CallFailed, sent: Mapping[str, Any]) -> bool:
        """Whether a question is asked again in this run. `sent`: a body of its batch."""
        if failed.retry:
            return self._tries[key] < self.teacher_client.spec.retries
        return self._tries[key] < ADAPTATIONS and self._chat._adapt(failed, sent)

    # --- problems -----------------------------------------------------------------------------------------------------

    def _refusal(self, failed: CallFailed) -> Problem:
        spec, server = self.teacher_client.spec, f"the server of `{self.teacher_client.spec.name}`"
        self._answered += sum(isinstance(r, Reply) for r in self._came.values())
        single = "set `batch = false`: calls are then sent one by one, at the price of single calls"
        if failed.status in _LACKING:
            return Problem(
                "A725",
                f"{server} has no Batch API",
                node=self.node,
                note=f"{failed.reason}; no call was sent",
                help=single,
            )
        if failed.kind in HOPELESS or failed.kind == "unreachable":
            return cannot(self, failed)
        return Problem(
            "A726",
            f"{server} did not take a batch of `{self.node}` to `{spec.model}`",
            node=self.node,
            note=failed.reason,
            help=f"re-run to submit it again, or {single}; {kept(self)}",
        )

    def _lost(self, record: Record, failed: CallFailed) -> Problem:
        if failed.kind in HOPELESS and failed.status not in _LACKING:
            return cannot(self, failed)
        return Problem(
            "A726",
            f"the batch `{record.batch}` of `{record.node}` cannot be read from the server of"
            f" `{self.teacher_client.spec.name}`",
            node=self.node,
            place=str(record.path),
            note=failed.reason,
            help=(
                "re-run to resume it. Where the server no longer has it, delete this file: the next run asks again,"
                " and pays again"
            ),
        )

    def _unknown(self, record: Record, failed: CallFailed) -> Problem:
        return Problem(
            "A726",
            f"it is unknown whether the server of `{self.teacher_client.spec.name}` has taken a batch of"
            f" {len(record.keys):,} calls",
            node=self.node,
            place=str(record.path),
            note=f"a run was ended while it submitted it, and the server does not list its batches: {failed.reason}",
            help=(
                "run again when the server answers. Where it has no such batch, delete this file: the next run submits"
                " it again"
            ),
        )

    def _away(self, record: Record) -> Problem:
        return Problem(
            "A726",
            f"questions of `{self.node}` are in a batch at {record.url}, and `{self.teacher_client.spec.name}` is now"
            f" asked at {self._url}",
            node=self.node,
            place=str(record.path),
            help="set `base_url` back to take the answers up; or delete this file to ask again, and pay again",
        )

    def _left(self, records: Sequence[Record]) -> Problem:
        """The warning of a run that ends before its batches."""
        names = ", ".join(f"`{r.batch}`" for r in records)
        what, goes = ("the batch", "goes") if len(records) == 1 else ("the batches", "go")
        return Problem(
            "A726",
            f"{what} {names} of `{self.node}` {goes} on at the server; the same command takes up the answers",
            node=self.node,
            note="`alchemist batches RECIPE` says how far they are; with `--cancel all` it cancels them",
            help="what was answered before a cancellation is billed, and the next run takes it",
            severity="warning",
        )


def _status(batch: Batch) -> str:
    return str(getattr(batch, "status", "")).lower()


def _standing(batches: Sequence[Batch], *, named: bool = True) -> str:
    """How batches stand, in the server's words and counts; `named`: one alone with its id."""
    counts = [b.request_counts for b in batches if b.request_counts is not None]
    done, failed, total = (sum(getattr(c, n) or 0 for c in counts) for n in ("completed", "failed", "total"))
    of = f" {done:,} of {total:,}" if total else ""
    lost = f" ({failed:,} failed)" if failed else ""
    if len(batches) == 1:
        return (f"{batches[0].id} " if named else "") + f"{_status(batches[0])}{of}{lost}"
    words = ", ".join(f"{n} {s}" for s, n in Counter(map(_status, batches)).items())
    return f"{len(batches)} batches: {words}{of}{lost}"


def _no_room(batch: Batch) -> str | None:
    """What the server says where its queue has no room for a batch now."""
    if _status(batch) != "failed" or batch.errors is None:
        return None
    return next((e.message for e in batch.errors.data or () if e.code == "token_limit_exceeded"), None)


def _unanswered(batch: Batch, line: int) -> CallFailed:
    """Why a question has no line in the files of a batch."""
    status = _status(batch)
    if status == "expired":
        return CallFailed("the batch expired before it was answered", retry=True, kind="passing")
    if status == "cancelled":
        return CallFailed("the batch was cancelled before it was answered", kind="passing")
    if status == "completed":
        return CallFailed("the batch ended without an answer to it", kind="lost")
    errors = (batch.errors.data if batch.errors else None) or []
    own = [e for e in errors if e.line == line]
    if errors and not own and all(e.line for e in errors):
        return CallFailed("the server rejected the batch because of other lines", retry=True)
    reported = own or errors
    said = f"{reported[0].message} ({reported[0].code})" if reported else "no reason was given"
    return CallFailed(f"the server rejected the batch: {scrub(said)}")


def _parsed(line: bytes) -> Mapping[str, Any]:
    """A line of a file; of one that cannot be read the question that it belongs to."""
    import orjson

    try:
        said = orjson.loads(line)
    except ValueError:
        try:
            said = json.loads(line.decode("utf-8", "alchemist.latin"), strict=False)
        except (ValueError, RecursionError):
            found = _CUSTOM_ID.search(line)
            lost = {"message": "the line of its answer cannot be read"}
            said = {"custom_id": found[1].decode(), "error": lost} if found else {}
    return said if isinstance(said, dict) else {}


def _damaged(path: Path, error: Exception) -> Problem:
    return Problem(
        "A907",
        "the record of a batch that was submitted cannot be read",
        place=str(path),
        note=str(error),
        help="delete it when the server has no batch in flight: the next run asks again, and pays again",
    )
