"""No test sees the keys, settings or home folder of the machine it runs on."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import AMBIENT


@pytest.mark.parametrize(
    "name",
    (
        "OPENAI_API_KEY OPENAI_BASE_URL MY_CORP_API_KEY AWS_REGION_NAME DATABRICKS_TOKEN"
        " OLLAMA_HOST LMCONF_PROFILE LMCONF_CACHE HTTPS_PROXY https_proxy"
    ).split(),
)
def test_a_name_that_could_steer_or_pay_for_a_call_is_ambient(name: str) -> None:
    assert AMBIENT.fullmatch(name)


@pytest.mark.parametrize("name", ["PATH", "LANG", "PYTHONPATH", "SSL_CERT_FILE", "TMPDIR", "CI"])
def test_what_programs_need_to_run_at_all_is_kept(name: str) -> None:
    assert not AMBIENT.fullmatch(name)


def test_the_environment_holds_nothing_ambient_but_the_offline_switches() -> None:
    left = {name for name in os.environ if AMBIENT.fullmatch(name)}
    assert left == {
        "HF_HUB_OFFLINE",
        "LITELLM_LOCAL_MODEL_COST_MAP",
        "LITELLM_MODE",
        "NO_PROXY",
    }


def test_home_caches_and_settings_lie_in_the_tests_own_folder(tmp_path: Path) -> None:
    assert Path.home().is_relative_to(tmp_path)
    assert Path(platformdirs.user_cache_dir("lmconf")).is_relative_to(tmp_path)
    assert Path(platformdirs.user_config_dir("lmconf")).is_relative_to(tmp_path)


@given(st.text())
def test_property_tests_run_isolated_too(text: str) -> None:
    """The fixture applies around properties as well, and costs no health check."""
    assert "OPENAI_API_KEY" not in os.environ
    assert isinstance(text, str)
