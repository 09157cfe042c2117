"""A model's name is no way to another path of a server, whoever wrote the document."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

import lmconf
from lmconf.errors import CallError, ProfileError
from lmconf.providers.catalogue import PROVIDERS
from lmconf.providers.routes import client_of
from lmconf.transports import Transport, make
from lmconf.transports.specs import TransportSpec
from tests.loopback import serving
from tests.wire.test_every_route import ROUTES, answer_of, request_to

NAMES_IN_PATHS = [name for name, record in PROVIDERS.items() if record.name_in_path]
LEADS_OUT = [
    "a?b=c",
    "a#b",
    "../a",
    "a/../../b",
    "a/./b",
    "a//b",
    "a/",
    "a%2fb",
    "a b",
    "a\\b",
    "a\n",
]


@pytest.fixture(scope="module")
def transport() -> Iterator[Transport]:
    made = make(TransportSpec())
    yield made
    made.close()


@pytest.mark.parametrize("provider", [*NAMES_IN_PATHS, "replicate", "oci", "watsonx"])
@pytest.mark.parametrize("name", LEADS_OUT)
def test_what_leads_out_of_a_path_is_refused(provider: str, name: str) -> None:
    stated = {"model": f"{provider}/{name}", "api_key": ""}
    for document in (stated, {"lms": {"a": {"model": "openai/tiny", "fallbacks": [stated]}}}):
        with pytest.raises(ProfileError) as refused:
            lmconf.load(document)
        assert "no-model" in {each.code for each in refused.value.diagnostics}
    with pytest.raises(ProfileError):
        lmconf.LM("openai/tiny", api_key="").copy(model=stated["model"])


@pytest.mark.parametrize(
    "model",
    [
        "bedrock/us.anthropic.claude-sonnet-4-20250514-v1:0",
        "bedrock/eu-west-1/anthropic.claude-v2:1",
        "bedrock/arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.tiny",
        "vertex_ai/meta/llama-3.1-405b-instruct-maas",
        "vertex_ai/claude-3-5-sonnet@20240620",
        "gemini/gemini-2.0-flash",
        "huggingface/together/deepseek-ai/DeepSeek-R1",
        "hosted_vllm//models/a b?",
        "fireworks_ai/accounts/a/models/b#accounts/c/deployments/d",
        "replicate/meta/llama:0123abc",
    ],
)
def test_names_as_providers_give_them_are_taken(model: str) -> None:
    assert lmconf.LM(model, api_key="").spec.model == model


@pytest.mark.parametrize(("provider", "route"), ROUTES)
def test_every_other_route_keeps_a_name_in_its_place(
    transport: Transport, provider: str, route: str
) -> None:
    """It stands in the body, or quoted in the path: both are one path, whatever is in the name."""
    record = PROVIDERS[provider]
    refused = record.name_in_path or record.credentials == "cloud"
    if refused or client_of(provider, route) is None:
        pytest.skip("such names are refused")
    paths = []
    for name in ("tiny", "tiny/../../x?y=z#w%2f"):
        with serving(answer_of(provider, route)) as server:
            with contextlib.suppress(CallError):
                transport.complete(request_to(server, provider, route, model=name))
            paths.append(
                [
                    each.path.replace("tiny%2F..%2F..%2Fx%3Fy%3Dz%23w%252f", "tiny")
                    for each in server.received
                ]
            )
    assert paths[0]
    assert paths[0] == paths[1]
