"""The house holds: imports only point down, and what must be light is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Layers from the top down; a module may import its own layer and those below. Longest prefix wins.
DSL = [
    ("alchemist_dsl.cli", "alchemist_dsl.docs", "alchemist_dsl.__main__", "alchemist_dsl.lsp", "alchemist_dsl.review"),
    ("alchemist_dsl.locking",),
    ("alchemist_dsl.project", "alchemist_dsl.revisions"),
    ("alchemist_dsl.compiler",),
    ("alchemist_dsl.diff",),
    ("alchemist_dsl.graph",),
    ("alchemist_dsl.migrate",),
    (
        "alchemist_dsl.data",
        "alchemist_dsl.lower",
        "alchemist_dsl.lowering",
        "alchemist_dsl.keys",
        "alchemist_dsl.canon",
        "alchemist_dsl.written",
        "alchemist_dsl.estimate",
        "alchemist_dsl.training",
        "alchemist_dsl.bases",
        "alchemist_dsl.ranges",
        "alchemist_dsl.verdicts",
        "alchemist_dsl.shortage",
        "alchemist_dsl.reasons",
        "alchemist_dsl.state",
        "alchemist_dsl.explain",
        "alchemist_dsl.tables",
        "alchemist_dsl.resources",
        "alchemist_dsl.facts",
        "alchemist_dsl.lock",
        "alchemist_dsl.drift",
        "alchemist_dsl.declared",
        "alchemist_dsl.rerun",
        "alchemist_dsl.folder",
    ),
    ("alchemist_dsl.passes",),
    ("alchemist_dsl.editors", "alchemist_dsl.pygments_lexer", "alchemist_dsl.vocabulary"),
    ("alchemist_dsl.check",),
    ("alchemist_dsl.syntax",),
    (
        "alchemist_dsl.diagnostics",
        "alchemist_dsl.source",
        "alchemist_dsl.kinds",
        "alchemist_dsl.ir",
        "alchemist_dsl.trees",
        "alchemist_dsl.unrun",
    ),
]
BORDER = {"plan", "rows", "registry", "errors", "functions", "catalog"}
#: What the compiler may import of the runtime besides the border; launch is the one line that starts a training.
EXECUTION = {
    "engine",
    "train",
    "train_job",
    "evaluate",
    "report",
    "store",
    "cache",
    "calls",
    "answers",
    "ledger",
    "limits",
    "teacher",
}


def modules(folder: str, package: str) -> Iterator[tuple[str, Path]]:
    base = ROOT / folder
    for path in sorted((base / package).rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(path: Path, *, top_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes: list[ast.AST] = list(tree.body if top_only else ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{a.name}" for a in node.names}
    return found


def layer(module: str) -> int | None:
    best = None
    for number, names in enumerate(DSL):
        for name in names:
            if (module == name or module.startswith(name + ".")) and (best is None or len(name) > best[0]):
                best = (len(name), number)
    return None if best is None else best[1]


def test_runtime_never_imports_the_compiler() -> None:
    for name, path in modules("runtime", "alchemist_runtime"):
        for other in imported(path):
            assert not other.startswith(("alchemist_dsl", "lark")), f"{name} imports {other}"


def test_compiler_imports_point_down() -> None:
    for name, path in modules(".", "alchemist_dsl"):
        mine = layer(name)
        if mine is None:
            assert name == "alchemist_dsl", f"{name} stands in no layer"
            continue
        for other in imported(path):
            theirs = layer(other)
            assert theirs is None or theirs >= mine, f"{name} imports {other}, which lies above it"


def test_only_the_command_line_and_project_reach_execution() -> None:
    for name, path in modules(".", "alchemist_dsl"):
        if name.startswith(("alchemist_dsl.cli", "alchemist_dsl.project")):
            continue
        for other in imported(path):
            if other.startswith("alchemist_runtime."):
                assert other.split(".")[1] not in EXECUTION, f"{name} imports {other}"


HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "openai",
    "polars",
    "pyarrow",
    "numpy",
    "duckdb",
    "huggingface_hub",
    "ray",
    "pandas",
    "accelerate",
    "rensa",
    "tree_sitter",
)


@pytest.mark.parametrize(
    "code",
    [
        "import alchemist_dsl.compiler, alchemist_dsl.check, alchemist_runtime.plan, alchemist_runtime.catalog as c\n"
        "[c.find(f, n) for f in c._FOLDERS for n in c.names(f)]",
        "import alchemist_dsl.cli.main",
        "import alchemist_dsl.project",
    ],
)
def test_compiler_and_catalog_import_nothing_heavy(code: str) -> None:
    check = f"import sys\n{code}\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_help_imports_click_alone() -> None:
    check = (
        "import sys\nfrom click.testing import CliRunner\nfrom alchemist_dsl.cli.main import group as main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print([m for m in ('lark', 'pydantic', 'jinja2', 'rich', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_plan_or_artefact_holds_a_pickle() -> None:
    for package, folder in (("alchemist_dsl", "."), ("alchemist_runtime", "runtime")):
        for name, path in modules(folder, package):
            assert not {m for m in imported(path) if m.split(".")[0] in ("pickle", "dill", "cloudpickle", "joblib")}, (
                name
            )


def test_files_of_tests_are_named_once() -> None:
    """pytest imports them by name alone: two of one name stop the whole run while it collects."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
