"""A real git repository for a test, of nobody's settings, in which `alchemist` is this checkout's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from command_line import cli

ROOT = Path(__file__).resolve().parents[1]


def environment() -> dict[str, str]:
    """What git and alchemist see: no settings of the machine, this checkout's code, the environment's programs."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("ALCHEMIST_", "GIT_", "GITHUB_"))}
    return own | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "runtime")]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }


class Repo:
    """A repository in a folder; `git` and `alchemist` as a person calls them there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.git("init", "--quiet", "--initial-branch", "main")

    def run(self, *command: str, code: int | None = 0, **more: str) -> str:
        """Run a command here; standard output and error together. AssertionError where it ends otherwise than with
        `code`.
        """
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment() | more,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert code is None or done.returncode == code, (done.returncode, done.stdout)
        return done.stdout

    def git(self, *arguments: str, code: int | None = 0) -> str:
        return self.run("git", *arguments, code=code)

    def alchemist(self, *arguments: str, code: int | None = 0, **more: str) -> str:
        done = cli(*arguments, cwd=self.folder, env=environment() | more, merged=True)
        assert code is None or done.returncode == code, (done.returncode, done.stdout)
        return done.stdout

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def commit(self, message: str = "change") -> str:
        """Commit everything; the revision."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD").strip()
