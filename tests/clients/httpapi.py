"""A node's HTTP API as a script uses it: `requests` for what has an end, a reader of its own for what has none.

Knows what every answer has in common (problems, paging, how bytes are written in JSON) and nothing about single requests.
"""

import base64
import http.client
import json
import queue
import socket
import threading
import time
import urllib.parse

import requests

PROBLEMS = {
    "invalid-request": 400,
    "cross-site": 403,
    "unknown-topic": 404,
    "unknown-partition": 404,
    "unknown-group": 404,
    "unknown-record": 404,
    "not-found": 404,
    "method-not-allowed": 405,
    "not-acceptable": 406,
    "topic-exists": 409,
    "group-not-empty": 409,
    "body-too-large": 413,
    "record-too-large": 413,
    "unsupported-media-type": 415,
    "offset-out-of-range": 416,
    "invalid-record": 422,
    "invalid-topic": 422,
    "invalid-config": 422,
    "limit-reached": 429,
    "internal": 500,
    "unavailable": 503,
    "too-busy": 503,
}

JSON = "application/json"
NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"


def quoted(text):
    return urllib.parse.quote(text, safe="")


def asked(params):
    """`start=` for the parameter `from`, which Python keeps for itself."""
    return {"from" if name == "start" else name: value for name, value in params.items()}


def encoded(record):
    """A record of bytes as JSON takes it: text where it is text, else base64."""
    out = dict(record)
    for part in ("key", "value"):
        if isinstance(out.get(part), bytes):
            try:
                out[part] = out[part].decode()
            except UnicodeDecodeError:
                out[part], out[f"{part}_encoding"] = base64.b64encode(out[part]).decode(), "base64"
    if "headers" in out:
        out["headers"] = [encoded({"key": name, "value": value}) for name, value in out["headers"]]
    return out


def bytes_of(record, part):
    """What a record read as JSON has as its key or value."""
    text, encoding = record.get(part), record.get(f"{part}_encoding")
    assert encoding in (None, "base64"), record
    if text is None:
        return None
    return base64.b64decode(text, validate=True) if encoding else text.encode()


def headers_of(record):
    """As confluent-kafka has them: no headers are `None`."""
    return [(header["key"], bytes_of(header, "value")) for header in record.get("headers") or []] or None


def by_place(records):
    """(partition, offset) -> (key, value, headers, time); a record that is there twice is a failure."""
    found = {}
    for record in records:
        place = record["partition"], record["offset"]
        assert place not in found, f"partition {place[0]} has offset {place[1]} twice"
        found[place] = bytes_of(record, "key"), bytes_of(record, "value"), headers_of(record), record["timestamp"]
    return found


def problem_of(answer, name):
    """The problem that an answer is; all of them have the same form."""
    said = f"{answer.request.method} {answer.request.path_url}: {answer.status_code} {answer.text[:2000]}"
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json", said
    problem = answer.json()
    assert problem["type"] == f"urn:strandline:problem:{name}", said
    assert answer.status_code == problem["status"] == PROBLEMS[name], said
    assert problem["title"] and isinstance(problem["detail"], str), said
    return problem


class Api:
    """One user of the API of one node, on a connection that is kept open. Not to be shared by threads."""

    def __init__(self, node):
        self.node = node
        self.url = f"http://{node.http}"
        self.session = requests.Session()
        # A proxy of this machine is not meant for the loopback.
        self.session.trust_env = False

    def ask(self, method, path, **options):
        """The answer, whatever it is."""
        return self.session.request(method, urllib.parse.urljoin(self.url, path), **{"timeout": 60, **options})

    def __call__(self, method, path, status=200, **options):
        answer = self.ask(method, path, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer

    def get(self, path, **params):
        return self("GET", path, params=params).json()

    def refused(self, name, method, path, **options):
        """The problem of this name that this request is answered with."""
        return problem_of(self.ask(method, path, **options), name)

    # --- the few things that every test does ---

    def create(self, topic, partitions=1, **configs):
        self("POST", "/v1/topics", 201, json={"name": topic, "partitions": partitions, "configs": configs})
        return topic

    def append(self, topic, body, content_type=JSON, headers=None, **params):
        """What was appended; `body` is bytes, a generator of bytes, or what becomes JSON."""
        if not isinstance(body, bytes) and not hasattr(body, "__next__"):
            body = json.dumps(body).encode()
        headers = {"Content-Type": content_type, **(headers or {})}
        return self("POST", f"/v1/topics/{topic}/records", data=body, headers=headers, params=params).json()

    def records(self, topic, partition):
        return f"/v1/topics/{topic}/partitions/{partition}/records"

    def read(self, topic, partition=0, **params):
        return self.get(self.records(topic, partition), **asked(params))

    def pages(self, topic, partition=0, accept=JSON, **params):
        """Answers from one `next` to the next, until there is no more to come."""
        path, params, at = self.records(topic, partition), asked(params), None
        while True:
            answer = self("GET", path, headers={"Accept": accept}, params=params)
            yield answer
            after = answer.headers["Strandline-Next-Offset"]
            if after in (at, answer.headers["Strandline-High-Watermark"]):
                return
            # What the first request asked for, the link asks for again.
            at, path, params = after, urllib.parse.urljoin(answer.url, answer.links["next"]["url"]), {}

    def read_all(self, topic, partitions=1, **params):
        pages = (page for p in range(partitions) for page in self.pages(topic, p, **params))
        return by_place(record for page in pages for record in page.json()["records"])

    def values(self, topic, partition=0, **params):
        """The values of a partition in the order of their offsets."""
        records = [record for page in self.pages(topic, partition, **params) for record in page.json()["records"]]
        assert [record["offset"] for record in records] == sorted({record["offset"] for record in records})
        return [bytes_of(record, "value") for record in records]


class Events:
    """An event stream as a browser's EventSource reads it, but for coming back by itself: `last` is what it would send then."""

    def __init__(self, node, topic, last=None, **params):
        self.last, self.clean, self.comments = last, None, 0
        host, port = node.http.split(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=60)
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last is not None else {})}
        query = urllib.parse.urlencode(asked(params))
        self._connection.request("GET", f"/v1/topics/{topic}/events?{query}".rstrip("?"), headers=headers)
        self._socket = self._connection.sock
        self._answer = self._connection.getresponse()
        self.status, self.content_type = self._answer.status, self._answer.getheader("Content-Type")
        assert self.status == 200, self._answer.read()
        assert self.content_type.split(";")[0] == "text/event-stream", self.content_type
        self._events = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _lines(self):
        """Lines as they come. Chunks are told apart here: http.client takes a connection that was cut for the end."""
        source, rest = self._answer.fp, b""
        while size := int(source.readline().split(b";")[0], 16):
            *whole, rest = (rest + source.read(size)).split(b"\n")
            source.readline()
            yield from whole

    def _read(self):
        fields = {}
        try:
            for line in self._lines():
                name, _, value = line.decode().rstrip("\r").partition(":")
                if line[:1] == b":":
                    self.comments += 1
                elif name:
                    fields.setdefault(name, []).append(value.removeprefix(" "))
                elif fields:
                    if "data" in fields:
                        self._events.put((fields.get("id", [None])[-1], json.loads("\n".join(fields["data"]))))
                    fields = {}
            self.clean = True
        except (ValueError, OSError):
            self.clean = False
        self._events.put(None)

    def take(self, count, timeout=30):
        """So many records; each moves `last` on."""
        records, deadline = [], time.monotonic() + timeout
        while len(records) < count:
            try:
                event = self._events.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{len(records)} of {count} events arrived in {timeout} s") from None
            assert event is not None, f"the stream ended after {len(records)} of {count} events"
            self.last = event[0]
            assert self.last, "an event without an id"
            records.append(event[1])
        return records

    def take_what_is_there(self, seconds):
        """The records of so much time, or until the stream ends."""
        records, deadline = [], time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=left)
            except queue.Empty:
                break
            if event is None:
                break
            self.last = event[0]
            records.append(event[1])
        return records

    def ended(self, timeout):
        """Waits for the end of the stream; whether it was a proper one."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"the stream was still open after {timeout} s"
        return self.clean

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(10)
        self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def send_half(node, topic, content_type, sent, length=None):
    """An append whose body ends too soon: the connection is closed in the middle of it."""
    framing = f"Content-Length: {length}" if length else "Transfer-Encoding: chunked"
    head = f"POST /v1/topics/{topic}/records HTTP/1.1\r\nHost: {node.http}\r\nContent-Type: {content_type}\r\n{framing}\r\n\r\n"
    body = sent if length else b"%x\r\n%s\r\n" % (len(sent), sent)
    host, port = node.http.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        # Time to be read, as far as it goes.
        time.sleep(0.3)
