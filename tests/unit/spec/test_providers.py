"""Providers, and what an address says about where a request goes."""

from __future__ import annotations

import pytest

from lmconf.launchers.specs import LAUNCHER_NAMES
from lmconf.providers import Provider
from lmconf.providers.catalogue import PROVIDERS, is_address, is_loopback, origin, provider_of
from lmconf.providers.records import RECORDS
from lmconf.providers.registry import find_mistake
from lmconf.trainers.specs import TRAINER_NAMES


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("openai/gpt-4o-mini", ("openai", "gpt-4o-mini")),
        ("openrouter/openai/o3-mini", ("openrouter", "openai/o3-mini")),
        ("gpt-4o", ("", "gpt-4o")),
        ("openai/", ("openai", "")),
        ("/gpt-4o", ("", "gpt-4o")),
        ("", ("", "")),
    ],
)
def test_a_provider_is_what_stands_before_the_first_slash(
    model: str, parts: tuple[str, str]
) -> None:
    assert provider_of(model) == parts


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com"),
        ("HTTPS://API.OpenAI.com/v1", "https://api.openai.com"),
        ("http://localhost:11434/api?x=1#y", "http://localhost:11434"),
        ("https://user:word@host.example:8443/x", "https://host.example:8443"),
        ("http://[::1]:8080/v1", "http://[::1]:8080"),
        ("http://[FE80::1]", "http://[fe80::1]"),
        ("https://", ""),
        ("api.openai.com", ""),
        ("http://host:99999", ""),
        ("http://[::1", ""),
        ("", ""),
    ],
)
def test_an_origin_is_scheme_host_and_port(address: str, expected: str) -> None:
    assert origin(address) == expected


def test_origins_tell_the_end_of_an_ipv6_address_from_a_port() -> None:
    assert origin("http://[::1]:80") != origin("http://[::1:80]")


def test_origins_tell_schemes_hosts_and_ports_apart() -> None:
    addresses = [
        "https://api.openai.com/v1",
        "http://api.openai.com/v1",
        "https://api.openai.com:8443/v1",
        "https://api.openai.com.evil.example/v1",
    ]
    assert len({origin(address) for address in addresses}) == len(addresses)
    assert origin("https://api.openai.com@evil.example/v1") == "https://evil.example"
    assert origin("https://evil.example/api.openai.com/v1") == "https://evil.example"


@pytest.mark.parametrize("address", ["http://host:0", "http://host:x", "http://:80", "host", "//"])
def test_an_address_has_a_host_and_a_port_that_there_can_be(address: str) -> None:
    assert not is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:8000/v1",
        "http://LOCALHOST",
        "http://box.localhost",
        "http://127.0.0.1:11434",
        "http://127.8.9.10",
        "http://[::1]:8080",
        "http://[0:0:0:0:0:0:0:1]",
    ],
)
def test_loopback_is_this_machine(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.evil.example",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://notlocalhost",
        "http://evil.example/127.0.0.1",
        "http://127.0.0.1@evil.example",
        "http://[::2]",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "http://128.0.0.1",
        "http://127.0.0.256",
        "127.0.0.1",
        "",
    ],
)
def test_no_other_address_is_loopback_however_it_begins(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_record_contradicts_nothing_and_is_the_only_one_of_its_name(record: Provider) -> None:
    assert find_mistake(record) == ""
    assert [other.name for other in RECORDS].count(record.name) == 1
    assert record.litellm is None or record.chat == "bare"
    assert record.launcher in (None, *LAUNCHER_NAMES)
    assert record.trainer in (None, *TRAINER_NAMES)


def test_a_provider_with_a_usual_key_says_where_that_key_may_go() -> None:
    for name, provider in PROVIDERS.items():
        assert name == provider.name
        if provider.key_env is not None:
            assert provider.credentials == "key"
            assert (provider.base is None) != (provider.base_env is None)


def test_every_address_in_the_table_is_encrypted_or_on_this_machine() -> None:
    for provider in PROVIDERS.values():
        if provider.base is not None:
            assert provider.base.startswith("https://") or is_loopback(provider.base)
