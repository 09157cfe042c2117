"""The names under which a value is a secret."""

from __future__ import annotations

import functools
import re

__all__ = ["PUBLIC_NAMES", "SECRET_WORDS", "is_secret_name"]


SECRET_WORDS = frozenset(
    """
    api_key api_keys apikey apikeys access_key access_keys account_key auth_key encryption_key
    key_id license_key master_key private_key secret_key shared_key signing_key ssh_key
    subscription_key webhook_key
    ad_token token auth_tokens access_tokens api_tokens
    secret secrets credential credentials password passwords passwd passphrase
    auth authorization cookie connection_string dsn jwt
    """.split()
)
"""Words that say "secret" where a name ends with them, whatever stands before."""


PUBLIC_NAMES = frozenset(
    """
    additional_special_token audio_token bos_token cls_token completion_token cost_per_token
    decoder_start_token end_token eom_token eos_token eot_token first_token image_token last_token
    mask_token max_new_token max_token min_token next_token num_token pad_token per_token
    prompt_token reasoning_token sep_token special_token start_token stop_token unk_token
    video_token
    """.split()
)
"""Names that end like a secret and are none: they tell how much text, or which."""


# The last words decide: remembering longer texts would cost memory for nothing.
_LONGEST_NAME = 200


_SUFFIXES = tuple(f"_{word}" for word in (*SECRET_WORDS, "pwd"))


_PUBLIC_SUFFIXES = tuple(f"_{name}" for name in PUBLIC_NAMES)


# Words that are also written as one: `secretkey`, `ACCESSTOKEN`.
_RUN_TOGETHER = tuple(
    "accesskey accesstoken authtoken bearertoken clientsecret passwd password privatekey secretkey"
    " sessiontoken".split()
)


def is_secret_name(name: str) -> bool:
    """Say whether a value under `name` must be a reference.

    Names are compared without case and a number at their end, with `-`, ` ` and `.` read as `_`,
    and camelCase split; the last words decide (`SECRET_WORDS`, `PUBLIC_NAMES`): `OPENAI_API_KEY`,
    `X-Api-Key`, `clientSecret` and `hf_token` are secret names; `max_tokens`, `eos_token` and
    `prompt_cache_key` are not. Of a name that is very long, its end decides.
    """
    return _is_secret_name(name[-_LONGEST_NAME:])


@functools.lru_cache(maxsize=4096)
def _is_secret_name(name: str) -> bool:
    spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    flat = re.sub(r"[-. ]+", "_", spelled).strip("_").lower()
    flat = re.sub(r"(?<=key|ken|ret|ord)_?[0-9]+$|_[0-9]+$", "", flat)
    if flat in PUBLIC_NAMES or flat.endswith(_PUBLIC_SUFFIXES):
        return False
    return flat in SECRET_WORDS or flat.endswith((*_SUFFIXES, *_RUN_TOGETHER))
