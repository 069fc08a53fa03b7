"""Which server gets which key: nothing of the environment leaves this machine because a recipe says so.

A recipe names both the variable and the server. The first time that a project sends the one to the other somebody has
to agree; that is remembered for the project, in the user's own configuration, where no recipe can write.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from alchemist_runtime.schema.plan import Node, Plan, Teacher

#: What everybody who names the provider has agreed to.
_OWN = ("api.openai.com", "OPENAI_API_KEY")


def destinations(teacher: Teacher) -> list[tuple[str, str]]:
    """The host that a teacher is asked at, with each variable whose value it is sent; nothing where none leaves the
    machine.
    """
    from alchemist_runtime.calls.teacher import OFFICIAL, is_local
    from alchemist_runtime.schema.catalog import origin

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


def agree(plan: Plan, project: Path, todo: Sequence[Node], allowed: Iterable[str], *, ask: bool = True) -> None:
    """Ask for every key that would go to a host for the first time. RunError A713 where nobody agrees, or may be asked
    now.
    """
    from alchemist_runtime.schema.errors import Problem, RunError

    known = _read()
    hosts = {host.lower() for host in allowed}
    names = [(n, str(getattr(n.spec, "teacher", ""))) for n in todo]
    sent = [(n, t, at) for n, t in names if t in plan.teachers for at in destinations(plan.teachers[t])]
    for node, name, at in sent:
        if at == _OWN or not os.environ.get(at[1], "").strip():
            continue
        entry = {"project": str(project), "host": at[0], "variable": at[1]}
        if entry in known:
            continue
        said = f"the key in `{at[1]}` goes to {at[0]}, for the first time in this project"
        there = ask and sys.stdin.isatty() and sys.stderr.isatty()
        if at[0] not in hosts and not (there and click.confirm(f"{said}. Send it?", err=True)):
            raise RunError(
                Problem(
                    "A713",
                    said + ("" if there else ", and nobody is there to agree"),
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
