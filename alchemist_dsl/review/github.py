"""GitHub's REST API as the review needs it: JSON over HTTP, patient with a busy server, silent about the token."""

from __future__ import annotations

import email.utils
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from email.message import Message
from fractions import Fraction
from typing import Any, Final, Literal
from urllib.parse import urljoin, urlsplit

#: Answers after which the same request may succeed.
BUSY: Final = frozenset({429, 500, 502, 503, 504})
REDIRECTS: Final = frozenset({301, 302, 307, 308})
PER_PAGE: Final = 100
_PAGES: Final = 100  # 10,000 comments
_MINUTE: Final = 60.0
_SECONDS: Final = 30.0  # for one answer


class ApiError(Exception):
    """The API said no, or nothing for too long. `status` is 0 where no answer came."""

    def __init__(self, what: str, status: int = 0) -> None:
        super().__init__(what)
        self.status = status

    @property
    def refused(self) -> bool:
        """Whether the token may not do it: the read-only one of a fork, or missing permissions of the workflow."""
        return self.status in (403, 404)


class Busy(ApiError):
    """The API asks to come back, or the connection broke: nobody knows whether the request was carried out."""

    def __init__(self, what: str, status: int = 0, wait: float | None = None) -> None:
        super().__init__(what, status)
        self.wait = wait  # seconds that the server asks for


@dataclass(slots=True)
class Patience:
    """How long all requests together wait for a busy server."""

    seconds: float = 120.0
    tries: int = 6
    sleep: Callable[[float], None] = time.sleep
    _tried: int = 0

    def pause(self, busy: Busy) -> None:
        """Wait before the next try; raises what happened where patience is at its end."""
        self._tried += 1
        wait = min(2.0 ** (self._tried - 1), 30.0) if busy.wait is None else busy.wait
        if self._tried >= self.tries or wait > self.seconds:
            raise ApiError(f"{busy}; given up after {self._tried} tries", busy.status) from busy
        self.seconds -= wait
        self.sleep(wait)


class _Stay(urllib.request.HTTPRedirectHandler):
    """No redirect is followed unseen: it would take the token along, to any host."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER: Final = urllib.request.build_opener(_Stay)


@dataclass(slots=True)
class Api:
    """One repository's API, by its URL and a token."""

    url: str
    token: str = field(repr=False)
    patience: Patience = field(default_factory=Patience)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request that may be sent twice, until it is answered. Raises ApiError."""
        while True:
            try:
                return self.once(method, path, body)[0]
            except Busy as busy:
                self.patience.pause(busy)

    def pages(self, path: str) -> Iterator[Any]:
        """All items of a list, page by page. Raises ApiError."""
        for number in range(1, _PAGES + 1):
            items, more = self._page(f"{path}?per_page={PER_PAGE}&page={number}")
            yield from items
            if not more:
                return

    def _page(self, path: str) -> tuple[list[Any], bool]:
        while True:
            try:
                items, headers = self.once("GET", path)
                if not isinstance(items, list):
                    raise Busy(f"{_called('GET', path)} gave no list")
                more = 'rel="next"' in (headers.get("link") or "")
                return items, more or len(items) == PER_PAGE
            except Busy as busy:
                self.patience.pause(busy)

    def once(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[Any, Message]:
        """Send one request: what it gave, and the headers. Raises Busy where it may be sent again, ApiError
        otherwise.
        """
        url = f"{self.url}{path}"
        for _ in range(4):
            try:
                with _OPENER.open(self._request(method, url, body), timeout=_SECONDS) as answer:
                    return _read(method, path, answer.read()), answer.headers
            except urllib.error.HTTPError as error:
                if error.code not in REDIRECTS:
                    raise self._refusal(method, path, error) from None
                url = self._moved(method, path, url, error)
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", None) or str(error) or type(error).__name__
                raise Busy(self._clean(f"{_called(method, path)} got no answer: {reason}")) from None
        raise ApiError(f"{_called(method, path)} is sent from address to address")

    def _request(self, method: str, url: str, body: Mapping[str, Any] | None) -> urllib.request.Request:
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self.token}",
            "User-Agent": "alchemist-review",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        return urllib.request.Request(url, data, headers, method=method)

    def _moved(self, method: str, path: str, url: str, error: urllib.error.HTTPError) -> str:
        """The new address of a repository that was renamed; only on the same host, for the token goes there."""
        to = urljoin(url, error.headers.get("location") or "")
        if urlsplit(to)[:2] != urlsplit(url)[:2]:
            raise ApiError(f"{_called(method, path)} is sent to another host; not followed", error.code)
        return to

    def _refusal(self, method: str, path: str, error: urllib.error.HTTPError) -> ApiError:
        try:
            said = json.loads(error.read())["message"]
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            said = error.reason
        what = self._clean(f"{_called(method, path)} answered {error.code}: {said}")
        wait = _wait(error.headers)
        if wait is None and "rate limit" in what.lower():
            wait = _MINUTE  # what GitHub asks for where it names no time
        if error.code in BUSY or (error.code == 403 and wait is not None):
            return Busy(what, error.code, wait)
        return ApiError(what, error.code)

    def _clean(self, text: str) -> str:
        """A message of one line, without the token."""
        line = " ".join(text.split())[:300]
        return line.replace(self.token, "***") if self.token else line


def _called(method: str, path: str) -> str:
    return f"GitHub's API ({method} {path.partition('?')[0]})"


def _read(method: str, path: str, data: bytes) -> Any:
    """The JSON of an answer. Of what was written nothing is needed but that it was."""
    try:
        return json.loads(data) if data else None
    except ValueError:
        if method != "GET":
            return None
        raise Busy(f"{_called(method, path)} gave no JSON") from None


def _wait(headers: Message) -> float | None:
    """Seconds that an answer asks to wait: Retry-After as number or date, or the end of a used-up quota."""
    after = headers.get("retry-after")
    if after is not None:
        try:
            return max(0.0, float(after))
        except ValueError:
            pass
        try:
            return max(0.0, email.utils.parsedate_to_datetime(after).timestamp() - time.time())
        except ValueError:
            return None
    if headers.get("x-ratelimit-remaining") == "0":
        try:
            return max(0.0, float(headers["x-ratelimit-reset"]) - time.time())
        except (TypeError, ValueError):
            return None
    return None


# --- comment ---------------------------------------------------------------------------------------------------------

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
