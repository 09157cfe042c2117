"""Which trainer an LM is fine-tuned by, and whether what is said of the training fits it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmconf import trainers
from lmconf.providers.catalogue import provider_of, record_of
from lmconf.schema.check import Fault
from lmconf.schema.declaration import fields
from lmconf.schema.fault import unknown_kind
from lmconf.spec.rules.fields import is_launcher, is_trainer
from lmconf.trainers.specs import TRAINER_NAMES, TrainSpec

__all__ = ["check_training", "complete_training", "trainer_of"]

Data = Mapping[str, Any]


def trainer_of(data: Data) -> str | None:
    """Return the kind of trainer that the LM with the fields `data` is for, None for none.

    It is what `train_kwargs.use` says, or `provider`; else `local` where the weights are on this
    machine, and else the model's own provider where that one trains.
    """
    training = data.get("train_kwargs")
    block: Data = training if isinstance(training, Mapping) else {}
    if "use" in block:
        return block["use"] if isinstance(block["use"], str) else None
    provider = data.get("provider")
    if is_trainer(provider):
        return str(provider)
    if block.get("weights") or data.get("launch_kwargs") or is_launcher(provider):
        return "local"
    own = _provider(data.get("finetuning_model")) or _provider(data.get("model"))
    return record_of(own).trainer


def _provider(model: object) -> str:
    return provider_of(model)[0] if isinstance(model, str) else ""


def complete_training(data: Data) -> dict[str, Any]:
    """Return the stated `train_kwargs` of `data` with the kind of trainer that they are for.

    A kind that cannot train yet, and was only inferred, is not written down as if it had been said.
    """
    block = dict(data["train_kwargs"])
    kind = trainer_of(data)
    if block and kind is not None and (_is_carried_out(kind) or data.get("provider") == kind):
        block.setdefault("use", kind)
    return block


def _is_carried_out(kind: str) -> bool:
    return kind in trainers.KINDS or kind not in TRAINER_NAMES


def check_training(data: Data) -> Iterator[Fault]:
    """Yield what is wrong with the training of one LM, whose fields are right each by itself."""
    yield from _check_trained_model(data)
    block = data.get("train_kwargs")
    if not isinstance(block, Mapping) or not block:
        return
    kind = trainer_of(data)
    if kind is None:
        return  # arguments that `defaults` state for other LMs: whoever trains is told
    if kind not in trainers.REGISTRY.names():
        yield unknown_kind(trainers.REGISTRY.unknown(kind), ("train_kwargs", "use"))
        return
    if not _is_carried_out(kind):
        yield from _check_carried_out(data, block, kind)
        return
    yield from _check_keys(block, kind)
    if kind == "command" and "command" not in block:
        yield Fault(
            "missing-key",
            ("train_kwargs",),
            "`use: command` needs the command",
            help='add `command: ["./train.sh", "{data}", "{output}"]`',
            at_key=True,
        )
    if block.get("n_epochs") is not None and block.get("max_steps") is not None:
        yield Fault(
            "contradiction",
            ("train_kwargs", "max_steps"),
            "`max_steps` and `n_epochs` both set the length of the training",
            help="leave one of them out",
            at_key=True,
        )


def _check_carried_out(data: Data, block: Data, kind: str) -> Iterator[Fault]:
    """Yield a fault where a kind that cannot train yet was asked for, not only inferred."""
    is_explicit = "use" in block
    if is_explicit or data.get("provider") == kind:
        yield Fault(
            "not-carried-out",
            ("train_kwargs", "use") if is_explicit else ("train_kwargs",),
            f"this version of lmconf cannot train with `use: {kind}`",
            help=f"use `{'`, `'.join(trainers.KINDS)}` or a trainer of your own, or leave"
            " `train_kwargs` out",
            at_key=not is_explicit,
        )


def _check_trained_model(data: Data) -> Iterator[Fault]:
    """Yield a fault where what is trained is another provider's than what the LM's key is for.

    Azure has the models of OpenAI, and they may be called so.
    """
    provider, own = _provider(data.get("finetuning_model")), _provider(data.get("model"))
    same = provider in (own, "") or not own or (own, provider) == ("azure", "openai")
    if not same and trainer_of(data) == "openai":
        yield Fault(
            "contradiction",
            ("finetuning_model",),
            f"`finetuning_model` is a model of `{provider}`, and the LM's address and key are those"
            f" of `{own}`",
            help=f"name a model of `{own}`, or train an LM whose `model` is one of `{provider}`",
        )


def _check_keys(block: Data, kind: str) -> Iterator[Fault]:
    """Yield a fault for each key that is for trainers of other kinds."""
    defaults = fields(TrainSpec)
    for name, value in block.items():
        kinds = defaults[name].kinds
        if not kinds or kind in kinds or value == defaults[name].default:
            continue
        if kinds == ("*",):
            if kind not in trainers.KINDS:
                continue
            message = f"`{name}` is for trainers of your own, not for `use: {kind}`"
        else:
            uses = " and ".join(f"`use: {each}`" for each in kinds)
            message = f"`{name}` belongs to {uses}, not to `use: {kind}`"
        fitting = [each for each, field in defaults.items() if kind in (field.kinds or (kind,))]
        yield Fault(
            "contradiction",
            ("train_kwargs", name),
            message,
            help=f"leave it out; `use: {kind}` knows {', '.join(fitting[1:])}",
            at_key=True,
        )
