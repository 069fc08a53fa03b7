"""The house holds: imports only point down, and what must be light is light."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Rooms from the top down; a module may import its own layer and those below.
LAYERS = {
    "alchemist_dsl": [
        {"cli", "docs", "lsp", "review", "api", "__main__"},
        {"project"},
        {"compiler"},
        {"comparison"},
        {"graph"},
        {"migrate"},
        {"explain", "estimate", "lowering"},
        {"passes"},
        {"checker"},
        {"syntax"},
        {"diagnostics", "source", "ir", "document"},
    ],
    "alchemist_runtime": [
        {"engine", "train", "report", "exporters", "teachers"},
        {"operators", "sources", "metrics"},
        {"calls", "formats", "code"},
        {"storage"},
        {"schema"},
    ],
}
#: What the compiler may import of the runtime outside its schema, and only where it acts: in `cli`, `project` and `api`.
EXECUTION = {"engine", "report", "storage", "calls", "teachers", "exporters"}


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
    package, _, rest = module.partition(".")
    room = rest.partition(".")[0]
    return next((n for n, rooms in enumerate(LAYERS.get(package, ())) if room in rooms), None)


@pytest.mark.parametrize(("folder", "package"), [(".", "alchemist_dsl"), ("runtime", "alchemist_runtime")])
def test_imports_point_down(folder: str, package: str) -> None:
    wrong = []
    for name, path in modules(folder, package):
        mine = layer(name)
        if mine is None:
            assert name == package, f"{name} stands in no layer"
            continue
        wrong += [
            f"{name} imports {other}, which lies above it"
            for other in sorted(imported(path))
            if (theirs := layer(other)) is not None and other.startswith(package) and theirs < mine
        ]
    assert wrong == []


def test_runtime_never_imports_the_compiler() -> None:
    for name, path in modules("runtime", "alchemist_runtime"):
        for other in imported(path):
            assert not other.startswith(("alchemist_dsl", "lark")), f"{name} imports {other}"


def test_the_offline_teacher_knows_code_and_what_a_teacher_is() -> None:
    """It could be anybody's package."""
    may = ("alchemist_rules", "alchemist_runtime.schema", "alchemist_runtime.code", "alchemist_runtime.calls.teacher")
    for name, path in modules("runtime", "alchemist_rules"):
        wrong = [m for m in imported(path) if m.startswith("alchemist_") and not m.startswith(may)]
        assert not wrong, f"{name} imports {wrong}"
    assert sum(len(path.read_text().splitlines()) for _, path in modules("runtime", "alchemist_rules")) <= 1_500


def test_packages_of_this_distribution_are_known_without_a_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    from alchemist_runtime.schema import catalog

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][catalog.GROUP]
    assert declared == catalog.OWN
    monkeypatch.setattr(catalog, "_foreign", lambda *_: pytest.fail("scanned"))
    catalog.find.cache_clear()
    for name in declared:
        family, _, component = name.partition(".")
        made = catalog.find(family, component)  # type: ignore[arg-type]
        assert made is not None and (made.family, made.name) == (family, component)
        assert component in catalog.names(family)  # type: ignore[arg-type]


def test_only_the_command_line_and_project_reach_execution() -> None:
    for name, path in modules(".", "alchemist_dsl"):
        if name.startswith(("alchemist_dsl.cli", "alchemist_dsl.project", "alchemist_dsl.api")):
            continue
        for other in imported(path):
            if other.startswith("alchemist_runtime."):
                assert other.split(".")[1] not in EXECUTION, f"{name} imports {other}"


def test_no_private_module_is_imported_by_another_room() -> None:
    wrong = set()
    for folder, package in ((".", "alchemist_dsl"), ("runtime", "alchemist_runtime")):
        for name, path in modules(folder, package):
            for other in imported(path):
                parts = other.split(".")
                private = next((i for i, p in enumerate(parts[1:], 1) if p[0] == "_" and not p.startswith("__")), None)
                if (
                    parts[0] in LAYERS
                    and private
                    and name.split(".")[:private] != parts[:private]
                    and len(parts) > private
                ):
                    wrong.add(f"{name} imports {other}")
    assert wrong == set()


def test_the_roots_hold_rooms() -> None:
    loose = [p.name for folder in ("alchemist_dsl", "runtime/alchemist_runtime") for p in (ROOT / folder).glob("*.py")]
    assert len(loose) <= 12, loose


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
        "import alchemist_dsl.compiler, alchemist_dsl.checker, alchemist_runtime.schema.plan, alchemist_runtime.schema.catalog as c\n"
        "[c.find(f, n) for f in c._FOLDERS for n in c.names(f)]",
        "import alchemist_dsl.cli.main",
        "import alchemist_dsl.project.workspace",
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
