"""A provider is one record: with it alone, models of the provider are checked, addressed and called."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

import lmconf
from lmconf.callbacks.events import Start
from lmconf.callbacks.otel_semconv import identity_of
from lmconf.providers import catalogue
from tests.loopback import Loopback, Reply, chat, chat_chunks, serving, sse

PACKAGE = Path(lmconf.__file__).parent
ACME = lmconf.Provider("acme", "https://api.acme.example/v1", "ACME_API_KEY", telemetry="acme.ai")
DOCUMENT = "lms:\n  main:\n    model: acme/some-model\n    cache: false\n    num_retries: 0\n"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has the key, and a catalogue of its own."""
    monkeypatch.setenv("ACME_API_KEY", "the-key-of-acme")
    monkeypatch.setenv("OPENAI_API_KEY", "the-key-of-openai")
    monkeypatch.setitem(catalogue.PROVIDERS, "acme", ACME)
    monkeypatch.delitem(catalogue.PROVIDERS, "acme")


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving(chat()) as found:
        yield found


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "support.yaml"
    path.write_text(DOCUMENT, encoding="utf-8")
    return path


def codes(raised: pytest.ExceptionInfo[lmconf.ProfileError]) -> list[str]:
    return [found.code for found in raised.value.diagnostics]


def test_a_profile_names_its_models_once_it_is_registered(profile: Path, server: Loopback) -> None:
    with pytest.raises(lmconf.ProfileError) as raised:
        lmconf.load(profile)
    assert codes(raised) == ["unknown-provider"]
    lmconf.register_provider(replace(ACME, base=server.v1))
    with lmconf.load(profile) as loaded:
        assert loaded["main"].ask("Say hello.").text == "Hello."
    (received,) = server.received
    assert received.path == "/v1/chat/completions"
    assert received.header("authorization") == "Bearer the-key-of-acme"
    assert received.json["model"] == "some-model"
    assert "the-key-of-openai" not in received.text


def test_it_is_called_in_every_way(profile: Path) -> None:
    with serving() as server:
        lmconf.register_provider(replace(ACME, base=server.v1))
        loaded = lmconf.load(profile)
        server.answers(chat())
        assert asyncio.run(loaded["main"].aask("Say hello.")).text == "Hello."
        server.answers(Reply(pieces=sse(*chat_chunks("Hel", "lo."))))
        with loaded["main"].stream("Say hello.") as pieces:
            assert "".join(pieces) == "Hello."
        assert [each.header("authorization") for each in server.received] == (
            ["Bearer the-key-of-acme"] * 2
        )


def test_its_key_goes_to_its_own_address_alone() -> None:
    lmconf.register_provider(ACME)
    lm = lmconf.LM("acme/some-model")
    assert lm.spec.api_key == lmconf.Env("ACME_API_KEY")
    with pytest.raises(lmconf.ProfileError) as raised:
        lmconf.LM("acme/some-model", api_base="https://elsewhere.example/v1")
    assert codes(raised) == ["no-credential"]
    with pytest.raises(lmconf.ProfileError, match="did you mean `acme/some-model`"):
        lmconf.LM("acne/some-model")


def test_its_state_reads_back_the_same() -> None:
    lmconf.register_provider(ACME)
    lm = lmconf.LM("acme/some-model", temperature=0.5)
    again = lmconf.load_state(lm.dump_state())
    assert isinstance(again, lmconf.LM)
    assert again.spec == lm.spec


def test_telemetry_has_the_name_that_the_record_says() -> None:
    lmconf.register_provider(ACME)
    event = Start(
        call_id="1", lm="main", model="acme/some-model", time=0.0, request={}, provider="acme"
    )
    assert identity_of(event)["gen_ai.provider.name"] == "acme.ai"


def test_a_name_stands_for_one_record() -> None:
    lmconf.register_provider(ACME)
    lmconf.register_provider(replace(ACME))
    with pytest.raises(lmconf.UsageError, match="already registered as 'acme'"):
        lmconf.register_provider(replace(ACME, base="https://other.example/v1"))
    with pytest.raises(lmconf.UsageError, match="'openai' comes with lmconf"):
        lmconf.register_provider(replace(ACME, name="openai"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a/b"}, "a name holds"),
        ({"base": "acme"}, "no address"),
        ({"base": "http://api.acme.example"}, "https"),
        ({"base_env": "ACME_API_BASE"}, "both stated"),
        ({"key_env": "ACME KEY"}, "no name of an environment variable"),
        ({"key_env": "ACME"}, "secret's name"),
        ({"credentials": "optional"}, "alone"),
        ({"base": None}, "no address to go to"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(
    changes: dict[str, str | None], message: str
) -> None:
    with pytest.raises(lmconf.UsageError, match=message):
        lmconf.register_provider(replace(ACME, **changes))
    assert "acme" not in catalogue.PROVIDERS


def test_one_line_in_the_records_is_all_that_a_copy_of_the_package_needs(
    tmp_path: Path, profile: Path, server: Loopback
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(PACKAGE, copy / "lmconf", ignore=shutil.ignore_patterns("__pycache__"))
    records = copy / "lmconf/providers/records/openai_compatible.py"
    text = records.read_text(encoding="utf-8")
    line = f'RECORDS = (\n    Provider("acme", "{server.v1}", "ACME_API_KEY"),'
    records.write_text(text.replace("RECORDS = (", line, 1), encoding="utf-8")
    program = (
        "import sys, lmconf\n"
        "assert lmconf.__file__.startswith(sys.argv[1])\n"
        "with lmconf.load(sys.argv[2]) as profile:\n"
        "    print(profile['main'].ask('Say hello.').text)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(copy), str(profile)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=copy,
    )
    assert ran.stdout == "Hello.\n", ran.stderr
    (received,) = server.received
    assert received.header("authorization") == "Bearer the-key-of-acme"
