"""Facts about the world: which files a pattern matches, their digests and columns, packages, and what `recipe.lock`
says.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import posixpath
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from alchemist_runtime.schema.attributes import decimal
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.schema.plan import Node, Plan, SourceSpec, SuiteSpec, Teacher
from alchemist_runtime.schema.sealed import SETTLED_NS, file_digest, seal, stamp, unseal

from alchemist_dsl.checker.outputs import MODEL
from alchemist_dsl.diagnostics.model import Diagnostic, Severity
from alchemist_dsl.ir import Block, ListV, TextV
from alchemist_dsl.lowering.facts import PYTHON_MINOR, FileFact, SourceFacts
from alchemist_dsl.lowering.scope import base_folder, own_model, wrong_base
from alchemist_dsl.project import lockfile as locks
from alchemist_dsl.project.folder import leads_inside
from alchemist_dsl.project.lockfile import Change, Fact, Lock, compare, same
from alchemist_dsl.source import Span

if TYPE_CHECKING:
    from alchemist_runtime.formats.records import Bad
    from alchemist_runtime.schema.plan import Plan

#: What the cache knows of a file is found out again where it is read otherwise now.
READER: Final = 2
COLUMNS_FROM: Final = 100  # records
COMMIT: Final = re.compile(r"[0-9a-f]{40}")
#: Columns of one record that are looked at before a run.
COLUMNS_MOST: Final = 2_000
#: Set, no file outside the project is read: for projects of others.
ONLY_PROJECT: Final = "ALCHEMIST_ONLY_PROJECT"
#: Bytes: larger files other than Parquet are not parsed to count their rows.
COUNT_BELOW: Final = 64 << 20


# --- digests of files -------------------------------------------------------------------------------------------------


@dataclass
class FileCache:
    """Digests, row counts and columns of files under (path, size, mtime, ctime, inode)."""

    path: Path | None
    again: bool = False  # hash everything again: `--locked`
    _entries: dict[str, Any] = field(default_factory=dict)
    _hashed: set[str] = field(default_factory=set)  # once is enough for one command
    _loaded: bool = False
    _changed: bool = False

    def get(self, file: Path) -> dict[str, Any]:
        """`{"digest": …, "size": …}` of a file, and `rows` and `columns` once they were asked for. OSError as it
        comes.
        """
        now = stamp(file)
        known = self._known().get(str(file))
        fresh = _settled(known) if not self.again else str(file) in self._hashed
        if known is not None and known["stamp"] == now and fresh:
            return known  # type: ignore[no-any-return]
        entry = {"stamp": now, "at": time.time_ns(), "digest": file_digest(file), "size": now[0]}
        if known is not None and known["digest"] == entry["digest"]:
            entry = {**known, **entry}
        self._hashed.add(str(file))
        self.put(file, entry)
        return entry

    def put(self, file: Path, entry: dict[str, Any]) -> None:
        self._known()[str(file)] = entry
        self._changed = True

    def _known(self) -> dict[str, Any]:
        if not self._loaded:
            self._loaded = True
            if self.path is not None and self.path.exists():
                try:
                    entries, sealed = unseal(self.path.read_bytes())
                except (OSError, ValueError):
                    sealed = False
                self._entries = entries if sealed else {}  # only a cache
        return self._entries

    def save(self) -> None:
        """Write the cache if it changed. A folder that may not be written is no error: it is only a cache."""
        if self.path is None or not self._changed:
            return
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        # what could not be read is looked at again: it may have been the moment, and columns decide keys
        reported = {n: e for n, e in self._entries.items() if e.get("rows", 0) is not None or e["columns"]}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(seal(reported))
            temporary.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _settled(entry: Mapping[str, Any] | None) -> bool:
    if entry is None:
        return False
    _, mtime, ctime, _ = entry["stamp"]
    return bool(max(mtime, ctime) + SETTLED_NS < entry["at"])


# --- facts ------------------------------------------------------------------------------------------------------------


@dataclass
class Resources:
    """Facts for one compilation. `seen`: what was found out, by section and resource. `users`: the blocks that rest on
    a fact. `unpinned`: what nobody was asked for, neither the lock nor the hub."""

    root: Path
    lock: Lock
    cache: FileCache
    std: Path | None = None
    pin: bool = False  # ask the hub for revisions that the lock does not know: `run` does
    seen: dict[str, dict[str, Mapping[str, Any]]] = field(default_factory=dict)
    users: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    unpinned: set[tuple[str, str]] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)  # files that only the lock knows of
    broken: dict[str, str] = field(default_factory=dict)  # files without a record that can be read
    packages_known: dict[str, str | None] = field(default_factory=dict)
    _silent: set[tuple[str, str]] = field(default_factory=set)  # models that the hub did not tell of

    @property
    def changes(self) -> tuple[Change, ...]:
        """What the lock does not know, or knows otherwise."""
        return compare(self.lock, self.seen)

    def rests(self, section: str, resource: str, block: str) -> None:
        """Remember that a block rests on a fact."""
        self.users.setdefault((section, resource), set()).add(block)

    def declare(self, plan: Plan) -> None:
        """Note what a plan's recipe itself says: licences, row schemas, prices."""

        for section, facts in declared(plan, self.lock).items():
            for name, fact in facts.items():
                self._note(section, name, fact)
                self.rests(section, name, name.rpartition("#")[2])

    def source(self, block: Block) -> SourceFacts:
        if block.get("missing") is not None:
            return SourceFacts()
        if block.get("hub") is not None:
            return self._hub(block)
        if block.get("python") is not None:
            return self._packages(block)
        return self._files(block)

    def columns(self, block: Block) -> Mapping[str, str] | None:
        """Columns of a local source's first records, else those that the lock remembers."""
        if block.get("files") is None or block.get("hub") is not None:
            return None
        return merged([f.columns for f in self._files(block).files])

    def tokenizer(self, name: str) -> str | None:
        return self._weights(locks.TOKENIZERS, name, None)

    def model(self, name: str, revision: str | None) -> str | None:
        return self._weights(locks.MODELS, name, revision)

    def local(self, path: str) -> str | None:
        """Digest of a file, or of a folder's files by their names; None where there is none of this name."""
        at = self.root / path
        try:
            if at.is_file():
                entry = self.cache.get(at)
                self._note(locks.FILES, path, {k: entry[k] for k in ("digest", "size")})
                self.rests(locks.FILES, path, "")
                return str(entry["digest"])
            files = sorted(f for f in at.rglob("*") if f.is_file()) if at.is_dir() else []
            digests = [[f.relative_to(at).as_posix(), self.cache.get(f)["digest"]] for f in files]
        except OSError:
            return None
        # Plans bring pydantic, which `check` does without.
        from alchemist_runtime.schema.plan import digest

        if not digests:
            return None
        found = digest(digests)
        self._note(locks.FILES, path, {"digest": found})
        self.rests(locks.FILES, path, "")
        return found

    def base(self, block: Block) -> Diagnostic | None:
        found = own_model(block)
        if found is None:
            return None
        attribute, value = found
        # a recipe of others learns nothing of what lies outside
        hidden = os.environ.get(ONLY_PROJECT) and (base_folder(value) or "").startswith(("/", ".."))
        return None if hidden else wrong_base(value, self.root, attribute)

    def measured(self, key: str) -> Mapping[str, Any] | None:
        return self.lock.fact(locks.MEASURED, key)

    # --- hub ----------------------------------------------------------------------------------------------------------

    def _hub(self, block: Block) -> SourceFacts:
        """The commit of a hub dataset: as written, as locked, or, where that is allowed, asked for and locked."""
        repo = next(texts_of(block, "hub")).value
        written = next(texts_of(block, "revision"), None)
        ref = None if written is None else written.value
        name = pinned_name(repo, ref)
        self.rests(locks.HUB, name, block.name)
        known = self._pinned(locks.HUB, name, ref)
        if known is not None or not self.pin:
            return SourceFacts(revision=known)
        return self._resolve_dataset(block, repo, name, written)

    def _pinned(self, section: str, name: str, ref: str | None) -> str | None:
        """The commit of a resource of the hub as far as it is known here."""
        if ref is not None and COMMIT.fullmatch(ref):
            return ref
        fact = self.lock.fact(section, name) or self.seen.get(section, {}).get(name)
        if fact is not None and isinstance(fact.get("revision"), str):
            return str(fact["revision"])
        self.unpinned.add((section, name))
        return None

    def _resolve_dataset(self, block: Block, repo: str, name: str, written: TextV | None) -> SourceFacts:
        from alchemist_runtime.sources.hub import facts

        try:
            found = facts(repo, None if written is None else written.value)
        except RunError as e:
            p = e.problem
            at = next(texts_of(block, "hub")).span if written is None else written.span
            return SourceFacts(problems=(Diagnostic(p.code, p.headline, at, note=p.note, help=p.help),))
        self._note(locks.HUB, name, found)
        self.unpinned.discard((locks.HUB, name))
        return SourceFacts(revision=found["revision"])

    def _weights(self, section: str, name: str, ref: str | None) -> str | None:
        """The commit of a model or tokenizer of the hub; None for a folder of the project, and for what nobody
        knows.
        """
        if not name or (self.root / name).exists() or not MODEL.fullmatch(name):
            return None
        pinned = pinned_name(name, ref)
        self.rests(section, pinned, "")
        known = self._pinned(section, pinned, ref)
        if known is not None or not self.pin or (section, pinned) in self._silent:
            return known
        return self._resolve_weights(section, name, pinned, ref)

    def _resolve_weights(self, section: str, name: str, pinned: str, ref: str | None) -> str | None:
        """Ask the hub for a model's commit. Where it does not answer, the local cache tells what a run would load."""
        from alchemist_runtime.sources.hub import cached_model, facts

        try:
            fact = facts(name, ref, kind="model")
        except RunError:
            commit = cached_model(name, ref)
            if commit is None:
                self._silent.add((section, pinned))
                return None  # the training says what is wrong, if it comes to that
            fact = {"revision": commit}
        self._note(section, pinned, fact)
        self.unpinned.discard((section, pinned))
        return fact["revision"]

    # --- packages -----------------------------------------------------------------------------------------------------

    def _packages(self, block: Block) -> SourceFacts:
        modules: dict[str, str] = {}
        problems = []
        for text in texts_of(block, "python"):
            digest = self._package(text.value)
            if digest is None:
                problems.append(_no_module(text))
            else:
                modules[text.value] = digest
                self.rests(locks.PYTHON, text.value, block.name)
                fact = {"digest": digest, "python": PYTHON_MINOR, "version": _version(text.value)}
                self._note(locks.PYTHON, text.value, fact)
        return SourceFacts(modules=modules, problems=tuple(problems))

    def _package(self, name: str) -> str | None:
        """The digest of a package, computed once: several sources may read one."""
        if name not in self.packages_known:
            self.packages_known[name] = package_digest(name, self.cache)
        return self.packages_known[name]

    # --- files --------------------------------------------------------------------------------------------------------

    def _files(self, block: Block) -> SourceFacts:
        files: dict[str, FileFact] = {}
        problems: list[Diagnostic] = []
        written = block.get("format")
        for pattern in texts_of(block, "files"):
            folder = self.folder(pattern.span.file)
            found = matches(folder, pattern.value)
            paths = [self.relative(folder / p) for p in found]
            strange = None if folder == self.std else self._outside_project(pattern, paths)
            if strange is not None:
                problems.append(strange)
                if strange.severity is not Severity.WARNING:
                    continue
            facts = [self._file(p, getattr(written, "name", None)) for p in paths]
            if not paths:
                facts = self._remembered(pattern, getattr(written, "name", None))
            if not facts:
                problems.append(_no_files(pattern, folder, self.relative(folder)))
            if paths and all(isinstance(f, FileFact) and f.path in self.broken for f in facts):
                problems.append(_at(_broken([self.broken[p] for p in paths]), pattern))
            for fact in facts:
                if isinstance(fact, FileFact):
                    files[fact.path] = fact
                    self.rests(locks.FILES, fact.path, block.name)
                else:
                    problems.append(_at(fact, pattern))
        return SourceFacts(files=tuple(files[p] for p in sorted(files)), problems=tuple(problems))

    def _outside_project(self, pattern: TextV, paths: list[str]) -> Diagnostic | None:
        """What is to be said of files that lie outside the project. An open name is the reader's to judge; a link hides
        it.
        """
        hidden = next((p for p in paths if not _leads_out(p) and not leads_inside(self.root / p, self.root)), None)
        if hidden is not None:
            real = os.path.realpath(self.root / hidden)
            return Diagnostic(
                "A321",
                f"`{hidden}` is a link that leads out of the project",
                pattern.span,
                label=f"to {real}",
                help="name the file by its own path, so that a reader of the recipe sees what it reads",
            )
        named = self.relative(self.folder(pattern.span.file) / pattern.value)
        if not any(map(_leads_out, paths or [named])):
            return None
        return Diagnostic(
            "A320",
            f"`{pattern.value}` lies outside the project",
            pattern.span,
            note="whoever gets the project does not get the file, and a recipe of others could name any file of yours",
            help="copy it into the project, or publish it and read it with `hub`",
            severity=Severity.ERROR if os.environ.get(ONLY_PROJECT) else Severity.WARNING,
        )

    def folder(self, file: str) -> Path:
        """The folder of a recipe file, to which its patterns are relative."""
        if file.startswith("std:"):
            return self.std or self.root
        return self.root / posixpath.dirname(file)

    def relative(self, path: Path) -> str:
        """A path from the project's root, with `/`, also where it lies outside."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def _file(self, path: str, format_: str | None) -> FileFact | Diagnostic:
        from alchemist_runtime.formats.files import ENDINGS, format_of

        kind = format_ or format_of(path)
        if kind is None:
            known = ", ".join(sorted(ENDINGS))
            return _problem(
                "A303",
                f"the type of `{path}` is not supported",
                note=f"supported: {known}, each also .gz or .zst",
                help="rename it, or name its `format`",
            )
        try:
            entry = self._described(self.root / path, path, kind)
        except OSError as e:
            return _problem("A312", f"`{path}` cannot be read: {e.strerror or e}", help="check its permissions")
        if entry.get("broken"):
            self.broken[path] = entry["broken"]
        fact = {k: entry.get(k) for k in ("digest", "size", "rows", "columns")}
        self._note(locks.FILES, path, fact)
        return FileFact(path, entry["digest"], kind, entry["size"], entry.get("rows"), entry.get("columns"))

    def _described(self, file: Path, path: str, kind: str) -> dict[str, Any]:
        entry = self.cache.get(file)
        if entry.get("read_as") != [kind, READER]:
            found = describe(file, path, kind, entry["size"])
            entry = {**entry, "read_as": [kind, READER], **found._asdict()}
            self.cache.put(file, entry)
        return entry

    def _remembered(self, pattern: TextV, format_: str | None) -> list[FileFact | Diagnostic]:
        """What the lock knows of files that are not on this machine."""
        from alchemist_runtime.formats.files import format_of

        folder = posixpath.dirname(pattern.span.file)
        wanted = posixpath.normpath(posixpath.join(folder, pattern.value))
        out: list[FileFact | Diagnostic] = []
        for path, fact in sorted(self.lock.sections.get(locks.FILES, {}).items()):
            kind = format_ or format_of(path)
            if fnmatchcase(path, wanted) and kind and isinstance(fact.get("digest"), str):
                self.absent.add(path)
                out.append(
                    FileFact(path, fact["digest"], kind, fact.get("size"), fact.get("rows"), fact.get("columns"))
                )
        return out

    def _note(self, section: str, resource: str, fact: Mapping[str, Any]) -> None:
        self.seen.setdefault(section, {})[resource] = fact


def _leads_out(path: str) -> bool:
    return path.startswith(("../", "/"))


def pinned_name(name: str, ref: str | None) -> str:
    """How the lock names what is pinned: `owner/name`, with the revision as it is written."""
    return name if ref is None else f"{name}@{ref}"


def matches(folder: Path, pattern: str) -> list[str]:
    """Files that a pattern matches, relative to a folder, by name. Hidden ones only where the pattern says so."""
    found = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207 (absolute patterns too)
    return sorted(p for p in set(found) if (folder / p).is_file())


def texts_of(block: Block, name: str) -> Iterator[TextV]:
    value = block.get(name)
    for item in value.items if isinstance(value, ListV) else (value,):
        if isinstance(item, TextV):
            yield item


# --- columns ----------------------------------------------------------------------------------------------------------


class Described(NamedTuple):
    """Number of records and columns of a file; None where the file is too large to count or cannot be read as it
    should. `broken`: the first bad record and why, where the file has no other."""

    rows: int | None = None
    columns: dict[str, str] | None = None
    broken: str | None = None


def describe(file: Path, shown: str, kind: str, size: int) -> Described:
    """What a file holds."""
    from alchemist_runtime.formats.files import read

    if kind == "parquet" and file.suffix == ".parquet":
        return _parquet(file)
    rows, first, late = 0, list[dict[str, Any]](), dict[str, Any]()
    bad: list[Bad] = []
    try:
        for chunk in read(file, shown, kind):
            missing = max(COLUMNS_FROM - len(first), 0)
            first += chunk.records[:missing]
            for name in _null_columns(first) - late.keys():
                values = (r.get(name) for r in chunk.records[missing:])
                found = next((v for v in values if v is not None), None)
                late |= {} if found is None else {name: found}
            rows += len(chunk.records)
            bad += chunk.bad[: 1 - len(bad)]
            if len(first[-1] if first else ()) > COLUMNS_MOST:
                return Described()  # `run` refuses it
            if size > COUNT_BELOW and len(first) >= COLUMNS_FROM:
                return Described(None, column_types(first, late))
    except RunError:
        return Described()  # `run` says what is wrong with the file, and where
    if not first:
        return Described(rows, None, f"{bad[0].place}: {bad[0].reason}" if bad else None)
    types = column_types(first, dict.fromkeys(_null_columns(first), "") | late)
    return Described(rows, types)


def _null_columns(records: list[dict[str, Any]]) -> set[str]:
    """Columns that are null in all of these records."""
    names = {name for record in records for name in record}
    return names - {name for record in records for name, v in record.items() if v is not None}


def _parquet(file: Path) -> Described:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from alchemist_runtime.formats.tables import records

    try:
        parquet = pq.ParquetFile(file)
        batch = next(parquet.iter_batches(batch_size=COLUMNS_FROM), None)
        rows = [] if batch is None else list(records(batch))
    except (pa.ArrowException, OSError, ValueError):
        return Described()  # `run` says what is wrong with the file, and where
    first = [r for r in rows if isinstance(r, dict)]
    return Described(parquet.metadata.num_rows, column_types(first) if first else None)


def column_types(records: list[dict[str, Any]], late: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Columns and their types as far as these records show them; `late`: a value of columns that are null in all of
    them.
    """
    names = dict.fromkeys(name for record in records for name in record)
    types = {name: _type([record.get(name) for record in records]) for name in names}
    return types | {name: f"{_kind(v)}?" for name, v in (late or {}).items()}


def _type(values: list[Any]) -> str:
    kinds = {_kind(v) for v in values if v is not None}
    name = {0: "json", 1: next(iter(kinds), "json")}.get(len(kinds))
    if name is None:
        name = "real" if kinds == {"int", "real"} else "json"
    return name + ("?" if any(v is None for v in values) else "")


def _kind(value: Any) -> str:
    match value:
        case str():
            return "text"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "real"
        case [{"role": _, "content": _}, *_]:
            return "messages"
        case [*items] if items and {_kind(i) for i in items} in ({"text"}, {"int"}, {"real"}, {"bool"}):
            return f"list<{_kind(items[0])}>"
        case _:
            return "json"


def merged(tables: list[Mapping[str, str] | None]) -> dict[str, str] | None:
    """Columns of several files together: nullable where one lacks them, json where they differ. None if one is
    unknown.
    """
    known = [t for t in tables if t is not None]
    if not known or len(known) < len(tables):
        return None
    out: dict[str, str] = {}
    for name in dict.fromkeys(n for t in known for n in t):
        types = [t.get(name) for t in known]
        kinds = {t.removesuffix("?") for t in types if t is not None}
        null = any(t is None or t.endswith("?") for t in types)
        out[name] = (kinds.pop() if len(kinds) == 1 else "json") + ("?" if null else "")
    return out


# --- packages ---------------------------------------------------------------------------------------------------------


def package_digest(name: str, cache: FileCache) -> str | None:
    """Digest of the Python files of a package or module, which is not imported; None if it is not installed."""
    from alchemist_runtime.formats.files import package_files

    files = package_files(name)
    if not files:
        return None
    h = hashlib.blake2b(digest_size=32)
    for displayed, file in files:
        h.update(f"{displayed}\0{cache.get(file)['digest']}\n".encode())
    return "b2:" + h.hexdigest()


def _version(name: str) -> str | None:
    """The version of the distribution of a package's name, None where there is none: the standard library, a file."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name.partition(".")[0])
    except PackageNotFoundError:
        return None


# --- problems ---------------------------------------------------------------------------------------------------------


def _problem(code: str, headline: str, **more: Any) -> Diagnostic:
    return Diagnostic(code, headline, Span("", 0, 0), **more)


def _at(problem: Diagnostic, pattern: TextV) -> Diagnostic:
    from dataclasses import replace

    return replace(problem, span=pattern.span)


def _no_files(pattern: TextV, folder: Path, shown: str) -> Diagnostic:
    return Diagnostic(
        "A302",
        f"`{pattern.value}` matches no file",
        pattern.span,
        label=f"relative to {'the project' if shown == '.' else shown}",
        help=_nearest(pattern.value, folder),
    )


def _nearest(pattern: str, folder: Path) -> str:
    """The nearest thing that is there: a folder of a similar name, or what the folder holds."""
    at, parts = folder, pattern.split("/")
    for part in parts[:-1]:
        if (at / part).is_dir():
            at = at / part
            continue
        near = get_close_matches(part, [p.name for p in _entries(at) if p.is_dir()], 1, 0.6)
        if near:
            found = at / near[0]
            return f"nearest existing folder: {_display(found, folder)}{_held(found, parts[-1])}"
        return f"there is no folder `{part}` in {_display(at, folder)}"
    near = get_close_matches(parts[-1], [p.name for p in _entries(at) if p.is_file()], 1, 0.6)
    if near:
        return f"did you mean `{_display(at / near[0], folder)}`?"
    return f"{_display(at, folder)} holds {len([p for p in _entries(at) if p.is_file()])} files, none of them matching"


def _held(folder: Path, pattern: str) -> str:
    """How many files of a folder fit a pattern: ` (12 .jsonl files)`; nothing where none does."""
    fitting = [p for p in _entries(folder) if p.is_file() and p.match(pattern)]
    kind = Path(pattern).suffix
    return f" ({len(fitting)} {kind} file{'s' * (len(fitting) != 1)})" if fitting and kind else ""


def _display(path: Path, folder: Path) -> str:
    displayed = Path(os.path.relpath(path, folder)).as_posix()
    return "the recipe's folder" if displayed == "." else displayed


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _broken(first: list[str]) -> Diagnostic:
    return _problem(
        "A305",
        "no record of the files can be read",
        note="; ".join(first[:3]) + (f"; and {len(first) - 3:,} more files" if len(first) > 3 else ""),
        help="fix the data, or set its `format`",
    )


def _no_module(text: TextV) -> Diagnostic:
    return Diagnostic(
        "A311",
        f"the Python package `{text.value}` is not installed",
        text.span,
        help=f"install it: `pip install {text.value.partition('.')[0]}`",
    )


# --- lock declarations -----------------------------------------------------------------------------------------------


def declared(plan: Plan, lock: Lock) -> dict[str, dict[str, Fact]]:
    """Facts of a plan's sources, suites and teachers, by section and `RECIPE#NAME`.

    A variant shares the facts of its recipe; where it says something else, its own stand under `RECIPE@VARIANT#NAME`.
    """
    sources = {n.id: _source(n, spec) for n, spec in plan.of(SourceSpec) + plan.of(SuiteSpec)}
    teachers = {t.name: _teacher(t) for t in plan.teachers.values()}
    found = {locks.SOURCES: sources, locks.TEACHERS: teachers}
    return {section: _named(section, facts, plan, lock) for section, facts in found.items()}


def _named(section: str, facts: Mapping[str, Fact], plan: Plan, lock: Lock) -> dict[str, Fact]:
    recipe = str(plan.recipe.get("path"))
    out: dict[str, Fact] = {}
    for name, fact in facts.items():
        shared, own = f"{recipe}#{name}", f"{recipe}@{plan.variant}#{name}"
        known = lock.fact(section, shared)
        alone = plan.variant is not None and (
            lock.fact(section, own) is not None
            or (known is not None and any(not same(known.get(k), v) for k, v in fact.items()))
        )
        out[own if alone else shared] = fact
    return out


def _source(node: Node, spec: SourceSpec | SuiteSpec) -> dict[str, Any]:
    columns = node.columns.get("rows")
    return {"license": spec.license, **({"columns": dict(columns)} if columns else {})}


def _teacher(teacher: Teacher) -> dict[str, Any]:
    price = teacher.price
    paid = None if price is None or price.free else price
    return {
        "provider": teacher.provider,
        "model": teacher.model,
        "free": True if price is not None and price.free else None,
        "input": None if paid is None else _price(paid.input),
        "output": None if paid is None else _price(paid.output),
    }


def _price(per_token: str) -> str:
    return f"${decimal(Fraction(per_token) * 1_000_000)} per 1M tokens"
