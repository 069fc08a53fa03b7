"""What somebody has to agree to before a run: money that it spends, and keys that it sends to a server.

A recipe names both the variable with a key and the server. The first time that a project sends the one to the other
somebody has to agree; that is remembered for the project, in the user's own configuration, where no recipe can write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from alchemist_runtime.schema.catalog import origin
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.plan import Node, Plan, Teacher

from alchemist_dsl.explain.wording import dollar_amount

#: Puts a question to a person, and says whether the answer is yes.
Ask = Callable[[str], bool]

#: What everybody who names the provider has agreed to.
_OWN = ("api.openai.com", "OPENAI_API_KEY")


def destinations(teacher: Teacher) -> list[tuple[str, str]]:
    """The host that a teacher is asked at, with each variable whose value it is sent; nothing where none leaves the
    machine.
    """
    from alchemist_runtime.calls.teacher import OFFICIAL, is_local

    key = teacher.api_key_env or (None if teacher.base_url else _OWN[1])
    if origin(teacher.provider) != "server" or is_local(teacher.base_url):
        return []
    url = urlsplit(teacher.base_url or OFFICIAL)
    host = (url.hostname or "") + (f":{url.port}" if url.port else "")
    sent = dict.fromkeys([*([key] if key else []), *teacher.headers_env.values()])
    return [(host, variable) for variable in sent]


def keys_that_leave(plan: Plan) -> list[str]:
    """For people: the keys that go to another server than their provider's."""
    return [
        f"key      `{variable}` goes to {host} ({t.name})"
        for t in plan.teachers.values()
        for host, variable in destinations(t)
        if (host, variable) != _OWN
    ]


def agree_to_hosts(plan: Plan, project: Path, todo: Sequence[Node], allowed: Iterable[str], ask: Ask | None) -> None:
    """Ask for every key that would go to a host for the first time. Raises RunError A713 where nobody agrees."""
    known = _read()
    hosts = {host.lower() for host in allowed}
    names = [(n, _teacher(n)) for n in todo]
    sent = [(n, t, at) for n, t in names if t in plan.teachers for at in destinations(plan.teachers[t])]
    for node, name, at in sent:
        if at == _OWN or not os.environ.get(at[1], "").strip():
            continue
        entry = {"project": str(project), "host": at[0], "variable": at[1]}
        if entry in known:
            continue
        said = f"the key in `{at[1]}` goes to {at[0]}, for the first time in this project"
        if at[0] not in hosts and not (ask is not None and ask(f"{said}. Send it?")):
            raise RunError(
                Problem(
                    "A713",
                    said + ("" if ask is not None else ", and there is no terminal to confirm on"),
                    node=node.id,
                    help=f"see that `{name}` is a server that you trust with it; then `--allow-host {at[0]}`",
                )
            )
        known.append(entry)
        _write(known)


def _file() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "alchemist" / "hosts.json"


def _read() -> list[Any]:
    """What was agreed to before; a file that cannot be read agrees to nothing."""
    try:
        found = json.loads(_file().read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def _write(known: list[Any]) -> None:
    from alchemist_runtime.storage.store import write_atomic

    with suppress(OSError):  # asked again the next time
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_atomic(_file(), (json.dumps(known, indent=1) + "\n").encode())


# --- money ------------------------------------------------------------------------------------------------------------


def agree_to_cost(plan: Plan, todo: Sequence[Node], most: Fraction | None, ask: Ask | None) -> None:
    """Nothing that costs money happens by surprise: ask once where somebody is there, else require a budget.

    Raises RunError A702, A709."""
    requested = [n for n in todo if _costs(plan, n)]
    if not requested:
        return
    unknown = [n.id for n in requested if plan.teachers[_teacher(n)].price is None]
    if unknown and most is not None:
        raise RunError(
            Problem(
                "A702",
                f"the cost of `{unknown[0]}` is unknown, so a budget cannot be kept",
                node=unknown[0],
                help="add `price { input = … output = … }` to its teacher, or `price = free` for a local model",
            )
        )
    if most is not None or all(getattr(n.spec, "budget", None) for n in requested):
        return
    text = _spending(plan, requested, bool(unknown))
    if ask is not None and ask(f"{text}. Go on?"):
        return
    raise RunError(
        Problem(
            "A709",
            "nothing was spent: the run was not confirmed"
            if ask is not None
            else f"{text}, and there is no terminal to confirm on",
            node=requested[0].id,
            help="give `--budget $N`, or a `budget` in each step that asks a teacher",
        )
    )


def _spending(plan: Plan, requested: Sequence[Node], unknown: bool) -> str:
    """What the steps will ask and spend, by what the plan knows of this machine, else from scratch."""
    now = {n.id: n for n in plan.now.nodes} if plan.now else {}
    calls, usd = 0, Fraction(0)
    for node in requested:
        here = now.get(node.id)
        new = here.calls_new if here is not None else None
        money = here.usd if here is not None and here.usd is not None else node.estimate.get("usd")
        scratch = node.estimate.get("calls")
        calls += int(scratch.value or 0) if new is None and scratch is not None else new or 0
        usd += Fraction((money and (money.high or money.value)) or 0)
    teachers = ", ".join(sorted({_teacher(n) for n in requested}))
    about = "an unknown amount" if unknown else f"up to {dollar_amount(usd)}"
    return f"this run makes about {calls:,} new calls to {teachers} and spends {about}"


def _costs(plan: Plan, node: Node) -> bool:
    teacher = plan.teachers.get(_teacher(node))
    if teacher is None:
        return False
    free = origin(teacher.provider) in ("recording", "messages", "inputs")
    return not free and not (teacher.price and teacher.price.free)


def _teacher(node: Node) -> str:
    return str(getattr(node.spec, "teacher", ""))
