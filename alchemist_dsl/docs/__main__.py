"""`python -m alchemist_dsl.docs --write` makes what is generated; `--check` says what is not as it would be made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from alchemist_dsl.docs import reference, schemas
from alchemist_dsl.migrate.page import migrate_page

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"


def generated() -> dict[Path, str]:
    """Every generated file of the checkout with its text."""
    result = {
        DOCS / "reference" / "kinds.md": reference.kinds_page(),
        DOCS / "reference" / "functions.md": reference.functions_page(),
        DOCS / "reference" / "errors.md": reference.errors_page(),
        DOCS / "reference" / "cli.md": reference.cli_page(),
        DOCS / "migrate.md": reference.HEAD + migrate_page(),
    }
    result |= {DOCS / "schemas" / name: text for name, text in schemas.all_schemas().items()}
    return result | reference.pages()


def stale() -> list[Path]:
    """Files that are not as they would be made, and generated ones that nothing makes any more."""
    result = generated()
    old = [p for p, text in result.items() if not p.exists() or p.read_text("utf-8") != text]
    folders = (DOCS / "reference", DOCS / "schemas")
    left = [p for f in folders if f.is_dir() for p in f.iterdir() if p not in result]
    return sorted(old + left)


def main(arguments: list[str]) -> int:
    if arguments not in (["--write"], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    if not DOCS.is_dir():
        print("error: this is no checkout: there is no folder `docs`", file=sys.stderr)
        return 2
    found = stale()
    if arguments == ["--check"]:
        for path in found:
            print(f"{path.relative_to(DOCS.parent)} is not fresh; run `make docs`", file=sys.stderr)
        return int(bool(found))
    result = generated()
    for path in found:
        if path in result:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(result[path], "utf-8")
        else:
            path.unlink()
    print(f"{len(result)} files, {len(found)} of them changed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
