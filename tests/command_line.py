"""The command `alchemist`, called in the process of the tests: what a process of its own spends on imports is saved.

`cli` is for what a command says and does. `process` is for what only a process of its own shows: how it ends (a signal,
the exit code of the entry point), what it imports, the interpreter's own variables (`PYTHON*`), a terminal, the encoding
of its output, a full disk. Both give the same result; both are fixtures too.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from typing import IO
from unittest.mock import patch

ALCHEMIST = [sys.executable, "-m", "alchemist_dsl"]
#: Seconds after which what a test waits for will not come: none is reached by a machine that is only busy.
PATIENCE = 300.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)


def process(
    *args: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    merged: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run `alchemist …` in a process of its own, off a terminal. `env` is its whole environment; `merged`: standard
    error goes where standard output goes."""
    return subprocess.run(
        [*ALCHEMIST, *map(str, args)],
        cwd=cwd,
        env=env,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )


def cli(
    *args: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    merged: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run `alchemist …` as `process` does, in this process. What a command leaves in a process is put back."""
    done = cli_bytes(*args, cwd=cwd, env=env, stdin=stdin.encode(), merged=merged)
    err = None if done.stderr is None else _text(done.stderr)
    return subprocess.CompletedProcess(done.args, done.returncode, _text(done.stdout), err)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def cli_bytes(
    *args: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    merged: bool = False,
) -> subprocess.CompletedProcess[bytes]:
    """`cli` without texts: the very bytes."""
    from alchemist_dsl.cli.main import main

    command = [str(a) for a in args]
    with ExitStack() as stack:
        given, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(stdin)
        given.seek(0)
        with (
            variables(os.environ if env is None else env),
            chdir(cwd or Path.cwd()),
            _as_at_start(),
            _streams(given, out, out if merged else err),
        ):
            try:
                main(command)
            except SystemExit as left:
                code = left.code
        assert code is None or isinstance(code, int), code
        return subprocess.CompletedProcess(command, code or 0, _all(out), None if merged else _all(err))


def _all(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


@contextmanager
def _streams(*files: IO[bytes]) -> Iterator[None]:
    """Standard input, output and error are these files, also for the programs that a command starts."""
    opened = [open(os.dup(f.fileno()), mode, encoding="utf-8") for f, mode in zip(files, "rww", strict=True)]  # noqa: PTH123, SIM115
    opened[2].reconfigure(line_buffering=True)  # type: ignore[union-attr]
    before = [os.dup(n) for n in range(3)]
    for n, file in enumerate(files):
        os.dup2(file.fileno(), n)
    try:
        with (
            patch.multiple(sys, stdin=opened[0], stdout=opened[1], stderr=opened[2]),
            patch.multiple(sys, __stdin__=opened[0], __stdout__=opened[1], __stderr__=opened[2]),
        ):
            yield
    finally:
        for file in opened:
            file.close()
        for n, kept in enumerate(before):
            os.dup2(kept, n)
            os.close(kept)


@contextmanager
def variables(env: Mapping[str, str]) -> Iterator[None]:
    """This is the environment. The libraries of the hub, which read `HF_*` when they are imported, read them anew, and
    once more at the end."""
    before, known = ({k: v for k, v in of.items() if k.startswith("HF_")} for of in (os.environ, env))
    try:
        with patch.dict(os.environ, dict(env), clear=True):
            if known != before:
                _read_hub_settings()
            yield
    finally:
        if known != before:
            _read_hub_settings()


def _read_hub_settings() -> None:
    for name in ("huggingface_hub.constants", "datasets.config"):
        if name in sys.modules:
            importlib.reload(sys.modules[name])


@contextmanager
def _as_at_start() -> Iterator[None]:
    """Signals, warnings and logs are for a while as they are where Python starts, and nothing is remembered of
    repositories and files that change between two commands."""
    handlers = {n: signal.getsignal(n) for n in _SIGNALS}
    root = logging.getLogger()
    logs, level = root.handlers[:], root.level
    root.handlers[:] = []
    root.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.resetwarnings()
            for ignored in (ResourceWarning, ImportWarning, PendingDeprecationWarning, DeprecationWarning):
                warnings.simplefilter("ignore", ignored)
            warnings.showwarning = warnings._showwarning_orig  # type: ignore[attr-defined]
            yield
    finally:
        root.handlers[:] = logs
        root.setLevel(level)
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        _forget()


def _forget() -> None:
    """Empty the caches whose values end with a process."""
    revisions = sys.modules.get("alchemist_dsl.project.operands")
    operands = sys.modules.get("alchemist_dsl.project.operands")
    if revisions is not None:
        revisions.toplevel.cache_clear()
        revisions.commit_of.cache_clear()
        revisions._objects.cache_clear()
    if operands is not None:
        operands._looked_up.cache_clear()
