"""The one client policy, against a server that answers byte for byte what a test says."""

import gzip
import json
import logging
import re
import socket
import tracemalloc
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from dealwatch.crm.api import Again, Api, Declined, Later, Quota, origin_of
from dealwatch.crm.bodies import Broken, TooLarge, whole
from dealwatch.crm.http import Client, Policy
from dealwatch.errors import ExtractRefused, SourceDown
from standins.faulty import Faulty, chunked, faulty_server, raw, zipped

API = Api(
    name="Vendor",
    hosts=re.compile(r"[a-z0-9-]+\.vendor\.example"),
    remedy="mend the connection crm",
    code_of=lambda body: body["code"],
    meanings={
        (429, "DAILY"): Later(timedelta(hours=6)),
        (429, "TEN_SECONDS"): Again(10),
        (420, ""): Again(),
    },
    quota_of=lambda headers: Quota(int(headers["x-used"]), 100) if "x-used" in headers else None,
)
CANARY = "canary-4711"


@pytest.fixture
def server() -> Iterator[Faulty]:
    with faulty_server() as faulty:
        yield faulty


class Slept(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def slept() -> Slept:
    return Slept()


@pytest.fixture
def client(server: Faulty, slept: Slept) -> Iterator[Client]:
    policy = Policy(connect_seconds=2, read_seconds=0.3, tries=4, most_bytes=10_000)
    with Client(API, server.url, policy=policy, sleep=slept) as client:
        yield client


GOOD = raw(body=b'{"n": 1}')
BAD_ANSWERS = {
    "hung up": b"",
    "no answer in time": None,
    "half a head": b"HTTP/1.1 200 x\r\nContent-",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "shorter than its length": raw(body=b'{"n": 1}', cut=3),
    "shorter than its length, and JSON yet": raw(body=b'{"n": 1} ' + b" " * 90, cut=90),
    "cut between chunks": chunked(b'{"n": 1}', end=b""),
    "cut inside a chunk": chunked(b'{"n": 1}')[:-9],
    "gzip cut short": zipped({"n": 1}, cut=9),
    "gzip without its trailer": zipped({"n": 1}, cut=8),
    "gzip damaged": raw(body=b"\x1f\x8b" + b"x" * 50, headers={"Content-Encoding": "gzip"}),
    "an encoding not asked for": raw(body=b"x", headers={"Content-Encoding": "br"}),
    "half of the JSON": raw(body=b'{"n": '),
    "an empty body": raw(body=b""),
    "an HTML page": raw(body=b"<html>maintenance</html>", kind="text/html; charset=utf-8"),
    "no kind told": raw(body=b'{"n": 1}', kind=None),
    "503": raw(503),
    "500 in HTML": raw(500, b"<html>", kind="text/html"),
    "420, which this API knows": raw(420),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_answer_is_asked_again(name: str, server: Faulty, client: Client, slept: Slept) -> None:
    server.answers.extend([BAD_ANSWERS[name], BAD_ANSWERS[name], GOOD])

    assert client.get("/deals").data == {"n": 1}
    assert len(server.asked) == 3
    assert 0.5 <= slept[0] <= 1 <= slept[1] <= 2


@pytest.mark.parametrize("name", [name for name, answer in BAD_ANSWERS.items() if answer is not None])
def test_answers_that_stay_bad_end_as_a_source_that_is_down(
    name: str, server: Faulty, client: Client
) -> None:
    server.answers.extend([BAD_ANSWERS[name]] * 4)

    with pytest.raises(SourceDown, match="Vendor GET /deals: .* 4 times in a row") as raised:
        client.get("/deals")
    assert len(server.asked) == 4
    assert raised.value.__context__ is None, "the library's error hangs on ours"


def test_csv_whose_end_cannot_be_told_is_no_answer(server: Faulty, client: Client) -> None:
    whole = raw(body=b"Id\n1\n", kind="text/csv")
    server.answers.extend([raw(body=b"Id\n1\n", kind="text/csv", length=False), whole])

    answer = client.send("GET", "/results", expects="text/csv", reads=lambda body, _: body)
    assert answer.data == b"Id\n1\n"
    assert len(server.asked) == 2


def test_a_body_that_does_not_fit_its_headers_is_asked_for_again(server: Faulty, client: Client) -> None:
    def reads(body: bytes, headers: Mapping[str, str]) -> bytes:
        if len(body.split()) != int(headers["x-rows"]):
            raise Broken("fewer rows than it says")
        return body

    short, full = (raw(body=body, kind="text/csv", headers={"x-rows": "2"}) for body in (b"1\n", b"1\n2\n"))
    server.answers.extend([short, full])

    assert client.send("GET", "/rows", expects="text/csv", reads=reads).data == b"1\n2\n"


def test_an_answer_tells_the_server_s_clock(server: Faulty, client: Client) -> None:
    server.answers.extend([raw(headers={"Date": "Sat, 21 Nov 2026 18:00:00 GMT"}), raw()])

    assert client.get("/deals").at == datetime(2026, 11, 21, 18, tzinfo=UTC)
    assert client.get("/deals").at is None


def test_json_tells_its_own_end(server: Faulty, client: Client) -> None:
    server.answers.append(raw(body=b'{"n": 1}', length=False))

    assert client.get("/deals").data == {"n": 1}


def test_gzip_of_several_members_is_read_to_its_end(server: Faulty, client: Client) -> None:
    packed = gzip.compress(b'{"n": ') + gzip.compress(b"1}")
    server.answers.append(raw(body=packed, headers={"Content-Encoding": "gzip"}))

    assert client.get("/deals").data == {"n": 1}


@pytest.mark.parametrize(
    "bomb",
    [
        raw(body=b'"' + b"x" * 10_000 + b'"'),
        chunked(b'"', *[b"x" * 1_000] * 11, b'"'),
        raw(body=gzip.compress(b'"' + b"x" * 5_000_000 + b'"'), headers={"Content-Encoding": "gzip"}),
    ],
)
def test_an_answer_over_the_bound_is_refused_at_once(bomb: bytes, server: Faulty, client: Client) -> None:
    server.answers.append(bomb)

    with pytest.raises(ExtractRefused, match="larger than 10,000 bytes"):
        client.get("/deals")


def test_a_bomb_is_not_unpacked_beyond_the_bound() -> None:
    bomb = gzip.compress(b"x" * 50_000_000)

    tracemalloc.start()
    with pytest.raises(TooLarge):
        whole([bomb], {"content-encoding": "gzip"}, most_bytes=10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_retry_after_is_honoured_in_seconds_and_as_a_date(
    server: Faulty, client: Client, slept: Slept
) -> None:
    dates = {"Date": "Sat, 21 Nov 2026 18:00:00 GMT", "Retry-After": "Sat, 21 Nov 2026 18:00:42 GMT"}
    server.answers.extend([raw(429, headers={"Retry-After": "7"}), raw(503, headers=dates), GOOD])

    assert client.get("/deals").data == {"n": 1}
    assert [int(seconds) for seconds in slept] in ([7, 42], [8, 42], [7, 43], [8, 43])


@pytest.mark.parametrize("told", ["soon", "-5", "1e9", "", "Sat, 21 Nov 2026 18:00:42 GMT"])
def test_a_retry_after_that_cannot_be_read_is_none(told: str, server: Faulty, client: Client) -> None:
    server.answers.extend([raw(503, headers={"Retry-After": told}), GOOD])

    assert client.get("/deals").data == {"n": 1}


def test_a_long_retry_after_is_for_another_run(server: Faulty, client: Client, slept: Slept) -> None:
    server.answers.append(raw(429, headers={"Retry-After": "3600"}))

    with pytest.raises(SourceDown) as raised:
        client.get("/deals")
    assert raised.value.after == timedelta(hours=1)
    assert (slept, len(server.asked)) == ([], 1)


def test_an_api_says_which_limit_passes_and_which_ends_the_run(
    server: Faulty, client: Client, slept: Slept
) -> None:
    server.answers.extend([raw(429, b'{"code": "TEN_SECONDS"}'), GOOD, raw(429, b'{"code": "DAILY"}')])

    assert client.get("/deals").data == {"n": 1}
    assert 10 <= slept[0] <= 11
    with pytest.raises(SourceDown, match="429 DAILY") as raised:
        client.get("/deals")
    assert raised.value.after == timedelta(hours=6)
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_what_the_api_declines_is_not_asked_again(status: int, server: Faulty, client: Client) -> None:
    server.answers.append(raw(status, b'{"code": "NO_WAY"}'))

    with pytest.raises(Declined, match=f"Vendor GET /deals: {status} NO_WAY") as raised:
        client.get("/deals")
    assert (raised.value.status, raised.value.code, len(server.asked)) == (status, "NO_WAY", 1)
    assert ("mend the connection" in str(raised.value)) is (status in {401, 403})


@pytest.mark.parametrize("place", ["http://127.0.0.1:1/x", "https://evil.example/", "/login"])
def test_redirects_are_not_followed(place: str, server: Faulty, client: Client) -> None:
    server.answers.append(raw(302, headers={"Location": place}))

    with pytest.raises(Declined, match="302, a redirect; mend the connection crm"):
        client.get("/deals")
    assert len(server.asked) == 1


def test_the_day_s_quota_is_left_to_others(server: Faulty, client: Client) -> None:
    server.answers.extend([raw(headers={"x-used": "80"}), raw(headers={"x-used": "81"}), GOOD])

    client.get("/deals")
    client.get("/deals")
    with pytest.raises(SourceDown, match="81 of the day's 100 requests are used"):
        client.get("/deals")
    assert len(server.asked) == 2


def test_one_connection_serves_many_requests(server: Faulty, client: Client) -> None:
    server.answers.extend([GOOD] * 5)

    for _ in range(5):
        client.get("/deals")
    assert len(server.connections) == 1


def test_no_cookie_goes_back(server: Faulty, client: Client) -> None:
    server.answers.extend([raw(headers={"Set-Cookie": f"sid={CANARY}; Path=/"}), GOOD])

    client.get("/deals")
    client.get("/deals")
    assert "cookie" not in {name.lower() for name in server.asked[1][2]}


@pytest.mark.parametrize(
    "path",
    [
        "deals",
        "//evil.example/x",
        "/a b",
        "/a?q=1",
        "/a#b",
        "/a/../b",
        "/.",
        "/a\\b",
        "/a\n",
        "https://x/",
        "",
    ],
)
def test_only_a_path_may_be_asked_for(path: str, server: Faulty, client: Client) -> None:
    with pytest.raises(ExtractRefused, match="a path that is none"):
        client.get(path)
    assert server.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example",
        "https://my.vendor.example.evil.example",
        "https://evil.example/x?y=my.vendor.example",
        "https://my.vendor.example@evil.example",
        "https://user:pass@my.vendor.example",
        "http://my.vendor.example",
        "https://my.vendor.example:8443",
        "https://my.vendor.example/path",
        "https://my.vendor.example:x",
        "https://[::1",
        "ftp://127.0.0.1",
        "http://127.0.0.1.evil.example",
        "http://169.254.169.254",
        "my.vendor.example",
        "",
    ],
)
def test_an_address_outside_of_the_api_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ExtractRefused) as raised:
        Client(API, address)
    assert address == "" or address not in str(raised.value)


def test_addresses_of_the_api_are_brought_to_one_form() -> None:
    assert origin_of(API, " https://My.Vendor.example:443/ ", near=False) == "https://my.vendor.example"
    assert origin_of(API, "http://localhost:8000/", near=True) == "http://localhost:8000"
    with pytest.raises(ExtractRefused):
        origin_of(API, "http://localhost:8000/", near=False)


def test_loopback_is_not_reached_through_a_proxy(server: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answers.append(GOOD)

    with Client(API, server.url) as client:
        assert client.get("/deals").data == {"n": 1}


def test_the_world_outside_is_reached_through_the_proxy(
    server: Faulty, slept: Slept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    server.answers.extend([raw(503)] * 2)

    with (
        Client(API, "https://my.vendor.example", policy=Policy(tries=2), sleep=slept) as client,
        pytest.raises(SourceDown, match="no answer"),
    ):
        client.get("/deals")
    assert [(method, path) for method, path, *_ in server.asked] == [("CONNECT", "my.vendor.example:443")] * 2


def test_a_server_that_is_not_there_is_down(slept: Slept) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Client(API, address, sleep=slept) as client, pytest.raises(SourceDown, match="ConnectError"):
            client.get("/deals")
    assert len(slept) == 5


def test_pauses_double_up_to_their_bound(server: Faulty, slept: Slept) -> None:
    server.answers.extend([raw(503)] * 9)
    policy = Policy(tries=9, first_pause_seconds=2, longest_pause_seconds=30)

    with Client(API, server.url, policy=policy, sleep=slept) as client, pytest.raises(SourceDown):
        client.get("/deals")
    for seconds, longest in zip(slept, [2, 4, 8, 16, 30, 30, 30, 30], strict=True):
        assert longest / 2 <= seconds <= longest


def test_an_answer_that_drips_ends(server: Faulty, slept: Slept) -> None:
    server.answers.extend([GOOD] * 2)
    policy = Policy(tries=2, whole_seconds=-1)

    with (
        Client(API, server.url, policy=policy, sleep=slept) as client,
        pytest.raises(SourceDown, match="takes more than"),
    ):
        client.get("/deals")


EVERYTHING = [*BAD_ANSWERS.values(), raw(302), raw(401), raw(404), raw(429, b'{"code": "DAILY"}')]


def test_no_word_of_ours_holds_a_secret_a_query_or_a_body(
    server: Faulty, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client.token = SecretStr(f"token-{CANARY}")
    said = [repr(client), repr(client.__dict__)]
    for answer in EVERYTHING:
        # The same fault, with a canary in its body and among its headers.
        told = (
            None
            if answer is None
            else answer.replace(b"x\r\n", b"x\r\nSet-Cookie: a=%s\r\n" % CANARY.encode())
        )
        server.answers.extend([told] * 4)
        with pytest.raises((ExtractRefused, SourceDown)) as raised:
            client.send("POST", "/deals", query={"q": CANARY}, json={"row": CANARY})
        server.answers.clear()
        said += [str(raised.value), repr(raised.value.args), repr(raised.value.__dict__)]
        assert raised.value.__context__ is None
    prose = {"code": f"row {CANARY} is wrong"}
    server.answers.append(raw(400, json.dumps(prose).encode()))
    with pytest.raises(Declined, match="400$") as declined:
        client.send("POST", "/token", form={"client_secret": CANARY})
    server.answers.append(raw(body=json.dumps({"row": CANARY}).encode(), headers={"x-row": CANARY}))
    said += [str(declined.value), repr(client.get("/deals", {"q": CANARY}))]

    assert CANARY in "".join(str(part) for part in server.asked), "the canary never flew"
    assert "try 2 of 4" in caplog.text
    assert CANARY not in caplog.text + "".join(said)


def test_a_token_that_is_no_header_is_not_repeated(server: Faulty, client: Client) -> None:
    client.token = SecretStr(f"{CANARY}\nx")

    with pytest.raises(ExtractRefused, match="mend the connection") as raised:
        client.get("/deals")
    assert CANARY not in repr(raised.value) and raised.value.__context__ is None
