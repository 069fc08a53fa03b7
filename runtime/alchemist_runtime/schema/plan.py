"""The plan: what a recipe lowers to and what the runtime carries out. Plain, versioned JSON; the border of the two
packages.

Two parts. The portable part (everything but `now`) follows from recipe, imports, params and lock, and is byte-identical
everywhere; `digest` covers it. `now` says what a run on this machine would do.

Exact numbers (shares, money, reals) are strings: "1/20", "0.0005". Expressions are nested JSON lists, see `Expr`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from alchemist_runtime.schema import expressions
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.expressions import walk
from alchemist_runtime.schema.kinds import *
from alchemist_runtime.schema.sealed import KEY, read_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
S = TypeVar("S")

PLAN_FORMAT = "1.0"
CANON = "alc/1"
Expr = expressions.Expr


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One input stream of a node: a port of another node, or the part of it that came from one source."""

    node: str
    port: Literal["rows", "dropped", "trace", "rest", "train", "eval"] = "rows"
    origin: str | None = None
    role: str = "from"  # from | against | learn | sound | data | take.NAME | examples | model | suites | tokenizer
    key: str
    take: Literal["all"] | int = "all"


# --- the plan ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Estimate:
    low: str | None = None
    value: str | None = None
    high: str | None = None
    #: scaled: the last run of another version, by how much there is to do now
    basis: Literal["last_run", "scaled", "sampled", "declared", "exact", "unknown"] = "unknown"


@dataclass(frozen=True, kw_only=True)
class Node:
    id: str
    kind: str
    doc: str | None = None
    at: At
    inputs: list[Edge] = field(default_factory=list)
    spec: Spec
    key: str
    meta_key: str
    own_key: str = (
        ""  # the key's ingredients without the inputs' keys; with the inputs' content digests: the content key
    )
    runnable: bool = True  # False: this version compiles the node but does not run it
    columns: dict[str, dict[str, str]] = field(default_factory=dict)  # port -> column -> type
    estimate: dict[str, Estimate] = field(default_factory=dict)  # rows, calls, tokens_in, tokens_out, usd


@dataclass(frozen=True, kw_only=True)
class Check:
    id: str
    at: At
    severity: Literal["warn", "error"] = "error"
    expr: Expr
    text: str
    verdict: Literal["pass", "fail", "unknown"] = "unknown"
    value: str | None = None
    reads: list[str] = field(default_factory=list)  # nodes


@dataclass(frozen=True, kw_only=True)
class Param:
    name: str
    type: str
    value: str  # canonical text
    origin: str  # default | set | file | environment | variant


@dataclass(frozen=True, kw_only=True)
class Reason:
    code: str
    path: str | None = None
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, kw_only=True)
class NowNode:
    id: str
    action: Literal["reuse", "build", "extend", "skip"]
    reasons: list[Reason] = field(default_factory=list)
    calls_cached: int | None = None
    calls_new: int | None = None
    usd: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Now:
    nodes: list[NowNode] = field(default_factory=list)
    base_run: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    plan_format: str = PLAN_FORMAT
    canon: str = CANON
    edition: int
    title: str | None = None
    recipe: dict[str, Any]  # {"path": …, "digest": …, "imports": [...]}
    variant: str | None = None
    seed: int = 0
    license: str | None = None
    tokenizer: dict[str, Any] | None = None  # of `tokens(…)` in expressions; form as in MixtureSpec
    params: list[Param] = field(default_factory=list)
    teachers: dict[str, Teacher] = field(default_factory=dict)
    prompts: dict[str, Prompt] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # digest -> template text
    nodes: list[Node]  # topological order, ties by name
    checks: list[Check] = field(default_factory=list)
    totals: dict[str, Estimate] = field(default_factory=dict)  # usd, calls, tokens_in, tokens_out (from scratch)
    digest: str = ""
    now: Now | None = None

    def node(self, id_: str) -> Node:
        """The node of this name; KeyError if there is none."""
        return next(n for n in self.nodes if n.id == id_)

    def of(self, spec: type[S]) -> list[tuple[Node, S]]:
        """The nodes of a kind, in order, each with its spec."""
        return [(n, n.spec) for n in self.nodes if isinstance(n.spec, spec)]


def to_json(value: Any, *, without_none: bool = False) -> Any:
    """What a plan, or a part of one, is as JSON data. `without_none`: fields that are None are left out."""
    match value:
        case list():
            return [to_json(v, without_none=without_none) for v in value]
        case dict():
            return {k: to_json(v, without_none=without_none) for k, v in value.items()}
        case _ if is_dataclass(value):
            found = ((f.name, getattr(value, f.name)) for f in fields(value))
            return {
                name: to_json(v, without_none=without_none) for name, v in found if not (without_none and v is None)
            }
        case _:
            return value


def from_json(type_: type[T], data: Any) -> T:
    """A part of a plan from JSON data. pydantic.ValidationError where it is none; unknown fields are ignored."""
    result: T = adapter(type_).validate_python(data)  # type: ignore[arg-type]
    return result


@cache
def adapter(type_: Any) -> TypeAdapter[Any]:
    """What reads a part of a plan from JSON data, and tells its schema."""
    from pydantic import TypeAdapter

    return TypeAdapter(type_)


def variant_part(variant: str) -> str:
    """A variant's name as part of the name of a folder: `grid[5%,add]` is `grid-5%-add`."""
    return re.sub(r"[^\w.%+]+", "-", variant).strip("-")


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8. ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """`b2:` and the BLAKE2b-256 of a value's canonical JSON, in hex."""
    return "b2:" + hashlib.blake2b(canonical(value), digest_size=32).hexdigest()


def text_digest(text: str) -> str:
    """`b2:` and the BLAKE2b-256 of a text in UTF-8."""
    return "b2:" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()


def card_digest(plan: Plan, node: Node) -> str:
    """A digest of what the card of an export says and no key holds: titles and licences."""
    licences = {n.id: spec.license for n, spec in plan.of(SourceSpec)}
    title, licence = (getattr(node.spec, n, None) for n in ("title", "license"))
    return digest([title or plan.title, licence or plan.license, licences])


def works(plan: Plan) -> dict[str, str]:
    """By node a digest of everything that the engine is told to do for it and for what it reads, whatever the keys
    say.
    """
    out: dict[str, str] = {}
    for node in plan.nodes:
        spec = node.spec
        edges = [[e.role, e.port, e.origin, e.take, out[e.node]] for e in node.inputs]
        named = [getattr(plan, f"{n}s").get(getattr(spec, n, None)) for n in ("teacher", "prompt")]
        reported = [m and to_json(m) for m in (spec, *named)]
        out[node.id] = digest([node.kind, plan.seed, plan.tokenizer, edges, reported])
    return out


def portable(plan: Plan) -> dict[str, Any]:
    """The part of a plan that is the same on every machine, as JSON data without its digest."""
    data: dict[str, Any] = to_json(replace(plan, now=None), without_none=True)
    del data["digest"]
    return data


def dump(plan: Plan) -> str:
    """The plan file: indented JSON with sorted keys and a final newline."""
    data = to_json(plan, without_none=True)
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


# --- plans from outside -----------------------------------------------------------------------------------------------


class NotAPlan(ValueError):
    """A file is no plan; the message says why."""


_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_FORMATS = ("jsonl", "json", "csv", "parquet", "arrow")


def load(data: bytes, shown: str) -> Plan:
    """The plan of a file that anybody may have written: nothing in it is taken on trust.

    Raises NotAPlan, RunError A904 for one of a newer program, A917 where its digest or its keys do not fit what it
    says, A909 where it names a place outside the project."""
    try:
        found = read_json(data)
        version = str(found["plan_format"])
    except (KeyError, TypeError):
        raise NotAPlan("it does not say its `plan_format`") from None
    except ValueError as error:
        raise NotAPlan(" ".join(str(error).split())) from None
    if version.partition(".")[0] != PLAN_FORMAT.partition(".")[0]:
        raise RunError(_too_new(shown, version))
    from pydantic import ValidationError

    try:
        plan = from_json(Plan, found)
        wrong = None if plan.digest else "it has no digest"
        if wrong is None:
            reported = digest({k: v for k, v in found.items() if k not in ("now", "digest")})
            changed = reported != plan.digest
            wrong = "its digest is not that of what it says" if changed else _misfit(plan)
    except ValidationError as error:
        raise NotAPlan(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    except (RecursionError, ValueError, TypeError, ArithmeticError) as error:
        raise NotAPlan(" ".join(str(error).split())) from None
    if wrong is not None:
        raise RunError(_changed(shown, wrong))
    for place in _places(plan):
        if not inside(place):
            raise RunError(_outside(shown, place))
    return plan


def inside(path: str) -> bool:
    """Whether a path as a plan writes it stays in the project: relative, and never upward."""
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts and "\0" not in path


def _misfit(plan: Plan) -> str | None:
    """What does not fit in a plan whose digest is right. NotAPlan where a step reads what does not stand before it."""
    for name, text in plan.texts.items():
        if text_digest(text) != name:
            return f"the text {name[:15]}… has another digest"
    for teacher in plan.teachers.values():
        if not teacher.identity_of:
            return f"it does not say what the answers of `{teacher.name}` are kept under, as an earlier version did not"
        if digest(teacher.identity_of) != teacher.identity_key or not _is(teacher):
            return f"the answers of `{teacher.name}` would be kept as those of another teacher"
    known: dict[str, str] = {}
    for node in plan.nodes:
        if not _NAME.fullmatch(node.id) or node.id in known:
            return f"`{node.id}` is no name of a step, or that of two"
        if not KEY.fullmatch(node.key) or not KEY.fullmatch(node.own_key):
            return f"the key of `{node.id}` is none"
        if node.kind != node.spec.kind:
            return f"`{node.id}` is a {node.kind} and described as a {node.spec.kind}"
        for edge in node.inputs:
            if edge.node not in known:
                raise NotAPlan(f"`{node.id}` reads `{edge.node}`, which does not stand before it")
            if known[edge.node] != edge.key:
                return f"`{node.id}` reads `{edge.node}` under a key that is not its own"
        known[node.id] = node.key
        spec = node.spec
        if isinstance(spec, TeacherStepSpec) and not (spec.teacher in plan.teachers and spec.prompt in plan.prompts):
            return f"`{node.id}` names a teacher or prompt that the plan does not have"
        if isinstance(spec, TeacherStepSpec) and (trained := _trained(requested := plan.teachers[spec.teacher])):
            read = [e.key for e in node.inputs if e.role == "model" and e.node == requested.model]
            if read != [trained]:
                return f"`{node.id}` asks `{requested.name}` and does not read the training that makes it"
        if isinstance(spec, MixtureSpec) and any(t.edge not in range(len(node.inputs)) for t in spec.take):
            return f"`{node.id}` takes from an input that it does not have"
        for file in getattr(spec, "files", ()):
            if not KEY.fullmatch(file.get("digest", "")) or file.get("format") not in _FORMATS:
                return f"a file of `{node.id}` has no digest, or no format"
    lacks = [d for d in _templates(plan) if d not in plan.texts]
    return f"it does not hold the text {lacks[0][:15]}…" if lacks else None


def _is(teacher: Teacher) -> bool:
    """Whether a teacher is the one that its identity tells of: what it is asked for is what its answers are kept
    under.
    """
    reported = {name.removeprefix("teacher."): value for name, value in teacher.identity_of.items()}
    named = ("provider", "revision", "identity")
    model = reported.get("model")
    sampling = {
        "temperature": "none",
        "top_p": "1",  # the API's own default: what sends it and what sends none is one teacher
        "max_tokens": 1024,
        **teacher.sampling,
    }
    same = {n: sampling.get(n) for n in ("stop", "seed", "reasoning_effort")}
    same |= {n: getattr(teacher, n) or None for n in ("extra", "query")}
    url, own = teacher.base_url, reported.get("base_url")
    elsewhere = url is not None and urlsplit(url).hostname != "api.openai.com"
    return (
        all(reported.get(name) == getattr(teacher, name) for name in named)
        and (model == teacher.model or isinstance(model, dict))
        and (not elsewhere or teacher.identity is not None or own == (url or "").rstrip("/"))
        and all(
            _number(reported.get(n, default)) == _number(sampling[n])
            for n, default in (("temperature", "0"), ("top_p", "1"))
        )
        and int(str(reported.get("max_tokens", 1024)).split()[0]) == sampling["max_tokens"]
        and all(reported.get(n) == value for n, value in same.items())
    )


def _trained(teacher: Teacher) -> str | None:
    """The key of the training whose model a teacher is, as its answers are kept; None for any other."""
    model = teacher.identity_of.get("teacher.model")
    return str(model["train"]) if isinstance(model, dict) and "train" in model else None


def _number(text: str) -> Fraction | None:
    return None if text == "none" else Fraction(text)


def _templates(plan: Plan) -> Iterator[str]:
    """The texts that a plan names by digest."""
    for prompt in plan.prompts.values():
        yield from (d for d in (prompt.system, prompt.user, prompt.prefill) if d is not None)
    yield from (part[1] for part in walk([to_json(n.spec) for n in plan.nodes]) if part[0] == "template")


def _places(plan: Plan) -> Iterator[str]:
    """Where a plan says that something is written."""
    yield str(plan.recipe.get("path") or "recipe")
    for node in plan.nodes:
        if isinstance(node.spec, ExportSpec) and node.spec.path is not None:
            yield node.spec.path


def _too_new(shown: str, found: str) -> Problem:
    return Problem(
        "A904",
        f"`{shown}` has plan format {found[:20]}, this program reads {PLAN_FORMAT}",
        help="update this program, or compile the recipe again",
    )


def _changed(shown: str, why: str) -> Problem:
    return Problem(
        "A917",
        f"`{shown}` is not as the compiler wrote it: {why}",
        note="its results would be stored under keys that stand for something else",
        help="change the recipe, and compile it again",
    )


def _outside(shown: str, place: str) -> Problem:
    return Problem(
        "A909",
        f"`{shown}` writes to `{place[:200]}`, which lies outside the project",
        help="compile a recipe that writes into the project",
    )
