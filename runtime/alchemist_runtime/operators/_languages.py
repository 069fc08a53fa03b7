"""Which language an unfenced text is written in, from its syntax: weighted marks, then the parsers where marks cannot tell."""

from __future__ import annotations

import ast
import re
from typing import Final

from alchemist_runtime.operators import _grammars

_READ: Final = 20_000  # characters that the marks look at
_ENOUGH: Final = 3  # marks that make a language

# A mark is worth its weight once, however often it stands there.
_MARKS: Final[tuple[tuple[str, int, str], ...]] = (
    ("python", 3, r"^[ \t]*(?:async )?def \w+\(.*\)?(?: *-> *[^\n:]+)?:?[ \t]*(?:#.*)?$"),
    ("python", 3, r"^[ \t]*class \w+(?:\([\w., =]*\))?:[ \t]*$"),
    ("python", 3, r"^>>> \S"),
    ("python", 3, r"^[ \t]*from [\w.]+ import [\w*(]"),
    ("python", 2, r"^import [\w.]+(?: as \w+)?(?:, *[\w.]+)*[ \t]*$"),
    (
        "python",
        2,
        r"^[ \t]*(?:if|elif|for|while|with|except|else|try|finally)\b[^\n{}]*:[ \t]*(?:#.*)?$",
    ),
    ("python", 2, r"\bself\.\w|\b__\w+__\b|\belif\b|\blambda \w*:"),
    ("python", 1, r"^[ \t]*print *\(|^[ \t]*print [\"']"),
    (
        "python",
        1,
        r"\b(?:len|range|str|int|list|dict|sorted|enumerate|zip)\(|\b(?:None|True|False)\b",
    ),
    ("javascript", 3, r"\bconsole\.(?:log|error|warn|info)\("),
    (
        "javascript",
        3,
        r"\bdocument\.\w|\bwindow\.\w|\bmodule\.exports\b|\brequire\([\"']|\bexport (?:default|const|function|class)\b",
    ),
    (
        "javascript",
        3,
        r"^[ \t]*(?:async )?function\*? ?\w*\([^)\n:]*\) *\{|\bfunction *\([\w, ]*\) *\{",
    ),
    ("javascript", 3, r"^import (?:[\w*{][^;\n]* from )?[\"'][^\"'\n]+[\"']"),
    ("javascript", 2, r"\([\w, {}\[\]=.]*\) *=> *[{(\w]|\b\w+ => "),
    ("javascript", 2, r"^[ \t]*(?:const|let) (?:\w+|[{\[][^=\n]*[}\]]) *="),
    ("javascript", 1, r"^[ \t]*(?:var|for *\((?:let|var|const)) \w+"),
    (
        "javascript",
        2,
        r"===|!==|\bJSON\.(?:parse|stringify)\(|\bMath\.\w+\(|\bnew Promise\b|\bawait fetch\(",
    ),
    (
        "javascript",
        2,
        r"\$\([\"'.#]|\.addEventListener\(|\.forEach\(\(?\w*\)? *=>|\bjQuery\b|\balert\(",
    ),
    (
        "javascript",
        1,
        r"^[ \t]*\w+(?:\.\w+)+\([^\n]*\);?[ \t]*$|\.(?:length|push|map|filter|reduce)\b",
    ),
    (
        "typescript",
        3,
        r"^[ \t]*(?:export )?(?:interface|type|enum) \w+(?:<[\w, ]+>)? *(?:extends [\w, ]+)?[={]",
    ),
    (
        "typescript",
        4,
        r"[\w)\]?] *: *(?:string|number|boolean|any|unknown|void|never)(?:\[\])?(?= *[,;)={|\n])",
    ),
    ("typescript", 1, r"\b(?:private|public|readonly) \w+\??: |\bas (?:const|string|number|any)\b"),
    ("java", 3, r"\bSystem\.(?:out|err|in)\b|\bpublic static void main\b"),
    ("java", 3, r"^import (?:static )?(?:java|javax|org|com)\.[\w.*]+;|^package [\w.]+;"),
    (
        "java",
        2,
        r"@Override\b|\bthrows \w+|\bnew Scanner\(|\b(?:extends|implements) \w+.*\{|\bString\[\] \w",
    ),
    (
        "java",
        2,
        r"\b(?:Array|Linked)?List<[A-Z]\w*>|\b(?:Hash|Tree|Linked)?Map<|\b(?:String|Integer|Boolean|Double) \w+ *[=;,)]",
    ),
    (
        "java",
        2,
        r"^[ \t]*(?:public|private|protected)(?: static)?(?: final)? (?:class|interface|enum|void|int|double|boolean|long|char|float|String|[A-Z]\w*(?:<[^>\n]*>)?)(?:\[\])* \w+",
    ),
    (
        "java",
        1,
        r"^[ \t]*(?:int|double|boolean|long|char|float)(?:\[\])* \w+ *[=;(]|\bfinal \w+ \w+",
    ),
    (
        "csharp",
        4,
        r"^[ \t]*using [A-Z][\w.]*;|\bConsole\.(?:Write|Read)\w*\(|^[ \t]*namespace [\w.]+",
    ),
    (
        "csharp",
        3,
        r"\{ *get; *(?:private |protected )?(?:set;)? *\}|\bforeach *\((?:var|\w+) \w+ in |\bstring\.\w+\(|\bnew List<|\bDictionary<|\bList<(?:int|string)>",
    ),
    (
        "csharp",
        3,
        r"\bpublic (?:static |override |virtual |async )*(?:string|bool|Task)\b|\bstatic void Main\(|\bvar \w+ = new \w|\bstring(?:\[\])? \w+ *[=;,)]",
    ),
    (
        "c",
        3,
        r"#include *<(?:stdio|stdlib|string|math|ctype|stdbool|stdint|unistd|time|assert|errno|pthread|limits)\.h>",
    ),
    (
        "c",
        2,
        r"\b(?:printf|scanf|malloc|free|strlen|sizeof|strcpy|fgets)\(|\bstruct \w+ *[{*]|\btypedef \w|^#define \w",
    ),
    (
        "c",
        2,
        r"^(?:static |unsigned |const )*(?:int|void|char|float|double|long|bool|size_t) \**\w+\([^;\n]*\) *\{?[ \t]*$|\bint main\(",
    ),
    ("c", 1, r"^[ \t]*(?:int|float|double|char|long|unsigned) \**\w+(?:\[\w*\])* *[=;,]|\w->\w"),
    (
        "cpp",
        4,
        r"#include *<(?:iostream|vector|string|algorithm|map|set|unordered_\w+|queue|stack|deque|list|memory|cmath|cstdlib|cstring|cstdio|climits|fstream|sstream|iomanip|numeric|utility|bits/stdc\+\+\.h|functional|thread|chrono|random|cctype|array|bitset|limits|tuple|iterator|stdexcept|ctime|regex)>",
    ),
    ("cpp", 4, r"\bstd::\w|\busing namespace \w+;|\b(?:cout|cerr) *<<|\bcin *>>"),
    (
        "cpp",
        4,
        r"\btemplate *<(?:typename|class|int)\b|\bvector<\w|\w::~?\w+\([^)\n]*\)[^;\n]*\{|\bunordered_(?:map|set)<|\bmap<\w+, *\w+>",
    ),
    (
        "cpp",
        2,
        r"^[ \t]*(?:public|private|protected):[ \t]*$|\bvirtual \w|\bconst (?:std::)?\w+ ?& ?\w|\bauto ?& ?\w|\bnullptr\b",
    ),
    (
        "go",
        4,
        r"^package \w+[ \t]*$|^func (?:\(\w+ \*?\w+\) )?\w+\([^\n]*\{|\bfmt\.(?:Print|Sprint|Errorf|Scan|Fprint)\w*\(",
    ),
    (
        "go",
        2,
        r"\b\w+(?:, *\w+)* := |^import \($|^import \"|\bmap\[\w+\]\w|\bchan \w|\bgo func\(|^type \w+ (?:struct|interface) *\{",
    ),
    (
        "rust",
        4,
        r"^[ \t]*(?:pub(?:\(\w+\))? )?(?:async )?(?:unsafe )?fn \w+(?:<[^>\n]*>)?\(|\blet mut \w|\b(?:println|vec|format|panic|eprintln|assert_eq)!\s*[(\[]",
    ),
    (
        "rust",
        3,
        r"^impl(?:<[^>]*>)? \w|^[ \t]*use (?:std|crate|super|self)::|#\[derive\(|&(?:mut |'\w+ )?(?:str|self)\b|\bmatch \w[^\n]*\{$",
    ),
    ("bash", 4, r"\A#!.*\b(?:ba|z|da|k)?sh\b"),
    (
        "bash",
        3,
        r"^[ \t]*(?:if|elif|while|until) (?:\[\[? |! |test |grep |command )|;[ \t]*(?:then|do)[ \t]*$|^[ \t]*(?:fi|done|esac)\b[ \t]*(?:[|<>;#].*)?$",
    ),
    ("bash", 2, r"^[ \t]*echo (?:-\w+ )?[\"'$\w]|\$\{?\w+[}\"/ \n]|\$\([a-z]|\"\$[\w@#?*]"),
    (
        "bash",
        2,
        r"^[ \t]*for \w+ in .*(?:;|$)|^[ \t]*(?:function )?\w+ *\(\) *\{[ \t]*$|^[ \t]*read (?:-\w+ )*\w",
    ),
    (
        "bash",
        3,
        r"^[ \t]*(?:\$ )?(?:sudo |)(?:grep|awk|sed|find|ls|cat|chmod|chown|mkdir|rm|cp|mv|tar|curl|wget|ssh|scp|git|docker|apt(?:-get)?|yum|pip3?|npm|npx|yarn|ps|kill|sort|cut|head|tail|wc|xargs|touch|export|source|df|du|cd|crontab|systemctl|ping|rsync|unzip|gzip|diff|tr|uniq)(?: +(?:-{1,2}\w|[\"'/~.$*]|[\w./-]+\.\w+\b|install |clone |add |commit |push |run |init\b)|[ \t]*\|)",
    ),
    (
        "bash",
        1,
        r"^[A-Za-z_]\w*=[\"'$(\w/]|\| *(?:grep|awk|sed|sort|wc|head|tail|cut|xargs|uniq|tr)\b|>\s*/dev/null",
    ),
    (
        "sql",
        4,
        r"\A\s*(?:--[^\n]*\n\s*)*(?:(?i:select\b[\s\S]+?\bfrom\s+[\w\"`\[(]|insert\s+into\s+[\w\"`\[]|update\s+[\w.\"`\[\]]+\s+set\b|delete\s+from\s+\w|create\s+(?:or\s+replace\s+)?(?:temporary\s+|unique\s+)?(?:table|view|database|index|procedure|function|trigger)\s+[\w\"`\[]|alter\s+table\s+\w|drop\s+(?:table|database|view|index)\s+\w|with\s+(?:recursive\s+)?\w+(?:\s*\([^)]*\))?\s+as\s*\(|use\s+\w+;|truncate\s+table\s+\w|grant\s+[\w, ]+\son\b))",
    ),
    (
        "sql",
        3,
        r"^[ \t]*(?:SELECT\b[^\n]*(?:\bFROM\b|$)|FROM [\w.\"`]+|INSERT INTO|CREATE (?:TABLE|VIEW|PROCEDURE|TRIGGER|FUNCTION|INDEX|DATABASE)|DELETE FROM|ALTER TABLE)",
    ),
    (
        "sql",
        2,
        r"^[ \t]*(?:WHERE|GROUP BY|ORDER BY|(?:INNER |LEFT |RIGHT |OUTER |)JOIN|HAVING|VALUES|PRIMARY KEY)\b",
    ),
    ("html", 5, r"(?i)\A\s*(?:<!--[\s\S]*?-->\s*)?<!doctype html|\A\s*<html\b"),
    (
        "html",
        3,
        r"(?i)<(div|p|a|ul|ol|li|table|tr|td|th|form|h[1-6]|body|head|span|button|select|nav|section|header|footer|label|title|script|style|svg|video|option|textarea|center|marquee|b|i|strong|em|iframe|audio|pre|code|main|article|blockquote|tbody|thead)\b[^<>]*>[\s\S]*?</\1>",
    ),
    ("html", 3, r"(?i)\A\s*<(?:img|input|link|meta|br|hr)\b[^<>]*/?>"),
    (
        "css",
        4,
        r"\A\s*(?:/\*[\s\S]*?\*/\s*)?(?:[.#*@]?[a-zA-Z][\w-]*|\*|\.[\w-]+)(?:[\s>+~,.:#()\[\]=\"'\w*-]*)\{\s*(?:/\*[^*]*\*/\s*)?[a-z-]+\s*:\s*[^;{}]+[;}]",
    ),
    (
        "css",
        2,
        r"^[ \t]+(?:color|background(?:-\w+)?|margin|padding|font(?:-\w+)?|display|width|height|border(?:-\w+)?|position|text-align)\s*:\s*[^;{}\n]+;",
    ),
    ("php", 6, r"<\?php\b|<\?="),
    (
        "php",
        3,
        r"^[ \t]*(?:echo [^\n]*;|\$\w+ *(?:\[[^\]\n]*\])* *[-.+]?= *[^\n]*;|function \w+\((?:\$\w|[^)\n]*\$)|foreach *\(\$|return \$\w|(?:if|while|for) *\([^\n]*\$\w)",
    ),
    ("php", 2, r"\$this->|\$\w+->\w|\barray\(|=> *\$|\$_(?:GET|POST|SESSION|SERVER)\b"),
    (
        "ruby",
        4,
        r"^[ \t]*(?:def (?:self\.)?\w+[?!]?(?:[ \t]*\([^)\n]*\))?[ \t]*$)(?=[\s\S]*^[ \t]*end\b)|\bdo *\|\w[\w, ]*\||\{ *\|\w[\w, ]*\||^[ \t]*attr_(?:accessor|reader|writer) :",
    ),
    (
        "ruby",
        3,
        r"^[ \t]*puts [\"'\w#\[]|^require ['\"]|^[ \t]*end[ \t]*$(?=[\s\S]*)|\.each\b|\bunless \w",
    ),
    (
        "swift",
        4,
        r"^[ \t]*func \w+(?:<\w+>)?\((?:_ |\w+ )?\w*:? ?[\w\[\]: ,?]*\) *(?:->|\{)|^import (?:UIKit|Foundation|SwiftUI)$|\bguard let\b|\bif let \w+ =",
    ),
    (
        "swift",
        2,
        r"^[ \t]*(?:let|var) \w+(?: *: *\[?[A-Z][\w: ]*\]?\??)? *= *[^;\n]*$|\bprint\(\"[^\"\n]*\\\(",
    ),
    (
        "kotlin",
        5,
        r"^[ \t]*(?:override |private |suspend |inline )*fun (?:<\w+> )?[\w.]+\(|^[ \t]*data class \w",
    ),
    ("kotlin", 2, r"^[ \t]*va[lr] \w+(?: *: *\w+[\w<>?, ]*)? *= *[^;\n]*$|\bprintln\("),
    (
        "haskell",
        5,
        r"^\w+'? *:: *[\w(\[][^;\n]*(?:->|IO\b|\])|^module \w[\w.]* (?:\([^)]*\) )?where|^import qualified|^main = do\b",
    ),
    ("perl", 5, r"\A#!.*\bperl\b|^use strict;|^[ \t]*my [$@%(]\w|^[ \t]*sub \w+ *\{"),
    ("r", 5, r"^[ \t]*[\w.]+ *<- *(?:function|c|\w)|^library\(\w+\)|%>%"),
    (
        "powershell",
        5,
        r"^[ \t]*(?:Get|Set|New|Remove|Write|Import|Export|Invoke)-[A-Z]\w+|\bparam *\([\s\[]",
    ),
    (
        "scala",
        5,
        r"^[ \t]*object \w+ (?:extends \w+ )?\{|^[ \t]*def \w+(?:\[\w+\])?\([^)\n]*: *\w[^)\n]*\)(?:: *[\w\[\], ]+)? *=",
    ),
)
_MARK: Final = tuple((lang, weight, re.compile(pattern, re.M)) for lang, weight, pattern in _MARKS)

_PLAIN_WORDS: Final = frozenset(
    [
        "the",
        "a",
        "an",
        "are",
        "was",
        "of",
        "to",
        "that",
        "it",
        "you",
        "your",
        "can",
        "be",
        "will",
        "we",
        "has",
        "have",
        "its",
        "these",
        "should",
        "which",
        "there",
        "by",
        "uses",
        "use",
        "used",
        "using",
        "would",
        "could",
        "they",
        "he",
        "she",
        "his",
        "her",
        "how",
        "what",
        "when",
        "where",
    ]
)
_WORD: Final = re.compile(
    r"\(?[\"'“`*]*[A-Za-z’'-]+[\"'”`*]*\)?[.,;:!?]*\Z|\$?\d+(?:[.,]\d+)*%?[.,;:!?]*\Z"
)
_COMMENT: Final = re.compile(r"\s*(?:#|//|/?\*|--|<!--|\"\"\"|''')")
_BULLET: Final = re.compile(r"\s*(?:[-*•]|\d+[.)])\s+")
_LITERAL: Final = re.compile(r"`[^`]*`")


def prose(line: str) -> bool:
    """Whether a line reads as a sentence: plain words for the most part, at least one that only sentences have."""
    if _COMMENT.match(line) and not _BULLET.match(line):
        return False
    words = _LITERAL.sub("it", _BULLET.sub("", line)).split()
    if len(words) < 4:
        return False
    plain = sum(1 for w in words if _WORD.match(w))
    return plain >= 0.75 * len(words) and any(
        w.lower().strip("\"'(),.:;!?") in _PLAIN_WORDS for w in words
    )


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
    """Objects, and lists that hold an object or a text: a bare list of numbers is no document."""
    value = _grammars.json_value(text)
    if isinstance(value, list):
        return any(isinstance(v, dict | list | str) for v in value)
    return isinstance(value, dict)


def _scores(text: str) -> dict[str, int]:
    code = "\n".join(line for line in text.replace("\r\n", "\n").split("\n") if not prose(line))
    out: dict[str, int] = {}
    for lang, weight, mark in _MARK:
        if mark.search(code):
            out[lang] = out.get(lang, 0) + weight
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
        if scores.get("cpp") and _grammars.tree(text, "c") is None:
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
        plain = _grammars.tree(text, "javascript") is not None
        return "javascript" if plain else "typescript"
    return best


# --- Python by its own parser -------------------------------------------------------------------------------------------------

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
_VALUES: Final = (
    ast.List,
    ast.Dict,
    ast.Set,
    ast.ListComp,
    ast.DictComp,
    ast.SetComp,
    ast.GeneratorExp,
    ast.Lambda,
    ast.Subscript,
    ast.JoinedStr,
)
_KNOWN_CALLS: Final = frozenset(
    [
        "print",
        "len",
        "range",
        "sorted",
        "sum",
        "min",
        "max",
        "map",
        "filter",
        "zip",
        "list",
        "dict",
        "set",
        "tuple",
        "str",
        "int",
        "float",
        "open",
        "input",
        "enumerate",
        "any",
        "all",
        "reversed",
        "isinstance",
        "abs",
        "round",
        "type",
    ]
)
_SEMICOLON: Final = re.compile(r";[ \t]*$", re.M)
_OTHERS: Final = re.compile(r"^\s*(?://|/\*)|\bnew [A-Z]\w*\(", re.M)


def _python(text: str) -> int:
    """2: Python without doubt; 1: parses and looks like it; 0: no."""
    tree = _grammars.module(text)
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
    if imports and (
        len(body) > 1 or isinstance(imports[0], ast.ImportFrom) or "." in text or " as " in text
    ):
        return 2
    return int(_evidence(body))


def _evidence(body: list[ast.stmt]) -> bool:
    """Whether statements without a block say more than words and formulas of prose would."""
    telling = 0
    for s in body:
        value = getattr(s, "value", None)
        if isinstance(s, ast.Expr):
            telling += 2 * _telling(s.value)
        elif isinstance(s, ast.Assign | ast.AugAssign | ast.AnnAssign):
            formula = isinstance(
                value, ast.Constant | ast.Name | ast.BinOp | ast.UnaryOp | None.__class__
            )
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
    return isinstance(value, _VALUES) and not isinstance(value, ast.Set)
