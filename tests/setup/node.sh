#!/usr/bin/env bash
# Installs the Node.js clients of the matrix, pinned by tests/clients/node/package-lock.json, and beside them the Node.js that runs
# them, which comes from the same registry. Any npm will do.
set -euo pipefail
source "$(dirname "$0")/common.sh"
hold_lock node

from="$setup_dir/../clients/node"
dir="$testbed/node"
stamp="$(stamp_of "$from/package.json" "$from/package-lock.json")"

if [ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ]; then
    command -v npm >/dev/null || apt_install npm
    say "npm ci with npm $(npm --version 2>/dev/null)"
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$from/package.json" "$from/package-lock.json" "$dir"
    (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) || die "npm could not install the clients: is its registry within reach?"
    echo "$stamp" >"$dir/stamp"
fi
say "Node.js $("$dir"/node_modules/node-linux-*/bin/node --version)"
