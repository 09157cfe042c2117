"""What a request may come to is judged from its texts."""

from __future__ import annotations

from lmconf.limits.tokens import PICTURE, UNSTATED_ANSWER, answer_tokens, prompt_tokens


def user(content: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": content}]


def test_four_characters_of_english_are_a_token() -> None:
    assert 1000 <= prompt_tokens(user("word" * 1000)) <= 1010


def test_characters_of_other_scripts_count_more() -> None:
    assert prompt_tokens(user("語" * 1000)) >= 1000
    assert prompt_tokens(user("é" * 1000)) > prompt_tokens(user("e" * 1000))


def test_a_picture_counts_the_same_however_it_is_sent() -> None:
    def picture(url: str) -> int:
        return prompt_tokens(user([{"type": "image_url", "image_url": {"url": url}}]))

    assert picture("data:image/png;base64," + "A" * 100_000) == picture("https://a/b.png")
    assert picture("https://a/b.png") >= PICTURE


def test_tools_are_read_by_the_model_too() -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "d" * 400}}
    assert prompt_tokens(user("hi"), (tool,)) >= prompt_tokens(user("hi")) + 100
    assert prompt_tokens(user("hi"), None) == prompt_tokens(user("hi"))


def test_every_answer_may_be_as_long_as_max_tokens() -> None:
    assert answer_tokens(100, 3) == 300
    assert answer_tokens(100, None) == 100
    assert answer_tokens(None, None) == UNSTATED_ANSWER
