"""What a compilation may know of the world, as values behind one small interface. `resources.py` finds it out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.ir import Block

#: The Python that reads packages and parses code: an ingredient of keys that depend on it.
PYTHON_MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True, slots=True)
class FileFact:
    """A data file. `path` is relative to the project, with `/`."""

    path: str
    digest: str
    format: str
    size: int | None = None
    rows: int | None = None
    columns: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is known of a source's or suite's place. Empty where nothing is known yet."""

    files: tuple[FileFact, ...] = ()
    revision: str | None = None  # of a hub dataset, 40 hex digits
    modules: Mapping[str, str] = field(default_factory=dict)  # Python package -> digest of its files
    problems: tuple[Diagnostic, ...] = ()


class Facts(Protocol):
    """Facts from `recipe.lock` and from the files at hand."""

    def source(self, block: Block) -> SourceFacts:
        """Files, revision or packages of a source or suite."""
        ...

    def columns(self, block: Block) -> Mapping[str, str] | None:
        """Columns of the records as read; None where nobody knows them yet."""
        ...

    def tokenizer(self, name: str) -> str | None:
        """The locked revision of a tokenizer."""
        ...

    def model(self, name: str, revision: str | None) -> str | None:
        """The locked commit of a base model of the hub, by its name and its revision as written; None for one on
        disk.
        """
        ...

    def local(self, path: str) -> str | None:
        """Digest of a file or folder of the project (a base model, a chat template); None where there is none."""
        ...

    def base(self, block: Block) -> Diagnostic | None:
        """What is wrong with the model that a training starts from or a teacher is, as far as that is known before it
        runs.
        """
        ...

    def measured(self, key: str) -> Mapping[str, Any] | None:
        """Figures of the last complete run of a step, by its key."""
        ...


class NoFacts:
    """Nothing is known: what a compilation without project, files and lock sees."""

    def source(self, block: Block) -> SourceFacts:
        return SourceFacts()

    def columns(self, block: Block) -> Mapping[str, str] | None:
        return None

    def tokenizer(self, name: str) -> str | None:
        return None

    def model(self, name: str, revision: str | None) -> str | None:
        return None

    def local(self, path: str) -> str | None:
        return None

    def base(self, block: Block) -> Diagnostic | None:
        return None

    def measured(self, key: str) -> Mapping[str, Any] | None:
        return None
