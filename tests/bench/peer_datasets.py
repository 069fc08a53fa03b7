"""The bench's pipeline as one writes it with `datasets`: map and filter in two processes, near duplicates by rensa or
datasketch.

`python peer_datasets.py WORKLOAD OUTPUT rensa|datasketch` does the same work as `pipeline_recipe` in bench.py: the same
rules, the same word 5-grams, bands and threshold, every pair verified. It prints one line of JSON when it is done.
"""

from __future__ import annotations

import ast
import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jinja2
from datasets import Dataset, concatenate_datasets, disable_progress_bars, load_dataset

SOURCES = {"alpha": 0.4, "beta": 0.3, "gamma": 0.2, "delta": 0.1}
PROCESSES, NGRAM, PERMUTATIONS, THRESHOLD, LEAK = 2, 5, 128, 0.7, 10
BANDS, WIDTH = 25, 5
TEMPLATE = """### Instruction ({{ lang }})
{{ instruction | trim }}

### Response
{{ response | trim }}
"""
_WORD = re.compile(r"\w+")
_BLOCK = re.compile(r"```python\n(.*?)```", re.S)

Row = dict[str, Any]


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def text_of(row: Row) -> str:
    return f"{row['instruction']}\n{row['response']}"


def grams(text: str, n: int) -> set[str]:
    found = words(text)
    return {" ".join(found[i : i + n]) for i in range(max(1, len(found) - n + 1))} if found else set()


# --- row by row, in worker processes ----------------------------------------------------------------------------------


def sound(row: Row) -> bool:
    """Long enough, and its Python block parses."""
    if len(row["response"]) < 200:
        return False
    if row["lang"] != "python":
        return True
    try:
        ast.parse("\n".join(_BLOCK.findall(row["response"])))
    except (SyntaxError, ValueError):
        return False
    return True


def keep_clean(row: Row, leaked: frozenset[str]) -> bool:
    """No 10-gram of a benchmark problem."""
    return leaked.isdisjoint(grams(row["instruction"], LEAK) | grams(row["response"], LEAK))


_compiled: dict[str, jinja2.Template] = {}


def rendered(row: Row) -> Row:
    if not _compiled:
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
        _compiled["row"] = environment.from_string(TEMPLATE)
    return {"prompt": _compiled["row"].render(row)}


def rensa_signature(row: Row) -> Row:
    from rensa import RMinHash

    made = RMinHash(num_perm=PERMUTATIONS, seed=42)
    made.update(list(grams(text_of(row), NGRAM)))
    return {"signature": made.digest()}


def datasketch_signature(row: Row) -> Row:
    from datasketch import MinHash

    made = MinHash(num_perm=PERMUTATIONS)
    made.update_batch([g.encode() for g in grams(text_of(row), NGRAM)])
    return {"signature": made.hashvalues.tolist()}


# --- over all rows ----------------------------------------------------------------------------------------------------


def without_equal_rows(data: Dataset) -> Dataset:
    seen: set[tuple[str, str]] = set()
    keep = []
    pairs = zip(data["instruction"], data["response"], strict=True)
    for k, pair in enumerate(pairs):
        if pair not in seen:
            seen.add(pair)
            keep.append(k)
    return data.select(keep)


def without_near_rows(data: Dataset, signature: Callable[[Row], Row]) -> Dataset:
    signed = data.map(signature, num_proc=PROCESSES, remove_columns=data.column_names)
    texts = [f"{a}\n{b}" for a, b in zip(data["instruction"], data["response"], strict=True)]
    parent = list(range(len(texts)))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    sets: dict[int, set[str]] = {}
    for a, b in candidates(signed["signature"]):
        one, two = (sets.setdefault(k, grams(texts[k], NGRAM)) for k in (a, b))
        if len(one & two) >= THRESHOLD * len(one | two):
            low, high = sorted((root(a), root(b)))
            parent[high] = low
    return data.select([k for k in range(len(texts)) if root(k) == k])


def candidates(signatures: Iterable[list[int]]) -> list[tuple[int, int]]:
    """Pairs that share a band: each row with the first of its bucket."""
    buckets: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for k, signature in enumerate(signatures):
        for band in range(BANDS):
            buckets[(band, *signature[band * WIDTH : (band + 1) * WIDTH])].append(k)
    return sorted({(rows[0], k) for rows in buckets.values() for k in rows[1:]})


def mixed(data: Dataset) -> Dataset:
    """The largest total with these shares that repeats no row, shuffled."""
    draw = random.Random(7)
    rows: dict[str, list[int]] = defaultdict(list)
    for k, name in enumerate(data["source"]):
        rows[name].append(k)
    total = min(len(rows[name]) / share for name, share in SOURCES.items())
    chosen = [k for name, share in SOURCES.items() for k in draw.sample(rows[name], int(share * total))]
    return data.select(chosen).shuffle(seed=7)


def main(folder: Path, output: Path, near: str) -> None:
    disable_progress_bars()
    cache = str(output / "cache")
    data = concatenate_datasets(
        [
            load_dataset("json", data_files=str(folder / f"{name}.jsonl"), split="train", cache_dir=cache)
            for name in SOURCES
        ]
    )
    problems = [json.loads(line) for line in (folder / "bench.jsonl").open(encoding="utf-8")]
    texts = [p[key] for p in problems for key in ("prompt", "solution")]
    leaked = frozenset(g for t in texts if len(words(t)) >= LEAK for g in grams(t, LEAK))

    data = data.filter(sound, num_proc=PROCESSES)
    data = without_equal_rows(data)
    signature = {"rensa": rensa_signature, "datasketch": datasketch_signature}[near]
    data = without_near_rows(data, signature)
    data = data.filter(keep_clean, num_proc=PROCESSES, fn_kwargs={"leaked": leaked})
    data = data.map(rendered, num_proc=PROCESSES)
    data = mixed(data)
    data.to_parquet(str(output / "train.parquet"))
    print(json.dumps({"rows": len(data)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
