"""The rules of the house: licences, decontamination, rows that come in twice, pinned models and data, unused
imports.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from alchemist_runtime.schema.catalog import origin
from alchemist_runtime.schema.expressions import columns_read

from alchemist_dsl import ir
from alchemist_dsl.checker import unsupported
from alchemist_dsl.checker.context import Context, shown
from alchemist_dsl.checker.expressions import expressions
from alchemist_dsl.checker.problems import listed
from alchemist_dsl.checker.sources import REQUEST, joined
from alchemist_dsl.checker.taint import Taint
from alchemist_dsl.checker.types import family
from alchemist_dsl.diagnostics.model import Edit, Label

_DATE: Final = re.compile(r"(?<!\d)(\d{4}-\d{2}-\d{2}|\d{8}|\d{6}|\d{4})(?!\d)")
PERMISSIVE: Final = frozenset(
    [
        "apache-2.0",
        "mit",
        "bsd-2-clause",
        "bsd-3-clause",
        "isc",
        "0bsd",
        "unlicense",
        "cc0-1.0",
        "cc-by-4.0",
        "cc-by-3.0",
        "zlib",
        "psf-2.0",
        "odc-by",
    ]
)
NON_COMMERCIAL: Final = re.compile(r"(^|-)nc(-|$)|non-?commercial")
_TEACHER: Final = ("rows that `{}` wrote", "a teacher writes here", "a teacher may repeat a benchmark that it has seen")
#: By the kind of the step that wrote a text: the text, what the step does with it, and why that matters.
_WRITERS: Final = {
    "relabel": _TEACHER,
    "generate": _TEACHER,
    "source": ("rows of `{}`", "read here", ""),
    "suite": ("items of the benchmark `{}`", "the benchmark", ""),
    "decontaminate": ("rows that `{}` refused as leaks", "refused here", ""),
}


Lint = Callable[[ir.Block, Context], None]
_LINTS: Final[dict[str, list[Lint]]] = {}


def lint(kind: str) -> Callable[[Lint], Lint]:
    """Mark a function that looks at every well-formed block of a kind."""

    def mark(function: Lint) -> Lint:
        _LINTS.setdefault(kind, []).append(function)
        return function

    return mark


def apply(context: Context) -> None:
    """Report what is well formed and still not good. Speaks of the recipe's own blocks only."""
    own = _own(context)
    for block in own:
        if not block.poisoned:
            for check in _LINTS.get(block.kind, ()):
                check(block, context)
            _read_twice(block, context)
    _folders(own, context)
    sinks = [b for b in own if b.declared.sink and not b.poisoned]
    _decontaminated(sinks, context)
    _held_out(sinks, context)
    unsupported.apply(own, context)


def _own(context: Context, *kinds: str) -> list[ir.Block]:
    """The recipe's own blocks, of these kinds or of all."""
    own = (context.blocks[k] for k, d in context.decls.items() if context.own(d) and k in context.blocks)
    return [b for b in own if not kinds or b.kind in kinds]


def unused_imports(context: Context) -> None:
    """Warn of imports that nothing uses."""
    if not context.problems.names_are_sound():
        return
    for alias in context.scope.aliases.values():
        if not alias.used:
            context.problems.add(
                "A114",
                f"nothing uses the import `{alias.name}`",
                alias.stmt.span,
                help="delete the line",
                edit=Edit(alias.stmt.span, "", safe=False),
            )


def _text(block: ir.Block, name: str) -> str | None:
    value = block.get(name)
    return value.value if isinstance(value, ir.TextV) else None


@lint("source")
def _unpinned(block: ir.Block, context: Context) -> None:
    hub = block.attrs.get("hub")
    if hub is not None and block.get("revision") is None:
        context.problems.add(
            "A307",
            f"`{block.name}` has no `revision`",
            hub.value.span,
            label="may change under the recipe",
            note="`recipe.lock` pins one at the first run",
            help='write the commit of the dataset: `revision = "…"`',
        )


@lint("source")
def _unread(block: ir.Block, context: Context) -> None:
    """Columns of a source that look like part of the request, and that no step of the recipe reads."""
    if any(b.poisoned for b in context.blocks.values()) or not context.problems.names_are_sound():
        return  # what is not understood may read them
    known = None if block.get("missing") is not None else context.columns(block)
    own = {s.column for s in block.sets}
    if not known or "messages" in known or "messages" in own:
        return
    read = {name for other in context.blocks.values() for name in _read(other)}
    lost = [n for n in REQUEST if family(known.get(n, "")) == "text" and n not in read and n not in own]
    if not lost:
        return
    what = listed(lost)
    base = "instruction"
    for name in lost:
        base = joined(base, name, known[name])
    result = next((s for s in block.sets if s.column == "instruction"), None)
    context.problems.add(
        "A314",
        f"nothing reads {what} of `{block.name}`, which look{'s' * (len(lost) == 1)} like part of the request",
        block.name_span,
        note=f"the rows are written without {'it' if len(lost) == 1 else 'them'}",
        help=(
            f"join {'it' if len(lost) == 1 else 'them'} to"
            f" {'what `set instruction` says' if result else 'the instruction'}: `set instruction ="
            f" {base if result is None else base.replace('instruction', '(…)', 1)}`; or write"
            f" {'it' if len(lost) == 1 else 'them'} out as {'it is' if len(lost) == 1 else 'they are'}: `columns ="
            f" [{', '.join(lost)}]` of the export"
        ),
    )


def _read(block: ir.Block) -> Iterator[str]:
    """Names of columns that a block reads, as far as it may mean those of a source."""
    for expression in expressions(block):
        yield from columns_read(expression.tree)
    for rule in block.rules:
        yield from columns_read(rule.expr.tree)
    yield from (f.name for f in block.input_fields)
    for attr in block.attrs.values():
        match attr.value:
            case ir.TemplateV(reads=reads):
                yield from reads
            case ir.ListV(items=items) if attr.name == "columns":
                yield from (i.value for i in items if isinstance(i, ir.TextV))


@lint("teacher")
def _undated(block: ir.Block, context: Context) -> None:
    provider, model = block.get("provider"), block.get("model")
    if not isinstance(provider, ir.ChoiceV) or origin(provider.name) not in ("server", "model"):
        return
    if not isinstance(model, ir.TextV) or _DATE.search(model.value):
        return
    if block.get("revision") is not None or block.get("identity") is not None:
        return
    if provider.name == "transformers" and model.value.startswith((".", "/")):
        return  # what its files hold is part of keys
    context.problems.add(
        "A706",
        f"`{model.value}` has no date or revision, so what it names may change",
        model.span,
        help='name a dated model, or say which one it is: `revision = "…"`',
    )


@lint("train")
def _base_revision(block: ir.Block, context: Context) -> None:
    base = block.get("base")
    if not isinstance(base, ir.TextV) or block.get("revision") is not None:
        return
    if not re.fullmatch(r"[\w.\-]+/[\w.\-]+", base.value) or base.value.startswith((".", "/")):
        return
    context.problems.add(
        "A804",
        f"`{base.value}` has no `revision`, so the weights may change",
        base.span,
        help='write the commit of the model: `revision = "…"`',
    )


def _decontaminated(sinks: Sequence[ir.Block], context: Context) -> None:
    """Text that is exported or trained on and that no decontamination has searched: once for each stream where one
    belongs.
    """
    reported: set[tuple[str, str]] = set()
    for block in sorted(sinks, key=lambda b: b.kind != "train"):
        for ref in block.streams("data"):
            if block.kind == "export" and ref.port != "rows":
                continue  # what a step refused or saw, to look at
            guards = _guards(ref, context)
            for entered in _entries(ref, context):
                found = [t for t in context.stream(entered).taints if t.turns and _sound(t, context)]
                taint = next((t for t in found if context.blocks[t.writer].kind != "source"), None)
                if taint is None and guards:
                    taint = next(iter(found), None)
                place = entered if guards else ref
                if taint is not None and (shown(place), taint.writer if guards else "") not in reported:
                    reported.add((shown(place), taint.writer if guards else ""))
                    _report_tainted(taint, block, ref, place, guards, context)


def _held_out(sinks: Sequence[ir.Block], context: Context) -> None:
    """A training reads rows that an export holds out."""
    held = [(b, r) for b in sinks if b.kind == "export" for r in b.streams("data") if _cut(b, r, context)]
    for block in (b for b in sinks if b.kind == "train"):
        for ref in block.streams("data"):
            for export, cut in held:
                by_step = _splits(cut, context)
                evals = [replace(cut, port="eval")] if by_step else [*_entries(cut, context)]
                read = [*_entries(ref, context)]
                if (ref.origin is None and (ref.target, ref.port) == (cut.target, cut.port)) or any(
                    _overlap([r, e], context) for r in read for e in evals
                ):
                    _report_held_out(block, ref, export, cut, by_step, context)
                    break


def _cut(block: ir.Block, ref: ir.RefV, context: Context) -> bool:
    """Whether an export writes a part `eval`: its own, or that of a `split` step."""
    if _splits(ref, context):
        return ref.port == "rows"
    split = block.get("split")
    share = split.fields.get("eval") if isinstance(split, ir.RecordV) else None
    return isinstance(share, ir.Qty) and share.value > 0


def _splits(ref: ir.RefV, context: Context) -> bool:
    return "eval" in context.blocks[ref.target].declared.ports


def _report_held_out(
    block: ir.Block, ref: ir.RefV, export: ir.Block, cut: ir.RefV, by_step: bool, context: Context
) -> None:
    name = shown(cut)
    context.problems.add(
        "A517",
        f"`{block.name}` trains on rows that `{export.name}` writes as `eval`",
        ref.span,
        labels=(Label(cut.span if by_step else export.attrs["split"].name_span, "held out here"),),
        note="a model has seen these rows, so it cannot be judged by them",
        help=(
            f"read the other part: `data = {name}.train`"
            if by_step
            else (
                f"cut before both: `split parts {{ from = {name} eval = … }}`, then export `parts` and train on"
                " `parts.train`"
            )
        ),
    )


def _sound(taint: Taint, context: Context) -> bool:
    """Whether nothing is wrong with the steps that a text came by, so that it is known to come by them."""
    steps = {taint.writer, *(name.partition(".")[0] for name in taint.path)}
    return not any(context.blocks[s].poisoned for s in steps if s in context.blocks)


def _entries(ref: ir.RefV, context: Context) -> Iterator[ir.RefV]:
    """The streams that a stream is mixed of: itself where it is no mixture."""
    waiting, seen = [ref], set()
    while waiting:
        at = waiting.pop(0)
        block = context.blocks[at.target]
        if not block.entries:
            yield at
        elif at.target not in seen:
            seen.add(at.target)
            waiting = [e.stream for e in block.entries if e.value != 0] + waiting


def _guards(ref: ir.RefV, context: Context) -> list[str]:
    """The decontaminations on the way to a stream, the last first."""
    found, waiting, seen = [], [ref.target], set()
    while waiting:
        key = waiting.pop()
        block = context.blocks.get(key)
        if block is None or key in seen:
            continue
        seen.add(key)
        if block.kind == "decontaminate":
            found.append(key)
        waiting += [
            r.target
            for r, role in zip(block.inputs, block.roles, strict=True)
            if role in ("from", "data", "learn", "sound") or role.startswith("take.")
        ]
    return found


def _report_tainted(
    taint: Taint, sink: ir.Block, ref: ir.RefV, place: ir.RefV, guards: Sequence[str], context: Context
) -> None:
    writer = context.blocks[taint.writer]
    what, label, note = _WRITERS.get(writer.kind, _WRITERS["source"])
    through = f"by `{shown(place)}` " if place != ref else ""
    by = [f"`{name}`" for name in taint.path if name not in (writer.name, shown(ref), shown(place))]
    passed = [n for n in taint.path if n in guards]
    like = next((g for g in guards if g not in passed), None)
    context.problems.add(
        "A507",
        f"{what.format(writer.name)} reach `{sink.name}` {through}without decontamination",
        ref.span,
        labels=(Label(writer.name_span, label),),
        note="; ".join(n for n in (f"by {', '.join(by)}" if by else "", note) if n) or None,
        help=(
            f"`{passed[-1]}` does not search the column that holds the text there: name it in `on`"
            if passed
            else f"put a `decontaminate` step behind `{shown(place)}` and read that"
            + (f"; `extends = {like}` searches alike" if like else "")
        ),
    )


def _folders(own: list[ir.Block], context: Context) -> None:
    """An export is put in place as a whole, so none may lie in the folder of another."""
    placed: list[tuple[str, ir.Block, ir.TextV]] = []
    for block in own:
        path = block.get("path") if block.declared.sink else None
        if not isinstance(path, ir.TextV):
            continue
        written = posixpath.join(posixpath.dirname(block.span.file), path.value)
        folder = posixpath.normpath(written)
        for other, first, there in placed:
            same = folder == other
            if not _inside(folder, other) and not _inside(other, folder):
                continue
            context.problems.add(
                "A915",
                (
                    f"`{block.name}` and `{first.name}` write into the same folder"
                    if same
                    else f"`{block.name}` and `{first.name}` write one inside the folder of the other"
                ),
                path.span if path.span != there.span else block.name_span,
                labels=(Label(there.span, f"of `{first.name}`"),),
                note="an export replaces its folder as a whole",
                help=f'a folder of its own, for example `path = "{_beside(there.value, block.name)}"`',
            )
            break
        placed.append((folder, block, path))


def _inside(folder: str, other: str) -> bool:
    return f"{folder}/".startswith(f"{other}/")


def _beside(path: str, name: str) -> str:
    return posixpath.join(posixpath.dirname(path.rstrip("/")), name)


@lint("export")
def _licence(block: ir.Block, context: Context) -> None:
    claim = block.attrs.get("license")
    if claim is None:
        recipe = next(iter(_own(context, "recipe")), None)
        claim = recipe.attrs.get("license") if recipe is not None else None
    if claim is None or not isinstance(claim.value, ir.TextV) or licence_name(claim.value.value) not in PERMISSIVE:
        return
    closed = [
        (name, licence.value)
        for name in sorted(_sources(block, context))
        if (licence := context.blocks[name].attrs.get("license")) is not None
        and isinstance(licence.value, ir.TextV)
        and NON_COMMERCIAL.search(licence_name(licence.value.value))
    ]
    if not closed:
        return
    name, first = closed[0]
    places = {v.span: Label(v.span, "for non-commercial use only") for _, v in closed}
    more = f", and {len(closed) - 1} more of its sources" if len(closed) > 1 else ""
    context.problems.add(
        "A313",
        f"`{block.name}` claims {claim.value.value}, but `{name}` is {first.value}{more}",
        claim.value.span,
        labels=tuple(places.values())[:2],
        help=f'claim `license = "{first.value}"`, or leave the source out',
    )


def licence_name(text: str) -> str:
    """A licence as the hub writes it: `Apache License 2.0` is `apache-2.0`."""
    words = re.split(r"[\s_,-]+", text.lower().strip())
    return "-".join(w for w in words if w not in ("the", "license", "licence", "version"))


def _sources(block: ir.Block, context: Context) -> set[str]:
    return {o for r in block.inputs for o in context.stream(r).origins if o in context.blocks}


@lint("mixture")
def _tokenizer(block: ir.Block, context: Context) -> None:
    """Tokens are those of one tokenizer: declared, or that of the only base model that reads the mixture."""
    total, unit = block.get("total"), block.get("unit")
    by_tokens = (
        (isinstance(total, ir.Qty) and total.kind == "tokens")
        or (isinstance(unit, ir.ChoiceV) and unit.name == "tokens")
        or any(e.amount == "tokens" for e in block.entries)
    )
    recipe = next(iter(_own(context, "recipe")), None)
    if not by_tokens or block.get("tokenizer") or (recipe is not None and recipe.get("tokenizer")):
        return
    readers = [b for b in _own(context, "train") if any(r.target == block.name for r in b.inputs)]
    bases: dict[str, ir.Block] = {}
    for reader in readers:
        base = reader.get("base")
        shown_base = (
            base.value if isinstance(base, ir.TextV) else base.target if isinstance(base, ir.RefV) else "scratch"
        )
        bases.setdefault(shown_base, reader)
    if len(bases) > 1:
        first, second = list(bases.values())[:2]
        context.problems.add(
            "A607",
            f"`{first.name}` and `{second.name}` start from different models, and `{block.name}` counts tokens",
            block.name_span,
            labels=(Label(first.name_span, "one tokenizer"), Label(second.name_span, "another")),
            help=f'say which one counts: `tokenizer = "{next(iter(bases))}"`',
        )
    elif not bases:
        context.problems.add(
            "A606",
            f"`{block.name}` counts tokens, and no tokenizer is declared",
            block.name_span,
            note="without one, a token is four characters",
            help='name one: `tokenizer = "Qwen/Qwen2.5-0.5B"`',
        )


# --- rows twice -------------------------------------------------------------------------------------------------------

Key = tuple[str, str, str | None]
Step = Callable[[Key, Context], Iterator[Key]]
_MOST: Final = 60  # streams of a list; they are compared by pairs


@lint("mixture")
def _twice(block: ir.Block, context: Context) -> None:
    """Two entries hold the same rows where the graph alone proves it."""
    entries = [e for e in block.entries if e.value != 0]
    found = _overlap([e.stream for e in entries], context)
    if found is not None:
        _report_twice(entries[found[0]], entries[found[1]], context)


def _overlap(refs: Sequence[ir.RefV], context: Context) -> tuple[int, int] | None:
    """The first two streams that hold the same rows, the one whose rows are all in the other first."""
    if len(refs) < 2 or len(refs) > _MOST:
        return None
    within = [_closure(_key(r), context, _inside_of) for r in refs]
    holds = [_closure(_key(r), context, _all_of) for r in refs]
    wide = [_widened(h, context) for h in holds]
    for j in range(len(refs)):
        for i in range(j):
            if wide[i] & holds[j] or wide[j] & holds[i] or within[i] & holds[j] or within[j] & holds[i]:
                return (j, i) if within[j] & holds[i] else (i, j)
    return None


def _read_twice(block: ir.Block, context: Context) -> None:
    """A step, export or training reads the same rows by two streams of one list: their ids would repeat."""
    if block.kind in ("mixture", "dedup"):  # entries have a message of their own; copies are what dedup is for
        return
    refs = block.streams("from", "data")
    found = _overlap(refs, context)
    if found is None:
        return
    part, whole = refs[found[0]], refs[found[1]]
    one, other = shown(part), shown(whole)
    first, second = sorted((part, whole), key=lambda r: r.span.start)
    others = _others(part, whole, context)
    context.problems.add(
        "A604",
        (
            f"`{block.name}` reads `{one}` twice"
            if one == other
            else f"rows of `{one}` are also in `{other}`, so `{block.name}` reads them twice"
        ),
        second.span,
        label="again" if one == other else "",
        labels=(Label(first.span, "first" if one == other else "also here"),),
        note="every row has one id, and these would come in twice under the same one",
        help=(
            "delete one of them"
            if one == other
            else (
                f"delete one of them, or read what only one has: {listed(others)}"
                if others and not {*others} & {*map(shown, refs)}
                else "delete one of them from the list"
            )
        ),
    )


def _report_twice(part: ir.EntryV, whole: ir.EntryV, context: Context) -> None:
    place = context.blocks[whole.stream.target]
    passed = _key(part.stream) in _closure(_key(whole.stream), context, _all_of)
    source = next((r for r in place.inputs if passed and _key(r) == _key(part.stream)), None)
    labels = (Label(source.span, f"{whole.name} passes all of its input on"),) if source else ()
    context.problems.add(
        "A604",
        f"rows of `{part.name}` are also in `{whole.name}`, so they would be trained on twice",
        part.span,
        labels=labels or (Label(whole.span, "also here"),),
        help=(
            f"drop `{part.name}` from the mixture, or take it out of what `{whole.name}` reads"
            if source
            else (
                f"drop one of them, or take what only one has: {listed(others)}"
                if (others := _others(part.stream, whole.stream, context))
                else "drop one of them from the mixture"
            )
        ),
    )


def _others(part: ir.RefV, whole: ir.RefV, context: Context) -> list[str]:
    """The ports that hold what a step leaves out of `whole`, its only input: with its rows, they are all of it."""
    block = context.blocks[part.target]
    if _key(part)[1:] != ("rows", None) or [_key(r) for r in block.streams("from")] != [_key(whole)]:
        return []
    kind = block.declared
    if not kind.keeps and (kind.asks or block.word("mode") != "only"):
        return []
    drops = "dropped" in kind.ports and (any(r.verb != "expect" for r in block.rules) or "duplicate" in kind.refuses)
    selects = block.get("select") is not None
    return [f"{block.name}.{p}" for p, there in (("dropped", drops), ("rest", selects)) if there]


def _key(ref: ir.RefV) -> Key:
    return ref.target, ref.port, ref.origin


def _closure(start: Key, context: Context, step: Step) -> set[Key]:
    found = {start}
    waiting = [start]
    while waiting:
        for key in step(waiting.pop(), context):
            if key not in found:
                found.add(key)
                waiting.append(key)
    return found


def _widened(keys: set[Key], context: Context) -> set[Key]:
    return set().union(*(_closure(k, context, _inside_of) for k in keys))


def _inside_of(key: Key, context: Context) -> Iterator[Key]:
    """Streams that hold every row of this one: the only input of a step that keeps rows as they are."""
    block = context.blocks.get(key[0])
    if block is None or block.poisoned:
        return
    if key[2] is not None:
        yield (key[0], key[1], None)
    inputs = block.streams("from")
    if len(inputs) != 1 or key[1] == "trace":
        return
    same_rows = block.word("mode") in ("replace", "only") and not _made(block)
    if key[1] == "rest" or block.declared.keeps or same_rows:
        yield _key(inputs[0])


def _all_of(key: Key, context: Context) -> Iterator[Key]:
    """Streams whose rows are all in this one: inputs of steps that pass everything on."""
    block = context.blocks.get(key[0])
    if block is None or block.poisoned or key[1] != "rows" or key[2] is not None:
        return
    if "eval" in block.declared.ports:
        yield from ((key[0], port, None) for port in ("train", "eval"))
        yield from map(_key, block.streams("from"))
    mode, all_of_it = block.word("mode"), not block.declared.asks and block.get("select") is None
    if mode in ("replace", "add") or (mode == "only" and all_of_it):
        for ref in block.streams("from"):
            yield _key(ref)


def _made(block: ir.Block) -> bool:
    """Whether the rows of a step are new ones, with ids of their own."""
    turns = any(s.column in ("system", "instruction", "response", "history", "messages") for s in block.sets)
    return block.declared.asks and block.word("mode") == "only" and turns
