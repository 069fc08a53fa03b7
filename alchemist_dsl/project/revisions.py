"""A project as it was at a git revision: its recipes and its lock from git, facts about data from that lock.

Data files are seldom in git. What the lock of the revision says of them holds; a file that is in git is read from
there; one that neither knows is taken as it lies here now.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.ir import Block, TextV
from alchemist_dsl.lowering.facts import FileFact, SourceFacts
from alchemist_dsl.project import lockfile as locks
from alchemist_dsl.project.facts_on_disk import Resources, describe, texts_of
from alchemist_dsl.project.folder import LOCK, STD, Folder
from alchemist_dsl.project.lockfile import Lock, LockError


class NoRevision(ValueError):
    """There is no such revision, or no repository; the message says which."""


def git(root: Path, *args: str) -> bytes:
    """The output of a git command in a folder. NoRevision where git is missing or refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *args], capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as e:
        raise NoRevision("git is not installed") from e
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise NoRevision(lines[0] if lines else f"git {args[0]} failed")
    return done.stdout


@lru_cache
def toplevel(folder: Path) -> Path:
    """The working tree that a folder lies in. NoRevision where it lies in none."""
    try:
        return Path(git(folder, "rev-parse", "--show-toplevel").decode().strip())
    except NoRevision as e:
        if "not a git repository" in str(e):
            raise NoRevision(f"`{folder}` is in no git repository") from e
        raise


@lru_cache
def commit_of(root: Path, revision: str) -> str | None:
    """The commit that a revision names, None where it names none."""
    if revision.startswith("-"):
        return None
    try:
        found = git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except NoRevision:
        return None
    return found.decode().strip()


class _Objects:
    """One `git cat-file --batch` for all that is read of a repository."""

    def __init__(self, top: Path) -> None:
        self.process = subprocess.Popen(
            ["git", "-C", str(top), "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def read(self, blob: str) -> bytes:
        """The bytes of a blob. NoRevision where git gives none: a partial clone, say."""
        asked, answer = self.process.stdin, self.process.stdout
        assert asked is not None and answer is not None
        asked.write(f"{blob}\n".encode())
        asked.flush()
        head = answer.readline().split()
        if len(head) != 3:
            raise NoRevision(f"git has no object {blob}")
        data = answer.read(int(head[2]))
        answer.read(1)
        return data


@lru_cache
def _objects(top: Path) -> _Objects:
    return _Objects(top)


@dataclass(frozen=True)
class Revision(Folder):
    """A project at a commit. `top`: of the working tree; `name`: what a person calls the commit."""

    top: Path
    commit: str
    name: str

    @cached_property
    def prefix(self) -> str:
        """The project's folder in the repository, with a `/` at its end; empty for the top."""
        inside = Path(os.path.relpath(self.root.resolve(), self.top.resolve())).as_posix()
        return "" if inside == "." else f"{inside}/"

    @cached_property
    def blobs(self) -> Mapping[str, str]:
        """Every file of the project at this commit, by its path in the project, with its blob."""
        listed = git(self.top, "ls-tree", "-r", "-z", "--full-tree", self.commit, "--", self.prefix or ".")
        out = {}
        for line in listed.decode("utf-8", "surrogateescape").split("\0"):
            facts, _, path = line.partition("\t")
            if path.startswith(self.prefix) and facts.split()[1:2] == ["blob"]:
                out[path.removeprefix(self.prefix)] = facts.split()[2]
        return out

    def read(self, path: str) -> bytes | None:
        if path.startswith(STD):
            return super().read(path)
        blob = self.blobs.get(posixpath.normpath(path))
        return None if blob is None else _objects(self.top).read(blob)

    def listing(self, folder: str) -> Sequence[str]:
        if folder == STD:
            return super().listing(folder)
        at = "" if folder in ("", ".") else f"{folder.rstrip('/')}/"
        inside = (p.removeprefix(at) for p in self.blobs if p.startswith(at))
        return sorted({p.partition("/")[0] for p in inside})

    def lock(self) -> Lock:
        """The lock of the revision; an empty one where there was none. LockError as it comes."""
        data = self.read(LOCK)
        return Lock() if data is None else locks.loads(data.decode("utf-8"))


@dataclass
class Recorded(Resources):
    """Facts of a revision: from its lock and its git tree, before what lies here now."""

    revision: Revision | None = None
    assumed: set[str] = field(default_factory=set)  # files that were taken as they lie here now

    def _files(self, block: Block) -> SourceFacts:
        files: dict[str, FileFact] = {}
        problems: list[Diagnostic] = []
        written = getattr(block.get("format"), "name", None)
        here: SourceFacts | None = None
        for pattern in texts_of(block, "files"):
            found = self._remembered(pattern, written)
            known = {f.path for f in found if isinstance(f, FileFact)}
            found += self._tracked(pattern, written, known)
            if not found:
                here = here or super()._files(block)
                self.assumed |= {f.path for f in here.files}
                found = [f for f in here.files if self._matches(f.path, pattern)]
                problems += [p for p in here.problems if p.span == pattern.span]
            files |= {f.path: f for f in found if isinstance(f, FileFact)}
        return SourceFacts(files=tuple(files[p] for p in sorted(files)), problems=tuple(problems))

    def _matches(self, path: str, pattern: TextV) -> bool:
        return fnmatchcase(path, self._wanted(pattern))

    def _wanted(self, pattern: TextV) -> str:
        folder = posixpath.dirname(pattern.span.file)
        return posixpath.normpath(posixpath.join(folder, pattern.value))

    def _tracked(self, pattern: TextV, format_: str | None, known: set[str]) -> list[FileFact]:
        """Data files that are in git, but for those that are known."""
        from alchemist_runtime.formats.files import format_of

        out = []
        assert self.revision is not None
        for path in self.revision.blobs:
            kind = format_ or format_of(path)
            if kind is not None and path not in known and self._matches(path, pattern):
                out.append(self._from_blob(path, kind))
        return out

    def _from_blob(self, path: str, kind: str) -> FileFact:
        assert self.revision is not None
        data = self.revision.read(path) or b""
        digest = "b2:" + hashlib.blake2b(data, digest_size=32).hexdigest()
        known = self._same_here(path, digest, kind)
        if known is not None:
            return known
        suffix = "".join(Path(path).suffixes[-2:])
        with tempfile.NamedTemporaryFile(suffix=suffix) as copy:
            copy.write(data)
            copy.flush()
            rows, columns, _ = describe(Path(copy.name), path, kind, len(data))
        return FileFact(path, digest, kind, len(data), rows, columns)

    def _same_here(self, path: str, digest: str, kind: str) -> FileFact | None:
        """What is known of the file that lies here, where it is the same."""
        try:
            if self.cache.get(self.root / path)["digest"] != digest:
                return None
        except OSError:
            return None
        fact = self._file(path, kind)
        return fact if isinstance(fact, FileFact) else None

    def _package(self, name: str) -> str | None:
        fact = self.lock.fact(locks.PYTHON, name)
        found = None if fact is None else fact.get("digest")
        return str(found) if found else super()._package(name)

    def base(self, block: Block) -> Diagnostic | None:
        return None  # the weights of back then need not lie here

    def local(self, path: str) -> str | None:
        """A file or folder of the project that a training starts from: from git, else as it lies here."""
        assert self.revision is not None
        inside = {p: b for p, b in self.revision.blobs.items() if p == path or p.startswith(f"{path.rstrip('/')}/")}
        if not inside:
            return super().local(path)
        digests = {p: "b2:" + hashlib.blake2b(self.revision.read(p) or b"", digest_size=32).hexdigest() for p in inside}
        if path in digests:
            return digests[path]
        from alchemist_runtime.schema.plan import digest

        folder = path.rstrip("/")
        return digest([[p.removeprefix(f"{folder}/"), d] for p, d in sorted(digests.items())])


def revision_of(project: Folder, name: str) -> Revision:
    """A project at a revision that a person named. NoRevision where there is none."""
    top = toplevel(project.root)
    commit = commit_of(top, name)
    if commit is None:
        raise NoRevision(f"there is no git revision `{name}`")
    return Revision(project.root, top, commit, name)


def lock_of(revision: Revision) -> tuple[Lock, str | None]:
    """The lock of a revision, and what is wrong with it."""
    try:
        return revision.lock(), None
    except (LockError, UnicodeDecodeError) as e:
        return Lock(), f"`{LOCK}` of {revision.name} cannot be read: {e}"


# --- what changed -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moved:
    """A file on both sides, by its path in the project; None where it is not there."""

    before: str | None
    after: str | None


def changed_files(project: Folder, before: Revision, after: Revision | None) -> list[Moved]:
    """Files of the project that differ between two commits, or a commit and what lies here; renames are found by
    git.
    """
    since = [before.commit] + ([after.commit] if after is not None else [])
    listed = git(before.top, "diff", "--name-status", "-z", "-M", *since, "--", before.prefix or ".")
    out = list(_statuses(listed.decode("utf-8", "surrogateescape"), before.prefix))
    if after is None:
        new = git(project.root, "ls-files", "--others", "--exclude-standard", "-z")
        out += [Moved(None, p) for p in new.decode("utf-8", "surrogateescape").split("\0") if p]
    return out


def _statuses(listed: str, prefix: str) -> Sequence[Moved]:
    parts = [p for p in listed.split("\0") if p]
    out, at = [], 0
    while at < len(parts):
        kind = parts[at][0]
        old = parts[at + 1].removeprefix(prefix)
        if kind in ("R", "C"):
            out.append(Moved(old if kind == "R" else None, parts[at + 2].removeprefix(prefix)))
            at += 3
            continue
        out.append(Moved(None if kind == "A" else old, None if kind == "D" else old))
        at += 2
    return out
