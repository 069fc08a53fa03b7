"""Many questions to one teacher: answers from the cache first, the rest asked within rate, concurrency and budget.

Retries are ours. Every question ends in an outcome, answered or failed with a reason. Where the run must stop (budget,
key, too many failures, Ctrl-C) no new call is sent, those in flight are waited for and committed, and then the reason
is raised.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from alchemist_runtime.calls import answers
from alchemist_runtime.calls.cache import CallCache, Origin
from alchemist_runtime.calls.cache_files import Recorded
from alchemist_runtime.calls.completion import HOPELESS, WAITING
from alchemist_runtime.calls.ledger import LEASE_SECONDS, Account, Ledger, dollars
from alchemist_runtime.calls.limits import Limits, pause_seconds
from alchemist_runtime.calls.teacher import CallFailed, Client, Lease, Reply, Request, Service, Used, Want, scrub
from alchemist_runtime.schema import catalog, plan
from alchemist_runtime.schema.codes import Problem, RunError

#: Keys looked up in the cache at once.
LOOKUP = 512
#: So many questions are leased at once for each place: what waits for a place here may be asked by another run instead.
LEASED = 2
#: How often another run's answers are looked for, and how long one may go without any before its questions are asked
#: here.
LOOK_SECONDS, STANDSTILL_SECONDS = 0.2, 600.0
#: Answers that are looked at before the first judgement on them, and so many times as many as one in `max_failed` after
#: it.
FIRST_ANSWERS = 20
#: How many times `max_failed` of so few answers must be no data, once the first ones were judged.
MANY = 5
#: How long a call is made again that the server tells to wait, by the class of its refusals: a minute of a rate, and a
#: start.
PATIENCE_SECONDS = {"busy": 75.0, "loading": 600.0}
#: How often at least, where `retries` is less.
WAITS = 6
#: So many calls in a row that fail for one reason that no call can escape stop the step.
UNANIMOUS = 3
#: What the turns of a chat cost beside their text, generously.
TURN_TOKENS = 16
TELL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a question. A reply that broke off has both, itself and a failure."""

    reply: Reply | None
    failure: str | None = None
    kind: str = "answered"  # or the kind of the failure
    cached: bool = False


@dataclass(slots=True)
class CallStats:
    """Figures of a step's calls. A question that another one asks at the same time is counted as cached."""

    asked: int = 0
    cached: int = 0
    failed: int = 0
    retried: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    new_tokens_in: int = 0
    new_tokens_out: int = 0
    awaited: int = 0  # calls in flight that an interrupted step still waits for
    elsewhere: int = 0  # questions that another run asks and this one waits for
    server: str = ""  # how the server says that a batch stands

    @property
    def new(self) -> int:
        return self.asked - self.cached


@dataclass
class TeacherClient:
    """One teacher at work: its client, its limits, the cache. Shared by all steps that ask it."""

    spec: plan.Teacher
    client: Client
    cache: CallCache
    limits: Limits
    keeps: bool = True  # whether new answers go into the cache
    leases: bool = True  # whether runs at the same time ask a question once
    recorded: Recorded | None = None  # where answers of any provider are looked for
    #: the largest schema or the like that a request carries beside its messages, in bytes
    overhead: dict[tuple[str, ...], int] = field(default_factory=dict)
    opened: bool = False  # whether the client was made ready
    #: answers that were refused, asked for again, and came: what is refused still is not asked a third time in a run
    renewed: set[bytes] = field(default_factory=set)

    def want(self, request: Request) -> Want:
        """What a call takes: tokens as expected (characters / 4), and at most (a token is a byte or more)."""
        fields = tuple(request.outputs)
        if fields not in self.overhead:
            plain = answers.is_plain(request.outputs)
            result = "" if plain else str(answers.schema(request.outputs))
            words = "" if plain else answers.describe_format(request.outputs)
            self.overhead[fields] = 2 * len(result) + len(words.encode())
        chars = most = 0
        for turn in request.messages:
            chars += len(turn["content"])
            most += len(turn["content"].encode()) + TURN_TOKENS
        out = int(self.spec.sampling.get("max_tokens", 4_096))
        way = "schema" if self.overhead[fields] else "text"
        return Want(chars // 4 + 1, most + TURN_TOKENS + self.overhead[fields], out, way)

    def open(self) -> None:
        """Prepare the client before its first call, whose time is bounded."""
        if not self.opened:
            self.opened = True
            ready = getattr(self.client, "open", None)
            if ready is not None:
                ready()

    def lacks(self) -> list[str]:
        """What the server does not support, each reported once."""
        found: list[str] = getattr(self.client, "adapted", [])
        reported = list(found)
        found.clear()
        return reported


class CallBatch:
    """The questions of one step to one teacher."""

    #: how many are asked together at most; None: as suits the caller
    at_once: int | None = None

    def __init__(
        self,
        teacher_client: TeacherClient,
        account: Account,
        *,
        node: str,
        planned: int,
        recipe: str = "",
        max_failed: Fraction = Fraction(1, 20),
        tell: Callable[[CallStats], None] | None = None,
        unusable: Callable[[Reply], str | None] | None = None,
        retry_refused: bool = False,
    ) -> None:
        self.teacher_client, self.account, self.node = teacher_client, account, node
        self.call_stats = CallStats()
        self._origin = Origin.of(teacher_client.spec, node, recipe)
        self._services: tuple[Service, ...] = (account, teacher_client.limits)
        self._max_failed = max_failed
        self.expect(planned)
        self._tell, self._reported_at = tell, 0.0
        self._unusable = unusable  # why an answer is no data
        self._retry_refused = retry_refused  # whether the cached ones of these are asked for again
        window = math.ceil(FIRST_ANSWERS / max_failed) if max_failed else FIRST_ANSWERS
        self._example = ""  # the last one that is none
        self._useless: deque[bool] = deque(maxlen=max(FIRST_ANSWERS, window))
        self._halted: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending: set[asyncio.Task[Any]] = set()
        self._first: dict[bytes, int] = {}  # number of the request that asks a question first
        self._waiting: dict[bytes, list[int]] = {}  # equal ones that wait for its answer
        self._elsewhere: list[int] = []  # what another run asks
        self._answered = 0
        self._same_failure = ("", 0)  # the class of the last failures, and how many since the last answer
        self._spare = 0  # further workers that may be started
        self._more: Callable[[], Coroutine[Any, Any, None]]

    def expect(self, planned: int) -> None:
        """How many calls are planned in all: a share of them may fail."""
        self.planned, self._may_fail = planned, math.floor(self._max_failed * planned)

    async def answer(self, requests: Sequence[Request]) -> list[Outcome]:
        """The outcome of every request, in order. RunError where the step must stop; what is answered by then is
        kept.
        """
        outcomes: list[Outcome | None] = [None] * len(requests)
        self._first, self._waiting, self._elsewhere = {}, {}, []
        todo = self._misses(requests, outcomes)
        places = self.teacher_client.spec.concurrency
        try:
            while True:
                work = partial(self._work, requests, outcomes, todo)
                self._tasks = {asyncio.create_task(work()) for _ in range(min(len(requests), places))}
                self._more, self._spare = work, places
                await self._all_done()
                if self._halted is not None or not self._elsewhere:
                    break
                todo = iter(await self._left_over(requests, outcomes))
        except asyncio.CancelledError as interrupt:
            self._halt(interrupt)
            self.call_stats.awaited = len(self._sending)
            self._report(now=True)
            await self._all_done()
            raise
        finally:
            if self.teacher_client.keeps:
                self.teacher_client.cache.give_back()
                self.teacher_client.cache.flush()
            self._report(now=True)
        for task in self._tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        if self._halted is not None:
            raise self._halted
        assert all(o is not None for o in outcomes)
        return outcomes  # type: ignore[return-value]

    async def _all_done(self) -> None:
        while running := [t for t in self._tasks if not t.done()]:
            await asyncio.wait(running)

    # --- the cache ----------------------------------------------------------------------------------------------------

    def _misses(self, requests: Sequence[Request], outcomes: list[Outcome | None]) -> Iterator[int]:
        """Numbers of the requests that must be asked; cached ones get their outcome here, equal ones wait for the
        first.
        """
        lot = min(LOOKUP, LEASED * self.teacher_client.spec.concurrency)
        for start in range(0, len(requests), LOOKUP):
            looked = time.monotonic()
            lacking = self._lacking(requests, outcomes, range(start, min(start + LOOKUP, len(requests))))
            requested = []
            for i in lacking:
                key = requests[i].call_key
                if (first := self._first.setdefault(key, i)) == i:
                    requested.append(i)
                elif (outcome := outcomes[first]) is not None:
                    outcomes[i] = self._count(_same(outcome))
                else:
                    self._waiting.setdefault(key, []).append(i)
            for at in range(0, len(requested), lot):
                yield from self._ours(requests, outcomes, requested[at : at + lot], looked)

    def _lacking(
        self, requests: Sequence[Request], outcomes: list[Outcome | None], numbers: Sequence[int]
    ) -> list[int]:
        """Those of the requests without an answer in the cache; the others get theirs."""
        requested = [requests[i] for i in numbers]
        if self.teacher_client.recorded is None:
            found = self.teacher_client.cache.get_many([r.call_key for r in requested])
        else:
            found = self.teacher_client.recorded.get_many(requested)
        lacking = []
        for i in numbers:
            reply = found.get(requests[i].call_key)
            if reply is not None and self._refused(requests[i].call_key, reply):
                self.teacher_client.cache.replace(requests[i].call_key)
                reply = None
            if reply is None:
                lacking.append(i)
            else:
                self._settle(requests, outcomes, i, Outcome(reply, cached=True))
        return lacking

    def _refused(self, key: bytes, reply: Reply) -> bool:
        """Whether a cached answer is no data and is to be asked for again, once a run."""
        if not self._retry_refused or self._unusable is None or key in self.teacher_client.renewed:
            return False
        return self._unusable(reply) is not None

    def _settle(self, requests: Sequence[Request], outcomes: list[Outcome | None], i: int, outcome: Outcome) -> None:
        """The outcome of a request, and of the equal ones that wait for it."""
        outcomes[i] = self._count(outcome)
        for other in self._waiting.pop(requests[i].call_key, ()):
            outcomes[other] = self._count(_same(outcome))

    # --- what another run asks ----------------------------------------------------------------------------------------

    def _ours(
        self,
        requests: Sequence[Request],
        outcomes: list[Outcome | None],
        numbers: Sequence[int],
        looked: float,
        *,
        anyway: bool = False,
    ) -> list[int]:
        """Those of the requests that are asked here. What another run asks is waited for, what it has answered since
        they were looked up is taken."""
        cache = self.teacher_client.cache
        if not self.teacher_client.leases or not numbers:
            return list(numbers)
        leased, alone = cache.lease([requests[i].call_key for i in numbers], anyway=anyway)
        if alone and time.monotonic() - looked < LEASE_SECONDS / 2:
            return list(numbers)
        mine = [i for i in numbers if requests[i].call_key in leased]
        self._elsewhere += [i for i in numbers if requests[i].call_key not in leased]
        requested = self._lacking(requests, outcomes, mine)
        if len(requested) < len(mine):
            cache.give_back({requests[i].call_key for i in set(mine) - set(requested)})
        return requested

    async def _left_over(self, requests: Sequence[Request], outcomes: list[Outcome | None]) -> list[int]:
        """Wait for the answers of another run; what is asked here after all, because it failed there, or the other run
        ended or stands still."""
        moved = time.monotonic()
        while self._elsewhere:
            late = time.monotonic() > moved + STANDSTILL_SECONDS + 2 * self.teacher_client.spec.timeout_seconds
            head, tail = self._elsewhere[:LOOKUP], self._elsewhere[LOOKUP:]
            keys = [requests[i].call_key for i in head]
            requested = set() if late else self.teacher_client.cache.leased_elsewhere(keys)
            lacking = self._lacking(requests, outcomes, head)
            free = [i for i in lacking if requests[i].call_key not in requested]
            self._elsewhere = [i for i in lacking if requests[i].call_key in requested] + tail
            ours = self._ours(requests, outcomes, free, time.monotonic(), anyway=late)
            self.call_stats.elsewhere = len(self._elsewhere)
            self._report()
            if ours:
                return ours
            if len(lacking) < len(head):
                moved = time.monotonic()
            else:
                await asyncio.sleep(LOOK_SECONDS)
        return []

    def _count(self, outcome: Outcome) -> Outcome:
        call_stats, reply = self.call_stats, outcome.reply
        call_stats.asked += 1
        call_stats.cached += outcome.cached
        if reply is not None:
            call_stats.tokens_in += reply.tokens_in
            call_stats.tokens_out += reply.tokens_out
            if not outcome.cached:
                call_stats.new_tokens_in += reply.tokens_in
                call_stats.new_tokens_out += reply.tokens_out
        self._report()
        return outcome

    def _report(self, now: bool = False) -> None:
        if self._tell is not None:
            moment = time.monotonic()
            if now or moment - self._reported_at >= TELL_SECONDS:
                self._reported_at = moment
                self._tell(self.call_stats)

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _work(self, requests: Sequence[Request], outcomes: list[Outcome | None], misses: Iterator[int]) -> None:
        try:
            for i in misses:
                outcome = await self._one(requests[i])
                self._settle(requests, outcomes, i, outcome)
                if outcome.failure is not None:
                    self.teacher_client.cache.give_back([requests[i].call_key])
                if self._halted is not None:
                    return
        except RunError as stop:
            self._halt(stop)
        except Exception as bug:
            self._halt(bug)
            raise

    async def _one(self, request: Request) -> Outcome:
        self.teacher_client.open()
        try:
            reply = await self._insist(request)
        except CallFailed as failed:
            return self._fail(failed)
        if reply.ending == "broken":  # it was charged, so no second one is bought behind the user's back
            why = answers.describe_broken(reply.text, reply.finish_reason)
            reported = self._fail(CallFailed(why, kind="broken"))
            return replace(reported, reply=reply)
        self._answered += 1
        self._same_failure = ("", 0)
        if self.teacher_client.keeps:
            self.teacher_client.cache.put(request.call_key, reply, self._origin)
        if self._retry_refused:
            self.teacher_client.renewed.add(request.call_key)
        if request.last:
            self._judge(reply)
        return Outcome(reply)

    async def _insist(self, request: Request) -> Reply:
        """Try, and try again where that may help."""
        want, tries, waits = self.teacher_client.want(request), 0, 0
        first = math.inf  # when the server first asked this call to wait
        while True:
            try:
                return await self._try(request, want)
            except CallFailed as failed:
                waiting = failed.kind in WAITING
                waits += waiting
                tries += not waiting
                first = min(first, time.monotonic()) if waiting else first
                if not self._again(failed, tries, waits, first):
                    raise
                self._count_retry()
                pause = _pause(failed, tries or waits)
            if waiting and self.teacher_client.limits.pausing:
                continue  # the teacher's pause is the call's
            if self._spare:  # a call that waits for its next try holds no place: another one may go
                self._spare -= 1
                self._tasks.add(asyncio.create_task(self._more()))
            await asyncio.sleep(pause)

    def _again(self, failed: CallFailed, tries: int, waits: int, first: float) -> bool:
        """Whether another try may help. A busy server is waited for, but not for ever."""
        retries = self.teacher_client.spec.retries
        if not failed.retry or self._halted is not None or retries == 0:
            return False
        if failed.kind not in WAITING:
            return tries <= retries
        waited = time.monotonic() - first
        return waited < PATIENCE_SECONDS[failed.kind] or waits <= max(retries, WAITS)

    def _count_retry(self) -> None:
        self.call_stats.retried += 1

    async def _try(self, request: Request, want: Want) -> Reply:
        leases: list[Lease] = []
        used: Used | None = Used(0, 0)
        error: BaseException | None = None
        try:
            for service in self._services:
                leases.append(await service.reserve(want))
            if self._halted is not None:
                raise asyncio.CancelledError
            used = None  # from here on the teacher may have worked, and charged, for it
            reply = await self._send(request)
            used = Used(reply.tokens_in, reply.tokens_out, reply.counted)
            return reply
        except CallFailed as failed:
            used, error = None if failed.kind == "lost" else Used(0, 0), failed
            raise
        except BaseException as other:
            error = other
            raise
        finally:
            for lease in leases:
                lease.settle(used, error)

    async def _send(self, request: Request) -> Reply:
        me, seconds = asyncio.current_task(), self.teacher_client.spec.timeout_seconds
        assert me is not None
        self._sending.add(me)
        try:
            async with asyncio.timeout(seconds or None):
                return await self.teacher_client.client.reply(request)
        except TimeoutError as e:
            raise CallFailed(f"no answer within {seconds:g} s", retry=True, kind="lost") from e
        finally:
            self._sending.discard(me)

    # --- failing and stopping -----------------------------------------------------------------------------------------

    def _fail(self, failed: CallFailed) -> Outcome:
        if failed.stop:
            raise RunError(cannot(self, failed))
        if failed.kind != "too_long":
            self.call_stats.failed += 1
            if self._unanimous(failed):
                self._halt(RunError(cannot(self, failed)))
            elif self.call_stats.failed > self._may_fail:
                self._halt(RunError(_too_many(self, failed)))
        return Outcome(None, failed.reason, failed.kind)

    def _judge(self, reply: Reply) -> None:
        """Stop where too many new answers are no data, before the rest is paid too."""
        if self._unusable is None:
            return
        why, judged = self._unusable(reply), self._useless
        judged.append(why is not None)
        if why is not None:
            self._example = f"{why}; the answer, whole:\n{reply.text}"
        left = self.planned - self.call_stats.asked - len(self._sending) - 1
        if left <= 0 or len(judged) < FIRST_ANSWERS:
            return
        last = list(judged)[-FIRST_ANSWERS:]
        whole = len(judged) in (FIRST_ANSWERS, judged.maxlen)
        if whole and sum(judged) > self._max_failed * len(judged):
            self._halt(RunError(_useless(self, left, list(judged))))
        elif sum(last) > MANY * self._max_failed * len(last):
            self._halt(RunError(_useless(self, left, last)))

    def _unanimous(self, failed: CallFailed) -> bool:
        """Whether no call can succeed: so many failed for this reason, and none was answered since."""
        kind, times = self._same_failure
        times = times + 1 if kind == failed.kind else 1
        self._same_failure = (failed.kind, times)
        if failed.kind not in HOPELESS and failed.kind != "unreachable":
            return False
        return times >= UNANIMOUS or (self._answered == 0 and self.call_stats.failed > self._may_fail)

    def _halt(self, why: BaseException) -> None:
        """Send nothing new. Tasks that wait are ended; those with a call in flight end when it is back."""
        if self._halted is None:
            self._halted = why
        for task in self._tasks - self._sending - {asyncio.current_task()}:
            task.cancel()


def _same(outcome: Outcome) -> Outcome:
    """What an equal question gets."""
    return Outcome(outcome.reply, outcome.failure, outcome.kind, cached=True)


def _pause(failed: CallFailed, attempt: int) -> float:
    """Seconds before the next try: what the server asks for, and no less than our own."""
    return max(pause_seconds(attempt), failed.retry_after or 0.0)


def kept(call_batch: CallBatch) -> str:
    done = call_batch._answered + call_batch.call_stats.cached
    if not done:
        return "nothing was answered yet"
    return f"the {done:,} answers so far are kept and not paid for again"


def cannot(call_batch: CallBatch, failed: CallFailed) -> Problem:
    spec = call_batch.teacher_client.spec
    if failed.kind == "not_recorded":
        return Problem(
            "A710",
            f"a question of `{call_batch.node}` to `{spec.name}` has no recorded answer",
            node=call_batch.node,
            note="the prompt, its inputs, the teacher or its sampling differ from when the answers were recorded",
            help="run without `--replay`, or record the answers again",
        )
    headline, way_out = _hopeless(spec, failed)
    return Problem(
        "A708",
        headline,
        node=call_batch.node,
        note=failed.reason,
        help=f"{way_out}, then run again; {kept(call_batch)}",
    )


def _hopeless(spec: plan.Teacher, failed: CallFailed) -> tuple[str, str]:
    """Why no call of a teacher can succeed, and the way out."""
    server = f"the server of `{spec.name}`"
    headlines = {
        "unreachable": (f"{server} cannot be reached", "start the server or correct `base_url`"),
        "no_credit": (f"the account of `{spec.name}` has no credit", "add credit to the account"),
        "no_model": (f"{server} has no model `{scrub(spec.model or spec.name)}`", "check `model` and `base_url`"),
        "quota": (f"the quota of `{spec.name}` is used up", "wait until it is renewed, or raise it"),
        "answered": (
            f"{server} does not continue a user's turn",
            "use one that does, or have the request written as an answer",
        ),
    }
    if failed.kind in headlines:
        return headlines[failed.kind]
    if spec.api_key_env or spec.headers_env or not spec.base_url:
        variable = spec.api_key_env or next(iter(spec.headers_env.values()), "OPENAI_API_KEY")
        return (
            f"{server} refuses the key in `{variable}`",
            (
                f"check the key (`{'api_key_env' if spec.api_key_env or not spec.headers_env else 'headers_env'}`"
                " names its variable) and its permissions"
            ),
        )
    return f"{server} requires a key, and the recipe names none", "name its variable in `api_key_env`"


def _too_many(call_batch: CallBatch, failed: CallFailed) -> Problem:
    spec = call_batch.teacher_client.spec
    return Problem(
        "A705",
        f"more than {_share(call_batch)} of the {call_batch.planned:,} calls of `{call_batch.node}` to `{spec.name}`"
        " failed for good",
        node=call_batch.node,
        note=f"the last one: {failed.reason}",
        help=f"run again to try them once more, or raise `max_failed`; {kept(call_batch)}",
    )


def _useless(call_batch: CallBatch, left: int, judged: Sequence[bool]) -> Problem:
    account, call_stats = call_batch.account, call_batch.call_stats
    which = "first" if len(judged) == call_batch._answered else "last"
    cost = ""
    if account.known and not account.free:
        spent = account.cost(call_stats.new_tokens_in, call_stats.new_tokens_out)
        cost = f" and cost about {dollars(spent * left / max(1, call_stats.new))}"
    return Problem(
        "A719",
        f"{sum(judged):,} of the {which} {len(judged):,} answers to `{call_batch.node}` cannot be used, more than the "
        f"{_share(call_batch)} that `max_failed` allows",
        node=call_batch.node,
        note=call_batch._example,
        help=(
            f"{left:,} more answers were to come{cost}: correct the prompt, its output, `max_tokens` or the teacher, or"
            f" raise `max_failed`, then run again; {kept(call_batch)}"
        ),
    )


def _share(call_batch: CallBatch) -> str:
    return f"{float(call_batch._max_failed):.1%}".replace(".0%", "%")


# --- all teachers of a run --------------------------------------------------------------------------------------------


class ClientPool:
    """The teachers of a run on one event loop, with one call cache and one budget."""

    def __init__(self, state: Path, *, budget: Decimal | None = None, replay: Path | None = None) -> None:
        if replay is not None and not replay.exists():
            raise RunError(_no_recording(replay))
        self.cache = CallCache(replay or state / "calls.sqlite", read_only=replay is not None)
        self.ledger = Ledger(budget)
        self._replays = replay is not None
        self._runner = asyncio.Runner()
        self._teacher_clients: dict[str, TeacherClient] = {}

    def teacher_client(self, spec: plan.Teacher) -> TeacherClient:
        """A teacher ready to be asked. RunError where it cannot be (no key, unknown provider)."""
        if spec.name not in self._teacher_clients:
            self._teacher_clients[spec.name] = self._runner.run(self._open(spec))
        return self._teacher_clients[spec.name]

    def seat(self, spec: plan.Teacher, client: Client) -> None:
        """Let this client answer for a teacher."""
        self._teacher_clients[spec.name] = self._runner.run(self._seated(spec, client))

    async def _seated(self, spec: plan.Teacher, client: Client) -> TeacherClient:
        return TeacherClient(spec, client, self.cache, Limits(spec.rate, spec.concurrency))

    async def _open(self, spec: plan.Teacher) -> TeacherClient:
        provider = "replay" if self._replays and not catalog.offline(spec.provider) else spec.provider
        component = catalog.find("teachers", provider)
        if component is None:
            raise RunError(_no_provider(spec))
        client = component.function(spec)
        limits = Limits(spec.rate, spec.concurrency)
        replays = component.answers == "recording"
        recorded = Recorded(self.cache, spec) if replays else None
        costs = not (replays or component.offline)
        return TeacherClient(spec, client, self.cache, limits, not self._replays, costs, recorded)

    def ask(self, call_batch: CallBatch, requests: Sequence[Request]) -> list[Outcome]:
        """Outcomes of requests, in order. KeyboardInterrupt passes after the calls in flight are committed."""
        return self._runner.run(call_batch.answer(requests))

    def rest(self, requested: plan.Teacher | None = None) -> None:
        """Let clients give back the memory of models that this teacher, which is asked next, does not use."""
        for teacher_client in self._teacher_clients.values():
            rest = getattr(teacher_client.client, "rest", None)
            same = requested and (requested.model, requested.revision) == (
                teacher_client.spec.model,
                teacher_client.spec.revision,
            )
            if rest is not None and not same:
                rest()

    def close(self) -> None:
        """Close the clients and the cache."""
        teacher_clients, self._teacher_clients = list(self._teacher_clients.values()), {}
        for teacher_client in teacher_clients:
            self._runner.run(teacher_client.client.close())
        self._runner.close()
        self.cache.close()


def _no_recording(path: Path) -> Problem:
    return Problem(
        "A302",
        f"there is no recording `{path.name}`",
        place=str(path),
        help="a recording is the file `.alchemist/calls.sqlite` of a run",
    )


def _no_provider(spec: plan.Teacher) -> Problem:
    known = ", ".join(f"`{n}`" for n in catalog.names("teachers"))
    return Problem(
        "A910",
        f"`{spec.name}` has the provider `{scrub(spec.provider)}`, which is not installed",
        help=f"available here: {known}",
    )
