"""A pull request as a workflow sees it: its repository, the checkout that Actions makes, the event, the environment of
a step.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from git_repo import Repo
from github_server import REPOSITORY, TOKEN, GitHub


@dataclass
class Pull:
    """`origin` with both sides, and what the event says of them."""

    origin: Repo
    base: str
    head: str

    def checkout(self, folder: Path, what: str = "merge", depth: int | None = None) -> Repo:
        """The checkout of a workflow: of the merge of both sides, of the pull request's own commit, or of the base."""
        clone = Repo(folder)
        clone.git("remote", "add", "origin", self.origin.folder.as_uri())
        ref = {"merge": "refs/pull/7/merge", "head": "refs/pull/7/head", "base": "main"}[what]
        some = () if depth is None else (f"--depth={depth}",)
        more = () if depth is not None else ("+refs/heads/*:refs/remotes/origin/*",)
        clone.git("fetch", "--quiet", *some, "origin", f"+{ref}:refs/remotes/pull", *more)
        clone.git("checkout", "--quiet", "--detach", "refs/remotes/pull")
        return clone


def pull(origin: Repo) -> Pull:
    """The branch `side` of a repository as a pull request to `main`, merged for trial as GitHub does it."""
    origin.git("checkout", "--quiet", "main")
    base = origin.git("rev-parse", "main").strip()
    head = origin.git("rev-parse", "side").strip()
    origin.git("checkout", "--quiet", "--detach", "main")
    origin.git("merge", "--quiet", "--no-ff", "--no-edit", "side")
    origin.git("update-ref", "refs/pull/7/merge", "HEAD")
    origin.git("update-ref", "refs/pull/7/head", head)
    origin.git("checkout", "--quiet", "main")
    origin.git("config", "uploadpack.allowReachableSHA1InWant", "true")
    return Pull(origin, base, head)


def event(folder: Path, request: Pull, fork: bool = False, name: str = "pull_request") -> dict[str, str]:
    """The environment of a step, with the event in a file of the folder."""
    folder.mkdir(exist_ok=True)
    come_from = "other/recipes" if fork else REPOSITORY
    payload = {
        "action": "synchronize",
        "number": 7,
        "pull_request": {
            "number": 7,
            "state": "open",
            "head": {"ref": "side", "sha": request.head, "repo": {"full_name": come_from, "fork": fork}},
            "base": {"ref": "main", "sha": request.base, "repo": {"full_name": REPOSITORY}},
        },
        "repository": {"full_name": REPOSITORY},
    }
    (folder / "event.json").write_text(json.dumps(payload))
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": name,
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_RUN_ID": "123",
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }


def with_api(environment: dict[str, str], github: GitHub) -> dict[str, str]:
    return environment | {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": TOKEN}
