"""The parse tables: made from `grammar/recipe.lark` by lark once, shipped as JSON, read by the parser without lark.

`python -m alchemist_dsl.syntax.grammar --write` makes them anew; a test holds that they are fresh.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lark import Lark, Token

FORMAT: Final = 1
STARTS: Final = ("file", "value")
_CHECKOUT: Final = Path(__file__).resolve().parents[2] / "grammar"
_PACKAGED: Final = Path(__file__).resolve().parents[1] / "_grammar"
_OPENERS: Final = frozenset({"LBRACE", "LSQB", "LPAR"})
_CLOSERS: Final = frozenset({"RBRACE", "RSQB", "RPAR"})


@dataclass(frozen=True, slots=True)
class Tables:
    """An LALR(1) automaton. An action ≥ 0 shifts to that state, one below reduces by rule `-action - 1`."""

    patterns: dict[str, str]  # terminal -> regular expression
    words: dict[str, str]  # spelling -> terminal, for terminals that look like names
    soft: frozenset[str]  # words that are plain names wherever the grammar does not expect them
    rules: tuple[tuple[int, str, str | None], ...]  # length, nonterminal, method of the builder
    actions: tuple[dict[str, int], ...]
    gotos: tuple[dict[str, int], ...]
    starts: dict[str, int]
    ends: dict[str, int]


def folder() -> Path:
    """Where the tables lie: in the wheel, else in the checkout."""
    return _PACKAGED if (_PACKAGED / "recipe.tables.json").exists() else _CHECKOUT


@cache
def load() -> Tables:
    """Read the shipped tables."""
    return from_json((folder() / "recipe.tables.json").read_text("utf-8"))


def from_json(text: str) -> Tables:
    data = json.loads(text)
    if data["format"] != FORMAT:
        raise ValueError(f"parse tables of format {data['format']}, expected {FORMAT}")
    symbols = data["symbols"]
    rows = [{symbols[s]: to for s, to in zip(row[::2], row[1::2], strict=True)} for row in data["rows"]]
    return Tables(
        patterns=data["patterns"],
        words=data["words"],
        soft=frozenset(data["soft"]),
        rules=tuple((n, symbols[origin], action) for n, origin, action in data["rules"]),
        actions=tuple(rows[i] for i in data["actions"]),
        gotos=tuple(rows[i] for i in data["gotos"]),
        starts=data["starts"],
        ends=data["ends"],
    )


# --- making them (development only: needs lark) -----------------------------------------------------------------------


class PostLexer:
    """Lark's side of the newline rule: none inside `[…]` and `(…)`, one for a run, none at the start of the file."""

    always_accept = ("NEWLINE",)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        open_brackets: list[str] = []
        last = "NEWLINE"
        for token in stream:
            if token.type in _OPENERS:
                open_brackets.append(token.type)
            elif token.type in _CLOSERS and open_brackets:
                open_brackets.pop()
            elif token.type == "NEWLINE" and (last == "NEWLINE" or (open_brackets and open_brackets[-1] != "LBRACE")):
                continue
            last = token.type
            yield token


def build_lark(*, strict: bool = True) -> Lark:
    """The reference parser that lark makes from the grammar; strict: any conflict or ambiguous terminal is an error."""
    import lark

    source = (_CHECKOUT / "recipe.lark").read_text("utf-8")
    return lark.Lark(
        source,
        parser="lalr",
        lexer="contextual",
        start=list(STARTS),
        strict=strict,
        maybe_placeholders=False,
        postlex=PostLexer(),
    )


def to_json(parser: Lark) -> str:
    """Lark's tables as data. States are renumbered in the order of a walk, so that equal grammars give equal bytes."""
    table: Any = parser.parser.parser._parse_table
    conf: Any = parser.parser.parser_conf
    rule_number = {rule: i for i, rule in enumerate(conf.rules)}
    order = _walk(table)
    number = {state: i for i, state in enumerate(order)}
    symbols = sorted({s for row in table.states.values() for s in row})
    rows: dict[tuple[int, ...], int] = {}
    actions: list[int] = []
    gotos: list[int] = []
    for state in order:
        for where, terminal in ((actions, True), (gotos, False)):
            flat: list[int] = []
            for i, name in enumerate(symbols):
                if name.isupper() == terminal and name in table.states[state]:
                    action, arg = table.states[state][name]
                    shift = action.name == "Shift"
                    flat += [i, number[arg] if shift else -rule_number[arg] - 1]
            where.append(rows.setdefault(tuple(flat), len(rows)))
    words = {
        t.pattern.value: t.name for t in parser.terminals if t.pattern.type == "str" and t.pattern.value.isidentifier()
    }
    data = {
        "format": FORMAT,
        "symbols": symbols,
        "patterns": {
            t.name: t.pattern.to_regexp()
            for t in sorted(parser.terminals, key=lambda t: t.name)
            if t.pattern.value not in words
        },
        "words": dict(sorted(words.items())),
        "soft": sorted(words[w] for w in ("edition", "import", "param")),
        "rules": [[len(r.expansion), symbols.index(r.origin.name), _action(r)] for r in conf.rules],
        "rows": [list(row) for row in rows],
        "actions": actions,
        "gotos": gotos,
        "starts": {s: number[table.start_states[s]] for s in STARTS},
        "ends": {s: number[table.end_states[s]] for s in STARTS},
    }
    body = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in data.items())
    return "{\n" + body + "\n}\n"


def _walk(table: Any) -> list[int]:
    """States in the order in which a breadth-first walk from the start states meets them."""
    seen: dict[int, None] = dict.fromkeys(table.start_states[s] for s in STARTS)
    queue = deque(seen)
    while queue:
        row = table.states[queue.popleft()]
        for symbol in sorted(row):
            action, arg = row[symbol]
            if action.name == "Shift" and arg not in seen:
                seen[arg] = None
                queue.append(arg)
    return list(seen)


def _action(rule: Any) -> str | None:
    """The builder's method of a rule; none where the value of the only symbol is passed on."""
    if rule.alias:
        return str(rule.alias)
    if len(rule.expansion) != 1:
        raise ValueError(f"a rule of {rule.origin.name} with several symbols needs an alias")
    return None


def main(arguments: list[str]) -> int:
    text = to_json(build_lark())
    if arguments != ["--write"]:
        sys.stdout.write(text)
        return 0
    (_CHECKOUT / "recipe.tables.json").write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
