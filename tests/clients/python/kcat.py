"""kcat, as Debian packages it: every producer and every member of a group is a process of its own. It has no admin requests."""

import re
import subprocess
import threading
import time

import scenarios

SEPARATOR = "\x1f"


def versions():
    text = subprocess.run(["kcat", "-V"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()
    return re.search(r"Version (\S+)", text).group(1), re.search(r"librdkafka ([0-9.]+)", text).group(1)


class Kcat(scenarios.Client):
    name = "kcat"
    version = "%s (librdkafka %s)" % versions()
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    # A record that it holds when the signal comes is committed and not printed.
    leaves_cleanly = False
    lacks = {"admin": "kcat has no admin requests", "kip848": "librdkafka has it since 2.12", "transactions": "kcat has none"}

    def producer(self, codec="none", idempotent=False):
        return Writer(self.bootstrap, codec, idempotent)

    def consumer(self, group, topics, static=None, cooperative=False, kip848=False, limit=None):
        config = {
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": "200",
            "session.timeout.ms": "6000",
            "heartbeat.interval.ms": "300",
            "fetch.wait.max.ms": "100",
        }
        if static:
            config["group.instance.id"] = static
        if cooperative:
            config["partition.assignment.strategy"] = "cooperative-sticky"
        return Reader(self.bootstrap, group, topics, config, limit)


class Writer:
    def __init__(self, bootstrap, codec, idempotent):
        self.argv = ["kcat", "-P", "-b", bootstrap, "-z", codec, "-K", SEPARATOR, "-X", "linger.ms=20"]
        self.argv += ["-X", "enable.idempotence=%s" % str(idempotent).lower()]

    def send_all(self, topic, records):
        lines = b"".join(key + SEPARATOR.encode() + value + b"\n" for key, value in records)
        done = subprocess.run(self.argv + ["-t", topic], input=lines, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        assert done.returncode == 0, done.stdout.decode()

    def close(self):
        pass


class Reader:
    """Its records come from standard output, its assignments from what it says about rebalances."""

    def __init__(self, bootstrap, group, topics, config, limit):
        argv = ["kcat", "-b", bootstrap, "-u", "-f", r"%t %p %o %K %S\n%k%s"]
        for setting in config.items():
            argv += ["-X", "%s=%s" % setting]
        argv += ["-c", str(limit)] if limit else []
        self.child = subprocess.Popen(argv + ["-G", group] + topics, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.records, self.assigned, self.said, self.lock = [], set(), [], threading.Lock()
        self.threads = [threading.Thread(target=loop, daemon=True) for loop in (self._read, self._listen)]
        for thread in self.threads:
            thread.start()

    def _read(self):
        out = self.child.stdout
        for line in out:
            topic, partition, offset, key_len, value_len = line.decode().split()
            key = out.read(int(key_len)) if int(key_len) >= 0 else None
            value = out.read(int(value_len)) if int(value_len) >= 0 else None
            with self.lock:
                self.records.append((topic, int(partition), int(offset), key, value))

    def _listen(self):
        for line in self.child.stderr:
            text = line.decode()
            self.said.append(text)
            if " rebalanced" in text:
                self._assign(text)

    def _assign(self, text):
        parts = {(topic, int(number)) for topic, number in re.findall(r"(\S+) \[(\d+)\]", text)}
        if "assigned: " in text:
            self.assigned = parts
        elif "incremental assignment" in text:
            self.assigned = self.assigned | parts
        else:
            self.assigned = self.assigned - parts

    def poll(self, seconds):
        time.sleep(seconds / 2)
        assert self.child.poll() in (None, 0), "kcat ended: %s" % "".join(self.said)[-500:]
        with self.lock:
            taken, self.records = self.records, []
        return taken

    def owned(self):
        return set(self.assigned)

    def commit(self, positions):
        """It commits what it printed when it has printed all it was asked for."""
        assert self.child.wait(15) == 0, "".join(self.said)[-500:]

    def close(self):
        if self.child.poll() is None:
            self.child.terminate()
        self.child.wait(15)
        # What it printed at its end it has committed.
        for thread in self.threads:
            thread.join(5)
        return self.records


if __name__ == "__main__":
    scenarios.main(Kcat)
