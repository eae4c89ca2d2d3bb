#!/usr/bin/env bash
# Fetches the jars that java.jars pins (java_pins.py wrote it): three versions of the Java client, a broker and its tools,
# Streams, and Connect with MirrorMaker. Each class path is a folder, $testbed/java/NAME. The JDK itself is the business of jdk.sh.
set -euo pipefail
source "$(dirname "$0")/common.sh"
hold_lock java

central=https://repo1.maven.org/maven2
pins="$setup_dir/java.jars"
dir="$testbed/java"
stamp="$(stamp_of "$pins")"

if [ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ]; then
    say "$(wc -l <"$pins") jars of Maven Central"
    rm -rf "$dir"
    mkdir -p "$dir"
    while read -r _ path _; do
        printf 'url = "%s"\noutput = "%s"\n' "$central/$path" "jars/$path"
    done <"$pins" >"$dir/wanted"
    (cd "$dir" && curl -fS --no-progress-meter --retry 3 --parallel --create-dirs -K wanted) ||
        die "jars could not be fetched: is Maven Central within reach?"
    (cd "$dir/jars" && sed 's/^\([0-9a-f]*\) \([^ ]*\).*/\1  \2/' "$pins" | sha256sum --check --quiet) ||
        die "a jar is not the one that tests/setup/java.jars pins"
    while read -r _ path sets; do
        for name in $sets; do
            mkdir -p "$dir/$name"
            ln "$dir/jars/$path" "$dir/$name/"
        done
    done <"$pins"
    echo "$stamp" >"$dir/stamp"
fi
say "class paths: $(cd "$dir" && ls -d clients-* kafka-* streams-* connect-* | xargs)"
