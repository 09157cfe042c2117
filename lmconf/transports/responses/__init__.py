"""OpenAI's Responses API, asked and answered in the shape of chat completions.

Everything above a transport speaks of messages, choices and chunks. Here they become the input
items of `POST …/responses`, and its output items, or the events of its stream, become them again
(OpenAI API reference, "Responses"; "Migrate to the Responses API").
"""

from __future__ import annotations

from lmconf.transports.responses.sending import Responses

__all__ = ["Responses"]
