#!/usr/bin/env bash
# Makes one venv for each Python client of the matrix that is not the newest confluent-kafka (that one runs the tests): the files
# in matrix/ name the packages and the oldest and newest Python that has wheels for them. A client whose Python is
# not on this machine is left out, and its tests are skipped with the reason.
set -euo pipefail
source "$(dirname "$0")/common.sh"
hold_lock pyclients

mkdir -p "$testbed/pyclients"
for requirements in "$setup_dir"/matrix/*.txt; do
    name="$(basename "$requirements" .txt)"
    read -r oldest newest < <(sed -n 's/^# python //p' "$requirements")
    python="$(find_python "$oldest" "$newest")"
    if [ -n "$python" ]; then
        make_venv "$testbed/pyclients/$name" "$python" "$requirements" --only-binary :all:
    else
        say "NOTICE: $name needs a Python from $oldest to $newest, and there is none on PATH or under pyenv: not tested"
    fi
done
