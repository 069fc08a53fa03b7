"""What a step says, as facts: what a reader calls each, how the recipe would write it, how two of them compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema.attributes import Affects, Attribute, AttrType, ByKind, decimal
from alchemist_runtime.schema.expressions import expression
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import (
    DecontaminateSpec,
    Edge,
    ExportSpec,
    Method,
    MixtureSpec,
    Node,
    Plan,
    Prompt,
    Rule,
    Select,
    SetColumn,
    SourceSpec,
    SuiteSpec,
    TaskSpec,
    Teacher,
    TeacherStepSpec,
    TrainSpec,
    to_json,
)
from alchemist_runtime.schema.rows import SFT

from alchemist_dsl.explain.wording import amount, format_value, percent, short


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact. `data` is what is compared, `text` how the recipe would write it; `items` of sets and sequences,
    `template` of texts, `number` of what has a size. `part`: the text of the whole, whose name comes before the last
    dot, tells it too.
    """

    data: Any
    text: str
    affects: Affects = "data"
    number: Fraction | None = None
    items: tuple[str, ...] | None = None
    template: str | None = None
    part: bool = False


Facts = dict[str, Fact]
#: Name of a step on this side -> the name that both sides go by.
Names = Mapping[str, str]


def describe(plan: Plan, node: Node, names: Names) -> Facts:
    """Everything that a step's block says, by name."""
    out = dict(_streams(node, names))
    out |= dict(_SPECIAL.get(node.kind, _declared)(node.spec, plan, node, names))
    if node.doc is not None:
        out["##"] = Fact(node.doc, node.doc, "doc", template=node.doc)
    return out


def stream(edge: Edge, names: Names) -> str:
    """A stream as the recipe writes it, by the common name of its step."""
    port = "" if edge.port == "rows" else f".{edge.port}"
    return f"{names.get(edge.node, edge.node)}{port}" + (f".{edge.origin}" if edge.origin else "")


_ROLES: Final = {"sound": "sound", "model": "model", "examples": "prompt.examples"}


def _streams(node: Node, names: Names) -> Iterator[tuple[str, Fact]]:
    """The inputs by role. The entries of a mixture have amounts and stand with them."""
    by_role: dict[str, list[str]] = {}
    for edge in node.inputs:
        if not edge.role.startswith("take."):
            by_role.setdefault(edge.role, []).append(stream(edge, names))
    for role, found in by_role.items():
        spec = KINDS[node.kind].attributes.get(role)
        listed = sorted(found) if spec is not None and spec.order == "set" else found
        yield _ROLES.get(role, role), Fact(listed, _list(listed), items=tuple(listed))


# --- parts that several kinds have ------------------------------------------------------------------------------------


def _value(value: Any, text: str | None = None, affects: Affects = "data", number: Any = None) -> Fact:
    displayed = format_value(value) if text is None else text
    return Fact(value, displayed, affects, None if number is None else Fraction(number))


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"[{', '.join(items)}]"


def _items(items: list[str], affects: Affects = "data") -> Fact:
    return Fact(items, _list(items), affects, items=tuple(items))


def _select(select: Select | None, salted: bool = False) -> Iterator[tuple[str, Fact]]:
    if select is None:
        return
    chosen: tuple[Any, str, Any] | None = None
    if select.fraction is not None:
        chosen = (select.fraction, percent(select.fraction), select.fraction)
    elif select.count is not None:
        chosen = ([select.count, "rows"], rows(select.count), select.count)
    elif select.where is not None:
        chosen = (select.where, expression(select.where), None)
    if chosen is not None:
        yield "select", _value(chosen[0], chosen[1], number=chosen[2])
    if select.per:
        yield "select.per", _items(sorted(select.per))
    if select.best:
        yield "best", _items([expression(e) for e in select.best])
    if select.salt and (salted or select.count is not None or select.fraction not in (None, "1")):
        yield "salt", _value(select.salt)


def rows(n: int) -> str:
    return f"{n:,} row{'s' if n != 1 else ''}"


def _rules(rules: list[Rule]) -> Iterator[tuple[str, Fact]]:
    """Rules by name; the order of sieves says which of them counts a row; expectations change no byte."""
    seen: dict[str, int] = {}
    for rule in rules:
        seen[rule.name] = seen.get(rule.name, 0) + 1
        name = rule.name if seen[rule.name] == 1 else f"{rule.name} ({seen[rule.name]})"
        group = "expect" if rule.verb == "expect" else "rule"
        text = f"{rule.verb} {expression(rule.expr)}"
        yield f"{group}.{name}", _value([rule.verb, rule.expr], text, _affects(rule))
    order = [r.name for r in rules if r.verb != "expect"]
    if len(order) > 1:
        yield "rules.order", _items(order)


def _affects(rule: Rule) -> Affects:
    return "doc" if rule.verb == "expect" else "data"


def _sets(sets: list[SetColumn], plan: Plan) -> Iterator[tuple[str, Fact]]:
    for s in sets:
        yield f"set.{s.column}", _expr(s.expr, plan)


def _expr(expr: Any, plan: Plan) -> Fact:
    """An expression, or a template by its text."""
    if expr and expr[0] == "template":
        return Fact(expr, expression(expr), template=plan.texts.get(expr[1]))
    return _value(expr, expression(expr))


def _method(name: str, method: Method) -> Iterator[tuple[str, Fact]]:
    args = ", ".join(f"{k} = {argument(v)}" for k, v in method.args.items())
    yield name, _value([method.name, method.version], f"{method.name}({args})")
    for key, value in method.args.items():
        yield (f"{name}.{key}", replace(_value(value, argument(value), number=_number(value)), part=True))


def argument(value: Any) -> str:
    """An argument of a method, as it is written."""
    match value:
        case {"unit": "percent", "value": share}:
            return percent(str(share))
        case {"unit": str(unit), "value": count}:
            return f"{count} {unit}"
        case str() if "/" in value and all(p.isdigit() for p in value.split("/")):
            return decimal(Fraction(value))
        case list():
            return "[" + ", ".join(map(argument, value)) + "]"
        case _:
            return format_value(value)


def _number(value: Any) -> Fraction | None:
    match value:
        case bool():
            return None
        case int() | float():
            return Fraction(str(value))
        case {"value": inner}:
            return _number(inner)
        case str():
            try:
                return Fraction(value)
            except ValueError:
                return None
        case _:
            return None


def _optional(name: str, value: Any, **more: Any) -> Iterator[tuple[str, Fact]]:
    if value not in (None, [], {}):
        yield name, _items(value, **more) if isinstance(value, list) else _value(value, **more)


def _schema(columns: dict[str, str]) -> Iterator[tuple[str, Fact]]:
    if columns and columns != SFT:
        yield "schema", _items([f"{name}: {type_}" for name, type_ in columns.items()])


# --- kinds ------------------------------------------------------------------------------------------------------------


Describe = Callable[[Any, Plan, Node, Names], Iterator[tuple[str, Fact]]]
#: By kind what describes its blocks, where that is more than its attributes.
_SPECIAL: ByKind[Describe] = ByKind()
describes = _SPECIAL.of


def _declared(s: Any, plan: Plan, node: Node, names: Names) -> Iterator[tuple[str, Fact]]:
    """The attributes that the plan holds, each by the type of its field, then assignments and rules."""
    fields = {f.name: str(f.type) for f in dataclasses.fields(s)}
    for name, attribute in KINDS[node.kind].attributes.items():
        value = getattr(s, name, None) if name in fields else None
        if value not in (None, [], {}) and name != "salt" and not attribute.refers:  # inputs are told already
            yield from _attribute(name, attribute, value, fields[name], s, plan)
    if KINDS[node.kind].makes_ids:
        yield "salt", _value(s.salt)
    yield from _sets(getattr(s, "sets", []), plan)
    yield from _rules(getattr(s, "rules", []))


def _attribute(
    name: str, attribute: Attribute, value: Any, field: str, s: Any, plan: Plan
) -> Iterator[tuple[str, Fact]]:
    match field.removesuffix(" | None"):
        case "Method":
            yield from _method(name, value)
        case "list[Method]":
            for method in value:
                yield from _method(f"{name}.{method.name}", method)
        case "Expr":
            yield name, _expr(value, plan)
        case "list[Expr]":
            yield name, _items([expression(e) for e in value])
        case "Select":
            yield from _select(value, getattr(s, "mode", "replace") != "replace")
        case _:
            yield name, _value(value, _written(attribute.type, value), attribute.affects, _number(value))


def _place(reader: Method, files: list[dict[str, str]]) -> Iterator[tuple[str, Fact]]:
    args = dict(reader.args)
    for written, name in (("hub", "repo"), ("python", "modules")):
        yield from _optional(written, args.pop(name, None))
    for name, value in args.items():
        yield from _optional(name, value)
    for file in files:
        yield (f"file.{file['path']}", _value([file["digest"], file["format"]], short(file["digest"])))


@describes("source")
def _source(s: SourceSpec, plan: Plan, node: Node, names: Names) -> Iterator[tuple[str, Fact]]:
    yield from _place(s.reader, s.files)
    if s.reader.name in ("files", "python"):
        yield "salt", _value(s.salt)
    for name, limit in (("limit", s.limit), ("--limit", s.run_limit)):
        if limit is not None:
            yield name, _value(limit, rows(limit), number=limit)
    yield from _optional("id", s.id_column)
    yield from _optional("missing", s.missing)
    yield from _optional("license", s.license, affects="doc")
    if s.on_bad_row != "error":
        yield "on_bad_row", _value([s.on_bad_row, s.max_bad], f"skip(max = {s.max_bad or 0})")
    yield from _sets(s.sets, plan)
    yield from _rules(s.rules)
    yield from _schema(s.schema_columns)


@describes("suite")
def _suite(s: SuiteSpec, plan: Plan, node: Node, names: Names) -> Iterator[tuple[str, Fact]]:
    yield from _place(s.reader, s.files)
    yield from _sets(s.sets, plan)
    yield "text", _items(s.text)
    yield from _optional("id", s.id_column)
    yield from _optional("entry_point", s.entry_point)
    yield from _optional("engine", s.engine)
    yield from _optional("license", s.license, affects="doc")
    for name, value in s.evaluation.items():
        yield from _optional(name, value)


@describes("decontaminate")
def _decontaminate(s: DecontaminateSpec, plan: Plan, node: Node, names: Names) -> Iterator[tuple[str, Fact]]:
    if s.on:
        yield "on", _items([expression(e) for e in s.on])
    seen: dict[str, int] = {}
    for method in s.methods:
        seen[method.name] = seen.get(method.name, 0) + 1
        number = f"{seen[method.name]}" if seen[method.name] > 1 else ""
        yield from _method(f"method.{method.name}{number}", method)
    yield from _rules(s.rules)


@describes("relabel", "generate")
def _teacher_step(s: TeacherStepSpec, plan: Plan, node: Node, names: Names) -> Iterator[tuple[str, Fact]]:
    teacher, prompt = plan.teachers[s.teacher], plan.prompts[s.prompt]
    yield "teacher", _value(teacher.identity_key, s.teacher)
    yield "teacher.name", replace(_value(s.teacher, affects="doc"), part=True)
    yield "teacher.settings", replace(_value(_unkeyed(teacher), s.teacher, "cost"), part=True)
    yield "prompt", _value(prompt.key, s.prompt)
    yield "prompt.name", replace(_value(s.prompt, affects="doc"), part=True)
    yield "mode", _value(s.mode)
    if s.place is not None:
        yield "place", _value(s.place)
    yield from _select(s.select, s.mode != "replace" or KINDS[s.kind].makes_ids)
    if s.select is None and (s.mode != "replace" or KINDS[s.kind].makes_ids):
        yield "salt", _value(s.salt)
    yield "samples", _value(s.samples, number=s.samples)
    if s.accept is not None:
        yield "accept", _value(s.accept, f"{s.accept:,} rows", number=s.accept)
    yield "retries_on_reject", _value(s.retries_on_reject, number=s.retries_on_reject)
    if s.repair:
        yield "repair", _value(s.repair, number=s.repair)
    yield "max_failed", _value(s.max_failed, percent(s.max_failed), "speed", s.max_failed)
    if s.budget is not None:
        yield "budget", _value(s.budget, f"${s.budget}", "cost", s.budget)
    yield "on_long", _value(s.on_long)
    for name, expr in s.inputs.items():
        if expr != ["col", name]:
            yield f"map.{name}", _expr(expr, plan)
    yield from _sets(s.sets, plan)
    yield from _rules(s.rules)


def _unkeyed(teacher: Teacher) -> dict[str, Any]:
    """What of a teacher costs money or time and decides no byte."""
    left = {"name", "at", "identity_key", "sampling", "model"}
    return {name: value for name, value in to_json(teacher).items() if name not in left}


@describes("task")
def _task(s: TaskSpec, plan: Plan, node: Node, names: Names) -> Iterator[tuple[str, Fact]]:
    if s.standard is not None:
        yield "standard task", _value(s.standard)
    for name in ("system", "instruction", "response"):
        expr = getattr(s, name)
        if expr is not None and expr[0] != "lit":
            yield name, _expr(expr, plan)
    for c in s.classes:
        yield f"classes.{c['name']}", _items(list(c["rules"]))
    if s.sound is not None:
        yield "sound", _value(s.sound, percent(s.sound), number=s.sound)
    yield from _select(s.select, True)
    if s.select is None:
        yield "salt", _value(s.salt)
    yield from _rules(s.rules)


@describes("mixture")
def _mixture(s: MixtureSpec, plan: Plan, node: Node, names: Names) -> Iterator[tuple[str, Fact]]:
    yield "unit", _value(s.unit)
    if s.total is not None:
        yield "total", _value(s.total, f"{s.total:,} {s.unit}", number=s.total)
    for take in s.take:
        name = stream(node.inputs[take.edge], names)
        text = amount(take.amount, take.value) + (" (missing)" if take.missing else "")
        number = None if take.value is None else Fraction(take.value)
        yield f"take.{name}", _value([take.amount, take.value, take.missing], text, number=number)
    if s.weights is not None:
        yield from _method("weights", s.weights)
    on_short = s.on_short if s.repeat_max is None else f"{s.on_short}(max = {s.repeat_max}x)"
    yield "on_short", _value(on_short)
    yield from _optional("redraw", s.redraw)
    yield from _optional("tokenizer", s.tokenizer)
    yield "salt", _value(s.salt)
    yield from _rules(s.rules)


@describes("export")
def _export(s: ExportSpec, plan: Plan, node: Node, names: Names) -> Iterator[tuple[str, Fact]]:
    yield "format", _value(s.format)
    yield "lineage", _value(s.lineage)
    for name in ("path", "hub", "license", "title"):
        yield from _optional(name, getattr(s, name), affects="doc")
    yield from _optional("columns", s.columns)
    if s.split:
        shares = ", ".join(f"{k} = {percent(v)}" for k, v in s.split.items())
        yield "split", _value(s.split, f"{{ {shares} }}")
        yield "salt", _value(s.salt)
    yield from _schema(s.schema_columns)


def _written(type_: AttrType, value: Any) -> str:
    """A value in the recipe's words, by the type of its attribute: counts with their unit, small numbers as people
    write them."""
    first = type_.alternatives[0].name
    if first in ("tokens", "rows"):
        return f"{value:,} {first.removesuffix('s') if value == 1 else first}"
    if first == "percent" and isinstance(value, str):
        return percent(value)
    number = Fraction(value) if first == "real" else None
    if number is not None and 0 < number < Fraction(1, 1000):
        mantissa, _, exponent = f"{float(number):e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return argument(value)


@describes("train")
def _train(s: TrainSpec, plan: Plan, node: Node, names: Names) -> Iterator[tuple[str, Fact]]:
    chained = any(e.role == "model" for e in node.inputs)  # the base is an input
    for name, attribute in KINDS["train"].attributes.items():
        value = getattr(s, name, None)
        reported = name in ("eval_share", "init", "method", "schedule", "chat_template") or (name == "base" and chained)
        if value not in (None, [], {}) and not reported:
            yield name, _value(value, _written(attribute.type, value), attribute.affects, _number(value))
    yield from _optional("eval_rows", s.eval_rows)
    if s.eval_share is not None:
        yield "eval_share", _value(s.eval_share, percent(s.eval_share), number=s.eval_share)
    for name in ("init", "method", "schedule"):
        yield from _method(name, getattr(s, name))
    if s.chat_template is not None:
        digest = s.chat_template.get("text")
        displayed = plan.texts.get(digest or "")
        text = s.chat_template["model"] if digest is None else short(digest)
        yield "chat_template", Fact(digest or s.chat_template, text, template=displayed)


# --- what steps refer to ----------------------------------------------------------------------------------------------


def teacher(t: Teacher) -> Facts:
    """A teacher as a table."""
    out: Facts = {"provider": _value(t.provider)}
    for name in ("model", "revision", "identity"):
        out |= dict(_optional(name, getattr(t, name)))
    for name, value in {"temperature": "none", **t.sampling}.items():
        if (name, value) == ("top_p", "1"):  # as where none is sent
            continue
        out[name] = _value(value, argument(value), number=_number(value))
    for name in ("extra", "query"):
        for field, value in getattr(t, name).items():
            out[f"{name}.{field}"] = _value(value, argument(value), number=_number(value))
    for header, variable in t.headers_env.items():
        out[f"headers_env.{header}"] = _value(variable, affects="speed")
    out |= dict(_optional("base_url", t.base_url, affects="speed"))
    out |= dict(_optional("api_key_env", t.api_key_env, affects="speed"))
    if t.price is not None and t.price.free:
        out["price"] = _value("free", affects="cost")
    elif t.price is not None:
        for name in ("input", "output"):
            each = Fraction(getattr(t.price, name)) * 1_000_000
            out[f"price.{name}"] = _value(str(each), f"${decimal(each)} per 1M tokens", "cost", each)
    out["rate"] = _value(t.rate, ", ".join(map(_rate, t.rate)) or "none", "speed")
    for name in ("concurrency", "retries"):
        value = getattr(t, name)
        out[name] = _value(value, argument(value), "speed", value)
    seconds = Fraction(str(t.timeout_seconds))
    out["timeout"] = _value(str(seconds), f"{t.timeout_seconds:g}s", "speed", seconds)
    out["batch"] = _value(t.batch, affects="cost")
    return out


def _rate(rate: dict[str, Any]) -> str:
    each = Fraction(rate["per_second"]) * 60
    return f"{decimal(each)} {rate['unit']}/min"


def prompt(p: Prompt, plan: Plan) -> Facts:
    """A prompt as a table."""
    out: Facts = {
        "input": _items([f"{n}: {t}" for n, t in p.inputs.items()]),
        "output": _items([f"{n}: {t}" for n, t in p.outputs.items()]),
    }
    for name in ("system", "user", "prefill"):
        digest = getattr(p, name)
        if digest is not None:
            out[name] = Fact(digest, short(digest), template=plan.texts.get(digest))
    if p.shots:
        out["shots"] = _value(p.shots, number=p.shots)
    return out | dict(_optional("rules", p.rules)) | dict(_optional("turn", p.turn))
