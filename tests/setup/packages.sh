#!/usr/bin/env bash
# Keeps a copy of the machine's own package list, the real input of the round-trip tests: one stanza a package,
# tens of thousands of them. Taken once, so that every run of the tests sees the same.
set -euo pipefail
source "$(dirname "$0")/common.sh"
hold_lock packages

list="$testbed/packages.txt"
enough() { [ "$(grep -c '^Package:' "$list.part")" -ge 1000 ]; }

if ! [ -s "$list" ]; then
    apt-cache dumpavail >"$list.part" 2>/dev/null || true
    if ! enough; then
        say "apt-cache knows no packages: apt-get update"
        as_root apt-get -qq update || true
        apt-cache dumpavail >"$list.part" 2>/dev/null || true
    fi
    if ! enough; then
        say "NOTICE: no package lists to be had; the round-trip tests use the few hundred packages installed here instead"
        cp /var/lib/dpkg/status "$list.part"
    fi
    mv "$list.part" "$list"
fi
say "$(grep -c '^Package:' "$list") packages, $(($(stat -c %s "$list") / 1048576)) MiB"
