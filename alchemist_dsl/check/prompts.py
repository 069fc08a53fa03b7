"""Checks teachers and prompts: who answers, what is asked, and whether the templates read what is declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alchemist_runtime.schema.rows import required

from alchemist_dsl import ir
from alchemist_dsl.check import requests
from alchemist_dsl.check.block_checker import Building
from alchemist_dsl.check.columns import field_columns, read_fields
from alchemist_dsl.check.problems import listed
from alchemist_dsl.check.scope import Placed
from alchemist_dsl.check.templates import Variables
from alchemist_dsl.check.types import family
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


def teacher(b: Building) -> None:
    """A model that answers prompts."""
    model = b.attribute("model")
    if isinstance(model, ir.RefV):
        b.add_input(model, "model")
    b.rest()
    requests.added(b)
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
    for field in inputs:
        if field.name not in reads and field.name not in needed:
            b.problem(
                "A403",
                f"no template of {b.title} reads its input `{field.name}`",
                field.span,
                help=f"write `{{{{ {field.name} }}}}` where it belongs, or delete the input",
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
    for field in outputs:
        if job.outputs.get(field.name) != family(field.type):
            gives = ", ".join(f"`{n}: {'int' if t == 'number' else t}`" for n, t in job.outputs.items())
            _mismatch(b, rules, f"gives {gives}, but not `{field.name}: {field.type}`", field.span)
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
        stream = b.world.stream(ref)
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
