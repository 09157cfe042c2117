"""No secret gets through, whatever stands around it and wherever its text is cut."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lmconf.launchers.logs import log_tail
from lmconf.secrets.masks import LEAST, Redactor, last_of
from lmconf.secrets.redaction import known_spellings, mask_secrets
from lmconf.system import supervisor

# Few letters, so that secrets overlap each other and themselves; none stands around them.
SECRETS = st.lists(
    st.text(st.sampled_from('ab"\\/\n %é'), min_size=4, max_size=20), min_size=1, max_size=4
)
AROUND = ".,;:-_"


@st.composite
def said(draw: st.DrawFn) -> tuple[list[str], bytes, list[int]]:
    """Secrets, a text with some of them in any spelling, and where it is cut."""
    secrets = draw(SECRETS)
    forms = sorted(known_spellings(secrets))
    around = st.text(st.sampled_from(AROUND), max_size=30)
    parts = draw(st.lists(st.one_of(around, st.sampled_from(forms)), max_size=8))
    text = "".join(parts).encode()
    return secrets, text, sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))


def pieces(text: bytes, cuts: Sequence[int]) -> list[bytes]:
    return [text[first:last] for first, last in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def redacted(secrets: Sequence[str], parts: Sequence[bytes]) -> bytes:
    redactor = Redactor(form.encode() for form in known_spellings(secrets))
    return b"".join([redactor(part) for part in parts]) + redactor.end()


def told_by(secrets: Sequence[str], text: bytes) -> set[bytes]:
    """The parts of `secrets` in `text` that are long enough to tell something."""
    forms = [form.encode() for form in known_spellings(secrets)]
    return {
        part
        for form in forms
        for at in range(max(len(form) - LEAST, 0) + 1)
        if (part := form[at : at + LEAST]) in text
    }


@given(said())
@example((["abababab", "babababa"], b"abababababa", [3, 5]))
@example((["aaaaaaaa"], b"aaaaaaaaaaaaaaaaaaaaaaa", [8]))
@example((["aaaabbbb", "bbbb%%%%%%%%"], b"aaaabbbb%%%%%%%%", [5, 9]))
def test_no_letter_of_a_secret_is_passed_on_wherever_it_is_cut(
    case: tuple[list[str], bytes, list[int]],
) -> None:
    secrets, text, cuts = case
    shown = redacted(secrets, pieces(text, cuts))
    assert set(shown.decode()) <= {*AROUND, "*"}


@given(said())
def test_how_a_text_is_cut_changes_nothing(case: tuple[list[str], bytes, list[int]]) -> None:
    secrets, text, cuts = case
    whole = redacted(secrets, [text])
    assert redacted(secrets, pieces(text, cuts)) == whole
    assert redacted(secrets, [bytes([byte]) for byte in text]) == whole


@given(said())
def test_every_redactor_hides_the_same(case: tuple[list[str], bytes, list[int]]) -> None:
    secrets, text, _ = case
    assert set(mask_secrets(text.decode(), secrets)) <= {*AROUND, "*"}


def test_what_is_no_secret_passes_unchanged() -> None:
    text = b"nothing to hide: sec, secre, ret\n" * 9
    assert redacted(["secret-of-mine"], [text[:7], text[7:100], text[100:]]) == text


@pytest.mark.parametrize("end", range(1, 14))
def test_a_program_that_ends_within_a_secret_tells_little_of_it(end: int) -> None:
    shown = redacted(["blue-moon-4242"], [b"the key is ", b"blue-moon-4242"[:end]])
    kept = b"blue-moon-4242"[:end] if end < LEAST else b"***"
    assert shown == b"the key is " + kept


@given(
    st.integers(-40, 40),
    st.sampled_from([supervisor.CHUNK, 2 * supervisor.CHUNK, supervisor.TAIL]),
)
def test_the_log_of_a_training_hides_what_crosses_a_cut(
    tmp_path_factory: pytest.TempPathFactory, off: int, cut: int
) -> None:
    secret = "Zq7vR-unseen-marker-93kd/ä"
    path = tmp_path_factory.mktemp("job") / "log"
    log = supervisor.BoundedLog(path, 2**20, sorted(known_spellings([secret])), rotates=False)
    text = b"x" * (cut + off) + secret.encode() + b" and on " * 40
    for at in range(0, len(text), supervisor.CHUNK):
        log.write(text[at : at + supervisor.CHUNK])
    log.close()
    for shown in (path.read_bytes(), log.tail):
        assert told_by([secret], shown) == set()
    assert b"***" in path.read_bytes()
    assert log.tail.endswith(b" and on\n") or log.tail.endswith(b" and on \n")


@given(
    st.integers(0, 12000),
    st.sampled_from(["key blue-moon-4242 set", "sk-live-0123456789abcdef0123456789"]),
)
def test_the_end_of_a_log_tells_no_half_of_a_key(
    tmp_path_factory: pytest.TempPathFactory, after: int, key: str
) -> None:
    path = tmp_path_factory.mktemp("server") / "log"
    path.write_text(f"{'y' * 5000} {key} {'z ' * (after // 2)}")
    shown = log_tail(path, ("blue-moon-4242",))
    assert "moon-42" not in shown
    assert "0123" not in shown


@given(st.binary(max_size=60), st.integers(0, 70))
def test_the_last_of_a_text_begins_with_a_word(text: bytes, size: int) -> None:
    last = last_of(text, size)
    assert len(last) <= size
    if len(text) <= size:
        assert last == text
    else:
        assert last == b"***"[:size] or text.endswith(last)
        before = text[: len(text) - len(last)]
        assert (
            last[:3] == b"***"[: len(last)]
            or not last
            or last[:1].isspace()
            or before[-1:].isspace()
        )
