"""Fine-tuning: the kinds of trainers there are, their data, and the jobs that outlive a process."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from lmconf.errors import NotCarriedOut, UsageError
from lmconf.system.registry import Registry, import_attribute, require_methods
from lmconf.trainers.specs import TRAINER_NAMES, TrainSpec
from lmconf.trainers.trainer_protocol import Trainer

__all__ = [
    "KINDS",
    "REGISTRY",
    "TrainSpec",
    "Trainer",
    "register_trainer",
    "trainer",
    "unregister_trainer",
]

KINDS: dict[str, str] = {
    "openai": "lmconf.trainers.openai",
    "local": "lmconf.trainers.local",
    "command": "lmconf.trainers.command",
}
"""The built-in kinds that can train, and the module whose `TRAINER` does."""

REGISTRY = Registry(
    "trainer",
    TRAINER_NAMES,
    resolve=import_attribute,
    check=require_methods("check", "advance", "resume", "cancel"),
)


def register_trainer(name: str, factory: Callable[[], object]) -> None:
    """Register a kind of trainer for `train_kwargs: {use: <name>}` in profiles.

    Args:
        name: letters, digits, `_` and `-`.
        factory: a class or function that is called without arguments and returns a `Trainer`.

    Raises:
        UsageError: the name is not valid, is a built-in kind or belongs to another factory, or
            the factory is not callable.
    """
    REGISTRY.register(name, factory)


def unregister_trainer(name: str) -> None:
    """Remove a registered trainer.

    Args:
        name: the trainer's name. A name that is not registered has no effect.
    """
    REGISTRY.unregister(name)


def trainer(kind: str) -> Trainer:
    """Return the trainer of `kind`; what a package brings is imported now.

    Raises:
        NotCarriedOut: this version has no such trainer yet.
        UsageError: there is no such kind, or it cannot be imported.
    """
    if kind in KINDS:
        return cast("Trainer", import_module(KINDS[kind]).TRAINER)
    if kind in TRAINER_NAMES:
        raise NotCarriedOut(
            f"this version of lmconf has no `{kind}` trainer yet",
            help=f"use `train_kwargs.use: {'` or `'.join(KINDS)}`",
        )
    made = REGISTRY.make(kind)
    if made is None:
        raise UsageError(str(REGISTRY.unknown(kind)))
    return cast("Trainer", made)
