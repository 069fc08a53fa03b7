"""The language server: pure functions over a checked document and a position, wired to an editor by `server.py`."""
