#!/bin/sh
# Checks that cannot fail show nothing: with MTA-STS, DANE or TLS switched off those about it must fail, each by the daemon's doing
# (STS-58, STS-57, DANE-06, TLS-13). Usage: lab_check_can_fail.sh STERNPOST-LAB
set -eu
lab=$1

# must_fail ID SETTING: every check that shows ID fails, and says so in the table.
must_fail() {
    code=0
    table=$("$lab" check --only "^$1\$" --config-extra "$2") || code=$?
    if [ "$code" -ne 1 ]; then
        echo "with $2 the checks of $1 end with $code instead of 1:"
        echo "$table"
        exit 1
    fi
    if ! echo "$table" | grep -q "^$1 *FAIL"; then
        echo "with $2 the table does not say that $1 fails:"
        echo "$table"
        exit 1
    fi
    echo "$1 fails with $2, as it must"
}

must_fail STS-58 sts.enabled=false
must_fail STS-57 sts.enabled=false
must_fail STS-44 sts.enabled=false
must_fail STS-30 sts.enabled=false
must_fail DANE-06 dane.enabled=false
must_fail DANE-12 dane.enabled=false
must_fail TLS-13 tls.opportunistic=false
must_fail RTLS-12 tls.honour_tls_required_no=false
