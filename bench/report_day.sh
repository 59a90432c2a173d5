#!/usr/bin/env bash
# Usage: bench/report_day.sh [--domains N] [--sessions N]
# How long it takes to close a day and to send the TLS reports of it: 1,000,000 sessions with 20,000 domains, all of which ask.
# Wants root or user namespaces. doc/performance.md says more. BENCH_BUILD names a build folder made with -Dbench=true (default:
# build/bench, made here).
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

case " $* " in
    *" --help "*)
        sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
esac
folder=${BENCH_BUILD:-build/bench}
if [ -z "${BENCH_BUILD:-}" ]; then
    "$root/scripts/install-deps.sh" --bench
    "$root/scripts/install-deps.sh" --tests
    configure "$folder" -Dtests=false -Dbench=true
    build "$folder"
    folder=$root/$folder
fi
STERNPOST_BUILD=$(cd "$folder" && pwd)
export STERNPOST_BUILD
exec /usr/bin/python3 "$root/bench/report_day.py" "$@"
