"""`alchemist fmt` as a person calls it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from command_line import cli_bytes

ROOT = Path(__file__).resolve().parents[2]
GOOD = "edition 2026\n\nmap a { from = b }\n"
UGLY = "edition 2026\n\nmap a {from=b}"
BAD = "edition 2026\n\nmap a {from=b}\n\nmap   c { = }\n"


def fmt(*args: str, cwd: Path, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return cli_bytes("fmt", *args, cwd=cwd, stdin=data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.recipe").write_text(GOOD)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "ugly.recipe").write_text(UGLY)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "ugly.recipe").write_text(UGLY)
    return tmp_path


def test_files_are_rewritten_in_place(folder: Path) -> None:
    ugly = folder / "sub" / "ugly.recipe"
    ugly.chmod(0o640)
    done = fmt(cwd=folder)
    assert done.stdout.decode() == "formatted sub/ugly.recipe\n2 files: 1 formatted, 1 as before\n"
    assert (done.returncode, done.stderr) == (0, b"")
    assert ugly.read_text() == GOOD
    assert stat.S_IMODE(ugly.stat().st_mode) == 0o640
    assert (folder / ".hidden" / "ugly.recipe").read_text() == UGLY
    assert sorted(p.name for p in ugly.parent.iterdir()) == ["ugly.recipe"]
    written = ugly.stat().st_mtime_ns
    assert fmt(".", cwd=folder).stdout == b"2 files: 0 formatted, 2 as before\n"
    assert ugly.stat().st_mtime_ns == written


def test_a_link_stays_a_link(folder: Path) -> None:
    (folder / "link.recipe").symlink_to(folder / "sub" / "ugly.recipe")
    assert fmt("link.recipe", cwd=folder).returncode == 0
    assert (folder / "link.recipe").is_symlink()
    assert (folder / "sub" / "ugly.recipe").read_text() == GOOD


def test_check_names_what_would_change(folder: Path) -> None:
    done = fmt("--check", "sub", "good.recipe", cwd=folder)
    assert (done.returncode, done.stdout.decode()) == (1, "sub/ugly.recipe\n")
    assert done.stderr == b"1 of 2 files would change\n"
    assert (folder / "sub" / "ugly.recipe").read_text() == UGLY
    assert fmt("--check", "good.recipe", cwd=folder).returncode == 0


def test_diff(folder: Path) -> None:
    done = fmt("--diff", "sub/ugly.recipe", "good.recipe", cwd=folder)
    assert done.returncode == 0
    assert done.stdout.decode().split("\n", 3)[3] == (
        " edition 2026\n \n-map a {from=b}\n\\ No newline at end of file\n+map a { from = b }\n"
    )
    assert (folder / "sub" / "ugly.recipe").read_text() == UGLY
    assert fmt("--diff", "--check", ".", cwd=folder).returncode == 1


def test_standard_input(folder: Path) -> None:
    done = fmt("-", cwd=folder, data=b"\xef\xbb\xbf" + UGLY.replace("\n", "\r\n").encode())
    assert (done.returncode, done.stdout, done.stderr) == (0, GOOD.encode(), b"")
    assert fmt("--check", "-", cwd=folder, data=GOOD.encode()).returncode == 0
    done = fmt("--check", "-", cwd=folder, data=UGLY.encode())
    assert (done.returncode, done.stdout) == (1, b"-\n")


def test_what_does_not_parse_is_named_and_stays(folder: Path) -> None:
    (folder / "bad.recipe").write_text(BAD)
    done = fmt("bad.recipe", cwd=folder)
    assert done.returncode == 1
    assert b"bad.recipe:5:" in done.stderr
    assert b"the parts of `bad.recipe` that do not parse were left unchanged" in done.stderr
    assert (folder / "bad.recipe").read_text() == GOOD + "\nmap   c { = }\n"


def test_what_is_not_text_is_left(folder: Path) -> None:
    (folder / "bytes.recipe").write_bytes(b"edition 2026\n\xff\n")
    done = fmt("bytes.recipe", cwd=folder)
    assert done.returncode == 1
    assert b"A014" in done.stderr
    assert (folder / "bytes.recipe").read_bytes() == b"edition 2026\n\xff\n"
    assert fmt("-", cwd=folder, data=b"\xff\n").stdout == b"\xff\n"


def test_json(folder: Path) -> None:
    (folder / "bad.recipe").write_text(BAD)
    done = fmt("--format", "json", "bad.recipe", "good.recipe", cwd=folder)
    bad, good = json.loads(done.stdout)
    assert (bad["file"], bad["changed"], bad["written"]) == ("bad.recipe", True, True)
    assert [p["code"] for p in bad["problems"]] == ["A002"]
    assert good == {"file": "good.recipe", "changed": False, "written": False, "problems": []}


def test_usage(folder: Path) -> None:
    (folder / "none").mkdir()
    done = fmt("nothing.recipe", cwd=folder)
    assert (done.returncode, b"there is no recipe `nothing.recipe`" in done.stderr) == (2, True)
    done = fmt("none", cwd=folder)
    assert (done.returncode, b"there is no recipe in the folder `none`" in done.stderr) == (2, True)


def test_what_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alchemist_dsl.cli import fmt as command

    file = folder / "sub" / "ugly.recipe"
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as left:
        command.fmt.main(["sub"], standalone_mode=False)
    assert left.value.code == 3
    assert file.read_text() == UGLY
