"""JSON Schemas (draft 2020-12): of the plan, of `recipe.lock`, of every kind of block as data, and of a whole recipe as
data.

A recipe as data says the same as its text; `alchemist_dsl.migrate.recipe_draft` writes it out. Names, expressions and
amounts are strings in the words of the language (`"5%"`, `"chars(response) < 80"`); texts are strings; what has no form
of its own is `{"recipe": "…"}`, the words of the language as they stand, and a template may be `{"template": "…"}`.
"""

from __future__ import annotations

import json
from typing import Any, Final

from alchemist_runtime.schema.attributes import UNITS, Attribute, AttrType
from alchemist_runtime.schema.kinds import KINDS, NAMED_EXPRESSIONS

from alchemist_dsl.checker.calls import method_names
from alchemist_dsl.docs import words
from alchemist_dsl.migrate.recipe_draft import EDITION, parts_of
from alchemist_dsl.project import lockfile as locks

Schema = dict[str, Any]

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_NAME: Final = "[A-Za-z_][A-Za-z0-9_]*"
_PATH: Final = rf"{_NAME}(\.{_NAME})*"
_TEXTS: Final = {"$ref": "#/$defs/text"}
_EXPRESSION: Final = {"$ref": "#/$defs/expression"}
_DEFS: Final[dict[str, Schema]] = {
    "recipe": {
        "description": "A value in the words of the language, as it stands.",
        "type": "object",
        "properties": {"recipe": {"type": "string"}},
        "required": ["recipe"],
        "additionalProperties": False,
    },
    "template": {
        "description": "A Jinja template.",
        "type": "object",
        "properties": {"template": {"type": "string"}},
        "required": ["template"],
        "additionalProperties": False,
    },
    "text": {"type": "string"},
    "expression": {
        "description": "An expression over the row, in the words of the language.",
        "anyOf": [{"type": "string", "minLength": 1}, {"type": "number"}, {"type": "boolean"}],
    },
    "type": {"description": "A type: `text`, `int(0..10)`, `list<text>`, `text?`.", "type": "string"},
    "rule": {
        "type": "object",
        "description": "One of `keep`, `drop` and `expect` with its condition; `as` names it.",
        "properties": {
            "keep": {"type": "string"},
            "drop": {"type": "string"},
            "expect": {"type": "string"},
            "as": {"type": "string", "pattern": f"^{_NAME}$"},
        },
        "oneOf": [{"required": ["keep"]}, {"required": ["drop"]}, {"required": ["expect"]}],
        "additionalProperties": False,
    },
}


def as_text(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def all_schemas() -> dict[str, str]:
    """Every schema by the name of its file in docs/schemas."""
    result = {"plan": plan_schema(), "lock": lock_schema(), "recipe": recipe_schema()}
    result |= {"diff": diff_schema(), "graph": graph_schema()}
    result |= {f"kind-{name}": kind_schema(name) for name in KINDS}
    return {f"{name}.json": as_text(schema) for name, schema in result.items()}


# --- plan and lock ----------------------------------------------------------------------------------------------------


def plan_schema() -> Schema:
    """Of the plan file. It refuses no additional property: minor versions add some, and readers ignore what they do not
    know.
    """
    from alchemist_runtime.schema.plan import Plan, adapter

    schema = adapter(Plan).json_schema()
    schema["properties"]["plan_format"]["pattern"] = r"^1\.[0-9]+$"
    return {"$schema": DRAFT, "title": "Plan of a recipe", **{k: v for k, v in schema.items() if k != "title"}}


def diff_schema() -> Schema:
    """Of what `alchemist diff --format json` prints."""
    from alchemist_dsl.comparison.model import Diff, RowsDiff

    schema = Diff.model_json_schema()
    rows = RowsDiff.model_json_schema(ref_template="#/$defs/{model}")
    schema["$defs"] |= {**rows.pop("$defs"), "RowsDiff": rows}
    schema["properties"]["data"] = {
        "type": "array",
        "items": {"$ref": "#/$defs/RowsDiff"},
        "description": "With --data: the results of each recipe.",
    }
    schema["properties"]["diff_format"]["pattern"] = r"^1\.[0-9]+$"
    return {
        "$schema": DRAFT,
        "title": "Comparison of two versions of recipes",
        **{k: v for k, v in schema.items() if k != "title"},
    }


def graph_schema() -> Schema:
    """Of what `alchemist graph --format json` prints."""
    from alchemist_dsl.graph.mermaid import GraphData

    schema = GraphData.model_json_schema()
    schema["properties"]["graph_format"]["pattern"] = r"^1\.[0-9]+$"
    return {"$schema": DRAFT, "title": "Graph of a recipe", **{k: v for k, v in schema.items() if k != "title"}}


def lock_schema() -> Schema:
    """Of `recipe.lock`, as TOML reads it."""
    count = {"type": "integer", "minimum": 0}
    counts = {"type": "object", "additionalProperties": count}
    digest = {"type": "string", "pattern": "^b2:[0-9a-f]{64}$"}
    columns = {"type": "object", "additionalProperties": {"type": "string"}}
    commit = {"type": "string", "pattern": "^[0-9a-f]{40}$"}
    word = {"type": "string"}
    price = {"type": "string", "pattern": r"^\$[0-9./]+ per 1M tokens$"}
    sections = {
        locks.FILES: (
            (
                "Files of sources and suites, and models and templates that lie in the project, by their path from its"
                " folder."
            ),
            {"digest": digest, "size": count, "rows": count, "columns": columns},
            ["digest"],
        ),
        locks.HUB: (
            (
                "Datasets of the hub, `owner/name@revision as written`; `license` is what the card states, empty where"
                " it states none."
            ),
            {"revision": commit, "license": word},
            ["revision"],
        ),
        locks.PYTHON: (
            "Python packages that sources read.",
            {"digest": digest, "version": word, "python": word},
            ["digest"],
        ),
        locks.TOKENIZERS: ("Tokenizers of the hub.", {"revision": commit, "license": word}, []),
        locks.MODELS: (
            "Models of the hub, `owner/name@revision as written`: bases of trainings, teachers with a revision.",
            {"revision": commit, "license": word},
            ["revision"],
        ),
        locks.SOURCES: (
            (
                "What recipes say of their sources and suites, `RECIPE#NAME`, with `@VARIANT` where a variant differs: "
                "the licence, and the columns of the rows."
            ),
            {"license": word, "columns": columns},
            [],
        ),
        locks.TEACHERS: (
            "What recipes say of their teachers, by the same names: the model, and its prices.",
            {"provider": word, "model": word, "free": {"const": True}, "input": price, "output": price},
            ["provider"],
        ),
        locks.MEASURED: (
            "What finished steps measured, by their key.",
            {
                "node": {"type": "string"},
                "recipe": {"type": "string"},
                "variant": {"type": "string"},
                "rows": count,
                "rows_in": count,
                "trace": count,
                "rest": count,
                "calls": count,
                "tokens_in": count,
                "tokens_out": count,
                "tokens": count,
                "packs": count,
                "steps": count,
                "trained": count,
                "held_out": count,
                "cut": count,
                "gpus": count,
                "device": word,
                "tokens_per_second": {"type": "number"},
                "origins": counts,
                "dropped": counts,
                "entries": counts,
                "left_out": counts,
                "added": counts,
            },
            ["node"],
        ),
    }
    return {
        "$schema": DRAFT,
        "title": "recipe.lock",
        "description": "Facts about the world that a recipe's keys rest on. Readers keep what they do not know.",
        "type": "object",
        "properties": {
            "version": {"type": "integer", "minimum": 1, "maximum": locks.LOCK_VERSION},
            **{
                name: {
                    "description": doc,
                    "type": "object",
                    "additionalProperties": {"type": "object", "properties": fact, "required": needed},
                }
                for name, (doc, fact, needed) in sections.items()
            },
        },
    }


# --- recipes as data --------------------------------------------------------------------------------------------------


def recipe_schema() -> Schema:
    """Of a whole recipe as data."""
    return {
        "$schema": DRAFT,
        "title": "A recipe as data",
        "type": "object",
        "properties": {
            "edition": {"const": EDITION},
            "imports": {
                "description": "Prefix -> file, or `std:NAME`.",
                "type": "object",
                "propertyNames": {"pattern": f"^{_NAME}$"},
                "additionalProperties": {"type": "string"},
            },
            "params": {
                "type": "object",
                "propertyNames": {"pattern": f"^{_NAME}$"},
                "additionalProperties": {
                    "type": "object",
                    "properties": {
                        "type": {"$ref": "#/$defs/type"},
                        "default": {"description": 'In the words of the language: `5%`, `"text"`.', "type": "string"},
                        "doc": _TEXTS,
                    },
                    "required": ["type"],
                    "additionalProperties": False,
                },
            },
            "blocks": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"kind": {"enum": list(KINDS)}},
                    "required": ["kind"],
                    "allOf": [
                        {
                            "if": {"properties": {"kind": {"const": name}}},
                            "then": {"$ref": f"#/$defs/{_def_name(name)}"},
                        }
                        for name in KINDS
                    ],
                },
            },
        },
        "required": ["edition", "blocks"],
        "additionalProperties": False,
        "$defs": {**_DEFS, **{_def_name(name): _block(name) for name in KINDS}},
    }


def kind_schema(name: str) -> Schema:
    """Of one block of a kind as data."""
    return {"$schema": DRAFT, "title": f"A {name} block", **_block(name), "$defs": _DEFS}


def _def_name(kind: str) -> str:
    return f"block-{kind}"


def _block(name: str) -> Schema:
    kind = KINDS[name]
    properties: dict[str, Schema] = {"kind": {"const": name}, "doc": _TEXTS}
    required = ["kind"]
    if kind.name != "none":
        form = {} if kind.name == "text" else {"pattern": f"^{_NAME}$"}
        properties["name"] = {"type": "string", **form}
        required.append("name")
    extends = "extends" in kind.attributes
    for attribute, row in kind.attributes.items():
        properties[attribute] = _attribute(attribute, row, nullable=extends)
        if row.required and not extends:  # a block that extends another may leave out what that has
            required.append(attribute)
    for key in parts_of(name):
        properties[key] = _part(key)
    return {
        "description": kind.doc,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _attribute(name: str, attribute: Attribute, *, nullable: bool) -> Schema:
    type_ = attribute.type
    value = _free(_EXPRESSION) if name in NAMED_EXPRESSIONS else _value(type_)
    options = [value, {"$ref": "#/$defs/recipe"}] + [{"type": "null"}] * nullable
    schema: Schema = {"description": words.about(name, attribute), "anyOf": _flat(options)}
    if attribute.default is not None:
        schema["x-default"] = attribute.default_text
    return schema


def _flat(options: list[Schema]) -> list[Schema]:
    out: list[Schema] = []
    for option in options:
        for one in option["anyOf"] if option.keys() == {"anyOf"} else [option]:
            if one not in out:
                out.append(one)
    return out


def _free(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def _value(type_: AttrType) -> Schema:
    match type_.name:
        case "alt":
            return {"anyOf": _flat([_value(t) for t in type_.of])}
        case "list":
            element = _value(type_.of[0])
            return {"anyOf": _flat([element, {"type": "array", "items": element}])}
        case "choice":
            return {"enum": list(type_.names)}
        case "ref" | "stream" | "name":
            return {"type": "string", "pattern": f"^{_PATH}$"}
        case "text":
            return {"type": "string"}
        case "template":
            return {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/template"}]}
        case "bool":
            return {"type": "boolean"}
        case "int" | "real":
            return _number(type_)
        case "expr" | "select":
            return _EXPRESSION
        case "method":
            names = "|".join(m.name for m in type_.methods) or "|".join(method_names(type_))
            return {"type": "string", "pattern": rf"^({names})(\(.*\))?$"}
        case "record" if type_.fields:
            fields = {f.name: _value(f.type) for f in type_.fields}
            return {"type": "object", "properties": fields, "additionalProperties": False}
        case "record":
            return {"type": "object"}
        case unit:
            return {"type": "string", "pattern": f"^{UNITS[unit].pattern}$"}


def _number(type_: AttrType) -> Schema:
    schema: Schema = {"type": "integer" if type_.name == "int" else "number"}
    for bound, word in ((type_.low, "minimum"), (type_.high, "maximum")):
        if bound is not None:
            schema[word] = int(bound) if bound.denominator == 1 else float(bound)
    return schema


def _part(key: str) -> Schema:
    """What stands in a block beside its attributes."""
    match key:
        case "rules":
            return {"type": "array", "items": {"$ref": "#/$defs/rule"}}
        case "set":
            options = [_EXPRESSION, {"$ref": "#/$defs/template"}, {"type": "null"}]
            return {"description": words.STATEMENTS["set"][1], **_free({"anyOf": options})}
        case "take":
            amount = [{"type": "string"}, {"type": "null"}]
            return {"description": words.SUB_BLOCKS["take"][1], **_free({"anyOf": amount})}
        case "classes":
            names = [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]
            return {"description": words.SUB_BLOCKS["classes"][1], **_free({"anyOf": names})}
        case _:
            doc = words.SUB_BLOCKS.get(key, words.STATEMENTS["field"])[1]
            return {"description": doc, **_free({"$ref": "#/$defs/type"})}
