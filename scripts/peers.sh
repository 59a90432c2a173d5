#!/usr/bin/env bash
# Usage: scripts/peers.sh [--bench] [FOLDER]
# Unpacks the mail, web and name servers that the integration tests talk to into FOLDER (default: build/peers); with --bench also the
# resolver of MTA-STS policies for Postfix that bench/compare.sh sets Sternpost against.
# Nothing is installed, configured or started, and a mail system that the machine has stays as it is: the packages
# are fetched with "apt-get download" and taken apart with "dpkg -x". A second call does nothing.
set -euo pipefail
export LC_ALL=C # apt's words are read below

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bench=false
if [ "${1:-}" = --bench ]; then
    bench=true
    shift
fi
folder=${1:-$top/build/peers}
peers=(postfix nginx knot knot-dnsutils unbound)
programs=(usr/sbin/postconf usr/lib/postfix/sbin/master usr/lib/postfix/sbin/smtpd usr/sbin/posttls-finger usr/sbin/nginx usr/sbin/knotd
    usr/sbin/keymgr usr/bin/kdig usr/sbin/unbound usr/sbin/unbound-control)
if $bench; then
    peers+=(postfix-mta-sts-resolver python3-uvloop) # its packagers recommend the latter
    programs+=(usr/bin/mta-sts-daemon)
fi

say() { echo "peers: $*"; }
die() {
    echo "peers: $*" >&2
    exit 1
}

# Where the unpacked libraries lie; the programs run with LD_LIBRARY_PATH set to it.
library_path() {
    local root=$1
    echo "$root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu"):$root/usr/lib/postfix"
}

# The shared libraries that a program of ours asks for and nobody has; nothing when all is well.
missing() {
    local root=$1 program
    for program in "${programs[@]}"; do
        [ -x "$root/$program" ] || {
            echo "$program"
            continue
        }
        [ "$program" != usr/bin/mta-sts-daemon ] || continue # a script
        LD_LIBRARY_PATH=$(library_path "$root") ldd "$root/$program" | awk '/not found/ { print $1 }'
    done | sort -u
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

update() {
    say "fetching the package lists (apt-get update)"
    as_root apt-get -qq update >&2 || die "apt-get update failed; run it as root and call this again"
}

for tool in apt-get apt-cache dpkg flock; do
    command -v "$tool" >/dev/null || die "$tool is needed and is not there: this runs on Debian 12"
done

done_already() {
    if [ -f "$folder/root/packages" ] && [ -z "$(missing "$folder/root")" ]; then
        say "ready in $folder/root"
        exit 0
    fi
}

done_already
mkdir -p "$folder/debs"
exec 9>"$folder/lock" # one at a time; who waited may find it done
flock 9
done_already

for package in "${peers[@]}"; do
    [[ $(apt-cache policy "$package") == *"Candidate: "[0-9]* ]] || {
        update
        break
    }
done

# What apt would install for them says which libraries and Python modules this machine lacks; it is only asked, nothing is done.
libraries=()
while read -r name; do
    libraries+=("$name")
done < <(apt-get -s -q install --no-install-recommends "${peers[@]}" 2>/dev/null |
    awk '$1 == "Inst" && $2 ~ /^(lib|python3-)/ { print $2 }' | grep -vxFf <(printf '%s\n' "${peers[@]}"))

say "downloading ${peers[*]}${libraries[*]:+ with ${libraries[*]}}"
cd "$folder/debs"
rm -f ./*.deb
fetch() { apt-get -qq -o APT::Sandbox::User=root download "${peers[@]}" "${libraries[@]}"; }
fetch >/dev/null 2>&1 || {
    update # the lists may be older than what the mirror still has
    fetch >&2 || die "the download failed; what apt-get said stands above"
}

rm -rf "$folder/new"
mkdir "$folder/new"
for deb in ./*.deb; do
    dpkg -x "$deb" "$folder/new"
done
find "$folder/new" -type f -perm /6000 -exec chmod ug-s {} + # postdrop and postqueue need no privilege here
absent=$(missing "$folder/new")
[ -z "$absent" ] || die "unpacked, but these are missing: ${absent//$'\n'/ }"
for deb in ./*.deb; do
    # shellcheck disable=SC2016 # dpkg-deb's own placeholders
    dpkg-deb -W --showformat '${Package} ${Version}\n' "$deb"
done >"$folder/new/packages"
rm -rf "$folder/root"
mv "$folder/new" "$folder/root"
say "ready in $folder/root: $(grep -E "^($(IFS='|' && echo "${peers[*]}")) " "$folder/root/packages" | paste -sd, | sed 's/,/, /g')"
