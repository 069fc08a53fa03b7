"""How clear code is, read from its characters alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.code.names import NEUTRAL, PLACEHOLDER, WORDS

_HASH: Final = frozenset({"python", "bash", "ruby", "r", "perl", "powershell"})
BRACES: Final = frozenset(
    {"javascript", "typescript", "java", "c", "cpp", "csharp", "go", "rust", "php", "swift", "kotlin", "scala", "css"}
)
_STRING: Final = r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
_HASH_TOKEN: Final = re.compile(r"(\"\"\"[\s\S]*?(?:\"\"\"|\Z)|'''[\s\S]*?(?:'''|\Z))|(#[^\n]*)|" + _STRING)
_SLASH_TOKEN: Final = re.compile(r"(`(?:\\.|[^`\\])*`)|(//[^\n]*|/\*[\s\S]*?(?:\*/|\Z))|" + _STRING)
_DASH_TOKEN: Final = re.compile(r"(\Z(?!))|(--[^\n]*|/\*[\s\S]*?(?:\*/|\Z)|<!--[\s\S]*?(?:-->|\Z))|" + _STRING)

_NAME: Final = re.compile(r"(?<![\w.$@])(?<!->)(?<!::)[A-Za-z_$][\w$]*")
_CONTROL: Final = re.compile(
    r"(?:\}\s*)?(?:else\s+)?\b(?:if|for|foreach|while|switch|else|do|try|catch|finally|match|loop|unsafe|with|select)\b"
)
_TYPE_HEAD: Final = re.compile(r"\b(?:class|interface|struct|enum|impl|trait|namespace|object|union|extern)\b")
_PY_CONTROL: Final = re.compile(r"[ \t]*(?:async )?(?:if|for|while|with|try|match)\b.*:\s*(?:$|\S)")
_PY_DEF: Final = re.compile(r"[ \t]*(?:async )?def ")
_SH_OPEN: Final = re.compile(r"^\s*(?:if|for|while|until|case|select)\b")
_SH_CLOSE: Final = re.compile(r"^\s*(?:fi|done|esac)\b")
_LOOP_HEAD: Final = re.compile(r"\bfor\s*\([^()]*(?:\([^()]*\)[^()]*)*\)")


@dataclass(slots=True)
class Page:
    """Code as text: `lines` hold no comments, and strings as two quotes; empty lines are left out."""

    lines: list[str]
    raw: list[str]  # the same lines as written
    comments: int  # lines of comments and documentation strings


def measure(code: str, lang: str | None) -> int:
    """Clarity of code, 0 to 10: five parts that are read from the characters alone.

    names 0-3      share of telling names among the distinct names of the code (no attributes, keywords, built-ins, nor
    customary
                   short names such as i, n, x, os): 80% give 3, 60% 2, 40% 1. Telling: three characters or more, no
                   placeholder (foo, tmp, var1, x2). Without names, 3.
    layout 0-2     lines of more than 100 characters or with two statements: none 2, up to a tenth of the lines 1. Tabs
    and spaces
                   mixed in the indentation take one off.
    nesting 0-2    control blocks inside one another: up to three 2, four 1. functions 0-1  the longest function, and
    the code outside of functions, have at most 60 lines. comments 0-2   code of up to 12 lines needs none; else lines
    of comment or documentation: 5% of the code lines give 2, any 1,
                   and up to 25 lines without any 1.
    Empty code has 0.
    """
    page = page_of(code, lang)
    if not page.lines:
        return 0
    depth, longest = _shape(page.lines, lang)
    nesting = 2 if depth <= 3 else 1 if depth == 4 else 0
    return _names(page.lines) + _layout(page, lang) + nesting + int(longest <= 60) + _comments(page)


def remarks(code: str, lang: str | None) -> tuple[list[str], bool, int]:
    """(names that say little, where they cost points; whether comments do; the number of code lines)."""
    page = page_of(code, lang)
    names = sorted(n for n in _found(page.lines) if not _telling(n)) if _names(page.lines) < 3 else []
    return names, _comments(page) < 2, len(page.lines)


def page_of(code: str, lang: str | None) -> Page:
    text = code.replace("\r\n", "\n")
    token = _HASH_TOKEN if lang in _HASH or lang is None else _SLASH_TOKEN if lang in BRACES else _DASH_TOKEN
    comments = 0

    def plain(found: re.Match[str]) -> str:
        nonlocal comments
        long, comment = found[1], found[2]
        start = text.rfind("\n", 0, found.start()) + 1
        lead = not text[start : found.start()].strip()
        if comment is not None:
            comments += 0 if comment.startswith("#!") else comment.count("\n") + 1
            return "\n" * comment.count("\n")
        if long is not None and token is _HASH_TOKEN and lead:
            comments += long.count("\n") + 1
            return "\n" * long.count("\n")
        return '""' + "\n" * found[0].count("\n")

    bare = token.sub(plain, text).split("\n")
    pairs = [(line, raw) for line, raw in zip(bare, text.split("\n"), strict=False) if line.strip()]
    return Page([p[0] for p in pairs], [p[1] for p in pairs], comments)


def _names(lines: list[str]) -> int:
    found = _found(lines)
    if not found:
        return 3
    share = sum(1 for n in found if _telling(n)) / len(found)
    return 3 if share >= 0.8 else 2 if share >= 0.6 else 1 if share >= 0.4 else 0


def _found(lines: list[str]) -> set[str]:
    found = {n for line in lines for n in _NAME.findall(line)}
    return {n for n in found if n not in WORDS and n not in NEUTRAL}


def _telling(name: str) -> bool:
    return len(name.strip("_$")) >= 3 and not PLACEHOLDER.match(name.lower())


def _layout(page: Page, lang: str | None) -> int:
    bad = sum(1 for line, raw in zip(page.lines, page.raw, strict=True) if len(raw) > 100 or _crowded(line, lang))
    points = 2 if not bad else 1 if bad * 10 <= len(page.lines) else 0
    leads = {line[0] for line in page.raw if line[0] in " \t"}
    return max(0, points - (len(leads) == 2))


_PY_CROWDED: Final = re.compile(
    r"\s*(?:if|for|while|else|elif|with|try|except|finally|def|class)\b[^\n\[{(]*(?:\([^()]*\))?[^\n\[{(]*:\s*\w"
)


def _crowded(line: str, lang: str | None) -> bool:
    """Whether a line holds two statements."""
    if lang == "python":
        return bool(re.search(r";\s*\S", line)) or bool(_PY_CROWDED.match(line))
    if lang in BRACES and lang != "css":
        return _LOOP_HEAD.sub("", line).count(";") > 1
    return lang == "bash" and len(re.findall(r";(?!;)\s*(?!then|do\b)\S", line)) > 1


def _comments(page: Page) -> int:
    size = len(page.lines)
    if size <= 12 or page.comments * 20 >= size:
        return 2
    return int(page.comments > 0 or size <= 25)


def _shape(lines: list[str], lang: str | None) -> tuple[int, int]:
    """(control blocks inside one another, lines of the longest function or of the code outside of functions)."""
    if lang == "python":
        return _indented(lines)
    if lang in BRACES:
        return _braced(lines)
    if lang == "bash":
        depth = deepest = 0
        for line in lines:
            depth += bool(_SH_OPEN.match(line))
            deepest = max(deepest, depth)
            depth = max(0, depth - bool(_SH_CLOSE.search(line)))
        return deepest, len(lines)
    return 0, len(lines)


def _indented(lines: list[str]) -> tuple[int, int]:
    open_: list[tuple[int, bool]] = []  # (indent, control) of the blocks around the line
    functions: list[tuple[int, int]] = []  # (indent, lines so far) of the functions around it
    deepest = longest = loose = 0
    for line in lines:
        indent = len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())
        while open_ and open_[-1][0] >= indent:
            open_.pop()
        while functions and functions[-1][0] >= indent:
            functions.pop()
        functions = [(at, count + 1) for at, count in functions]
        longest = max([longest, *(count for _, count in functions)])
        loose += not functions
        if _PY_DEF.match(line):
            open_ = []  # nesting counts inside one function
            functions.append((indent, 1))
        elif _PY_CONTROL.match(line):
            open_.append((indent, True))
            deepest = max(deepest, len(open_))
    return deepest, max(longest, loose)


def _braced(lines: list[str]) -> tuple[int, int]:
    blocks: list[tuple[str, int, int]] = []  # (kind, line it began on, control blocks around it in its function)
    deepest = longest = loose = functions = 0
    head = ""
    for number, line in enumerate(lines):
        loose += not functions and "}" not in line
        for part in re.split(r"([{};])", line):
            if part == "{":
                kind = _block_kind(head)
                around = blocks[-1][2] if blocks else 0
                depth = 0 if kind == "function" else around + (kind == "control")
                blocks.append((kind, number, depth))
                functions += kind == "function"
                deepest = max(deepest, depth)
            elif part == "}" and blocks:
                kind, start, _ = blocks.pop()
                if kind == "function":
                    functions -= 1
                    longest = max(longest, number - start + 1)
            head = "" if part in ("{", "}", ";") else (head + " " + part)[-400:]
    return deepest, max(longest, loose)


def _block_kind(head: str) -> str:
    if _TYPE_HEAD.search(head):
        return "type"
    if _CONTROL.match(head.strip()):
        return "control"
    return "function" if ")" in head or "=>" in head or "function" in head else "data"


# --- marks -----------------------------------------------------------------------------------------------------------

# One row per language: (name, texts of which one must occur for any mark to match, or none; ((weight, pattern), …)).
# A mark is worth its weight once, however often it stands in a text.
# fmt: off
_ROWS: Final[tuple[tuple[str, tuple[str, ...], tuple[tuple[int, str], ...]], ...]] = (
    ("python", (), (
        (3, r"^[ \t]*(?:async )?def \w+\([^\n]*(?:\)(?: *-> *[^\n:]+)?)?:[ \t]*(?:#.*|return\b.*|pass|\.\.\.)?$"),
        (3, r"^[ \t]*class \w+(?:\([\w., =]*\))?:[ \t]*$"),
        (3, r"^>>> \S"),
        (3, r"^[ \t]*from [\w.]+ import [\w*(]"),
        (2, r"^import [\w.]+(?: as \w+)?(?:, *[\w.]+)*[ \t]*$"),
        (2, r"^[ \t]*(?:if|elif|while|except|else|try|finally)\b[^\n{}]*:[ \t]*(?:#.*)?$"),
        (3, r"^[ \t]*for [\w, ()]+ in [^\n{}]*:[ \t]*(?:#.*)?$"),
        (3, r"^[ \t]*with [^\n{}]* as \w+:[ \t]*$"),
        (2, r"\bself\.\w|\b__\w+__\b|\belif\b|\blambda \w*:"),
        (1, r"^[ \t]*print *\(|^[ \t]*print [\"']"),
        (1, r"\b(?:len|range|str|int|list|dict|sorted|enumerate|zip)\(|\b(?:None|True|False)\b"),
    )),
    ("javascript", (), (
        (3, r"\bconsole\.(?:log|error|warn|info)\("),
        (3, r"\bdocument\.\w|\bwindow\.\w|\bmodule\.exports\b|\brequire\([\"']"),
        (3, r"^export (?:default|const|function|class)\b"),
        (3, r"^[ \t]*(?:async )?function\*? ?\w*\([^)\n:$]*\) *\{|\bfunction *\([\w, ]*\) *\{"),
        (3, r"^import (?:[\w*{][^;\n]* from )?[\"'][^\"'\n]+[\"']"),
        (2, r"\([\w, {}\[\]=.]*\) *=> *[{(\w]|\b\w+ => "),
        (3, r"^[ \t]*(?:const|let) (?:[\w$]+|[{\[][^=\n]*[}\]]) *=[^\n]*[;{\[(`][ \t]*$"),
        (2, r"^[ \t]*(?:const|let) (?:[\w$]+|[{\[][^=\n]*[}\]]) *="),
        (3, r"^[ \t]*var [\w$]+ *= *[{\[][ \t]*$"),
        (2, r"^[ \t]*var [\w$]+ *=[^\n]*[;{\[(][ \t]*$|^[ \t]*for *\((?:let|var|const) \w+"),
        (3, r"^class \w+(?: extends [\w.]+)? *\{\s*(?:static |async |#)?(?:constructor|\w+) *\([^)\n:]*\) *\{"),
        (2, r"===|!==|\bJSON\.(?:parse|stringify)\(|\bMath\.[a-z]\w*\(|\bnew Promise\b|\bawait fetch\("),
        (3, r"\$\([\"'.#]|\.addEventListener\(|\.forEach\(\(?\w*\)? *=>|\bjQuery\b|^[ \t]*alert\("),
        (1, r"^[ \t]*\w+(?:\.\w+)+\([^\n]*\);?[ \t]*$|\.(?:length|push|map|filter|reduce)\b"),
    )),
    ("typescript", (": ", "interface ", "type ", "enum ", "readonly ", " as "), (
        (3, r"^[ \t]*(?:export )?(?:interface|type|enum) \w+(?:<[\w, ]+>)? *(?:extends [\w, ]+)?[={]"),
        (4, r"[\w)\]?] *: *(?:string|number|boolean|any|unknown|void|never)(?:\[\])?(?= *[,;)={|\n])"),
        (1, r"\b(?:private|public|readonly) \w+\??: |\bas (?:const|string|number|any)\b"),
    )),
    ("java", (";", "{"), (
        (3, r"\bSystem\.(?:out|err|in)\b|\bpublic static void main\b"),
        (3, r"^import (?:static )?(?:java|javax|org|com)\.[\w.*]+;|^package [\w.]+;"),
        (2, r"@Override\b|\bthrows \w+|\bnew Scanner\(|\bString\[\] \w|\b(?:extends|implements) \w+[^\n]*\{"),
        (2, r"\b(?:Array|Linked)?List<[A-Z]\w*>|\b(?:Hash|Tree|Linked)?Map<|\b(?:String|Integer|Boolean|Double) \w+ *[=;,)]"),
        (3, r"^[ \t]*(?:public|private|protected)(?: static)?(?: final)? (?:void|int|double|boolean|long|char|float|String|[A-Z]\w*(?:<[^>\n]*>)?)(?:\[\])* \w+ *\([^)\n]*\)\s*(?:throws [\w, ]+)?\{"),
        (2, r"^[ \t]*(?:public|private|protected) (?:abstract |final |static )*(?:class|interface|enum) \w+"),
        (2, r"^[ \t]*(?:int|double|boolean|long|char|float|String)\[\] \w+ *[=;]|\bnew (?:int|double|char|String)\["),
        (1, r"^[ \t]*(?:int|double|boolean|long|char|float)(?:\[\])* \w+ *[=;(]|\bfinal \w+ \w+|\.length\(\)|\.equals\("),
    )),
    ("csharp", (";", "{"), (
        (4, r"^[ \t]*using [A-Z][\w.]*;|\bConsole\.(?:Write|Read)\w*\(|^[ \t]*namespace [\w.]+"),
        (3, r"\{ *get; *(?:private |protected )?(?:set;)? *\}|\bforeach *\((?:var|[\w<>]+) \w+ in |\bstring\.(?:Join|Format|IsNull\w+|Empty)\b"),
        (3, r"\bList<(?:int|string|double)>|\bDictionary<|\bstatic void Main\(|\bIEnumerable<|^[ \t]*var \w+ = from \w+ in "),
        (3, r"\bpublic (?:static |override |virtual |async )*(?:string|bool|Task)\b"),
        (3, r"^[ \t]*(?:public|private|protected|internal)(?: static)? (?:int|double|void|decimal|long)(?:\[\])? [A-Z]\w*\("),
        (2, r"\bstring(?:\[\])? \w+ *[=;]|\.(?:Length|Count|ToString|Add|Where|Select)\b|\bMath\.[A-Z][a-z]+\("),
    )),
    ("c", (";", "{", "#include"), (
        (3, r"#include *<(?:stdio|stdlib|string|math|ctype|stdbool|stdint|unistd|time|assert|errno|pthread|limits)\.h>"),
        (2, r"\b(?:printf|scanf|malloc|free|strlen|sizeof|strcpy|fgets)\(|\bstruct \w+ *[{*]|\btypedef \w|^#define \w|^[ \t]*#include *[<\"]"),
        (3, r"^[ \t]*(?:(?:static|unsigned|const|long|inline|struct \w+) )*(?:int|void|char|float|double|long|bool|size_t) \**\w+ *\((?:void|(?:const |struct |unsigned )*\w+[ *&]+\w+[^;\n]*)?\)\s*\{|\bint main\("),
        (2, r"^[ \t]*(?:int|float|double|char|long|unsigned|bool) \**\w+(?:\[\w*\])+ *[=;,]|\w->\w"),
        (1, r"^[ \t]*(?:int|float|double|char|long|unsigned|bool) \**\w+ *[=;,]|^[ \t]*for *\(int \w+ *="),
    )),
    ("cpp", (";", "{", "#include"), (
        (4, r"#include *<(?:iostream|vector|string|algorithm|map|set|unordered_\w+|queue|stack|deque|list|memory|cmath|cstdlib|cstring|cstdio|climits|fstream|sstream|iomanip|numeric|utility|bits/stdc\+\+\.h|functional|thread|chrono|random|cctype|array|bitset|limits|tuple|iterator|stdexcept|ctime|regex)>"),
        (4, r"\bstd::\w|\busing namespace \w+;|\b(?:cout|cerr) *<<|\bcin *>>"),
        (4, r"\btemplate *<(?:typename|class|int)\b|\bvector<\w|\w::~?\w+\([^)\n]*\)[^;\n]*\{|\bunordered_(?:map|set)<|\bmap<\w+, *\w+>"),
        (4, r"^[ \t]*(?:public|private|protected) *:[ \t]*$"),
        (3, r"\bvirtual \w|\bconst (?:std::)?\w+ ?& ?\w|\bauto ?& ?\w|\bnullptr\b|\.begin\(\)|\bstring \w+ *[,)] *.*\{?$(?=[\s\S]*\.length\(\))"),
    )),
    ("go", (":=", "func ", "package ", "fmt.", "chan "), (
        (4, r"^package \w+[ \t]*$"),
        (4, r"^func (?:\(\w+ \*?\w+\) )?\w+\([^\n:]*\{"),
        (4, r"\bfmt\.(?:Print|Sprint|Errorf|Scan|Fprint)\w*\("),
        (2, r"\w := |^import \($|^import \"|\bmap\[\w+\]\w|\bchan \w|\bgo func\(|^type \w+ (?:struct|interface) *\{"),
    )),
    ("rust", ("fn ", "let ", "!(", "![", "impl", "use ", "derive", "match "), (
        (4, r"^[ \t]*(?:pub(?:\(\w+\))? )?(?:async )?(?:unsafe )?fn \w+(?:<[^>\n]*>)?\("),
        (4, r"\b(?:println|vec|format|panic|eprintln|assert_eq)!\s*[(\[]"),
        (4, r"\blet mut \w|^impl(?:<[^>]*>)? \w|^[ \t]*use (?:std|crate|super|self)::|#\[derive\("),
        (3, r"&(?:mut |'\w+ )?(?:str|self)\b|\bmatch \w[^\n]*\{$|^[ \t]*let \w+: ?&?\w"),
    )),
    ("bash", (), (
        (4, r"\A#!.*\b(?:ba|z|da|k)?sh\b"),
        (3, r"^[ \t]*(?:if|elif|while|until) (?:\[\[? |! |test |grep |command )|;[ \t]*(?:then|do)[ \t]*$|^[ \t]*(?:fi|done|esac)\b[ \t]*(?:[|<>;#].*)?$"),
        (3, r"^[ \t]*echo (?:-\w+ )?[\"'$\w](?![^\n]*;[ \t]*$)"),
        (2, r"\$\{\w+|\$\([a-z]|\"\$[\w@#?*]|\$\(\("),
        (1, r"\$\w+\b"),
        (2, r"^[ \t]*for \w+ in [^\n:]*(?:;|$)|^[ \t]*(?:function )?\w+ *\(\) *\{[ \t]*$|^[ \t]*read (?:-\w+ )*\w"),
        (3, r"^[ \t]*(?:\$ )?(?:sudo |)(?:grep|awk|sed|find|ls|cat|chmod|chown|mkdir|rm|cp|mv|tar|curl|wget|ssh|scp|git|docker|apt(?:-get)?|yum|pip3?|npm|npx|yarn|ps|kill|sort|cut|head|tail|wc|xargs|touch|export|source|df|du|cd|crontab|systemctl|ping|rsync|unzip|gzip|diff|tr|uniq)(?: +(?:-{1,2}[a-zA-Z]|[\"'/~$*]|[\w./-]+\.[a-z]+\b|install |clone |add |commit |push |run |init\b)|[ \t]*\|)"),
        (1, r"^[A-Za-z_]\w*=[\"'$(\w/]|\| *(?:grep|awk|sed|sort|wc|head|tail|cut|xargs|uniq|tr)\b|>\s*/dev/null"),
    )),
    ("sql", (), (
        (4, r"(?i)\A\s*(?:--[^\n]*\n\s*)*(?:select\b[\s\S]+?\bfrom\s+[\w\"`\[(]|insert\s+into\s+[\w\"`\[]|update\s+[\w.\"`\[\]]+\s+set\b|delete\s+from\s+\w|create\s+(?:or\s+replace\s+)?(?:temporary\s+|unique\s+)?(?:table|view|database|index|procedure|function|trigger)\s+[\w\"`\[]|alter\s+table\s+\w|drop\s+(?:table|database|view|index)\s+\w|with\s+(?:recursive\s+)?\w+(?:\s*\([^)]*\))?\s+as\s*\(|use\s+\w+;|truncate\s+table\s+\w|grant\s+[\w, ]+\son\b)"),
        (3, r"^[ \t]*(?:SELECT\b[^\n]*(?:\bFROM\b|$)|FROM [\w.\"`]+|INSERT INTO|CREATE (?:TABLE|VIEW|PROCEDURE|TRIGGER|FUNCTION|INDEX|DATABASE)|DELETE FROM|ALTER TABLE)"),
        (2, r"^[ \t]*(?:WHERE|GROUP BY|ORDER BY|(?:INNER |LEFT |RIGHT |OUTER |)JOIN|HAVING|VALUES|PRIMARY KEY)\b"),
    )),
    ("html", ("<",), (
        (5, r"(?i)\A\s*(?:<!--[\s\S]*?-->\s*)?<!doctype html|\A\s*<html\b"),
        (3, r"(?i)<(div|p|a|ul|ol|li|table|tr|td|th|form|h[1-6]|body|head|span|button|select|nav|section|header|footer|label|title|script|style|svg|video|option|textarea|center|marquee|b|i|strong|em|iframe|audio|pre|code|main|article|blockquote|tbody|thead)\b[^<>]*>[\s\S]{0,500}?</\1>"),
        (3, r"(?i)\A\s*<(?:img|input|link|meta|br|hr)\b[^<>]*/?>"),
    )),
    ("css", ("{",), (
        (4, r"^(?!.*=)[\w.#*@:][\w .#*:>+~,()-]*\{[^{}]*?\b(?:color|background|margin|padding|font|display|width|height|border|position|text|transform|animation|opacity|float|flex|top|bottom|overflow|cursor|transition|box-shadow|line-height|list-style|z-index|max-width|min-width|visibility)[\w-]*\s*:\s*[^;{}]+[;}]"),
        (3, r"^(?:[.#][\w-]+|[a-z]+[.#][\w-]+|(?:p|body|div|h[1-6]|@media|@keyframes)\b)[^={}()\n]*\{\s*(?:/[*/]|$)"),
    )),
    ("php", ("<?", "$"), (
        (6, r"<\?php\b|<\?="),
        (3, r"^[ \t]*(?:\$\w+ *(?:\[[^\]\n]*\])* *[-.+]?= *[^\n]*;|function \w+\((?:\$\w|[^)\n]*\$)|foreach *\(\$|return \$\w|(?:if|while|for) *\([^\n]*\$\w)"),
        (3, r"\$this->|\$\w+->\w|\barray\(|=> *\$|\$_(?:GET|POST|SESSION|SERVER)\b|^[ \t]*echo [^\n]*;[ \t]*$(?<!done;)"),
    )),
    ("ruby", ("end", "puts ", ".each", "require", "attr_", "unless", "|"), (
        (4, r"^[ \t]*(?:def (?:self\.)?\w+[?!]?(?:[ \t]*\([^)\n]*\))?[ \t]*$)(?=[\s\S]*^[ \t]*end\b)|\bdo *\|\w[\w, ]*\||[\w)] \{ *\|\w[\w, ]*\||^[ \t]*attr_(?:accessor|reader|writer) :"),
        (3, r"^[ \t]*puts [\"'\w#\[]|^require ['\"]|^[ \t]*end[ \t]*$|\.each\b|\bunless \w"),
    )),
    ("swift", ("func ", "let ", "var ", "UIKit", "Foundation", "SwiftUI"), (
        (4, r"^[ \t]*func \w+(?:<\w+>)?\((?:(?:_ |\w+ )?\w+: ?[\w\[\]: ,?]+)?\) *(?:->|\{)|^import (?:UIKit|Foundation|SwiftUI)$|\bguard let\b|\bif let \w+ ="),
        (2, r"^[ \t]*(?:let|var) \w+(?: *: *\[?[A-Z][\w: ]*\]?\??)? *= *[^;\n]*$|\bprint\(\"[^\"\n]*\\\("),
    )),
    ("kotlin", ("fun ", "val ", "var ", "println(", "data class"), (
        (5, r"^[ \t]*(?:override |private |suspend |inline )*fun (?:<\w+> )?[\w.]+\(|^[ \t]*data class \w"),
        (2, r"^[ \t]*va[lr] \w+(?: *: *\w+[\w<>?, ]*)? *= *[^;\n]*$|\bprintln\("),
    )),
    ("haskell", ("::", "where", "main =", "qualified"), (
        (5, r"^\w+'? *:: *[\w(\[][^;\n]*(?:->|IO\b|\])|^module \w[\w.]* (?:\([^)]*\) )?where|^import qualified|^main = do\b"),
    )),
    ("perl", ("#!", "strict", "my ", "sub "), (
        (6, r"\A#!.*\bperl\b|^use strict;|^[ \t]*my [$@%(]\w|^[ \t]*sub \w+ *\{"),
    )),
    ("r", ("<-", "library(", "%>%"), (
        (5, r"^[ \t]*[\w.]+ *<- *(?:function|c|\w)|^library\(\w+\)|%>%"),
    )),
    ("powershell", ("Get-", "Set-", "New-", "Remove-", "Write-", "Import-", "Export-", "Invoke-", "param"), (
        (5, r"^[ \t]*(?:Get|Set|New|Remove|Write|Import|Export|Invoke)-[A-Z]\w+|\bparam *\([\s\[]"),
    )),
    ("scala", ("object ", "def "), (
        (5, r"^[ \t]*object \w+ (?:extends \w+ )?\{|^[ \t]*def \w+(?:\[\w+\])?\([^)\n]*: *\w[^)\n]*\)(?:: *[\w\[\], ]+)? *="),
    )),
)
# fmt: on

#: The same, compiled.
MARKS: Final = tuple(
    (lang, gate, tuple((weight, re.compile(pattern, re.M)) for weight, pattern in marks)) for lang, gate, marks in _ROWS
)
