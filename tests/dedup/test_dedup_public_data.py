"""Near duplicates and leaks in public data sets, with planted ones, against brute force."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from alchemist_runtime.operators import words as _words
from alchemist_runtime.operators.leaks import Items
from alchemist_runtime.schema import catalog

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = pytest.mark.needs("data")
WORD = re.compile(r"\w+")


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    words = WORD.findall(text.lower())
    return {tuple(words[i : i + n]) for i in range(max(len(words) - n + 1, 1))} if words else set()


def shingles(text: str, n: int) -> set[int]:
    """The n-grams of words with their operators, whose hashes `test_dedup_words.py` holds."""
    words = _words.split(_words.blocks([pa.array([text])])[0].texts())
    return set(_words.shingles(replace(words, hashes=_words.with_operators(words)), n)[0].tolist())


def instructions(name: str, answer: str) -> list[tuple[str, str]]:
    rows = json.loads((DATA / name).read_text(encoding="utf-8"))
    return [(f"{r['instruction']}\n{r['input']}", r[answer]) for r in rows]


def near_pairs(texts: list[str], n: int, low: float) -> dict[tuple[int, int], float]:
    """All pairs at Jaccard >= low, by counting shared n-grams."""
    sets = [shingles(t, n) for t in texts]
    rows = defaultdict(list)
    for k, found in enumerate(sets):
        for gram in found:
            rows[gram].append(k)
    shared: Counter[tuple[int, int]] = Counter()
    for some in rows.values():
        shared.update((a, b) for i, a in enumerate(some) for b in some[i + 1 :])
    out = {}
    for (a, b), count in shared.items():
        value = count / (len(sets[a]) + len(sets[b]) - count)
        if value >= low:
            out[a, b] = value
    return out


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_near_duplicates(threshold):
    draw = random.Random(5)
    rows = instructions("codealpaca_2k.json", "output")
    for instruction, answer in draw.sample(rows, 400):
        words = instruction.split(" ")
        for _ in range(draw.randrange(3)):
            words[draw.randrange(len(words))] = draw.choice(["each", "given", "value"])
        rows.append((" ".join(words), answer))
    texts = [f"{a}\n{b}" for a, b in rows]
    ids = np.array([[draw.getrandbits(64), k] for k in range(len(rows))], np.uint64)
    columns = [pa.array(c) for c in zip(*rows, strict=True)]
    made = catalog.find("dedup", "minhash").function(columns, ids, ngram=3, threshold=threshold)
    near = near_pairs(texts, 3, threshold)
    sure = [p for p, value in near.items() if value >= threshold + 0.05]
    assert len(sure) > 200
    assert sum(made.labels[a] == made.labels[b] for a, b in sure) >= 0.97 * len(sure)
    for row, label in enumerate(made.labels.tolist()):
        others = np.flatnonzero(made.labels == label)
        assert row == label or any((min(row, k), max(row, k)) in near for k in others.tolist())


def test_leaks_of_humaneval():
    with gzip.open(DATA / "humaneval.jsonl.gz", "rt", encoding="utf-8") as lines:
        problems = [json.loads(line) for line in lines]
    rows = instructions("gpteacher_codegen.json", "response")
    planted = {}
    for k, problem in enumerate(problems[::4]):
        at = 17 * k
        planted[at] = problem["task_id"]
        rows[at] = (rows[at][0], f"{rows[at][1]}\n\n{problem['prompt'].upper()}")
    items = Items(
        [[p["prompt"], p["canonical_solution"]] for p in problems],
        [p["task_id"] for p in problems],
        ["humaneval"] * len(problems),
    )
    columns = [pa.array(c) for c in zip(*rows, strict=True)]
    made = catalog.find("decontaminate", "ngram").function(columns, items, n=10)
    wanted = set()
    for texts in items.texts:
        wanted |= {g for t in texts for g in grams(t, 10) if len(g) == 10}
    want = [k for k, row in enumerate(rows) if any(grams(t, 10) & wanted for t in row)]
    assert made.row.tolist() == want
    named = dict(zip(made.row.tolist(), (items.names[k] for k in made.item), strict=True))
    assert planted.items() <= named.items()
    for row, match in zip(made.row.tolist(), made.match, strict=True):
        assert any(match in text for text in rows[row])
        assert grams(match, 10) & wanted
