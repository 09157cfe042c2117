"""Answers as DSPy's adapters want them."""

from __future__ import annotations

import json
from typing import Any

from tests.loopback import Reply, chat


def marked(**fields: str) -> str:
    """Fields as the chat adapter writes them."""
    parts = [f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in fields.items()]
    return "".join(parts) + "[[ ## completed ## ]]\n"


def xml(**fields: str) -> str:
    """Fields as the XML adapter writes them."""
    return "".join(f"<{name}>\n{value}\n</{name}>\n\n" for name, value in fields.items())


def answers(**fields: str) -> Reply:
    return Reply(json=chat(marked(**fields)))


def in_json(**fields: Any) -> Reply:
    return Reply(json=chat(json.dumps(fields)))


def tool_call(name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": "call_1", "type": "function", "function": function}
