"""What to say, and how to go on, where a text cannot be cut into tokens. Loaded only when something is wrong."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from alchemist_dsl.diagnostics.model import Diagnostic, Edit

if TYPE_CHECKING:
    from alchemist_dsl.syntax.trivia import Tokens

_STRING_REST: Final = re.compile(r'"(?:[^"\\\n]|\\[^\n])*\\?')
_SINGLE: Final = re.compile(r"'((?:[^'\\\n]|\\[^\n])*)(')?")
_CURLY: Final = re.compile(r"[“”„«‘’]([^“”«»‘’\"\n]*)([“”»‘’\"])?")
_TAIL: Final = re.compile(r"[ \t,\])}]*(?:#.*)?$")
_WORD: Final = re.compile(r"\w+")
_LINE_END: Final = re.compile(r"[^\n]*")
_OPERATORS: Final = {
    "&&": ("and", "AND"),
    "||": ("or", "OR"),
    "!": ("not", "NOT"),
    "&": ("and", "AND"),
    "|": ("or", "OR"),
}
_STATEMENT: Final = re.compile(
    r"(?:[A-Za-z_][\w.]*[ \t]*=|[A-Za-z_]\w*[ \t]*[:{]|[A-Za-z_]\w*["
    r" \t]+[A-Za-z_\"][^\n]*\{|\}|(?:set|keep|drop|expect)\b)"
)


def report(
    out: Tokens,
    code: str,
    headline: str,
    start: int,
    end: int,
    label: str = "",
    *,
    note: str | None = None,
    help: str | None = None,
    edit: tuple[int, int, str] | None = None,
) -> None:
    """Add a problem, unless this line has one: what follows the first on a line is mostly its echo."""
    source = out.source
    if out.problems and "\n" not in source.text[out.problems[-1].span.start : start]:
        return
    change = Edit(source.span(edit[0], edit[1]), edit[2]) if edit else None
    out.problems.append(Diagnostic(code, headline, source.span(start, end), label, note=note, help=help, edit=change))


def odd(out: Tokens, start: int) -> int:
    """Report what stands at `start` and begins no token; the offset where scanning goes on."""
    text = out.source.text
    char = text[start]
    if char == '"':
        return _unclosed_string(out, start)
    if char in "'“”„«‘’":
        return _foreign_quotes(out, start)
    if text.startswith("//", start):
        return _slashes(out, start)
    two = text[start : start + 2]
    spelled = two if two in _OPERATORS else char
    if spelled in _OPERATORS:
        word, kind = _OPERATORS[spelled]
        end = start + len(spelled)
        report(
            out,
            "A002",
            f"`{spelled}` is written `{word}` here",
            start,
            end,
            help=f"write `{word}`",
            edit=(start, end, f"{word} " if word == "not" else word),
        )
        out.add(kind, start, end)
        return end
    if char == ";":
        return _semicolon(out, start)
    if char.isspace() or unicodedata.category(char) in ("Cf", "Zs"):
        return _odd_space(out, start)
    return _unknown(out, start)


def _unclosed_string(out: Tokens, start: int) -> int:
    text = out.source.text
    m = _STRING_REST.match(text, start)
    assert m is not None
    end = _before_closers(text, start, m.end())
    if end == start + 1:
        word = re.search(r"[^\s=,(\[{]+$", text[text.rfind("\n", 0, start) + 1 : start])
        if word and text[start - len(word[0]) - 1] == '"':  # `["a, "b"]`: they pair wrongly from the first on
            report(
                out,
                "A007",
                "the quotes on this line do not pair",
                start,
                end,
                "the last one is alone",
                help='look where a text lacks its `"`',
            )
            out.add("BAD_VALUE", start, end)
            return end
        if word:  # `hub = owner/name"`: the quote that is there is the second one
            at = start - len(word[0])
            report(
                out,
                "A007",
                "this quote closes nothing; the text before it has no opening quote",
                start,
                end,
                help='put `"` before the text',
                edit=(at, at, '"'),
            )
            out.add("BAD_VALUE", start, end)
            return end
    rest = text[end : text.find("\n", end) % (len(text) + 1)].strip()
    where = f"before the `{rest[0]}`" if rest else "at the end of the line"
    report(
        out,
        "A007",
        "this string does not end on its line",
        start,
        start + 1,
        label="opened here",
        note='for text over several lines use a block that starts with `"""`',
        help=f'add `"` {where}',
        edit=(end, end, '"'),
    )
    # The name of a block still names it.
    out.add("STRING" if rest == "{" else "BAD_VALUE", start, end)
    return end


def _before_closers(text: str, start: int, end: int) -> int:
    """The end of a string that nothing closes: brackets that were opened before it on its line are not part of it."""
    line = text[text.rfind("\n", 0, start) + 1 : start]
    header = re.search(r"[ \t]*\{[ \t]*$", text[start + 1 : end])
    if header and re.fullmatch(r"[ \t]*\w+(?:[ \t]+[^=:{]*)?", line):
        return start + 1 + header.start()
    wanted = []
    for char in line:
        if char in "([{":
            wanted.append({"(": ")", "[": "]", "{": "}"}[char])
        elif wanted and char == wanted[-1]:
            wanted.pop()
    tail = _TAIL.search(text, start + 1, end)
    at = tail.start() if tail else end
    closers = re.sub(r"[^\])}]", "", text[at:end].split("#")[0])
    if wanted and closers == "".join(reversed(wanted))[: len(closers)]:
        return at
    rest = text[at:end]
    return at + len(rest) - len(rest.lstrip("])}")) if rest.strip(" \t") else at


def _foreign_quotes(out: Tokens, start: int) -> int:
    text = out.source.text
    m = (_SINGLE if text[start] == "'" else _CURLY).match(text, start)
    assert m is not None
    end = m.end()
    if m[2] is None and text[start] == "'":
        end = start + 1
    inner = m[1] if '"' not in m[1] else m[1].replace('"', '\\"')
    edit = (start, end, f'"{inner}"') if m[2] else None
    report(
        out,
        "A002",
        'text is written in straight double quotes, `"…"`',
        start,
        end,
        help=f'write `"{inner}"`' if m[2] and len(inner) <= 40 else 'write `"` on both sides',
        edit=edit,
    )
    out.add("BAD_VALUE", start, end)
    return end


def _slashes(out: Tokens, start: int) -> int:
    text = out.source.text
    m = _LINE_END.match(text, start)
    assert m is not None
    before = text[text.rfind("\n", 0, start) + 1 : start]
    address = re.search(r"([A-Za-z]+):$", before)
    if address:
        at = start - len(address[0])
        m = re.compile(r"[^\s,\])}]*").match(text, start)
        assert m is not None
        report(
            out,
            "A002",
            "an address is text and needs quotes",
            at,
            m.end(),
            help="put it into double quotes",
            edit=(at, m.end(), f'"{text[at : m.end()]}"'),
        )
    else:
        report(out, "A002", "comments start with `#`", start, start + 2, help="write `#`", edit=(start, start + 2, "#"))
    return m.end()


def _semicolon(out: Tokens, start: int) -> int:
    text = out.source.text
    m = _LINE_END.match(text, start + 1)
    last = m is None or not m[0].split("#")[0].strip()
    report(
        out,
        "A002",
        "a line ends a statement; `;` is not used",
        start,
        start + 1,
        help="delete it" if last else "start a new line instead",
        edit=(start, start + 1, "") if last else None,
    )
    return start + 1


def _odd_space(out: Tokens, start: int) -> int:
    char = out.source.text[start]
    if char not in "\r\f\v":
        name = unicodedata.name(char, f"U+{ord(char):04X}").lower()
        displayed = f"here is an invisible character ({name}, U+{ord(char):04X})"
        report(
            out, "A002", displayed, start, start + 1, help="replace it by a plain space", edit=(start, start + 1, " ")
        )
    return start + 1


def _unknown(out: Tokens, start: int) -> int:
    text = out.source.text
    char = text[start]
    m = _WORD.match(text, start)
    if m:
        if out.kinds and out.ends[-1] == start and out.kinds[-1] == "NAME":
            out.kinds.pop()
            out.ends.pop()
            start = out.starts.pop()
        word = text[start : m.end()]
        plain = unicodedata.normalize("NFKD", word.replace("ß", "ss")).encode("ascii", "ignore").decode()
        report(
            out,
            "A002",
            "names are made of the letters a to z, digits and `_`",
            start,
            m.end(),
            help=f"for example `{plain}`" if plain.isidentifier() else 'text is written in quotes, `"…"`',
        )
        out.add("NAME", start, m.end())
        return m.end()
    end = start + 1
    while end < len(text) and text[end] == char:
        end += 1
    displayed = char if char.isprintable() else f"U+{ord(char):04X}"
    hints = {
        "$": "money is written `$30`; a parameter is read as `param.NAME`",
        "`": 'names stand bare, text in double quotes, `"…"`',
        "%": "a percentage is written without a space: `5%`",
        "\\": "a statement that needs several lines goes into parentheses",
        "@": 'text is written in quotes, `"…"`',
    }
    report(out, "A002", f"`{displayed}` has no meaning here", start, end, help=hints.get(char))
    return end


# --- text blocks ------------------------------------------------------------------------------------------------------


def broken_text(out: Tokens, start: int, opened: int, quotes: int) -> int:
    """Report a text block whose quotes are wrong; the offset where scanning goes on."""
    text = out.source.text
    run = text[start:opened][-quotes:]
    line_end = text.find("\n", opened)
    line_end = len(text) if line_end < 0 else line_end
    here = text.find(run, opened, line_end)
    first = text[opened:line_end].strip(" \t")
    if here >= 0:
        end = here + quotes
        template = text.startswith("jinja", start)  # a plain string would keep its `{{ … }}`
        report(
            out,
            "A018",
            "the content of a text block starts on the next line",
            start,
            end,
            help=(
                f"put the template and the closing `{run}` on lines of their own"
                if template
                else 'write a text of one line as `"…"`'
            ),
        )
    elif (late := _late_closer(text, line_end, run)) is not None:
        end = late + quotes
        if first and not first.startswith("#"):
            report(
                out,
                "A018",
                "the content of a text block starts on the next line",
                opened,
                line_end,
                help=f"put what follows `{run}` on a line of its own",
            )
        else:
            report(
                out,
                "A018",
                "the closing quotes of a text block stand on a line of their own",
                late,
                end,
                help=f"put `{run}` on the next line",
            )
    else:
        end = _guess_end(text, start, line_end)
        report(
            out,
            "A006",
            "this text block is never closed",
            start,
            opened,
            label="opened here",
            help=f"add a line with `{run}` after its last line",
        )
    out.add("BAD_VALUE", start, end)
    return end


def two_quotes(out: Tokens, start: int, end: int) -> int:
    """Report `""` where a text block opens; `end` is behind its closing quotes."""
    report(
        out,
        "A018",
        "a text block opens with three quotes",
        start,
        start + 2,
        help='write `"""`',
        edit=(start, start, '"'),
    )
    if out.kinds and out.ends[-1] == start and out.text(-1) == "jinja":
        out.kinds.pop()
        out.ends.pop()
        out.starts.pop()
    out.add("BAD_VALUE", start, end)
    return end


def _late_closer(text: str, line_end: int, run: str) -> int | None:
    """Where the block is closed after all, though not on a line of its own; None where a new block opens first."""
    at = text.find(run, line_end)
    if at < 0:
        return None
    before = text[text.rfind("\n", 0, at) + 1 : at]
    return None if re.search(r"=[ \t]*(?:jinja)?$", before) else at


def _guess_end(text: str, start: int, line_end: int) -> int:
    """The end of the line before the first one that is indented no more than the block's own and reads like recipe."""
    own = text[text.rfind("\n", 0, start) + 1 : start]
    indent = len(own) - len(own.lstrip())
    at = line_end
    while at < len(text):
        end = text.find("\n", at + 1)
        end = len(text) if end < 0 else end
        line = text[at + 1 : end]
        body = line.lstrip()
        if body and len(line) - len(body) <= indent and _STATEMENT.match(body):
            return at
        at = end
    return at
