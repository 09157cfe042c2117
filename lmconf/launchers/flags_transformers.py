"""The options of `transformers serve`, as transformers 5.23 tells them (`--help`)."""

from __future__ import annotations

from lmconf.launchers.flags import flags

__all__ = ["FLAGS"]

FLAGS = flags(
    toggle="""
        cb-use-cuda-graph compile continuous-batching enable-cors trust-remote-code
    """,
    integer="""
        cb-block-size cb-max-batch-tokens cb-num-blocks default-seed model-timeout port
    """,
    number="""
        cb-max-memory-percent
    """,
    value="""
        attn-implementation chat-template-kwargs decision-config device dtype host log-level
        quantization reasoning
    """,
)
