# Sourced by tests/run and the install scripts beside it: where the test bed lives, how a script
# speaks and stops, and how it finds the Pythons it needs. It installs nothing itself.

# The cache of everything the tests need. It lives outside the checkout, so that a fresh clone on the
# same machine is warm; STRANDLINE_TESTBED moves it (for example to .testbed, which git ignores).
testbed="${STRANDLINE_TESTBED:-${XDG_CACHE_HOME:-$HOME/.cache}/strandline-testbed}"
mkdir -p "$testbed"
testbed="$(cd "$testbed" && pwd)"
setup_dir="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

say() { printf '    %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Two runs at once share one test bed: only one of them installs a thing, the other waits and finds it.
hold_lock() {
    exec 9>"$testbed/$1.lock"
    flock 9
}

# A stamp names what a folder was made from; a folder whose stamp is another one is made anew.
stamp_of() { cat "$@" | sha256sum | cut -c 1-16; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "'$*' needs root, and there is no sudo on this machine"
    fi
}

apt_install() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0)
    command -v apt-get >/dev/null || die "this needs the Debian package '$1', and there is no apt-get here: install it by hand"
    say "apt-get install $*"
    as_root "${apt[@]}" install -y --no-install-recommends "$@" && return
    say "not found or out of date: apt-get update, then once more"
    as_root "${apt[@]}" update
    as_root "${apt[@]}" install -y --no-install-recommends "$@"
}

# Prints the path of an interpreter of at least version $1 (like 3.13) and, if $2 is given, at most $2, or nothing. A candidate
# counts only if it really runs, which pyenv's shims do not always. The version asked for is preferred to a newer one.
find_python() {
    local minor="${1#3.}" most="${2:-3.99}" candidates=() candidate root m
    for ((m = minor; m < minor + 6; m++)); do candidates+=("python3.$m"); done
    for root in "${PYENV_ROOT:-}" "$HOME/.pyenv" /opt/pyenv /usr/local/pyenv; do
        [ -d "$root/versions" ] || continue
        while read -r candidate; do candidates+=("$candidate"); done \
            < <(find "$root/versions" -mindepth 3 -maxdepth 3 -path '*/bin/python3' | sort -V)
    done
    candidates+=(python3 "$HOME"/.local/share/uv/python/*/bin/python3)
    for candidate in "${candidates[@]}"; do
        "$candidate" -c "import sys, venv, ensurepip; sys.exit(not (3, $minor) <= sys.version_info[:2] <= (3, ${most#3.}))" 2>/dev/null || continue
        "$candidate" -c 'import sys; print(sys.executable)'
        return
    done
}

# make_venv DIR PYTHON REQUIREMENTS [pip options]: a venv with exactly these packages, or nothing to do.
make_venv() {
    local dir="$1" python="$2" requirements="$3" stamp log
    shift 3
    stamp="$(stamp_of "$requirements")"
    if [ "$(cat "$dir/stamp" 2>/dev/null)" = "$stamp" ] && "$dir/bin/python" -c '' 2>/dev/null; then
        say "$dir is up to date"
        return
    fi
    say "$("$python" --version) from $python, packages of $(basename "$requirements")"
    rm -rf "$dir"
    "$python" -m venv "$dir"
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@" -r "$requirements" ||
        die "pip could not install $requirements: is PyPI within reach?"
    echo "$stamp" >"$dir/stamp"
}
