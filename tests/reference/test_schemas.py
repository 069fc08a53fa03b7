"""The JSON Schemas hold for what is really written: plans, locks, and recipes as data that compile."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from alchemist_runtime.schema import plan
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import Plan, from_json

from alchemist_dsl.checker import check
from alchemist_dsl.docs import schemas
from alchemist_dsl.migrate import recipe_draft
from alchemist_dsl.project import lockfile
from alchemist_dsl.source import SourceFile

ROOT = Path(__file__).resolve().parents[2]
ALL = schemas.all_schemas()


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(ALL[name]))


@pytest.mark.parametrize("name", ALL)
def test_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(ALL[name]))


def walk(value: Any) -> Any:
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from walk(child)


def test_the_plan_may_grow() -> None:
    for part in walk(json.loads(ALL["plan.json"])):
        assert not (isinstance(part, dict) and part.get("additionalProperties") is False)


def test_a_plan_holds_and_a_broken_one_does_not() -> None:
    text = (ROOT / "tests/plan/golden/plan.json").read_text()
    made = json.loads(text)
    against = validator("plan.json")
    against.validate(made)
    against.validate(json.loads(plan.dump(from_json(Plan, made))))
    against.validate({**made, "later": 1})
    for change in ({"plan_format": "2.0"}, {"nodes": None}, {"edition": "x"}):
        assert not against.is_valid({**made, **change}), change
    less = copy.deepcopy(made)
    del less["nodes"][0]["key"]
    assert not against.is_valid(less)


def test_a_lock_holds() -> None:
    digest = "b2:" + "0" * 64
    made = lockfile.Lock(
        {
            lockfile.FILES: {"a.jsonl": {"digest": digest, "size": 3, "rows": 1, "columns": {"a": "text"}}},
            lockfile.HUB: {"a/b@main": {"revision": "0" * 40, "license": ""}},
            lockfile.MODELS: {"a/m": {"revision": "1" * 40, "license": "mit"}},
            lockfile.SOURCES: {"r.recipe#s": {"license": "MIT", "columns": {"a": "text?"}}},
            lockfile.TEACHERS: {
                "r.recipe@v#t": {"provider": "openai", "model": "m", "input": "$2.5 per 1M tokens"},
                "r.recipe#f": {"provider": "rules", "free": True},
            },
            lockfile.PYTHON: {"json": {"digest": digest, "python": "3.11"}},
            lockfile.MEASURED: {digest: {"node": "clean", "rows": 3, "dropped": {"short": 1}}},
            "later": {"x": {"y": 1}},
        }
    )
    against = validator("lock.json")
    read = tomllib.loads(lockfile.dumps(made))
    against.validate(read)
    assert set(read) <= {*against.schema["properties"], "later"}
    assert not against.is_valid({**read, "version": lockfile.LOCK_VERSION + 1})
    assert not against.is_valid({**read, "files": {"a.jsonl": {"digest": "md5:0"}}})


@pytest.mark.skipif(not (ROOT / "recipe.lock").exists(), reason="no recipe was run in this checkout")
def test_the_lock_of_this_checkout_holds() -> None:
    validator("lock.json").validate(tomllib.loads((ROOT / "recipe.lock").read_text()))


# --- recipes as data --------------------------------------------------------------------------------------------------

RECIPE: dict[str, Any] = {
    "edition": 2026,
    "imports": {"alchemy": "std:alchemy"},
    "params": {
        "share": {"type": "percent", "default": "5%", "doc": "How many are marked."},
        "title": {"type": "text", "default": '"as data"'},
    },
    "blocks": [
        {"kind": "recipe", "title": {"recipe": "param.title"}, "seed": 42, "schema": "rows"},
        {
            "kind": "schema",
            "name": "rows",
            "fields": {"instruction": "text", "response": "text", "score": "int(0..10)?"},
        },
        {
            "kind": "source",
            "name": "chat",
            "doc": "Questions and answers.\nOurs.",
            "files": ["a.jsonl", 'b "c".jsonl'],
            "limit": "50k rows",
            "license": "MIT",
            "on_bad_row": "skip(max = 3)",
            "set": {"score": "null"},
        },
        {
            "kind": "suite",
            "name": "ours",
            "files": "s.jsonl",
            "text": ["prompt", "solution"],
            "entry_point": "name",
            "decoding": {"temperature": 0, "sampler": "greedy"},
        },
        {
            "kind": "teacher",
            "name": "gpt",
            "provider": "openai",
            "model": "gpt-4o-2024-08-06",
            "temperature": 0.7,
            "max_tokens": "2k tokens",
            "rate": ["500/min", "2M tokens/min"],
            "timeout": "90s",
            "price": {"input": "$2.50 per 1M tokens", "output": "$10 per 1M tokens"},
            "batch": False,
            "stop": '\n\n"',
            "top_p": "none",
            "seed": 7,
            "reasoning_effort": "low",
            "extra": {
                "top_k": 20,
                "x-odd": "text",
                "chat_template_kwargs": {"enable_thinking": False, "langs": ["de", "fr"]},
            },
            "query": {"api-version": "2024-10-21"},
            "headers_env": {"api-key": "AZURE_KEY"},
        },
        {
            "kind": "prompt",
            "name": "describe",
            "input": {"response": "text", "topic": "text"},
            "output": {"prompt": "text"},
            "system": "Be brief.",
            "user": 'Topic: {{ topic }}\n\n  """quoted"""\n{{ response }}\n',
            "turn": "assistant",
        },
        {
            "kind": "map",
            "name": "marked",
            "from": "chat",
            "select": "param.share per origin",
            "best": ["chars(response)"],
            "mode": "add",
            "set": {"lang": "lang(response)", "system": {"template": "About {{ instruction }}"}, "n": 3},
        },
        {
            "kind": "filter",
            "name": "clean",
            "from": ["marked", "chat"],
            "rules": [
                {"drop": "chars(response) < 80", "as": "short"},
                {"keep": 'lang == "python" or lang == null', "as": "other_language"},
                {"expect": "rows >= 0"},
            ],
        },
        {
            "kind": "dedup",
            "name": "pool",
            "from": "clean",
            "on": ["instruction", "strip(response)"],
            "method": "minhash(threshold = 0.85)",
            "prefer": "chars(response)",
        },
        {
            "kind": "relabel",
            "name": "told",
            "from": "pool",
            "teacher": "gpt",
            "prompt": "describe",
            "map": {"topic": "head(instruction, 20)"},
            "budget": "$1.2k",
            "max_failed": "2.5%",
            "select": "10%",
        },
        {
            "kind": "generate",
            "name": "asked",
            "extends": "base_step",
            "teacher": "gpt",
            "samples": 2,
            "budget": None,
            "set": {"instruction": "out.prompt"},
        },
        {
            "kind": "generate",
            "name": "base_step",
            "from": "pool",
            "teacher": "gpt",
            "prompt": "describe",
            "map": {"topic": "instruction"},
            "budget": "$5",
        },
        {
            "kind": "decontaminate",
            "name": "safe",
            "from": ["told", "asked", "base_step"],
            "against": ["ours", "alchemy.humaneval"],
            "method": ["ngram(n = 13)", "entry_point()"],
        },
        {
            "kind": "task",
            "name": "filtering",
            "learn": "clean.dropped",
            "sound": "20%",
            "classes": {"little": ["short"], "other": "other_language"},
        },
        {
            "kind": "task",
            "name": "which",
            "learn": "clean",
            "instruction": "Which language?\n{{ response }}",
            "response": "{{ lang }}",
        },
        {
            "kind": "mixture",
            "name": "sft",
            "total": "5k rows",
            "on_short": "repeat(max = 4x)",
            "take": {"safe": "60%", "clean.chat": "2 parts", "filtering": "1 parts", "which": "50 rows"},
        },
        {"kind": "export", "name": "data", "data": "parts", "format": "jsonl", "path": "out"},
        {"kind": "decontaminate", "name": "searched", "extends": "safe", "from": "sft"},
        {"kind": "split", "name": "parts", "from": "searched", "eval": "5%"},
        {
            "kind": "train",
            "name": "model",
            "data": "parts.train",
            "base": "./model",
            "epochs": 2,
            "batch": "64 packs",
            "max_length": "4096 tokens",
            "learning_rate": 0.00001,
            "schedule": "cosine(warmup = 3%)",
            "method": "lora(r = 8)",
            "parallel": "fsdp",
            "gpus": 4,
            "save_every": "50 steps",
            "report": ["tensorboard"],
            "eval_share": "1%",
        },
        {
            "kind": "train",
            "name": "second",
            "data": "parts.train",
            "base": {"recipe": "model"},
            "steps": 100,
            "batch": "64 packs",
            "max_length": 4096,
            "learning_rate": 1e-5,
            "chat_template": {"template": "{{ messages[0].content }}"},
        },
        {
            "kind": "evaluate",
            "name": "bench",
            "model": {"recipe": "model"},
            "suites": ["ours", "alchemy.humaneval"],
            "limit": "100 rows",
        },
        {"kind": "measure", "name": "style", "data": "sft", "metrics": ["style()", "overlap()"]},
        {
            "kind": "check",
            "name": "size",
            "severity": "warn",
            "rules": [{"expect": "rows(sft) >= 0", "as": "any_rows"}],
        },
        {"kind": "variant", "name": "plain", "set": {"param.share": "0%", "sft.take.which": None}},
        {"kind": "moved", "from": "old_name", "to": "clean"},
        {
            "kind": "test",
            "name": "short answers are dropped",
            "step": "clean",
            "given": [{"instruction": 'a "b"\n', "response": "c", "lang": "c"}],
            "rules": [{"expect": "dropped.short == 1"}],
        },
    ],
}


def problems(text: str) -> list[str]:
    def read(path: str) -> bytes | None:
        return (ROOT / "recipes/std/alchemy.recipe").read_bytes() if path == "std:alchemy" else None

    _, found = check(SourceFile("r.recipe", text), read)
    return [f"{d.code} {d.headline}" for d in found]


def test_a_recipe_as_data_is_a_recipe() -> None:
    assert {b["kind"] for b in RECIPE["blocks"]} == set(KINDS), "every kind takes part"
    validator("recipe.json").validate(RECIPE)
    text = recipe_draft.recipe(RECIPE)
    found = problems(text)
    assert [p for p in found if p[:4] not in ("A807", "A604")] == [], text
    assert "## Questions and answers.\n## Ours.\nsource chat {\n" in text
    assert 'user = jinja""""\n    Topic: {{ topic }}\n\n      """quoted"""\n    {{ response }}\n\n    """"\n' in text
    assert 'query = { "api-version" = "2024-10-21" }' in text
    assert "learning_rate = 1e-05" in text and "base = model" in text and "budget = null" in text


@pytest.mark.parametrize("block", RECIPE["blocks"], ids=lambda b: f"{b['kind']} {b.get('name', '')}")
def test_the_schema_of_a_kind_holds_for_its_blocks(block: dict[str, Any]) -> None:
    against = validator(f"kind-{block['kind']}.json")
    against.validate(block)
    assert not against.is_valid({**block, "kind": "other"})
    assert not against.is_valid({**block, "later": 1})
    if "name" in block:
        assert not against.is_valid({k: v for k, v in block.items() if k != "name"})
    for name in block.keys() & KINDS[block["kind"]].attributes.keys():
        if "extends" not in KINDS[block["kind"]].attributes and KINDS[block["kind"]].attributes[name].required:
            assert not against.is_valid({k: v for k, v in block.items() if k != name})


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("map", {"mode": "sometimes"}),
        ("map", {"from": "my rows"}),
        ("teacher", {"temperature": 3}),
        ("teacher", {"temperature": "cold"}),
        ("teacher", {"extra": "top_k"}),
        ("teacher", {"timeout": "90 seconds"}),
        ("teacher", {"price": {"input": "$3"}}),
        ("dedup", {"method": "minhsh()"}),
        ("filter", {"rules": [{"keep": "a", "drop": "b"}]}),
        ("filter", {"rules": [{"as": "a"}]}),
        ("train", {"gpus": "all"}),
        ("export", {"split": {"test": "5%"}}),
        ("source", {"limit": 500}),
        ("generate", {"samples": 0}),
    ],
)
def test_the_schema_refuses(kind: str, wrong: dict[str, Any]) -> None:
    block = next(b for b in RECIPE["blocks"] if b["kind"] == kind)
    against = validator(f"kind-{kind}.json")
    assert against.is_valid(block) and not against.is_valid({**block, **wrong})
    assert not validator("recipe.json").is_valid({"edition": 2026, "blocks": [{**block, **wrong}]})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"edition": 2025, "blocks": []}, "edition"),
        ({"edition": 2026, "blocks": [{"kind": "sorce"}]}, "no kind"),
        ({"edition": 2026, "blocks": [{"kind": "filter"}]}, "has a name"),
        ({"edition": 2026, "blocks": [{"kind": "moved", "name": "x"}]}, "has no name"),
        ({"edition": 2026, "blocks": [{"kind": "filter", "name": "a b"}]}, "is no name"),
        ({"edition": 2026, "blocks": [{"kind": "filter", "name": "a", "form": "b"}]}, "has no `form`"),
        ({"edition": 2026, "blocks": [{"kind": "map", "name": "a", "set": {"b": [1]}}]}, "no expression"),
    ],
)
def test_data_of_another_form_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(recipe_draft.DataError, match=said):
        recipe_draft.recipe(wrong)
