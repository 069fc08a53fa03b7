"""The identity of a source's rows: a hash of the record as it was read, so that the same record always has the same
id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from alchemist_runtime.schema.exact_json import dumps


def canonical(record: Any) -> bytes:
    """Canonical JSON of a record: sorted keys, no spaces, UTF-8. ValueError for what is nested too deep."""
    return dumps(record, sort=True)


class Identities:
    """Gives ids in order of reading: BLAKE2b-128 of salt and canonical record; a repeat adds its number among its
    equals.
    """

    def __init__(self, salt: str) -> None:
        self._start = hashlib.blake2b(salt.encode() + b"\0", digest_size=16)
        self._seen: dict[bytes, int] = {}

    def of(self, records: Sequence[bytes]) -> list[bytes]:
        """The ids of records in canonical JSON."""
        out = []
        seen, start = self._seen, self._start
        for data in records:
            h = start.copy()
            h.update(data)
            id_ = h.digest()
            number = seen.get(id_)
            if number is None:
                seen[id_] = 1
            else:
                seen[id_] = number + 1
                id_ = hashlib.blake2b(id_ + number.to_bytes(8, "big"), digest_size=16).digest()
            out.append(id_)
        return out
