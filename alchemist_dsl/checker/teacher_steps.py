"""Checks relabel and generate: the prompt's inputs, what is done with the answer, and the columns of rows, dropped and
trace.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from alchemist_runtime.schema.catalog import origin
from alchemist_runtime.schema.rows import DROPPED_COLUMNS, optional, required

from alchemist_dsl import ir
from alchemist_dsl.checker import taint
from alchemist_dsl.checker.block_checker import Building, checks
from alchemist_dsl.checker.columns import columns_of_one_type, field_columns, read_rules, read_sets, with_sets
from alchemist_dsl.checker.expressions import column_type, expression
from alchemist_dsl.checker.names import Scope
from alchemist_dsl.checker.problems import did_you_mean, listed
from alchemist_dsl.checker.prompts import read_inputs, writes_request
from alchemist_dsl.checker.sources import selected, set_aside, totals_env
from alchemist_dsl.checker.types import ANY, family, fits, noun, record
from alchemist_dsl.diagnostics.model import Label
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

#: The rule under which answers count that do not fit the prompt's output.
UNREADABLE = "unreadable"
#: Servers of chat models that answer every turn, also one that was begun for them.
OFFICIAL: Final = "api.openai.com"
AZURE: Final = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")


@checks("relabel")
def relabel(b: Building) -> None:
    """Hindsight relabeling: the first text of the answer goes before the instruction."""
    prompt = _begin(b)
    sets, types = read_sets(b, b.env)
    if prompt is not None:
        _reads_response(b, prompt)
    _keeps_response(b)
    if not b.body.sets and prompt is not None:
        lowered = _lower(b, prompt)
        if lowered is not None:
            sets, types = (lowered,), {lowered.column: "text"}
    _end(b, prompt, sets, types)


@checks("generate")
def generate(b: Building) -> None:
    """Any other teacher step."""
    prompt = _begin(b)
    sets, types = read_sets(b, b.env)
    _end(b, prompt, sets, types)


# --- what both do -----------------------------------------------------------------------------------------------------


def _begin(b: Building) -> ir.Block | None:
    """Read streams, teacher, prompt and the other attributes; the prompt, if nothing is wrong with it."""
    b.read_from()
    teacher, ref = b.attribute("teacher"), b.attribute("prompt")
    prompt = b.context.blocks.get(ref.target) if isinstance(ref, ir.RefV) else None
    if prompt is not None and (prompt.kind != "prompt" or prompt.poisoned):
        prompt = None
    outputs = field_columns(prompt.output_fields) if prompt is not None else {}
    places = {f.name: f.span for f in prompt.output_fields} if prompt is not None else {}
    if prompt is not None and not _by_rules(b):
        outputs = {"reasoning": "text?", **outputs}
    b.env = replace(b.env, out=outputs, out_places=places, out_of=prompt.name if prompt is not None else "")
    b.extra["prompt_inputs"] = _inputs(b, prompt)
    b.rest()
    _indirect_inputs(b, teacher, prompt)
    _teacher_fits(b, teacher, prompt)
    return prompt


def _indirect_inputs(b: Building, teacher: ir.Value | None, prompt: ir.Block | None) -> None:
    """Examples of the prompt and the trained model that answers are read by this step."""
    for ref, role in zip(prompt.inputs, prompt.roles, strict=True) if prompt is not None else ():
        b.add_input(ref, role)
    block = b.context.blocks.get(teacher.target) if isinstance(teacher, ir.RefV) else None
    for ref, role in zip(block.inputs, block.roles, strict=True) if block is not None else ():
        b.add_input(ref, role)


def _teacher_fits(b: Building, teacher: ir.Value | None, prompt: ir.Block | None) -> None:
    block = b.context.blocks.get(teacher.target) if isinstance(teacher, ir.RefV) else None
    if block is None or prompt is None or block.kind != "teacher" or block.poisoned:
        return
    by_rules = _by_rules(b)
    at = b.attrs["prompt"].value.span
    if by_rules and prompt.get("rules") is None:
        b.error(
            "A407",
            f"the rules teacher `{block.name}` cannot answer `{prompt.name}`",
            at,
            labels=(Label(prompt.name_span, "it has no `rules`"),),
            help="write `rules = describe`, `evolve` or `review` into the prompt, or ask another teacher",
        )
    elif not by_rules and prompt.get("user") is None and not writes_request(prompt):
        b.error(
            "A106",
            f"`{prompt.name}` has no `user` template, which `{block.name}` needs",
            at,
            labels=(Label(prompt.name_span, "declared here"),),
        )
    else:
        _goes_on(b, block, prompt)
        _same_answers(b, block)
        _repairs(b, prompt)


def _goes_on(b: Building, teacher: ir.Block, prompt: ir.Block) -> None:
    """Whether a served teacher can go on with a turn that the prompt begins."""
    provider, begun = teacher.get("provider"), prompt.attrs.get("prefill")
    turn = prompt.attrs["turn"] if writes_request(prompt) else None
    if not isinstance(provider, ir.ChoiceV) or provider.name != "openai" or not (begun or turn):
        return
    at, url = b.attrs["prompt"].value.span, teacher.get("base_url")
    host = urlsplit(url.value).hostname or "" if isinstance(url, ir.TextV) else OFFICIAL
    why = "`turn = user`" if turn else "`prefill`"
    if host == OFFICIAL or host.endswith(AZURE):
        b.error(
            "A736",
            f"`{teacher.name}` is asked at {host}, which goes on with no turn that was begun",
            at,
            labels=(Label((turn or begun or b.attrs["prompt"]).name_span, f"{why} of the prompt"),),
            note=(
                "a server that does: vLLM and SGLang (`prefill`), vLLM (`turn = user`), llama.cpp, Ollama, Mistral,"
                " DeepSeek, Groq, Anthropic (`prefill`)"
            ),
            help="ask another teacher, or ask for it in `user`",
        )
    elif begun is None:
        b.error(
            "A736",
            f"`{teacher.name}` is asked through a server, which goes on with words and not with nothing",
            at,
            labels=(Label(prompt.name_span, "it does not say how the user's turn begins"),),
            help='write its first words into the prompt, for example `prefill = "Write a function"`',
        )


def _same_answers(b: Building, teacher: ir.Block) -> None:
    """Several answers to a row from a model that gives its likeliest one each time."""
    provider, heat = teacher.get("provider"), teacher.attrs.get("temperature")
    samples = b.get("samples")
    served = isinstance(provider, ir.ChoiceV) and provider.name in ("openai", "transformers")
    cold = heat is not None and isinstance(heat.value, ir.Qty) and heat.value.value == 0
    if served and cold and isinstance(samples, ir.Qty) and samples.value > 1:
        at = heat.name_span if heat and heat.origin != "default" else teacher.name_span
        b.problem(
            "A737",
            f"`{teacher.name}` gives about the same answer {samples.text} times: its temperature is 0",
            samples.span,
            labels=(Label(at, "temperature 0" if at == teacher.name_span else "here"),),
            note="each of them is paid",
            help="write a `temperature` above 0 into the teacher, or `samples = 1`",
        )


def _repairs(b: Building, prompt: ir.Block) -> None:
    """An answer that has no form to miss is never sent back."""
    repair, fields = b.get("repair"), prompt.output_fields
    plain = len(fields) == 1 and required(fields[0].type) in ("text", "prob")
    if plain and isinstance(repair, ir.Qty) and repair.value > 0:
        b.problem(
            "A739",
            f"`repair` sends nothing back: the answer of `{prompt.name}` is one {required(fields[0].type)}",
            repair.span,
            labels=(Label(prompt.name_span, "declared here"),),
            note=(
                "only a structured answer can miss its form; an answer that a rule refuses is drawn again by"
                " `retries_on_reject`"
            ),
            help="leave `repair` out, or give the prompt's `output` fields",
        )


def _by_rules(b: Building) -> bool:
    """Whether no model answers, but rules that read the row."""
    teacher = b.get("teacher")
    block = b.context.blocks.get(teacher.target) if isinstance(teacher, ir.RefV) else None
    provider = block.get("provider") if block is not None else None
    return isinstance(provider, ir.ChoiceV) and origin(provider.name) == "inputs"


def _inputs(b: Building, prompt: ir.Block | None) -> dict[str, ir.ExprV]:
    """Prompt input -> expression over the row: the column of that name, or what `map` says."""
    mapped = _mapped(b)
    if prompt is None:
        return mapped
    known = {f.name: f for f in prompt.input_fields}
    record_ = b.get("map")
    places = record_.places if isinstance(record_, ir.RecordV) else {}
    for name, expr in mapped.items():
        if name not in known:
            text, _ = did_you_mean(name, known)
            b.error(
                "A402",
                f"the prompt `{prompt.name}` has no input `{name}`",
                places.get(name, expr.span),
                help=text or (f"it has {listed(list(known))}" if known else None),
            )
    result: dict[str, ir.ExprV] = {}
    for name, field in known.items():
        provided = mapped.get(name) or _own_column(b, field, prompt)
        if provided is None:
            continue
        if not _fits_input(provided.type, field.type):
            b.error(
                "A504",
                f"the input `{name}` of `{prompt.name}` is {noun(field.type)}, but gets {noun(provided.type)}",
                provided.span,
                labels=(Label(field.span, field.type),),
            )
        result[name] = provided
    return result


def _fits_input(given: str, wanted: str) -> bool:
    return fits(given, wanted) or family(wanted) in ("text", "json")


def _mapped(b: Building) -> dict[str, ir.ExprV]:
    """The `map` of a step, written as a block or as a record."""
    b.done.add("map")
    entries: dict[str, tuple[ast.Expr, Scope]] = {}
    places: dict[str, Span] = {}
    span, name_span, origin = b.name_span, b.name_span, "written"
    block = b.body.blocks.get("map")
    placed = b.body.attrs.get("map")
    if block is not None:
        span = name_span = b.body.block_spans["map"].header
        for name, entry in block.items():
            if isinstance(entry.stmt, ast.Assign):
                entries[name] = (entry.stmt.value, entry.scope)
                places[name] = entry.stmt.path[-1].span
                origin = entry.origin
    elif placed is not None:
        value, name_span, origin = placed.stmt.value, placed.stmt.path[0].span, placed.origin
        span = value.span
        if not isinstance(value, ast.Record):
            if not isinstance(value, ast.BadExpr):
                b.error("A201", "`map` is a record", span, help="for example `map = { code = code(response) }`")
            b.ok = False
            return {}
        entries = {f.name.name: (f.value, placed.scope) for f in value.fields}
        places = {f.name.name: f.name.span for f in value.fields}
    result: dict[str, ir.ExprV] = {}
    for name, (expr, scope) in entries.items():
        typed = expression(expr, replace(b.env_in(scope), out=None))
        if typed is None:
            b.ok = False
            typed = ir.ExprV(expr.span, ["lit", "null", None], ANY, frozenset(), "")
        result[name] = typed
    if result:
        b.attrs["map"] = ir.Attr("map", ir.RecordV(span, dict(result), places), name_span, origin)
    return result


def _own_column(b: Building, field: ir.FieldV, prompt: ir.Block) -> ir.ExprV | None:
    name = field.name
    span = b.inputs[0].span if b.inputs else b.header
    type_ = column_type(b.stream, name)
    if type_ is None and not b.stream.open:
        _not_supplied(b, field, prompt, span)
        return None
    conflict = b.stream.conflicts.get(name)
    if conflict:
        reported = "; ".join(f"`{s}` has {noun(t)}" for s, t in conflict)
        b.error("A504", f"`{name}` has two types here: {reported}", span)
        return None
    at = b.attrs["prompt"].value.span if "prompt" in b.attrs else span
    return ir.ExprV(at, ["col", name], type_ or ANY, frozenset({name}), name)


def _not_supplied(b: Building, field: ir.FieldV, prompt: ir.Block, span: Span) -> None:
    displayed = [*b.stream.columns]
    example = {"lang": "lang(response)", "language": "lang(response)", "code": "code(response)"}.get(field.name, "…")
    near, _ = did_you_mean(field.name, displayed)
    b.error(
        "A404",
        f"`{prompt.name}` needs `{field.name}`, but rows of {b.stream.name} have no such column",
        span,
        label="columns: " + ", ".join(displayed),
        labels=(Label(field.span, "needed here"),),
        help=(
            f"{near.rstrip('?')}? Then write `map = {{ {field.name} = … }}`"
            if near
            else f"add it before, for example `map with_{field.name} {{ set {field.name} = {example} }}`"
        ),
    )


def _end(b: Building, prompt: ir.Block | None, sets: tuple[ir.SetV, ...], types: dict[str, str]) -> None:
    """Rules, selection and the columns of the three ports."""
    b.extra["sets"] = sets
    b.extra["rules"] = read_rules(b, b.env, totals_env(b, UNREADABLE))
    for placed in b.body.rules:
        if placed.stmt.name is not None and placed.stmt.name.name == UNREADABLE:
            b.error(
                "A115",
                f"a rule may not be called `{UNREADABLE}`",
                placed.stmt.name.span,
                note="answers that do not fit the prompt's output are counted under it",
            )
    select, some = selected(b), b.get("accept")
    set_aside(b, select, some)
    mode = b.get("mode")
    only = isinstance(mode, ir.ChoiceV) and mode.name == "only"
    _goes_with_only(b, only)
    _reaches(b, select, some)
    if not only:
        columns_of_one_type(b, sets)
    after = with_sets(b.stream.columns, types)
    rows = after if only else with_sets(b.stream.columns, types, partly=True)
    refused = with_sets(b.stream.columns, {n: optional(t) if t != ANY else t for n, t in types.items()})
    kept = taint.set_by(b.stream.taints, sets, b.stream.columns, partly=not only)
    wrote = taint.answered(b.stream.taints, None if _by_rules(b) else b.decl.key)
    texts = taint.joined([[t.only(types) for t in wrote], kept])
    b.publish("rows", rows, taints=texts)
    b.publish("dropped", {**refused, **DROPPED_COLUMNS}, taints=texts)
    outputs = field_columns(prompt.output_fields) if prompt is not None else {}
    trace = {
        "before": record(dict(b.stream.columns)),
        "out": record(outputs),
        "after": record(after),
        "teacher": "text",
        "sample": "int",
        "attempt": "int",
    }
    taints = tuple(t.only(trace) for t in wrote)
    b.publish("trace", trace, open=b.stream.open or prompt is None, conflicts={}, taints=taints)


def _goes_with_only(b: Building, only: bool) -> None:
    """Attributes that make other rows of those that came in, not changed ones among them."""
    samples, some, mode = b.get("samples"), b.get("accept"), b.attrs.get("mode")
    reported = []
    if isinstance(samples, ir.Qty) and samples.value > 1:
        reported.append((samples, f"`samples = {samples.text}` makes several rows of one"))
    if isinstance(some, ir.Qty):
        reported.append((some, "`accept` counts the rows that leave"))
    for value, what in reported if not only else ():
        b.error(
            "A204",
            f"{what}, which goes with `mode = only`",
            value.span,
            labels=(Label(mode.value.span, "this mode"),) if mode is not None and mode.origin != "default" else (),
            help="write `mode = only`",
        )


def _reaches(b: Building, select: ir.SelectV | None, some: ir.Value | None) -> None:
    """Whether as many rows as are to be accepted can come of those that are selected."""
    samples = b.get("samples")
    each = samples.value if isinstance(samples, ir.Qty) else 1
    if select is None or select.count is None or select.per or not isinstance(some, ir.Qty):
        return
    most = select.count * int(each)
    if some.value > most:
        b.problem(
            "A740",
            f"`accept = {some.text}` cannot be reached: `select` chooses rows for {most:,} answers",
            some.span,
            labels=(Label(select.span, "these are asked about"),),
            help="select more rows, or none in particular: `accept` asks about as many as it takes",
        )


# --- relabel ----------------------------------------------------------------------------------------------------------


def _reads_response(b: Building, prompt: ir.Block) -> None:
    """The label says what the response does, so the prompt must see the response."""
    reads = read_inputs(prompt)
    inputs: dict[str, ir.ExprV] = b.extra["prompt_inputs"]
    for name, expr in inputs.items():
        if name in reads and expr.reads & {"response", "messages"}:
            return
    if not b.ok:
        return
    b.error(
        "A408",
        f"the prompt `{prompt.name}` does not read `response`",
        b.attrs["prompt"].value.span,
        labels=(Label(prompt.name_span, "declared here"),),
        note="an AlchemistPrompt says what the answer does; without seeing it the teacher can only guess",
        help="add the input `response: text` and read it in the template: `{{ response }}`",
    )


def _keeps_response(b: Building) -> None:
    for name in ("response", "messages"):
        placed = b.body.sets.get(name)
        if placed is not None:
            b.error(
                "A408",
                f"`relabel` keeps the response as it is and cannot set `{name}`",
                placed.stmt.path[-1].span,
                note="hindsight relabeling fits the instruction to the answer, never the answer to the instruction",
                help="use `generate` for a step that writes answers",
            )


def _lower(b: Building, prompt: ir.Block) -> ir.SetV | None:
    """`place` as an assignment: prompt, newline, original instruction."""
    first = next((f for f in prompt.output_fields if family(f.type) == "text"), None)
    if first is None:
        b.error(
            "A406",
            f"the prompt `{prompt.name}` gives no text that could go before the instruction",
            b.attrs["prompt"].value.span,
            labels=(Label(prompt.name_span, "declared here"),),
            help="for example `output { prompt: text }`",
        )
        return None
    place = b.get("place")
    where = place.name if isinstance(place, ir.ChoiceV) else "before"
    out: list[Any] = ["out", first.name]
    own: list[Any] = ["col", "instruction"]
    newline: list[Any] = ["lit", "text", "\n"]
    span = b.attrs["prompt"].value.span
    if where == "system":
        return ir.SetV("system", ir.ExprV(span, out, "text", frozenset(), f"out.{first.name}"), span)
    if "instruction" not in b.stream.columns and not b.stream.open:
        if b.ok:
            b.error(
                "A503",
                f"rows of {b.stream.name} have no column `instruction`",
                b.inputs[0].span if b.inputs else b.header,
            )
        return None
    parts = (out, own) if where == "before" else (own, out)
    text = f'out.{first.name} + "\\n" + instruction'
    if where == "after":
        text = f'instruction + "\\n" + out.{first.name}'
    tree = ["cat", ["cat", parts[0], newline], parts[1]]
    return ir.SetV("instruction", ir.ExprV(span, tree, "text", frozenset({"instruction"}), text), span)
