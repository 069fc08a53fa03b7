"""Odd texts, files and folders: each time a message that says what is wrong and what helps, and never "our bug"."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from e2e_cli import ALCHEMIST, Said, alchemist, call, environment, jsonl, refused

EVERY = os.environ.get("ALCHEMIST_TEST_ALL") == "1"
RECIPE = """edition 2026
param n: int = 3
source a {
  files = "a.jsonl"
}
export data {
  data = a
  path = "out"
}
"""
ROW = {"instruction": "Add one and two.", "response": "It is three."}


Command = Callable[..., Said]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "r.recipe").write_text(RECIPE)
    jsonl(tmp_path / "a.jsonl", [ROW])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(project: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in the folder of the project."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return call


def says(done: Said, code: object, *words: str) -> None:
    assert done.code == code, done.said
    for word in words:
        assert word in done.said, done.said


# --- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [201, 900, 5_000])
def test_a_record_that_is_nested_too_deeply(depth: int, project: Path, command: Command) -> None:
    deep = '{"instruction": "a", "response": "b", "x": ' + "[" * depth + "]" * depth + "}"
    jsonl(project / "a.jsonl", [ROW, deep])
    says(command("check", "r.recipe"), 0)
    says(command("run", "r.recipe"), 3, "A305", "a.jsonl:2: nested more than 200 levels deep")
    text = RECIPE.replace("jsonl", "json", 1)
    (project / "r.recipe").write_text(text)
    (project / "a.json").write_text(f"[{json.dumps(ROW)}, {deep}]")
    says(command("run", "r.recipe"), 3, "nested more than 200 levels deep") if depth > 500 else None


def test_a_record_of_200_levels_is_read(project: Path, command: Command) -> None:
    deep = '{"instruction": "a", "response": "b", "x": ' + "[" * 199 + "]" * 199 + "}"
    jsonl(project / "a.jsonl", [deep])
    says(command("run", "r.recipe"), 0)


@pytest.mark.parametrize(
    "line", ['import "m{}.recipe" as m', 'recipe {{ extends = "m{}.recipe" }}'], ids=["import", "extends"]
)
def test_a_chain_of_a_thousand_files(line: str, project: Path, command: Command) -> None:
    for i in range(1_000):
        (project / f"m{i}.recipe").write_text(f"edition 2026\n{line.format(i + 1)}\n")
    (project / "r.recipe").write_text(RECIPE.replace("param", line.format(0) + "\nparam"))
    for name in ("check", "compile", "graph"):
        says(command(name, "r.recipe"), 1, "error[A020 long-chain]", "m30.recipe:2:")


@pytest.mark.parametrize(
    "inner",
    ["(" * 5_000 + "1" + ")" * 5_000, "1" + " + 1" * 3_000, "instruction" + " | upper" * 3_000, "not " * 3_000 + "1"],
    ids=["brackets", "sums", "filters", "nots"],
)
def test_a_template_that_is_nested_too_deeply(inner: str, project: Path, command: Command) -> None:
    step = f'map b {{\n  from = a\n  set system = jinja"""\n    {{{{ {inner} }}}}\n    """\n}}\nexport'
    (project / "r.recipe").write_text(RECIPE.replace("export", step).replace("data = a", "data = b"))
    says(command("check", "r.recipe"), 1, "error[A401", "nested too deeply", "{% set part")


def test_checking_evaluates_no_template(project: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from alchemist_dsl.checker.templates import _environment

    def noticed(*_: object) -> str:
        raise AssertionError("evaluated while it was checked")

    monkeypatch.setitem(_environment().filters, "upper", noticed)
    text = (
        "{{ 'a' | upper }}{% if 'b' | upper %}{% for c in 'd' | upper %}{{ c ~ ('e' | upper) }}{% endfor %}{% endif %}"
    )
    step = f'map b {{\n  from = a\n  set system = jinja"""\n    {text}\n    """\n}}\nexport'
    (project / "r.recipe").write_text(RECIPE.replace("export", step).replace("data = a", "data = b"))
    says(command("check", "r.recipe"), 0)


@pytest.mark.parametrize("form", ["json", "toml"])
@pytest.mark.parametrize("depth", [600, 9_000])
def test_parameters_that_are_nested_too_deeply(form: str, depth: int, project: Path, command: Command) -> None:
    value = "[" * depth + "]" * depth
    (project / f"p.{form}").write_text(f"n = {value}" if form == "toml" else f'{{"n": {value}}}')
    done = command("compile", "r.recipe", "--params", f"p.{form}")
    says(done, 2, f"`p.{form}` cannot be read: its values are nested too deeply")


def test_a_lock_that_is_nested_too_deeply(project: Path, command: Command) -> None:
    (project / "recipe.lock").write_text("version = 1\nx = " + "[" * 5_000)
    says(command("compile", "r.recipe"), 1, "A908", "`recipe.lock` cannot be read", "nested too deeply")
    says(command("check", "r.recipe"), 0)


def test_a_mixture_of_more_rows_than_there_are(project: Path, command: Command) -> None:
    mixture = "mixture m {\n  total = 900_000_000_000 rows\n  take { a = 100% }\n}\nexport"
    (project / "r.recipe").write_text(RECIPE.replace("export", mixture).replace("data = a", "data = m"))
    says(command("run", "r.recipe"), 1, "A602", "`a` should give 900,000,000,000 rows but has 1")


@pytest.mark.parametrize("upto", ["a", "f"])
def test_a_hub_source_without_revision_offline(upto: str, project: Path, command: Command) -> None:
    text = RECIPE.replace('files = "a.jsonl"', 'hub = "owner/name"')
    step = "filter f {\n  from = a\n  drop chars(response) < 5 as short\n}\nexport"
    (project / "r.recipe").write_text(text.replace("export", step).replace("data = a", "data = f"))
    says(command("run", "r.recipe", "--upto", upto), 3, "error[A309 hub-unreachable]", "offline")
    command("compile", "r.recipe", "-o", "plan.json")
    says(command("run", "plan.json"), 3, "the plan does not say which commit of `owner/name`", "alchemist lock")


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_a_recipe_that_is_too_large(project: Path, command: Command) -> None:
    (project / "r.recipe").write_text(RECIPE + "# a comment\n" * 100_000)
    (project / "i.recipe").write_text(RECIPE.replace("param", 'import "r.recipe" as r\nparam'))
    for name in ("check", "compile", "run", "graph", "test"):
        says(command(name, "r.recipe"), 1, "error[A019 too-large]", "larger than 1 MiB")
    says(command("check", "i.recipe"), 1, "error[A019 too-large]", "--> r.recipe:1:1")
    says(command("fmt", "r.recipe"), 1, "error[A019 too-large]")


def test_a_line_that_is_too_long(project: Path, command: Command) -> None:
    (project / "r.recipe").write_text(RECIPE + "#" + "x" * 100_000 + "\n")
    says(command("check", "r.recipe"), 1, "error[A019", "line 10 has 100,001 characters", "--> r.recipe:10:1")
    before = (project / "r.recipe").read_text()
    says(command("fmt", "r.recipe"), 1, "error[A019")
    assert (project / "r.recipe").read_text() == before
    (project / "r.recipe").write_text(RECIPE + "#" + "x" * 99_999 + "\n")
    says(command("check", "r.recipe"), 0)


def test_controls_of_writing_direction_are_told(project: Path, command: Command) -> None:
    text = RECIPE.replace("source a", "# keep\u202e all \u2066of\u2069\nsource a")
    (project / "r.recipe").write_text(text)
    done = command("check", "r.recipe")
    says(done, 0, "warning[A021", "U+202E (right-to-left override)", "--> r.recipe:3:7", "3 warnings")
    assert "\u202e" not in done.said
    (project / "r.recipe").write_text(RECIPE.replace("source a", "# \u05d0\u200f\u0628\u200e ok\nsource a"))
    assert "A021" not in command("check", "r.recipe").said


# --- files ------------------------------------------------------------------------------------------------------------


def test_pipes_are_not_waited_for(project: Path, command: Command) -> None:
    os.mkfifo(project / "pipe.recipe")
    (project / "i.recipe").write_text(RECIPE.replace("param", 'import "pipe.recipe" as p\nparam'))
    for name in ("check", "compile", "run", "graph", "test", "fmt", "textconv"):
        done = command(name, "pipe.recipe")
        assert done.code != 0 and "named pipe" in done.said, (name, done)
    says(command("check", "i.recipe"), 1, "error[A113", "`pipe.recipe` may not be read: it is a named pipe")
    os.mkfifo(project / "b.jsonl")
    (project / "r.recipe").write_text(RECIPE.replace("a.jsonl", "b.jsonl"))
    says(command("check", "r.recipe"), 1, "A302")
    (project / "i.recipe").unlink()
    (project / "r.recipe").write_text(RECIPE)
    says(command("lock"), 0)
    os.mkfifo(project / "new.lock")
    (project / "new.lock").replace(project / "recipe.lock")
    says(command("compile", "r.recipe"), 1, "A908", "named pipe")
    says(command("check", "r.recipe"), 0)


def test_links_that_lead_out_of_the_project(
    project: Path, command: Command, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in ("m.recipe", "recipe.lock"):
        (elsewhere / name).write_text("secret =\n")
    (project / "m.recipe").symlink_to(elsewhere / "m.recipe")
    (project / "r.recipe").write_text(RECIPE.replace("param", 'import "m.recipe" as m\nparam'))
    done = command("check", "r.recipe")
    says(done, 1, "error[A113", "it is a link that leads out of the project")
    assert "secret" not in done.said
    says(command("fmt", "m.recipe"), 2, "it is a link that leads out of the project")
    assert (elsewhere / "m.recipe").read_text() == "secret =\n"
    (project / "r.recipe").write_text(RECIPE)
    (project / "recipe.lock").symlink_to(elsewhere / "recipe.lock")
    says(command("compile", "r.recipe"), 1, "A908", "it is a link that leads out of the project")
    (project / "m.recipe").unlink()
    (project / "recipe.lock").unlink()
    (project / "sub").mkdir()
    (project / "sub/m.recipe").write_text("edition 2026\nfilter f {\n  keep chars(response) > 1\n}\n")
    (project / "m.recipe").symlink_to("sub/m.recipe")  # inside, all is well
    (project / "r.recipe").write_text(RECIPE.replace("param", 'import "m.recipe" as m\nparam'))
    assert "A113" not in command("check", "r.recipe").said


def test_files_outside_the_project_are_told(project: Path, command: Command) -> None:
    inner = project / "inner"
    (inner / ".git").mkdir(parents=True)
    for name in ("../a.jsonl", str(project / "a.jsonl")):
        (inner / "r.recipe").write_text(RECIPE.replace("a.jsonl", name))
        for verb in ("check", "compile", "run"):
            says(command(verb, "inner/r.recipe"), 0, f"warning[A320 outside-files]: `{name}` lies outside the project")
        only = {"ALCHEMIST_ONLY_PROJECT": "1"}
        refused(alchemist("check", "inner/r.recipe", cwd=project, env=only), 1, "A320", at=None)
    (inner / "r.recipe").write_text(RECIPE)
    (inner / "a.jsonl").symlink_to(project / "a.jsonl")
    done = command("check", "inner/r.recipe")
    says(done, 1, "error[A321 hidden-link]: `a.jsonl` is a link", f"to {project / 'a.jsonl'}")
    (inner / "a.jsonl").unlink()
    (inner / "data").mkdir()
    jsonl(inner / "data/b.jsonl", [ROW])
    (inner / "a.jsonl").symlink_to("data/b.jsonl")
    says(command("check", "inner/r.recipe"), 0, "no problems")


def test_review_reads_no_file_outside_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    from alchemist_dsl.cli import review

    given = []
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **kw: given.append(kw["env"]) or subprocess.CompletedProcess([], 0, "", "")
    )
    review._alchemist("diff")
    assert given[0]["ALCHEMIST_ONLY_PROJECT"] == "1"


def test_more_columns_than_a_source_may_have(project: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from alchemist_runtime.engine import sources

    if not EVERY:
        monkeypatch.setattr(sources, "COLUMNS", 40)
    wide = ROW | {f"user_{i}": i for i in range(sources.COLUMNS - len(ROW))}
    jsonl(project / "a.jsonl", [ROW, wide])
    says(command("run", "r.recipe"), 0)
    jsonl(project / "a.jsonl", [ROW, wide | {"one_more": 1}])
    says(command("check", "r.recipe"), 0)
    says(command("run", "r.recipe"), 3, "error[A322", f"`a` have more than {sources.COLUMNS:,} columns")


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_file_that_unpacks_without_end(
    packing: str, project: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    import pyarrow as pa
    from alchemist_runtime.formats import files

    monkeypatch.setattr(files, "FREE", 1 << 10)
    monkeypatch.setattr(files, "RATIO", 20)
    (project / "r.recipe").write_text(RECIPE.replace("a.jsonl", f"a.jsonl.{packing}"))
    for blank, code in ((" " * 200, 0), (" " * 1_000_000, 3)):
        data = (json.dumps(ROW)[:-1] + blank + "}\n").encode()
        packed = gzip.compress(data) if packing == "gz" else pa.compress(data, "zstd").to_pybytes()
        (project / f"a.jsonl.{packing}").write_bytes(packed)
        done = command("run", "r.recipe")
        says(done, code)
    says(done, 3, "error[A312", "decompressed, it is more than 20 times as large")


def test_a_line_without_end(project: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from alchemist_runtime.formats import files

    monkeypatch.setattr(files, "LINE", 1 << 20)
    (project / "a.jsonl").write_text(json.dumps(ROW) + "\n" + "[" * (2 << 20))
    says(command("run", "r.recipe"), 3, "error[A312", "line 2 is longer than 1 MiB")


# --- variants ---------------------------------------------------------------------------------------------------------


def test_lock_looks_at_every_value_of_a_large_variant_once(project: Path, command: Command) -> None:
    """Six values in each of six places are 46,656 runs; six of them have every value."""
    names = [f"a{i}" for i in range(6)]
    sources = "".join(f'source {n} {{\n  files = "0.jsonl"\n  limit = 1 rows\n}}\n' for n in names)
    sets = "".join(
        f"  set {n}.files = any({', '.join(f'{chr(34)}{j}.jsonl{chr(34)}' for j in range(6))})\n" for n in names
    )
    mixture = "mixture m {\n  take {\n" + "".join(f"    {n} = all\n" for n in names) + "  }\n}\n"
    export = 'export data {\n  data = m\n  path = "out"\n}\n'
    (project / "r.recipe").write_text(f"edition 2026\n{sources}{mixture}{export}variant v {{\n{sets}}}\n")
    for j in range(6):
        jsonl(project / f"{j}.jsonl", [ROW])
    says(command("lock"), 0)
    lock = (project / "recipe.lock").read_text()
    assert [f'"{j}.jsonl" = ' in lock for j in range(6)] == [True] * 6
    run = "v[" + ",".join(f"{(5 * i) % 6}.jsonl" for i in range(6)) + "]"
    says(command("compile", "r.recipe", "--variant", run, "--locked"), 0, run)
    says(command("compile", "r.recipe", "--variant", "v"), 1, "stands for 46,656 runs")
    says(command("compile", "r.recipe", "--variant", "v[9.jsonl]"), 1, "no variant `v[9.jsonl]`")


# --- keys -------------------------------------------------------------------------------------------------------------

TEACHER = '''teacher served {
  provider = openai
  model = "gpt-4o-mini-2024-07-18"
  base_url = "https://teacher.invalid:8443/v1"
  api_key_env = "MY_SECRET"
  price = free
  retries = 0
}

prompt ask {
  input {
    response: text
  }
  output {
    prompt: text
  }
  user = jinja"""
    What made {{ response }}?
    """
}

relabel b {
  from = a
  teacher = served
  prompt = ask
}

export'''


@pytest.fixture
def asked(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that names a variable of ours and a server of somebody's; the folder of the user's configuration."""
    (project / "r.recipe").write_text(RECIPE.replace("export", TEACHER).replace("data = a", "data = b"))
    home = tmp_path_factory.mktemp("config")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("MY_SECRET", "sk-recognisable-0123456789")
    return home


def test_a_key_goes_nowhere_unasked(asked: Path, project: Path, command: Command) -> None:
    says(command("compile", "r.recipe"), 0, "key      `MY_SECRET` goes to teacher.invalid:8443 (served)")
    done = command("run", "r.recipe")
    says(
        done,
        3,
        "error[A713 host-not-allowed]: the key in `MY_SECRET` goes to teacher.invalid:8443",
        "`--allow-host teacher.invalid:8443`",
    )
    says(command("run", "r.recipe", "--allow-host", "other.invalid"), 3, "A713")
    assert not list(asked.iterdir())


def test_a_host_is_allowed_once_for_a_project(asked: Path, project: Path, command: Command) -> None:
    says(command("run", "r.recipe", "--allow-host", "Teacher.invalid:8443"), 3, "error[A708")
    says(command("run", "r.recipe"), 3, "error[A708")
    known = [{"project": str(project), "host": "teacher.invalid:8443", "variable": "MY_SECRET"}]
    assert json.loads((asked / "alchemist/hosts.json").read_text()) == known
    text = (project / "r.recipe").read_text()
    for old, new in (("teacher.invalid", "other.invalid"), ('"MY_SECRET"', '"PATH"')):
        (project / "r.recipe").write_text(text.replace(old, new))
        says(command("run", "r.recipe"), 3, "error[A713")
    other = project / "other"
    (other / ".git").mkdir(parents=True)
    (other / "r.recipe").write_text(text)
    jsonl(other / "a.jsonl", [ROW])
    says(command("run", "other/r.recipe"), 3, "error[A713")
    (asked / "alchemist/hosts.json").write_text("[" * 9_000)  # agrees to nothing
    (project / "r.recipe").write_text(text)
    says(command("run", "r.recipe"), 3, "error[A713")


@pytest.mark.parametrize(
    ("base_url", "variable", "at"),
    [
        (None, None, ("api.openai.com", "OPENAI_API_KEY")),
        (None, "OTHER", ("api.openai.com", "OTHER")),
        ("https://llm.example.com/v1", None, None),
        ("https://api.openai.com@llm.example.com/v1", "K", ("llm.example.com", "K")),
        ("http://LLM.example.com:80/v1", "K", ("llm.example.com:80", "K")),
        ("http://localhost:8000/v1", "K", None),
        ("http://127.0.0.1:8000/v1", "K", None),
        ("http://127.0.0.1.example.com/v1", "K", ("127.0.0.1.example.com", "K")),
    ],
)
def test_where_a_key_goes(base_url: str | None, variable: str | None, at: tuple[str, str] | None) -> None:
    from alchemist_runtime.schema.plan import Teacher

    from alchemist_dsl.project.consent import destinations

    teacher = Teacher(name="t", provider="openai", base_url=base_url, api_key_env=variable)
    assert destinations(teacher) == ([] if at is None else [at])
    more = replace(teacher, headers_env={"api-key": "H", "X-Other": "H"})
    local = base_url in ("http://localhost:8000/v1", "http://127.0.0.1:8000/v1")
    own = [] if at is None else [at[1]]
    assert [v for _, v in destinations(more)] == ([] if local else [*own, "H"])


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "more"), [("ascii", []), ("latin-1", ["--set", "n=中"]), ("cp1252", []), ("utf-16", ["--set", "n=中"])]
)
def test_encodings_that_lack_a_character(encoding: str, more: list[str], project: Path) -> None:
    (project / "r.recipe").write_text(RECIPE.replace("edition", "# 中\nedition").replace("data = a", "data = ä中"))
    env = environment({"PYTHONIOENCODING": encoding})
    command = [*ALCHEMIST, "compile", "r.recipe", *more]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True)
    assert done.returncode == 1 and b"our bug" not in done.stderr, done.stderr


def test_what_an_encoding_lacks_is_escaped(project: Path) -> None:
    env = environment({"PYTHONIOENCODING": "latin-1"})
    (project / "r.recipe").write_text(RECIPE.replace("source a", 'recipe {\n  title = "ä中😀"\n}\nsource a'))
    done = subprocess.run([*ALCHEMIST, "compile", "r.recipe"], cwd=project, env=env, capture_output=True)
    said = done.stdout.decode("latin-1")
    assert done.returncode == 0 and said.startswith("ä\\u4e2d\\ud83d\\ude00\n"), said
    assert "\n----  ------  ----" in said


def _message(**what: object) -> bytes:
    data = json.dumps({"jsonrpc": "2.0", **what}).encode()
    return b"Content-Length: %d\r\n\r\n" % len(data) + data


@pytest.mark.parametrize("orderly", [True, False])
def test_a_session_of_an_editor_ends(orderly: bool, project: Path) -> None:
    """Exit code 0 after `shutdown`, 1 without, as the protocol says."""
    asked = {"capabilities": {}, "processId": None, "rootUri": None}
    session = _message(id=1, method="initialize", params=asked)
    session += _message(id=2, method="shutdown") * orderly + _message(method="exit")
    done = subprocess.run([*ALCHEMIST, "lsp"], input=session, cwd=project, env=environment(), capture_output=True)
    assert done.returncode == (0 if orderly else 1), done.stderr
    assert done.stderr == b""
