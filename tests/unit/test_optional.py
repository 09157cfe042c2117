"""What is said where a package is missing that an optional part of lmconf needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import lmconf
import lmconf.testing
from lmconf.caches import open_store
from lmconf.caches.specs import RedisStore
from lmconf.callbacks import make
from lmconf.callbacks.specs import OtelCallback
from lmconf.secrets.references import Env
from lmconf.system.optional import describe_missing, is_installed, require

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
URL = Env(name="REDIS_URL")


def test_what_is_installed_is_required_in_vain() -> None:
    assert is_installed("json.decoder")
    require("json", "redis", "this")


@pytest.mark.parametrize(
    ("module", "needs", "message"),
    [
        (
            "redis",
            lambda: open_store(RedisStore(backend="redis", url=URL, namespace="a")),
            "a store with `backend: redis` needs the package redis: pip install"
            " 'lmconf-runtime[redis]'",
        ),
        (
            "opentelemetry.metrics",
            lambda: make(OtelCallback(use="otel")),
            "the otel callback needs the package opentelemetry-api: pip install"
            " 'lmconf-runtime[otel]'",
        ),
        (
            "dspy",
            lambda: lmconf.LM("openai/a", api_key="").as_dspy(),
            "this needs the package dspy: pip install 'lmconf-runtime[dspy]'",
        ),
        (
            "hypothesis",
            lambda: lmconf.testing.settings,
            "lmconf.testing.settings needs the package hypothesis: pip install"
            " 'lmconf-runtime[testing]'",
        ),
    ],
)
def test_a_missing_package_is_told_with_the_command_that_installs_it(
    module: str, needs: Callable[[], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules["lmconf.testing"].__dict__, "settings", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    for error in (lmconf.MissingDependency, lmconf.UsageError, ImportError):
        with pytest.raises(error) as raised:
            needs()
        assert str(raised.value) == message
    assert message.partition("[")[2].partition("]")[0] in EXTRAS


def test_several_packages_are_told_at_once() -> None:
    assert describe_missing("torch", "trl", extra="train", purpose="training here") == (
        "training here needs the packages torch, trl: pip install 'lmconf-runtime[train]'"
    )
