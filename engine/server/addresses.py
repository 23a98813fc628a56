"""Where an address that a client names may lead: read by one parser, judged by the numbers it comes to.

    scheme://host[:port][/path][?query]     and nothing else: what two parsers could read in two ways is refused
    IPv6 that carries IPv4 inside           is judged by what it carries
    public                                  global unicast, of no block that is set aside

Whoever connects takes host, port and path from here and not from the text, which no second parser sees.
Sources: RFC 3986; the registries of special addresses (RFC 6890); for what is inside RFC 4291, 6052, 3056, 4380, 5214.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import idna

from fantasyid_engine.errors import InputError

MAX_CHARS = 2048
PORTS = frozenset({443, 8443})
HTTP_PORTS = frozenset({80, 8080})
"""Also allowed where `http` is."""

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([/?][^#]*)?")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)
"""The upper half of an interface's number that has an IPv4 address as its lower half."""
_SET_ASIDE: Networks = (
    IPv4Network("192.0.0.0/24"),  # some of it is global to `ipaddress`: the nearest router and relay
    IPv4Network("192.88.99.0/24"),  # the nearest 6to4 relay
    IPv6Network("3fff::/20"),  # for documentation, which older Pythons do not know
)


class RefusedAddress(InputError):
    """An address of a client is not one that this server goes to; code `url_refused`."""

    def __init__(self, reason: str) -> None:
        super().__init__("url_refused", f"the address is refused: {reason}")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in parts: `host` in lower case without brackets, `path` with the query, `number` where the host is one."""

    scheme: str
    host: str
    port: int
    path: str
    number: Address | None

    @property
    def host_header(self) -> str:
        """What the `Host` header says."""
        host = f"[{self.host}]" if isinstance(self.number, IPv6Address) else self.host
        return host if self.port == default_port(self.scheme) else f"{host}:{self.port}"


def default_port(scheme: str) -> int:
    """Of `https` or `http`."""
    return 443 if scheme == "https" else 80


def parse_url(url: str, *, http: bool = False) -> Target:
    """Reads a URL, with `https` or, where it is allowed, `http`.

    Raises:
        RefusedAddress: it is no such URL, or one that two parsers could read in two ways.
    """
    if len(url) > MAX_CHARS:
        raise RefusedAddress(f"it has more than {MAX_CHARS} characters")
    # What is printable is no control character, and no space or line end but the plain space.
    if not url.isprintable() or " " in url or "\\" in url:
        raise RefusedAddress("it has spaces, control characters or backslashes; write them as %XX")
    found = _URL.fullmatch(url)
    if found is None:
        raise RefusedAddress("it is not of the form https://host/path, without a fragment (#)")
    scheme, authority, path = found[1].lower(), found[2], found[3] or "/"
    if scheme not in (("https", "http") if http else ("https",)):
        raise RefusedAddress("its scheme is not https" + (" or http" if http else ""))
    if "@" in authority:
        raise RefusedAddress("it has a user name or password")
    if not path.isascii():
        raise RefusedAddress("its path has characters other than ASCII; write them as %XX")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise RefusedAddress("it is not of the form https://host:port/path")
    host, number = _host(parts[1])
    port = int(parts[2]) if parts[2] else default_port(scheme)
    return Target(scheme, host, port, path if path.startswith("/") else f"/{path}", number)


def allows(address: Address, port: int, *, ports: Iterable[int], networks: Networks) -> bool:
    """Whether an address may be connected to: any port of `networks`, `ports` of public addresses."""
    if _within(address, networks):
        return True
    public = port in ports
    return all(_within(inner, networks) or (public and _is_public(inner)) for inner in _carried(address))


def read_number(text: str) -> Address | None:
    """An address as a resolver gives it, with or without a zone; None for what is none."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _host(text: str) -> tuple[str, Address | None]:
    """A host as it stands in a URL -> the name to resolve, or the number that it is."""
    if text.startswith("["):
        try:
            number = IPv6Address(text[1:-1] if "%" not in text else "")
        except ValueError:
            raise RefusedAddress("its host is no IPv6 address") from None
        return str(number), number
    if not text.isascii():
        try:
            text = idna.encode(text.lower()).decode()
        except idna.IDNAError:
            raise RefusedAddress("its host is no international name (IDNA 2008)") from None
    host = text.lower()
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # Resolvers take 2130706433, 0x7f.1 and 0177.0.0.1 for addresses; only the plain form is one here.
        try:
            return host, IPv4Address(host)
        except ValueError:
            raise RefusedAddress("its host is a number, but not an address such as 192.0.2.1") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise RefusedAddress("its host is no name of letters, digits, hyphens and dots")
    return host, None


def _carried(address: Address) -> tuple[Address, ...]:
    """The addresses that decide about this one: the IPv4 inside an IPv6 address, else itself."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    low = int(address) & 0xFFFF_FFFF
    if address in _NAT64:
        return (IPv4Address(low),)
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        return (address, IPv4Address(low))
    return (address,)


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved or _within(address, _SET_ASIDE):
        return False
    return isinstance(address, IPv4Address) or address in _UNICAST


def _within(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks if network.version == address.version)
