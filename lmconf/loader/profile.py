"""`Profile`: the live LMs of one compiled profile, and reloading it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

from lmconf.compiler.pipeline import CompiledProfile
from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import ProfileError, UsageError
from lmconf.runtime import LM, Tally, Usage
from lmconf.spec.profile import ProfileSpec
from lmconf.spec.state import Style, dump_profile
from lmconf.system.fork import Mutex
from lmconf.system.tracebacks import hide_frames

__all__ = ["Profile"]


class Profile:
    """LMs by name: `profile["gpt"]` is an `LM`, made when it is first asked for.

    Two profiles are equal when their specs are. A profile is a context manager: leaving it closes
    its LMs.
    """

    def __init__(
        self, compiled: CompiledProfile, again: Callable[[], CompiledProfile] | None = None
    ) -> None:
        self._compiled = compiled
        self._again = again
        self._live: dict[str, LM] = {}
        self._lock = Mutex()
        self._tally = Tally()

    @property
    def name(self) -> str:
        """What messages call the profile."""
        return self._compiled.name

    @property
    def spec(self) -> ProfileSpec:
        """The frozen spec: what `dump_state` writes."""
        return self._compiled.spec

    @property
    def lm(self) -> LM:
        """The main LM.

        Raises:
            ProfileError: the profile has several LMs and does not say which is its `main`.
        """
        main = self.spec.main
        if main is None:
            raise ProfileError(
                [
                    Diagnostic(
                        code="no-main",
                        message=f"`{self.name}` has several LMs and no `main`",
                        help=f"name one, as `{self.name}:{next(iter(self))}`, or add `main: …`",
                    )
                ]
            )
        return self[main]

    @property
    def usage(self) -> Usage:
        """What the calls of its LMs and of their copies have used in all, since it was loaded."""
        return self._tally.total

    @hide_frames
    def __getitem__(self, name: str) -> LM:
        if not isinstance(name, str):
            raise UsageError(f"profile[…] takes the name of an LM, not {type(name).__name__}")
        with self._lock:
            live = self._live.get(name)
            # Whoever closed an LM is done with it; whoever asks for it next wants one that works.
            if live is None or live.closed:
                if name not in self._compiled.lms:
                    raise self._no_lm(name)
                live = self._live[name] = LM.of(
                    self._compiled.lms[name], self._tally, self._name_finder()
                )
            return live

    def _name_finder(self) -> Callable[[str], LM | None]:
        """Return what knows the LMs here by name, and does not keep this profile alive."""
        alive = weakref.ref(self)

        def find(name: str) -> LM | None:
            profile = alive()
            return profile[name] if profile is not None and name in profile else None

        return find

    def _no_lm(self, name: str) -> ProfileError:
        near = did_you_mean(name, self._compiled.lms)
        names = ", ".join(self._compiled.lms)
        return ProfileError(
            [
                Diagnostic(
                    code="unknown-lm",
                    message=f"`{self.name}` has no LM named `{name}`",
                    help=f"did you mean `{near}`?" if near else f"it has: {names}",
                )
            ]
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._compiled.lms)

    def __len__(self) -> int:
        return len(self._compiled.lms)

    def __contains__(self, name: object) -> bool:
        return name in self._compiled.lms

    @hide_frames
    def place(self, lm: str, *path: str | int) -> Mark | None:
        """Return the place in the profile's files of a value of an LM.

        Args:
            lm: the name of the LM.
            path: the keys that lead to the value, such as `"cache", "ttl"`.

        Returns:
            The file, line and column; None for a value that no file states.

        Raises:
            ProfileError: there is no such LM.
        """
        if lm not in self._compiled.lms:
            raise self._no_lm(lm)
        return self._compiled.lms[lm].place(*path)

    @hide_frames
    def dump_state(self, format: Style = "resolved") -> dict[str, Any]:
        """Return the profile as plain data, composed and rendered: a self-contained document.

        Secrets stay references.

        Args:
            format: `resolved` has every value that has an effect, so that later defaults change
                nothing; `minimal` has only what the profile states.
        """
        return dump_profile(self.spec, self._compiled.stated, format)

    @hide_frames
    def reload(self) -> None:
        """Read the files anew and swap the LMs in once everything is valid.

        Specs that did not change keep their live LM, with its history. On an error nothing
        changes.

        Raises:
            ProfileError: the files are not valid now.
            UsageError: the profile does not come from a name, file or mapping.
        """
        if self._again is None:
            raise UsageError("this profile was made from a state: there is nothing to reload")
        fresh = self._again()
        with self._lock:
            lms: dict[str, LM] = {}
            for name, lm in self._live.items():
                after = fresh.lms.get(name)
                if after is not None and after.spec == lm.spec:
                    lms[name] = lm
            stale = [lm for name, lm in self._live.items() if name not in lms]
            self._compiled, self._live = fresh, lms
        for lm in stale:
            lm.close()

    @hide_frames
    def close(self) -> None:
        """Close every LM that was made: connections, and servers that were started."""
        for lm in self._all_taken():
            lm.close()

    @hide_frames
    async def aclose(self) -> None:
        """Close every LM as `close` does, and wait for the connections of this event loop."""
        for lm in self._all_taken():
            await lm.aclose()

    def _all_taken(self) -> list[LM]:
        with self._lock:
            live, self._live = list(self._live.values()), {}
        return live

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Profile:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    def __eq__(self, other: object) -> bool:
        return self.spec == other.spec if isinstance(other, Profile) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.spec)

    def __repr__(self) -> str:
        return f"<lmconf.Profile {self.name}: {', '.join(self)}>"
