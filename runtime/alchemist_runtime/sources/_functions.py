"""Documented functions of a Python file, read from its syntax: what is asked for, and the code that answers."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import doctest


Function = ast.FunctionDef | ast.AsyncFunctionDef
#: Decorators of declarations that hold no code of their own.
_EMPTY = frozenset({"overload", "abstractmethod"})
#: Parameters told of in a request; the rest is in the signature.
SHOWN = 8


@dataclass(frozen=True, slots=True)
class Found:
    """A documented object: `owner` is the class of a method, with its docstring."""

    name: str
    line: int
    node: Function | ast.ClassDef
    docstring: str
    owner: ast.ClassDef | None = None

    @property
    def qualname(self) -> str:
        return f"{self.owner.name}.{self.name}" if self.owner else self.name


def documented(tree: ast.Module) -> Iterator[Found]:
    """Public functions, classes and methods with a docstring, in the order of the file."""
    for node in _definitions(tree.body):
        if node.name.startswith("_"):
            continue
        text = ast.get_docstring(node, clean=False)
        if text:
            yield Found(node.name, node.lineno, node, text)
        if isinstance(node, ast.ClassDef):
            for inner in _definitions(node.body):
                text = ast.get_docstring(inner, clean=False)
                if text and not inner.name.startswith("_") and not isinstance(inner, ast.ClassDef):
                    yield Found(inner.name, inner.lineno, inner, text, node)


def _definitions(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    """Definitions of a body, those under `if` and `try` included."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            yield node
        elif isinstance(node, ast.If):
            yield from _definitions(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            yield from _definitions(node.body)


def has_code(node: Function) -> bool:
    """Whether the body does something beyond its docstring: not `pass`, `...` or a bare `raise NotImplementedError`."""
    if any(_decorator(d) in _EMPTY for d in node.decorator_list):
        return False
    body = node.body[1:]
    if len(body) != 1:
        return bool(body)
    only = body[0]
    if isinstance(only, ast.Pass) or (isinstance(only, ast.Expr) and isinstance(only.value, ast.Constant)):
        return False
    return not (isinstance(only, ast.Raise) and only.exc is not None and "NotImplemented" in ast.unparse(only.exc))


def _decorator(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node).rpartition(".")[2]


def code(found: Found, lines: list[str]) -> str:
    """The source of a definition with its decorators, without its indentation."""
    node = found.node
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    margin = lines[node.lineno - 1][: node.col_offset]
    # not `dedent`: a line of a docstring may stand further left than the code around it
    return "".join(x.removeprefix(margin) for x in lines[first - 1 : node.end_lineno]).rstrip() + "\n"


def signature(node: Function) -> str:
    """`name(a, b=1) -> int` as the source has it."""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def request(found: Found, module: str) -> str | None:
    """The words that ask for a function: what to write, what it does, its parameters; None if the docstring says too
    little.
    """
    node = found.node
    doc = read(found.docstring, node.name)
    if doc is None or isinstance(node, ast.ClassDef) or len(doc.summary) < 12:
        return None
    kind = "asynchronous " if isinstance(node, ast.AsyncFunctionDef) else ""
    if found.owner is None:
        opening = f"Write the {kind}Python function `{signature(node)}` for the module `{module}`."
    elif "property" in {_decorator(d) for d in node.decorator_list}:
        opening = f"Write the property `{node.name}` of the Python class `{found.owner.name}`{_about(found.owner)}."
    else:
        opening = (
            f"Write the {kind}method `{signature(node)}` of the Python class `{found.owner.name}`{_about(found.owner)}."
        )
    parts = [opening, doc.prose if doc.prose.endswith((".", "!", "?", "`", ")")) else doc.prose + "."]
    if doc.parameters:
        reported = [f"- {name}: {about}" if about else f"- {name}" for name, about in doc.parameters[:SHOWN]]
        parts.append("It takes:\n" + "\n".join(reported))
    if doc.returns:
        parts.append(f"It returns {doc.returns}")
    return "\n\n".join(parts)


def _about(owner: ast.ClassDef) -> str:
    """What a class is, in a few words, from the first sentence of its docstring."""
    doc = read(ast.get_docstring(owner, clean=False) or "", owner.name)
    if doc is None or len(doc.summary) > 120 or "\n" in doc.summary:
        return ""
    return f" ({doc.summary.rstrip('.')})"


# --- docstrings ------------------------------------------------------------------------------------------------------

#: Longer descriptions are cut at the end of a paragraph.
PROSE_CHARS = 700
_UNDERLINE = re.compile(r"^\s*[-=~]{3,}\s*$")
_ROLE = re.compile(r":(?:[a-z]+:)*[a-z]+:`~?([^`<]+?)(?:\s*<[^`>]*>)?`")
_SECTION = re.compile(
    r"^(?:Args|Arguments|Returns?|Raises|Yields|Examples?|Notes?|Usage|See also|Parameters):{0,2}\s*$", re.I
)
_DIRECTIVE = re.compile(r"^\s*\.\. ")
_FIELD = re.compile(r"^\s*[:@](?:param|type|returns?|rtype|raises?|keyword|arg)\b")


@dataclass(frozen=True, slots=True)
class Doc:
    """Paragraphs of prose; parameters with what is said of them; what is returned."""

    summary: str
    prose: str
    parameters: tuple[tuple[str, str], ...] = ()
    returns: str | None = None


def read(docstring: str, name: str = "") -> Doc | None:
    """The parts of a docstring; None where it says too little to ask for anything. A first line `name(…)` is left
    out.
    """
    lines = inspect.cleandoc(docstring).splitlines()
    if name and lines and re.fullmatch(rf"(?:\w+\.)*{re.escape(name)}\s*\(.*\)(?:\s*->.*)?\.?", lines[0].strip()):
        lines = lines[1:]
    sections = _sections(lines)
    prose = _prose(sections.pop("", []))
    if not prose:
        return None
    parameters = tuple(_entries(sections.get("Parameters", [])))
    provided = _entries(sections.get("Returns", []))
    returns = provided[0] if provided else None
    reported = None if returns is None else (f"{returns[0]}: {returns[1]}" if returns[1] else returns[0])
    return Doc(prose[0], _cut(prose), parameters, reported)


def _sections(lines: list[str]) -> dict[str, list[str]]:
    """Lines by section, as numpydoc underlines them; "" is what stands before the first one."""
    sections: dict[str, list[str]] = {"": []}
    name = ""
    for i, line in enumerate(lines):
        under = lines[i + 1] if i + 1 < len(lines) else ""
        if line.strip() and _UNDERLINE.match(under):
            name = line.strip()
            sections.setdefault(name, [])
        elif not _UNDERLINE.match(line):
            sections[name].append(line)
    return sections


def _prose(lines: list[str]) -> list[str]:
    """Paragraphs of plain sentences up to the first example, field list, directive or section."""
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if (
            line.lstrip().startswith(">>>")
            or _FIELD.match(line)
            or _DIRECTIVE.match(line)
            or _SECTION.match(line.strip())
        ):
            break
        if line.strip():
            paragraphs[-1].append(line.rstrip())
        elif paragraphs[-1]:
            paragraphs.append([])
    return [p for p in (_flow(q) for q in paragraphs if q) if p]


def _flow(lines: list[str]) -> str:
    """A paragraph on one line; where lines are indented (a list, a table, code) it stays as it is."""
    text = "\n".join(lines) if any(x.startswith((" ", "-", "*")) for x in lines[1:]) else " ".join(lines)
    return unmarked(text).replace("::", ":") if text.endswith("::") else unmarked(text)


def unmarked(text: str) -> str:
    """Without the markup of reStructuredText: roles, double back quotes, escapes."""
    text = _ROLE.sub(lambda m: f"`{m[1]}`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text).replace("\\*", "*").replace("\\_", "_").strip()


def _cut(paragraphs: list[str]) -> str:
    kept = [paragraphs[0]]
    for paragraph in paragraphs[1:]:
        if sum(map(len, kept)) + len(paragraph) > PROSE_CHARS:
            break
        kept.append(paragraph)
    while len(kept) > 1 and kept[-1].endswith(":"):  # what it announces is not told
        kept.pop()
    return "\n\n".join(kept).removesuffix(":")


def _entries(lines: list[str]) -> list[tuple[str, str]]:
    """The entries of a numpydoc section: `name : type` and the first sentence of what is said of it."""
    entries: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.strip() and not line.startswith(" "):
            entries.append((unmarked(line.strip()), []))
        elif line.strip() and entries:
            entries[-1][1].append(line.strip())
    return [(_named(head), _first_sentence(" ".join(body))) for head, body in entries]


def _named(head: str) -> str:
    name, colon, type_ = head.partition(" : ")
    return f"`{name.strip()}` ({type_.strip()})" if colon else head


def _first_sentence(text: str) -> str:
    text = unmarked(text)
    end = re.search(r"(?<=[a-z0-9)`])\.(?=\s+[A-Z])", text)
    return text[: end.end()] if end else text


# --- sessions --------------------------------------------------------------------------------------------------------

#: A session that shows more is cut into a first part of so many examples.
EXAMPLES = 12
_OPTION = re.compile(r"\s*#\s*doctest:.*$", re.M)
#: Outputs that differ from run to run, or are not shown as they are.
_UNSURE = re.compile(r"\bmay vary\b|\brandom\b|\b0x[0-9a-f]{6,}\b|\.\.\.|#doctest|\+SKIP", re.I)
_BUILTIN = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True)
class Session:
    line: int  # in the docstring, from 0
    typed: str
    shown: str


def sessions(docstring: str) -> Iterator[Session]:
    """The sessions of a docstring: runs of examples that need nothing from an earlier run, each with some output."""
    for run in _independent(_runs(docstring)):
        kept = run[:EXAMPLES]
        if not any(e.want for e in kept) or any(_unsure(e) for e in kept):
            continue
        typed = "".join(_source(e) for e in kept).rstrip("\n")
        displayed = "".join(_prompted(_source(e)) + _output(e) for e in kept).rstrip("\n")
        yield Session(kept[0].lineno, typed, displayed)


def _runs(docstring: str) -> list[list[doctest.Example]]:
    """Examples that follow each other without prose between them."""
    import doctest  # slow to import, and compilers only read this component's signature

    try:
        pieces = doctest.DocTestParser().parse(docstring)
    except ValueError:  # an example that is not indented as doctest wants it
        return []
    runs: list[list[doctest.Example]] = [[]]
    for piece in pieces:
        if isinstance(piece, doctest.Example):
            runs[-1].append(piece)
        elif piece.strip() and runs[-1]:
            runs.append([])
    return [r for r in runs if r]


def _independent(runs: list[list[doctest.Example]]) -> list[list[doctest.Example]]:
    """Runs that use a name bound by an earlier one are joined with it."""
    out: list[list[doctest.Example]] = []
    bound: list[frozenset[str]] = []
    for run in runs:
        used, binds = _names(run)
        first = next((i for i, names in enumerate(bound) if names & used), None)
        if first is None:
            out.append(run)
            bound.append(binds)
            continue
        out[first:] = [[e for r in out[first:] for e in r] + run]
        bound[first:] = [frozenset().union(*bound[first:], binds)]
    return out


def _names(run: list[doctest.Example]) -> tuple[frozenset[str], frozenset[str]]:
    """Names that a run uses before it binds them, and names that it binds."""
    used: set[str] = set()
    bound: set[str] = set()
    for example in run:
        try:
            tree = ast.parse(example.source)
        except SyntaxError:
            continue
        names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
        used |= {n.id for n in names if isinstance(n.ctx, ast.Load)} - bound
        bound |= {n.id for n in names if isinstance(n.ctx, ast.Store)}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                bound.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                bound |= {(a.asname or a.name).partition(".")[0] for a in node.names}
    return frozenset(used - _BUILTIN), frozenset(bound)


def _unsure(example: doctest.Example) -> bool:
    want = example.want
    if want.startswith("Traceback"):
        want = want.rpartition("\n  ...")[2] if "..." in want.splitlines()[-1] else ""
    return bool(_UNSURE.search(want) or re.search(r"may vary|\+SKIP|random", example.source))


def _source(example: doctest.Example) -> str:
    return _OPTION.sub("", example.source)


def _prompted(source: str) -> str:
    first, *rest = source.rstrip("\n").split("\n")
    lines = [f">>> {first}", *(f"... {x}" if x.strip() else "..." for x in rest)]
    return "\n".join(lines) + "\n"


def _output(example: doctest.Example) -> str:
    return example.want.replace("<BLANKLINE>", "")
