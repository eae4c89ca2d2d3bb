"""Java programs on the class paths of the test bed: how a JVM is started, and how our own sources are compiled for each client."""

import hashlib
import os
import pathlib
import subprocess

import bed

HOME = bed.TESTBED / "java"
SOURCES = pathlib.Path(__file__).with_name("java")
CLIENTS = ["2.8.2", "3.9.2", "4.2.1"]
KAFKA = "4.2.1"

# Quick starts and little memory: none of these programs lives long.
OPTIONS = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]


def argv(class_path, main, *arguments, options=("-Xmx256m",)):
    return ["java", *OPTIONS, *options, "-cp", ":".join(map(str, class_path)), main, *map(str, arguments)]


def kafka_path():
    """The class path of the broker and of all of Kafka's tools."""
    return [HOME / f"kafka-{KAFKA}" / "*"]


def run(command, input=None, timeout=60):
    """Runs it to its end; the caller judges the exit code."""
    try:
        return subprocess.run(command, input=input, capture_output=True, timeout=timeout, text=True, env=bed.clean_environment())
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")[-1000:] + (error.stderr or b"").decode(errors="replace")[-1000:]
        raise AssertionError(f"{' '.join(command[command.index('-cp') + 2:])} was still running after {timeout} s: {said}") from None


def matrix_path(version):
    """The class path of our scenarios, compiled against this version of the client if they were not yet."""
    jars = HOME / f"clients-{version}"
    sources = sorted(SOURCES.glob("*.java"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    classes = HOME / f"classes-{version}-{digest}"
    if not classes.exists():
        part = HOME / f"{classes.name}.{os.getpid()}"
        done = subprocess.run(
            ["javac", "-nowarn", "-Xlint:none", "-d", part, "-cp", f"{jars}/*", *sources], capture_output=True, text=True
        )
        assert done.returncode == 0, f"the scenarios do not compile against {version}:\n{done.stderr}"
        try:
            part.rename(classes)
        except OSError:
            assert classes.exists()
    return [classes, jars / "*"]
