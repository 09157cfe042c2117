"""States go both ways between `lmconf.LM` and DSPy's own `dspy.LM`."""

from __future__ import annotations

import dspy
import pytest

import lmconf
from tests.loopback import Loopback


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("openai/gpt-4o-mini", {"temperature": 0.9, "max_tokens": 3000, "stop": ["\n"]}),
        ("openai/o3-mini", {}),
        ("anthropic/claude-3-opus-20240229", {"temperature": None, "cache": False}),
        (
            "ollama_chat/llama3.2",
            {"api_base": "http://127.0.0.1:11434", "api_key": "", "extra": {"top_k": 4}},
        ),
        ("openai/gpt-4o", {"num_retries": 2, "seed": 3, "n": 2, "finetuning_model": "openai/x"}),
    ],
)
def test_a_state_builds_a_dspy_lm_whose_own_state_loads_again(
    model: str, settings: dict[str, object]
) -> None:
    lm = lmconf.LM(model, **settings)  # type: ignore[arg-type]
    theirs = dspy.LM(**lm.dump_state("dspy"))
    assert theirs.model == model
    for name, value in lm.kwargs.items():
        assert theirs.kwargs[name] == value
    again = lmconf.load_state(theirs.dump_state())
    assert isinstance(again, lmconf.LM)
    assert again.kwargs == lm.kwargs
    assert again.spec.num_retries == lm.spec.num_retries
    assert (again.spec.cache.mode == "disabled") == (lm.spec.cache.mode == "disabled")


def test_the_dspy_lm_of_a_state_asks_what_the_lm_asks(server: Loopback) -> None:
    lm = lmconf.LM("openai/tiny", api_base=server.v1, api_key="", cache=False, top_p=0.9)
    lm("Hello")
    state = {**lm.dump_state("dspy"), "api_key": "none"}
    assert dspy.LM(**state)("Hello") == ["Hello."]
    ours, theirs = (received.json for received in server.received)
    # DSPy 3.4 writes the newer name of the two for every model of OpenAI's API.
    theirs.setdefault("max_tokens", theirs.get("max_completion_tokens"))
    assert ours == {name: value for name, value in theirs.items() if name in ours}
