"""Ways to evolve a function, as tables: what is asked in addition, in two wordings, and the code that does it."""

from __future__ import annotations

from typing import Final

#: A second function beside it. Head: name, weight, its head, what the function may return, import. In the code CALL is
#: the call for `item`, KEY a function of an item; ITEMS says what the items are.
_BESIDE: Final = '''
== grouping | 8 | group_by_STEM(items) | one truth
Add a KIND `NAME` that groups ITEMS by what `STEM` returns for them, in a dictionary of lists.
Also write a KIND `NAME`: from many ITEMS it makes a dictionary from each result of `STEM` to those that gave it.
    """Group the items by what `STEM` returns for them."""
    groups = {}
    for item in items:
        groups.setdefault(CALL, []).append(item)
    return groups
== heap | 9 | top_by_STEM(items, count) | one | import heapq
Add a KIND `NAME` that finds the `count` of many ITEMS with the largest results of `STEM`, without sorting all of them.
Also write a KIND `NAME` that keeps, with `heapq`, only those `count` of many ITEMS for which `STEM` returns the most.
    """The `count` items for which `STEM` returns the most, the largest first."""
    return heapq.nlargest(count, items, key=KEY)
== lazy | 3 | each_STEM(items) | one truth many
Add a KIND `NAME` that yields what `STEM` returns for each of many ITEMS, one by one.
Also write a KIND `NAME`, a generator: for each of an iterable of ITEMS it gives the result of `STEM`.
    """Yield what `STEM` returns for each of the items."""
    for item in items:
        yield CALL
== work queue | 2 | STEM_worker(items) | nothing one truth many
Add a KIND `NAME` that takes ITEMS from a `queue.Queue`, calls `STEM` for each and ends at None.
Also write a KIND `NAME` for a thread of its own: it works through a queue of ITEMS with `STEM` until it gets None.
    """Call `STEM` for what comes out of the queue, until None comes."""
    while (item := items.get()) is not None:
        CALL
        items.task_done()
    items.task_done()
== cache | 4 | STEM_once_each(items) | one truth many
Add a KIND `NAME` for hashable ITEMS: it calls `STEM` only once for equal ones and returns all results in order.
Also write a KIND `NAME` for many hashable ITEMS with repetitions: a dictionary shall keep the known results of `STEM`.
    """What `STEM` returns for each of the items, called once for equal ones."""
    known = {}
    for item in items:
        if item not in known:
            known[item] = CALL
    return [known[item] for item in items]
== binary search | 12 | first_with_STEM(items, bound) | one
Add a KIND `NAME`: in ITEMS that ascend by `STEM` it finds by binary search the first index with at least `bound`.
Also write a KIND `NAME` that searches ITEMS, ascending by `STEM`, in logarithmic time for where it reaches `bound`.
    """The first index at which `STEM` returns at least `bound`; `items` ascend by it."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        item = items[middle]
        if CALL < bound:
            low = middle + 1
        else:
            high = middle
    return low
== filter | 20 | where_STEM(items) | truth
Add a KIND `NAME` that keeps those of many ITEMS for which `STEM` returns something true.
Also write a KIND `NAME` that filters ITEMS by the truth of what `STEM` returns.
    """The items for which `STEM` returns something true."""
    return [item for item in items if CALL]
'''

#: A decorator around it. Head: name, weight, its name, import. Code: what stands before the
#: wrapper, a line `...`, the wrapper's body, where CALL is the call.
_AROUND: Final = """
== call history | 3 | recorded | from collections import deque
Remember the arguments of the last ten calls of `STEM` in a bounded `deque`, by a decorator.
Apply a decorator `recorded` to `STEM` that keeps its last ten calls in a double-ended queue, as `STEM.calls`.
...
        wrapper.calls.append((args, kwargs))
        return CALL

    wrapper.calls = deque(maxlen=10)
== timed | 1 | timed | import time
Write a decorator `timed` that prints how long a call takes, and apply it to `STEM`.
Measure the running time of each call of `STEM` with a decorator, and print it.
...
        begin = time.perf_counter()
        try:
            return CALL
        finally:
            print(f"{function.__name__}: {time.perf_counter() - begin:.6f} s")
== logged | 1 | logged | import logging
Log each call of `STEM` with its arguments at debug level, by a decorator.
Write a decorator `logged` that sends the arguments of each call to the `logging` module, and apply it to `STEM`.
...
        logging.getLogger(__name__).debug("%s %r %r", function.__name__, args, kwargs)
        return CALL
== locked | 1 | locked | import threading
Make sure by a lock that no two threads run `STEM` at the same time.
Write a decorator `locked`, so that only one thread at a time is inside `STEM`.
    lock = threading.RLock()

...
        with lock:
            return CALL
"""


def _read(table: str) -> dict[str, tuple[list[str], tuple[str, str], str]]:
    """name -> (the rest of its head, the two wordings, the code)"""
    out = {}
    for entry in table.lstrip().removeprefix("== ").split("\n== "):
        head, first, second, code = entry.split("\n", 3)
        name, *rest = (x.strip() for x in head.split(" | "))
        out[name] = ([*rest, ""], (first, second), code.rstrip("\n"))
    return out


BESIDE: Final = _read(_BESIDE)
AROUND: Final = _read(_AROUND)
