"""Commands over projects with something odd in them: none may end in exit 4, take more than 5 s of CPU or 1 GiB.

`fuzz.py --minutes 20` prints its figures and what went wrong, with the number of the case; `--seed S --case N` does one
case again and prints what the command said.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import odd

SECONDS, MIB = 5.0, 1024
PATIENCE = 60  # seconds of CPU after which a command is stopped


def command(args: tuple[str, ...], report: Path) -> NoReturn:
    """One command in this process, which ends with it."""
    from alchemist_dsl.cli import main as cli

    def bug(error: Exception) -> None:
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "alchemist" in f.filename]
        at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}" if ours else "?"
        report.write_text(f"{type(error).__name__} at {at}")
        traceback.print_exception(error)

    cli._bug = bug
    resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE, PATIENCE))
    cli.main(list(args))


def fork(args: tuple[str, ...], folder: Path, report: Path, out: int) -> tuple[int, float, float]:
    """Exit code (minus the signal), seconds of CPU and MiB of a command in a process of its own."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setsid()
            os.chdir(folder)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out, 1)
            os.dup2(out, 2)
            command(args, report)
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        except BaseException as error:
            report.write_text(f"{type(error).__name__} came out of the command line")
            traceback.print_exception(error)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            os._exit(code)
    until = time.monotonic() + 4 * PATIENCE
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            report.write_text("it waited for something")
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def prepare(folder: Path) -> None:
    """A project that ran: with a store, a lock, an export and a plan beside it."""
    odd.build(folder)
    for args in (("run", "r.recipe"), ("compile", "r.recipe", "-o", "plan.json")):
        code, *_ = fork(args, folder, folder / "report", 2)
        assert code == 0, f"`alchemist {' '.join(args)}` of the project as it should be: {code}"


def case(
    seed: int, number: int, whole: Path, folder: Path, out: int
) -> tuple[str, tuple[str, ...], tuple[int, float, float], str]:
    """One case: what was changed, the command, what it took, and what is wrong with that."""
    draw = Random(f"{seed}/{number}")
    shutil.rmtree(folder, ignore_errors=True)
    odd.copy(whole, folder)
    changed = odd.disturb(folder, draw)
    args = draw.choice(odd.COMMANDS)
    report = folder.with_name("report")
    report.unlink(missing_ok=True)
    code, seconds, mib = took = fork(args, folder, report, out)
    said = report.read_text() if report.exists() else ""
    if code < 0 or code in (4, 70):
        return changed, args, took, f"exit {code}: {said or 'no reason'}"
    if seconds > SECONDS:
        return changed, args, took, f"{seconds:.0f} s of CPU in `{args[0]}`"
    return changed, args, took, f"{mib:.0f} MiB in `{args[0]}`" if mib > MIB else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this case alone, with what the command says")
    asked = parser.parse_args()
    for name in [n for n in os.environ if n.startswith("ALCHEMIST_")]:
        del os.environ[name]
    os.environ["HF_HUB_OFFLINE"] = "1"
    import alchemist_runtime.engine.local  # noqa: F401  (loaded once, for all children)

    with tempfile.TemporaryDirectory() as room:
        os.environ["XDG_CONFIG_HOME"] = room
        whole, folder = Path(room) / "whole", Path(room) / "project"
        prepare(whole)
        if asked.case is not None:
            changed, args, took, wrong = case(asked.seed, asked.case, whole, folder, 1)
            print(
                f"\n{changed}\nalchemist {' '.join(args)}: exit {took[0]}, {took[1]:.1f} s, {took[2]:.0f} MiB\n{wrong}"
            )
            return int(bool(wrong))
        return _many(asked.seed, asked.minutes, whole, folder)


def _many(seed: int, minutes: float, whole: Path, folder: Path) -> int:
    found: dict[str, tuple[int, str]] = {}
    codes: Counter[int] = Counter()
    most, largest, number = 0.0, 0.0, 0
    times: Counter[str] = Counter()
    until = time.monotonic() + 60 * minutes
    silent = os.open(os.devnull, os.O_WRONLY)
    while time.monotonic() < until:
        changed, args, (code, seconds, mib), wrong = case(seed, number, whole, folder, silent)
        codes[code] += 1
        most, largest = max(most, seconds), max(largest, mib)
        if wrong:
            times[wrong] += 1
            found.setdefault(wrong, (number, f"{changed}; alchemist {' '.join(args)}"))
        number += 1
    ends = ", ".join(f"{n} with {code}" for code, n in sorted(codes.items()))
    print(f"seed {seed}: {number} cases, exits {ends}; at most {most:.1f} s of CPU and {largest:.0f} MiB")
    for wrong, (first, what) in sorted(found.items(), key=lambda f: -times[f[0]]):
        print(f"  {times[wrong]} x {wrong}\n      first --case {first}: {what}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
