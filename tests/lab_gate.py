#!/usr/bin/python3
"""Runs the black-box judge of sending MTAs that may lie beside the project (../shared/lab) on the built programs, and fails when a
scenario fails that passed before. The list of those is tests/data/lab_passed.txt; --update rewrites it from this run.

A scenario that fails now is tried once more, alone, before it counts: the judge runs sixteen at a time, in real time, and a
machine that was busy elsewhere is no regression. Everything that a run leaves is in the build folder.
"""
import argparse
import json
import os
import re
import subprocess
import sys

TESTS = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(TESTS)
LAB = os.path.join(os.path.dirname(TOP), 'shared', 'lab')
PASSED = os.path.join(TESTS, 'data', 'lab_passed.txt')
SKIPPED = 77


def judge(build, name, *args):
    """One run of the judge: its results by scenario id. What it said is kept in the build folder as lab-NAME.log."""
    out, log = os.path.join(build, 'lab-%s.json' % name), os.path.join(build, 'lab-%s.log' % name)
    if os.path.exists(out):
        os.unlink(out)
    with open(log, 'w') as f:
        subprocess.run(
            [os.path.join(LAB, 'run.sh'), os.path.join(TESTS, 'lab_adapter.py'), '--trace', '--out', out, *args],
            env=dict(os.environ, STERNPOST_BUILD=build),
            stdin=subprocess.DEVNULL,
            stdout=f,
            stderr=f,
        )
    try:
        with open(out) as f:
            return {r['id']: r for r in json.load(f)['results']}
    except (OSError, ValueError):
        with open(log) as f:
            sys.exit('lab_gate: the judge gave no results; its last words:\n' + ''.join(f.readlines()[-20:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--update', action='store_true', help='rewrite tests/data/lab_passed.txt from this run')
    parser.add_argument(
        '--build',
        default=os.environ.get('STERNPOST_BUILD') or os.path.join(TOP, 'build'),
        help='the build folder (default: STERNPOST_BUILD or build)',
    )
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    if not os.path.isdir(LAB):
        print('lab_gate: skipped, there is no ../shared/lab beside the project')
        return SKIPPED
    if os.geteuid() != 0:
        print('lab_gate: skipped, the judge needs root')
        return SKIPPED
    if not os.path.exists(os.path.join(build, 'sternpostd')):
        sys.exit('lab_gate: no sternpostd in the build folder; build first, or name the folder with --build')

    before = set()
    if os.path.exists(PASSED):
        with open(PASSED) as f:
            before = set(f.read().split())
    results = judge(build, 'all')
    areas = {}
    for r in results.values():
        counts = areas.setdefault(r['area'], {})
        counts[r['result']] = counts.get(r['result'], 0) + 1

    fallen = sorted(i for i in before if results.get(i, {}).get('result') != 'pass')
    for i in list(fallen):
        first = results.get(i)
        if first is None:
            print('%s: the judge no longer has it; --update takes it off the list' % i)
            fallen.remove(i)
            continue
        print(
            '%s: passed before, now %s (%s); tried a second time, alone' % (i, first['result'], first['reason']),
            flush=True,
        )
        again = judge(build, i, '--only', '^%s$' % re.escape(i))[i]
        print(
            '%s: %s the second time%s' % (i, again['result'], ' (%s)' % again['reason'] if again['reason'] else ''),
            flush=True,
        )
        if again['result'] == 'pass':
            results[i] = again
            fallen.remove(i)
            areas[first['area']][first['result']] -= 1
            areas[first['area']]['pass'] = areas[first['area']].get('pass', 0) + 1

    for area, counts in areas.items():
        tried = sum(counts.get(k, 0) for k in ('pass', 'fail', 'error'))
        share = ' (%d %%)' % (100 * counts.get('pass', 0) // tried) if tried else ''
        print(
            '%-5s %3d of %3d passed%s%s%s'
            % (
                area,
                counts.get('pass', 0),
                tried,
                share,
                ', %d errors' % counts['error'] if counts.get('error') else '',
                ', %d not applicable' % counts['n/a'] if counts.get('n/a') else '',
            )
        )
    passed = sorted(i for i, r in results.items() if r['result'] == 'pass')
    new = sorted(set(passed) - before)
    if args.update:
        os.makedirs(os.path.dirname(PASSED), exist_ok=True)
        with open(PASSED, 'w') as f:
            f.writelines(i + '\n' for i in passed)
        print('lab_gate: %d scenarios passed and are on the list now' % len(passed))
        return 0
    if new:
        print('lab_gate: %d passed that are not on the list yet (--update takes them in)' % len(new))
    failed = sum(counts.get(k, 0) for counts in areas.values() for k in ('fail', 'error'))
    print(
        'lab_gate: %d scenarios passed, %d did not, %d of those had passed before%s'
        % (len(passed), failed, len(fallen), ': ' + ' '.join(fallen) if fallen else '')
    )
    return 1 if fallen else 0


if __name__ == '__main__':
    sys.exit(main())
