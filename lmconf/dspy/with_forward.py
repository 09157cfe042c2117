"""The `dspy.LM` for DSPy 3.3: DSPy calls `forward`, and does the rest by itself."""

from __future__ import annotations

from typing import Any

import dspy

from lmconf.dspy.calls import chunk_of
from lmconf.dspy.response_shapes import Response, plain, response_of
from lmconf.dspy.wrapped import LMAdapter
from lmconf.system.tracebacks import hide_frames
from lmconf.transports.litellm.patches import import_litellm

__all__ = ["AdaptedLM"]


class AdaptedLM(LMAdapter, dspy.LM):
    """An LM of lmconf as a `dspy.LM` of DSPy 3.3."""

    forward_contract = "legacy"

    @hide_frames
    def forward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Response:
        """Return the LM's response in the OpenAI API's shape."""
        return response_of(self._ask(self._plan(prompt, messages, kwargs)))

    @hide_frames
    async def aforward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Response:
        """Return what `forward` returns, from an event loop."""
        return response_of(await self._aask(self._plan(prompt, messages, kwargs)))

    def _process_response(self, response: Any) -> Any:
        """Return DSPy's outputs: a response has one shape, whichever API gave it."""
        return self._process_completion(response, self.kwargs)

    def _twin(self) -> Any:
        import_litellm()  # all that this DSPy knows of models is litellm's
        return super()._twin()

    def _chunk(self, chunk: dict[str, Any], listener: int | None) -> Any:
        # DSPy 3.3 knows a chunk by its class, which is litellm's.
        made: Any = import_litellm()
        shown = made.ModelResponseStream(**plain(chunk_of(chunk, None)))
        shown.predict_id = listener
        return shown
