"""Servers that take only so much: no row is lost, few calls are wasted, and the time is near what the server allows."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.calls.teacher import CallFailed
from virtual import Run, ask_virtually, at_a_rate, busy

Ask = Callable[..., Run]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ask:
    def asked(takes: Any, rows: int, seed: int = 1, **more: Any) -> Run:
        random.seed(seed)
        return ask_virtually(monkeypatch, tmp_path / str(seed), takes, rows, **more)

    return asked


def at_random(share: float, work: float) -> Any:
    """A server that refuses a share of its calls, however few there are."""
    draw = random.Random(5)
    return lambda now: busy() if draw.random() < share else work


def at_once(places: int, work: float) -> Any:
    """A server that works on so many calls at once."""
    ends: deque[float] = deque()

    def takes(now: float) -> float | CallFailed:
        while ends and ends[0] <= now:
            ends.popleft()
        if len(ends) >= places:
            return busy()
        ends.append(now + work)
        return work

    return takes


@pytest.mark.parametrize("concurrency", [8, 64, 256])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_rate_is_found(ask: Ask, concurrency: int, seed: int) -> None:
    run = ask(at_a_rate(20), 600, seed, concurrency=concurrency)
    assert run.lost == 0
    assert len(run.sent) <= 1.2 * 600
    assert run.seconds <= 1.15 * 600 / 20


@pytest.mark.parametrize(
    ("takes", "rows", "least", "seconds", "requests"),
    [
        (lambda: at_a_rate(200), 5000, 24, 1.25, 1.2),
        (lambda: at_a_rate(20, work=3.0), 600, 30, 1.45, 1.2),
        (lambda: at_a_rate(60, per=60.0), 300, 240, 1.5, 1.5),
        (lambda: at_a_rate(1, per=3.0), 30, 87, 2.5, 2.5),
        (lambda: at_once(4, 2.0), 100, 50, 2.0, 1.5),
        (lambda: at_once(32, 0.2), 2000, 12.5, 1.7, 1.2),
    ],
    ids=["200 a second", "slow answers", "60 a minute", "1 in 3 seconds", "4 at once", "32 at once"],
)
def test_limits_of_other_kinds(ask: Ask, takes: Any, rows: int, least: float, seconds: float, requests: float) -> None:
    run = ask(takes(), rows, concurrency=64)
    assert run.lost == 0
    assert run.seconds <= seconds * least
    assert len(run.sent) <= requests * rows


@pytest.mark.parametrize(("share", "slower"), [(0.05, 1.7), (0.12, 8), (0.3, 40)])
def test_refusals_at_random_do_not_slow_the_others_for_ever(ask: Ask, share: float, slower: float) -> None:
    run = ask(at_random(share, 0.2), 5000, concurrency=256)
    ideal = 5000 / (256 / 0.2) / (1 - share)
    assert run.lost == 0
    assert len(run.sent) <= 1.02 * 5000 / (1 - share)
    assert run.seconds <= slower * ideal


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("until", [0.001, 3.0, 10.0])
def test_a_server_that_is_busy_at_first_is_asked_as_fast_as_others(ask: Ask, until: float, seed: int) -> None:
    """Nothing was measured before the first pause, so no pace follows from it."""
    run = ask(lambda now: busy() if now < until else 0.5, 3000, seed, concurrency=256)
    assert run.lost == 0
    assert run.seconds <= 3.5 * until + 2 + 1.5 * 3000 * 0.5 / 256


def test_a_server_that_says_for_how_long_is_left_alone(ask: Ask) -> None:
    run = ask(at_a_rate(20, wait=1.0), 200, concurrency=32)
    assert run.lost == 0
    for refused in run.refused:
        # refusals take 2 ms to come; what had left by then is in flight
        assert not [at for at in run.sent if refused + 0.005 < at < refused + 1.0]


def test_a_wait_that_is_past_is_no_wait_of_zero(ask: Ask) -> None:
    run = ask(at_a_rate(1, per=3.0, wait=0.0), 12, retries=1, concurrency=4)
    assert run.lost == 0
    assert len(run.sent) <= 3 * 12


def test_a_server_that_takes_its_time_is_soon_asked_at_full_width(ask: Ask) -> None:
    """16 calls at once to begin with, twice as many each second: a start costs seconds, not several answers."""
    run = ask(lambda now: 8.0, 1024, concurrency=256)
    assert len(run.sent) == 1024
    assert len([at for at in run.sent if at < 8]) == 256
    assert run.seconds < 1024 / 256 * 8 + 8


def test_a_limit_that_falls_is_found_again(ask: Ask) -> None:
    fast, slow = at_a_rate(50), at_a_rate(5)
    run = ask(lambda now: fast(now) if now < 10 else slow(now), 600, concurrency=64)
    assert run.lost == 0
    assert len(run.sent) <= 1.3 * 600


def test_a_limit_that_rises_is_found_again(ask: Ask) -> None:
    slow, fast = at_a_rate(5), at_a_rate(50)
    run = ask(lambda now: slow(now) if now < 10 else fast(now), 1000, concurrency=64)
    assert run.lost == 0
    assert run.seconds < 10 + 3 * 950 / 50
