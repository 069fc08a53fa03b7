"""Documented functions and doctest sessions of installed packages become rows; nothing is imported."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.formats.files import licence, package_files, stdlib_files
from alchemist_runtime.formats.records import Where
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.sources.python import python

SHAPES = '''"""Shapes.

>>> area(2, 3)
6
"""

raise RuntimeError("a package that is read must not be imported")


def area(width, height=1):
    """Return the area of a rectangle.

    Both sides are in the same unit. See :func:`volume`.

    Parameters
    ----------
    width : int
        The first side. Never negative.
    height : int, optional
        The second side.

    Returns
    -------
    area : int
        The product.

    Examples
    --------
    >>> a = area(2)
    >>> a
    2

    Later on:

    >>> a + 1
    3

    Something else:

    >>> area(1, 1)  # doctest: +SKIP
    1

    >>> len("abc")
    3
    """
    return width * height


def undocumented(x):
    return x


def _private(x):
    """Documented, but private."""
    return x


class Box:
    """A box with three sides."""

    def volume(self) -> int:
        """Compute the volume of the box."""
        return self.a * self.b * self.c

    @property
    def colour(self):
        """The colour that the box was painted in."""
        return self._colour

    def open(self):
        """Open the box, which subclasses know how to do."""
        raise NotImplementedError

    async def ship(self, to):
        """Send the box to an address."""
        await to.accept(self)


def where():
    """Say where an object lies in memory.

    >>> where()
    <object at 0x7f00deadbeef>
    """
    return object()
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "alc_shapes"
    (folder / "tests").mkdir(parents=True)
    (folder / "__init__.py").write_text('"""Nothing here."""\n')
    (folder / "flat.py").write_text(SHAPES)
    (folder / "broken.py").write_text('def f(:\n    """No Python at all."""\n')
    (folder / "tests" / "test_flat.py").write_text('def helper():\n    """A helper of the tests."""\n    return 1\n')
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def rows(*modules: str, doctests: bool = False) -> list[dict[str, Any]]:
    chunks = python(Where(Path(), (), "n"), modules=list(modules), doctests=doctests)
    return [r for c in chunks for r in c.records]


def test_functions_become_requests_and_code(package: Path) -> None:
    found = {r["qualname"]: r for r in rows("alc_shapes")}
    assert list(found) == ["area", "Box.volume", "Box.colour", "Box.ship", "where"]
    area = found["area"]
    assert area["instruction"] == (
        "Write the Python function `area(width, height=1)` for the module `alc_shapes.flat`.\n\n"
        "Return the area of a rectangle.\n\n"
        "Both sides are in the same unit. See `volume`.\n\n"
        "It takes:\n- `width` (int): The first side.\n- `height` (int, optional): The second side.\n\n"
        "It returns `area` (int): The product."
    )
    assert area["response"].startswith('def area(width, height=1):\n    """Return')
    assert area["response"].endswith("    return width * height\n")
    assert (area["lang"], area["module"], area["license"]) == ("python", "alc_shapes.flat", None)
    assert (
        "method `volume(self) -> int` of the Python class `Box` (A box with three sides)"
        in found["Box.volume"]["instruction"]
    )
    assert found["Box.colour"]["instruction"].startswith("Write the property `colour` of")
    assert found["Box.colour"]["response"].startswith("@property\ndef colour")
    assert "asynchronous method" in found["Box.ship"]["instruction"]
    assert "alc_shapes" not in sys.modules


def test_a_docstring_may_stand_left_of_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'if True:\n    def run(mode, file):\n        """run(mode, file) -> integer\n\nExecute a file. The rule is:\n\n.. math:: x\n"""\n        if mode:\n            return 1\n'
    (tmp_path / "alc_left.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    (row,) = rows("alc_left")
    assert row["instruction"].endswith("for the module `alc_left`.\n\nExecute a file. The rule is.")
    assert row["response"].startswith('def run(mode, file):\n    """run(mode')
    assert row["response"].endswith('\n"""\n    if mode:\n        return 1\n')
    ast.parse(row["response"])


def test_places_name_file_and_line(package: Path) -> None:
    (chunk,) = python(Where(Path(), (), "n"), modules=["alc_shapes"])
    lines = SHAPES.splitlines()
    assert chunk.place(0) == f"alc_shapes/flat.py:{lines.index('def area(width, height=1):') + 1}"


def test_sessions_show_what_the_prompt_answers(package: Path) -> None:
    found = rows("alc_shapes", doctests=True)
    assert [r["response"] for r in found] == [
        ">>> area(2, 3)\n6",
        ">>> a = area(2)\n>>> a\n2\n>>> a + 1\n3",  # the later run needs `a`
    ]
    assert (
        found[0]["instruction"]
        == "What does the Python prompt show for this line, with `alc_shapes.flat`?\n\narea(2, 3)"
    )
    assert "for these lines, with `alc_shapes.flat.area`?\n\na = area(2)\na\na + 1" in found[1]["instruction"]


def test_independent_runs_are_rows_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '"""Doc.\n\n>>> len("ab")\n2\n\nand\n\n>>> len("abc")\n3\n\nand\n\n>>> 1 / 0\nTraceback (most recent call last):\n  ...\nZeroDivisionError: division by zero\n"""\n'
    (tmp_path / "alc_single.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    found = [r["response"] for r in rows("alc_single", doctests=True)]
    assert found[:2] == ['>>> len("ab")\n2', '>>> len("abc")\n3']
    assert found[2].startswith(">>> 1 / 0\nTraceback")
    assert found[2].endswith("ZeroDivisionError: division by zero")


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(RunError) as caught:
        rows("no_such_package_here")
    problem = caught.value.problem
    assert (problem.code, problem.node) == ("A311", "n")
    assert "no_such_package_here" in problem.headline
    assert "pip install no_such_package_here" in (problem.help or "")


def test_the_standard_library_is_read_in_order_without_its_tests() -> None:
    files = [shown for shown, _ in stdlib_files()]
    assert files == sorted(files)
    assert "json/decoder.py" in files
    assert not [f for f in files if "/test" in f or f.startswith(("idlelib", "site-packages", "test/"))]
    assert package_files("stdlib") == stdlib_files()
    assert [shown for shown, _ in package_files("json.decoder")] == ["json/decoder.py"]


def test_a_module_of_the_standard_library() -> None:
    found = rows("textwrap")
    assert {"dedent", "indent", "shorten", "TextWrapper.wrap"} <= {r["qualname"] for r in found}
    assert all(r["license"] == "PSF-2.0" for r in found)
    for row in found:
        ast.parse(row["response"])
        assert row["instruction"].startswith("Write the ")
    assert found == rows("textwrap")


def test_licences_come_from_the_metadata() -> None:
    assert licence("json") == "PSF-2.0"
    assert "BSD" in (licence("numpy") or "")
    assert licence("alc_nothing") is None
