"""The checkout of a workflow -> the commit that its pull request is compared with."""

from __future__ import annotations

import subprocess
from pathlib import Path

from alchemist_dsl.review.event import PullRequest


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
