"""A configuration's text -> a recipe's text and what became of every key. Pure but for what `Files` tells of the
disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, Final

from alchemist_runtime.schema.codes import CODES

from alchemist_dsl.checker import check
from alchemist_dsl.diagnostics.model import Diagnostic, Severity
from alchemist_dsl.diagnostics.render import sort_unique
from alchemist_dsl.migrate import flags, tracked_mapping
from alchemist_dsl.migrate.reading import Reading, Refused
from alchemist_dsl.migrate.recipe_draft import Draft, Remark, write
from alchemist_dsl.migrate.source_location import Files, NoFiles
from alchemist_dsl.migrate.tools import TOOLS, detect
from alchemist_dsl.migrate.tracked_mapping import Log, TreeError, Value, masked
from alchemist_dsl.source import SourceFile, Span

#: Attributes without which a block is none: they are never taken back.
_NEEDED: Final = frozenset({"data", "base", "batch", "max_length", "learning_rate", "epochs", "steps"})


@dataclass(frozen=True, slots=True)
class Migrated:
    """What came of a configuration. `recipe` is None where an error says why. `left`: keys that change no result ->
    why.
    """

    tool: str | None
    recipe: str | None
    problems: tuple[Diagnostic, ...]
    left: Mapping[str, str] = field(default_factory=dict)
    used: frozenset[str] = frozenset()
    reported: frozenset[str] = frozenset()
    sources: Mapping[str, SourceFile] = field(default_factory=dict)


def migrate(
    source: SourceFile, *, tool: str | None = None, files: Files | None = None, gpus: int | None = None
) -> Migrated:
    """The recipe that says what a configuration says. `gpus`: devices that it was written for."""
    try:
        value, twice = _value(source)
    except TreeError as error:
        return _failed(source, "A950", error)
    source, value = masked(source, value)
    found = [tool] if tool else detect(value)
    if len(found) != 1:
        return _undecided(source, value, found)
    log = Log(TOOLS[found[0]].title, source)
    for name, span in twice:
        log.add("A953", f"`{name}` is written twice; the last one counts", span, label="again here")
    reading = Reading(value, log, files or NoFiles(), _name(source.path), gpus)
    try:
        draft = TOOLS[found[0]].read(reading)
    except Refused as error:
        return replace(_failed(source, "A951", error), tool=found[0], sources={source.path: source} | reading.others)
    head = f"Taken over from {_last(source.path)} ({log.tool}) by `alchemist migrate`."
    text = _sound(draft, head, log)
    return Migrated(
        found[0],
        text,
        sort_unique(log.problems, {source.path: source}),
        dict(sorted(log.left.items())),
        frozenset(log.used),
        frozenset(log.reported),
        {source.path: source} | reading.others,
    )


def _value(source: SourceFile) -> tuple[Value, list[tuple[str, Span]]]:
    """The keys of a file, and those that it writes twice."""
    if flags.is_command_line(source.text):
        return flags.read(source), []
    value, twice = tracked_mapping.read(source)
    if not isinstance(value.data, dict):
        what = "a list" if isinstance(value.data, tuple) else "one value"
        raise TreeError(f"the YAML is {what}, no mapping of keys", value.span)
    return value, twice


def _failed(source: SourceFile, code: str, error: TreeError | Refused) -> Migrated:
    problem = Diagnostic(code, error.headline, error.span, help=error.help)
    return Migrated(None, None, (problem,), sources={source.path: source})


def _undecided(source: SourceFile, value: Value, found: list[str]) -> Migrated:
    may = " or ".join(found) if found else "none of those that we know"
    problem = Diagnostic(
        "A951",
        f"it is not clear which tool this is for: {may}",
        value.span,
        help="say it: " + ", ".join(f"`--from {name}`" for name in found or TOOLS),
    )
    return Migrated(None, None, (problem,), sources={source.path: source})


def _last(path: str) -> str:
    return "standard input" if path == "-" else PurePath(path).name


def _name(path: str) -> str:
    stem = PurePath(path).stem
    return stem if path != "-" and stem.lower() not in ("config", "sft", "train", "default", "") else "model"


def _sound(draft: Draft, head: str, log: Log) -> str:
    """The recipe's text. An attribute that the checker refuses, such as a broken template, is taken back with a
    warning.
    """
    while True:
        text = write(draft, head)
        refused = next(_refused(draft, text), None)
        if refused is None:
            return text
        holder, attribute, headline = refused
        holder.attrs.pop(attribute, None)
        holder.sets.pop(attribute, None)
        holder.remarks.append(Remark(f"{attribute} is left out: {headline}"))
        log.add("A952", f"`{attribute}` is left out: {headline}", log.source.span(0, 0), label="kept as a comment")


@dataclass(frozen=True, slots=True)
class _Holder:
    """A block whose attributes may be taken back."""

    attrs: dict[str, Any]
    sets: dict[str, Any]
    remarks: list[Remark]


def _refused(draft: Draft, text: str) -> Iterator[tuple[_Holder, str, str]]:
    """(block, attribute, why) of what the checker calls an error."""
    holders = {s.name: _Holder(s.attrs, s.sets, s.remarks) for s in draft.sources}
    holders[draft.train_name] = _Holder(draft.train or {}, {}, draft.remarks.setdefault("train", []))
    file = SourceFile("-", text)
    _, problems = check(file, lambda path: None)
    for problem in problems:
        if problem.code == "A411":  # the file was seen; the check above reads none
            continue
        if (problem.severity or Severity(CODES[problem.code].severity)) != Severity.ERROR:
            continue
        number = file.position(problem.span.start)[0]
        words = _words(file, number)
        while number > 1 and not file.line(number)[:1].isalpha():
            number -= 1
        block = _words(file, number)
        holder = holders.get(block[1]) if len(block) > 2 else None
        attribute = words[1] if words[:1] == ["set"] else words[0] if words else ""
        if holder is not None and attribute not in _NEEDED and attribute in holder.attrs | holder.sets:
            yield holder, attribute, problem.headline


def _words(file: SourceFile, line: int) -> list[str]:
    return file.line(line).split()
