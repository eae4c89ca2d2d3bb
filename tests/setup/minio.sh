#!/usr/bin/env bash
# Builds the MinIO server from its Go module, the way its maintainers publish the community edition: five to
# ten minutes on two cores, once. Runs at low priority, so that it may run beside a cargo build.
set -euo pipefail
source "$(dirname "$0")/common.sh"
hold_lock minio

# The last commit of the repository before it was archived; the Go proxy no longer serves release tags.
version=v0.0.0-20260212201848-7aac2a2c5b7c
dir="$testbed/minio-$version"

if ! "$dir/minio" --version >/dev/null 2>&1; then
    command -v go >/dev/null || die "MinIO is built from its Go module: install Go 1.24.8 or newer (https://go.dev/dl)"
    say "go install github.com/minio/minio@$version with $(go version | cut -d ' ' -f 3) (takes minutes)"
    rm -rf "$dir" "$dir.part"
    mkdir -p "$dir.part"
    GOTOOLCHAIN=local GOFLAGS='-mod=mod -buildvcs=false' CGO_ENABLED=0 GOBIN="$dir.part" \
        nice -n 10 go install -p 2 -trimpath -ldflags='-s -w' "github.com/minio/minio@$version" ||
        die "go could not build MinIO $version: is the Go module proxy within reach, and is Go at least 1.24.8?"
    mv "$dir.part" "$dir"
fi
ln -sfn "$dir/minio" "$testbed/minio"
say "MinIO $version"
