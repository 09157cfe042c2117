"""Every profile that ships says what to set, and its LMs send just that."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.providers.catalogue import PROVIDERS, provider_of
from lmconf.runtime import LM
from tests.clouds import CONVERSED
from tests.loopback import Reply, chat, gemini, serving
from tests.wire import apis
from tests.wire.environment import MARKS, marks_in
from tests.wire.providers import STREAMED, WHOLE, WIRES, Way
from tests.wire.test_calls import SAID

FILES = sorted((Path(__file__).parents[2] / "profiles").glob("*.yaml"))
# An LM that starts its own server is called in tests/end_to_end.
ELSEWHERE = ("demo", "bedrock", "sagemaker", "vertex")
BY_PROVIDER = {wire.name: wire for wire in WIRES.values()}
LMS = [
    (path.stem, name)
    for path in FILES
    if path.stem not in ELSEWHERE
    for name in lmconf.load(str(path))
]
# The clouds: what answers, where it is asked, and what of the body the profile decides.
GENERATION = {"temperature": 0.0, "maxTokens": 1000}
BEDROCK = {"inferenceConfig": GENERATION}
CLOUDS: dict[tuple[str, str], tuple[Any, str, dict[str, Any]]] = {
    ("bedrock", "nova"): (CONVERSED, "/model/amazon.nova-lite-v1%3A0/converse", BEDROCK),
    ("bedrock", "claude"): (
        CONVERSED,
        "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse",
        BEDROCK,
    ),
    ("sagemaker", "prompts"): (
        [{"generated_text": "Hello."}],
        "/endpoints/my-endpoint/invocations",
        {"inputs": "Say hello."},
    ),
    ("sagemaker", "messages"): (
        chat(),
        "/endpoints/my-endpoint/invocations",
        {"messages": [SAID], "temperature": 0.0, "max_tokens": 1000},
    ),
    **{
        ("vertex", name): (
            gemini(),
            "/v1/projects/my-project/locations/europe-west4/publishers/google/models/"
            f"gemini-2.5-{name}:generateContent",
            {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]},
        )
        for name in ("flash", "pro")
    },
}
ACCOUNT = {"aws_access_key_id": "AKIDOFTHEPROFILE", "aws_secret_access_key": "stated-secret"}
FAMILIES = {record.profile for record in PROVIDERS.values() if record.profile}


def test_every_profile_that_a_record_names_ships() -> None:
    assert {path.stem for path in FILES} == FAMILIES | {"demo", "openai-compatible"}


@pytest.mark.parametrize("profile", sorted(FAMILIES))
def test_the_models_of_a_shipped_profile_are_those_of_the_providers_that_name_it(
    profile: str,
) -> None:
    loaded = lmconf.load(profile)
    models = {provider_of(loaded[name].spec.model)[0] for name in loaded}
    assert models == {record.name for record in PROVIDERS.values() if record.profile == profile}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_profile_names_the_variables_that_its_lms_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    told = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    needed = re.findall(r"\{\$env: (\w+)\}", text)
    assert [name for name in needed if name not in told] == []
    profile = lmconf.load(path.stem)
    assert len([name for name in profile if not name.startswith("_")]) <= 3


def credentials_of(lm: LM) -> dict[str, Any]:
    """What a copy for another address has to state anew."""
    names = ("api_key", "azure_ad_token", "aws_access_key_id", "vertex_credentials")
    stated = {name: getattr(lm.spec, name) for name in names}
    return {name: value for name, value in stated.items() if value is not None}


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize(("profile", "name"), LMS)
@pytest.mark.usefixtures("hostile")
def test_a_shipped_lm_is_sent_its_own_key_and_no_other(profile: str, name: str, way: Way) -> None:
    shipped = lmconf.load(profile)[name]
    assert isinstance(shipped, LM)
    wire = BY_PROVIDER[provider_of(shipped.spec.model)[0]]
    streamed = way in STREAMED
    with serving((apis.STREAMED if streamed else apis.WHOLE)[wire.speaks]) as server:
        base = server.url + wire.base
        lm = shipped.copy(api_base=base, cache=False, num_retries=0, **credentials_of(shipped))
        answer = way(lm, {"messages": [SAID]})
        (received,) = server.received
    assert answer.text == apis.TEXT
    key = shipped.spec.azure_ad_token or shipped.spec.api_key
    variable = getattr(key, "name", None)
    told = {variable} if variable else set()
    if wire.name == "azure":
        told |= {"AZURE_API_VERSION"}  # which the profile names
    assert marks_in(received.text) == told
    if variable:
        assert variable in MARKS
        assert os.environ[variable] in received.text
    path = received.path.partition("?")[0]
    assert path.endswith(("/chat/completions", "/v1/messages", "/api/chat"))
    if wire.name != "azure":
        assert received.json["model"] == provider_of(shipped.spec.model)[1]


def test_every_lm_of_the_clouds_is_in_the_table() -> None:
    clouds = {name for name, _ in CLOUDS}
    assert set(CLOUDS) == {(cloud, name) for cloud in clouds for name in lmconf.load(cloud)}
    assert clouds | {"demo"} == set(ELSEWHERE)


@pytest.mark.parametrize("way", WHOLE)
@pytest.mark.parametrize(("profile", "name"), CLOUDS)
@pytest.mark.usefixtures("hostile")
def test_a_shipped_lm_of_a_cloud_signs_for_the_account_that_is_stated(
    profile: str, name: str, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION_NAME", "eu-central-1")
    monkeypatch.setenv("VERTEXAI_PROJECT", "my-project")
    monkeypatch.setenv("VERTEXAI_LOCATION", "europe-west4")
    whole, path, body = CLOUDS[profile, name]
    settings: dict[str, Any] = {"api_key": ""} if profile == "vertex" else ACCOUNT
    with serving(Reply(json=whole)) as server:
        lm = lmconf.load(profile)[name].copy(
            api_base=server.url, cache=False, num_retries=0, **settings
        )
        answer = way(lm, {"messages": [SAID]})
        (received,) = server.received
    assert answer.text == "Hello."
    assert received.path == path
    assert {key: received.json[key] for key in body} == body
    assert marks_in(received.text) == set()
    signed = received.header("authorization")
    if profile == "vertex":
        assert signed is None
    else:
        assert signed is not None
        assert re.match(
            rf"AWS4-HMAC-SHA256 Credential=AKIDOFTHEPROFILE/\d+/eu-central-1/{profile}/", signed
        )
