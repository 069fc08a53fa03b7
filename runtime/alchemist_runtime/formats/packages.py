"""The Python files of installed packages, found without importing them, and what is known of a package: version and
licence.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

#: Names the whole standard library in a recipe.
STDLIB = "stdlib"
#: Folders of packages that hold no library code.
_SKIPPED = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "_examples"})
#: Modules of the standard library that are programs, jokes, or copies of other packages.
_NO_LIBRARY = frozenset({"test", "idlelib", "turtledemo", "ensurepip", "lib2to3", "antigravity", "this", "distutils"})


def package_files(name: str) -> list[tuple[str, Path]]:
    """The Python files of a package, module or the standard library: (path inside it, file), sorted; none: not
    installed.
    """
    if name == STDLIB:
        return stdlib_files()
    found: list[tuple[str, Path]] = []
    prefix = Path(*name.split("."))
    for folder in _locations(name):
        if folder.is_file():
            found.append((f"{prefix.as_posix()}.py", folder))
            continue
        found += [((prefix / f.relative_to(folder)).as_posix(), f) for f in _python_files(folder)]
    return sorted(found)


def stdlib_files() -> list[tuple[str, Path]]:
    """The files of the standard library's modules, tests and demonstrations left out."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for name in sorted(sys.stdlib_module_names - _NO_LIBRARY):
        if name.startswith("_") and not name.startswith("_py"):
            continue
        if (root / f"{name}.py").is_file():
            found.append((f"{name}.py", root / f"{name}.py"))
        elif (root / name / "__init__.py").is_file():
            found += [(f.relative_to(root).as_posix(), f) for f in _python_files(root / name)]
    return sorted(found)


def _python_files(folder: Path) -> list[Path]:
    return [f for f in sorted(folder.rglob("*.py")) if not _is_test(f.relative_to(folder))]


def _is_test(inside: Path) -> bool:
    name = inside.name
    return (
        not _SKIPPED.isdisjoint(inside.parts[:-1])
        or name.startswith("test_")
        or name.endswith("_test.py")
        or name == "conftest.py"
    )


def _locations(name: str) -> list[Path]:
    """The folders of a package, or the file of a module; looks only, imports nothing."""
    from importlib.machinery import PathFinder
    from importlib.util import find_spec

    top, *inner = name.split(".")
    try:
        spec = find_spec(top)
        for i in range(1, len(inner) + 1):
            if spec is None:
                return []
            spec = PathFinder.find_spec(".".join([top, *inner[:i]]), spec.submodule_search_locations)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return [Path(p) for p in spec.submodule_search_locations]
    ours = spec.origin and spec.has_location and spec.origin.endswith(".py")
    return [Path(spec.origin)] if ours and spec.origin else []


def licence(name: str) -> str | None:
    """The SPDX identifier or the short name of a package's licence, as its metadata gives it."""
    top = name.partition(".")[0]
    if name == STDLIB or top in sys.stdlib_module_names:
        return "PSF-2.0"
    from importlib.metadata import PackageNotFoundError, metadata, packages_distributions

    owners = packages_distributions().get(top, [top])
    try:
        meta = metadata(sorted(owners)[0])
    except PackageNotFoundError:
        return None
    if "License-Expression" in meta:
        return meta["License-Expression"]
    written = (meta["License"] or "").strip() if "License" in meta else ""
    if written and "\n" not in written and len(written) <= 60:
        return written
    named = [c.rpartition(":: ")[2] for c in meta.get_all("Classifier") or [] if c.startswith("License ::")]
    return named[0] if named else None
