#!/usr/bin/env bash
# Makes the venv of what reads records as columns: pyarrow, Polars, DuckDB with its extensions, PyIceberg. It is apart from
# the venv that runs the tests, which call its Python as a program. Extensions of DuckDB come as packages, since their
# own server is not within reach everywhere; every version is pinned and nothing is resolved.
set -euo pipefail
source "$(dirname "$0")/common.sh"
hold_lock analytics

python="$(find_python 3.13)"
[ -n "$python" ] || die "DuckDB, Polars and PyIceberg need Python 3.13 or newer, and none was found on PATH or under pyenv: pyenv install 3.13"
make_venv "$testbed/analytics" "$python" "$setup_dir/requirements-analytics.txt" --no-deps --only-binary :all:
