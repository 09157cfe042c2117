"""A server that is missing is never passed over in silence."""

from __future__ import annotations

import pytest

from tests.peers.conftest import missing


def test_a_missing_server_skips_its_tests_and_fails_them_in_ci(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="make peers"):
        missing("run `make peers`")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="make peers"):
        missing("run `make peers`")
