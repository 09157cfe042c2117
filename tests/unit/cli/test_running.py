"""The command line as a whole: help, wrong commands, colour, exit codes, and no tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lmconf as package
from lmconf.cli import entry
from lmconf.cli.app import COMMANDS, group
from lmconf.errors import CallError, LaunchError, UsageError
from tests.unit.cli.running import Lmconf

ROOT = Path(__file__).parents[3]
RED = "\x1b[1;31m"


def test_alone_it_prints_its_help(lmconf: Lmconf) -> None:
    assert lmconf() == lmconf("--help") == lmconf("-h")
    assert "Exit codes:" in lmconf().out
    assert all(name in lmconf().out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples_that_name_it(lmconf: Lmconf, name: str) -> None:
    ran = lmconf(name, "--help")
    assert ran.code == 0
    examples = ran.out.partition("Examples:\n")[2].splitlines()
    assert examples
    assert all(f"lmconf {name}" in line for line in examples)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_knows_every_one(name: str) -> None:
    loaded = group.get_command(group.make_context("lmconf", []), name)
    assert loaded is not None
    assert loaded.name == name


def test_the_version(lmconf: Lmconf) -> None:
    assert lmconf("--version").out == f"lmconf {package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["shw"], "There is no command `shw`. Did you mean `show`?"),
        (["valdiate"], "Did you mean `validate`?"),
        (["zzz"], "There are: init, call, "),
        (["show", "--orign"], "--origin"),
        (["--colour", "never"], "--color"),
        (["show", "a", "b"], "unexpected extra argument (b)"),
        (["show", "--format", "xml"], "'yaml', 'json'"),
        (["dump", "support", "--format", "dspy", "--minimal"], "--minimal"),
        (["completion", "tcsh"], "'bash', 'zsh', 'fish'"),
        (["call"], "NAME"),
        (["show", ""], "it is empty"),
        (["validate", "support", ""], "it is empty"),
        (["call", "support", "-1 + 2"], "Put `--` before"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_how(
    lmconf: Lmconf, arguments: list[str], told: str
) -> None:
    ran = lmconf(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert "--help" in ran.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CallError("no", lm="a:b"), 3),
        (LaunchError("no"), 4),
        (UsageError("no"), 2),
        (OSError(28, "No space left on device", "/x/y"), 1),
        (KeyboardInterrupt(), 130),
        (entry.Stopped(15), 143),
    ],
)
def test_every_failure_has_its_exit_code_and_no_traceback(
    lmconf: Lmconf, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("lmconf.loader.compile.compile_source", fail)
    ran = lmconf("show", "support")
    assert ran.code == code
    assert "Traceback" not in ran.err


def test_a_bug_is_not_hidden(lmconf: Lmconf, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("lmconf.loader.compile.compile_source", fail)
    with pytest.raises(ZeroDivisionError):
        lmconf("show", "support")


def test_what_a_failure_tells_is_masked_and_cannot_steer_the_terminal(
    lmconf: Lmconf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise CallError("refused sk-abcdefghijklmnop1234 \x1b]0;owned\x07")

    monkeypatch.setattr("lmconf.loader.compile.compile_source", fail)
    assert lmconf("show", "support").err == "error: refused *** \\x1b]0;owned\\x07\n"


@pytest.mark.parametrize(
    ("before", "after", "colored"),
    [
        ([], [], False),
        (["--color", "always"], [], True),
        ([], ["--color", "always"], True),
        (["--color", "always"], ["--color", "never"], False),
    ],
)
def test_color_is_chosen_before_or_after_the_command(
    project: Path, lmconf: Lmconf, before: list[str], after: list[str], *, colored: bool
) -> None:
    (project / "wrong.yaml").write_text("modle: 1\n")
    assert (RED in lmconf(*before, "validate", "wrong.yaml", *after).out) is colored
    assert (RED in lmconf(*before, "show", "wrong.yaml", *after).err) is colored


def test_color_that_is_asked_for_overrules_no_color(
    project: Path, lmconf: Lmconf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    (project / "wrong.yaml").write_text("modle: 1\n")
    assert RED in lmconf("validate", "wrong.yaml", "--color", "always").out


@pytest.mark.parametrize(
    ("environment", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_on_a_terminal_the_environment_decides(
    project: Path,
    lmconf: Lmconf,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    colored: bool,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    (project / "wrong.yaml").write_text("modle: 1\n")
    assert (RED in lmconf("validate", "wrong.yaml").out) is colored


def test_a_reader_that_goes_away_is_no_error(project: Path) -> None:
    """The output is larger than any pipe's buffer, and nobody reads it."""
    lms = "".join(f"  lm{number}: {{model: openai/gpt-4o}}\n" for number in range(400))
    (project / "many.yaml").write_text(f"lms:\n{lms}")
    with subprocess.Popen(
        [sys.executable, "-m", "lmconf", "show", "many.yaml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Unbuffered, Python does not notice that only the beginning was taken.
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(10)
        child.stdout.close()
        assert (child.stderr.read(), child.wait()) == (b"", 141)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_no_bug(project: Path, closed: str) -> None:
    ran = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m lmconf list {closed}'],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ("support" in ran.stdout) is (" >" not in f" {closed}")


def test_a_warning_is_told_in_words() -> None:
    """Of what lmconf warns in Python, the command line prints the message alone."""
    program = """if True:
        import warnings
        from lmconf.cli import entry
        entry.run = lambda _: warnings.warn("a disk is full \x1b[2J") or 0
        entry.main()"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.stderr == "warning: a disk is full \\x1b[2J\n"


JSON = [
    *("show", "dump", "list", "launch", "ps", "plan", "validate", "meter", "jobs list"),
    *("jobs show", "cache list", "cache show", "cache stats"),
]


@pytest.mark.parametrize("name", JSON)
def test_whatever_prints_json_is_asked_in_one_way(lmconf: Lmconf, name: str) -> None:
    told = lmconf(*name.split(), "--help").out
    assert "--json " in told
    assert "--format [" in told


def test_json_for_short(lmconf: Lmconf) -> None:
    for name in ("list", "ps", "cache list", "cache stats", "jobs list", "show"):
        short = lmconf(*name.split(), *(["support"] if name == "show" else []), "--json")
        whole = lmconf(*name.split(), *(["support"] if name == "show" else []), "--format", "json")
        assert short == whole
        assert short.code == 0
        short.json  # noqa: B018 - it is JSON


def test_text_that_the_stream_cannot_hold_is_written_as_escapes(project: Path) -> None:
    (project / "wide.yaml").write_text("model: openai/gpt-4o\nuser: Жё\n", encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "lmconf", "show", "wide.yaml", "--minimal"],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1"},
    )
    assert b"user: \\u0416\\u0451\n" in ran.stdout
