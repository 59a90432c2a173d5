#!/usr/bin/python3
"""What a TLS report must look like, read anew from RFC 8460 and RFC 7493 and knowing nothing of how Sternpost makes one.

check_report(octets) and check_gzip(octets) give the report, check_mail(octets) the mail's fields and the report, check_post(...) the
report; each raises Failure with a sentence. Run as a script it shows that it can refuse.
"""
import copy
import datetime
import email
import email.policy
import ipaddress
import json
import re
import sys
import zlib

from machine import Failure, expect, expect_equal

RESULT_TYPES = {
    'starttls-not-supported',
    'certificate-host-mismatch',
    'certificate-expired',
    'certificate-not-trusted',
    'validation-failure',
    'tlsa-invalid',
    'dnssec-invalid',
    'dane-required',
    'sts-policy-fetch-error',
    'sts-policy-invalid',
    'sts-webpki-invalid',
}
NEEDS_REASON = {'certificate-not-trusted', 'validation-failure'}  # RFC 8460 §4.3.1, §4.3.3
HOST = re.compile(r'(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z')
MOST = 10_000_000  # octets that receivers take (RFC 8460 §5.2)


def i_json(octets):
    """RFC 7493: UTF-8 without surrogates, no key twice, integers that every reader holds exactly."""
    try:
        text = octets.decode('utf-8')
    except UnicodeDecodeError as e:
        raise Failure('the report is not UTF-8: %s' % e) from None
    expect(not text.startswith('\ufeff'), 'the report begins with a byte order mark')

    def pairs(items):
        keys = [k for k, _ in items]
        expect(len(set(keys)) == len(keys), 'a key stands twice: %s' % keys)
        return dict(items)

    def number(digits):
        value = int(digits)
        expect(abs(value) < 1 << 53, 'an integer beyond 2^53: %s' % digits)
        return value

    def no(word):
        raise Failure('a number that is no integer: %s' % word)

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_int=number, parse_float=no, parse_constant=no)
    except (ValueError, RecursionError) as e:
        raise Failure('the report is no JSON: %s' % e) from None

    def walk(part):
        if isinstance(part, str):
            expect(not re.search('[\ud800-\udfff]', part), 'a lone surrogate: %r' % part)
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            walk(inner)
        for key in part if isinstance(part, dict) else ():
            walk(key)

    walk(value)
    return value


def members(thing, what, must, may=()):
    expect(isinstance(thing, dict), '%s is no object' % what)
    missing = set(must) - set(thing)
    expect(not missing, '%s lacks %s' % (what, sorted(missing)))
    more = set(thing) - set(must) - set(may)
    expect(not more, '%s has %s' % (what, sorted(more)))


def text(value, what):
    expect(isinstance(value, str) and value != '', '%s is no text: %r' % (what, value))
    return value


def count(value, what):
    expect(type(value) is int and value >= 0, '%s is no count: %r' % (what, value))
    return value


def time(value, what):
    expect(isinstance(value, str) and re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', value), '%s is no time in UTC: %r' % (what, value))
    return datetime.datetime.strptime(value, '%Y-%m-%dT%H:%M:%SZ').replace(tzinfo=datetime.timezone.utc)


def host(value, what):
    expect(HOST.match(text(value, what)), '%s is no name in A-labels: %r' % (what, value))


def address(value, what):
    try:
        parsed = ipaddress.ip_address(text(value, what))
    except ValueError:
        raise Failure('%s is no address: %r' % (what, value)) from None
    expect_equal(value, str(parsed), what)  # RFC 5952


def check_report(octets):
    report = i_json(octets)
    members(report, 'the report', ('organization-name', 'date-range', 'contact-info', 'report-id', 'policies'))
    text(report['organization-name'], 'organization-name')
    contact = text(report['contact-info'], 'contact-info')
    expect(re.fullmatch(r'[^\s<>:@]+@[^\s<>:@]+', contact), 'contact-info is no bare address: %r' % contact)
    members(report['date-range'], 'date-range', ('start-datetime', 'end-datetime'))
    begin = time(report['date-range']['start-datetime'], 'start-datetime')
    end = time(report['date-range']['end-datetime'], 'end-datetime')
    expect(begin.time() == datetime.time(0) and end - begin == datetime.timedelta(days=1, seconds=-1), 'not one UTC day: %s to %s' % (begin, end))
    report_id = text(report['report-id'], 'report-id')
    expect(re.fullmatch(r'[^\s<>@]+@[^\s<>@]+', report_id), 'report-id has not the shape of a msg-id: %r' % report_id)
    expect_equal(report_id.split('@')[1], contact.split('@')[1].lower(), 'the domain of the report-id')
    expect(isinstance(report['policies'], list) and report['policies'], 'policies is no list, or empty')
    seen = set()
    for entry in report['policies']:
        members(entry, 'a policy entry', ('policy', 'summary', 'failure-details'))
        key = check_policy(entry['policy'])
        expect(key not in seen, 'two entries for one policy: %s' % (key,))
        seen.add(key)
        members(entry['summary'], 'summary', ('total-successful-session-count', 'total-failure-session-count'))
        for name, value in entry['summary'].items():
            count(value, name)
        expect(isinstance(entry['failure-details'], list), 'failure-details is no list')
        details = set()
        for detail in entry['failure-details']:
            details.add(check_detail(detail))
        expect_equal(len(details), len(entry['failure-details']), 'details that differ')
        if entry['summary']['total-failure-session-count']:
            expect(details, 'failures without a detail')
    return report


def check_policy(policy):
    kind = policy.get('policy-type') if isinstance(policy, dict) else None
    expect(kind in ('sts', 'tlsa', 'no-policy-found'), 'policy-type is %r' % kind)
    may = {'sts': ('policy-string', 'mx-host'), 'tlsa': ('policy-string',), 'no-policy-found': ()}[kind]
    members(policy, 'policy', ('policy-type', 'policy-domain'), may)
    host(policy['policy-domain'], 'policy-domain')
    lines = policy.get('policy-string', [])
    expect(isinstance(lines, list) and all(isinstance(line, str) for line in lines), 'policy-string is no list of texts: %r' % lines)
    expect(lines or 'policy-string' not in policy, 'policy-string is empty')
    if kind == 'tlsa':
        for line in lines:
            expect(re.fullmatch(r'\d+ \d+ \d+ [0-9A-Fa-f]+', line), 'no TLSA record: %r' % line)
    patterns = policy.get('mx-host', [])
    expect(isinstance(patterns, list), 'mx-host is no list: %r' % patterns)
    for pattern in patterns:
        host(text(pattern, 'mx-host').removeprefix('*.'), 'mx-host')
    return kind, policy['policy-domain'], tuple(lines)


def check_detail(detail):
    optional = ('sending-mta-ip', 'receiving-mx-hostname', 'receiving-mx-helo', 'receiving-ip', 'additional-information', 'failure-reason-code')
    members(detail, 'a failure detail', ('result-type', 'failed-session-count'), optional)
    expect(text(detail['result-type'], 'result-type') in RESULT_TYPES, 'no registered result type: %r' % detail['result-type'])
    expect(count(detail['failed-session-count'], 'failed-session-count') > 0, 'a detail of no session')
    for name in ('sending-mta-ip', 'receiving-ip'):
        if name in detail:
            address(detail[name], name)
    if 'receiving-mx-hostname' in detail:
        host(detail['receiving-mx-hostname'], 'receiving-mx-hostname')
    for name in optional:
        if name in detail:
            expect(not re.search(r'[\0-\x1f\x7f]', text(detail[name], name)), '%s has control characters: %r' % (name, detail[name]))
    if detail['result-type'] in NEEDS_REASON:
        expect('failure-reason-code' in detail, '%s without a reason' % detail['result-type'])
    return tuple(sorted((k, v) for k, v in detail.items() if k != 'failed-session-count'))


def check_gzip(octets):
    expect(len(octets) < MOST, 'the report has %d octets' % len(octets))
    unpack = zlib.decompressobj(wbits=31)
    try:
        out = unpack.decompress(octets)
    except zlib.error as e:
        raise Failure('not gzip: %s' % e) from None
    expect(unpack.eof and not unpack.unused_data, 'not one whole gzip member')
    return check_report(out)


def check_post(headers, body):
    """headers: lower-case names. RFC 8460 §5.4."""
    expect_equal(headers.get('content-type'), 'application/tlsrpt+gzip', 'Content-Type')
    return check_gzip(body)


def check_mail(octets):
    """RFC 8460 §5.1, §5.3, §5.6: what stands outside says what the report says."""
    for line in octets.split(b'\r\n'):
        expect(b'\n' not in line and b'\r' not in line and len(line) <= 998, 'a bad line end, or a long line: %r' % line[:80])
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    expect(not message.defects, 'the mail has defects: %s' % message.defects)
    expect_equal(message.get_content_type(), 'multipart/report', 'Content-Type')
    expect_equal(message['Content-Type'].params.get('report-type'), 'tlsrpt', 'report-type')
    parts = list(message.iter_parts())
    expect_equal([p.get_content_type() for p in parts], ['text/plain', 'application/tlsrpt+gzip'], 'parts')
    for part in parts:
        expect(not part.defects, 'a part has defects: %s' % part.defects)
    expect_equal(parts[1]['Content-Transfer-Encoding'], 'base64', 'Content-Transfer-Encoding')
    report = check_gzip(parts[1].get_payload(decode=True))
    for name in ('From', 'To', 'Date', 'Message-ID', 'Subject', 'TLS-Report-Domain', 'TLS-Report-Submitter', 'MIME-Version'):
        expect_equal(len(message.get_all(name, [])), 1, 'fields named ' + name)
    domain, submitter = message['TLS-Report-Domain'], message['TLS-Report-Submitter']
    expect_equal(submitter, report['contact-info'].split('@')[1].lower(), 'TLS-Report-Submitter')
    expect(report['report-id'].split('.', 1)[1].startswith(domain + '.'), 'the report-id %s is not of %s' % (report['report-id'], domain))
    expect_equal(re.sub(r'\s+', ' ', message['Subject']), 'Report Domain: %s Submitter: %s Report-ID: <%s>' % (domain, submitter, report['report-id']), 'Subject')
    name = parts[1].get_filename()
    match = re.fullmatch(r'([^!]+)!([^!]+)!(\d+)!(\d+)(?:!([A-Za-z0-9]+))?\.json\.gz', name or '')
    expect(match, 'the file name is %r' % name)
    begin, end = (time(report['date-range'][k], k) for k in ('start-datetime', 'end-datetime'))
    expect_equal(match.groups()[:4], (submitter, domain, '%d' % begin.timestamp(), '%d' % end.timestamp()), 'file name')
    words = parts[0].get_content()
    expect(domain in words and report['report-id'] in words, 'the text for people names neither domain nor report')
    return message, report


def main():
    """Each broken report must be refused."""
    good = {
        'organization-name': 'O',
        'date-range': {'start-datetime': '2026-03-14T00:00:00Z', 'end-datetime': '2026-03-14T23:59:59Z'},
        'contact-info': 'a@x.test',
        'report-id': '1.d.test@x.test',
        'policies': [
            {
                'policy': {'policy-type': 'sts', 'policy-domain': 'd.test', 'policy-string': ['version: STSv1'], 'mx-host': ['*.d.test']},
                'summary': {'total-successful-session-count': 1, 'total-failure-session-count': 1},
                'failure-details': [{'result-type': 'validation-failure', 'failed-session-count': 1, 'failure-reason-code': 'x', 'receiving-ip': '2001:db8::1'}],
            }
        ],
    }
    check_report(json.dumps(good).encode())
    check_gzip(zlib_of(json.dumps(good).encode()))
    entry = lambda r: r['policies'][0]
    detail = lambda r: entry(r)['failure-details'][0]
    faults = {
        'no report-id': lambda r: r.pop('report-id'),
        'another member': lambda r: r.update(more=1),
        'mx-host as a text': lambda r: entry(r)['policy'].update({'mx-host': 'd.test'}),
        'policy-string as a text': lambda r: entry(r)['policy'].update({'policy-string': 'version: STSv1'}),
        'mx-host of tlsa': lambda r: entry(r)['policy'].update({'policy-type': 'tlsa'}),
        'a count as a text': lambda r: entry(r)['summary'].update({'total-failure-session-count': '1'}),
        'a count with a fraction': lambda r: entry(r)['summary'].update({'total-failure-session-count': 1.5}),
        'a count beyond 2^53': lambda r: entry(r)['summary'].update({'total-failure-session-count': 1 << 53}),
        'no time zone': lambda r: r['date-range'].update({'end-datetime': '2026-03-14T23:59:59'}),
        'not a whole day': lambda r: r['date-range'].update({'start-datetime': '2026-03-14T01:00:00Z'}),
        'an unknown result type': lambda r: detail(r).update({'result-type': 'bad-luck'}),
        'no reason': lambda r: detail(r).pop('failure-reason-code'),
        'an address in another form': lambda r: detail(r).update({'receiving-ip': '2001:DB8:0::1'}),
        'a name with a root dot': lambda r: entry(r)['policy'].update({'policy-domain': 'd.test.'}),
        'a U-label': lambda r: entry(r)['policy'].update({'policy-domain': 'dö.test'}),
        'a line break in HELO': lambda r: detail(r).update({'receiving-mx-helo': 'a\r\nb'}),
        'a URI as contact': lambda r: r.update({'contact-info': 'mailto:a@x.test'}),
        'failures without a detail': lambda r: entry(r).update({'failure-details': []}),
        'no policies': lambda r: r.update(policies=[]),
        'a lone surrogate': lambda r: r.update({'organization-name': '\ud800'}),
    }
    missed = []
    for name, fault in faults.items():
        report = copy.deepcopy(good)
        fault(report)
        try:
            check_report(json.dumps(report).encode())
            missed.append(name)
        except Failure:
            pass
    for name, octets in {'a key twice': b'{"a":1,"a":2}', 'Latin-1': b'{"a":"\xe9"}', 'a BOM': b'\xef\xbb\xbf{}', 'NaN': b'{"a":NaN}'}.items():
        try:
            check_report(octets)
            missed.append(name)
        except Failure as e:
            if 'lacks' in str(e):
                missed.append(name)
    print('%d broken reports, %d not noticed%s' % (len(faults) + 4, len(missed), ': ' + ', '.join(missed) if missed else ''))
    return 1 if missed else 0


def zlib_of(octets):
    pack = zlib.compressobj(wbits=31)
    return pack.compress(octets) + pack.flush()


if __name__ == '__main__':
    sys.exit(main())
