#!/usr/bin/python3
"""TLS reports (RFC 8460) as the world gets them: by mail and by HTTPS, through nginx, after a day that passes because the clock says so.
report_check.py reads each of them. The ids are those of doc/obligations.tsv.
"""
import collections
import datetime
import http.server
import json
import re
import sys
import threading
import time

import dkim

from days import KEY, KEYS, PLAIN, POLICY, REPORTER, Days, domain, policies_of
from machine import Process, expect, expect_equal, run, test, wait_for
from peers import Authority, environment, listens, program
from report_check import check_mail, check_post, check_report
from scripted import ScriptedDns, ScriptedMx, certificate
from sternpost import Sternpost

TEXT = 'From: Alice <alice@sender.test>\nTo: bob\nSubject: secret-subject\n\nhello\n'
COLLECTOR = '127.0.0.81'

Post = collections.namedtuple('Post', 'host path headers body')


class Collector:
    """nginx for https://HOST/, in front of a small program that keeps what is posted. Paths: /ok, /fail (500), /slow (no answer),
    /moved (a redirect that nginx makes), /once-failed (500 the first time)."""

    def __init__(self, machine, hosts):
        self.posts, self.machine = [], machine
        outer, self.failed = self, set()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers['Content-Length']))
                if self.path == '/slow':
                    time.sleep(20)
                    return
                fails = self.path == '/fail' or (self.path == '/once-failed' and self.path not in outer.failed)
                outer.failed.add(self.path)
                if not fails:
                    outer.posts.append(Post(self.headers['Host'], self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(500 if fails else 201)
                self.send_header('Content-Length', '0')
                self.end_headers()

            def log_message(self, *_):
                pass

        back = http.server.ThreadingHTTPServer((COLLECTOR, 8080), Handler)
        back.daemon_threads = True
        threading.Thread(target=back.serve_forever, daemon=True).start()

        def end():
            back.shutdown()
            back.server_close()

        machine.at_end(end)
        folder = machine.folder('collector')
        servers = ''
        for host, (chain, key) in hosts.items():
            servers += f'''
    server {{
        listen {COLLECTOR}:443 ssl;
        server_name {host};
        ssl_certificate {chain};
        ssl_certificate_key {key};
        location = /moved {{ return 307 https://{host}/ok; }}
        location / {{ proxy_pass http://{COLLECTOR}:8080; proxy_set_header Host $host; }}
    }}'''
        kinds = ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi')
        temporary = ''.join('\n    %s_temp_path %s/tmp;' % (kind, folder) for kind in kinds)
        conf = machine.write(
            'collector/nginx.conf',
            f'''\
daemon off;
user root root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr info;
events {{ worker_connections 256; }}
http {{{temporary}
    access_log {folder}/access.log;{servers}
}}
''',
        )
        command = [program('usr/sbin/nginx'), '-e', 'stderr', '-p', folder, '-c', conf]
        self.process = Process(machine, 'collector', command, environment())
        self.process.ready('listens', lambda: listens(COLLECTOR, 443))

    def requests(self):
        with open(self.machine.path('collector/access.log')) as f:
            return f.read().splitlines()


def send(daemon, *recipients):
    daemon.submit('-f', 'alice@sender.test', *recipients, text=TEXT)


def signed(octets):
    """RPT-63, RPT-64, RPT-65: by the submitter itself, over both fields and once more, and dkimpy says that it is good."""
    look = lambda name, timeout=5: KEYS.get(name.decode().rstrip('.'), '').encode() or None
    expect(dkim.DKIM(octets).verify(dnsfunc=look), 'the signature of the report does not verify')
    field = re.sub(rb'\s', b'', re.match(rb'(?i)dkim-signature:((?:[^\r]|\r\n[ \t])*)', octets)[1]).decode()
    tags = dict(tag.split('=', 1) for tag in field.split(';') if tag)
    expect_equal((tags['d'], 'l' in tags), ('nordmail.test', False), 'd=, l=')
    names = tags['h'].lower().split(':')
    for name in ('tls-report-domain', 'tls-report-submitter'):
        expect_equal(names.count(name), 2, name + ' in h=')
    for forged in (b'TLS-Report-Domain: x.test\r\n', b'TLS-Report-Submitter: x.test\r\n'):
        expect(not dkim.DKIM(forged + octets).verify(dnsfunc=look), 'a second field is not noticed')


@test
def a_domain_that_asks_gets_its_report_when_the_day_is_over(machine):
    """RPT-01, RPT-03, RPT-09, RPT-12, RPT-13, RPT-15, RPT-17, RPT-18, RPT-19, RPT-20, RPT-25, RPT-27, RPT-29, RPT-30, RPT-33, RPT-34,
    RPT-35, RPT-39, RPT-57, RPT-58, RPT-59, RPT-60, RPT-61, RPT-62, RPT-63, RPT-64,
    RPT-65, RPT-67, RPT-71."""
    authority = Authority(machine)
    records = {
        **domain('good.test', '127.0.1.1', 'mailto:tls@reports.test,https://collector.test/ok', policy=True),
        **domain('bad.test', '127.0.1.2', 'mailto:tls@reports.test', policy=True),
        **domain('quiet.test', '127.0.1.3'),
        # what the reports go to enforces a policy that its only host cannot meet
        **domain('reports.test', '127.0.1.4', 'mailto:tls@reports.test', policy=True),
        ('collector.test', 'A'): [COLLECTOR],
    }
    records[('_smtp._tls.bad.test', 'TXT')] = ['"v=TLSRPTv1; rua=mailto:tls" "@reports.test"']  # joined without a blank
    server = ScriptedDns(machine, records)
    policies_of(machine, authority, {'good.test': 'enforce', 'bad.test': 'testing', 'reports.test': 'enforce'})
    good = ScriptedMx(machine, '127.0.1.1', certificate(machine, authority, 'good', ['mx.good.test'], key=KEY))
    bad = ScriptedMx(machine, '127.0.1.2', certificate(machine, authority, 'bad', ['mx.bad.test'], key=KEY, expired=True))
    ScriptedMx(machine, '127.0.1.3')
    mailbox = ScriptedMx(machine, '127.0.1.4')
    collector = Collector(machine, {'collector.test': authority.issue('collector.test')})
    days = Days(machine, authority).sign(server)
    for _ in range(2):
        send(days.daemon, 'secret-bob@good.test')
    send(days.daemon, 'secret-bob@bad.test', 'secret-bob@quiet.test')
    wait_for('the mail has arrived', lambda: len(good.taken) == 2 and bad.taken)
    days.daemon.wait_empty()
    preview = days.counted('good.test')
    check_report(json.dumps(preview['report']).encode())
    expect_equal(preview['places'], ['mailto:tls@reports.test', 'https://collector.test/ok'], 'places')
    days.counted('bad.test')
    expect('has no TLSRPT record' in days.counted('quiet.test')['why_not'], 'preview does not say that quiet.test asks for nothing')
    expect_equal((mailbox.taken, collector.posts), ([], []), 'reports before the day is over')
    expect_equal(days.daemon.command('tlsrpt', 'send', '--day', days.day(0)).code, 1, '`tlsrpt send` of a day that is not over')

    daemon = days.next_noon()
    wait_for('three reports', lambda: len(mailbox.taken) == 2 and len(collector.posts) == 1)
    by_domain = {}
    for taken in mailbox.taken:
        expect_equal((taken.reverse_path, taken.tls), ('tlsrpt@nordmail.test', None), 'reverse-path, TLS')
        for secret in (b'secret', b'alice'):
            expect(secret not in taken.data, 'a report tells what the mail was about')
        message, report = check_mail(taken.data)
        signed(taken.data)
        expect_equal(message['TLS-Required'], 'No', 'TLS-Required')
        by_domain[message['TLS-Report-Domain']] = report
    expect_equal(set(by_domain), {'good.test', 'bad.test'}, 'domains with a report')
    post = collector.posts[0]
    expect_equal(check_post(post.headers, post.body), by_domain['good.test'], 'the report by HTTPS and by mail')
    for name, report in by_domain.items():
        expect_equal(report['organization-name'], 'Nordmail e. G.', 'organization-name')
        expect_equal(report['date-range']['start-datetime'][:10], days.day(0), 'the day')
        entry = report['policies'][0]
        expect_equal(entry['policy']['policy-string'], (POLICY % ('enforce' if name == 'good.test' else 'testing', 'mx.' + name)).split('\n')[:-1], 'policy-string')
        expect_equal(entry['policy']['mx-host'], ['mx.' + name], 'mx-host')
    expect_equal(by_domain['good.test']['policies'][0]['failure-details'], [], 'failures of good.test')
    detail = by_domain['bad.test']['policies'][0]['failure-details'][0]
    # the scripted host puts no name in front of its EHLO reply: what stands there is what it calls itself
    wanted = ('certificate-expired', 'mx.bad.test', 'PIPELINING', '127.0.1.2', 1)
    seen = tuple(detail.get(k) for k in ('result-type', 'receiving-mx-hostname', 'receiving-mx-helo', 'receiving-ip', 'failed-session-count'))
    expect_equal(seen, wanted, 'the failure of bad.test')
    # Who gets such reports reads them with the same program.
    files = [machine.write('mail-%d' % n, taken.data) for n, taken in enumerate(mailbox.taken)] + [machine.write('post', post.body)]
    read = json.loads(daemon.command('tlsrpt', 'read', *files, '--json').out)
    expect_equal([r['oddities'] for r in read['reports']], [[], [], []], 'what is odd about our own reports')
    expect_equal(sorted(r['counted'] for r in read['reports']), [False, True, True], 'reports that were counted')
    rows = {r['domain']: (r['organization'], r['failed'], [f['result_type'] for f in r['failures']]) for r in read['rows']}
    expect_equal(rows, {'bad.test': ('Nordmail e. G.', 1, ['certificate-expired']), 'good.test': ('Nordmail e. G.', 0, [])}, '`tlsrpt read`')
    shown = daemon.command('tlsrpt', 'read', *files)
    expect(shown.code == 0 and 'the certificate has expired' in shown.out, '`tlsrpt read`: %s' % (shown,))
    expect_equal(daemon.command('tlsrpt', 'read', machine.path('none')).code, 66, '`tlsrpt read` of no file')
    expect_equal(daemon.command('tlsrpt', 'read', machine.write('garbage', 'hello')).code, 65, '`tlsrpt read` of no report')
    # Told once, whatever happens.
    daemon.kill()
    days.noon(1)
    listed = days.daemon.ask('tlsrpt', 'list')
    expect_equal(sorted((r['domain'], r['state']) for r in listed), [('bad.test', 'done'), ('good.test', 'done')], '`tlsrpt list`')
    all_of_them = {r['domain']: r['state'] for r in days.daemon.ask('tlsrpt', 'list', '--all')}
    expect_equal(all_of_them.get('quiet.test'), 'not-asked', 'the report for quiet.test')
    shown = days.daemon.ask('tlsrpt', 'show', by_domain['good.test']['report-id'])
    expect_equal(shown['report'], by_domain['good.test'], '`tlsrpt show`')
    # Reports are no traffic: the next day has nothing to tell.
    days.next_noon()
    days.daemon.wait_event('day-closed')
    expect_equal(len(days.daemon.ask('tlsrpt', 'list', '--all')), 3, 'reports in all')
    expect_equal((len(mailbox.taken), len(collector.posts)), (2, 1), 'mailed and posted in all')
    digest = days.daemon.ask('tlsrpt', 'digest', '--day', days.day(0))
    expect_equal([d['domain'] for d in digest['domains']][0], 'bad.test', 'the first domain of the digest')
    expect_equal(len(digest['domains']), 3, 'domains in the digest')
    words = days.daemon.command('tlsrpt', 'digest', '--day', days.day(0)).out
    expect(words.startswith('TLS on %s (UTC): 3 domain(s), 2 with failures; 1 good and 2 failed session(s).' % days.day(0)), 'the digest begins: ' + words[:200])
    expect('the certificate has expired' in words and 'quiet.test' in words and 'asks for no report' in words, 'the digest says: ' + words)


@test
def a_collector_that_fails_gets_it_later_and_one_bad_place_stops_no_other(machine):
    """RPT-06, RPT-07, RPT-08, RPT-11, RPT-68, RPT-69: errors, redirects, silence, wrong certificates, schemes that nobody knows."""
    authority, stranger = Authority(machine), Authority(machine, 'stranger')
    rua = {
        'fails.test': 'https://collector.test/fail,mailto:tls@reports.test',
        'moves.test': 'https://collector.test/moved',
        'slow.test': 'https://collector.test/slow,https://collector.test/ok',
        'forged.test': 'https://forged.test/ok',
        'once.test': 'https://collector.test/once-failed',
        'odd.test': 'http://collector.test/ok,ftp://x/,mailto:nobody,https://gone.test/,https://collector.test/ok',
        'two.test': 'mailto:tls@reports.test',
    }
    records = {('collector.test', 'A'): [COLLECTOR], ('forged.test', 'A'): [COLLECTOR], **domain('reports.test', '127.0.1.4')}
    for name, places in rua.items():
        records.update(domain(name, '127.0.1.1', places))
    records[('forged.test', 'A')] = [COLLECTOR]
    records[('_smtp._tls.two.test', 'TXT')] = ['"v=TLSRPTv1; rua=mailto:a@reports.test"', '"v=TLSRPTv1; rua=mailto:b@reports.test"']
    server = ScriptedDns(machine, records)
    mx, mailbox = ScriptedMx(machine, '127.0.1.1'), ScriptedMx(machine, '127.0.1.4')
    hosts = {'collector.test': authority.issue('collector.test'), 'forged.test': stranger.issue('forged.test')}
    collector = Collector(machine, hosts)
    days = Days(machine, authority, tlsrpt={**REPORTER, 'post_timeout': '2s'}, delivery={'idle_time': '0s'})
    days.sign(server)
    send(days.daemon, *['bob@' + name for name in rua])
    wait_for('the mail has arrived', lambda: len(mx.taken) == len(rua))
    days.daemon.wait_empty()
    for name in rua:
        days.counted(name)
    daemon = days.next_noon()
    wanted = {
        'fails.test': 'waiting',
        'moves.test': 'waiting',
        'slow.test': 'waiting',
        'forged.test': 'done',
        'once.test': 'waiting',
        'odd.test': 'waiting',
        'two.test': 'not-asked',
    }
    listed = lambda: {r['domain']: r for r in daemon.ask('tlsrpt', 'list', '--all')}
    states = lambda: {name: r['state'] for name, r in listed().items()}
    wait_for('each report was tried', lambda: states() == wanted, every=0.2)
    expect_equal(sorted(p.host + p.path for p in collector.posts), ['collector.test/ok', 'collector.test/ok', 'forged.test/ok'], 'posts')
    for post in collector.posts:
        check_post(post.headers, post.body)
    expect('/ok' not in [p.path for p in collector.posts if b'moves.test' in p.body], 'a redirect was followed')
    wait_for('the mail beside a collector that fails', lambda: mailbox.taken)
    check_mail(mailbox.taken[0].data)
    now = listed()
    for name, word in {'fails.test': 'HTTP status 500', 'moves.test': 'HTTP status 307', 'odd.test': 'gone.test has no address'}.items():
        expect(word in now[name]['reason'], '%s: %s' % (name, now[name]['reason']))
        expect(now[name]['next_at'] > now[name]['at'], '%s is not tried again' % name)
    expect('certificate was not believed' in now['forged.test']['places'][0]['text'], 'forged.test: %s' % now['forged.test']['places'])
    # By hand, at once: what was taken is not sent again.
    done = daemon.command('tlsrpt', 'send', '--day', days.day(0), '--json')
    expect_equal(done.code, 0, '`tlsrpt send`: ' + done.err)
    wait_for('the report to once.test is done', lambda: states()['once.test'] == 'done', every=0.2)
    expect_equal(len([p for p in collector.posts if p.path == '/once-failed']), 1, 'reports to once.test')
    expect_equal(len([p for p in collector.posts if p.path == '/ok']), 3, 'posts to /ok')
    expect_equal(len(mailbox.taken), 1, 'mailed')
    # Once more, when asked: the same report.
    again = daemon.command('tlsrpt', 'resend', now['forged.test']['id'])
    expect_equal(again.code, 0, '`tlsrpt resend`: ' + again.err)
    same = [p.body for p in collector.posts if p.host == 'forged.test']
    expect(len(same) == 2 and same[0] == same[1], 'the second report differs from the first')
    # A day later it is over.
    daemon = days.next_noon()
    states_then = lambda: {n: r['state'] for n, r in {r['domain']: r for r in daemon.ask('tlsrpt', 'list')}.items()}
    wait_for('what nobody took is given up', lambda: states_then()['moves.test'] == 'given-up', every=0.2)
    expect_equal(states_then()['fails.test'], 'done', 'a report that one of two places took')
    wait_for('an alarm', lambda: 'tls-report-undelivered' in [a['kind'] for a in daemon.ask('status')['alarms']], every=0.1)


@test
def killed_at_any_moment_it_reports_each_day_once(machine):
    """RPT-16, RPT-21: kill -9 while days are closed and reports made; never a second report-id, the same report each time."""
    authority = Authority(machine)
    names = ['d%d.test' % n for n in range(12)]
    records = {('collector.test', 'A'): [COLLECTOR], **domain('reports.test', '127.0.1.4')}
    for name in names:
        records.update(domain(name, '127.0.1.1', 'https://collector.test/%s,mailto:%s@reports.test' % (name, name)))
    server = ScriptedDns(machine, records)
    mx, mailbox = ScriptedMx(machine, '127.0.1.1'), ScriptedMx(machine, '127.0.1.4')
    collector = Collector(machine, {'collector.test': authority.issue('collector.test')})
    days = Days(machine, authority).sign(server)
    send(days.daemon, *['bob@' + name for name in names])
    wait_for('the mail has arrived', lambda: len(mx.taken) == len(names))
    days.daemon.wait_empty()
    for name in names:
        days.counted(name)
    days.daemon.stop()
    for moment in range(8):
        daemon = days.noon(1)
        wait_for('something is reported', lambda n=len(collector.posts): len(collector.posts) > n or len(collector.posts) >= len(names), 10, every=0.001)
        daemon.kill()
    daemon = days.noon(1)
    wait_for('all is reported', lambda: [r['state'] for r in daemon.ask('tlsrpt', 'list')] == ['done'] * len(names), every=0.2)
    daemon.wait_empty()
    ids = collections.defaultdict(set)
    for post in collector.posts:
        report = check_post(post.headers, post.body)
        ids[post.path.strip('/')].add(json.dumps(report))
    mailed = collections.Counter()
    for taken in mailbox.taken:
        message, report = check_mail(taken.data)
        ids[message['TLS-Report-Domain']].add(json.dumps(report))
        mailed[message['TLS-Report-Domain']] += 1
    expect_equal({name: len(reports) for name, reports in ids.items()}, {name: 1 for name in names}, 'different reports')
    expect_equal(set(mailed), set(names), 'domains with a mailed report')


@test
def two_reporters_have_nothing_to_tell_of_each_others_reports(machine):
    """RPT-13, RPT-14: ten days after one day with mail there has been one report each."""
    rua = {'a.test': 'mailto:tls@a.test', 'b.test': 'mailto:tls@b.test'}
    server = ScriptedDns(machine, {**domain('a.test', '127.0.1.1', rua['a.test']), **domain('b.test', '127.0.1.2', rua['b.test'])})
    mx = {'a': ScriptedMx(machine, '127.0.1.1'), 'b': ScriptedMx(machine, '127.0.1.2')}
    both = [
        Days(
            machine,
            name=one,
            hostname='out.%s.test' % one,
            listener={'listen': [address + ':25']},
            tlsrpt={**REPORTER, 'contact': 'tlsrpt@%s.test' % one},
        )
        for one, address in (('a', '127.0.0.1'), ('b', '127.0.0.2'))
    ]
    for days in both:
        days.sign(server)
    send(both[0].daemon, 'bob@b.test')
    send(both[1].daemon, 'bob@a.test')
    both[0].counted('b.test')
    both[1].counted('a.test')
    for _ in range(10):
        for days in both:
            days.next_noon()
        for days in both:
            days.daemon.wait_event('day-closed')
            wait_for('nothing waits', lambda: days.daemon.ask('tlsrpt', 'status')['waiting'] == 0, every=0.05)
            days.daemon.wait_empty()
    for one, host in mx.items():
        expect_equal(len(host.taken), 2, 'messages at ' + one)
        check_mail(host.taken[1].data)
    for days in both:
        expect_equal(len(days.daemon.ask('tlsrpt', 'list', '--all')), 1, 'reports in ten days')


@test
def before_it_is_set_up_it_counts_and_says_what_is_missing(machine):
    """D-38; RPT-15: `status`, `preview` and `digest` without a reporter, and with the daemon down."""
    authority = Authority(machine)
    server = ScriptedDns(machine, {**domain('good.test', '127.0.1.1', 'mailto:tls@reports.test'), **domain('reports.test', '127.0.1.4')})
    mx, mailbox = ScriptedMx(machine, '127.0.1.1'), ScriptedMx(machine, '127.0.1.4')
    days = Days(machine, authority, tlsrpt={'window': '0s'})
    send(days.daemon, 'bob@good.test')
    wait_for('the mail has arrived', lambda: mx.taken)
    days.counted('good.test')
    daemon = days.next_noon()
    daemon.wait_event('day-closed')
    standing = wait_for('the report waits', lambda: (lambda s: s if s['waiting'] else None)(daemon.ask('tlsrpt', 'status')), every=0.1)
    expect_equal((standing['sending'], standing['waiting']), (False, 1), '`tlsrpt status`')
    expect(any('tlsrpt.organization' in m for m in standing['missing']) and any('tlsrpt.contact' in m for m in standing['missing']), 'missing: %s' % standing['missing'])
    expect('missing: tlsrpt.contact is not set' in daemon.command('status').out, '`status` does not say what is missing')
    refused = daemon.command('tlsrpt', 'send')
    expect(refused.code == 1 and 'tlsrpt.contact is not set' in refused.err, '`tlsrpt send`: %s' % (refused,))
    daemon.stop()
    for args in (('preview', 'good.test', '--day', days.day(0)), ('digest', '--day', days.day(0)), ('list',)):
        done = daemon.command('tlsrpt', *args)
        expect(done.code == 0, '`tlsrpt %s` with the daemon down: %s' % (' '.join(args), done))
    expect_equal(daemon.command('tlsrpt', 'status').code, 69, '`tlsrpt status` with the daemon down')
    expect_equal(daemon.command('tlsrpt', 'preview', 'good.test', '--day', 'someday').code, 64, 'a day that is none')
    expect_equal(daemon.command('tlsrpt', 'preview', 'none.test').code, 1, 'a domain without mail')
    daemon.change(tlsrpt=REPORTER)
    days.noon(1)
    missing = wait_for('something is missing still', lambda: daemon.ask('tlsrpt', 'status')['missing'], every=0.1)
    expect('no active DKIM key of nordmail.test' in missing[0] or 'not been looked up yet' in missing[0], 'missing: %s' % missing)
    expect_equal(mailbox.taken, [], 'reports without a key')
    made = json.loads(daemon.do('dkim', 'generate', 'nordmail.test', '--active', '--json'))['made'][0]
    wait_for('its record is missed', lambda: made['name'] in str(daemon.ask('tlsrpt', 'status')['missing']), every=0.1)
    expect_equal(mailbox.taken, [], 'reports with a key that is not published')
    days.sign(server, '--algorithm', 'ed25519')
    wait_for('the report', lambda: mailbox.taken)
    check_mail(mailbox.taken[0].data)
    days.daemon.wait_empty()
    sent = days.daemon.command('tlsrpt', 'digest', '--day', days.day(0), '--mail')
    expect(sent.code == 0 and 'Mailed to admin_address' in sent.out, '`tlsrpt digest --mail`: %s' % (sent,))


if __name__ == '__main__':
    sys.exit(run())
