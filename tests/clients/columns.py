"""Reads exported columns with pyarrow, Polars or DuckDB and prints them as JSON, one record a line.

Run by the Python of the venv `analytics`, never imported by a test: `columns.py pyarrow,polars,duckdb stream|parquet FILES...`.
All readers that are named must find the same.
A record is partition, offset, timestamp in ms, its type, key, value, headers; bytes are base64.
"""

import base64
import datetime
import json
import sys

import duckdb
import polars
import pyarrow
import pyarrow.parquet

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MILLISECOND = datetime.timedelta(milliseconds=1)


def open_stream(path):
    return pyarrow.ipc.open_stream(pyarrow.OSFile(path))


def with_pyarrow(kind, files):
    if kind == "stream":
        return [row for path in files for row in open_stream(path).read_all().to_pylist()]
    return [row for path in files for row in pyarrow.parquet.read_table(path).to_pylist()]


def with_polars(kind, files):
    read = polars.read_ipc_stream if kind == "stream" else polars.read_parquet
    return [row for path in files for row in read(path).to_dicts()]


def with_duckdb(kind, files):
    connection = duckdb.connect()
    rows = []
    for path in files:
        if kind == "stream":
            stream = open_stream(path)
            relation = connection.from_arrow(stream)
        else:
            relation = connection.read_parquet(path)
        # Its own conversion of times needs a package of time zones.
        relation = relation.project("* REPLACE (make_timestamp(epoch_us(timestamp)) AS timestamp)")
        names = relation.columns
        rows += [dict(zip(names, row)) for row in relation.fetchall()]
    return rows


def text(data):
    return None if data is None else base64.b64encode(data).decode()


def plain(row):
    micros = row["timestamp"].replace(tzinfo=datetime.timezone.utc) - EPOCH
    assert micros % MILLISECOND == datetime.timedelta(0), row
    headers = [[header["key"], text(header["value"])] for header in row["headers"]]
    assert all(header["raw_key"] is None for header in row["headers"]) and row["raw_timestamp"] is None, row
    return [row["partition"], row["offset"], micros // MILLISECOND, row["timestamp_type"], text(row["key"]), text(row["value"]), headers]


if __name__ == "__main__":
    readers, kind, *files = sys.argv[1:]
    all_readers = {"pyarrow": with_pyarrow, "polars": with_polars, "duckdb": with_duckdb}
    found = [[plain(row) for row in all_readers[reader](kind, files)] for reader in readers.split(",")]
    assert all(rows == found[0] for rows in found), f"{readers} do not agree"
    for row in found[0]:
        print(json.dumps(row))
