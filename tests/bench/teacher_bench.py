"""Teacher calls against a local server of fixed latency: ours, with everything on, beside bare aiohttp and the openai
package.

    python tests/bench/teacher_bench.py [--calls 5000] [--latency 0.2] [--faults] [--rounds 2]

Prints calls/s and CPU ms a call, in turns with bare aiohttp, and ours as a share of it; asserts nothing. With
`--faults` the server refuses 5% with 429 and 2% with 500, and bare aiohttp makes such calls again at once. With
`--peers PYTHON` whole processes are timed instead, from rows to rows with answers: `alchemist run` in turns with
distilabel and Curator, which that Python holds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

MESSAGES = [
    {"role": "system", "content": "You say what a program does."},
    {"role": "user", "content": "Which algorithm is at work in this function? " * 30},
]
BODY = {"model": "m", "messages": MESSAGES, "temperature": 0.5, "max_tokens": 200}
REPLY = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "A short answer in plain words. " * 15},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 350, "completion_tokens": 120, "total_tokens": 470},
}


# --- the server: as little of its own as can be, so that the client is what is measured -------------------------------


class Server(asyncio.Protocol):
    """Answers every request after a fixed time; with `faults`, 5% of them with 429 and 2% with 500."""

    latency, faults = 0.2, False
    body = json.dumps(REPLY).encode()
    ok = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    refusal = b'{"error": {"message": "no"}}'

    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + size:
                return
            self.buffer = self.buffer[end + 4 + size :]
            asyncio.get_running_loop().call_later(self.latency, self.answer)

    def answer(self) -> None:
        draw = random.random() if self.faults else 1.0
        if draw < 0.07:
            status = b"429 Too Many Requests" if draw < 0.05 else b"500 Oops"
            head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(self.refusal))
            self.transport.write(head + self.refusal)
        elif not self.transport.is_closing():
            self.transport.write(self.ok + self.body)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def served(latency: float, faults: bool = False) -> Iterator[str]:
    command = [sys.executable, __file__, "--serve", "--latency", str(latency)]
    process = subprocess.Popen([*command, *(["--faults"] if faults else [])], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()


# --- the clients ------------------------------------------------------------------------------------------------------

Call = Callable[[], Awaitable[Any]]


async def drive(call: Call, calls: int, concurrency: int) -> tuple[float, float]:
    """(calls/s, CPU ms a call) of `calls` calls, `concurrency` at once, connections already open."""
    await asyncio.gather(*(call() for _ in range(concurrency)))
    left = iter(range(calls))

    async def work() -> None:
        for _ in left:
            await call()

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    seconds = time.perf_counter() - began
    return calls / seconds, (time.process_time() - cpu) / calls * 1000


async def bare(base: str, calls: int, concurrency: int) -> tuple[float, float]:
    import aiohttp

    headers = {"content-type": "application/json", "authorization": "Bearer x"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def call() -> None:
            while True:
                data = orjson.dumps(BODY)
                async with session.post(f"{base}/chat/completions", data=data) as response:
                    content = await response.read()
                if response.status == 200:
                    break
            assert orjson.loads(content)["choices"][0]["message"]["content"]

        return await drive(call, calls, concurrency)


async def package(base: str, calls: int, concurrency: int, aiohttp: bool) -> tuple[float, float]:
    from openai import AsyncOpenAI, DefaultAioHttpClient

    http = DefaultAioHttpClient(timeout=30) if aiohttp else None
    async with AsyncOpenAI(base_url=base, api_key="x", max_retries=0, http_client=http) as client:

        async def call() -> None:
            made = await client.chat.completions.create(**BODY)  # type: ignore[call-overload]
            assert made.choices[0].message.content

        return await drive(call, calls, concurrency)


def ours(base: str, calls: int, concurrency: int) -> tuple[float, float, Any]:
    """The whole way: cache, limits, ledger, budget, retries."""
    from alchemist_runtime.calls.dispatch import CallBatch, ClientPool
    from alchemist_runtime.calls.ledger import Account, Ledger
    from alchemist_runtime.calls.teacher import Request, call_key
    from alchemist_runtime.schema import plan

    spec = plan.Teacher(
        name="t",
        provider="openai",
        model="m",
        base_url=base,
        sampling={"temperature": "1/2", "max_tokens": 200},
        price=plan.Price(input="1/100000", output="3/100000"),
        rate=[{"unit": "calls", "per_second": "1000000"}],
        concurrency=concurrency,
        identity_key="bench",
    )

    def questions(first: int, n: int) -> list[Request]:
        outputs = {"answer": "text"}
        return [
            Request(call_key(spec, MESSAGES, outputs, i), tuple(MESSAGES), {}, outputs, sample=i)
            for i in range(first, first + n)
        ]

    with tempfile.TemporaryDirectory() as folder:
        pool = ClientPool(Path(folder), budget=Decimal(10_000))
        teacher_client = pool.teacher_client(spec)
        account = Account(spec, [pool.ledger, Ledger()])
        pool.ask(CallBatch(teacher_client, account, node="b", planned=calls), questions(calls, concurrency))
        call_batch = CallBatch(teacher_client, account, node="b", planned=calls)
        began, cpu = time.perf_counter(), time.process_time()
        outcomes = pool.ask(call_batch, questions(0, calls))
        seconds = time.perf_counter() - began
        spent = (time.process_time() - cpu) / calls * 1000
        assert all(o.reply for o in outcomes)
        again = CallBatch(teacher_client, account, node="b", planned=calls)
        began = time.perf_counter()
        pool.ask(again, questions(0, calls))
        cached = calls / (time.perf_counter() - began)
        assert again.call_stats.new == 0
        pool.close()
    return calls / seconds, spent, (cached, call_batch.call_stats)


# --- whole processes --------------------------------------------------------------------------------------------------

RECIPE = """edition 2026

teacher t {{
  provider = openai
  model = "m"
  revision = "1"
  base_url = "{url}"
  temperature = 0.5
  max_tokens = 200 tokens
  concurrency = {concurrency}
  price = free
}}
source asked {{
  files = "rows.jsonl"
}}
prompt ask {{
  input {{
    instruction: text
  }}
  output {{
    answer: text
  }}
  user = "{{{{ instruction }}}}"
}}
generate answered {{
  from = asked
  teacher = t
  prompt = ask
  set response = out.answer
}}
export dataset {{
  data = answered
  path = "out"
}}
"""


def project(folder: str, url: str, rows: int, concurrency: int) -> None:
    (Path(folder) / "r.recipe").write_text(RECIPE.format(url=url, concurrency=concurrency))
    asked = "Which algorithm is at work in this function? " * 30
    lines = [json.dumps({"instruction": f"{i}. {asked}", "response": ""}) for i in range(rows)]
    (Path(folder) / "rows.jsonl").write_text("\n".join(lines) + "\n")


def cached(rows: int, rounds: int) -> list[float]:
    """CPU seconds of whole runs whose answers are all in the call cache, and nothing else is."""
    command = [sys.executable, "-m", "alchemist_dsl", "run", "r.recipe"]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    found = []
    with served(0.02) as url, tempfile.TemporaryDirectory() as folder:
        project(folder, url, rows, 64)
        for _ in range(rounds + 2):  # the first asks, the second writes what Python keeps of its modules
            for made in (".alchemist/store", "out"):
                shutil.rmtree(Path(folder) / made, ignore_errors=True)
            begun = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=env)
            assert done.returncode == 0, done.stderr[-2000:]
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            found.append(ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime)
    return found[2:]


def whole(name: str, python: str, rows: int, concurrency: int, latency: float) -> float:
    """Seconds of a whole process that asks so many questions."""
    here = Path(__file__).parent
    with served(latency) as url, tempfile.TemporaryDirectory() as folder:
        command = [python, str(here / "peer_teachers.py"), name, url, str(rows), str(concurrency)]
        if name == "alchemist":
            command = [sys.executable, "-m", "alchemist_dsl", "run", "r.recipe"]
            project(folder, url, rows, concurrency)
        begun = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        seconds = time.perf_counter() - begun
    answered = f"answered: {rows:,} rows" if name == "alchemist" else f'"answered": {rows},'
    assert done.returncode == 0 and answered in done.stdout + done.stderr, done.stderr[-2000:]
    return seconds


def beside_peers(python: str, rows: int, rounds: int, latency: float) -> None:
    for concurrency in (64, 256):
        print(f"{rows} rows, {concurrency} at once, ideal {rows / concurrency * latency:.1f} s")
        found: dict[str, list[float]] = {"alchemist": [], "distilabel": [], "curator": []}
        for _ in range(rounds):
            for name, seconds in found.items():
                seconds.append(whole(name, python, rows, concurrency, latency))
        for name, seconds in found.items():
            print(f"  {name:18} {', '.join(f'{s:.1f}' for s in seconds)} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--faults", action="store_true", help="5%% 429 and 2%% 500")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--calls", type=int, default=5_000)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--peers", metavar="PYTHON", help="whole processes beside distilabel and Curator")
    args = parser.parse_args()
    if args.serve:
        Server.latency, Server.faults = args.latency, args.faults
        asyncio.run(serve(0))
        return
    if args.peers:
        beside_peers(str(Path(args.peers).absolute()), args.calls, args.rounds, args.latency)
        return
    for concurrency in (64, 256, 512):
        ideal = concurrency / args.latency
        faults = ", with faults" if args.faults else ""
        print(f"{args.calls} calls, {concurrency} at once, ideal {ideal:.0f}/s{faults}")
        rows: dict[str, list[tuple[float, float]]] = {"bare aiohttp": [], "ours": []}
        for _ in range(args.rounds):
            with served(args.latency, args.faults) as base:
                rows["bare aiohttp"].append(asyncio.run(bare(base, args.calls, concurrency)))
            with served(args.latency, args.faults) as base:
                rate, cpu, (known, _) = ours(base, args.calls, concurrency)
                rows["ours"].append((rate, cpu))
        if not args.faults:
            with served(args.latency) as base:
                made = package(base, args.calls, concurrency, True)
                rows["package, aiohttp"] = [asyncio.run(made)]
        for name, each in rows.items():
            rates = ", ".join(f"{rate:.0f}/s" for rate, _ in each)
            print(f"  {name:18} {rates}; CPU {', '.join(f'{cpu:.2f}' for _, cpu in each)} ms a call")
        (alone, alone_cpu), (mine, mine_cpu) = (
            tuple(sum(x) / len(x) for x in zip(*rows[n], strict=True)) for n in ("bare aiohttp", "ours")
        )
        print(
            f"  ours: {mine / alone:.0%} of bare aiohttp, {mine_cpu / alone_cpu:.2f} x its CPU; cached {known:,.0f}/s"
        )
    if not args.faults:
        seconds = ", ".join(f"{s:.2f}" for s in cached(args.calls, 2 * args.rounds))
        print(f"whole runs with {args.calls} cached answers: {seconds} CPU s")


if __name__ == "__main__":
    main()
