#!/usr/bin/env bash
# Line coverage of the parsers by the kept corpora alone, measured with clang. Exit code 1: one is under 95 %.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=$root/build/fuzz-coverage
mkdir -p "$out"
least=95
# Not those of which half reads nothing: control/protocol, local/drop_folder.
measured=(
    dkim/canon dkim/sign dns/message local/record mail/header_filter mail/repair mail/address_repair mail/encoded_word
    smtp/extensions smtp/reply sts/policy sts/record tls/dane tls/leaf tlsrpt/incoming tlsrpt/record util/incoming_answer
)
others=(
    control/protocol dkim/key dkim/keys dns/name dns/record local/drop_folder mail/address mail/header mail/line_ends mail/parts
    mail/seven_bit mail/trace queue/obstacle store/message sts/advice util/clock util/crc32c util/file util/gzip
    util/random util/text
)
targets=(
    certificate control_request dkim dns_message header_filter header_repair incoming_answer maildrop seven_bit smtp_reply
    sts_policy sts_record tls_report tlsa tlsrpt_record
)
libraries=(-lldns -lssl -lcrypto -lidn2 -lfmt -lz -lboost_json)
flags=(-std=c++20 -O0 -g1 "-I$root/src" -fprofile-instr-generate -fcoverage-mapping)
{
    for source in "${measured[@]}" "${others[@]}"; do echo "$root/src/$source.cpp $out/${source//\//_}.o"; done
    for target in "${targets[@]}"; do echo "$root/tests/fuzz/$target.cpp $out/fuzz_$target.o"; done
} | xargs -P "$(nproc)" -L 1 bash -c 'clang++-16 '"${flags[*]}"' -fsanitize=fuzzer-no-link -c "$1" -o "$2"' compile
objects=()
for source in "${measured[@]}" "${others[@]}"; do objects+=("$out/${source//\//_}.o"); done
programs=()
for target in "${targets[@]}"; do
    clang++-16 "${flags[@]}" -fsanitize=fuzzer "$out/fuzz_$target.o" "${objects[@]}" "${libraries[@]}" -o "$out/$target"
    LLVM_PROFILE_FILE="$out/$target.profraw" "$out/$target" -runs=0 "$root/tests/fuzz/corpus/$target" >/dev/null 2>&1
    programs+=(-object "$out/$target")
done
llvm-profdata-16 merge -o "$out/all.profdata" "$out"/*.profraw
failed=0
for source in "${measured[@]}"; do
    percent=$(llvm-cov-16 export -summary-only -instr-profile "$out/all.profdata" "${programs[@]:1}" "$root/src/$source.cpp" |
        grep -oE '"lines":\{[^}]*"percent":[0-9.]+' | tail -1 | grep -oE '[0-9.]+$')
    printf '%-16s %6.1f %%\n' "$source" "$percent"
    if awk -v p="$percent" -v l=$least 'BEGIN { exit !(p < l) }'; then failed=1; fi
done
exit $failed
