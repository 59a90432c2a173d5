#!/bin/sh
# Checks that cannot fail show nothing: with MTA-STS, DANE or TLS switched off those about it must fail, each by the daemon's doing
# (STS-58, STS-57, DANE-06, TLS-13). Usage: lab_check_can_fail.sh STERNPOST-LAB
set -eu
lab=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# must_fail SETTING ID ...: every check that shows one of the ids fails, and says so in the table.
must_fail() {
    setting=$1
    shift
    ids=$(echo "$*" | tr ' ' '|')
    code=0
    "$lab" check --only "^($ids)\$" --config-extra "$setting" >"$folder/$setting" 2>&1 || code=$?
    if [ "$code" -ne 1 ]; then
        echo "with $setting the checks of $* end with $code instead of 1:"
        cat "$folder/$setting"
        return 1
    fi
    for id in "$@"; do
        if ! grep -q "^$id *FAIL" "$folder/$setting"; then
            echo "with $setting the table does not say that $id fails:"
            cat "$folder/$setting"
            return 1
        fi
        echo "$id fails with $setting, as it must"
    done
}

# All at once: what they do is mostly to wait for what does not come.
runs=
must_fail sts.enabled=false STS-58 STS-57 STS-44 STS-30 &
runs="$runs $!"
must_fail dane.enabled=false DANE-06 DANE-12 &
runs="$runs $!"
must_fail tls.opportunistic=false TLS-13 &
runs="$runs $!"
must_fail tls.honour_tls_required_no=false RTLS-12 &
runs="$runs $!"
failed=0
for run in $runs; do
    wait "$run" || failed=1
done
exit $failed
