#!/usr/bin/env bash
# Makes the venv of Schemathesis, which is run as a program. It is apart from the venv that runs the tests: it needs a newer
# Python than those do, and would add three plugins to their pytest.
set -euo pipefail
source "$(dirname "$0")/common.sh"
hold_lock schemathesis

python="$(find_python 3.11)"
[ -n "$python" ] || die "Schemathesis needs Python 3.11 or newer, and none was found on PATH or under pyenv: pyenv install 3.11"
make_venv "$testbed/schemathesis" "$python" "$setup_dir/requirements-schemathesis.txt"
