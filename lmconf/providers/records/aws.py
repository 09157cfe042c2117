"""Amazon Bedrock and SageMaker: requests are signed for an account (`lmconf.transports.clouds.aws`)."""

from __future__ import annotations

from lmconf.providers.provider import LABELS, OPENAI_NAMES, ApiRules, Provider
from lmconf.schema.frozen import FrozenMap

__all__ = ["RECORDS"]

_NO_LABELS = FrozenMap(dict.fromkeys(sorted(LABELS), "leave it out, or `null` it for this LM"))
_LIKE_OPENAI = ApiRules(in_body=OPENAI_NAMES)

RECORDS = (
    Provider(
        "bedrock",
        credentials="cloud",
        cloud="aws",
        chat="http",
        text="http",
        name_in_path=True,
        api=ApiRules(
            in_body=frozenset(),
            unsupported=_NO_LABELS,
            parts=frozenset(("document", "file", "image_url", "text")),
            fetched_prefixes=("http://", "https://"),
            message_names=False,
        ),
        telemetry="aws.bedrock",
        priced_by_litellm=True,
        profile="bedrock",
        docs="https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html",
    ),
    # For containers that take one text.
    Provider(
        "sagemaker",
        credentials="cloud",
        cloud="aws",
        chat="lent",
        text="lent",
        api=ApiRules(in_body=frozenset(), unsupported=_NO_LABELS, parts=frozenset(("text",))),
        profile="sagemaker",
        docs="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html",
    ),
    # For containers that take messages.
    Provider(
        "sagemaker_chat",
        credentials="cloud",
        cloud="aws",
        chat="http",
        text="http",
        api=_LIKE_OPENAI,
        profile="sagemaker",
    ),
    Provider("sagemaker_nova", credentials="cloud", cloud="aws", chat="http", api=_LIKE_OPENAI),
)
