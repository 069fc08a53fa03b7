"""The stub server itself: it does what a mark says and keeps a true record, so that its record may judge others."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
from stub import BEHAVIOURS, Stub


def post(stub: Stub, question: str, **more: Any) -> tuple[int, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": question}], **more}
    link = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=10)
    try:
        link.request("POST", "/v1/chat/completions", json.dumps(body))
        response = link.getresponse()
        return response.status, response.read()
    finally:
        link.close()


def test_a_mark_goes_before_the_mode_and_the_record_tells_both(stub: Stub) -> None:
    stub.control("status", 503)
    assert post(stub, "a")[0] == 503
    status, body = post(stub, "b [[b=text:x&rsqb;\\n]]")
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, "x]\n")
    assert [(h["b"], h["status"], h["n"]) for h in stub.hist] == [("status", 503, 1), ("text", 200, 1)]
    assert stub.stats()["paid"] == 1
    assert [h["q"] for h in stub.requests(b="status")] == ["a"]


def test_what_is_charged_twice_is_counted(stub: Stub) -> None:
    with pytest.raises(http.client.IncompleteRead):
        post(stub, "[[b=cut:1]]")
    assert post(stub, "[[b=cut:1]]")[0] == 200
    assert [post(stub, "[[b=flaky:429,2]]")[0] for _ in range(3)] == [429, 429, 200]
    told = stub.stats()
    assert (told["requests"], told["bodies"], told["paid"], told["paid_twice"]) == (5, 2, 3, 1)
    assert (told["max_per_body"], told["by_status"]) == (3, {-1: 1, 200: 2, 429: 2})
    stub.reset()
    assert stub.stats()["requests"] == 0


def test_a_rate_refuses_what_is_beyond_it(stub: Stub) -> None:
    stub.control("rps", 3, per=60, rah=7)
    assert [post(stub, f"q{i}")[0] for i in range(5)] == [200] * 3 + [429] * 2


def test_every_behaviour_answers_or_cuts(stub: Stub) -> None:
    args = {"status": "418", "e": "400|no|x", "flaky": "500,0", "ra": "sec,0", "loading": "0"}
    args |= {"long": "10", "rps": "5", "param400": "top_k|no", "redirect": "1", "finish": "abort"}
    args |= dict.fromkeys(("hidden", "reasoning", "gemini"), "5")
    args |= dict.fromkeys(("slow", "slowonce", "trickle"), "0")
    gone = set()
    for name in BEHAVIOURS:
        try:
            post(stub, f"[[b={name}:{args.get(name, '')}]]")
        except (http.client.HTTPException, ConnectionError):
            gone.add(name)
    assert gone == {"cut", "reset"}
    assert {h["b"] for h in stub.hist} == set(BEHAVIOURS)
    assert stub.stats()["paid_twice"] == 0
