#!/usr/bin/env bash
# Installs a JDK that can run Apache Kafka 4, and curl, which fetches it, as Debian packages them. May need root, as kcat.sh does.
set -euo pipefail
source "$(dirname "$0")/common.sh"

new_enough() { [ "$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')" -ge 17 ] 2>/dev/null; }
command -v curl >/dev/null || apt_install curl
new_enough || apt_install default-jdk-headless
new_enough || die "Apache Kafka 4 needs Java 17 or newer, and javac on PATH is older or missing"
say "$(javac -version 2>&1)"
