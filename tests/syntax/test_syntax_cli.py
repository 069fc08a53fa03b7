"""`alchemist check` and the shell around all commands, as a person calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from command_line import cli

from alchemist_dsl.cli import main as shell

ROOT = Path(__file__).resolve().parents[2]
GOOD = 'edition 2026\nsource a {\n  files = "a.jsonl"\n}\nexport kept {\n  data = a\n  path = "out"\n}\n'
BAD = GOOD.replace("data = a", "data = b")


def alchemist(*args: str, cwd: Path, text: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return cli(*args, cwd=cwd, stdin=text or "", env={**os.environ, **env})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "recipe.lock").write_text("")
    (tmp_path / "a.jsonl").write_text('{"instruction": "i", "response": "r"}\n')
    (tmp_path / "good.recipe").write_text(GOOD)
    (tmp_path / "bad.recipe").write_text(BAD)
    return tmp_path


def test_a_good_recipe(project: Path) -> None:
    done = alchemist("check", "good.recipe", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("checked 1 recipe: no problems in ")


def test_a_bad_recipe(project: Path) -> None:
    done = alchemist("check", "bad.recipe", cwd=project)
    assert done.returncode == 1 and done.stderr == ""
    assert "error[A103 unknown-name]" in done.stdout and " --> bad.recipe:6:10" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("checked 1 recipe: 1 error")
    assert "\x1b" not in done.stdout


def test_several_and_folders(project: Path) -> None:
    done = alchemist("check", "good.recipe", ".", cwd=project)
    assert done.returncode == 1 and "checked 2 recipes: " in done.stdout


def test_paths_are_those_of_the_current_folder(project: Path) -> None:
    (project / "sub").mkdir()
    done = alchemist("check", "../bad.recipe", "--format", "concise", cwd=project / "sub")
    assert done.stdout.startswith("../bad.recipe:6:10: error[A103]: ")


def test_forms_for_tools(project: Path) -> None:
    concise = alchemist("check", "bad.recipe", "--format", "concise", cwd=project)
    assert all("bad.recipe:" in line for line in concise.stdout.splitlines())
    assert concise.stderr.startswith("checked 1 recipe")
    data = json.loads(alchemist("check", "bad.recipe", "--format", "json", cwd=project).stdout)
    assert [d["code"] for d in data] == ["A103"]
    assert json.loads(alchemist("check", "good.recipe", "--format", "json", cwd=project).stdout) == []


def test_standard_input(project: Path) -> None:
    done = alchemist("check", "-", "--format", "concise", cwd=project, text=BAD)
    assert done.returncode == 1 and done.stdout.startswith("-:6:10: error[A103]")


def test_parameters_from_outside(project: Path) -> None:
    (project / "p.recipe").write_text(
        GOOD.replace("edition 2026\n", "edition 2026\nparam where: text\n").replace('"out"', "param.where")
    )
    assert alchemist("check", "p.recipe", cwd=project).returncode == 1
    assert alchemist("check", "p.recipe", "--set", 'where="x"', cwd=project).returncode == 0
    assert alchemist("check", "p.recipe", cwd=project, ALCHEMIST_PARAM_WHERE='"x"').returncode == 0
    assert alchemist("check", "p.recipe", "--set", "where", cwd=project).returncode == 2


def test_a_file_that_is_not_there(project: Path) -> None:
    done = alchemist("check", "god.recipe", cwd=project)
    assert done.returncode == 2
    assert "there is no recipe `god.recipe`; did you mean `good.recipe`?" in done.stderr


def test_a_pattern_that_matches_no_file(project: Path) -> None:
    (project / "a.jsonl").unlink()
    done = alchemist("check", "good.recipe", "--format", "concise", cwd=project)
    assert done.returncode == 1 and "error[A302]" in done.stdout


def test_a_file_that_is_no_text(project: Path) -> None:
    (project / "x.recipe").write_bytes(b"edition 2026\n# caf\xe9\n")
    done = alchemist("check", "x.recipe", cwd=project)
    assert done.returncode == 1 and "error[A014 not-utf8]" in done.stdout and "line 2" in done.stdout


def test_thousands_of_mistakes_are_cut(project: Path) -> None:
    (project / "x.recipe").write_text("edition 2026\n" + "filter a { x = = 1 }\n" * 150)
    done = alchemist("check", "x.recipe", cwd=project)
    assert done.returncode == 1 and "more; `--format concise` lists all" in done.stdout


# --- the shell --------------------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy(project: Path) -> None:
    code = (
        "import sys\nfrom alchemist_dsl.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit as e: assert e.code == 0\n"
        "print([m for m in sys.modules if m.startswith('alchemist') or m in ('lark', 'rich', 'pydantic', 'json')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.splitlines()[-1] == "['alchemist_dsl', 'alchemist_dsl.cli', 'alchemist_dsl.cli.main']"


def test_every_command_is_there() -> None:
    context = click.Context(shell.group)
    for name in shell.COMMANDS:
        command = shell.group.get_command(context, name)
        assert command is not None and command.help, name


def test_an_unknown_command(project: Path) -> None:
    done = alchemist("chek", cwd=project)
    assert done.returncode == 2 and "there is no command `chek`; did you mean `check`?" in done.stderr
    assert alchemist("check", "--frmat", "json", cwd=project).returncode == 2


def ends_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(shell.group, "main", fail)
    with pytest.raises(SystemExit) as ended:
        shell.main([])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_our_own_mistakes(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(project)
    monkeypatch.delenv("ALCHEMIST_DEBUG", raising=False)
    (project / ".alchemist").mkdir()
    assert ends_with(ZeroDivisionError("deep inside"), monkeypatch) == 4
    said = capsys.readouterr().err
    assert "this is our bug" in said and "Traceback" not in said
    (log,) = (project / ".alchemist").glob("failure-*.log")
    assert "deep inside" in log.read_text()
    monkeypatch.setenv("ALCHEMIST_DEBUG", "1")
    assert ends_with(ZeroDivisionError("deep inside"), monkeypatch) == 4
    assert "Traceback" in capsys.readouterr().err


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ends_with(KeyboardInterrupt(), monkeypatch) == 130
    assert ends_with(click.Abort(), monkeypatch) == 130
