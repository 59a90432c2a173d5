#!/usr/bin/env bash
# Usage: bench/million.sh [--messages N] [--domains N] [--counted] [--json FILE]
# sternpostd with a million messages in its queue: memory, intake, listing, restarts, a next hop that dies; one table with targets.
# Wants root or user namespaces (--counted: root), 6 GB on the disk under TMPDIR and some ten minutes. doc/performance.md says more.
# BENCH_BUILD names a build folder made with -Dbench=true (default: build/bench, made here).
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

case " $* " in
    *" --help "*)
        sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
esac
folder=${BENCH_BUILD:-build/bench}
if [ -z "${BENCH_BUILD:-}" ]; then
    "$root/scripts/install-deps.sh" --bench
    configure "$folder" -Dtests=false -Dbench=true
    build "$folder"
    folder=$root/$folder
fi
STERNPOST_BUILD=$(cd "$folder" && pwd)
export STERNPOST_BUILD
exec /usr/bin/python3 "$root/bench/million.py" "$@"
