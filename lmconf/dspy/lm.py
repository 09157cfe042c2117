"""`AdaptedLM`: an LM of lmconf as a `dspy.LM`.

DSPy asks what it calls an engine with a `dspy.lm15.Request`. Building one from messages refuses
what that type has no place for (a file's name, parameters of one provider) and drops the
rollout's id, so a call with a prompt or messages goes straight to the LM beneath.
"""

from __future__ import annotations

import copy as copying
import datetime
import os
import uuid
from collections.abc import Mapping
from typing import Any

import dspy
from dspy.clients.call_context import stream_emitted
from dspy.clients.engines.streaming import EngineChunk
from dspy.utils.callback import with_callbacks

import lmconf
from lmconf.dspy.call_arguments import GENERATION, CallPlan, changed_settings, own_kwargs
from lmconf.dspy.calls import aask, ask, astream_answer, chunk_of, stream_answer
from lmconf.dspy.engines import TYPED, AsyncEngine, Engine, TypedCall, pop_typed_request
from lmconf.dspy.failures import to_dspy_error
from lmconf.dspy.lm_state import STATE, refuse_secrets, steering_of
from lmconf.dspy.response_shapes import outputs_of, plain, response_of
from lmconf.errors import Error, UsageError
from lmconf.runtime import LM, Answer
from lmconf.schema.declaration import fields
from lmconf.spec.build import spec_for_call
from lmconf.spec.lm import LMSpec
from lmconf.system.tracebacks import hide_frames

__all__ = ["AdaptedLM"]

_CLASS = "lmconf.dspy.lm.AdaptedLM"
_ABILITIES = ("supports_function_calling", "supports_response_schema", "supports_reasoning")


class AdaptedLM(dspy.LM):
    """A `dspy.LM` by what it looks like; who answers is the LM beneath, `source`.

    `kwargs` holds the settings that steer answers, as DSPy's modules and optimisers read and
    change them. What differs from the LM's own goes along with each call.
    """

    # Whatever `cache` says is for the LM beneath: DSPy keeps none of its answers.
    _cache_responses = False

    def __init__(self, lm: LM) -> None:
        spec = lm.spec
        # The real settings follow: DSPy would judge them by rules of its own.
        super().__init__(
            model=spec.model,
            model_type=spec.model_type,
            num_retries=0,
            provider=dspy.clients.provider.Provider(),
            finetuning_model=spec.finetuning_model,
            engine=Engine(lm),
            async_engine=AsyncEngine(lm),
        )
        self.abilities: dict[str, bool] = {}
        self.state_name = lm.name
        self.laid_over: tuple[str, ...] = ()
        self._put(lm)

    @classmethod
    @hide_frames
    def over(cls, lm: LM, settings: Mapping[str, Any]) -> Any:
        """Return `lm` as a `dspy.LM`, with `settings` as `copy` takes them."""
        adapter = cls(lm)
        return adapter.copy(**settings) if settings else adapter

    def _put(self, lm: LM) -> None:
        self._lm = lm
        self._own = own_kwargs(lm)
        self._keeps = lm.spec.cache.mode != "disabled"
        self.kwargs = dict(self._own)
        self.cache = self._keeps

    @property
    def source(self) -> LM:
        """The LM that answers."""
        return self._lm

    # Calls

    @hide_frames
    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Return what the LM answers: texts, mappings, or a `Response` to a typed request."""
        request = pop_typed_request(prompt, kwargs)
        if request is None:
            return self._call(prompt=prompt, messages=messages, **kwargs)
        token = self._enter(kwargs)
        try:
            return super().__call__(request=request, messages=messages, cache=False, **kwargs)
        finally:
            TYPED.reset(token)

    @hide_frames
    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Return what calling the LM returns, from an event loop."""
        request = pop_typed_request(prompt, kwargs)
        if request is None:
            return await self._acall(prompt=prompt, messages=messages, **kwargs)
        token = self._enter(kwargs)
        try:
            return await super().acall(request=request, messages=messages, cache=False, **kwargs)
        finally:
            TYPED.reset(token)

    @with_callbacks
    def _call(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
        plan = self._plan(prompt, messages, kwargs)
        return self._outputs_of(prompt, messages, kwargs, plan, self._ask(plan))

    @with_callbacks
    async def _acall(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
        plan = self._plan(prompt, messages, kwargs)
        return self._outputs_of(prompt, messages, kwargs, plan, await self._aask(plan))

    def _outputs_of(
        self, prompt: Any, messages: Any, kwargs: dict[str, Any], plan: CallPlan, answer: Answer
    ) -> list[Any]:
        """Return DSPy's outputs; note usage and history as DSPy does."""
        response = response_of(answer)
        outputs = outputs_of(response, logprobs=plan.logprobs)
        tracker = dspy.settings.usage_tracker
        if tracker and not answer.cache_hit:
            tracker.add_usage(self.model, dict(answer.usage))
        if not dspy.settings.disable_history:
            entry = {
                "prompt": prompt,
                "messages": messages,
                "kwargs": {key: kwargs[key] for key in kwargs if not key.startswith("api_")},
                "response": response,
                "outputs": outputs,
                "usage": dict(answer.usage),
                "cost": answer.cost,
                "timestamp": datetime.datetime.now().isoformat(),  # noqa: DTZ005 - as DSPy's are
                "uuid": str(uuid.uuid4()),
                "model": self.model,
                "response_model": answer.model,
                "model_type": self.model_type,
                "cache_hit": answer.cache_hit,
            }
            self.update_history(entry)
        return outputs

    def _enter(self, kwargs: dict[str, Any]) -> Any:
        """Take from `kwargs` what DSPy keeps from engines, into the context of this call."""
        settings: dict[str, Any] = {}
        rollout = kwargs.pop("rollout_id", self.kwargs.get("rollout_id"))
        if rollout is not None:
            settings["rollout_id"] = rollout
        cache = kwargs.pop("cache", self.cache)
        if cache != self._keeps:
            settings["cache"] = cache
        return TYPED.set(TypedCall(settings))

    def update_history(self, entry: dict[str, Any]) -> None:
        """Keep `entry`; that of a typed request gets the price and cache hit of this LM's own."""
        call = TYPED.get()
        if entry.get("request") is not None and call is not None and call.answers:
            answer = call.answers[-1]
            entry.pop("cost_details", None)
            entry.update(
                cost=answer.cost,
                cache_hit=answer.cache_hit,
                # The `cache` in it is what this class told DSPy.
                kwargs={
                    **{k: v for k, v in entry["kwargs"].items() if k != "cache"},
                    **call.settings,
                },
            )
        super().update_history(entry)

    def _plan(self, prompt: Any, messages: Any, kwargs: Mapping[str, Any]) -> CallPlan:
        arguments = dict(kwargs)
        cache = arguments.pop("cache", self.cache)
        all_settings = {**self.kwargs, **arguments}
        settings = changed_settings(self._own, all_settings, self._lm)
        if cache != self._keeps:
            settings["cache"] = cache
        return CallPlan(
            prompt=None if messages else prompt,
            messages=plain(messages) or None,
            settings=settings,
            logprobs=bool(all_settings.get("logprobs")),
        )

    def _ask(self, plan: CallPlan) -> Answer:
        stream = dspy.settings.send_stream
        failure: Error
        try:
            if stream is None:
                return ask(self._lm, plan)
            return stream_answer(self._lm, plan, stream, self._show)
        except Error as error:
            failure = to_dspy_error(error, self._lm.spec.model)
        raise failure

    async def _aask(self, plan: CallPlan) -> Answer:
        stream = dspy.settings.send_stream
        failure: Error
        try:
            if stream is None:
                return await aask(self._lm, plan)
            return await astream_answer(self._lm, plan, stream, self._show)
        except Error as error:
            failure = to_dspy_error(error, self._lm.spec.model)
        raise failure

    def _show(self, chunk: dict[str, Any]) -> Any:
        caller = dspy.settings.caller_predict
        item = EngineChunk(chunk_of(chunk, None if caller is None else id(caller)))
        stream_emitted()  # nothing may ask again from here on
        return item

    # What it can do

    @property
    def supports_function_calling(self) -> bool:
        """Whether the model calls tools: as said, else as DSPy's tables have it."""
        return self._ability("supports_function_calling")

    @property
    def supports_response_schema(self) -> bool:
        """Whether the model keeps to a JSON Schema: as said, else as DSPy's tables have it."""
        return self._ability("supports_response_schema")

    @property
    def supports_reasoning(self) -> bool:
        """Whether the model tells what it thinks: as said, else as DSPy's tables have it."""
        return self._ability("supports_reasoning")

    @property
    def supported_params(self) -> set[str]:
        """The parameters that the model takes, by the OpenAI API's names."""
        params = set(self._twin().supported_params)
        if self.abilities.get("supports_response_schema"):
            params.add("response_format")
        if self.abilities.get("supports_function_calling"):
            params |= {"tools", "tool_choice", "parallel_tool_calls"}
        return params

    def _ability(self, name: str) -> bool:
        declaration = self.abilities.get(name)
        return bool(getattr(self._twin(), name)) if declaration is None else declaration

    def _twin(self) -> Any:
        """Return DSPy's own LM of the same model, to be asked what it knows and nothing else."""
        # For the models that it knows from litellm alone: no price list is fetched.
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
        spec = self._lm.spec
        return dspy.LM(spec.base_model or spec.model, model_type=spec.model_type)

    def infer_adapter(self) -> Any:
        """Return the adapter that is set in DSPy, else a `dspy.ChatAdapter`."""
        return self._lm.infer_adapter()

    # Copies

    @hide_frames
    def copy(self, **settings: Any) -> Any:
        """Return a copy with an empty history and `settings` of its own.

        Settings that steer answers (`temperature`, `rollout_id`, `n` …) are laid over this LM's,
        and the LM beneath stays the same; None takes one away. Others (`model`, `api_base` …) make
        another LM beneath, as `lmconf.LM.copy` does.

        Raises:
            ProfileError: the settings do not fit.
        """
        clone: Any = copying.copy(self)
        clone.history = []
        clone.callbacks = list(settings.pop("callbacks", self.callbacks) or [])
        abilities = {name: settings.pop(name) for name in _ABILITIES if name in settings}
        clone.abilities = {**self.abilities, **abilities}
        steering = {name: settings.pop(name) for name in list(settings) if self._steers(name)}
        if isinstance(settings.get("cache"), bool):
            clone.cache = settings.pop("cache")
        before = changed_settings(self._own, self.kwargs, self._lm)
        clone.kwargs = dict(self.kwargs)
        failure: Error | None = None
        try:
            if settings:
                clone.put_beneath(self._lm.copy(**settings), before)
                clone.laid_over = tuple(
                    sorted({*self.laid_over, *filter(_decides_the_model, settings)})
                )
            clone.lay(steering)
        except Error as error:
            failure = to_dspy_error(error, self._lm.spec.model)
        if failure is not None:
            raise failure
        return clone

    def _steers(self, name: str) -> bool:
        return name in GENERATION or name in self._own or name == "max_completion_tokens"

    def put_beneath(self, lm: LM, before: Mapping[str, Any]) -> None:
        """Put another LM beneath, and lay what was changed over its settings."""
        cache = self.cache if self.cache != self._keeps else None
        self._put(lm)
        self.kwargs.update(before)
        if cache is not None:
            self.cache = cache
        self.model, self.model_type = lm.spec.model, lm.spec.model_type
        self._engine_spec, self._async_engine_spec = Engine(lm), AsyncEngine(lm)

    def lay(self, steering: Mapping[str, Any]) -> None:
        """Lay settings that steer answers over this LM's; None takes one away.

        Raises:
            ProfileError, UsageError: they do not fit.
        """
        for name, value in steering.items():
            field = "max_tokens" if name == "max_completion_tokens" else name
            if value is None:
                self.kwargs.pop(field, None)
            else:
                self.kwargs[field] = value
        changes = changed_settings(self._own, self.kwargs, self._lm)
        if changes:
            spec_for_call(self._lm._compiled, changes)  # noqa: SLF001 - checks what calls will say

    def __deepcopy__(self, memo: dict[int, object]) -> Any:
        clone = self.copy()
        clone.history = list(self.history)
        memo[id(self)] = clone
        return clone

    def __getstate__(self) -> dict[str, Any]:
        """Pickle no history; the LM beneath leaves its secrets behind."""
        return {**super().__getstate__(), "history": []}

    # States

    def dump_state(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Return what `program.save` keeps: the LM's name, what was changed, and its own state.

        No secret is in it. `lmconf.dspy.load` reads it.

        Raises:
            UsageError: a setting holds a secret.
        """
        changes = changed_settings(self._own, self.kwargs, self._lm)
        refuse_secrets(changes)
        if self.cache != self._keeps:
            changes["cache"] = self.cache
        return {
            "_dspy_lm_class": _CLASS,
            "model": self._lm.spec.model,
            STATE: {
                "lm": self.state_name,
                "settings": changes,
                "laid_over": list(self.laid_over),
                "state": self._lm.dump_state(),
            },
        }

    @classmethod
    @hide_frames
    def load_state(cls, state: Mapping[str, Any], **_: Any) -> Any:
        """Return the LM of a state that `dump_state` made, as that state describes it.

        Raises:
            ProfileError, UsageError: the state is not valid.
        """
        record = state.get(STATE)
        if not isinstance(record, Mapping):
            raise UsageError("this is not the state of an LM of lmconf")
        beneath = lmconf.load_state(record["state"])
        if not isinstance(beneath, LM):
            raise UsageError("this is the state of several LMs")
        adapter = cls.over(beneath, steering_of(record))
        adapter.state_name = record["lm"]
        adapter.laid_over = tuple(record.get("laid_over") or ())
        return adapter

    # The server

    @hide_frames
    def launch(self, launch_kwargs: Mapping[str, Any] | None = None) -> None:
        """Start the LM's own server if it is not running, as `lmconf.LM.launch` does."""
        self._lm.launch(launch_kwargs)

    def kill(self, launch_kwargs: Mapping[str, Any] | None = None) -> None:
        """End the LM's own server if it runs."""
        self._lm.kill()


def _decides_the_model(name: str) -> bool:
    """Say whether the setting `name` decides which model answers, and where."""
    return fields(LMSpec)[name].role in ("identity", "connection")
