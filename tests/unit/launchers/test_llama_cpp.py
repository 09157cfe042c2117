"""What stands in the way of a llama_cpp server is named before anything is started."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from lmconf.errors import LaunchError
from lmconf.launchers import KINDS, LAUNCHER_NAMES, launcher
from lmconf.launchers.flags_llama_cpp import ARGUMENTS
from lmconf.launchers.llama_cpp import (
    LlamaCpp,
    check_gguf,
    package_folder,
    parameters,
)
from lmconf.launchers.specs import LaunchSpec
from lmconf.secrets.references import Env, Public


def test_arguments_are_spelled_like_the_servers_own_or_with_underscores() -> None:
    assert parameters({"ctx-size": 512, "n_gpu_layers": 0}, {}) == (
        {"n_ctx": 512, "n_gpu_layers": 0},
        (),
    )


def test_a_list_of_texts_may_be_one_text() -> None:
    assert parameters({"alias": "a"}, {})[0] == {"model_alias": ["a"]}
    assert parameters({"alias": ("a", "b")}, {})[0] == {"model_alias": ["a", "b"]}


def test_a_reference_is_resolved_and_remembered_as_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SERVER_KEY", "hush")
    assert parameters({"api-key": Env(name="SERVER_KEY")}, {}) == (
        {"api_keys": ["hush"]},
        ("hush",),
    )
    assert parameters({"api-key": Public("open")}, {}) == ({"api_keys": ["open"]}, ())


def test_an_unknown_argument_gets_a_suggestion() -> None:
    with pytest.raises(LaunchError, match="no argument 'ctx-sise'; did you mean 'ctx-size'"):
        parameters({"ctx-sise": 512}, {})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("ctx-size", "512", "an integer"),
        ("ctx-size", True, "an integer"),
        ("rope-freq-base", "x", "a number"),
        ("embeddings", 1, "true or false"),
        ("chat-template", 3, "a text"),
        ("api-key", 3, "a text or a list"),
    ],
)
def test_an_argument_of_another_type_is_refused(name: str, value: object, wanted: str) -> None:
    with pytest.raises(LaunchError, match=f"{name!r} must be {wanted}"):
        parameters({name: value}, {})


def test_every_argument_sets_a_parameter_that_the_server_has() -> None:
    import xllamacpp

    for argument in ARGUMENTS.values():
        place = xllamacpp.CommonParams()
        for part in argument.parameter.split("."):
            assert hasattr(place, part), argument
            place = getattr(place, part)


def gguf(version: int = 3, tensors: int = 1) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a GGUF file"),
        (b"PK\x03\x04" + b"\0" * 40, "is not a GGUF file"),
        (b"GGUF", "is not a GGUF file"),
        (gguf(version=9), "of version 9"),
        (gguf(tensors=0), "without tensors"),
    ],
)
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(LaunchError, match=said):
        check_gguf(path)


def test_a_file_that_looks_like_a_model_passes(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf())
    check_gguf(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="does not exist"):
        check_gguf(tmp_path / "none.gguf")
    with pytest.raises(LaunchError, match="cannot be read: Is a directory"):
        check_gguf(tmp_path)


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LaunchError, match=r"pip install 'lmconf-runtime\[local\]'"):
        package_folder()
    with pytest.raises(LaunchError, match=r"pip install 'lmconf-runtime\[local\]'"):
        LlamaCpp().start(LaunchSpec(weights="m.gguf"), "m")


def test_every_kind_can_be_started_and_unknown_ones_are_told() -> None:
    assert set(KINDS) == set(LAUNCHER_NAMES)
    with pytest.raises(
        LaunchError, match="no launcher of the kind `llamacpp`; did you mean `llama_cpp`"
    ):
        launcher("llamacpp")
