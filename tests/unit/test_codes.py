"""The list of codes holds every code that is raised, and each example raises its code."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.cli import run
from lmconf.cli.entry import InvalidArgument
from lmconf.cli.select import parse_assignments
from lmconf.diagnostics.codes import SECTIONS, all_codes
from lmconf.errors import ProfileError
from lmconf.loader.compile import compile_source

PACKAGE = Path(lmconf.__file__).parent
CODES = {code.name: code for codes in all_codes().values() for code in codes}
LM = lmconf.LM("openai/gpt-4o-mini")
NOT_READ: Any = {"$env": "USER"}
KEBAB = re.compile(r"[a-z]+(-[a-z]+)*")


# --- every code that is raised ------------------------------------------------------------------


def raised() -> set[str]:
    """Return the literals that are passed as `code` to a function or class of the package."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))]
    public: dict[str, int] = {}
    for tree in trees:
        public |= {name: at for name, at in code_positions(tree) if not name.startswith("_")}
    found: set[str] = set()
    for tree in trees:
        found |= codes_of(tree, public | dict(code_positions(tree)))
    return found


def code_positions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the functions and classes of a module that take a `code`, with its position."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
            if "code" in names and node.name != "__init__":
                yield node.name, names.index("code") - (names[0] == "self")
        elif isinstance(node, ast.ClassDef):
            fields = [
                item.target.id
                for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            ]
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                    fields = [argument.arg for argument in item.args.args[1:]]
            if "code" in fields:
                yield node.name, fields.index("code")


def codes_of(tree: ast.Module, positions: dict[str, int]) -> set[str]:
    """Return the codes that a module passes on, or declares as a default or a constant."""
    found: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found += [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in positions:
                found += node.args[positions[name] : positions[name] + 1]
        elif isinstance(node, ast.FunctionDef):
            arguments = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            found += [value for argument, value in arguments if argument.arg == "code" and value]
        elif isinstance(node, ast.Assign):
            targets = [getattr(target, "id", "") for target in node.targets]
            found += [node.value] if "code" in targets or targets == ["BAD_ESCAPE"] else []
    return {literal for value in found for literal in literals(value)}


def literals(value: ast.expr) -> Iterator[str]:
    """Yield the codes that an expression may be."""
    if isinstance(value, ast.IfExp):
        yield from literals(value.body)
        yield from literals(value.orelse)
    elif isinstance(value, ast.Constant) and KEBAB.fullmatch(str(value.value)):
        yield str(value.value)


def test_every_code_that_is_raised_is_listed_and_every_listed_code_is_raised() -> None:
    found = raised()
    assert sorted(found - CODES.keys()) == []
    assert sorted(CODES.keys() - found) == []


def test_a_code_that_is_not_listed_is_found() -> None:
    source = """
class Fault:
    code: str
    path: str
def refuse(path, code): ...
Fault("new-one", ()), Diagnostic(code="new-two"), refuse((), "new-three" if x else "new-four")
"""
    tree = ast.parse(source)
    names = {"new-one", "new-two", "new-three", "new-four"}
    assert codes_of(tree, dict(code_positions(tree))) == names


# --- examples -----------------------------------------------------------------------------------


def compiled(*, sets: str = "", var: str = "", **options: object) -> Callable[[str], set[str]]:
    """Return what compiles an example under arguments, and returns the codes that it raises."""

    def codes(example: str) -> set[str]:
        Path("example.yaml").write_text(example, encoding="utf-8")
        try:
            assignments, given = parse_assignments([sets] if sets else [], [var] if var else [])
            outcome = compile_source("./example.yaml", assignments, given)
        except (ProfileError, InvalidArgument) as error:
            return {found.code for found in error.diagnostics}
        return {found.code for found in outcome.diagnostics}

    return codes


def raising(action: Callable[[str], object]) -> Callable[[str], set[str]]:
    """Return what passes an example to `action`, and returns the codes of the error it raises."""

    def codes(example: str) -> set[str]:
        Path("example.yaml").write_text(example, encoding="utf-8")
        with pytest.raises(ProfileError) as caught:
            action("./example.yaml")
        return {found.code for found in caught.value.diagnostics}

    return codes


def saved_as_latin_1(example: str) -> set[str]:
    Path("example.yaml").write_bytes(example.encode("latin-1"))
    return compiled_file()


def compiled_file() -> set[str]:
    with pytest.raises(ProfileError) as caught:
        lmconf.load("./example.yaml")
    return {found.code for found in caught.value.diagnostics}


def with_200_errors(_: str) -> set[str]:
    unknown = "".join(f"unknown_{number}: 1\n" for number in range(200))
    return compiled()("model: openai/gpt-4o-mini\n" + unknown)


def without_permission(_: str) -> set[str]:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    Path("example.yaml").write_text("model: openai/gpt-4o-mini\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        return raising(lmconf.load)("")


def with_project_settings(_: str) -> set[str]:
    Path("pyproject.toml").write_text('[tool.lmconf]\nallow-imports = "acme.hooks"\n')
    Path("example.yaml").write_text("model: openai/gpt-4o-mini\n")
    return compiled_file()


def on_the_command_line(*arguments: str, file: str = "") -> Callable[[str], set[str]]:
    def codes(_: str) -> set[str]:
        if file:
            Path(file).write_text("model: openai/gpt-4o-mini\n")
        assert run(arguments) == 1
        return set()

    return codes


SCENARIOS: dict[str, Callable[[str], set[str]]] = {
    "encoding": saved_as_latin_1,
    "too-many-mistakes": with_200_errors,
    "unreadable": without_permission,
    "bad-text": raising(lambda _: lmconf.LM("openai/gpt-4o-mini", user="\ud800")),
    "dollar-in-code": raising(lambda _: LM.ask("Hello", user=NOT_READ)),
    "var-value": raising(lambda path: lmconf.load(path, vars={"tier": lmconf.Env("TIER")})),
    "import-failed": raising(
        lambda path: lmconf.load(path, allow_imports=["acme_lm.hooks:CostMeter"]).lm.ask("Hello")
    ),
    "untrusted": raising(lambda path: lmconf.load(path, untrusted=True)),
    "no-profile": raising(lambda _: lmconf.load("absent")),
    "project-settings": with_project_settings,
    "set-path": compiled(sets="lms.gpt.temperature=0.5"),
    "set-value": compiled(sets="user=a: b"),
    "var-syntax": compiled(var="tier"),
    "var-unknown": compiled(var="teir=full"),
    "unknown-lm": raising(lambda path: lmconf.load(path)["gtp"]),
    "no-main": raising(lmconf.lm),
    "whole-profiles": on_the_command_line("validate", "support:gpt"),
    "is-there": on_the_command_line("init", file="lmconf.yaml"),
}
"""What `when` of a code describes."""


@pytest.mark.parametrize("name", CODES)
def test_the_example_of_a_code_raises_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMCONF_EXAMPLE_SIZE", "large")
    found = SCENARIOS.get(name, compiled())(CODES[name].example)
    found |= set(re.findall(r"(?:error|warning)\[([a-z-]+)\]", "".join(capsys.readouterr())))
    assert name in found


def test_every_example_that_needs_more_than_a_document_says_what() -> None:
    assert {name for name, code in CODES.items() if code.when} == {*SCENARIOS, "var-type"}


def test_every_code_is_explained_in_whole_sentences() -> None:
    assert set(all_codes()) == set(SECTIONS)
    assert len(CODES) == sum(map(len, all_codes().values()))
    for code in CODES.values():
        assert not code.title.endswith("."), code.name
        assert code.explanation.endswith("."), code.name
        assert re.search(r"[.`]$", code.fix), code.name
        assert code.example or code.when, code.name
