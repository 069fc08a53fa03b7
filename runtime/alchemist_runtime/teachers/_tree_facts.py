"""What a tree-sitter tree proves about code in javascript, typescript, java, c, cpp, go, rust and bash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from alchemist_runtime.operators import _grammars
from alchemist_runtime.teachers._facts import Facts, number_word

if TYPE_CHECKING:
    from tree_sitter import Node

NAMES: Final[dict[str, str]] = {
    "python": "Python",
    "javascript": "JavaScript",
    "typescript": "TypeScript",
    "java": "Java",
    "c": "C",
    "cpp": "C++",
    "go": "Go",
    "rust": "Rust",
    "bash": "Bash",
    "sql": "SQL",
    "html": "HTML",
    "json": "JSON",
    "csharp": "C#",
    "css": "CSS",
    "php": "PHP",
    "r": "R",
    "ruby": "Ruby",
    "swift": "Swift",
    "kotlin": "Kotlin",
    "haskell": "Haskell",
    "perl": "Perl",
    "powershell": "PowerShell",
    "scala": "Scala",
    "yaml": "YAML",
    "xml": "XML",
}
_FUNCTIONS: Final = frozenset(
    [
        "function_declaration",
        "function_definition",
        "function_item",
        "method_declaration",
        "method_definition",
        "constructor_declaration",
        "generator_function_declaration",
    ]
)
_ANONYMOUS: Final = frozenset(
    {
        "arrow_function",
        "function_expression",
        "lambda_expression",
        "closure_expression",
        "func_literal",
    }
)
_CLASSES: Final = frozenset(
    [
        "class_declaration",
        "class_specifier",
        "struct_specifier",
        "struct_item",
        "interface_declaration",
        "enum_declaration",
        "trait_item",
        "enum_item",
        "type_spec",
        "abstract_class_declaration",
        "record_declaration",
        "enum_specifier",
    ]
)
_LOOPS: Final = frozenset(
    [
        "for_statement",
        "while_statement",
        "do_statement",
        "for_in_statement",
        "enhanced_for_statement",
        "for_range_loop",
        "for_expression",
        "while_expression",
        "loop_expression",
        "c_style_for_statement",
    ]
)
_CALLS: Final = frozenset(
    {
        "call_expression",
        "method_invocation",
        "macro_invocation",
        "command",
        "object_creation_expression",
        "new_expression",
    }
)


@dataclass(slots=True)
class Scan:
    """One pass over a tree. `calls` holds dotted names as written; `depth` the deepest nesting of loops."""

    source: bytes
    kinds: Counter[str] = field(default_factory=Counter)
    functions: list[str] = field(default_factory=list)
    methods: int = 0
    classes: list[tuple[str, str]] = field(default_factory=list)  # (name, node kind)
    calls: Counter[str] = field(default_factory=Counter)
    inner: set[str] = field(default_factory=set)  # what is called inside of functions
    types: Counter[str] = field(default_factory=Counter)
    recursive: set[str] = field(default_factory=set)
    loose: int = 0  # statements outside of functions and classes
    depth: int = 0
    comments: int = 0

    def text(self, node: Node | None) -> str:
        return (
            self.source[node.start_byte : node.end_byte].decode("utf-8", "replace") if node else ""
        )


def facts(code: str, lang: str) -> Facts | None:
    """What the tree proves; None where the code has no tree without errors."""
    parsed = _grammars.tree(code, lang)
    if parsed is None:
        return None
    s = _scan(parsed)
    out = Facts(NAMES[lang])
    _unit(s, out, lang)
    _ideas(s, out)
    for kind, wordings in _KINDS.get(lang, ()):
        if any(s.kinds[k] for k in kind.split("|")):
            out.say(*wordings)
    for test, wordings in _CALLED.get(lang, ()):
        if test(s):
            out.say(*wordings)
    _fillers(s, out, lang)
    return out


# --- the pass -----------------------------------------------------------------------------------------------------------------


def _scan(parsed: _grammars.Parsed) -> Scan:
    s = Scan(parsed.source)
    wrappers = {"X", "f"} if parsed.inside else set()
    todo: list[tuple[Node, tuple[str, ...], int, bool]] = [(parsed.tree.root_node, (), 0, False)]
    while todo:
        node, inside, loops, within = todo.pop()
        kind = node.type
        s.kinds[kind] += 1
        if kind in _FUNCTIONS or kind in _ANONYMOUS:
            name = _name(node, s)
            ours = name in wrappers and not inside
            if not ours:
                if name and kind not in _ANONYMOUS:
                    s.functions.append(name)
                    s.methods += kind in ("method_definition",) or any(
                        k in ("class", "impl") for k in inside
                    )
                inside, loops, within = (*inside, name or "?"), 0, True
        elif kind in _CLASSES or kind == "impl_item":
            name = _name(node, s)
            if name not in wrappers and kind != "impl_item" and _has_body(node):
                s.classes.append((name, kind))
            if name not in wrappers:
                within = True
                inside = (*inside, "impl" if kind == "impl_item" else "class")
        elif kind in _LOOPS:
            loops += 1
            s.depth = max(s.depth, loops)
        elif kind in _CALLS:
            _call(node, s, inside)
        elif kind in (
            "type_identifier",
            "generic_type",
            "scoped_identifier",
            "qualified_identifier",
            "template_type",
        ):
            s.types[s.text(node).partition("<")[0].rpartition("::")[2].strip()] += 1
        elif "comment" in kind:
            s.comments += not s.text(node).startswith("#!")
        if not within and kind.endswith("_statement"):
            s.loose += 1
        todo.extend((c, inside, loops, within) for c in reversed(node.named_children))
    return s


def _has_body(node: Node) -> bool:
    return node.type == "type_spec" or node.child_by_field_name("body") is not None


def _name(node: Node, s: Scan) -> str:
    found = node.child_by_field_name("name")
    if found is not None:
        return s.text(found)
    if (
        node.type in _ANONYMOUS
        and node.parent is not None
        and node.parent.type == "variable_declarator"
    ):
        return s.text(node.parent.child_by_field_name("name"))
    at = node.child_by_field_name("declarator")  # C and C++
    while at is not None and at.type not in (
        "identifier",
        "field_identifier",
        "qualified_identifier",
        "destructor_name",
    ):
        at = at.child_by_field_name("declarator") or next(
            (c for c in at.named_children if "declarator" in c.type), None
        )
    return s.text(at).rpartition("::")[2]


def _call(node: Node, s: Scan, inside: tuple[str, ...]) -> None:
    target = next(
        (
            x
            for f in ("function", "name", "macro", "type", "constructor")
            if (x := node.child_by_field_name(f)) is not None
        ),
        None,
    )
    text = s.text(target)
    if node.type == "method_invocation" and (obj := node.child_by_field_name("object")) is not None:
        text = f"{s.text(obj)}.{text}"
    text = text.partition("<")[0] if "::" not in text else text
    if len(text) < 80:
        s.calls[text] += 1
        if inside:
            s.inner.add(text)
    last = text.replace("->", ".").rpartition(".")
    own = [f for f in inside if f not in ("class", "impl", "?")]
    if (
        last[2] in own
        and last[0] in ("", "this", "self")
        and node.type not in ("object_creation_expression", "new_expression")
    ):
        s.recursive.add(last[2])


# --- the unit -----------------------------------------------------------------------------------------------------------------

_CLASS_NAMES: Final[dict[str, str]] = {
    "struct_specifier": "struct",
    "struct_item": "struct",
    "interface_declaration": "interface",
    "enum_declaration": "enumeration",
    "enum_item": "enumeration",
    "enum_specifier": "enumeration",
    "trait_item": "trait",
    "type_spec": "type",
    "record_declaration": "record",
}


def _unit(s: Scan, out: Facts, lang: str) -> None:
    named = [f for f in dict.fromkeys(s.functions) if f != "main"]
    free = len(named) - (s.methods if s.classes else 0)
    if lang == "bash":
        out.unit = "script" if s.kinds["command"] + s.loose > 1 or named else "command"
        if (
            len(named) == 1
            and s.loose == 0
            and s.kinds["command"] <= 6
            and s.kinds["function_definition"] == 1
        ):
            out.unit, out.name = "function", named[0]
        elif named:
            out.unit = "script with " + (
                "a function" if len(named) == 1 else f"{number_word(len(named))} functions"
            )
    elif len(s.classes) == 1:
        name, kind = s.classes[0]
        out.unit = _CLASS_NAMES.get(kind, "class")
        out.name = name or None
        if "main" in s.functions and len(named) == 1 and lang == "java":
            out.unit, out.name = "program around one method", named[0]
        elif "main" in s.functions and not named and lang == "java":
            out.unit, out.name = "program", None
        elif free > 0 and lang in ("c", "cpp", "go", "rust"):
            out.unit, out.name = (
                f"program around {'a' if out.unit[0] not in 'aeiou' else 'an'} {out.unit}",
                name,
            )
    elif s.classes:
        out.unit = f"program with {number_word(len(s.classes))} " + (
            "types" if lang in ("c", "go", "rust") else "classes"
        )
    elif len(named) == 1:
        out.name = named[0]
        out.unit = (
            "program around one function"
            if "main" in s.functions
            else ("method" if lang == "java" else "function")
        )
    elif named:
        out.unit = (
            f"program of {number_word(len(named))} functions"
            if lang != "java"
            else f"set of {number_word(len(named))} methods"
        )
    elif "main" in s.functions:
        out.unit = "program"
    else:
        out.unit = "script" if s.loose > 1 else "snippet"


def _ideas(s: Scan, out: Facts) -> None:
    if s.recursive:
        if out.unit in ("function", "method") and s.recursive == {out.name}:
            out.adjectives.append("recursive")
        else:
            out.say("works recursively", "relies on recursion")
    if s.kinds["await_expression"]:
        out.say("awaits asynchronous calls", "waits for asynchronous work with `await`")


def _ends(*names: str) -> Callable[[Scan], bool]:
    """Whether something called ends in one of the names."""
    wanted = tuple("." + n for n in names)
    exact = frozenset(names)
    return lambda s: any(
        c in exact or c.replace("->", ".").replace("::", ".").endswith(wanted) for c in s.calls
    )


def _calls(*prefixes: str) -> Callable[[Scan], bool]:
    return lambda s: any(c.startswith(prefixes) for c in s.calls)


def _typed(*names: str) -> Callable[[Scan], bool]:
    return lambda s: any(s.types[n] for n in names)


_W = tuple[str, ...]
_SORT: Final[_W] = ("sorts its data with the library's sort", "relies on the library's sort")
_MAP: Final[_W] = ("keeps values in a hash map", "looks values up in a hash map")

#: Kinds of nodes that prove an idea, `|` between alternatives.
_KINDS: Final[dict[str, tuple[tuple[str, _W], ...]]] = {
    "javascript": (
        ("yield_expression", ("yields its values from a generator", "is written as a generator")),
        ("regex", ("uses a regular expression", "matches text with a regular expression")),
        ("class_heritage", ("extends another class", "inherits from a base class")),
        ("throw_statement", ("throws an error when something is wrong", "throws an error")),
        ("try_statement", ("handles errors with try and catch", "catches errors")),
        ("jsx_element|jsx_self_closing_element", ("returns JSX", "renders markup as JSX")),
        ("spread_element", ("uses the spread operator", "spreads its arguments or elements")),
        (
            "object_pattern|array_pattern",
            ("uses destructuring", "takes values apart by destructuring"),
        ),
    ),
    "java": (
        ("lambda_expression", ("uses a lambda expression", "passes a lambda")),
        ("superclass", ("extends another class", "inherits from a base class")),
        ("super_interfaces", ("implements an interface", "fulfils an interface")),
        ("throw_statement", ("throws an exception", "throws an exception when something is wrong")),
        (
            "try_statement|try_with_resources_statement",
            ("handles exceptions with try and catch", "catches exceptions"),
        ),
        (
            "enhanced_for_statement",
            ("walks a collection with an enhanced for loop", "uses a for-each loop"),
        ),
        ("switch_expression", ("decides with a switch", "branches by a switch")),
        (
            "ternary_expression",
            ("uses the conditional operator", "chooses a value with the conditional operator"),
        ),
        ("synchronized_statement", ("guards a section with `synchronized`",)),
    ),
    "c": (
        ("struct_specifier", ("works with a struct", "keeps its data in a struct")),
        ("pointer_declarator", ("works with pointers", "passes data by pointer")),
        ("switch_statement", ("decides with a switch", "branches by a switch")),
    ),
    "cpp": (
        ("template_declaration", ("is written as a template", "uses a template")),
        ("lambda_expression", ("uses a lambda expression", "passes a lambda")),
        ("base_class_clause", ("inherits from a base class", "derives a class")),
        ("try_statement", ("handles exceptions with try and catch", "catches exceptions")),
        ("throw_statement", ("throws an exception", "throws an exception when something is wrong")),
        (
            "for_range_loop",
            ("walks a container with a range-based for loop", "uses a range-based for loop"),
        ),
        ("new_expression", ("allocates memory with `new`", "creates objects with `new`")),
        ("reference_declarator", ("passes values by reference", "works with references")),
        ("pointer_declarator", ("works with pointers", "uses pointers")),
        ("switch_statement", ("decides with a switch", "branches by a switch")),
    ),
    "go": (
        ("go_statement", ("starts goroutines", "runs work in goroutines")),
        (
            "channel_type|send_statement",
            ("passes values over a channel", "communicates through channels"),
        ),
        ("select_statement", ("waits with a select statement",)),
        ("defer_statement", ("defers its clean-up", "uses `defer`")),
        ("interface_type", ("declares an interface", "works through an interface")),
        ("struct_type", ("keeps its data in a struct", "defines a struct")),
        ("map_type", ("keeps values in a map", "looks values up in a map")),
        ("range_clause", ("walks its data with `range`", "uses a range loop")),
    ),
    "rust": (
        ("match_expression", ("decides with a match expression", "branches by pattern matching")),
        ("try_expression", ("passes errors on with the `?` operator", "uses the `?` operator")),
        ("closure_expression", ("uses a closure", "passes a closure")),
        ("impl_item", ("implements methods on a type", "puts its methods into an impl block")),
        ("reference_type", ("borrows its data", "takes references")),
        ("unsafe_block", ("contains an unsafe block",)),
        ("for_expression", ("loops with `for`", "walks its data in a for loop")),
    ),
    "bash": (
        ("pipeline", ("chains commands in a pipeline", "pipes one command into the next")),
        (
            "for_statement|c_style_for_statement",
            ("loops with `for`", "goes through its items in a for loop"),
        ),
        ("while_statement", ("loops with `while`", "repeats in a while loop")),
        ("case_statement", ("decides with a case statement", "branches by `case`")),
        ("if_statement", ("tests a condition first", "branches on a test")),
        (
            "command_substitution",
            ("captures output by command substitution", "uses command substitution"),
        ),
        ("heredoc_redirect", ("uses a here-document",)),
        ("array|subscript", ("works with an array", "keeps values in an array")),
        ("arithmetic_expansion", ("computes with arithmetic expansion", "does integer arithmetic")),
        ("file_redirect", ("redirects output", "uses redirection")),
        (
            "simple_expansion|expansion|string_expansion",
            ("keeps values in variables", "works with variables"),
        ),
    ),
}
_KINDS["typescript"] = (
    ("interface_declaration", ("declares an interface", "describes its data by an interface")),
    ("type_parameters", ("is generic over a type", "uses type parameters")),
    ("union_type", ("uses union types", "works with a union type")),
    *_KINDS["javascript"],
)

_CALLED: Final[dict[str, tuple[tuple[Callable[[Scan], bool], _W], ...]]] = {
    "javascript": (
        (_ends("sort"), ("sorts an array", "orders an array with `sort`")),
        (_ends("reduce"), ("folds an array with `reduce`", "reduces an array to one value")),
        (
            _ends("map", "filter"),
            ("transforms arrays with `map` or `filter`", "processes arrays with array methods"),
        ),
        (
            lambda s: bool(s.calls["Map"] or s.calls["Set"]),
            ("keeps values in a `Map` or `Set`", "uses a `Map` or `Set`"),
        ),
        (_calls("fetch", "axios"), ("fetches data over HTTP", "requests data from a server")),
        (
            _calls("document."),
            ("works on the page's elements", "changes the document in the browser"),
        ),
        (_ends("addEventListener"), ("listens to events", "reacts to an event")),
        (_calls("app.", "express"), ("serves requests with Express", "sets up an Express server")),
        (_calls("fs."), ("reads or writes files with `fs`", "uses the `fs` module")),
        (_calls("JSON."), ("converts JSON", "works with JSON")),
        (
            _calls("setTimeout", "setInterval"),
            ("works with a timer", "schedules work with a timer"),
        ),
        (_calls("Math."), ("computes with `Math`", "uses functions of `Math`")),
        (_ends("then"), ("chains promises", "handles a promise with `then`")),
        (
            _ends("forEach"),
            ("goes through an array with `forEach`", "visits every element with `forEach`"),
        ),
        (_ends("split", "join"), ("splits or joins text", "takes text apart or together")),
        (_ends("push"), ("collects values in an array", "pushes values onto an array")),
    ),
    "java": (
        (_calls("Arrays.sort", "Collections.sort"), _SORT),
        (_ends("stream"), ("processes data in a stream", "uses the stream interface")),
        (_typed("HashMap", "Map", "TreeMap"), _MAP),
        (_typed("HashSet", "Set"), ("keeps values in a set", "uses a set")),
        (
            _typed("ArrayList", "List", "LinkedList"),
            ("works with a list", "keeps values in a list"),
        ),
        (
            _typed("Stack", "Deque", "ArrayDeque", "Queue", "PriorityQueue"),
            ("works with a stack or queue", "uses a stack or queue"),
        ),
        (_typed("StringBuilder"), ("builds text with a `StringBuilder`", "uses a `StringBuilder`")),
        (_typed("Scanner", "BufferedReader"), ("reads input", "reads its input from a stream")),
        (_typed("Thread", "ExecutorService", "Runnable"), ("runs work in threads", "uses threads")),
        (_calls("Math."), ("computes with `Math`", "uses functions of `Math`")),
    ),
    "c": (
        (
            _calls("malloc", "calloc", "realloc"),
            ("allocates memory by hand", "manages memory with `malloc`"),
        ),
        (_calls("qsort"), _SORT),
        (_calls("scanf", "fgets", "getchar"), ("reads input", "asks for input")),
        (_calls("fopen"), ("reads or writes a file", "works with a file")),
        (_calls("str"), ("uses the C string functions", "works with C strings")),
    ),
    "cpp": (
        (_ends("sort"), _SORT),
        (_typed("map", "unordered_map"), _MAP),
        (_typed("set", "unordered_set"), ("keeps values in a set", "uses a set")),
        (_typed("vector"), ("keeps values in a vector", "works with a vector")),
        (
            _typed("stack", "queue", "deque", "priority_queue"),
            ("works with a stack or queue", "uses a stack or queue"),
        ),
        (_typed("unique_ptr", "shared_ptr"), ("manages memory with smart pointers",)),
        (
            _typed("ifstream", "ofstream", "fstream"),
            ("reads or writes a file", "works with a file stream"),
        ),
        (_ends("push_back"), ("appends to a container", "grows a container with `push_back`")),
        (
            lambda s: b"cin" in s.source and bool(s.kinds["binary_expression"]),
            ("reads input", "asks for input"),
        ),
    ),
    "go": (
        (_calls("sort.", "slices."), _SORT),
        (_calls("errors.", "fmt.Errorf"), ("returns errors as values", "reports errors as values")),
        (_calls("strings."), ("works with the `strings` package", "uses the `strings` package")),
        (_ends("append"), ("appends to a slice", "collects values in a slice")),
    ),
    "rust": (
        (_typed("HashMap"), _MAP),
        (_typed("Vec"), ("keeps values in a `Vec`", "works with a `Vec`")),
        (_typed("Result"), ("returns a `Result`", "reports failure as a `Result`")),
        (_typed("Option"), ("works with `Option`", "uses `Option` for a missing value")),
        (
            _ends("iter", "map", "filter", "collect"),
            ("chains iterator methods", "works with iterators"),
        ),
        (_ends("sort", "sort_by"), _SORT),
    ),
    "bash": (
        (_calls("awk"), ("processes text with `awk`",)),
        (_calls("sed"), ("edits text with `sed`",)),
        (_calls("grep"), ("searches with `grep`",)),
        (_calls("find"), ("searches files with `find`",)),
        (_calls("sort"), ("sorts lines with `sort`",)),
        (_calls("wc"), ("counts with `wc`",)),
        (_calls("read"), ("reads input", "asks the user for input")),
        (_calls("curl", "wget"), ("downloads data", "fetches something over the network")),
        (_calls("tar", "gzip", "zip"), ("packs files into an archive",)),
        (
            _calls("mv", "cp", "rm", "mkdir"),
            ("moves, copies or removes files", "changes files and folders"),
        ),
        (_calls("date"), ("works with the date", "asks `date` for the time")),
    ),
}
_CALLED["typescript"] = _CALLED["javascript"]

_PRINTS: Final[dict[str, Callable[[Scan], bool]]] = {
    "javascript": _calls("console."),
    "typescript": _calls("console."),
    "java": _calls("System.out."),
    "c": _calls("printf", "puts"),
    "cpp": lambda s: b"cout" in s.source and s.kinds["binary_expression"] > 0,
    "go": _calls("fmt.Print"),
    "rust": _calls("println", "print"),
    "bash": _calls("echo", "printf"),
}


def _fillers(s: Scan, out: Facts, lang: str) -> None:
    if s.depth >= 2:
        out.also("uses nested loops", "loops inside a loop")
    elif s.depth == 1 and lang != "bash":
        out.also("works in a loop", "loops over its data")
    if s.kinds["arrow_function"]:
        out.also("uses arrow functions", "is written with arrow functions")
    if s.kinds["template_string"] or s.kinds["template_substitution"]:
        out.also("builds text with template literals", "uses template literals")
    if (s.kinds["ternary_expression"] and lang != "java") or s.kinds["conditional_expression"]:
        out.also("uses the conditional operator", "chooses a value with the conditional operator")
    if (s.kinds["if_statement"] or s.kinds["if_expression"]) and lang != "bash":
        out.also("branches on a condition", "decides with an `if`")
    if s.kinds["array"] or s.kinds["array_initializer"] or s.kinds["initializer_list"]:
        out.also(
            "spells its data out in an array", "holds an array of given values"
        ) if lang != "bash" else None
    if s.kinds["object"]:
        out.also("uses an object literal", "holds its data in an object literal")
    printed = _PRINTS[lang](s)
    inside = out.unit not in ("function", "method") or _PRINTS[lang](_only(s))
    if printed and inside:
        out.also("prints to the console", "writes its output to the console")
    if s.comments >= 3:
        out.have("explanatory comments", "comments along the way")
    elif s.comments:
        out.have("a short comment", "a brief comment")
    own = set(s.functions) - {"main"}
    if (
        "main" in s.functions
        and own & {c.rpartition(".")[2] for c in s.calls}
        and lang in ("c", "cpp", "go", "rust", "java")
    ):
        out.have("a `main` that shows its use", "an example of its use in `main`")
    elif own and s.loose and own & set(s.calls) and lang in ("javascript", "typescript"):
        out.have(
            *(
                ("a printed usage example", "an example call that prints the result")
                if printed
                else ("an example call", "a usage example")
            )
        )


def _only(s: Scan) -> Scan:
    """The scan as if only what stands inside of functions were called."""
    return replace(s, calls=Counter({k: v for k, v in s.calls.items() if k in s.inner}))
