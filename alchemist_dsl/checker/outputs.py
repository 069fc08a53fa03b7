"""Checks what comes out of a recipe: export, train, evaluate, measure, check, moved."""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Final

from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.rows import nullable
from alchemist_runtime.train import base_model, batching
from alchemist_runtime.train.base_model import scratch_sizes

from alchemist_dsl import ir
from alchemist_dsl.checker.block_checker import Building, checks
from alchemist_dsl.checker.columns import read_rules
from alchemist_dsl.checker.expressions import column_type, readable
from alchemist_dsl.checker.mixture import percent
from alchemist_dsl.checker.names import Found, find, report_missing
from alchemist_dsl.checker.problems import did_you_mean, either, listed
from alchemist_dsl.checker.sources import recipe_schema
from alchemist_dsl.checker.templates import Variables, check_template
from alchemist_dsl.diagnostics.model import Edit, Label, near
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.decode import decode


@checks("export")
def export(b: Building) -> None:
    """A dataset on disk or on the hub."""
    b.read_from("data", "data")
    b.rest()
    if b.get("path") is None and b.get("hub") is None and not b.incomplete and b.ok:
        b.error("A106", f"{b.title} needs `path` or `hub`", b.header, help='for example `path = "out"`')
    _columns(b)
    _needs_schema(b)
    _split(b)
    path = b.get("path")
    if isinstance(path, ir.TextV) and _outside(path.value, b.decl.block.span.file):
        b.error(
            "A909",
            f"`{path.value}` lies outside the project",
            path.span,
            help='write a folder of the project, for example `path = "out"`',
        )


def _columns(b: Building) -> None:
    columns = b.get("columns")
    for item in columns.items if isinstance(columns, ir.ListV) else ():
        if not isinstance(item, ir.TextV) or b.stream.open or column_type(b.stream, item.value):
            continue
        text, edit = did_you_mean(item.value, readable(b.stream))
        b.error(
            "A503",
            f"rows of {b.stream.name} have no column `{item.value}`",
            item.span,
            help=text or "columns: " + ", ".join(b.stream.columns),
            edit=edit,
        )


def _needs_schema(b: Building) -> None:
    """What is exported or trained on has the columns of the row schema."""
    if b.stream.open or not b.inputs:
        return
    lacking = [n for n, t in recipe_schema(b.context).items() if not nullable(t) and n not in b.stream.columns]
    if lacking:
        b.error(
            "A503",
            f"rows of {b.stream.name} have no column {listed(lacking, 'or')}",
            b.inputs[0].span,
            help="columns: " + ", ".join(b.stream.columns),
        )


def _split(b: Building) -> None:
    split = b.get("split")
    if not isinstance(split, ir.RecordV):
        return
    cut = [b.context.blocks.get(r.target) for r in b.inputs if r.port == "rows"]
    if any(c is not None and c.kind == "split" for c in cut):
        b.error(
            "A111",
            f"the rows of {b.stream.name} are cut into `train` and `eval` already",
            b.attrs["split"].name_span,
            labels=(Label(b.inputs[0].span, "written as these two parts"),),
            help="leave out `split` here",
        )
    shares = [v.value for v in split.fields.values() if isinstance(v, ir.Qty)]
    if len(shares) == 2 and sum(shares) != 1:
        b.error(
            "A601",
            f"the parts of `split` are {' + '.join(percent(s) for s in shares)} ="
            f" {percent(sum(shares, start=shares[0] * 0))}",
            split.span,
            help="they must be 100% together",
        )


def _outside(path: str, file: str) -> bool:
    if path.startswith(("/", "~")) or (len(path) > 1 and path[1] == ":"):
        return True
    full = posixpath.normpath(posixpath.join(posixpath.dirname(file), path))
    return full == ".." or full.startswith("../")


@checks("train")
def train(b: Building) -> None:
    """A launch with accelerate."""
    b.variables = Variables({}, open=True, chat=True)
    b.read_from("data", "data")
    base = b.attribute("base")
    if isinstance(base, ir.RefV):
        b.add_input(base, "model")
    b.rest()
    _needs_schema(b)
    if b.incomplete:
        return
    init = b.get("init")
    scratch = isinstance(init, ir.MethodV) and init.name == "scratch"
    if base is None and not scratch and "base" not in b.body.attrs:
        b.error(
            "A106",
            f"{b.title} needs `base`",
            b.header,
            help='the model to start from, for example `base = "Qwen/Qwen2.5-0.5B"`, or `init = scratch()`',
        )
    elif base is not None and scratch:
        b.error(
            "A111",
            "`init = scratch(…)` starts from no model, so it has no `base`",
            b.attrs["base"].name_span,
            labels=(Label(b.attrs["init"].name_span, "here"),),
        )
    lengths = [n for n in ("epochs", "steps") if n in b.body.attrs]
    if not lengths:
        b.error("A106", f"{b.title} needs `epochs` or `steps`", b.header, help="for example `epochs = 2`")
    elif len(lengths) == 2:
        one, two = (b.body.attrs[n].stmt.path[0].span for n in lengths)
        b.error("A111", f"{b.title} has both `epochs` and `steps`", two, labels=(Label(one, "first"),), help="keep one")
    _accelerate_file(b)
    chat_template(b)
    for name in ("batch", "max_length", "steps", "epochs"):
        value = b.get(name)
        if isinstance(value, ir.Qty) and value.value <= 0:
            b.error("A204", f"`{name}` must be above 0; this is {value.text}", value.span)
    _units(b)
    if b.ok:
        _batch(b)
    if b.ok and isinstance(init, ir.MethodV) and init.name == "scratch":
        span = b.attrs["max_length"].value.span if "context" in init.given else init.span
        _tried(b, span, lambda: scratch_sizes(init.args, _count(b, "max_length")))


def _units(b: Building) -> None:
    """A training counts what it learns from by sequences: packs, or, without packing, rows."""
    packing = _word(b, "packing") or "ffd"
    for name in ("batch", "micro_batch"):
        value = b.get(name)
        if not isinstance(value, ir.Qty) or (value.kind == "rows") is (packing == "none"):
            continue
        count, meant = value.text.partition(" ")[0], ""
        if value.kind == "rows":
            better, meant = f"{count} packs", ", which is what this meant until now"
            why = f"`packing = {packing}` puts several rows into a sequence, so `{name}` is no number of rows"
        elif value.kind == "packs":
            better = f"{count} rows"
            why = f"`packing = none` makes no packs: each row is a sequence, so `{name}` is a number of rows"
        elif value.value % max(1, length := _count(b, "max_length")) == 0:
            better, meant = f"{int(value.value / length)} rows", ", as many as this meant until now"
            why = "`packing = none` trains on rows of any length, so no number of tokens is exact"
        else:
            continue  # told as a batch that is no whole number of sequences
        better = better.removesuffix("s") if count == "1" else better
        if b.attrs[name].origin.startswith("param:"):
            unit = better.partition(" ")[2]
            b.error("A813", why, value.span, help=f"declare the parameter as {unit}{meant}")
            continue
        b.error("A813", why, value.span, help=f"write `{better}`{meant}", edit=Edit(value.span, better))


def _tried(b: Building, span: Span, sizes: Callable[[], object]) -> None:
    """What a run would refuse after all steps before it were paid for, told here."""
    try:
        sizes()
    except RunError as error:
        b.error(error.problem.code, error.problem.headline, span, help=error.problem.help)


def _batch(b: Building) -> None:
    """A batch that no number of processes can share out."""
    size, micro = b.get("batch"), b.get("micro_batch")
    if not isinstance(size, ir.Qty):
        return
    what = "rows" if _word(b, "packing") == "none" else "packs"
    most = int(micro.value) if isinstance(micro, ir.Qty) else None

    def cut() -> None:
        total = batching.sequences(size.kind, int(size.value), _count(b, "max_length"))
        batching.each(total, _processes(b), most, what)

    _tried(b, size.span, cut)


def _processes(b: Building) -> int:
    """Processes of all machines, as far as the block says; else the fewest."""
    own = _count(b, "processes") or _count(b, "gpus")
    return max(1, own) * max(1, _count(b, "nodes"))


def _count(b: Building, name: str) -> int:
    value = b.get(name)
    return int(value.value) if isinstance(value, ir.Qty) else 0


def _word(b: Building, name: str) -> str | None:
    value = b.get(name)
    return value.name if isinstance(value, ir.ChoiceV | ir.MethodV) else None


def _accelerate_file(b: Building) -> None:
    """A configuration file that `parallel` names lies beside the recipe."""
    parallel = b.get("parallel")
    if not isinstance(parallel, ir.TextV):
        return
    folder = posixpath.dirname(parallel.span.file)
    path = posixpath.normpath(posixpath.join(folder, parallel.value))
    with contextlib.suppress(OSError):
        if path.startswith(("/", "../")) or b.context.loader.read(path) is not None:
            return
    b.error(
        "A805",
        f"no accelerate configuration `{path}`",
        parallel.span,
        label=f"looked in {folder or '.'}",
        help="write the path of a file from here, or one of `ddp`, `fsdp`, `zero2` and `zero3`",
    )


@checks("evaluate")
def evaluate(b: Building) -> None:
    """Benchmarks of a trained model."""
    model = b.attribute("model")
    if isinstance(model, ir.RefV):
        b.add_input(model, "model")
    b.rest()


@checks("measure")
def measure(b: Building) -> None:
    """Diagnostics of a dataset."""
    b.read_from("data", "data")
    b.rest()
    _metrics(b)
    by = b.get("by")
    if isinstance(by, ir.TextV) and not b.stream.open and not column_type(b.stream, by.value):
        text, edit = did_you_mean(by.value, readable(b.stream))
        b.error("A503", f"rows of {b.stream.name} have no column `{by.value}`", by.span, help=text, edit=edit)


def _metrics(b: Building) -> None:
    """Suites and models that metrics name are read by the measure."""
    metrics = b.get("metrics")
    for metric in metrics.items if isinstance(metrics, ir.ListV) else ():
        if not isinstance(metric, ir.MethodV):
            continue
        for value in metric.args.values():
            for name in value if isinstance(value, list) else (value,):
                block = b.context.blocks.get(name) if isinstance(name, str) else None
                role = {"suite": "suites", "train": "model"}.get(block.kind if block else "")
                if role is not None:
                    b.add_input(ir.RefV(metric.span, name), role)


@checks("check")
def check(b: Building) -> None:
    """Promises about plan and result."""
    b.rest()
    env = b.env = replace(b.env, streams=True, plan=True)
    b.extra["rules"] = read_rules(b, env, env)
    if not b.body.rules and not b.incomplete:
        b.error("A106", f"{b.title} promises nothing", b.header, help="for example `expect plan.cost <= $20`")
    seen: dict[tuple[str, str, str | None], ir.RefV] = {}
    for ref in env.refs:
        seen.setdefault((ref.target, ref.port, ref.origin), ref)
    for ref in seen.values():
        b.add_input(ref, "data")


@checks("moved")
def moved(b: Building) -> None:
    """A rename that keeps selections."""
    b.rest()
    old, new = b.get("from"), b.get("to")
    scope = b.decl.scope
    if isinstance(old, ir.TextV) and old.value in scope.decls:
        b.error(
            "A121",
            f"`{old.value}` still exists, so it was not renamed",
            old.span,
            labels=(Label(_name_span(scope.decls[old.value].block), "declared here"),),
            help="delete this `moved` block, or rename the block",
        )
    if isinstance(new, ir.TextV):
        path = [ast.Ident(new.span, n) for n in new.value.split(".")]
        found = find(path, scope)
        if not isinstance(found, Found):
            report_missing(found, [k for k, v in KINDS.items() if v.stream], b.context.problems)
            b.ok = False


def _name_span(block: ast.Block) -> Span:
    return block.header if block.name is None else block.name.span


# --- chat ------------------------------------------------------------------------------------------------------------

#: What a file with a template is called; every other name is one of a model.
FILES: Final = (".jinja", ".jinja2", ".j2", ".txt")
#: Either of these makes a folder something that a tokenizer is loaded from.
_TOKENIZER: Final = ("tokenizer_config.json", "chat_template.jinja")
#: The function by which a template asks for today.
DATED: Final = "strftime_now"
#: A model of the hub; older ones have no owner.
MODEL: Final = re.compile(r"[\w.\-]+(/[\w.\-]+)?")


def chat_template(b: Building) -> None:
    """Read what `chat_template` names: a file and `training(…)` become their text, the path of a folder one from
    the project's."""
    value = b.get("chat_template")
    if isinstance(value, ir.TextV):
        _named(b, value)
    elif isinstance(value, ir.MethodV):
        _family(b, value)
    if b.ok:
        _date(b)


def _read(b: Building, path: str) -> bytes | None:
    with contextlib.suppress(OSError):  # a pipe, a link that leads outside
        return b.context.loader.read(path)
    return None


def _put(b: Building, value: ir.Value) -> None:
    b.attrs["chat_template"] = replace(b.attrs["chat_template"], value=value)


def _named(b: Building, value: ir.TextV) -> None:
    name = value.value
    file, placed = name.endswith(FILES), name.startswith((".", "/", "~"))
    if not file and not placed:
        if not MODEL.fullmatch(name):
            _fail(b, value, f"`{name}` is no template, no file and no model")
        return
    path = posixpath.normpath(posixpath.join(posixpath.dirname(value.span.file), name))
    if path.startswith(("/", "~", "../")):
        b.error(
            "A411",
            f"the chat template `{name}` lies outside the project",
            value.span,
            help="copy the file into the project",
        )
    elif file:
        _file(b, value, path)
    elif any(_read(b, f"{path}/{n}") is not None for n in _TOKENIZER):
        _put(b, replace(value, value=path))
    else:
        _fail(b, value, f"there is no model in the folder `{path}`")


def _file(b: Building, value: ir.TextV, path: str) -> None:
    data = _read(b, path)
    if data is None:
        folder, name = posixpath.split(path)
        others = [f for f in b.context.loader.listing(folder) if f.endswith(FILES) and f != name]
        close = near(name, others, 3)
        _fail(b, value, f"there is no chat template `{path}`", f"there is `{close[0]}`" if close else None)
        return
    source, problems = decode(path, data)
    b.context.problems.take(problems)
    reads = None
    if source is not None:
        b.context.loader.files[path] = source  # so that problems are shown where they are
        whole = ast.Text(source.span(0, len(source.text)), source.text, "template", source.starts)
        assert b.variables is not None
        reads = check_template(whole, b.variables, b.context.problems)
    if source is None or reads is None:
        b.ok = False
        return
    _put(b, ir.TemplateV(value.span, source.text, reads, ("file", path)))


def _family(b: Building, value: ir.MethodV) -> None:
    name = str(value.args.get("family"))
    if name in base_model.FAMILIES:
        text = base_model.training_template(name)
        _put(b, ir.TemplateV(value.span, text, (), ("training", name)))
        return
    close = near(name, base_model.FAMILIES, 1)
    b.error(
        "A411",
        f"there is no template for training the family `{name}`",
        value.span,
        help=f'did you mean `training("{close[0]}")`?' if close else f"it is {either(base_model.FAMILIES)}",
    )


def _fail(b: Building, value: ir.TextV, headline: str, help: str | None = None) -> None:
    b.error(
        "A411",
        headline,
        value.span,
        help=help
        or 'write `jinja"""…"""` for a template, `"chat.jinja"` for a file, or `"owner/model"` for that of a model; '
        "paths are relative to the recipe",
    )


# --- the day that a template writes -----------------------------------------------------------------------------------


def _date(b: Building) -> None:
    """`date` is a day; a template that asks for today has one, and no other template."""
    day, template = b.get("date"), b.get("chat_template")
    if isinstance(day, ir.TextV) and not _is_day(day.value):
        b.error(
            "A201",
            f"`date` is a day of the calendar, and `{day.value}` is none",
            day.span,
            help='for example `date = "2026-11-30"`',
        )
        return
    text = template.text if isinstance(template, ir.TemplateV) else _text_of_folder(b)
    if text is None:
        return
    span = b.name_span if template is None else template.span
    if DATED in text and day is None:
        b.problem(
            "A412",
            "the chat template writes the day of the run into every row",
            span,
            note="the same recipe gives other tokens tomorrow",
            help='pin it in the `train` block: `date = "2026-11-30"`',
        )
    elif DATED not in text and day is not None:
        b.problem("A412", "the chat template writes no date, so `date` says nothing", day.span, help="delete the line")


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _text_of_folder(b: Building) -> str | None:
    """The template of a folder of the project that `chat_template` names, or else `base`; None where nobody knows it
    here.
    """
    named = b.get("chat_template") or b.get("base")
    if not isinstance(named, ir.TextV):
        return None
    folder = named.value
    if "base" in b.attrs and named is b.attrs["base"].value and folder.startswith("."):
        folder = posixpath.normpath(posixpath.join(posixpath.dirname(named.span.file), folder))
    own = _read(b, f"{folder}/{_TOKENIZER[1]}")
    if own is not None:
        return own.decode(errors="replace")
    config = _read(b, f"{folder}/{_TOKENIZER[0]}")
    return None if config is None else config.decode(errors="replace")
