"""`extra` is the request's body and nothing else, whoever sends it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import lmconf
from lmconf.errors import BadRequest, CallError, ProfileError
from lmconf.providers.catalogue import PROVIDERS
from lmconf.providers.routes import MODEL_PARAMETERS, is_foreign
from lmconf.transports import Connection, Request, Transport, make
from lmconf.transports.specs import TransportSpec
from tests.loopback import Loopback, Reply, chat, serving
from tests.wire.test_every_route import STREAMED, WHOLE, Way, request_to

FOREIGN = [name for name in PROVIDERS if is_foreign(name, "chat") and is_foreign(name, "text")]
# The clouds find their credentials first, and are told of as others are where they stand.
FOREIGN_TEXT = [
    name
    for name, record in PROVIDERS.items()
    if is_foreign(name, "text") and record.credentials != "cloud"
]
ROUTES = [*((name, "chat") for name in FOREIGN), *((name, "text") for name in FOREIGN_TEXT)]


def hostile(attacker: str) -> dict[str, Any]:
    """Return arguments by which LiteLLM can be led to `attacker`, or told to run something."""
    elsewhere = {"model": "openai/ok", "api_base": attacker, "base_url": attacker}
    return {
        "model_list": [{"model_name": "tiny", "litellm_params": elsewhere}],
        "context_window_fallback_dict": {"tiny": "openai/ok"},
        "fallbacks": [elsewhere],
        "api_base": attacker,
        "base_url": attacker,
        "custom_llm_provider": "openai",
        "mock_response": "invented",
        "mock_tool_calls": [{}],
        "callbacks": ["langfuse"],
        "success_callback": ["langfuse"],
        "langfuse_host": attacker,
        "aws_bedrock_runtime_endpoint": attacker,
        "endpoint_url": attacker,
        "api_key": "another",
        "extra_body": {"a": 1},
        "extra_headers": {"Host": attacker},
        "headers": {"X-A": "b"},
        "organization": "another",
        "model": "openai/ok",
        "litellm_params": elsewhere,
        "litellm_metadata": {"model_group": "other"},
        "prompt_id": "other",
        "tools": [{"type": "mcp", "server_url": attacker}],
        "a_name_of_a_later_release": attacker,
    }


@pytest.fixture(scope="module")
def transport() -> Iterator[Transport]:
    made = make(TransportSpec())
    yield made
    made.close()


@pytest.fixture(scope="module")
def attacker() -> Iterator[Loopback]:
    with serving(chat()) as server:
        yield server


def test_litellm_sends_to_many_providers_by_its_own_means() -> None:
    assert len(FOREIGN) == 18, FOREIGN


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize(("provider", "route"), ROUTES)
def test_no_key_of_extra_becomes_an_argument_of_litellm(
    transport: Transport, attacker: Loopback, provider: str, route: str, way: Way
) -> None:
    connection = {"base": "http://127.0.0.1:9/v1"}  # nothing listens there
    for name, value in hostile(attacker.v1).items():
        changes: dict[str, Any] = {"extra": {name: value}, "connection": connection}
        with pytest.raises(BadRequest, match=f"extra.{name}"):
            way(transport, request_to(attacker, provider, route, **changes))
    assert not attacker.received


@pytest.mark.parametrize("provider", FOREIGN)
def test_such_a_key_is_refused_where_it_stands(attacker: Loopback, provider: str) -> None:
    extra = hostile(attacker.v1)
    del extra["api_key"]  # a literal secret is refused before
    stated = {"model": f"{provider}/tiny", "api_key": ""}
    several = {"lms": {"a": {"model": "openai/tiny", "fallbacks": [{**stated, "extra": extra}]}}}
    for document in ({**stated, "extra": extra}, several):
        for untrusted in (False, True):
            with pytest.raises(ProfileError) as refused:
                lmconf.load(document, untrusted=untrusted)
            found = {each.path[-1] for each in refused.value.diagnostics}
            assert found >= set(extra) if not untrusted else found
    lm = lmconf.LM(f"{provider}/tiny", api_key="a-key", num_retries=0, cache=False)
    for name, value in extra.items():
        with pytest.raises(ProfileError) as refused:
            lm("hi", extra={name: value})
        assert [each.code for each in refused.value.diagnostics] == ["not-in-body"]
        with pytest.raises(ProfileError):
            lm.copy(extra={name: value})
    assert not attacker.received


def test_an_lm_that_answers_instead_is_held_to_it_in_each_call(attacker: Loopback) -> None:
    """What a call states is sent to whichever LM answers it."""
    lm = lmconf.LM(
        "openai/tiny",
        api_base="http://127.0.0.1:9",
        api_key="",
        num_retries=0,
        cache=False,
        fallbacks=[{"model": "replicate/tiny", "api_key": "a-key", "num_retries": 0}],
    )
    with pytest.raises((CallError, ProfileError)):
        lm("hi", extra={"model_list": hostile(attacker.v1)["model_list"]})
    assert not attacker.received


def test_parameters_of_models_are_no_arguments_of_litellm() -> None:
    import litellm
    from litellm.types.utils import all_litellm_params

    known = set(all_litellm_params)
    for function in (litellm.completion, litellm.text_completion):
        known |= inspect.signature(function).parameters.keys()
    assert not MODEL_PARAMETERS & known


def test_a_parameter_of_the_model_reaches_the_body() -> None:
    transport = make(TransportSpec())
    with serving(
        Reply(json={"generated_text": "Hello.", "nb_input_tokens": 5, "nb_generated_tokens": 2})
    ) as server:
        request = Request(
            route="chat",
            provider="nlp_cloud",
            model="tiny",
            connection=Connection(base=f"{server.url}/", key="a-key"),
            messages=[{"role": "user", "content": "Say hello."}],
            extra={"top_k": 7, "repetition_penalty": 1.5},
        )
        transport.complete(request)
        (sent,) = server.received
        assert (sent.json["top_k"], sent.json["repetition_penalty"]) == (7, 1.5)
    transport.close()
