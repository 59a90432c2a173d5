#!/usr/bin/python3
"""The peers among themselves, without Sternpost: a test that fails with these broken would blame the wrong side."""
import smtplib
import ssl
import sys
import urllib.request

from machine import expect, expect_equal, run, wait_for, test
from peers import Authority, Dns, PolicyHost, Postfix, Sink

POLICY = 'version: STSv1\nmode: enforce\nmx: mx.example.test\nmax_age: 86400\n'


@test
def unbound_validates_what_knot_signs(machine):
    dns = Dns(machine, ['example MX 10 mx.example', 'mx.example A 127.0.0.25'])
    expect_equal(dns.ask('example.test.', 'MX')[0], '10 mx.example.test.', 'the MX record')
    expect('ad' in dns.flags('mx.example.test.', 'A'), 'the answer is not marked authentic')
    expect(
        'SERVFAIL' in dns.flags('bogus.test.', 'MX'), 'a bogus zone is answered: %s' % dns.flags('bogus.test.', 'MX')
    )
    expect('NXDOMAIN' in dns.flags('nowhere.test.', 'MX'), 'a name that does not exist is answered')
    expect('NXDOMAIN' in dns.flags('example.net.', 'MX'), 'a name outside of test. is answered')
    dns.add('later A 127.0.0.26')
    wait_for('the added record is served', lambda: dns.ask('later.test.', 'A')[:1] == ['127.0.0.26'])
    dns.stop()
    expect_equal(dns.flags('later.test.', 'A'), [], 'the answer when both are gone')
    dns.replace('example MX 10 mx.example', 'mx.example A 127.0.0.30')
    dns.start()
    expect_equal(dns.ask('mx.example.test.', 'A')[0], '127.0.0.30', 'the address after the restart')
    expect('ad' in dns.flags('mx.example.test.', 'A'), 'the answer after the restart is not marked authentic')
    expect('NXDOMAIN' in dns.flags('later.test.', 'A'), 'a record that was taken out is served')


@test
def nginx_serves_the_policy(machine):
    authority = Authority(machine)
    PolicyHost(machine, authority, {'example.test': POLICY}, address='127.0.0.1')
    context = ssl.create_default_context(cafile=authority.bundle)
    with open('/etc/hosts', 'a') as hosts:  # ours alone
        hosts.write('127.0.0.1 mta-sts.example.test\n')
    with urllib.request.urlopen('https://mta-sts.example.test/.well-known/mta-sts.txt', context=context) as answer:
        expect_equal(answer.read().decode(), POLICY, 'the policy')
        expect_equal(answer.headers.get_content_type(), 'text/plain', 'its media type')


@test
def postfix_takes_mail_over_tls(machine):
    authority = Authority(machine)
    postfix = Postfix(machine, 'mx', '127.0.0.25', ['example.test'], authority.issue('mx.example.test'))
    context = ssl.create_default_context(cafile=authority.bundle)
    for number in range(3):
        with smtplib.SMTP('127.0.0.25', 25, local_hostname='client.test') as client:
            client._host = 'mx.example.test'  # the name to verify
            client.starttls(context=context)
            client.sendmail('a@client.test', ['bob@example.test'], 'Subject: %d\r\n\r\nhello\r\n' % number)
    postfix.wait_taken(3)
    expect_equal(postfix.connections(), 3, 'connections')
    expect_equal(len(postfix.tls_sessions()), 3, 'TLS sessions')
    wait_for('three messages in the Maildir', lambda: len(postfix.messages()) == 3)
    expect('using TLSv1.3' in postfix.messages()[0]['received'], 'Received names no TLS')
    with smtplib.SMTP('127.0.0.25', 25) as client:
        code, text = client.docmd('EHLO', 'client.test')
        client.mail('a@client.test')
        expect_equal(client.rcpt('x@elsewhere.test')[0], 554, 'the reply to a domain that is not its own')
    postfix.stop()


@test
def postfix_without_a_certificate_offers_no_starttls_and_logs_what_it_hears(machine):
    postfix = Postfix(machine, 'plain', '127.0.0.26', ['example.test'], debug_peer_list='127.0.0.0/8')
    with smtplib.SMTP('127.0.0.26', 25) as client:
        client.ehlo('client.test')
        expect(not client.has_extn('starttls'), 'STARTTLS is offered')
        expect_equal(postfix.commands(), ['EHLO'], 'commands heard')
        client.mail('a@client.test')
        client.quit()
    wait_for('the commands are in the log', lambda: postfix.commands() == ['EHLO', 'MAIL', 'QUIT'])


@test
def the_sink_keeps_what_it_takes(machine):
    sink = Sink(machine, '127.0.0.27')
    sink.refuse['no@example.test'] = '550 5.1.1 no'
    with smtplib.SMTP('127.0.0.27', 25) as client:
        refused = client.sendmail('a@client.test', ['yes@example.test', 'no@example.test'], '.dot\r\n..two\r\n')
    expect_equal(list(refused), ['no@example.test'], 'refused')
    sink.wait_taken(1)
    expect_equal(
        (sink.taken[0].forward_paths, sink.taken[0].data),
        (('yes@example.test',), b'.dot\r\n..two\r\n'),
        'the message',
    )


if __name__ == '__main__':
    sys.exit(run(peers=True))
