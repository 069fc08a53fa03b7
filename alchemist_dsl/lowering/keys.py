"""Keys: what a node is made of, as a flat table of ingredients, and the digest of that table.

`ingredients` has everything that decides the bytes of a node and nothing else; `alchemist why` compares two of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from alchemist_runtime.schema.attributes import ByKind
from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import CANON, canonical, digest
from alchemist_runtime.schema.rows import SFT, required

from alchemist_dsl.checker.expressions import called, expressions
from alchemist_dsl.ir import Block, ChoiceV, MethodV, Program, RefV, SelectV, TextV
from alchemist_dsl.lowering.canonical import Ingredients, canon_value, data_attributes, selection, statements
from alchemist_dsl.lowering.facts import PYTHON_MINOR
from alchemist_dsl.lowering.scope import (
    Input,
    Scope,
    base_folder,
    items,
    json_fields,
    locked_base,
    own_model,
    salt,
    text,
    whole,
)
from alchemist_dsl.lowering.steps import counts_tokens, entries, reader_name, seed, source_salt, tokenizer, train_seed

#: Functions whose verdict depends on the Python that runs them.
PYTHON_FUNCTIONS: Final = frozenset({"code", "parses", "lang", "clarity", "organised"})
#: Attributes of a source that the lock's digests stand for.
_LOCKED: Final = {"files": frozenset({"files"}), "hub": frozenset({"revision"})}
_OPENAI: Final = "api.openai.com"


# --- what draws, what counts, what is called --------------------------------------------------------------------------


def draws(block: Block) -> bool:
    """Whether the seed decides anything: the kind draws, or a selection takes less than all, or `limit` does."""
    some = block.get("limit") is not None or block.get("accept") is not None
    return KINDS[block.kind].draws or _partial(block) or some


def salted(block: Block) -> bool:
    """Whether the salt decides anything: a draw below 100%, or new ids."""
    return KINDS[block.kind].makes_ids or block.word("mode") in ("add", "only") or _partial(block)


def _partial(block: Block) -> bool:
    """Whether a block takes a part by draw: a share below 100%, a count, or the split of an export."""
    if block.kind == "export":
        return block.get("split") is not None
    value = block.get("select")
    return isinstance(value, SelectV) and (value.share not in (None, 1) or value.count is not None)


def versions(block: Block, scope: Scope) -> Ingredients:
    """Versions of the functions that are called, and of the components that do the work."""
    functions = {name for expr in expressions(block) for name in called(expr.tree)}
    known = {name for expr in expressions(block) for name in _not_first(expr.tree)}
    version = {name: (FUNCTIONS.get(name) or AGGREGATES[name]).version for name in functions}
    out: Ingredients = {
        f"version.function.{name}": n
        for name, n in sorted(version.items())
        if name in known or n > _FIRST_VERSIONS.get(name, 1)
    }
    if functions & PYTHON_FUNCTIONS or (reader_name(block) == "python" and block.kind == "source"):
        out["version.python"] = PYTHON_MINOR
    if block.kind == "source" and _holds_json(block, scope):
        out["version.json"] = 2  # until 1, objects were read with their keys sorted
    if "tokens" in functions:
        out["tokenizer"] = tokenizer(None, scope)
    for family, name in components(block):
        out[f"version.{family}.{name}"] = scope.version(family, name)
    return out


#: Versions that functions had when keys left some of them out, where it was not 1.
_FIRST_VERSIONS: Final = dict.fromkeys(("clarity", "code", "fences", "lang", "organised", "parses"), 2)


def _not_first(tree: Any) -> Iterator[str]:
    """Functions that are called elsewhere than in the first part of an `and`, `or` or list. Keys left the others out
    until this was found; they enter when their version rises, so that no key moved for it."""
    if isinstance(tree, dict):
        tree = ["", *tree.values()]
    if isinstance(tree, list) and tree and tree[0] != "lit":
        if tree[0] == "call":
            yield tree[1]
        for part in tree[1:]:
            yield from _not_first(part)


def _holds_json(block: Block, scope: Scope) -> bool:
    """Whether records of a source may hold objects: where nobody has seen its columns, they may."""
    columns = scope.facts.columns(block)
    if columns is None:
        return block.get("hub") is not None
    return any(required(t) in ("json", "messages") for t in columns.values())


def components(block: Block) -> Iterator[tuple[Any, str]]:
    """Family and name of every component that a block uses."""
    for name, declared in block.declared.attributes.items():
        if declared.family is not None:
            yield from ((declared.family, m.name) for m in items(block.get(name)) if isinstance(m, MethodV))
    if block.declared.reads:
        yield "sources", reader_name(block)
    if block.declared.writes:
        yield "exporters", block.word("format")


# --- resources --------------------------------------------------------------------------------------------------------


def teacher_identity(block: Block, scope: Scope) -> Ingredients:
    """Provider, model, revision, sampling, what else its requests say; for a foreign address also that, unless
    `identity` names the model.

    A model that is loaded here is named by what its files hold, or by its commit; one of the recipe is an input of each
    step.
    """
    out = data_attributes(block)
    own = own_model(block)
    if isinstance(block.get("model"), RefV):
        out["attribute.model"] = {"train": True}
    elif own is not None:
        files = scope.facts.local(base_folder(own[1]) or own[1].value)
        if files is not None:
            out["attribute.model"] = {"files": files}
        elif (commit := locked_base(block, scope, "model")) is not None:
            out["attribute.revision"] = commit
    url = block.get("base_url")
    if isinstance(url, TextV) and block.get("identity") is None and urlsplit(url.value).hostname != _OPENAI:
        out["attribute.base_url"] = url.value.rstrip("/")
    if out.get("attribute.top_p") == "none":  # as where nothing is written
        del out["attribute.top_p"]
    reported = {"seed": whole(block, "seed"), **{n: json_fields(block, n) for n in ("extra", "query")}}
    for name, value in reported.items():
        out.pop(f"attribute.{name}", None)
        if value not in (None, {}):
            out[f"attribute.{name}"] = value
    component = scope.find("teachers", text(block, "provider") or "")
    if component is not None and component.offline:
        out["version"] = component.version
    return _under("teacher", out)


def prompt_ingredients(block: Block) -> Ingredients:
    """Fields, templates, shots. The keys of its examples stand among the step's inputs."""
    out = data_attributes(block)
    out["input"] = {f.name: f.type for f in block.input_fields}
    out["output"] = {f.name: f.type for f in block.output_fields}
    return _under("prompt", out)


def _under(prefix: str, ingredients: Ingredients) -> Ingredients:
    return {f"{prefix}.{path.removeprefix('attribute.')}": v for path, v in ingredients.items()}


# --- a node -----------------------------------------------------------------------------------------------------------


def own_ingredients(block: Block, scope: Scope) -> Ingredients:
    """Everything that decides a node's bytes but its inputs."""
    out: Ingredients = {"kind": block.kind, "operator_version": KINDS[block.kind].operator_version}
    out |= data_attributes(block, _left(block))
    out |= selection(block) | statements(block) | versions(block, scope)
    out |= _NAMED[block.kind](block, scope) if block.kind in _NAMED else {}
    if draws(block):
        out["seed"] = train_seed(block, scope) if block.kind == "train" else seed(scope)
    if salted(block):
        out["salt"] = salt(block)
    return out


def _left(block: Block) -> frozenset[str]:
    if block.kind == "train" and _unread(block):
        return frozenset({"on_long"})
    return _LOCKED.get(reader_name(block), frozenset()) if block.declared.reads else frozenset()


def _unread(block: Block) -> bool:
    """Whether nobody wrote `on_long` and nothing reads it: one stream cut into packs has no row that is too long."""
    packing, long = block.get("packing"), block.attrs.get("on_long")
    wrapped = isinstance(packing, ChoiceV) and packing.name == "wrapped"
    return wrapped and long is not None and long.origin == "default"


Named = Callable[[Block, Scope], Ingredients]
#: By kind what it adds to the ingredients that all have.
_NAMED: ByKind[Named] = ByKind()
adds = _NAMED.of


@adds("relabel", "generate")
def _question(block: Block, scope: Scope) -> Ingredients:
    teacher, prompt = (scope.program.blocks[_target(block, n)] for n in ("teacher", "prompt"))
    out = teacher_identity(teacher, scope) | prompt_ingredients(prompt)
    if block.kind == "generate" and [required(f.type) for f in prompt.output_fields] == ["text"]:
        out["version.answer"] = 2  # until 1, the white space around an answer was left out
    return out


@adds("decontaminate")
def _against(block: Block, scope: Scope) -> Ingredients:
    return {
        "against": sorted(r.target for r in block.streams("against"))
    }  # the rule of a refused row names what it leaks


@adds("task")
def _standard(block: Block, scope: Scope) -> Ingredients:
    return {"standard": block.standard_task} if block.standard_task else {}


@adds("mixture")
def _taken(block: Block, scope: Scope) -> Ingredients:
    taken: Ingredients = {f"take.{e.name}": _entry(e) for e in entries(block)}
    return taken | ({"tokenizer": tokenizer(block, scope)} if counts_tokens(block) else {})


@adds("train")
def _model(block: Block, scope: Scope) -> Ingredients:
    return _schema(block, scope) | _local(block, scope) | _base(block, scope)


def _target(block: Block, name: str) -> str:
    value = block.get(name)
    return value.target if isinstance(value, RefV) else ""


def _entry(entry: Any) -> list[Any]:
    value = None if entry.value is None else str(entry.value)
    return [entry.amount, value] if not entry.missing else [entry.amount, value, "missing"]


@adds("source", "suite")
def _place(block: Block, scope: Scope) -> Ingredients:
    facts = scope.place(block)
    out: Ingredients = {}
    if block.kind == "source":
        out |= {"name": block.name, "source_salt": source_salt(block)} | _schema(block, scope)
    match reader_name(block):
        case "files":
            ordered = sorted(facts.files, key=lambda f: f.path)
            out |= {f"file.{i}": [f.digest, f.format] for i, f in enumerate(ordered)}
        case "hub":
            out["revision"] = facts.revision or text(block, "revision")
        case "python":
            out |= {f"module.{name}": d for name, d in sorted(facts.modules.items())}
    if scope.options.limit is not None and block.kind == "source":
        out |= {"run_limit": scope.options.limit, "seed": seed(scope)}
    return out


def _local(block: Block, scope: Scope) -> Ingredients:
    """Digests of what a training takes from the project's own files: other weights under the same name are another
    base.
    """
    named = {name: block.get(name) for name in ("base", "chat_template")}
    found = {
        name: scope.facts.local((base_folder(value) if name == "base" else None) or value.value)
        for name, value in named.items()
        if isinstance(value, TextV)
    }
    return {f"file.{name}": made for name, made in found.items() if made is not None}


def _base(block: Block, scope: Scope) -> Ingredients:
    """The commits of a base of the hub, where the lock and not the recipe names it, and of a model whose template is
    taken.
    """
    template = block.get("chat_template")
    found = {
        "revision": locked_base(block, scope),
        "revision.chat_template": scope.facts.model(template.value, None) if isinstance(template, TextV) else None,
    }
    return {name: commit for name, commit in found.items() if commit is not None}


@adds("export")
def _schema(block: Block, scope: Scope) -> Ingredients:
    columns = scope.schema(block)
    return {} if columns == SFT else {"schema": columns}


def input_ingredients(inputs: tuple[Input, ...], keys: Mapping[str, str], block: Block) -> Ingredients:
    """Key, port, origin and take of every input by role; sorted where the order of a role says nothing."""
    by_role: dict[str, list[dict[str, Any]]] = {}
    for edge in inputs:
        item = {"key": keys[edge.node], "port": edge.port, "origin": edge.origin, "take": "all"}
        by_role.setdefault(edge.role, []).append(item)
    attributes = KINDS[block.kind].attributes
    out: Ingredients = {}
    for role, found in by_role.items():
        spec = attributes.get(role)
        if spec is not None and spec.order == "set":
            found.sort(key=canonical)
        out |= {f"input.{role}.{i}": item for i, item in enumerate(found)}
    return out


def node_key(ingredients: Ingredients) -> str:
    return digest([CANON, ingredients])


def own_key(ingredients: Ingredients) -> str:
    """The key without the keys of the inputs: with their content digests it makes the content key."""
    return digest([CANON, {path: _keyless(path, v) for path, v in ingredients.items()}])


def _keyless(path: str, value: Any) -> Any:
    if path.startswith("input."):
        return {name: part for name, part in value.items() if name != "key"}
    return value


def meta_key(block: Block, program: Program) -> str:
    """What a reader of the plan may care about and no byte depends on."""
    kind = KINDS[block.kind]
    other = {
        name: canon_value(attr.value, kind.attributes[name].type)
        for name, attr in block.attrs.items()
        if name in kind.attributes and kind.attributes[name].affects != "data" and name != "extends"
    }
    texts = {rule.name: [rule.verb, rule.text] for rule in block.rules}
    expects = [rule.expr.tree for rule in block.rules if rule.verb == "expect"]
    teacher = program.blocks.get(_target(block, "teacher"))
    of_teacher = None if teacher is None else meta_key(teacher, program)
    return digest([CANON, block.name, block.doc, other, texts, expects, of_teacher])


def readable(value: Any) -> str:
    """An ingredient as text."""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(", ", ": "))
