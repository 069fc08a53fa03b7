"""Checks teachers and prompts: who answers, what is asked, and whether the templates read what is declared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.schema.catalog import origin
from alchemist_runtime.schema.rows import required

from alchemist_dsl import ir
from alchemist_dsl.checker.block_checker import Building, checks
from alchemist_dsl.checker.columns import field_columns, read_fields
from alchemist_dsl.checker.names import Placed
from alchemist_dsl.checker.problems import either, listed
from alchemist_dsl.checker.templates import Variables
from alchemist_dsl.checker.types import family
from alchemist_dsl.diagnostics.model import Label
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast


@dataclass(frozen=True, slots=True)
class Job:
    """What the rules teacher does for a prompt: the inputs that it reads and the outputs that it gives."""

    inputs: tuple[str, ...]
    outputs: dict[str, str]  # field -> family of its type; empty: any one text


#: What says how a server is asked.
_OF_SERVERS: Final = ("base_url", "api_key_env", "rate", "timeout", "retries", "reasoning_effort")
#: Templates of a prompt.
TEMPLATES: Final = ("system", "user", "prefill")
JOBS: Final[dict[str, Job]] = {
    "describe": Job(("response",), {}),
    "evolve": Job(("instruction", "response"), {"instruction": "text", "response": "text"}),
    "review": Job(
        ("instruction", "response"),
        {"correctness": "number", "clarity": "number", "suggestions": "text", "refined": "text"},
    ),
}


@checks("teacher")
def teacher(b: Building) -> None:
    """A model that answers prompts."""
    model = b.attribute("model")
    if isinstance(model, ir.RefV):
        b.add_input(model, "model")
    b.rest()
    added(b)
    provider = b.get("provider")
    if isinstance(provider, ir.ChoiceV):
        _in_process(b, provider, model)
    if (
        isinstance(provider, ir.ChoiceV)
        and provider.name in ("openai", "transformers")
        and "model" not in b.body.attrs
        and not b.incomplete
    ):
        b.error(
            "A106",
            f"{b.title} needs `model`",
            b.header,
            help=(
                'a folder, a model of the hub or a training, for example `model = "./model"`'
                if provider.name == "transformers"
                else 'the name of the model, for example `model = "gpt-4o-mini-2024-07-18"`'
            ),
        )


def _in_process(b: Building, provider: ir.ChoiceV, model: ir.Value | None) -> None:
    """A model in this process has no server, and one that the recipe trains none either."""
    if provider.name == "transformers":
        for name in _OF_SERVERS:
            attr = b.attrs.get(name)
            if attr is not None and attr.origin != "default":
                b.error(
                    "A111",
                    f"`{name}` says how a server is asked, and a model in this process has none",
                    attr.name_span,
                    labels=(Label(provider.span, "here"),),
                    help=f"take it away: `{name} = null`" if attr.origin.startswith("extends:") else "delete it",
                )
    elif isinstance(model, ir.RefV) and provider.name != "replay":
        b.error(
            "A111",
            f"`{model.target}` is trained by this recipe, and `provider = {provider.name}` does not ask it",
            provider.span,
            labels=(Label(model.span, "the model"),),
            help="write `provider = transformers`",
        )
    batch = b.get("batch")
    if isinstance(batch, ir.BoolV) and batch.value and isinstance(provider, ir.ChoiceV) and provider.name != "openai":
        b.error(
            "A725",
            f"{b.title} has `provider = {provider.name}`, which has no Batch API",
            batch.span,
            help="leave `batch` out, or ask a server: `provider = openai`",
        )


@checks("prompt")
def prompt(b: Building) -> None:
    """A request to a teacher: typed inputs and outputs, templates over the inputs."""
    inputs = read_fields(b.body.blocks.get("input", {}), b)
    outputs = read_fields(b.body.blocks.get("output", {}), b)
    b.extra["input_fields"], b.extra["output_fields"] = inputs, outputs
    places = {f.name: f.span for f in inputs}
    lost = b.incomplete
    b.variables = Variables(field_columns(inputs), lost, f"the prompt `{b.decl.name}`", "input", places)
    b.read_streams("examples", "examples")
    b.rest()
    if lost:
        return
    _complete(b, outputs)
    _writes_request(b, outputs)
    _unused_inputs(b, inputs)
    _rules(b, inputs, outputs)
    _examples(b, inputs, outputs)


def _complete(b: Building, outputs: tuple[ir.FieldV, ...]) -> None:
    if not outputs and "output" not in b.body.blocks:
        b.error(
            "A106", f"{b.title} does not say what it gets back", b.header, help="for example `output { answer: text }`"
        )
    written = [n for n in (*TEMPLATES, "rules") if n in b.body.attrs]
    if not written and not b.abstract and not writes_request(b):
        b.error("A106", f"{b.title} asks nothing", b.header, help='write what is asked: `user = jinja"""…"""`')


def writes_request(block: ir.Block | Building) -> bool:
    """Whether the model writes the user's turn."""
    turn = block.get("turn")
    return isinstance(turn, ir.ChoiceV) and turn.name == "user"


def _writes_request(b: Building, outputs: tuple[ir.FieldV, ...]) -> None:
    """A user's turn is one text, and nothing is asked before it."""
    if not writes_request(b) or not b.ok:
        return
    at = b.attrs["turn"].value.span
    for name in ("user", "examples"):
        if name in b.attrs:
            b.error(
                "A736",
                f"with `turn = user` the model writes the user's turn itself, so `{name}` has no place",
                b.attrs[name].name_span,
                labels=(Label(at, "the model writes it"),),
                help="write how that turn begins: `prefill`",
            )
            return
    if outputs and [required(f.type) for f in outputs] != ["text"]:
        b.error(
            "A736",
            "with `turn = user` the model writes a request, which is one text",
            outputs[0].span,
            labels=(Label(at, "the model writes it"),),
            help="for example `output { instruction: text }`",
        )


def read_inputs(block: ir.Block) -> set[str]:
    """Inputs that the templates of a prompt read, or the rules teacher where there are none."""
    reads: set[str] = set()
    templates = [block.get(n) for n in TEMPLATES]
    for template in templates:
        if isinstance(template, ir.TemplateV):
            reads.update(template.reads)
    rules = block.get("rules")
    if isinstance(rules, ir.ChoiceV) and not any(templates):
        reads.update(JOBS[rules.name].inputs)
    return reads


def _unused_inputs(b: Building, inputs: tuple[ir.FieldV, ...]) -> None:
    if not b.ok or not any(n in b.attrs for n in TEMPLATES):
        return
    reads: set[str] = set()
    for name in TEMPLATES:
        template = b.get(name)
        if isinstance(template, ir.TemplateV):
            reads.update(template.reads)
    rules = b.get("rules")
    needed = JOBS[rules.name].inputs if isinstance(rules, ir.ChoiceV) else ()
    for one in inputs:
        if one.name not in reads and one.name not in needed:
            b.problem(
                "A403",
                f"no template of {b.title} reads its input `{one.name}`",
                one.span,
                help=f"write `{{{{ {one.name} }}}}` where it belongs, or delete the input",
            )


def _rules(b: Building, inputs: tuple[ir.FieldV, ...], outputs: tuple[ir.FieldV, ...]) -> None:
    rules = b.get("rules")
    if not isinstance(rules, ir.ChoiceV) or not b.ok:
        return
    job = JOBS[rules.name]
    have = {f.name for f in inputs}
    lacking = [n for n in job.inputs if n not in have]
    if lacking:
        _mismatch(
            b,
            rules,
            f"reads {listed(job.inputs)}, but the prompt has no input {listed(lacking, 'or')}",
            _at(b, "input"),
        )
        return
    if not job.outputs:
        texts = [f for f in outputs if family(f.type) == "text"]
        if len(outputs) != 1 or len(texts) != 1:
            _mismatch(b, rules, "gives one text, so the prompt has exactly one output, of type text", _at(b, "output"))
        return
    for one in outputs:
        if job.outputs.get(one.name) != family(one.type):
            gives = ", ".join(f"`{n}: {'int' if t == 'number' else t}`" for n, t in job.outputs.items())
            _mismatch(b, rules, f"gives {gives}, but not `{one.name}: {one.type}`", one.span)
            return


def _mismatch(b: Building, rules: ir.ChoiceV, why: str, at: Span) -> None:
    b.error(
        "A407",
        f"`rules = {rules.name}` {why}",
        rules.span,
        labels=(Label(at, "declared here"),) if at != rules.span else (),
    )


def _at(b: Building, block: str) -> Span:
    found = b.body.block_spans.get(block)
    return b.header if found is None else found.header


def _examples(b: Building, inputs: tuple[ir.FieldV, ...], outputs: tuple[ir.FieldV, ...]) -> None:
    for ref in b.inputs:
        stream = b.context.stream(ref)
        lacking = [f.name for f in (*inputs, *outputs) if f.name not in stream.columns]
        if lacking and not stream.open:
            b.error(
                "A503",
                f"rows of `{ref.target}` have no column {listed(lacking, 'or')}",
                ref.span,
                note="examples have the fields of `input` and `output`",
                help="columns: " + ", ".join(stream.columns),
            )


def declared_outputs(entries: object) -> dict[str, Span]:
    """Where the outputs of a prompt are declared."""
    if not isinstance(entries, dict):
        return {}
    return {
        n: p.stmt.name.span for n, p in entries.items() if isinstance(p, Placed) and isinstance(p.stmt, ast.FieldDecl)
    }


# --- requests --------------------------------------------------------------------------------------------------------

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
        for entry, provided in value.fields.items():
            yield entry, provided, value.places.get(entry, provided.span)


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
