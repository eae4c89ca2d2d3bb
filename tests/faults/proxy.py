"""A store that misbehaves: an HTTP proxy in front of an S3 server that loses, delays, repeats and damages on demand.

One proxy a node, so that one node can be cut off. Requests go through byte for byte, `Host` included, so that
signatures hold. Knows methods and keys, not what the objects mean. Invariant: each request suffers at most one fault,
drawn from a seeded generator, and a fault is counted only when it took place: a test asserts that what it turned on
did fire. Whole messages are held in memory; it is made for the small objects of tests.
"""

import asyncio
import collections
import dataclasses
import math
import threading
import urllib.parse

import bed

DROP_RESPONSE = "drop the response"
DROP_REQUEST = "drop the request"
DELAY = "delay"
SLOW_DOWN = "503 SlowDown"
ERROR_AFTER = "500 although applied"
CONFLICT = "409 or 412 although applied"
TOO_MANY = "429"
LATE = "apply late"
TWICE = "apply twice"
CUT_REQUEST = "cut the request body"
CUT_RESPONSE = "cut the response body"
SLOW_REQUEST = "slow request body"
SLOW_RESPONSE = "slow response body"
FLIP = "flip a bit"
CUT_OFF = "cut off"

WRITES = ("PUT",)
READS = ("GET",)

_REASONS = {409: "Conflict", 412: "Precondition Failed", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Slow Down"}
_CODES = {409: "ConditionalRequestConflict", 412: "PreconditionFailed", 429: "TooManyRequests", 500: "InternalError", 503: "SlowDown"}
_PIECES = 8
_MAX_HEAD_BYTES = 1 << 18


@dataclasses.dataclass(frozen=True)
class Fault:
    """One kind of misfortune: how often, to which methods, to keys that start how, and, where it takes time, how long.

    `rate` is the share of the requests that fit, 0 to 1; `seconds` are the shortest and the longest, drawn so that
    every order of magnitude is as frequent as the next.
    """

    kind: str
    rate: float
    methods: tuple = WRITES
    prefix: str = ""
    seconds: tuple = (0.005, 1.0)

    def fits(self, request):
        return request.method in self.methods and request.key.startswith(self.prefix)


@dataclasses.dataclass
class Message:
    """An HTTP message, whole."""

    head: bytes
    body: bytes

    def header(self, name):
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name:
                return value.strip()
        return None

    @property
    def status(self):
        return int(self.head.split(b" ", 2)[1])

    def bytes(self):
        return self.head + self.body


@dataclasses.dataclass
class Request(Message):
    method: str = ""
    key: str = ""


def refusal(status):
    """What an S3 server says when it fails."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{_CODES[status]}</Code><Message>injected</Message></Error>'.encode()
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return Message(head.encode(), body)


async def read_head(reader):
    """The head of the next message; None at the end of the stream."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None


async def read_chunks(reader):
    parts = []
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return b"".join(parts)
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)


async def read_body(reader, message):
    if (message.header(b"transfer-encoding") or b"").lower() == b"chunked":
        message.body = await read_chunks(reader)
        kept = [line for line in message.head[:-4].split(b"\r\n") if not line.lower().startswith(b"transfer-encoding:")]
        message.head = b"\r\n".join([*kept, b"Content-Length: %d" % len(message.body), b"", b""])
    elif length := message.header(b"content-length"):
        message.body = await reader.readexactly(int(length))


class Proxy:
    """The way of one node to the store. `set` and `clear`, `cut_off` and `heal` may be called from any thread."""

    def __init__(self, loop, upstream, root, name):
        self.name = name
        self.port = bed.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.injected = collections.Counter()
        self.requests = collections.Counter()
        self._loop = loop
        self._upstream = upstream
        # Path of the store below the server: "/bucket/prefix/".
        self._root = root
        self._rng = bed.seeded(f"proxy {name}")
        self._faults = ()
        self._cut = None
        self._healed = asyncio.Event()
        self._clients = set()
        self._idle = []
        self._late = {}
        self._tasks = set()
        self._server = None

    # --- for tests ---

    def set(self, *faults):
        """From now on these faults and no others."""
        self._faults = tuple(faults)

    def clear(self):
        """From now on no faults; what is parked still happens when its time has come."""
        self.set()

    def cut_off(self, silent=False):
        """The store is out of reach: connections are refused, or, if `silent`, opened and never answered."""
        self._on_loop(self._begin_cut, "silent" if silent else "refused")

    def heal(self):
        """Ends `cut_off`. Connections from before stay dead."""
        self._on_loop(self._end_cut)

    def settle(self, timeout=30):
        """Waits until nothing that was parked is still to come."""
        bed.wait_until(lambda: not self._late, timeout, f"the parked requests of {self.name}")

    def assert_fired(self, *kinds):
        """A fault that never fired proves nothing."""
        silent = [kind for kind in kinds if not self.injected[kind]]
        assert not silent, f"{self.name}: never injected: {', '.join(silent)}; injected: {dict(self.injected)}"

    # --- on the loop ---

    def _on_loop(self, action, *args):
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (action(*args), done.set()))
        assert done.wait(10), "the proxy's loop stands still"

    def _begin_cut(self, how):
        self._cut = how
        self._healed.clear()
        if how == "refused":
            self._end_cut_connections()

    def _end_cut(self):
        self._cut = None
        self._healed.set()
        self._end_cut_connections()

    def _end_cut_connections(self):
        for writer in list(self._clients):
            writer.transport.abort()

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_MAX_HEAD_BYTES)

    async def stop(self):
        self._server.close()
        self._end_cut_connections()
        for task in list(self._tasks):
            task.cancel()
        for _, writer in self._idle:
            writer.close()

    async def _serve(self, reader, writer):
        self._clients.add(writer)
        try:
            if self._cut == "refused":
                self.injected[CUT_OFF] += 1
                return
            while (head := await read_head(reader)) is not None:
                request = self._request(head)
                await read_body(reader, request)
                if not await self._answer(request, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, OSError):
            # The node gave up, or the store did: to the other side it is a closed connection.
            pass
        except asyncio.CancelledError:
            # The end of the test. Streams complain aloud of a handler that was cancelled.
            pass
        finally:
            self._clients.discard(writer)
            writer.transport.abort() if self._cut else writer.close()

    def _request(self, head):
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        path, _, query = target.partition("?")
        path = urllib.parse.unquote(path)
        listed = urllib.parse.parse_qs(query)
        if "list-type" in listed:
            method, path = "LIST", path.rstrip("/") + "/" + listed.get("prefix", [""])[0]
        key = path.removeprefix(self._root)
        self.requests[method, key.split("/")[0]] += 1
        return Request(head, b"", method, key)

    def _draw(self, request):
        for fault in self._faults:
            if fault.fits(request) and self._rng.random() < fault.rate:
                return fault
        return None

    def _time(self, fault):
        shortest, longest = fault.seconds
        return math.exp(self._rng.uniform(math.log(shortest), math.log(longest)))

    async def _answer(self, request, writer):
        """`False`: the connection is to be closed."""
        if self._cut:
            self.injected[CUT_OFF] += 1
            await self._healed.wait()
            return False
        if request.method == "PUT" and request.key in self._late:
            # Its first attempt is under way for ever so long; if a second one came through, the first would not matter.
            return False
        fault = self._draw(request)
        if fault is None:
            return await self._reply(writer, await self._forward(request))
        return await getattr(self, _HANDLERS[fault.kind])(fault, request, writer)

    async def _reply(self, writer, response):
        if self._cut:
            self.injected[CUT_OFF] += 1
            return False
        writer.write(response.bytes())
        await writer.drain()
        return (response.header(b"connection") or b"").lower() != b"close"

    # --- the way to the store ---

    async def _connect(self):
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._upstream, limit=_MAX_HEAD_BYTES)

    async def _forward(self, request, sent=None):
        """The store's answer; `sent` sends the request in its own way."""
        reader, writer = await self._connect()
        try:
            if sent is None:
                writer.write(request.bytes())
                await writer.drain()
            else:
                await sent(writer)
            head = await read_head(reader)
            if head is None:
                raise ConnectionResetError("the store closed the connection")
            response = Message(head, b"")
            if not request.head.startswith(b"HEAD ") and response.status not in (204, 304):
                await read_body(reader, response)
        except BaseException:
            writer.close()
            raise
        # MinIO may refuse a PUT before it has read the body, and then resets the connection half a second later.
        if response.status < 300 or request.method == "GET":
            self._idle.append((reader, writer))
        else:
            writer.close()
        return response

    # --- the faults ---

    async def _drop_response(self, fault, request, _):
        await self._forward(request)
        self.injected[fault.kind] += 1
        return False

    async def _drop_request(self, fault, *_):
        self.injected[fault.kind] += 1
        return False

    async def _delay(self, fault, request, writer):
        self.injected[fault.kind] += 1
        before, seconds = self._rng.random() < 0.5, self._time(fault)
        await asyncio.sleep(seconds if before else 0)
        response = await self._forward(request)
        await asyncio.sleep(0 if before else seconds)
        return await self._reply(writer, response)

    async def _refuse(self, fault, _, writer):
        self.injected[fault.kind] += 1
        return await self._reply(writer, refusal(503 if fault.kind == SLOW_DOWN else 429))

    async def _lie(self, fault, request, writer):
        """Applied, but the answer says otherwise. A write that another one beat gets its true answer."""
        response = await self._forward(request)
        if response.status != 200:
            return await self._reply(writer, response)
        self.injected[fault.kind] += 1
        return await self._reply(writer, refusal(500 if fault.kind == ERROR_AFTER else self._rng.choice([409, 412])))

    async def _late_one(self, fault, request, _):
        self.injected[fault.kind] += 1
        self._late[request.key] = self._late.get(request.key, 0) + 1
        task = asyncio.ensure_future(self._apply_later(request, self._time(fault)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return False

    async def _apply_later(self, request, seconds):
        try:
            await asyncio.sleep(seconds)
            response = await self._forward(request)
            self.injected["landed late"] += response.status == 200
        except (ConnectionError, asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._late[request.key] -= 1
            if not self._late[request.key]:
                del self._late[request.key]

    async def _twice(self, fault, request, writer):
        await self._forward(request)
        response = await self._forward(request)
        self.injected[fault.kind] += 1
        return await self._reply(writer, response)

    async def _cut_request(self, fault, request, writer):
        if len(request.body) < 2:
            return await self._reply(writer, await self._forward(request))
        _, upstream = await self._connect()
        upstream.write(request.head + request.body[: self._rng.randrange(1, len(request.body))])
        await upstream.drain()
        upstream.close()
        self.injected[fault.kind] += 1
        return False

    async def _cut_response(self, fault, request, writer):
        response = await self._forward(request)
        if response.status not in (200, 206) or len(response.body) < 2:
            return await self._reply(writer, response)
        self.injected[fault.kind] += 1
        writer.write(response.head + response.body[: self._rng.randrange(1, len(response.body))])
        await writer.drain()
        return False

    async def _slow_request(self, fault, request, writer):
        if not request.body:
            return await self._reply(writer, await self._forward(request))
        self.injected[fault.kind] += 1
        seconds = self._time(fault)
        response = await self._forward(request, lambda upstream: dribble(upstream, request, seconds))
        return await self._reply(writer, response)

    async def _slow_response(self, fault, request, writer):
        response = await self._forward(request)
        if not response.body:
            return await self._reply(writer, response)
        self.injected[fault.kind] += 1
        await dribble(writer, response, self._time(fault))
        return True

    async def _flip(self, fault, request, writer):
        response = await self._forward(request)
        if response.status not in (200, 206) or not response.body:
            return await self._reply(writer, response)
        self.injected[fault.kind] += 1
        body = bytearray(response.body)
        body[self._rng.randrange(len(body))] ^= 1 << self._rng.randrange(8)
        return await self._reply(writer, Message(response.head, bytes(body)))


async def dribble(writer, message, seconds):
    writer.write(message.head)
    size = max(1, math.ceil(len(message.body) / _PIECES))
    for at in range(0, len(message.body), size):
        await asyncio.sleep(seconds / _PIECES)
        writer.write(message.body[at : at + size])
        await writer.drain()


_HANDLERS = {
    DROP_RESPONSE: "_drop_response",
    DROP_REQUEST: "_drop_request",
    DELAY: "_delay",
    SLOW_DOWN: "_refuse",
    ERROR_AFTER: "_lie",
    CONFLICT: "_lie",
    TOO_MANY: "_refuse",
    LATE: "_late_one",
    TWICE: "_twice",
    CUT_REQUEST: "_cut_request",
    CUT_RESPONSE: "_cut_response",
    SLOW_REQUEST: "_slow_request",
    SLOW_RESPONSE: "_slow_response",
    FLIP: "_flip",
}


class Proxies:
    """All proxies of a test, on one event loop in a thread of its own."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies")
        self._thread.start()
        self.all = []

    def add(self, upstream, root, name):
        """A proxy to the server on port `upstream`, for the store below the path `root`."""
        proxy = Proxy(self._loop, upstream, root, name)
        asyncio.run_coroutine_threadsafe(proxy.start(), self._loop).result(10)
        self.all.append(proxy)
        return proxy

    def close(self):
        for proxy in self.all:
            asyncio.run_coroutine_threadsafe(proxy.stop(), self._loop).result(10)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self):
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
