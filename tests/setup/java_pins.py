"""Writes java.jars, the pins of the Java part of the test bed: which jars make which class path, and what each one's bytes are.

Run by hand when a version below changes; java.sh needs only its result. It reads the POMs of Maven Central as Gradle does where two
wants meet: the higher version wins. Each jar is downloaded once, compared with the checksum published beside it, and pinned by SHA-256.
"""

import hashlib
import pathlib
import re
import sys
import urllib.request
import xml.etree.ElementTree as xml

CENTRAL = "https://repo1.maven.org/maven2"
PINS = pathlib.Path(__file__).with_name("java.jars")

KAFKA = "4.2.1"
# The newest version of which Maven Central has every part: connect-mirror-client is missing in 4.2.1.
CONNECT = "4.2.0"
SLF4J = "org.slf4j:slf4j-simple"
# Class paths and their roots. slf4j-simple writes what a client logs to its standard error.
SETS = {
    "clients-2.8.2": ["org.apache.kafka:kafka-clients:2.8.2", f"{SLF4J}:1.7.30"],
    "clients-3.9.2": ["org.apache.kafka:kafka-clients:3.9.2", f"{SLF4J}:1.7.36"],
    f"clients-{KAFKA}": [f"org.apache.kafka:kafka-clients:{KAFKA}", f"{SLF4J}:1.7.36"],
    f"kafka-{KAFKA}": [f"org.apache.kafka:kafka_2.13:{KAFKA}", f"org.apache.kafka:kafka-tools:{KAFKA}", f"{SLF4J}:1.7.36"],
    f"streams-{KAFKA}": [f"org.apache.kafka:kafka-streams:{KAFKA}", f"{SLF4J}:1.7.36"],
    f"connect-{CONNECT}": [
        *(f"org.apache.kafka:connect-{part}:{CONNECT}" for part in ("runtime", "file", "json", "mirror")),
        f"{SLF4J}:1.7.36",
    ],
}
# What no class path needs, the second logger behind slf4j; and what neither a broker nor its tools need: Connect and Streams.
LOGGERS = r"log4j-(slf4j|1.2)"
UNWANTED = {f"kafka-{KAFKA}": rf"{LOGGERS}|org\.rocksdb|org\.eclipse\.jetty|org\.glassfish|:(connect-|kafka-streams|trogdor)"}


def get(path):
    with urllib.request.urlopen(f"{CENTRAL}/{path}") as reply:
        return reply.read()


def path_of(coordinate, suffix):
    group, artifact, version = coordinate
    return f"{group.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}{suffix}"


class Pom:
    """One POM with what it inherits: properties, and the versions that it manages."""

    cache = {}

    @classmethod
    def of(cls, coordinate):
        if coordinate not in cls.cache:
            cls.cache[coordinate] = cls(coordinate)
        return cls.cache[coordinate]

    def __init__(self, coordinate):
        self.root = xml.fromstring(re.sub(rb'\sxmlns="[^"]+"', b"", get(path_of(coordinate, ".pom")), count=1))
        self.properties, self.managed, inherited = {}, {}, []
        if (parent := self.root.find("parent")) is not None:
            up = Pom.of(tuple(parent.findtext(tag).strip() for tag in ("groupId", "artifactId", "version")))
            self.properties, self.managed, inherited = dict(up.properties), dict(up.managed), up.own
        for node in self.root.iterfind("properties/*"):
            self.properties[node.tag] = (node.text or "").strip()
        for name, value in zip(("groupId", "artifactId", "version"), coordinate):
            self.properties[f"project.{name}"] = value
        for node in self.root.iterfind("dependencyManagement/dependencies/dependency"):
            self.manage(node)
        self.own = [*inherited, *self.root.iterfind("dependencies/dependency")]

    def manage(self, node):
        group, artifact, version = self.names(node)
        if node.findtext("scope") == "import":
            self.managed.update({**Pom.of((group, artifact, version)).managed, **self.managed})
        else:
            self.managed[group, artifact] = version

    def names(self, node):
        return tuple(self.filled(node.findtext(tag)) for tag in ("groupId", "artifactId", "version"))

    def filled(self, text):
        for _ in range(5):
            text = re.sub(r"\$\{([^}]+)\}", lambda m: self.properties.get(m[1], m[0]), (text or "").strip())
        return text

    def dependencies(self):
        """(coordinate, exclusions) of what it needs when it runs."""
        for node in self.own:
            if node.findtext("optional") == "true" or node.findtext("classifier"):
                continue
            if (node.findtext("scope") or "compile") not in ("compile", "runtime"):
                continue
            group, artifact, version = self.names(node)
            excluded = {tuple(e.findtext(tag) for tag in ("groupId", "artifactId")) for e in node.iterfind("exclusions/exclusion")}
            yield (group, artifact, version or self.managed[group, artifact]), excluded


def natural(version):
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.findall(r"\d+|[a-zA-Z]+", version)]


def closure(roots, unwanted):
    """{(group, artifact): version} of everything that the roots need, but for what matches `unwanted`."""
    chosen, waiting = {}, [(tuple(root.split(":")), frozenset()) for root in roots]
    while waiting:
        (group, artifact, version), excluded = waiting.pop()
        known = chosen.get((group, artifact))
        if re.search(unwanted, f"{group}:{artifact}") or (known and natural(known) >= natural(version)):
            continue
        chosen[group, artifact] = version
        for needed, without in Pom.of((group, artifact, version)).dependencies():
            if not any(g in ("*", needed[0]) and a in ("*", needed[1]) for g, a in excluded | without):
                waiting.append((needed, excluded | frozenset(without)))
    return chosen


def pinned(path):
    jar = get(path)
    published = get(path + ".sha1").decode().split()[0]
    assert hashlib.sha1(jar).hexdigest() == published, f"{path} is not what its checksum says"
    return hashlib.sha256(jar).hexdigest(), len(jar)


def main():
    users = {}
    for name, roots in SETS.items():
        for (group, artifact), version in closure(roots, UNWANTED.get(name, LOGGERS)).items():
            users.setdefault(path_of((group, artifact, version), ".jar"), []).append(name)
    lines, total = [], 0
    for path, names in sorted(users.items()):
        digest, size = pinned(path)
        total += size
        lines.append(f"{digest} {path} {' '.join(names)}\n")
        print(f"{size / 1e6:6.1f} MB {path} {' '.join(names)}", file=sys.stderr)
    PINS.write_text("".join(lines))
    print(f"{len(lines)} jars, {total / 1e6:.1f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
