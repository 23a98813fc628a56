"""HTTP to addresses that clients name, without becoming their way into the network that this server stands in.

    URL -> parts -> addresses, resolved once -> all judged -> connection to one that was judged, by its number

Certificate, SNI and `Host` stay those of the name. Nothing is resolved twice, no redirect is followed, no proxy of the
environment is used, nothing is kept open from one call to the next. Reasons go to clients: they tell of no address that
a name led to, and nothing of whether a name that leads to no public address is known at all.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import httpx

from fantasyid_engine import __version__
from fantasyid_engine.errors import InputError
from fantasyid_engine.server.addresses import (
    HTTP_PORTS,
    PORTS,
    Address,
    Networks,
    RefusedAddress,
    Target,
    allows,
    parse_url,
    read_number,
)

DEADLINE_S = 15.0
"""Of a whole call, from resolving to the last byte."""
RESOLVE_S = 5.0
CONNECT_S = 5.0
"""Of one address; then the next one is tried."""
MOST_ADDRESSES = 4
"""Addresses of a name that are tried."""

Resolver = Callable[[str, int], Sequence[str]]
"""Host and port -> addresses, the one to prefer first; it blocks, and raises OSError for an unknown name."""


class OutboundFailed(InputError):
    """An address may be called but did not answer as it should; code `url_failed`."""

    def __init__(self, reason: str) -> None:
        super().__init__("url_failed", f"the address does not answer as it should: {reason}")


def resolve(host: str, port: int) -> list[str]:
    """The system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Outbound:
    """Calls clients' addresses; one object for the whole server."""

    def __init__(
        self,
        *,
        http: bool = False,
        ports: frozenset[int] | None = None,
        allowed_networks: Networks = (),
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Rules of this server.

        Args:
            http: `http` is allowed beside `https`.
            ports: of public addresses; None takes `PORTS`, and `HTTP_PORTS` where `http` is allowed.
            allowed_networks: may be called though they are not public, on any port.
            resolver: for tests.
            tls: who is trusted; None takes the file of `SSL_CERT_FILE` or else certifi's.
            deadline_s: of a whole call.
        """
        self._http, self._networks, self._deadline_s = http, allowed_networks, deadline_s
        self._ports = ports if ports is not None else PORTS | HTTP_PORTS if http else PORTS
        self._resolver, self._tls = resolver, tls or httpx.create_ssl_context()
        # Threads of its own: names that take long to resolve hold up nobody but each other.
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="resolve")

    def check(self, url: str) -> Target:
        """What can be told of a URL without resolving its host.

        Raises:
            RefusedAddress: it is never called.
        """
        target = parse_url(url, http=self._http)
        if target.number is not None:
            self._judge(target, [target.number])
        elif target.port not in self._ports and not self._networks:
            raise RefusedAddress(f"port {target.port} is not allowed")
        return target

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Posts `body`; gives the answer's status, whatever it is, and reads no more of the answer.

        Raises:
            RefusedAddress: the address is none that may be called.
            OutboundFailed: no answer came, or none in time.
        """
        async with self._answer("POST", url, headers, body) as answer:
            return answer.status_code

    async def fetch(self, url: str, max_bytes: int) -> bytes:
        """Gets what is at `url`.

        Raises:
            RefusedAddress: the address is none that may be called.
            OutboundFailed: the answer is not 200, has more than `max_bytes`, is compressed, or does not come in time.
        """
        async with self._answer("GET", url, {"accept-encoding": "identity"}) as answer:
            if answer.status_code != 200:
                raise OutboundFailed(f"status {answer.status_code} instead of 200")
            # A few bytes may unpack to any number.
            if answer.headers.get("content-encoding", "identity").lower() != "identity":
                raise OutboundFailed("it is compressed, which was not asked for")
            taken = bytearray()
            async for chunk in answer.aiter_raw():
                taken += chunk
                if len(taken) > max_bytes:
                    raise OutboundFailed(f"it has more than {max_bytes} bytes")
            return bytes(taken)

    def close(self) -> None:
        """Lets go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def _answer(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[httpx.Response]:
        target = self.check(url)
        try:
            async with asyncio.timeout(self._deadline_s):
                addresses = await self._resolve(target)
                async with self._connected(method, target, addresses, headers, body) as answer:
                    yield answer
        except TimeoutError:
            raise OutboundFailed(f"it took more than {self._deadline_s:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OutboundFailed(_reason(error)) from None

    async def _resolve(self, target: Target) -> list[Address]:
        """Addresses of a host, once, all judged; raises RefusedAddress where one of them may not be called."""
        if target.number is not None:
            return [target.number]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await loop.run_in_executor(self._threads, self._resolver, target.host, target.port)
        except TimeoutError:
            raise OutboundFailed("its host takes too long to resolve") from None
        except (OSError, UnicodeError):
            found = []
        addresses = [number for text in found if (number := read_number(text)) is not None]
        if not addresses or len(addresses) < len(found):
            raise _no_public_address()
        self._judge(target, addresses)
        return addresses[:MOST_ADDRESSES]

    def _judge(self, target: Target, addresses: list[Address]) -> None:
        """All addresses must be allowed: of a name that leads to both kinds the next answer may be the other one."""
        if all(allows(a, target.port, ports=self._ports, networks=self._networks) for a in addresses):
            return
        if all(allows(a, target.port, ports={target.port}, networks=self._networks) for a in addresses):
            raise RefusedAddress(f"port {target.port} is not allowed")
        raise _no_public_address()

    @asynccontextmanager
    async def _connected(
        self, method: str, target: Target, addresses: list[Address], headers: Mapping[str, str], body: bytes | None
    ) -> AsyncIterator[httpx.Response]:
        """The answer, while its connection is open."""
        # A client a call: a connection that is kept open by its number would serve another name at that number.
        transport = httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False)
        timeout = httpx.Timeout(self._deadline_s, connect=CONNECT_S)
        sent = httpx.Headers({"user-agent": f"fantasyid-engine/{__version__}", **headers})
        sent["host"] = target.host_header
        async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=timeout) as client:
            requests = [
                client.build_request(
                    method,
                    httpx.URL(scheme=target.scheme, host=str(number), port=target.port, raw_path=target.path.encode()),
                    headers=sent,
                    content=body,
                    extensions={"sni_hostname": target.host},
                )
                for number in addresses
            ]
            answer = await _first_answer(client, requests)
            try:
                yield answer
            finally:
                await answer.aclose()


async def _first_answer(client: httpx.AsyncClient, requests: list[httpx.Request]) -> httpx.Response:
    """Of the first that can be connected to; what was sent to one is not sent to another."""
    for request in requests[:-1]:
        with suppress(httpx.ConnectError, httpx.ConnectTimeout):
            return await client.send(request, stream=True)
    return await client.send(requests[-1], stream=True)


def _no_public_address() -> RefusedAddress:
    return RefusedAddress("its host leads to no public address")


def _reason(error: Exception) -> str:
    """One line of our own: messages of libraries name addresses."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "its certificate is not valid for the name"
        if isinstance(cause, ssl.SSLError):
            return "no secure connection could be made"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return "no connection could be made"
    if isinstance(error, httpx.TimeoutException):
        return "it took too long"
    return "the connection ended or the answer is no HTTP"
