#!/usr/bin/env bash
# Usage: scripts/peers.sh [--bench|--callers] [FOLDER]
# Unpacks the mail, web and name servers that the integration tests talk to into FOLDER/root (default: build/peers/root); with --bench also
# the resolver of MTA-STS policies for Postfix that bench/compare.sh sets Sternpost against. With --callers it unpacks other things, into
# FOLDER/callers: programs that send mail by /usr/sbin/sendmail or SMTP, and programs that read mailq.
# Nothing is installed, configured or started, and a mail system that the machine has stays as it is: the packages
# are fetched with "apt-get download" and taken apart with "dpkg -x". A second call does nothing.
set -euo pipefail
export LC_ALL=C # apt's words are read below

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
nodemailer=usr/lib/node_modules/nodemailer
kind=servers
case "${1:-}" in
    --bench | --callers)
        kind=${1#--}
        shift
        ;;
esac
folder=${1:-$top/build/peers}
peers=(postfix nginx knot knot-dnsutils unbound)
programs=(usr/sbin/postconf usr/lib/postfix/sbin/master usr/lib/postfix/sbin/smtpd usr/sbin/posttls-finger usr/sbin/nginx usr/sbin/knotd
    usr/sbin/keymgr usr/bin/kdig usr/sbin/unbound usr/sbin/unbound-control)
unpacked=$folder/root
case $kind in
    bench)
        peers+=(postfix-mta-sts-resolver python3-uvloop) # its packagers recommend the latter
        programs+=(usr/bin/mta-sts-daemon)
        ;;
    callers)
        unpacked=$folder/callers # a tree to lay over /usr, so none of the servers may be in it
        peers=(cron cron-daemon-common git git-email logwatch mdadm monit monitoring-plugins-basic monitoring-plugins-common
            monitoring-plugins-standard msmtp mutt php8.2-cli php8.2-common s-nail smartmontools swaks)
        programs=(usr/sbin/cron usr/bin/git usr/lib/git-core/git-send-email usr/sbin/logwatch usr/sbin/mdadm usr/bin/monit
            usr/lib/nagios/plugins/check_mailq usr/bin/msmtp usr/bin/mutt usr/bin/php8.2 usr/bin/s-nail
            usr/share/smartmontools/smartd_warning.sh usr/bin/swaks "$nodemailer/lib/nodemailer.js")
        ;;
esac

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
        [ -f "$root/$program" ] || {
            echo "$program"
            continue
        }
        [ "$(head -c 4 "$root/$program")" = $'\x7fELF' ] || continue # a script
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
    if [ -f "$unpacked/packages" ] && [ -z "$(missing "$unpacked")" ]; then
        say "ready in $unpacked"
        exit 0
    fi
}

done_already
if [ "$kind" = callers ] && ! command -v npm >/dev/null; then
    die "npm is needed, to fetch nodemailer, and is not there: scripts/install-deps.sh --tests installs it (Debian's nodejs and npm)"
fi
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
rm -f ./*.deb ./*.tgz
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
if [ "$kind" = callers ]; then
    for part in bin sbin lib; do # where /usr is merged these are links into it
        if [ -d "$folder/new/$part" ]; then
            mkdir -p "$folder/new/usr/$part"
            cp -a "$folder/new/$part/." "$folder/new/usr/$part/"
            rm -rf "${folder:?}/new/$part"
        fi
    done
    # the last series that runs on Debian 12's nodejs
    npm pack --loglevel=error --no-update-notifier nodemailer@9 >/dev/null || die "npm could not fetch nodemailer from its registry; what npm said stands above"
    mkdir -p "$folder/new/$nodemailer"
    tar -xzf nodemailer-*.tgz --strip-components=1 -C "$folder/new/$nodemailer"
fi
find "$folder/new" -type f -perm /6000 -exec chmod ug-s {} + # postdrop and postqueue need no privilege here
absent=$(missing "$folder/new")
[ -z "$absent" ] || die "unpacked, but these are missing: ${absent//$'\n'/ }"
for deb in ./*.deb; do
    # shellcheck disable=SC2016 # dpkg-deb's own placeholders
    dpkg-deb -W --showformat '${Package} ${Version}\n' "$deb"
done >"$folder/new/packages"
rm -rf "$unpacked"
mv "$folder/new" "$unpacked"
say "ready in $unpacked: $(grep -E "^($(IFS='|' && echo "${peers[*]}")) " "$unpacked/packages" | paste -sd, | sed 's/,/, /g')"
