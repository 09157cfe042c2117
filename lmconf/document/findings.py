"""The diagnostics of one document, and the end of looking for more.

A short text can hold very many mistakes: what one block says wrong, every LM that inherits it says
wrong, too. Nobody reads thousands, and finding them costs time that its author does not pay.
"""

from __future__ import annotations

from collections.abc import Iterable

from lmconf.diagnostics.model import Diagnostic
from lmconf.diagnostics.render import sameness

__all__ = ["MOST_ERRORS", "Enough", "Findings"]

MOST_ERRORS = 200
"""The most errors that are looked for in a document."""
_MOST_REPEATED = 10 * MOST_ERRORS


class Enough(Exception):
    """A document is not looked at any further; `diagnostic` says why."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class Findings(list[Diagnostic]):
    """A list of diagnostics that ends the search when it holds very many errors.

    Errors that say the same of the same place count as one, until they are too many, too. Whoever
    adds the last of them gets `Enough`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._different: set[object] = set()
        self._all = 0

    def append(self, diagnostic: Diagnostic, /) -> None:
        """Add `diagnostic`.

        Raises:
            Enough: there are as many errors now as are looked for.
        """
        super().append(diagnostic)
        if diagnostic.severity != "error":
            return
        self._all += 1
        self._different.add(sameness(diagnostic))
        if len(self._different) >= MOST_ERRORS or self._all >= _MOST_REPEATED:
            raise Enough(
                Diagnostic(
                    code="too-many-mistakes",
                    message="the check stopped here: there may be more mistakes",
                    help="fix these, and check again",
                )
            )

    def extend(self, diagnostics: Iterable[Diagnostic], /) -> None:
        """Add each of `diagnostics`, which are taken one by one."""
        for diagnostic in diagnostics:
            self.append(diagnostic)

    def __iadd__(self, diagnostics: Iterable[Diagnostic], /) -> Findings:  # type: ignore[misc,override]
        self.extend(diagnostics)
        return self
