"""Public data beside the checkout, and functions of the standard library, for the tests of code and rules."""

from __future__ import annotations

import ast
import gzip
import json
import sysconfig
import textwrap
from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def data():
    """Reads a public file: a list of records."""
    if not DATA.is_dir():
        pytest.skip("the public data is not beside the checkout (../shared/data)")

    def read(name: str) -> list[dict]:
        path = DATA / name
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = raw.decode()
        return json.loads(text) if text.startswith("[") else [json.loads(row) for row in text.splitlines()]

    return read


@pytest.fixture(scope="session")
def library() -> list[str]:
    """Documented functions and classes of a few modules of the standard library."""
    folder = Path(sysconfig.get_path("stdlib"))
    out = []
    for name in (
        "argparse",
        "ast",
        "bisect",
        "calendar",
        "cmd",
        "configparser",
        "csv",
        "difflib",
        "fractions",
        "heapq",
        "ipaddress",
        "statistics",
        "string",
        "textwrap",
        "uuid",
        "zipfile",
    ):
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        rows = text.split("\n")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
                code = textwrap.dedent("\n".join(rows[node.lineno - 1 : node.end_lineno]))
                if 120 < len(code) < 4000:
                    out.append(code)
    return out
