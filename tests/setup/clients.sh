#!/usr/bin/env bash
# Makes the venv that runs the Python tests: pytest, confluent-kafka, requests and boto3, pinned beside this file.
set -euo pipefail
source "$(dirname "$0")/common.sh"
hold_lock clients

python="$(find_python 3.9)"
if [ -z "$python" ]; then
    apt_install python3-venv
    python="$(find_python 3.9)"
fi
[ -n "$python" ] || die "the Python tests need Python 3.9 or newer with venv: apt-get install python3-venv"
make_venv "$testbed/clients" "$python" "$setup_dir/requirements-clients.txt"
