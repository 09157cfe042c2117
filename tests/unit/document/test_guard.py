"""Nothing that is fed to the reader can crash it, or keep it busy, or make it raise at random."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lmconf.document import read_document, read_value, to_plain
from lmconf.document.yaml.limits import DEPTH, LENGTH, NODES, scan
from lmconf.errors import ProfileError
from tests.watching import processor_seconds

BOMB = "\n".join(
    ["a: &a [x, x, x, x, x, x, x, x, x]"]
    + [f"{n}: &{n} [{', '.join(f'*{p}' for _ in range(9))}]" for p, n in pairwise("abcdefghi")]
)
MERGE_BOMB = "\n".join(
    ["a: &a {x: 1, y: 2, z: 3}"]
    + [
        f"{n}: &{n} {{<<: [{', '.join(f'*{p}' for _ in range(9))}]}}"
        for p, n in pairwise("abcdefghi")
    ]
)
DEEP_BY_ALIASES = "\n".join(
    ["a: &a " + "[" * 30 + "]" * 30]
    + [f"{n}: &{n} " + "[" * 30 + f"*{p}" + "]" * 30 for p, n in pairwise("abcde")]
)


@pytest.fixture(params=["C", "Python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with each of PyYAML's parsers."""
    if request.param == "Python":
        monkeypatch.setattr(yaml, "__with_libyaml__", False)
    elif not yaml.__with_libyaml__:
        pytest.skip("this PyYAML has no C parser")
    return str(request.param)


def codes(text: str | bytes) -> list[str]:
    with pytest.raises(ProfileError) as caught:
        read_value(text, "text")
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("[" * 30_000, "too-deep", id="brackets"),
        pytest.param("{a: " * 30_000, "too-deep", id="braces"),
        pytest.param("- " * 30_000, "too-deep", id="dashes"),
        pytest.param("? " * 30_000, "too-deep", id="question marks"),
        pytest.param(DEEP_BY_ALIASES, "too-deep", id="depth through aliases"),
        pytest.param(BOMB, "too-large", id="aliases that multiply"),
        pytest.param(MERGE_BOMB, "too-large", id="merges that multiply"),
        pytest.param("%TAG !a! b\n" * 50_000 + "--- a", "tag", id="directives"),
        pytest.param("x" * (LENGTH + 1), "too-large", id="length"),
        pytest.param(b"x" * (LENGTH + 1), "too-large", id="bytes"),
    ],
)
@pytest.mark.usefixtures("parser")
def test_texts_made_to_hurt_are_refused_at_once(text: str | bytes, code: str) -> None:
    found: list[str] = []
    assert processor_seconds(lambda: found.extend(codes(text))) < 1
    assert found == [code]


def test_many_values_are_refused_and_the_most_allowed_are_read() -> None:
    most = NODES - 1
    assert len(to_plain(read_value("[" + "a," * most + "]", "most"))) == most  # type: ignore[arg-type]
    assert codes("[" + "a," * (most + 1) + "]") == ["too-large"]


@pytest.mark.usefixtures("parser")
def test_the_deepest_allowed_is_read_and_one_more_is_not() -> None:
    read_value("[" * DEPTH + "]" * DEPTH, "deep")
    assert codes("[" * (DEPTH + 1) + "]" * (DEPTH + 1)) == ["too-deep"]
    inner = "[" * (DEPTH - 2) + "]" * (DEPTH - 2)
    read_value(f"[&a {inner}, [*a]]", "deep")
    assert codes(f"[&a {inner}, [[*a]]]") == ["too-deep"]


@pytest.mark.usefixtures("parser")
def test_a_thread_with_a_small_stack_survives_deep_texts() -> None:
    found: list[list[str]] = []
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(
            target=lambda: found.append(
                [f.code for text in ("[" * 30_000, "{a: " * 30_000) for f in scan(text).faults]
            )
        )
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert found == [["too-deep", "too-deep"]]


def test_an_alias_inside_its_own_anchor_is_a_cycle() -> None:
    assert codes("a: &a [*a]") == ["alias-cycle"]
    assert codes("a: &a {<<: *a}") == ["alias-cycle"]


def test_a_second_document_is_refused_with_the_mistakes_of_the_first() -> None:
    assert codes("a: 1\na: 2\n---\nb: 1") == ["duplicate-key", "several-documents"]


# What YAML gives a meaning to, so that random texts reach deep into the parser.
PIECES = [
    *"[]{},:-?&*!|>%@`#\"'\\ \n\t\r~<=.0a",
    *[": ", "- ", "? ", "<<: ", "&a ", "*a", "!t ", "!!int ", "---\n", "...\n", "%TAG ! b\n"],
    *["%YAML 1.9\n", "\\ud83d", "\\ude00", "\\U0011FFFF", "\\x", "{{ ", " }}", "|2\n", ">-\n"],
    *[
        "api_key: ",
        '"a": ',
        "\n  ",
        "1e999",
        ".nan",
        "9" * 30,
        "\x85",
        "\u2028",
        "\ufeff",
        "\ud800",
    ],
]


def refuses_or_reads(text: str | bytes) -> None:
    for reader in (read_document, read_value):
        refuses_or_reads_with(reader, text)


def refuses_or_reads_with(reader: Callable[[str | bytes, str], object], text: str | bytes) -> None:
    try:
        reader(text, "text")
    except ProfileError as error:
        assert error.diagnostics
        assert all(found.mark is not None and found.mark.line for found in error.diagnostics)
        assert str(error)


@given(st.one_of(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.text()))
@example("{1: ")
@example("? - ? [")
@settings(max_examples=500, deadline=None)
def test_any_text_is_read_or_refused_with_places(text: str) -> None:
    refuses_or_reads(text)


@given(
    st.one_of(
        st.binary(),
        st.lists(st.sampled_from(PIECES)).map(
            lambda pieces: "".join(pieces).encode("utf-8", "surrogatepass")
        ),
    )
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused_with_places(text: bytes) -> None:
    refuses_or_reads(text)


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
@settings(max_examples=300, deadline=None)
def test_the_parser_in_python_raises_nothing_else_either(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "__with_libyaml__", False)
        refuses_or_reads(text)
