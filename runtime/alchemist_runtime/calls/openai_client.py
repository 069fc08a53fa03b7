"""Teachers behind an OpenAI-compatible server: chat completions with the settings of the openai package, over aiohttp.

The package's client says what each request carries (key, headers, certificates); each call is one request of an aiohttp
session, and of the response only the text and the token counts are read. That is a fifth of the time that its own way
takes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from alchemist_runtime.calls import answers, completion
from alchemist_runtime.calls.teacher import OFFICIAL, UNREAD, CallFailed, Reply, Request, is_local, scrub, whole
from alchemist_runtime.schema import plan
from alchemist_runtime.schema.codes import Problem, RunError

if TYPE_CHECKING:
    import aiohttp
    from openai import AsyncOpenAI

TOP_LOGPROBS = 20
#: Parameters that are left out where a server does not take them, and those that have another name there.
_LEFT_OUT = frozenset({"temperature", "top_p"})
_RENAMED = {"max_tokens": "max_completion_tokens"}
#: Servers that go on from a last turn where it says so, and those that do so unasked; others are asked as vLLM and
#: SGLang are.
_PREFIXED = frozenset({"api.deepseek.com", "api.mistral.ai"})
_GO_ON = frozenset({"api.anthropic.com", "api.groq.com", "openrouter.ai"})


#: What a server did that does not go on with a user's turn: one that does sends the role of that turn back.
_ANSWERED = (
    "the server answered the user's turn instead of going on with it, as vLLM does with `continue_final_message`"
)


def key_of(spec: plan.Teacher) -> str:
    """The key from its environment variable. RunError A701 where it is not set.

    A server of another address gets a key only where the recipe names the variable; else, and for a local server whose
    variable is not set, a dummy."""
    if spec.api_key_env is None and spec.base_url is not None:
        return "none"
    variable = spec.api_key_env or "OPENAI_API_KEY"
    key = os.environ.get(variable, "").strip()
    if key:
        return key
    if is_local(spec.base_url):
        return "none"
    where = scrub(spec.base_url or OFFICIAL)
    raise RunError(
        Problem(
            "A701",
            f"the environment variable `{variable}` with the key of `{spec.name}` is not set",
            note=f"`{spec.name}` is asked at {where}",
            help=f"set `{variable}`, or name another variable with `api_key_env`",
        )
    )


def headers_of(spec: plan.Teacher) -> dict[str, str]:
    """The headers of `headers_env` with their values. RunError A701 where one is not set or is no value of a header."""
    found = {}
    for header, variable in spec.headers_env.items():
        value = os.environ.get(variable, "").strip()
        if not value or not value.isascii() or not value.isprintable():
            is_set = "holds what no header can" if value else "is not set"
            raise RunError(
                Problem(
                    "A701",
                    f"the environment variable `{variable}` with the header `{header}` of `{spec.name}` {is_set}",
                    note=f"`{spec.name}` is asked at {scrub(spec.base_url or OFFICIAL)}",
                    help=f"set `{variable}`, or name another variable in `headers_env`",
                )
            )
        found["Authorization" if header.lower() == "authorization" else header] = value
    return found


class Chat:
    """Chat completions of one model."""

    def __init__(self, spec: plan.Teacher, key: str, headers: Mapping[str, str] | None = None) -> None:
        self._spec, self._more = spec, headers or {}
        values = [*self._more.values(), *(v.partition(" ")[2] for v in self._more.values())]
        self._secrets = (key, *sorted(values, key=len, reverse=True))
        self._url = _address(spec)
        self._host = urlsplit(self._url).hostname or ""
        self._session: aiohttp.ClientSession | None = None
        self._proxy = _proxy(self._url)
        self._sampling = _sampling(spec.sampling)
        #: what the server turned out not to know
        self._in_words = False
        self.adapted: list[str] = []  # for people: what is left out now, and the server's words

    async def reply(self, request: Request) -> Reply:
        """One call; further ones only where the server refuses a way of asking that it does not know."""
        while True:
            body = self._body(request)
            try:
                return await self._ask(request, body)
            except CallFailed as refused:
                if not self._adapt(refused, body):
                    raise

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        if "_client" in self.__dict__:
            await self._client.close()

    @cached_property
    def _client(self) -> AsyncOpenAI:
        """The package's client, made when there is something to ask: it takes most of a second to import."""
        from openai import AsyncOpenAI, Omit

        spec, headers = self._spec, dict[str, Any](self._more)
        if headers and spec.api_key_env is None and spec.base_url is not None:
            headers = {"Authorization": Omit(), **headers}  # no dummy key beside them
        return AsyncOpenAI(
            api_key=self._secrets[0],
            base_url=spec.base_url or OFFICIAL,
            max_retries=0,
            timeout=spec.timeout_seconds,
            default_headers=headers,
            default_query=spec.query,
        )

    # --- asking -------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the session. No more connections than calls at once are needed, so they are not bounded here."""
        import aiohttp
        import httpx2

        seconds = self._spec.timeout_seconds
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=httpx2.create_ssl_context()),
            headers=_headers(self._client),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def _ask(self, request: Request, body: Mapping[str, Any]) -> Reply:
        import aiohttp
        import orjson

        if self._session is None:
            self.open()
        assert self._session is not None
        try:
            async with self._session.post(
                self._url,
                data=orjson.dumps(body),
                proxy=self._proxy,
                #: of another server's headers only the key is left out where a server sends on to it
                allow_redirects=not self._spec.headers_env,
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, OSError) as e:
            raise self._broken(e) from e
        if not 200 <= response.status < 300:
            said = content.decode("utf-8", "replace")
            raise self._refused(response.status, said, response.headers)
        return self._parse(content, request)

    def _body(self, request: Request) -> dict[str, Any]:
        # in words too: many servers take a schema and do not look at it
        messages = answers.with_format(request.messages, request.outputs, request.continues)
        body = {**self._spec.extra, "model": self._spec.model, "messages": messages}
        body |= self._sampling
        if "seed" in body:
            body["seed"] += request.sample
        if answers.is_probability(request.outputs):
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        elif not (answers.is_plain(request.outputs) or self._in_words or request.continues):
            body["response_format"] = _format(request.outputs)
        if request.continues:
            if self._host in _PREFIXED:
                messages[-1] = {**messages[-1], "prefix": True}  # type: ignore[dict-item]
            elif self._host not in _GO_ON:
                body |= {"add_generation_prompt": False, "continue_final_message": True}
        return body

    def _adapt(self, refused: CallFailed, body: Mapping[str, Any]) -> bool:
        """Ask in another way from now on, where the server does not know this one. Whether there is another for this
        body.
        """
        said = refused.reason
        sent = [n for n in body if n in _LEFT_OUT or n in _RENAMED]
        name = completion.refused_parameter(refused.status, said, sent)
        if name is not None:
            if name in self._sampling:
                self._leave_out(name, said)
            return True
        if "response_format" in body and completion.refuses_schema(refused.status, said):
            if not self._in_words:
                self._in_words = True
                self.adapted.append(f"answers are asked for in words, without a schema; {said}")
            return True
        return False

    def _leave_out(self, name: str, said: str) -> None:
        value = self._sampling.pop(name)
        other = _RENAMED.get(name)
        if other is None:
            self.adapted.append(f"`{name}` is left out; {said}")
        else:
            self._sampling[other] = value

    # --- reading ------------------------------------------------------------------------------------------------------

    def _parse(self, content: bytes, request: Request) -> Reply:
        try:
            result = completion.read(content)
        except completion.NoAnswer as none:
            if none.paid:
                body = content.decode("utf-8", "replace")
                return self._reply(scrub(body, *self._secrets), UNREAD, none.usage, request)
            if none.torn:
                raise self._failed(none.reason, retry=True, kind="lost") from None
            raise self._failed(none.reason, **self._verdict(none, content)) from None
        if request.continues and request.messages[-1]["role"] == "user" != result.role:
            raise self._failed(_ANSWERED, stop=True, kind="answered")
        text, finish = whole(request, result.text, result.reasoning), result.finish
        if answers.is_probability(request.outputs):
            text, finish = repr(self._probability(result.logprobs)), "stop"
        return self._reply(text, finish, result.usage, request, result.reasoning)

    def _reply(
        self, text: str, finish: str, usage: Mapping[str, Any], request: Request, reasoning: str | None = None
    ) -> Reply:
        """A reply with its tokens, counted by the characters where the server does not say."""
        took = completion.used(usage)
        if took is None:
            requested = sum(len(m["content"]) for m in request.messages)
            said = len(text) + len(reasoning or "")
            took = math.ceil(requested / 4), math.ceil(said / 4)
            return Reply(text, *took, finish, reasoning, counted=False)
        return Reply(text, *took, finish, reasoning)

    def _verdict(self, none: completion.NoAnswer, content: bytes) -> dict[str, Any]:
        """What an error under the status of an answer means: what it means under its own."""
        if not none.error:
            return {}
        kind = completion.judge(none.status or 400, content.decode("utf-8", "replace")).kind
        return {"status": none.status, "retry": kind in completion.RETRIED, "kind": kind}

    def _probability(self, logprobs: Any) -> float:
        """P(yes) / (P(yes) + P(no)) of the first token."""
        try:
            first = logprobs["content"][0]["top_logprobs"]
        except (LookupError, TypeError) as e:
            raise self._failed("the server gives no log-probabilities") from e
        share = {"yes": 0.0, "no": 0.0}
        for token in first:
            word = token["token"].strip().lower()
            if word in share:
                share[word] += math.exp(token["logprob"])
        total = sum(share.values())
        if total == 0:
            raise self._failed("neither yes nor no is among the likely first tokens")
        return share["yes"] / total

    # --- failing ------------------------------------------------------------------------------------------------------

    def _failed(self, reason: str, **kw: Any) -> CallFailed:
        return CallFailed(scrub(reason, *self._secrets), **kw)

    def _broken(self, error: Exception) -> CallFailed:
        """A call without a response, of the session or of the package's client."""
        import aiohttp
        import httpx2

        unsent = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
        if isinstance(error, (*unsent, httpx2.ConnectError, httpx2.ConnectTimeout)):
            reason = f"no connection to {self._url}: {error}"
            return self._failed(reason, retry=True, kind="unreachable")
        if isinstance(error, (TimeoutError, httpx2.TimeoutException)):
            reason = f"no answer within {self._spec.timeout_seconds:g} s"
            return self._failed(reason, retry=True, kind="lost")
        reason = f"the connection was cut ({type(error).__name__})"
        return self._failed(reason, retry=True, kind="lost")

    def _refused(self, status: int, said: str, headers: Mapping[str, str]) -> CallFailed:
        failure = completion.judge(status, said, headers)
        return self._failed(
            f"the server says {status}: {failure.said}",
            status=status,
            retry=failure.kind in completion.RETRIED,
            retry_after=failure.wait,
            kind=failure.kind,
        )


def _address(spec: plan.Teacher) -> str:
    """Where questions go: the path of the API behind the address, with the parameters of `query`."""
    parts = urlsplit(spec.base_url or OFFICIAL)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *spec.query.items()])
    path = f"{parts.path.rstrip('/')}/chat/completions"
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for an address."""
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    named = getproxies()
    return named.get(parts.scheme) or named.get("all")


def _headers(client: AsyncOpenAI) -> dict[str, str]:
    """The package's headers without those that only tell it about itself: each one costs time in every call."""
    said = {**client.auth_headers, **client.default_headers}
    kept = {k: v for k, v in said.items() if isinstance(v, str) and not k.lower().startswith("x-stainless")}
    return {"Accept-Encoding": "gzip, deflate", **kept}


def _sampling(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling as the API takes it; exact numbers become floats."""
    out: dict[str, Any] = {}
    for name, value in declared.items():
        exact = name in ("temperature", "top_p") and isinstance(value, str)
        out[name] = float(Fraction(value)) if exact else value
    return out


def _format(outputs: Mapping[str, str]) -> dict[str, Any]:
    result = answers.schema(outputs)
    strict = not any("json" in t for t in outputs.values())
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": strict, "schema": result}}
