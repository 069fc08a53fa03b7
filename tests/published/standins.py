"""Stand-ins for what the published recipes name: a hub with tiny datasets and a model of one layer, a teacher that
answers anything.

`python standins.py PROJECT REPORT NAME …` runs recipes of a project to their last step, as `alchemist run --limit`
does, and writes what came of each as JSON. The training runs in a fork of this process, so that torch is imported once.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from alchemist_runtime.schema.plan import to_json

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "sources"), str(TESTS / "teacher")]

from batch_server import BatchServer, Ends  # noqa: E402
from fault_server import FaultServer, completion  # noqa: E402
from hub_server import Hub, serve  # noqa: E402

#: Rows of a stand-in, and rows that a run takes of each source.
ROWS = 24
LIMIT = 24
WORDS = [
    "ledger",
    "harbour",
    "violet",
    "engine",
    "copper",
    "meadow",
    "signal",
    "lantern",
    "orchard",
    "quartz",
    "timber",
    "canyon",
    "ribbon",
    "glacier",
    "walnut",
    "compass",
]


# --- rows -------------------------------------------------------------------------------------------------------------


def program(i: int) -> str:
    """A documented function that no other row has."""
    a, b = WORDS[i % len(WORDS)], WORDS[(i * 7 + 3) % len(WORDS)]
    return (
        f"def {a}_{b}_{i}(values, limit={i + 2}):\n"
        f'    """Add up the {a} values below the {b} limit and return the total for lot {i}."""\n'
        f"    total = 0\n    for value in values:\n        if value < limit * {i + 1}:\n"
        f"            total += value - {i}\n    return total\n"
    )


def request(i: int) -> str:
    a, b, c = (WORDS[(i * k + k) % len(WORDS)] for k in (1, 5, 11))
    return (
        f"Task {i}. A {a} company keeps a list of {b} deliveries, one number for each of its {c} stores. "
        f"Write a Python function that adds up all deliveries below a limit of {i + 2}, subtracts the fee of {i} for each, "
        f"and returns the total; an empty list gives zero. Explain in one sentence how the {b} fee enters the sum."
    )


def reply(i: int) -> str:
    a = WORDS[i % len(WORDS)]
    return (
        f"<think>The {a} values below the limit count, and each one costs a fee of {i}, so I go through them once."
        f"</think>\n\nThe loop looks at each value once and leaves out what reaches the limit {i + 2}.\n\n"
        f"```python\n{program(i)}```\n\nThe fee of {i} is taken off every value that counts. The answer is \\boxed{{{i}}}."
    )


def turns(i: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": request(i)}, {"role": "assistant", "content": reply(i)}]


def shares(i: int) -> list[dict[str, str]]:
    return [{"from": "human", "value": request(i)}, {"from": "gpt", "value": reply(i)}]


#: Columns whose value is no text, and texts that rules look into.
COLUMNS: Mapping[str, Any] = {
    "messages": turns,
    "conversation": turns,
    "conversations": shares,
    "chat_rounds": lambda i: [{"role": "human", "content": request(i)}, {"role": "bot", "content": reply(i)}],
    "content": program,
    "func_code_string": program,
    "new_contents": program,
    "old_contents": lambda i: program(i + 100),
    "response": reply,
    "output": reply,
    "answer": reply,
    "solution": reply,
    "chat_template_kwargs": lambda i: {"enable_thinking": i % 2 == 0},
    "llm_judgement": lambda i: json.dumps(
        {k: {"score": 5} for k in ("requirement_conformance", "logical_correctness", "edge_case_consideration")}
    ),
    "average_test_score": lambda i: "1.0",
    "public_tests": lambda i: {"input": ["1"], "output": ["1"]},
    "test_cases": lambda i: [{"input": "1", "output": "1"}],
    "test_list": lambda i: [f"assert item_{i}(1) == {i}"],
    "entry_point": lambda i: f"item_{i}",
    "task_id": lambda i: f"item/{i}",
}


def problem(i: int) -> str:
    """A text of a benchmark: no run of words of it stands in a row of a source."""
    return " ".join(f"{w}{i}q{n}" for n, w in enumerate(WORDS))


def item(columns: Iterable[str], i: int) -> dict[str, Any]:
    """An item of a benchmark."""
    named = {"entry_point": f"answer_{i}", "task_id": f"item/{i}", "test_list": [f"assert f{i}"]}
    return {c: named.get(c, problem(i)) for c in sorted(columns)}


def record(columns: Iterable[str], i: int, salt: int = 0) -> dict[str, Any]:
    return {c: COLUMNS.get(c, request)(i * 31 + salt) for c in sorted(columns)}


def lines(records: Iterable[Mapping[str, Any]], path: str) -> bytes:
    if not path.endswith(".parquet"):
        return b"".join(json.dumps(r).encode() + b"\n" for r in records)
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(records)), sink)
    return sink.getvalue()


# --- the hub ----------------------------------------------------------------------------------------------------------


def _read_by(node: Any) -> set[str]:
    """Columns of the records that a source reads."""
    from alchemist_runtime.schema.expressions import columns_read

    sets = getattr(node.spec, "sets", [])
    made = {s.column for s in sets}
    read = frozenset[str]().union(*(columns_read(s.expr) for s in sets))
    if node.kind == "suite":
        named = (node.spec.id_column, node.spec.entry_point)
        return {*node.spec.text, *node.spec.columns, *(c for c in named if c)}
    if "messages" not in made and "instruction" not in made and "response" in made:
        return set(read) | {"instruction"}
    return set(read) if made & {"messages", "instruction"} else {*read, "messages"}


def datasets(plan: Any, more: Mapping[str, Iterable[str]]) -> dict[str, dict[str, Any]]:
    """Repository -> its files (configurations with their splits under `README.md`), for every source and suite of a
    plan. `more`: further columns by the name of a node.
    """
    made: dict[str, dict[str, Any]] = {}
    for number, node in enumerate(plan.nodes):
        reader = getattr(node.spec, "reader", None)
        if node.kind not in ("source", "suite") or reader is None or "repo" not in reader.args:
            continue
        args = reader.args
        repo = made.setdefault(args["repo"], {})
        columns = {*_read_by(node), *more.get(node.id, ())}
        one = partial(record, salt=number) if node.kind == "source" else item
        rows = [one(columns, i) for i in range(ROWS)]
        read = json.dumps([s.expr for s in getattr(node.spec, "sets", [])])
        for name in (c for c in columns if f'["item", ["col", "{c}"]' in read):  # turns, by place
            rows = [{**row, name: turns(i)} for i, row in enumerate(rows)]
        for pattern in args.get("files") or ():
            path = pattern.replace("*", "0")
            repo[path] = lines(rows, path)
        if not args.get("files"):
            for split in args.get("split") or ["train"]:
                name = args.get("config") or "default"
                repo[f"data/{name}/{split}-0.jsonl"] = lines(rows, ".jsonl")
                repo.setdefault("README.md", {}).setdefault(name, set()).add(split)
    return made


def _card(configs: Mapping[str, Iterable[str]]) -> bytes:
    import yaml

    entries = [
        {"config_name": name, "data_files": [{"split": s, "path": f"data/{name}/{s}-0.jsonl"} for s in sorted(splits)]}
        for name, splits in configs.items()
    ]
    return f"---\n{yaml.safe_dump({'license': 'mit', 'configs': entries})}---\n".encode()


def tiny_model(folder: Path) -> dict[str, bytes]:
    """The files of a model of one layer with a byte tokenizer and a chat template."""
    from alchemist_runtime.train.base_model import scratch_model

    args = {"layers": 1, "hidden": 32, "heads": 2, "context": 1 << 19}
    path = scratch_model(folder, args, 0)
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def models(plan: Any) -> set[str]:
    """Everything of the shape `owner/name` that a training, a tokenizer or a chat template names."""
    specs = [to_json(n.spec) for n in plan.nodes if n.kind in ("train", "mixture")]
    return set(re.findall(r'"([\w.-]+/[\w.-]+)"', json.dumps([specs, plan.tokenizer])))


# --- the teacher ------------------------------------------------------------------------------------------------------


def answer(number: int, body: dict[str, Any]) -> dict[str, Any]:
    """An answer that fits what is asked for: a value for each field of a schema, else a text with a thought and
    code.
    """
    schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
    said = json.dumps(value(schema, number)) if schema else reply(1000 + number)
    made = completion(said)
    if body.get("logprobs"):
        likely = [{"token": "Yes", "logprob": -0.1}, {"token": " no", "logprob": -2.5}]
        made["choices"][0]["logprobs"] = {"content": [{"top_logprobs": likely}]}
    return made


def value(schema: Mapping[str, Any], number: int, name: str = "") -> Any:
    for choices in ("anyOf", "oneOf"):
        if choices in schema:
            return value(schema[choices][0], number, name)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {k: value(v, number, k) for k, v in schema.get("properties", {}).items()}
    if kind == "array":
        return [value(schema.get("items", {}), number)]
    if kind in ("integer", "number"):
        return schema.get("maximum", 5)
    if kind == "boolean":
        return True
    return (request if name in ("instruction", "question", "task") else reply)(2000 + number)


# --- running ----------------------------------------------------------------------------------------------------------


def trained_here(spec: Any, job: Path, **_: Any) -> Any:
    """Instead of `accelerate launch`: the program that trains, in a fork of this process."""
    from alchemist_runtime.train import trainer
    from alchemist_runtime.train.launch import TrainResult, _failure

    child = os.fork()
    if not child:
        with (job.parent / "train.log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        code = 1
        try:
            code = trainer.main(["--job", str(job)])
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise _failure(job.parent, job.parent / "train.log", code)
    return TrainResult(False, 0.0)


def last_steps(plan: Any) -> list[str]:
    """The steps that nothing reads, or only steps that this version does not run: as far as a run can get."""
    from alchemist_runtime.schema.planning import not_run

    stuck = not_run(plan.nodes)
    read = {e.node for n in plan.nodes if n.id not in stuck for e in n.inputs}
    return [n.id for n in plan.nodes if n.id not in stuck | read]


def carried_out(recipe: Path, last: list[str]) -> dict[str, Any]:
    """`alchemist run --limit` of one recipe in this process up to its last steps: exit code, output, and those
    steps.
    """
    from alchemist_dsl.cli.main import main

    said = io.StringIO()
    line = ["run", str(recipe), "--limit", str(LIMIT), "--budget", "$50", "--format", "json"]
    line += [word for name in last for word in ("--upto", name)]
    with redirect_stdout(said), redirect_stderr(said):
        try:
            main(line)
        except SystemExit as end:
            return {"exit": end.code, "last": last, "output": said.getvalue()}
    raise AssertionError("unreachable: a command ends with SystemExit")


def main(project: Path, report: Path, names: list[str], more: Mapping[str, Any]) -> None:
    """Carry out recipes of a project over stand-ins of all that they name."""
    folder = project / "recipes" / "published"
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        hub = stack.enter_context(serve(Hub({})))
        teacher = FaultServer(answer)
        stack.callback(teacher.close)
        by_batch = BatchServer(lambda body: (200, answer(0, body)), lambda number: Ends(looks=0))
        stack.callback(by_batch.close)
        os.environ.update(  # before any library of the hub is imported, which reads them then
            HF_ENDPOINT=hub.url,
            HF_HOME=str(Path(scratch) / "hf"),
            HF_HUB_DISABLE_TELEMETRY="1",
            HF_HUB_DISABLE_PROGRESS_BARS="1",
            OPENAI_API_KEY="none",
            CUDA_VISIBLE_DEVICES="",
        )
        import torch
        from alchemist_runtime.train import step

        from alchemist_dsl.project.workspace import compile_recipe

        torch.set_num_threads(1)
        step.launch = trained_here  # type: ignore[assignment]
        model = tiny_model(Path(scratch) / "model")
        for recipe in folder.glob("*.recipe"):
            text = recipe.read_text()
            server = by_batch if "\n  batch = true\n" in text else teacher
            recipe.write_text(_here(text, server.base_url))
        last, found = {}, dict[str, dict[str, Any]]()
        for name in names:
            plan = compile_recipe(folder / f"{name}.recipe", here=False, limit=LIMIT).plan
            for repo, files in datasets(plan, more.get(name, {})).items():
                known = found.setdefault(repo, {"README.md": {}})
                for config, splits in files.pop("README.md", {}).items():
                    known["README.md"].setdefault(config, set()).update(splits)
                known.update(files)
                cards = {"README.md": _card(known["README.md"])} if known["README.md"] else {}
                hub.repos[repo] = [{**known, "README.md": b"", **cards}]
            last[name] = last_steps(plan)
            for repo in models(plan):
                hub.repos.setdefault(repo, [model])
        results = {}
        for name in names:
            results[name] = carried_out(folder / f"{name}.recipe", last[name])
            report.write_text(json.dumps(results))


#: What a recipe says of sizes, in the size of the stand-ins.
SMALL = {
    r"max_length = .*": "max_length = 1024 tokens",
    r"batch = [\d_.]+[kM]? (rows|packs)": r"batch = 4 \1",
    r"batch = [\d_.]+[kM]? tokens": "batch = 4096 tokens",
    r"eval_share = .*": "eval_share = 2 rows",
    r"epochs = \d+": "epochs = 1",
    r"steps = [\d_]+": "steps = 2",
}


def _here(text: str, address: str) -> str:
    """A recipe whose teachers are the one of this machine, and whose trainings are small."""
    text = re.sub(r"^  (base_url|api_key_env|micro_batch|report) = .*\n", "", text, flags=re.M)
    for old, new in SMALL.items():
        text = re.sub(rf"^  {old}$", f"  {new}", text, flags=re.M)
    # a model of one layer says nothing that anybody could read, so it is asked here as one that is served
    served = '  provider = openai\n  model = "m"'
    text = re.sub(r"^  provider = transformers\n  model = .*$", served, text, flags=re.M)
    own = f'  provider = openai\n  base_url = "{address}"'

    def asked(block: re.Match[str]) -> str:
        priced = re.search(r"^  (price|extends)\b", block[0], re.M)
        here = own if priced else f"{own}\n  price = free"
        return block[0].replace("  provider = openai", here, 1)

    return re.sub(r"^teacher .*?^}$", asked, text, flags=re.M | re.S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:], {})
