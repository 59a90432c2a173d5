#!/usr/bin/python3
"""What the command, the log and the notices say is so: of mail that fails, of mail that is stopped, of names of this host, of records that
other senders cannot use."""
import email
import re
import sys

from machine import expect, expect_equal, run, test, wait_for
from peers import Dns, Sink
from scripted import serve
from sternpost import Dialogue, Sternpost

MESSAGE = 'From: Ann <ann@sender.test>\nTo: bob@slow.test\nSubject: hello\nMessage-ID: <m1@sender.test>\n\nhello\n'
RECORDS = [
    'sink MX 10 mx.sink',
    'mx.sink A 127.0.0.40',
    'sender MX 10 mx.sink',
    'relay-admin MX 10 mx.sink',
    'slow MX 10 mx.slow',
    'mx.slow A 127.0.0.41',
    'pair MX 10 mx1.pair',
    'pair MX 20 mx2.pair',
    'mx1.pair A 127.0.0.42',
    'mx2.pair A 127.0.0.43',
]


class Host:
    """An MX host that gives each verb the reply that it is told; `greeting` among them."""

    def __init__(self, machine, address, **replies):
        self.replies, self.taken, self.sessions = replies, 0, 0
        serve(address, 25, self._talk, machine)

    def _talk(self, connection):
        lines = connection.makefile('rb')
        self.sessions += 1
        fine = {'greeting': '220 mx.slow.test', 'ehlo': '250 mx.slow.test', 'data': '354 go on', 'dot': '250 2.0.0 taken', 'quit': '221 bye'}

        def say(verb):
            reply = self.replies.get(verb, fine.get(verb, '250 2.0.0 ok'))
            connection.sendall(reply.encode() + b'\r\n')
            return reply

        if not say('greeting').startswith('220'):
            while lines.readline().strip().upper() not in (b'QUIT', b''):
                connection.sendall(b'503 5.5.1 no\r\n')
            return
        while line := lines.readline():
            verb = line[:4].decode('latin-1').strip().lower()
            reply = say(verb)
            if verb == 'star' and reply.startswith('220'):
                lines.read(1)  # the client has begun
                connection.sendall(b'this is no handshake\r\n')
                return
            if verb == 'data' and reply.startswith('354'):
                while lines.readline() not in (b'.\r\n', b''):
                    pass
                self.taken += say('dot').startswith('2')
            if verb == 'quit' or reply.startswith('421'):
                return


def world(machine, **options):
    Dns(machine, RECORDS)
    return Sink(machine, '127.0.0.40'), Sternpost(machine, **options)


def send(sternpost, *recipients, options=()):
    sternpost.submit('-f', 'ann@sender.test', *options, *recipients, text=MESSAGE)


def lines(done):
    return done.out.splitlines()


def status_fields(taken):
    """The fields of the notice's part for programs, of its only recipient."""
    notice = email.message_from_bytes(taken.data)
    expect_equal(notice.get_content_type(), 'multipart/report', 'what came back')
    return dict(notice.get_payload()[1].get_payload()[1].items())


@test
def explain_does_not_promise_what_every_attempt_fails_at(machine):
    """Whatever the host says no to, `explain` tells of the attempts; while they fail it is no "mail can go"."""
    sink, sternpost = world(machine, delivery={'idle_time': '0s'})
    host = Host(machine, '127.0.0.41')
    for verb, reply in (
        ('rcpt', '450 4.2.1 not yet'),
        ('greeting', '450 4.3.2 not now'),
        ('mail', '451 4.3.0 no disk'),
        ('mail', '450 4.7.1 too many'),
        ('dot', '451 4.3.0 no disk'),
    ):
        host.replies = {verb: reply}
        send(sternpost, 'bob@slow.test')
        sternpost.wait_deferred('bob@slow.test')
        said = wait_for(
            '`explain` tells of %s %s' % (verb, reply),
            lambda: (lambda done: done if reply[4:9] in done.out else None)(sternpost.command('explain', 'slow.test')),
        )
        expect('mail can go' not in said.out, '%s %s: %s' % (verb, reply, said.out))
        expect(re.search(r'the last (attempt|\d+ attempts) failed', said.out), said.out)
        told = sternpost.ask('explain', 'slow.test', code=said.code)
        hop = [one for one in sternpost.ask('queue', 'hops') if one['name'] == 'slow.test'][0]
        waits = sternpost.recipients()['bob@slow.test']
        expect_equal(told['failing']['next_at'], hop.get('next_at', waits['next_at']), 'when the next attempt is, by explain and by hops')
        sternpost.do('queue', 'delete', '--all')
        sternpost.wait_empty()
        host.replies = {}
        send(sternpost, 'bob@slow.test')
        before = host.taken
        sternpost.retry_all()
        wait_for('the host takes mail', lambda: host.taken > before)
        sternpost.wait_empty()
    host.replies = {'rcpt': '452 4.2.2 full'}  # of one mailbox: others may fare better
    send(sternpost, 'bob@slow.test')
    sternpost.wait_deferred('bob@slow.test')
    said = sternpost.command('explain', 'slow.test').out
    expect('mail can go' in said and 'attempts: the last attempt failed' in said and 'last delivered there at' in said, said)


@test
def notices_name_the_host_and_what_it_said(machine):
    """RFC 3464 §2.3.5, §2.3.6: at every stage, in notices of delay and of failure."""
    sink, sternpost = world(machine, queue={'delay_warning': '1s', 'retry': ['1h'], 'lifetime': '1d'})
    Host(machine, '127.0.0.41', mail='450 4.7.1 too many of you')
    send(sternpost, 'bob@slow.test')
    sink.wait_taken(1)
    delayed = status_fields(sink.taken[0])
    expect_equal((delayed['Action'], delayed['Remote-MTA']), ('delayed', 'dns; mx.slow.test'), 'the notice of delay')
    expect(delayed['Diagnostic-Code'].startswith('smtp; 450 4.7.1 too many'), delayed['Diagnostic-Code'])
    header = email.message_from_bytes(sink.taken[0].data)
    expect_equal((header['In-Reply-To'], header['References']), ('<m1@sender.test>', '<m1@sender.test>'), 'the thread')
    sternpost.change(queue={'lifetime': '1s', 'delay_warning': '0s'})
    sternpost.restart()
    sternpost.retry_all()
    sink.wait_taken(2)
    failed = status_fields(sink.taken[1])
    expect_equal((failed['Action'], failed['Remote-MTA']), ('failed', 'dns; mx.slow.test'), 'the notice of failure')
    expect(failed['Diagnostic-Code'].startswith('smtp; 450 4.7.1 too many'), failed['Diagnostic-Code'])


@test
def a_notice_keeps_the_last_reply_though_another_host_was_away(machine):
    sink, sternpost = world(machine, queue={'lifetime': '1s', 'delay_warning': '0s', 'retry': ['2s']})
    Host(machine, '127.0.0.42', greeting='450 4.3.2 not now')
    send(sternpost, 'bob@pair.test')
    sink.wait_taken(1)
    failed = status_fields(sink.taken[0])
    expect_equal(failed['Remote-MTA'], 'dns; mx1.pair.test', 'the host that replied')
    expect_equal(failed['Diagnostic-Code'], 'smtp; 450 4.3.2 not now', 'what it said')


@test
def what_is_stopped_is_said_to_be_stopped(machine):
    """list, hops, mailq, why, explain and retry name the same thing, with the daemon up and down; no notice promises an attempt."""
    sink, sternpost = world(machine, queue={'delay_warning': '3s', 'lifetime': '5s', 'retry': ['1h']})
    sternpost.do('queue', 'suspend', '--domain', 'sink.test', '--reason', 'moving house')
    send(sternpost, 'bob@sink.test')
    queue_id = wait_for('the message', lambda: sternpost.ask('queue', 'list')['messages'])[0]['id']
    sink.wait_taken(1)
    notice = sink.taken[0].data.decode()
    expect_equal(status_fields(sink.taken[0])['Action'], 'delayed', 'the notice')
    for untrue in ('being tried', 'tried until', 'Will-Retry-Until', 'moving house'):
        expect(untrue not in notice, 'the notice says %r: %s' % (untrue, notice))
    wait_for('its lifetime is over', lambda: 'lifetime ends' in sternpost.do('why', queue_id))
    why = sternpost.do('why', queue_id)
    expect('not given up as long as no attempt may begin' in why and 'given up after an attempt at' not in why, why)
    for running in (True, False):
        if not running:
            sternpost.stop()
        expect('suspended' in sternpost.do('queue', 'list'), 'queue list')
        hops = sternpost.do('queue', 'hops')
        expect('suspended by' in hops and 'moving house' in hops, 'queue hops (daemon %s): %s' % ('up' if running else 'down', hops))
        hop = sternpost.ask('queue', 'hops')[0]
        expect_equal((hop['suspended'], hop['blocked_by']), (True, 'hop-suspended'), 'queue hops --json')
        mailq = sternpost.sendmail('-bp', env={'STERNPOST_CONFIG': sternpost.config})
        listed = sternpost.command('queue', 'list', '--mailq').out
        expect(re.search('^' + queue_id + '! ', listed, re.M), listed)
        expect('is suspended by' in listed, 'mailq: ' + listed + mailq.err)
    sternpost.start()
    retried = sternpost.do('queue', 'retry', '--all')
    expect('looked at: 1' in retried and 'suspended' in retried, retried)


@test
def a_suspended_senders_mail_is_not_released(machine):
    sink, sternpost = world(machine)
    sternpost.do('queue', 'suspend', '--sender', '*@sender.test', '--reason', 'stolen password')
    expect_equal(sternpost.ask('queue', 'suspended')[0]['scope'], '@sender.test', 'what is suspended')
    send(sternpost, 'bob@sink.test')
    wait_for('it is held', lambda: sternpost.ask('queue', 'list')['messages'][0]['held'])
    for verb in ('release', 'retry'):
        done = sternpost.command('queue', verb, '--all')
        expect_equal((done.code, done.out), (1, ''), 'queue ' + verb)
        expect('its sender is suspended' in done.err and 'queue resume --sender' in done.err, done.err)
    sternpost.do('queue', 'resume', '--sender', 'sender.test')
    sink.wait_taken(1)


@test
def names_of_this_host_are_explained_as_mail_to_them_goes(machine):
    sink, sternpost = world(machine)
    for name in ('root', 'root@localhost', 'relay.test', 'x@relay.test'):
        said = sternpost.command('explain', name)
        expect('a name of this host, whose mail goes to <admin@relay-admin.test>' in said.out, '%s: %s%s' % (name, said.out, said.err))
    sternpost.change(admin_address='')
    checked = sternpost.command('config', 'check')
    warnings = [line for line in checked.err.splitlines() if 'admin_address' in line]
    expect_equal((checked.code, len(warnings)), (0, 1), 'warnings of `config check`: ' + checked.err)
    expect('postmaster' in warnings[0].lower() and 'refused' in warnings[0], warnings[0])


@test
def a_source_address_of_another_machine_is_named(machine):
    sink, sternpost = world(machine, source_ipv4='203.0.113.77')
    send(sternpost, 'bob@sink.test')
    waits = sternpost.wait_deferred('bob@sink.test')
    expect_equal(waits['status'], '4.3.5', 'status')
    for text in ('203.0.113.77', 'source_ipv4', 'the administrator of this relay must set a source address'):
        expect(text in waits['reason'], '%r is not in %s' % (text, waits['reason']))
    expect('network' not in waits['reason'], waits['reason'])
    why = sternpost.do('why', sternpost.ask('queue', 'list')['messages'][0]['id'])
    expect('source_ipv4 and source_ipv6 name addresses that this machine has' in why, why)


@test
def mail_is_chosen_by_a_part_of_its_addresses(machine):
    """CLI-17, and the same for an administrator; totals are those of what is shown."""
    sink, sternpost = world(machine)
    for sender, path in (('ann@sender.test', 'bob@slow.test'), ('carol@sender.test', 'dora@slow.test'), ('ann@sender.test', 'dora@pair.test')):
        sternpost.submit('-f', sender, path, text=MESSAGE)
        sternpost.wait_deferred(path)

    def listed(*options):
        return sorted(r['path'] for m in sternpost.ask('queue', 'list', *options)['messages'] for r in m['recipients'])

    expect_equal(listed('--recipient', 'DORA@'), ['dora@pair.test', 'dora@slow.test'], '--recipient')
    expect_equal(listed('--from', 'carol'), ['dora@slow.test'], '--from')
    expect_equal(listed('--from', 'ann@', '--recipient', 'pair'), ['dora@pair.test'], 'both')
    words = lines(sternpost.command('queue', 'list', '--from', 'carol'))[-1]
    expect(words.startswith('1 message(s), 1 recipient(s)') and '; in the whole queue: 3 message(s), 3 recipient(s)' in words, words)
    back = Sink(machine, '127.0.0.42')
    expect_equal(sternpost.command('queue', 'retry', '--from', 'nobody').code, 1, 'what nobody sent')
    sternpost.do('queue', 'retry', '--recipient', 'dora@pa')
    back.wait_taken(1)
    expect_equal(back.taken[0].forward_paths, ('dora@pair.test',), 'what went')


@test
def a_session_of_a_local_program_may_end_its_lines_with_line_feeds(machine):
    """sendmail -bs: names of this host as senders, and one bad recipient harms no other."""
    sink, sternpost = world(machine)
    for sender, arrives in (('root@localhost', 'root@relay.test'), ('www-data', 'www-data@relay.test'), ('ann@sender.test', 'ann@sender.test')):
        done = sternpost.sendmail(
            '-bs',
            text='EHLO x\nMAIL FROM:<%s>\nRCPT TO:<a@short>\nRCPT TO:<bob@sink.test>\nDATA\nSubject: x\n\n..dot\n.\nQUIT\n' % sender,
        )
        codes = [line[:3] for line in done.out.splitlines() if line[3:4] == ' ']
        expect_equal((done.code, codes), (0, ['220', '250', '250', '553', '250', '354', '250', '221']), done.out + done.err)
        taken = wait_for('mail from ' + arrives, lambda: [t for t in sink.taken if t.reverse_path == arrives])[0]
        expect_equal((taken.forward_paths, taken.data.partition(b'\r\n\r\n')[2]), (('bob@sink.test',), b'.dot\r\n'), 'what arrived')


@test
def starttls_can_be_turned_off(machine):
    """For clients that verify certificates, and fail at one that is self-signed."""
    sink, sternpost = world(machine)
    with Dialogue() as client:
        expect('STARTTLS' in client.say('EHLO client.test', '250'), 'STARTTLS is not offered by default')
    sternpost.change(listener={'starttls': False})
    sternpost.restart()
    with Dialogue() as client:
        expect('STARTTLS' not in client.say('EHLO client.test', '250'), 'STARTTLS is offered')
        client.say('STARTTLS', '502')
    with Dialogue() as client:
        client.ehlo()
        client.message('ann@sender.test', ['bob@sink.test'], b'Subject: x\r\n\r\nbody\r\n')
    sink.wait_taken(1)


@test
def the_log_tells_the_age_of_the_message_and_how_long_the_attempt_took(machine):
    sink, sternpost = world(machine, queue={'retry': ['2s']})
    host = Host(machine, '127.0.0.41', rcpt='450 4.2.1 not yet')
    send(sternpost, 'bob@slow.test')
    first = sternpost.wait_event('attempt', status='deferred', to='<bob@slow.test>')
    host.replies = {}
    sent = sternpost.wait_event('attempt', status='sent', to='<bob@slow.test>')
    age, took = (float(sent[key].rstrip('s')) for key in ('delay', 'took'))
    expect(age > float(first['delay'].rstrip('s')) and age >= took, 'delay=%(delay)s took=%(took)s' % sent)
    expect(age >= 1.5, 'the age of a message that was tried again after two seconds (less a fifth): ' + sent['delay'])


@test
def a_failed_handshake_is_told_by_the_reason_of_the_tls_library(machine):
    """In the domain's report, and in the line of the attempt that then goes in clear text."""
    sink, sternpost = world(machine)
    Host(machine, '127.0.0.41', ehlo='250-mx.slow.test\r\n250 STARTTLS', star='220 go on')
    send(sternpost, 'bob@slow.test')
    sent = sternpost.wait_event('attempt', status='sent', to='<bob@slow.test>')
    expect_equal((sent['tls'], sent['code']), ('none', 'handshake-failed'), 'the attempt')
    expect('wrong version number' in sent['tls-failure'], sent['line'])
    previewed = wait_for(
        'the report', lambda: (lambda done: done.out if 'failure-reason-code' in done.out else None)(sternpost.command('tlsrpt', 'preview', 'slow.test', '--json'))
    )
    reason = re.search(r'"failure-reason-code":\s*"([^"]*)"', previewed)[1]
    expect(reason.startswith('handshake-failed: ') and 'wrong version number' in reason, reason)


@test
def a_record_that_no_sender_can_use_is_something_to_mend(machine):
    """`sts check` reads records with the code that sends reports, and says what it could not look up."""
    Dns(
        machine,
        RECORDS
        + [
            'sloppy MX 10 mx.sink',
            '_smtp._tls.sloppy TXT "v=TLSRPTv1; rua=https://reports.sink.test:8443/"',
            '_mta-sts.sloppy TXT "v=STSv1; ID=1"',
        ],
    )
    sternpost = Sternpost(machine)
    checked = sternpost.command('sts', 'check', 'sloppy.test')
    expect_equal(checked.code, 1, 'sts check')
    for text in ('a port other than 443 is not used', '`ID=1` must be in small letters: `id`'):
        expect(text in checked.out, '%r is not in %s' % (text, checked.out))


if __name__ == '__main__':
    sys.exit(run(peers=True))
