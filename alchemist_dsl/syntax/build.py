"""Builds the syntax tree: one method for each alias of the grammar, called by the parser as it reduces.

A terminal arrives as the number of its token, a nonterminal as what its method returned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, Literal, TypeVar, cast

from alchemist_dsl.diagnostics.model import Diagnostic, Edit, Label
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.decode import BadNumber, dedent, read_number, unescape
from alchemist_dsl.syntax.trivia import Tokens

T = TypeVar("T")
Node = ast.Expr | ast.TypeExpr | ast.Block
_DEEPEST: Final = 100
_LEFT: Final = re.compile(r"(?:set[ \t]+)?([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")


class Builder:
    """Methods by the aliases of `recipe.lark`. Mistakes inside a single number or text are reported here."""

    def __init__(self, tokens: Tokens, report: Callable[[Diagnostic], None]) -> None:
        self.path = tokens.source.path
        self.source = tokens.source.text
        self.starts = tokens.starts
        self.ends = tokens.ends
        self.docs = tokens.docs
        self.report = report
        self.depths: dict[int, tuple[object, int]] = {}  # by id; holding the node keeps its id taken
        self.too_deep = False
        self.words: set[int] = set()  # words without quotes that were reported

    def fits(self, node: Node, parts: Iterable[object]) -> bool:
        """Notes how deep a node is; reports once, and says no, beyond what recursive readers of the tree can take."""
        depths = self.depths
        deepest = 0
        for part in parts:
            known = depths.get(id(part))
            if known and known[1] > deepest:
                deepest = known[1]
        if deepest < _DEEPEST:
            depths[id(node)] = (node, deepest + 1)
            return True
        if not self.too_deep:
            self.too_deep = True
            start = node.span.start
            self.say(
                "A002",
                f"this is nested more than {_DEEPEST} levels deep",
                start,
                start + 1,
                label="from here on",
                help="split it: several rules, a list with `in`, or a column set by a `map`",
            )
        return False

    def deep(self, node: ast.Expr, *parts: object) -> ast.Expr:
        """The node, or a bad value where it is nested too deeply."""
        return node if self.fits(node, parts) else ast.BadExpr(node.span)

    # --- places -------------------------------------------------------------------------------------------------------

    def span(self, first: int, last: int) -> Span:
        return Span(self.path, self.starts[first], self.ends[last])

    def text(self, token: int) -> str:
        return self.source[self.starts[token] : self.ends[token]]

    def ident(self, token: int) -> ast.Ident:
        start, end = self.starts[token], self.ends[token]
        return ast.Ident(Span(self.path, start, end), self.source[start:end])

    def doc(self, start: int) -> str | None:
        return self.docs.get(start)

    def say(
        self,
        code: str,
        headline: str,
        start: int,
        end: int,
        *,
        help: str | None = None,
        edit: str | None = None,
        label: str = "",
        labels: tuple[Label, ...] = (),
    ) -> None:
        span = Span(self.path, start, end)
        change = Edit(span, edit) if edit is not None else None
        self.report(Diagnostic(code, headline, span, label, labels, help=help, edit=change))

    # --- lists --------------------------------------------------------------------------------------------------------

    def first(self, item: T) -> list[T]:
        return [item]

    def more(self, items: list[T], _sep: object, item: T) -> list[T]:
        items.append(item)
        return items

    def keep_first(self, items: list[T], _sep: object) -> list[T]:
        return items

    def keep_second(self, _newline: int, items: list[T], _sep: object = None) -> list[T]:
        return items

    def empty(self, _newline: int = -1) -> list[Any]:
        return []

    no_items = empty

    def nothing(self, _first: int, _second: int = -1) -> None:
        return None

    def first_ident(self, name: int) -> tuple[ast.Ident, ...]:
        return (self.ident(name),)

    def quoted(self, token: int) -> tuple[ast.Ident, ...]:
        text = self.plain_text(token)
        return (ast.Ident(text.span, text.value, quoted=True),)

    def more_idents(self, path: tuple[ast.Ident, ...], _dot: int, name: int) -> tuple[ast.Ident, ...]:
        return (*path, self.ident(name))

    # --- top level ----------------------------------------------------------------------------------------------------

    def edition(self, word: int, year: int) -> ast.Edition:
        text = self.text(year)
        return ast.Edition(self.span(word, year), int(text) if text.isdecimal() and len(text) < 10 else -1)

    def import_(self, word: int, path: int, _as: int, name: int) -> ast.Import:
        return ast.Import(self.span(word, name), self.plain_text(path), self.ident(name))

    def param(
        self, word: int, name: int, _colon: int, type: ast.TypeExpr, _eq: int = -1, default: ast.Expr | None = None
    ) -> ast.ParamDecl:
        start = self.starts[word]
        span = Span(self.path, start, (default or type).span.end)
        return ast.ParamDecl(span, self.ident(name), type, default, self.doc(start))

    param_default = param

    def bad_item(self, item: ast.BadItem | int) -> ast.BadItem:
        return ast.BadItem(self.span(item, item)) if isinstance(item, int) else item

    # --- blocks and statements ----------------------------------------------------------------------------------------

    def block(self, kind: int, _open: int, body: list[ast.Statement], close: int) -> ast.Block | ast.BadStatement:
        return self._block(kind, kind, None, body, close)

    def named_block(
        self, kind: int, name: int, _open: int, body: list[ast.Statement], close: int
    ) -> ast.Block | ast.BadStatement:
        return self._block(kind, name, self.ident(name), body, close)

    def titled_block(
        self, kind: int, name: int, _open: int, body: list[ast.Statement], close: int
    ) -> ast.Block | ast.BadStatement:
        return self._block(kind, name, self.plain_text(name), body, close)

    def _block(
        self, kind: int, last: int, name: ast.Ident | ast.Text | None, body: list[ast.Statement], close: int
    ) -> ast.Block | ast.BadStatement:
        span, header = self.span(kind, close), self.span(kind, last)
        block = ast.Block(span, header, self.ident(kind), name, tuple(body), self.doc(span.start))
        return block if self.fits(block, body) else ast.BadStatement(span)

    def assign(
        self, path: tuple[ast.Ident, ...], _eq: int, value: ast.Expr, _per: int = -1, per: ast.Expr | None = None
    ) -> ast.Assign:
        start = path[0].span.start
        span = Span(self.path, start, (per or value).span.end)
        return ast.Assign(span, path, value, per, False, self.docs.get(start))

    assign_per = assign

    def set_(
        self,
        word: int,
        path: tuple[ast.Ident, ...],
        _eq: int,
        value: ast.Expr,
        _per: int = -1,
        per: ast.Expr | None = None,
    ) -> ast.Assign:
        start = self.starts[word]
        span = Span(self.path, start, (per or value).span.end)
        return ast.Assign(span, path, value, per, True, self.docs.get(start))

    set_per = set_

    def field(
        self, name: int, _colon: int, type: ast.TypeExpr, _eq: int = -1, default: ast.Expr | None = None
    ) -> ast.FieldDecl:
        start = self.starts[name]
        span = Span(self.path, start, (default or type).span.end)
        return ast.FieldDecl(span, self.ident(name), type, default, self.doc(start))

    field_default = field

    def rule(self, verb: int, condition: ast.Expr, _as: int = -1, name: int | None = None) -> ast.RuleStmt:
        start = self.starts[verb]
        end = condition.span.end if name is None else self.ends[name]
        word = cast(Literal["keep", "drop", "expect"], self.text(verb))
        ident = None if name is None else self.ident(name)
        return ast.RuleStmt(Span(self.path, start, end), word, condition, ident, self.doc(start))

    named_rule = rule

    def bad_statement(self, item: ast.BadItem | int) -> ast.BadStatement:
        if isinstance(item, int):
            return ast.BadStatement(self.span(item, item))
        return ast.BadStatement(item.span, self.left_side(item.span))

    def left_side(self, span: Span) -> tuple[ast.Ident, ...]:
        """What can be read of the left side of a statement that did not parse."""
        m = _LEFT.match(self.source, span.start, span.end)
        if m is None:
            return ()
        at = m.start(1)
        out = []
        for name in m[1].split("."):
            out.append(ast.Ident(Span(self.path, at, at + len(name)), name))
            at += len(name) + 1
        return tuple(out)

    # --- types --------------------------------------------------------------------------------------------------------

    def plain_type(self, path: tuple[ast.Ident, ...]) -> ast.TypeExpr:
        text = ".".join(i.name for i in path)
        return ast.TypeExpr(path[0].span.to(path[-1].span), text, text)

    def nullable(self, type: ast.TypeExpr, mark: int) -> ast.TypeExpr:
        span = Span(self.path, type.span.start, self.ends[mark])
        whole = replace(type, span=span, text=type.text + "?", nullable=True)
        self.fits(whole, (type,))
        return whole

    def bounded_type(
        self, name: int, _open: int, bounds: tuple[ast.Expr | None, ast.Expr | None], close: int
    ) -> ast.TypeExpr:
        base = self.text(name)
        low, high = (b.value if isinstance(b, ast.Quantity) else None for b in bounds)
        displayed = "..".join(b.text if isinstance(b, ast.Quantity) else "" for b in bounds)
        if low is not None and high is not None and low > high:
            a, b = bounds
            assert a is not None and b is not None
            self.say(
                "A209",
                "this interval is empty; its start is above its end",
                a.span.start,
                b.span.end,
                help=f"write `{_text(b)}..{_text(a)}`",
                edit=f"{_text(b)}..{_text(a)}",
            )
        return ast.TypeExpr(self.span(name, close), f"{base}({displayed})", base, low=low, high=high)

    def choice_type(self, name: int, _open: int, values: list[ast.Text], close: int, last: int = -1) -> ast.TypeExpr:
        span = self.span(name, close if last < 0 else last)
        if self.text(name) != "enum":
            self.say(
                "A002",
                f"`{self.text(name)}` does not list texts; `enum` does",
                self.starts[name],
                self.ends[name],
                help="write `enum`",
                edit="enum",
            )
        spelled = ",".join(f'"{v.value}"' for v in values)
        return ast.TypeExpr(span, f"enum({spelled})", "enum", values=tuple(v.value for v in values))

    def list_type(self, name: int, _less: int, type: ast.TypeExpr, more: int) -> ast.TypeExpr:
        if self.text(name) != "list":
            self.say(
                "A002",
                f"there is no type `{self.text(name)}<…>`",
                self.starts[name],
                self.ends[name],
                help=f"a list of these is written `list<{type.text}>`",
            )
        span = self.span(name, more)
        whole = ast.TypeExpr(span, f"list<{type.text}>", "list", args=(type,))
        return whole if self.fits(whole, (type,)) else ast.TypeExpr(span, "text", "text")

    def bounds(self, low: ast.Expr, _dots: int, high: ast.Expr) -> tuple[ast.Expr | None, ast.Expr | None]:
        return low, high

    def bounds_low(self, low: ast.Expr, _dots: int) -> tuple[ast.Expr | None, ast.Expr | None]:
        return low, None

    def bounds_high(self, _dots: int, high: ast.Expr) -> tuple[ast.Expr | None, ast.Expr | None]:
        return None, high

    def minus_number(self, minus: int, token: int) -> ast.Expr:
        number = self.number(token)
        if not isinstance(number, ast.Quantity):
            return number
        return replace(number, span=self.span(minus, token), value=-number.value, text="-" + number.text)

    def first_text(self, token: int) -> list[ast.Text]:
        return [self.plain_text(token)]

    def more_texts(self, texts: list[ast.Text], _comma: int, token: int) -> list[ast.Text]:
        texts.append(self.plain_text(token))
        return texts

    # --- single values ------------------------------------------------------------------------------------------------

    def number(self, token: int) -> ast.Expr:
        start, end = self.starts[token], self.ends[token]
        span = Span(self.path, start, end)
        text = self.source[start:end]
        read = read_number(text)
        if isinstance(read, BadNumber):
            if (word := self.bare_word(start)) is not None:
                at, to = word
                if at in self.words:
                    return ast.BadExpr(span)
                self.words.add(at)
                displayed = self.source[at:to]
                self.say(
                    "A002",
                    f"`{displayed}` is text and needs quotes",
                    at,
                    to,
                    help="put it into double quotes",
                    edit=f'"{displayed}"',
                )
                return ast.BadExpr(span)
            self.say(read.code, read.headline, start, end, help=read.help, edit=read.better)
            return ast.BadExpr(span)
        return ast.Quantity(span, read.kind, read.value, text, read.unit)

    def bare_word(self, number: int) -> tuple[int, int] | None:
        """The word without quotes that a bad number is part of: `gpt-4o-2024-08-06`."""
        line = self.source.rfind("\n", 0, number) + 1
        before = re.search(r"[A-Za-z][\w./:@-]*[-/:@.]$", self.source[line:number])
        after = re.compile(r"[\w./:@-]+").match(self.source, number)
        return None if before is None or after is None else (line + before.start(), after.end())

    def plain_text(self, token: int) -> ast.Text:
        start, end = self.starts[token], self.ends[token]
        literal = self.source[start:end]
        value, bad = unescape(literal)
        if bad:
            at, to = start + bad.start, start + bad.end
            sign = self.source[at:to]
            if bad.surrogate:
                self.say(
                    "A010",
                    f"`{sign}` is one half of a character and stands alone",
                    at,
                    to,
                    help="a character beyond U+FFFF is two such halves, or the character itself",
                )
            else:
                self.say(
                    "A010",
                    f"`{sign}` is not an escape",
                    at,
                    to,
                    edit="\\" + sign,
                    help=f'for a backslash write `\\{sign}`; the escapes are \\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX',
                )
        return ast.Text(Span(self.path, start, end), value)

    string = plain_text

    def text_block(self, token: int) -> ast.Text:
        start, end = self.starts[token], self.ends[token]
        literal = self.source[start:end]
        template = literal.startswith("jinja")
        opened = literal.index("\n")
        quotes = literal[:opened].count('"')
        block = dedent(literal, quotes)
        if (bad := block.problem) is not None:
            closing = Span(self.path, end - quotes, end)
            self.say(
                "A008",
                (
                    "tabs and spaces are mixed in the indentation of this text block"
                    if bad.tabs
                    else "this line is indented less than the closing quotes"
                ),
                start + bad.start,
                start + bad.end,
                label="" if bad.lines == 1 else f"and {bad.lines - 1} more line{'s' * (bad.lines > 2)}",
                labels=(Label(closing, "the indentation of these quotes is taken off every line"),),
                help=(
                    "indent it like the closing quotes"
                    if bad.tabs
                    else "indent the line more, or the closing quotes less"
                ),
            )
        form: Literal["block", "template"] = "template" if template else "block"
        offsets = tuple(start + o for o in block.offsets)
        return ast.Text(Span(self.path, start, end), block.value, form, offsets)

    def true(self, token: int) -> ast.Expr:
        return ast.Bool(self.span(token, token), True)

    def false(self, token: int) -> ast.Expr:
        return ast.Bool(self.span(token, token), False)

    def null(self, token: int) -> ast.Expr:
        return ast.Null(self.span(token, token))

    def name(self, token: int) -> ast.Expr:
        start, end = self.starts[token], self.ends[token]
        return ast.Name(Span(self.path, start, end), self.source[start:end])

    def bad_value(self, token: int) -> ast.Expr:
        return ast.BadExpr(self.span(token, token))

    # --- composed values ----------------------------------------------------------------------------------------------

    def member(self, base: ast.Expr, _dot: int, name: int) -> ast.Expr:
        ident = self.ident(name)
        return self.deep(ast.Member(Span(self.path, base.span.start, ident.span.end), base, ident), base)

    def index(self, base: ast.Expr, _open: int, index: ast.Expr, close: int) -> ast.Expr:
        span = Span(self.path, base.span.start, self.ends[close])
        return self.deep(ast.Index(span, base, index), base, index)

    def call(self, name: int, _open: int, args: list[ast.Argument], close: int, last: int = -1) -> ast.Expr:
        span = self.span(name, close if last < 0 else last)
        return self.deep(ast.Call(span, self.ident(name), tuple(args)), *(a.value for a in args))

    def call_empty(self, name: int, _open: int, close: int) -> ast.Expr:
        return ast.Call(self.span(name, close), self.ident(name), ())

    def argument(self, value: ast.Expr) -> ast.Argument:
        return ast.Argument(value.span, None, value)

    def named_argument(self, name: int, _eq: int, value: ast.Expr) -> ast.Argument:
        ident = self.ident(name)
        return ast.Argument(Span(self.path, ident.span.start, value.span.end), ident, value)

    def parens(self, open: int, value: ast.Expr, close: int) -> ast.Expr:
        return self.deep(replace(value, span=self.span(open, close)), value)

    def list_(self, open: int, items: list[ast.Expr], close: int) -> ast.Expr:
        return self.deep(ast.ListExpr(self.span(open, close), tuple(items)), *items)

    def list_comma(self, open: int, items: list[ast.Expr], _comma: int, close: int) -> ast.Expr:
        return self.deep(ast.ListExpr(self.span(open, close), tuple(items), True), *items)

    def list_empty(self, open: int, close: int) -> ast.Expr:
        return ast.ListExpr(self.span(open, close), ())

    def record(self, open: int, fields: list[ast.RecordField | None], close: int) -> ast.Expr:
        span = self.span(open, close)
        good = tuple(f for f in fields if f is not None)
        # A record that lacks what did not parse is not the one that was written: it silences what reads it.
        if len(good) < len(fields):
            return ast.BadExpr(span)
        return self.deep(ast.Record(span, good), *(f.value for f in good))

    def entry(self, name: int, _eq: int, value: ast.Expr) -> ast.RecordField:
        ident = self.quoted(name)[0] if self.source[self.starts[name]] == '"' else self.ident(name)
        return ast.RecordField(Span(self.path, ident.span.start, value.span.end), ident, value)

    def bad_entry(self, _item: ast.BadItem | int) -> None:
        return None

    def interval(self, low: ast.Expr, _dots: int, high: ast.Expr) -> ast.Expr:
        return self.deep(ast.Interval(Span(self.path, low.span.start, high.span.end), low, high), low, high)

    # --- operators ----------------------------------------------------------------------------------------------------

    def unary(self, op: int, operand: ast.Expr) -> ast.Expr:
        span = Span(self.path, self.starts[op], operand.span.end)
        return self.deep(ast.Unary(span, cast(Any, self.text(op)), operand), operand)

    def binary(self, left: ast.Expr, op: int, right: ast.Expr) -> ast.Expr:
        start, end = self.starts[op], self.ends[op]
        return self._binary(left, self.source[start:end], Span(self.path, start, end), right)

    compare = binary

    def not_in(self, left: ast.Expr, first: int, last: int, right: ast.Expr) -> ast.Expr:
        return self._binary(left, "not in", self.span(first, last), right)

    def _binary(self, left: ast.Expr, op: str, op_span: Span, right: ast.Expr) -> ast.Expr:
        # A word of the recovery (`&&`) has the place of what was written; its kind decides.
        op = {"&&": "and", "&": "and", "||": "or", "|": "or"}.get(op, op)
        span = Span(self.path, left.span.start, right.span.end)
        return self.deep(ast.Binary(span, cast(Any, op), left, right, op_span), left, right)


def _text(value: ast.Expr) -> str:
    return value.text if isinstance(value, ast.Quantity) else ""
