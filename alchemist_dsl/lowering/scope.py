"""What lowering one block may look at, and where it leaves the texts that expressions name by digest."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from alchemist_runtime.schema.attributes import decimal
from alchemist_runtime.schema.expressions import expression
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import At, Expr, Method, Price, Prompt, Rule, Select, SetColumn, Teacher, text_digest
from alchemist_runtime.schema.registry import Component, Family, Origin
from alchemist_runtime.schema.rows import SFT

from alchemist_dsl.checker.outputs import MODEL
from alchemist_dsl.checker.unittests import literal
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.ir import (
    Block,
    BoolV,
    ChoiceV,
    ExprV,
    ListV,
    MethodV,
    Program,
    Qty,
    RecordV,
    RefV,
    RuleV,
    TemplateV,
    TextV,
    Value,
)
from alchemist_dsl.lowering.facts import Facts, SourceFacts
from alchemist_dsl.passes import Options
from alchemist_dsl.source import Span

Find = Callable[[Family, str], Component | None]


@dataclass(frozen=True, slots=True)
class Input:
    """An edge before its key is known."""

    node: str
    port: str = "rows"
    origin: str | None = None
    role: str = "from"


@dataclass(slots=True)
class Scope:
    """The program around a block. `texts` collects templates while nodes are lowered."""

    program: Program
    facts: Facts
    find: Find
    options: Options
    whole: Program | None = None  # before pruning: what reads a stream in the whole recipe decides its tokenizer
    texts: dict[str, str] = field(default_factory=dict)
    known: dict[str, SourceFacts] = field(default_factory=dict)

    def place(self, block: Block) -> SourceFacts:
        """Facts of a source or suite, asked for once."""
        if block.name not in self.known:
            self.known[block.name] = self.facts.source(block)
        return self.known[block.name]

    def at(self, span: Span) -> At:
        file = self.program.files.get(span.file, self.program.file)
        line, column = file.position(span.start)
        return At(file=span.file, line=line, column=column)

    def keep(self, template: str) -> str:
        """Keep a template's text; returns its digest."""
        digest = text_digest(template)
        self.texts[digest] = template
        return digest

    def template(self, value: TemplateV) -> Expr:
        return ["template", self.keep(value.text), sorted(value.reads)]

    def version(self, family: Family, name: str) -> int:
        found = self.find(family, name)
        return 1 if found is None else found.version

    def origin(self, teacher: Block) -> Origin:
        """What the answers of a teacher come from."""
        provider = text(teacher, "provider")
        found = self.find("teachers", provider) if provider else None
        return "server" if found is None else found.answers

    def component(self, family: Family, value: MethodV) -> Method:
        return Method(name=value.name, version=self.version(family, value.name), args=value.args)

    def stated(self, name: str) -> str | None:
        """A text of the `recipe` block."""
        recipe = self.program.recipe
        return None if recipe is None else text(recipe, name)

    def schema(self, block: Block) -> dict[str, str]:
        """Columns of the row schema that holds for a block: its own, the recipe's, or `sft`."""
        recipe = self.program.recipe
        for owner in (block, recipe):
            value = None if owner is None else owner.get("schema")
            target = getattr(value, "target", None)
            if target in self.program.blocks:
                return {f.name: f.type for f in self.program.blocks[target].fields}
        return dict(SFT)

    def rules(self, block: Block) -> list[Rule]:
        return [self.rule(r) for r in block.rules]

    def rule(self, rule: RuleV) -> Rule:
        return Rule(verb=rule.verb, name=rule_name(rule), expr=rule.expr.tree, text=rule.text, at=self.at(rule.span))

    def sets(self, block: Block) -> list[SetColumn]:
        """Assignments by column: their order says nothing."""
        ordered = sorted(block.sets, key=lambda s: s.column)
        return [SetColumn(column=s.column, type=s.expr.type, expr=s.expr.tree) for s in ordered]

    def select(self, block: Block) -> Select | None:
        value: Any = block.get("select")
        if value is None:
            return None
        return Select(
            fraction=None if value.share is None else str(value.share),
            count=value.count,
            where=None if value.where is None else value.where.tree,
            per=list(value.per),
            best=[e.tree for e in value.best],
            salt=salt(block),
        )


def salt(block: Block) -> str:
    """Salt of a block's draws and new ids; the pass `salts` has filled it in."""
    value: Any = block.get("salt")
    return block.name if value is None else str(value.value)


def rule_name(rule: RuleV) -> str:
    """The name under which a rule's rows are counted: its own, or its expression in one spelling, so that spaces say
    nothing.
    """
    return expression(rule.expr.tree) if rule.name == rule.text else rule.name


def inputs(block: Block) -> tuple[Input, ...]:
    """The streams that a block reads, as edges without keys."""
    return tuple(
        Input(ref.target, ref.port, ref.origin, role) for ref, role in zip(block.inputs, block.roles, strict=True)
    )


# --- values ----------------------------------------------------------------------------------------------------------


def text(block: Block, name: str) -> str | None:
    """A text or the name of a choice, None where it is not set."""
    match block.get(name):
        case TextV(value=value):
            return value
        case ChoiceV(name=value):
            return value
        case _:
            return None


def texts(block: Block, name: str) -> list[str]:
    """A list of texts or choices; a single one is a list of one."""
    return [t for t in map(_text, items(block.get(name))) if t is not None]


def _text(value: Value) -> str | None:
    match value:
        case TextV(value=t) | ChoiceV(name=t):
            return t
        case _:
            return None


def items(value: Value | None) -> tuple[Value, ...]:
    """The elements of a list; a single value is a list of one, nothing is an empty one."""
    match value:
        case None:
            return ()
        case ListV(items=inner):
            return inner
        case _:
            return (value,)


def quantity(block: Block, name: str) -> Qty | None:
    match block.get(name):
        case Qty() as found:
            return found
        case _:
            return None


def whole(block: Block, name: str) -> int | None:
    """A whole number without its unit, None where it is not set."""
    found = quantity(block, name)
    return None if found is None else int(found.value)


def flag(block: Block, name: str) -> bool:
    match block.get(name):
        case BoolV(value=value):
            return value
        case _:
            return False


def trees(block: Block, name: str) -> list[list[Any]]:
    """Expression trees of a list of expressions."""
    return [v.tree for v in items(block.get(name)) if isinstance(v, ExprV)]


def method(block: Block, name: str) -> MethodV:
    """A component with its arguments; a bare name is a component without."""
    match block.get(name):
        case MethodV() as found:
            return found
        case ChoiceV(span=span, name=bare):
            return MethodV(span, bare, {})
        case _:
            raise LookupError(f"{block.kind} {block.name} has no {name}")


def declared(block: Block, spec: type, **special: Any) -> dict[str, Any]:
    """The fields of a spec that are attributes of the block's kind, as the plan writes them by the field's type.

    What is not set has the spec's default. `special`: fields that follow from more than the attribute of their name."""
    types = {f.name: str(f.type) for f in fields(spec)}
    named = types.keys() & KINDS[block.kind].attributes.keys() - special.keys()
    return {n: planned(v, types[n]) for n in named if (v := block.get(n)) is not None} | special


def planned(value: Value, type_: str) -> Any:
    """A value as the plan writes it in a field of this type: exact numbers as texts, amounts with their unit."""
    if type_.startswith("list["):
        return [planned(v, type_[5:]) for v in items(value)]
    match value:
        case MethodV(name=name, args=args):
            return Method(name=name, args=args)
        case TextV(value=name) | ChoiceV(name=name):
            return Method(name=name) if type_.startswith("Method") else name
        case BoolV(value=is_set):
            return is_set
        case ExprV(tree=tree):
            return tree
        case Qty(kind=kind, value=number):
            number_text = str(number) if kind == "percent" else decimal(number)
            if type_.startswith("dict["):
                is_whole = number.denominator == 1 and kind != "percent"
                return {"unit": kind, "value": int(number) if is_whole else str(number)}
            return int(number) if type_.startswith("int") else number_text
        case _:
            raise TypeError(f"{value} has no plain form")


# --- resources -------------------------------------------------------------------------------------------------------

#: Questions that a model in this process answers at once, where the recipe does not say: memory of the CPU is not got
#: back.
LARGEST_BATCH: Final = 16


def plan_teacher(block: Block, scope: Scope) -> Teacher:
    """A teacher without its identity key."""
    timeout = quantity(block, "timeout")
    here = text(block, "provider") == "transformers"
    return Teacher(
        name=block.name,
        provider=text(block, "provider") or "",
        model=_model(block),
        revision=(locked_base(block, scope, "model") if here else None) or text(block, "revision"),
        base_url=text(block, "base_url"),
        identity=text(block, "identity"),
        api_key_env=_key_variable(block),
        sampling=_sampling(block),
        extra=json_fields(block, "extra"),
        query=json_fields(block, "query"),
        headers_env=json_fields(block, "headers_env"),
        price=price(block, scope),
        rate=[_rate(r) for r in items(block.get("rate")) if isinstance(r, Qty)],
        concurrency=_concurrency(block, here),
        timeout_seconds=0.0 if here else 120.0 if timeout is None else float(timeout.value),
        retries=6 if (retries := whole(block, "retries")) is None else retries,
        batch=flag(block, "batch"),
        at=scope.at(block.span),
    )


def _model(block: Block) -> str | None:
    """The model's name; for one that is loaded here its folder from the project's root, or the training that makes
    it.
    """
    model, own = block.get("model"), own_model(block)
    if isinstance(model, RefV):
        return model.target
    return (own and base_folder(own[1])) or text(block, "model")


def _concurrency(block: Block, here: bool) -> int:
    attr = block.attrs.get("concurrency")
    unsaid = attr is None or attr.origin == "default"
    return LARGEST_BATCH if here and unsaid else whole(block, "concurrency") or 64


def _key_variable(block: Block) -> str | None:
    """Only a served model wants a key, and the default one goes to nobody but the server that it belongs to."""
    if text(block, "provider") != "openai":
        return None
    attr = block.attrs.get("api_key_env")
    foreign = text(block, "base_url") is not None
    return None if attr is not None and attr.origin == "default" and foreign else text(block, "api_key_env")


def _sampling(block: Block) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in ("temperature", "top_p"):
        found = quantity(block, name)
        if found is not None:
            out[name] = decimal(found.value)
    if (most := whole(block, "max_tokens")) is not None:
        out["max_tokens"] = most
    if stop := texts(block, "stop"):
        out["stop"] = stop
    if (seed := whole(block, "seed")) is not None:
        out["seed"] = seed
    if effort := text(block, "reasoning_effort"):
        out["reasoning_effort"] = effort
    return out


def json_fields(block: Block, name: str) -> dict[str, Any]:
    """The fields of a record that nobody declares, as JSON data."""
    value = block.get(name)
    return literal(value) if isinstance(value, RecordV) else {}


def price(block: Block, scope: Scope) -> Price | None:
    """Exact dollars per token. What no server answers costs nothing; an unwritten price is unknown."""
    match block.get("price"):
        case RecordV(fields=fields):
            return Price(input=_per_token(fields.get("input")), output=_per_token(fields.get("output")))
        case ChoiceV(name="free"):
            return Price(free=True)
        case _:
            return None if scope.origin(block) == "server" else Price(free=True)


def _per_token(value: object) -> str:
    if not isinstance(value, Qty):
        return "0"
    return str(value.value / value.per[1]) if value.per else str(value.value)


def _rate(value: Qty) -> dict[str, str]:
    return {"unit": value.unit or "calls", "per_second": str(value.value)}


def plan_prompt(block: Block, scope: Scope) -> Prompt:
    """A prompt without its key."""
    return Prompt(
        name=block.name,
        inputs={f.name: f.type for f in block.input_fields},
        outputs={f.name: f.type for f in block.output_fields},
        system=_digest(block, "system", scope),
        user=_digest(block, "user", scope),
        rules=text(block, "rules"),
        shots=whole(block, "shots") or 0,
        turn="user" if text(block, "turn") == "user" else None,
        prefill=_digest(block, "prefill", scope),
        at=scope.at(block.span),
    )


def _digest(block: Block, name: str, scope: Scope) -> str | None:
    value = block.get(name)
    return scope.keep(value.text) if isinstance(value, TemplateV) else None


# --- base models -----------------------------------------------------------------------------------------------------

#: Endings of the files that `from_pretrained` reads weights and tokenizers from.
_WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth")
_TOKENIZERS: Final = ("tokenizer", "vocab", "merges", "spiece", "sentencepiece")
_GGUF: Final = (
    "train from the weights that it was made of, or convert it: `AutoModelForCausalLM.from_pretrained(FOLDER, "
    'gguf_file = "FILE").save_pretrained("model")`, the same with AutoTokenizer, then `base = "./model"`'
)


def own_model(block: Block) -> tuple[str, TextV] | None:
    """The attribute of a block that names a model which is loaded here, with its value; None where there is none."""
    provider = block.get("provider")
    requested = isinstance(provider, ChoiceV) and provider.name == "transformers"
    name = "model" if requested else "base"
    value = block.get(name) if requested or block.kind == "train" else None
    return (name, value) if isinstance(value, TextV) else None


def base_folder(base: TextV) -> str | None:
    """The folder that a base names, from the project's root; None where it is the id of a model of the hub.

    A text that begins with `.` or `/` is a folder, relative to the recipe, as the patterns of `files` are.
    """
    if not base.value.startswith((".", "/")):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(base.span.file), base.value))
    return path if path.startswith(("/", "..")) else f"./{path}"


def wrong_base(base: TextV, root: Path, attribute: str = "base") -> Diagnostic | None:
    """A model that no training can start from, or no teacher be: no such folder, no model in it, an adapter alone, and
    for a training a GGUF file."""
    named, folder = base.value, base_folder(base)
    at = root / (folder or named)
    if folder is None and not at.exists():
        if attribute == "base" and re.search(r"[-_.]gguf$", named, re.I):
            return _no_base(base, f"`{named}` is in GGUF format, which cannot be trained", _GGUF)
        return None if MODEL.fullmatch(named) else _no_folder(base, at, attribute)
    if not at.exists():
        return _no_folder(base, at, attribute)
    if at.is_file():
        if at.suffix.lower() == ".gguf":
            if attribute == "model":
                return None
            return _no_base(base, f"`{named}` is in GGUF format, which cannot be trained", _GGUF)
        return _no_base(
            base,
            f"`{named}` is a file, and a {attribute} is a folder",
            f'write `{attribute} = "{posixpath.dirname(named) or "."}"`',
        )
    try:
        files = sorted(f.name for f in at.iterdir())
    except OSError as e:
        return _no_base(base, f"`{named}` cannot be read: {e.strerror or e}", "check its permissions")
    return _no_model(base, files, attribute)


def _no_model(base: TextV, files: list[str], attribute: str) -> Diagnostic | None:
    """What a folder lacks to be a model with its tokenizer."""
    named, has_weights = base.value, any(f.endswith(_WEIGHTS) for f in files)
    gguf = [f for f in files if f.lower().endswith(".gguf")]
    if gguf and not has_weights and attribute == "model":
        return _no_base(
            base, f"`{named}` holds only GGUF files", f'name the file: `model = "{posixpath.join(named, gguf[0])}"`'
        )
    if gguf and not has_weights:
        return _no_base(base, f"`{named}` holds only GGUF files, which cannot be trained", _GGUF)
    if "config.json" not in files:
        if "adapter_config.json" in files:
            needs = "a training starts from" if attribute == "base" else "a teacher is"
            return _no_base(
                base,
                f"`{named}` is an adapter, and {needs} a whole model",
                "merge it: `PeftModel.merge_and_unload()`, then `save_pretrained`",
            )
        return _no_base(
            base, f"`{named}` holds no model: it has no `config.json`", "name the folder that `save_pretrained` wrote"
        )
    if not has_weights:
        return _no_base(
            base,
            f"`{named}` holds no weights",
            "name the folder that `save_pretrained` wrote, with its `.safetensors` files",
        )
    if not any(f.startswith(_TOKENIZERS) or f.endswith(".model") for f in files):
        return _no_base(
            base, f"`{named}` has no tokenizer", f'save it beside the model: `tokenizer.save_pretrained("{named}")`'
        )
    return None


def _no_folder(base: TextV, at: Path, attribute: str) -> Diagnostic:
    try:
        beside = [p.name for p in at.parent.iterdir() if p.is_dir()]
    except OSError:
        beside = []
    near = get_close_matches(at.name, beside, 1, 0.6)
    if near:
        better = posixpath.join(posixpath.dirname(base.value), near[0])
        return _no_base(base, f"no folder `{base.value}`", f'did you mean `{attribute} = "{better}"`?')
    ways = "write a folder, relative to the recipe, or the name of a model of the hub, `owner/name`"
    return _no_base(base, f"no folder `{base.value}`", ways)


def _no_base(base: TextV, headline: str, help_: str) -> Diagnostic:
    return Diagnostic("A812", headline, base.span, help=help_)


def locked_base(block: Block, scope: Scope, name: str = "base") -> str | None:
    """The commit that the lock pins a model of the hub to; None where the recipe names one itself, or nobody knows
    it.
    """
    value, written = block.get(name), text(block, "revision")
    if (
        not isinstance(value, TextV)
        or base_folder(value)
        or (name == "base" and method(block, "init").name == "scratch")
    ):
        return None
    found = scope.facts.model(value.value, written)
    return None if found == written else found
