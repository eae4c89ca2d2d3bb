#!/usr/bin/env bash
# Installs cargo-deny, which checks the licences and the origin of every dependency (deny.toml).
set -euo pipefail
source "$(dirname "$0")/common.sh"
hold_lock deny

version=0.18.9
if [ "$("$testbed/deny/bin/cargo-deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
    # Flags of its own: what the workspace sets in .cargo/config.toml is none of its business.
    RUSTFLAGS="" CARGO_TARGET_DIR="$testbed/deny/target" \
        cargo install cargo-deny --version "$version" --locked --no-default-features --root "$testbed/deny"
    rm -rf "$testbed/deny/target"
fi
say "$("$testbed/deny/bin/cargo-deny" --version)"
