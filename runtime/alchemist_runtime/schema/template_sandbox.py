"""The jinja2 that templates run in: compiling evaluates nothing, and a text has limits of work and size.

jinja2 folds constants while it compiles: to look at `{{ 9 ** 9 ** 9 }}` would be to compute it. Here every expression
waits for a row. Over a row, loops and calls are counted, and what can grow a value is measured before it is done. Both
are counts and not seconds, so that a template that passes on one machine passes on all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from functools import cache, wraps
from typing import Any, Final

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.meta import TrackingCodeGenerator
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import pass_context

#: Passes of loops and calls that one text may take; a long body of a loop and the call of a macro count as several.
WORK: Final = 1_000_000
#: Characters of a text, or elements of a list, that a template may make.
SIZE: Final = 16 << 20
_BITS: Final = 100_000  # of a whole number
#: Levels of an expression or of blocks in each other: with more, neither jinja2 nor Python compiles them.
LEVELS: Final = 100
BLOCKS: Final = 16

_WIDTH: Final = re.compile(r"(?:%(?:\(\w*\))?[-+ #0]*|[:.][^\s{}:.%\d]*0*)(\d+)")
_ASKED: Final = re.compile(r"%(?:\(\w*\))?[-+ #0]*(?:\d*\.)?\*|\{[^{}]*:[^{}]*\{")
_BRANCHES: Final = nodes.For, nodes.If, nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.With


class Limited(SecurityError):
    """A template asks for more than a text may take."""


# --- compiling --------------------------------------------------------------------------------------------------------


class _Unfolded(CodeGenerator):
    """Compiles every expression as it stands, and hands what loops go over to the environment."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.optimizer = None

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)

    def visit_EvalContextModifier(self, node: nodes.EvalContextModifier, frame: Frame) -> None:
        if not all(isinstance(option.value, nodes.Const) for option in node.options):
            self.fail("`autoescape` takes `true` or `false`", node.lineno)
        super().visit_EvalContextModifier(node, frame)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:
        size = sum(1 + len(getattr(part, "data", "")) for part in node.find_all(nodes.Node))
        provided = [node.iter, nodes.Const(1 + size // 32)]
        node.iter = _method("passes", provided, node.lineno)
        super().visit_For(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.visit_Call(_method("joined", node.nodes, node.lineno), frame)


class _Names(_Unfolded, TrackingCodeGenerator):
    """Notes the names that a template reads."""


def _method(name: str, args: list[Any], line: int) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), args, [], None, None, lineno=line)


def undeclared(tree: nodes.Template) -> set[str]:
    """The variables that a template reads from outside; TemplateAssertionError where it does not compile."""
    found = _Names(tree.environment)
    found.visit(tree)
    return found.undeclared_identifiers


def too_deep(tree: nodes.Template) -> nodes.Node | None:
    """The first node that stands deeper than a template may go, None where there is none."""
    row: list[tuple[nodes.Node, int]] = [(tree, 0)]
    for level in range(10 * LEVELS):
        row = [
            (child, blocks + isinstance(child, _BRANCHES)) for node, blocks in row for child in node.iter_child_nodes()
        ]
        if not row:
            return None
        deepest, blocks = max(row, key=lambda found: found[1])
        if level >= LEVELS or blocks > BLOCKS:
            return deepest
    return None


# --- rendering --------------------------------------------------------------------------------------------------------


class _Counted(Context):
    """What one text has taken so far."""

    work = 0
    size = 0

    def worked(self, amount: int = 1) -> None:
        self.work += amount
        if self.work > WORK:
            raise Limited(f"it takes more than {WORK:,} passes and calls for one text")

    def wrote(self, text: str) -> str:
        self.size += len(text)
        _check(self.size)
        return text


class Sandbox(ImmutableSandboxedEnvironment):
    """jinja2's sandbox without folding and with limits. It takes what jinja2's takes."""

    code_generator_class = _Unfolded
    context_class = _Counted
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, *args: Any, finalize: Callable[[Any], Any] | None = None, **kw: Any) -> None:
        @pass_context
        def shown(context: _Counted, value: Any) -> str:
            return context.wrote(_text(value if finalize is None else finalize(value)))

        super().__init__(*args, finalize=shown, **kw)
        self.filters |= {name: bounded(name, self.filters[name]) for name in _FILTERS}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        deep = too_deep(tree)
        if deep is not None:
            raise TemplateSyntaxError("it is nested too deeply", deep.lineno, name, filename)
        return tree

    @pass_context
    def passes(self, context: _Counted, values: Iterable[Any], weight: int) -> Iterator[Any]:
        """The values that a loop goes over, each counted."""
        for value in values:
            context.worked(weight)
            yield value

    @pass_context
    def joined(self, context: _Counted, *parts: Any) -> str:
        """`a ~ b`."""
        texts = [_text(part) for part in parts]
        _check(sum(map(len, texts)))
        return "".join(texts)

    def call(self, context: _Counted, obj: Any, /, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        context.worked(8 if isinstance(obj, Macro) else 1)
        if isinstance(obj, LoopContext) and args:  # of a recursive loop
            args = (self.passes(context, args[0], 1), *args[1:])
        owner = getattr(obj, "__self__", None)
        name = getattr(obj, "__name__", "")
        if isinstance(owner, str | bytes | int) and name in _METHODS:
            _check(_METHODS[name](owner, *args, *kwargs.values()))
        result = super().call(context, obj, *args, **kwargs)
        return context.wrote(result) if isinstance(obj, Macro) else result

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def checked(*args: Any, **kwargs: Any) -> str:
            _check_format(value.__self__, [*args, *kwargs.values()])
            return wrapped(*args, **kwargs)

        return checked

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            _check_format(left, right if isinstance(right, tuple) else [right])
        elif operator == "+" and isinstance(left, Sized) and isinstance(right, Sized):
            _check(len(left) + len(right))
        elif operator == "*":
            _check_product(left, right)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            _check(left.bit_length() * max(right, 0), _BITS)
        return super().call_binop(context, operator, left, right)


@cache
def chat_renderer() -> Callable[..., Any]:
    """`render_jinja_template` of transformers, whose templates are compiled in this sandbox."""
    from transformers.utils import chat_template_utils

    theirs: Any = chat_template_utils
    theirs.ImmutableSandboxedEnvironment = Sandbox
    render: Callable[..., Any] = theirs.render_jinja_template
    return render


def _check(size: float, limit: int = SIZE) -> None:
    if size > limit:
        what = "a number of too many digits" if limit == _BITS else f"more than {SIZE:,} characters"
        raise Limited(f"it makes {what}")


def _check_product(left: Any, right: Any) -> None:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, int) and isinstance(other, Sized):
            _check(one * len(other))
    if isinstance(left, int) and isinstance(right, int):
        _check(left.bit_length() + right.bit_length(), _BITS)


def _check_format(text: str, given: Iterable[Any]) -> int:
    """Widths that a format names itself, and those that it takes from its values."""
    _check(sum(float(width) for width in _WIDTH.findall(text)))
    if _ASKED.search(text):
        values = (v for g in given for v in (g.values() if isinstance(g, Mapping) else [g]))
        _check(sum(abs(value) for value in values if isinstance(value, int)))
    return 0


def _text(value: Any) -> str:
    """A value as a template prints it. Lists that hold each other many times over are small, and their text is not."""
    if isinstance(value, str):
        return value
    _check(_extent(value))
    return str(value)


def _extent(value: Any) -> int:
    """The characters and elements of a value, each as often as it would be printed, up to a little over the limit."""
    found, seen, left = 0, 0, [value]
    while left and found <= SIZE:
        one = left.pop()
        seen += 1
        found += len(one) if isinstance(one, str) else 1 if seen < WORK else SIZE
        if isinstance(one, Mapping):
            left += (*one.keys(), *one.values())
        elif isinstance(one, list | tuple | set | frozenset):
            left += one
    return found


# --- what grows -------------------------------------------------------------------------------------------------------


def _widest(*given: Any) -> int:
    return max((abs(n) for n in given[1:] if isinstance(n, int)), default=0)


def _lines(text: Any, width: Any = 4, *_: Any) -> int:
    return (str(text).count("\n") + 1) * (width if isinstance(width, int) else len(str(width)))


def _replaced(text: Any, old: Any, new: Any, *_: Any) -> int:
    return int(len(text) + text.count(old) * len(new))


def _tabs(text: Any, size: int = 8) -> int:
    return len(text) * size


def _wrapped(text: Any, *more: Any) -> int:
    return len(text) * max((len(m) for m in more if isinstance(m, str)), default=1)


def _written(value: Any, *more: Any) -> int:
    return _extent(value) * (1 + _widest(value, *more))


def _strung(between: Any, parts: Any) -> int:
    return _extent(parts) + len(between) * len(parts) if isinstance(parts, Sized) else 0


#: How large what a method of a text or number gives may become, by its arguments; the same for filters.
_METHODS: Final[dict[str, Callable[..., int]]] = {
    **dict.fromkeys(("center", "ljust", "rjust", "zfill", "to_bytes"), _widest),
    "expandtabs": _tabs,
    "replace": _replaced,
    "join": _strung,
}
_FILTERS: Final[dict[str, Callable[..., int]]] = {
    "center": _widest,
    "batch": lambda *given: 64 * _widest(*given),
    "slice": lambda *given: 64 * _widest(*given),
    "round": lambda *given: 64 * _widest(*given),
    "indent": _lines,
    "replace": lambda text, old, new, *_: _replaced(str(text), str(old), str(new)),
    "join": lambda parts, between="", *_: _strung(str(between), parts),
    "wordwrap": _wrapped,
    "tojson": _written,
    "pprint": _written,
    "string": _extent,
    "format": lambda text, *given: _check_format(str(text), given),
}


def bounded(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that looks first at how much it would make."""
    passed = int(hasattr(filter_, "jinja_pass_arg"))

    @wraps(filter_)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if name == "join" and not isinstance(args[passed], Sized):
            args = (*args[:passed], list(args[passed]), *args[passed + 1 :])
        _check(_FILTERS[name](*args[passed:], *kwargs.values()))
        return filter_(*args, **kwargs)

    return checked
