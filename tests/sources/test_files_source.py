"""Local files of every format become the same records; what cannot be read is named with its place."""

from __future__ import annotations

import datetime
import decimal
import gzip
import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alchemist_runtime.formats.files import format_of
from alchemist_runtime.formats.records import Bad, Chunk, Identities, Where, canonical
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.sources.files import files

RECORDS: list[dict[str, Any]] = [
    {"q": "ü\n{{ x }}", "n": 1, "tags": ["a", "b"], "meta": {"k": None}},
    {"q": "", "n": None, "tags": [], "meta": {"k": "v"}},
]


def read(tmp_path: Path, name: str, format_: str | None = None, digest: str = "") -> list[Chunk]:
    entry = {"path": name, "format": format_ or format_of(name) or "", "digest": digest}
    return list(files(Where(tmp_path, (entry,), "node")))


def records(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [r for c in chunks for r in c.records]


def bad(chunks: list[Chunk]) -> list[Bad]:
    return [b for c in chunks for b in c.bad]


def as_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(r, ensure_ascii=False).encode() + b"\n" for r in rows)


def as_table(rows: list[dict[str, Any]], write: Callable[[pa.Table, Any], None]) -> bytes:
    sink = pa.BufferOutputStream()
    write(pa.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue().to_pybytes())


def stream(table: pa.Table, sink: Any) -> None:
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def arrow(table: pa.Table, sink: Any) -> None:
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


WRITTEN: dict[str, bytes] = {
    "a.jsonl": as_lines(RECORDS),
    "bom.jsonl": b"\xef\xbb\xbf" + as_lines(RECORDS).replace(b"\n", b"\r\n"),
    "blank.jsonl": b"\n" + as_lines(RECORDS).replace(b"}\n{", b"}\n\n  \n{").rstrip(b"\n"),
    "a.json": json.dumps(RECORDS, indent=1).encode(),
    "inside.json": json.dumps({"version": 2, "data": RECORDS}).encode(),
    "lines.json": as_lines(RECORDS),
    "a.parquet": as_table(RECORDS, pq.write_table),
    "a.arrow": as_table(RECORDS, arrow),
    "stream.arrow": as_table(RECORDS, stream),
    "a.jsonl.gz": gzip.compress(as_lines(RECORDS)),
    "a.jsonl.zst": pa.compress(as_lines(RECORDS), codec="zstd", asbytes=True),
    "a.json.zst": pa.compress(json.dumps(RECORDS).encode(), codec="zstd", asbytes=True),
    "a.parquet.gz": gzip.compress(as_table(RECORDS, pq.write_table)),
}


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_every_format_gives_the_same_records(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(WRITTEN[name])
    chunks = read(tmp_path, name)
    assert records(chunks) == RECORDS
    assert [d for c in chunks for d in c.canonical] == [canonical(r) for r in RECORDS]
    assert not bad(chunks)


def test_csv_and_tsv_hold_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbfq,n\r\n"a, ""b""\nc",1\r\n,\r\n')
    assert records(read(tmp_path, "a.csv")) == [{"q": 'a, "b"\nc', "n": "1"}, {"q": "", "n": ""}]
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(b"q\tn\nx\t1\n"))
    assert records(read(tmp_path, "a.tsv.gz")) == [{"q": "x", "n": "1"}]
    (tmp_path / "short.csv").write_bytes(b"q,n\na\nb,2\n")
    (refused,) = bad(read(tmp_path, "short.csv"))
    assert (refused.place, refused.reason) == ("short.csv:2", "1 fields where the header has 2")
    (tmp_path / "twice.csv").write_bytes(b"q,n,q\n1,2,3\n")
    with pytest.raises(RunError, match="two columns are called `q`"):
        read(tmp_path, "twice.csv")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("q;n\na, b;1\n", {"q": "a, b", "n": "1"}),
        ("q\tn\na;b\t1\n", {"q": "a;b", "n": "1"}),
        ("q,n\na;b,1\n", {"q": "a;b", "n": "1"}),
        ("q;a, short\nwhat;1\n", {"q": "what", "a, short": "1"}),
        ('"q;x",n\na,"1;2;3"\n', {"q;x": "a", "n": "1;2;3"}),
        ("q\na; b\n", {"q": "a; b"}),
        ('q;n\n"a\n;b";"1"\n', {"q": "a\n;b", "n": "1"}),
    ],
)
def test_what_stands_between_the_fields_of_csv_is_seen(tmp_path: Path, content: str, wanted: dict[str, str]) -> None:
    (tmp_path / "a.csv").write_text(content)
    assert records(read(tmp_path, "a.csv")) == [wanted]


def remarks(chunks: list[Chunk]) -> list[tuple[str, str, str]]:
    return [(r.kind, r.place, r.name) for c in chunks for r in c.remarks]


def test_keys_that_an_object_has_twice_are_told(tmp_path: Path) -> None:
    lines = [
        b'{"a": "x\\\\", "b": "\\u0022\\u005c", "c": {"d": "}"}}',
        b'{"a": 1, "b": {"c": 1, "d": 2, "c": 3}}',
        b'{"a": 1, "a": 1, "a": 2}',
        b'{"a": "\\"a\\": 1"}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    found = read(tmp_path, "a.jsonl")
    assert records(found)[1:3] == [{"a": 1, "b": {"c": 3, "d": 2}}, {"a": 2}]
    assert remarks(found) == [("key-twice", "a.jsonl:2", "c"), ("key-twice", "a.jsonl:3", "a")]
    (tmp_path / "a.json").write_bytes(b"[" + b",".join(lines) + b"]")
    assert remarks(read(tmp_path, "a.json")) == [("key-twice", "a.json", "c"), ("key-twice", "a.json", "a")]


def test_members_beside_the_list_that_is_read_are_told(tmp_path: Path) -> None:
    whole = {"version": 2, "data": RECORDS, "labels": ["a"]}
    (tmp_path / "a.json").write_text(json.dumps(whole))
    found = read(tmp_path, "a.json")
    assert records(found) == RECORDS
    assert remarks(found) == [("unread-member", "a.json", "version"), ("unread-member", "a.json", "labels")]


def test_typed_values_become_json(tmp_path: Path) -> None:
    row = {
        "day": datetime.date(2026, 1, 2),
        "at": datetime.datetime(2026, 1, 2, 3, 4, 5),
        "price": decimal.Decimal("1.20"),
        "raw": b"\x00\xff",
        "score": math.nan,
        "parts": [1.5, math.nan],
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    (got,) = records(read(tmp_path, "a.parquet"))
    assert got == {
        "day": "2026-01-02",
        "at": "2026-01-02T03:04:05",
        "price": "1.20",
        "raw": "AP8=",
        "score": None,
        "parts": [1.5, None],
    }


def test_bad_records_are_named_and_the_others_read(tmp_path: Path) -> None:
    lines = [
        b'{"a": 1}',
        b'{"a": ',
        b"[1, 2]",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"null",
        b'{"a": 2}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    chunks = read(tmp_path, "a.jsonl")
    assert records(chunks) == [{"a": 1}, {"a": 2}]
    assert [chunks[0].place(i) for i in range(2)] == ["a.jsonl:1", "a.jsonl:9"]
    found = {b.place: b.reason for b in bad(chunks)}
    assert list(found) == [f"a.jsonl:{n}" for n in range(2, 9)]
    assert found["a.jsonl:2"].startswith("not JSON: ")
    assert found["a.jsonl:3"] == "a list, not an object with named columns"
    assert found["a.jsonl:4"] == "NaN is no JSON value"
    assert "too large" in found["a.jsonl:5"]
    assert "surrogate" in found["a.jsonl:6"]
    assert found["a.jsonl:7"] == "not UTF-8 at byte 8 of the record"
    assert found["a.jsonl:8"] == "a null, not an object with named columns"
    assert [b.raw for b in bad(chunks)][:2] == ['{"a":', "[1, 2]"]
    (tmp_path / "a.json").write_text('[{"a": 1}, 3, {"a": 2}]')
    (refused,) = bad(read(tmp_path, "a.json"))
    assert (refused.place, refused.raw) == ("a.json item 2", "3")


def test_whole_numbers_keep_their_digits(tmp_path: Path) -> None:
    big = 123456789012345678901234567890
    for name in ("a.jsonl", "a.json"):
        (tmp_path / name).write_text(
            f'[{{"n": {big}}}]' if name == "a.json" else f'{{"n": {big}}}\n{{"n": [-{big}]}}\n'
        )
        got = read(tmp_path, name)
        assert records(got)[0] == {"n": big}
        assert got[0].canonical[0] == b'{"n":%d}' % big


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b'{"a": [', "not JSON"),
        ("a.json", b'{"a": [{"x": 1}], "b": [{"y": 1}]}', "several lists"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 500, mtime=0)[:-20], "Compressed file ended"),
        ("a.jsonl.gz", b"not gzip at all", "gzip"),
        ("a.jsonl.zst", b"not zstd at all", "zst"),
        ("a.parquet", b"PAR1 not parquet", "arquet"),
        ("a.arrow", b"ARROW1 not arrow", ""),
        ("a.csv", b"q\n\xff\n", "utf-8"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError) as caught:
        read(tmp_path, name)
    problem = caught.value.problem
    assert problem.code == "A312"
    assert problem.headline.startswith(f"`{name}` cannot be read")
    assert says.lower() in problem.headline.lower()


def test_a_file_that_is_gone_or_changed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        read(tmp_path, "gone.jsonl")
    assert (caught.value.problem.code, caught.value.problem.place) == ("A312", "gone.jsonl")
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n')
    digest = "b2:" + hashlib.blake2b(b'{"a": 1}\n', digest_size=32).hexdigest()
    assert records(read(tmp_path, "a.jsonl", digest=digest)) == [{"a": 1}]
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 2}\n')
    with pytest.raises(RunError) as caught:
        read(tmp_path, "a.jsonl", digest=digest)
    assert (caught.value.problem.code, caught.value.problem.node) == ("A913", "node")


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("a.JSONL", "jsonl"),
        ("x/a.ndjson.gz", "jsonl"),
        ("a.tsv", "csv"),
        ("a.feather", "arrow"),
        ("a.txt", None),
        ("jsonl", None),
        ("a.gz", None),
    ],
)
def test_names_tell_the_format(name: str, want: str | None) -> None:
    assert format_of(name) == want


def test_identity_is_the_record_its_salt_and_its_number_among_equals() -> None:
    a, b = canonical({"x": 1, "y": "ü"}), canonical({"x": 2})
    assert a == canonical({"y": "ü", "x": 1})
    ids = Identities("s").of([a, b, a, a])
    assert len(set(ids)) == 4
    assert all(len(i) == 16 for i in ids)
    assert Identities("s").of([b, a]) == [ids[1], ids[0]]
    split = Identities("s")
    assert [*split.of([a, b]), *split.of([a, a])] == ids  # batches make no difference
    assert Identities("t").of([a]) != [ids[0]]


def rewritten(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))


def rewritten_in_secret(path: Path) -> None:
    """Other bytes of equal size, and the time put back."""
    stat = path.stat()
    rewritten(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def there_and_back(path: Path) -> None:
    before = path.read_bytes()
    rewritten(path)
    path.write_bytes(before)


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("change", [rewritten, rewritten_in_secret, replaced, there_and_back])
def test_a_file_that_changes_while_it_is_read(
    change: Callable[[Path], None], settled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was parsed may be of neither version: it is not recorded under the digest of one of them."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 1}\n' * 20_000)
    if settled:
        os.utime(path, (1, 1))
        monkeypatch.setattr("alchemist_runtime.sources.files.SETTLED_NS", -(10**18))
    found = files(Where(tmp_path, ({"path": "a.jsonl", "format": "jsonl"},), "a"))
    next(found)
    change(path)
    with pytest.raises(RunError, match="changed while it was read") as e:
        list(found)
    assert e.value.problem.code == "A913" and e.value.problem.help


def test_a_file_that_nobody_touches_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n' * 20_000)
    where = Where(tmp_path, ({"path": "a.jsonl", "format": "jsonl"},), "a")
    assert sum(len(c.records) for c in files(where)) == 20_000
