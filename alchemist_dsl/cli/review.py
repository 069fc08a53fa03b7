"""`alchemist review`: one comment on a pull request with what its recipes change, and a check of what that costs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

if TYPE_CHECKING:
    from alchemist_dsl.review.event import PullRequest
    from alchemist_dsl.review.github import ApiError, Increase, Verdict

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/]{0,59}")
_SECRETS: Final = ("GITHUB_TOKEN", "GH_TOKEN")
_CUT: Final = "*Cut here, for a comment holds no more; all of it is in {}.*"


@dataclass(frozen=True, slots=True)
class Compared:
    """Both sides of a pull request, compared."""

    changed: bool
    increase: Increase
    markdown: str
    broken: tuple[str, ...]  # recipes that cannot be read as they are now


@click.command()
@click.option("--max-increase", metavar="$N", help="Fail where making everything anew costs more by over this much.")
@click.option("--allow-unknown", is_flag=True, help="Pass where the change of the cost is unknown.")
@click.option("--name", default="recipes", show_default=True, help="Which comment: one of each name is kept.")
def review(max_increase: str | None, allow_unknown: bool, name: str) -> None:
    """Comment on a pull request on GitHub with what its recipes change.

    For workflows; the Action in .github/actions/diff calls it.

    Reads the event of the workflow (GITHUB_EVENT_PATH) and compares the checkout with the commit that the pull request
    goes out from, by the figures in recipe.lock. Keeps one comment, and none where nothing changed. The token is read
    from GITHUB_TOKEN; one that may not write leaves the text in the job's summary.
    """
    from alchemist_dsl.review.event import BaseError, EventError, base_commit, pull_request
    from alchemist_dsl.review.github import FormError, verdict

    most = _money(max_increase)
    if not _NAME.fullmatch(name):
        raise click.UsageError(f"`--name {name}`: letters, digits, spaces and `._/`, at most 60")
    try:
        request = pull_request(os.environ)
    except EventError as error:
        raise click.UsageError(str(error)) from None
    try:
        base = base_commit(Path(), request)
        compared = _compared(base)
    except (BaseError, FormError) as error:
        _fail(str(error))
    found = None
    if most is not None and compared.changed:
        found = verdict(compared.increase, most, allow_unknown)
    sys.exit(_tell(request, compared, found, name))


def _money(text: str | None) -> Fraction | None:
    from alchemist_dsl.syntax import ast
    from alchemist_dsl.syntax.parse import parse_value

    if not text:
        return None
    value, problems = parse_value(text, "--max-increase")
    if problems or not isinstance(value, ast.Quantity) or value.kind != "money":
        raise click.BadParameter(
            f"`{text}` is no amount of money; write for example `$50`", param_hint="--max-increase"
        )
    return value.value


def _fail(text: str) -> NoReturn:
    from alchemist_dsl.review.event import annotate

    annotate("error", text)
    sys.exit(3)


# --- comparing --------------------------------------------------------------------------------------------------------


def _compared(base: str) -> Compared:
    """Both sides by `alchemist diff`, in a process that knows no token. Raises FormError where it gives no
    comparison.
    """
    from alchemist_dsl.review.github import FormError, Increase, increase

    done = _alchemist("diff", base[:12], "--format", "json")
    try:
        data = json.loads(done.stdout)
        form = str(data["diff_format"])
        recipes = [dict(recipe) for recipe in data["recipes"]]
        changed = bool(data["changed"]) and not all(map(_is_as_before, recipes))
    except (ValueError, KeyError, TypeError):
        raise FormError(f"`alchemist diff` gave no comparison (exit code {done.returncode})") from None
    if form.partition(".")[0] != "1":
        raise FormError(f"`alchemist diff` writes format {form}, which this program does not know")
    unread = [r for r in recipes if r.get("status") == "unreadable"]
    rise = Increase() if unread else increase(data)  # unknown, whatever the others come to
    broken = tuple(str(r.get("path")) for r in unread if _is_broken(r))
    return Compared(changed, rise, _markdown(base) if changed else "", broken)


def _markdown(base: str) -> str:
    from alchemist_dsl.review.github import FormError

    done = _alchemist("diff", base[:12], "--format", "markdown")
    if done.returncode not in (0, 1) or not done.stdout.strip():
        raise FormError(f"`alchemist diff` gave no text (exit code {done.returncode})")
    return done.stdout.strip()


def _is_as_before(recipe: dict[str, Any]) -> bool:
    """Whether a recipe says the same: only its layout, comments or order changed."""
    same = recipe.get("status") in ("same", "changed") and not recipe.get("relaxed")
    return same and recipe.get("category") in ("same", "cosmetic")


def _is_broken(recipe: dict[str, Any]) -> bool:
    """Whether an unreadable recipe is so as it is now, not only before."""
    sides = {d.get("side") for d in recipe.get("diagnostics", ()) if d.get("severity") == "error"}
    return not sides or recipe.get("after") in sides


def _alchemist(*arguments: str) -> subprocess.CompletedProcess[str]:
    from alchemist_dsl.project.facts_on_disk import ONLY_PROJECT
    from alchemist_dsl.review.event import log_others

    # `-P`: the checkout is the pull request's, and no module of it is ours
    own = {k: v for k, v in os.environ.items() if k not in _SECRETS} | {ONLY_PROJECT: "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "alchemist_dsl", *arguments],
        env=own,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
    )
    log_others(done.stderr)
    return done


# --- telling ----------------------------------------------------------------------------------------------------------


def _tell(request: PullRequest, compared: Compared, found: Verdict | None, name: str) -> int:
    """Outputs, summary, comment and annotations; the exit code."""
    from alchemist_dsl.review.event import annotate, write_outputs, write_summary
    from alchemist_dsl.review.github import LONGEST_SUMMARY, cut

    rise = compared.increase.plain if compared.changed else "0"
    write_outputs(os.environ, {"changed": str(compared.changed).lower(), "cost-increase": rise})
    head, foot = _around(request, compared, found, name)
    problem, code = _comment(request, head, compared, foot, name)
    body = cut(compared.markdown, LONGEST_SUMMARY, "*Cut here, for a summary holds no more.*")
    write_summary(os.environ, "\n\n".join(filter(None, [head, body, foot, problem])))
    for path in compared.broken:
        annotate("error", f"`{path}` cannot be read as it is now; `alchemist check {path}` says why")
    if found is not None:
        annotate("notice" if found.truth == "pass" else "error", found.text)
    if compared.broken or (found is not None and found.truth == "fail"):
        return 1
    return 3 if found is not None and found.truth == "unknown" else code


def _around(request: PullRequest, compared: Compared, found: Verdict | None, name: str) -> tuple[str, str]:
    """What stands before and behind the comparison."""
    from importlib.metadata import version

    title = "### What changes in the recipes" + (f": {name}" if name != "recipes" else "")
    if not compared.changed:
        return f"{title}\n\nNothing.", ""
    if found is not None:
        sign = {"pass": "Within the limit", "fail": "Over the limit", "unknown": "Not evaluated"}
        title += f"\n\n**{sign[found.truth]}.** {found.text}"
    run = f" · [run]({request.page})" if request.page else ""
    foot = f"<sub>{request.head[:9]} · figures from `recipe.lock` · alchemist {version('alchemist-dsl')}{run}</sub>"
    return title, foot


def _comment(request: PullRequest, head: str, compared: Compared, foot: str, name: str) -> tuple[str, int]:
    """Keep the comment: what to say where it could not be, and the exit code that it asks for."""
    from alchemist_dsl.review.event import annotate
    from alchemist_dsl.review.github import LONGEST, Api, ApiError, Sticky, cut, mark, size

    token = os.environ.get("GITHUB_TOKEN", "")
    if not token:
        text = "There is no comment: GITHUB_TOKEN is empty. The job's summary holds the text."
        annotate("warning", text)
        return text, 0
    sticky = Sticky(Api(request.api, token), request.repository, request.number, name)
    try:
        if not compared.changed:
            done: str = sticky.remove()
        else:
            place = f"[the job's summary]({request.page})" if request.page else "the job's summary"
            around = size(f"{mark(name)}\n{head}\n\n\n\n{foot}\n")
            body = cut(compared.markdown, LONGEST - around, _CUT.format(place))
            done = sticky.keep("\n\n".join(filter(None, [head, body, foot])))
    except ApiError as error:
        text = _unsaid(request, error)
        annotate("notice" if error.refused and request.fork else "warning" if error.refused else "error", text)
        return text, 0 if error.refused else 3
    print(f"comment: {done}", flush=True)
    return "", 0


def _unsaid(request: PullRequest, error: ApiError) -> str:
    """Why there is no comment, and what helps."""
    if not error.refused:
        return f"The comment could not be written. {error}. Run the job again."
    if request.fork:
        return (
            "There is no comment, for the token of a pull request from a fork may only read. The job's summary holds"
            " the text."
        )
    return (
        "The comment could not be written: the token may not. The workflow wants `permissions: pull-requests: write`."
        f" {error}"
    )
