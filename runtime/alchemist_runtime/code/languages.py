"""Which language an unfenced text is written in, from its syntax: weighted marks, then the parsers where marks cannot
tell.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.code import grammars
from alchemist_runtime.code.clarity import word_set

_READ: Final = 20_000  # characters that the marks look at
_ENOUGH: Final = 3  # marks that make a language

_PLAIN_WORDS: Final = word_set(
    """
    the a an are was of to that it you your can be will we has have its these should which there by uses use used
    using would could they he she his her how what when where
    """
)
_WORD: Final = re.compile(r"\(?[\"'“`*]*[A-Za-z’'-]+[\"'”`*]*\)?[.,;:!?]*\Z|\$?\d+(?:[.,]\d+)*%?[.,;:!?]*\Z")
_COMMENT: Final = re.compile(r"\s*(?:#|//|/?\*|--|<!--|\"\"\"|''')")
_CODE_LINE: Final = re.compile(
    r"[;{}\\]\s*\Z|\w\([^()]*\)\s*\Z|\s(?://|#)\s?\w"
    r"|^\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|FROM|WHERE)\b"
    r"|^\s*(?:echo|print|printf|puts)\b[ (]*[\"'$]"
    r"|^\s*(?:public|private|protected|static|def|class|function|const|let|var|return|import|from)\b[^\n]*[({=:;]"
)
_BULLET: Final = re.compile(r"\A\s*(?:[-*•]|\d+[.)])\s+")
_LITERAL: Final = re.compile(r"`[^`]*`")


def prose(line: str) -> bool:
    """Whether a line reads as a sentence: plain words for the most part, at least one that only sentences have."""
    if _CODE_LINE.search(line) or (_COMMENT.match(line) and not _BULLET.match(line)):
        return False
    words = _LITERAL.sub("it", _BULLET.sub("", line)).split()
    if len(words) < 4:
        return False
    plain = sum(1 for w in words if _WORD.match(w))
    return plain >= 0.75 * len(words) and any(w.lower().strip("\"'(),.:;!?") in _PLAIN_WORDS for w in words)


def detect(text: str) -> str | None:
    """The language of a text without fences, None where no code is to be seen in it."""
    bare = text.strip()
    if not bare:
        return None
    if bare[0] in "{[" and _is_json(bare):
        return "json"
    proof = _python(bare)
    if proof == 2:
        return "python"
    scores = _scores(bare[:_READ])
    best = max(scores, key=lambda name: scores[name], default=None)
    if proof == 1 and (best is None or best == "python" or scores[best] < _ENOUGH):
        return "python"
    if best is None or scores[best] < _ENOUGH:
        return None
    return _among(bare, best, scores)


def _is_json(text: str) -> bool:
    """Objects, and lists that hold an object: a bare list of values is a result, not a document."""
    value = grammars.json_value(text)
    if isinstance(value, list):
        return any(isinstance(v, dict) for v in value)
    return isinstance(value, dict)


def _scores(text: str) -> dict[str, int]:
    code = "\n".join(line for line in text.replace("\r\n", "\n").split("\n") if not prose(line))
    out: dict[str, int] = {}
    if not code.strip():
        return out
    for lang, gate, marks in LANGUAGE_MARKS:
        if not gate or any(g in code for g in gate):
            score = sum(weight for weight, mark in marks if mark.search(code))
            if score:
                out[lang] = score
    return out


def _among(text: str, best: str, scores: dict[str, int]) -> str:
    """Settle between languages that share their marks."""
    if scores.get("php", 0) >= 6:
        return "php"
    if best in ("c", "cpp", "java", "csharp"):
        return _braces(text, best, scores)
    if best in ("javascript", "typescript", "html"):
        return _web(text, best, scores)
    return best


def _braces(text: str, best: str, scores: dict[str, int]) -> str:
    if best in ("c", "cpp"):
        if scores.get("cpp", 0) >= 4:
            return "cpp"
        if scores.get("cpp") and grammars.tree(text, "c") is None:
            return "cpp"
        return best
    rival = "csharp" if best == "java" else "java"
    if scores.get(rival, 0) and scores["csharp"] >= scores["java"]:
        return "csharp"
    return best


def _web(text: str, best: str, scores: dict[str, int]) -> str:
    if text.lstrip()[:1] == "<" and scores.get("html", 0) >= _ENOUGH:
        return "html"
    if best == "html" and scores.get("javascript", 0) >= _ENOUGH:
        best = "javascript"  # JSX, or markup inside strings
    if scores.get("typescript", 0) >= 3 and best != "html":
        plain = grammars.tree(text, "javascript") is not None
        return "javascript" if plain else "typescript"
    return best


# --- marks of languages -------------------------------------------------------------------------------------------------

# One row per language: (name, texts of which one must occur for any mark to match, or none; ((weight, pattern), …)).
# A mark is worth its weight once, however often it stands in a text.
# fmt: off
_MARK_ROWS: Final[tuple[tuple[str, tuple[str, ...], tuple[tuple[int, str], ...]], ...]] = (
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
LANGUAGE_MARKS: Final = tuple(
    (lang, gate, tuple((weight, re.compile(pattern, re.M)) for weight, pattern in marks))
    for lang, gate, marks in _MARK_ROWS
)


# --- Python by its own parser -----------------------------------------------------------------------------------------

_BLOCKS: Final = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.If,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.Match,
)
_VALUES: Final = (ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.Lambda, ast.Subscript, ast.JoinedStr)
_KNOWN_CALLS: Final = word_set(
    """
    print len range sorted sum min max map filter zip list dict set tuple str int float open input enumerate any all
    reversed isinstance abs round type
    """
)
_SEMICOLON: Final = re.compile(r";[ \t]*$", re.M)
_OTHERS: Final = re.compile(r"^\s*(?://|/\*)|\bnew [A-Z]\w*\(", re.M)


def _python(text: str) -> int:
    """2: Python without doubt; 1: parses and looks like it; 0: no."""
    tree = grammars.module(text)
    if tree is None:
        return 0
    if ">>>" in text and text.startswith(">>>"):
        return 2
    body = tree.body
    if any(isinstance(s, _BLOCKS) for s in body):
        return 2
    imports = [s for s in body if isinstance(s, ast.Import | ast.ImportFrom)]
    if len(_SEMICOLON.findall(text)) * 2 > len(body) or _OTHERS.search(text):
        return 0
    if imports and (len(body) > 1 or isinstance(imports[0], ast.ImportFrom) or "." in text or " as " in text):
        return 2
    return int(_evidence(body))


def _evidence(body: list[ast.stmt]) -> bool:
    """Whether statements without a block say more than words and formulas of prose would."""
    telling = 0
    for s in body:
        value = getattr(s, "value", None)
        if isinstance(s, ast.Expr):
            telling += 2 * _telling(s.value)
        elif isinstance(s, ast.AnnAssign) and value is None:
            continue  # `name: word` is what many notes look like
        elif isinstance(s, ast.Assign | ast.AugAssign | ast.AnnAssign):
            formula = isinstance(value, ast.Constant | ast.Name | ast.BinOp | ast.UnaryOp)
            telling += 1 if formula and not isinstance(getattr(value, "value", None), str) else 2
        elif isinstance(s, ast.Return | ast.Assert | ast.Raise | ast.Delete | ast.Import):
            telling += 1
    return telling >= 2


def _telling(value: ast.expr) -> bool:
    if isinstance(value, ast.Await):
        value = value.value
    if isinstance(value, ast.Call):
        name = value.func
        if isinstance(name, ast.Attribute):
            return True
        return isinstance(name, ast.Name) and (name.id in _KNOWN_CALLS or bool(value.keywords))
    return isinstance(value, _VALUES)


# --- fences ----------------------------------------------------------------------------------------------------------

#: Fence tags of the languages we know, to the name we use for them.
_TAGS: Final = {
    "python": "py py3 python2 python3 pycon ipython",
    "javascript": "js jsx mjs node nodejs",
    "typescript": "ts tsx",
    "cpp": "c++ cc cxx hpp",
    "c": "h",
    "go": "golang",
    "rust": "rs",
    "bash": "sh shell zsh console shellscript",
    "sql": "mysql postgresql postgres sqlite plsql tsql",
    "html": "htm xhtml",
    "json": "jsonc json5",
    "csharp": "c# cs",
    "ruby": "rb",
    "kotlin": "kt",
    "powershell": "ps1",
}
ALIASES: Final[dict[str, str]] = {tag: name for name, tags in _TAGS.items() for tag in tags.split()}
#: Tags of blocks that hold no code: what a program prints, plain text, a placeholder.
PLAIN: Final = frozenset(
    {"text", "txt", "plain", "plaintext", "output", "out", "stdout", "none", "log", "markdown", "md"}
)

_OPEN: Final = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([^\n]*)$")
_FENCE: Final = re.compile(r"^([ \t]*)(`{3,}|~{3,})", re.M)
#: Backticks at the beginning of a line.
BACKTICKS: Final = re.compile(r"^[ \t]*```", re.M)
_MARKS: Final = re.compile(r"```|~~~")
_TAG: Final = re.compile(r"[{.]*([A-Za-z][\w+#.-]*)")


@dataclass(frozen=True, slots=True)
class Block:
    """`lang` is the tag in our spelling, None without a tag; `plain` marks output and plain text."""

    lang: str | None
    code: str
    plain: bool = False


def scan(text: str) -> list[Block]:
    """The fenced blocks in order, by the rules of CommonMark; one that is never closed runs to the end.

    A fence that is indented by four columns more than the one that opened the block stands in a string or a comment of
    the code. It closes the block only where no other one does before the next block begins.
    """
    if "```" not in text and "~~~" not in text:
        return []
    text = text.replace("\r\n", "\n")
    out: list[Block] = []
    lines, at = list(_marked_lines(text)), 0
    while at < len(lines):
        start, end = lines[at]
        at += 1
        found = _OPEN.match(text[start:end])
        if found is None or (found[1][0] == "`" and "`" in found[2]):
            continue
        last = _closing(text, lines, at, found[1], _columns(found[0]) + 4)
        stop = len(text) if last is None else max(end + 1, lines[last][0] - 1)
        at = len(lines) if last is None else last + 1
        out.append(_block(found[2].strip(), text[end + 1 : stop], found.start(1)))
    return out


def _closing(text: str, lines: list[tuple[int, int]], first: int, fence: str, deep: int) -> int | None:
    """Which line from the first one on closes a block; `deep` is the column from which on a fence belongs to the
    code.
    """
    late = None
    for number in range(first, len(lines)):
        line = text[slice(*lines[number])]
        bare = line.strip()
        closes = len(bare) >= len(fence) and set(bare) == {fence[0]}
        if _columns(line) >= deep:
            late = number if closes else late
        elif closes or (late is not None and _OPEN.match(line)):
            return number if closes else late
    return late


def _columns(line: str) -> int:
    """How far a line is indented."""
    line = line.expandtabs(4)
    return len(line) - len(line.lstrip(" "))


def hidden(text: str) -> str:
    """The text with brackets that nothing opened in the place of its fences: it parses if these stand in strings or
    comments.
    """
    return _FENCE.sub(lambda found: found[1] + ")" * len(found[2]), text)


def _marked_lines(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of the lines that hold a fence's characters: no other line opens or closes a block."""
    end = -1
    for found in _MARKS.finditer(text):
        if found.start() >= end:
            start = text.rfind("\n", 0, found.start()) + 1
            end = text.find("\n", found.end())
            end = len(text) if end < 0 else end
            yield start, end


def _block(info: str, body: str, indent: int) -> Block:
    found = _TAG.match(info)
    tag = found[1].lower().rstrip(".-") if found else ""
    tag = ALIASES.get(tag, tag)
    if indent:
        lines = body.split("\n")
        body = "\n".join(x[min(len(x) - len(x.lstrip(" \t")), indent) :] for x in lines)
    code = body.strip("\n")
    return Block(None if not tag or tag in PLAIN else tag, code, plain=tag in PLAIN)
