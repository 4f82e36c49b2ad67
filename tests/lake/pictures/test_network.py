"""What is fetched, what is not, and that nothing leads into a network that is not public."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from corkboard.errors import PictureRefused
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.network import Network, Unreachable, is_public

from .web import PRIVATE, PUBLIC, Web, web

LIMITS = PictureLimits(fetch_seconds=5)


@pytest.fixture
def site() -> Iterator[Web]:
    with web() as running:
        yield running


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "240.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.9",
        "192.0.0.8",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2002:a00:1::1",
        "2001:0:4136:e378::1",
        "2001:db8::1",
        "::7f00:1",
        "100::1",
    ],
)
def test_addresses_of_networks_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


def test_a_picture_is_fetched_by_its_name_from_its_address(site: Web) -> None:
    site.serve("/a.jpg?size=2", b"bytes of a picture")
    assert site.network().get(site.url("/a.jpg?size=2#part"), LIMITS) == b"bytes of a picture"
    assert site.hits == [("/a.jpg?size=2", f"pictures.test:{site.port}", PUBLIC)]


def test_redirects_are_followed_each_looked_up_anew(site: Web) -> None:
    site.redirect("/old", "/new")
    site.redirect("/new", site.url("/newest", "more.test"))
    site.serve("/newest", b"found")
    assert site.network().get(site.url("/old"), LIMITS) == b"found"
    assert site.looked_up == ["pictures.test", "pictures.test", "more.test"]
    with pytest.raises(PictureRefused, match="redirects too often"):
        site.network().get(site.url("/old"), LIMITS.model_copy(update={"max_redirects": 1}))
    site.redirect("/round", "/round")
    with pytest.raises(PictureRefused, match="redirects too often.*at most 5"):
        site.network().get(site.url("/round"), LIMITS)


def test_a_redirect_to_letters_beyond_ascii_asks_for_them_as_they_were_sent(site: Web) -> None:
    site.redirect("/old", "/café".encode().decode("latin-1"))  # UTF-8 on the wire
    site.serve("/caf%C3%A9", b"here")
    assert site.network().get(site.url("/old"), LIMITS) == b"here"


@pytest.mark.parametrize("target", ["http://inside.test:{port}/secret", "http://127.0.0.2:{port}/secret", "//inside.test:{port}/secret"])
def test_a_redirect_into_a_private_network_is_refused_before_it_is_asked(site: Web, target: str) -> None:
    site.serve("/secret", b"the keys")
    site.redirect("/a", target.format(port=site.port))
    with pytest.raises(PictureRefused, match=r"not public.*127\.0\.0\.2"):
        site.network().get(site.url("/a"), LIMITS)
    assert [path for path, _, _ in site.hits] == ["/a"]
    everything = site.network(is_public=lambda address: True)  # the very same way is open where the address counts as public
    assert everything.get(site.url("/a"), LIMITS) == b"the keys"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0", "127.1"])
def test_no_spelling_of_this_machine_is_public(site: Web, host: str) -> None:
    site.serve("/secret", b"the keys")
    with pytest.raises((PictureRefused, Unreachable), match="not public|gaierror"):
        Network().get(f"http://{host}:{site.port}/secret", LIMITS)
    assert site.hits == []


def test_a_name_that_changes_its_address_is_asked_only_once(site: Web) -> None:
    """DNS rebinding: the first answer is public, every later one private."""
    site.serve("/a", b"public")
    answers = [PUBLIC]

    def look_up(host: str, port: int) -> list:
        return [ipaddress.ip_address(answers.pop() if answers else PRIVATE)]

    network = site.network(look_up=look_up)
    assert network.get(site.url("/a"), LIMITS) == b"public"
    assert [where for _, _, where in site.hits] == [PUBLIC]
    with pytest.raises(PictureRefused, match="not public"):
        network.get(site.url("/a"), LIMITS)
    assert len(site.hits) == 1


def test_of_several_addresses_only_public_ones_are_tried(site: Web) -> None:
    site.serve("/a", b"public")
    both = site.network(look_up=lambda *_: [ipaddress.ip_address(PRIVATE), ipaddress.ip_address(PUBLIC)])
    assert both.get(site.url("/a"), LIMITS) == b"public"
    assert [where for _, _, where in site.hits] == [PUBLIC]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://pictures.test/a",
        "http://",
        "http:///a",
        "http://user:word@pictures.test/a",
        "http://pictures.test:99999/a",
        "http://[::1/a",
        "gopher://pictures.test/",
        "http://" + "a" * 70 + ".test/",
    ],
)
def test_what_is_no_address_of_a_picture(site: Web, url: str) -> None:
    with pytest.raises(PictureRefused, match="no address of a picture"):
        site.network().get(url, LIMITS)
    assert site.looked_up == []


def test_a_redirect_to_another_scheme_is_refused(site: Web) -> None:
    site.redirect("/a", "file:///etc/passwd")
    with pytest.raises(PictureRefused, match="no address of a picture.*file:"):
        site.network().get(site.url("/a"), LIMITS)


def test_letters_and_line_ends_cannot_leave_the_path(site: Web) -> None:
    site.serve("/%C3%A4%20b%0D%0AX:", b"found")
    assert site.network().get(site.url("/ä b%0D%0AX:"), LIMITS) == b"found"
    assert site.network().get(site.url("/ä b%0D\n%0AX:"), LIMITS) == b"found"  # a line end is no part of an address


@pytest.mark.parametrize("tells", [True, False])
def test_what_is_too_large_is_not_read_to_its_end(site: Web, tells: bool) -> None:
    sent = []

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if tells:
            handler.send_header("Content-Length", str(10**9))
        handler.end_headers()
        try:
            for _ in range(1_000):
                handler.wfile.write(b"x" * 65_536)
                sent.append(1)
        except OSError:
            pass

    site.answers["/a"] = endless
    with pytest.raises(PictureRefused, match="too large.*100,000"):
        site.network().get(site.url("/a"), LIMITS.model_copy(update={"max_bytes": 100_000}))
    assert len(sent) < 500  # 32 MB would be gone in buffers of the system at most
    site.serve("/b", b"x" * 100_000)
    assert len(site.network().get(site.url("/b"), LIMITS.model_copy(update={"max_bytes": 100_000}))) == 100_000


@pytest.mark.parametrize("part", ["status", "headers", "body"])
def test_bytes_that_drip_in_are_bounded_in_time(site: Web, part: str) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        start = {"status": b"HTTP/1.0 ", "headers": b"HTTP/1.0 200 OK\r\nX: ", "body": b"HTTP/1.0 200 OK\r\n\r\n"}[part]
        handler.wfile.write(start)
        try:
            for _ in range(200):
                handler.wfile.write(b"1")
                time.sleep(0.05)
        except OSError:
            pass

    site.answers["/a"] = drip
    start = time.monotonic()
    with pytest.raises(Unreachable, match="TimeoutError"):
        site.network().get(site.url("/a"), PictureLimits(fetch_seconds=0.4))
    assert time.monotonic() - start < 5  # the whole drip takes ten


def test_a_name_server_that_hangs_is_bounded_in_time(site: Web) -> None:
    with pytest.raises(Unreachable, match="looked up"):
        site.network(look_up=lambda *_: time.sleep(2)).get(site.url("/a"), PictureLimits(fetch_seconds=0.1))


def test_what_may_pass_is_told_from_what_will_not(site: Web) -> None:
    for status, error in ((404, PictureRefused), (403, PictureRefused), (204, PictureRefused), (500, Unreachable), (429, Unreachable)):
        site.serve(f"/{status}", b"", status)
        with pytest.raises(error, match=str(status)):
            site.network().get(site.url(f"/{status}"), LIMITS)
    with pytest.raises(Unreachable, match="no such host"):
        site.network().get("http://nobody.test/a", LIMITS)
    with socket.socket() as closed:
        closed.bind((PUBLIC, 0))
        with pytest.raises(Unreachable, match="refused"):
            site.network().get(f"http://pictures.test:{closed.getsockname()[1]}/a", LIMITS)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 50\r\n\r\nshort", Unreachable),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Unreachable),
        (b"\x00\xff\xfe no http", Unreachable),
        (b"HTTP/1.0 2x0 OK\r\n\r\n", Unreachable),
        (b"", Unreachable),
        (b"HTTP/1.0 302 Found\r\nLocation: http://[broken\r\n\r\n", PictureRefused),
    ],
)
def test_broken_answers_are_errors_of_their_host(site: Web, raw: bytes, error: type[Exception]) -> None:
    site.answers["/a"] = lambda handler: handler.wfile.write(raw)
    with pytest.raises(error):
        site.network().get(site.url("/a"), LIMITS)


def test_tls_speaks_to_the_name_over_the_checked_address(site: Web) -> None:
    asked = []

    class Tls:
        def wrap_socket(self, plain: socket.socket, server_hostname: str) -> socket.socket:
            asked.append(f"{server_hostname} at {plain.getpeername()[0]}")
            return plain

    site.serve("/a", b"over tls")
    assert site.network(tls=Tls()).get(f"https://pictures.test:{site.port}/a", LIMITS) == b"over tls"
    assert asked == [f"pictures.test at {PUBLIC}"]
