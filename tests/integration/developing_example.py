#!/usr/bin/python3
"""The changes of doc/developing.md, applied to a copy of the tree, build, and work: a note is set, shown, kept over a restart,
shown while no daemon runs, and removed. usage: developing_example.py BUILD-FOLDER"""
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MOST_FILES = 5


def command(*words, **options):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        sys.exit('%s\n%s: exit code %d' % (done.stdout[-6000:], ' '.join(words[:3]), done.returncode))


def copy_tree(target):
    for folder in ('src', 'etc', 'man', 'doc'):
        shutil.copytree(os.path.join(TOP, folder), os.path.join(target, folder))
    for file in ('meson.build', 'meson_options.txt'):
        shutil.copy(os.path.join(TOP, file), target)


def changes():
    with open(os.path.join(TOP, 'doc', 'developing.md'), encoding='utf-8') as page:
        return re.findall(r'^```diff\n(.*?)^```$', page.read(), re.DOTALL | re.MULTILINE)


def use():
    """With the programs of the example, in a machine of its own."""
    from machine import expect, run, test, wait_for
    from peers import Dns
    from sternpost import Sternpost

    @test
    def a_note_is_kept_and_shown(machine):
        Dns(machine, [])
        mta = Sternpost(machine)

        def shown():
            done = mta.command('policy', 'note', 'show', 'example.com')
            return done.out if done.code == 0 else ''

        def note(text):
            mta.do('policy', 'note', 'set', 'example.com', text)

        expect(shown() == '', 'there is a note before one was set')
        note('ask Ann first')
        wait_for('the note is shown', lambda: 'ask Ann first' in shown())
        mta.stop()
        expect('ask Ann first' in shown(), 'the note is not shown while no daemon runs')
        mta.start()
        expect('ask Ann first' in shown(), 'the note is lost over a restart')
        note('')
        wait_for('the note is gone', lambda: shown() == '')

    sys.exit(run())


def main():
    if os.environ.get('STERNPOST_EXAMPLE'):
        use()
    folder = os.path.join(os.path.abspath(sys.argv[1]), 'developing-example')
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    copy_tree(folder)
    diffs = changes()
    if not 1 <= len(diffs) <= MOST_FILES:
        sys.exit('doc/developing.md changes %d files, and promises at most %d' % (len(diffs), MOST_FILES))
    for diff in diffs:
        command('patch', '--forward', '--strip=1', '--no-backup-if-mismatch', input=diff, cwd=folder)
    build = os.path.join(folder, 'build')
    environment = dict(os.environ)
    if shutil.which('clang++-16'):  # a third of the time
        environment.update(CC='clang-16', CXX='clang++-16')
    options = ['--buildtype=plain', '-Doptimization=0', '--unity=on', '--unity-size=8', '-Dtests=false']
    command('meson', 'setup', build, folder, *options, env=environment)
    command('ninja', '-C', build, 'sternpostd', 'sternpost', 'sendmail')
    os.execve(sys.argv[0], sys.argv[:1], dict(os.environ, STERNPOST_BUILD=build, STERNPOST_EXAMPLE='1'))


if __name__ == '__main__':
    main()
