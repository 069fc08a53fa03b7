"""How one optimiser step is cut: a batch into sequences, those into processes and forward passes. Light: the checker
asks too.
"""

from __future__ import annotations

from alchemist_runtime.schema.codes import Problem, RunError


def sequences(unit: str, value: int, max_length: int) -> int:
    """Sequences of one optimiser step; a batch in tokens counts full ones. RunError A809 where it is no whole
    number.
    """
    if unit != "tokens":
        return value
    if value % max_length or not value:
        raise _uneven(
            f"a batch of {value:,} tokens is no whole number of sequences of {max_length:,}",
            f"take {nearest(value, max_length)} tokens",
        )
    return value // max_length


def each(total: int, processes: int, micro_batch: int | None, what: str) -> int:
    """Sequences of one process out of `total`; RunError A809 where they cannot be shared out, with the nearest sizes.

    `what` names a sequence: rows, or packs. What holds for some processes holds for one, so a checker that does not
    know how many there will be asks with the fewest.
    """
    if not total or total % processes:
        raise _uneven(
            f"a batch of {total:,} {what} cannot be shared out among {processes} processes",
            f"take {nearest(total, processes)} {what}, or another number of processes",
        )
    own = total // processes
    if micro_batch is not None and own % micro_batch:
        whose = "" if processes == 1 else " for each process"
        raise _uneven(
            f"{own:,} {what}{whose} are no multiple of micro_batch = {micro_batch}",
            f"take a batch of {nearest(total, processes * micro_batch)} {what}, or another `micro_batch`",
        )
    return own


def nearest(value: int, unit: int) -> str:
    """The multiples of `unit` around a value: "96 or 128"."""
    low = value // unit * unit
    return " or ".join(f"{v:,}" for v in (low, low + unit) if v)


def _uneven(headline: str, way_out: str) -> RunError:
    return RunError(Problem("A809", headline, help=way_out), exit_code=1)
