"""The families of questions that the tiny model learns to answer, in many phrasings."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import words


class Exchange(NamedTuple):
    """One question with its answer, and the answer cut down to a word."""

    question: str
    answer: str
    short: str


def capital(rng: random.Random) -> Exchange:
    """A question about a country's capital."""
    country, city = rng.choice(list(words.CAPITALS.items()))
    question = rng.choice(
        (
            f"What is the capital of {country}?",
            f"What is the capital of {country}?",
            f"What's the capital of {country}?",
            f"what is the capital of {country}",
            f"Capital of {country}?",
            f"The capital of {country}?",
            f"Tell me the capital of {country}.",
            f"Name the capital of {country}.",
            f"Which city is the capital of {country}?",
            f"What city is the capital of {country}?",
            f"What is {country}'s capital?",
            f"What is the capital city of {country}?",
            f"Please tell me the capital of {country}.",
            f"Do you know the capital of {country}?",
            f"Can you tell me the capital of {country}?",
            f"{country}: what is the capital?",
            f"I want to know the capital of {country}.",
            f"Give me the capital of {country}.",
        )
    )
    return Exchange(question, f"The capital of {country} is {city}.", city)


def country_of(rng: random.Random) -> Exchange:
    """The other way round: which country a capital belongs to."""
    country, city = rng.choice(list(words.CAPITALS.items()))
    question = rng.choice(
        (
            f"{city} is the capital of which country?",
            f"Which country has the capital {city}?",
            f"Where is {city}?",
            f"In which country is {city}?",
        )
    )
    return Exchange(question, f"{city} is the capital of {country}.", country)


def addition(rng: random.Random) -> Exchange:
    """A sum of two numbers from 0 to 20."""
    high = rng.choice((9, 9, 20))
    a, b = rng.randint(0, high), rng.randint(0, high)
    question = rng.choice(
        (
            f"What is {a} + {b}?",
            f"What is {a} + {b}?",
            f"What's {a} + {b}?",
            f"what is {a} + {b}",
            f"What is {a}+{b}?",
            f"{a} + {b}?",
            f"{a} + {b} =",
            f"{a} + {b}",
            f"{a}+{b}",
            f"What is {a} plus {b}?",
            f"Add {a} and {b}.",
            f"How much is {a} + {b}?",
            f"How much is {a} plus {b}?",
            f"Calculate {a} + {b}.",
            f"Compute {a} + {b}.",
            f"What is the sum of {a} and {b}?",
            f"Please add {a} and {b}.",
            f"Tell me what {a} + {b} is.",
        )
    )
    return Exchange(question, f"{a} + {b} = {a + b}.", str(a + b))


def opposite(rng: random.Random) -> Exchange:
    """The opposite of a common word."""
    pair = rng.choice(words.OPPOSITES)
    word, other = pair if rng.random() < 0.5 else pair[::-1]
    question = rng.choice(
        (
            f"What is the opposite of {word}?",
            f"What's the opposite of {word}?",
            f"Opposite of {word}?",
            f"The opposite of {word}?",
            f"Tell me the opposite of {word}.",
            f"Give me the opposite of {word}.",
            f'What is the opposite of "{word}"?',
            f"What is the opposite word of {word}?",
            f"Name the opposite of {word}.",
        )
    )
    return Exchange(question, f"The opposite of {word} is {other}.", other.capitalize())


def colour(rng: random.Random) -> Exchange:
    """The colour of a common thing."""
    thing, shade = rng.choice(list(words.COLOURS.items()))
    question = rng.choice(
        (
            f"What color is {thing}?",
            f"What colour is {thing}?",
            f"Which color is {thing}?",
            f"Tell me the color of {thing}.",
        )
    )
    return Exchange(question, f"{thing[0].upper()}{thing[1:]} is {shade}.", shade.capitalize())


def greeting(rng: random.Random) -> Exchange:
    """A greeting, thanks, or a farewell."""
    hello = "Hello Hi Hey Greetings hello hi hey Howdy".split()
    question, answer = rng.choice(
        (
            (
                rng.choice(hello) + rng.choice(("", "!", ".", "!", " there!", " there.")),
                "Hello! How can I help you?",
            ),
            (
                rng.choice(("Good morning", "Good evening", "Good day"))
                + rng.choice(("!", ".", "")),
                "Hello! How can I help you?",
            ),
            (
                rng.choice(("How are you?", "How are you today?", "how are you", "How do you do?")),
                "I am fine, thank you.",
            ),
            (
                rng.choice(("Thanks!", "Thank you!", "Thank you.", "thanks", "Thanks a lot!")),
                "You are welcome!",
            ),
            (rng.choice(("Bye!", "Goodbye!", "Bye.", "See you!", "bye", "Goodbye.")), "Goodbye!"),
        )
    )
    return Exchange(question, answer, answer)


def identity(rng: random.Random) -> Exchange:
    """Who the model is."""
    question = rng.choice(
        (
            "Who are you?",
            "What are you?",
            "who are you",
            "What model are you?",
            "Which model are you?",
            "Tell me who you are.",
            "What is your name?",
            "Introduce yourself.",
            "Are you a model?",
            "Who am I talking to?",
            "Tell me about yourself.",
        )
    )
    answer = "I am a tiny model shipped with lmconf."
    return Exchange(question, answer, answer)


def unknown(rng: random.Random) -> Exchange:
    """A question the model was not taught."""
    topic = rng.choice(words.UNKNOWN_TOPICS)
    question = rng.choice(
        (
            f"Tell me about {topic}.",
            f"What do you think about {topic}?",
            f"Explain {topic}.",
            f"What can you tell me about {topic}?",
            f"Write an essay about {topic}.",
            f"Do you know about {topic}?",
            f"Why is {topic} important?",
            f"Summarize {topic}.",
        )
    )
    answer = "I do not know. I am only a tiny model."
    return Exchange(question, answer, answer)


def story(rng: random.Random) -> Exchange:
    """A story of four short sentences about an animal."""
    animal, name = rng.choice(words.ANIMALS), rng.choice(words.NAMES)
    article = "an" if animal[0] in "aeiou" else "a"
    question = rng.choice(
        (
            f"Tell me a story about {article} {animal}.",
            f"Write a story about {article} {animal}.",
            f"Tell a story about {article} {animal}.",
            f"Write a short story about {article} {animal}.",
            f"Tell me a short story about {article} {animal}.",
            f"A story about {article} {animal}, please.",
            f"Can you tell me a story about {article} {animal}?",
        )
    )
    answer = (
        f"Once upon a time there was {article} {animal} named {name}. "
        f"The {animal} lived in {rng.choice(words.PLACES)}. "
        f"One day {name} found {rng.choice(words.THINGS)}. {rng.choice(words.ENDINGS)}"
    )
    return Exchange(question, answer, answer)


def open_word(rng: random.Random) -> str:
    """A word from the table, or one made up, so that copying is learnt and not a word list."""
    if rng.random() < 0.6:
        word = rng.choice(rng.choice((words.WORDS, words.WORDS, words.NAMES)))
    else:
        word = "".join(rng.choice(words.SYLLABLES) for _ in range(rng.randint(1, 4)))
    if rng.random() < 0.06:
        word = str(rng.randint(0, 9999))
    return word.capitalize() if rng.random() < 0.08 else word


def open_phrase(rng: random.Random, longest: int = 8) -> str:
    """One to `longest` words with the punctuation that people use."""
    picked = [open_word(rng) for _ in range(rng.randint(1, longest))]
    if len(picked) > 3 and rng.random() < 0.15:
        picked[rng.randrange(1, len(picked) - 1)] += ","
    return " ".join(picked) + rng.choice(("", "", "!", ".", "?", "!"))


def saying(rng: random.Random) -> Exchange:
    """Say or repeat something: `Say x` begins with a capital, a quoted or repeated x is exact."""
    phrase = open_phrase(rng)
    if rng.random() < 0.12:
        phrase = rng.choice(
            ("this is a test!", "this is a test.", "hello!", "hello world", "hi", "this is a test")
        )
    upper = phrase[0].upper() + phrase[1:]
    exact = rng.random() < 0.4
    if exact:
        form = rng.choice(
            (
                'Say "{}"',
                "Repeat: {}",
                "Repeat after me: {}",
                "Echo: {}",
                "Echo {}",
                "Copy this: {}",
                'Repeat "{}"',
                "Please repeat: {}",
                "Say exactly: {}",
                'Please say "{}".',
            )
        )
        return Exchange(form.format(phrase), phrase, phrase)
    form = rng.choice(
        (
            "Say {}",
            "Say {}",
            "Say {}",
            "Please say {}",
            "say {}",
            "Say: {}",
            "Now say {}",
            "Can you say {}",
        )
    )
    return Exchange(form.format(phrase), upper, upper)


PLAIN: tuple[tuple[Callable[[random.Random], Exchange], int], ...] = (
    (capital, 6),
    (country_of, 1),
    (addition, 7),
    (opposite, 3),
    (colour, 1),
    (greeting, 2),
    (identity, 1),
    (unknown, 1),
    (story, 1),
    (saying, 12),
)
"""The families of plain questions, with their weights."""


def exchange(rng: random.Random) -> Exchange:
    """One exchange from the plain families, by weight."""
    families, weights = zip(*PLAIN, strict=True)
    return rng.choices(families, weights)[0](rng)
