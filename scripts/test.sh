#!/usr/bin/env bash
# Installs what the tests need, builds everything and runs every test; with --sanitize (or CI=true) the unit tests under
# the address and undefined-behaviour sanitizers, and the fuzz targets for a quarter of a minute each. The last line says how
# many passed and failed.
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

step "Peers: real mail, web and name servers, and programs that send mail, unpacked into build/peers"
"$root/scripts/peers.sh"
"$root/scripts/peers.sh" --callers

folders=()
tests=passed
# run_tests FOLDER MESON-TEST-OPTION...
run_tests() {
    local folder=$1
    shift
    folders+=("$root/$folder")
    # GoogleTest's result files of an earlier run would speak for a program that crashes in this one
    rm -f "$root/$folder"/*.xml
    meson test -C "$root/$folder" --no-rebuild --print-errorlogs "$@" </dev/null || tests=failed
}

# Which unit tests run where: all in build/test or, with the sanitizers, all in build/sanitize. To compile and to run them twice
# would take four minutes more.
step "Build, in build/test"
configure build/test --prefix=/usr --buildtype=debugoptimized -Dcpp_args=-g1 -Dwerror=true -Dtests=true --unity=on --unity-size=8
if $sanitize; then build build/test programs; else build build/test; fi

# Most tests wait for a program or a clock more than they compute: two for each processor.
step "Tests"
side_by_side=$((2 * $(nproc)))
if $sanitize; then
    run_tests build/test --no-suite unit --num-processes "$side_by_side"
else
    run_tests build/test --num-processes "$side_by_side"
fi

also=
if $sanitize; then
    step "Unit tests under the address and undefined-behaviour sanitizers, in build/sanitize"
    # clang, and eight files as one: a fifth of what g++ needs, file by file
    CC=clang-16 CXX="ccache clang++-16" configure build/sanitize --buildtype=plain -Doptimization=0 -Dcpp_args=-g1 \
        -Dwerror=true -Dtests=true -Db_sanitize=address,undefined -Db_lundef=false --unity=on --unity-size=8
    build build/sanitize tests/unit-tests sendmail
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 run_tests build/sanitize --suite unit
    also=", the unit tests of them under the sanitizers"

    step "Fuzz targets, 15 seconds each (tests/fuzz/run.sh)"
    if "$root/tests/fuzz/run.sh" 15; then
        also="$also; the fuzz targets found nothing"
    else
        also="$also; a fuzz target FOUND something (above)"
        tests=failed
    fi
fi

if ! summary=$("$root/tools/count_tests.py" "${folders[@]}"); then tests=failed; fi
totals=${summary##*$'\n'}
printf '\n'
if [ "$tests" = failed ]; then
    if [ "$summary" != "$totals" ]; then printf '%s\n' "${summary%$'\n'*}"; fi
    echo "$script: look into meson-logs/testlog.txt of ${folders[*]#"$root/"}; one test again: meson test -C build/test NAME"
fi
echo "$script: ${totals/ passed/ tests passed}$also (${SECONDS}s)"
echo "$totals"
[ "$tests" = passed ]
