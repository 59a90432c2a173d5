#!/bin/sh
# sendmail starts in front of every cron job and web form: it links no TLS, HTTP, DNS or database library.
# Usage: sendmail_links_little.sh PROGRAM
set -eu
needed=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
for library in $needed; do
    case $library in
    libfmt.so.* | libidn2.so.* | libstdc++.so.* | libgcc_s.so.* | libm.so.* | libc.so.* | libasan.so.* | libubsan.so.* | libtsan.so.*) ;;
    *)
        echo "sendmail links $library" >&2
        exit 1
        ;;
    esac
done
