"""A serving process may hold as many connections as the system permits it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RAISES = """
import resource
from serving.process import raise_file_limit
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
assert raise_file_limit() == hard
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
assert raise_file_limit() == hard
"""


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    # In a process of its own: a limit is the whole process's.
    subprocess.run([sys.executable, "-c", RAISES], cwd=ROOT, check=True)


def test_what_lives_is_spared_and_what_comes_later_is_collected() -> None:
    code = """
import gc, weakref
from serving.process import spare_what_lives
class Ring: pass
def ring():
    one = Ring(); one.itself = one
    return weakref.ref(one)
gc.disable()
dead = ring()
spare_what_lives()
assert dead() is None and gc.get_freeze_count() > 1000
later = ring()
gc.collect()
assert later() is None
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
