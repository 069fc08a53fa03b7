"""Estimates of every node from scratch: rows, calls, tokens, money, each with its range and its basis.

Measured by the last complete run where `recipe.lock` has figures of the very key; else exact where counts are known;
else declared (characters / 4); else unknown. No store and no cache is looked at: the figures are the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema import mixtures
from alchemist_runtime.schema.attributes import ByKind
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import (
    Edge,
    Estimate,
    ExportSpec,
    FilterSpec,
    MapSpec,
    MixtureSpec,
    Node,
    Plan,
    Prompt,
    Select,
    SourceSpec,
    SplitSpec,
    SuiteSpec,
    TaskSpec,
    Teacher,
    TeacherStepSpec,
    TrainSpec,
)

from alchemist_dsl.estimate.ranges import NOTHING, UNKNOWN, Range, between, estimate, exactly, part, total, worse
from alchemist_dsl.estimate.training import course, gpu_hours, memory, sequences
from alchemist_dsl.lowering.facts import FileFact, SourceFacts

CHARS_PER_TOKEN: Final = Fraction(4)
#: Characters that a token may stand for in the texts that are met: what the range of an estimate rests on.
_FEWEST, _MOST = Fraction(3), Fraction(5)

Measured = Callable[[str], Mapping[str, Any] | None]
Places = Mapping[str, SourceFacts]
Guess = Callable[[Node, "Figures", Mapping[str, "Figures"]], "Figures"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What is expected of a node. `ports`: rows by port; `chars`: of one row; `entries`: rows by entry of a mixture."""

    ports: Mapping[str, Range] = field(default_factory=dict)
    origins: Mapping[str, Range] = field(default_factory=dict)
    chars: Fraction | None = None
    calls: Range = NOTHING
    tokens_in: Range = NOTHING
    tokens_out: Range = NOTHING
    usd: Range = NOTHING
    entries: Mapping[str, Range] = field(default_factory=dict)
    learnt: Range = NOTHING  # tokens that a training sees, all epochs together
    gpu_hours: Range = UNKNOWN
    #: What a run left out and cut, packs and steps of a training.
    course: Mapping[str, Range] = field(default_factory=dict)
    covered: Fraction = Fraction(1)  # share of a mixture whose entries are not declared missing

    @property
    def rows(self) -> Range:
        return self.ports.get("rows", UNKNOWN)


def figures(plan: Plan, measured: Measured, places: Places, unmeasured: Guess | None = None) -> dict[str, Figures]:
    """Figures of every node of a plan, in its order. `unmeasured`: a better guess at a node that no run has measured,
    from what is expected of it and of the nodes before it."""
    known: dict[str, Figures] = {}
    for node in plan.nodes:
        result = _kind(node, known, plan, places)
        fact = measured(node.key)
        if fact is None and unmeasured is not None:
            result = unmeasured(node, result, known)
        known[node.id] = _with_last_run(result, fact, plan, node)
    return known


def with_estimates(plan: Plan, known: Mapping[str, Figures]) -> Plan:
    """The plan with its estimates and totals filled in."""
    nodes = [replace(n, estimate=_estimates(known[n.id], n)) for n in plan.nodes]
    totals = {name: estimate(total_of(known, name), whole=name != "usd") for name in _SPENT}
    return replace(plan, nodes=nodes, totals=totals)


_SPENT: Final = ("calls", "tokens_in", "tokens_out", "usd")


def total_of(known: Mapping[str, Figures], name: str) -> Range:
    return total(getattr(f, name) for f in known.values())


def _estimates(f: Figures, node: Node) -> dict[str, Estimate]:
    out = {}
    kind = KINDS[node.kind]
    if kind.ports or kind.sink:
        out["rows"] = estimate(f.rows)
    if kind.asks:
        out |= {name: estimate(getattr(f, name), whole=name != "usd") for name in _SPENT}
    out |= {f"take.{name}": estimate(r) for name, r in f.entries.items()}
    if f.covered != 1:
        out["covered"] = Estimate(value=str(f.covered), basis="declared")
    out |= {name: estimate(r) for name, r in f.course.items()}
    if node.kind in _TRAININGS:
        out |= _TRAININGS[node.kind](node.spec, f)
    return out


_TRAININGS: ByKind[Callable[[Any, Figures], dict[str, Estimate]]] = ByKind()


@_TRAININGS.of("train")
def _of_training(spec: TrainSpec, f: Figures) -> dict[str, Estimate]:
    """Tokens and hours of a training, and bytes on each GPU, in all and by what they hold."""
    out = {"tokens": estimate(f.learnt), "gpu_hours": estimate(f.gpu_hours, whole=False)}
    found = memory(spec)
    if found is None:
        return out
    parts = {f"memory.{n}": getattr(found, n) for n in ("weights", "gradients", "optimizer", "activations")}
    return out | {n: Estimate(value=str(v), basis="declared") for n, v in {"memory": found.total, **parts}.items()}


# --- streams ----------------------------------------------------------------------------------------------------------


def rows_of(known: Mapping[str, Figures], node: str, port: str, origin: str | None) -> Range:
    """Rows of a stream."""
    f = known.get(node, Figures())
    if origin is None:
        return f.ports.get(port, UNKNOWN)
    if port == "rows" and origin in f.origins:
        return f.origins[origin]
    whole = f.ports.get(port, UNKNOWN)
    return Range(Fraction(0), None, whole.high, "unknown")


def _edge(edge: Edge, known: Mapping[str, Figures]) -> Range:
    return rows_of(known, edge.node, edge.port, edge.origin)


def _roles(node: Node, *roles: str) -> list[Edge]:
    return [e for e in node.inputs if e.role.partition(".")[0] in roles]


def joined_rows(node: Node, known: Mapping[str, Figures]) -> Range:
    """The rows that go into a node."""
    return _joined(_roles(node, "from", "learn", "data", "take"), known).rows


def _joined(edges: list[Edge], known: Mapping[str, Figures]) -> Figures:
    """The rows of several edges together, with their origins and the mean length of a row."""
    rows = [_edge(e, known) for e in edges]
    origins: dict[str, Range] = {}
    for e, r in zip(edges, rows, strict=True):
        of = {e.origin: r} if e.origin else known[e.node].origins if e.port == "rows" else {}
        for name, count in of.items():
            origins[name] = total([origins[name], count]) if name in origins else count
    return Figures({"rows": total(rows)}, origins, _mean(edges, rows, known))


def _mean(edges: list[Edge], rows: list[Range], known: Mapping[str, Figures]) -> Fraction | None:
    return mean((r.value, known[e.node].chars) for e, r in zip(edges, rows, strict=True))


def mean(pairs: Iterable[tuple[Fraction | None, Fraction | None]]) -> Fraction | None:
    """The mean of (how many, how long), None where one that counts is unknown."""
    whole = weight = Fraction(0)
    for rows, chars in pairs:
        if rows == 0:
            continue
        if rows is None or chars is None:
            return None
        whole, weight = whole + rows * chars, weight + rows
    return whole / weight if weight else None


# --- kinds ------------------------------------------------------------------------------------------------------------


Read = Mapping[str, Figures]
Estimator = Callable[[Node, Any, Read, Plan], Figures]
#: By kind the figures of a step from those of the steps that it reads; of others, anything up to all of their rows.
_ESTIMATORS: ByKind[Estimator] = ByKind()
estimates = _ESTIMATORS.of


def _kind(node: Node, known: Read, plan: Plan, places: Places) -> Figures:
    if KINDS[node.kind].reads:
        return _source(node.spec, places.get(node.id, SourceFacts()))  # type: ignore[arg-type]
    return _ESTIMATORS.get(node.kind, _some)(node, node.spec, known, plan)


@estimates("map")
def _mapped(node: Node, spec: MapSpec, known: Read, plan: Plan) -> Figures:
    read = _joined(_roles(node, "from"), known)
    out = _kept(read, _by_mode(spec.mode, read.rows, selected(read.rows, spec.select)))
    return replace(out, ports={**out.ports, "rest": _set_aside(read.rows, spec.select)})


@estimates("filter")
def _filtered(node: Node, spec: FilterSpec, known: Read, plan: Plan) -> Figures:
    read = _joined(_roles(node, "from"), known)
    ruled = any(r.verb != "expect" for r in spec.rules)
    kept = _up_to(read.rows) if ruled else read.rows
    out = _kept(read, selected(kept, spec.select))
    ports = {"dropped": _refused(read.rows, ruled), "rest": _set_aside(kept, spec.select)}
    return replace(out, ports={**out.ports, **ports})


@estimates("split")
def _parts(node: Node, spec: SplitSpec, known: Read, plan: Plan) -> Figures:
    read = _joined(_roles(node, "from"), known)
    held = _near_share(read.rows, Fraction(spec.eval))
    taught = _near_share(read.rows, 1 - Fraction(spec.eval))
    return replace(read, ports={**read.ports, "train": taught, "eval": held})


@estimates("export")
def _exported(node: Node, spec: ExportSpec, known: Read, plan: Plan) -> Figures:
    return _joined(_roles(node, "data"), known)


@estimates("train")
def _training(node: Node, spec: TrainSpec, known: Read, plan: Plan) -> Figures:
    read = _joined(_roles(node, "data"), known)
    result = course(spec, read.rows, _of_row(spec, read.chars))
    hours = gpu_hours(spec, result.learnt, None)
    return replace(read, learnt=result.learnt, gpu_hours=hours, course=result.counts)


def _some(node: Node, spec: Any, known: Read, plan: Plan) -> Figures:
    """Anything up to all of the rows; what is left out is in the port `dropped`."""
    read = _joined(_roles(node, "from"), known)
    out = _kept(read, _up_to(read.rows))
    return replace(out, ports={**out.ports, "dropped": _refused(read.rows, True)})


def _kept(read: Figures, rows: Range) -> Figures:
    """Rows of a step that keeps or takes some of those it reads; origins shrink alike, known only where all stay."""
    same = rows == read.rows
    origins = read.origins if same else {name: _up_to(r) for name, r in read.origins.items()}
    return Figures({"rows": rows}, origins, read.chars)


def _of_row(spec: TrainSpec, chars: Fraction | None) -> Range:
    """Tokens of a row; the tokenizer of a model made here has one for each byte."""
    if chars is None:
        return UNKNOWN
    if spec.init.name == "scratch":
        return between(chars * 2 / 3, chars, chars * 6 / 5)
    return between(chars / _MOST, chars / CHARS_PER_TOKEN, chars / _FEWEST)


def _up_to(rows: Range) -> Range:
    """At most these rows, nobody knows how many before the data is read."""
    if rows.high is None:
        return UNKNOWN
    if rows.high == 0:
        return rows
    return Range(Fraction(0), rows.value, rows.high, "declared")


def _refused(rows: Range, ruled: bool) -> Range:
    if not ruled:
        return NOTHING
    return UNKNOWN if rows.high is None else Range(Fraction(0), None, rows.high, "declared")


def selected(rows: Range, select: Select | None) -> Range:
    """The rows that `select` chooses."""
    if select is None:
        return rows
    if select.fraction is not None:
        return part(rows, Fraction(select.fraction))
    if select.count is not None and not select.per:
        return rows.at_most(select.count)
    return _up_to(rows)


def _by_mode(mode: str, rows: Range, chosen: Range) -> Range:
    match mode:
        case "only":
            return chosen
        case "add":
            return total([rows, chosen])
        case _:
            return rows


def _set_aside(rows: Range, select: Select | None) -> Range:
    """The rows that `select` does not choose."""
    if select is None:
        return NOTHING
    if select.fraction is None and (select.count is None or select.per):
        return _up_to(rows)
    chosen = selected(rows, select)
    return Range(
        _less(rows.low, chosen.low), _less(rows.value, chosen.value), _less(rows.high, chosen.high), chosen.basis
    )


def _less(a: Fraction | None, b: Fraction | None) -> Fraction | None:
    return None if a is None or b is None else a - b


def _near_share(rows: Range, share: Fraction) -> Range:
    """About a share of the rows: groups stay together."""
    near = part(rows, share)
    return replace(near, low=Fraction(0), high=rows.high)


def _source(spec: SourceSpec | SuiteSpec, facts: SourceFacts) -> Figures:
    rows = _file_rows(spec, facts.files)
    limits = [n for n in (getattr(spec, "limit", None), getattr(spec, "run_limit", None)) if n is not None]
    for limit in limits:
        rows = rows.at_most(limit)
    return Figures({"rows": rows, "dropped": NOTHING}, {spec.name: rows}, _row_chars(facts.files))


def _file_rows(spec: SourceSpec | SuiteSpec, files: tuple[FileFact, ...]) -> Range:
    if spec.reader.name == "missing":
        return NOTHING
    counts = [f.rows for f in files]
    if not counts or any(c is None for c in counts):
        return UNKNOWN
    return exactly(sum(c for c in counts if c is not None))


def _row_chars(files: tuple[FileFact, ...]) -> Fraction | None:
    """Characters of a record, from the size of files that are not compressed."""
    plain = [f for f in files if f.rows and f.size and f.format in ("jsonl", "json", "csv")]
    plain = [f for f in plain if not f.path.endswith((".gz", ".zst"))]
    rows = sum(f.rows or 0 for f in plain)
    return Fraction(sum(f.size or 0 for f in plain), rows) if rows else None


@estimates("task")
def _task(node: Node, spec: TaskSpec, known: Read, plan: Plan) -> Figures:
    reported = _joined(_roles(node, "learn"), known)
    rows = _up_to(reported.rows) if spec.standard or spec.classes else reported.rows
    if spec.sound is not None:
        rows = rows.times(1 / (1 - Fraction(spec.sound))) if Fraction(spec.sound) < 1 else UNKNOWN
    return Figures({"rows": selected(rows, spec.select), "dropped": _up_to(rows)}, {}, reported.chars)


# --- teacher steps ----------------------------------------------------------------------------------------------------


@estimates("relabel", "generate")
def _teacher_step(node: Node, spec: TeacherStepSpec, known: Read, plan: Plan) -> Figures:
    read = _joined(_roles(node, "from"), known)
    chosen = selected(read.rows, spec.select)
    misfit = _may_misfit(plan.prompts.get(spec.prompt))
    judged = any(r.verb != "expect" for r in spec.rules) or misfit
    most = spec.samples * (1 + (spec.retries_on_reject if judged else 0))
    most *= 1 + (spec.repair if misfit else 0)
    answers = chosen.times(spec.samples)
    calls = replace(answers, high=None if chosen.high is None else chosen.high * most)
    accepted = _up_to(answers) if judged else answers
    if spec.accept is not None:
        accepted = accepted.at_most(spec.accept)
        few = answers.at_most(spec.accept)
        calls = replace(few, high=calls.high) if judged else few
        answers = replace(few, high=answers.high) if judged else few
    rows = _by_mode(spec.mode, read.rows, accepted)
    out = _kept(read, rows)
    ports = {**out.ports, "dropped": _refused(answers, judged), "trace": accepted}
    ports["rest"] = _set_aside(read.rows, spec.select)
    if spec.accept is not None:
        ports["rest"] = _up_to(read.rows)
    tokens_in, tokens_out = _tokens(read.chars, calls, spec, plan)
    usd = cost(plan.teachers.get(spec.teacher), tokens_in, tokens_out)
    return replace(out, ports=ports, calls=calls, tokens_in=tokens_in, tokens_out=tokens_out, usd=usd)


def _may_misfit(prompt: Prompt | None) -> bool:
    """Whether an answer may have another form than asked for: any text is a text."""
    return prompt is None or list(prompt.outputs.values()) != ["text"]


def _tokens(chars: Fraction | None, calls: Range, spec: TeacherStepSpec, plan: Plan) -> tuple[Range, Range]:
    """Tokens sent and received: characters / 4 of the templates and of a row; an answer is at most `max_tokens`."""
    prompt = plan.prompts.get(spec.prompt)
    requested = (
        sum(len(plan.texts.get(d or "", "")) for d in (prompt.system, prompt.user, prompt.prefill)) if prompt else 0
    )
    teacher = plan.teachers.get(spec.teacher)
    most = Fraction((teacher.sampling if teacher else {}).get("max_tokens", 1024))
    if chars is None:
        sent = UNKNOWN
        got = between(1, most / 2, most)
    else:
        each = requested + chars
        sent = between(each / _MOST, each / CHARS_PER_TOKEN, each / _FEWEST)
        got = between(1, min(most, max(Fraction(16), chars / CHARS_PER_TOKEN)), most)
    return calls.times(sent), calls.times(got)


def cost(teacher: Teacher | None, tokens_in: Range, tokens_out: Range) -> Range:
    """Dollars of these tokens; unknown where nobody wrote a price."""
    price = None if teacher is None else teacher.charged
    if price is None:
        return UNKNOWN
    if price.free:
        return NOTHING
    each = (tokens_in.times(Fraction(price.input)), tokens_out.times(Fraction(price.output)))
    return total(each)


# --- mixtures ---------------------------------------------------------------------------------------------------------


@estimates("mixture")
def _mixture(node: Node, spec: MixtureSpec, known: Read, plan: Plan) -> Figures:
    """Rows of every entry: what is there, cut to what the entry asks for."""
    chars = _chars(node, spec, known)
    sizes, wanted = offered(node, spec, known)
    rows = {name: r if spec.unit == "rows" else _in_rows(r, chars[name]) for name, r in wanted.items()}
    chars_of_row = mean((rows[name].value, chars[name]) for name in rows)
    return Figures(
        {"rows": _size(spec, total(rows.values()))}, {}, chars_of_row, entries=rows, covered=_covered(spec, sizes)
    )


def offered(node: Node, spec: MixtureSpec, known: Mapping[str, Figures]) -> tuple[dict[str, Range], dict[str, Range]]:
    """What each entry has and what it should give, in the mixture's unit; entries that are missing are left out."""
    chars = _chars(node, spec, known)
    there = {t.name: _edge(node.inputs[t.edge], known) for t in spec.take if not t.missing}
    sizes = {name: r if spec.unit == "rows" else _in_tokens(r, chars[name]) for name, r in there.items()}
    return sizes, _wanted(spec, sizes)


def _chars(node: Node, spec: MixtureSpec, known: Mapping[str, Figures]) -> dict[str, Fraction | None]:
    return {t.name: known[node.inputs[t.edge].node].chars for t in spec.take}


def _size(spec: MixtureSpec, rows: Range) -> Range:
    """A declared total of rows holds, but where the mixture may shrink."""
    if spec.total is None or spec.unit != "rows":
        return rows
    return rows.at_most(spec.total) if spec.on_short == "shrink" else exactly(spec.total, "declared")


def _in_tokens(rows: Range, chars: Fraction | None) -> Range:
    if chars is None:
        return UNKNOWN
    return rows.times(between(chars / _MOST, chars / CHARS_PER_TOKEN, chars / _FEWEST))


def _in_rows(tokens: Range, chars: Fraction | None) -> Range:
    if chars is None or chars == 0:
        return UNKNOWN
    return tokens.times(between(_FEWEST / chars, CHARS_PER_TOKEN / chars, _MOST / chars))


def _wanted(spec: MixtureSpec, sizes: Mapping[str, Range]) -> dict[str, Range]:
    """What each entry gives, in the mixture's unit, by the rules of its amounts."""
    takes = {i: t for i, t in enumerate(spec.take) if not t.missing}
    provided = _fixed(spec, sizes)
    fixed = total(provided.values())
    stock = {i: sizes[t.name] for i, t in takes.items()}
    size = mixtures.whole(spec, fixed, stock, _RANGES)
    shared = mixtures.targets(spec, size, fixed, _RANGES)
    if spec.on_short == "shrink" and not all(_fits(r, stock[i]) for i, r in shared.items()):
        shared = {i: replace(r, low=Fraction(0)) for i, r in shared.items()}  # all of them shrink
    provided |= {takes[i].name: r for i, r in shared.items()}
    return {t.name: provided.get(t.name, UNKNOWN) for t in takes.values()}


def _covered(spec: MixtureSpec, sizes: Mapping[str, Range]) -> Fraction:
    """The share of a mixture whose entries are there, as far as the sizes of the others are known."""
    fixed = sum((r.value or Fraction(0) for r in _fixed(spec, sizes).values()), Fraction(0))
    return mixtures.covered(spec, Fraction(1 if spec.total is None else spec.total), fixed)


def _fixed(spec: MixtureSpec, sizes: Mapping[str, Range]) -> dict[str, Range]:
    """What the entries give whose amount does not depend on the others."""
    out: dict[str, Range] = {}
    for t in spec.take:
        if t.missing:
            continue
        if t.amount in ("all", "multiplier"):
            out[t.name] = sizes[t.name].times(Fraction(t.value or 1))
        elif t.amount in ("rows", "tokens"):
            requested = exactly(Fraction(t.value or 0)) if t.amount == spec.unit else UNKNOWN
            out[t.name] = _least(requested, sizes[t.name]) if spec.on_short == "shrink" else requested
    return out


def _fits(wanted: Range, there: Range) -> bool:
    return wanted.high is not None and there.low is not None and wanted.high <= there.low


def _least(a: Range, b: Range) -> Range:
    """The smaller of two, whatever they are; of an unknown one only what bounds both."""
    if not a.known or not b.known:
        return Range(Fraction(0), None, _min(tuple(h for h in (a.high, b.high) if h is not None)), worse(a, b))
    return _smallest([a, b])


def _smallest(ranges: Sequence[Range]) -> Range:
    if not ranges or any(not r.known for r in ranges):
        return UNKNOWN
    lows, values, highs = zip(*(r.ends() for r in ranges), strict=True)
    return Range(_min(lows), _min(values), _min(highs), worse(*ranges))


def _min(values: tuple[Fraction | None, ...]) -> Fraction | None:
    known = [v for v in values if v is not None]
    return min(known) if len(known) == len(values) else None


_RANGES: Final = mixtures.Numbers(exactly, lambda r: r.value or Fraction(0), _smallest)


# --- the last run -----------------------------------------------------------------------------------------------------


def _with_last_run(result: Figures, fact: Mapping[str, Any] | None, plan: Plan, node: Node) -> Figures:
    """What the last complete run measured, in place of what was expected."""
    if fact is None:
        return result
    ports = dict(result.ports)
    if isinstance(fact.get("rows"), int):
        ports["rows"] = _run(fact["rows"])
    if isinstance(fact.get("dropped"), Mapping):
        ports["dropped"] = _run(sum(fact["dropped"].values()))
    ports |= {port: _run(fact[port]) for port in ("trace", "rest") if isinstance(fact.get(port), int)}
    origins = {name: _run(n) for name, n in fact.get("origins", {}).items()} or result.origins
    out = replace(result, ports=ports, origins=origins)
    if isinstance(fact.get("rows_in"), int):
        out = replace(out, course={"rows_in": _run(fact["rows_in"]), **_sum(fact)})
    if isinstance(fact.get("entries"), Mapping):
        out = replace(out, entries={name: _run(n) for name, n in fact["entries"].items()})
    if isinstance(fact.get("calls"), int) and isinstance(node.spec, TeacherStepSpec):
        sent, got = _run(fact.get("tokens_in", 0)), _run(fact.get("tokens_out", 0))
        usd = cost(plan.teachers.get(node.spec.teacher), sent, got)
        out = replace(out, calls=_run(fact["calls"]), tokens_in=sent, tokens_out=got, usd=usd)
    if isinstance(fact.get("tokens"), int) and isinstance(node.spec, TrainSpec):
        learnt = _run(fact["tokens"])
        out = replace(out, learnt=learnt, gpu_hours=gpu_hours(node.spec, learnt, fact))
        out = replace(out, course=_trained(node.spec, fact) or out.course)
    return out


def _trained(spec: TrainSpec, fact: Mapping[str, Any]) -> dict[str, Range]:
    """How the last run of a training went; empty where it did not say."""
    if not isinstance(fact.get("packs"), int) or not isinstance(fact.get("steps"), int):
        return {}
    size = sequences(spec)
    out = {
        "sequences" if spec.packing == "none" else "packs": _run(fact["packs"]),
        "steps_per_epoch": _run(math.ceil(fact["packs"] / size)) if size else UNKNOWN,
        "tokens_per_step": _run(round(fact["tokens"] / max(1, fact["steps"]))),
        "steps": _run(fact["steps"]),
        "trained": _run(fact.get("trained", 0)),
    }
    out |= {n: _run(fact[n]) for n in ("held_out", "cut") if fact.get(n)}
    return out | _sum(fact)


def _sum(fact: Mapping[str, Any]) -> dict[str, Range]:
    """What a step left out, by reason, and what it made beside."""
    parts = ("left_out", "added")
    return {f"{part}.{why}": _run(n) for part in parts for why, n in fact.get(part, {}).items()}


def _run(count: int) -> Range:
    return exactly(count, "last_run")
