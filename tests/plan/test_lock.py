"""`recipe.lock`: a round trip, one fact a line, and what compiling reads from it and adds to it."""

from __future__ import annotations

import os
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.project import lockfile as locks
from alchemist_dsl.project.facts_on_disk import FileCache, column_types, merged
from alchemist_dsl.project.lockfile import Lock, LockError, dumps, loads
from alchemist_dsl.project.workspace import add_facts, record_figures

scalars = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20), st.floats(allow_nan=False))
values = st.recursive(
    scalars,
    lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(st.text(max_size=8), v, max_size=3)),
    max_leaves=6,
)
facts = st.dictionaries(
    st.text(min_size=1, max_size=20),
    st.dictionaries(st.text(min_size=1, max_size=10), values, max_size=4),
    min_size=1,
    max_size=4,
)


@given(st.dictionaries(st.text(min_size=1, max_size=10).filter(lambda s: s != "version"), facts, max_size=4))
def test_round_trip(sections):
    text = dumps(Lock(sections))
    found = loads(text)
    assert found.sections == {k: v for k, v in sections.items() if v}
    assert dumps(found) == text


def test_one_fact_a_line_sorted():
    lock = Lock().with_facts("files", {"b": {"digest": "2"}, "a": {"rows": 3, "digest": "1"}})
    lines = dumps(lock).splitlines()
    assert lines[-2:] == ['"a" = { digest = "1", rows = 3 }', '"b" = { digest = "2" }']
    tomllib.loads(dumps(lock))


def test_what_a_newer_program_wrote_survives():
    text = 'version = 1\nlater = "x"\n\n[files]\n"a" = { digest = "1", licence = "MIT" }\n\n[unheard_of]\n"b" = { c = [1, { d = true }] }\n'
    lock = loads(text).with_facts("files", {"a": {"digest": "2"}})
    assert loads(dumps(lock)).fact("files", "a") == {"digest": "2", "licence": "MIT"}
    assert loads(dumps(lock)).fact("unheard_of", "b") == {"c": [1, {"d": True}]}
    assert loads(dumps(lock)).extra == {"later": "x"}


@pytest.mark.parametrize("text", ["version = 99\n", "<<<<<<< ours\nversion = 1\n", "[files\n", 'version = "one"\n'])
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(LockError):
        loads(text)


def test_a_broken_lock_is_an_error_of_the_recipe_not_a_traceback(work, slice_):
    (work.root / "recipe.lock").write_text("<<<<<<< ours\n")
    made = work.compile(slice_)
    assert made.plan is None and [d.code for d in made.diagnostics if d.code == "A908"] == ["A908"]


# --- files ------------------------------------------------------------------------------------------------------------


def test_compiling_adds_facts_and_never_changes_one(work, slice_):
    add_facts(work.compile(slice_))
    text = (work.root / "recipe.lock").read_text()
    fact = loads(text).fact("files", "data/a.jsonl")
    assert fact is not None and fact["rows"] == 40 and fact["columns"] == {"instruction": "text", "response": "text"}
    with (work.root / "data/a.jsonl").open("a") as file:
        file.write('{"instruction": "x", "response": "y"}\n')
    made = work.compile()
    add_facts(made)
    assert (work.root / "recipe.lock").read_text() == text
    assert [(c.section, c.resource, c.kind) for c in made.resources.changes] == [("files", "data/a.jsonl", "changed")]
    add_facts(made, changed=True)
    assert loads((work.root / "recipe.lock").read_text()).fact("files", "data/a.jsonl")["rows"] == 41


def test_locked_refuses_what_differs(work, slice_):
    made = work.compile(slice_, locked=True)
    assert made.plan is None and [(d.code, d.headline) for d in made.diagnostics] == [
        ("A908", "file `data/a.jsonl` is not in recipe.lock"),
        ("A908", "source `given` of r.recipe is not in recipe.lock"),
    ]
    add_facts(work.compile(slice_))
    assert work.compile(locked=True).diagnostics == ()
    with (work.root / "data/a.jsonl").open("a") as file:
        file.write("{}\n")
    made = work.compile(locked=True)
    file, source = made.diagnostics
    assert made.plan is None
    assert file.headline == "file `data/a.jsonl` differs from recipe.lock: rows 40 → 41 (+1)"
    assert "column `response` text → text?" in (file.note or "")
    assert "content" in (file.note or "")
    assert source.headline == "source `given` of r.recipe differs from recipe.lock: column `instruction` text → text?"


def test_without_the_files_the_lock_speaks_for_them(work, slice_):
    before = work.keys(slice_)
    add_facts(work.compile())
    (work.root / "data/a.jsonl").unlink()
    made = work.compile()
    assert made.plan is not None and {n.id: n.key for n in made.plan.nodes} == before
    assert made.plan.node("given").estimate["rows"].value == "40"


def test_digests_are_cached_by_stamp_and_only_once_settled(tmp_path, monkeypatch):
    file = tmp_path / "x.jsonl"
    file.write_text("{}\n")
    hashed: list[Path] = []
    monkeypatch.setattr("alchemist_dsl.project.facts_on_disk.file_digest", lambda f: hashed.append(f) or "b2:0")

    def look() -> int:
        cache = FileCache(tmp_path / "cache")
        cache.get(file)
        cache.save()
        return len(hashed)

    assert (look(), look()) == (1, 2)  # written a moment ago: it may change again unseen
    old = time.time_ns() - 10 * 10**9
    os.utime(file, ns=(old, old))
    monkeypatch.setattr("alchemist_dsl.project.facts_on_disk.SETTLED_NS", -(10**12))  # ctime cannot be set back
    assert (look(), look()) == (3, 3)
    assert FileCache(tmp_path / "cache", again=True).get(file)["digest"] == "b2:0" and len(hashed) == 4
    file.write_text("{}\n{}\n")
    assert look() == 5


def test_a_damaged_cache_is_made_anew(work, slice_):
    work.plan(slice_)
    (work.root / ".alchemist/files").write_text("{broken")
    assert work.plan(slice_)


def test_columns_from_the_first_records():
    records = [
        {
            "a": "x",
            "b": 1,
            "c": 1,
            "d": True,
            "e": ["x"],
            "f": [{"role": "user", "content": "x"}],
            "g": {"h": 1},
            "n": None,
        },
        {
            "a": "y",
            "b": 2,
            "c": 1.5,
            "d": None,
            "e": ["y"],
            "f": [{"role": "user", "content": "x"}],
            "g": "x",
            "n": None,
        },
    ]
    assert column_types(records) == {
        "a": "text",
        "b": "int",
        "c": "real",
        "d": "bool?",
        "e": "list<text>",
        "f": "messages",
        "g": "json",
        "n": "json?",
    }


def test_columns_of_several_files_together():
    assert merged([{"a": "text", "b": "int"}, {"a": "text", "b": "text"}]) == {"a": "text", "b": "json"}
    assert merged([{"a": "text"}, {}]) == {"a": "text?"}
    assert merged([{"a": "text"}, None]) is None


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "jsonl.gz", "parquet"])
def test_every_format_is_counted_and_its_columns_are_known(work, slice_, ending):
    import gzip
    import json

    rows = [{"instruction": f"i{i}", "response": "a long enough response"} for i in range(7)]
    path = work.root / f"data/x.{ending}"
    match ending:
        case "jsonl":
            path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        case "jsonl.gz":
            path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
        case "json":
            path.write_text(json.dumps(rows))
        case "csv":
            path.write_text("instruction,response\n" + "".join(f"{r['instruction']},{r['response']}\n" for r in rows))
        case _:
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(rows), path)
    node = work.node("given", slice_.replace("data/a.jsonl", f"data/x.{ending}"))
    assert node.estimate["rows"].value == "7" and node.estimate["rows"].basis == "exact"
    assert node.spec.columns == {"instruction": "text", "response": "text"}


def test_a_missing_column_is_found_before_the_run(work, slice_):
    made = work.compile(slice_.replace("data/a.jsonl", "data/b.jsonl"))
    assert made.plan is None and [d.code for d in made.diagnostics] == ["A304"]


# --- packages, hub ----------------------------------------------------------------------------------------------------


def test_packages_count_by_their_files(work, slice_):
    plan = work.plan(slice_.replace('files = "data/a.jsonl"', 'python = "json"'))
    assert plan.node("given").spec.reader.args == {"modules": ["json"], "doctests": False}
    assert any(path == "module.json" for path in work.compile().ingredients["given"])


def test_a_package_that_is_not_installed(work, slice_):
    made = work.compile(slice_.replace('files = "data/a.jsonl"', 'python = "no_such_package_here"'))
    assert made.plan is None and [d.code for d in made.diagnostics] == ["A311"]


def test_the_lock_pins_a_hub_source(work, slice_):
    text = slice_.replace('files = "data/a.jsonl"', 'hub = "owner/name"')
    free = work.keys(text)
    (work.root / "recipe.lock").write_text(f'version = 1\n[hub]\n"owner/name" = {{ revision = "{"a" * 40}" }}\n')
    node = work.node("given")
    assert node.spec.reader.args["revision"] == "a" * 40 and node.key != free["given"]


def test_a_run_asks_the_hub_once_and_remembers(work, slice_, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(
        "alchemist_runtime.sources.hub.facts",
        lambda repo, ref=None: asked.append(repo) or {"revision": "b" * 40, "license": "mit"},
    )
    text = slice_.replace('files = "data/a.jsonl"', 'hub = "owner/name"')
    made = work.compile(text, pin=True)
    assert made.plan.node("given").spec.reader.args["revision"] == "b" * 40
    add_facts(made)
    assert work.compile(pin=True).plan == made.plan and asked == ["owner/name"]


# --- models -----------------------------------------------------------------------------------------------------------

TRAINED = """
train tuned {
  data = sft
  base = "owner/base"
  batch = 4 packs
  max_length = 128 tokens
  learning_rate = 1e-3
  epochs = 1
}
"""


def test_a_run_pins_the_base_of_a_training_and_the_pin_is_part_of_its_key(work, slice_, monkeypatch):
    asked: list[tuple[str, str | None]] = []

    def facts(name: str, ref: str | None, *, kind: str) -> dict[str, str]:
        asked.append((name, ref))
        return {"revision": "d" * 40, "license": "mit"}

    monkeypatch.setattr("alchemist_runtime.sources.hub.facts", facts)
    free = work.keys(slice_ + TRAINED)
    assert not asked  # compiling asks nobody
    made = work.compile(pin=True)
    assert made.plan.node("tuned").spec.revision == "d" * 40
    assert made.ingredients["tuned"]["revision"] == "d" * 40
    add_facts(made)
    assert asked == [("owner/base", None)]
    pinned = work.keys()
    assert pinned["tuned"] != free["tuned"] and pinned["sft"] == free["sft"]
    assert work.compile(locked=True).plan is not None and len(asked) == 1


def test_a_base_with_a_commit_of_its_own_moves_no_key(work, slice_, monkeypatch):
    text = slice_ + TRAINED.replace("  batch", f'  revision = "{"e" * 40}"\n  batch')
    before = work.keys(text)
    made = work.compile(pin=True)
    assert {n.id: n.key for n in made.plan.nodes} == before
    assert "revision" not in made.ingredients["tuned"]
    assert made.plan.node("tuned").spec.revision == "e" * 40


@pytest.mark.parametrize("cached", [None, "f" * 40])
def test_without_the_hub_the_cache_tells_what_a_run_would_load(work, slice_, monkeypatch, cached):
    from alchemist_runtime.schema.codes import Problem, RunError

    def facts(*_: object, **__: object) -> dict[str, str]:
        raise RunError(Problem("A309", "no answer"))

    monkeypatch.setattr("alchemist_runtime.sources.hub.facts", facts)
    monkeypatch.setattr("alchemist_runtime.sources.hub.cached_model", lambda name, ref: cached)
    made = work.compile(slice_ + TRAINED, pin=True)
    assert made.plan.node("tuned").spec.revision == cached


def test_a_tokenizer_is_pinned_and_its_pin_is_part_of_the_keys_that_count(work, slice_, monkeypatch):
    def facts(name: str, ref: str | None, *, kind: str) -> dict[str, str]:
        assert (name, ref, kind) == ("owner/words", None, "model")
        return {"revision": "9" * 40, "license": ""}

    monkeypatch.setattr("alchemist_runtime.sources.hub.facts", facts)
    text = slice_.replace("source given", 'recipe {\n  tokenizer = "owner/words"\n}\nsource given')
    text = text.replace("unit = rows", "unit = tokens")
    free = work.keys(text)
    add_facts(work.compile(pin=True))
    lock = loads((work.root / "recipe.lock").read_text())
    assert lock.fact("tokenizers", "owner/words") == {"revision": "9" * 40, "license": ""}
    assert work.node("sft").spec.tokenizer == {"name": "owner/words", "revision": "9" * 40}
    pinned = work.keys()
    assert pinned["sft"] != free["sft"] and pinned["clean"] == free["clean"]


def test_a_base_in_the_project_is_a_file_of_the_lock(work, slice_):
    (work.root / "owner/base").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (work.root / "owner/base" / name).write_text("{}")
    add_facts(work.compile(slice_ + TRAINED))
    lock = loads((work.root / "recipe.lock").read_text())
    assert "models" not in lock.sections and "owner/base" in lock.sections["files"]
    (work.root / "owner/base/config.json").write_text("{ }")
    made = work.compile(locked=True)
    assert [d.code for d in made.diagnostics if d.code == "A908"] == ["A908"]
    assert "file `owner/base` differs from recipe.lock: content" in made.diagnostics[0].headline


# --- figures of a run -------------------------------------------------------------------------------------------------


def finish(work, plan, name: str, *, rows: int, **figures: object) -> None:
    """A finished step, as the engine leaves one."""
    from alchemist_runtime.schema.sealed import seal

    key = plan.node(name).key.removeprefix("b2:")
    folder = work.root / ".alchemist/store" / key
    folder.mkdir(parents=True)
    port = {"rows": rows, "per_origin": {"given": rows}, "columns": {}, "parts": [], "digest": "b2:"}
    ports = {"rows": port}
    (folder / "manifest.json").write_bytes(seal({"format": 1, "key": key, "ports": ports, "figures": figures}))


def test_what_a_run_measured_is_what_the_next_plan_expects(work, slice_):
    made = work.compile(slice_)
    finish(work, made.plan, "clean", rows=33, dropped={"too_short": 7})
    record_figures(made)
    again = work.plan()
    estimate = again.node("clean").estimate["rows"]
    assert (estimate.value, estimate.basis) == ("33", "last_run")
    assert again.node("sft").estimate["rows"].value == "33"
    changed = work.plan(slice_.replace("< 10", "< 12"))
    assert changed.node("clean").estimate["rows"].basis == "declared"


def test_figures_of_an_older_key_leave_the_lock(work, slice_):
    made = work.compile(slice_)
    finish(work, made.plan, "clean", rows=33)
    record_figures(made)
    made = work.compile(slice_.replace("< 10", "< 12"))
    finish(work, made.plan, "clean", rows=30)
    record_figures(made)
    section = loads((work.root / "recipe.lock").read_text()).sections[locks.MEASURED]
    assert list(section) == [made.plan.node("clean").key]


def test_a_run_with_a_limit_leaves_no_figures(work, slice_):
    made = work.compile(slice_, limit=3)
    finish(work, made.plan, "clean", rows=2)
    made.after_run()
    assert locks.MEASURED not in loads((work.root / "recipe.lock").read_text()).sections


def test_a_source_that_is_missing_has_no_rows(work, slice_):
    plan = work.plan(slice_.replace('files = "data/a.jsonl"', 'missing = "gone"'))
    assert plan.node("given").estimate["rows"].value == "0"


def test_a_file_that_could_not_be_read_once_is_looked_at_again(work, slice_, monkeypatch):
    """Columns decide keys: what nobody saw for a moment must not be remembered as if there were none."""
    import errno

    from alchemist_runtime.formats import files

    before = work.keys(slice_)
    (work.root / ".alchemist/files").unlink(missing_ok=True)
    with monkeypatch.context() as patch:

        def busy(path: Path) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        patch.setattr(files, "open_bytes", busy)
        work.compile()
    made = work.compile()
    assert made.plan is not None and {n.id: n.key for n in made.plan.nodes} == before
    assert made.plan.node("given").estimate["rows"].value == "40"
