"""The test bed: starts and stops the servers that the tests talk to, and nothing else.

A MinIO, a LocalStack (S3 only) and any number of Strandline nodes, each on 127.0.0.1 and on a port that was free a
moment ago. Knows no Kafka. Every process started here is stopped by the fixture that started it; if pytest itself
dies, the kernel stops them.
"""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(
    os.environ.get("STRANDLINE_BIN") or pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release" / "strandline"
).absolute()
TESTBED = pathlib.Path(
    os.environ.get("STRANDLINE_TESTBED")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "strandline-testbed"
).absolute()

SEED = int(os.environ.get("STRANDLINE_SEED") or random.SystemRandom().randrange(1 << 31))
BUCKET = "strandline-test"

# What no program of ours may ever print, whatever it is given.
PANIC = ("panicked at", "RUST_BACKTRACE", "stack backtrace")


class BedError(Exception):
    """A server did not start or stop as it should; the message says which, and ends with its log."""


def seeded(purpose):
    """A random generator of its own for each purpose, so that adding a test does not change another one."""
    return random.Random(f"{SEED}/{purpose}")


_ports_given = set()
_ports_lock = threading.Lock()


def free_port():
    """A port that nobody listens on, and that this run has not given away before."""
    with _ports_lock:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            if port not in _ports_given:
                _ports_given.add(port)
                return port


def http_get(url, timeout=5.0):
    """Status and body; a connection that fails is status 0."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as reply:
            return reply.status, reply.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def wait_until(condition, timeout, what, every=0.02):
    """Returns the first true value of `condition()`; says what it waited for when it gives up."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise BedError(f"waited {timeout:g} s for {what}")
        time.sleep(every)


def tail(path, lines=40):
    try:
        return "\n".join(pathlib.Path(path).read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


class Process:
    """One child process with its log, which is kept across restarts."""

    def __init__(self, name, log):
        self.name = name
        self.log = pathlib.Path(log)
        self.child = None

    def spawn(self, argv, env, cwd=None):
        argv = [str(a) for a in argv]
        # The death signal is tied to the thread that forks: only the main one lives as long as pytest.
        if threading.current_thread() is threading.main_thread():
            argv = ["setpriv", "--pdeathsig", "KILL", *argv]
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)

    @property
    def pid(self):
        return self.child.pid

    def running(self):
        return self.child is not None and self.child.poll() is None

    def signal_and_wait(self, number, timeout):
        if self.running():
            self.child.send_signal(number)
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise BedError(
                f"{self.name} was still running {timeout:g} s after signal {signal.Signals(number).name}\n{tail(self.log)}"
            ) from None

    def kill9(self):
        """What a power cut does: no warning, nothing flushed."""
        self.signal_and_wait(signal.SIGKILL, 10)

    def terminate(self, timeout=10):
        """The graceful way; returns the exit code."""
        return self.signal_and_wait(signal.SIGTERM, timeout)

    def wait_for(self, url, timeout):
        def ready():
            if not self.running():
                raise BedError(f"{self.name} exited with code {self.child.returncode} at its start\n{tail(self.log)}")
            return http_get(url, 2)[0] == 200

        try:
            wait_until(ready, timeout, f"{self.name} to answer {url}")
        except BedError as error:
            raise BedError(f"{error}\n{tail(self.log)}") from None


class S3Server(Process):
    """An S3 server and the keys that open it."""

    access_key = "strandline-key"
    secret_key = "strandline-secret"
    region = "us-east-1"

    def __init__(self, name, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(name, folder / f"{name}.log")
        self.folder = folder
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def environment(self):
        """What a Strandline process needs to reach this server: the standard AWS variables."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
        }

    def client(self):
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )

    def create_bucket(self, bucket=BUCKET):
        self.client().create_bucket(Bucket=bucket)

    def keys(self, prefix, bucket=BUCKET):
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


class MinIO(S3Server):
    """Checks signatures, which LocalStack does not; keeps its objects in a folder."""

    def __init__(self, folder):
        super().__init__("minio", folder)

    def start(self):
        env = dict(os.environ, MINIO_ROOT_USER=self.access_key, MINIO_ROOT_PASSWORD=self.secret_key)
        env.update(MINIO_BROWSER="off", MINIO_UPDATE="off", MINIO_CALLHOME_ENABLE="off")
        address = f"127.0.0.1:{self.port}"
        self.spawn([TESTBED / "minio", "server", self.folder / "data", "--address", address], env)
        self.wait_for(f"{self.endpoint}/minio/health/ready", 30)


class LocalStack(S3Server):
    """The S3 of LocalStack in host mode, its objects in memory."""

    def __init__(self, folder):
        super().__init__("localstack", folder)

    def start(self):
        home = self.folder / "filesystem"
        for part in ("state", "tmp", "cache", "lib", "logs"):
            (home / "var/lib/localstack" / part).mkdir(parents=True, exist_ok=True)
        env = dict(os.environ)
        env.update(
            GATEWAY_LISTEN=f"127.0.0.1:{self.port}",
            LOCALSTACK_HOST=f"127.0.0.1:{self.port}",
            FILESYSTEM_ROOT=str(home),
            SERVICES="s3",
            STRICT_SERVICE_LOADING="1",
            EAGER_SERVICE_LOADING="1",
            DISABLE_EVENTS="1",
            SKIP_SSL_CERT_DOWNLOAD="1",
            DNS_ADDRESS="0",
        )
        self.spawn([TESTBED / "localstack/bin/python", "-m", "localstack.runtime.main"], env)
        self.wait_for(f"{self.endpoint}/_localstack/health", 90)


class Store:
    """A store URL and the environment that opens it: what a cluster is."""

    def __init__(self, kind, url, env=None, server=None):
        self.kind = kind
        self.url = url
        self.env = env or {}
        self.server = server

    def __repr__(self):
        return self.url

    @property
    def prefix(self):
        return self.url.split("/", 3)[3]

    def keys(self, prefix):
        """The keys of its objects that begin so, as Strandline sees them."""
        if self.kind == "file":
            root = pathlib.Path(self.url.removeprefix("file://"))
            names = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
            return [name for name in names if name.startswith(prefix)]
        return [key.removeprefix(f"{self.prefix}/") for key in self.server.keys(f"{self.prefix}/{prefix}")]


def new_store(kind, folder, server=None):
    """A store of this kind that nobody has used before."""
    name = uuid.uuid4().hex[:12]
    if kind == "memory":
        return Store(kind, "memory:")
    if kind == "file":
        return Store(kind, f"file://{pathlib.Path(folder).absolute()}/store-{name}")
    return Store(kind, f"s3://{BUCKET}/{name}", server.environment(), server)


def clean_environment(extra=None):
    """The environment of a Strandline process: nothing inherited that could configure it, no proxy, no profile."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR", "LANG")}
    kept["AWS_EC2_METADATA_DISABLED"] = "true"
    kept.update(extra or {})
    return kept


class Node(Process):
    """`strandline serve` on one store. The ports stay the same when it is started again."""

    def __init__(self, store, folder, node_id=1, flags=(), env=None):
        super().__init__(f"node {node_id}", pathlib.Path(folder) / f"node-{node_id}-{uuid.uuid4().hex[:6]}.log")
        self.store = store
        self.node_id = node_id
        self.kafka = f"127.0.0.1:{free_port()}"
        self.http = f"127.0.0.1:{free_port()}"
        self.flags = [str(flag) for flag in flags]
        self.env = clean_environment({**store.env, **(env or {})})

    def argv(self):
        return [
            BINARY, "serve", "--store", self.store.url, "--kafka", self.kafka, "--http", self.http,
            "--node-id", self.node_id, *self.flags,
        ]  # fmt: skip

    def start(self, timeout=20):
        """Starts it and returns the seconds until it said that it is ready."""
        if not BINARY.exists():
            raise BedError(f"there is no {BINARY}: cargo build --release --workspace")
        began = time.monotonic()
        self.spawn(self.argv(), self.env)
        self.wait_for(f"http://{self.http}/readyz", timeout)
        return time.monotonic() - began

    def address(self):
        host, port = self.kafka.split(":")
        return host, int(port)

    def healthy(self):
        return self.running() and http_get(f"http://{self.http}/healthz")[0] == 200

    def metrics(self):
        """Sum of every sample of /metrics, by metric name."""
        sums = {}
        for line in http_get(f"http://{self.http}/metrics")[1].splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                name = name.split("{", 1)[0]
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def memory_mib(self, field="VmRSS"):
        """Resident memory, or with `VmHWM` the most it ever was."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
        raise BedError(f"no {field} of {self.name}")

    def panics(self):
        text = self.log.read_text(errors="replace")
        return [line for line in text.splitlines() if any(word in line for word in PANIC)]


class Finished:
    """How a command ended: exit code, both outputs, seconds."""

    def __init__(self, argv, code, stdout, stderr, seconds):
        self.argv, self.code, self.stdout, self.stderr, self.seconds = argv, code, stdout, stderr, seconds

    def __repr__(self):
        return f"{' '.join(map(str, self.argv))}\nexit code {self.code} after {self.seconds:.1f} s\nstdout: {self.stdout[-2000:]!r}\nstderr: {self.stderr[-2000:]!r}"


def run_command(args, store=None, input=None, env=None, timeout=60, check=True):
    """Runs `strandline ARGS`; `input` and `stdout` are bytes, `stderr` is text."""
    argv = [str(BINARY), *(str(a) for a in args)]
    environment = clean_environment({**(store.env if store else {}), **(env or {})})
    began = time.monotonic()
    try:
        done = subprocess.run(argv, env=environment, input=input if input is not None else b"", capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{' '.join(argv)} was still running after {timeout} s; stderr: {error.stderr}") from None
    finished = Finished(argv, done.returncode, done.stdout, done.stderr.decode(errors="replace"), time.monotonic() - began)
    assert not any(word in finished.stderr for word in PANIC), finished
    if check:
        assert finished.code == 0, finished
    return finished


def missing():
    """What the test bed lacks, in words; empty when everything is there."""
    needs = {
        "kcat": shutil.which("kcat"),
        "MinIO": (TESTBED / "minio").exists(),
        "LocalStack": (TESTBED / "localstack/bin/python").exists(),
        "DuckDB, Polars and PyIceberg": (TESTBED / "analytics/stamp").exists(),
        "kubectl and Helm": (TESTBED / "infra/stamp").exists() and (TESTBED / "helm").exists(),
        "Schemathesis": (TESTBED / "schemathesis/stamp").exists(),
        "the package list": (TESTBED / "packages.txt").exists(),
        "a JDK": shutil.which("javac"),
        "the jars": (TESTBED / "java/stamp").exists(),
        f"the binary {BINARY}": BINARY.exists(),
    }
    return [name for name, there in needs.items() if not there]
