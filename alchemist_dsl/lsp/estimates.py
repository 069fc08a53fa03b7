"""Expected rows, calls and money of every step of a document without errors, for hovers. Asks no network, hashes no
model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alchemist_runtime.schema import catalog
from alchemist_runtime.schema.plan import Node

from alchemist_dsl.compiler import compile_program, has_errors
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.explain import wording
from alchemist_dsl.ir import Block, Program
from alchemist_dsl.lowering.facts import SourceFacts
from alchemist_dsl.lsp.analysis import Analysis
from alchemist_dsl.lsp.local_columns import LocalFacts


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is at hand without waiting: files as the checks know them, pins and figures of the lock."""

    local_files: LocalFacts

    def source(self, block: Block) -> SourceFacts:
        if block.get("files") is not None and block.get("hub") is None:
            facts = self.local_files.source(block)
            return SourceFacts(facts.files)
        if block.get("hub") is not None:
            return self.local_files.resources.source(block)
        return SourceFacts()

    def columns(self, block: Block) -> Mapping[str, str] | None:
        return self.local_files.columns(block)

    def tokenizer(self, name: str) -> str | None:
        return self.local_files.resources.tokenizer(name)

    def model(self, name: str, revision: str | None) -> str | None:
        return self.local_files.resources.model(name, revision)

    def local(self, path: str) -> str | None:
        return None

    def base(self, block: Block) -> Diagnostic | None:
        return None

    def measured(self, key: str) -> Mapping[str, Any] | None:
        return self.local_files.resources.measured(key)


def estimates(analysis: Analysis, facts: LocalFacts) -> dict[str, str]:
    """A line for every step by its key; empty where the recipe has errors."""
    program: Program = analysis.program
    if has_errors(analysis.checked.diagnostics):
        return {}
    plan = compile_program(program, catalog.find, _Facts(facts)).plan
    if plan is None:
        return {}
    return {node.id: line for node in plan.nodes if (line := _line(node))}


def _line(node: Node) -> str:
    known = node.estimate
    basis = known["rows"].basis.replace("_", " ") if "rows" in known else ""
    parts = []
    for name, word in (("rows", "rows"), ("calls", "teacher calls")):
        told = wording.count(known.get(name))
        if told and told != "?":
            of = f" ({basis})" if name == "rows" and basis not in ("", "unknown") else ""
            parts.append(f"{told} {word}{of}")
    money = wording.dollars(known.get("usd"))
    if money and money != "?":
        parts.append(money)
    return f"Expected: {', '.join(parts)}" if parts else ""
