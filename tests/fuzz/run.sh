#!/usr/bin/env bash
# Runs the fuzz targets: tests/fuzz/run.sh [SECONDS-EACH [TARGET ...]]. Default: 30 seconds, all of them. Compiles only
# what they need, with clang, libFuzzer and the address and undefined-behaviour sanitizers, into build/fuzz. New inputs
# stay in build/fuzz/found/TARGET; the corpora in tests/fuzz/corpus are kept small (--minimize TARGET rewrites one).
# Exit code 1: a finding; its input is named.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=$root/build/fuzz
all=(sts_record sts_policy tlsa certificate dns_message smtp_reply header_filter header_repair seven_bit tlsrpt_record tls_report dkim incoming_answer control_request maildrop)
case "${1:-}" in
    --help)
        sed -n '2,6p' "${BASH_SOURCE[0]}" | cut -c3-
        exit 0
        ;;
esac
minimize=
if [ "${1:-}" = --minimize ]; then
    minimize=$2
    set -- 0 "$2"
fi
seconds=${1:-30}
shift || true
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then targets=("${all[@]}"); fi

# What the targets stand on.
sources=(
    control/protocol dkim/canon dkim/key dkim/keys dkim/sign dns/message dns/name dns/record
    local/drop_folder local/record mail/address mail/header mail/header_filter mail/line_ends mail/parts
    mail/address_repair mail/encoded_word mail/repair mail/seven_bit mail/trace queue/obstacle smtp/extensions smtp/reply
    store/hop_group store/message sts/advice
    sts/policy sts/record tls/dane tls/leaf tlsrpt/incoming tlsrpt/record util/clock util/crc32c util/file
    util/gzip util/incoming_answer util/random util/text
)
flags=(-std=c++20 -O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined "-I$root/src")
libraries=(-lldns -lssl -lcrypto -lidn2 -lfmt -lz -lboost_json)
mkdir -p "$out/objects" "$out/found"
compiler=clang++-16
if command -v ccache >/dev/null; then compiler="ccache clang++-16"; fi
{
    for source in "${sources[@]}"; do echo "$root/src/$source.cpp $out/objects/${source//\//_}.o"; done
    for target in "${targets[@]}"; do echo "$root/tests/fuzz/$target.cpp $out/objects/fuzz_$target.o"; done
} | xargs -P "$(nproc)" -L 1 bash -c '
    if [ ! "$2" -nt "$1" ]; then '"$compiler"' '"${flags[*]}"' -fsanitize=fuzzer-no-link -c "$1" -o "$2"; fi' compile
objects=()
for source in "${sources[@]}"; do objects+=("$out/objects/${source//\//_}.o"); done

run() {
    local target=$1 corpus=$root/tests/fuzz/corpus/$1 log=$out/$1.log runs coverage
    if ! "$out/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 \
        -artifact_prefix="$out/$target-" "$out/found/$target" "$corpus" >"$log" 2>&1; then
        echo "$target: a finding; $(grep -m1 -E 'ERROR|SUMMARY|runtime error' "$log" || tail -1 "$log")"
        grep -m1 'Test unit written' "$log" || true
        return 1
    fi
    runs=$(awk '/number_of_executed_units/ {print $2}' "$log")
    coverage=$(grep -oE 'cov: [0-9]+' "$log" | tail -1)
    echo "$target: $runs executions in ${seconds} s, ${coverage:-cov: none}, no finding"
}

for target in "${targets[@]}"; do
    clang++-16 "${flags[@]}" -fsanitize=fuzzer "$out/objects/fuzz_$target.o" "${objects[@]}" "${libraries[@]}" -o "$out/$target"
    mkdir -p "$out/found/$target"
done
if [ -n "$minimize" ]; then
    rm -rf "$out/minimal"
    mkdir "$out/minimal"
    "$out/$minimize" -merge=1 "$out/minimal" "$root/tests/fuzz/corpus/$minimize" "$out/found/$minimize" 2>/dev/null
    rm -rf "$root/tests/fuzz/corpus/$minimize"
    mv "$out/minimal" "$root/tests/fuzz/corpus/$minimize"
    exit 0
fi
failed=0
while [ ${#targets[@]} -gt 0 ]; do # two at a time
    run "${targets[0]}" &
    first=$!
    if [ ${#targets[@]} -gt 1 ]; then run "${targets[1]}" || failed=1; fi
    wait $first || failed=1
    targets=("${targets[@]:2}")
done
exit $failed
