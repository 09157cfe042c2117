"""Conversations in the formats that DSPy's chat and JSON adapters send.

They are worded like DSPy 3.4 does it, but for one space at the end of the list of inputs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Protocol


class Asked(Protocol):
    """What a question needs to offer here."""

    @property
    def question(self) -> str:
        """The question in words."""

    @property
    def answer(self) -> str:
        """The answer as a sentence."""

    @property
    def short(self) -> str:
        """The answer as a word."""


Messages = tuple[tuple[str, str], ...]

OPENING = (
    "All interactions will be structured in the following way, "
    "with the appropriate values filled in."
)
COMPLETED = "[[ ## completed ## ]]"


class Signature:
    """Named inputs and outputs of a DSPy program; `reasoning` is an output of its chain of thought."""

    def __init__(self, rng: random.Random) -> None:
        self.question = rng.choice(("question",) * 8 + ("query", "input", "text"))
        self.result = rng.choice(("answer",) * 8 + ("response", "output", "result"))
        self.outputs = ("reasoning", self.result) if rng.random() < 0.5 else (self.result,)
        self.instructions = rng.choice(
            (
                f"Given the fields `{self.question}`, produce the fields `{self.result}`.",
                f"Given the fields `{self.question}`, produce the fields `{self.result}`.",
                "Answer the question.",
                "Answer questions with short factoid answers.",
            )
        )

    def descriptions(self) -> str:
        """The numbered lists of fields that open the system message."""
        listed = "\n".join(f"{n}. `{name}` (str): " for n, name in enumerate(self.outputs, 1))
        return (
            f"Your input fields are:\n1. `{self.question}` (str): \n"
            f"Your output fields are:\n{listed.strip()}"
        )

    def objective(self) -> str:
        """The line that states the task."""
        return f"In adhering to this structure, your objective is: \n        {self.instructions}"

    def values(self, asked: Asked) -> dict[str, str]:
        """The outputs that answer a question."""
        known = {"reasoning": asked.answer, self.result: asked.short}
        return {name: known[name] for name in self.outputs}


def section(name: str, value: str) -> str:
    """A field's marker with its value below."""
    return f"[[ ## {name} ## ]]\n{value}"


def marked(values: dict[str, str]) -> str:
    """An assistant's answer with markers."""
    parts = [section(name, value) for name, value in values.items()]
    return "\n\n".join([*parts, COMPLETED])


def field_marker_conversation(rng: random.Random, pick: Callable[[], Asked]) -> Messages:
    """A chat-adapter conversation with up to two worked examples before the question."""
    signature = Signature(rng)
    structure = [section(name, f"{{{name}}}") for name in (signature.question, *signature.outputs)]
    system = "\n".join(
        [
            signature.descriptions(),
            "\n\n".join([OPENING, *structure, COMPLETED]),
            signature.objective(),
        ]
    )
    wanted = ", then ".join(f"`[[ ## {name} ## ]]`" for name in signature.outputs)
    reminder = (
        f"Respond with the corresponding output fields, starting with the field {wanted}, "
        "and then ending with the marker for `[[ ## completed ## ]]`."
    )
    messages = [("system", system)]
    for _ in range(rng.choice((0, 0, 0, 0, 1, 2))):
        shown = pick()
        messages.append(("user", section(signature.question, shown.question)))
        messages.append(("assistant", marked(signature.values(shown)) + "\n"))
    asked = pick()
    messages.append(("user", section(signature.question, asked.question) + "\n\n" + reminder))
    messages.append(("assistant", marked(signature.values(asked))))
    return tuple(messages)


def json_field_conversation(rng: random.Random, pick: Callable[[], Asked]) -> Messages:
    """A JSON-adapter conversation: the same fields, answered with one JSON object."""
    signature = Signature(rng)
    shape = json.dumps({name: f"{{{name}}}" for name in signature.outputs}, indent=2)
    structure = [
        OPENING,
        "Inputs will have the following structure:",
        section(signature.question, f"{{{signature.question}}}"),
        "Outputs will be a JSON object with the following fields.",
        shape,
    ]
    system = "\n".join([signature.descriptions(), "\n\n".join(structure), signature.objective()])
    asked = pick()
    listed = ", then ".join(f"`{name}`" for name in signature.outputs)
    reminder = f"Respond with a JSON object in the following order of fields: {listed}."
    return (
        ("system", system),
        ("user", section(signature.question, asked.question) + "\n\n" + reminder),
        ("assistant", json.dumps(signature.values(asked), indent=rng.choice((2, None)))),
    )
