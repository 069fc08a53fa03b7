"""Teachers and requests by hand, so that asking is tested without the compiler and without rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alchemist_runtime.calls.dispatch import CallBatch, ClientPool
from alchemist_runtime.calls.ledger import Account, Ledger, money
from alchemist_runtime.calls.teacher import Request, call_key
from alchemist_runtime.schema import plan


def teacher(base_url: str | None, **more: Any) -> plan.Teacher:
    """A served teacher that retries fast enough for a test."""
    given: dict[str, Any] = {
        "name": "t",
        "provider": "openai",
        "model": "m",
        "base_url": base_url,
        "sampling": {"temperature": "1/2", "max_tokens": 20},
        "concurrency": 8,
        "retries": 4,
        "timeout_seconds": 10.0,
        "identity_key": "b2:test",
    }
    return plan.Teacher(**{**given, **more})


def requests(spec: plan.Teacher, questions: Sequence[str], outputs: dict[str, str] | None = None) -> list[Request]:
    fields = {"answer": "text"} if outputs is None else outputs
    made = []
    for question in questions:
        messages = ({"role": "user", "content": question},)
        made.append(Request(call_key(spec, messages, fields, 0), messages, {}, fields))
    return made


def call_batch(
    pool: ClientPool, spec: plan.Teacher, planned: int, *, budget: str | None = None, **more: Any
) -> CallBatch:
    step = Ledger(None if budget is None else money(budget), "budget", "step")
    account = Account(spec, [pool.ledger, step])
    return CallBatch(pool.teacher_client(spec), account, node="step", planned=planned, **more)
