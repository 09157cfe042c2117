"""`LM`: a language model that can be called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from lmconf.errors import CallError, Closed
from lmconf.providers.catalogue import provider_of
from lmconf.runtime.answer import Answer
from lmconf.runtime.batch import BatchMixin
from lmconf.runtime.call import Call, Next, Steps, warn_if_truncated
from lmconf.runtime.capabilities import CapabilitiesMixin
from lmconf.runtime.driver import adrive, drive
from lmconf.runtime.error_context import add_context
from lmconf.runtime.history import History
from lmconf.runtime.layers import compose_for
from lmconf.runtime.lazy_transport import LazyTransport
from lmconf.runtime.lifecycle import LifecycleMixin
from lmconf.runtime.messages import Messages, as_messages
from lmconf.runtime.related import Named, RelatedLMs, Role
from lmconf.runtime.resources import LMResources
from lmconf.runtime.server import LaunchedServer
from lmconf.runtime.spec_view import SpecViewMixin
from lmconf.runtime.stream import AsyncStream, Stream
from lmconf.runtime.usage import Tally
from lmconf.spec import build
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.generation_fields import ModelType
from lmconf.spec.response_format import reader_for_request
from lmconf.spec.state import Style, dump_lm
from lmconf.system.fork import Mutex
from lmconf.system.refcount import ResourceHold
from lmconf.system.tracebacks import hide_frames

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lmconf.spec.keywords import CallSettings, CopySettings, LMSettings

__all__ = ["LM"]


class LM(BatchMixin, SpecViewMixin, LifecycleMixin, CapabilitiesMixin):
    """A language model: its spec, and what it takes to call it.

        lm = LM("openai/gpt-4o-mini", temperature=0.9, max_tokens=3000)
        lm("Say this is a test!")            # ['This is a test!']
        lm.ask("Say this is a test!").usage

    The settings are the fields of a profile's LM, checked as a profile's are. A secret may be
    passed as text; it is kept beside the spec and never shown or dumped. Nothing is opened or
    sent before the first call. One LM may be used from many threads and event loops at once.

    Raises:
        ProfileError: the settings do not fit; every mistake at once.
    """

    _MASKED = True  # its repr shows no secret

    @hide_frames
    def __init__(
        self,
        model: str,
        model_type: ModelType | None = None,
        *,
        name: str | None = None,
        **settings: Unpack[LMSettings],
    ) -> None:
        fields: dict[str, object] = {"model": model, **settings}
        if model_type is not None:
            fields["model_type"] = model_type
        self._set_up(build.make_lm(fields, name=name))

    @classmethod
    def of(
        cls, compiled: CompiledLM, whole: Tally | None = None, lookup: Named | None = None
    ) -> LM:
        """Return the LM that the compiler's `compiled` describes.

        Args:
            compiled: the checked spec, with the places of its values.
            whole: a second tally, to which the usage of the LM and its copies is added.
            lookup: finds the LMs of the profile, which the LM may fall back on.
        """
        return cls._with(compiled, None, None, whole, RelatedLMs(compiled, LM.of, lookup))

    @classmethod
    def _with(
        cls,
        compiled: CompiledLM,
        transport: LazyTransport | None,
        server: LaunchedServer | None,
        whole: Tally | None,
        others: RelatedLMs,
    ) -> LM:
        lm = cls.__new__(cls)
        lm._set_up(compiled, transport, server, whole, others)  # noqa: SLF001 - its own class
        return lm

    def _set_up(
        self,
        compiled: CompiledLM,
        transport: LazyTransport | None = None,
        server: LaunchedServer | None = None,
        whole: Tally | None = None,
        others: RelatedLMs | None = None,
    ) -> None:
        spec = compiled.spec
        self._compiled = compiled
        self._spec = spec
        self._closed = False
        self._lock = Mutex()
        if server is None and spec.launch_kwargs is not None:
            model = provider_of(spec.model)[1]
            server = LaunchedServer(spec.launch_kwargs, model, compiled.given, compiled.name)
        self._server_hold = None if server is None else ResourceHold(server)
        self._transport_hold = ResourceHold(transport or LazyTransport(compiled))
        self._others = ResourceHold(others or RelatedLMs(compiled, LM.of))
        self._resources: LMResources | None = None
        self._layers: Next
        self._history = History(spec.history)
        self._tally = Tally(whole)

    # Calls

    @hide_frames
    def __call__(
        self,
        prompt: str | None = None,
        messages: Messages | None = None,
        **settings: Unpack[CallSettings],
    ) -> list[Any]:
        """Send a prompt and return the completions, one for each of `n`.

        An answer that `max_tokens` truncated is returned with a `TruncatedWarning`.

        Args:
            prompt: the text of one message of the user.
            messages: the messages, in place of a prompt.
            settings: fields of the spec that hold for this call alone.

        Returns:
            Texts. A completion with log probabilities or tool calls is a mapping,
            `{"text": …, "logprobs": …}`.

        Raises:
            UsageError, ProfileError: the arguments are not valid.
            CallError: the call failed; the class states the reason.
        """
        reply = drive(self._steps(prompt, messages, settings))
        warn_if_truncated(reply, depth=4)
        return reply.outputs

    @hide_frames
    def ask(
        self,
        prompt: str | None = None,
        messages: Messages | None = None,
        **settings: Unpack[CallSettings],
    ) -> Answer:
        """Send a prompt and return the answer with its metadata.

            lm.ask("…", response_format=Invoice).parsed

        A `response_format` may be a pydantic model, a msgspec Struct, a dataclass or a TypedDict:
        `parsed` is an object of it then. With a JSON Schema, in a call or in the profile, it is
        data that fits the schema.

        Args:
            prompt: the text of one message of the user.
            messages: the messages, in place of a prompt.
            settings: fields of the spec that hold for this call alone.

        Returns:
            The text and everything else that the response states.

        Raises:
            UsageError, ProfileError, CallError: as for calling the LM.
            BadResponse: the answer does not have the form that `response_format` requires; its
                text is `partial`.
        """
        reply = drive(self._steps(prompt, messages, settings, reading=True))
        answer = reply.in_form()
        warn_if_truncated(reply, depth=4)
        return answer

    @hide_frames
    async def acall(
        self,
        prompt: str | None = None,
        messages: Messages | None = None,
        **settings: Unpack[CallSettings],
    ) -> list[Any]:
        """Send a prompt from an event loop and return the completions, as calling the LM does.

        Args:
            prompt: the text of one message of the user.
            messages: the messages, in place of a prompt.
            settings: fields of the spec that hold for this call alone.

        Returns:
            Texts or mappings, as calling the LM returns.

        Raises:
            UsageError, ProfileError, CallError: as for calling the LM.
        """
        reply = await adrive(self._steps(prompt, messages, settings))
        warn_if_truncated(reply, depth=4)
        return reply.outputs

    @hide_frames
    async def aask(
        self,
        prompt: str | None = None,
        messages: Messages | None = None,
        **settings: Unpack[CallSettings],
    ) -> Answer:
        """Send a prompt from an event loop and return the answer, as `ask` does.

        Args:
            prompt: the text of one message of the user.
            messages: the messages, in place of a prompt.
            settings: fields of the spec that hold for this call alone.

        Returns:
            The answer, as `ask` returns it.

        Raises:
            UsageError, ProfileError, CallError: as for `ask`.
        """
        reply = await adrive(self._steps(prompt, messages, settings, reading=True))
        answer = reply.in_form()
        warn_if_truncated(reply, depth=4)
        return answer

    @hide_frames
    def stream(
        self,
        prompt: str | None = None,
        messages: Messages | None = None,
        **settings: Unpack[CallSettings],
    ) -> Stream:
        """Send a prompt and return the answer as a stream of pieces of text.

        Use the stream in a `with` block, or read it to its end. The request is sent when the first
        piece is read. A stored answer is one piece. `answer` is available at the end.

        Args:
            prompt: the text of one message of the user.
            messages: the messages, in place of a prompt.
            settings: fields of the spec that hold for this call alone.

        Returns:
            An iterator of texts, which is also a context manager.

        Raises:
            UsageError, ProfileError: the arguments are not valid. Reading raises `CallError`.
        """
        steps = self._steps(prompt, messages, settings, stream=True, reading=True)
        return Stream(lambda: drive(steps))

    @hide_frames
    def astream(
        self,
        prompt: str | None = None,
        messages: Messages | None = None,
        **settings: Unpack[CallSettings],
    ) -> AsyncStream:
        """Return the answer as a stream, as `stream` does, for `async with` and `async for`.

        Args:
            prompt: the text of one message of the user.
            messages: the messages, in place of a prompt.
            settings: fields of the spec that hold for this call alone.

        Raises:
            UsageError, ProfileError: the arguments are not valid. Reading raises `CallError`.
        """
        steps = self._steps(prompt, messages, settings, stream=True, reading=True)
        return AsyncStream(lambda: adrive(steps))

    def _steps(
        self,
        prompt: str | None,
        messages: Messages | None,
        settings: CallSettings,
        *,
        stream: bool = False,
        reading: bool = False,
    ) -> Steps:
        """Return what a call takes, for a driver to carry out; with `reading` in its form, too."""
        try:
            sequence = as_messages(prompt, messages)
            parts = self._parts()
            spec = parts.spec_of(settings)
            read = None
            if reading and spec.response_format is not None:
                read = reader_for_request(settings.get("response_format"), spec.response_format)
            call = Call(parts, spec, prompt, sequence, stream, read, settings, parts.dispatcher)
            return self._layers(call)
        except CallError as error:
            add_context(error, self._compiled, self._spec)
            raise

    def _parts(self) -> LMResources:
        """Return the live parts, made by the first call.

        Raises:
            Closed: the LM was closed.
        """
        if self._closed:
            raise Closed("the LM was closed", lm=self.name)
        parts = self._resources
        if parts is None:
            with self._lock:
                parts = self._resources
                if parts is None:
                    parts = LMResources(
                        self._compiled,
                        history=self._history,
                        tally=self._tally,
                        transport=self._transport_hold,
                        server=self._server_hold,
                        others=self._find_related("fallbacks"),
                        members=self._find_related("pool"),
                    )
                    self._layers = compose_for(parts)  # first: whoever finds the parts uses them
                    self._resources = parts
        return parts

    def _find_related(self, role: Role) -> tuple[Callable[[], LMResources], ...]:
        find = self._others.shared.parts
        many = len(self._spec.pool if role == "pool" else self._spec.fallbacks)
        return tuple(functools.partial(find, role, index) for index in range(many))

    # Copies and states

    @hide_frames
    def copy(self, **settings: Unpack[CopySettings]) -> LM:
        """Return a copy of this LM with `settings` changed and an empty history.

        Another `model` resets the settings that belong to the model. A key is never sent to
        another provider or address: pass it again with a `model` or `api_base` that changes it.

        Args:
            settings: fields of the spec, checked with the rest of it.

        Raises:
            ProfileError: the changed LM is not valid.
        """
        compiled = build.change_lm(self._compiled, settings) if settings else self._compiled
        spec = compiled.spec
        transport: LazyTransport | None = self._transport_hold.shared
        if transport is not None and not transport.fits(compiled):
            transport = None
        server = None if self._server_hold is None else self._server_hold.shared
        if server and not server.fits(spec.launch_kwargs, provider_of(spec.model)[1]):
            server = None
        others = self._others.shared
        if not others.fits(compiled):
            others = RelatedLMs(compiled, LM.of, others.lookup)
        return self._with(compiled, transport, server, self._tally.whole, others)

    def __copy__(self) -> LM:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, object]) -> LM:
        return self.copy()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the spec alone: secrets given in code stay behind, and the history with them."""
        compiled = self._compiled
        bare = CompiledLM(
            spec=compiled.spec,
            name=compiled.name,
            stated=compiled.stated,
            profile_budget=compiled.profile_budget,
        )
        return (LM.of, (bare,))

    @hide_frames
    def dump_state(self, format: Style | Literal["dspy"] = "resolved") -> dict[str, Any]:
        """Return this LM as plain data: a document that is complete by itself and loads again.

        References stay references, and no secret is in it.

        Args:
            format: `resolved` writes every value that has an effect, `minimal` what was stated,
                and `dspy` the keyword arguments of `dspy.LM`.
        """
        return dump_lm(self._compiled, style=format)
