#!/usr/bin/env python3
"""What compaction costs live traffic: times to an acknowledgement with and without it, in turn, on one machine and one MinIO.

A producer keeps the node busy at a fixed rate; beside it single records are sent and waited for. Needs the test bed
(tests/run installs it): ~/.cache/strandline-testbed/clients/bin/python tests/bench/compaction.py [--rate MIB] [--seconds N] [--rounds N]
"""

import argparse
import json
import pathlib
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

import bed  # noqa: E402
from clientlib import create_topic, producer  # noqa: E402

VALUE = 900_000


def load(node, topic, rate_mib, stop):
    """Writes at this rate until it is told to stop; bytes."""
    client = producer(node, linger_ms=5, queue_buffering_max_kbytes=500_000)
    body, sent, begun = bytes(bed.seeded("load").randbytes(VALUE)), 0, time.monotonic()
    while not stop.is_set():
        if sent > (time.monotonic() - begun) * rate_mib * (1 << 20):
            client.poll(0.005)
            continue
        try:
            client.produce(topic, body)
            sent += VALUE
        except BufferError:
            client.poll(0.05)
    client.flush(60)
    return sent


def latencies(node, topic, seconds, per_second=20):
    """Milliseconds from sending a record to its acknowledgement, one record after the other."""
    client, took, until = producer(node, linger_ms=0), [], time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        client.produce(topic, b"x" * 100, on_delivery=lambda error, _: took.append((time.monotonic() - begun) * 1_000))
        client.flush(30)
        time.sleep(max(0, 1 / per_second - (time.monotonic() - begun)))
    return sorted(took)


def round_of(minio, folder, compact, args):
    node = bed.Node(bed.new_store("minio", folder, minio), folder, flags=["--compact", compact])
    node.start()
    try:
        create_topic(node, "load", 4)
        create_topic(node, "paced", 1)
        stop, moved = threading.Event(), []
        thread = threading.Thread(target=lambda: moved.append(load(node, "load", args.rate, stop)))
        thread.start()
        # Until there is something to compact.
        time.sleep(args.seconds / 3)
        took = latencies(node, "paced", args.seconds)
        stop.set()
        thread.join()
        written = node.metrics().get("strandline_compactor_written_bytes_total", 0)
    finally:
        node.terminate()
    at = lambda share: took[min(len(took) - 1, int(len(took) * share))]
    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "load_mib": moved[0] / (1 << 20), "compacted_mib": written / (1 << 20)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=20, help="MiB a second that are produced meanwhile")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        minio = bed.MinIO(folder)
        minio.start()
        minio.create_bucket()
        try:
            rounds = [{way: round_of(minio, folder, way, args) for way in ("off", "unlimited")} for _ in range(args.rounds)]
        finally:
            minio.terminate()
    for figure in ("p50_ms", "p99_ms"):
        ratios = sorted(r["unlimited"][figure] / r["off"][figure] for r in rounds)
        print(f"{figure}: with compaction over without, median {ratios[len(ratios) // 2]:.2f}, all {[round(r, 2) for r in ratios]}")
    print(json.dumps(rounds, indent=1))


if __name__ == "__main__":
    main()
