"""`strandline scrub` on buckets that real clients wrote to: clean while a node is live, exact about damage, resumable.

Damage is done to folders, where any byte can be reached; that a scrub only reads is checked with rights that allow no more.
"""

import json
import pathlib
import re
import signal
import subprocess
import threading
import urllib.error
import urllib.request

import pytest

import bed
from bed import run_command
from clientlib import create_topic, produce_all

DATA_FLAGS = ["--inline-max", "16KiB", "--segment-bytes", "64KiB"]


def scrub(store, *flags, code=0, **options):
    done = run_command(["scrub", store.url, *flags], store, check=False, **options)
    assert done.code == code, done
    return done


def scrub_json(store, *flags, code=0):
    return json.loads(scrub(store, "--format", "json", *flags, code=code).stdout)


def records(purpose, count):
    dice = bed.seeded(purpose)
    return [(b"key %d" % n, dice.randbytes(dice.randrange(10, 3000))) for n in range(count)]


def folder(store):
    return pathlib.Path(store.url.removeprefix("file://"))


def keys(store, below):
    root = folder(store)
    return sorted(str(path.relative_to(root)) for path in (root / below).rglob("*") if path.is_file())


def flip(store, key, at):
    """One bit; `at` counts from the end if it is negative."""
    path = folder(store) / key
    body = bytearray(path.read_bytes())
    body[at] ^= 4
    path.write_bytes(body)


@pytest.fixture
def written(make_store, start_node):
    """A folder with inline records and segments of two topics; the node that wrote it is gone."""
    store = make_store("file")
    node = start_node(store, flags=DATA_FLAGS)
    for name, partitions in (("orders", 3), ("clicks", 1)):
        create_topic(node, name, partitions)
        produce_all(node, name, records(name, 400), linger_ms=5)
        produce_all(node, name, [(b"k", b"v %d" % n) for n in range(20)], linger_ms=0, enable_idempotence=True)
    node.terminate()
    assert keys(store, "segment") and keys(store, "journal")
    return store


@pytest.mark.parametrize("kind", ["file", "localstack", "minio"])
def test_a_live_bucket_is_clean(kind, make_store, start_node):
    """Nodes write all the while: later slots are not judged, segments whose commit is still to come are no faults."""
    store = make_store(kind)
    node = start_node(store, flags=DATA_FLAGS)
    create_topic(node, "live", 3)
    produce_all(node, "live", records("live", 200), linger_ms=5)
    stop = threading.Event()

    def write():
        while not stop.is_set():
            produce_all(node, "live", records("more", 100), linger_ms=5)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            report = scrub_json(store)
            assert report["verdict"] == "clean" and report["faults"] == []
            assert report["tail"] > 1 and report["data"]["segments"] > 0
    finally:
        stop.set()
        writer.join()
    report = scrub_json(store)
    assert report["orphans"] == {"collectable": {"objects": 0, "bytes": 0}, "young": {"objects": 0, "bytes": 0}}
    assert report["unknown"]["objects"] == 0 and report["warnings"] == [] and report["not_checked"] == []


def test_rights_to_read_are_enough(minio, make_store, start_node):
    """A MinIO that refuses every write to this user."""
    store = make_store("minio")
    node = start_node(store, flags=DATA_FLAGS)
    create_topic(node, "t", 1)
    produce_all(node, "t", records("rights", 100))
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{bed.BUCKET}/*"]},
            {"Effect": "Allow", "Principal": "*", "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bed.BUCKET}"]},
        ],
    }
    client = minio.client()
    client.put_bucket_policy(Bucket=bed.BUCKET, Policy=json.dumps(policy))
    try:
        nobody = {"AWS_SKIP_SIGNATURE": "true", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        put = urllib.request.Request(f"{minio.endpoint}/{bed.BUCKET}/{store.prefix}/file", data=b"x", method="PUT")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(put)
        assert json.loads(scrub(store, "--format", "json", env=nobody).stdout)["verdict"] == "clean"
    finally:
        client.delete_bucket_policy(Bucket=bed.BUCKET)


def test_damage_is_named(written):
    """Each alone: the exit code is 1, the report names the object, the partition and the offsets, the text says so too."""
    slot, segment = keys(written, "journal")[3], keys(written, "segment")[0]
    for key, damage, kind, invariant in [
        (segment, lambda path: flip(written, segment, -1), "run-damaged", "D1"),
        (segment, lambda path: path.unlink(), "segment-missing", "D1"),
        (segment, lambda path: path.write_bytes(path.read_bytes()[:-100]), "segment-truncated", "D1"),
        (slot, lambda path: flip(written, slot, 20), "slot-damaged", "J3"),
        (slot, lambda path: path.unlink(), "slot-missing", "J3"),
    ]:
        path = folder(written) / key
        whole = path.read_bytes()
        damage(path)
        report = scrub_json(written, code=1)
        assert [(fault["kind"], fault["invariant"], fault["key"]) for fault in report["faults"]] == [(kind, invariant, key)]
        if kind == "run-damaged":
            fault = report["faults"][0]
            first, last = fault["offsets"]
            assert fault["topic"] in ("orders", "clicks") and 0 <= first <= last and fault["partition"] in range(3)
        done = scrub(written, code=1)
        assert key in done.stdout.decode() and "DAMAGED" in done.stdout.decode() and "fault" in done.stderr
        path.write_bytes(whole)
    assert scrub_json(written)["verdict"] == "clean"


def test_a_quick_scrub_reads_no_records(written):
    segment = keys(written, "segment")[0]
    flip(written, segment, -1)
    quick = scrub_json(written, "--quick")
    assert quick["verdict"] == "clean" and quick["not_checked"], "and it says what it left out"
    assert quick["bytes_read"] < scrub_json(written, code=1)["bytes_read"]
    (folder(written) / segment).unlink()
    assert scrub_json(written, "--quick", code=1)["faults"][0]["kind"] == "segment-missing"


def test_orphans_and_strangers_are_counted(written):
    """Neither is a fault."""
    orphan = folder(written) / "segment/2a" / "01ARZ3NDEKTSV4RRFFQ69G5F9A"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"nobody refers to me")
    (folder(written) / "README").write_bytes(b"12345")
    report = scrub_json(written)
    orphans, unknown = report["orphans"], report["unknown"]
    assert orphans["collectable"]["objects"] + orphans["young"]["objects"] + unknown["objects"] == 2
    assert "README" in unknown["first"]


def test_parts_add_up_to_the_whole(written):
    whole = scrub_json(written)
    shards = [scrub_json(written, "--shard", shard) for shard in ("00..3f", "40..bf", "c0..ff")]
    assert sum(part["data"]["segments"] for part in shards) == whole["data"]["segments"] > 0
    middle = whole["tail"] // 2
    first, second = scrub_json(written, "--to", middle), scrub_json(written, "--from", middle + 1)
    assert first["journal"]["slots"] == [1, middle] and second["journal"]["slots"][1] == whole["tail"]
    assert all(part["not_checked"] for part in (*shards, first, second))


def test_ctrl_c_says_how_to_go_on(written):
    """However far it came: going on with what it says ends with everything checked, and the damage found."""
    segment = keys(written, "segment")[-1]
    flip(written, segment, -1)
    flags, stops, found = [], 0, set()
    for round in range(40):
        argv = [bed.BINARY, "scrub", written.url, "--concurrency", "1", "--format", "json", *flags]
        child = subprocess.Popen([str(a) for a in argv], env=bed.clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            # Longer from round to round: early ones are stopped before they begin, later ones get through.
            child.wait(0.002 * round)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=30)
        if not out:
            continue
        report = json.loads(out)
        found |= {fault["key"] for fault in report["faults"]}
        if "go_on" not in report or report["go_on"] is None:
            break
        assert child.returncode in (1, 3)
        stops += 1
        flags = [word for name, value in report["go_on"].items() for word in (f"--{name}", str(value))]
    else:
        pytest.fail("it never came to an end")
    assert found == {segment}
    print(f"stopped {stops} times")


@pytest.mark.no_node
def test_what_cannot_be_checked_is_no_damage(make_store, tmp_path):
    nowhere = run_command(["scrub", f"file://{tmp_path}/nowhere"], check=False)
    assert nowhere.code == 3 and "no folder" in nowhere.stderr
    assert not (tmp_path / "nowhere").exists(), "a scrub leaves nothing behind"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run_command(["scrub", f"file://{empty}"], check=False).code == 3
    assert list(empty.iterdir()) == []
    closed = f"http://127.0.0.1:{bed.free_port()}"
    env = {"AWS_ENDPOINT_URL": closed, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "planted-secret", "AWS_REGION": "us-east-1"}
    down = run_command(["scrub", "s3://bucket/log"], env=env, check=False)
    assert down.code == 3 and "planted-secret" not in down.stderr
    for flags in (["--shard", "7f..00"], ["--from", "9", "--to", "3"], ["--concurrency", "0"]):
        assert run_command(["scrub", f"file://{empty}", *flags], check=False).code == 2


def test_no_record_is_ever_shown(written):
    """Neither keys nor values, not even of damaged records."""
    for segment in keys(written, "segment"):
        flip(written, segment, -1)
    for flags in ([], ["--format", "json"]):
        done = scrub(written, *flags, code=1)
        shown = done.stdout + done.stderr.encode()
        assert not re.search(rb"key \d", shown) and b"v 1" not in shown
