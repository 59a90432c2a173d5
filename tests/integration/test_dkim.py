#!/usr/bin/python3
"""What the daemon signs, as two verifiers see it that nobody here wrote: dkimpy, and Mail::DKIM (which knows RSA only). They get the keys
from the DNS of the test, where the records stand as `sternpost dkim` prints them."""
import json
import os
import re
import subprocess
import sys

import dkim
import dns.resolver

from machine import expect, expect_equal, run, test, wait_for
from peers import RESOLVER, Dns, Sink
from scripted import ScriptedMx
from sternpost import Dialogue, Sternpost, deliver

SINK, SCRIPTED = '127.0.0.40', '127.0.0.41'
RECORDS = ['sink MX 10 mx.sink', 'mx.sink A ' + SINK, 'seven MX 10 mx.seven', 'mx.seven A ' + SCRIPTED]
MESSAGE = 'From: Alice <alice@sender.test>\nTo: bob@sink.test\nSubject: a   subject\n that is folded\n\nHello,  \n\n.a dot\nbye\n\n\n'

PERL = r'''
use Mail::DKIM::Verifier; use Mail::DKIM::DNS; use Net::DNS::Resolver;
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => [$ARGV[0]], recurse => 1));
my $v = Mail::DKIM::Verifier->new();
binmode STDIN; { local $/; my $all = <STDIN>; $v->PRINT($all); } $v->CLOSE;
print join(" ", $_->selector, $_->algorithm, $_->result_detail), "\n" for $v->signatures;
'''


def text_of(name, timeout=5):
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [RESOLVER]
    try:
        answer = resolver.resolve(name.decode().rstrip('.'), 'TXT')
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return None
    return b''.join(answer[0].strings)


def header_of(octets):
    return octets.partition(b'\r\n\r\n')[0] + b'\r\n'


def signatures(octets):
    """The tags of each DKIM-Signature field, top down."""
    fields = re.findall(rb'(?im)^DKIM-Signature:((?:[^\r]|\r\n[ \t])*)\r\n', header_of(octets))
    return [dict(t.strip().split('=', 1) for t in re.sub(r'\s+', ' ', f.decode()).split(';') if t.strip()) for f in fields]


def accepted_by_dkimpy(octets):
    """For each signature, whether it verifies."""
    out = []
    for index in range(len(signatures(octets))):
        try:
            out.append(dkim.DKIM(octets, minkey=1024).verify(idx=index, dnsfunc=text_of))
        except dkim.DKIMException:
            out.append(False)
    return out


def accepted_by_perl(octets):
    """{selector: verdict} of the RSA signatures."""
    done = subprocess.run(['perl', '-e', PERL, RESOLVER], input=octets, capture_output=True)
    expect(done.returncode == 0, 'Mail::DKIM: ' + done.stderr.decode())
    lines = [line.split(' ', 2) for line in done.stdout.decode().splitlines()]
    return {selector: verdict for selector, algorithm, verdict in lines if algorithm == 'rsa-sha256'}


def expect_verified(octets, domain='sender.test', algorithms=('rsa-sha256',)):
    """By both, and by what the signature says of itself."""
    tags = signatures(octets)
    expect_equal([t['a'] for t in tags], list(algorithms), 'algorithms')
    expect_equal({t['d'] for t in tags}, {domain}, 'd=')
    expect(not any('l' in t for t in tags), 'l= is there')
    expect(octets.startswith(b'DKIM-Signature:'), 'the signature is not on top: %r' % octets[:80])
    expect(max(map(len, header_of(octets).split(b'\r\n'))) < 998, 'a line of the header is too long')
    expect_equal(accepted_by_dkimpy(octets), [True] * len(tags), 'dkimpy')
    perl = accepted_by_perl(octets)
    expect_equal(perl, {t['s']: 'pass' for t in tags if t['a'] == 'rsa-sha256'}, 'Mail::DKIM')
    return tags


def world(machine, **options):
    return Dns(machine, RECORDS), Sink(machine, SINK), Sternpost(machine, **options)


def generate(sternpost, dns_server, domain, *args, publish=True):
    """Makes keys that sign at once; their entries."""
    made = json.loads(sternpost.do('dkim', 'generate', domain, '--active', '--json', *args))['made']
    if publish:
        dns_server.add(*[key['zone_line'] for key in made])
    return made


def send(sternpost, sink, text=MESSAGE, *args, to='bob@sink.test', sender='alice@sender.test'):
    """One message through sendmail; its octets at the sink."""
    before = len(sink.taken)
    sternpost.submit('-f', sender, *args, to, text=text)
    sink.wait_taken(before + 1)
    return sink.taken[-1].data


@test
def what_originates_here_is_signed_and_two_verifiers_accept_it(machine):
    """DKIM-01, DKIM-03, DKIM-12, DKIM-15: by sendmail and by SMTP, with RSA of 2048 and 4096 bits and with Ed25519 beside it."""
    # Keys of two organizations: what the user may write as must be said (D-47).
    own = {'match': 'user:root', 'domains': ['sender.test', '.sender.test', 'both.test']}
    names, sink, sternpost = world(machine, sender=[own])
    generate(sternpost, names, 'sender.test')
    octets = send(sternpost, sink)
    tags = expect_verified(octets)
    expect_equal(tags[0]['c'], 'relaxed/relaxed', 'c=')
    expect(octets.index(b'DKIM-Signature:') < octets.index(b'\r\nReceived:'), 'Received stands above the signature')
    deliver(MESSAGE.replace('\n', '\r\n').replace('\r\n.a', '\r\n..a').encode(), recipients=('bob@sink.test',))
    sink.wait_taken(2)
    expect_verified(sink.taken[-1].data)

    generate(sternpost, names, 'both.test', '--algorithm', 'both', '--bits', '4096')
    text = MESSAGE.replace('sender.test', 'both.test')
    expect_verified(send(sternpost, sink, text), 'both.test', ('rsa-sha256', 'ed25519-sha256'))
    # a host below a domain that has a key: aligned in relaxed mode
    expect_verified(send(sternpost, sink, MESSAGE.replace('sender.test', 'web1.sender.test')))
    # others' signatures stay below ours, and are not signed
    octets = send(sternpost, sink, 'DKIM-Signature: v=1; a=rsa-sha256; d=other.test; s=x; h=from; bh=AA==; b=AA==\n' + MESSAGE)
    tags = signatures(octets)
    expect_equal([t['d'] for t in tags], ['sender.test', 'other.test'], 'd= of all signatures')
    expect('dkim-signature' not in tags[0]['h'].lower(), 'h= names DKIM-Signature')
    expect_equal(accepted_by_dkimpy(octets)[0], True, 'dkimpy on ours')
    events = sternpost.events('signed', d='both.test')
    expect_equal(len(events), 1, 'lines `signed` for both.test')
    expect_equal(len(events[0]['s'].split(',')), 2, 'selectors in the log')
    expect_equal(events[0]['rule'], '[[sender]] user:root', 'the rule in the log')
    why = sternpost.do('why', events[0]['qid'])
    expect('the rule [[sender]] user:root lets the user root write as sender.test' in why, why)


@test
def what_is_changed_after_signing_does_not_verify(machine):
    """DKIM-06: that the verifiers look, and what oversigning is for."""
    # Keys of two organizations: what the user may write as must be said (D-47).
    own = {'match': 'user:root', 'domains': ['sender.test', '.sender.test', 'both.test']}
    names, sink, sternpost = world(machine, sender=[own])
    generate(sternpost, names, 'sender.test')
    octets = send(sternpost, sink)
    expect_verified(octets)
    added = lambda field: octets.replace(b'\r\nReceived:', b'\r\n' + field + b'\r\nReceived:', 1)
    for what, changed in {
        'the body': octets.replace(b'bye', b'buy'),
        'more body': octets + b'more\r\n',
        'a second From': added(b'From: <mallory@sender.test>'),
        'a second Subject': added(b'Subject: other'),
        'a Reply-To': added(b'Reply-To: <mallory@sender.test>'),
        'a Content-Type': added(b'Content-Type: text/html'),
        'another To': octets.replace(b'To: bob@', b'To: eve@'),
    }.items():
        expect(changed != octets, 'nothing was changed: ' + what)
        expect_equal(accepted_by_dkimpy(changed), [False], 'dkimpy, changed: ' + what)
        perl = set(accepted_by_perl(changed).values())
        expect(perl and 'pass' not in perl, 'Mail::DKIM accepts a change of %s: %s' % (what, perl))
    for what, changed in {
        'a trace field': added(b'Received: from a by b; Thu, 26 Nov 2026 12:00:00 +0000'),
        'a fold': octets.replace(b'a   subject\r\n that', b'a subject\r\n\tthat'),
        'blanks at line ends': octets.replace(b'\r\nbye\r\n', b'\r\nbye  \t\r\n'),
        'empty lines at the end': octets + b'\r\n\r\n',
        'a List-Id': added(b'List-Id: <list.other.test>'),
    }.items():
        expect(changed != octets, 'nothing was changed: ' + what)
        expect_equal(accepted_by_dkimpy(changed), [True], 'dkimpy, changed: ' + what)
        expect_equal(set(accepted_by_perl(changed).values()), {'pass'}, 'Mail::DKIM, changed: ' + what)


@test
def mail_for_a_host_of_seven_bits_is_signed_as_it_goes_out(machine):
    """DKIM-11: after the conversion."""
    names, sink, sternpost = world(machine)
    host = ScriptedMx(machine, SCRIPTED, eight_bit=False)
    generate(sternpost, names, 'sender.test')
    text = MESSAGE.replace('Hello', 'Grüße aus der Küche').encode()
    sternpost.submit('-f', 'alice@sender.test', 'bob@sink.test', 'carol@seven.test', text=text)
    sink.wait_taken(1)
    wait_for('the host of seven bits has it', lambda: host.taken)
    expect_verified(sink.taken[0].data)
    unstuffed = host.taken[0].data.replace(b'\r\n..', b'\r\n.')
    expect(max(unstuffed) < 128, 'octets above 127 went to the host')
    expect(b'quoted-printable' in unstuffed, 'it was not converted: %r' % unstuffed[:600])
    expect_verified(unstuffed)


@test
def large_messages_are_signed_in_pieces(machine):
    """40 MB of them take no 40 MB of memory."""
    names, sink, sternpost = world(machine)
    generate(sternpost, names, 'sender.test')
    send(sternpost, sink)

    def peak():
        with open('/proc/%d/status' % sternpost.process.popen.pid) as status:
            return int(re.search(r'VmHWM:\s+(\d+) kB', status.read())[1])

    before = peak()
    lines = ''.join('line %d of a message   that is large\n' % n for n in range(1_000_000))
    octets = send(sternpost, sink, MESSAGE + lines)
    expect(len(octets) > 35_000_000, 'only %d octets arrived' % len(octets))
    expect_equal(accepted_by_dkimpy(octets), [True], 'dkimpy')
    expect_equal(set(accepted_by_perl(octets).values()), {'pass'}, 'Mail::DKIM')
    print('      %.1f MB signed; the daemon grew by %.1f MB' % (len(octets) / 1e6, (peak() - before) / 1e3))
    expect(peak() - before < 20_000, 'the daemon grew by %d kB' % (peak() - before))


@test
def bounces_are_signed(machine):
    """D-36: by the key of the domain that they are from."""
    names, sink, sternpost = world(machine)
    sink.refuse['nobody@sink.test'] = '550 5.1.1 no such user'
    generate(sternpost, names, 'relay.test')
    sternpost.submit('-f', 'alice@sink.test', 'nobody@sink.test', text=MESSAGE)
    sink.wait_taken(1)
    expect_equal(sink.taken[0].reverse_path, '', 'reverse-path of the bounce')
    expect_verified(sink.taken[0].data, 'relay.test')


@test
def mail_of_others_is_not_signed(machine):
    """DKIM-14: from a client that relays, by sendmail -G, and from domains without a key; a client in the role originate is signed."""
    names, sink, sternpost = world(
        machine,
        client=[{'network': '127.0.0.1/32', 'role': 'originate'}, {'network': '127.0.1.0/24', 'role': 'relay'}],
    )
    generate(sternpost, names, 'sender.test')
    data = MESSAGE.replace('\n', '\r\n').replace('\r\n.a', '\r\n..a').encode()
    for source, count in (('127.0.0.1', 1), ('127.0.1.1', 0)):
        with Dialogue(source=source) as d:
            d.ehlo()
            d.message('alice@sender.test', ['bob@sink.test'], data)
            d.say('QUIT', '221')
        sternpost.wait_empty()
        expect_equal(len(signatures(sink.taken[-1].data)), count, 'signatures on mail from ' + source)
    expect_equal(signatures(send(sternpost, sink, MESSAGE, '-G')), [], 'signatures on what sendmail -G passed on')
    expect_equal(signatures(send(sternpost, sink, MESSAGE.replace('sender.test', 'else.test'))), [], 'without a key')
    expect_equal(len(signatures(send(sternpost, sink))), 1, 'signatures on our own')
    # whose it is survives a restart with the message
    sternpost.stop()
    sternpost.change(dkim={'sign': 'off'})
    sternpost.start()
    expect_equal(signatures(send(sternpost, sink)), [], 'signatures with sign = "off"')


@test
def whose_mail_it_is_survives_kill_9(machine):
    names, _, sternpost = world(machine)
    generate(sternpost, names, 'sender.test')
    sternpost.submit('-f', 'alice@sender.test', 'bob@bogus.test', text=MESSAGE)
    sternpost.wait_deferred('bob@bogus.test')
    sternpost.kill()
    sternpost.start()
    sink = Sink(machine, SCRIPTED)
    sternpost.do('queue', 'reroute', '--all', '--to', 'seven.test')
    sink.wait_taken(1)
    expect_verified(sink.taken[0].data)


@test
def a_message_with_two_from_fields_is_refused(machine):
    """DKIM-16"""
    _, sink, sternpost = world(machine)
    text = 'From: <mallory@sender.test>\n' + MESSAGE
    done = sternpost.sendmail('-f', 'alice@sender.test', 'bob@sink.test', text=text)
    expect(done.code != 0 and 'From' in done.err, 'sendmail: exit %d: %s' % (done.code, done.err))
    with Dialogue() as d:
        d.ehlo()
        d.envelope('alice@sender.test', 'bob@sink.test')
        d.say('DATA', '354')
        d.send(text.replace('\n', '\r\n').encode() + b'.\r\n')
        d.expect('554 5.6.0')
    sternpost.wait_empty()
    expect_equal(sink.taken, [], 'mail at the sink')


@test
def a_key_is_rotated_step_by_step(machine):
    """Each step waits for what it needs, and mail is signed with a published key throughout."""
    names, sink, sternpost = world(machine)
    rotate = lambda code, *args: (
        lambda done: (expect_equal(done.code, code, 'exit of dkim rotate: %s%s' % (done.out, done.err)), done)[1]
    )(sternpost.command('dkim', 'rotate', 'sender.test', *args))
    states = lambda: {k['selector']: k['state'] for k in sternpost.ask('dkim', 'list', 'sender.test')['keys']}

    expect('dkim generate' in rotate(1).err, 'rotate without a key does not say what to do')
    first = json.loads(sternpost.do('dkim', 'generate', 'sender.test', '--selector', 'First', '--json'))['made'][0]
    expect_equal((first['selector'], first['state']), ('first', 'next'), 'the first key')
    expect_equal(signatures(send(sternpost, sink)), [], 'signatures before the record is published')
    expect('first._domainkey.sender.test' in rotate(1).err, 'rotate does not say which record is missing')
    names.add(first['zone_line'])
    names.forget()  # the resolver remembers that it was not there
    rotate(0)
    expect_equal(states(), {'first': 'active'}, 'keys')
    expect_equal(expect_verified(send(sternpost, sink))[0]['s'], 'first', 's=')

    rotate(0)
    second = next(s for s in states() if s != 'first')
    expect_equal(states(), {'first': 'active', second: 'next'}, 'keys')
    expect_equal(expect_verified(send(sternpost, sink))[0]['s'], 'first', 's= while the next key waits')
    expect('TXT' in rotate(1).out, 'rotate does not print the record that is missing')
    names.add(next(k['zone_line'] for k in sternpost.ask('dkim', 'dns', 'sender.test') if k['selector'] == second))
    names.forget()
    rotate(0)
    expect_equal(states(), {'first': 'retired', second: 'active'}, 'keys')
    expect_equal(expect_verified(send(sternpost, sink))[0]['s'], second, 's=')
    expect('stay in the DNS' in rotate(1).err, 'a retired key is removed at once')
    # eight days later
    path = os.path.join(sternpost.dir, 'state', 'dkim', first['file'])
    with open(path) as file:
        text = file.read()
    with open(path, 'w') as file:
        file.write(re.sub('Since: .*', 'Since: 2020-01-01T00:00:00Z', text))
    expect('removed: first._domainkey.sender.test' in rotate(0).out, 'the key is not removed when its time is over')
    expect_equal(states(), {second: 'active'}, 'keys')
    expect(not os.path.exists(path), 'the file of the removed key is there')
    # --force: no questions
    rotate(0)
    rotate(0, '--force')
    expect_equal(sorted(states().values()), ['active', 'retired'], 'states after --force')


@test
def keys_are_compared_with_what_the_dns_holds(machine):
    """The exit codes of dkim check, and what it says."""
    names, _, sternpost = world(machine)
    check = lambda code: {k['selector']: k for k in sternpost.ask('dkim', 'check', 'sender.test', code=code)['keys']}
    done = sternpost.command('dkim', 'check', 'sender.test')
    expect(done.code == 1 and 'no DKIM key' in done.err, 'without a key: exit %d: %s' % (done.code, done.err))
    rsa, ed = generate(sternpost, names, 'sender.test', '--selector', 'x', '--algorithm', 'both', publish=False)
    expect_equal((rsa['selector'], ed['selector']), ('x-rsa', 'x-ed25519'), 'selectors')
    expect_equal({k['published'] for k in check(1).values()}, {'no'}, 'before')
    names.add(rsa['zone_line'], ed['name'] + '. TXT "v=DKIM1; k=ed25519; p=AAAA"')
    names.forget()  # the resolver remembers that they were not there
    seen = check(1)
    expect_equal({s: k['published'] for s, k in seen.items()}, {'x-rsa': 'yes', 'x-ed25519': 'different'}, 'half of it')
    expect(seen['x-ed25519']['text'], 'nothing is said about the wrong record')
    names.replace(*RECORDS, rsa['zone_line'], ed['zone_line'])
    names.add()
    expect_equal({k['published'] for k in check(0).values()}, {'yes'}, 'after')
    done = sternpost.command('dkim', 'check')
    expect(done.code == 0 and done.out.count('published') == 2, 'for people: exit %d: %s' % (done.code, done.out))
    names.stop()
    expect_equal({k['published'] for k in check(3).values()}, {'unanswered'}, 'without the DNS')
    sternpost.stop()
    expect_equal(sternpost.command('dkim', 'check').code, 69, 'exit while the daemon is down')
    expect_equal(len(sternpost.ask('dkim', 'list')['keys']), 2, 'keys while the daemon is down')
    for args, code in (
        (('generate', 'sender.test', '--bits', '512'), 64),
        (('generate', 'sender.test', '--selector', 'a_b'), 64),
        (('generate', 'sender.test', '--algorithm', 'rsa-sha1'), 64),
        (('generate', 'sender..test'), 64),
        (('generate', 'sender.test', '--selector', 'x-rsa'), 1),
        (('dns', 'other.test'), 1),
    ):
        expect_equal(sternpost.command('dkim', *args).code, code, 'exit of dkim %s' % ' '.join(args))


@test
def mail_waits_for_a_key_that_cannot_be_used(machine):
    """DKIM-02: one that others can read is not used; its mail waits, with a reason and an alarm, and goes unsigned when patience ends."""
    names, sink, sternpost = world(machine)
    key = generate(sternpost, names, 'sender.test')[0]
    path = os.path.join(sternpost.dir, 'state', 'dkim', key['file'])
    expect_equal(os.stat(path).st_mode & 0o7777, 0o600, 'mode of the file')
    expect_equal(os.stat(os.path.dirname(path)).st_mode & 0o7777, 0o700, 'mode of the folder')
    os.chmod(path, 0o644)
    expect_equal(sternpost.command('dkim', 'list').code, 1, 'exit of dkim list with a key that cannot be used')
    sternpost.wait_event('dkim-key')
    sternpost.submit('-f', 'alice@sender.test', 'bob@sink.test', text=MESSAGE)
    entry = sternpost.wait_deferred('bob@sink.test')
    expect_equal(entry['status'], '4.7.5', 'status')
    expect('chmod 600' in entry['reason'] and key['file'] in entry['reason'], 'the reason: ' + entry['reason'])
    alarms = [a for a in sternpost.ask('status')['alarms'] if a['kind'] == 'dkim-key']
    expect_equal([a['subject'] for a in alarms], ['sender.test'], 'alarms')
    message = sternpost.ask('queue', 'list')['messages'][0]['id']
    why = sternpost.command('why', message).out
    expect('sternpost dkim list' in why, 'why does not say what to do: ' + why)
    # other domains' mail is in nobody's way
    expect_equal(signatures(send(sternpost, sink, MESSAGE.replace('sender.test', 'else.test'))), [], 'of another domain')
    before = len(sternpost.events('dkim-keys'))
    os.chmod(path, 0o600)
    wait_for('the daemon sees the mended key', lambda: len(sternpost.events('dkim-keys')) > before)
    sternpost.retry_all()
    sink.wait_taken(2)
    expect_verified(sink.taken[-1].data)

    # a weak key is told of and used; one that is weaker still is not
    sternpost.change(dkim={'patience': '0s'})
    for bits, count in ((1024, 1), (768, 0)):
        sternpost.stop()
        subprocess.run(['openssl', 'genrsa', '-out', path, str(bits)], check=True, capture_output=True)
        os.chmod(path, 0o600)
        sternpost.start()
        expect(str(bits) in sternpost.wait_event('dkim-key')['reason'], 'nothing is said about %d bits' % bits)
        octets = send(sternpost, sink)
        expect_equal(len(signatures(octets)), count, 'signatures with a key of %d bits' % bits)
    expect('in vain' in sternpost.wait_event('unsigned')['reason'], 'the log does not say why it went unsigned')


@test
def a_key_for_reports_signs_no_mail(machine):
    """RPT-66"""
    names, sink, sternpost = world(machine)
    key = generate(sternpost, names, 'sender.test', '--report-only')[0]
    expect('; s=tlsrpt;' in key['record'] and 's=tlsrpt' in key['zone_line'], 'the record: ' + key['record'])
    expect_equal(key['service'], 'tlsrpt', 'service')
    expect_equal(signatures(send(sternpost, sink)), [], 'signatures on mail')
    expect_equal(sternpost.ask('dkim', 'check')['keys'][0]['published'], 'yes', 'dkim check')
    said = sternpost.do('dkim', 'generate', 'other.test', '--active', '--report-only')
    expect('Mail is signed' not in said and 'TLS reports' in said, 'what is said of a key for reports alone: ' + said)
    expect('Mail is signed' in sternpost.do('dkim', 'generate', 'third.test', '--active'), 'what is said of a key for mail')


@test
def names_with_umlauts_are_signed_as_a_labels(machine):
    """DKIM-13"""
    names, sink, sternpost = world(machine)
    key = generate(sternpost, names, 'bücher.test')[0]
    expect_equal(key['domain'], 'xn--bcher-kva.test', 'the domain of the key')
    octets = send(sternpost, sink, MESSAGE.replace('sender.test', 'xn--bcher-kva.test'))
    expect_verified(octets, 'xn--bcher-kva.test')


if __name__ == '__main__':
    sys.exit(run())
