"""The event of a workflow -> the pull request that it is about."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

#: Events whose payload names a pull request with both its sides.
EVENTS: Final = ("pull_request", "pull_request_target")
_SHA: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
T = TypeVar("T")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class EventError(ValueError):
    """The environment is not that of a workflow on a pull request; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What a workflow knows of its pull request, and where it speaks of it."""

    repository: str  # owner/name
    number: int
    base: str  # the commit of the branch that it goes to, when the event was made
    head: str  # its own last commit
    fork: bool
    api: str  # URL of the API
    page: str | None  # of the workflow's run


def pull_request(environment: Mapping[str, str]) -> PullRequest:
    """The pull request that GITHUB_EVENT_PATH tells of. Raises EventError."""
    name = environment.get("GITHUB_EVENT_NAME", "")
    if name not in EVENTS:
        found = f"this is `{name}`" if name else "GITHUB_EVENT_NAME is not set"
        raise EventError(f"only pull requests can be commented; {found}")
    event = _event(environment.get("GITHUB_EVENT_PATH", ""))
    request = _part(event, "pull_request", dict)
    base, head = _part(request, "base", dict), _part(request, "head", dict)
    repository = environment.get("GITHUB_REPOSITORY", "")
    if not _REPOSITORY.fullmatch(repository):
        raise EventError(f"GITHUB_REPOSITORY is `{repository}`, not OWNER/NAME")
    return PullRequest(
        repository,
        _part(request, "number", int),
        _commit(base),
        _commit(head),
        _full_name(head) != repository,
        _api(environment.get("GITHUB_API_URL") or "https://api.github.com"),
        _page(environment, repository),
    )


def _event(path: str) -> Any:
    if not path:
        raise EventError("GITHUB_EVENT_PATH is not set")
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise EventError(f"the event `{path}` cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise EventError(f"the event `{path}` is no JSON: {error}") from None


def _part(of: Any, key: str, kind: type[T]) -> T:
    value = of.get(key) if isinstance(of, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise EventError(f"the event has no `{key}`")
    return value


def _commit(side: dict[str, Any]) -> str:
    sha = _part(side, "sha", str)
    if not _SHA.fullmatch(sha):
        raise EventError(f"the event names a commit `{sha[:80]}`")
    return sha


def _full_name(head: dict[str, Any]) -> str | None:
    """The repository that the commits come from; None where it was deleted meanwhile."""
    repository = head.get("repo")
    return _part(repository, "full_name", str) if isinstance(repository, dict) else None


def _api(url: str) -> str:
    """The API's address. A token is never sent in the clear, but to this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return url.rstrip("/")
    raise EventError(f"GITHUB_API_URL is `{url}`; the token is sent over https only")


def _page(environment: Mapping[str, str], repository: str) -> str | None:
    server, run = environment.get("GITHUB_SERVER_URL"), environment.get("GITHUB_RUN_ID")
    return f"{server}/{repository}/actions/runs/{run}" if server and run else None


# --- workflow --------------------------------------------------------------------------------------------------------


def write_outputs(environment: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Set outputs of the step; their values are single lines."""
    _append(environment.get("GITHUB_OUTPUT"), "".join(f"{k}={v}\n" for k, v in values.items()))


def write_summary(environment: Mapping[str, str], text: str) -> None:
    """Add Markdown to the job's summary."""
    _append(environment.get("GITHUB_STEP_SUMMARY"), f"{text}\n")


def _append(path: str | None, text: str) -> None:
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


def annotate(kind: Literal["notice", "warning", "error"], text: str) -> None:
    """A message that GitHub shows at the top of the run."""
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::{kind} title=alchemist review::{escaped}", flush=True)


def log_others(text: str) -> None:
    """Put text that we did not write into the log. It may hold a recipe's own words, so no line of it is taken for a
    command.
    """
    if not text.strip():
        return
    stop = secrets.token_hex(16)
    sys.stdout.write(f"::stop-commands::{stop}\n{text.rstrip(chr(10))}\n::{stop}::\n")
    sys.stdout.flush()


# --- base ------------------------------------------------------------------------------------------------------------


class BaseError(Exception):
    """The checkout does not show what the pull request changes; the message says why, and what to write."""


def base_commit(folder: Path, request: PullRequest) -> str:
    """The commit from which a pull request goes out, fetched where the checkout lacks it. Raises BaseError.

    A workflow checks out the merge of both sides: then its first parent. Where it checks out the pull request's own
    commit, the last one that both sides share, so that what came to the base since is not taken for a change.
    """
    parents = _parents(folder)
    if len(parents) == 2 and parents[1] == request.head:
        _fetched(folder, parents[0])
        return parents[0]
    if not _holds(folder, request.head):
        raise BaseError(
            f"the checkout is not that of the pull request: it lacks {request.head[:9]}; under `pull_request_target`,"
            " actions/checkout wants `ref: ${{ github.event.pull_request.head.sha }}`"
        )
    _fetched(folder, request.base)
    found = _git(folder, "merge-base", request.base, "HEAD")
    if found.returncode:
        raise BaseError(
            "the checkout holds too little history to find where the pull request begins; give actions/checkout"
            " `fetch-depth: 0`"
        )
    return found.stdout.strip()


def _parents(folder: Path) -> list[str]:
    """The parents of HEAD as it was committed, also those that a shallow checkout lacks."""
    found = _git(folder, "cat-file", "-p", "HEAD")
    if found.returncode:
        raise BaseError(f"`{folder}` is no checkout: {_first(found.stderr)}")
    head = found.stdout.partition("\n\n")[0].splitlines()
    return [line.split()[1] for line in head if line.startswith("parent ")]


def _holds(folder: Path, commit: str) -> bool:
    """Whether HEAD is a commit or goes back to it."""
    return _git(folder, "merge-base", "--is-ancestor", commit, "HEAD").returncode == 0


def _fetched(folder: Path, commit: str) -> None:
    if _git(folder, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0:
        return
    done = _git(folder, "fetch", "--quiet", "--no-tags", "--depth=1", "origin", commit)
    if done.returncode:
        raise BaseError(
            f"the commit {commit[:9]} cannot be fetched: {_first(done.stderr)}; give actions/checkout `fetch-depth: 0`"
        )


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise BaseError(f"git cannot be started: {error.strerror}") from None


def _first(text: str) -> str:
    return next(iter(text.strip().splitlines()), "no reason given")[:200]
