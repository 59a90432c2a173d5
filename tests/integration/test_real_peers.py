#!/usr/bin/python3
"""sternpostd among software that nobody here wrote: Postfix as MX host, nginx as policy host, knot's signed zone behind a
validating unbound. What counts is what these saw; our log lines are held against it."""
import collections
import re
import shutil
import sys
import threading

from machine import expect, expect_equal, run, wait_for, test
from peers import Authority, Dns, PolicyHost, Postfix
from sternpost import Dialogue, Sternpost

RECORDS = [
    'example MX 10 mx.example',
    'mx.example A 127.0.0.25',
    '_mta-sts.example TXT "v=STSv1; id=20260101"',
    'mta-sts.example A 127.0.0.80',
]


def policy(mode='enforce', mx='mx.example.test', max_age=86400):
    return 'version: STSv1\r\nmode: %s\r\nmx: %s\r\nmax_age: %d\r\n' % (mode, mx, max_age)


def text(subject, to='bob@example.test'):
    return 'From: Alice <alice@sender.test>\nTo: %s\nSubject: %s\n\nhello\n' % (to, subject)


@test
def mail_reaches_postfix_under_an_enforced_policy_and_is_held_from_an_attacker(machine):
    """STS-07, TLS: the whole way of a message; then what the disk remembers when DNS and policy host are gone."""
    authority = Authority(machine)
    dns = Dns(machine, RECORDS)
    host = PolicyHost(machine, authority, {'example.test': policy()})
    honest = Postfix(machine, 'mx', '127.0.0.25', ['example.test'], authority.issue('mx.example.test'))
    sternpost = Sternpost(machine, authority)

    # 1. From sendmail to Postfix over verified TLS.
    sternpost.submit('-f', 'alice@sender.test', 'bob@example.test', text=text('first'))
    honest.wait_taken(1)
    sessions = honest.tls_sessions()
    expect_equal(len(sessions), 1, 'TLS sessions at Postfix')
    expect('TLSv1.3' in sessions[0], 'Postfix saw another TLS version: ' + sessions[0])
    wait_for('the message in the Maildir', honest.messages)
    message = honest.messages()[0]
    expect_equal(
        (message['subject'], message['return-path']), ('first', '<alice@sender.test>'), 'subject and reverse-path'
    )
    expect('using TLSv1.3' in message['received'], 'Postfix received it without TLS: ' + message['received'])
    attempt = sternpost.wait_event('attempt', to='<bob@example.test>')
    expect_equal(
        {k: attempt.get(k) for k in ('status', 'policy', 'tls', 'mx')},
        {'status': 'sent', 'policy': 'sts/enforce', 'tls': 'TLSv1.3', 'mx': 'mx.example.test[127.0.0.25]:25'},
        'our log line (%s)' % attempt['line'],
    )
    expect_equal(
        host.requests(), ['mta-sts.example.test /.well-known/mta-sts.txt 200 TLSv1.3'], 'requests at the policy host'
    )
    sternpost.wait_empty()

    # 2. Policy host and DNS are gone; the daemon starts anew and still knows.
    host.stop()
    dns.stop()
    sternpost.restart()
    known = sternpost.ask('sts', 'show', 'example.test')
    expect_equal(
        (known['domain'], known['id'], known['mode'], known['mx'], known['max_age']),
        ('example.test', '20260101', 'enforce', ['mx.example.test'], 86400),
        '`sts show` after the restart',
    )
    expect_equal(known['text'], policy(), 'the policy\'s text after the restart')
    expect_equal(
        [p['domain'] for p in sternpost.ask('sts', 'list')], ['example.test'], '`sts list` after the restart'
    )

    # 3. An attacker owns the DNS now: no policy record, and an MX address that offers no STARTTLS.
    attacker = Postfix(machine, 'attacker', '127.0.0.26', ['example.test'], debug_peer_list='127.0.0.0/8')
    dns.replace('example MX 10 mx.example', 'mx.example A 127.0.0.26')
    dns.start()
    sternpost.submit('-f', 'alice@sender.test', 'bob@example.test', text=text('second'))
    entry = sternpost.wait_deferred('bob@example.test')
    expect('MTA-STS' in entry['reason'], 'the reason does not name MTA-STS: ' + entry['reason'])
    expect('STARTTLS' in entry['reason'], 'the reason does not say that STARTTLS was missing: ' + entry['reason'])
    expect_equal(entry['status'], '4.7.5', 'status of the deferral')
    expect(attacker.connections() >= 1, 'the attacker was never tried')
    expect('EHLO' in attacker.commands(), 'Postfix logged no dialogue: the test cannot tell')
    expect_equal([c for c in attacker.commands() if c in ('MAIL', 'RCPT', 'DATA')], [], 'what the attacker was told')
    expect_equal(attacker.taken(), 0, 'messages that the attacker took')
    session = sternpost.wait_event('session', hop='example.test')
    expect_equal(
        {k: session.get(k) for k in ('mx', 'policy', 'result')},
        {'mx': 'mx.example.test[127.0.0.26]:25', 'policy': 'sts/enforce', 'result': 'starttls-not-supported'},
        'our log line (%s)' % session['line'],
    )
    hop = sternpost.wait_event('hop', name='example.test')
    expect_equal((hop['status'], hop['dsn']), ('deferred', '4.7.5'), 'our log line (%s)' % hop['line'])

    # 4. The attacker leaves; a retry by hand delivers.
    dns.stop()
    dns.replace(*RECORDS)
    dns.start()
    sternpost.do('queue', 'retry', '--domain', 'example.test')
    honest.wait_taken(2)
    expect_equal(len(honest.tls_sessions()), 2, 'TLS sessions at Postfix')
    sternpost.wait_empty()
    sternpost.stop()


@test
def a_certificate_for_another_name_holds_mail_back_until_it_is_right(machine):
    """Under an enforced policy the SAN decides; without a policy the same certificate is good enough for opportunistic TLS."""
    authority, stranger = Authority(machine), Authority(machine, 'stranger')
    Dns(machine, RECORDS + ['open MX 10 mx.open', 'mx.open A 127.0.0.27'])
    PolicyHost(machine, authority, {'example.test': policy()})
    wrong = Postfix(machine, 'wrong', '127.0.0.25', ['example.test'], authority.issue('other.example.test'))
    unknown = Postfix(machine, 'unknown', '127.0.0.27', ['open.test'], stranger.issue('mx.open.test'))
    sternpost = Sternpost(machine, authority)
    sternpost.submit('-f', 'alice@sender.test', 'bob@example.test', 'eve@open.test', text=text('both'))
    unknown.wait_taken(1)
    expect_equal(len(unknown.tls_sessions()), 1, 'opportunistic TLS sessions')
    entry = sternpost.wait_deferred('bob@example.test')
    expect(
        'MTA-STS' in entry['reason'] and 'mx.example.test' in entry['reason'],
        'the reason names neither the rule nor the host: ' + entry['reason'],
    )
    expect_equal(wrong.taken(), 0, 'messages at the host with the wrong certificate')
    sent = sternpost.wait_event('attempt', to='<eve@open.test>')
    expect(
        sent['status'] == 'sent' and sent['tls'] == 'TLSv1.3' and not sent['policy'].startswith('sts'),
        'our log line for the domain without policy: ' + sent['line'],
    )
    # The administrator of example.test mends the certificate.
    wrong.stop()
    right = Postfix(machine, 'right', '127.0.0.25', ['example.test'], authority.issue('mx.example.test'))
    sternpost.retry_all()
    right.wait_taken(1)
    sternpost.wait_empty()


@test
def sighup_takes_a_new_ca_bundle_and_refresh_a_new_policy(machine):
    """No restart is needed for either; the bundle counts for MX hosts and policy hosts alike."""
    authority, stranger = Authority(machine), Authority(machine, 'stranger')
    other = ['_mta-sts.other TXT "v=STSv1; id=1"', 'mta-sts.other A 127.0.0.81']
    dns = Dns(machine, RECORDS + other)
    host = PolicyHost(machine, authority, {'example.test': policy()})
    PolicyHost(machine, stranger, {'other.test': policy()}, name='other-nginx', address='127.0.0.81')
    postfix = Postfix(machine, 'mx', '127.0.0.25', ['example.test'], stranger.issue('mx.example.test'))
    bundle = shutil.copy(authority.bundle, machine.path('bundle.pem'))
    sternpost = Sternpost(machine, tls={'ca_file': bundle})
    sternpost.submit('-f', 'alice@sender.test', 'bob@example.test', text=text('reload'))
    entry = sternpost.wait_deferred('bob@example.test')
    expect('certificate' in entry['reason'], 'the reason does not speak of the certificate: ' + entry['reason'])
    with open(bundle, 'ab') as f, open(stranger.bundle, 'rb') as more:
        f.write(more.read())
    sternpost.reload()
    sternpost.wait_event('reload')
    sternpost.retry_all()
    postfix.wait_taken(1)
    sternpost.wait_empty()
    sternpost.do('sts', 'refresh', 'other.test')  # not tried before: a failed fetch is not repeated for five minutes

    host.publish('example.test', policy('testing', max_age=7200))
    dns.replace(*[r.replace('id=20260101', 'id=20260202') for r in RECORDS + other])
    dns.stop()
    dns.start()
    sternpost.do('sts', 'refresh', 'example.test')
    wait_for('the new policy is kept', lambda: sternpost.ask('sts', 'show', 'example.test')['id'] == '20260202')
    known = sternpost.ask('sts', 'show', 'example.test')
    expect_equal((known['mode'], known['max_age']), ('testing', 7200), 'the policy after `sts refresh`')


@test
def a_policy_in_testing_mode_never_stops_mail(machine):
    authority = Authority(machine)
    Dns(machine, RECORDS)
    PolicyHost(machine, authority, {'example.test': policy('testing')})
    plain = Postfix(machine, 'plain', '127.0.0.25', ['example.test'])
    sternpost = Sternpost(machine, authority)
    sternpost.submit('-f', 'alice@sender.test', 'bob@example.test', text=text('testing'))
    plain.wait_taken(1)
    attempt = sternpost.wait_event('attempt', to='<bob@example.test>')
    expect_equal(
        (attempt['status'], attempt['policy']), ('sent', 'sts/testing'), 'our log line (%s)' % attempt['line']
    )


@test
def a_bogus_zone_defers_and_a_missing_one_bounces(machine):
    """SMTP-28: SERVFAIL is temporary, NXDOMAIN permanent; the bounce goes to the sender, over Postfix too."""
    authority = Authority(machine)
    Dns(machine, ['sender MX 10 mx.sender', 'mx.sender A 127.0.0.28'])
    home = Postfix(machine, 'home', '127.0.0.28', ['sender.test'], authority.issue('mx.sender.test'))
    sternpost = Sternpost(machine, authority)
    sternpost.submit('-f', 'alice@sender.test', 'x@bogus.test', 'x@nowhere.test', text=text('dns'))
    home.wait_taken(1)
    wait_for('the bounce in the Maildir', home.messages)
    bounce = home.messages()[0]
    expect_equal(
        (bounce['return-path'], bounce.get_content_type(), bounce.get_param('report-type')),
        ('<>', 'multipart/report', 'delivery-status'),
        'the bounce',
    )
    status = ''.join(p.as_string() for p in bounce.walk() if p.get_content_type() == 'message/delivery-status')
    expect(
        re.search(r'(?i)Final-Recipient: rfc822; ?x@nowhere\.test', status)
        and re.search(r'Action: failed', status)
        and re.search(r'Status: 5\.1\.2', status),
        'the delivery-status part: ' + status,
    )
    expect('bogus.test' not in status, 'the bounce speaks of the deferred recipient too: ' + status)
    entry = sternpost.wait_deferred('x@bogus.test')
    expect_equal(entry['status'], '4.4.3', 'status of the deferral (%s)' % entry['reason'])


@test
def a_thousand_messages_use_at_most_twenty_connections(machine):
    """Connections are reused; Postfix counts them. Every one of them is verified TLS. None is used up: that has other tests."""
    count, threads = 1000, 4
    authority = Authority(machine)
    Dns(machine, RECORDS)
    PolicyHost(machine, authority, {'example.test': policy()})
    postfix = Postfix(machine, 'mx', '127.0.0.25', ['example.test'], authority.issue('mx.example.test'))
    sternpost = Sternpost(machine, authority, delivery={'messages_per_connection': count})
    failures = []

    def inject(share):
        try:
            with Dialogue() as d:
                d.ehlo()
                for number in share:
                    d.message(
                        'alice@sender.test',
                        ['u%d@example.test' % number],
                        b'From: <alice@sender.test>\r\nSubject: %d\r\n\r\n%s\r\n' % (number, b'x' * 70),
                    )
                d.say('QUIT', '221')
        except Exception as e:
            failures.append(repr(e))

    injectors = [threading.Thread(target=inject, args=(range(i, count, threads),)) for i in range(threads)]
    for thread in injectors:
        thread.start()
    for thread in injectors:
        thread.join(60)
    expect_equal(failures, [], 'injection')
    postfix.wait_taken(count, 90)
    expect(postfix.connections() <= 20, '%d connections for %d messages' % (postfix.connections(), count))
    expect_equal(len(postfix.tls_sessions()), postfix.connections(), 'sessions in TLS, of all connections')
    sternpost.wait_empty()
    wait_for('all in the Maildir', lambda: len(postfix.messages()) >= count)
    subjects = collections.Counter(m['subject'] for m in postfix.messages())
    expect_equal(
        [s for s in map(str, range(count)) if subjects[s] != 1], [], 'messages that did not arrive exactly once'
    )
    attempts = sternpost.events('attempt')
    expect(
        all(a['status'] == 'sent' and a['policy'] == 'sts/enforce' for a in attempts),
        'attempts that were not plain success',
    )
    print('      %d messages over %d connections' % (count, postfix.connections()))


if __name__ == '__main__':
    sys.exit(run(peers=True))
