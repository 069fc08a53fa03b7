"""A dataset of the hub at one commit, from a stand-in that serves two."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alchemist_runtime.formats.records import Where
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.sources.hub import hub as read
from alchemist_runtime.sources.hub import resolve_revision
from command_line import variables
from hub_server import Hub, serve

README = b"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train.jsonl
  - split: test
    path: data/test.jsonl
- config_name: tables
  data_files:
  - split: train
    path: tables/*.parquet
---
# A set
"""


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(r).encode() + b"\n" for r in rows)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    old = {
        "README.md": README,
        "data/train.jsonl": lines({"q": "2020-01-01", "n": 1}, {"q": "b", "n": 2}, {"q": "ü", "n": None}),
        "data/test.jsonl": lines({"q": "t", "n": 9}),
        "tables/one.parquet": parquet([{"x": 1, "turns": [{"role": "user", "content": "hi"}]}]),
        "raw/more.jsonl.gz": gzip.compress(lines({"z": 1}, {"z": 2}), mtime=0),
        "picture.png": b"not fetched",
        "notes.xyz": b"?",
    }
    new = {**old, "data/train.jsonl": lines(*({"q": f"new {i}", "n": i} for i in range(5)))}
    bare = {"train-00000.parquet": parquet([{"a": "x"}])}
    prose = {"train.txt": b"one line\nanother\n"}
    repos = {"owner/set": [old, new], "owner/bare": [bare], "owner/prose": [prose]}
    with serve(Hub(repos, gated=frozenset({"owner/gated"}))) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "hf"


def ask(hub: Hub, home: Path, *questions: dict[str, Any], endpoint: str = "", **extra: str) -> list[dict[str, Any]]:
    """What is read of the hub, or said instead."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    with variables({**clean, "HF_ENDPOINT": endpoint or hub.url, "HF_HOME": str(home), **extra}):
        return [_answer(q) for q in questions]


def _answer(what: dict[str, Any]) -> dict[str, Any]:
    try:
        if "resolve" in what:
            return {"commit": resolve_revision(what["resolve"], what.get("ref"))}
        chunks = list(read(Where(Path(), (), "n"), **what))
    except RunError as e:
        p = e.problem
        return {"code": p.code, "headline": p.headline, "help": p.help, "note": p.note, "exit": e.exit_code}
    return {
        "rows": [r for c in chunks for r in c.records],
        "places": [c.place(i) for c in chunks for i in range(len(c.records))],
        "canonical": [d.decode() for c in chunks for d in c.canonical],
    }


def commit(hub: Hub, number: int, repo: str = "owner/set") -> dict[str, Any]:
    return {"repo": repo, "revision": hub.commits(repo)[number]}


def test_a_commit_is_read_and_not_what_main_stands_at(hub: Hub, home: Path) -> None:
    later, earlier = ask(hub, home, commit(hub, 1), commit(hub, 0))
    assert [r["q"] for r in later["rows"]] == [f"new {i}" for i in range(5)]
    assert earlier["rows"] == [{"q": "2020-01-01", "n": 1}, {"q": "b", "n": 2}, {"q": "ü", "n": None}]
    assert earlier["places"][1] == "owner/set/data/train.jsonl:2"
    assert earlier["canonical"][0] == '{"n":1,"q":"2020-01-01"}'
    assert not [s for s in hub.served if "png" in s]
    served = len(hub.served)
    gone = {"repo": "owner/set", "revision": "1" * 40}
    again, unknown = ask(hub, home, commit(hub, 0), gone, HF_HUB_OFFLINE="1")
    assert again == earlier
    assert len(hub.served) == served
    assert unknown["code"] == "A309"
    assert "offline" in unknown["headline"]


def test_configurations_splits_and_files(hub: Hub, home: Path) -> None:
    old = commit(hub, 0)
    both, tables, files, bare, prose = ask(
        hub,
        home,
        {**old, "split": ["train", "test"]},
        {**old, "config": "tables"},
        {**old, "files": ["raw/*.gz"]},
        commit(hub, 0, "owner/bare"),
        commit(hub, 0, "owner/prose"),
    )
    assert [r["q"] for r in both["rows"]] == ["2020-01-01", "b", "ü", "t"]
    assert tables["rows"] == [{"x": 1, "turns": [{"role": "user", "content": "hi"}]}]
    assert files["rows"] == [{"z": 1}, {"z": 2}]
    assert files["places"] == ["owner/set/raw/more.jsonl.gz:1", "owner/set/raw/more.jsonl.gz:2"]
    assert bare["rows"] == [{"a": "x"}]
    assert prose["rows"] == [{"text": "one line"}, {"text": "another"}]
    assert prose["places"] == ["owner/prose train row 1", "owner/prose train row 2"]


def test_what_is_not_there_is_said(hub: Hub, home: Path) -> None:
    old = commit(hub, 0)
    split, config, files, kind, gone, name = ask(
        hub,
        home,
        {**old, "split": ["validation"]},
        {**old, "config": "nothing"},
        {**old, "files": ["nothing/*.jsonl"]},
        {**old, "files": ["notes.xyz"]},
        {"repo": "owner/set", "revision": "2" * 40},
        {"repo": "no dataset at all", "revision": "2" * 40},
    )
    assert [a["code"] for a in (split, config, files, kind, gone, name)] == [
        "A310",
        "A310",
        "A310",
        "A303",
        "A310",
        "A310",
    ]
    assert {a["exit"] for a in (split, config, files, kind, gone, name)} == {1}
    assert split["headline"].endswith("has no split `validation`")
    assert split["help"] == "it has `train`, `test`"
    assert "tables" in config["headline"]
    assert str(home) not in config["headline"]
    assert "`nothing/*.jsonl` matches no file" in files["headline"]
    assert "notes.xyz" in kind["headline"]
    assert "has no revision `2222" in gone["headline"]


def test_who_is_refused_learns_how_to_get_in(hub: Hub, home: Path) -> None:
    closed = [{"repo": r, "revision": "3" * 40} for r in ("owner/gated", "owner/no-such-set")]
    for question, got in zip(closed, ask(hub, home, *closed), strict=True):
        assert (got["code"], got["exit"]) == ("A306", 3)
        assert got["headline"] == f"the hub refuses `{question['repo']}` (401)"
        assert "`HF_TOKEN` is not set" in got["help"]
    (got,) = ask(hub, home, closed[0], HF_TOKEN="hf_secret_value")
    assert "not set" not in got["help"]
    assert "hf_secret_value" not in json.dumps(got)


@pytest.mark.slow  # the client library tries for some twenty seconds
def test_a_hub_that_does_not_answer(hub: Hub, home: Path) -> None:
    (got,) = ask(hub, home, {"repo": "owner/set", "revision": "4" * 40}, endpoint="http://127.0.0.1:9")
    assert (got["code"], got["exit"]) == ("A309", 3)
    assert "http://127.0.0.1:9 does not answer" in got["headline"]


def test_branches_stand_at_a_commit(hub: Hub, home: Path) -> None:
    questions = [
        {"resolve": "owner/set"},
        {"resolve": "owner/set", "ref": "main"},
        {"resolve": "owner/set", "ref": "nowhere"},
        {"resolve": "owner/gated"},
    ]
    none, main, nowhere, gated = ask(hub, home, *questions)
    assert none == main == {"commit": hub.commits("owner/set")[1]}
    assert nowhere["code"] == "A310"
    assert gated["code"] == "A306"
