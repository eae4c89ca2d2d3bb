#!/usr/bin/env python3
"""How large chunks are as Parquet files, against the same records as the batches that producers sent.

The machine's package list and JSON records, by the codec of the producer. Needs the test bed (tests/run installs it):
~/.cache/strandline-testbed/clients/bin/python tests/bench/sizes.py [--mib N]
"""

import argparse
import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

import bed  # noqa: E402
from clientlib import create_topic, package_list, produce_all  # noqa: E402

SCHEMA = json.dumps({
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "at": {"type": "string", "format": "date-time"},
        "kind": {"type": "string"},
        "customer": {"type": "object", "properties": {"number": {"type": "integer"}, "name": {"type": "string"}}},
        "amount": {"type": "number"},
        "paid": {"type": "boolean"},
    },
})


def events(mib):
    """Made-up orders: few different words, many different numbers."""
    dice, records, size = bed.seeded("events"), [], 0
    while size < mib << 20:
        number = dice.randrange(10_000)
        value = json.dumps({
            "id": len(records),
            "at": f"2026-07-{1 + len(records) // 20_000 % 28:02}T{dice.randrange(24):02}:{dice.randrange(60):02}:00Z",
            "kind": dice.choice(["created", "paid", "sent", "returned"]),
            "customer": {"number": number, "name": f"customer {number}"},
            "amount": round(dice.expovariate(0.02), 2),
            "paid": dice.random() < 0.7,
        }).encode()
        records.append((b"%d" % number, value))
        size += len(value)
    return records


def chunk_bytes(node, records, codec, configs):
    topic = create_topic(node, f"t{codec}{len(configs)}{len(records)}", 1, configs)
    produce_all(node, topic, records, compression_type=codec)
    root = pathlib.Path(node.store.url.removeprefix("file://")) / "chunk"
    before = set(root.glob("*/*/*"))
    bed.run_command(["compact", node.store.url, "--once", "--all"], node.store, timeout=600)
    return sum(path.stat().st_size for path in set(root.glob("*/*/*")) - before)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=64, help="of JSON records")
    args = parser.parse_args()
    parquet = {"strandline.archive.format": "parquet"}
    columns = {**parquet, "strandline.value.format": "json", "strandline.value.schema": SCHEMA}
    sources = {"packages": (package_list(), {"parquet": parquet}), "json": (events(args.mib), {"parquet": parquet, "with columns": columns})}
    with tempfile.TemporaryDirectory() as folder:
        node = bed.Node(bed.new_store("file", folder), folder, flags=["--compact", "off"])
        node.start()
        try:
            for name, (records, ways) in sources.items():
                raw = sum(len(key) + len(value) for key, value in records)
                print(f"{name}: {len(records):,} records, {raw / (1 << 20):.1f} MiB of keys and values")
                for codec in ("none", "lz4", "zstd"):
                    batches = chunk_bytes(node, records, codec, {})
                    sizes = {way: chunk_bytes(node, records, codec, configs) / batches for way, configs in ways.items()}
                    shown = ", ".join(f"{way} {ratio:.2f}" for way, ratio in sizes.items())
                    print(f"  {codec}: batches {batches / (1 << 20):.1f} MiB, of which as {shown}")
        finally:
            node.terminate()


if __name__ == "__main__":
    main()
