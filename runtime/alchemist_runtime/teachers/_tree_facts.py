"""What a tree-sitter tree proves about code in javascript, typescript, java, c, cpp, go, rust and bash."""

from __future__ import annotations

from typing import Final

from alchemist_runtime.operators import _grammars
from alchemist_runtime.teachers._facts import Facts, listed, number_word
from alchemist_runtime.teachers._tree_ideas import CALLED, KINDS, PRINTS
from alchemist_runtime.teachers._tree_scan import Scan, scan

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


def facts(code: str, lang: str) -> Facts | None:
    """What the tree proves; None where the code has no tree without errors."""
    parsed = _grammars.tree(code, lang)
    if parsed is None:
        return None
    whole = scan(parsed)
    out = Facts(NAMES[lang])
    _unit(whole, out, lang)
    # What is said of a function is true of the function, not of the lines that try it out.
    s = scan(parsed, within_only=True) if out.unit in ("function", "method") else whole
    _ideas(s, out)
    for kind, wordings in KINDS.get(lang, ()):
        if any(s.kinds[k] for k in kind.split("|")):
            out.say(*wordings)
    for test, wordings in CALLED.get(lang, ()):
        if test(s):
            out.say(*wordings)
    _fillers(s, whole, out, lang)
    return out


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


def _fillers(s: Scan, whole: Scan, out: Facts, lang: str) -> None:
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
    if (
        any(s.kinds[k] for k in ("array", "array_initializer", "initializer_list"))
        and lang != "bash"
    ):
        out.also("spells data out in an array", "holds an array of given values")
    if s.kinds["object"]:
        out.also("uses an object literal", "holds its data in an object literal")
    if PRINTS[lang](s):
        out.also("prints its output", "prints to the console")
    if 1 <= len(s.parameters) <= 4 and out.unit in ("function", "method"):
        names = listed([f"`{p}`" for p in s.parameters])
        out.also(f"takes {names}", f"works from {names}")
    _company(whole, out, lang)


def _company(s: Scan, out: Facts, lang: str) -> None:
    """Comments, and lines that show the use of a function."""
    if s.comments >= 3:
        out.have("explanatory comments", "comments along the way")
    elif s.comments:
        out.have("a short comment", "a brief comment")
    own = set(s.functions) - {"main"}
    inner = {c.rpartition(".")[2] for c in s.calls}
    if "main" in s.functions and own & inner and lang in ("c", "cpp", "go", "rust", "java"):
        out.have("a `main` that shows its use", "an example of its use in `main`")
    elif own and s.loose and own & set(s.calls) and lang in ("javascript", "typescript"):
        shown = ("a printed usage example", "an example call that prints the result")
        out.have(*(shown if PRINTS[lang](s) else ("an example call", "a usage example")))
