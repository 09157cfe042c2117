"""A path that cannot be is a diagnostic, in every field that takes one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

import lmconf
from lmconf.errors import AuthenticationFailed, Error, ProfileError
from lmconf.schema import Either, Kinds, ListOf, MapOf, Record, Shape, Text
from lmconf.schema.declaration import fields
from lmconf.spec.profile import LMDocument, ProfileDocument
from lmconf.system.paths import with_home

NO_PATHS = ["a\0b", "~\0/x", "~nobody-has-this-name/x", "~nobody-has-this-name"]


def places(shape: Shape, seen: tuple[type[Struct], ...] = ()) -> Iterator[tuple[Any, str]]:
    """Yield each value of `shape` that holds one path, "PATH", and the kind of path it is."""
    match shape:
        case Text(path=kind) if kind:
            yield "PATH", kind
        case Record(type=type_) if type_ not in seen:
            yield from inside(type_, {}, seen)
        case Kinds(tag=tag, table=table):
            for name, type_ in table.items():
                yield from inside(type_, {tag: name}, seen)
        case ListOf(item=item):
            yield from (([value], kind) for value, kind in places(item, seen))
        case MapOf(value=inner):
            yield from (({"a": value}, kind) for value, kind in places(inner, seen))
        case Either(options=options):
            for option in options:
                yield from places(option, seen)
        case _:
            return


def inside(
    type_: type[Struct], block: dict[str, Any], seen: tuple[type[Struct], ...]
) -> Iterator[tuple[Any, str]]:
    for name, declared in fields(type_).items():
        for value, kind in places(declared.shape, (*seen, type_)):
            yield {**block, name: value}, kind


def with_path(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        return {key: with_path(item, path) for key, item in value.items()}
    if isinstance(value, list):
        return [with_path(item, path) for item in value]
    return path if value == "PATH" else value


ALL = [({"model": "openai/tiny", **block}, kind) for block, kind in inside(LMDocument, {}, ())]
ONE = {"lms": {"a": {"model": "openai/tiny"}}}
ALL += [({**ONE, **block}, kind) for block, kind in inside(ProfileDocument, {}, ())]


def test_there_are_fields_that_take_paths() -> None:
    assert {kind for _, kind in ALL} == {"path", "dotted"}
    assert len(ALL) > 20


@pytest.mark.parametrize("path", NO_PATHS)
@pytest.mark.parametrize("untrusted", [False, True])
def test_what_is_no_path_is_a_diagnostic(path: str, untrusted: bool) -> None:
    for document, kind in ALL:
        try:
            lmconf.load(with_path(document, path), untrusted=untrusted)
        except ProfileError as error:
            codes = {each.code for each in error.diagnostics}
        else:
            codes = set()
        # Text that is a path only where it begins with a dot may say anything else, but NUL.
        assert codes or (kind == "dotted" and "\0" not in path), document
        if kind == "path" and not untrusted:
            assert "bad-path" in codes, (document, codes)


@pytest.mark.parametrize("path", NO_PATHS)
@pytest.mark.parametrize("untrusted", [False, True])
def test_what_is_no_path_is_no_profile_either(
    path: str, untrusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for source in (path, f"./{path}", f"{path}.yaml", {"model": "openai/tiny", "extends": path}):
        with pytest.raises(ProfileError):
            lmconf.load(source, untrusted=untrusted)
    with pytest.raises(ProfileError):
        lmconf.lm(path)


@pytest.mark.parametrize("path", NO_PATHS)
def test_a_credential_in_no_file_is_told(path: str) -> None:
    with pytest.raises(ProfileError) as refused:
        lmconf.load({"model": "openai/tiny", "api_key": {"$file": path}})
    assert [each.code for each in refused.value.diagnostics] == ["bad-path"]
    lm = lmconf.LM("openai/tiny", api_key="", api_base="http://127.0.0.1:9", num_retries=0)
    with pytest.raises(Error):
        lm("hi", extra={"api_token": lmconf.File(path)}, cache=False)


def test_a_home_that_goes_away_is_told_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = lmconf.LM("openai/tiny", api_key={"$file": "~/key"}, num_retries=0)
    monkeypatch.setenv("HOME", "~")
    with pytest.raises(AuthenticationFailed, match="cannot be read"):
        lm("hi", cache=False)


def test_a_home_folder_stands_for_its_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/elsewhere")
    assert with_home("~/a") == Path("/elsewhere/a")
    assert with_home("a~") == Path("a~")
    assert with_home("~nobody-has-this-name/a") == Path("~nobody-has-this-name/a")
