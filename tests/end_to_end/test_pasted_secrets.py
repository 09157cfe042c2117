"""Law 5 before any call: a secret in the wrong place is refused, and never repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import lmconf
from lmconf.cli.entry import run
from lmconf.runtime import LM
from tests.artefacts import MARK, failure_of, held, shown


@pytest.mark.parametrize(
    "act",
    [
        lambda: LM("openai/tiny", api_key=MARK, temperature=99),
        lambda: LM("openai/tiny", headers={"X-Api-Key": MARK}, no_such_setting=1),  # type: ignore[call-arg]
        lambda: LM("openai/tiny", extra={"deep": [{"password": MARK}]}, n=0),
        lambda: LM("openai/tiny", api_key=[MARK]),  # type: ignore[arg-type]
        lambda: LM("openai/tiny", api_key={"$evn": MARK}),
        lambda: LM("openai/tiny", openai_api_key=MARK),  # type: ignore[call-arg]
        lambda: LM("openai/tiny", api_key=MARK.encode()),  # type: ignore[arg-type]
        lambda: LM("openai/tiny").copy(api_key=MARK, temperature=99),
        lambda: LM("openai/tiny", api_key=MARK).copy(model="groq/tiny"),
        lambda: LM("openai/tiny", api_key="")("hi", api_key=MARK),  # type: ignore[call-arg]
        lambda: LM("openai/tiny", api_key="").ask("hi", headers={"X-Api-Key": MARK}),
        lambda: LM("openai/tiny", api_key="").stream("hi", extra={"access_token": MARK}),
        lambda: asyncio.run(LM("openai/tiny", api_key="").acall("hi", headers={"a": {"token": MARK}})),
        lambda: LM("openai/tiny", api_key=f"{MARK}\r\nX-Evil: 1")("hi"),
        lambda: LM("openai/tiny", api_key=MARK, headers={"X-Team": {"$env": "ABSENT"}})("hi"),
        lambda: LM("openai/tiny", api_base={"$env": "BAD_BASE"}, api_key="")("hi"),
        lambda: LM("openai/tiny", api_base={"$env": "USER_BASE"}, api_key="")("hi"),
        lambda: LM("openai/tiny", api_base={"$env": "QUERY_BASE"}, api_key="")("hi"),
        lambda: LM("openai/tiny", api_base={"$env": "FAR_BASE"}, api_key="")("hi"),
        lambda: LM("openai/tiny", api_key={"$env": "SPLIT"})("hi"),
        lambda: lmconf.load({"model": "openai/tiny", "api_key": MARK}),
        lambda: lmconf.load({"model": "openai/tiny", "headers": {"X-Api-Key": MARK}}, untrusted=True),
        lambda: lmconf.load({"model": "openai/tiny"}, overrides={"api_key": MARK}),
        lambda: lmconf.load({"model": "openai/tiny"}, overrides={"headers.X-Api-Key": MARK}),
        lambda: lmconf.load({"model": "openai/tiny"}, vars={"api_key": MARK}),
        lambda: lmconf.load({"model": "openai/tiny", "vars": {"api_key": MARK}}),
        lambda: lmconf.load_state({"lmconf": 1, "model": "openai/tiny", "api_key": MARK}),
        lambda: lmconf.load_state({"_dspy_lm_class": "LM", "model": "openai/tiny", "hf_token": MARK}),
    ],
)  # fmt: skip
def test_a_mistake_in_code_is_told_without_the_secret_beside_it(
    act: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAD_BASE", f"ftp://{MARK}")
    monkeypatch.setenv("USER_BASE", f"http://user:{MARK}@127.0.0.1:9/v1")
    monkeypatch.setenv("QUERY_BASE", f"http://127.0.0.1:9/v1?key={MARK}")
    monkeypatch.setenv("FAR_BASE", f"http://{MARK}.example/v1")
    monkeypatch.setenv("SPLIT", f"{MARK}\r\nX-Evil: 1")
    assert held(shown(failure_of(act))) == []


PASTED = [
    "model: openai/tiny\napi_key: {it}\n",
    'model: openai/tiny\napi_key: "{it}"\n',
    "{{model: openai/tiny, api_key: {it}, temperature: 99}}\n",
    "model: openai/tiny\napi_key: |\n  {it}\n",
    "model: openai/tiny\napi_key: >-\n  {it}\n  {it}\ntemperature: hot\n",
    "model: openai/tiny\napi_key: [{it}, {{a: {it}}}]\n",
    "model: openai/tiny\nx-parked: &key {it}\napi_key: *key\n",
    "model: openai/tiny\nx-parked: &all {{api_key: {it}}}\n<<: *all\n",
    "model: openai/tiny\napi_key: {it}\napi_key: {it}\n",
    "model: openai/tiny\napi_key: {it}\n\ttemperature: 1\n",
    "model: openai/tiny\napi_key: '{it}\n",
    "model: openai/tiny\napi_key: !secret {it}\n",
    "model: openai/tiny\napi_key: {it} # {it}\nn: many\n",
    "model: openai/tiny\napi_key: {{$env: {{a: {it}}}}}\n",
    "model: openai/tiny\napi_key: {{$evn: '{it}'}}\n",
    "model: openai/tiny\napi_key: {{$env: KEY, default: {it}}}\n",
    "model: openai/tiny\napi_key: {{$env: KEY, format: 'Bearer {it} {{}}'}}\n",
    "model: openai/tiny\napi_key: {{$value: {it}}}\n",
    "model: openai/tiny\napi_key: '{it}{{{{ vars.a }}}}'\nvars: {{a: b}}\n",
    "model: openai/tiny\napi_key: {it}{{{{ vars.b }}}}\nvars: {{a: b}}\n",
    "model: openai/tiny\nopenai_api_key: {it}\n",
    "model: openai/tiny\nheaders: {{Authorization: Bearer {it}}}\n",
    "model: openai/tiny\nheaders:\n  X-Api-Key: {it}\n  X-Team: 5\n",
    "model: openai/tiny\nextra: {{deep: [{{client_secret: {it}}}]}}\n",
    "model: openai/tiny\nmetadata: {{password: {it}}}\n",
    "model: openai/tiny\ntrain_kwargs: {{hf_token: {it}}}\n",
    "model: openai/tiny\nlaunch_kwargs: {{use: vllm, env: {{HF_TOKEN: {it}}}}}\n",
    "model: openai/tiny\nlaunch_kwargs: {{use: vllm, args: {{api-key: {it}}}}}\n",
    "model: openai/tiny\nlaunch_kwargs: {{use: command, command: [run, --api-key, {it}]}}\n",
    "model: openai/tiny\nlaunch_kwargs: {{use: command, command: [run, --api-key={it}]}}\n",
    "model: openai/tiny\ntransport: {{args: {{aws_session_token: {it}}}}}\n",
    "model: openai/tiny\ncallbacks: [{{use: 'a:B', args: {{dsn: {it}}}}}]\n",
    "model: openai/tiny\ncache: {{store: {{backend: redis, url: 'redis://:{it}@h/0', namespace: a}}}}\n",
    "model: openai/tiny\napi_base: https://user:{it}@llm.example/v1\n",
    "model: openai/tiny\napi_base: https://llm.example/v1?api_key={it}\n",
    "model: openai/tiny\nvars: {{token: {it}}}\n",
    "model: openai/tiny\nvars: {{a: {{$env: MY_TOKEN, default: {it}}}}}\n",
    "model: openai/tiny\nprovenance: {{secret: {it}}}\n",
    "lms:\n  gpt: {{model: openai/tiny, api_key: {it}}}\n  other: {{extends: gpt, n: many}}\n",
    "stores: {{team: {{backend: redis, password: {it}}}}}\nlms: {{a: {{model: openai/tiny}}}}\n",
    "defaults: {{api_key: {it}}}\nlms: {{a: {{model: openai/tiny}}, b: {{model: groq/tiny}}}}\n",
    "lms: {{_base: {{api_key: {it}}}, b: {{extends: _base, model: groq/tiny}}}}\n",
    "fallbacks: [{{model: openai/tiny, api_key: {it}}}]\nmodel: openai/tiny\n",
]  # fmt: skip


@pytest.mark.parametrize("document", PASTED)
def test_a_secret_pasted_into_a_document_is_refused_and_never_repeated(
    document: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text(document.format(it=MARK))
    artefacts = shown(failure_of(lambda: lmconf.load(path)))
    artefacts |= shown(failure_of(lambda: lmconf.load(path, untrusted=True)))
    for arguments in (["validate"], ["validate", "--format", "json"], ["show"], ["dump"]):
        assert run([*arguments, str(path)]) == 1
    artefacts["output"] = repr(capfd.readouterr())
    assert held(artefacts) == []
