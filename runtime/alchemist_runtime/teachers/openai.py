"""Teachers behind an OpenAI-compatible server: chat completions through the openai package and its aiohttp transport.

The package builds address, key and headers, once; each call is one prepared request through its HTTP client, and of the
response only the text and the token counts are read. That is a fifth of the time that its response models take.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from fractions import Fraction
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from alchemist_runtime import answers, plan
from alchemist_runtime.errors import Problem, RunError
from alchemist_runtime.registry import teacher
from alchemist_runtime.teacher import UNREAD, CallFailed, Client, Reply, Request, scrub, whole
from alchemist_runtime.teachers import _completion, _failures

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

OFFICIAL = "https://api.openai.com/v1"
TOP_LOGPROBS = 20
#: Parameters that are left out where a server does not take them, and those that have another name there.
_LEFT_OUT = frozenset({"temperature", "top_p"})
_RENAMED = {"max_tokens": "max_completion_tokens"}
#: Servers that go on from a last turn where it says so, and those that do so unasked; others are asked as vLLM and SGLang are.
_PREFIXED = frozenset({"api.deepseek.com", "api.mistral.ai"})
_GO_ON = frozenset({"api.anthropic.com", "api.groq.com", "openrouter.ai"})


#: What a server did that does not go on with a user's turn: one that does sends the role of that turn back.
_ANSWERED = "the server answered the user's turn instead of going on with it, as vLLM does with `continue_final_message`"


@teacher()
def openai(spec: plan.Teacher) -> Client:
    """A model behind the OpenAI API, or behind any server that speaks it."""
    return Chat(spec, key_of(spec), headers_of(spec))


def is_local(base_url: str | None) -> bool:
    """Whether an address is this machine."""
    host = urlsplit(base_url or OFFICIAL).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name; `127.0.0.1.example.com` is one of somebody
        return host == "localhost" or host.endswith(".localhost")


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
            "no-key",
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
                    "no-key",
                    f"the environment variable `{variable}` with the header `{header}` of `{spec.name}` {is_set}",
                    note=f"`{spec.name}` is asked at {scrub(spec.base_url or OFFICIAL)}",
                    help=f"set `{variable}`, or name another variable in `headers_env`",
                )
            )
        found["Authorization" if header.lower() == "authorization" else header] = value
    return found


class Chat:
    """Chat completions of one model."""

    def __init__(
        self, spec: plan.Teacher, key: str, headers: Mapping[str, str] | None = None
    ) -> None:
        import httpx2
        from openai import AsyncOpenAI, DefaultAioHttpClient, Omit

        self._spec, headers = spec, headers or {}
        values = [*headers.values(), *(v.partition(" ")[2] for v in headers.values())]
        self._secrets = (key, *sorted(values, key=len, reverse=True))
        if headers and spec.api_key_env is None and spec.base_url is not None:
            headers = {"Authorization": Omit(), **headers}  # type: ignore[dict-item]  # no dummy key beside them
        self._http: httpx2.AsyncClient = DefaultAioHttpClient(timeout=spec.timeout_seconds)
        self._client = AsyncOpenAI(
            api_key=key,
            base_url=spec.base_url or OFFICIAL,
            max_retries=0,
            timeout=spec.timeout_seconds,
            http_client=self._http,
            default_headers=dict(headers),
            default_query=spec.query,
        )
        url = httpx2.URL(f"{str(self._client.base_url).rstrip('/')}/chat/completions")
        self._url = url.copy_merge_params(spec.query)
        self._headers = _headers(self._client, self._url)
        #: of another server's headers only the key is left out where a server sends on to it
        self._follows = not spec.headers_env
        timeout = httpx2.Timeout(spec.timeout_seconds, pool=None)
        self._extensions = {"timeout": timeout.as_dict()}
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
        await self._client.close()

    # --- asking -----------------------------------------------------------------------------------------------------------

    async def _ask(self, request: Request, body: Mapping[str, Any]) -> Reply:
        import aiohttp
        import httpx2
        import orjson

        prepared = httpx2.Request(
            "POST",
            self._url,
            headers=self._headers,
            content=orjson.dumps(body),
            extensions=self._extensions,
        )
        try:
            response = await self._http.send(prepared, follow_redirects=self._follows)
        except (httpx2.HTTPError, aiohttp.ClientError, OSError) as e:
            raise self._broken(e) from e
        if not response.is_success:
            raise self._refused(response)
        return self._parse(response.content, request)

    def _body(self, request: Request) -> dict[str, Any]:
        # in words too: many servers take a schema and do not look at it
        messages = answers.asked_in_words(request.messages, request.outputs, request.continues)
        body = {**self._spec.extra, "model": self._spec.model, "messages": messages}
        body |= self._sampling
        if "seed" in body:
            body["seed"] += request.sample
        if answers.is_probability(request.outputs):
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        elif not (answers.is_plain(request.outputs) or self._in_words or request.continues):
            body["response_format"] = _format(request.outputs)
        if request.continues:
            if self._url.host in _PREFIXED:
                messages[-1] = {**messages[-1], "prefix": True}  # type: ignore[dict-item]
            elif self._url.host not in _GO_ON:
                body |= {"add_generation_prompt": False, "continue_final_message": True}
        return body

    def _adapt(self, refused: CallFailed, body: Mapping[str, Any]) -> bool:
        """Ask in another way from now on, where the server does not know this one. Whether there is another for this body."""
        said = refused.reason
        sent = [n for n in body if n in _LEFT_OUT or n in _RENAMED]
        name = _failures.refused_parameter(refused.status, said, sent)
        if name is not None:
            if name in self._sampling:
                self._leave_out(name, said)
            return True
        if "response_format" in body and _failures.refuses_schema(refused.status, said):
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

    # --- reading ----------------------------------------------------------------------------------------------------------

    def _parse(self, content: bytes, request: Request) -> Reply:
        try:
            made = _completion.read(content)
        except _completion.NoAnswer as none:
            if none.paid:
                body = content.decode("utf-8", "replace")
                return self._reply(scrub(body, *self._secrets), UNREAD, none.usage, request)
            if none.torn:
                raise self._failed(none.reason, retry=True, kind="lost") from None
            raise self._failed(none.reason, **self._verdict(none, content)) from None
        if request.continues and request.messages[-1]["role"] == "user" != made.role:
            raise self._failed(_ANSWERED, stop=True, kind="answered")
        text, finish = whole(request, made.text, made.reasoning), made.finish
        if answers.is_probability(request.outputs):
            text, finish = repr(self._probability(made.logprobs)), "stop"
        return self._reply(text, finish, made.usage, request, made.reasoning)

    def _reply(
        self,
        text: str,
        finish: str,
        usage: Mapping[str, Any],
        request: Request,
        reasoning: str | None = None,
    ) -> Reply:
        """A reply with its tokens, counted by the characters where the server does not say."""
        took = _completion.used(usage)
        if took is None:
            asked = sum(len(m["content"]) for m in request.messages)
            said = len(text) + len(reasoning or "")
            took = math.ceil(asked / 4), math.ceil(said / 4)
            return Reply(text, *took, finish, reasoning, counted=False)
        return Reply(text, *took, finish, reasoning)

    def _verdict(self, none: _completion.NoAnswer, content: bytes) -> dict[str, Any]:
        """What an error under the status of an answer means: what it means under its own."""
        if not none.error:
            return {}
        kind = _failures.judge(none.status or 400, content.decode("utf-8", "replace")).kind
        return {"status": none.status, "retry": kind in _failures.RETRIED, "kind": kind}

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

    # --- failing ----------------------------------------------------------------------------------------------------------

    def _failed(self, reason: str, **kw: Any) -> CallFailed:
        return CallFailed(scrub(reason, *self._secrets), **kw)

    def _broken(self, error: Exception) -> CallFailed:
        """A call without a response. The transport's own mapping mixes these up, so its cause is asked."""
        import aiohttp
        import httpx2

        cause = error.__cause__ or error
        if isinstance(cause, (aiohttp.ClientConnectorError, httpx2.ConnectError)):
            reason = f"no connection to {self._url}: {cause}"
            return self._failed(reason, retry=True, kind="unreachable")
        if isinstance(cause, (TimeoutError, httpx2.ReadTimeout)):
            reason = f"no answer within {self._spec.timeout_seconds:g} s"
            return self._failed(reason, retry=True, kind="lost")
        reason = f"the connection was cut ({type(cause).__name__})"
        return self._failed(reason, retry=True, kind="lost")

    def _refused(self, response: httpx2.Response) -> CallFailed:
        failure = _failures.judge(response.status_code, response.text, response.headers)
        return self._failed(
            f"the server says {response.status_code}: {failure.said}",
            status=response.status_code,
            retry=failure.kind in _failures.RETRIED,
            retry_after=failure.wait,
            kind=failure.kind,
        )


def _headers(client: AsyncOpenAI, url: httpx2.URL) -> list[tuple[bytes, bytes]]:
    """The package's headers without those that only tell it about itself: each one costs time in every call."""
    said = {**client.auth_headers, **client.default_headers}
    kept = {
        k: v
        for k, v in said.items()
        if isinstance(v, str) and not k.lower().startswith("x-stainless")
    }
    host = {"Host": url.netloc.decode(), "Accept-Encoding": "gzip, deflate"}
    return [(k.encode(), v.encode()) for k, v in {**host, **kept}.items()]


def _sampling(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling as the API takes it; exact numbers become floats."""
    out: dict[str, Any] = {}
    for name, value in declared.items():
        exact = name in ("temperature", "top_p") and isinstance(value, str)
        out[name] = float(Fraction(value)) if exact else value
    return out


def _format(outputs: Mapping[str, str]) -> dict[str, Any]:
    made = answers.schema(outputs)
    strict = not any("json" in t for t in outputs.values())
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": strict, "schema": made},
    }
