"""What DuckDB, PyIceberg and Polars find in an Iceberg table, as JSON: a program for the venv of tests/setup/analytics.sh.

    python iceberg_readers.py LOCATION

On S3 the usual variables say how: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY. Rows are
[partition, offset, milliseconds, key, value], keys and values in hexadecimal, in order.
"""

import json
import os
import pathlib
import site
import sys
import warnings

import duckdb
import polars
from pyiceberg.table import StaticTable

COLUMNS = ["partition", "offset", "timestamp", "key", "value"]


def s3():
    return os.environ.get("AWS_ENDPOINT_URL"), os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")


def text(value):
    return None if value is None else bytes(value).hex()


def table(location):
    endpoint, key, secret = s3()
    properties = {"s3.endpoint": endpoint, "s3.access-key-id": key, "s3.secret-access-key": secret, "s3.region": "us-east-1"}
    return StaticTable.from_metadata(location, properties=properties if endpoint else {})


def row(found):
    milliseconds = round(found["timestamp"].timestamp() * 1000)
    return [found["partition"], found["offset"], milliseconds, text(found["key"]), text(found["value"])]


def with_pyiceberg(location, snapshot=None, row_filter="true"):
    scan = table(location).scan(row_filter=row_filter, snapshot_id=snapshot, selected_fields=tuple(COLUMNS))
    return sorted(row(found) for found in scan.to_arrow().to_pylist())


def with_polars(location):
    with warnings.catch_warnings(action="ignore"):
        found = polars.scan_iceberg(table(location)).select(COLUMNS).collect()
    return sorted(row(one) for one in found.to_dicts())


def open_duckdb():
    connection = duckdb.connect()
    packages = pathlib.Path(site.getsitepackages()[0])
    for name in ("avro", "httpfs", "iceberg"):
        (extension,) = packages.glob(f"duckdb_extension_{name}/extensions/*/{name}.duckdb_extension")
        connection.execute(f"LOAD '{extension}'")
    endpoint, key, secret = s3()
    if endpoint:
        host = endpoint.split("://")[1]
        connection.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', REGION 'us-east-1', ENDPOINT '{host}', URL_STYLE 'path', USE_SSL false)"
        )
    return connection


def with_duckdb(location):
    query = f"""SELECT "partition", "offset", epoch_ms("timestamp"), "key", "value" FROM iceberg_scan('{location}')"""
    rows = open_duckdb().execute(query).fetchall()
    return sorted([partition, offset, time, text(key), text(value)] for partition, offset, time, key, value in rows)


def main(location):
    opened = table(location)
    current = opened.metadata.current_snapshot_id
    snapshots = sorted(opened.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number)
    return {
        "pyiceberg": with_pyiceberg(location),
        "polars": with_polars(location),
        "duckdb": with_duckdb(location),
        # Only files whose bounds allow it are read for this.
        "filtered": with_pyiceberg(location, row_filter="partition = 1 and offset >= 10"),
        "files": opened.inspect.files().num_rows,
        "planned": len(list(opened.scan(row_filter="partition = 1 and offset < 0").plan_files())),
        "snapshots": [
            {
                "operation": snapshot.summary.operation.value,
                "offsets": snapshot.summary["strandline.offsets"],
                "rows": len(with_pyiceberg(location, snapshot.snapshot_id)),
                "current": snapshot.snapshot_id == current,
            }
            for snapshot in snapshots
        ],
        "columns": {field.name: field.field_id for field in opened.schema().fields},
    }


if __name__ == "__main__":
    json.dump(main(sys.argv[1]), sys.stdout)
