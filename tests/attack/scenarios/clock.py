"""A wall clock that is set back between a kill and the next start. Needs Debian's libfaketime."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.attack.scenario import Attack, scenario
from tests.attack.scenarios.storage import finish, submit, table

LIBRARY = Path(os.environ.get("FAKETIME_LIBRARY", "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"))
CLOCK = {
    "LD_PRELOAD": str(LIBRARY),
    "FAKETIME_TIMESTAMP_FILE": "{folder}/clock",
    "FAKETIME_NO_CACHE": "1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "NO_FAKE_STAT": "1",
}
JOB_S = 60.0

if LIBRARY.exists():

    @scenario("clock-set-back", env=CLOCK, faults=(16,))
    def clock_set_back(attack: Attack) -> None:
        """Kill the service during a job, set the clock back by a day, and start it. The job must be continued."""
        attack.may_interrupt = True
        attack.bystander.stop()
        clock = attack.target.folder / "clock"
        response = submit(attack, table(attack, 20_000))
        attack.count(response.status_code)
        path = response.headers["Location"]
        until = time.monotonic() + 30
        while attack.target.send("GET", path).json()["status"] == "queued" and time.monotonic() < until:
            time.sleep(0.02)
        attack.target.kill()
        clock.write_text("-86400")
        attack.target.start()
        started_s = time.monotonic()
        status = finish(attack, path, timeout_s=JOB_S)
        took_s = time.monotonic() - started_s
        attack.fact(f"clock set back by a day across a kill: the job is {status} {took_s:.0f} s after the start")
        attack.require(status == "succeeded", f"after a clock set back by a day the job is {status}")
