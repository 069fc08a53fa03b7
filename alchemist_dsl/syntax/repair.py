"""Balances brackets that do not pair: reports each cause once and puts closers where the writer most likely meant
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alchemist_dsl.diagnostics.model import Diagnostic, Edit, Label
from alchemist_dsl.syntax.grammar import Tables
from alchemist_dsl.syntax.trivia import END, Tokens

_SPELLED: Final = {"LBRACE": "{", "RBRACE": "}", "LSQB": "[", "RSQB": "]", "LPAR": "(", "RPAR": ")"}
_CONTINUES: Final = frozenset(
    {
        "COMMA",
        "LSQB",
        "LPAR",
        "EQ",
        "PLUS",
        "MINUS",
        "STAR",
        "SLASH",
        "AND",
        "OR",
        "NOT",
        "IN",
        "DOT",
        "DOTS",
        "EQUAL",
        "UNEQUAL",
        "LESS",
        "LESSEQ",
        "MORE",
        "MOREEQ",
    }
)
_LOOK_BACK: Final = 500  # tokens; bounds the search, so that a file of stray brackets takes linear time
_WORDS: Final = frozenset({"NAME", "PARAM", "IMPORT", "EDITION"})


@dataclass(slots=True)
class _Open:
    token: int
    closer: str
    indent: int  # of the line that it stands on
    header: str = ""  # `filter clean` before a block's `{`


def repair(raw: Tokens) -> Tokens:
    """The tokens with brackets that pair; what was wrong is added to the problems."""
    return _Repair(raw).run()


class _Repair:
    def __init__(self, raw: Tokens) -> None:
        self.raw = raw
        self.text = raw.source.text
        self.out = Tokens(raw.source, comments=raw.comments, docs=raw.docs, problems=raw.problems)
        self.stack: list[_Open] = []
        self.braces = 0  # on the stack
        self.closed: tuple[str, int] | None = None  # header and `}` of the last block

    def run(self) -> Tokens:
        raw = self.raw
        for i, kind in enumerate(raw.kinds):
            if kind in OPENERS:
                if self._opened_twice(i):
                    continue
                in_block = not self.stack or self.stack[-1].closer == "RBRACE"
                header = self._header() if kind == "LBRACE" and in_block else ""
                self._copy(i)
                self._push(_Open(i, OPENERS[kind], self._indent(i), header))
            elif kind in CLOSERS:
                self._closer(i, kind)
            elif kind == "NEWLINE":
                self._line_end(i)
                self._copy(i)
                self._header_without_brace(i)
            elif kind == END:
                while self.stack:
                    self._unclosed(i)
                self._copy(i)
            else:
                self._copy(i)
        return self.out

    def _push(self, opened: _Open) -> None:
        self.stack.append(opened)
        self.braces += opened.closer == "RBRACE"

    def _pop(self) -> _Open:
        opened = self.stack.pop()
        self.braces -= opened.closer == "RBRACE"
        return opened

    # --- places -------------------------------------------------------------------------------------------------------

    def _copy(self, i: int) -> None:
        self.out.add(self.raw.kinds[i], self.raw.starts[i], self.raw.ends[i])

    def _line_start(self, i: int) -> int:
        return self.text.rfind("\n", 0, self.raw.starts[i]) + 1

    def _indent(self, i: int) -> int:
        line = self._line_start(i)
        end = line
        while end < len(self.text) and self.text[end] in " \t":
            end += 1
        return end - line

    def _first_on_line(self, i: int) -> bool:
        return i == 0 or self.raw.kinds[i - 1] == "NEWLINE"

    # --- closers ------------------------------------------------------------------------------------------------------

    def _closer(self, i: int, kind: str) -> None:
        stack = self.stack
        if kind == "RBRACE" and self._first_on_line(i):
            self._close_inner_by_indent(i)
        if kind == "RBRACE" and (start := self._record_without_brace(i)) is not None:
            self._open_late(i, start)
        elif self._in_the_way(i, kind) or (kind == "RBRACE" and self._goes_on(i)):
            self._stray(i, kind)
        elif kind == "RSQB" and self._list_in_braces():
            self._list_opened_by_brace(self._pop())
            self._copy(i)
        elif stack and stack[-1].closer == kind:
            opened = self._pop()
            if opened.header:
                self.closed = opened.header, i
            self._copy(i)
        elif self._opened_here(kind):
            while stack[-1].closer != kind:
                self._unclosed(i)
            self._pop()
            self._copy(i)
        elif stack and stack[-1].closer != "RBRACE" and kind != "RBRACE":
            self._wrong_closer(i, self._pop())
        else:
            self._stray(i, kind)

    def _in_the_way(self, i: int, kind: str) -> bool:
        """A closer of another kind than what is open, without which the rest of its line pairs; or one right after
        `=`.
        """
        raw, stack = self.raw, self.stack
        before, following = raw.kinds[i - 1] if i else "", raw.kinds[i + 1]
        if self._first_on_line(i):
            return kind == "RBRACE" and following in ("EQ", "COLON", "DOT")
        if not stack or stack[-1].closer == kind:
            return False
        if before == "EQ" and kind != "RBRACE":
            return True
        wanted = [o.closer for o in stack if self._same_line(o.token, i)]
        if not wanted:
            return False
        for j in range(i + 1, len(raw.kinds)):
            here = raw.kinds[j]
            if here in ("NEWLINE", END):
                return not wanted
            if here in OPENERS:
                wanted.append(OPENERS[here])
            elif here in CLOSERS and (not wanted or wanted.pop() != here):
                return False
        return False

    def _list_in_braces(self) -> bool:
        """Whether the innermost bracket is a `{` after `=` whose content is that of a list."""
        if not self.stack or self.stack[-1].closer != "RBRACE" or self.stack[-1].header:
            return False
        kinds, at = self.raw.kinds, self.stack[-1].token
        if at == 0 or kinds[at - 1] != "EQ":
            return False
        at += 1
        while kinds[at] == "NEWLINE":
            at += 1
        return kinds[at] in ("STRING", "NUMBER", "NAME", "LBRACE") and kinds[at + 1] in (
            "COMMA",
            "NEWLINE",
            "RSQB",
            "DOT",
            "NAME",
        )

    def _list_opened_by_brace(self, opened: _Open) -> None:
        raw = self.raw
        span = raw.source.span(raw.starts[opened.token], raw.ends[opened.token])
        self.out.kinds[self.out.starts.index(span.start)] = "LSQB"
        raw.problems.append(
            Diagnostic(
                "A005",
                "`{` is closed by `]`",
                span,
                "what follows are the elements of a list",
                help="write `[`",
                edit=Edit(span, "["),
            )
        )

    def _opened_twice(self, i: int) -> bool:
        """A `{` right behind another one, in which no name of a field follows: reported and left out."""
        raw = self.raw
        if i == 0 or raw.kinds[i] != "LBRACE" or raw.kinds[i - 1] != "LBRACE":
            return False
        span = raw.source.span(raw.starts[i], raw.ends[i])
        first = raw.source.span(raw.starts[i - 1], raw.ends[i - 1])
        raw.problems.append(
            Diagnostic(
                "A004",
                "this `{` is one too many",
                span,
                labels=(Label(first, "opened here already"),),
                help="delete it",
                edit=Edit(span, ""),
            )
        )
        return True

    def _opened_here(self, kind: str) -> bool:
        """Whether a bracket that `kind` closes is open; a list or call never reaches around a block."""
        for opened in reversed(self.stack):
            if opened.closer == kind:
                return True
            if kind != "RBRACE" and opened.header:
                return False
        return False

    def _record_without_brace(self, i: int) -> int | None:
        """Where a `{` is missing for a `}` behind fields on one line: `= a = 1 }`, or `a = 1 },` as element of a
        list.
        """
        if self._first_on_line(i) or (self.stack and self._same_line(self.stack[-1].token, i)):
            return None
        kinds = self.out.kinds
        first = len(kinds)
        while first > 0 and kinds[first - 1] != "NEWLINE":
            first -= 1
        in_list = bool(self.stack) and self.stack[-1].closer == "RSQB"
        if in_list and kinds[first : first + 2] == ["NAME", "EQ"]:
            return first
        for j in range(first, len(kinds) - 2):
            if kinds[j : j + 3] == ["EQ", "NAME", "EQ"]:
                return j + 1
        return None

    def _goes_on(self, i: int) -> bool:
        """A `}` in the middle of a line that would close a block whose content goes on below: one too many."""
        block = next((o for o in reversed(self.stack) if o.closer == "RBRACE"), None)
        if self._first_on_line(i) or block is None:
            return False
        empty = block.header != "" and block.token == i - 1  # `source a {}`, as an editor writes it
        if self._same_line(block.token, i) and not empty:
            return False
        following = i
        while self.raw.kinds[following] not in ("NEWLINE", END):
            following += 1
        while self.raw.kinds[following] == "NEWLINE":
            following += 1
        if self.raw.kinds[following] == END or self._indent(following) <= block.indent:
            return False
        return empty or self._indented(block.token)

    def _open_late(self, i: int, at: int) -> None:
        raw, offset = self.raw, self.out.starts[at]
        self.out.insert(at, "LBRACE", offset)
        self._copy(i)
        here = raw.source.span(offset, offset)
        raw.problems.append(
            Diagnostic(
                "A005",
                "this `}` closes nothing",
                raw.source.span(raw.starts[i], raw.ends[i]),
                labels=(Label(here, "did the record start here?"),),
                help="write `{` before the first field",
                edit=Edit(here, "{ "),
            )
        )

    def _close_inner_by_indent(self, i: int) -> None:
        """A `}` that stands under an outer block's first letter closes that one: the inner ones lack theirs."""
        indent = self._indent(i)
        braces = [o for o in self.stack if o.closer == "RBRACE"]
        if len(braces) < 2 or braces[-1].indent <= indent:
            return
        target = next((o for o in reversed(braces) if o.indent == indent), None)
        # A block that is laid out on the same column as the closer's own content says nothing.
        if target is None or self._same_line(braces[-1].token, i):
            return
        while self.stack[-1] is not target:
            self._unclosed(i)

    def _same_line(self, a: int, b: int) -> bool:
        return self._line_start(a) == self._line_start(b)

    def _wrong_closer(self, i: int, opened: _Open) -> None:
        raw = self.raw
        have, want = _SPELLED[raw.kinds[i]], _SPELLED[opened.closer]
        displayed = _SPELLED[raw.kinds[opened.token]]
        span = raw.source.span(raw.starts[i], raw.ends[i])
        start = raw.source.span(raw.starts[opened.token], raw.ends[opened.token])
        raw.problems.append(
            Diagnostic(
                "A005",
                f"`{displayed}` is closed by `{have}`",
                span,
                f"`{want}` is expected",
                (Label(start, "opened here"),),
                help=f"write `{want}`",
                edit=Edit(span, want),
            )
        )
        self.out.add(opened.closer, raw.starts[i], raw.ends[i])

    def _stray(self, i: int, kind: str) -> None:
        raw = self.raw
        span = raw.source.span(raw.starts[i], raw.ends[i])
        displayed = _SPELLED[kind]
        label, labels, help, edit = "", [], "delete it", Edit(span, "")
        opened = self._list_without_bracket(i) if kind == "RSQB" else None
        if opened is not None:
            at = raw.source.span(opened, opened)
            labels.append(Label(at, "did the list start here?"))
            help, edit = "write `[` after the `=`", Edit(at, " [")
            self._open_list_at(opened)
            self.out.add(kind, raw.starts[i], raw.ends[i])
        elif (orphans := self._orphans(i, kind)) is not None:
            self._headless(orphans, i)
            return
        elif kind == "RBRACE" and self.closed:
            name, closer = self.closed
            line = raw.source.position(raw.starts[closer])[0]
            label = f"the block `{name}` was already closed on line {line}"
        raw.problems.append(
            Diagnostic("A005", f"this `{displayed}` closes nothing", span, label, tuple(labels), help=help, edit=edit)
        )

    def _orphans(self, i: int, kind: str) -> int | None:
        """The first of the lines right above a stray closer that look like the inside of what it closes."""
        if not self._first_on_line(i) or kind == "RPAR":
            return None
        if kind == "RBRACE":
            return None if self.stack else self._lines_above(0)
        return self._lines_above(self._indent(i))

    def _lines_above(self, indent: int) -> int | None:
        """The first token of the lines right above that are indented deeper than that and whose brackets pair."""
        out = self.out
        at, depth = len(out.kinds), 0
        found: int | None = None
        while at > 0 and len(out.kinds) - at < _LOOK_BACK:
            end = at
            while at > 0 and out.kinds[at - 1] != "NEWLINE":
                at -= 1
                depth += (out.kinds[at] in CLOSERS) - (out.kinds[at] in OPENERS)
                if depth < 0:
                    return found
            if at < end and depth == 0:
                if out.starts[at] - self.text.rfind("\n", 0, out.starts[at]) - 1 <= indent:
                    return found
                found = at
            at -= 1
        return found if depth == 0 else None

    def _headless(self, first: int, i: int) -> None:
        """Lines of a block or list whose first line is gone: one message, one bad item."""
        raw, out = self.raw, self.out
        start, end = out.starts[first], raw.ends[i]
        closer = raw.source.span(raw.starts[i], end)
        block = raw.kinds[i] == "RBRACE"
        label = f"the {'block' if block else 'list'} that this `{raw.text(i)}` closes was never opened"
        raw.problems.append(
            Diagnostic(
                "A005",
                f"these lines stand in no {'block' if block else 'list'}",
                raw.source.span(start, self.text.find("\n", start)),
                labels=(Label(closer, label),),
                help=f"write its first line above them: `{'KIND NAME {' if block else 'NAME = ['}`",
            )
        )
        del out.kinds[first:], out.starts[first:], out.ends[first:]
        out.add("BAD_LINE", start, end)

    def _header(self) -> str:
        """`filter clean`, where the last tokens are the header of a block; empty before a record."""
        out = self.out
        first = end = len(out.kinds)
        while first > 0 and out.kinds[first - 1] in ("NAME", "STRING") and end - first < 2:
            first -= 1
        return "" if first == end else " ".join(self.text[out.starts[first] : out.ends[-1]].split())

    def _list_without_bracket(self, i: int) -> int | None:
        """The end of the nearest `=` with nothing after it on its line, in the block of a stray `]`."""
        kinds, depth = self.out.kinds, 0
        for j in range(len(kinds) - 1, max(len(kinds) - _LOOK_BACK, 0) - 1, -1):
            if kinds[j] in CLOSERS:
                depth += 1
            elif kinds[j] in OPENERS:
                depth -= 1
                if depth < 0:
                    return None
            elif kinds[j] == "EQ" and depth == 0:
                if j + 1 < len(kinds) and kinds[j + 1] == "NEWLINE":
                    return self.out.ends[j]
                return None
        return None

    def _open_list_at(self, offset: int) -> None:
        self.out.insert(self.out.ends.index(offset) + 1, "LSQB", offset)

    # --- openers that stay open ---------------------------------------------------------------------------------------

    def _unclosed(self, i: int, label: Label | None = None) -> None:
        """Close the innermost bracket before token `i`, at the end of the last line that has anything."""
        raw, out = self.raw, self.out
        opened = self._pop()
        kind = raw.kinds[opened.token]
        at = len(out.kinds)
        while at and out.kinds[at - 1] == "NEWLINE":
            at -= 1
        offset = out.ends[at - 1] if at else 0
        out.insert(at, opened.closer, offset)
        closer = _SPELLED[opened.closer]
        span = raw.source.span(raw.starts[opened.token], raw.ends[opened.token])
        line, own = raw.source.position(offset)[0], raw.source.position(span.start)[0]
        same = self._same_line(opened.token, i) if raw.kinds[i] != END else False
        where = f"before the `{raw.text(i)}`" if same and raw.kinds[i] in CLOSERS else f"at the end of line {line}"
        what = self._called(opened)
        if opened.header:
            what += f" `{opened.header}`"
            where = f"on a line of its own after line {line}" if line != own else where
        else:
            what = "this" + what.removeprefix("the")
        edit = Edit(
            raw.source.span(offset, offset), closer if not where.startswith("on") else f"\n{' ' * opened.indent}}}"
        )
        raw.problems.append(
            Diagnostic(
                "A004" if kind == "LBRACE" else "A003",
                f"{what} is never closed",
                span,
                "opened here",
                (label,) if label else (),
                help=f"add `{closer}` {where}",
                edit=edit,
            )
        )

    def _line_end(self, i: int) -> None:
        """At a newline: close what is open if the next line shows that the writer had moved on."""
        following = i
        while self.raw.kinds[following] == "NEWLINE":
            following += 1
        if self._record_in_list(following):
            self._open_record(following)
        while self.stack and self._moved_on(i, following):
            self._unclosed(i, self._moved_label(following))

    def _record_in_list(self, following: int) -> bool:
        """Whether the fields of a record follow in a list, whose `{` is missing: a `}` comes before the list's end."""
        raw = self.raw
        if not self.stack or self.stack[-1].closer != "RSQB" or self.out.kinds[-1] not in ("LSQB", "COMMA"):
            return False
        if raw.kinds[following : following + 2] != ["NAME", "EQ"]:
            return False
        if self._indent(following) <= self.stack[-1].indent:
            return False
        depth = 0
        for j in range(following, min(len(raw.kinds), following + _LOOK_BACK)):
            if raw.kinds[j] in OPENERS:
                depth += 1
            elif raw.kinds[j] in CLOSERS:
                depth -= 1
                if depth < 0:
                    alone = raw.kinds[j] == "RBRACE" and self._first_on_line(j)
                    return alone and self._indent(j) > self.stack[-1].indent
        return False

    def _open_record(self, following: int) -> None:
        raw = self.raw
        span = raw.source.span(raw.starts[following], raw.ends[following])
        at = raw.source.span(span.start, span.start)
        self.out.add("LBRACE", span.start, span.start)
        self._push(_Open(following, "RBRACE", self.stack[-1].indent))
        raw.problems.append(
            Diagnostic(
                "A004",
                "this record is not opened",
                span,
                "a field of it",
                help="write `{` before its first field",
                edit=Edit(at, "{ "),
            )
        )

    def _moved_label(self, following: int) -> Label:
        raw = self.raw
        end = following
        while raw.kinds[end + 1] in ("NAME", "STRING") and raw.kinds[following] in _WORDS:
            end += 1
        span = raw.source.span(raw.starts[following], raw.ends[end])
        displayed = raw.source.text[span.start : span.end]
        opened = self.stack[-1]
        closed = self._called(opened)
        if raw.kinds[following] in CLOSERS:
            return Label(span, f"`{displayed}` ends what is around {closed}, so that was ended before it")
        what = "block" if opened.header and self._block_header(following) else "statement"
        return Label(span, f"`{displayed}` looks like the next {what}, so {closed} was ended before it")

    def _called(self, opened: _Open) -> str:
        """What a bracket opens, in words."""
        if opened.closer == "RBRACE":
            return "the block" if opened.header else "the record"
        call = opened.token > 0 and self.raw.kinds[opened.token - 1] == "NAME"
        return "the list" if opened.closer == "RSQB" else "the call" if call else "the parenthesis"

    def _moved_on(self, newline: int, following: int) -> bool:
        raw = self.raw
        kinds = raw.kinds
        if kinds[following] == END:
            return False
        top = self.stack[-1]
        indent = self._indent(following)
        if top.closer == "RBRACE" and not top.header:
            if kinds[following] == "RSQB" and self._list_in_braces():
                return False
            return kinds[following] != "RBRACE" and (
                indent <= top.indent or kinds[following] in VERBS or kinds[following] == "SET"
            )
        if top.closer == "RBRACE":
            if indent > top.indent or kinds[following] == "RBRACE" or not self._indented(top.token):
                return False
            return top.indent > 0 or self._block_header(following)
        if not self.braces:
            return self._block_header(following)
        if indent > top.indent and self._block_header(following):
            return False  # `name {` inside a list or call: its comma became a brace
        if kinds[following] in VERBS or kinds[following] == "SET":
            return True
        if kinds[following] not in _WORDS:
            return False
        at = following + 1
        while kinds[at] == "DOT" and kinds[at + 1] == "NAME":
            at += 2
        if self._block_header(following):
            return True
        if kinds[at] not in ("EQ", "COLON"):
            return False
        last = newline - 1
        while last > 0 and kinds[last] == "NEWLINE":
            last -= 1
        if top.closer == "RSQB":
            return not self._closes_more(following)
        return kinds[last] not in _CONTINUES or indent <= top.indent

    def _closes_more(self, i: int) -> bool:
        """Whether the line from token `i` on closes a brace that it does not open."""
        kinds, depth = self.raw.kinds, 0
        while kinds[i] not in ("NEWLINE", END):
            depth += (kinds[i] == "LBRACE") - (kinds[i] == "RBRACE")
            if depth < 0:
                return True
            i += 1
        return False

    def _indented(self, opener: int) -> bool:
        """Whether the content of a block is indented: only then does a line at the margin say that it is over."""
        kinds = self.raw.kinds
        if kinds[opener + 1] != "NEWLINE":
            return False
        i = opener + 1
        while kinds[i] == "NEWLINE":
            i += 1
        return self._indent(i) > self._indent(opener)

    def _block_header(self, i: int) -> bool:
        """`KIND {`, `KIND NAME {`, `import "…"`, `param NAME :`."""
        kinds = self.raw.kinds
        if kinds[i] in ("IMPORT", "EDITION") and kinds[i + 1] in ("STRING", "NUMBER"):
            return True
        if kinds[i] == "PARAM" and kinds[i + 1] == "NAME":
            return True
        if kinds[i] not in _WORDS:
            return False
        at = i + 1
        if kinds[at] in ("NAME", "STRING"):
            at += 1
        return kinds[at] == "LBRACE"

    # --- a header without its brace -----------------------------------------------------------------------------------

    def _header_without_brace(self, i: int) -> None:
        """After a line `KIND [NAME]` alone whose next line is indented deeper: a `{` is missing at its end."""
        out, raw = self.out, self.raw
        if self.stack and self.stack[-1].closer != "RBRACE":
            return
        kinds = out.kinds
        end = len(kinds) - 1  # the newline just copied
        first = end
        while first > 0 and kinds[first - 1] not in ("NEWLINE", "LBRACE"):
            first -= 1
        line = kinds[first:end]
        if line == ["NAME", "EQ"]:
            self._block_set_by_equals(i, first, end)
            return
        if line not in (["NAME"], ["NAME", "NAME"], ["NAME", "STRING"], ["NAME", "NAME", "NAME"]):
            return
        following = i
        while raw.kinds[following] == "NEWLINE":
            following += 1
        own = out.starts[first] - (self.text.rfind("\n", 0, out.starts[first]) + 1)
        if raw.kinds[following] == END or self._indent(following) <= own:
            return
        offset = out.ends[end - 1]
        name = self.text[out.starts[first] : offset]
        span = raw.source.span(out.starts[first], offset)
        raw.problems.append(
            Diagnostic(
                "A004",
                f"the block `{name}` is not opened",
                span,
                help="write `{` at the end of the line",
                edit=Edit(raw.source.span(offset, offset), " {"),
            )
        )
        out.insert(end, "LBRACE", offset)
        self._push(_Open(i - 1, "RBRACE", own, name))

    def _block_set_by_equals(self, i: int, first: int, end: int) -> None:
        """After a line `NAME =` alone whose next line is an entry, indented deeper: its `=` stands for a `{`."""
        out, raw = self.out, self.raw
        following = i
        while raw.kinds[following] == "NEWLINE":
            following += 1
        own = out.starts[first] - (self.text.rfind("\n", 0, out.starts[first]) + 1)
        entry = raw.kinds[following] == "NAME" and raw.kinds[following + 1] in ("EQ", "COLON")
        if not entry or self._indent(following) <= own:
            return
        name = self.text[out.starts[first] : out.ends[first]]
        span = raw.source.span(out.starts[end - 1], out.ends[end - 1])
        raw.problems.append(
            Diagnostic(
                "A004",
                f"the block `{name}` is not opened",
                span,
                "`{` is expected",
                help=f"write `{name} {{`",
                edit=Edit(span, "{"),
            )
        )
        out.kinds[end - 1] = "LBRACE"
        self._push(_Open(i - 1, "RBRACE", own, name))


# --- brackets --------------------------------------------------------------------------------------------------------

OPENERS: Final = {"LBRACE": "RBRACE", "LSQB": "RSQB", "LPAR": "RPAR"}
CLOSERS: Final = frozenset(OPENERS.values())


@dataclass(frozen=True, slots=True)
class Pairs:
    """For every token: the opener around it (-1 at top level); for every bracket, its partner."""

    around: list[int]
    partner: dict[int, int]


def pair(raw: Tokens) -> Tokens:
    """The tokens with balanced brackets, without newlines inside `[…]` and `(…)`, and one newline for a run."""
    out = _drop_newlines(raw)
    if out is None:
        out = _drop_newlines(repair(raw))
        assert out is not None
    return out


def _drop_newlines(raw: Tokens) -> Tokens | None:
    """None if the brackets are not balanced."""
    kinds: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    wanted: list[str] = []
    newline = True  # at the start of the file, and after a newline
    for kind, start, end in zip(raw.kinds, raw.starts, raw.ends, strict=True):
        if kind == "NEWLINE":
            if newline or (wanted and wanted[-1] != "RBRACE"):
                continue
            newline = True
        else:
            newline = False
            if kind in OPENERS:
                wanted.append(OPENERS[kind])
            elif kind in CLOSERS and (not wanted or wanted.pop() != kind):
                return None
        kinds.append(kind)
        starts.append(start)
        ends.append(end)
    if wanted:
        return None
    return Tokens(raw.source, kinds, starts, ends, raw.comments, raw.docs, raw.problems)


def pairs(tokens: Tokens) -> Pairs:
    """Who encloses whom, for balanced tokens."""
    around: list[int] = []
    partner: dict[int, int] = {}
    stack = [-1]
    for i, kind in enumerate(tokens.kinds):
        if kind in CLOSERS:
            opener = stack.pop()
            partner[opener], partner[i] = i, opener
        around.append(stack[-1])
        if kind in OPENERS:
            stack.append(i)
    return Pairs(around, partner)


# --- recover ---------------------------------------------------------------------------------------------------------

VERBS: Final = frozenset({"KEEP", "DROP", "EXPECT"})
_AFTER_NAME: Final = frozenset({"EQ", "COLON", "LBRACE"})


@dataclass(frozen=True, slots=True)
class Place:
    """Token numbers: the statement runs from `first` to before `stop`; `error` does not fit; `opener` is the `{`
    around.
    """

    tokens: Tokens
    nest: Pairs
    opener: int
    first: int
    error: int
    stop: int

    def kind(self, i: int) -> str:
        """The kind of a token of the statement; "" outside of it."""
        return self.tokens.kinds[i] if self.first <= i < self.stop else ""

    def text(self, i: int) -> str:
        return self.tokens.text(i)


def place(tokens: Tokens, nest: Pairs, opener: int, error: int) -> Place:
    """The statement around a token, at the level right inside `opener` (-1: the top level)."""
    kinds, around, partner = tokens.kinds, nest.around, nest.partner
    end = partner[opener] if opener >= 0 else len(kinds) - 1
    separators = ("NEWLINE", "COMMA") if opener >= 0 else ("NEWLINE",)
    stop = first = error
    while stop < end and around[stop] != opener:
        stop = partner[around[stop]] + 1
    while stop < end and kinds[stop] not in separators:
        stop = partner[stop] + 1 if kinds[stop] in OPENERS else stop + 1
    while first != end and around[first] != opener:
        first = around[first]
    while first - 1 > opener and kinds[first - 1] not in separators:
        first = partner[first - 1] if kinds[first - 1] in CLOSERS else first - 1
    return Place(tokens, nest, opener, first, error, min(stop, end))


def begins_statement(tokens: Tokens, i: int) -> bool:
    """Whether what stands at a token reads like the start of a statement: `NAME =`, `NAME {`, `keep …`, `set …`."""
    kinds = tokens.kinds
    kind = kinds[i]
    if kind in VERBS or kind == "SET":
        return True
    if kind not in ("NAME", "PARAM", "IMPORT", "EDITION"):
        return False
    at = i + 1
    while kinds[at] == "DOT" and kinds[at + 1] == "NAME":
        at += 2
    if kinds[at] in _AFTER_NAME:
        return True
    return at == i + 1 and kinds[at] in ("NAME", "STRING") and kinds[at + 1] == "LBRACE"


def accepts(tables: Tables, states: list[int], kind: str) -> bool:
    """Whether the automaton would take a token of this kind now (its rows alone promise more than it keeps)."""
    stack = list(states[-24:]) if len(states) > 24 else list(states)
    full = len(stack) == len(states)
    while True:
        action = tables.actions[stack[-1]].get(kind)
        if action is None:
            return False
        if action >= 0:
            return True
        length, origin, _ = tables.rules[-action - 1]
        if length >= len(stack):
            if full:
                return kind == END
            stack, full = list(states), True
            continue
        if length:
            del stack[-length:]
        state = tables.gotos[stack[-1]].get(origin)
        if state is None or state in tables.ends.values():
            return kind == END
        stack.append(state)
