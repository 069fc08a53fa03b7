"""Recipe text -> syntax tree and every mistake of form in it. Never raises for any text.

The parser runs lark's tables. Where a token does not fit, it reports, goes back to the innermost block or record, skips
to the end of the statement there and puts a bad statement in its place; brackets are paired before (`repair.py`), so
that the end of the statement is known.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax import decode as opening
from alchemist_dsl.syntax.build import Builder
from alchemist_dsl.syntax.decode import decode, resolve, too_large
from alchemist_dsl.syntax.grammar import Tables, load
from alchemist_dsl.syntax.repair import Pairs, Place, accepts, begins_statement, pair, pairs, place
from alchemist_dsl.syntax.trivia import END, Tokens, scan

__all__ = ["decode", "parse", "parse_value"]

_BRACKETS: Final = frozenset({"A003", "A004", "A005"})


@lru_cache(maxsize=8)
def parse(source: SourceFile) -> tuple[ast.File, tuple[Diagnostic, ...]]:
    """The syntax tree of a recipe, with bad nodes where something could not be read, and all syntax problems by place.
    The last few are remembered: both sides of a comparison import the same library."""
    large = too_large(source)
    if large is not None:
        return ast.File(source.span(0, len(source.text)), None, (), ()), (large,)
    tables = load()
    displayed, conflicts = resolve(source)
    tokens = scan(displayed, tables)
    run = _Run(tables, tokens)
    items = run.parse("file") or []
    edition = opening.check(source, items, run.report)
    file = ast.File(
        source.span(0, len(source.text)),
        edition,
        tuple(_item(i) for i in items if not isinstance(i, ast.Edition)),
        tuple(tokens.comments),
    )
    problems = [*run.problems, *conflicts]
    problems.sort(key=lambda d: (d.span.start, d.code))
    return file, tuple(problems)


def _item(item: ast.Item | ast.BadStatement) -> ast.Item:
    return ast.BadItem(item.span) if isinstance(item, ast.BadStatement) else item


def parse_value(text: str, path: str) -> tuple[ast.Expr | None, tuple[Diagnostic, ...]]:
    """One value, as on the right of `=`: for `--set NAME=VALUE`. None where there is no value."""
    run = _Run(load(), scan(SourceFile(path, text), load()))
    value = run.parse("value")
    return value, tuple(run.problems)


class _Run:
    """One parse: the automaton's stacks, and what was reported."""

    def __init__(self, tables: Tables, raw: Tokens) -> None:
        self.tables = tables
        self.problems = raw.problems
        self.source = raw.source
        self.tokens = pair(raw)
        self.reported = sorted(d.span.start for d in self.problems)
        self.brackets = sorted(d.span.start for d in self.problems if d.code in _BRACKETS)
        self.nest: Pairs | None = None

    def report(self, problem: Diagnostic) -> None:
        self.problems.append(problem)
        insort(self.reported, problem.span.start)

    def parse(self, start: str) -> Any:
        """Run the automaton from a start symbol; None where nothing could be made of the text."""
        tables, tokens = self.tables, self.tokens
        actions, gotos, soft = tables.actions, tables.gotos, tables.soft
        build = Builder(tokens, self.report)
        rules = [(n, to, getattr(build, name) if name else None) for n, to, name in tables.rules]
        self.rules: list[tuple[int, str, Any]] = rules
        kinds = tokens.kinds
        final = tables.ends[start]
        states = [tables.starts[start]]
        values: list[Any] = []
        i = 0
        kind = kinds[0]
        while True:
            action = actions[states[-1]].get(kind)
            if action is None:
                if kind in soft:
                    kind = "NAME"
                    continue
                kind, i = self._recover(states, values, i, kind)
                if i < 0:
                    return None
            elif action >= 0:
                states.append(action)
                values.append(i)
                i += 1
                kind = kinds[i]
            else:
                length, origin, method = rules[-action - 1]
                if length == 1:
                    states.pop()
                    if method is not None:
                        values[-1] = method(values[-1])
                elif length:
                    value = method(*values[-length:])  # type: ignore[misc]
                    del states[-length:]
                    del values[-length:]
                    values.append(value)
                else:
                    values.append(method())  # type: ignore[misc]
                state = gotos[states[-1]][origin]
                states.append(state)
                if state == final and kind == END:
                    return values[-1]

    def _recover(self, states: list[int], values: list[Any], i: int, kind: str) -> tuple[str, int]:
        """Report the token that does not fit and mend the stacks; the kind and number of the token to go on with."""
        from alchemist_dsl.syntax import phrase  # only where something is wrong

        tokens, tables = self.tokens, self.tables
        self.nest = nest = self.nest or pairs(tokens)
        where = place(tokens, nest, self._open_brace(values, i), i)
        clean = not self._known(where)
        if kind != "NEWLINE" and begins_statement(tokens, i) and accepts(tables, states, "NEWLINE"):
            if clean:
                self.report(phrase.same_line(where))
            return "NEWLINE", i - 1  # as if there were one
        if kind == "NEWLINE" and tokens.kinds[i + 1] == "LBRACE" and accepts(tables, states, "LBRACE"):
            if clean:
                self.report(phrase.brace_on_next_line(where))
            return "LBRACE", i + 1  # as if the newline were not there
        if clean:
            row = tables.actions[states[-1]]
            self.report(phrase.unexpected(where, {k for k in row if accepts(tables, states, k)}))
        if i > where.first and tokens.kinds[i - 1] == "RBRACE" and accepts(tables, states, "NEWLINE"):
            self._feed(states, values, "NEWLINE", i - 1)  # what is complete before the mistake stays
            where = replace(where, first=i)
        keep = self._inside(values, where.opener)
        del states[keep + 1 :], values[keep:]
        while not accepts(tables, states, "BAD_LINE"):
            states.pop()
            if not states:
                return "", -1
            values.pop()
        self._feed(states, values, "BAD_LINE", phrase.bad_item(where))
        return tokens.kinds[where.stop], where.stop

    def _feed(self, states: list[int], values: list[Any], kind: str, value: object) -> None:
        """Shift a token that is not in the text; the automaton accepts it."""
        tables = self.tables
        while (action := tables.actions[states[-1]][kind]) < 0:
            length, origin, method = self.rules[-action - 1]
            parts = values[len(values) - length :]
            del states[len(states) - length :], values[len(values) - length :]
            values.append(method(*parts) if method else parts[0])
            states.append(tables.gotos[states[-1]][origin])
        states.append(action)
        values.append(value)

    def _open_brace(self, values: list[Any], i: int) -> int:
        """The innermost `{` that the automaton has read and that is open at token `i`; -1 at top level."""
        kinds, partner = self.tokens.kinds, self.nest.partner if self.nest else {}
        for value in reversed(values):
            if isinstance(value, int) and kinds[value] == "LBRACE" and partner[value] >= i:
                return value
        return -1

    def _inside(self, values: list[Any], opener: int) -> int:
        """How many of the values to keep: those up to the next `{` behind the one that the statement stands in."""
        kinds = self.tokens.kinds
        for count, value in enumerate(values):
            if isinstance(value, int) and value > opener and kinds[value] == "LBRACE":
                return count
        return len(values)

    def _known(self, where: Place) -> bool:
        """Whether a problem of the same line, or a bracket of the same statement, was reported already."""
        text, at = self.source.text, self.tokens.starts[where.error]
        line = text.rfind("\n", 0, at) + 1, text.find("\n", at) % (len(text) + 1)
        head = self.tokens.starts[where.first], line[1]
        return _any_in(self.reported, *line) or _any_in(self.brackets, *head)


def _any_in(sorted_offsets: list[int], start: int, end: int) -> bool:
    at = bisect_left(sorted_offsets, start)
    return at < len(sorted_offsets) and sorted_offsets[at] <= end
