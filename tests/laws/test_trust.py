"""An untrusted document is data only, however it is written; code is imported by permission only."""

from __future__ import annotations

import itertools
import sys
import warnings
from pathlib import Path

import pytest

import lmconf
from lmconf.errors import AuthenticationFailed, CallError, ConnectionFailed, ProfileError
from lmconf.system.imports import import_path, is_allowed

ONE = "model: openai/tiny\n"
JSONL = "{use: jsonl, path: /elsewhere/x}"
DISK = "{backend: disk, path: /elsewhere/x}"
OTHER = "https://evil.example/v1"

REFUSED = [
    # Files, wherever they lie: what is written into them may be run or read by others
    ONE + "callbacks: [{use: jsonl, path: entrypoint.sh}]\n",
    ONE + "callbacks: [{use: jsonl, path: runs/calls.jsonl}]\n",
    ONE + "callbacks: [{use: meter}]\n",
    ONE + "callbacks: [{use: meter, path: Makefile}]\n",
    ONE + "cache: {store: {backend: disk, path: ./kept}}\n",
    ONE + "budget: {tokens: 9, per: day, store: {backend: disk, path: ./spent}}\n",
    # This machine's own store, its telemetry, and the loggers that it has set up
    ONE + "cache: {store: {backend: disk}}\n",
    ONE + "cache: {store: {backend: disk, max_size: 64KiB}}\n",
    ONE + "vars: {d: disk}\ncache: {store: {backend: '{{ vars.d }}', max_size: 64KiB}}\n",
    "stores: {s: {backend: disk, max_size: 64KiB}}\n"
    "lms: {a: {model: openai/tiny, cache: {store: s}}}\n",
    ONE + "budget: {tokens: 9, per: day, store: {backend: disk}}\n",
    ONE + "budget: {tokens: 9, per: day, store: {backend: memory}}\n",
    "budget: {tokens: 9, per: day, store: {backend: disk}}\nlms: {a: {model: openai/tiny}}\n",
    ONE + "callbacks: [{use: otel}]\n",
    ONE + "callbacks: [{use: litellm_logger, args: {name: langfuse}}]\n",
    # Files outside the folder, and hidden ones inside it
    ONE + f"callbacks: [{JSONL}]\n",
    ONE + "callbacks: [{use: jsonl, path: ../x}]\n",
    ONE + "callbacks: [{use: jsonl, path: ~/x}]\n",
    ONE + "callbacks: [{use: jsonl, path: .git/hooks/x}]\n",
    ONE + "callbacks: [{use: jsonl, path: a/../../x}]\n",
    ONE + "callbacks: [{use: jsonl, path: link/x}]\n",
    ONE + "callbacks: [{use: jsonl, path: {$value: /elsewhere/x}}]\n",
    ONE + f"callbacks: [{{$value: {JSONL}}}]\n",
    ONE + f"callbacks: {JSONL}\n",
    ONE + f"callbacks: {{$append: [{JSONL}]}}\n",
    ONE + f"callbacks: {{$prepend: [{{$value: {JSONL}}}]}}\n",
    ONE + "vars: {p: /elsewhere/x}\ncallbacks: [{use: jsonl, path: '{{ vars.p }}'}]\n",
    ONE + "vars: {p: elsewhere}\ncallbacks: [{use: jsonl, path: \"/{{ vars.p ~ '/x' }}\"}]\n",
    f"callbacks: {{a: {JSONL}}}\nlms: {{a: {{model: openai/tiny, callbacks: a}}}}\n",
    f"defaults: {{callbacks: [{JSONL}]}}\nlms: {{a: {{model: openai/tiny}}}}\n",
    f"lms: {{_b: {{callbacks: [{JSONL}]}}, a: {{extends: _b, model: openai/tiny}}}}\n",
    f"lms: {{a: {{model: openai/tiny, fallbacks: [{{model: openai/b, callbacks: {JSONL}}}]}}}}\n",
    ONE + f"cache: {{store: {DISK}}}\n",
    ONE + f"cache: {{store: {{$value: {DISK}}}}}\n",
    ONE + f"cache: {{$value: {{store: {DISK}}}}}\n",
    ONE + f"x-store: &s {DISK}\ncache: {{store: *s}}\n",
    ONE + "x-store: &s {path: /elsewhere/x}\ncache: {store: {backend: disk, <<: *s}}\n",
    ONE + "cache: {store: {path: /elsewhere/x, backend: disk}}\n",
    f"stores: {{s: {DISK}}}\nlms: {{a: {{model: openai/tiny, cache: {{store: s}}}}}}\n",
    f"stores: {{path: {DISK}}}\nlms: {{use: {{model: openai/tiny, cache: {{store: path}}}}}}\n",
    # Servers and training
    ONE + "launch_kwargs: {use: command, command: [touch, ran], port: 8080}\n",
    ONE + "launch_kwargs: {$value: {use: command, command: [touch, ran], port: 8080}}\n",
    ONE + "launch_kwargs: {use: llama_cpp}\n",
    ONE + "provider: llama_cpp\n",
    ONE + "provider: command\n",
    ONE + "provider: {$value: sglang}\n",
    ONE + "vars: {p: vllm}\nprovider: '{{ vars.p }}'\n",
    ONE + "train_kwargs: {use: command, command: [touch, ran]}\n",
    ONE + "train_kwargs: {$value: {n_epochs: 3}}\n",
    # Addresses, and what answers are kept under
    ONE + f"api_base: {OTHER}\napi_key: ''\n",
    ONE + f"api_base: {{$value: '{OTHER}'}}\napi_key: ''\n",
    ONE + f"vars: {{b: '{OTHER}'}}\napi_base: '{{{{ vars.b }}}}'\napi_key: ''\n",
    ONE + "api_base: {$env: OPENAI_API_BASE}\napi_key: ''\n",
    ONE + f"fallbacks: [{{model: openai/b, api_base: '{OTHER}', api_key: ''}}]\n",
    ONE + f"fallbacks: {{$value: [{{model: openai/b, api_base: '{OTHER}', api_key: ''}}]}}\n",
    f"defaults: {{api_base: '{OTHER}', api_key: ''}}\nlms: {{a: {{model: openai/tiny}}}}\n",
    ONE + "endpoint: house\n",
    ONE + "endpoint: {$value: house}\n",
    ONE + "allow_http: true\n",
    ONE + "transport: acme\n",
    ONE + "transport: {use: litellm, args: {base_url: 'https://evil.example'}}\n",
    ONE + "transport: {$value: {use: litellm, args: {top: 1}}}\n",
    ONE + "cache: {store: {backend: redis, url: 'redis://evil.example', namespace: a}}\n",
    ONE + "cache: {store: {$value: {backend: redis, url: 'redis://evil.example', namespace: a}}}\n",
    "model: bedrock/tiny\naws_profile_name: prod\n",
    "model: bedrock/tiny\naws_region_name: eu-west-1\n",
    "model: bedrock/eu-west-1/tiny\n",
    "model: bedrock/arn:aws:bedrock:eu-west-1:123456789012:inference-profile/other\n",
    "model: vertex_ai/tiny\nvertex_project: another\n",
    ONE + "organization: another\n",
    ONE + "project: another\n",
    ONE + "headers: {OpenAI-Organization: another}\n",
    ONE + "metadata: {user_id: another}\n",
    ONE + "user: another\n",
    ONE + "limits: {rpm: 1}\n",
    ONE + "retry: {breaker: {after: 1, rest: 10h}}\n",
    ONE + "retry: {budget: false}\n",
    ONE + "pricing: {input: 0, output: 0}\n",
    ONE + "base_model: openai/gpt-4o-mini\n",
    ONE + "cache: {namespace: another}\n",
    # A credential of its own: the prompts are then in an account of its writer's
    ONE + "api_key: {$public: of-another}\n",
    "defaults: {api_key: {$public: of-another}}\nlms: {a: {model: openai/tiny}}\n",
    # Bodies that lead further, and tools that servers run
    ONE + "extra: {api_base: https://evil.example}\n",
    ONE + "extra: {conversation: of-another}\n",
    ONE + "extra: {$value: {mock_response: invented}}\n",
    ONE + "x-e: &e {mcp_servers: []}\nextra: *e\n",
    ONE + "x-e: &e {mcp_servers: []}\nextra: {<<: *e}\n",
    ONE + "model_type: responses\ntools: [{type: mcp, server_url: https://evil.example}]\n",
    ONE + "model_type: responses\ntools: {$append: [{type: mcp, server_url: https://a.example}]}\n",
    ONE + "model_type: responses\ntools: [{$value: {type: code_interpreter}}]\n",
    ONE + "model_type: responses\nvars: {t: mcp}\ntools: [{type: '{{ vars.t }}'}]\n",
    # Names that are more than a model's
    "model: openai/../tiny\n",
    "model: openai/./tiny\n",
    "model: openai/a//b\n",
    "model: openai/a b\n",
    "model: openai/a?b=c\n",
    "model: openai/a#b\n",
    "model: openai/a%2fb\n",
    "model: openai/$(touch ran)\n",
    "model: openai/`touch ran`\n",
    'model: "openai/a\\n\\ttouch ran"\n',
    "vars: {m: ../b}\nmodel: 'openai/{{ vars.m }}'\n",
    "lms: {a: {model: {$value: openai/../b}}}\n",
    ONE + "fallbacks: [{model: openai/a?b}]\n",
    # More than anything may take that says nothing
    ONE + "num_retries: 100\n",
    ONE + "deadline: 7d\n",
    ONE + "timeout: 20min\ndeadline: 30min\n",
    ONE + "max_body: 1GiB\n",
    ONE + "history: {max: 1000000}\n",
    ONE + "cache: {store: {backend: memory, max_entries: 1000000}}\n",
    ONE + "cache: {store: {backend: memory, max_size: 1GiB}}\n",
    ONE + "vars: {n: 50}\nnum_retries: '{{ vars.n }}'\n",
    "defaults: {num_retries: 50}\nlms: {a: {model: openai/tiny}}\n",
    # Code
    ONE + "callbacks: [{use: 'os:system'}]\n",
    ONE + "callbacks: [{use: {$value: 'os:system'}}]\n",
    ONE + "callbacks: [{$value: {use: 'os:system'}}]\n",
    ONE + "vars: {u: 'os:system'}\ncallbacks: [{use: '{{ vars.u }}'}]\n",
    ONE + "x-c: &c {use: 'os:system'}\ncallbacks: [*c]\n",
    # References
    ONE + "api_key: {$env: OPENAI_API_KEY}\n",
    ONE + "api_key: {$env: HOME}\n",
    ONE + "api_key: {$file: /etc/passwd}\n",
    ONE + "api_key: {$file: key.txt}\n",
    ONE + "api_key: {$given: api_key}\n",
    ONE + "headers: {X-Team: {$env: HOME}}\n",
    ONE + "extra: {a: [{token: {$env: HOME}}]}\n",
    ONE + "metadata: {a: {$env: HOME}}\n",
    ONE + "metadata: {a: {$append: [{$env: HOME}]}}\n",
    ONE + "vars: {h: {$env: HOME}}\nmetadata: {a: '{{ vars.h }}'}\n",
    ONE + "vars: {h: [{$env: HOME}]}\n",
    ONE + "x-a: {$env: HOME}\n",
    # Other documents
    ONE + "extends: ../outside.yaml\n",
    ONE + "extends: outside-link.yaml\n",
    ONE + "extends: link/outside.yaml\n",
    ONE + "extends: /etc/hosts\n",
    ONE + "extends: ~/profile.yaml\n",
    ONE + "extends: [./inside.yaml, ./sub/../../outside.yaml]\n",
    "lms: {a: {extends: 'inside:main', model: openai/tiny}}\n",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for documents, with ways out of it."""
    folder = tmp_path / "documents"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "outside.yaml").write_text("temperature: 0.5\n")
    (folder / "inside.yaml").write_text("temperature: 0.5\n")
    (folder / "link").symlink_to(tmp_path)
    (folder / "outside-link.yaml").symlink_to(tmp_path / "outside.yaml")
    return folder


@pytest.mark.parametrize("text", REFUSED)
def test_an_untrusted_document_is_data_however_it_is_written(
    text: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/elsewhere")
    path = folder / "p.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError) as refused:
        # Even where an import was allowed: an untrusted document names no code.
        lmconf.load(path, untrusted=True, allow_imports=["os:system"])
    codes = {each.code for each in refused.value.diagnostics}
    assert codes & {"untrusted", "extends-unknown"}, codes
    assert "elsewhere" not in {path.name for path in folder.parent.iterdir()}


NAMES_WHAT_IS_NOT_THERE = ("transport: acme", "extends: /etc", "~/profile", "side:main")


@pytest.mark.parametrize(
    "text", [text for text in REFUSED if not any(word in text for word in NAMES_WHAT_IS_NOT_THERE)]
)
def test_what_is_refused_is_refused_for_want_of_trust_alone(text: str, folder: Path) -> None:
    """Otherwise the test above would show nothing."""
    path = folder / "p.yaml"
    path.write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lmconf.ProfileWarning)
        lmconf.load(path, allow_imports=["os:system"])


@pytest.mark.parametrize(
    "text",
    [
        ONE,
        ONE + "extends: ./inside.yaml\n",
        ONE + "temperature: 0.3\nextra: {top_k: 4, repetition_penalty: 1.1}\n",
        ONE + "provenance: {url: 'https://a.example', use: 'a:b', provider: sglang, path: /etc}\n",
        ONE + "num_retries: 0\ntimeout: 20s\ndeadline: 1min\nmax_body: 1MiB\nhistory: false\n",
        ONE + "retry: {initial: 1s, max: 5s, jitter: none}\nbudget: {tokens: 9, per: day}\n",
        ONE + "cache: {ttl: 1d, mode: refresh, store: {backend: memory, max_entries: 9}}\n",
        ONE + "fallbacks: [{model: anthropic/tiny}, {model: bedrock/us.anthropic.tiny-v1:0}]\n",
        "model: openai/ft:gpt-4o-mini-2024-07-18:acme::9xyz\n",
        "model: together_ai/meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo\n",
        ONE + "tools: [{type: function, function: {name: f, parameters: {properties: {url: {}}}}}]\n",
        ONE + "vars: {url: a, path: b}\nstop: '{{ vars.url }}'\n",
        ONE + "callbacks: [{use: log, level: debug}]\n",
        "callbacks: {a: {use: log}}\nstores: {m: {backend: memory}}\n"
        "lms: {a: {model: openai/tiny, callbacks: a, cache: {store: m}}}\n",
        ONE + "cache: false\n",
        ONE + "api_key: ''\n",
        ONE + "api_key: {$env: ALLOWED}\n",
        ONE + "stop: {$value: ['{{ no template }}']}\n",
        "lms: {url: {model: openai/tiny}, path: {model: azure/tiny}, use: {extends: url}}\n",
        "model: ollama_chat/tiny\n",
    ],
)  # fmt: skip
def test_an_untrusted_document_may_say_what_is_data(text: str, folder: Path) -> None:
    path = folder / "p.yaml"
    path.write_text(text)
    lmconf.load(path, untrusted=True, allow_env=["ALLOWED"])


def test_an_untrusted_mapping_extends_nothing_outside_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    lmconf.load({"model": "openai/tiny", "extends": "./inside.yaml"}, untrusted=True)
    with pytest.raises(ProfileError, match="untrusted"):
        lmconf.load({"model": "openai/tiny", "extends": "../outside.yaml"}, untrusted=True)


def test_what_the_application_lays_over_a_document_needs_no_trust(folder: Path) -> None:
    path = folder / "p.yaml"
    path.write_text(ONE)
    own = {"api_base": "https://llm.acme.example/v1", "api_key": {"$env": "ACME_KEY"}}
    profile = lmconf.load(path, untrusted=True, overrides=own)
    assert profile.lm.spec.api_base == own["api_base"]
    path.write_text(ONE + "cache: {store: {backend: disk, path: {$value: /elsewhere}}}\n")
    with pytest.raises(ProfileError, match="untrusted"):
        lmconf.load(path, untrusted=True, overrides={"cache.ttl": "1d"})


# Addresses by other doors


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "huggingface/https://evil.example/v1", "api_key": "k"},
        {"model": "openai/tiny", "headers": {"Host": "evil.example"}},
        {"model": "openai/tiny", "headers": {"Transfer-Encoding": "chunked"}},
        {"model": "bedrock/tiny", "aws_region_name": "evil.example/?"},
        {"model": "vertex_ai/tiny", "vertex_location": "evil.example#"},
        {"model": "bedrock/tiny", "api_base": "https://evil.example"},
        {"model": "vertex_ai/tiny", "api_base": "https://evil.example"},
        {"model": "openai/tiny", "api_key": "k", "api_base": "https://evil.example/v1?a=b"},
        {"model": "openai/tiny", "api_base": "https://evil.example/v1"},
    ],
)
def test_no_other_field_is_a_way_to_another_address(settings: dict[str, object]) -> None:
    with pytest.raises(ProfileError) as refused:
        lmconf.LM(**settings)  # type: ignore[arg-type]
    codes = {each.code for each in refused.value.diagnostics}
    assert codes <= {"no-model", "bad-name", "bad-address", "no-credential", "wrong-type"}


@pytest.mark.parametrize("provider", ["replicate", "nlp_cloud"])
@pytest.mark.parametrize("name", ["api_base", "base_url", "custom_llm_provider"])
def test_the_body_is_no_way_to_another_address(provider: str, name: str) -> None:
    lm = lmconf.LM(f"{provider}/tiny", api_key="the-key")
    extra = {name: "http://127.0.0.1:9"}
    for way in (lambda: lm("hi", extra=extra, cache=False), lambda: lm.copy(extra=extra)):
        with pytest.raises(ProfileError, match=f"might act on `{name}`"):
            way()


def test_the_environment_is_no_way_to_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_BASE", "http://127.0.0.1:9")
    with pytest.raises(ConnectionFailed, match="REPLICATE_API_BASE would change") as refused:
        lmconf.LM("replicate/tiny", api_key="the-key")("hi", cache=False)
    assert "api_base: {$env: REPLICATE_API_BASE}" in refused.value.help


def test_a_region_of_the_environment_is_judged_when_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REGION", "evil.example/?")
    lm = lmconf.LM("bedrock/tiny", aws_region_name={"$env": "REGION"})
    with pytest.raises(ConnectionFailed, match="`aws_region_name` does not give a region"):
        lm("hi", cache=False)


def test_a_public_null_is_no_call_for_the_environments_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REPLICATE_API_KEY", "ambient")
    with pytest.raises((AuthenticationFailed, CallError), match="no credential is sent"):
        lmconf.LM("replicate/tiny", api_key={"$public": None})("hi", cache=False)


# Import paths


@pytest.mark.parametrize(
    "path",
    [
        "os:system",
        "acme_evil:Meter",
        "acme_evil.hooks:Meter",
        "acmeevil:Meter",
        "evil.acme.hooks:Meter",
        "acme:",
        "acme",
        ":Meter",
        ".acme.hooks:Meter",
        "..acme:Meter",
        "acme..hooks:Meter",
        "acme.hooks.:Meter",
        "acme.hooks:Meter.__init__.__globals__",
        "acme.hooks:os.system",
        "acme.hooks: Meter",
        " acme.hooks:Meter",
        "acme.hooks:Meter\n",
        "acme.hooks:Meter:Other",
        "acme/../os:system",
        "ACME.hooks:Meter",
        "\uff41cme.hooks:Meter",
        "acme\u2024hooks:Meter",
        "acme\0.hooks:Meter",
        "*:Meter",
        "acme.*:Meter",
    ],
)
def test_a_package_allows_itself_and_nothing_that_looks_like_it(path: str) -> None:
    assert not is_allowed(path, frozenset({"acme.*", "acme.hooks", "acme.hooks:Meter"}))


FRESH = itertools.count()
SOURCE = """
import os, subprocess, functools
from os import system
from os import path as hidden
renamed = os.popen
partial = functools.partial(os.system)
class Meter: pass
class Sneaky(Meter): pass
Sneaky.__module__ = "os"
builtin = eval
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"trusted{next(FRESH)}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / name / "hooks.py").write_text(SOURCE)
    (tmp_path / f"{name}_evil.py").write_text("raise SystemError('this was imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize(
    "attribute", "os system hidden renamed partial Sneaky builtin subprocess functools".split()
)
def test_what_an_allowed_module_holds_of_others_is_refused(package: str, attribute: str) -> None:
    with pytest.raises(ProfileError) as refused:
        import_path(f"{package}.hooks:{attribute}", frozenset({f"{package}.*"}))
    assert refused.value.diagnostics[0].code in ("import-not-allowed", "import-failed")


def test_a_neighbour_of_an_allowed_package_is_not_even_imported(package: str) -> None:
    with pytest.raises(ProfileError):
        import_path(f"{package}_evil:Meter", frozenset({f"{package}.*"}))
    assert f"{package}_evil" not in sys.modules
    assert import_path(f"{package}.hooks:Meter", frozenset({f"{package}.*"})) is not None
