"""Which commit a pull request is compared with, in every checkout that Actions makes; and what the event must say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from git_repo import Repo
from pull_requests import Pull, event, pull

from alchemist_dsl.review.event import BaseError, EventError, PullRequest, base_commit, pull_request


@pytest.fixture
def request_(tmp_path: Path) -> Pull:
    """`main` went on after `side` left it."""
    origin = Repo(tmp_path / "origin")
    origin.write("a", "1")
    origin.commit("fork point")
    origin.git("checkout", "--quiet", "-b", "side")
    origin.write("b", "1")
    origin.commit("side")
    origin.git("checkout", "--quiet", "main")
    origin.write("c", "1")
    origin.commit("main goes on")
    return pull(origin)


def seen(folder: Path, request: Pull, **more: Any) -> PullRequest:
    return pull_request(event(folder / "step", request, **more))


@pytest.mark.parametrize("depth", [None, 1, 2])
def test_of_a_merge_it_is_the_first_parent(depth: int | None, request_: Pull, tmp_path: Path) -> None:
    clone = request_.checkout(tmp_path / "clone", "merge", depth)
    found = base_commit(clone.folder, seen(tmp_path, request_))
    assert found == request_.base
    assert clone.git("diff", "--name-only", found) == "b\n"  # the commit is there


def test_of_the_pull_requests_own_commit_it_is_where_it_left(request_: Pull, tmp_path: Path) -> None:
    clone = request_.checkout(tmp_path / "clone", "head")
    found = base_commit(clone.folder, seen(tmp_path, request_))
    assert clone.git("log", "-1", "--format=%s", found) == "fork point\n"
    assert clone.git("diff", "--name-only", found) == "b\n"


def test_without_history_it_is_said(request_: Pull, tmp_path: Path) -> None:
    clone = request_.checkout(tmp_path / "clone", "head", 1)
    with pytest.raises(BaseError, match=r"too little history .* `fetch-depth: 0`"):
        base_commit(clone.folder, seen(tmp_path, request_))


def test_a_checkout_of_the_base_is_not_taken_for_no_change(request_: Pull, tmp_path: Path) -> None:
    clone = request_.checkout(tmp_path / "clone", "base")
    with pytest.raises(BaseError, match=r"not that of the pull request.*pull_request_target"):
        base_commit(clone.folder, seen(tmp_path, request_, name="pull_request_target"))


def test_a_base_that_cannot_be_fetched(request_: Pull, tmp_path: Path) -> None:
    clone = request_.checkout(tmp_path / "clone", "head", 1)
    known = replace(seen(tmp_path, request_), base="0" * 39 + "1")
    with pytest.raises(BaseError, match="the commit 000000000 cannot be fetched: "):
        base_commit(clone.folder, known)
    with pytest.raises(BaseError, match="is no checkout"):
        base_commit(tmp_path, known)


# --- the event --------------------------------------------------------------------------------------------------------


def test_what_the_event_says(request_: Pull, tmp_path: Path) -> None:
    found = seen(tmp_path, request_)
    assert (found.number, found.base, found.head, found.fork) == (7, request_.base, request_.head, False)
    assert found.api == "https://api.github.com"
    assert found.page == "https://github.com/someone/recipes/actions/runs/123"
    assert seen(tmp_path, request_, fork=True).fork


def test_a_fork_that_was_deleted_is_a_fork(request_: Pull, tmp_path: Path) -> None:
    environment = event(tmp_path, request_)
    path = tmp_path / "event.json"
    payload = json.loads(path.read_text())
    payload["pull_request"]["head"]["repo"] = None
    path.write_text(json.dumps(payload))
    assert pull_request(environment).fork


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"GITHUB_EVENT_NAME": "push"}, "only pull requests can be commented; this is `push`"),
        ({"GITHUB_EVENT_NAME": ""}, "GITHUB_EVENT_NAME is not set"),
        ({"GITHUB_EVENT_PATH": ""}, "GITHUB_EVENT_PATH is not set"),
        ({"GITHUB_EVENT_PATH": "/nowhere"}, "`/nowhere` cannot be read: No such file"),
        ({"GITHUB_REPOSITORY": "x"}, "GITHUB_REPOSITORY is `x`, not OWNER/NAME"),
        ({"GITHUB_API_URL": "http://api.example.org"}, "the token is sent over https only"),
        ({"GITHUB_API_URL": "file:///etc"}, "the token is sent over https only"),
    ],
)
def test_what_is_missing_is_named(change: dict[str, str], says: str, request_: Pull, tmp_path: Path) -> None:
    with pytest.raises(EventError, match=says):
        pull_request(event(tmp_path, request_) | change)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no JSON"),
        ("[]", "the event has no `pull_request`"),
        ('{"pull_request": {"number": true, "base": {}, "head": {}}}', "the event has no `number`"),
        (
            '{"pull_request": {"number": 1, "base": {"sha": "--upload-pack=x"}, "head": {}}}',
            "names a commit `--upload-pack=x`",
        ),
    ],
)
def test_an_event_of_another_form(text: str, says: str, request_: Pull, tmp_path: Path) -> None:
    environment = event(tmp_path, request_)
    (tmp_path / "event.json").write_text(text)
    with pytest.raises(EventError, match=says):
        pull_request(environment)
