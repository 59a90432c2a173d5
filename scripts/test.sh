#!/usr/bin/env bash
# Installs what the tests need, builds everything and runs every test; with --sanitize (or CI=true) the unit tests once
# more under the address and undefined-behaviour sanitizers, and the fuzz targets for half a minute each. The last line
# says how many passed and failed.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

sanitize=false
if [ "${CI:-}" = true ]; then sanitize=true; fi
case "${1:-}" in
    '') ;;
    --sanitize) sanitize=true ;;
    --help)
        echo "usage: scripts/test.sh [--sanitize]"
        exit 0
        ;;
    *)
        echo "usage: scripts/test.sh [--sanitize]" >&2
        exit 64
        ;;
esac

step "Packages"
"$root/scripts/install-deps.sh" --tests

step "Peers: real mail, web and name servers, unpacked into build/peers"
"$root/scripts/peers.sh"

step "Build, in build/test"
configure build/test --buildtype=debugoptimized -Dcpp_args=-g1 -Dwerror=true -Dtests=true
build build/test

step "Tests"
# GoogleTest's result files of an earlier run would speak for a program that crashes in this one
rm -f "$root"/build/test/*.xml
tests=passed
meson test -C "$root/build/test" --no-rebuild --print-errorlogs </dev/null || tests=failed
if ! summary=$("$root/tools/count_tests.py" "$root/build/test"); then tests=failed; fi

sanitized=
if $sanitize; then
    step "Unit tests under the address and undefined-behaviour sanitizers, in build/sanitize"
    # warnings are the other build's business; with less optimization g++ sees other ones
    configure build/sanitize --buildtype=plain -Doptimization=0 -Dcpp_args=-g1 -Dtests=true -Db_sanitize=address,undefined
    build build/sanitize tests/unit-tests sendmail
    rm -f "$root"/build/sanitize/*.xml
    if UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
        meson test -C "$root/build/sanitize" --no-rebuild --print-errorlogs --suite unit </dev/null; then
        sanitized="; the unit tests passed under the sanitizers too"
    else
        sanitized="; the unit tests FAILED under the sanitizers (build/sanitize/meson-logs/testlog.txt)"
        tests=failed
    fi
fi

if $sanitize; then
    step "Fuzz targets, 30 seconds each (tests/fuzz/run.sh)"
    if "$root/tests/fuzz/run.sh" 30; then
        sanitized="$sanitized; the fuzz targets found nothing"
    else
        sanitized="$sanitized; a fuzz target FOUND something (above)"
        tests=failed
    fi
fi

totals=${summary##*$'\n'}
printf '\n'
if [ "$tests" = failed ]; then
    if [ "$summary" != "$totals" ]; then printf '%s\n' "${summary%$'\n'*}"; fi
    echo "$script: look into build/test/meson-logs/testlog.txt; one test again: meson test -C build/test NAME"
fi
echo "$script: ${totals/ passed/ tests passed}$sanitized (${SECONDS}s)"
echo "$totals"
[ "$tests" = passed ]
