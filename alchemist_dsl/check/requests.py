"""Checks what a teacher adds to its requests: fields of the body, parameters of the address, headers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from alchemist_runtime.schema.catalog import origin

from alchemist_dsl import ir
from alchemist_dsl.check.block_checker import Building
from alchemist_dsl.check.problems import either
from alchemist_dsl.source import Span

#: What a teacher adds to its requests, where there are requests.
ADDED: Final = ("extra", "query", "headers_env")
#: Fields of a body that are ours, and where what they say is said.
_OURS: Final = {
    **dict.fromkeys(
        ("model", "temperature", "top_p", "stop", "seed", "reasoning_effort", "max_tokens"), "`{}` of the teacher"
    ),
    "max_completion_tokens": "`max_tokens` of the teacher, which goes out under the name that the server knows",
    "messages": "`system`, `user` and `examples` of the prompt",
    "prompt": "`system`, `user` and `examples` of the prompt",
    "response_format": "`output` of the prompt",
    **dict.fromkeys(("n", "best_of"), "`samples` of the step: each answer is a call with a key of its own"),
    **dict.fromkeys(("logprobs", "top_logprobs"), "an output of the type `prob`"),
    **dict.fromkeys(("stream", "stream_options"), None),
    **dict.fromkeys(("add_generation_prompt", "continue_final_message", "echo"), "`prefill` and `turn` of the prompt"),
}
#: Headers that come with every request.
_OWN_HEADERS: Final = frozenset(
    ["host", "content-type", "content-length", "accept-encoding", "transfer-encoding", "connection"]
)
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_NAME: Final = re.compile(
    r"(.*[-_.])?((api|access|subscription|auth|private|secret)[-_]?(key|token)|secret|password|authorization)",
    re.IGNORECASE,
)
#: Names that are those of keys in an address, and of many things in a body.
_KEY_PARAMETER: Final = re.compile(r"key|token|sig|signature|credentials?", re.IGNORECASE)
#: Long, of letters and digits without a word among them.
_KEY_VALUE: Final = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9_+/=-]{32,}")
_INT64: Final = range(-(2**63), 2**63)


def added(b: Building) -> None:
    """`extra`, `query`, `headers_env` and the address that they go to."""
    written = [n for n in ADDED if b.get(n) is not None]
    provider = b.get("provider")
    if written and isinstance(provider, ir.ChoiceV) and origin(provider.name) not in ("server", "recording"):
        b.error(
            "A738",
            f"`{provider.name}` sends no requests, so `{written[0]}` goes nowhere",
            b.attrs[written[0]].name_span,
            help="delete it, or ask a server: `provider = openai`",
        )
        return
    _body(b)
    _parameters(b)
    _headers(b)
    url = b.get("base_url")
    if isinstance(url, ir.TextV) and ("?" in url.value or "#" in url.value):
        b.error(
            "A735",
            "an address ends before its `?`: the path of each request comes behind it",
            url.span,
            help='parameters of the address go into a block: `query { "api-version" = "…" }`',
        )


def _entries(b: Building, name: str) -> Iterator[tuple[str, ir.Value, Span]]:
    value = b.get(name)
    if isinstance(value, ir.RecordV):
        for entry, given in value.fields.items():
            yield entry, given, value.places.get(entry, given.span)


def _body(b: Building) -> None:
    for name, value, at in _entries(b, "extra"):
        if name in _OURS:
            where = _OURS[name]
            b.error(
                "A735",
                f"`{name}` is not set in `extra`: alchemist sets it itself",
                at,
                help="delete it: answers are read as a whole" if where is None else f"use {where.format(name)}",
            )
        else:
            _plain(b, name, value, at)


def _plain(b: Building, name: str, value: ir.Value, at: Span) -> None:
    """Whether a value can stand in JSON, in all of its depth, and none is a key."""
    if _KEY_NAME.fullmatch(name) and isinstance(value, ir.TextV):
        _secret(b, name, at)
        return
    match value:
        case ir.RecordV(fields=fields, places=places):
            for inner, part in fields.items():
                _plain(b, inner, part, places.get(inner, part.span))
        case ir.ListV(items=items):
            for item in items:
                _plain(b, name, item, item.span)
        case ir.Qty(kind="int", value=number) if int(number) not in _INT64:
            b.error("A204", f"`{name}` has more than 64 bits", value.span)
        case ir.Qty(kind="int" | "real"):
            pass
        case ir.Qty():
            b.error(
                "A202",
                f"`{name}` goes to the server as a number, and `{value.text}` has a unit",
                value.span,
                help="write the number that the server expects",
            )


def _parameters(b: Building) -> None:
    for name, value, at in _entries(b, "query"):
        text = value.value if isinstance(value, ir.TextV) else ""
        named = _KEY_NAME.fullmatch(name) or _KEY_PARAMETER.fullmatch(name)
        if named or _KEY_VALUE.fullmatch(text):
            _secret(b, name, at)
        elif not isinstance(value, ir.TextV):
            b.error(
                "A201",
                f"`{name}` is text: a parameter of an address has no other type",
                value.span,
                help=f'for example `"{name}" = "…"`',
            )


def _headers(b: Building) -> None:
    for name, value, at in _entries(b, "headers_env"):
        if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS:
            own = name.lower() in _OWN_HEADERS
            b.error(
                "A735",
                f"`{name}` is a header that every request has already" if own else f"`{name}` is no name of a header",
                at,
                help="delete it" if own else 'letters, digits and `-`, for example `"X-Title"`',
            )
        elif not isinstance(value, ir.TextV) or not _VARIABLE.fullmatch(value.value):
            b.error(
                "A735",
                f"`{name}` needs the name of an environment variable, never the value itself",
                value.span,
                help=f'for example `"{name}" = "{re.sub("[^A-Z0-9]", "_", name.upper())}"`',
            )
        elif name.lower() == "authorization" and b.attrs["api_key_env"].origin != "default":
            b.error(
                "A735",
                "`Authorization` comes twice: here, and with the key of `api_key_env`",
                at,
                help=f"write {either(['api_key_env', 'headers_env'])}, not both",
            )


def _secret(b: Building, name: str, at: Span) -> None:
    b.error(
        "A707",
        f"`{name}` looks like an API key, which never stands in a recipe",
        at,
        help='name an environment variable: `api_key_env = "…"`, or for a header `headers_env { "api-key" = "…" }`',
        note="whoever reads the recipe or its history, or a log of the server's addresses, could use the key",
    )
