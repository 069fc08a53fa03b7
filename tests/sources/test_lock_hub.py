"""`alchemist lock` against a stand-in of the hub: what is asked, what moved, and what could not be asked."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import cli
from hub_server import Hub, serve

RECIPE = """edition 2026

source given {
  hub = "owner/set"
  license = "MIT"
  set instruction = q
  set response = a
}
filter clean {
  from = given
  drop chars(response) < 2 as short
}
mixture sft {
  unit = tokens
  take {
    clean = all
  }
}
export dataset {
  data = sft
  path = "out"
}
train tuned {
  data = sft
  base = "owner/base"
  batch = 4 packs
  max_length = 128 tokens
  learning_rate = 1e-3
  epochs = 1
}
teacher judge {
  provider = transformers
  model = "owner/judge"
  revision = "v1"
}
generate judged {
  from = clean
  teacher = judge
  prompt = ask
  set response = out.verdict
}
prompt ask {
  input {
    response: text
  }
  output {
    verdict: text
  }
  user = jinja\"\"\"
    Is this right? {{ response }}
    \"\"\"
}
export verdicts {
  data = judged
  path = "verdicts"
}
"""


def readme(licence: str) -> bytes:
    return f"---\nlicense: {licence}\n---\n# A set\n".encode()


def rows(n: int) -> bytes:
    return b"".join(json.dumps({"q": f"q {i}", "a": f"answer {i}"}).encode() + b"\n" for i in range(n))


@pytest.fixture
def hub() -> Iterator[Hub]:
    repos: dict[str, list[Any]] = {
        "owner/set": [{"README.md": readme("apache-2.0"), "train.jsonl": rows(5)}],
        "owner/base": [{"README.md": readme("llama3"), "config.json": b"{}"}],
        "owner/judge": [{"config.json": b"{}"}],
    }
    with serve(Hub(repos, tags={"v1": 0})) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "r.recipe").write_text(RECIPE)
    (folder / "recipe.lock").write_text("version = 1\n")
    return folder


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def alchemist(hub: Hub, project: Path, tmp_path: Path) -> Command:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "ALCHEMIST_"))}
    env = {**clean, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}

    def call(*args: str) -> subprocess.CompletedProcess[str]:
        return cli(*args, cwd=project, env=env)

    return call


def facts(project: Path) -> dict[str, Any]:
    return tomllib.loads((project / "recipe.lock").read_text())


def test_everything_of_the_hub_is_pinned_with_what_its_card_says(hub: Hub, project: Path, alchemist: Command) -> None:
    done = alchemist("lock")
    assert done.returncode == 0, done.stdout + done.stderr
    known = facts(project)
    assert known["hub"] == {"owner/set": {"revision": hub.commits("owner/set")[0], "license": "apache-2.0"}}
    assert known["models"] == {
        "owner/base": {"revision": hub.commits("owner/base")[0], "license": "llama3"},
        "owner/judge@v1": {"revision": hub.commits("owner/judge")[0], "license": ""},
    }
    assert known["sources"]["r.recipe#given"]["license"] == "MIT"
    assert known["teachers"] == {"r.recipe#judge": {"provider": "transformers", "model": "owner/judge", "free": True}}
    assert "declares MIT, the card of `owner/set` states apache-2.0" in done.stdout
    asked = len(hub.asked)
    again = alchemist("lock")
    assert again.returncode == 0 and "nothing to write" in again.stdout
    assert len(hub.asked) == asked  # what is known is not asked for
    plan = json.loads(alchemist("compile", "r.recipe", "--portable", "--format", "json").stdout)
    specs = {n["id"]: n["spec"] for n in plan["nodes"]}
    assert specs["given"]["reader"]["args"]["revision"] == hub.commits("owner/set")[0]
    assert specs["tuned"]["revision"] == hub.commits("owner/base")[0]
    assert specs["sft"]["tokenizer"] == {"name": "owner/base", "revision": hub.commits("owner/base")[0]}


def test_a_branch_that_moved_is_told_by_check_and_taken_over_by_name_alone(
    hub: Hub, project: Path, alchemist: Command
) -> None:
    assert alchemist("lock").returncode == 0
    before = (project / "recipe.lock").read_text()
    hub.repos["owner/set"].append({"README.md": readme("cc-by-nc-4.0"), "train.jsonl": rows(7)})
    hub.repos["owner/base"].append({"config.json": b"{ }"})
    assert alchemist("lock").returncode == 0
    assert (project / "recipe.lock").read_text() == before
    told = alchemist("lock", "--check")
    assert told.returncode == 1 and (project / "recipe.lock").read_text() == before
    first, second = (c[:12] for c in hub.commits("owner/set"))
    assert f"licence apache-2.0 → cc-by-nc-4.0, revision {first} → {second}" in told.stdout
    assert "model `owner/base`: licence llama3 → none stated" in told.stdout
    assert alchemist("compile", "r.recipe", "--locked").returncode == 0  # a moved branch moves nothing
    done = alchemist("lock", "--update", "given")
    assert done.returncode == 0 and f"revision {first} → {second}" in done.stdout
    known = facts(project)
    assert known["hub"]["owner/set"]["revision"] == hub.commits("owner/set")[1]
    assert known["models"]["owner/base"]["revision"] == hub.commits("owner/base")[0]
    assert alchemist("lock", "--update-all").returncode == 0
    assert facts(project)["models"]["owner/base"]["revision"] == hub.commits("owner/base")[1]
    assert alchemist("lock", "--check").returncode == 0


@pytest.mark.parametrize("name", ["tuned", "owner/base", "r.recipe#tuned"])
def test_a_base_model_by_its_name_its_training_or_its_id(
    hub: Hub, project: Path, alchemist: Command, name: str
) -> None:
    assert alchemist("lock").returncode == 0
    hub.repos["owner/base"].append({"config.json": b"{ }"})
    done = alchemist("lock", "--update", name, "--format", "json")
    assert done.returncode == 0
    (change,) = json.loads(done.stdout)["written"]
    assert (change["section"], change["resource"], change["kind"]) == ("models", "owner/base", "changed")
    assert change["after"]["revision"] == hub.commits("owner/base")[1]


def test_a_hub_that_does_not_answer_is_no_yes(hub: Hub, project: Path, alchemist: Command) -> None:
    hub.failing = True
    done = alchemist("lock")
    assert done.returncode == 3 and "not asked: dataset `owner/set`" in done.stdout
    assert "  nor model `owner/base`, model `owner/judge@v1`" in done.stdout
    assert "hub" not in facts(project) and "sources" in facts(project)
    hub.failing = False
    assert alchemist("lock").returncode == 0
    hub.failing = True
    told = alchemist("lock", "--check")
    assert told.returncode == 3 and "as far as it could be asked" in told.stdout
    assert "`owner/judge` cannot be fetched" in alchemist("lock", "--check", "--format", "json").stdout
    assert {u["code"] for u in json.loads(alchemist("lock", "--check", "--format", "json").stdout)["unasked"]} == {
        "A309"
    }


def test_a_gated_dataset_and_a_revision_that_is_not_there(hub: Hub, project: Path, alchemist: Command) -> None:
    hub.gated = frozenset({"owner/set"})
    done = alchemist("lock")
    assert done.returncode == 3 and "the hub refuses `owner/set`" in done.stdout
    assert "owner/base" in facts(project)["models"]
    hub.gated = frozenset()
    hub.tags = {}
    wrong = alchemist("lock", "--update", "judge")
    assert wrong.returncode == 1 and "`owner/judge` has no revision `v1`" in wrong.stdout


def test_a_locked_run_asks_nobody_for_what_the_lock_does_not_know(hub: Hub, project: Path, alchemist: Command) -> None:
    hub.failing = True
    done = alchemist("run", "r.recipe", "--upto", "dataset", "--locked")
    assert done.returncode == 1 and not hub.asked
    assert "error[A908 locked]: dataset `owner/set` is not in recipe.lock" in done.stderr
    assert " --> r.recipe:3:8\n" in done.stderr and "help: `alchemist lock` adds it" in done.stderr


def test_a_run_pins_the_base_model_too_and_goes_on_without_the_hub(hub: Hub, project: Path, alchemist: Command) -> None:
    text = RECIPE.replace('hub = "owner/set"', 'files = "train.jsonl"')
    (project / "r.recipe").write_text(text)
    (project / "train.jsonl").write_bytes(rows(5))
    hub.failing = True
    assert alchemist("run", "r.recipe", "--dry-run").returncode == 0
    hub.failing = False
    done = alchemist("run", "r.recipe")  # the training itself fails: there are no weights
    assert done.returncode != 0
    assert facts(project)["models"]["owner/base"]["revision"] == hub.commits("owner/base")[0]
