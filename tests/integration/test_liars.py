#!/usr/bin/python3
"""sternpostd among servers that lie, err and attack: what it believes, whom it gives mail, and whom it tells."""
import email
import email.header
import email.utils
import sys

import dns.flags
import dns.message
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import rsa

from machine import expect, expect_equal, run, test, wait_for
from peers import Authority
from scripted import ScriptedDns, ScriptedMx, ScriptedPolicyHost, certificate
from sternpost import Dialogue, Sternpost

POLICY = 'version: STSv1\nmode: enforce\nmx: %s\nmax_age: 86400\n'
TEXT = 'From: Alice <alice@sender.test>\nTo: %s\nSubject: s\n\nhello\n'


def domain(name, address, mx='mx'):
    """Records of a domain whose one MX host is `mx` below it."""
    return {(name, 'MX'): ['10 %s.%s.' % (mx, name)], ('%s.%s' % (mx, name), 'A'): [address]}


def with_policy(name, address, mx='mx'):
    """The same with an MTA-STS record and a policy host."""
    more = {('_mta-sts.' + name, 'TXT'): ['"v=STSv1; id=1;"'], ('mta-sts.' + name, 'A'): ['127.0.0.80']}
    return {**domain(name, address, mx), **more}


def served(machine, authority, hosts):
    """A policy host that serves each domain of {domain: policy text} as it should."""
    answers = {}
    for name, text in hosts.items():
        host = 'mta-sts.' + name
        context = certificate(machine, authority, host, [host])
        answers[host] = (context, (200, {'Content-Type': 'text/plain'}, text))
    return ScriptedPolicyHost(machine, answers)


@test
def a_complaint_about_our_ipv6_address_sends_the_mail_by_ipv4_at_once(machine):
    """D-21: a 5yz over IPv6 that speaks of the PTR record is not the last word."""
    records = {('d.test', 'MX'): ['10 mx.d.test.'], ('mx.d.test', 'A'): ['127.0.0.25'], ('mx.d.test', 'AAAA'): ['::1']}
    records.update({('e.test', 'MX'): ['10 mx.e.test.'], ('mx.e.test', 'AAAA'): ['::1']})
    ScriptedDns(machine, records)
    strict = ScriptedMx(machine, '::1', rcpt='550 5.7.25 [::1] has no PTR record')
    host = ScriptedMx(machine, '127.0.0.25')
    sternpost = Sternpost(machine)
    sternpost.submit('-f', 'alice@sender.test', 'bob@d.test', text=TEXT % 'bob')
    wait_for('the message by IPv4', lambda: len(host.taken) == 1)
    expect('RCPT' in strict.commands(), 'IPv6 was not tried first')
    expect_equal(strict.taken, [], 'messages taken over IPv6')
    sternpost.wait_empty()
    expect_equal(len(sternpost.events('attempt', status='sent')), 1, 'attempts that were logged as sent')
    # Where there is no other address, the refusal is what it says: a bounce.
    sternpost.submit('-f', 'alice@sender.test', 'bob@e.test', text=TEXT % 'bob')
    sternpost.wait_event('attempt', to='<bob@e.test>', status='bounced', dsn='5.7.25')


@test
def a_dead_resolver_is_passed_over(machine):
    ScriptedDns(machine, domain('d.test', '127.0.0.25'))
    host = ScriptedMx(machine, '127.0.0.25')
    # 127.0.0.98 refuses the packet at once; the second one answers.
    sternpost = Sternpost(machine, resolvers=['127.0.0.98', '127.0.0.53'], dns={'timeout': '1s'})
    sternpost.submit('-f', 'alice@sender.test', 'bob@d.test', text=TEXT % 'bob')
    wait_for('the message', lambda: len(host.taken) == 1)
    # With none that answers, mail waits, and the reason says why.
    sternpost.stop()
    sternpost.change(resolvers=['127.0.0.98'])
    sternpost.start()
    sternpost.submit('-f', 'alice@sender.test', 'carol@d.test', text=TEXT % 'carol')
    entry = sternpost.wait_deferred('carol@d.test')
    expect('resolver 127.0.0.98:53' in entry['reason'] and entry['status'] == '4.4.3', 'the reason: %s' % entry)


@test
def a_site_gets_no_more_connections_than_it_may(machine):
    """SMTP-43: many domains on the same hosts share them."""
    names = ['d%d.test' % n for n in range(6)]
    records = {(name, 'MX'): ['10 mx.site.test.'] for name in names}
    records[('mx.site.test', 'A')] = ['127.0.0.25']
    ScriptedDns(machine, records)
    host = ScriptedMx(machine, '127.0.0.25')
    sternpost = Sternpost(machine, delivery={'connections_per_site': 1, 'idle_time': '200ms'})
    for name in names:
        sternpost.submit('-f', 'alice@sender.test', 'bob@' + name, text=TEXT % 'bob')
    wait_for('six messages', lambda: len(host.taken) == 6, seconds=30)
    sternpost.wait_empty()
    expect_equal(host.most_open, 1, 'connections at a time')
    expect_equal([e for e in sternpost.events('hop') if e.get('status') == 'deferred'], [], 'hops that were blamed')


@test
def dns_questions_are_hard_to_guess_and_ask_whether_the_answer_is_valid(machine):
    """RFC 5452 §9.2, RFC 6840 §5.7."""
    records = {}
    for n in range(10):
        records.update(domain('d%d.test' % n, '127.0.0.25'))
    server = ScriptedDns(machine, records)
    host = ScriptedMx(machine, '127.0.0.25')
    sternpost = Sternpost(machine)
    for n in range(10):
        sternpost.submit('-f', 'alice@sender.test', 'bob@d%d.test' % n, text=TEXT % 'bob')
    wait_for('ten messages', lambda: len(host.taken) == 10)
    questions = list(server.questions)
    expect(all(q.message.flags & dns.flags.AD for q in questions), 'a question without AD')
    expect(not any(q.message.ednsflags & dns.flags.DO for q in questions), 'a question with DO')
    ids, ports = {q.id for q in questions}, {q.port for q in questions}
    expect(len(ids) > len(questions) * 0.9, '%d ids for %d questions' % (len(ids), len(questions)))
    expect(len(ports) > len(questions) * 0.5, '%d ports for %d questions' % (len(ports), len(questions)))
    steps = {(b.id - a.id) % 65536 for a, b in zip(questions, questions[1:])}
    expect(len(steps) > len(questions) * 0.5, 'ids follow a rule: ' + repr(sorted(steps)[:5]))


@test
def answers_to_other_questions_are_not_believed(machine):
    """RFC 5452 §9.1: another id, another name, another type, a question instead of an answer."""
    server = ScriptedDns(machine, domain('a.test', '127.0.0.25'))
    honest, attacker = ScriptedMx(machine, '127.0.0.25'), ScriptedMx(machine, '127.0.0.66')

    def lies(question):
        if question.type not in (1, 15):
            return []
        forged = []
        for change in ('id', 'name', 'type', 'query'):
            name = 'b.test.' if change == 'name' else question.name + '.'
            kind = 'A' if question.type == 1 else 'MX'
            asked = {'A': 'MX', 'MX': 'A'}[kind] if change == 'type' else kind
            query = dns.message.make_query(name, asked, id=question.id ^ 1 if change == 'id' else question.id)
            lie = dns.message.make_response(query)
            lie.answer.append(
                dns.rrset.from_text(
                    question.name + '.', 60, 'IN', kind, '127.0.0.66' if kind == 'A' else '1 mx.b.test.'
                )
            )
            if change == 'query':
                lie.flags &= ~dns.flags.QR
            forged.append(lie.to_wire())
        return forged

    server.lies = lies
    sternpost = Sternpost(machine)
    sternpost.submit('-f', 'alice@sender.test', 'bob@a.test', text=TEXT % 'bob')
    wait_for('the message', lambda: honest.taken)
    expect_equal(attacker.sessions, [], 'sessions at the attacker')
    expect_equal(len(server.asked('a.test', 'MX')), 1, 'MX questions: a lie must not cost the honest answer')


@test
def what_is_not_there_is_believed_for_the_soas_time(machine):
    """RFC 2308 §5, RFC 7505: known names are refused at RCPT; a retry by hand forgets."""
    server = ScriptedDns(
        machine,
        {('null.test', 'MX'): ['0 .'], **domain('sender.test', '127.0.0.25')},
        negative={'nowhere.test': 3600, 'soon.test': 1},
    )
    home = ScriptedMx(machine, '127.0.0.25')
    sternpost = Sternpost(machine)
    names = ['nowhere.test', 'soon.test', 'null.test']
    sternpost.submit('-f', 'alice@sender.test', *['x@' + name for name in names], text=TEXT % 'x')
    wait_for('the bounces', lambda: sum(t.data.count(b'\nFinal-Recipient') for t in home.taken) == 3)
    statuses = b''.join(t.data for t in home.taken)
    expect(statuses.count(b'Status: 5.1.2') == 2 and b'Status: 5.1.10' in statuses, 'statuses: %r' % statuses)

    def rcpt(name):
        with Dialogue() as d:
            d.ehlo()
            d.say('MAIL FROM:<alice@sender.test>', '250')
            d.send('RCPT TO:<x@%s>\r\n' % name)
            code, lines = d.reply()
            return '%d %s' % (code, lines[-1])

    expect(rcpt('nowhere.test').startswith('550 5.1.2'), 'RCPT: ' + rcpt('nowhere.test'))
    expect(rcpt('null.test').startswith('556 5.1.10'), 'RCPT: ' + rcpt('null.test'))
    wait_for('soon.test is not believed gone any more', lambda: rcpt('soon.test').startswith('250'), every=0.2)
    expect_equal(len(server.asked('nowhere.test', 'MX')), 1, 'questions for nowhere.test')
    sternpost.command('queue', 'retry', '--all')
    expect(rcpt('nowhere.test').startswith('250'), 'RCPT after a retry by hand: ' + rcpt('nowhere.test'))


@test
def the_strings_of_a_txt_record_are_joined(machine):
    """RFC 7208 §3.3, STS-06."""
    records = with_policy('a.test', '127.0.0.25')
    records[('_mta-sts.a.test', 'TXT')] = ['"v=STSv1; i" "d=abc" "123;"']
    ScriptedDns(machine, records)
    authority = Authority(machine)
    served(machine, authority, {'a.test': POLICY % 'mx.a.test'})
    sternpost = Sternpost(machine, authority)
    sternpost.do('sts', 'refresh', 'a.test')
    expect_equal(sternpost.ask('sts', 'show', 'a.test')['id'], 'abc123', 'the id')


@test
def only_a_policy_host_that_does_as_it_should_is_believed(machine):
    """RFC 8461 §3.3, §7.1; RFC 9525 §6.3; STS-13, STS-14, STS-15, STS-16, STS-18, STS-20, STS-21, STS-22, STS-27."""
    authority, plain = Authority(machine), {'Content-Type': 'text/plain'}
    good = (200, plain, POLICY % 'mx.a.test')
    cases = {  # domain: (the certificate's names, more of it, answer, a word of the complaint; '' for none)
        'good.test': (['mta-sts.good.test'], {}, good, ''),
        'wild.test': (['*.wild.test'], {}, good, ''),
        'typed.test': (['mta-sts.typed.test'], {}, (200, {'Content-Type': 'TEXT/plain; charset=utf-8'}, good[2]), ''),
        'moved.test': (['mta-sts.moved.test'], {}, (301, {'Location': 'https://mta-sts.good.test/'}, ''), '301'),
        'gone.test': (['mta-sts.gone.test'], {}, (404, plain, good[2]), '404'),
        'html.test': (['mta-sts.html.test'], {}, (200, {'Content-Type': 'text/html'}, good[2]), 'text/html'),
        'bad.test': (['mta-sts.bad.test'], {}, (200, plain, 'version: STSv1\nmode: enforce\n'), 'invalid'),
        'cn.test': (None, {'common_name': 'mta-sts.cn.test'}, good, 'certificate'),
        'part.test': (['mta-*.part.test'], {}, good, 'certificate'),
        'deep.test': (['*.test'], {}, good, 'certificate'),
        'late.test': (['mta-sts.late.test'], {'expired': True}, good, 'certificate'),
    }
    records, hosts = {}, {}
    for name, (names, more, answer, _) in cases.items():
        records.update(with_policy(name, '127.0.0.25'))
        hosts['mta-sts.' + name] = (certificate(machine, authority, name, names, **more), answer)
    ScriptedDns(machine, records)
    host = ScriptedPolicyHost(machine, hosts)
    sternpost = Sternpost(machine, authority)
    for name, (_, _, _, complaint) in cases.items():
        done = sternpost.command('sts', 'refresh', name)
        expect_equal(done.code, 1 if complaint else 0, 'exit code for %s (%s)' % (name, done.err))
        expect(complaint in done.err, '%s: the complaint does not speak of %s: %s' % (name, complaint, done.err))
    expect_equal(
        [p['domain'] for p in sternpost.ask('sts', 'list')], ['good.test', 'typed.test', 'wild.test'], 'policies kept'
    )
    expect_equal(set(host.names), {'mta-sts.' + name for name in cases}, 'names in SNI')
    expect_equal({path for _, path in host.requests}, {'/.well-known/mta-sts.txt'}, 'paths')
    sternpost.command('sts', 'refresh', 'gone.test')
    asked = [name for name, _ in host.requests]
    expect_equal(asked.count('mta-sts.gone.test'), 1, 'requests within five minutes after a failure')
    expect_equal(asked.count('mta-sts.good.test'), 1, 'requests: the redirect was followed')


@test
def a_certificate_must_prove_the_mx_hosts_name(machine):
    """RFC 8461 §4.2, §7.1; RFC 9525 §6.3; RFC 9325 §4; STS-59, STS-60, STS-61, STS-64, STS-68."""
    authority = Authority(machine)
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    cases = {  # domain: (the certificate's names, more of it, RFC 8460's name for what is wrong; '' for nothing)
        'good.test': (['mx.good.test'], {}, ''),
        'wild.test': (['*.wild.test'], {}, ''),
        'cn.test': (None, {'common_name': 'mx.cn.test'}, 'certificate-host-mismatch'),
        'domain.test': (['domain.test'], {}, 'certificate-host-mismatch'),
        'part.test': (['m*.part.test'], {}, 'certificate-host-mismatch'),
        'deep.test': (['*.test'], {}, 'certificate-host-mismatch'),
        'late.test': (['mx.late.test'], {'expired': True}, 'certificate-expired'),
        'weak.test': (['mx.weak.test'], {'key': weak}, 'validation-failure'),
    }
    records, mx = {('weakopen.test', 'MX'): ['10 mx.weak.test.']}, {}
    for n, (name, (names, more, _)) in enumerate(cases.items()):
        address = '127.0.1.%d' % (n + 1)
        records.update(with_policy(name, address))
        mx[name] = ScriptedMx(machine, address, certificate(machine, authority, name, names, **more))
    ScriptedDns(machine, records)
    served(machine, authority, {name: POLICY % ('mx.' + name) for name in cases})
    sternpost = Sternpost(machine, authority)
    for name, (_, _, result) in cases.items():
        sternpost.submit('-f', 'alice@sender.test', 'bob@' + name, text=TEXT % 'bob')
        if not result:
            wait_for('the message at ' + name, lambda: mx[name].taken)
            expect_equal(mx[name].taken[0].tls, 'TLSv1.3', 'TLS at ' + name)
            expect_equal(mx[name].names, ['mx.' + name], 'SNI at ' + name)
            continue
        entry = sternpost.wait_deferred('bob@' + name)
        expect('MTA-STS' in entry['reason'], '%s: the reason does not name the rule: %s' % (name, entry['reason']))
        expect('MAIL' not in mx[name].commands(), '%s was told of the message: %r' % (name, mx[name].commands()))
        seen = [e['result'] for e in sternpost.events('session', hop=name)]
        expect(seen and set(seen) == {result}, '%s: results %r, expected %s' % (name, seen, result))
    # The same weak host is good enough where nothing is demanded: the alternative would be clear text.
    sternpost.submit('-f', 'alice@sender.test', 'eve@weakopen.test', text=TEXT % 'eve')
    wait_for('the message of the domain without policy', lambda: mx['weak.test'].taken)
    expect(mx['weak.test'].taken[0].tls, 'it was sent in clear')


@test
def nothing_in_clear_behind_the_220_is_believed(machine):
    """RFC 3207 §4.2, §6; TLS-01, TLS-02, TLS-03, TLS-14."""
    authority = Authority(machine)
    context = certificate(machine, authority, 'mx', ['mx.held.test', 'mx.open.test', 'mx.forget.test'])
    attacker = ScriptedMx(machine, '127.0.0.25', context, after_220=b'250-mx.test\r\n250 SIZE 1\r\n')
    records = {**with_policy('held.test', '127.0.0.25'), **domain('open.test', '127.0.0.25')}
    records.update(domain('forget.test', '127.0.0.26'))
    ScriptedDns(machine, records)
    served(machine, authority, {'held.test': POLICY % 'mx.held.test'})
    sternpost = Sternpost(machine, authority)
    sternpost.submit('-f', 'alice@sender.test', 'bob@held.test', text=TEXT % 'bob')
    entry = sternpost.wait_deferred('bob@held.test')
    expect('MTA-STS' in entry['reason'], 'the reason does not name the rule: ' + entry['reason'])
    expect('MAIL' not in attacker.commands(), 'the attacker was told of the message')
    # Without a policy it goes in clear, but over a connection of its own.
    before = len(attacker.sessions)
    sternpost.submit('-f', 'alice@sender.test', 'eve@open.test', text=TEXT % 'eve')
    wait_for('the message in clear', lambda: attacker.taken)
    expect_equal(attacker.taken[0].tls, None, 'TLS')
    expect_equal(len(attacker.sessions) - before, 2, 'connections')
    expect('STARTTLS' not in [line for line, _ in attacker.sessions[-1]], 'the fresh connection asked for STARTTLS')
    # What a host offered in clear is forgotten inside TLS.
    inner = certificate(machine, authority, 'forget', ['mx.forget.test'])
    forgetful = ScriptedMx(machine, '127.0.0.26', inner, offers=['SIZE 10'])
    sternpost.submit('-f', 'alice@sender.test', 'bob@forget.test', text=TEXT % 'bob')
    wait_for('the message inside TLS', lambda: forgetful.taken)
    mail = [line for line, tls in forgetful.sessions[0] if line.startswith('MAIL') and tls]
    expect(mail and 'SIZE' not in mail[0], 'MAIL inside TLS: %r' % mail)


@test
def mx_hosts_are_tried_in_their_order(machine):
    """RFC 5321 §5.1, RFC 7505 §3."""
    records = {
        ('order.test', 'MX'): ['30 third.test.', '10 first.test.', '20 second.test.'],
        ('first.test', 'A'): ['127.0.0.30'],  # nobody listens there
        ('second.test', 'A'): ['127.0.0.31'],
        ('third.test', 'A'): ['127.0.0.32'],
        ('implicit.test', 'A'): ['127.0.0.33'],
        ('loop.test', 'MX'): ['10 relay.test.', '20 third.test.'],
        ('backup.test', 'MX'): ['10 second.test.', '20 relay.test.', '30 third.test.'],
        **domain('sender.test', '127.0.0.34'),
    }
    ScriptedDns(machine, records)
    second, third = ScriptedMx(machine, '127.0.0.31'), ScriptedMx(machine, '127.0.0.32')
    implicit, home = ScriptedMx(machine, '127.0.0.33'), ScriptedMx(machine, '127.0.0.34')
    sternpost = Sternpost(machine)
    for name in ('order', 'implicit', 'loop', 'backup'):
        sternpost.submit('-f', 'alice@sender.test', 'bob@%s.test' % name, text=TEXT % 'bob')
    wait_for('two messages at the second', lambda: len(second.taken) == 2)
    wait_for('one at the implicit MX host', lambda: implicit.taken)
    wait_for('the bounce', lambda: home.taken)
    expect_equal(third.sessions, [], 'sessions at the worst host')
    expect(b'Status: 5.4.6' in home.taken[0].data, 'the bounce: %r' % home.taken[0].data)


@test
def senders_are_told_what_they_asked_to_be_told(machine):
    """RFC 3461 §5.2.6, §6; RFC 3464; RFC 3834 §5.2; RFC 5321 §4.5.5; RFC 6522."""
    ScriptedDns(machine, {**domain('sender.test', '127.0.0.25'), **domain('office.test', '127.0.0.26')})
    home, office = ScriptedMx(machine, '127.0.0.25'), ScriptedMx(machine, '127.0.0.26')
    sternpost = Sternpost(machine, admin_address='hostmaster@office.test')
    sternpost.submit('-f', 'alice@sender.test', '-V', 'mark', '-R', 'hdrs', 'x@nowhere.test', text=TEXT % 'x')
    wait_for('the bounce', lambda: home.taken)
    notice = email.message_from_bytes(home.taken[0].data)
    expect_equal(home.taken[0].reverse_path, '', 'the bounce\'s reverse-path')
    expect_equal(home.taken[0].recipients, ['alice@sender.test'], 'its recipients')
    expect_equal(notice['Auto-Submitted'], 'auto-replied', 'Auto-Submitted')
    expect_equal(
        (notice.get_content_type(), notice.get_param('report-type')),
        ('multipart/report', 'delivery-status'),
        'its type',
    )
    text, status, original = notice.get_payload()
    expect_equal(
        [part.get_content_type() for part in (text, status, original)],
        ['text/plain', 'message/delivery-status', 'text/rfc822-headers'],
        'its parts',
    )
    of_message, of_recipient = status.get_payload()
    expect_equal(of_message['Reporting-MTA'], 'dns; relay.test', 'Reporting-MTA')
    expect_equal(of_message['Original-Envelope-Id'], 'mark', 'Original-Envelope-Id')
    expect(of_message['Arrival-Date'], 'no Arrival-Date')
    expect_equal(of_recipient['Final-Recipient'], 'rfc822; x@nowhere.test', 'Final-Recipient')
    expect_equal((of_recipient['Action'], of_recipient['Status']), ('failed', '5.1.2'), 'Action and Status')
    expect('x@nowhere.test' in text.get_payload(), 'the text for people does not name the recipient')
    expect(b'hello' not in home.taken[0].data, 'the body was returned though only the header was wanted')

    for wish in ('never', 'delay', 'success'):
        sternpost.submit('-f', 'alice@sender.test', '-N', wish, 'x@nowhere.test', text=TEXT % 'x')
    sternpost.submit('-f', '<>', 'x@nowhere.test', text=TEXT % 'x')
    sternpost.wait_empty()
    wait_for('the administrator is told of what nobody else can be', lambda: office.taken)
    expect_equal(len(home.taken), 1, 'notices to the sender')
    expect_equal([(t.reverse_path, t.recipients) for t in office.taken], [('', ['hostmaster@office.test'])], 'others')


@test
def a_name_in_from_is_written_so_that_it_can_be_read(machine):
    """RFC 2047 §2, §5; RFC 5322 §3.2.5."""
    ScriptedDns(machine, domain('a.test', '127.0.0.25'))
    host = ScriptedMx(machine, '127.0.0.25')
    sternpost = Sternpost(machine)
    names = ['J\u00f6rg M\u00fcller', 'Doe, J. "Joe"', 'Ann Lee', '\u65e5\u672c' * 20]
    for n, name in enumerate(names):
        sternpost.submit('-F', name, '-f', 'alice@sender.test', 'bob@a.test', text='Subject: s\n\nhello\n')
        wait_for('message %d' % n, lambda: len(host.taken) == n + 1)
        message = email.message_from_bytes(host.taken[n].data)
        shown, address = email.utils.parseaddr(message['From'])
        shown = str(email.header.make_header(email.header.decode_header(shown)))
        expect_equal((shown, address), (name, 'alice@sender.test'), 'From')
        raw = host.taken[n].data.split(b'\r\n\r\n')[0]
        expect(max(map(len, raw.split(b'\r\n'))) <= 78, 'a header line is longer than 78 octets: %r' % raw)
        expect(raw.isascii(), 'the header is not ASCII: %r' % raw)


if __name__ == '__main__':
    sys.exit(run())
