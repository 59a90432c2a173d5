#!/usr/bin/python3
"""The queue as an administrator steers it, and as it is when little of it fits in memory."""
import os
import pty
import select
import subprocess
import sys

from machine import expect, expect_equal, run, test, wait_for
from peers import Dns, Sink
from sternpost import Dialogue, Sternpost

RECORDS = [
    'sink MX 10 mx.sink',
    'mx.sink A 127.0.0.40',
    'dead MX 10 mx.dead',
    'mx.dead A 127.0.0.41',
    'other MX 10 mx.other',
    'mx.other A 127.0.0.42',
    'relay-admin MX 10 mx.sink',
    'sender MX 10 mx.sink',
]
MESSAGE = 'From: Ann <ann@sender.test>\nTo: bob@sink.test\nSubject: hello\n\nhello\n'


def submit(sternpost, sender, path):
    """One message by sendmail; its queue id."""
    before = {m['id'] for m in sternpost.ask('queue', 'list', '--sender', sender)['messages']}
    sternpost.submit('-f', sender, path, text=MESSAGE)
    new = [m for m in sternpost.ask('queue', 'list', '--sender', sender)['messages'] if m['id'] not in before]
    return new[0]['id'] if new else None


def send_many(count, path, sender='bulk@sender.test'):
    """So many messages over one connection."""
    with Dialogue() as d:
        d.ehlo()
        for n in range(count):
            d.message(sender, [path], b'Subject: %d\r\n\r\nhello\r\n' % n)
        d.say('QUIT', '221')


@test
def a_suspended_next_hop_waits_and_goes_when_it_is_resumed(machine):
    Dns(machine, RECORDS)
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine)
    missing = sternpost.command('queue', 'suspend', '--domain', 'sink.test')
    expect(missing.code == 64 and '--reason' in missing.err, 'a suspension without a reason: %s' % (missing,))
    done = sternpost.ask('queue', 'suspend', '--domain', 'SINK.test', '--reason', 'they move their servers')
    expect_equal((done['kind'], done['scope']), ('next-hop', 'sink.test'), 'what is suspended')
    identity = submit(sternpost, 'ann@sender.test', 'bob@sink.test')
    sternpost.restart()
    hops = {h['name']: h for h in sternpost.ask('queue', 'hops')}
    expect_equal(
        (hops['sink.test']['recipients'], hops['sink.test']['suspended'], hops['sink.test']['connections']),
        (1, True, 0),
        'the next hop after a restart',
    )
    expect('they move their servers' in hops['sink.test']['reason'], 'why it waits: %s' % hops)
    shown = sternpost.ask('queue', 'suspended')
    expect_equal([(s['kind'], s['scope'], s['author']) for s in shown], [('next-hop', 'sink.test', 'uid 0')], 'suspensions')
    expect('SUSPENDED next-hop sink.test' in sternpost.do('status'), 'status says it')
    sternpost.stop()
    expect_equal(sternpost.ask('queue', 'suspended'), shown, 'suspensions while the daemon is down')
    expect_equal([h['recipients'] for h in sternpost.ask('queue', 'hops')], [1], 'next hops while the daemon is down')
    sternpost.start()
    expect_equal(sink.taken, [], 'what went in spite of it')
    sternpost.do('queue', 'resume', '--domain', 'sink.test')
    sink.wait_taken(1)
    sternpost.wait_empty()
    again = sternpost.command('queue', 'resume', '--domain', 'sink.test')
    expect_equal((again.code, again.err), (1, 'sternpost: sink.test is not suspended\n'), 'resumed twice')
    expect(sternpost.events('suspend') == [] and sternpost.wait_event('resume')['hop'] == 'sink.test', 'it is logged')
    expect(identity is not None, 'the message waited')


@test
def what_is_done_to_many_messages_says_on_a_terminal_how_far_it_is(machine):
    Dns(machine, RECORDS)
    sternpost = Sternpost(machine)
    sternpost.do('queue', 'suspend', '--domain', 'dead.test', '--reason', 'a test')
    send_many(1200, 'a@dead.test')
    main, terminal = pty.openpty()
    try:
        done = subprocess.run(sternpost.argv('queue', 'hold', '--all'), stdout=subprocess.PIPE, stderr=terminal, timeout=60)
        shown = ''
        while not shown.endswith('\r\033[K') and select.select([main], [], [], 10)[0]:
            shown += os.read(main, 10000).decode()
    finally:
        os.close(terminal)
        os.close(main)
    expect_equal((done.returncode, done.stdout), (0, b'on hold: 1200 message(s), 1200 recipient(s)\n'), 'the answer')
    expect('500 messages so far' in shown and '1000 messages so far' in shown, 'on the terminal: %r' % shown)
    expect(shown.endswith('\r\033[K'), 'it is wiped away: %r' % shown)
    quiet = sternpost.command('queue', 'release', '--all')
    expect_equal((quiet.code, quiet.err), (0, ''), 'where no terminal is')


@test
def mail_is_counted_and_the_counts_survive_a_kill(machine):
    Dns(machine, RECORDS)
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine)
    send_many(3, 'bob@sink.test')
    sink.wait_taken(3)
    sternpost.submit('-f', 'ann@sender.test', 'eve@dead.test', text=MESSAGE)
    sternpost.wait_deferred('eve@dead.test')
    # What is known of a next hop waits for a batch of the store.
    wait_for('all results are counted', lambda: [sternpost.ask('stats')['total'][name] for name in ('sent', 'deferred')] == [3, 1])
    figures = ('accepted', 'sent', 'deferred', 'bounced', 'expired')

    def rows(by):
        return {row['key']: tuple(row[name] for name in figures) for row in sternpost.ask('stats', '--by', by)['rows']}

    def seen():
        total = sternpost.ask('stats', '--since', '90m')['total']
        return tuple(total[name] for name in figures), rows('destination'), rows('sender'), rows('from-domain'), rows('error')

    before = seen()
    expect_equal(before[0], (4, 3, 1, 0, 0), 'all mail')
    expect_equal(before[1], {'sink.test': (0, 3, 0, 0, 0), 'dead.test': (0, 0, 1, 0, 0)}, 'destinations')
    expect_equal(before[2], {'127.0.0.1': (3, 3, 0, 0, 0), 'uid 0': (1, 0, 0, 0, 0)}, 'senders')
    expect_equal(before[3], {'sender.test': (4, 3, 0, 0, 0)}, 'domains of the reverse-path')
    expect_equal(before[4], {'unreachable': (0, 0, 1, 0, 0)}, 'errors')
    sternpost.kill()
    expect_equal(seen(), before, 'after a kill, while the daemon is down')
    sternpost.start()
    expect_equal(seen(), before, 'after a kill and a start')
    shown = sternpost.do('stats', '--by', 'destination')
    expect('sink.test' in shown and 'all mail' in shown and max(map(len, shown.splitlines())) < 80, 'the table: ' + shown)
    expect_equal(sum(row['accepted'] for row in sternpost.ask('stats', '--by', 'hour')['rows']), 4, 'the hours together')
    expect_equal(sternpost.command('stats', '--since', 'yesterday').code, 64, 'an unknown span')


@test
def a_suspended_senders_mail_is_held_what_comes_later_too(machine):
    Dns(machine, RECORDS)
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine)
    submit(sternpost, 'bulk@sender.test', 'a@dead.test')
    sternpost.wait_deferred('a@dead.test')
    done = sternpost.ask('queue', 'suspend', '--sender', 'bulk@sender.test', '--reason', 'complaints')
    expect_equal(done['messages'], 1, 'messages put on hold at once')
    submit(sternpost, 'bulk@sender.test', 'b@sink.test')
    submit(sternpost, 'ann@sender.test', 'c@sink.test')
    sink.wait_taken(1)
    wait_for(
        'the new one is held',
        lambda: {m['held'] for m in sternpost.ask('queue', 'list', '--sender', 'bulk@sender.test')['messages']} == {True},
    )
    expect_equal([t.forward_paths for t in sink.taken], [('c@sink.test',)], 'what went: the mail of others')
    sternpost.kill()
    sternpost.start()
    done = sternpost.ask('queue', 'resume', '--sender', 'bulk@sender.test')
    expect_equal(done['messages'], 2, 'messages released')
    sink.wait_taken(2)


@test
def rerouted_mail_goes_to_its_new_next_hop(machine):
    Dns(machine, RECORDS)
    sink, other = Sink(machine, '127.0.0.40'), Sink(machine, '127.0.0.42')
    sternpost = Sternpost(machine)
    sternpost.submit('-f', 'ann@sender.test', 'a@dead.test', 'b@sink.test', text=MESSAGE)
    sternpost.submit('-f', 'ann@sender.test', 'c@dead.test', text=MESSAGE)
    for path in ('a@dead.test', 'c@dead.test'):
        sternpost.wait_deferred(path)
    bad = sternpost.command('queue', 'reroute', '--domain', 'dead.test', '--to', 'not a domain')
    expect(bad.code == 1 and 'wanted is a domain' in bad.err, 'a next hop that is none: %s' % (bad,))
    sternpost.stop()
    sternpost.start()
    sternpost.wait_deferred('c@dead.test')
    done = sternpost.ask('queue', 'reroute', '--domain', 'dead.test', '--to', 'other.test')
    expect_equal((done['messages'], done['recipients'], done['active']), (2, 2, 0), 'rerouted')
    other.wait_taken(2)
    sternpost.wait_empty()
    expect_equal(
        sorted(t.forward_paths for t in other.taken), [('a@dead.test',), ('c@dead.test',)], 'at the new next hop'
    )
    # To an address, and with a crash between the act and the delivery.
    sternpost.submit('-f', 'ann@sender.test', 'd@dead.test', text=MESSAGE)
    entry = sternpost.wait_deferred('d@dead.test')
    expect_equal(entry['next_hop'], 'dead.test', 'before')
    other.stop()
    sternpost.do('queue', 'reroute', '--all', '--to', '[127.0.0.42]')
    sternpost.kill()
    sternpost.start()
    expect_equal(sternpost.recipients()['d@dead.test']['next_hop'], '[127.0.0.42]', 'after a crash')
    back = Sink(machine, '127.0.0.42')
    sternpost.retry_all()
    back.wait_taken(1)
    sternpost.wait_empty()
    expect_equal([t.forward_paths for t in sink.taken], [('b@sink.test',)], 'the other recipient')


@test
def a_queue_that_does_not_fit_in_memory_goes_out_once_and_whole(machine):
    """With room for a few messages: all of them wait, are listed, chosen and delivered as if they were there."""
    Dns(machine, RECORDS)
    sternpost = Sternpost(machine, queue={'in_memory': 20, 'in_memory_per_hop': 10})
    send_many(300, 'bob@dead.test')
    sternpost.wait_deferred('bob@dead.test')
    status = sternpost.ask('status')
    expect_equal(status['queue']['messages'], 300, 'messages in the queue')
    expect(status['in_memory'] <= 40, 'messages in memory: %d' % status['in_memory'])
    expect_equal(len(sternpost.ask('queue', 'list', '--limit', '50')['messages']), 50, 'listed with a limit')
    reasons = {r['reason'] for m in sternpost.ask('queue', 'list')['messages'] for r in m['recipients']}
    expect(len(reasons) == 1 and 'refused' in reasons.pop(), 'why they wait: %s' % reasons)
    done = sternpost.ask('queue', 'hold', '--reason', 'refused')
    expect_equal(done['messages'], 300, 'held by their reason')
    sternpost.kill()
    sternpost.start()
    expect_equal(sum(m['held'] for m in sternpost.ask('queue', 'list')['messages']), 300, 'held after a crash')
    sink = Sink(machine, '127.0.0.41')
    done = sternpost.ask('queue', 'release', '--domain', 'dead.test')
    expect_equal(done['messages'], 300, 'released')
    sternpost.retry_all()
    sink.wait_taken(300, seconds=60)
    sternpost.wait_empty()
    subjects = [t.data.split(b'Subject: ')[1].split(b'\r\n')[0] for t in sink.taken]
    expect_equal((len(subjects), len(set(subjects))), (300, 300), 'delivered, and different ones')
    # And those that nobody may have any more.
    sink.stop()
    send_many(100, 'bob@dead.test')
    sternpost.wait_deferred('bob@dead.test')
    done = sternpost.ask('queue', 'delete', '--all')
    expect_equal(done['messages'], 100, 'deleted')
    sternpost.wait_empty()


@test
def a_bulk_run_to_a_host_that_was_down_delays_nobody_elses_message(machine):
    """Though all of it sleeps on the disk when the host comes back."""
    Dns(machine, RECORDS)
    sternpost = Sternpost(
        machine, queue={'in_memory': 40, 'in_memory_per_hop': 20}, delivery={'connections_per_hop': 1}
    )
    send_many(500, 'bob@dead.test')
    sternpost.wait_deferred('bob@dead.test')
    sternpost.submit('-f', 'ann@sender.test', 'carol@dead.test', text=MESSAGE)  # another sender: a local user
    sternpost.wait_deferred('carol@dead.test')
    sternpost.kill()
    sternpost.start()
    sink = Sink(machine, '127.0.0.41')
    sternpost.retry_all()
    sink.wait_taken(501, seconds=60)
    place = [t.forward_paths for t in sink.taken].index(('carol@dead.test',))
    expect(place < 100, 'another sender\'s message went as number %d of 501' % (place + 1))


@test
def a_host_that_was_restarted_gets_other_next_hops_mail_at_once(machine):
    """SMTP-42: an address that took connections until a moment ago is not put by for the one that it refused."""
    Dns(machine, RECORDS)
    sternpost = Sternpost(machine)
    sink = Sink(machine, '127.0.0.40')
    sternpost.submit('-f', '', 'bob@sink.test', text=MESSAGE)
    sink.wait_taken(1)
    sink.stop()
    sternpost.submit('-f', '', 'bob@sink.test', text=MESSAGE)
    sternpost.wait_deferred('bob@sink.test')
    sink = Sink(machine, '127.0.0.40')
    sternpost.submit('-f', '', 'ann@sender.test', text=MESSAGE)
    sink.wait_taken(1)
    expect_equal(sink.taken[0].forward_paths, ('ann@sender.test',), 'what came at once')


@test
def mail_whose_time_is_over_comes_back_though_it_sleeps(machine):
    """D-41: all of it with the first failure after its time, not page by page with the next ones."""
    Dns(machine, RECORDS)
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(
        machine, queue={'in_memory': 20, 'in_memory_per_hop': 10, 'lifetime': '3s', 'delay_warning': '0s'}
    )
    send_many(100, 'bob@dead.test')
    wait_for('the bounces', lambda: len(sink.taken) == 100, 40, every=0.1)
    sternpost.wait_empty()
    expect_equal({t.reverse_path for t in sink.taken}, {''}, 'their reverse-path')


@test
def what_became_of_mail_is_found_by_its_addresses_its_message_id_and_its_queue_id(machine):
    Dns(machine, RECORDS)
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine)
    text = 'From: Ann <ann@sender.test>\nTo: bob@sink.test\nMessage-ID: <one@sender.test>\nSubject: hello\n\nhello\n'
    sternpost.submit('-f', 'ann@sender.test', 'bob@sink.test', 'carol@sink.test', text=text)
    sternpost.submit('-f', 'eve@sender.test', 'bob@dead.test', text=MESSAGE)
    sink.wait_taken(1)
    sternpost.wait_deferred('bob@dead.test')

    def ids(*args, code=0):
        return [m['id'] for m in sternpost.ask('log', *args, code=code)['messages']]

    wait_for('all of it is in the history', lambda: len(ids()) == 2 and sternpost.ask('log')['messages'][0]['attempts'])
    first, second = ids()
    for _ in ('running', 'down', 'started again'):
        expect_equal(ids('Bob@Sink.test'), [first], 'by recipient, in any case')
        expect_equal(ids('ann@sender.test'), [first], 'by sender')
        expect_equal(ids('ann@sender.test', '--as', 'recipient', code=1), [], 'she got nothing')
        expect_equal(ids('<one@sender.test>'), [first], 'by Message-ID')
        expect_equal(ids('one@sender.test'), [first], 'by Message-ID without its brackets')
        expect_equal(ids('dead.test'), [second], 'by next hop')
        expect_equal(ids(second), [second], 'by queue id')
        expect_equal(ids('--limit', '1'), [second], 'the latest')
        sternpost.stop() if _ == 'running' else sternpost.start() if _ == 'down' else None
    message = sternpost.ask('log', 'carol@sink.test')['messages'][0]
    expect_equal((message['message_id'], message['reverse_path'], message['size'] > 100), ('<one@sender.test>', 'ann@sender.test', True), 'its head')
    expect_equal([(r['path'], r['state']) for r in message['recipients']], [('bob@sink.test', 'sent'), ('carol@sink.test', 'sent')], 'its ends')
    expect_equal([a['mx_host'] for a in message['attempts']], ['mx.sink.test', 'mx.sink.test'], 'its attempts')
    shown = sternpost.do('log', 'bob@sink.test', '--attempts')
    expect('Message-ID <one@sender.test>' in shown and 'mx.sink.test[127.0.0.40]' in shown, 'for people: ' + shown)
    missing = sternpost.command('log', 'nobody@sink.test')
    expect_equal((missing.code, missing.out), (1, ''), 'what never was')
    expect('nobody@sink.test' in missing.err, 'it says so: ' + missing.err)


@test
def the_queue_is_summed_up_and_chosen_by_age_size_and_hold(machine):
    Dns(machine, RECORDS)
    sternpost = Sternpost(machine)
    small = submit(sternpost, 'ann@sender.test', 'bob@dead.test')
    large = submit(sternpost, 'eve@sender.test', 'bob@other.test')
    sternpost.submit('-f', 'big@sender.test', 'bob@dead.test', text=MESSAGE + 'x' * 70 * 1000 + '\n')
    sternpost.wait_deferred('bob@other.test')
    big = [m['id'] for m in sternpost.ask('queue', 'list', '--larger', '20K')['messages']]
    expect_equal(len(big), 1, 'large mail')
    expect_equal(sternpost.ask('queue', 'list', '--older', '1h')['messages'], [], 'nothing is old')
    sternpost.do('queue', 'hold', small)
    expect_equal([m['id'] for m in sternpost.ask('queue', 'list', '--held')['messages']], [small], 'what is held')
    expect_equal(sternpost.command('queue', 'list', '--older', 'yesterday').code, 64, 'no span')
    for _ in ('running', 'down'):
        summary = sternpost.ask('queue', 'summary')
        rows = {row['key']: (row['messages'], row['recipients']) for row in summary['destinations']}
        expect_equal(rows, {'dead.test': (2, 2), 'other.test': (1, 1)}, 'destinations')
        expect_equal(sum(row['messages'] for row in summary['ages']), 3, 'ages')
        expect_equal({row['key']: row['messages'] for row in summary['sizes'] if row['messages']}, {'up to 10K': 2, 'up to 100K': 1}, 'sizes')
        expect('unreachable' in [row['key'] for row in summary['errors']], 'errors: %s' % summary['errors'])
        sternpost.stop() if _ == 'running' else sternpost.start()
    shown = sternpost.do('queue', 'summary')
    expect('3 message(s)' in shown and 'dead.test' in shown, 'for people: ' + shown)
    sternpost.do('queue', 'delete', '--larger', '20K')
    expect_equal({m['id'] for m in sternpost.ask('queue', 'list')['messages']}, {small, large}, 'what is left')


@test
def alarms_are_mailed_known_and_muted(machine):
    Dns(machine, RECORDS)
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine, alarms={'mail': True}, source_ipv6='2001:db8::77')
    sink.wait_taken(1)
    text = sink.taken[0].data.decode()
    expect('source-address 2001:db8::77' in text and 'What to do: ' in text, 'what is mailed: %s' % text)
    kinds = {(a['kind'], a['subject']): a for a in sternpost.ask('alarms', 'list')['alarms']}
    expect('2001:db8::77' in kinds[('source-address', '2001:db8::77')]['reason'], 'it is listed: %s' % kinds)
    expect_equal(sternpost.command('check').code, 1, 'a monitor is warned')
    sternpost.do('alarms', 'mute', 'source-address', '--for', '1h')
    for (kind, subject) in kinds:
        if kind != 'source-address':
            sternpost.do('alarms', 'ack', kind, subject)
    expect_equal(sternpost.ask('alarms', 'list'), {'alarms': [], 'muted': 1}, 'nothing is open')
    expect_equal(sternpost.command('check').code, 0, 'and a monitor is content')
    expect_equal(sternpost.command('alarms', 'ack', 'no-such-alarm').code, 1, 'an unknown one')
    sternpost.restart()
    known = {a['kind']: a for a in sternpost.ask('alarms', 'list', '--all')['alarms']}
    expect('muted_until' in known['source-address'], 'it stays muted: %s' % known)
    expect_equal(len(sink.taken), 1, 'no further mail')


if __name__ == '__main__':
    sys.exit(run(peers=True))
