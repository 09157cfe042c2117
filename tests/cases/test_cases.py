"""One document for each mistake that a person makes, beside what they are told about it.

A case is `<name>.yaml` with the expected text in `<name>.txt`, or a folder with `main.yaml`, other
files and `expected.txt`. Comments at the head of a case say what is given beside it:

    # set: lms.gpt.temperature=hot       as `--set`
    # var: tier=full                     as `--var`
    # env: NAME=value                    an environment variable
    # untrusted: NAME OTHER              loaded untrusted; variables that may be read all the same

`pytest tests/cases --update-cases` writes the expected texts anew. Every secret in a case holds the
word CANARY, which no output may hold.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from lmconf.diagnostics.codes import all_codes
from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.diagnostics.render import to_json, to_text
from lmconf.document.command_line import GivenText, parse_var
from lmconf.document.overrides import Assignment, parse_set
from lmconf.errors import ProfileError
from lmconf.loader.compile import compile_source

HERE = Path(__file__).parent
CANARY = "CANARY"
NOTHING = "nothing is wrong"
GIVEN = re.compile(r"# (set|var|env|untrusted): ?(.*)")
# What a program says to its author and never to a person who writes a document.
INTERNAL = re.compile(
    r"NoneType|<class|<object|Traceback|Error:|\bstr\(|dict\b|jsonschema|msgspec|Unread|Broken"
)


def documents() -> list[Path]:
    """Return the document of every case."""
    return sorted([*HERE.glob("*.yaml"), *HERE.glob("*/main.yaml")])


def name_of(document: Path) -> str:
    return document.parent.name if document.name == "main.yaml" else document.stem


def expected_path(document: Path) -> Path:
    if document.name == "main.yaml":
        return document.parent / "expected.txt"
    return document.with_suffix(".txt")


def given(document: Path) -> dict[str, list[str]]:
    """Return what the comments at the head of a case give beside it."""
    said: dict[str, list[str]] = {"set": [], "var": [], "env": [], "untrusted": []}
    for line in document.read_bytes().decode("latin-1").splitlines():
        match = GIVEN.fullmatch(line)
        if match is not None:
            said[match[1]].append(match[2])
        elif not line.startswith("#"):
            break
    return said


def said_of(
    document: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Diagnostic, ...]:
    """Return every diagnostic of a case, examined in a working folder of its own."""
    # The project ends here, whatever lies above.
    (folder / ".git").mkdir(parents=True)
    if document.name == "main.yaml":
        shutil.copytree(document.parent, folder, dirs_exist_ok=True)
    else:
        shutil.copy(document, folder)
    monkeypatch.chdir(folder)
    said = given(document)
    for line in said["env"]:
        monkeypatch.setenv(*line.split("=", 1))
    found: list[Diagnostic] = []
    assignments: list[Assignment] = []
    variables: dict[str, GivenText] = {}
    for text in said["set"]:
        assignment = parse_set(text, found)
        assignments += [assignment] if assignment is not None else []
    for text in said["var"]:
        variable = parse_var(text, found)
        variables |= {variable[0]: variable[1]} if variable is not None else {}
    trusted = frozenset(" ".join(said["untrusted"]).split()) if said["untrusted"] else None
    try:
        outcome = compile_source(
            f"./{document.name}", tuple(assignments), variables, trusted_env=trusted
        )
    except ProfileError as error:
        return (*found, *error.diagnostics)
    errors = [said for said in outcome.diagnostics if said.severity == "error"]
    assert (outcome.profile is None) == bool(errors)
    return (*found, *outcome.diagnostics)


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_a_mistake_is_told_as_expected(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    diagnostics = said_of(document, tmp_path / "work", monkeypatch)
    text = to_text(diagnostics) or NOTHING
    as_json = to_json(diagnostics)
    expected = expected_path(document)
    if request.config.getoption("--update-cases", default=False):
        expected.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == expected.read_text(encoding="utf-8")
    assert CANARY not in text + json.dumps(as_json) + repr(diagnostics)
    assert str(tmp_path) not in text
    for said in as_json:
        check_place(said, tmp_path / "work", given(document))
    for diagnostic in diagnostics:
        check_words(diagnostic)


def check_place(said: dict[str, object], folder: Path, extra: dict[str, list[str]]) -> None:
    """Check that a diagnostic names a place that exists in a file or in an argument."""
    file, line, column, end = (said[key] for key in ("file", "line", "column", "end_column"))
    assert isinstance(file, str), said
    assert isinstance(line, int), said
    assert isinstance(column, int), said
    assert isinstance(end, int), said
    if file.startswith("--"):
        assert line == 1
        lengths = [len(text) for text in extra[file.lstrip("-")]]
        assert column <= max(lengths) + 1
        return
    content = (folder / file).read_bytes().removeprefix(b"\xef\xbb\xbf")
    lines = re.split(r"\r\n|\r|\n", content.decode("utf-8", "replace"))
    assert line <= len(lines), said
    assert 1 <= column <= end <= len(lines[line - 1]) + 2, said


def check_words(diagnostic: Diagnostic) -> None:
    """Check what holds of the words of every diagnostic."""
    for words in (diagnostic.message, diagnostic.label, diagnostic.help):
        assert not INTERNAL.search(words), words
        assert not words.endswith("."), words
        assert words == words.strip(), words
    assert diagnostic.message
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", diagnostic.code), diagnostic.code
    if diagnostic.label:
        assert diagnostic.label not in diagnostic.message
        assert diagnostic.label not in diagnostic.help
    if diagnostic.help:
        assert diagnostic.help not in diagnostic.message


def test_no_two_diagnostics_of_a_case_stand_at_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for document in documents():
        with monkeypatch.context() as patch:
            found = said_of(document, tmp_path / name_of(document), patch)
        errors = [said for said in found if said.severity == "error"]
        marks = [said.mark for said in errors if isinstance(said.mark, Mark)]
        assert len(marks) == len(errors)
        places = [(*mark.key, mark.source.text) for mark in marks]
        assert len(set(places)) == len(places), name_of(document)


def test_every_case_has_its_expected_text_and_no_text_is_left_over() -> None:
    texts = {*HERE.glob("*.txt"), *HERE.glob("*/expected.txt")}
    assert texts == {expected_path(document) for document in documents()}
    assert len(texts) >= 75


def test_every_case_with_a_secret_holds_the_word_that_is_looked_for() -> None:
    """Otherwise the check above would find nothing for want of a secret."""
    named = [path for path in documents() if name_of(path).startswith("secret-")]
    assert len(named) >= 10
    for document in named:
        texts = [path.read_bytes() for path in document.parent.glob("*.yaml")]
        own = document.read_bytes() if document.name != "main.yaml" else b"".join(texts)
        assert CANARY.encode() in own, document


def test_every_code_in_the_cases_is_listed() -> None:
    said = "".join(expected_path(each).read_text("utf-8") for each in documents())
    codes = set(re.findall(r"^(?:error|warning)\[([a-z-]+)\]", said, re.MULTILINE))
    listed = {code.name for section in all_codes().values() for code in section}
    assert sorted(codes - listed) == []
