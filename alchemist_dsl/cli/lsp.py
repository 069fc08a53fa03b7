"""`alchemist lsp`: the language server, started by editors."""

from __future__ import annotations

import sys

import click


@click.command()
@click.option("--stdio", is_flag=True, help="Over standard input and output; there is no other way.")
def lsp(stdio: bool) -> None:
    """Serve an editor: problems while typing, completion, hover, navigation, renaming, formatting."""
    try:
        import pygls  # noqa: F401
    except ImportError:
        raise click.ClickException(
            "the language server needs `pygls`; install it with `pip install 'alchemist-dsl[lsp]'`"
        ) from None
    from alchemist_dsl.lsp.server import serve

    sys.exit(serve())
