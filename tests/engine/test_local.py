"""The engine over hand-built plans: what exists is not made again, a crash loses nothing, bad input is named."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alchemist_runtime.engine import local
from alchemist_runtime.engine.context import Context
from alchemist_runtime.engine.local import run
from alchemist_runtime.schema import plan as p
from alchemist_runtime.schema.codes import RunError
from engine_plans import call, col, edge, jsonl, lit, make_plan, source
from killing import ended

Make = Callable[..., Context]

GO = """
import json
from pathlib import Path
from alchemist_runtime.engine import dedup_steps, export_step, filter_map, mixture_rows
from alchemist_runtime.engine.context import Context
from alchemist_runtime.engine.local import run
from alchemist_runtime.schema.plan import Plan, from_json
from alchemist_runtime.storage.store import Store
def go():
    root = Path.cwd()
    plan = from_json(Plan, json.loads((root / "plan.json").read_text()))
    run(Context(plan, root, root / ".alchemist", Store(root / ".alchemist")))
"""


def rows(n: int, tag: str = "a") -> list[dict[str, Any]]:
    return [
        {"instruction": f"Say the number {i} of {tag}", "response": f"{tag} {i} " + "word " * (i % 7), "n": i}
        for i in range(n)
    ]


def small_plan(**export: Any) -> p.Plan:
    short = p.Rule(
        verb="drop",
        name="short",
        text="chars(response) < 12",
        expr=["cmp", "<", call("chars", x=col("response")), lit(12)],
    )
    seven = p.Rule(verb="keep", name="low", text="n < 50", expr=["cmp", "<", col("n"), lit(50)])
    shout = p.SetColumn(column="instruction", type="text", expr=["cat", col("instruction"), ["lit", "text", "!"]])
    return make_plan(
        [
            ("a", [], source("a", "a.jsonl")),
            ("b", [], source("b", "b.jsonl")),
            ("clean", [edge("a"), edge("b")], p.FilterSpec(rules=[short, seven])),
            (
                "loud",
                [edge("clean")],
                p.MapSpec(sets=[shout], select=p.Select(fraction="1/2", salt="loud"), mode="add", salt="loud"),
            ),
            (
                "pool",
                [edge("loud")],
                p.DedupSpec(on=[col("response"), col("instruction")], method=p.Method(name="exact")),
            ),
            (
                "sft",
                [edge("pool", role="take.pool"), edge("clean", port="dropped", role="take.dropped")],
                p.MixtureSpec(
                    unit="rows",
                    take=[
                        p.Take(name="pool", edge=0, amount="all"),
                        p.Take(name="dropped", edge=1, amount="share", value="1/10"),
                    ],
                    salt="sft",
                    on_short="shrink",
                ),
            ),
            ("out", [edge("sft", role="data")], p.ExportSpec(path="made/set", **export)),
        ]
    )


def write_sources(root: Path, n: int = 60) -> None:
    jsonl(root / "a.jsonl", rows(n))
    jsonl(root / "b.jsonl", rows(n, "b"))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(folder.rglob("*"))
        if f.is_file()
    }


def test_a_second_run_does_nothing(tmp_path: Path, context: Make) -> None:
    write_sources(tmp_path)
    plan = small_plan()
    first = run(context(plan))
    assert [d.action for d in first.done] == ["built"] * 7
    before = digests(tmp_path / "made")
    second = run(context(plan))
    assert {d.action for d in second.done} == {"reused"}
    assert digests(tmp_path / "made") == before
    records = [json.loads(line) for line in (tmp_path / ".alchemist/runs.jsonl").read_text().splitlines()]
    assert len(records) == 2 and set(records[0]["nodes"]) == {"a", "b", "clean", "loud", "pool", "sft", "out"}


def test_every_row_is_accounted_for(tmp_path: Path, context: Make) -> None:
    write_sources(tmp_path)
    ctx = context(small_plan())
    result = run(ctx)
    figures = {d.node: d for d in result.done}
    clean = figures["clean"]
    assert clean.figures["rows_in"] == 120
    assert clean.rows is not None
    assert clean.rows + sum(clean.figures["dropped"].values()) == 120
    dropped = ctx.open("clean", "dropped").table(["_id", "rule", "reason", "response", "n"]).to_pylist()
    assert len(dropped) == sum(clean.figures["dropped"].values())
    assert all(len(r["response"]) < 12 for r in dropped if r["rule"] == "short")
    assert all(r["n"] >= 50 for r in dropped if r["rule"] == "low")
    loud = ctx.open("loud").table(["_id", "_parent", "_root", "made_by", "instruction", "origin"]).to_pylist()
    made = [r for r in loud if r["made_by"] == "loud"]
    known = {r["_id"]: r for r in loud if r["made_by"] != "loud"}
    assert made and len({r["_id"] for r in loud}) == len(loud)
    for row in made:
        parent = known[row["_parent"]]
        assert row["instruction"] == parent["instruction"] + "!"
        assert row["_root"] == parent["_root"] and row["origin"] == parent["origin"]


def test_lineage_of_an_export_leads_to_the_source(tmp_path: Path, context: Make) -> None:
    write_sources(tmp_path)
    ctx = context(small_plan())
    run(ctx)
    table = pq.read_table(tmp_path / "made/set/data").to_pylist()
    sources = {r["_id"].hex(): r for n in "ab" for r in ctx.open(n).table(["_id", "response", "origin"]).to_pylist()}
    assert table
    for row in table:
        root = sources[row["_root"]]
        assert root["response"] == row["response"] and root["origin"] == row["origin"]


def test_two_folders_make_the_same_bytes(tmp_path: Path, context: Make) -> None:
    found = []
    for name in ("one", "two"):
        root = tmp_path / name
        write_sources(root)
        run(context(small_plan(split={"train": "9/10", "eval": "1/10"}), root))
        found.append(digests(root / "made"))
    assert found[0] == found[1]


KILLS = [
    f"kill@{step}:{place}:{n}"
    for step, places in {
        "a": ["start:1", "write:1", "write:2", "manifest:1", "rename:1", "renamed:1"],
        "clean": ["write:1", "write:2", "write:4", "manifest:1"],
        "loud": ["write:1", "write:3", "rename:1"],
        "pool": ["write:1", "write:2", "renamed:1"],
        "sft": ["write:1", "manifest:1"],
        "out": ["write:1", "swap:1", "manifest:1", "renamed:1"],
    }.items()
    for place, n in (x.split(":") for x in places)
]


def test_killed_anywhere_a_run_goes_on_to_the_same_bytes(tmp_path: Path, context: Make) -> None:
    folders = {fault: tmp_path / str(i) for i, fault in enumerate((*KILLS, "none"))}
    for folder in folders.values():
        folder.mkdir()
        write_sources(folder)
        (folder / "plan.json").write_text(p.dump(small_plan()))
    assert ended(GO, folders) == {**dict.fromkeys(KILLS, -signal.SIGKILL), "none": 0}
    undisturbed = digests(folders["none"] / "made")
    for fault, folder in folders.items():
        run(context(small_plan(), folder))
        assert digests(folder / "made") == undisturbed, fault


@pytest.mark.parametrize("step", ["a", "clean", "out"])
def test_a_full_disk_is_named_and_loses_nothing(
    step: str, tmp_path: Path, context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alchemist_runtime.storage import store

    write_sources(tmp_path)
    store._SEEN.clear()
    monkeypatch.setenv("ALCHEMIST_FAULT", f"full@{step}:write:1")
    with pytest.raises(RunError) as caught:
        run(context(small_plan()))
    assert caught.value.problem.code == "A905" and caught.value.exit_code == 3
    monkeypatch.delenv("ALCHEMIST_FAULT")
    result = run(context(small_plan()))
    assert result.done[-1].action == "built"


def failing(context: Make, spec: p.SourceSpec) -> RunError:
    with pytest.raises(RunError) as caught:
        run(context(make_plan([("s", [], spec)])))
    return caught.value


def test_an_unreadable_record_is_named_with_its_line(tmp_path: Path, context: Make) -> None:
    (tmp_path / "a.jsonl").write_text('{"instruction": "x", "response": "y"}\n{"instruction": "x", \n[1]\n')
    error = failing(context, source("s", "a.jsonl"))
    assert error.problem.code == "A305" and error.problem.place == "a.jsonl:2"
    assert "on_bad_row = skip(max = 2)" in (error.problem.help or "")


def test_skipped_records_are_kept_with_their_reason(tmp_path: Path, context: Make) -> None:
    (tmp_path / "a.jsonl").write_text('{"instruction": "x", "response": "y"}\nno json\n{"instruction": "z"}\n')
    ctx = context(make_plan([("s", [], source("s", "a.jsonl", on_bad_row="skip", max_bad=2))]))
    run(ctx)
    dropped = ctx.open("s", "dropped").table(["record", "place", "reason", "rule"]).to_pylist()
    assert [(r["place"], r["rule"]) for r in dropped] == [("a.jsonl:2", "bad_row"), ("a.jsonl:3", "bad_row")]
    assert dropped[0]["record"] == "no json" and "`response` is null" in dropped[1]["reason"]
    assert ctx.manifest("s").figures["rows_in"] == 3


def test_a_missing_column_says_which_there_are(tmp_path: Path, context: Make) -> None:
    jsonl(tmp_path / "a.jsonl", [{"question": "q", "answer": "a"}])
    error = failing(context, source("s", "a.jsonl"))
    assert error.problem.code == "A304" and "question" in (error.problem.note or "")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.jsonl", b"", "A308"),
        ("a.jsonl.gz", b"\x1f\x8b\x08broken", "A312"),
        ("a.parquet", b"PAR1 not really", "A312"),
    ],
)
def test_empty_and_damaged_files(name: str, content: bytes, code: str, tmp_path: Path, context: Make) -> None:
    (tmp_path / name).write_bytes(content)
    format_ = "parquet" if "parquet" in name else "jsonl"
    assert failing(context, source("s", name, format_)).problem.code == code


def test_a_missing_file_is_named(tmp_path: Path, context: Make) -> None:
    error = failing(context, source("s", "nowhere.jsonl"))
    assert error.problem.code == "A312" and "nowhere.jsonl" in error.problem.headline


def test_a_file_that_changed_after_planning_is_refused(tmp_path: Path, context: Make) -> None:
    jsonl(tmp_path / "a.jsonl", rows(3))
    spec = replace(source("s", "a.jsonl"), files=[{"path": "a.jsonl", "format": "jsonl", "digest": "b2:" + "0" * 64}])
    assert failing(context, spec).problem.code == "A913"


def test_a_foreign_folder_is_never_overwritten(tmp_path: Path, context: Make) -> None:
    write_sources(tmp_path)
    (tmp_path / "made/set").mkdir(parents=True)
    (tmp_path / "made/set/mine.txt").write_text("mine")
    with pytest.raises(RunError) as caught:
        run(context(small_plan()))
    assert caught.value.problem.code == "A906"
    assert (tmp_path / "made/set/mine.txt").read_text() == "mine"


def test_an_export_that_was_touched_is_put_back(tmp_path: Path, context: Make) -> None:
    write_sources(tmp_path)
    run(context(small_plan()))
    before = digests(tmp_path / "made")
    (file,) = (tmp_path / "made/set/data").iterdir()
    file.unlink()
    result = run(context(small_plan()))
    assert [d.action for d in result.done if d.node == "out"] == ["built"]
    assert digests(tmp_path / "made") == before


def test_equal_content_is_not_built_twice(tmp_path: Path, context: Make) -> None:
    """A filter whose rule changed and drops the same rows: what stands behind it is taken over."""
    write_sources(tmp_path)
    plan = small_plan()
    run(context(plan))
    other = p.Rule(
        verb="drop",
        name="short",
        text="12 > chars(response)",
        expr=["cmp", ">", lit(12), call("chars", x=col("response"))],
    )
    nodes = [(n.id, n.inputs, n.spec) for n in plan.nodes]
    rules = [other, plan.node("clean").spec.rules[1]]  # type: ignore[union-attr]
    changed = make_plan([(i, e, p.FilterSpec(rules=rules) if i == "clean" else s) for i, e, s in nodes])
    result = run(context(changed))
    actions = {d.node: d.action for d in result.done}
    assert actions["clean"] == "built" and actions["loud"] == "equal" and actions["pool"] == "equal"
    assert actions["sft"] == "built"  # it reads the refused rows too, whose reason has new words


def test_expectations_stop_the_run(tmp_path: Path, context: Make) -> None:
    write_sources(tmp_path)
    rule = p.Rule(verb="expect", name="many", text="rows >= 1000", expr=["cmp", ">=", ["total", "rows"], lit(1000)])
    plan = make_plan([("a", [], source("a", "a.jsonl", rules=[rule]))])
    for _ in range(2):  # also when the step is taken over from the run before
        with pytest.raises(RunError) as caught:
            run(context(plan))
        assert caught.value.problem.code == "A911" and caught.value.exit_code == 1


@pytest.mark.parametrize(("temperature", "share"), [("1", 0.75), ("2", 3**0.5 / (1 + 3**0.5)), ("1000", 0.5)])
def test_weights_by_size(temperature: str, share: float, tmp_path: Path, context: Make) -> None:
    jsonl(tmp_path / "a.jsonl", rows(300))
    jsonl(tmp_path / "b.jsonl", rows(100, "b"))
    take = [p.Take(name=n, edge=i, amount="parts") for i, n in enumerate("ab")]
    weights = p.Method(name="by_size", args={"temperature": temperature})
    spec = p.MixtureSpec(unit="rows", total=100, take=take, weights=weights, salt="sft")
    nodes = [
        ("a", [], source("a", "a.jsonl")),
        ("b", [], source("b", "b.jsonl")),
        ("sft", [edge("a", role="take.a"), edge("b", role="take.b")], spec),
    ]
    result = run(context(make_plan(nodes)))
    found = result.done[-1].figures["entries"]
    assert found[0]["rows"] == round(100 * share) and found[0]["rows"] + found[1]["rows"] == 100


def test_what_this_version_does_not_run_is_said_and_so_is_what_needs_it(tmp_path: Path, context: Make) -> None:
    write_sources(tmp_path)
    plan = small_plan()
    nodes = [replace(n, runnable=n.id != "pool") for n in plan.nodes]
    result = run(context(replace(plan, nodes=nodes)))
    actions = {d.node: d.action for d in result.done}
    assert {n for n, a in actions.items() if a == "not run"} == {"pool", "sft", "out"}
    assert set(actions) == {"pool", "sft", "out"}, "what feeds nothing else is not built"


def test_a_damaged_model_is_named_and_not_trained_again_unasked(tmp_path: Path, context: Any) -> None:
    """Other results are made again at once; a training takes hours that nobody counted on."""
    spec = p.TrainSpec(
        init=p.Method(name="scratch"),
        method=p.Method(name="full"),
        batch={"unit": "rows", "value": 1},
        max_length=8,
        learning_rate="1",
        schedule=p.Method(name="constant"),
    )
    plan = make_plan([("model", [], spec)])
    ctx = context(plan)
    key = plan.node("model").key
    with ctx.store.building(key, "model") as out:
        (out.folder / "model").mkdir()
        (out.folder / "model/weights").write_bytes(b"weights")
        out.finish(kind="train")
    assert (ctx.manifest("model").folder("model") / "weights").read_bytes() == b"weights"
    (ctx.store.path(key) / "model/weights").write_bytes(b"weighty")
    with pytest.raises(RunError, match=r"model/weights") as e:
        ctx.manifest("model").folder("model")
    assert e.value.damaged == key
    with pytest.raises(RunError, match=r"model/weights") as stopped:
        local._give_up(ctx, list(plan.nodes), local.Result("r"), e.value)
    assert "train `model` anew" in (stopped.value.problem.help or "")
    assert ctx.made(plan.node("model")) is None, "the next run trains it"


BUSY = OSError(24, "Too many open files")


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [(Path, "read_bytes", BUSY), (pq, "ParquetFile", BUSY), (pq, "ParquetFile", pa.ArrowMemoryError("malloc"))],
)
def test_a_result_that_is_out_of_reach_for_now_is_neither_lost_nor_made_again(
    owner: Any, name: str, error: Exception, tmp_path: Path, context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the machine does not give now says nothing about the bytes: a result that was paid for stays."""
    write_sources(tmp_path)
    plan = small_plan()
    run(context(plan))
    ctx = context(plan)

    def refused(*_: object, **__: object) -> object:
        raise error

    with monkeypatch.context() as patch, pytest.raises(RunError, match="A907") as caught:
        patch.setattr(owner, name, refused)
        ctx.open(plan.nodes[0].id)
    assert caught.value.damaged is None and "is kept" in (caught.value.problem.help or "")
    assert not ctx.lost and {d.action for d in run(context(plan)).done} == {"reused"}
