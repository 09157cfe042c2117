"""LiteLLM's named loggers, and the package that each needs beside LiteLLM.

The names are those that `litellm.success_callback` takes; hooks that change requests, limits and
prompts are no loggers and not among them. The table is ours, so that a profile is checked without
importing LiteLLM.
"""

from __future__ import annotations

__all__ = ["LITELLM_LOGGERS"]

_OTEL = "opentelemetry.sdk"

LITELLM_LOGGERS: dict[str, str] = {
    "agentops": _OTEL,
    "argilla": "",
    "arize": _OTEL,
    "arize_phoenix": _OTEL,
    "athina": "",
    "aws_sqs": "boto3",
    "azure_sentinel": "",
    "azure_storage": "",
    "braintrust": "",
    "clickhouse": "",
    "cloudzero": "",
    "datadog": "",
    "datadog_llm_observability": "",
    "datadog_metrics": "",
    "deepeval": "",
    "focus": "",
    "galileo": "",
    "gcs_bucket": "",
    "gcs_pubsub": "",
    "generic_api": "litellm_enterprise",
    "greenscale": "",
    "helicone": "",
    "humanloop": "",
    "lago": "",
    "langfuse": "langfuse",
    "langfuse_otel": _OTEL,
    "langsmith": "",
    "langtrace": _OTEL,
    "levo": _OTEL,
    "literalai": "",
    "logfire": _OTEL,
    "lunary": "lunary",
    "mavvrik": "",
    "mlflow": "mlflow",
    "newrelic": "newrelic",
    "openmeter": "",
    "opik": "",
    "otel": _OTEL,
    "pagerduty": "litellm_enterprise",
    "pointfive": "",
    "posthog": "",
    "prometheus": "prometheus_client",
    "promptlayer": "",
    "resend_email": "litellm_enterprise",
    "s3": "boto3",
    "s3_v2": "boto3",
    "sendgrid_email": "litellm_enterprise",
    "sentry": "sentry_sdk",
    "signoz": _OTEL,
    "smtp_email": "litellm_enterprise",
    "supabase": "supabase",
    "traceloop": "traceloop",
    "vantage": "",
    "wandb": "wandb",
    "weave_otel": _OTEL,
    "zerobus": "",
}
"""Each logger's name, and the module that must be importable for it; `""` for none."""
