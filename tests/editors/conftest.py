"""The tree-sitter grammar, compiled and loaded; what the editors' tests read."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
from tree_sitter import Language

ROOT = Path(__file__).resolve().parents[2]
TREE_SITTER = ROOT / "grammar" / "tree-sitter-recipe"


@pytest.fixture(scope="session")
def language(tmp_path_factory: pytest.TempPathFactory) -> Language:
    """The committed parser, as an editor would build it; what asks for it carries `needs("compiler")`."""
    library = tmp_path_factory.mktemp("tree-sitter") / "recipe.so"
    source = TREE_SITTER / "src"
    command = ["cc", "-shared", "-fPIC", "-Wall", "-Werror=implicit-function-declaration", "-I", source]
    files = [source / "parser.c", source / "scanner.c"]
    subprocess.run([*command, *files, "-o", library], check=True)
    made = ctypes.CDLL(str(library)).tree_sitter_recipe
    made.restype = ctypes.c_void_p
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype = ctypes.py_object
    capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return Language(capsule(made(), b"tree_sitter.Language", None))
