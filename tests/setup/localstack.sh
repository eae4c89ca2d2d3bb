#!/usr/bin/env bash
# Makes the venv of LocalStack, S3 only, host mode (no Docker). Its newest release needs Python 3.13, and breaks with
# newer releases of some of its dependencies: hence every one is pinned and nothing is resolved.
set -euo pipefail
source "$(dirname "$0")/common.sh"
hold_lock localstack

python="$(find_python 3.13)"
[ -n "$python" ] || die "LocalStack needs Python 3.13 or newer, and none was found on PATH or under pyenv: pyenv install 3.13"
make_venv "$testbed/localstack" "$python" "$setup_dir/requirements-localstack.txt" --no-deps
