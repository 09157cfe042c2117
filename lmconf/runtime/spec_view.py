"""What an LM shows of itself: the fields of its spec, its history and its usage."""

from __future__ import annotations

from typing import Any, TextIO

from lmconf.runtime.history import History, print_history
from lmconf.runtime.usage import Tally, Usage
from lmconf.schema.declaration import fields
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LMSpec
from lmconf.spec.rules.consistency import kind_of

__all__ = ["SpecViewMixin"]


class SpecViewMixin:
    """How an LM shows its spec, each field of which is an attribute that nobody may set."""

    _compiled: CompiledLM
    _spec: LMSpec
    _history: History
    _tally: Tally

    @property
    def spec(self) -> LMSpec:
        """The frozen spec: everything that a profile can say of this LM."""
        return self._spec

    @property
    def name(self) -> str:
        """The LM's name in the profile, or its model."""
        return self._compiled.name

    @property
    def kwargs(self) -> dict[str, Any]:
        """The generation settings by the names under which they are sent, as `dspy.LM.kwargs`."""
        from lmconf.runtime.request import kwargs_of

        return kwargs_of(self._spec)

    @property
    def history(self) -> History:
        """The last calls of this LM, oldest first."""
        return self._history

    @property
    def usage(self) -> Usage:
        """The usage of all calls of this LM; copies count their own."""
        return self._tally.total

    def infer_provider(self) -> str | None:
        """Return the kind of launcher or trainer that this LM is for; None for neither.

        It is stated as `provider` or `launch_kwargs.use`, and follows from the model where both are
        left out.
        """
        return kind_of(self._spec)

    def inspect_history(self, n: int = 1, file: TextIO | None = None) -> None:
        """Print the last calls.

        Args:
            n: how many; 0 or less prints none.
            file: where to print them; standard output by default.
        """
        print_history(self._history[-n:] if n > 0 else [], file)

    def __getattr__(self, name: str) -> Any:
        """Return the field `name` of the spec."""
        if name.startswith("_") or name not in fields(LMSpec):
            raise AttributeError(f"an LM has no attribute {name!r}")
        return getattr(self._spec, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute that is no setting: a spec is frozen, and calls go by it.

        Raises:
            AttributeError: `name` is a field of the spec.
        """
        if not name.startswith("_") and name in fields(LMSpec):
            raise AttributeError(f"an LM is immutable: use lm.copy({name}=…)")
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *fields(LMSpec)})

    def __repr__(self) -> str:
        suffix = f", name={self.name!r}" if self.name != self._spec.model else ""
        return f"LM({self._spec.model!r}{suffix})"

    def __eq__(self, other: object) -> bool:
        """Say whether two LMs have equal specs; names, histories and secrets are not compared."""
        return self._spec == other._spec if isinstance(other, SpecViewMixin) else NotImplemented

    def __hash__(self) -> int:
        return hash((self._spec.model, self._spec.model_type))
