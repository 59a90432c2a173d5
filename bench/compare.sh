#!/usr/bin/env bash
# Usage: bench/compare.sh [--quick] [--rounds N] [--only NAME,...] [--against FOLDER] [--json FILE]
# Bare source to sink, sternpostd and Debian's Postfix (tuned), in turn and in one go, under the same loads; one table with ratios and
# targets. Wants root or user namespaces; all traffic is on loopback in a network namespace of its own. doc/performance.md says more.
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
exec /usr/bin/python3 "$root/bench/compare.py" "$@"
