# What the scripts share: where the tree is, how they speak, how they build. Sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
script=scripts/$(basename "$0")
steps_done=0

# without these ccache caches nothing that uses the precompiled header
export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros}
# nor in another clone of this tree, where only the folder's name is another one
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root} CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR:-true}

# What is not in the cache is compiled at once, not preprocessed first, and the precompiled header of 200 MB is hashed once
export CCACHE_DEPEND=${CCACHE_DEPEND:-true} CCACHE_INODECACHE=${CCACHE_INODECACHE:-true}

# A numbered step, with the time since the script began.
step() {
    steps_done=$((steps_done + 1))
    printf '\n==> %d. %s  [%dm%02ds]\n' "$steps_done" "$1" $((SECONDS / 60)) $((SECONDS % 60))
}

say() { printf '    %s\n' "$*"; }

# fail WHAT-HAPPENED WHAT-TO-DO
fail() {
    printf '\n%s: failed: %s\n' "$script" "$1" >&2
    printf '%s: %s\n' "$script" "$2" >&2
    exit 1
}

# Compilers at once: one a core, but not more than memory holds (a file with Asio and coroutines takes up to 1 GiB).
jobs_now() {
    local cores memory
    cores=$(nproc)
    memory=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
    if [ "$memory" -lt 1 ]; then memory=1; fi
    if [ "$memory" -lt "$cores" ]; then echo "$memory"; else echo "$cores"; fi
}

# configure FOLDER MESON-OPTION...: a build folder, made once; ninja itself notices later changes of meson.build.
configure() {
    local folder=$1
    shift
    if [ -f "$root/$folder/build.ninja" ]; then
        say "$folder is configured"
        return
    fi
    rm -rf "${root:?}/$folder/meson-private"  # of a set-up that was cut off
    local log
    log=$(mktemp)
    if ! meson setup "$root/$folder" "$root" "$@" >"$log" 2>&1; then
        tail -n 25 "$log" >&2
        rm -f "$log"
        fail "meson setup $folder" "is the last line above about a missing package? scripts/install-deps.sh gets them"
    fi
    rm -f "$log"
    say "configured $folder: $*"
}

# build FOLDER TARGET...: everything, when no target is named.
build() {
    local folder=$1
    shift
    if ! NINJA_STATUS="    [%f/%t, %es] " ninja -C "$root/$folder" -j "$(jobs_now)" "$@"; then
        fail "the build in $folder" "the compiler's message is above; \"ninja -C $folder\" goes on where it stopped"
    fi
}
