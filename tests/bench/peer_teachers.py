"""Questions to a local server as one asks them with distilabel or Curator: rows in, rows with answers out, a process of
its own.

`python peer_teachers.py distilabel|curator URL ROWS CONCURRENCY` prints one line of JSON when it is done. It runs in an
environment that holds these packages and none of ours; `make bench-peers` makes it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

QUESTION = "Which algorithm is at work in this function? " * 30


def questions(n: int) -> list[str]:
    return [f"{i}. {QUESTION}" for i in range(n)]


def distilabel(url: str, rows: int, concurrency: int) -> int:
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    with Pipeline(name="bench", cache_dir=tempfile.mkdtemp()) as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": q} for q in questions(rows)], batch_size=concurrency)
        options = {"temperature": 0.5, "max_new_tokens": 200}
        model = OpenAILLM(model="m", base_url=url, api_key="x", generation_kwargs=options)
        ask = TextGeneration(llm=model, input_batch_size=concurrency)
        load >> ask
    found: Any = pipeline.run(use_cache=False)
    return sum(bool(r["generation"]) for r in found["default"]["train"])


def curator(url: str, rows: int, concurrency: int) -> int:
    package = find_spec("litellm")  # it carries the vocabulary that Curator would fetch to count tokens before it asks
    assert package is not None and package.origin is not None
    counted = Path(package.origin).parent / "litellm_core_utils/tokenizers"
    os.environ |= {
        "TIKTOKEN_CACHE_DIR": str(counted),
        "TELEMETRY_ENABLED": "false",
        "CURATOR_VIEWER": "0",
        "CURATOR_CACHE_DIR": tempfile.mkdtemp(),
        "OPENAI_API_KEY": "x",
    }
    from bespokelabs.curator import LLM
    from datasets import Dataset

    class Ask(LLM):  # type: ignore[misc]
        def prompt(self, input: Any) -> Any:
            return input["instruction"]

        def parse(self, input: Any, response: Any) -> Any:
            return {**input, "response": response}

    options = {
        "base_url": url,
        "max_concurrent_requests": concurrency,
        "max_requests_per_minute": 10**6,
        "max_tokens_per_minute": 10**9,
    }
    ask = Ask(
        model_name="m",
        backend="openai",
        backend_params=options,
        generation_params={"temperature": 0.5, "max_tokens": 200},
    )
    made: Any = ask(Dataset.from_list([{"instruction": q} for q in questions(rows)]))
    found = getattr(made, "dataset", made)
    return sum(bool(r["response"]) for r in found)


def main() -> None:
    name, url, rows, concurrency = sys.argv[1:]
    begun = time.perf_counter()
    answered = {"distilabel": distilabel, "curator": curator}[name](url, int(rows), int(concurrency))
    print(json.dumps({"answered": answered, "seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main()
