#!/usr/bin/env bash
# Usage: sternpost-lab run etc/lab/quickstart.toml -- scripts/demo.sh [BUILD-FOLDER]
# Shows sternpostd, sendmail, mailq and sternpost at work on the small internet around it: one message delivered under an enforced
# MTA-STS policy, one held back from an attacker, one bounced. Ends all that it starts.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

programs=$(cd "${1:-$root/build/release}" && pwd)
dir=${STERNPOST_LAB_DIR:?is not set: this runs inside "sternpost-lab run SCENARIO -- scripts/demo.sh"}
log=$dir/sternpostd.log
patience=60 # seconds for each step

for name in sendmail mailq; do ln -sf "$programs/sendmail" "$dir/$name"; done

# Lines of the programs, set off from our own.
quote() { sed 's/^/      | /'; }

# give_up WHAT: with the daemon's last words.
give_up() {
    printf '\n    the last lines of the log of sternpostd:\n' >&2
    tail -n 12 "$log" | quote >&2
    fail "$1" "the lines above say how far it came; the scenario is etc/lab/quickstart.toml, man sternpost-lab shows how to look into it"
}

# wait_for WHAT COMMAND...: until the command succeeds.
wait_for() {
    local what=$1 deadline=$((SECONDS + patience))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$deadline" ]; then give_up "$what did not come within $patience seconds"; fi
        if ! kill -0 "$daemon" 2>/dev/null; then give_up "sternpostd ended while we waited for: $what"; fi
        sleep 0.1
    done
}

logged() { grep -E -- "$1" "$log"; }
lab() { "$programs/sternpost-lab" "$@"; }
received() { lab show mail | grep -F -- "$1"; }
field() { sed -E "s/.* $1=(\"([^\"]*)\"|([^ ]*)).*/\2\3/"; }

# send TO SUBJECT
send() {
    printf 'From: Alice <alice@sender.example>\nTo: %s\nSubject: %s\n\nHello from the quick start.\n' "$1" "$2" |
        "$dir/sendmail" -f alice@sender.example "$1" || give_up "sendmail to $1"
}

"$programs/sternpostd" --config "$dir/sternpost.toml" 2>"$log" &
daemon=$!
stop_daemon() {
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
}
trap stop_daemon EXIT
wait_for "the daemon" logged ' ready'
say "sternpostd is up, in a network where sternpost-lab plays DNS, policy hosts, MX hosts and attackers"
"$programs/sternpost" sts refresh a.example | quote || give_up "the policy of a.example"
"$programs/sternpost" sts refresh b.example | quote || give_up "the policy of b.example"

printf '\n'
say "A. alice@sender.example writes to bob@a.example, whose MTA-STS policy is enforced"
send bob@a.example "A: a letter"
wait_for "A at mx.a.example" received '<bob@a.example>'
wait_for "A in the log" logged 'to=<bob@a.example>.* status=sent'
line=$(logged 'to=<bob@a.example>.* status=sent' | tail -n 1)
printf '%s\n' "$line" | quote
mx=$(field mx <<<"$line") tls=$(field tls <<<"$line") policy=$(field policy <<<"$line")
if [ "$policy" != sts/enforce ]; then give_up "A went out under policy=$policy, not sts/enforce"; fi
say "A: delivered to ${mx%%[*} over $tls, policy=$policy"

printf '\n'
say "B. an attacker strips STARTTLS at mx1.b.example, and alice writes to bob@b.example"
lab set mx.mx1.b.example.starttls none || give_up "sternpost-lab set"
send bob@b.example "B: a secret"
held_back() { logged 'hop name=b.example status=deferred' && "$dir/mailq" | grep -F 'STARTTLS'; }
wait_for "B held back" held_back
"$dir/mailq" | quote
if received '<bob@b.example>' >/dev/null; then give_up "B was delivered to the attacker"; fi
say "B: held back, nothing of it was sent; mailq says why"

printf '\n'
say "C. alice writes to carol@c.example, who does not exist"
send carol@c.example "C: are you there?"
wait_for "C in the log" logged 'to=<carol@c.example>.* status=bounced'
wait_for "the bounce in alice's mailbox" received 'from <>'
bounce=$(received 'from <>' | head -n 1 | cut -d ' ' -f 1)
lab show mail "$bounce" | quote
say "C: bounced, and alice's mailbox has the reason (above)"

printf '\n'
say "The attacker leaves, and the administrator says: sternpost queue retry --domain b.example"
lab set mx.mx1.b.example.starttls offered || give_up "sternpost-lab set"
"$programs/sternpost" queue retry --domain b.example | quote
wait_for "B at mx1.b.example" received '<bob@b.example>'
wait_for "B in the log" logged 'to=<bob@b.example>.* status=sent'
line=$(logged 'to=<bob@b.example>.* status=sent' | tail -n 1)
printf '%s\n' "$line" | quote
tls=$(field tls <<<"$line") policy=$(field policy <<<"$line")
if [ "$policy" != sts/enforce ]; then give_up "B went out under policy=$policy, not sts/enforce"; fi
empty() { "$dir/mailq" | grep -F 'queue is empty'; }
wait_for "an empty queue" empty
"$dir/mailq" | quote
say "B: delivered over $tls, policy=$policy"

printf '\n'
say "The day in TLS, all partners, as the administrator sees it: sternpost tlsrpt digest --day today"
counted() { "$programs/sternpost" tlsrpt preview b.example --json | grep -F '"total-failure-session-count":1'; }
wait_for "the sessions of b.example counted" counted
"$programs/sternpost" tlsrpt digest --day today | quote
printf '\n'
say "And what b.example, which asks for it, is told of it when the day is over: sternpost tlsrpt preview b.example"
"$programs/sternpost" tlsrpt preview b.example | quote
