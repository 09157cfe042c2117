"""Fine-tuning: the kinds of trainers there are, their data, and the jobs that outlive a process."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import NotCarriedOut, UsageError
from lmconf.trainers.specs import TRAINER_NAMES, TrainSpec
from lmconf.trainers.trainer_protocol import Trainer

__all__ = ["GROUP", "KINDS", "TrainSpec", "Trainer", "is_known", "register_trainer", "trainer"]

KINDS: dict[str, str] = {
    "openai": "lmconf.trainers.openai",
    "local": "lmconf.trainers.local",
    "command": "lmconf.trainers.command",
}
"""The built-in kinds that can train, and the module whose `TRAINER` does."""

GROUP = "lmconf.trainers"
"""The entry points by which a package brings a trainer: a class or a function that makes one."""

# What an application registers holds for the process, as the modules that it imports do.
_REGISTERED: dict[str, Callable[[], object]] = {}


def register_trainer(name: str, factory: Callable[[], object]) -> None:
    """Register a kind of trainer for `train_kwargs: {use: <name>}` in profiles.

    Args:
        name: letters, digits, `_` and `-`.
        factory: a class or function that is called without arguments and returns a `Trainer`.

    Raises:
        UsageError: the name is not valid, is a built-in kind or belongs to another factory, or
            the factory is not callable.
    """
    if not name.replace("-", "_").isidentifier():
        raise UsageError(f"`{name}` is not a name: letters, digits, `_` and `-`")
    if name in TRAINER_NAMES:
        raise UsageError(f"`{name}` is a built-in kind of trainer: choose another name")
    if not callable(factory):
        raise UsageError(
            f"the trainer `{name}` must be given as a class or a function that makes it, not as an"
            f" object of the type {type(factory).__name__}"
        )
    if _REGISTERED.setdefault(name, factory) is not factory:
        raise UsageError(f"a trainer is already registered as `{name}`")


def names() -> tuple[str, ...]:
    """Return every kind that may be named: lmconf's own, those registered and those installed."""
    return tuple(dict.fromkeys((*TRAINER_NAMES, *_REGISTERED, *_installed_names())))


def is_known(name: str) -> bool:
    """Say whether there is a trainer of the kind `name`; nothing is imported."""
    return name in TRAINER_NAMES or name in _REGISTERED or name in _installed_names()


def trainer(kind: str) -> Trainer:
    """Return the trainer of `kind`; what a package brings is imported now.

    Raises:
        NotCarriedOut: this version has no such trainer yet.
        UsageError: there is no such kind.
    """
    if kind in KINDS:
        return cast("Trainer", import_module(KINDS[kind]).TRAINER)
    if kind in _REGISTERED:
        return cast("Trainer", _REGISTERED[kind]())
    if kind in _installed_names():
        from importlib.metadata import entry_points

        (point, *_) = entry_points(group=GROUP, name=kind)
        return cast("Trainer", point.load()())
    if kind in TRAINER_NAMES:
        raise NotCarriedOut(
            f"this version of lmconf has no `{kind}` trainer yet",
            help=f"use `train_kwargs.use: {'` or `'.join(KINDS)}`",
        )
    near = did_you_mean(kind, names())
    hint = f"did you mean {near!r}?" if near else f"there are {', '.join(names())}"
    raise UsageError(f"there is no trainer of the kind {kind!r}; {hint}")


def _installed_names() -> tuple[str, ...]:
    from importlib.metadata import entry_points  # it takes 20 ms

    return tuple(dict.fromkeys(point.name for point in entry_points(group=GROUP)))
