"""`alchemist review` and the Action's own steps on real pull requests, against a stand-in of GitHub's API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from command_line import cli
from fault_server import FaultServer, completion
from git_repo import Repo, environment
from github_server import TOKEN, GitHub
from pull_requests import Pull, event, pull, with_api

from alchemist_dsl.cli import review
from alchemist_dsl.review.github import mark

ROOT = Path(__file__).resolve().parents[2]
ACTION = yaml.safe_load((ROOT / ".github" / "actions" / "diff" / "action.yml").read_text())
MARK = mark("recipes")
RECIPE = """\
edition 2026
import "std:alchemy" as alchemy

teacher model {
  provider = openai
  base_url = "BASE_URL"
  model = "m-2026-01-01"
  max_tokens = 200
  api_key_env = "TEACHER_KEY"
  price {
    input = $1 per 1k tokens
    output = $1 per 1k tokens
  }
}
source talks {
  files = "data/talks.jsonl"
}
relabel harmonized {
  from = talks
  select = 10%
  teacher = model
  prompt = alchemy.relabel
}
export dataset {
  data = harmonized
  path = "out"
}
"""


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The recipe and the lock of a project after a real run: 200 rows, a tenth asked, a dollar a call."""
    project = Repo(tmp_path_factory.mktemp("measured") / "project")
    rows = [{"instruction": f"say {n}", "response": f"it is {n}"} for n in range(200)]
    project.write("data/talks.jsonl", "".join(json.dumps(r) + "\n" for r in rows))
    usage = {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000}
    server = FaultServer(lambda n, body: completion("Say it plainly.", usage=usage))
    recipe = RECIPE.replace("BASE_URL", server.base_url)
    project.write("r.recipe", recipe)
    project.alchemist("run", "r.recipe", "--budget", "$9000", TEACHER_KEY="none")
    assert server.asked > 5
    server.close()
    return recipe, project.read("recipe.lock")


@pytest.fixture
def origin(measured: tuple[str, str], tmp_path: Path) -> Repo:
    """A repository with the recipe and its lock, without data and store, at the start of the branch `side`."""
    repo = Repo(tmp_path / "origin")
    repo.write("r.recipe", measured[0])
    repo.write("recipe.lock", measured[1])
    repo.write("readme", "1")
    repo.write(".gitignore", ".alchemist/\n")
    repo.commit("base")
    repo.git("checkout", "--quiet", "-b", "side")
    return repo


def _here(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
    """What the review starts, in this process."""
    assert command[:4] == [sys.executable, "-P", "-m", "alchemist_dsl"]
    return cli(*command[4:], env=env)


_HERE = SimpleNamespace(run=_here, DEVNULL=subprocess.DEVNULL)


class Workflow:
    """Runs of the review on what `side` of a repository has become."""

    def __init__(self, origin: Repo, github: GitHub, folder: Path) -> None:
        self.origin, self.github, self.folder = origin, github, folder
        self.runs = 0

    def edit(self, before: str, after: str, file: str = "r.recipe") -> None:
        self.origin.git("checkout", "--quiet", "side")
        text = self.origin.read(file)
        assert before in text
        self.origin.write(file, text.replace(before, after))
        self.origin.commit("edit")

    def review(self, *options: str, code: int = 0, fork: bool = False, **env: str) -> str:
        """Review the pull request in a fresh checkout; the log."""
        self.runs += 1
        self.step = self.folder / f"step{self.runs}"
        request = pull(self.origin)
        clone = request.checkout(self.folder / f"clone{self.runs}", depth=1)
        own = environment() | with_api(event(self.step, request, fork), self.github) | env
        with patch.object(review, "subprocess", _HERE):
            done = cli("review", *options, cwd=clone.folder, env=own)
        log = done.stdout + done.stderr
        assert done.returncode == code, log
        assert "Traceback" not in log and "our bug" not in log
        assert TOKEN not in log + self.summary + self.outputs + str(self.github.bodies())
        assert clone.git("status", "--porcelain") == ""
        return log

    def _read(self, name: str) -> str:
        path = self.step / name
        return path.read_text() if path.exists() else ""

    @property
    def summary(self) -> str:
        return self._read("summary.md")

    @property
    def outputs(self) -> str:
        return self._read("output")

    @property
    def rise(self) -> float:
        """The output `cost-increase`."""
        return float(dict(line.split("=") for line in self.outputs.splitlines())["cost-increase"])


@pytest.fixture
def work(origin: Repo, github: GitHub, tmp_path: Path) -> Iterator[Workflow]:
    yield Workflow(origin, github, tmp_path / "work")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()


# --- the life of a comment --------------------------------------------------------------------------------------------


def test_a_pull_request_from_its_first_change_to_its_last(work: Workflow) -> None:
    work.edit("1", "2", file="readme")
    assert "comment: none" in work.review()
    assert work.github.comments == [] and work.outputs == "changed=false\ncost-increase=0\n"

    work.edit("select = 10%", "select = 20%")
    assert "comment: created" in work.review()
    [body] = work.github.bodies()
    assert body.startswith(f"{MARK}\n### What changes in the recipes\n\n")
    assert "harmonized" in body and "10% -&gt; 20%" in body and "figures from `recipe.lock`" in body
    assert "changed=true\n" in work.outputs and work.rise > 5
    assert work.summary.startswith("### What changes in the recipes\n\n") and MARK not in work.summary
    assert "10% -&gt; 20%" in work.summary

    work.edit("select = 20%", "select = 30%")
    assert "comment: updated" in work.review()
    [body] = work.github.bodies()
    assert "10% -&gt; 30%" in body

    work.edit("select = 30%", "select = 10%")
    assert "comment: deleted" in work.review()
    assert work.github.comments == []


def test_figures_are_those_of_the_lock(work: Workflow) -> None:
    """A dollar a call: twice the share is about as many dollars more as calls were measured."""
    calls = json.loads(work.origin.read("recipe.lock").partition("calls = ")[2].partition(",")[0])
    work.edit("select = 10%", "select = 20%")
    work.review()
    assert 0.5 * calls <= work.rise <= 2 * calls
    work.origin.git("rm", "--quiet", "recipe.lock")
    work.origin.commit("no lock")
    work.review("--allow-unknown", "--max-increase", "$1", code=1)  # nothing tells of the data


def test_what_is_only_layout_is_no_change(work: Workflow) -> None:
    work.edit("  select = 10%\n", "  # a tenth\n\n  select   = 10%\n")
    log = work.review("--max-increase", "$0")
    assert "comment: none" in log and "::" not in log
    assert work.outputs == "changed=false\ncost-increase=0\n"
    work.edit("select   = 10%", "select = 11%")
    work.review()
    work.edit("select = 11%", "select = 10%")
    assert "comment: deleted" in work.review()
    assert work.summary == "### What changes in the recipes\n\nNothing.\n"


# --- the limit --------------------------------------------------------------------------------------------------------


def test_over_and_within_the_limit(work: Workflow) -> None:
    work.edit("select = 10%", "select = 20%")
    log = work.review("--max-increase", "$2", code=1)
    assert "::error title=alchemist review::The cost from scratch rises by $" in log
    [body] = work.github.bodies()
    assert "**Over the limit.** The cost from scratch rises by $" in body and "`max-increase` is $2." in body
    work.review("--max-increase", "$1k")
    [body] = work.github.bodies()
    assert "**Within the limit.**" in body
    work.edit("select = 20%", "select = 5%")
    work.review("--max-increase", "$50")
    assert work.rise < 0
    work.edit("select = 5%", "select = 11%")
    log = work.review("--max-increase", "$5", code=3)  # a draw may take more than is expected
    assert ", within the limit or not: the limit could not be evaluated; `max-increase` is $5." in log


def test_an_unknown_cost_is_no_pass_unless_that_is_allowed(work: Workflow) -> None:
    work.edit("  price {\n    input = $1 per 1k tokens\n    output = $1 per 1k tokens\n  }\n", "")
    log = work.review("--max-increase", "$50", code=3)
    assert "The change of the cost from scratch is unknown: the limit could not be evaluated" in log
    assert work.outputs == "changed=true\ncost-increase=unknown\n"
    assert "**Not evaluated.**" in work.github.bodies()[0]
    work.review("--max-increase", "$50", "--allow-unknown")
    work.review()


# --- recipes that cannot be read, came, went, moved -------------------------------------------------------------------


def test_a_recipe_that_cannot_be_read_now_fails_and_says_why(work: Workflow) -> None:
    work.edit("provider = openai", "provider = ")
    log = work.review("--max-increase", "$50", "--allow-unknown", code=1)
    assert "::error title=alchemist review::`r.recipe` cannot be read as it is now" in log
    [body] = work.github.bodies()
    assert "`provider` has no value" in body and work.outputs.endswith("cost-increase=unknown\n")


def test_mending_a_recipe_that_could_not_be_read_before_passes(work: Workflow) -> None:
    work.edit("provider = openai", "provider = ")
    work.origin.git("checkout", "--quiet", "main")
    work.origin.git("merge", "--quiet", "side")
    work.edit("provider = ", "provider = openai")
    work.review()
    assert "`provider` has no value" in work.github.bodies()[0]
    work.review("--max-increase", "$50", code=3)
    work.review("--max-increase", "$50", "--allow-unknown")


def test_recipes_that_came_went_and_moved(work: Workflow) -> None:
    work.origin.git("mv", "r.recipe", "moved.recipe")
    work.origin.write("new.recipe", work.origin.read("moved.recipe").replace("10%", "50%").replace('"out"', '"out2"'))
    work.origin.commit("move")
    work.review()
    [body] = work.github.bodies()
    assert "### `new.recipe`: added" in body
    assert "### `moved.recipe`" not in body and "### `r.recipe`" not in body  # a new name is no change
    work.origin.git("checkout", "--quiet", "side")
    work.origin.git("rm", "--quiet", "moved.recipe", "new.recipe")
    work.origin.commit("gone")
    work.review("--max-increase", "$50")
    assert work.rise < 0 and "r.recipe" in work.github.bodies()[0]


# --- GitHub in trouble ------------------------------------------------------------------------------------------------


def test_a_fork_may_not_write_and_the_check_still_holds(work: Workflow) -> None:
    work.github.writable = False
    work.edit("select = 10%", "select = 20%")
    log = work.review(fork=True)
    says = "There is no comment, for the token of a pull request from a fork may only read."
    assert f"::notice title=alchemist review::{says}" in log
    assert says in work.summary and "10% -&gt; 20%" in work.summary
    work.review("--max-increase", "$2", fork=True, code=1)
    log = work.review()
    assert "::warning" in log and "`permissions: pull-requests: write`" in log


def test_without_a_token_there_is_the_summary(work: Workflow) -> None:
    work.edit("select = 10%", "select = 20%")
    log = work.review(GITHUB_TOKEN="")
    assert "There is no comment: GITHUB_TOKEN is empty" in log
    assert "10% -&gt; 20%" in work.summary and work.github.asked == []


def test_a_busy_api_is_waited_for(work: Workflow) -> None:
    work.edit("select = 10%", "select = 20%")
    work.github.faults = [
        ("GET", "comments", (429, {"retry-after": "0"})),
        ("GET", "comments", "cut"),
        ("GET", "comments", "garbage"),
        ("POST", "comments", "lost"),
    ]
    work.review()
    assert len(work.github.comments) == 1


def test_an_api_that_is_down_is_an_exit_3_and_the_summary_is_there(work: Workflow) -> None:
    work.edit("select = 10%", "select = 20%")
    work.github.faults = [("GET", "comments", (503, {"retry-after": "0"}, "down"))] * 6
    log = work.review(code=3)
    assert "::error title=alchemist review::The comment could not be written. GitHub's API (GET" in log
    assert "answered 503: down; given up after 6 tries" in log
    assert "10% -&gt; 20%" in work.summary and "could not be written" in work.summary
    work.github.faults = [("GET", "comments", (503, {"retry-after": "0"}, "down"))] * 6
    work.review("--max-increase", "$2", code=1)  # a no is a no, also without a comment


def test_a_long_comparison_is_cut_for_the_comment_alone(work: Workflow) -> None:
    text = work.origin.read("r.recipe").partition("export dataset")[0]
    steps = "".join(
        f'map step_{n} {{\n  from = harmonized\n  set note = "{"x" * 60}"\n}}\nexport e{n} {{\n  data = step_{n}\n  path = "out{n}"\n}}\n'
        for n in range(800)
    )
    work.origin.write("r.recipe", text + steps)
    work.origin.commit("long")
    work.review()
    [body] = work.github.bodies()
    assert 50_000 < len(body) <= 65_536
    assert (
        "*Cut here, for a comment holds no more; all of it is in [the job's summary](https://github.com/someone/recipes/actions/runs/123).*"
        in body
    )
    assert body.count("<details") == body.count("</details>")
    assert "step_799" in work.summary and "Cut here" not in work.summary


# --- what a pull request may not do -----------------------------------------------------------------------------------


def test_words_of_a_recipe_are_no_commands_of_the_workflow(work: Workflow) -> None:
    work.edit("provider = openai", "provider = openai\n  ::error::x = {")
    log = work.review(code=1)
    outside, quiet = [], ""
    for line in log.splitlines():
        if quiet:
            quiet = "" if line == f"::{quiet}::" else quiet
        elif line.startswith("::stop-commands::"):
            quiet = line.removeprefix("::stop-commands::")
        else:
            outside.append(line)
    assert not quiet and not any("::error::x" in line for line in outside)


def test_modules_of_the_checkout_are_not_run(work: Workflow) -> None:
    """The comparison runs beside files of a stranger."""
    for name in ("click.py", "json.py", "alchemist_dsl/__init__.py", "sitecustomize.py"):
        work.origin.write(name, "raise SystemExit('taken over')\n")
    work.edit("select = 10%", "select = 20%")
    assert "taken over" not in action(work)
    assert len(work.github.comments) == 1


# --- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "env", "says"),
    [
        (["--max-increase", "50"], {}, "`50` is no amount of money; write for example `$50`"),
        (["--max-increase", "$5 per 1k tokens"], {}, "is no amount of money"),
        (["--name", "a-->b"], {}, "letters, digits, spaces"),
        ([], {"GITHUB_EVENT_NAME": "push"}, "only pull requests can be commented; this is `push`"),
        ([], {"GITHUB_API_URL": "http://example.org"}, "over https only"),
    ],
)
def test_usage(options: list[str], env: dict[str, str], says: str, work: Workflow) -> None:
    assert says in work.review(*options, code=2, **env)
    assert work.github.asked == []


def test_outside_of_a_workflow(tmp_path: Path) -> None:
    lone = Repo(tmp_path / "lone")
    assert "GITHUB_EVENT_NAME is not set" in lone.alchemist("review", code=2)


# --- the Action -------------------------------------------------------------------------------------------------------


def action(work: Workflow, code: int = 0, **given: str) -> str:
    """The last step of the Action as its own text says, with `alchemist` where the step before installs it."""
    home = work.folder / "runner"
    (home / "alchemist" / "bin").mkdir(parents=True, exist_ok=True)
    program = home / "alchemist" / "bin" / "alchemist"
    program.write_text(f"#!{sys.executable} -P\nfrom alchemist_dsl.cli.main import main\nmain()\n")
    program.chmod(0o755)
    step = ACTION["runs"]["steps"][-1]
    values = {name: about.get("default", "") for name, about in ACTION["inputs"].items()} | given
    values["github-token"] = TOKEN
    own = {name: values[text.removeprefix("${{ inputs.").removesuffix(" }}")] for name, text in step["env"].items()}
    work.runs += 1
    work.step = work.folder / f"step{work.runs}"
    request: Pull = pull(work.origin)
    clone = request.checkout(work.folder / f"clone{work.runs}")
    env: dict[str, Any] = environment() | event(work.step, request) | own
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=clone.folder / values["working-directory"],
        capture_output=True,
        text=True,
        env=env | {"RUNNER_TEMP": str(home), "GITHUB_API_URL": work.github.url},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_action_passes_its_inputs_on(work: Workflow) -> None:
    work.edit("select = 10%", "select = 20%")
    action(work)
    assert "changed=true" in work.outputs
    action(work, code=1, **{"max-increase": "$2"})
    action(work, **{"max-increase": "$1k", "name": "two words"})
    assert [b.split("\n")[0] for b in work.github.bodies()] == [MARK, mark("two words")]
    assert "neither true nor false" in action(work, code=2, **{"allow-unknown": "maybe"})
    said = action(work, code=2, **{"max-increase": '$5"; echo pwned; "'})
    assert "is no amount of money" in said and "\npwned" not in said
    work.edit("  price {\n    input = $1 per 1k tokens\n    output = $1 per 1k tokens\n  }\n", "")
    action(work, code=3, **{"max-increase": "$50"})
    action(work, **{"max-increase": "$50", "allow-unknown": "true"})


def test_the_action_is_whole() -> None:
    used = set()
    for step in ACTION["runs"]["steps"]:
        assert step.get("shell") == "bash" or "uses" in step
        assert "${{" not in step.get("run", ""), "inputs go through the environment"
        texts = [*step.get("env", {}).values(), *step.get("with", {}).values(), step.get("working-directory", "")]
        used |= {str(t).removeprefix("${{ inputs.").removesuffix(" }}") for t in texts}
    assert ACTION["inputs"].keys() <= used
    ids = {step["id"] for step in ACTION["runs"]["steps"]}
    for about in ACTION["outputs"].values():
        assert about["value"].removeprefix("${{ steps.").partition(".")[0] in ids
    for name in ("constraints.txt", "pyproject.toml"):  # what the second step installs from
        assert Path(os.path.normpath(ROOT / ".github/actions/diff" / "../../.." / name)).is_file()


def test_the_workflow_that_new_writes_is_that_of_the_docs() -> None:
    text = (ROOT / "alchemist_dsl" / "starter" / "recipe-diff.yml").read_text()
    workflow = yaml.safe_load(text)
    used = workflow["jobs"]["diff"]["steps"][-1]
    assert used["uses"] == "OWNER/alchemist/.github/actions/diff@v1"
    assert used["with"].keys() <= ACTION["inputs"].keys()
    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write"}
    page = (ROOT / "docs" / "review.md").read_text()
    shown = "".join(f"{line}\n" for line in text.splitlines() if not line.strip().startswith("#"))
    assert f"```yaml\n{shown}```" in page
    for name in [*ACTION["inputs"], *ACTION["outputs"]]:
        assert f"`{name}`" in page, name


def test_a_checkout_without_history_is_an_exit_3(work: Workflow) -> None:
    work.edit("select = 10%", "select = 20%")
    request = pull(work.origin)
    clone = request.checkout(work.folder / "clone", "head", 1)
    env = environment() | with_api(event(work.folder / "step", request), work.github)
    done = subprocess.run(
        [sys.executable, "-m", "alchemist_dsl", "review"], cwd=clone.folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert done.stdout.startswith("::error title=alchemist review::the checkout holds too little history")
    assert "fetch-depth: 0" in done.stdout and work.github.asked == []
