"""GitHub's REST API as the review needs it: JSON over HTTP, patient with a busy server, silent about the token."""

from __future__ import annotations

import email.utils
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, Final
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
