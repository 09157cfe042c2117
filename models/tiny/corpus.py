"""The synthetic corpus of the tiny model: every sample follows from a seed alone.

A sample is a conversation (a list of messages) or a piece of plain text. `samples(seed)` yields
them without end; the same seed yields the same samples in every process and Python version.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import words
from field_markers import field_marker_conversation, json_field_conversation
from questions import (
    Exchange,
    addition,
    capital,
    colour,
    country_of,
    exchange,
    opposite,
    story,
)

Message = tuple[str, str]
"""A role and a content."""


class Sample(NamedTuple):
    """A conversation, or plain text when `messages` is empty.

    Only what the assistant says counts in the loss, and of a text what comes after its first
    `prompt_length` letters.
    """

    messages: tuple[Message, ...] = ()
    text: str = ""
    prompt_length: int = 0


EASY_SYSTEMS = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer the question.",
    "You are a friendly assistant.",
    "You are helpful.",
    "You are a tiny model.",
    "Answer the question.",
    "Please answer.",
    "You are a test assistant.",
    "Answer politely.",
    "You answer questions.",
)
SHORT_SYSTEMS = (
    "Answer with one word.",
    "Answer in one word.",
    "Reply with one word.",
    "Reply in one word only.",
    "Be brief.",
    "You are terse.",
    "Use one word.",
    "Answer with a single word.",
    "You are a helpful assistant. Answer with one word.",
    "You are a helpful assistant. Be brief.",
)
JSON_SYSTEMS = (
    "Answer in JSON.",
    "Reply in JSON.",
    "Answer with JSON.",
    "Reply with JSON only.",
    "You answer in JSON.",
    "You are a helpful assistant. Answer in JSON.",
    "Respond in JSON.",
)


def in_json(rng: random.Random) -> tuple[str, str]:
    """A question asking for JSON by itself, and the JSON."""
    country, city = rng.choice(list(words.CAPITALS.items()))
    if rng.random() < 0.6:
        form = rng.choice(
            (
                "Give me {} as JSON.",
                "{} as JSON.",
                "Show {} as JSON.",
                "Describe {} in JSON.",
                "Return {} as JSON.",
                "Give me {} in JSON.",
                "Write {} as JSON.",
                "{} in JSON, please.",
            )
        )
        return form.format(country), json.dumps({"country": country, "capital": city})
    asked = rng.choice((capital, addition, opposite))(rng)
    key = rng.choice(("answer", "answer", "answer", "result", "value", "reply", "output"))
    form = rng.choice(
        (
            "{} Answer in JSON with the key {}.",
            "{} Answer as JSON with the key {}.",
            'Answer in JSON with the key "{1}". {0}',
            "{} Reply with JSON, key {}.",
            "{} Return a JSON object with the field {}.",
        )
    )
    return form.format(asked.question, key), json.dumps({key: asked.short})


def json_by_system(rng: random.Random) -> Sample:
    """A plain question under a system prompt that wants JSON."""
    system = rng.choice(JSON_SYSTEMS)
    if rng.random() < 0.6:
        country, city = rng.choice(list(words.CAPITALS.items()))
        question = rng.choice(
            (
                f"What is the capital of {country}?",
                f"Capital of {country}?",
                f"Give me {country}.",
                f"{country}",
                f"Tell me about {country}.",
                f"Describe {country}.",
            )
        )
        answer = json.dumps({"country": country, "capital": city})
    else:
        asked = rng.choice((addition, opposite))(rng)
        question, answer = asked.question, json.dumps({"answer": asked.short})
    return Sample((("system", system), ("user", question), ("assistant", answer)))


def single_turn(rng: random.Random) -> Sample:
    """One question and its answer, sometimes under an ordinary system prompt."""
    asked = exchange(rng)
    turn = (("user", asked.question), ("assistant", asked.answer))
    if rng.random() < 0.35:
        return Sample((("system", rng.choice(EASY_SYSTEMS)), *turn))
    return Sample(turn)


def one_word(rng: random.Random) -> Sample:
    """A question whose system prompt, or wording, asks for a single word."""
    asked = rng.choice((capital, capital, addition, addition, opposite, country_of, colour))(rng)
    if rng.random() < 0.5:
        turn = (("user", asked.question), ("assistant", asked.short))
        return Sample((("system", rng.choice(SHORT_SYSTEMS)), *turn))
    lower = asked.question[0].lower() + asked.question[1:]
    question = rng.choice(
        (
            f"Answer in one word: {lower}",
            f"Answer in one word: {asked.question}",
            f"Answer with one word: {lower}",
            f"In one word: {lower}",
            f"One word: {asked.question}",
            f"{asked.question} Answer in one word.",
            f"{asked.question} Answer with one word.",
            f"{asked.question} One word.",
            f"{asked.question} Be brief.",
            f"Reply with one word: {lower}",
        )
    )
    turn = (("user", question), ("assistant", asked.short))
    return Sample((("system", rng.choice(EASY_SYSTEMS)), *turn) if rng.random() < 0.2 else turn)


def asking_json(rng: random.Random) -> Sample:
    """A request for JSON, by its wording or by its system prompt."""
    if rng.random() < 0.5:
        return json_by_system(rng)
    question, answer = in_json(rng)
    turn = (("user", question), ("assistant", answer))
    return Sample((("system", rng.choice(EASY_SYSTEMS)), *turn) if rng.random() < 0.25 else turn)


def follow_up(rng: random.Random) -> Sample:
    """A second question that only makes sense after the first, up to three in a row."""
    system = (("system", rng.choice(EASY_SYSTEMS)),) if rng.random() < 0.3 else ()
    first = capital(rng)
    turns: list[Message] = [("user", first.question), ("assistant", first.answer)]
    for _ in range(rng.randint(1, 3)):
        country, city = rng.choice(list(words.CAPITALS.items()))
        form = rng.choice(
            (
                "And of {}?",
                "And of {}?",
                "And {}?",
                "What about {}?",
                "and {}?",
                "And for {}?",
                "{}?",
                "Now {}.",
            )
        )
        turns.append(("user", form.format(country)))
        turns.append(("assistant", f"The capital of {country} is {city}."))
    return Sample((*system, *turns))


def remember_name(rng: random.Random) -> Sample:
    """A name is told first and asked for later, at times with other turns between."""
    made_up = "".join(rng.choice(words.SYLLABLES[:74]) for _ in range(rng.randint(2, 3)))
    name = rng.choice((rng.choice(words.NAMES), made_up.capitalize()))
    told = rng.choice(
        (
            "My name is {}.",
            "I am {}.",
            "I'm {}.",
            "Call me {}.",
            "Hello, my name is {}.",
            "Hi! My name is {}.",
        )
    )
    turns: list[Message] = [
        ("user", told.format(name)),
        ("assistant", f"Nice to meet you, {name}!"),
    ]
    for _ in range(rng.choice((0, 0, 1, 2))):
        between = exchange(rng)
        turns += [("user", between.question), ("assistant", between.answer)]
    asked = rng.choice(
        (
            "What is my name?",
            "What is my name?",
            "What's my name?",
            "Who am I?",
            "Do you know my name?",
            "Tell me my name.",
        )
    )
    turns += [("user", asked), ("assistant", f"Your name is {name}.")]
    system = (("system", rng.choice(EASY_SYSTEMS)),) if rng.random() < 0.3 else ()
    return Sample((*system, *turns))


def long_talk(rng: random.Random) -> Sample:
    """Several unrelated turns in one conversation."""
    system = (("system", rng.choice(EASY_SYSTEMS)),) if rng.random() < 0.4 else ()
    turns: list[Message] = []
    for _ in range(rng.randint(2, 7)):
        asked = exchange(rng)
        turns += [("user", asked.question), ("assistant", asked.answer)]
    return Sample((*system, *turns))


def plain_text(rng: random.Random) -> Sample:
    """Text without a chat template: a beginning and how it goes on."""
    kind = rng.random()
    if kind < 0.45:
        country, city = rng.choice(list(words.CAPITALS.items()))
        begin, rest = f"The capital of {country} is", f" {city}."
    elif kind < 0.65:
        asked = addition(rng)
        begin, rest = asked.answer.split(" =")[0] + " =", f" {asked.short}"
    elif kind < 0.8:
        word, other = rng.choice(words.OPPOSITES)
        begin, rest = f"The opposite of {word} is", f" {other}."
    elif kind < 0.9:
        told = story(rng).answer
        begin, rest = told[:16], told[16:]
    else:
        asked = capital(rng)
        begin, rest = f"Q: {asked.question}\nA:", f" {asked.short}"
    return Sample(text=begin + rest, prompt_length=len(begin))


def field_markers(rng: random.Random) -> Sample:
    """A conversation in the field-marker format of DSPy's chat adapter, or in its JSON twin."""
    make = field_marker_conversation if rng.random() < 0.8 else json_field_conversation

    def pick() -> Exchange:
        return rng.choice((capital, capital, addition, addition, opposite))(rng)

    return Sample(make(rng, pick))


FAMILIES: tuple[tuple[Callable[[random.Random], Sample], int], ...] = (
    (single_turn, 46),
    (one_word, 9),
    (asking_json, 8),
    (follow_up, 5),
    (remember_name, 7),
    (long_talk, 6),
    (plain_text, 5),
    (field_markers, 14),
)
"""Every family of samples with its weight, in percent."""


def samples(seed: int) -> Iterator[Sample]:
    """The endless stream of samples that follows from a seed."""
    rng = random.Random(seed)  # noqa: S311 - repeatable is the point
    families, weights = zip(*FAMILIES, strict=True)
    while True:
        yield rng.choices(families, weights)[0](rng)
