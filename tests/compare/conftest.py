"""A small project for a test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from trials import Trial


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    for name, n in (("web", 40), ("book", 20)):
        lines = [
            {
                "instruction": f"Tell me about {name} number {i}",
                "response": f"{name} {i} says " + "word " * (i % 10),
                "lang": "en",
            }
            for i in range(n)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    return Trial(tmp_path)
