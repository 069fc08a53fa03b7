r"""What can be said of code: a table of conditions over a scan, with their wordings.

A row is `topic | languages | condition | wording | wording`. Of each topic one phrase is said, that of the first row
that holds. A condition that begins with `~` is a regular expression, or the name of one in PATTERNS, over the code
without comments and strings; any other is a list of keys of the scan: `a|b` either, `+` both, `!` not. Wordings that
begin with "with" name what comes with the code, the others what it does.
"""

from __future__ import annotations

from typing import Final

PATTERNS: Final = {
    "halving": r"(?s)while.*?\b(\w+)\s*:?=\s*(?:Math\.floor)?\(*\s*"
    r"(?:(\w+)\s*\+\s*(\w+)\s*\)|(\w+)\s*\+\s*\(*\s*(\w+)\s*-\s*\4\s*\))\s*(?://|/|>>)\s*[21].*?\b(?:\2|\4)\s*=\s*\1\b",
    "euclid": r"\b(\w+), (\w+) = \2, \1 % \2\b|\b(\w+)\(\s*(\w+),\s*\w+ % \4\s*\)",
    "two indices": r"(?s)while[^\n]*\b(\w+) < (\w+)\b(?=.*?\b\1\s*(?:\+= 1|\+\+))(?=.*?\b\2\s*(?:-= 1|--))",
    "counts": r"(\w+)\[(\w+)\]\s*=\s*\1\.get\(\2, 0\)\s*\+\s*1|\bCounter\(",
}

_TABLE: Final = r"""
search | * | ~halving | searches by halving an interval | halves the interval that is left at each step
euclid | * | ~euclid | uses Euclid's algorithm | takes remainders as Euclid does
recurs | * | recursion | is recursive | calls itself | works recursively
memo | python | @lru_cache|@cache | remembers its results with a cache decorator | caches its results
pointer | * | ~two indices | moves two indices towards each other | works with two indices that approach each other
count | python | ~counts | counts how often each value occurs | keeps a count per value
heap | python | uses:heapq|uses:queue | uses the `MODULE` module | works with a queue of the `MODULE` module
reverse | python | ~\[::-1\] | reverses a sequence by a slice with step -1 | slices backwards with `[::-1]`
sort | python | call:sorted+key:key|method:sort+key:key | sorts by a key | sorts by a key function
sort | python | call:sorted | sorts with the built-in `sorted` | calls the built-in `sorted`
sort | python script | method:sort | sorts with the method `sort` | calls `sort` on its data
generator | * | yield|yield_expression | yields its values one by one | produces its values with `yield`
async | * | await|await_expression | awaits asynchronous work | uses `await`
comprehension | python | dictionary_comprehension | builds a dictionary by comprehension
comprehension | python | list_comprehension | uses a list comprehension | builds a list by comprehension
comprehension | python | generator_expression | uses a generator expression | feeds a generator expression to a call
join | python | method:join+!of:path.join | joins pieces with `join` | puts its text together with `join`
functional | script | method:map | transforms its data with `map` | uses `map`
pack | python | call:enumerate | numbers its elements with `enumerate` | uses `enumerate`
extreme | python | call:max | finds a largest value with `max` | calls the built-in `max`
extreme | python | call:min | finds a smallest value with `min` | calls the built-in `min`
match | python rust | match_statement|match_expression | branches with a `match` | decides with a `match`
total | python | call:sum | adds up with the built-in `sum` | uses the built-in `sum`
switch | curly | switch_statement|switch_expression|expression_switch_statement | branches with a `switch`
with | python | call:open+with_statement | opens a file in a `with` block | handles its file in a `with` block
with | python | with_statement | uses a `with` block | works inside a `with` block
errors | python | raise_statement | raises ERRORS | reports a problem with ERRORS
handles | python | except_clause | handles EXCEPTIONS | catches EXCEPTIONS
errors | curly | throw_statement | throws an exception | reports a problem with an exception
handles | curly | catch_clause | catches exceptions | handles errors with `try` and `catch`
goroutine | go | go_statement | starts goroutines | runs work in goroutines
memory | c | call:malloc|call:calloc|call:realloc | allocates memory itself | requests memory from the heap
format | python | interpolation | formats text with f-strings | uses f-strings
format | python | method:format | formats text with `format`
format | script | template_substitution | uses template literals | puts values into template literals
lambda | python | lambda | uses a lambda | passes a lambda function
lambda | curly | arrow_function|lambda_expression | uses arrow functions or lambdas
bits | python | op:>>|op:<<|op:^|op:&=|op:^= | works with bitwise operators | uses bit operations
condition | python curly | conditional_expression|ternary_expression | uses a conditional expression
argument | bash | ~\$\{?[1-9@] | reads its arguments | works from its arguments
input | python | call:input | asks for input | reads input from the user
string | python | method:split | splits text with `split` | takes text apart with `split`
convert | python | call:int|call:float|call:str | converts between types
check | python | call:isinstance | checks types with `isinstance` | asks for types with `isinstance`
loop | python | method:append+for_statement | collects values with `append` in a loop
loop | * | nested loops | loops inside a loop | uses nested loops
loop | * | while_statement|while_expression | loops with `while` | runs a `while` loop
loop | * | for_statement|for_in_statement|enhanced_for_statement|for_range_loop|for_expression | loops with `for`
pipe | bash | pipeline | joins commands by a pipe | pipes one command into another
if | * | if_statement|if_expression | decides with an `if` | branches on a condition
print | python | call:print | prints to the screen | prints its output
print | script | of:console.log | logs to the console | writes to the console
print | java | of:System.out.println|method:println|method:printf | prints its output | prints to the screen
print | c go | call:printf|call:puts|of:fmt.Println|of:fmt.Printf | prints its output | prints to the screen
print | cpp | ~\bcout\s*<< | prints with `cout` | writes to `cout`
print | rust | call:println | prints its output | prints with `println!`
print | bash | call:echo|call:printf | prints with `echo` or `printf`
docstring | python | DOC:numpy | with a docstring with NumPy sections
docstring | python | DOC:doctest | with doctest examples in its docstring
docstring | python | DOC:long | with a docstring of several lines
docstring | python | DOC:short | with a one-line docstring
hints | python | typed_parameter|typed_default_parameter|type | with type hints | with type annotations
default | python | default_parameter|typed_default_parameter | with a default for a parameter
comments | * | COMMENTS | with comments | with explanatory comments
comments | * | COMMENT | with a comment
example | * | EXAMPLE | with an example of its use | with a usage example
explained | * | BEFORE | with a short introduction | with a word before the code
explained | * | AFTER | with an explanation after the code
"""
_GROUPS: Final = {"*": "", "script": "javascript typescript", "curly": "c cpp java javascript typescript go rust"}

#: (topic, its languages, empty for every one with a parser here; condition, wordings).
TABLE: Final = tuple(
    (topic, " ".join(_GROUPS.get(x, x) for x in languages.split()).split(), condition, tuple(wordings))
    for topic, languages, condition, *wordings in (row.split(" | ") for row in _TABLE.strip().split("\n"))
)
