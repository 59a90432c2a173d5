#!/usr/bin/env bash
# Builds the Debian packages sternpost and sternpost-lab, and looks at them with lintian: any error, and any warning that
# debian/*.lintian-overrides does not explain, is a failure. The packages are in build/packages. With --prebuilt, the programs of a
# build folder are packaged as they are; "meson setup --prefix=/usr" must have made it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: scripts/package.sh [--prebuilt BUILD-FOLDER]"
case "${1:-}" in
    '') ;;
    --prebuilt)
        if [ ! -f "${2:-}/build.ninja" ]; then
            echo "$usage" >&2
            exit 64
        fi
        STERNPOST_PREBUILT=$(cd "$2" && pwd)
        export STERNPOST_PREBUILT
        ;;
    --help)
        echo "$usage"
        exit 0
        ;;
    *)
        echo "$usage" >&2
        exit 64
        ;;
esac

step "Packages that the build needs"
"$root/scripts/install-deps.sh" --package

step "Build (some minutes)"
tree=$root/build/packages/tree
rm -rf "$root/build/packages"
mkdir -p "$tree"
# dpkg-buildpackage works in the tree that it packages: it gets a copy.
tar -C "$root" --exclude='./build*' --exclude=./.git --exclude=./.cache -cf - . | tar -C "$tree" -xf -
log=$root/build/packages/build.log
if ! (cd "$tree" && PATH=/usr/lib/ccache:$PATH dpkg-buildpackage -us -uc -b -j"$(jobs_now)") >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    fail "dpkg-buildpackage" "its last lines are above; all of them are in build/packages/build.log"
fi

step "lintian"
if ! lintian --fail-on error,warning "$root"/build/packages/*.changes; then
    fail "lintian" "correct what it reports, or explain it in debian/*.lintian-overrides"
fi

printf '\n%s: done in %dm%02ds\n' "$script" $((SECONDS / 60)) $((SECONDS % 60))
for file in "$root"/build/packages/*.deb; do say "${file#"$root"/}"; done
