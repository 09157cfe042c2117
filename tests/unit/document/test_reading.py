"""Reading gives each value its place, refuses what YAML lets slip, and says so in plain words."""

from __future__ import annotations

import traceback

import pytest
import yaml

from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.document import Document, Map, Scalar, Seq, at, read_document, read_value, to_plain
from lmconf.errors import ProfileError


@pytest.fixture(params=["C", "Python"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with each of PyYAML's parsers."""
    if request.param == "Python":
        monkeypatch.setattr(yaml, "__with_libyaml__", False)
    elif not yaml.__with_libyaml__:
        pytest.skip("this PyYAML has no C parser")


def refused(text: str | bytes) -> list[Diagnostic]:
    with pytest.raises(ProfileError) as caught:
        read_document(text, "p.yaml")
    return list(caught.value.diagnostics)


def one(text: str | bytes) -> Diagnostic:
    (diagnostic,) = refused(text)
    return diagnostic


def place(mark: Mark | None) -> tuple[int, int, int]:
    assert mark is not None
    return (mark.line, mark.column, mark.end)


def shown(text: str) -> str:
    with pytest.raises(ProfileError) as caught:
        read_document(text, "p.yaml")
    return str(caught.value)


def node_at(document: Document, *path: str | int) -> object:
    return at(document.root, path)


# --- values and places


def test_every_kind_of_value_is_read_in_order() -> None:
    text = """\
a: off
b: [1, 2.5, null, true, "1"]
c:
  - x: 'y'
    z: |
      one
      two
  - >-
    folded
    text
d: {}
"""
    root = read_document(text, "p.yaml").root
    assert to_plain(root) == {
        "a": "off",
        "b": [1, 2.5, None, True, "1"],
        "c": [{"x": "y", "z": "one\ntwo\n"}, "folded text"],
        "d": {},
    }
    assert list(root.entries) == ["a", "b", "c", "d"]


def test_keys_and_values_know_where_they_stand() -> None:
    document = read_document(
        'a: 1\nlist:\n  - x: "q"   # c\n    y: 2\nb: {k: v}\nt: |\n  x\n  y\n', "p.yaml"
    )
    root = document.root
    assert place(root.keys["list"]) == (2, 1, 5)
    assert place(root.mark) == (1, 1, 5)
    inner = node_at(document, "list", 0)
    assert isinstance(inner, Map)
    assert place(inner.mark) == (3, 5, 11)
    assert place(inner.keys["y"]) == (4, 5, 6)
    quoted = inner.get("x")
    assert isinstance(quoted, Scalar)
    assert quoted.quoted
    assert place(quoted.mark) == (3, 8, 11)
    assert place(root.entries["b"].mark) == (5, 4, 10)
    assert place(root.entries["t"].mark) == (6, 4, 5)
    assert place(root.entries["list"].mark) == (3, 3, 11)
    assert str(quoted.mark) == "p.yaml:3:8"


def test_places_count_characters_and_the_lines_of_editors() -> None:
    # YAML 1.1 ends lines at U+2028 and U+0085, too; editors do not.
    document = read_document('"ü😀": [日本,\r\n  "\u2028"]\r\nz: "\x85" \n', "p.yaml")
    assert place(document.root.keys["z"]) == (3, 1, 2)
    assert place(document.root.entries["z"].mark) == (3, 4, 7)
    assert place(document.root.entries["ü😀"].mark) == (1, 7, 11)
    first, second = document.root.entries["ü😀"].items  # type: ignore[union-attr]
    assert place(first.mark) == (1, 8, 10)
    assert place(second.mark) == (2, 3, 6)


def test_the_source_keeps_the_text_and_where_it_came_from() -> None:
    child = read_document("extends: base", "child.yaml")
    parent = read_document(
        "a: 1", "base.yaml", path="/x/base.yaml", referrer=child.root.keys["extends"]
    )
    assert parent.source.text == "a: 1"
    assert parent.source.path == "/x/base.yaml"
    assert parent.source.reached is child.root.keys["extends"]
    assert parent.root.mark.source is parent.source


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("off", "off"),
        ("0.5", 0.5),
        ("[a, {b: 1}]", ["a", {"b": 1}]),
        ('"1"', "1"),
        (b"\xef\xbb\xbfx: \xc3\xbc", {"x": "ü"}),
        ("\ufeffx: 1", {"x": 1}),
        ('{"a": "\\ud83d\\ude00", "\\ud83d\\ude00": "\\\\ud83d"}', {"a": "😀", "😀": "\\ud83d"}),
        ("---\na: 1\n...\n", {"a": 1}),
    ],
)
def test_any_value_is_read(text: str | bytes, value: object) -> None:
    assert to_plain(read_value(text, "--set x")) == value


def test_merges_keep_explicit_keys_and_the_places_of_merged_values() -> None:
    text = """\
x-a: &a {p: 1, q: 1}
x-b: &b {q: 2, r: 2}
one: {<<: *a, q: 3}
two:
  r: 4
  <<: [*a, *b]
"""
    document = read_document(text, "p.yaml")
    assert to_plain(document.root.entries["one"]) == {"p": 1, "q": 3}
    assert to_plain(document.root.entries["two"]) == {"p": 1, "q": 1, "r": 4}
    two = document.root.entries["two"]
    assert isinstance(two, Map)
    assert place(two.keys["p"]) == (1, 10, 11)
    assert place(two.entries["q"].mark) == (1, 19, 20)


def test_a_quoted_merge_key_and_an_equals_sign_are_text() -> None:
    assert to_plain(read_document('"<<": 1\n=: =\n', "p").root) == {"<<": 1, "=": "="}


def test_an_alias_is_the_anchored_value() -> None:
    document = read_document("a: &x [1, 2]\nb: *x\n&k key: {*k : 2}\n", "p")
    assert to_plain(document.root) == {"a": [1, 2], "b": [1, 2], "key": {"key": 2}}
    assert isinstance(document.root.entries["b"], Seq)
    assert place(document.root.entries["a"].mark) == (1, 7, 13)


# --- mistakes


def test_all_mistakes_are_told_at_once_each_with_its_place_and_path() -> None:
    text = """\
1: x
null: y
true: z
lms:
  gpt:
    t: .nan
    api_key: !env OPENAI_API_KEY
    t: 2
    big: 99999999999999999999
    al: *nope
    [a]: 1
    <<: 5
"""
    found = refused(text)
    assert [(f.code, place(f.mark)[:2], f.path) for f in found] == [
        ("non-string-key", (1, 1), ()),
        ("non-string-key", (2, 1), ()),
        ("non-string-key", (3, 1), ()),
        ("not-a-number", (6, 8), ("lms", "gpt", "t")),
        ("tag", (7, 14), ("lms", "gpt", "api_key")),
        ("duplicate-key", (8, 5), ("lms", "gpt", "t")),
        ("number-out-of-range", (9, 10), ("lms", "gpt", "big")),
        ("undefined-alias", (10, 9), ("lms", "gpt", "al")),
        ("non-string-key", (11, 5), ("lms", "gpt")),
        ("merge-key", (12, 5), ("lms", "gpt", "<<")),
    ]
    assert found[0].help == 'quote it: "1"'
    assert found[4].help == "write {$env: OPENAI_API_KEY}"
    assert found[5].notes[0].mark is not None
    assert found[5].notes[0].mark.line == 6


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("", "empty-document", 1, 1),
        ("# only this\n", "empty-document", 1, 1),
        ("~", "empty-document", 1, 1),
        ("- a", "not-a-mapping", 1, 1),
        ("just text", "not-a-mapping", 1, 1),
        ('""', "not-a-mapping", 1, 1),
        ("5", "not-a-mapping", 1, 1),
        ("a: 1\n--- \nb: 2", "several-documents", 2, 1),
        ("a: &x 1\nb: &x 2", "duplicate-anchor", 2, 4),
        ("a: {<<: {x: 1}, <<: {y: 2}}", "duplicate-key", 1, 17),
        ("'a': 1\na: 2", "duplicate-key", 2, 1),
        ("a: !!python/object:os.system x", "tag", 1, 4),
        ("a: !!str 5", "tag", 1, 4),
        ("?\n: x", "non-string-key", 1, 2),
        ("? {a: 1}\n: b", "non-string-key", 1, 3),
        (".nan: 1", "non-string-key", 1, 1),
        ("a: 1\nb: é\x07", "control-character", 2, 5),
        ("a: \ud800", "encoding", 1, 4),
        ('{"a": "\\ud83d"}', "encoding", 1, 7),
        (b"a: 1\nb: \xc3\xbc\xff", "encoding", 2, 5),
        ("a: 1".encode("utf-16"), "encoding", 1, 1),
        ("a: 1".encode("utf-32-be"), "encoding", 1, 1),
        # A space is missing.
        ("model:openai/x", "missing-space", 1, 1),
        ("a: 1\nmodel:openai/x", "missing-space", 2, 1),
        ("a: 1\nmodel:openai/x\nb: 2", "missing-space", 2, 1),
        ("gpt:\n  model:openai/x\n  t: 2", "missing-space", 2, 3),
        ("gpt:\n  model:openai/x\n  t:2\nb: 1", "missing-space", 2, 3),
        ("{model:openai/x, b: 2}", "missing-space", 1, 2),
        # A template is not quoted.
        ("a: 1\nb: {{ vars.x }}", "unquoted-template", 2, 4),
        ("a: 1\nb: {{ vars.x }}-mini", "unquoted-template", 2, 4),
        ("b: {{ vars['x'] }}", "unquoted-template", 1, 4),
        ("b: {c: openai/{{ x }}, d: 1}", "unquoted-template", 1, 15),
        ("{{ x }}: 1", "unquoted-template", 1, 1),
        # Syntax.
        ("a:\n\tb: 1", "yaml-syntax", 2, 1),
        ('a: 1\nb: "open', "yaml-syntax", 2, 4),
        ('a: "open\nb: "c"\n', "yaml-syntax", 2, 5),
        ("a: 'it's'", "yaml-syntax", 1, 8),
        ("a: [1, 2\nb: 3", "yaml-syntax", 1, 4),
        ("a: {x: 1\nb: 3", "yaml-syntax", 1, 4),
        ("a: ['x' 'y']", "yaml-syntax", 1, 9),
        ("a: b: c", "yaml-syntax", 1, 5),
        ("a: b\n  c: d", "yaml-syntax", 2, 3),
        ("a:\n  b: 1\n c: 2", "yaml-syntax", 3, 2),
        ("a: b\n- c", "yaml-syntax", 2, 1),
        ("- a\nb: c", "yaml-syntax", 2, 1),
        ("a: - b", "yaml-syntax", 1, 4),
        ("a: @x", "yaml-syntax", 1, 4),
        ("a: *", "yaml-syntax", 1, 4),
        ("a: ]", "yaml-syntax", 1, 4),
        ("a: |x\n  b", "yaml-syntax", 1, 5),
        ('a: "\\q"', "bad-escape", 1, 5),
        ('a: "\\xzz"', "bad-escape", 1, 5),
    ],
)
def test_a_mistake_is_told_where_it_is(
    text: str | bytes, code: str, line: int, column: int
) -> None:
    found = one(text)
    assert (found.code, *place(found.mark)[:2]) == (code, line, column)
    for words in ("did not find expected", "flow ", "token", "scalar", "scanning", "indicator"):
        assert words not in found.message + found.help + found.label


@pytest.mark.parametrize(
    ("line", "mended"),
    [
        ("m: {{ x }}", 'm: "{{ x }}"'),
        ("m: {{ x }}-mini  # why", 'm: "{{ x }}-mini"  # why'),
        ('m: {{ x["y"] }}', "m: '{{ x[\"y\"] }}'"),
        ("m: {a: o/{{ x }}, b: 1}", 'm: {a: "o/{{ x }}", b: 1}'),
        ("  - {{ x }}", '- "{{ x }}"'),
        ("{{ x }}: 5", '"{{ x }}": 5'),
    ],
)
def test_an_unquoted_template_is_shown_mended(line: str, mended: str) -> None:
    found = one(line)
    assert found.code == "unquoted-template"
    assert found.help == f"quote it: {mended}"
    assert isinstance(read_value(mended, "mended"), Map | Seq)


@pytest.mark.parametrize(
    "text",
    [
        "a: http://localhost:11434",
        "a:\n  http://localhost:11434",
        "a: openai:gpt",
        "a:\n  see:this is prose",
        "- ollama:x",
        "a: openai/{{ x }}",
        "a: 'model:x'",
        "a: x{{ y }}z",
        "a: 12:30",
    ],
)
def test_texts_that_look_like_a_mistake_and_are_none_are_read(text: str) -> None:
    read_value(text, "text")


# --- secrets


@pytest.mark.parametrize(
    "text",
    [
        "api_key: hunter22\nx: !t 1",
        "{api_key: hunter22, x: !t 1}",
        "{api_key: 'hunter22', 1: 1}",
        "headers: {X-Api-Key: hunter22, x: !t 1}",
        "credentials: {a: {b: [hunter22]}, x: !t 1}",
        "{x-k: &k hunter22, api_key: *k, x: !t 1}",
        "{x-k: &k [hunter22], api_key: *k, x: !t 1}",
        "{api_key: {$env: X, default: hunter22}, x: !t 1}",
        "{clientSecret: hunter22, clientSecret: 2}",
        "api_key: hunter22: x",
        "api_key: 'hunter22",
        'api_key: "hunter22\nx: y',
        "api_key: [hunter22",
        "{api_key: hunter22, x: [",
        "api_key:hunter22",
        "a: 1\napi_key:hunter22",
        "{api_key:hunter22}",
        "api_key: {{ x }}hunter22",
        "api_key: @hunter22",
        "api_key: !t hunter22",
        "api_key: &a &b hunter22",
        "password: |x hunter22",
        "password: |\n  hunter22\n\tx",
        "password: >\n  a\n  hunter22\n }",
        "private_key:\n  'hunter22\n  hunter22",
        "x: !t sk-hunter22hunter22",
        "x: !t 'Bearer hunter22hunter22'",
        "x: [https://me:hunter22@host, !t 1]",
        "url: !t redis://:hunter22@host:6379",
        "x: !t 1 # api_key: hunter22",
    ],
)
def test_no_secret_is_ever_printed(text: str) -> None:
    with pytest.raises(ProfileError) as caught:
        read_document(text, "p.yaml")
    error = caught.value
    printed = str(error) + repr(error) + repr(error.diagnostics)
    assert "hunter22" not in printed
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame for frame in frames.stack if "lmconf" in frame.filename]
    assert ours
    assert not any(
        "hunter22" in str(frame.locals) for frame in ours if "tests" not in frame.filename
    )
    assert error.__context__ is None


def test_names_of_secrets_and_public_values_are_shown() -> None:
    line = "{api_key: {$env: MY_KEY}, token: {$file: a/b}, auth: {$public: open}, password: '', x: !t 1}"
    assert line in shown(line)


def test_a_value_is_hidden_under_the_name_it_is_for() -> None:
    with pytest.raises(ProfileError) as caught:
        read_value("[hunter22, !t 1]", "--set api_key", key="api_key")
    assert "hunter22" not in str(caught.value)
    with pytest.raises(ProfileError) as caught:
        read_value("'hunter22", "--set api_key", key="api_key")
    assert "hunter22" not in str(caught.value)
