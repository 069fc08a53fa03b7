"""Reads golden cases: Markdown with a recipe, its other files, and what the checker says about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alchemist_runtime.schema.codes import CODES

from alchemist_dsl import ir
from alchemist_dsl.checker import check
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.source import SourceFile, Span

LIBRARY = Path(__file__).parent / "std"  # a library of the tests' own, so that cases do not move with the shipped one
_FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```\n", re.M | re.S)


@dataclass
class Case:
    """One section of a case file."""

    title: str
    files: dict[str, str] = field(default_factory=dict)
    sets: dict[str, tuple[str, str]] = field(default_factory=dict)
    variant: str | None = None
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    expected: dict[str, str] = field(default_factory=dict)
    prelude: str = ""


def read_cases(path: Path) -> list[Case]:
    """All cases of a file."""
    found = []
    text = path.read_text()
    for section in re.split(r"^(?=## )", text, flags=re.M)[1:]:
        found.append(_case(section))
    return found


def _case(section: str) -> Case:
    case = Case(section.splitlines()[0][3:].strip())
    for kind, argument, body in _FENCE.findall(section):
        name = argument.strip()
        if kind == "recipe" or (name and kind in ("jinja", "json")):
            case.files[name or "r.recipe"] = body
        elif kind == "set":
            for line in body.splitlines():
                origin, _, rest = line.partition(" ")
                key, _, value = rest.partition("=")
                case.sets[key] = (value, origin)
        elif kind == "variant":
            case.variant = body.strip()
        elif kind == "columns":
            for line in body.splitlines():
                source, _, columns = line.partition(" = ")
                pairs = re.split(r", (?![^<]*>)", columns)
                case.columns[source] = dict(p.split(": ", 1) for p in pairs if p)
        else:
            case.expected[kind] = body
    return case


def run(case: Case) -> dict[str, str]:
    """What the checker says, in the blocks that the case asks for."""
    program, diagnostics = run_check(case)
    made = {"says": "".join(_shown(d, program) for d in diagnostics)}
    if "schemas" in case.expected:
        made["schemas"] = _schemas(program)
    if "values" in case.expected:
        made["values"] = _values(program)
    return made


def run_check(case: Case) -> tuple[ir.Program, tuple[Diagnostic, ...]]:
    """Check the recipe of a case."""

    def read(path: str) -> bytes | None:
        if path.startswith("std:"):
            file = LIBRARY / f"{path[4:]}.recipe"
            return file.read_bytes() if file.exists() else None
        text = case.files.get(path)
        return None if text is None else text.encode()

    def listing(folder: str) -> Sequence[str]:
        if folder == "std:":
            return sorted(p.stem for p in LIBRARY.glob("*.recipe"))
        return [p.rpartition("/")[2] for p in case.files if p.rpartition("/")[0] == folder]

    def columns(block: ir.Block) -> Mapping[str, str] | None:
        return case.columns.get(block.name)

    program, diagnostics = check(
        SourceFile("r.recipe", case.files["r.recipe"]),
        read,
        sets=case.sets,
        variant=case.variant,
        columns=columns,
        listing=listing,
    )
    assert program is not None
    return program, diagnostics


def place(span: Span, program: ir.Program) -> str:
    """file:line:column, with the text that is underlined."""
    file = program.files[span.file]
    line, column = file.position(span.start)
    under = file.text[span.start : span.end].partition("\n")[0]
    name = "" if span.file == "r.recipe" else f"{span.file}:"
    return f"{name}{line}:{column} `{under}`"


def _shown(d: Diagnostic, program: ir.Program) -> str:
    code = CODES[d.code]
    severity = d.severity or code.severity
    lines = [f"{severity}[{d.code} {code.slug}] {place(d.span, program)}: {d.headline}"]
    if d.label:
        lines.append(f"  label: {d.label}")
    lines += [f"  at {place(lab.span, program)}: {lab.text}" for lab in d.labels]
    if d.note:
        lines.append(f"  note: {d.note}")
    if d.help:
        lines.append(f"  help: {d.help}")
    if d.edit is not None:
        word = "fix" if d.edit.safe else "fix, asked"
        lines.append(f"  {word}: {place(d.edit.span, program)} -> `{d.edit.text}`")
    return "\n".join(lines) + "\n"


def _schemas(program: ir.Program) -> str:
    lines = []
    for (block, port), schema in program.schemas.items():
        if "." in block:
            continue
        columns = ", ".join(f"{n}: {t}" for n, t in schema.columns.items())
        lines.append(f"{block}.{port}: {columns}{', …' if schema.open else ''}")
    return "\n".join(lines) + "\n"


def _values(program: ir.Program) -> str:
    lines = []
    for name, param in program.params.items():
        lines.append(f"param {name}: {param.type} = {param.text} ({param.origin})")
    for block in program.blocks.values():
        if "." in block.name:
            continue
        lines.append(f"{block.kind} {block.name}")
        for attr in block.attrs.values():
            if attr.origin != "default":
                lines.append(f"  {attr.name} = {value(attr.value)} ({attr.origin})")
        roles = [f"{r}={ref(i)}" for i, r in zip(block.inputs, block.roles, strict=True)]
        if roles:
            lines.append("  inputs " + ", ".join(roles))
        lines += [f"  set {s.column}: {s.expr.type} = {s.expr.tree}" for s in block.sets]
        lines += [f"  {r.verb} {r.name}: {r.expr.tree}" for r in block.rules]
        lines += [f"  field {f.name}: {f.type}" for f in block.fields]
        lines += [f"  asks {n} = {e.tree}" for n, e in block.prompt_inputs.items()]
        lines += [f"  take {e.name} {e.amount} {e.value}{' missing' * e.missing}" for e in block.entries]
        lines += [f"  class {c.name} = {', '.join(c.rules)}" for c in block.classes]
        if block.standard_task:
            lines.append(f"  standard task {block.standard_task}")
    return "\n".join(lines) + "\n"


def ref(value: ir.RefV) -> str:
    port = "" if value.port == "rows" else f".{value.port}"
    return f"{value.target}{port}{f'.{value.origin}' if value.origin else ''}"


def value(v: ir.Value) -> str:
    """A value, short."""
    match v:
        case ir.Qty(kind=kind, value=number, per=per):
            return f"{number} {kind}" + (f" per {per[1]} {per[0]}" if per else "")
        case ir.TextV(value=text):
            return repr(text)
        case ir.BoolV(value=flag):
            return str(flag).lower()
        case ir.NullV():
            return "null"
        case ir.ChoiceV(name=name):
            return name
        case ir.RefV():
            return "@" + ref(v)
        case ir.TemplateV(reads=reads):
            return f"template({', '.join(reads)})"
        case ir.MethodV(name=name, args=args):
            return f"{name}({', '.join(f'{k}={a}' for k, a in args.items())})"
        case ir.ExprV(tree=tree):
            return str(tree)
        case ir.SelectV():
            parts = []
            if v.share is not None:
                parts.append(f"share {v.share}")
            if v.count is not None:
                parts.append(f"count {v.count}")
            if v.where is not None:
                parts.append(f"where {v.where.tree}")
            if v.per:
                parts.append(f"per {', '.join(v.per)}")
            if v.best:
                parts.append(f"best {[b.tree for b in v.best]}")
            return " ".join(parts)
        case ir.ListV(items=items):
            return "[" + ", ".join(value(i) for i in items) + "]"
        case ir.RecordV(fields=fields):
            return "{" + ", ".join(f"{n}: {value(f)}" for n, f in fields.items()) + "}"
        case ir.IntervalV(low=low, high=high):
            return f"{value(low)}..{value(high)}"


def rewrite(path: Path) -> None:
    """Put what the checker says now into the expected blocks of a file."""
    sections = re.split(r"^(?=## )", path.read_text(), flags=re.M)
    out = [sections[0]]
    for section in sections[1:]:
        case = _case(section)
        made = run(case)
        for kind, body in made.items():
            fence = f"```{kind}\n{body}```\n"
            if kind in case.expected:
                section = re.sub(rf"^```{kind}\n.*?^```\n", lambda _, f=fence: f, section, flags=re.M | re.S)
            elif kind == "says":
                section = section.rstrip("\n") + "\n\n" + fence + "\n"
        out.append(section)
    path.write_text("".join(out))
