"""One comment that stays: found by a hidden mark, made, changed, or taken away; and a text cut to the length that
fits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any, Final, Literal

from alchemist_dsl.review.github import Api, ApiError, Busy

#: What GitHub takes for a comment, in characters; a job's summary takes 1 MiB, and a character has up to three bytes.
LONGEST: Final = 65_536
LONGEST_SUMMARY: Final = 340_000
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")

Done = Literal["created", "updated", "unchanged", "deleted", "none"]


def mark(name: str) -> str:
    """The first line of the comment, which nobody sees."""
    return f"<!-- alchemist review: {name} -->"


# --- length -----------------------------------------------------------------------------------------------------------


def size(text: str) -> int:
    """Length as the strictest counts it: characters beyond the basic plane are two."""
    return len(text) + sum(c > "\uffff" for c in text)


def cut(text: str, longest: int, note: str) -> str:
    """As many whole lines of a Markdown text as fit, what is open closed, and a note; the text itself where it fits."""
    if size(text) <= longest:
        return text
    left = longest - size(note) - 3
    lines = text.split("\n")
    kept: list[str] = []
    fence, details = "", 0  # what is open behind the lines that are kept
    for line in lines:
        left -= size(line) + 1
        now, inside = _after(line, fence, details)
        if left < len(_closing(now, inside)):
            break
        kept.append(line)
        fence, details = now, inside
    return "\n".join(kept) + _closing(fence, details) + f"\n\n{note}\n"


def _after(line: str, fence: str, details: int) -> tuple[str, int]:
    """The open fence, and how many `<details>` are open, behind a line."""
    found = _FENCE.match(line)
    if fence:
        closes = found and found[1].startswith(fence) and not line[found.end() :].strip()
        return ("" if closes else fence), details
    if found:
        return found[1], details
    return "", max(0, details + line.count("<details") - line.count("</details>"))


def _closing(fence: str, details: int) -> str:
    return (f"\n{fence}" if fence else "") + "\n\n</details>" * details


# --- the comment ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Sticky:
    """The comment of a name on a pull request."""

    api: Api
    repository: str
    number: int
    name: str

    def keep(self, body: str) -> Done:
        """See that the pull request has one comment of the name, with this text. Raises ApiError."""
        text = f"{mark(self.name)}\n{body}"
        mine = self._mine()
        for spare in mine[1:]:  # two runs at once made one each
            self._delete(spare)
        if not mine:
            return self._create(text)
        if mine[0].get("body") == text:
            return "unchanged"
        try:
            self.api.call("PATCH", self._comment(mine[0]), {"body": text})
        except ApiError as error:
            if error.status == 404:  # somebody deleted it meanwhile
                return self._create(text)
            raise
        return "updated"

    def remove(self) -> Done:
        """See that the pull request has no comment of the name. Raises ApiError."""
        mine = self._mine()
        for comment in mine:
            self._delete(comment)
        return "deleted" if mine else "none"

    def _create(self, text: str) -> Done:
        """Make the comment. Where an answer is lost it may have been made all the same, so it is looked for before the
        next try.
        """
        while True:
            try:
                self.api.once("POST", self._comments(), {"body": text})
                return "created"
            except Busy as busy:
                self.api.patience.pause(busy)
            if self._mine():
                return "created"

    def _delete(self, comment: dict[str, Any]) -> None:
        try:
            self.api.call("DELETE", self._comment(comment))
        except ApiError as error:
            if error.status != 404:  # gone is gone
                raise

    def _mine(self) -> list[dict[str, Any]]:
        """The comments that begin with the mark and that we wrote, oldest first. A person who copies the mark keeps the
        comment.
        """
        marked = [c for c in self.api.pages(self._comments()) if self._is_marked(c)]
        if not marked:
            return []
        me = self._me()
        ours = [c for c in marked if _by(c, me)]
        return sorted(ours, key=lambda c: int(c["id"]))

    def _is_marked(self, comment: Any) -> bool:
        if not isinstance(comment, dict) or not isinstance(comment.get("id"), int):
            return False
        lines = str(comment.get("body") or "").splitlines()
        return bool(lines) and lines[0].rstrip() == mark(self.name)

    def _me(self) -> str | None:
        """The login that the token stands for; None for the token of a workflow, which is a bot's and may not ask."""
        try:
            user = self.api.call("GET", "/user")
        except ApiError as error:
            if error.refused:
                return None
            raise
        login = user.get("login") if isinstance(user, dict) else None
        return login if isinstance(login, str) else None

    def _comments(self) -> str:
        return f"/repos/{self.repository}/issues/{self.number}/comments"

    def _comment(self, comment: dict[str, Any]) -> str:
        return f"/repos/{self.repository}/issues/comments/{comment['id']}"


def _by(comment: dict[str, Any], me: str | None) -> bool:
    user = comment.get("user")
    if not isinstance(user, dict):
        return False
    return user.get("type") == "Bot" if me is None else user.get("login") == me


# --- verdict ---------------------------------------------------------------------------------------------------------

Truth = Literal["pass", "fail", "unknown"]


class FormError(ValueError):
    """The comparison is in a form that this program does not know."""


@dataclass(frozen=True, slots=True)
class Increase:
    """By how much making everything anew costs more. None: nobody knows that bound."""

    low: Fraction | None = None
    value: Fraction | None = None
    high: Fraction | None = None

    def above(self, most: Fraction) -> bool | None:
        """Whether it is above a limit; None where it may be or not. What is spent counts at the high end of its
        range.
        """
        if self.low is not None and self.low > most:
            return True
        if self.high is None:
            return None
        if self.high <= most:
            return False
        return True if self.value is not None and self.value > most else None

    @property
    def shown(self) -> str:
        """For people: `$12.50`, with its range where that is one."""
        if self.value is None:
            return "unknown"
        text = _dollars(self.value)
        if self.low == self.value == self.high or self.low is None or self.high is None:
            return text
        return f"{text} ({_dollars(self.low)} to {_dollars(self.high)})"

    @property
    def plain(self) -> str:
        """For other programs: dollars as a decimal number, or `unknown`."""
        return "unknown" if self.value is None else _decimal(self.value)


@dataclass(frozen=True, slots=True)
class Verdict:
    truth: Truth
    text: str  # one sentence


def increase(comparison: Mapping[str, Any]) -> Increase:
    """The rise of the cost from scratch, over all recipes. Raises FormError."""
    pair = comparison.get("totals", {}).get("usd_scratch")
    delta = pair.get("delta") if isinstance(pair, Mapping) else None
    if delta is None:
        return Increase()
    try:
        low, value, high = (
            None if delta.get(end) is None else Fraction(str(delta[end])) for end in ("low", "value", "high")
        )
    except (AttributeError, ValueError) as error:
        raise FormError(f"the cost of the comparison cannot be read: {error}") from None
    return Increase(low, value, high)


def verdict(found: Increase, most: Fraction, allow_unknown: bool) -> Verdict:
    """What a limit says of a rise. Unknown is neither above nor below, and passes only where that is allowed."""
    limit = f"`max-increase` is {_dollars(most)}"
    match found.above(most):
        case True:
            return Verdict("fail", f"The cost from scratch rises by {found.shown}; {limit}.")
        case False:
            return Verdict("pass", f"The cost from scratch changes by {found.shown}; {limit}.")
        case None:
            why = (
                "The change of the cost from scratch is unknown"
                if found.value is None
                else f"The cost from scratch changes by {found.shown}, within the limit or not"
            )
            end = "that is allowed (`allow-unknown`)" if allow_unknown else "the limit could not be evaluated"
            return Verdict("pass" if allow_unknown else "unknown", f"{why}: {end}; {limit}.")


def _dollars(amount: Fraction) -> str:
    cents = Decimal(amount.numerator) / Decimal(amount.denominator)
    rounded = cents.quantize(Decimal("0.01"), ROUND_HALF_UP)
    text = f"{abs(rounded):,.2f}".removesuffix(".00")
    if amount and not rounded:
        text = "0.01"
        return f"less than ${text}" if amount > 0 else f"up to -${text}"
    return f"-${text}" if rounded < 0 else f"${text}"


def _decimal(amount: Fraction) -> str:
    """At most six places, without an exponent."""
    number = (Decimal(amount.numerator) / Decimal(amount.denominator)).quantize(Decimal("0.000001"), ROUND_HALF_UP)
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") or "0"
