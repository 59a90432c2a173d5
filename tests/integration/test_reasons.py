#!/usr/bin/python3
"""What `sternpost explain` and `sternpost why` say, word for word: a daemon is brought into each situation in which mail does not go, or
not as it should, and asked. The texts stand in tests/data/reasons.txt, which is meant to be read.

STERNPOST_SEEN=FILE only writes what was seen in the form of that file, to be compared by eye after a text was changed on purpose.
"""
import difflib
import os
import re
import subprocess
import sys

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
from cryptography.hazmat.primitives.asymmetric import rsa

from machine import TOP, Failure, expect, expect_equal, run, test, wait_for
from peers import Authority
from scripted import ScriptedDns, ScriptedMx, ScriptedPolicyHost, certificate, serve
from sternpost import Sternpost

TEXTS = os.path.join(TOP, 'tests/data/reasons.txt')
POLICY = 'version: STSv1\nmode: enforce\nmx: %s\nmax_age: 86400\n'
TEXT = 'From: Alice <alice@sender.test>\nTo: bob\nSubject: s\n\nhello\n'
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PROMPT = {'max_ttl': '1s', 'timeout': '1s', 'attempts': 1}  # so that a changed record is seen soon


# ---------------------------------------------------------------------------------------------------------------------- the texts
def sections(text):
    """{head: lines} of a file in which each head is a line that begins with `== `; lines before the first are for its readers."""
    out, lines = {}, []
    for line in text.splitlines():
        if line.startswith('== '):
            expect(line[3:] not in out, 'tests/data/reasons.txt: two texts for %s' % line[3:])
            lines = out[line[3:]] = []
        else:
            lines.append(line)
    return {head: '\n'.join(lines).strip('\n') for head, lines in out.items()}


with open(TEXTS) as file:
    WANTED = sections(file.read())
said = set()  # their heads


def plain(text):
    """A text without what differs from run to run."""
    for pattern, word in (
        (r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z', 'TIME'),
        (r'\b(\d+[dhm] \d\d[hms]|\d+\.\ds)(?=[\s,)]|$)', 'SPAN'),
        (r'\b[0-9a-f]{64}\b', 'SHA256'),
        (r'(?m)^[0-9A-Za-z]+ from (?=<)', 'QUEUEID from '),
        (r'after \d+ ms', 'after SPAN'),
        (r'\buid \d+', 'UID'),
        (r'certificate [0-9a-f]{16}…', 'certificate SHA256'),
        (r'\bTLS_[A-Z0-9_]+', 'CIPHER'),
    ):
        text = re.sub(pattern, word, text)
    return text.rstrip('\n')


def must_say(situation, head, text):
    """That this is what tests/data/reasons.txt has for the situation: exit status, code and every word."""
    head, text = '%s: %s' % (situation, head), plain(text)
    said.add(head)
    if 'STERNPOST_SEEN' in os.environ:
        with open(os.environ['STERNPOST_SEEN'], 'a') as seen:
            seen.write('== %s\n%s\n\n' % (head, text))
        return
    wanted = WANTED.get(head)
    if wanted is None:
        raise Failure('tests/data/reasons.txt has no text for "%s"; said is:\n%s' % (head, text))
    if wanted != text:
        difference = difflib.unified_diff(wanted.split('\n'), text.split('\n'), 'wanted', 'said', lineterm='', n=1)
        raise Failure('%s:\n%s' % (head, '\n'.join(difference)))


def explain(sternpost, situation, domain, *flags):
    """`sternpost explain`, by its text and by its JSON, which must agree."""
    done = sternpost.command('explain', domain, *flags)
    answer = sternpost.ask('explain', domain, *flags, code=done.code)
    expect_equal(plain('\n'.join(answer['lines'])), plain(done.out), 'the lines in the JSON of explain ' + domain)
    codes = ' '.join(host['verdict']['code'] or '-' for host in answer['hosts'])
    command = ' '.join(['explain', *flags])
    head = '%s: exit %d, %s%s' % (command, done.code, answer['outlook'], ', ' + codes if codes else '')
    must_say(situation, head, done.out + done.err)


def why(sternpost, situation, queue_id):
    """`sternpost why`, by its text and by its JSON."""
    wait_for('the history has the attempt', lambda: sternpost.ask('why', queue_id)['attempts'])
    done = sternpost.command('why', queue_id)
    answer = sternpost.ask('why', queue_id, code=done.code)
    expect_equal(plain('\n'.join(answer['lines'])), plain(done.out), 'the lines in the JSON of why')
    codes = ' '.join('%s %s' % (r['state'], r['code'] or '-') for r in answer['recipients'])
    must_say(situation, 'why: exit %d, %s' % (done.code, codes), done.out + done.err)


def status(sternpost, situation, *words):
    """The lines of `sternpost status` that begin with one of the words."""
    done = sternpost.command('status')
    lines = [line for line in done.out.split('\n') if line.startswith(words)]
    must_say(situation, 'status: exit %d' % done.code, '\n'.join(lines))


def attempted(sternpost, recipient, end='deferred', times=1):
    """The queue id of a message to the recipient, once it was tried and that became of it."""
    wanted = {'to': '<%s>' % recipient, 'status': end}
    events = wait_for(
        '%s is %s' % (recipient, end),
        lambda: (lambda found: len(found) >= times and found)(sternpost.events('attempt', **wanted)),
    )
    if end == 'deferred':
        sternpost.wait_deferred(recipient)
    return events[-1]['qid']


def write(sternpost, *recipients, options=()):
    sternpost.submit(*options, '-f', 'alice@sender.test', *recipients, text=TEXT)


# ---------------------------------------------------------------------------------------------------------------------- the world
class Zones(ScriptedDns):
    """signed: names whose data, and that of all names below, is marked as authentic. fails: (name, type) that get SERVFAIL."""

    def __init__(self, machine, records, signed=(), fails=()):
        self.signed, self.fails = signed, fails
        super().__init__(machine, records)

    def answer(self, question):
        if (question.name, dns.rdatatype.to_text(question.type)) in self.fails:
            response = dns.message.make_response(question.message)
            response.flags |= dns.flags.RA
            response.set_rcode(dns.rcode.SERVFAIL)
            return response
        alias = self.records.get((question.name, dns.rdatatype.CNAME))
        if alias:
            response = dns.message.make_response(question.message)
            response.answer.append(dns.rrset.from_text(question.name + '.', 60, 'IN', 'CNAME', *alias))
            data = self.records[(alias[0].rstrip('.'), question.type)]
            response.answer.append(dns.rrset.from_text(alias[0], 60, 'IN', question.type, *data))
        else:
            response = super().answer(question)
        if any(question.name == zone or question.name.endswith('.' + zone) for zone in self.signed):
            response.flags |= dns.flags.AD
        return response

    def put(self, name, kind, data):
        self.records[(name, dns.rdatatype.from_text(kind))] = data


def domain(name, address):
    return {(name, 'MX'): ['10 mx.%s.' % name], ('mx.' + name, 'A'): [address]}


def discovery(name):
    return {('_mta-sts.' + name, 'TXT'): ['"v=STSv1; id=1;"'], ('mta-sts.' + name, 'A'): ['127.0.0.80']}


def served(machine, authority, hosts):
    """A policy host with a good certificate for each of {domain: policy text, or a function that gives an answer}."""
    answers = {}
    for name, text in hosts.items():
        answer = text if callable(text) else (200, {'Content-Type': 'text/plain'}, text)
        answers['mta-sts.' + name] = (certificate(machine, authority, name, ['mta-sts.' + name], key=KEY), answer)
    return ScriptedPolicyHost(machine, answers)


# ---------------------------------------------------------------------------------------------------------- MTA-STS holds mail back
@test
def an_enforced_policy_says_which_host_fails_it_and_how(machine):
    """STS-57, STS-58, STS-59, STS-60, STS-68: the host is not listed, STARTTLS is stripped, its certificate has expired or is for another
    name; an override lets mail go meanwhile, until it ends."""
    authority = Authority(machine)
    faults = {  # domain: what the MX host has
        'unlisted.test': {'names': ['mx.unlisted.test']},
        'expired.test': {'names': ['mx.expired.test'], 'expired': True},
        'name.test': {'names': ['www.name.test', 'name.test']},
        'stripped.test': None,
    }
    records, mx = {}, {}
    for n, (name, fault) in enumerate(faults.items()):
        address = '127.0.1.%d' % (n + 1)
        records.update({**domain(name, address), **discovery(name)})
        context = fault and certificate(machine, authority, 'mx.' + name, key=KEY, **fault)
        mx[name] = ScriptedMx(machine, address, context)
    Zones(machine, records)
    served(machine, authority, {n: POLICY % ('mail.' + n if n == 'unlisted.test' else 'mx.' + n) for n in faults})
    sternpost = Sternpost(machine, authority)
    for name in faults:
        situation = name.removesuffix('.test')
        sternpost.do('sts', 'refresh', name)
        write(sternpost, 'bob@' + name)
        queue_id = attempted(sternpost, 'bob@' + name)
        explain(sternpost, situation, name)
        explain(sternpost, situation, name, '--probe')
        why(sternpost, situation, queue_id)
        expect_equal(mx[name].taken, [], 'messages at %s' % name)
    # The administrator lets the mail go, for a while: a week left, a moment left, none left.
    queue_id = attempted(sternpost, 'bob@expired.test')
    override = ['policy', 'override', 'set', 'expired.test', 'encrypt', '--reason', 'they renew on Monday', '--author']
    sternpost.do(*override, 'ann', '--expires', '7d')
    explain(sternpost, 'override', 'expired.test', '--probe')
    why(sternpost, 'override', queue_id)
    status(sternpost, 'override', 'override')
    sternpost.do(*override, 'ann', '--expires', '3s')
    explain(sternpost, 'override about to end', 'expired.test')
    code = lambda: sternpost.command('explain', 'expired.test', '--probe').code
    wait_for('the override has ended', lambda: code() == 2, 10, every=0.2)
    sternpost.wait_event('override', scope='expired.test', status='expired')
    explain(sternpost, 'override that has ended', 'expired.test', '--probe')


@test
def a_policy_host_that_is_away_is_told_and_what_holds_meanwhile(machine):
    """STS-28, STS-43, STS-45: with a policy in the cache that one holds; without one the mail goes as if there were none."""
    authority = Authority(machine)
    records = {**domain('kept.test', '127.0.1.1'), **discovery('kept.test')}
    records.update({**domain('unknown.test', '127.0.1.2'), **discovery('unknown.test')})
    records[('mta-sts.unknown.test', 'A')] = ['127.0.0.81']  # nobody listens there
    zones = Zones(machine, records)
    served(machine, authority, {'kept.test': POLICY % 'mx.kept.test'})
    context = certificate(machine, authority, 'kept', ['mx.kept.test'], key=KEY)
    kept, unknown = ScriptedMx(machine, '127.0.1.1', context), ScriptedMx(machine, '127.0.1.2')
    sternpost = Sternpost(machine, authority, dns=PROMPT)
    write(sternpost, 'bob@unknown.test')
    queue_id = attempted(sternpost, 'bob@unknown.test', 'sent')
    explain(sternpost, 'policy host down, no cache', 'unknown.test')
    explain(sternpost, 'policy host down, no cache', 'unknown.test', '--probe')
    why(sternpost, 'policy host down, no cache', queue_id)
    expect_equal(len(unknown.taken), 1, 'messages without a policy')

    sternpost.do('sts', 'refresh', 'kept.test')
    zones.put('_mta-sts.kept.test', 'TXT', ['"v=STSv1; id=2;"'])
    zones.put('mta-sts.kept.test', 'A', ['127.0.0.81'])
    wait_for('the new id is seen', lambda: 'trouble' in sternpost.command('explain', 'kept.test').out, every=0.2)
    explain(sternpost, 'policy host down, cached', 'kept.test', '--probe')
    kept.context = None  # and somebody strips STARTTLS
    write(sternpost, 'bob@kept.test')
    why(sternpost, 'policy host down, cached', attempted(sternpost, 'bob@kept.test'))
    expect_equal(kept.taken, [], 'messages in clear')


@test
def a_policy_that_changes_under_its_id_raises_an_alarm(machine):
    """What STS-46 lets other senders miss, who keep the old policy while its id is the same, is told."""
    authority, texts = Authority(machine), {'same.test': POLICY % 'mx.same.test'}
    records = {**domain('same.test', '127.0.1.1'), **discovery('same.test')}
    records[('_mta-sts.provider.test', 'TXT')] = records.pop(('_mta-sts.same.test', 'TXT'))
    records[('_mta-sts.same.test', 'CNAME')] = ['_mta-sts.provider.test.']
    Zones(machine, records)
    served(machine, authority, {'same.test': lambda: (200, {'Content-Type': 'text/plain'}, texts['same.test'])})
    sternpost = Sternpost(machine, authority)
    sternpost.do('sts', 'refresh', 'same.test')
    texts['same.test'] += 'mx: mx2.same.test\n'
    explain(sternpost, 'policy changed under its id', 'same.test', '--probe')
    sternpost.do('sts', 'refresh', 'same.test')
    event = sternpost.wait_event('alarm', subject='same.test')
    must_say('policy changed under its id', 'log: ' + event['kind'], event['reason'])
    status(sternpost, 'policy changed under its id', 'ALARM')
    explain(sternpost, 'policy changed under its id', 'same.test')


# -------------------------------------------------------------------------------------------------------- DNSSEC, DANE, REQUIRETLS
@test
def dane_and_requiretls_say_what_they_miss(machine):
    """DANE-04, DANE-06, RTLS-06, RTLS-07, D-19: TLSA records that do not match, or cannot be had; a host that does not offer REQUIRETLS."""
    authority = Authority(machine)
    names = ['mismatch.test', 'servfail.test', 'lacks.test', 'later.test']
    records, mx = {('good.probe.test', 'A'): ['127.0.0.9']}, {}
    for n, name in enumerate(names):
        records.update(domain(name, '127.0.1.%d' % (n + 1)))
        context = certificate(machine, authority, name, ['mx.' + name], key=KEY)
        mx[name] = ScriptedMx(machine, '127.0.1.%d' % (n + 1), context)
    records[('later.test', 'MX')] = ['10 mx.later.test.', '20 away.later.test.']
    records[('away.later.test', 'A')] = ['127.0.1.9']  # nobody listens there
    records[('_25._tcp.mx.mismatch.test', 'TLSA')] = ['3 1 1 ' + '11' * 32]
    fails = [('_25._tcp.mx.servfail.test', 'TLSA'), ('bad.probe.test', 'A')]
    Zones(machine, records, signed=['test'], fails=fails)
    probes = {'probe_secure': 'good.probe.test', 'probe_bogus': 'bad.probe.test'}
    sternpost = Sternpost(machine, authority, dns={'trust_ad': 'yes', 'attempts': 1, **probes})
    sternpost.wait_event('resolver')
    status(sternpost, 'a resolver that validates', 'DNSSEC', 'ALARM')
    for name, situation in (('mismatch.test', 'TLSA mismatch'), ('servfail.test', 'TLSA SERVFAIL')):
        write(sternpost, 'bob@' + name)
        queue_id = attempted(sternpost, 'bob@' + name)
        explain(sternpost, situation, name)
        explain(sternpost, situation, name, '--probe')
        why(sternpost, situation, queue_id)
        expect_equal(mx[name].taken, [], 'messages at %s' % name)
    tagged = ['-O', 'requiretls=yes']
    # No host has what the message demands: it goes back. One was not reached: it waits (D-19).
    write(sternpost, 'bob@lacks.test', options=tagged)
    why(sternpost, 'REQUIRETLS not offered', attempted(sternpost, 'bob@lacks.test', 'bounced'))
    write(sternpost, 'bob@later.test', options=tagged)
    why(sternpost, 'REQUIRETLS not offered by one, the other away', attempted(sternpost, 'bob@later.test'))
    explain(sternpost, 'REQUIRETLS not offered', 'lacks.test', '--probe')
    expect_equal([host.taken for host in mx.values()], [[]] * 4, 'messages')


@test
def a_resolver_that_does_not_validate_is_told(machine):
    """The status and the alarm, for each way in which it shows; and where its word is not taken at all."""
    records = {('good.probe.test', 'A'): ['127.0.0.9'], ('bad.probe.test', 'A'): ['127.0.0.9']}
    Zones(machine, records, signed=['good.probe.test'])
    probes = {'trust_ad': 'yes', 'attempts': 1, 'probe_bogus': 'bad.probe.test'}
    for situation, options, alarms in (
        ('resolver that marks nothing', {**probes, 'probe_secure': 'bad.probe.test'}, 1),
        ('resolver that believes all', {**probes, 'probe_secure': 'good.probe.test'}, 1),
        ('resolver that is not trusted', {'trust_ad': 'auto'}, 0),
    ):
        sternpost = Sternpost(machine, name=situation.replace(' ', '-'), dns=options)
        sternpost.wait_event('resolver')
        wait_for('the alarm', lambda: len(sternpost.ask('status')['alarms']) == alarms)
        status(sternpost, situation, 'DNSSEC', 'ALARM')
        sternpost.stop()


# --------------------------------------------------------------------------------------------------------------- what hosts answer
@test
def refusals_of_hosts_are_told_for_what_they_are(machine):
    """D-21: greylisting, hosts that refuse our address, hosts that want a PTR record for our IPv6 address."""
    records = {**domain('grey.test', '127.0.1.1'), **domain('ptr.test', '127.0.1.2')}
    records[('six.test', 'MX')] = ['10 mx.six.test.']
    records[('mx.ptr.test', 'AAAA')] = records[('mx.six.test', 'AAAA')] = ['::1']
    records[('listed.test', 'MX')] = ['10 mx1.listed.test.', '20 mx2.listed.test.']
    for n in (1, 2):
        records[('mx%d.listed.test' % n, 'A')] = ['127.0.2.%d' % n]
        serve('127.0.2.%d' % n, 25, refuse_address, machine)
    Zones(machine, records)
    greylisted = '450 4.7.1 <bob@grey.test>: Recipient address rejected: Greylisted, see https://grey.test/why'
    ScriptedMx(machine, '127.0.1.1', rcpt=greylisted)
    four = ScriptedMx(machine, '127.0.1.2')
    ScriptedMx(machine, '::1', rcpt='550 5.7.25 [::1] The sending IP address has no PTR record')
    sternpost = Sternpost(machine)
    for name, situation, end in (
        ('grey.test', 'greylisted', 'deferred'),
        ('listed.test', 'our address refused', 'deferred'),
        ('ptr.test', 'IPv6 without PTR, IPv4 takes it', 'sent'),
        ('six.test', 'IPv6 without PTR, no IPv4', 'bounced'),
    ):
        write(sternpost, 'bob@' + name)
        why(sternpost, situation, attempted(sternpost, 'bob@' + name, end))
        explain(sternpost, situation, name, '--probe')
    expect_equal(len(four.taken), 1, 'messages over IPv4')


def refuse_address(connection):
    """A host that turns our address away, and ends as it should."""
    connection.sendall(b'554 5.7.1 mx.listed.test [127.0.0.1] is listed, see https://block.test/127.0.0.1\r\n')
    while b'QUIT' not in connection.recv(4096).upper():
        pass
    connection.sendall(b'221 2.0.0 bye\r\n')


@test
def a_dead_network_blames_no_host(machine):
    """The only addresses are beyond the routes of this network; and domains that take no mail, or whose MX host has no address."""
    records = {**domain('far.test', '203.0.113.9'), ('mx.far.test', 'AAAA'): ['2001:db8::9']}
    records.update({('gone.test', 'MX'): ['0 .'], ('nothing.test', 'MX'): ['10 mx.nothing.test.']})
    Zones(machine, records)
    sternpost = Sternpost(machine)
    write(sternpost, 'bob@far.test')
    queue_id = attempted(sternpost, 'bob@far.test')
    explain(sternpost, 'network away', 'far.test')
    explain(sternpost, 'network away', 'far.test', '--probe')
    why(sternpost, 'network away', queue_id)
    explain(sternpost, 'null MX', 'gone.test')
    explain(sternpost, 'no such domain', 'nowhere.test')
    explain(sternpost, 'MX host without address', 'nothing.test')


@test
def a_clock_that_is_wrong_is_told(machine):
    """The mail in the queue is of a time to come: nothing expires, and who asks is told why."""
    Zones(machine, domain('far.test', '203.0.113.9'))
    ahead = machine.write('ahead', str(3 * 86400))
    sternpost = Sternpost(machine, start=False)
    sternpost.start(before=['env', 'LD_PRELOAD=' + clock_library(machine), 'SECONDS_AHEAD=' + ahead])
    write(sternpost, 'bob@far.test')
    queue_id = attempted(sternpost, 'bob@far.test')
    why(sternpost, 'clock before it leaps', queue_id)
    sternpost.restart()
    done = sternpost.command('why', queue_id)
    expect_equal(sternpost.ask('why', queue_id)['clock_trusted'], False, 'clock_trusted')
    must_say('clock that leaps back', 'why: exit %d' % done.code, done.out)
    status(sternpost, 'clock that leaps back', 'CLOCK')


@test
def a_clock_that_leaps_holds_the_queue(machine):
    """D-41: six days pass in a moment, by the wall clock alone. What would be over by that is kept until the clock is right again."""
    Zones(machine, domain('far.test', '203.0.113.9'))
    ahead = machine.write('ahead', '0')
    sternpost = Sternpost(machine, start=False, queue={'retry': ['1s']})
    sternpost.start(before=['env', 'LD_PRELOAD=' + clock_library(machine), 'SECONDS_AHEAD=' + ahead])
    write(sternpost, 'bob@far.test')
    queue_id = attempted(sternpost, 'bob@far.test')
    machine.write('ahead', str(6 * 86400))
    expect_equal(sternpost.ask('why', queue_id)['clock_trusted'], False, 'clock_trusted')
    attempted(sternpost, 'bob@far.test', times=len(sternpost.events('attempt')) + 2)  # those of a clock that is right would be the last
    done = sternpost.command('why', queue_id)
    must_say('clock that leaps ahead', 'why: exit %d' % done.code, attempts_apart(done.out))
    status(sternpost, 'clock that leaps ahead', 'CLOCK')
    machine.write('ahead', '0')
    expect_equal(sternpost.ask('why', queue_id)['clock_trusted'], True, 'clock_trusted, with the clock set right')


def attempts_apart(text):
    """Without the attempts, whose number differs from run to run."""
    return re.sub(r'(?ms)^attempts:$.*', 'attempts: …', text)


def clock_library(machine):
    source, library = os.path.join(TOP, 'tests/integration/faults.c'), machine.path('clock.so')
    subprocess.run([os.environ.get('CC', 'cc'), '-shared', '-fPIC', '-O1', '-o', library, source, '-ldl'], check=True)
    return library


@test
def every_text_was_asked_for(machine):
    """No text stands in tests/data/reasons.txt that nobody says any more."""
    left = [head for head in WANTED if head not in said]
    if len(sys.argv) == 1:
        expect_equal(left, [], 'texts that nobody said')


if __name__ == '__main__':
    sys.exit(run())
