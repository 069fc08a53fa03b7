"""The recipe language for Pygments: docs, rich and everything else that colours code with it."""

from __future__ import annotations

from typing import Any, Final

from pygments.lexer import RegexLexer, bygroups, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text, Whitespace

from alchemist_dsl.docs.vocabulary import vocabulary

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
