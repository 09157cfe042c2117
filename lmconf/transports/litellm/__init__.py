"""Requests that LiteLLM shapes, sent by our own client where it can be given one."""
