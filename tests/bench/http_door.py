#!/usr/bin/env python3
"""What the HTTP door costs: records appended and read through it against the same through Kafka's, one node, one run, in turn.

Records of 1 KiB as NDJSON and JSON over a few connections that stay open, against librdkafka with acks=all and nothing
compressed. Bodies are made beforehand, and answers are taken from the socket as they come, so that it is the node that is
measured; NDJSON and JSON that are read back are not parsed. Sizes are those of the values. Needs the test bed (tests/run installs it):
~/.cache/strandline-testbed/clients/bin/python tests/bench/http_door.py [--store memory|file|minio] [--mib N] [--connections N] [--rounds N]
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

import bed  # noqa: E402
from clientlib import consumer, create_topic, producer, watermarks  # noqa: E402
from confluent_kafka import TopicPartition  # noqa: E402

RECORD = 1024
# Below the 8 MiB that a JSON body may have.
BATCH = 4_096
PIECE = 1 << 20
PAGE = 16 << 20


def value(dice):
    """Text, so that no record needs base64; from so many letters that it does not compress to nothing."""
    return "".join(dice.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=RECORD))


class Connection:
    """HTTP/1.1 on a plain socket: the head is read with care, the body only counted."""

    def __init__(self, node):
        host, port = node.http.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host, self.left, self.space = node.http, b"", memoryview(bytearray(PIECE))

    def ask(self, method, path, headers=(), body=b""):
        """Headers of the answer, and the bytes of its body as they came."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", *headers, "", ""]
        if body:
            lines.insert(2, f"Content-Length: {len(body)}")
        self.socket.sendall("\r\n".join(lines).encode() + body if len(body) < 4_096 else "\r\n".join(lines).encode())
        if len(body) >= 4_096:
            self.socket.sendall(body)
        while (end := self.left.find(b"\r\n\r\n")) < 0:
            self._more()
        head, self.left = self.left[:end].decode().split("\r\n"), self.left[end + 4 :]
        found = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in head[1:])}
        size = self._body(found)
        if " 200 " not in head[0] + " ":
            raise RuntimeError(f"{method} {path}: {head[0]}")
        return found, size

    def _more(self):
        # Little at a time: what is left over is cut and copied, the bulk of a body is not.
        part = self.socket.recv(4_096)
        if not part:
            raise ConnectionError("the node closed the connection")
        self.left += part

    def _skip(self, size):
        gone = min(size, len(self.left))
        self.left, size = self.left[gone:], size - gone
        while size:
            count = self.socket.recv_into(self.space[: min(size, PIECE)])
            if not count:
                raise ConnectionError("the node closed the connection")
            size -= count

    def _body(self, headers):
        if "content-length" in headers:
            self._skip(int(headers["content-length"]))
            return int(headers["content-length"])
        total = 0
        while True:
            while (end := self.left.find(b"\r\n")) < 0:
                self._more()
            size, self.left = int(self.left[:end].split(b";")[0], 16), self.left[end + 2 :]
            self._skip(size + 2)
            total += size
            if not size:
                return total


def shared_out(count, work):
    """Runs `work(number)` in so many threads at once; raises what one of them raised. Seconds that all of them took."""
    failed = []

    def run(number):
        try:
            work(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return time.monotonic() - began


def append_http(node, topic, form, bodies, args):
    def work(number):
        connection = Connection(node)
        for at in range(number, args.batches, args.connections):
            headers = ["Content-Type: application/x-ndjson" if form == "ndjson" else "Content-Type: application/json"]
            connection.ask("POST", f"/v1/topics/{topic}/records?partition={number % args.partitions}", headers, bodies[at % len(bodies)])

    return shared_out(args.connections, work)


def append_kafka(node, topic, values, args):
    """As many producers as there are connections, since one alone is one thread of librdkafka to a broker."""

    def work(number):
        client = producer(
            node, acks="all", compression_type="none", linger_ms=5, batch_size=1_000_000, batch_num_messages=100_000,
            queue_buffering_max_messages=1_000_000, queue_buffering_max_kbytes=2_000_000, enable_idempotence=False,
        )  # fmt: skip
        lost, partition = [], number % args.partitions
        for at in range(number, args.batches, args.connections):
            for one in values[at % len(values)]:
                while True:
                    try:
                        client.produce(topic, one, partition=partition)
                        break
                    except BufferError:
                        client.poll(0.01)
            client.poll(0)
        lost.append(client.flush(120))
        if any(lost):
            raise RuntimeError(f"{lost} records were not acknowledged")

    return shared_out(args.connections, work)


def read_http(node, topic, accept, ends, args):
    def work(number):
        connection = Connection(node)
        for partition in range(number, args.partitions, args.connections):
            at = 0
            while at < ends[partition]:
                path = f"/v1/topics/{topic}/partitions/{partition}/records?from={at}&limit=10000&max_bytes={PAGE}"
                headers, _ = connection.ask("GET", path, [f"Accept: {accept}", "Accept-Encoding: identity"])
                at = int(headers["strandline-next-offset"])

    return shared_out(args.connections, work)


def read_kafka(node, topic, ends, args):
    def work(number):
        mine = range(number, args.partitions, args.connections)
        left = sum(ends[partition] for partition in mine)
        client = consumer(node, check_crcs=False, fetch_message_max_bytes=PAGE, fetch_max_bytes=4 * PAGE, queued_max_messages_kbytes=500_000)
        client.assign([TopicPartition(topic, partition, 0) for partition in mine])
        while left > 0:
            left -= len(client.consume(min(left, 10_000), 10))
        client.close()

    return shared_out(args.connections, work)


def end_of(node, topic, args):
    client = consumer(node)
    try:
        return [watermarks(client, topic, partition)[1] for partition in range(args.partitions)]
    finally:
        client.close()


ACCEPT = {"ndjson": "application/x-ndjson", "json": "application/json", "arrow": "application/vnd.apache.arrow.stream"}


def round_of(node, number, bodies, values, args):
    """MiB of values a second, by what was done."""
    mib, found = args.batches * BATCH * RECORD / (1 << 20), {}
    for form in ("kafka", "ndjson", "json"):
        topic = create_topic(node, f"{form}-{number}", args.partitions)
        took = append_kafka(node, topic, values, args) if form == "kafka" else append_http(node, topic, form, bodies[form], args)
        found["append", form] = mib / took
        ends = end_of(node, topic, args)
        if sum(ends) != args.batches * BATCH:
            raise RuntimeError(f"{topic} has {sum(ends)} records of {args.batches * BATCH}")
    # All of them read the same records.
    topic = f"kafka-{number}"
    ends = end_of(node, topic, args)
    for form in ("kafka", *ACCEPT):
        took = read_kafka(node, topic, ends, args) if form == "kafka" else read_http(node, topic, ACCEPT[form], ends, args)
        found["read", form] = mib / took
    return found


def report(rounds):
    print(f"{'':14} {'MiB/s':>8}   of Kafka's")
    for action, form in rounds[0]:
        rates = [one[action, form] for one in rounds]
        ratios = [one[action, form] / one[action, "kafka"] for one in rounds]
        shown = f"{statistics.median(ratios):.2f}, all {[round(ratio, 2) for ratio in ratios]}" if form != "kafka" else ""
        print(f"{action + ' ' + form:14} {statistics.median(rates):8.1f}   {shown}")
    print(json.dumps([{" ".join(what): round(rate, 1) for what, rate in one.items()} for one in rounds]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", choices=["memory", "file", "minio"], default="file")
    parser.add_argument("--mib", type=int, default=512, help="MiB of values in each measurement")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    args.batches = max(args.connections, args.mib * (1 << 20) // RECORD // BATCH)
    dice = bed.seeded("http bench")
    texts = [[value(dice) for _ in range(BATCH)] for _ in range(4)]
    values = [[one.encode() for one in batch] for batch in texts]
    bodies = {
        "ndjson": [b"".join(b'{"value":"%s"}\n' % one for one in batch) for batch in values],
        "json": [b"[%s]" % b",".join(b'{"value":"%s"}' % one for one in batch) for batch in values],
    }
    with tempfile.TemporaryDirectory() as folder:
        minio = None
        if args.store == "minio":
            minio = bed.MinIO(folder)
            minio.start()
            minio.create_bucket()
        node = bed.Node(bed.new_store(args.store, folder, minio), folder, flags=["--compact", "off"])
        try:
            node.start()
            print(f"{args.store}, {args.connections} connections, {args.batches * BATCH} records of {RECORD} bytes, {os.cpu_count()} cores")
            report([round_of(node, number, bodies, values, args) for number in range(args.rounds)])
        finally:
            for process in (node, minio):
                if process is not None and process.running():
                    process.terminate()


if __name__ == "__main__":
    main()
