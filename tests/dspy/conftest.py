"""DSPy as these tests want it: its cache out of the way, its settings new for each of them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

# DSPy makes this folder when it is imported, in the home folder if none is named.
_FOLDER = os.environ.setdefault("DSPY_CACHEDIR", tempfile.mkdtemp(prefix="lmconf-tests-dspy-"))

import dspy  # noqa: E402 - the folder comes first

import lmconf  # noqa: E402
from tests.loopback import Loopback, serving  # noqa: E402


@pytest.fixture(autouse=True, scope="session")
def _cleaning() -> Iterator[None]:
    yield
    shutil.rmtree(_FOLDER, ignore_errors=True)


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that a test sets in DSPy outlives it."""
    monkeypatch.setenv("LMCONF_CACHE", "memory")
    with dspy.context(lm=None, adapter=None, callbacks=[], trace=[], track_usage=False):
        yield


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving() as running:
        yield running


@pytest.fixture
def lm(server: Loopback) -> lmconf.LM:
    # A name of its own keeps this LM's answers apart from those of other tests.
    return lmconf.LM("openai/tiny", api_base=server.v1, api_key="", endpoint=f"at-{server.port}")
