#!/usr/bin/env bash
# Line coverage of the parsers by the kept corpora alone, measured with clang. Exit code 1: one is under 95 %.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=$root/build/fuzz-coverage
mkdir -p "$out"
least=95
measured=(sts/record sts/policy tls/dane tls/leaf dns/message mail/header_filter smtp/reply smtp/extensions dkim/canon dkim/sign)
others=(dkim/key dkim/keys util/file dns/name dns/record mail/header mail/line_ends mail/seven_bit mail/address mail/trace sts/advice util/clock util/text util/random)
targets=(sts_record sts_policy tlsa certificate dns_message smtp_reply header_filter seven_bit dkim)
flags=(-std=c++20 -O0 -g1 "-I$root/src" -fprofile-instr-generate -fcoverage-mapping)
{
    for source in "${measured[@]}" "${others[@]}"; do echo "$root/src/$source.cpp $out/${source//\//_}.o"; done
    for target in "${targets[@]}"; do echo "$root/tests/fuzz/$target.cpp $out/fuzz_$target.o"; done
} | xargs -P "$(nproc)" -L 1 bash -c 'clang++ '"${flags[*]}"' -fsanitize=fuzzer-no-link -c "$1" -o "$2"' compile
objects=()
for source in "${measured[@]}" "${others[@]}"; do objects+=("$out/${source//\//_}.o"); done
programs=()
for target in "${targets[@]}"; do
    clang++ "${flags[@]}" -fsanitize=fuzzer "$out/fuzz_$target.o" "${objects[@]}" -lldns -lssl -lcrypto -lidn2 -lfmt -o "$out/$target"
    LLVM_PROFILE_FILE="$out/$target.profraw" "$out/$target" -runs=0 "$root/tests/fuzz/corpus/$target" >/dev/null 2>&1
    programs+=(-object "$out/$target")
done
llvm-profdata merge -o "$out/all.profdata" "$out"/*.profraw
failed=0
for source in "${measured[@]}"; do
    percent=$(llvm-cov export -summary-only -instr-profile "$out/all.profdata" "${programs[@]:1}" "$root/src/$source.cpp" |
        grep -oE '"lines":\{[^}]*"percent":[0-9.]+' | tail -1 | grep -oE '[0-9.]+$')
    printf '%-16s %6.1f %%\n' "$source" "$percent"
    if awk -v p="$percent" -v l=$least 'BEGIN { exit !(p < l) }'; then failed=1; fi
done
exit $failed
