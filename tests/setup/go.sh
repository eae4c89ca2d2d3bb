#!/usr/bin/env bash
# Builds the drivers of the Go clients of the matrix; their versions are pinned by go.sum and old.sum. A minute or two, once and
# after a change of their sources.
set -euo pipefail
source "$(dirname "$0")/common.sh"
hold_lock go

from="$setup_dir/../clients/go"
dir="$testbed/go"
stamp="$(cd "$from" && find . -type f | LC_ALL=C sort | xargs sha256sum | stamp_of)"

# build NAME FOLDER [options of go build]
build() {
    local name="$1" folder="$2"
    shift 2
    (cd "$from/$folder" && GOTOOLCHAIN=local GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 \
        nice -n 10 go build -p 2 -trimpath -ldflags='-s -w' "$@" -o "$dir/$name" .) ||
        die "go could not build $name: is the Go module proxy within reach, and is Go at least 1.26?"
}

if [ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ]; then
    command -v go >/dev/null || die "the Go clients need Go 1.26 or newer (https://go.dev/dl)"
    say "go build with $(go version | cut -d ' ' -f 3)"
    rm -rf "$dir"
    mkdir -p "$dir"
    build franz franz
    build sarama sarama
    build sarama-old sarama -tags old -modfile old.mod
    echo "$stamp" >"$dir/stamp"
fi
say "franz-go, Sarama old and new"
