"""Each fault does what it says, is counted, and leaves requests alone that it is not for. Against a store of a few lines."""

import http.client
import http.server
import threading
import time

import pytest

import proxy as p
from proxy import READS, WRITES, Fault


class Shelf(http.server.BaseHTTPRequestHandler):
    """Put-if-absent and get; remembers every request that came whole."""

    protocol_version = "HTTP/1.1"
    objects: dict
    seen: list

    def do_PUT(self):
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        self.seen.append(("PUT", self.path, self.headers["Host"], body))
        status = 412 if self.path in self.objects else 200
        self.objects.setdefault(self.path, body)
        self._say(status, b"")

    def do_GET(self):
        self.seen.append(("GET", self.path, self.headers["Host"], b""))
        body = self.objects.get(self.path)
        self._say(404 if body is None else 200, body or b"")

    def _say(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Setup:
    def __init__(self, proxy, shelf):
        self.proxy, self.shelf = proxy, shelf

    def ask(self, method, key="journal/1", body=None):
        """Status and body; None when the connection was closed instead."""
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=20)
        try:
            connection.request(method, f"/bucket/prefix/{key}", body, {"Host": "store.example"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (http.client.HTTPException, ConnectionError):
            return None
        finally:
            connection.close()

    def stored(self, key="journal/1"):
        return self.shelf.objects.get(f"/bucket/prefix/{key}")

    def applied(self, method="PUT"):
        return sum(seen[0] == method for seen in self.shelf.seen)


@pytest.fixture
def setup():
    shelf = type("OneShelf", (Shelf,), {"objects": {}, "seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), shelf)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    proxies = p.Proxies()
    try:
        yield Setup(proxies.add(server.server_port, "/bucket/prefix/", "shelf"), shelf)
    finally:
        proxies.close()
        server.shutdown()
        server.server_close()


BODY = bytes(range(256)) * 40


def test_without_faults_everything_goes_through_as_it_is(setup):
    assert setup.ask("PUT", body=BODY) == (200, b"")
    assert setup.ask("PUT", body=b"other") == (412, b"")
    assert setup.ask("GET") == (200, BODY)
    assert setup.ask("GET", "journal/2") == (404, b"")
    assert {seen[2] for seen in setup.shelf.seen} == {"store.example"}
    assert setup.proxy.requests == {("PUT", "journal"): 2, ("GET", "journal"): 2}
    assert not setup.proxy.injected


def test_faults_strike_their_methods_and_prefixes_only(setup):
    setup.proxy.set(Fault(p.SLOW_DOWN, 1.0, WRITES, "journal/"))
    assert setup.ask("PUT", "segment/1", b"x") == (200, b"")
    assert setup.ask("GET", "journal/1") == (404, b"")
    assert setup.ask("PUT", "journal/1", b"x")[0] == 503
    assert setup.proxy.injected == {p.SLOW_DOWN: 1}
    setup.proxy.clear()
    assert setup.ask("PUT", "journal/1", b"x") == (200, b"")


def test_about_as_often_as_asked(setup):
    setup.proxy.set(Fault(p.TOO_MANY, 0.3, READS))
    answers = [setup.ask("GET")[0] for _ in range(200)]
    assert 30 <= answers.count(429) <= 90 and answers.count(404) == 200 - answers.count(429)
    assert setup.proxy.injected[p.TOO_MANY] == answers.count(429)


@pytest.mark.parametrize(
    ("kind", "answers", "applied"),
    [
        (p.DROP_RESPONSE, {None}, 1),
        (p.DROP_REQUEST, {None}, 0),
        (p.SLOW_DOWN, {503}, 0),
        (p.ERROR_AFTER, {500}, 1),
        (p.CONFLICT, {409, 412}, 1),
        (p.TOO_MANY, {429}, 0),
        (p.TWICE, {412}, 2),
        (p.CUT_REQUEST, {None}, 0),
    ],
)
def test_a_write(setup, kind, answers, applied):
    setup.proxy.set(Fault(kind, 1.0))
    answer = setup.ask("PUT", body=BODY)
    assert (answer and answer[0]) in answers
    assert setup.applied() == applied and setup.stored() == (BODY if applied else None)
    assert setup.proxy.injected[kind] == 1
    setup.proxy.assert_fired(kind)


def test_both_codes_are_lied_with(setup):
    setup.proxy.set(Fault(p.CONFLICT, 1.0))
    assert {setup.ask("PUT", f"journal/{n}", b"x")[0] for n in range(30)} == {409, 412}


@pytest.mark.parametrize("kind", [p.CONFLICT, p.ERROR_AFTER])
def test_a_write_that_lost_is_not_lied_about(setup, kind):
    setup.ask("PUT", body=b"first")
    setup.proxy.set(Fault(kind, 1.0))
    assert setup.ask("PUT", body=b"second") == (412, b"")
    assert not setup.proxy.injected


def test_late(setup):
    """Nothing comes through under that key until it is applied, and then it is."""
    setup.proxy.set(Fault(p.LATE, 1.0, seconds=(0.3, 0.4)))
    assert setup.ask("PUT", body=BODY) is None
    setup.proxy.clear()
    assert setup.ask("GET") == (404, b"") and setup.ask("PUT", body=b"again") is None
    setup.proxy.settle()
    assert setup.stored() == BODY
    assert setup.proxy.injected == {p.LATE: 1, "landed late": 1}
    assert setup.ask("PUT", body=b"again") == (412, b"")


def test_delay(setup):
    setup.proxy.set(Fault(p.DELAY, 1.0, seconds=(0.3, 0.4)))
    began = time.monotonic()
    assert setup.ask("PUT", body=BODY) == (200, b"")
    assert time.monotonic() - began >= 0.3 and setup.proxy.injected == {p.DELAY: 1}


@pytest.mark.parametrize(("kind", "method"), [(p.SLOW_REQUEST, "PUT"), (p.SLOW_RESPONSE, "GET")])
def test_slow_bodies(setup, kind, method):
    if method == "GET":
        setup.ask("PUT", body=BODY)
    setup.proxy.set(Fault(kind, 1.0, (method,), seconds=(0.3, 0.4)))
    began = time.monotonic()
    assert setup.ask(method, body=BODY if method == "PUT" else None) == (200, b"" if method == "PUT" else BODY)
    assert time.monotonic() - began >= 0.3 and setup.stored() == BODY
    assert setup.proxy.injected == {kind: 1}


def test_an_answer_that_is_cut(setup):
    setup.ask("PUT", body=BODY)
    setup.proxy.set(Fault(p.CUT_RESPONSE, 1.0, READS))
    assert setup.ask("GET") is None
    assert setup.ask("GET", "journal/2") == (404, b"")
    assert setup.proxy.injected == {p.CUT_RESPONSE: 1}


def test_a_flipped_bit(setup):
    setup.ask("PUT", body=BODY)
    setup.proxy.set(Fault(p.FLIP, 1.0, READS))
    status, body = setup.ask("GET")
    wrong = [one ^ two for one, two in zip(body, BODY, strict=True) if one != two]
    assert status == 200 and len(wrong) == 1 and wrong[0].bit_count() == 1
    assert setup.proxy.injected == {p.FLIP: 1} and setup.stored() == BODY


def test_cut_off_and_healed(setup):
    setup.proxy.cut_off()
    assert setup.ask("GET") is None
    setup.proxy.heal()
    assert setup.ask("GET") == (404, b"")
    setup.proxy.cut_off(silent=True)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(setup.ask("PUT", body=BODY)))
    asking.start()
    time.sleep(0.5)
    assert asking.is_alive(), "it was answered"
    setup.proxy.heal()
    asking.join(10)
    assert answers == [None] and setup.applied() == 0
    assert setup.ask("PUT", body=BODY) == (200, b"")
    setup.proxy.assert_fired(p.CUT_OFF)


def test_what_never_fired_is_named(setup):
    with pytest.raises(AssertionError, match="never injected: 429"):
        setup.proxy.assert_fired(p.TOO_MANY)
