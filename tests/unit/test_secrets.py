"""Which names are those of secrets, and where references lead."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from lmconf.providers.catalogue import PROVIDERS
from lmconf.schema.declaration import fields
from lmconf.secrets.references import (
    Env,
    File,
    HiddenValues,
    MissingReference,
    resolve,
    resolve_parts,
)
from lmconf.secrets.secret_names import PUBLIC_NAMES, SECRET_WORDS, is_secret_name
from lmconf.spec.lm import LMSpec

SECRET = """
    api_key API_KEY api-key Api-Key apiKey apikey APIKey OPENAI_API_KEY OPENAI_APIKEY x-api-key
    X-Api-Key X-Goog-Api-Key my.api.key api_key_2 api_key2 OPENAI_API_KEY_1 api_keys
    Ocp-Apim-Subscription-Key subscription_key azure_ad_token azureAdToken AZURE_AD_TOKEN
    aws_access_key_id aws_secret_access_key aws_session_token AWSSecretAccessKey accessKeyId
    accessKeyID AWS_SECRET_ACCESS_KEY secretkey secret_key client_secret clientSecret client-secret
    clientsecret CLIENT_SECRET webhook_secret secrets secret secret2
    hf_token HF_TOKEN hfToken token TOKEN auth_token AuthToken authtoken access_token accessToken
    accesstoken refresh_token id_token bearer_token session_token GITHUB_TOKEN TEAM_TOKEN sas_token
    token_1 access_tokens jwt
    password Password PASSWORD db_password dbPassword passwd PGPASSWD passwords db_pwd passphrase
    vertex_credentials credentials credential google_application_credentials
    Authorization authorization Proxy-Authorization proxy_authorization X-Auth auth basic_auth
    cookie Cookie Set-Cookie
    PGPASSWORD connection_string AZURE_CONNECTION_STRING connectionString dsn SENTRY_DSN
    private_key privateKey ssh_key signing_key master_key license_key account_key storage_account_key
    encryption_key shared_key auth_key
""".split()  # fmt: skip
SECRET += ["session token", "Api Key"]

PUBLIC = """
    max_tokens max_completion_tokens maxTokens max_new_tokens max_output_tokens max_token num_tokens
    n_tokens token_count token_ids token_type tokenizer tokenizer_mode tokens prompt_tokens
    completion_tokens total_tokens logit_bias stop_token_ids return_tokens_as_token_ids
    eos_token bos_token pad_token unk_token sep_token cls_token mask_token eosToken eos_token_id
    pad_token_id decoder_start_token_id additional_special_tokens image_token end_token
    input_cost_per_token output_cost_per_token cost_per_token price_per_token time_to_first_token
    prompt_cache_key cache_key sort_key primary_key foreign_key partition_key routing_key key keys
    keyword keywords key_bias monkey hotkey public_key idempotency_key
    author authors authority authentication_method authorized authorization_url auth_url
    token_url token_endpoint secretary secret_name password_file password_policy passwordless
    cookies_enabled credentialed dsnap cwd pwd PWD bypass
    aws_region_name aws_profile_name api_base api_version api_type organization project endpoint
    model temperature top_k seed n user metadata headers extra X-Team X-Request-Id User-Agent
    Accept Content-Type traceparent database_url DATABASE_URL
""".split()  # fmt: skip


@pytest.mark.parametrize("name", SECRET)
def test_a_name_of_a_secret_is_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", [*PUBLIC, "", "_", "-", "日本"])
def test_other_names_are_left_alone(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize("word", sorted(SECRET_WORDS))
def test_every_word_of_the_list_is_known_in_every_spelling(word: str) -> None:
    kebab, camel = word.replace("_", "-"), "".join(map(str.title, word.split("_")))
    for name in (
        word,
        word.upper(),
        kebab,
        kebab.title(),
        f"my_{word}",
        f"x-{kebab}",
        f"my{camel}",
    ):
        assert is_secret_name(name), name


@pytest.mark.parametrize("name", sorted(PUBLIC_NAMES))
def test_every_public_name_would_be_a_secrets_without_the_list(name: str) -> None:
    assert not is_secret_name(name)
    assert is_secret_name(name.rpartition("_")[2])


def test_every_secret_field_of_an_lm_has_a_secrets_name_and_no_other_field() -> None:
    named = {name for name in fields(LMSpec) if is_secret_name(name)}
    assert named == {name for name, field in fields(LMSpec).items() if field.role == "secret"}


def test_the_variables_of_providers_keys_are_secret_and_those_of_addresses_are_not() -> None:
    for provider in PROVIDERS.values():
        assert provider.key_env is None or is_secret_name(provider.key_env)
        assert provider.base_env is None or not is_secret_name(provider.base_env)


# Where references lead


def test_a_variable_is_read_when_it_is_asked_for() -> None:
    reference = Env(name="ACME_KEY", format="Bearer {}")
    assert resolve(reference, {"ACME_KEY": "one"}) == "Bearer one"
    assert resolve_parts(reference, {"ACME_KEY": "{}"}) == ("Bearer {}", "{}")
    assert resolve(Env(name="ACME_KEY", default=5, type="int"), {}) == "5"
    assert resolve(Env(name="ACME_KEY", default="other"), {"ACME_KEY": ""}) == ""


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(MissingReference, match="ACME_KEY is not set"):
        resolve(Env(name="ACME_KEY"), {})


@pytest.mark.parametrize(
    ("content", "text"), [("key", "key"), ("key\n", "key"), ("key\r\n", "key"), ("", "")]
)
def test_a_files_last_line_break_is_no_part_of_the_secret(
    content: str, text: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    assert resolve(File(path=str(path))) == text


@pytest.mark.parametrize("content", ["a\nb", "a\r\nX-Evil: 1\n", "key\n\n", "a\0", "\x7f", "\ta"])
def test_control_characters_are_refused_without_being_shown(content: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    for reference in (File(path=str(path)), Env(name="ACME_KEY")):
        with pytest.raises(MissingReference, match="holds control characters") as refused:
            resolve(reference, {"ACME_KEY": content})
        assert "Evil" not in str(refused.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MissingReference, match=f"{path} cannot be read: "):
        resolve(File(path=str(path)))


def test_values_that_are_not_shown_are_asked_for_one_by_one() -> None:
    values = HiddenValues({"api_key": "the-secret"})
    assert values["api_key"] == "the-secret"
    assert dict(values) == values == {"api_key": "the-secret"}
    assert "the-secret" not in f"{values} {values!r}"
    assert pickle.loads(pickle.dumps(values)) == {}
