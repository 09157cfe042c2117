"""Programs are copied, optimised, saved and loaded; their LMs come from a profile, by name."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import dspy
import pytest

import lmconf
import lmconf.dspy
from tests.dspy.formats import answers, marked
from tests.loopback import Loopback, Received, Reply, chat

SECRET = "sk-this-is-a-secret-0123456789"


def profile(server: Loopback) -> dict[str, Any]:
    there = {"api_base": server.v1, "endpoint": f"at-{server.port}"}
    return {
        "lmconf": 1,
        "main": "fast",
        "lms": {
            "fast": {"model": "openai/tiny", "api_key": {"$env": "FAST_KEY"}, **there},
            "slow": {"model": "openai/large", "api_key": "", **there},
        },
    }


class Two(dspy.Module):  # type: ignore[misc]
    """A program of two predictors."""

    def __init__(self) -> None:
        super().__init__()
        self.draft = dspy.ChainOfThought("question -> answer")
        self.check = dspy.Predict("answer -> verdict")

    def forward(self, question: str) -> Any:
        answer = self.draft(question=question).answer
        return dspy.Prediction(answer=answer, verdict=self.check(answer=answer).verdict)


@pytest.fixture
def loaded(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> lmconf.Profile:
    monkeypatch.setenv("FAST_KEY", SECRET)
    return lmconf.load(profile(server))


# Saving and loading


def test_a_saved_program_finds_its_lms_in_the_profile(
    loaded: lmconf.Profile, server: Loopback, tmp_path: Path
) -> None:
    server.answers(
        answers(reasoning="r", answer="a"), answers(verdict="v"),
        answers(reasoning="r", answer="a"), answers(verdict="v"),
    )  # fmt: skip
    program = Two()
    program.draft.set_lm(loaded["fast"].as_dspy(temperature=0.3, rollout_id=5))
    program.check.set_lm(loaded["slow"].as_dspy())
    program(question="?")
    file = tmp_path / "program.json"
    program.save(file)

    again = Two()
    assert lmconf.dspy.load(again, file, profile(server)) is again
    draft, check = (predictor.lm for _, predictor in again.named_predictors())
    assert draft.source == loaded["fast"]
    assert check.source == loaded["slow"]
    assert (draft.kwargs["temperature"], draft.kwargs["rollout_id"]) == (0.3, 5)
    got = again(question="?")
    assert (got.answer, got.verdict) == ("a", "v")
    assert len(server.received) == 2, "the loaded program asks what the saved one asked"


def test_a_saved_program_holds_no_secret(
    loaded: lmconf.Profile, server: Loopback, tmp_path: Path
) -> None:
    given = lmconf.LM(
        "openai/tiny", api_base=server.v1, api_key=SECRET, headers={"X-Token": SECRET}
    )
    server.answers(answers(answer="a"))
    for name, lm in (("fast", loaded["fast"]), ("given", given)):
        adapted = lm.as_dspy()
        program = dspy.Predict("question -> answer")
        program.set_lm(adapted)
        program(question="?")
        assert server.received[-1].header("authorization") == f"Bearer {SECRET}"
        program.save(tmp_path / f"{name}.json")
        program.save(tmp_path / name, save_program=True)
        assert SECRET not in repr(adapted.history) + repr(vars(adapted))
        adapted.kwargs["extra"] = {"auth_token": SECRET}
        with pytest.raises(lmconf.UsageError, match="auth_token"):
            adapted.dump_state()
        for path in (tmp_path / f"{name}.json", tmp_path / name / "program.pkl"):
            assert SECRET.encode() not in path.read_bytes()


def test_one_lm_can_take_the_place_of_all(
    loaded: lmconf.Profile, server: Loopback, tmp_path: Path
) -> None:
    program = Two()
    program.draft.set_lm(loaded["fast"].as_dspy())
    program.check.set_lm(loaded["slow"].as_dspy())
    program.save(tmp_path / "program.json")
    other = lmconf.LM("openai/other", api_base=server.v1, api_key="")
    again = lmconf.dspy.load(Two(), tmp_path / "program.json", other)
    assert {predictor.lm.model for predictor in again.predictors()} == {"openai/other"}


def test_equal_lms_of_a_saved_program_are_one(
    loaded: lmconf.Profile, server: Loopback, tmp_path: Path
) -> None:
    program = Two()
    program.set_lm(loaded["slow"].as_dspy())
    program.save(tmp_path / "program.json")
    again = lmconf.dspy.load(Two(), tmp_path / "program.json", loaded)
    assert again.get_lm().source is loaded["slow"]


def test_a_predictor_by_itself_and_one_without_an_lm_load(
    loaded: lmconf.Profile, tmp_path: Path
) -> None:
    alone = dspy.Predict("question -> answer")
    alone.demos = [dspy.Example(question="q", answer="a")]
    alone.save(tmp_path / "without.json")
    alone.set_lm(loaded["slow"].as_dspy())
    alone.save(tmp_path / "with.json")
    again = lmconf.dspy.load(dspy.Predict("question -> answer"), tmp_path / "with.json", loaded)
    assert again.lm.source is loaded["slow"]
    assert again.demos[0]["answer"] == "a"
    again = lmconf.dspy.load(dspy.Predict("question -> answer"), tmp_path / "without.json", loaded)
    assert again.lm is None


def test_a_name_that_the_profile_lacks_changes_nothing(
    loaded: lmconf.Profile, server: Loopback, tmp_path: Path
) -> None:
    program = Two()
    program.set_lm(loaded["slow"].as_dspy())
    program.draft.predict.demos = [dspy.Example(question="q", answer="a")]
    file = tmp_path / "program.json"
    program.save(file)
    fewer = profile(server)
    del fewer["lms"]["slow"]
    again = Two()
    with pytest.raises(lmconf.ProfileError, match="no LM named `slow`"):
        lmconf.dspy.load(again, file, fewer)
    assert again.draft.predict.demos == []
    with pytest.raises(lmconf.UsageError, match="json"):
        lmconf.dspy.load(again, tmp_path / "program.pkl", loaded)


def test_an_lm_given_another_model_is_not_taken_for_the_profiles(
    loaded: lmconf.Profile, server: Loopback, tmp_path: Path
) -> None:
    file = tmp_path / "program.json"
    program = dspy.Predict("question -> answer")
    program.set_lm(loaded["slow"].as_dspy(num_retries=1, temperature=0.2))
    program.save(file)
    lmconf.dspy.load(dspy.Predict("question -> answer"), file, loaded)
    program.set_lm(loaded["slow"].as_dspy(model="openai/other", api_key="").copy(seed=1))
    program.save(file)
    with pytest.raises(lmconf.UsageError, match="another model"):
        lmconf.dspy.load(dspy.Predict("question -> answer"), file, loaded)
    again = dspy.Predict("question -> answer")
    again.load(file, allow_unsafe_lm_state=True)
    assert again.lm.model == "openai/other"
    assert again.lm.dump_state() == program.lm.dump_state()
    other = lmconf.dspy.load(dspy.Predict("question -> answer"), file, program.lm.source)
    assert other.lm.source is program.lm.source


@pytest.mark.parametrize(
    "settings",
    [
        {"api_base": "http://127.0.0.1:9/v1"},
        {"headers": {"X": "y"}},
        {"transport": "mine"},
        {"cache": {"store": {"backend": "disk", "path": "/tmp/x"}}},
        {"user": {"$env": "FAST_KEY"}},
        {"extra": {"a": [{"$file": "/etc/passwd"}]}},
    ],
)
def test_a_file_steers_answers_and_nothing_else(
    settings: dict[str, Any], loaded: lmconf.Profile, tmp_path: Path
) -> None:
    program = dspy.Predict("question -> answer")
    program.set_lm(loaded["slow"].as_dspy())
    file = tmp_path / "program.json"
    program.save(file)
    state = json.loads(file.read_text())
    state["lm"]["lmconf"]["settings"] = settings
    file.write_text(json.dumps(state))
    with pytest.raises(lmconf.UsageError, match="state it in the profile"):
        lmconf.dspy.load(dspy.Predict("question -> answer"), file, loaded)


def test_dspys_own_loading_asks_for_trust_and_then_rebuilds_the_lm(
    loaded: lmconf.Profile, server: Loopback, tmp_path: Path
) -> None:
    program = dspy.Predict("question -> answer")
    program.set_lm(loaded["fast"].as_dspy(temperature=0.4))
    file = tmp_path / "program.json"
    program.save(file)
    with pytest.raises(ValueError, match="allow_unsafe_lm_state"):
        dspy.Predict("question -> answer").load(file)
    again = dspy.Predict("question -> answer")
    again.load(file, allow_unsafe_lm_state=True)
    assert again.lm.source == loaded["fast"]
    assert again.lm.kwargs["temperature"] == 0.4
    assert again.lm.dump_state() == program.lm.dump_state()
    again.lm("Hello")
    assert server.received[-1].header("authorization") == f"Bearer {SECRET}"


# Copies


def test_a_copy_shares_the_lm_and_nothing_that_changes(lm: lmconf.LM, server: Loopback) -> None:
    adapted = lm.as_dspy()
    adapted("Hello")
    for copied in (adapted.copy(), copy.copy(adapted).copy(), copy.deepcopy(adapted)):
        assert isinstance(copied, dspy.LM)
        assert copied.source is lm
        copied.kwargs["temperature"] = 0.9
        copied.callbacks.append(object())
        copied.history.append(object())
    assert adapted.kwargs["temperature"] == 0.0
    assert adapted.callbacks == []
    assert len(adapted.history) == 1
    assert adapted.copy().history == []


def test_a_copy_of_another_model_is_another_lm(loaded: lmconf.Profile) -> None:
    adapted = loaded["slow"].as_dspy(temperature=0.3)
    other = adapted.copy(model="openai/huge", api_key="", seed=3)
    assert other.model == other.source.spec.model == "openai/huge"
    assert (other.kwargs["temperature"], other.kwargs["seed"]) == (0.3, 3)
    assert adapted.model == "openai/large"
    with pytest.raises(lmconf.ProfileError, match="belongs to openai"):
        loaded["fast"].as_dspy().copy(model="anthropic/claude-3-opus-20240229")


def test_a_copy_keeps_what_was_said_of_the_cache(lm: lmconf.LM, server: Loopback) -> None:
    def asked(adapted: Any) -> int:
        server.received.clear()
        adapted("Hello")
        adapted("Hello")
        return len(server.received)

    off = lm.as_dspy(cache=False)
    assert asked(off) == 2
    assert asked(off.copy(seed=1)) == 2
    assert asked(off.copy(num_retries=1)) == 2
    assert asked(off.copy(num_retries=1, cache=True, seed=2)) == 1
    assert asked(lm.as_dspy(cache={"mode": "disabled"})) == 2
    assert asked(lm.copy(cache=False).as_dspy()) == 2
    assert asked(lm.copy(cache=False).as_dspy().copy(num_retries=1)) == 2


def test_a_pickled_lm_is_the_same_without_history_or_secrets(
    loaded: lmconf.Profile, server: Loopback
) -> None:
    adapted = loaded["fast"].as_dspy(temperature=0.4, rollout_id=2)
    adapted("Hello")
    again = pickle.loads(pickle.dumps(adapted))
    assert again.source == adapted.source
    assert again.kwargs == adapted.kwargs
    assert again.history == []
    assert again("Hello") == ["Hello."]
    assert len(server.received) == 1


# Optimisers


def trainset() -> list[Any]:
    pairs = {"one": "1", "two": "2", "three": "3"}
    return [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in pairs.items()]


def numbers(received: Received) -> Reply:
    asked = received.json["messages"][-1]["content"]
    return answers(answer=next(e.answer for e in trainset() if e.question in asked))


def right(example: Any, prediction: Any, trace: Any = None) -> bool:
    return bool(example.answer == prediction.answer)


def test_bootstrapping_finds_demonstrations_in_new_rollouts(
    lm: lmconf.LM, server: Loopback
) -> None:
    """Each round after the first asks with a rollout of its own, which no cache may answer."""
    server.script = numbers
    tries: dict[str, int] = {}

    def late(example: Any, prediction: Any, trace: Any = None) -> bool:
        tries[example.question] = tries.get(example.question, 0) + 1
        return tries[example.question] >= 3

    optimiser = dspy.BootstrapFewShot(metric=late, max_bootstrapped_demos=2, max_rounds=3)
    with dspy.context(lm=lm.as_dspy()):
        compiled = optimiser.compile(dspy.Predict("question -> answer"), trainset=trainset())
    assert len(compiled.demos) >= 2
    assert len(server.received) == sum(tries.values())
    temperatures = [received.json["temperature"] for received in server.received]
    assert set(temperatures) == {0.0, 1.0}


@pytest.mark.parametrize("kind", ["BestOfN", "Refine"])
def test_the_best_of_several_rollouts_is_taken(kind: str, lm: lmconf.LM, server: Loopback) -> None:
    server.answers(answers(answer="bad"), answers(answer="worse"), answers(answer="good"))
    module = getattr(dspy, kind)(
        module=dspy.Predict("question -> answer"),
        N=3,
        reward_fn=lambda inputs, prediction: float(prediction.answer == "good"),
        threshold=1.0,
        **({"fail_count": 3} if kind == "Refine" else {}),
    )
    with dspy.context(lm=lm.as_dspy()):
        if kind == "BestOfN":
            assert module(question="?").answer == "good"
            assert len(server.received) == 3
            assert module(question="?").answer == "good"
            assert len(server.received) == 3, "each rollout is kept"
        else:
            # Between its rollouts it asks for advice; what the server says is none.
            module(question="?")
            assert len(server.received) >= 3


def test_instructions_are_proposed_several_at_once(lm: lmconf.LM, server: Loopback) -> None:
    def propose(received: Received) -> Reply:
        if "proposed_instruction" not in received.text:
            return numbers(received)
        said = marked(proposed_instruction="Count.", proposed_prefix_for_output_field="Number:")
        response = chat(said)
        response["choices"] *= received.json["n"]
        return Reply(json=response)

    server.script = propose
    optimiser = dspy.COPRO(metric=right, breadth=3, depth=1)
    options = {"num_threads": 2, "display_progress": False}
    with dspy.context(lm=lm.as_dspy()):
        compiled = optimiser.compile(
            dspy.Predict("question -> answer"), trainset=trainset(), eval_kwargs=options
        )
        assert compiled(question="two").answer == "2"
    asked = [received.json for received in server.received if "proposed" in received.text]
    assert [(body["n"], body["temperature"]) for body in asked] == [(2, 1.4)]


def test_a_random_search_with_threads_scores_its_candidates(
    lm: lmconf.LM, server: Loopback
) -> None:
    server.script = numbers
    search = dspy.BootstrapFewShotWithRandomSearch(
        metric=right,
        max_bootstrapped_demos=1,
        max_labeled_demos=1,
        num_candidate_programs=2,
        num_threads=2,
    )
    with dspy.context(lm=lm.as_dspy()):
        compiled = search.compile(dspy.Predict("question -> answer"), trainset=trainset())
        assert compiled(question="two").answer == "2"
