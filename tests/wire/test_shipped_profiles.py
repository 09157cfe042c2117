"""Every profile that ships says what to set, and its LMs send just that."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import lmconf
from lmconf.profile.providers import provider_of
from lmconf.runtime import LM
from tests.loopback import serving
from tests.wire import apis
from tests.wire.environment import MARKS, marks_in
from tests.wire.providers import STREAMED, WHOLE, WIRES, Way
from tests.wire.test_calls import SAID

FILES = sorted((Path(__file__).parents[2] / "profiles").glob("*.yaml"))
# An LM that starts its own server is called in tests/end_to_end; those of the clouds sign what
# they send, and are called with the other tests of signing.
ELSEWHERE = ("demo", "bedrock", "sagemaker", "vertex")
BY_PROVIDER = {wire.name: wire for wire in WIRES.values()}
LMS = [
    (path.stem, name)
    for path in FILES
    if path.stem not in ELSEWHERE
    for name in lmconf.load(str(path))
]
FAMILIES = set(
    "anthropic anyscale azure bedrock databricks groq hosted_vllm litellm_proxy mistral ollama"
    " openai openai-compatible openrouter sagemaker together_ai vertex".split()
)


def test_every_family_has_a_profile() -> None:
    assert {path.stem for path in FILES} == FAMILIES | {"demo"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_profile_names_the_variables_that_its_lms_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    told = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    needed = re.findall(r"\{\$env: (\w+)\}", text)
    assert [name for name in needed if name not in told] == []
    profile = lmconf.load(path.stem)
    assert len([name for name in profile if not name.startswith("_")]) <= 3


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize(("profile", "name"), LMS)
@pytest.mark.usefixtures("hostile")
def test_a_shipped_lm_is_sent_its_own_key_and_no_other(profile: str, name: str, way: Way) -> None:
    shipped = lmconf.load(profile)[name]
    assert isinstance(shipped, LM)
    wire = BY_PROVIDER[provider_of(shipped.spec.model)[0]]
    streamed = way in STREAMED
    with serving((apis.STREAMED if streamed else apis.WHOLE)[wire.speaks]) as server:
        lm = shipped.copy(api_base=server.url + wire.base, cache=False, num_retries=0)
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
