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
CONNECT = "4.2.0"

# Quick starts and little memory: none of these programs lives long.
OPTIONS = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
# For those that live longer: when something was said matters.
TIMES = ["-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"]


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


def connect_path():
    """The class path of Connect, its file connectors, and MirrorMaker."""
    return [HOME / f"connect-{CONNECT}" / "*"]


def matrix_path(version):
    """The class path of our scenarios for this version of the client."""
    return compiled(version, HOME / f"clients-{version}", SOURCES)


def streams_path():
    """The class path of our program on Kafka Streams."""
    return compiled(f"streams-{KAFKA}", HOME / f"streams-{KAFKA}", SOURCES / "streams")


def compiled(name, jars, folder):
    """The class path of the sources of a folder, compiled against these jars if they were not yet."""
    sources = sorted(folder.glob("*.java"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    classes = HOME / f"classes-{name}-{digest}"
    if not classes.exists():
        part = HOME / f"{classes.name}.{os.getpid()}"
        done = subprocess.run(
            ["javac", "-nowarn", "-Xlint:none", "-d", part, "-cp", f"{jars}/*", *sources], capture_output=True, text=True
        )
        assert done.returncode == 0, f"{folder.name} does not compile against {name}:\n{done.stderr}"
        try:
            part.rename(classes)
        except OSError:
            assert classes.exists()
    return [classes, jars / "*"]
