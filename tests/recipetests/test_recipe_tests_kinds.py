"""Every kind of step under test, and each expectation of those tests turned round: it must fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from recipe_tests import HERE, copied

from alchemist_dsl.cli.test_runner import run_tests

#: Names of the tests of `kinds.recipe`, in the order of the file.
NAMES = re.findall(r'^test "(.*)" \{$', (HERE / "kinds.recipe").read_text(), re.M)
KINDS = {"map", "dedup", "filter", "decontaminate", "generate", "relabel", "task", "mixture"}


def test_every_kind_is_carried_out_and_holds(tmp_path: Path) -> None:
    tested = run_tests(copied("kinds.recipe", tmp_path))
    assert not tested.wrong
    assert [r.name for r in tested.results] == NAMES
    assert [(r.name, r.failures, r.problems) for r in tested.results if r.outcome != "passed"] == []
    text = (HERE / "kinds.recipe").read_text()
    kinds = {re.search(rf"^(\w+) {r.step} ", text, re.M)[1] for r in tested.results}  # type: ignore[index]
    assert kinds == KINDS


def test_every_expectation_can_fail(tmp_path: Path) -> None:
    path = copied("kinds.recipe", tmp_path)
    head, *tests = re.split(r"^(?=test )", path.read_text(), flags=re.M)
    turned = [re.sub(r"^  expect (.*)$", r"  expect not (\1)", t, flags=re.M) for t in tests]
    expected = [t.count("\n  expect ") for t in tests]
    path.write_text(head + "".join(turned))
    tested = run_tests(path)
    assert not tested.wrong, tested.diagnostics
    assert [len(r.failures) for r in tested.results] == expected


@pytest.mark.parametrize("name", ["rows_b", "humaneval"])
def test_nothing_is_fetched(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps over sources and suites of the hub: no socket is opened."""
    import socket

    def no(*_: object, **__: object) -> None:
        raise AssertionError("a test opened a connection")

    monkeypatch.setattr(socket.socket, "connect", no)
    path = copied("kinds.recipe", tmp_path)
    chosen = {"rows_b": "map sets", "humaneval": "hub suite"}[name]
    results = run_tests(path, chosen).results
    assert [r.outcome for r in results] == ["passed"]


def test_nothing_is_left_in_the_project(tmp_path: Path) -> None:
    path = copied("kinds.recipe", tmp_path)
    run_tests(path)
    found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert found <= {"kinds.recipe", "recipe.lock", "data/a.jsonl", "data/items.jsonl", ".alchemist/files"}
