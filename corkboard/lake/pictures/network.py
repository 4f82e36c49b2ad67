"""One GET of a stranger's address, bounded in bytes, time and redirects, that never reaches into a private network.

A host is looked up once; what is connected to is one of the very addresses that were found public then, so that a name server which answers
otherwise a moment later changes nothing. Every redirect is looked up and judged anew. Proxies of the environment are not used: they would
resolve the name themselves.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LookupTimeout
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

from corkboard import __version__
from corkboard.errors import PictureRefused
from corkboard.lake.pictures.config import PictureLimits

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_REDIRECTS = (301, 302, 303, 307, 308)
_MAY_PASS = (408, 425, 429)
_TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"),)
"""IPv6 addresses whose last 32 bits are an IPv4 address that a gateway connects to (RFC 6052)."""
_TUNNELS = tuple(map(ipaddress.ip_network, ("2001::/32", "2002::/16")))
"""IPv6 networks that hide an IPv4 address (Teredo, 6to4). Nobody serves pictures there."""
_SPECIAL = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24")))
"""IPv4 networks of protocols and relays, which Python partly counts as global."""
_GLOBAL = ipaddress.ip_network("2000::/3")
_CHUNK = 1 << 16
_HEADERS = {"User-Agent": f"corkboard/{__version__}", "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}


class Unreachable(Exception):
    """A picture could not be fetched for a reason that may pass: a host that is down, slow, or overloaded."""


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet: not private, loopback, link-local, shared, reserved, multicast or a tunnel."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if any(address in network for network in _TRANSLATED):
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL or any(address in network for network in _TUNNELS):
            return False
    elif any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def look_up(host: str, port: int) -> list[Address]:
    """Every address of a host, in the order of the system's preference. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(where[0]).partition("%")[0]) for _, _, _, _, where in found]


@dataclass(frozen=True)
class Network:
    """How hosts are looked up, which addresses may be connected to, and whose certificates are believed."""

    look_up: Callable[[str, int], list[Address]] = look_up
    is_public: Callable[[Address], bool] = is_public
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    _lookers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8, "look-up"), repr=False)

    def get(self, url: str, limits: PictureLimits) -> bytes:
        """The body behind an http(s) address.

        Raises :class:`PictureRefused` for what will be the same next time, :class:`Unreachable` for what may pass.
        """
        deadline = time.monotonic() + limits.fetch_seconds
        for _ in range(limits.max_redirects + 1):
            try:
                answer = self._ask(_checked(url), deadline, limits)
                if isinstance(answer, bytes):
                    return answer
                url = urljoin(url, answer.location)
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(_said(error)) from error
            except ValueError as error:  # an answer that is no HTTP
                raise PictureRefused(f"The answer cannot be read: {_said(error)}") from error
        raise PictureRefused("The address redirects too often", expected=f"at most {limits.max_redirects} redirects")

    def _ask(self, url: SplitResult, deadline: float, limits: PictureLimits) -> bytes | _Redirect:
        host, port = str(url.hostname), url.port or (443 if url.scheme == "https" else 80)
        connection = http.client.HTTPConnection(host, port)
        plain = self._connect(url.scheme, host, port, deadline)
        connection.sock = _Bounded(plain, deadline)  # type: ignore[assignment]
        try:
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request("GET", path, headers={**_HEADERS, "Host": _host_header(url)})
            answer = connection.getresponse()
            if answer.status in _REDIRECTS and answer.getheader("Location"):
                return _Redirect(_as_sent(str(answer.getheader("Location"))))
            if answer.status >= 500 or answer.status in _MAY_PASS:
                raise Unreachable(f"The host answers {answer.status}")
            if answer.status != 200:
                raise PictureRefused("The address has no picture", found=f"status {answer.status}", expected="200")
            return _body(answer, limits.max_bytes)
        finally:
            plain.close()

    def _connect(self, scheme: str, host: str, port: int, deadline: float) -> socket.socket:
        """A connection to one of the public addresses of ``host``: to the address itself, not to the name."""
        try:
            found = self._lookers.submit(self.look_up, host, port).result(timeout=_left(deadline))
        except LookupTimeout:
            raise Unreachable("The host cannot be looked up in time") from None
        public = [address for address in found if self.is_public(address)]
        if not public:
            where = ", ".join(map(str, found[:3]))
            raise PictureRefused("The address leads into a network that is not public", found=f"{host} ({where})")
        failed: OSError | None = None
        for address in public:
            try:
                plain = socket.create_connection((str(address), port), timeout=_left(deadline))
            except OSError as error:
                failed = error
                continue
            if scheme == "http":
                return plain
            try:
                plain.settimeout(_left(deadline))
                return self.tls.wrap_socket(plain, server_hostname=host)
            except BaseException:
                plain.close()
                raise
        raise failed or OSError("no address")


@dataclass(frozen=True)
class _Redirect:
    location: str


def _checked(text: str) -> SplitResult:
    """An address in its parts. Raises :class:`PictureRefused` for one that is none, or not http(s), or names a user."""
    try:
        url = urlsplit(text)
        known = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
        url = url._replace(path=_quoted(url.path), query=_quoted(url.query))
        host = str(url.hostname).encode("idna")
    except (ValueError, UnicodeError):
        known, host = False, b""
    if not known or not host or url.username is not None or url.password is not None:
        raise PictureRefused("This is no address of a picture", found=text[:200], expected="http(s)://host/path, without a user")
    return url


def _quoted(text: str) -> str:
    """Nothing but printable ASCII: what else stands in an address is written as bytes of UTF-8 in hex."""
    return "".join(c if "!" <= c <= "~" else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)


def _as_sent(header: str) -> str:
    """The text of a header that http.client has read as Latin-1, which is UTF-8 where it is more than ASCII."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        return header


def _host_header(url: SplitResult) -> str:
    host = str(url.hostname).encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    return host if url.port is None else f"{host}:{url.port}"


def _body(answer: http.client.HTTPResponse, max_bytes: int) -> bytes:
    too_large = PictureRefused("The picture behind the address is too large", expected=f"at most {max_bytes:,} bytes")
    if (answer.length or 0) > max_bytes:
        raise too_large
    parts, size = [], 0
    while part := answer.read1(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise too_large
    if answer.length:
        raise Unreachable("The answer breaks off")
    return b"".join(parts)


class _Bounded:
    """A socket that is done at a moment, however slowly bytes drip in: a timeout of a socket alone begins anew with each byte."""

    def __init__(self, plain: socket.socket, deadline: float):
        self._plain, self._deadline = plain, deadline

    def sendall(self, data: bytes) -> None:
        self._plain.settimeout(_left(self._deadline))
        self._plain.sendall(data)

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        return io.BufferedReader(_Dripping(self._plain, self._deadline), _CHUNK)

    def close(self) -> None:
        """Nothing: http.client says this when an answer begins; whoever connected closes."""


class _Dripping(io.RawIOBase):
    """What comes in, until the moment."""

    def __init__(self, plain: socket.socket, deadline: float):
        self._plain, self._deadline = plain, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._plain.settimeout(_left(self._deadline))
        return self._plain.recv_into(buffer)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it takes too long")
    return left


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error) or 'no answer'}"[:200]
