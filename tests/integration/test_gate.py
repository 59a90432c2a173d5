#!/usr/bin/python3
"""Where sternpostd lets itself be sent, and what one peer can make it do: addresses of its own, hosts that call themselves by its
name, policy hosts that never stop sending, MX sets without end."""
import base64
import gzip
import json
import os
import socket
import subprocess
import sys

from machine import BUILD, TOP, expect, expect_equal, run, test, wait_for
from peers import Authority
from scripted import ScriptedDns, ScriptedMx, certificate, serve
from sternpost import LISTENER, Sternpost

TEXT = 'From: Alice <alice@sender.test>\nTo: %s\nSubject: s\n\nhello\n'
ADMIN = [{'domain': 'relay-admin.test', 'to': '[127.0.0.25]:25'}]
CLOSED = {'allow_special_addresses': False}


def interface(address):
    subprocess.run(['ip', 'addr', 'replace', address + '/32', 'dev', 'lo'], check=True)


def connections(address):
    """A port 25 at `address` that counts who comes."""
    seen = []
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((address, 25))
    listener.listen()
    listener.setblocking(False)

    def count():
        try:
            while True:
                seen.append(listener.accept()[1])
        except BlockingIOError:
            return len(seen)

    return listener, count


@test
def mail_to_an_address_of_this_machine_is_the_administrators(machine):
    """D-45: a literal that is ours, by the interfaces as they are now."""
    ScriptedDns(machine, {})
    admin = ScriptedMx(machine, '127.0.0.25')  # by a route: the administrator's own word
    interface('10.99.0.3')
    inside, came = connections('10.99.0.3')
    machine.at_end(inside.close)
    sternpost = Sternpost(machine, delivery=CLOSED, route=ADMIN)
    for number, literal in enumerate(('[127.0.0.1]', '[10.99.0.3]', '[IPv6:::1]', '[IPv6:::ffff:10.99.0.3]')):
        sternpost.submit('-f', 'alice@sender.test', 'y@' + literal, text=TEXT % 'y')
        wait_for('mail to %s at the administrator\'s host' % literal, lambda: len(admin.taken) == number + 1)
        expect_equal(admin.taken[number].recipients, ['admin@relay-admin.test'], 'recipients of ' + literal)
    # An interface that comes later counts at once.
    interface('10.99.0.4')
    sternpost.submit('-f', 'alice@sender.test', 'y@[10.99.0.4]', text=TEXT % 'y')
    wait_for('mail to the new address', lambda: len(admin.taken) == 5)
    sternpost.wait_empty()
    expect_equal(came(), 0, 'connections to the host inside')


@test
def without_an_administrator_it_is_refused_as_a_loop(machine):
    ScriptedDns(machine, {})
    sternpost = Sternpost(machine, delivery=CLOSED, admin_address='')
    client = socket.create_connection(LISTENER)
    lines = client.makefile('rb')

    def say(text):
        if text:
            client.sendall(text + b'\r\n')
        line = lines.readline()
        while line[3:4] == b'-':
            line = lines.readline()
        return line

    say(b'')
    say(b'EHLO c.test')
    say(b'MAIL FROM:<x@sender.test>')
    expect(say(b'RCPT TO:<y@[127.0.0.1]>').startswith(b'550 5.4.6 '), 'a literal of ours was not refused as a loop')
    expect(say(b'RCPT TO:<y@[8.8.8.8]>').startswith(b'250 '), 'another literal was refused')
    client.close()


@test
def a_literal_inside_the_network_is_not_dialled(machine):
    """D-45: neither for mail nor for the bounce that a reverse-path asks for."""
    ScriptedDns(machine, {})
    sternpost = Sternpost(machine, delivery=CLOSED, admin_address='')
    sternpost.submit('-f', 'alice@[10.1.2.3]', 'y@[192.168.7.7]', text=TEXT % 'y')
    sternpost.wait_empty()
    expect_equal(sternpost.events('session'), [], 'sessions')


@test
def an_mx_host_that_is_our_own_listener_ends_as_a_loop(machine):
    """RFC 5321 §5.1; D-45: whatever is allowed of special addresses."""
    interface('10.99.0.1')
    records = {('loop.test', 'MX'): ['10 mx.loop.test.'], ('mx.loop.test', 'A'): ['127.0.0.1']}
    records.update({('wild.test', 'MX'): ['10 mx.wild.test.'], ('mx.wild.test', 'A'): ['10.99.0.1']})
    records.update({('sender.test', 'MX'): ['10 mx.sender.test.'], ('mx.sender.test', 'A'): ['127.0.0.26']})
    ScriptedDns(machine, records)
    home = ScriptedMx(machine, '127.0.0.26', port=2525)
    sternpost = Sternpost(
        machine,
        listener={'listen': ['127.0.0.1:25', '10.99.0.1:25']},
        route=[{'domain': 'sender.test', 'to': '[127.0.0.26]:2525'}],
    )
    for number, name in enumerate(('loop.test', 'wild.test')):
        sternpost.submit('-f', 'alice@sender.test', 'y@' + name, text=TEXT % 'y')
        wait_for('the bounce of ' + name, lambda: len(home.taken) == number + 1)
        expect(b'5.4.6' in home.taken[number].data, 'the bounce of %s has another status' % name)
    sternpost.wait_empty()
    expect_equal(sternpost.events('session'), [], 'sessions that were opened and failed')


@test
def a_host_with_our_name_ends_as_a_loop(machine):
    records = {('twin.test', 'MX'): ['10 mx.twin.test.'], ('mx.twin.test', 'A'): ['127.0.0.25']}
    records.update({('sender.test', 'MX'): ['10 mx.sender.test.'], ('mx.sender.test', 'A'): ['127.0.0.26']})
    ScriptedDns(machine, records)
    twin, home = ScriptedMx(machine, '127.0.0.25', name='relay.test'), ScriptedMx(machine, '127.0.0.26')
    sternpost = Sternpost(machine)
    sternpost.submit('-f', 'alice@sender.test', 'y@twin.test', text=TEXT % 'y')
    wait_for('the bounce', lambda: home.taken)
    expect(b'5.4.6' in home.taken[0].data, 'the bounce has another status')
    expect(b'relay.test, which is the name of this relay' in home.taken[0].data.replace(b'\r\n ', b' '), 'nor says why')
    expect_equal(twin.commands(), ['QUIT'], 'what was said to the host')


def flood(machine, authority, host, address, begin, piece):
    """A policy host that answers `begin`, and then `piece` until the other side has enough. Its octets sent."""
    context, sent = certificate(machine, authority, host, [host]), [0]

    def handle(connection):
        with context.wrap_socket(connection, server_side=True) as stream:
            stream.recv(65536)
            try:
                stream.sendall(begin)
                while sent[0] < 200_000_000:
                    stream.sendall(piece)
                    sent[0] += len(piece)
            except OSError:
                pass

    serve(address, 443, handle, machine)
    return sent


@test
def a_policy_host_that_never_stops_is_left(machine):
    """D-46: every octet counts, whatever it is part of."""
    authority = Authority(machine)
    start = b'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n'
    chunked = start + b'Transfer-Encoding: chunked\r\n\r\n'
    floods = {
        'trailers': (chunked + b'3\r\nabc\r\n0\r\n', (b'X-a: ' + b'b' * 900 + b'\r\n') * 70),
        'extension': (chunked + b'3;', b'e' * 65536),
        'chunks': (chunked, b'1;' + b'e' * 200 + b'\r\nx\r\n'),
        'header': (start, (b'X-a: ' + b'b' * 900 + b'\r\n') * 70),
        'line': (start + b'X: ', b'a' * 65536),
        'interim': (b'', b'HTTP/1.1 100 Continue\r\n\r\n' * 1000),
        'body': (start + b'\r\n', b'e' * 65536),
    }
    records, sent = {}, {}
    for number, (name, (begin, piece)) in enumerate(floods.items()):
        domain, address = name + '.test', '127.0.0.%d' % (80 + number)
        records[(domain, 'MX')] = ['10 mx.%s.' % domain]
        records[('mx.' + domain, 'A')] = ['127.0.0.25']
        records[('_mta-sts.' + domain, 'TXT')] = ['"v=STSv1; id=1;"']
        records[('mta-sts.' + domain, 'A')] = [address]
        sent[name] = flood(machine, authority, 'mta-sts.' + domain, address, begin, piece)
    ScriptedDns(machine, records)
    host = ScriptedMx(machine, '127.0.0.25')
    sternpost = Sternpost(machine, authority)
    for name in floods:
        sternpost.submit('-f', 'alice@sender.test', 'y@%s.test' % name, text=TEXT % 'y')
    for name in floods:
        event = sternpost.wait_event('policy', domain=name + '.test', event='fetch-failed', seconds=30)
        expect('larger than' in event['reason'], '%s: %s' % (name, event['reason']))
    wait_for('the mail goes on', lambda: len(host.taken) == len(floods))
    # What the sockets hold on both sides comes on top of what was read.
    for name, octets in sent.items():
        expect(octets[0] < 20_000_000, '%s: %d octets were sent before the end' % (name, octets[0]))
    peak = [line for line in open('/proc/%d/status' % sternpost.process.pid) if line.startswith('VmHWM')][0]
    expect(int(peak.split()[1]) < 150_000, 'peak of memory: ' + peak)


@test
def a_transfer_without_memory_ends_alone(machine):
    """D-46: the daemon goes on."""
    authority = Authority(machine)
    records = {('_mta-sts.big.test', 'TXT'): ['"v=STSv1; id=1;"'], ('mta-sts.big.test', 'A'): ['127.0.0.80']}
    records.update({('big.test', 'MX'): ['10 mx.big.test.'], ('mx.big.test', 'A'): ['127.0.0.25']})
    ScriptedDns(machine, records)
    host = ScriptedMx(machine, '127.0.0.25')
    begin = b'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n'
    flood(machine, authority, 'mta-sts.big.test', '127.0.0.80', begin, b'e' * 65536)
    sternpost = Sternpost(machine, authority, sts={'max_policy_size': '1GiB'})
    with open('/proc/%d/status' % sternpost.process.pid) as f:
        size = [int(line.split()[1]) * 1024 for line in f if line.startswith('VmSize')][0]
    room = '--as=%d' % (size + 150_000_000)
    subprocess.run(['prlimit', '--pid', str(sternpost.process.pid), room], check=True)
    sternpost.submit('-f', 'alice@sender.test', 'y@big.test', text=TEXT % 'y')
    event = sternpost.wait_event('policy', domain='big.test', event='fetch-failed', seconds=60)
    expect('out of memory' in event['reason'], 'the reason: ' + event['reason'])
    wait_for('the mail goes on', lambda: host.taken)
    sternpost.stop()


@test
def look_ups_spend_the_time_of_an_attempt(machine):
    """D-46."""
    records = {('slow.test', 'MX'): ['10 h%d.slow.test.' % n for n in range(15)]}
    server = ScriptedDns(machine, records)
    honest = server.answer

    def answer(question):  # what is below slow.test is never answered
        return honest(question) if not question.name.startswith('h') else Silence()

    class Silence:
        def to_wire(self):
            return b''

    server.answer = answer
    sternpost = Sternpost(machine, dns={'timeout': '1s', 'attempts': 1}, delivery={'attempt_budget': '3s'})
    sternpost.submit('-f', 'alice@sender.test', 'y@slow.test', text=TEXT % 'y')
    entry = sternpost.wait_deferred('y@slow.test', seconds=30)
    expect('3 seconds of one attempt were over' in entry['reason'], 'the reason: ' + entry['reason'])
    asked = {q.name for q in server.questions if q.name.startswith('h')}
    expect(len(asked) <= 3, '%d hosts were looked up' % len(asked))


@test
def an_mx_set_without_end_is_used_in_part(machine):
    """D-46."""
    records = {('big.test', 'MX'): ['10 h%d.big.test.' % n for n in range(60)]}
    server = ScriptedDns(machine, records)
    sternpost = Sternpost(machine)
    sternpost.submit('-f', 'alice@sender.test', 'y@big.test', text=TEXT % 'y')
    entry = sternpost.wait_deferred('y@big.test')
    asked = {q.name for q in server.questions if q.name.startswith('h')}
    expect_equal(len(asked), 20, 'hosts that were looked up')
    expect('40 further MX hosts' in entry['reason'], 'the reason: ' + entry['reason'])
    expect(len(entry['reason']) < 2500, 'the reason has %d characters' % len(entry['reason']))


@test
def reading_a_report_takes_little_memory(machine):
    """D-46: many small values, the worst that JSON can do."""
    many = machine.write('many.json', '{"policies":[' + '[],' * 5_000_000 + '[]]}')
    script = (
        'import resource, subprocess, sys\n'
        'done = subprocess.run(sys.argv[1:], capture_output=True)\n'
        'print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n'
        'print(done.stderr.decode())\n'
    )
    argv = [sys.executable, '-c', script, os.path.join(BUILD, 'sternpost'), 'tlsrpt', 'read', many]
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    code, kilobytes = map(int, out.splitlines()[0].split())
    expect_equal(code, 65, 'the exit code')
    expect('64 MiB of memory' in out, 'the reason: ' + out)
    expect(kilobytes < 200_000, 'peak of memory: %d kB' % kilobytes)
    huge = machine.write('huge.json', '{')
    os.truncate(huge, (64 << 20) + 1)
    argv[-1] = huge
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    expect_equal(out.split()[0], '66', 'the exit code for a file of more than 64 MiB')


@test
def reading_many_reports_takes_little_memory(machine):
    """D-46: each of them is as large as one may be."""
    mails = []
    for n in range(8):
        details = [
            {'result-type': 'validation-failure', 'failure-reason-code': 'r%d-%d %s' % (n, k, 'x' * 100), 'failed-session-count': 1}
            for k in range(40_000)
        ]
        policies = [
            {
                'policy': {'policy-type': 'sts', 'policy-domain': 'd%d.test' % p},
                'summary': {'total-successful-session-count': 1, 'total-failure-session-count': 10_000},
                'failure-details': details[p * 10_000 : (p + 1) * 10_000],
            }
            for p in range(4)
        ]
        report = {'organization-name': 'org', 'report-id': 'r%d' % n, 'policies': policies}
        packed = base64.encodebytes(gzip.compress(json.dumps(report).encode())).decode()
        head = 'From x Mon Nov 30 10:00:00 2026\nContent-Type: application/tlsrpt+gzip\nContent-Transfer-Encoding: base64\n\n'
        mails.append(head + packed + '\n')
    script = (
        'import resource, subprocess, sys\n'
        'done = subprocess.run(sys.argv[1:], capture_output=True)\n'
        'print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n'
        'print(done.stdout.decode())\n'
        'print(done.stderr.decode())\n'
    )
    many = machine.write('many.mbox', ''.join(mails))
    argv = [sys.executable, '-c', script, os.path.join(BUILD, 'sternpost'), 'tlsrpt', 'read', many]
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    code, kilobytes = map(int, out.splitlines()[0].split())
    expect(kilobytes < 400_000, 'peak of memory: %d kB' % kilobytes)
    expect_equal(code, 1, 'the exit code')
    expect('the report r7 of org is counted without its failure details' in out, 'what is said of the last report')
    row = next(line for line in out.splitlines() if line.startswith('d3.test')).split()
    expect_equal(row[3:], ['8', '8', '80000'], 'reports, good and failed sessions of d3.test')


@test
def what_is_said_of_many_reports_is_bounded(machine):
    """Each of them says three thousand octets of itself, and 16 MiB are said of all; then a line is said of each that is left out."""
    mails = []
    for n in range(6000):
        report = {'organization-name': 'o' * 1000, 'contact-info': 'c' * 1000, 'report-id': ('%05d' % n) + 'i' * 995, 'policies': []}
        mails.append('From x Mon Nov 30 10:00:00 2026\nContent-Type: application/tlsrpt+json\n\n' + json.dumps(report) + '\n\n')
    many = machine.write('many.mbox', ''.join(mails))
    done = subprocess.run([os.path.join(BUILD, 'sternpost'), 'tlsrpt', 'read', many, '--json'], capture_output=True, text=True)
    expect_equal(done.returncode, 1, 'the exit code')
    read = json.loads(done.stdout)
    octets = 3000 * len(read['reports'])
    expect(13 << 20 < octets < 16 << 20, '%d octets are said of %d reports' % (octets, len(read['reports'])))
    expect_equal(len(read['unreadable']), 1001, 'lines of trouble')
    left_out = 6000 - len(read['reports'])
    expect('is left out: there are too many' in read['unreadable'][999]['reason'], read['unreadable'][999])
    expect_equal(read['unreadable'][1000]['reason'], '%d more such lines are left out' % (left_out - 1000), 'the last line')


@test
def sts_check_looks_up_five_places_of_reports(machine):
    places = ','.join('mailto:a@p%d.test' % n for n in range(7))
    server = ScriptedDns(machine, {('_smtp._tls.y.test', 'TXT'): ['"v=TLSRPTv1; rua=%s"' % places]})
    sternpost = Sternpost(machine)
    checked = sternpost.command('sts', 'check', 'y.test')
    expect_equal(checked.out.count('does not exist in the DNS'), 5, 'places that are said to be wrong in ' + checked.out)
    asked = {q.name for q in server.questions if q.name.startswith('p')}
    expect_equal(len(asked), 5, 'places that were looked up')


@test
def status_shows_the_fifty_longest_lines(machine):
    names = ['d%d.test' % n for n in range(60)]
    ScriptedDns(machine, {(name, 'A'): ['127.0.0.98'] for name in names})  # nobody listens there
    sternpost = Sternpost(machine)
    sternpost.submit('-f', 'alice@sender.test', *['y@' + name for name in names], 'z@d59.test', text=TEXT % 'y')
    wait_for('all next hops', lambda: len(sternpost.ask('queue', 'hops')) == 60)
    shown = [hop['name'] for hop in sternpost.ask('status')['next_hops']]
    expect_equal(len(shown), 50, 'next hops of status')
    expect_equal(shown[0], 'd59.test', 'the first of them')
    sternpost.stop()  # no question is under way when the DNS goes


@test
def ten_thousand_next_hops_are_listed(machine):
    ScriptedDns(machine, {})
    sternpost = Sternpost(machine)
    sternpost.do('queue', 'suspend', '--domain', '.test', '--reason', 'so that they stay')
    for begin in (0, 5010):
        sternpost.submit('-f', 'alice@sender.test', *['y@d%d.test' % n for n in range(begin, begin + 5010)], text=TEXT % 'y')
    wait_for('all mail', lambda: sternpost.ask('status')['queue']['recipients'] == 10_020)
    expect_equal(len(sternpost.ask('queue', 'hops', '--limit', '20000')), 10_000, 'next hops')


@test
def explain_looks_at_fifty_messages_that_wait(machine):
    ScriptedDns(machine, {('y.test', 'MX'): ['10 mx.y.test.'], ('mx.y.test', 'A'): ['127.0.0.97']})
    ScriptedMx(machine, '127.0.0.97', rcpt='450 4.3.0 not now')
    sternpost = Sternpost(machine)
    sternpost.do('queue', 'suspend', '--domain', 'y.test', '--reason', 'so that nothing is tried')
    for n in range(50):
        sternpost.submit('-f', 'alice@sender.test', 'held@y.test', text=TEXT % 'y')
    wait_for('all mail', lambda: sternpost.ask('status')['queue']['messages'] == 50)
    sternpost.do('queue', 'hold', '--all')
    sternpost.do('queue', 'resume', '--domain', 'y.test')
    sternpost.submit('-f', 'alice@sender.test', 'tried@y.test', text=TEXT % 'y')
    sternpost.wait_deferred('tried@y.test')
    says = lambda: json.loads(sternpost.command('explain', 'y.test', '--json').out)
    wait_for('the failure in the history', lambda: says()['outlook'] == 'failing')
    expect('next_at' not in says()['failing'], 'the time of an attempt for mail that was not looked at')
    first = min(message['id'] for message in sternpost.ask('queue', 'list')['messages'])
    sternpost.do('queue', 'delete', first)
    wait_for('the failure among the first fifty', lambda: 'next_at' in says().get('failing', {}))


@test
def the_unit_bounds_the_memory_of_the_service(machine):
    with open(os.path.join(TOP, 'etc', 'sternpost.service')) as f:
        unit = dict(line.strip().split('=', 1) for line in f if '=' in line and not line.startswith('#'))
    with open(os.path.join(TOP, 'etc', 'sternpost.toml')) as f:
        most = [line for line in f if line.startswith('#max_memory')][0]
    expect_equal((unit['MemoryMax'], unit['OOMPolicy']), ('1G', 'stop'), 'MemoryMax and OOMPolicy')
    expect_equal(most.split('"')[1], '512MiB', 'max_memory, of which MemoryMax is twice as much')


if __name__ == '__main__':
    sys.exit(run())
