"""No test sees the machine it runs on: no keys, no proxies, no settings, a home of its own."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from lmconf.retries import origins
from tests.redis_server import RedisServer, redis_binary, redis_running

# Whatever names a credential, an endpoint, a provider's settings or a proxy.
AMBIENT = re.compile(
    r"""
      .*_(API_KEY|API_BASE|API_VERSION|BASE_URL|ENDPOINT|TOKEN|SECRET|PASSWORD|HOST)
    | (OPENAI|AZURE|ANTHROPIC|AWS|GOOGLE|VERTEXAI|DATABRICKS|OLLAMA|REDIS|LMCONF|LITELLM|HF)_.*
    | .*_PROXY
    """,
    re.VERBOSE | re.IGNORECASE,
)
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "NO_PROXY": "*",
}

# A shared machine stalls now and then: time is measured by the benchmarks, not by deadlines.
# CI draws the same examples for the same code; elsewhere each run looks at new ones.
settings.register_profile("lmconf", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("lmconf")

# A shell ignores signals for what it runs in the background, and children inherit that.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(
            number,
            signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL,
        )


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder that this test alone sees, with a clean environment around it."""
    for name in list(os.environ):
        if AMBIENT.fullmatch(name):
            monkeypatch.delenv(name)
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    folders = {
        "HOME": home,
        "USERPROFILE": home,
        "APPDATA": home / "AppData/Roaming",
        "LOCALAPPDATA": home / "AppData/Local",
        "XDG_CACHE_HOME": home / ".cache",
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_DATA_HOME": home / ".local/share",
        "XDG_RUNTIME_DIR": home / ".run",
        "XDG_STATE_HOME": home / ".local/state",
    }
    for name, folder in folders.items():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        monkeypatch.setenv(name, str(folder))
    origins().forget()  # what failed before is no news to this test
    return home


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis server; without one its tests are skipped, and fail where CI is set."""
    binary = redis_binary()
    if binary is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)(
            "there is no redis-server: put one on the PATH (Debian: redis-server)"
        )
    with redis_running(binary, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a report that quotes half a character reach the process that prints it."""
    report = yield
    report.sections = [(name, _as_text(said)) for name, said in report.sections]
    if report.failed and _as_text(str(report.longrepr)) != str(report.longrepr):
        report.longrepr = _as_text(str(report.longrepr))
    return report


def _as_text(said: str) -> str:
    return said.encode("utf-8", "backslashreplace").decode()
