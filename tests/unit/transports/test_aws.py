"""Bedrock and SageMaker at a socket: signed by what the profile says, and by nothing else."""

from __future__ import annotations

import json
import re
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import ThreadedMotoServer

from lmconf.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    ConnectionFailed,
    NotCarriedOut,
    RateLimited,
    Timeout,
)
from lmconf.transports import Phases, Transport, make
from lmconf.transports.specs import TransportSpec
from tests.clouds import (
    CONVERSED,
    STREAMED,
    WHOLE,
    Way,
    asking,
    conversation,
    event,
    exception,
    frame,
    framed,
    invoked,
    parts,
    text_of,
)
from tests.loopback import Received, Reply, anthropic, chat, chat_chunks, serving, sse

AMBIENT = "ambient-secret-of-the-machine"
ACCOUNT = {
    "aws_access_key_id": "AKIDOFTHEPROFILE",
    "aws_secret_access_key": "the/secret+of-the-profile",
    "aws_session_token": "the-session-of-the-profile",
    "aws_region_name": "eu-central-1",
}
CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
TGI = [
    b"data:" + json.dumps(said).encode() + b"\n\n"
    for said in (
        {"token": {"text": "Hel"}, "generated_text": None, "details": None},
        {"token": {"text": "lo."}, "generated_text": None, "details": None},
        {
            "token": {"text": ""},
            "generated_text": "Hello.",
            "details": {"finish_reason": "eos_token"},
        },
    )
]
INVOKED = (
    {"type": "message_start", "message": {"id": "x", "role": "assistant", "usage": {}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo."}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
)
# model, whole answer, the stream's frames, the paths of both
ROUTES: dict[tuple[str, str], tuple[Any, list[bytes], str, str]] = {
    ("bedrock", CLAUDE): (
        CONVERSED,
        conversation("Hel", "lo."),
        "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
        "-stream",
    ),
    ("bedrock", f"invoke/{CLAUDE}"): (
        anthropic(),
        invoked(*INVOKED),
        f"/model/{CLAUDE}/invoke",
        "-with-response-stream",
    ),
    ("sagemaker", "my-endpoint"): (
        [{"generated_text": "Hello."}],
        parts(*TGI),
        "/endpoints/my-endpoint/invocations",
        "-response-stream",
    ),
    ("sagemaker_chat", "my-endpoint"): (
        chat(),
        parts(*sse(*chat_chunks("Hel", "lo."))),
        "/endpoints/my-endpoint/invocations",
        "-response-stream",
    ),
}
NOVA = ("sagemaker_nova", "my-endpoint")
ROUTES[NOVA] = ROUTES["sagemaker_chat", "my-endpoint"]


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = make(TransportSpec())
    yield made
    made.close()


@pytest.fixture(autouse=True)
def hostile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with an account of its own, whose variables lead elsewhere."""
    for name in (
        "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_BEARER_TOKEN_BEDROCK"
    ).split():
        monkeypatch.setenv(name, AMBIENT)
    for name in (
        "AWS_BEDROCK_RUNTIME_ENDPOINT AWS_ENDPOINT_URL AWS_ENDPOINT_URL_BEDROCK_RUNTIME"
        " AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME SAGEMAKER_BASE_URL"
    ).split():
        monkeypatch.setenv(name, "http://127.0.0.1:9/elsewhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def signature(received: Received, url: str, account: dict[str, str], service: str) -> str:
    """The header that AWS expects, computed anew by its own SDK from what was received."""
    now = datetime.strptime(f"{received.header('x-amz-date')}+0000", "%Y%m%dT%H%M%SZ%z")
    signed = re.search(r"SignedHeaders=([^,]+)", str(received.header("authorization")))
    assert signed is not None
    names = set(signed[1].split(";")) - {"host", "x-amz-date", "x-amz-security-token"}
    request = AWSRequest(
        method="POST",
        url=f"{url}{received.path}",
        data=received.body,
        headers={name: received.header(name) for name in names},
    )
    credentials = Credentials(
        account["aws_access_key_id"],
        account["aws_secret_access_key"],
        account.get("aws_session_token"),
    )
    with mock.patch(
        "botocore.auth.get_current_datetime", lambda *_, **__: now.replace(tzinfo=None)
    ):
        SigV4Auth(credentials, service, account["aws_region_name"]).add_auth(request)
    return str(request.headers["Authorization"])


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize(("provider", "model"), ROUTES)
def test_a_request_is_signed_over_what_was_sent_by_the_account_of_the_profile(
    provider: str, model: str, way: Way, transport: Transport
) -> None:
    whole, frames, path, streamed = ROUTES[provider, model]
    with serving(framed(frames) if way in STREAMED else Reply(json=whole)) as server:
        request = asking(server, provider, model, other=ACCOUNT, extra={"top_k": 40})
        assert text_of(way(transport, request)) == "Hello."
        [received] = server.received
        url = server.url
    assert received.path == path + (streamed if way in STREAMED else "")
    assert received.json["top_k"] == 40
    service = "bedrock" if provider == "bedrock" else "sagemaker"
    expected = signature(received, url, ACCOUNT, service)
    assert received.header("authorization") == expected
    assert received.header("x-amz-security-token") == ACCOUNT["aws_session_token"]
    for word in (AMBIENT, "lmconf-places", ACCOUNT["aws_secret_access_key"], "sagemaker_base_url"):
        assert word not in received.text
    assert received.text.count(ACCOUNT["aws_access_key_id"]) == 1
    assert {name.lower() for name, _ in received.headers} == set(
        "accept accept-encoding authorization connection content-length content-type host"
        " user-agent x-amz-date x-amz-security-token".split()
    )


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize(("provider", "model"), [route for route in ROUTES if route != NOVA])
def test_text_is_sent_as_the_only_message(
    provider: str, model: str, way: Way, transport: Transport
) -> None:
    whole, frames, _, _ = ROUTES[provider, model]
    with serving(framed(frames) if way in STREAMED else Reply(json=whole)) as server:
        request = asking(server, provider, model, "text", other=ACCOUNT)
        assert text_of(way(transport, request)) == "Hello."
        assert server.received[0].text.count("Say hello.") == 1


@pytest.mark.parametrize("way", STREAMED)
@pytest.mark.parametrize(("provider", "model"), ROUTES)
def test_a_stream_that_is_cut_is_no_whole_answer(
    provider: str, model: str, way: Way, transport: Transport
) -> None:
    frames = ROUTES[provider, model][1]
    cut = frames[: 3 if provider == "bedrock" else 2]
    with serving(framed(cut)) as server, pytest.raises(BadResponse, match="truncated") as raised:
        way(transport, asking(server, provider, model, other=ACCOUNT))
    assert raised.value.partial.startswith("Hel")


@pytest.mark.parametrize("way", STREAMED)
def test_an_answer_that_talks_of_its_end_does_not_end(way: Way, transport: Transport) -> None:
    frames = conversation('{"stopReason": "end_turn"}', '"finish_reason":"stop"')[:3]
    with serving(framed(frames)) as server, pytest.raises(BadResponse, match="truncated"):
        way(transport, asking(server, "bedrock", CLAUDE, other=ACCOUNT))


@pytest.mark.parametrize("way", STREAMED)
def test_frames_may_come_in_pieces_of_any_size(way: Way, transport: Transport) -> None:
    whole = b"".join(conversation("Hel", "lo."))
    pieces = [whole[at : at + 7] for at in range(0, len(whole), 7)]
    with serving(framed(pieces)) as server:
        answer = way(transport, asking(server, "bedrock", CLAUDE, other=ACCOUNT))
    assert text_of(answer) == "Hello."


@pytest.mark.parametrize("way", STREAMED)
def test_a_failure_inside_of_a_stream_is_told_by_its_kind(way: Way, transport: Transport) -> None:
    frames = [*conversation("Hel")[:2], exception("throttlingException", "Too many requests.")]
    with serving(framed(frames)) as server, pytest.raises(RateLimited) as raised:
        way(transport, asking(server, "bedrock", CLAUDE, other=ACCOUNT))
    assert raised.value.message == "Too many requests."


def broken_frames() -> dict[str, bytes]:
    """Frames that nobody may read on after, each broken in its own way."""
    sound = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hel"}})
    headers = b"\x01a\x63"  # 0x63 is no type of a header
    prelude = struct.pack(">II", 16 + len(headers), len(headers))
    odd = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers
    return {
        "no frame": b"\x00" * 64,
        "an empty length": struct.pack(">III", 0, 0, zlib.crc32(bytes(8))) + bytes(64),
        "a wrong checksum": sound[:-8] + bytes([sound[-8] ^ 1]) + sound[-7:],
        "a wrong checksum of the lengths": sound[:9] + bytes([sound[9] ^ 1]) + sound[10:],
        "an odd header": odd + struct.pack(">I", zlib.crc32(odd)),
    }


@pytest.mark.parametrize("way", STREAMED)
@pytest.mark.parametrize("broken", broken_frames())
def test_a_malformed_frame_is_a_bad_response(broken: str, way: Way, transport: Transport) -> None:
    pieces = [conversation("Hel")[0], broken_frames()[broken]]
    malformed = pytest.raises(BadResponse, match="a frame of the stream is malformed")
    with serving(framed(pieces)) as server, malformed:
        way(transport, asking(server, "bedrock", CLAUDE, other=ACCOUNT))


@pytest.mark.parametrize("way", STREAMED)
def test_frames_cannot_be_read_without_the_package_that_reads_them(
    way: Way, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "botocore.eventstream", None)
    missing = pytest.raises(NotCarriedOut, match="needs the package botocore")
    with serving(framed(conversation("Hel"))) as server, missing:
        way(transport, asking(server, "bedrock", CLAUDE, key="the-bedrock-key-0123"))


@pytest.mark.parametrize("way", WHOLE)
@pytest.mark.parametrize("key", ["the-bedrock-key-0123", ""])
def test_a_key_takes_the_place_of_the_signature(key: str, way: Way, transport: Transport) -> None:
    with serving(CONVERSED) as server:
        way(transport, asking(server, "bedrock", CLAUDE, key=key))
        [received] = server.received
    assert received.header("authorization") == (f"Bearer {key}" if key else None)
    assert AMBIENT not in received.text


def test_a_rotated_account_signs_the_next_request(transport: Transport) -> None:
    with serving(CONVERSED) as server:
        for number in range(2):
            account = {**ACCOUNT, "aws_access_key_id": f"AKID{number}"}
            transport.complete(asking(server, "bedrock", CLAUDE, other=account))
        said = [str(received.header("authorization")) for received in server.received]
    assert ["Credential=AKID0/" in said[0], "Credential=AKID1/" in said[1]] == [True, True]


def test_a_named_account_of_the_configuration_files_signs(
    transport: Transport, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[profile prod]\nregion = ap-south-1\n")
    (tmp_path / "credentials").write_text(
        "[prod]\naws_access_key_id = AKIDOFPROD\naws_secret_access_key = of-prod\n"
    )
    with serving(CONVERSED) as server:
        transport.complete(asking(server, "bedrock", CLAUDE, other={"aws_profile_name": "prod"}))
        said = str(server.received[0].header("authorization"))
    assert "Credential=AKIDOFPROD/" in said
    assert "/ap-south-1/bedrock/" in said


def test_the_machines_own_account_never_goes_to_an_address_of_the_profile(
    transport: Transport,
) -> None:
    with serving(CONVERSED) as server:
        with pytest.raises(AuthenticationFailed, match=r"is not stated|does not state"):
            transport.complete(
                asking(server, "bedrock", CLAUDE, other={"aws_region_name": "us-east-1"})
            )
        assert server.received == []


@pytest.mark.parametrize(
    ("provider", "region", "host"),
    [
        ("bedrock", "us-east-1", "bedrock-runtime.us-east-1.amazonaws.com"),
        ("bedrock", "cn-north-1", "bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        ("sagemaker", "eu-west-3", "runtime.sagemaker.eu-west-3.amazonaws.com"),
        ("sagemaker_chat", "us-gov-west-1", "runtime.sagemaker.us-gov-west-1.amazonaws.com"),
    ],
)
def test_the_region_decides_the_host_and_the_machines_account_signs(
    provider: str,
    region: str,
    host: str,
    transport: Transport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOFTHEMACHINE")
    with serving(chat()) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with pytest.raises(ConnectionFailed, match=r"closed|no connection") as raised:
            transport.complete(asking("", provider, CLAUDE, other={"aws_region_name": region}))
    assert host in str(raised.value)


def test_a_region_that_would_lead_elsewhere_is_refused(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "evil.example/?")
    with pytest.raises(BadRequest, match="is no AWS region"):
        transport.complete(asking("", "bedrock", CLAUDE))


def test_no_region_and_no_account_are_told_with_a_next_step(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadRequest, match="region") as no_region:
        transport.complete(asking("", "bedrock", CLAUDE))
    assert "aws_region_name" in str(no_region.value)
    for name in "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN".split():
        monkeypatch.delenv(name)
    region = {"aws_region_name": "us-east-1"}
    with pytest.raises(AuthenticationFailed, match="no AWS credentials") as no_account:
        transport.complete(asking("", "bedrock", CLAUDE, other=region))
    assert "aws configure" in str(no_account.value)
    with pytest.raises(AuthenticationFailed, match="ghost") as no_profile:
        transport.complete(
            asking("", "bedrock", CLAUDE, other={**region, "aws_profile_name": "ghost"})
        )
    assert no_profile.value.__context__ is None
    half = {**region, "aws_access_key_id": "AKID"}
    with pytest.raises(AuthenticationFailed, match="`aws_secret_access_key` is not stated"):
        transport.complete(asking("", "bedrock", CLAUDE, other=half))


@pytest.mark.parametrize("way", WHOLE)
def test_looking_for_an_account_takes_no_longer_than_the_attempt_may(
    way: Way, transport: Transport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(
        "[profile slow]\nregion = us-east-1\ncredential_process = sleep 3\n"
    )
    before = time.monotonic()
    with pytest.raises(Timeout, match="no credential was found"):
        way(
            transport,
            asking(
                "",
                "bedrock",
                CLAUDE,
                other={"aws_profile_name": "slow"},
                timeout=Phases(total=0.3),
            ),
        )
    assert time.monotonic() - before < 2


def test_a_missing_sdk_is_told_with_what_to_install(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("botocore", "botocore.auth", "botocore.session"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(NotCarriedOut, match="botocore") as raised:
        transport.complete(asking("", "bedrock", CLAUDE, other=ACCOUNT))
    assert "lmconf-runtime[aws]" in str(raised.value)


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize(("provider", "model"), ROUTES)
def test_redirects_are_not_followed_and_a_large_answer_is_cut_off(
    provider: str,
    model: str,
    way: Way,
    transport: Transport,
) -> None:
    with serving(CONVERSED) as elsewhere, serving() as server:
        server.answers(Reply(status=307, headers={"location": elsewhere.url}, json={}))
        with pytest.raises(ConnectionFailed, match="307"):
            way(transport, asking(server, provider, model, other=ACCOUNT))
        assert elsewhere.received == []
        endless = framed([frame(b"x" * 2**18, {})[: 2**17]])
        server.answers(endless if way in STREAMED else Reply(body=b"x" * 2**17))
        with pytest.raises(BadResponse, match="larger than"):
            way(transport, asking(server, provider, model, other=ACCOUNT, max_body=2**16))


@pytest.mark.parametrize("way", WHOLE)
def test_a_refused_signature_is_a_failed_authentication(way: Way, transport: Transport) -> None:
    reply = Reply(
        status=403,
        json={"message": "The security token included in the request is invalid."},
        headers={"x-amzn-errortype": "UnrecognizedClientException:http://internal.amazon.com/"},
    )
    with serving(reply) as server, pytest.raises(AuthenticationFailed, match="invalid"):
        way(transport, asking(server, "bedrock", CLAUDE, other=ACCOUNT))


def test_several_messages_are_one_text_for_an_endpoint_that_knows_no_others(
    transport: Transport,
) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Say hello."}]},
    ]
    with serving(Reply(json=[{"generated_text": "Hello."}])) as server:
        transport.complete(
            asking(server, "sagemaker", "Llama-3-endpoint", other=ACCOUNT, messages=messages)
        )
        assert server.received[0].json["inputs"] == "Be brief.\n\nSay hello."


def test_many_threads_sign_at_once(transport: Transport) -> None:
    with serving(CONVERSED) as server:
        threads = [
            threading.Thread(
                target=transport.complete,
                args=(asking(server, "bedrock", CLAUDE, other=ACCOUNT),),
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for received in server.received:
            expected = signature(received, server.url, ACCOUNT, "bedrock")
            assert received.header("authorization") == expected
    assert len(server.received) == 8


# --- a server that speaks AWS's own protocol ----------------------------------------------------


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.parametrize("way", WHOLE)
@pytest.mark.parametrize(
    ("provider", "answer"),
    [("sagemaker", [{"generated_text": "Hello."}]), ("sagemaker_chat", chat())],
)
def test_sagemakers_runtime_answers_as_it_was_told_to(
    provider: str, answer: Any, way: Way, transport: Transport, moto: str
) -> None:
    queue = {
        "account_id": "123456789012",
        "region": ACCOUNT["aws_region_name"],
        "results": [{"Body": json.dumps(answer), "ContentType": "application/json"}],
    }
    httpx.post(f"{moto}/moto-api/reset", trust_env=False)
    queued = httpx.post(
        f"{moto}/moto-api/static/sagemaker/endpoint-results", json=queue, trust_env=False
    )
    assert queued.status_code == 201
    response = way(transport, asking(moto, provider, "my-endpoint", other=ACCOUNT))
    assert text_of(response) == "Hello."
