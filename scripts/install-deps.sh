#!/usr/bin/env bash
# Installs the Debian 12 packages that Sternpost is built from; with --tests also those that only the tests need, with --bench
# those of bench/compare.sh, with --package those of scripts/package.sh.
# Says what it installs, asks nothing, and does nothing when all is there.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

packages=(
    build-essential meson ninja-build pkg-config ccache
    libboost1.81-dev libboost-json1.81-dev libssl-dev libldns-dev libcurl4-openssl-dev libfmt-dev libsqlite3-dev
    libpsl-dev libtomlplusplus-dev libcli11-dev zlib1g-dev libidn2-dev libexpected-dev libsystemd-dev libsmartcols-dev
    iproute2 ca-certificates python3
)
test_packages=(
    libgtest-dev libgmock-dev python3-dnspython python3-cryptography python3-dkim python3-nacl libmail-dkim-perl strace procps faketime
    clang-16 libclang-rt-16-dev llvm-16 clang-format mandoc openssl
)
# npm fetches nodemailer. NodeSource's nodejs brings an npm that Debian's packages do not go with.
if ! command -v npm >/dev/null; then test_packages+=(nodejs npm); fi
package_packages=(debhelper lintian dpkg-dev)
test_packages+=("${package_packages[@]}" debootstrap)
bench_packages=(libbenchmark-dev linux-perf python3-cryptography)

case "${1:-}" in
    '') ;;
    --package) packages+=("${package_packages[@]}") ;;
    --bench) packages+=("${bench_packages[@]}") ;;
    --tests) packages+=("${test_packages[@]}") ;;
    --help)
        echo "usage: scripts/install-deps.sh [--tests|--bench|--package]"
        exit 0
        ;;
    *)
        echo "usage: scripts/install-deps.sh [--tests|--bench|--package]" >&2
        exit 64
        ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    fail "there is no apt-get here" "install by hand what Debian 12 calls: ${packages[*]}"
fi

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    if [ "$status" != installed ]; then missing+=("$package"); fi
done
if [ ${#missing[@]} -eq 0 ]; then
    say "packages: all ${#packages[@]} are installed"
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
        fail "packages are missing, and this user may not install them" \
            "run as root: apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    fi
    as_root=(sudo -n)
fi
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)

say "packages: installing ${#missing[@]} of ${#packages[@]}: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "${apt[@]}" update >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    say "packages: the lists could not be refreshed (above); trying with those that are here"
fi
if ! "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null; then
    tail -n 15 "$log" >&2
    fail "apt-get install" "apt's words are above; Sternpost needs Debian 12 (bookworm) and its main archive"
fi
say "packages: installed"
