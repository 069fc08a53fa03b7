"""Checks jinja templates inside recipes: syntax, variables and filters, each at its exact place in the recipe."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

from alchemist_dsl.checker.problems import Problems, did_you_mean, listed
from alchemist_dsl.checker.types import family, fields
from alchemist_dsl.diagnostics.model import Label
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

if TYPE_CHECKING:
    from jinja2 import Environment, TemplateSyntaxError, nodes
    from jinja2.parser import Parser

#: Globals of jinja that a template may use; none of them reads anything from outside.
GLOBALS = frozenset({"range", "dict", "namespace", "cycler", "joiner"})
_DEEP: Final = "it is nested too deeply"


@dataclass(frozen=True, slots=True)
class Variables:
    """What a template may read. `places`: where a variable is declared, for labels."""

    types: Mapping[str, str]
    open: bool = False
    what: str = "rows"  # "the prompt `alchemist`", "rows of `clean`"
    noun: str = "column"
    places: Mapping[str, Span] = field(default_factory=dict)
    chat: bool = False  # a chat template, in which `{% generation %}` marks what the model writes


def check_template(text: ast.Text, known: Variables, problems: Problems) -> tuple[str, ...] | None:
    """The variables that a template reads, sorted; None where an error was reported."""
    if not any(mark in text.value for mark in ("{{", "{%", "{#")):
        return ()
    return _Template(text, known, problems).run()


class Pos(int):
    """A line number that remembers the offset of its token in the template."""

    offset: int

    def __new__(cls, line: int, offset: int) -> Pos:
        result = super().__new__(cls, line)
        result.offset = offset
        return result


class _Template:
    def __init__(self, text: ast.Text, known: Variables, problems: Problems) -> None:
        self.text, self.known, self.problems = text, known, problems
        self.ok = True

    def run(self) -> tuple[str, ...] | None:
        tree, seen = read_template(self.text.value)
        if isinstance(tree, Exception):
            self._syntax(tree, seen)
            return None
        self._forbidden(tree)
        self._filters(_environment(), tree)
        if not self.ok:
            return None
        return self._variables(tree)

    def _syntax(self, error: TemplateSyntaxError, seen: _Seen) -> None:
        """A syntax error in plain words; what is never closed is shown where it opens."""
        message = (error.message or "does not parse").rstrip(".")
        at = getattr(error.lineno, "offset", None)
        tag = re.match(r"Encountered unknown tag '(\w+)'", message)
        inner = re.search(r"needs to be closed is '(\w+)'", message)
        text, open_at = self.text.value, seen.open_at
        if tag is not None:
            word = tag[1]
            closes = f"`{word}` closes nothing here" if word.startswith("end") else f"there is no tag `{word}`"
            inside = f"; the innermost open block is `{inner[1]}`" if inner else ""
            self._fail("A401", closes + inside, self._word(word, at or 0), len(word))
            return
        never = message.lower().startswith("unexpected end of template")
        if seen.tag is not None and message.startswith("expected token 'end of"):
            never = at is None or "\n" in text[seen.tag : at]
        if never and open_at is not None:
            self._fail("A401", "this is opened and never closed", open_at, 2)
            return
        for jinja, plain in (("'end of print statement'", "`}}`"), ("'end of statement block'", "`%}`")):
            message = message.replace(jinja, plain)
        self._fail(
            "A401",
            f"the template does not parse: {_lower(message)}",
            seen.end if at is None else at,
            help="give parts of it names of their own: `{% set part = … %}`" if message == _DEEP else None,
        )

    def _fail(self, code: str, headline: str, at: int, length: int = 1, **kw: Any) -> None:
        self.ok = False
        self.problems.add(code, headline, self.place(at, length), **kw)

    def place(self, at: int, length: int) -> Span:
        """The span in the recipe of a range of the template."""
        return template_span(self.text, at, length)

    def _forbidden(self, tree: nodes.Template) -> None:
        from jinja2 import nodes as n

        for node in tree.find_all((n.Include, n.Import, n.FromImport, n.Extends)):
            word = {"FromImport": "from", "Import": "import"}.get(type(node).__name__, type(node).__name__.lower())
            self._fail(
                "A401",
                f"a template cannot `{word}` another one",
                _offset(node),
                note="a prompt is one text, so that its digest says what was asked",
            )
        if self.known.chat:
            return
        for node in tree.find_all((n.Break, n.Continue)):
            word = type(node).__name__.lower()
            self._fail("A401", f"there is no tag `{word}`", _offset(node), len(word))
        for node in tree.find_all(n.Scope):
            if type(node) is not n.Scope:  # `autoescape`
                continue
            self._fail(
                "A401",
                "`generation` marks what the model writes, in the `chat_template` of a training only",
                _offset(node),
            )

    def _filters(self, env: Environment, tree: nodes.Template) -> None:
        from jinja2 import nodes as n

        for node in tree.find_all((n.Filter, n.Test)):
            assert isinstance(node, n.Filter | n.Test)
            what, known = ("filter", env.filters) if isinstance(node, n.Filter) else ("test", env.tests)
            if node.name not in known:
                at = self._word(node.name, _offset(node))
                span = self.place(at, len(node.name))
                text, edit = did_you_mean(node.name, [k for k in known if k.isidentifier()], span)
                self._fail("A405", f"there is no {what} `{node.name}`", at, len(node.name), help=text, edit=edit)

    def _variables(self, tree: nodes.Template) -> tuple[str, ...] | None:
        from jinja2 import TemplateAssertionError
        from jinja2 import nodes as n

        try:
            names = _undeclared(self.text.value)
        except TemplateAssertionError as error:  # blocks twice, unknown tests in odd places
            self._fail("A401", f"the template does not compile: {error.message}", 0)
            return None
        for node in tree.find_all(n.Name):
            assert isinstance(node, n.Name)
            if node.ctx == "load" and node.name in names and not self._knows(node.name):
                self._unknown(node.name, self._word(node.name, _offset(node)))
        for part in tree.find_all(n.Getattr):
            self._attribute(part, names)
        return tuple(sorted(names)) if self.ok else None

    def _knows(self, name: str) -> bool:
        return self.known.open or name in self.known.types

    def _attribute(self, node: nodes.Getattr, names: frozenset[str]) -> None:
        from jinja2 import nodes as n

        base = node.node
        if not isinstance(base, n.Name) or base.name not in names or self.known.open:
            return
        type_ = self.known.types.get(base.name, "")
        if family(type_) != "record" or node.attr in fields(type_):
            return
        at = self._word(node.attr, _offset(base) + len(base.name))
        span = self.place(at, len(node.attr))
        text, edit = did_you_mean(node.attr, fields(type_), span)
        self._fail(
            "A402",
            f"`{base.name}` has no field `{node.attr}`",
            at,
            len(node.attr),
            help=text or "fields: " + ", ".join(fields(type_)),
            edit=edit,
        )

    def _unknown(self, name: str, at: int) -> None:
        span = self.place(at, len(name))
        text, edit = did_you_mean(name, self.known.types, span)
        labels: tuple[Label, ...] = ()
        if edit is not None and edit.text in self.known.places:
            labels = (Label(self.known.places[edit.text], "did you mean this one?"),)
            text = f"write `{edit.text}`"
        have = list(self.known.types)
        self._fail(
            "A402",
            f"{self.known.what} {'have' if self.known.noun == 'column' else 'has'} no {self.known.noun} `{name}`",
            at,
            len(name),
            labels=labels,
            help=text,
            edit=edit,
            note=None if text or not have else f"there is {listed(have[:12])}",
        )

    def _word(self, word: str, start: int) -> int:
        """Where a word stands at or after an offset; jinja gives the place of a node's first token only."""
        at = self.text.value.find(word, max(0, start))
        return at if at >= 0 else max(0, start)


def template_span(text: ast.Text, at: int, length: int) -> Span:
    """The span in the recipe of a range of a text: exact for blocks and for strings without escapes."""
    if text.line_offsets:
        before = text.value[:at]
        line = before.count("\n")
        column = at - (before.rfind("\n") + 1)
        if line < len(text.line_offsets):
            start = text.line_offsets[line] + column
            end_of_line = text.value.find("\n", at)
            longest = (end_of_line if end_of_line >= 0 else len(text.value)) - at
            return Span(text.span.file, start, start + max(1, min(length, longest)))
    if text.form == "string" and text.span.end - text.span.start == len(text.value) + 2:
        return Span(text.span.file, text.span.start + 1 + at, text.span.start + 1 + at + length)
    return text.span


class _Seen:
    """What the lexer has passed: where the last token ended, and what is still open."""

    def __init__(self) -> None:
        self.end = 0
        self.blocks: list[int] = []
        self.tag: int | None = None  # of `{{`, `{%` or `{#` that is not closed yet

    @property
    def open_at(self) -> int | None:
        """Where the innermost thing begins that is still open."""
        return self.tag if self.tag is not None else self.blocks[-1] if self.blocks else None


_OPEN = frozenset({"if", "for", "macro", "call", "filter", "block", "with", "autoescape"})
_BEGIN = frozenset({"block_begin", "variable_begin", "comment_begin", "raw_begin"})
_END = frozenset({"block_end", "variable_end", "comment_end", "raw_end"})


def _positions(tokens: Iterator[tuple[int, str, str]], source: str, seen: _Seen) -> Iterator[tuple[int, str, str]]:
    at, first = 0, False
    for line, token, value in tokens:
        found = source.find(value, at)
        start = found if found >= 0 else at
        if token in _BEGIN:
            seen.tag, first = start, token == "block_begin"
        elif first and token == "name":
            first = False
            if value in _OPEN and seen.tag is not None:
                seen.blocks.append(seen.tag)
            elif value.startswith("end") and seen.blocks:
                seen.blocks.pop()
        elif token in _END:
            seen.tag = None
        at = seen.end = start + len(value)
        yield Pos(line, start), token, value


@cache
def _environment() -> Environment:
    from jinja2 import Environment, StrictUndefined, nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        """The marks around a reply that training libraries know in chat templates."""

        tags = {"generation"}  # noqa: RUF012  jinja's own way to say it

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    return Environment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
        # as training libraries read chat templates
        extensions=[Generation, "jinja2.ext.loopcontrols"],
    )


def template_words(what: Literal["filter", "test"]) -> dict[str, Callable[..., Any]]:
    """The filters or tests that a template may use, by name."""
    env = _environment()
    known: dict[str, Any] = {**(env.filters if what == "filter" else env.tests)}
    return {name: known[name] for name in sorted(known) if name.isidentifier()}


@lru_cache(maxsize=2048)
def read_template(source: str) -> tuple[nodes.Template | TemplateSyntaxError, _Seen]:
    """The tree of a template or what is wrong with it. Remembered: an editor checks the same templates at every
    keystroke.
    """
    from alchemist_runtime.schema.template_sandbox import too_deep
    from jinja2 import TemplateSyntaxError

    seen = _Seen()
    try:
        tree = _parse(_environment(), source, seen)
    except TemplateSyntaxError as error:
        return error, seen
    except RecursionError:
        return TemplateSyntaxError(_DEEP, Pos(1, seen.end)), seen
    deep = too_deep(tree)
    return (tree if deep is None else TemplateSyntaxError(_DEEP, deep.lineno)), seen


@lru_cache(maxsize=2048)
def _undeclared(source: str) -> frozenset[str]:
    """The variables that a template without syntax errors reads from outside."""
    from alchemist_runtime.schema.template_sandbox import undeclared

    tree, _ = read_template(source)
    assert not isinstance(tree, Exception)
    return frozenset(undeclared(tree) - GLOBALS)


def _parse(env: Environment, source: str, seen: _Seen) -> nodes.Template:
    from jinja2.lexer import TokenStream
    from jinja2.parser import Parser

    class Positioned(Parser):
        """Jinja's parser over tokens whose line numbers know their offset."""

        def __init__(self) -> None:
            super().__init__(env, "", None, None)
            raw = _positions(env.lexer.tokeniter(source, None, None, None), source, seen)
            self.stream = TokenStream(env.lexer.wrap(raw, None, None), None, None)

    return Positioned().parse()


def _offset(node: nodes.Node) -> int:
    return int(getattr(node.lineno, "offset", 0))


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
