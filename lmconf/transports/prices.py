"""What an answer cost by litellm's price table."""

from __future__ import annotations

from lmconf.transports.contract import Json

__all__ = ["cost"]


def cost(provider: str, model: str, base_model: str | None, response: Json) -> float | None:
    """Return the US dollars that `response` cost, None if its model has no price."""
    import litellm

    usage = response.get("usage")
    if not isinstance(usage, dict):
        return None
    if base_model:
        named, slash, bare = base_model.partition("/")
        provider, model = (named, bare) if slash else ("", base_model)
    try:
        prompt, answer = litellm.cost_per_token(
            model=model,
            custom_llm_provider=provider or None,
            usage_object=litellm.Usage(**usage),
        )
    except Exception:  # noqa: BLE001 - litellm says "unknown model" with several kinds of errors
        return None
    # Models of which litellm knows no price are listed with zeros.
    return float(prompt) + float(answer) or None
