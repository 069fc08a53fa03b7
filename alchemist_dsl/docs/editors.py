"""Word lists of the editor grammars, written from the language's own tables.

`python -m alchemist_dsl.docs.editors --write` puts them into `grammar/`; `--check` says which files are stale.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pygments.lexer import RegexLexer, bygroups, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text, Whitespace

from alchemist_dsl.docs.words import vocabulary

_GRAMMARS: Final = Path(__file__).resolve().parents[2] / "grammar"
_TEXTMATE: Final = "recipe.tmLanguage.json"
_HIGHLIGHTS: Final = "tree-sitter-recipe/queries/highlights.scm"
_MARKS: Final = ("; words: begin (python -m alchemist_dsl.docs.editors --write)\n", "; words: end\n")


def files(root: Path) -> dict[Path, str]:
    """The generated files and what they must hold; two of them keep what was written by hand around the words."""
    words = vocabulary()
    textmate, highlights = root / _TEXTMATE, root / _HIGHLIGHTS
    return {
        textmate: _textmate(textmate.read_text("utf-8"), words),
        highlights: _highlights(highlights.read_text("utf-8"), words),
        root / "tree-sitter-recipe/words.json": json.dumps(words, indent=2) + "\n",
        root / "tree-sitter-recipe/src/words.h": _header(words),
    }


def _any(words: list[str]) -> str:
    """A regular expression for any of these, longer ones first, so that none hides behind its own beginning."""
    return "|".join(re.escape(w) for w in sorted(words, key=lambda w: (-len(w), w)))


def _patterns(words: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    kinds = _any([*words["kinds"], *words["blocks"]])
    yield "kind", rf'^\s*({kinds})(?:\s+([A-Za-z_]\w*)|\s+("[^"\\]*"))?\s*(?=\{{)'
    yield "attribute", rf"(?:^|(?<=[{{,]))\s*({_any(words['attributes'])})(?=\s*=(?!=))"
    yield "function", rf"(?<![\w.])({_any(words['functions'])})(?=\s*\()"
    yield "type", rf"(:)\s*({_any(words['types'])})\b"
    yield "top", rf"^\s*({_any(words['top'])})\b(?!\s*[=.{{])"
    yield "statement", rf"(?<![\w.])({_any(words['statements'])})\b"
    yield "operator", rf"(?<![\w.])({_any(words['operators'])})\b"
    yield "value", rf"(?<![\w.])({_any(words['values'])})\b"
    number = r"\$?[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][+-]?[0-9]+)?"
    yield (
        "number",
        rf"(?:(?<![\w.])|(?<=\.\.))({number})({_any(words['suffixes'])})?(?![\w%])"
        rf"(?:[ \t]+({_any(words['units'])})\b)?(/(?:{_any(words['times'])})(?![\w(]))?",
    )


def _textmate(text: str, words: dict[str, list[str]]) -> str:
    grammar = json.loads(text)
    for name, pattern in _patterns(words):
        grammar["repository"][name]["match"] = pattern
    return json.dumps(grammar, indent=2, ensure_ascii=False) + "\n"


def _highlights(text: str, words: dict[str, list[str]]) -> str:
    begin, end = _MARKS
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + "\n".join(_queries(words)) + "\n" + end + after


def _queries(words: dict[str, list[str]]) -> Iterator[str]:
    yield _query("(block kind: (identifier) @keyword)", words["kinds"] + words["blocks"])
    yield _query("(assignment name: (path . (identifier) @attribute .))", words["attributes"])
    yield _query("(call function: (identifier) @function.builtin)", words["functions"])
    yield _query("(type (path . (identifier) @type.builtin .))", words["types"])
    for node in ("bounded_type", "choice_type", "list_type"):
        yield _query(f"({node} base: (identifier) @type.builtin)", words["types"])
    for part, capture in (("top", "@keyword.import"), ("statements", "@keyword"), ("operators", "@keyword.operator")):
        yield "[" + " ".join(f'"{w}"' for w in words[part]) + f"] {capture}"


def _query(node: str, words: list[str]) -> str:
    capture = re.search(r"@[\w.]+", node)
    assert capture is not None
    listed = " ".join(f'"{w}"' for w in dict.fromkeys(words))
    return f"({node}\n  (#any-of? {capture[0]} {listed}))"


def _header(words: dict[str, list[str]]) -> str:
    times = ", ".join(f'"{w}"' for w in words["times"])
    made_by = "// Made by `python -m alchemist_dsl.docs.editors --write`."
    return f"{made_by}\nstatic const char *const TIMES[] = {{{times}}};\n"


def stale(root: Path = _GRAMMARS) -> list[Path]:
    """The generated files that do not hold what they must."""
    return [p for p, text in files(root).items() if not p.exists() or p.read_text("utf-8") != text]


def main(arguments: list[str]) -> int:
    """Write the files, or name those that are stale."""
    if arguments not in (["--write"], ["--check"]):
        sys.stderr.write("usage: python -m alchemist_dsl.docs.editors --write | --check\n")
        return 2
    found = stale()
    for path in found:
        if arguments == ["--write"]:
            path.write_text(files(_GRAMMARS)[path], "utf-8")
        else:
            sys.stderr.write(f"{path.relative_to(_GRAMMARS.parent)} is stale: run `make tables`\n")
    return 1 if found and arguments == ["--check"] else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))


# --- pygments lexer --------------------------------------------------------------------------------------------------

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_JINJA_WORDS: Final = (
    *("if", "elif", "else", "endif", "for", "endfor", "in", "recursive", "set", "endset"),
    *("macro", "endmacro", "call", "endcall", "filter", "endfilter", "raw", "endraw"),
    *("with", "endwith", "and", "or", "not", "is"),
)
#: How many quotes may open a template that is coloured inside; a text with more is one string.
_QUOTES: Final = (3, 4, 5)


def _number(known: dict[str, list[str]]) -> str:
    units, times = "|".join(known["units"]), "|".join(known["times"])
    return (
        r"(\$?[0-9](?:[eE][+-][0-9]|[A-Za-z0-9_%]|\.[0-9])*)"
        rf"(?:([ \t]+)({units})(?![A-Za-z0-9_]))?(/(?:{times})(?![A-Za-z0-9_(]))?"
    )


def _template(quotes: int) -> tuple[str, Any, str]:
    close = rf'(?=(?:[^\n]*\n)*?[^\S\n]*"{{{quotes}}}(?!"))'
    return (
        rf'(jinja)("{{{quotes}}})([^\S\n]*\n){close}',
        bygroups(String.Affix, String.Heredoc, Whitespace),
        f"template{quotes}",
    )


def _inside(quotes: int) -> list[Any]:
    return [
        (rf'^[^\S\n]*"{{{quotes}}}(?!")', String.Heredoc, "#pop"),
        (r"\{#(?s:.*?)#\}", Comment.Multiline),
        (r"\{\{[-+]?|\{%[-+]?", String.Interpol, "jinja"),
        (r"[^{\n]+", String.Heredoc),
        (r"\n|\{", String.Heredoc),
    ]


def _rules() -> dict[str, list[Any]]:
    known = vocabulary()
    kinds = "|".join([*known["kinds"], *known["blocks"]])
    word = known.__getitem__
    return {
        "root": [
            (r"\n", Whitespace),
            (r"[^\S\n]+", Whitespace),
            (r"##[^\n]*", String.Doc),
            (r"#[^\n]*", Comment.Single),
            *(_template(quotes) for quotes in _QUOTES),
            (r'(?:jinja)?("{3,})[^\S\n]*\n(?:[^\n]*\n)*?[^\S\n]*\1(?!")', String.Heredoc),
            (r'"', String.Double, "string"),
            (
                rf"^([^\S\n]*)({kinds})([^\S\n]+)({_NAME})(?=[^\S\n]*\{{)",
                bygroups(Whitespace, Keyword.Declaration, Whitespace, Name.Class),
            ),
            (rf"({kinds})(?=(?:[^\S\n]+\"[^\"\n]*\")?[^\S\n]*\{{)", Keyword.Declaration),
            (words(word("top"), prefix=r"^", suffix=r"\b(?![^\S\n]*[=.{])"), Keyword.Namespace),
            (rf"(as)([^\S\n]+)({_NAME})", bygroups(Keyword, Whitespace, Name.Label)),
            (words(word("statements"), prefix=r"(?<!\.)\b", suffix=r"\b"), Keyword),
            (words(word("operators"), prefix=r"(?<!\.)\b", suffix=r"\b"), Operator.Word),
            (words(word("values"), prefix=r"(?<!\.)\b", suffix=r"\b"), Keyword.Constant),
            (rf"(:)([^\S\n]*)({'|'.join(word('types'))})\b", bygroups(Punctuation, Whitespace, Keyword.Type)),
            (words(word("functions"), prefix=r"(?<!\.)\b", suffix=r"(?=\()"), Name.Builtin),
            (words(word("attributes"), prefix=r"(?<![.\w])", suffix=r"(?=[^\S\n]*=(?!=))"), Name.Attribute),
            (_number(known), bygroups(Number, Whitespace, Keyword.Type, Keyword.Type)),
            (_NAME, Name),
            (r"\.\.|[=!<>]=|[-+*/=<>?]", Operator),
            (r"[{}\[\](),.:]", Punctuation),
        ],
        "string": [
            (r'[^"\\\n]+', String.Double),
            (r"\\(?:u[0-9A-Fa-f]{4}|[^\n])", String.Escape),
            (r'"', String.Double, "#pop"),
            (r"(?=\n)", Text, "#pop"),
            (r"\\", String.Double),
        ],
        **{f"template{quotes}": _inside(quotes) for quotes in _QUOTES},
        "jinja": [
            (r"[-+]?(?:\}\}|%\})", String.Interpol, "#pop"),
            (r'(?=^[^\S\n]*"{3,}[^\S\n]*$)', Text, "#pop"),
            (r"\n|[^\S\n]+", Whitespace),
            (r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'", String.Double),
            (words(_JINJA_WORDS, prefix=r"\b", suffix=r"\b"), Keyword),
            (r"(\|)(\s*)(\w+)", bygroups(Operator, Whitespace, Name.Function)),
            (r"[0-9]+(?:\.[0-9]+)?", Number),
            (r"\w+", Name.Variable),
            (r"[-+*/%~=!<>|]+?", Operator),
            (r"[^\s\w]", Punctuation),
        ],
    }


class RecipeLexer(RegexLexer):  # type: ignore[misc]
    """Recipes of alchemist. What is no part of the language becomes an error token."""

    name = "Recipe"
    aliases = ("recipe", "alchemist")
    filenames = ("*.recipe",)
    mimetypes = ("text/x-recipe",)
    tokens = _rules()
