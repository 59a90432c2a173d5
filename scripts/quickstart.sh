#!/usr/bin/env bash
# Installs what the build needs, builds the programs and shows them at work: three messages through sternpostd, on a small
# internet that sternpost-lab plays on this machine alone.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
    '') ;;
    --help)
        echo "usage: scripts/quickstart.sh"
        exit 0
        ;;
    *)
        echo "usage: scripts/quickstart.sh" >&2
        exit 64
        ;;
esac

step "Packages"
"$root/scripts/install-deps.sh"

step "Build, in build/release (a few minutes the first time)"
configure build/release -Dtests=false --unity=on --unity-size=8
build build/release

step "Demonstration"
if ! "$root/build/release/sternpost-lab" run "$root/etc/lab/quickstart.toml" -- "$root/scripts/demo.sh" "$root/build/release"; then
    fail "the demonstration" "what it saw is above"
fi

printf '\n%s: done in %dm%02ds; the programs are in build/release, README.md says how to go on\n' \
    "$script" $((SECONDS / 60)) $((SECONDS % 60))
