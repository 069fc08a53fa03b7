"""What proves an idea in the languages with a tree: kinds of nodes, names of what is called, and types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from alchemist_runtime.teachers._tree_scan import Scan


def _ends(*names: str) -> Callable[[Scan], bool]:
    """Whether something of one of these names is called, free or as a method, that the code does not define itself."""
    wanted = tuple("." + n for n in names)

    def test(s: Scan) -> bool:
        free = frozenset(names).difference(s.functions)
        calls = (c.replace("->", ".").replace("::", ".") for c in s.calls)
        return any(c in free or c.endswith(wanted) for c in calls if not c.startswith("path."))

    return test


def _calls(*names: str) -> Callable[[Scan], bool]:
    """Whether one of these is called; `Math.` stands for all that begins so."""
    whole = tuple(n for n in names if n.endswith("."))

    def test(s: Scan) -> bool:
        free = frozenset(names).difference(s.functions)
        return any(c in free or (whole and c.startswith(whole)) for c in s.calls)

    return test


def _typed(*names: str) -> Callable[[Scan], bool]:
    return lambda s: any(s.types[n] for n in names)


_W = tuple[str, ...]
_SORT: Final[_W] = ("sorts its data with the library's sort", "relies on the library's sort")
_MAP: Final[_W] = ("keeps values in a hash map", "looks values up in a hash map")

#: Kinds of nodes that prove an idea, `|` between alternatives.
KINDS: Final[dict[str, tuple[tuple[str, _W], ...]]] = {
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
KINDS["typescript"] = (
    ("interface_declaration", ("declares an interface", "describes its data by an interface")),
    ("type_parameters", ("is generic over a type", "uses type parameters")),
    ("union_type", ("uses union types", "works with a union type")),
    *KINDS["javascript"],
)

CALLED: Final[dict[str, tuple[tuple[Callable[[Scan], bool], _W], ...]]] = {
    "javascript": (
        (_ends("sort"), ("sorts with `sort`", "relies on `sort`")),
        (_ends("reduce"), ("folds an array with `reduce`", "reduces an array to one value")),
        (
            _ends("map", "filter"),
            ("transforms arrays with `map` or `filter`", "processes arrays with array methods"),
        ),
        (
            lambda s: bool(s.calls["Map"] or s.calls["Set"]),
            ("keeps values in a `Map` or `Set`", "uses a `Map` or `Set`"),
        ),
        (
            _calls("fetch", "axios", "axios."),
            ("fetches data over HTTP", "requests data from a server"),
        ),
        (
            _calls("document."),
            ("works on the page's elements", "changes the document in the browser"),
        ),
        (_ends("addEventListener"), ("listens to events", "reacts to an event")),
        (_calls("express"), ("serves requests with Express", "sets up an Express server")),
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
        (_ends("split", "join"), ("splits or joins text", "takes text apart or puts it together")),
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
        (
            _calls(
                "strlen",
                "strcpy",
                "strncpy",
                "strcmp",
                "strcat",
                "strstr",
                "strchr",
                "strtok",
                "strrev",
            ),
            ("uses the C string functions", "works with C strings"),
        ),
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
            lambda s: s.types["cin"] > 0,
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
CALLED["typescript"] = CALLED["javascript"]

PRINTS: Final[dict[str, Callable[[Scan], bool]]] = {
    "javascript": _calls("console."),
    "typescript": _calls("console."),
    "java": _calls("System.out."),
    "c": _calls("printf", "puts"),
    "cpp": lambda s: s.types["cout"] > 0,
    "go": _calls("fmt.Println", "fmt.Printf", "fmt.Print"),
    "rust": _calls("println", "print"),
    "bash": _calls("echo", "printf"),
}
