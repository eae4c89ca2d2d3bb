#!/usr/bin/env python3
"""What a log costs on S3: requests and dollars for each TiB that is kept for a month, computed from a node's own counters.

A producer writes at a fixed rate into a few partitions for a while, with compaction on, as in daily life; what was asked of the
store is counted by the node. Scaled to a month at that rate, with everything kept for `--days`. Prices are the list prices of
S3 Standard in us-east-1: PUT and LIST 0.005 dollars for 1,000, GET 0.0004 for 1,000, DELETE nothing, a GiB-month 0.023.

Counts do not depend on how busy the machine is, so one run is enough. Needs the test bed (tests/run installs it):
~/.cache/strandline-testbed/clients/bin/python tests/bench/costs.py [--rate MIB] [--seconds N] [--partitions N] [--days N]
"""

import argparse
import collections
import json
import pathlib
import re
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

import bed  # noqa: E402
from clientlib import create_topic  # noqa: E402
from compaction import load  # noqa: E402

MONTH = 30 * 86_400
GIB_MONTH = 0.023


def requests(node):
    """Requests so far by kind (PUT, GET, LIST, DELETE ...), and their price."""
    kinds = collections.Counter()
    for line in bed.http_get(f"http://{node.http}/metrics")[1].splitlines():
        if found := re.match(r'strandline_store_requests_total\{kind="(\w+)".*\} (\S+)', line):
            kinds[found[1]] += int(float(found[2]))
    return kinds, node.metrics().get("strandline_store_cost_dollars_total", 0.0)


def run(minio, folder, args):
    node = bed.Node(bed.new_store("minio", folder, minio), folder)
    node.start()
    try:
        create_topic(node, "load", args.partitions)
        before, dollars_before = requests(node)
        stop, moved = threading.Event(), []
        thread = threading.Thread(target=lambda: moved.append(load(node, "load", args.rate, stop)))
        thread.start()
        stop.wait(args.seconds)
        stop.set()
        thread.join()
        after, dollars_after = requests(node)
        compacted = node.metrics().get("strandline_compactor_written_bytes_total", 0)
    finally:
        node.terminate()
    counts = {kind: after[kind] - before[kind] for kind in after}
    return counts, dollars_after - dollars_before, moved[0], compacted


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=1, help="MiB a second")
    parser.add_argument("--seconds", type=float, default=1_800)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--days", type=float, default=90, help="retention")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        minio = bed.MinIO(folder)
        minio.start()
        minio.create_bucket()
        try:
            counts, dollars, written, compacted = run(minio, folder, args)
        finally:
            minio.terminate()
    kept_gib = args.rate / 1_024 * args.days * 86_400
    kept_tib, scale = kept_gib / 1_024, MONTH / args.seconds
    print(json.dumps({
        "rate_mib_s": args.rate,
        "written_gib": written / (1 << 30),
        "written_anew_gib": compacted / (1 << 30),
        "requests": counts,
        "requests_per_tib_month": {kind: round(count * scale / kept_tib) for kind, count in counts.items()},
        "request_dollars_per_tib_month": round(dollars * scale / kept_tib, 2),
        "storage_dollars_per_tib_month": round(GIB_MONTH * 1_024, 2),
        "dollars_per_month": round(dollars * scale + kept_gib * GIB_MONTH, 2),
    }, indent=1))


if __name__ == "__main__":
    main()
