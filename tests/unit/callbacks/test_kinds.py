"""From specs to callbacks: kinds, registered names, and import paths that were allowed."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from lmconf import callbacks
from lmconf.callbacks import REGISTRY, Deferred, Dispatcher, End, Start, make, register_callback
from lmconf.callbacks.specs import (
    CallbackSpec,
    CustomCallback,
    LiteLLMLogger,
    LiteLLMLoggerArgs,
    OtelCallback,
)
from lmconf.errors import ProfileError, UsageError
from lmconf.schema.frozen import freeze
from lmconf.system.imports import is_allowed

START = Start(call_id="1", lm="gpt", model="m", time=0.0, request={})
FRESH = itertools.count()

HOOKS = """
import subprocess
from os import system
from {package}._inner import Meter as Renamed, Meter
LOADED = []
NUMBER = 3

class CostMeter:
    def __init__(self, currency="USD", rates=None):
        LOADED.append((currency, rates))
        if rates is not None:
            rates.append(1.0)

    def on_end(self, event):
        pass

def make_meter(**arguments):
    return CostMeter(**arguments)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable package with a module `hooks`, not imported yet."""
    name = f"acme{next(FRESH)}"
    folder = tmp_path / "site" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "hooks.py").write_text(HOOKS.replace("{package}", name))
    (folder / "broken.py").write_text("import a_module_that_nobody_has\n")
    (folder / "_inner.py").write_text("class Meter:\n    def on_end(self, event):\n        pass\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return name


def custom(use: str, **arguments: object) -> CustomCallback:
    return CustomCallback(use=use, args=freeze(arguments))


def opened(spec: CallbackSpec, *allowed: str) -> object:
    callback = make(spec, allow_imports=frozenset(allowed))
    assert isinstance(callback, Deferred)
    return callback.open()


@pytest.mark.parametrize(
    ("spec", "module"),
    [
        (OtelCallback(use="otel"), "opentelemetry.metrics"),
        (
            LiteLLMLogger(use="litellm_logger", args=LiteLLMLoggerArgs(name="langfuse")),
            "langfuse",
        ),
    ],
)
def test_a_kind_whose_package_is_missing_says_so_before_anything_is_sent(
    spec: CallbackSpec, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match="needs the package"):
        make(spec)


def test_a_registered_name_makes_a_callback_from_its_arguments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What a document may name is what is registered in this process: other tests see none of it.
    monkeypatch.setattr(callbacks.REGISTRY, "_registered", {})

    class Meter:
        def __init__(self, currency: str, rates: list[float]) -> None:
            self.said = (currency, rates)

        def on_end(self, event: End) -> None:
            pass

    register_callback("test-meter", Meter)
    callback = opened(custom("test-meter", currency="EUR", rates=[1.0]))
    assert isinstance(callback, Meter)
    assert callback.said == ("EUR", [1.0])
    assert "test-meter" in REGISTRY.names()
    register_callback("test-meter", Meter)
    with pytest.raises(UsageError, match="already registered"):
        register_callback("test-meter", dict)


@pytest.mark.parametrize("name", ["log", "otel", "acme:Meter", "", "*", "a b", "acme.Meter"])
def test_names_that_mean_something_else_cannot_be_registered(name: str) -> None:
    with pytest.raises(UsageError):
        register_callback(name, dict)


def test_an_unknown_name_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(ProfileError) as refused:
        make(custom("jsnol"))
    [diagnostic] = refused.value.diagnostics
    assert diagnostic.code == "unknown-kind"
    assert diagnostic.label == "did you mean `jsonl`?"
    assert "register_callback" in diagnostic.help


@pytest.mark.parametrize(
    ("path", "allowed", "expected"),
    [
        ("acme.hooks:Meter", "acme.hooks:Meter", True),
        ("acme.hooks:Meter", "acme.hooks", True),
        ("acme.hooks:Meter", "acme.*", True),
        ("acme.hooks:Meter", "acme.hooks.*", True),
        ("acme:Meter", "acme.*", True),
        ("acme.deep.hooks:Meter", "acme.*", True),
        ("acme.hooks:Meter", "acme.hooks:Other", False),
        ("acme.hooks:Meter", "acme", False),
        ("acme.hooks:Meter", "acme.hook", False),
        ("acme.hooks:Meter", "acme.hook.*", False),
        ("acmelike:Meter", "acme.*", False),
        ("acme.hooks:Meter", "*", False),
        ("acme.hooks:Meter", "*.*", False),
        ("acme.hooks:Meter", "acme.hooks:*", False),
        ("acme.hooks:Meter", "", False),
    ],
)
def test_an_entry_allows_itself_a_module_or_a_package(
    path: str, allowed: str, expected: bool
) -> None:
    assert is_allowed(path, frozenset({allowed})) is expected


def test_a_path_that_nothing_allows_is_refused_and_not_imported(package: str) -> None:
    with pytest.raises(ProfileError) as refused:
        make(custom(f"{package}.hooks:CostMeter"), allow_imports=frozenset({"other.*"}))
    [diagnostic] = refused.value.diagnostics
    assert diagnostic.code == "import-not-allowed"
    assert f'allow_imports=["{package}.hooks:CostMeter"]' in diagnostic.help
    assert not [name for name in sys.modules if name.startswith(package)]


@pytest.mark.parametrize(
    "path",
    [":", "acme:", ":Meter", "acme.:Meter", ".acme:Meter", "acme:a.b", "acme:Meter()", "a:b:c"],
)
def test_a_malformed_path_is_refused_whatever_is_allowed(path: str) -> None:
    with pytest.raises(ProfileError, match="not an import path"):
        make(
            custom(path), allow_imports=frozenset({path, "acme", "acme.*", path.partition(":")[0]})
        )


def test_an_allowed_path_is_imported_when_the_first_call_begins(package: str) -> None:
    spec = custom(f"{package}.hooks:CostMeter", currency="EUR", rates=[0.5])
    dispatcher = Dispatcher([make(spec, allow_imports=frozenset({f"{package}.hooks"}))])
    assert not [name for name in sys.modules if name.startswith(package)]
    dispatcher.start(START)
    assert sys.modules[f"{package}.hooks"].LOADED == [("EUR", [0.5, 1.0])]
    assert spec.args == {"currency": "EUR", "rates": (0.5,)}


def test_a_function_may_make_the_callback(package: str) -> None:
    callback = opened(custom(f"{package}.hooks:make_meter", currency="CHF"), f"{package}.*")
    assert type(callback).__name__ == "CostMeter"


@pytest.mark.parametrize("attribute", ["system", "subprocess", "Renamed"])
def test_what_an_allowed_module_only_imported_is_refused(package: str, attribute: str) -> None:
    """Allowing a module allows what it defines, not everything that it can see."""
    with pytest.raises(ProfileError) as refused:
        opened(custom(f"{package}.hooks:{attribute}"), f"{package}.hooks")
    assert refused.value.diagnostics[0].code in ("import-not-allowed", "import-failed")


def test_what_is_defined_elsewhere_needs_that_place_allowed(package: str) -> None:
    spec = custom(f"{package}.hooks:Meter")
    with pytest.raises(ProfileError) as refused:
        opened(spec, f"{package}.hooks:Meter")
    assert f"`--allow-import {package}._inner:Meter`" in refused.value.diagnostics[0].help
    assert opened(spec, f"{package}.hooks:Meter", f"{package}._inner:Meter") is not None
    assert opened(spec, f"{package}.*") is not None


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("hooks:Missing", "AttributeError"),
        ("missing:Meter", "ModuleNotFoundError"),
        ("broken:Meter", "a_module_that_nobody_has"),
        ("hooks:NUMBER", "neither a class nor a function"),
    ],
)
def test_a_path_that_leads_nowhere_is_told_at_the_first_call(
    package: str, path: str, why: str
) -> None:
    callback = make(custom(f"{package}.{path}"), allow_imports=frozenset({f"{package}.*"}))
    with pytest.raises(ProfileError) as failed:
        Dispatcher([callback]).start(START)
    assert failed.value.diagnostics[0].code == "import-failed"
    assert why in failed.value.diagnostics[0].message
