"""No address of a client leads into this machine or its network, and what is allowed is called as it should be."""

import asyncio
import datetime
import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from socket import getaddrinfo
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from fantasyid_engine.server.addresses import Address, RefusedAddress, allows, parse_url
from fantasyid_engine.server.outbound import Outbound, OutboundFailed
from tests.server.hostile_urls import NAMES, URLS
from tests.server.receiver import Answer, Receiver, receiver

LOOPBACK = ip_network("127.0.0.1/32")
MAPPED_LOOPBACK = ip_network("::ffff:127.0.0.0/104")


def named(host: str, port: int) -> Sequence[str]:
    """As libc resolves, but that names are those of the corpus: numbers in any form are addresses."""
    if host in NAMES:
        return NAMES[host]
    return [str(found[4][0]) for found in getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)]


@pytest.fixture
def local() -> Iterator[Receiver]:
    with receiver() as listening:
        yield listening


@pytest.fixture
def private() -> Iterator[tuple[Receiver, Receiver]]:
    """A listener at one port of both 127.0.0.1 and ::1."""
    with ExitStack() as stack:
        four = stack.enter_context(receiver())
        yield four, stack.enter_context(receiver("::1", four.port))


@pytest.fixture
def outbound() -> Iterator[Callable[..., Outbound]]:
    """Makes the product's object; by default it may call 127.0.0.1 by `http`, and resolves the corpus' names."""
    made: list[Outbound] = []

    def make(**changed: Any) -> Outbound:
        rules: dict[str, Any] = {"http": True, "allowed_networks": (LOOPBACK,), "resolver": named, **changed}
        made.append(Outbound(**rules))
        return made[-1]

    yield make
    for one in made:
        one.close()


def post(outbound: Outbound, url: str, body: bytes = b"{}", headers: dict[str, str] | None = None) -> int:
    return asyncio.run(outbound.post(url, body, headers or {}))


def fetch(outbound: Outbound, url: str, max_bytes: int = 1000) -> bytes:
    return asyncio.run(outbound.fetch(url, max_bytes))


def test_no_hostile_url_makes_a_connection(
    private: tuple[Receiver, Receiver], outbound: Callable[..., Outbound]
) -> None:
    four, six = private
    calls = outbound(allowed_networks=(), ports=frozenset({four.port}))

    async def all_of_them() -> dict[str, str]:
        said = {}
        for url in URLS:
            here = url.replace("{port}", str(four.port))
            for call in (calls.post(here, b"{}", {}), calls.fetch(here, 10)):
                with pytest.raises(RefusedAddress) as refusal:
                    await call
                said[url] = str(refusal.value)
        return said

    reasons = asyncio.run(all_of_them())
    assert len(URLS) >= 200 and len(reasons) == len(set(URLS)) == len(URLS)
    assert four.connections == six.connections == 0
    for url, reason in reasons.items():
        assert reason.isprintable() and len(reason) < 160, url
        assert not any(number in reason for name in NAMES.values() for number in name), url


def test_the_corpus_reaches_the_listener_through_a_plain_client(
    private: tuple[Receiver, Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    four, six = private

    def only_here(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        text = host.decode() if isinstance(host, bytes) else host
        found = [entry for number in named(text, 0) for entry in getaddrinfo(number, port, type=socket.SOCK_STREAM)]
        numbers = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        if not all(number.is_loopback or number.is_unspecified or number in MAPPED_LOOPBACK for number in numbers):
            raise OSError("not on this machine")
        return found

    monkeypatch.setattr(socket, "getaddrinfo", only_here)
    reached = set()
    with httpx.Client(trust_env=False, timeout=5) as client:
        for url in URLS:
            before = four.connections + six.connections
            with suppress(httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError, ValueError):
                client.get(url.replace("{port}", str(four.port)), headers={"connection": "close"})
            if four.connections + six.connections > before:
                reached.add(url)
    assert len(reached) >= 30, sorted(reached)


@pytest.mark.parametrize(
    "url",
    [
        "https://public.example/",
        "https://PUBLIC.example:8443/a/b?c=%20&d=[1]",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]:443/",
        "https://[64:ff9b::808:808]/",
        "https://[2002:808:808::1]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[2001:0:808:808::f7f7:f7f7]/",
    ],
)
def test_public_addresses_pass(outbound: Callable[..., Outbound], url: str) -> None:
    calls = outbound(http=False, allowed_networks=())
    target = calls.check(url)
    numbers = [target.number] if target.number else [ip_address(number) for number in NAMES[target.host]]
    assert all(allows(number, target.port, ports={443, 8443}, networks=()) for number in numbers)


def test_a_url_is_taken_apart() -> None:
    whole = parse_url("HTTPS://Hooks.Example:8443/a?b=c")
    assert (whole.scheme, whole.host, whole.port, whole.path) == ("https", "hooks.example", 8443, "/a?b=c")
    assert (whole.number, whole.host_header) == (None, "hooks.example:8443")
    assert parse_url("https://hooks.example").path == "/"
    assert parse_url("https://hooks.example?a").path == "/?a"
    assert parse_url("https://hooks.example:443/").host_header == "hooks.example"
    assert parse_url("https://bücher.example/").host == "xn--bcher-kva.example"
    six = parse_url("http://[2001:DB8:0::1]:8080/", http=True)
    assert (six.number, six.host_header) == (IPv6Address("2001:db8::1"), "[2001:db8::1]:8080")


def carriers(inside: IPv4Address) -> list[Address]:
    number = int(inside)
    return [
        inside,
        IPv6Address((0xFFFF << 32) | number),
        IPv6Address((0x64FF9B << 96) | number),
        IPv6Address((0x2002 << 112) | (number << 80) | 1),
        IPv6Address((0x20010000 << 96) | (0x08080808 << 64) | (number ^ 0xFFFFFFFF)),
        IPv6Address((0x20014860 << 96) | (0x5EFE << 32) | number),
    ]


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_ipv4_is_judged_alike_in_all_that_carries_it(inside: IPv4Address) -> None:
    for network in ((), (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"))):
        judged = [allows(address, 443, ports={443}, networks=network) for address in carriers(inside)]
        assert len(set(judged)) == 1, carriers(inside)[judged.index(not judged[0])]


def test_carried_loopback_is_never_public() -> None:
    for address in carriers(IPv4Address("127.0.0.1")):
        assert not allows(address, 443, ports={443}, networks=()), address


@settings(deadline=None)
@given(st.ip_addresses(v=6))
def test_ipv6_outside_global_unicast_is_refused(address: IPv6Address) -> None:
    carries = address.ipv4_mapped or address in ip_network("64:ff9b::/96")
    if int(address) >> 125 != 1 and not carries:
        assert not allows(address, 443, ports={443}, networks=())


def test_networks_are_allowed_on_any_port_and_alone(local: Receiver, outbound: Callable[..., Outbound]) -> None:
    calls = outbound()
    headers = {"x-mine": "1", "Host": "forged.example"}
    assert post(calls, f"http://loopback.example:{local.port}/a/b?c=%2F", b"body", headers) == 200
    seen = local.requests[0]
    assert (seen.method, seen.path, seen.body) == ("POST", "/a/b?c=%2F", b"body")
    assert seen.names.count("host") == 1
    assert seen.headers["host"] == f"loopback.example:{local.port}" and seen.headers["x-mine"] == "1"
    assert seen.headers["user-agent"].startswith("fantasyid-engine/")
    for url in (f"http://127.0.0.2:{local.port}/", f"http://localhost:{local.port}/", "http://ten.example/"):
        with pytest.raises(RefusedAddress, match="leads to no public address"):
            post(calls, url)
    with pytest.raises(RefusedAddress, match=f"port {local.port} is not allowed"):
        post(calls, f"http://public.example:{local.port}/")
    assert local.connections == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://a:b@public.example/", "user name or password"),
        ("http://public.example/", "scheme is not https"),
        ("https://public.example:22/", "port 22 is not allowed"),
        ("https://8.8.8.8:22/", "port 22 is not allowed"),
        ("https://0x7f.1/", "a number, but not an address"),
        ("https://[::1%lo]/", "no IPv6 address"),
        ("https://\uff4cocalhost/", "no international name"),
        ("https://public.example/#a", "without a fragment"),
        ("https://public.example/ü", "other than ASCII"),
        ("https://public.example/\n", "control characters"),
        ("https://public.example/" + "a" * 3000, "more than 2048 characters"),
        ("https://10.0.0.1/", "leads to no public address"),
    ],
)
def test_a_client_is_told_what_is_wrong_before_anything_is_resolved(
    outbound: Callable[..., Outbound], url: str, says: str
) -> None:
    def never(host: str, port: int) -> list[str]:
        raise AssertionError(host)

    with pytest.raises(RefusedAddress, match=says) as refusal:
        outbound(http=False, allowed_networks=(), resolver=never).check(url)
    assert refusal.value.code == "url_refused"


def test_http_is_an_operators_choice(local: Receiver, outbound: Callable[..., Outbound]) -> None:
    with pytest.raises(RefusedAddress, match="scheme is not https"):
        post(outbound(http=False), f"http://127.0.0.1:{local.port}/")
    assert local.connections == 0


def test_a_host_is_resolved_once_and_no_second_answer_counts(
    local: Receiver, outbound: Callable[..., Outbound]
) -> None:
    with receiver("127.0.0.2", local.port) as other:
        answers = [["127.0.0.2"], ["127.0.0.1"], ["127.0.0.1"]]
        asked: list[str] = []

        def rebinding(host: str, port: int) -> list[str]:
            asked.append(host)
            return answers[len(asked) - 1]

        calls = outbound(allowed_networks=(ip_network("127.0.0.2/32"),), resolver=rebinding)
        url = f"http://rebinds.example:{local.port}/"
        assert post(calls, url) == 200
        assert (asked, other.connections, local.connections) == (["rebinds.example"], 1, 0)
        with pytest.raises(RefusedAddress):
            post(calls, url)
        assert (other.connections, local.connections) == (1, 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(local: Receiver, outbound: Callable[..., Outbound], status: int) -> None:
    with receiver("127.0.0.2") as allowed:
        calls = outbound(allowed_networks=(ip_network("127.0.0.2/32"),))
        away = Answer(status, {"location": f"http://127.0.0.1:{local.port}/"})
        allowed.answers.extend([away, away])
        url = f"http://127.0.0.2:{allowed.port}/"
        assert post(calls, url) == status
        with pytest.raises(OutboundFailed, match=f"status {status} instead of 200"):
            fetch(calls, url)
        assert (allowed.connections, local.connections) == (2, 0)


def test_proxies_of_the_environment_are_not_used(
    local: Receiver, outbound: Callable[..., Outbound], monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert post(outbound(), f"http://loopback.example:{local.port}/") == 200
        assert (proxy.connections, local.connections) == (0, 1)


def test_the_next_address_is_tried_where_nobody_listens(local: Receiver, outbound: Callable[..., Outbound]) -> None:
    networks = (LOOPBACK, ip_network("127.0.0.9/32"))
    calls = outbound(allowed_networks=networks, resolver=lambda host, port: ["127.0.0.9", "127.0.0.1"])
    assert post(calls, f"http://two.example:{local.port}/") == 200
    nobody = outbound(allowed_networks=networks, resolver=lambda host, port: ["127.0.0.9", "127.0.0.9"])
    with pytest.raises(OutboundFailed, match="no connection could be made") as failure:
        post(nobody, f"http://none.example:{local.port}/")
    assert "127.0.0.9" not in str(failure.value)


def test_a_file_is_fetched_up_to_a_size(local: Receiver, outbound: Callable[..., Outbound]) -> None:
    calls, url = outbound(), f"http://127.0.0.1:{local.port}/face.png"
    local.answers.extend([Answer(body=b"x" * 1000), Answer(body=b"x" * 1001), Answer(body=b"x" * 500, endless=True)])
    assert fetch(calls, url) == b"x" * 1000
    for _ in range(2):
        with pytest.raises(OutboundFailed, match="more than 1000 bytes"):
            fetch(calls, url)


def test_compressed_answers_and_other_statuses_are_refused(local: Receiver, outbound: Callable[..., Outbound]) -> None:
    calls, url = outbound(), f"http://127.0.0.1:{local.port}/"
    local.answers.extend([Answer(headers={"content-encoding": "gzip"}, body=gzip.compress(b"x" * 10)), Answer(404)])
    with pytest.raises(OutboundFailed, match="compressed"):
        fetch(calls, url)
    assert local.requests[0].headers["accept-encoding"] == "identity"
    with pytest.raises(OutboundFailed, match="status 404"):
        fetch(calls, url)


def test_a_call_ends_at_its_deadline(local: Receiver, outbound: Callable[..., Outbound]) -> None:
    calls, url = outbound(deadline_s=0.3), f"http://127.0.0.1:{local.port}/"
    local.answers.extend([Answer(held=True), Answer(body=b"x", endless=True)])
    with pytest.raises(OutboundFailed, match=r"took more than 0\.3 seconds|took too long"):
        post(calls, url)
    with pytest.raises(OutboundFailed, match=r"took more than 0\.3 seconds|took too long"):
        fetch(calls, url, max_bytes=1 << 40)


def test_a_name_that_does_not_resolve_in_time_is_given_up(outbound: Callable[..., Outbound]) -> None:
    answered = threading.Event()

    def slow(host: str, port: int) -> list[str]:
        answered.wait(20)
        return ["127.0.0.1"]

    try:
        with pytest.raises(OutboundFailed, match="seconds"):
            post(outbound(deadline_s=0.1, resolver=slow), "http://slow.example/")
    finally:
        answered.set()


def test_what_is_no_http_is_one_plain_line(outbound: Callable[..., Outbound]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(OutboundFailed, match="the answer is no HTTP"):
            post(outbound(), f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate for hooks.example."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "hooks.pem"
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(pem, private, serialization.NoEncryption()) + made.public_bytes(pem))
    return path


def test_certificate_and_server_name_are_those_of_the_name(
    certificate: Path, outbound: Callable[..., Outbound]
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    asked: list[str | None] = []
    server.sni_callback = lambda sock, name, context: asked.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))
    here: dict[str, Any] = {"http": False, "resolver": lambda host, port: ["127.0.0.1"]}
    with receiver(tls=server) as secure:
        hooks = f"https://hooks.example:{secure.port}/"
        assert post(outbound(tls=trusting, **here), hooks) == 200
        assert asked == ["hooks.example"]
        assert secure.requests[0].headers["host"] == f"hooks.example:{secure.port}"
        for calls, url in (
            (outbound(tls=trusting, **here), f"https://other.example:{secure.port}/"),
            (outbound(tls=trusting, **here), f"https://127.0.0.1:{secure.port}/"),
            (outbound(**here), hooks),
        ):
            with pytest.raises(OutboundFailed, match="certificate is not valid"):
                post(calls, url)
        assert len(secure.requests) == 1
