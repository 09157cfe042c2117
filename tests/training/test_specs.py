"""What a profile says of a training is checked when it is loaded."""

from __future__ import annotations

from typing import Any

import pytest

import lmconf
from lmconf.schema.declaration import fields
from lmconf.spec.rules.training import trainer_of
from lmconf.trainers.local import SETTINGS
from lmconf.trainers.specs import TrainSpec


def refused(train_kwargs: dict[str, Any], model: str = "openai/gpt-4o-mini", **more: Any) -> str:
    with pytest.raises(lmconf.ProfileError) as caught:
        lmconf.LM(model, train_kwargs=train_kwargs, **more)
    return str(caught.value)


def test_an_unknown_argument_is_refused_with_the_nearest_one() -> None:
    assert "did you mean `n_epochs`?" in refused({"n_epoch": 3})


def test_an_argument_of_another_kind_is_a_contradiction() -> None:
    told = refused({"lora": 8})
    assert "`lora` belongs to `use: local`, not to `use: openai`" in told
    assert "`poll` belongs to `use: openai`, not to `use: local`" in refused(
        {"poll": "5s"}, provider="local"
    )
    assert "`args` is for trainers of your own" in refused({"use": "local", "args": {"a": 1}})


def test_contradictions_and_what_is_missing_are_told() -> None:
    told = refused({"use": "local", "max_steps": 3, "n_epochs": 3})
    assert "`max_steps` and `n_epochs` both set the length" in told
    assert "`use: command` needs the command" in refused({"use": "command"})
    assert "did you mean `command`?" in refused({"use": "comand"})


def test_a_kind_that_cannot_train_yet_is_told_at_load_where_it_is_asked_for() -> None:
    told = "this version of lmconf cannot train with `use: databricks`"
    assert told in refused({"use": "databricks"}, "databricks/dbrx")
    assert told in refused({"timeout": "1h"}, "databricks/dbrx", provider="databricks")
    # `defaults` may state arguments for LMs that are trained elsewhere.
    lmconf.LM("databricks/dbrx", train_kwargs={"n_epochs": 3})


def test_a_model_of_another_provider_is_not_trained_with_this_ones_key() -> None:
    with pytest.raises(lmconf.ProfileError, match="address and key are those of `anthropic`"):
        lmconf.LM("anthropic/claude-3-opus-20240229", finetuning_model="openai/gpt-4o-mini")
    lmconf.LM("openai/a", finetuning_model="./weights", launch_kwargs={"use": "llama_cpp"})


def test_a_literal_secret_is_refused() -> None:
    lm = lmconf.LM("openai/a", train_kwargs={"use": "local", "env": {"HF_TOKEN": "literal-x"}})
    assert "literal-x" not in repr(lm.spec) + repr(lm.dump_state())


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"model": "openai/gpt-4o-mini"}, "openai"),
        ({"model": "azure/prod"}, "openai"),
        ({"model": "anthropic/claude-3-opus-20240229"}, None),
        ({"model": "anthropic/x", "finetuning_model": "openai/gpt-4o-mini"}, "openai"),
        ({"model": "openai/a", "finetuning_model": "b"}, "openai"),
        ({"model": "openai/a", "launch_kwargs": {"use": "llama_cpp"}}, "local"),
        ({"model": "openai/a", "provider": "sglang"}, "local"),
        ({"model": "openai/a", "train_kwargs": {"weights": "./a"}}, "local"),
        ({"model": "openai/a", "provider": "local"}, "local"),
        ({"model": "openai/a", "provider": "local", "train_kwargs": {"use": "openai"}}, "openai"),
    ],
)
def test_the_kind_of_trainer_is_inferred(data: dict[str, Any], kind: str | None) -> None:
    assert trainer_of(data) == kind


def test_every_field_is_for_all_kinds_or_is_said_to_belong_to_some() -> None:
    for_all = {name for name, field in fields(TrainSpec).items() if not field.kinds}
    assert for_all == {"use", "timeout"}


def test_what_is_stated_for_a_training_on_this_machine_reaches_it() -> None:
    apart = {"weights", "lora", "validation_data", "env"}  # of which something else is made
    stated = {name for name, field in fields(TrainSpec).items() if "local" in field.kinds}
    assert set(SETTINGS) == stated - apart


def test_an_lm_that_nothing_trains_says_so() -> None:
    with pytest.raises(lmconf.TrainError, match=r"add `train_kwargs: \{use: …\}`"):
        lmconf.LM("anthropic/claude-3-opus-20240229").finetune([])
    with pytest.raises(lmconf.NotCarriedOut, match="no `databricks` trainer yet"):
        lmconf.LM("databricks/dbrx").finetune([])
