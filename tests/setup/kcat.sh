#!/usr/bin/env bash
# Installs kcat, the C client on librdkafka, as Debian packages it. The only step that may need root.
set -euo pipefail
source "$(dirname "$0")/common.sh"

command -v kcat >/dev/null || apt_install kcat
say "$(kcat -V | sed -n 's/^Version \([0-9.]*\).*librdkafka \([0-9.]*\).*/kcat \1, librdkafka \2/p')"
