"""Digest of a text, spelled as in plans (`alchemist_runtime.schema.plan.text_digest`, which would load pydantic)."""

from __future__ import annotations

import hashlib


def text_digest(text: str) -> str:
    """`b2:` and the BLAKE2b-256 of a text in UTF-8."""
    return "b2:" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
