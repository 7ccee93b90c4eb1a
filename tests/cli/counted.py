"""ERM that writes down each start and finish, and can be told to pause, wait, fail or die."""

import os
import signal
import time
from pathlib import Path

from aspire.baselines.erm import ERM


def note(text):
    with Path(os.environ["ASPIRE_TEST_CALLS"]).open("a") as log:
        log.write(f"{text}\n")


class CountedERM(ERM):
    def run(self, ctx):
        note(f"start {ctx.folder.name}")
        if f"-s{os.environ.get('ASPIRE_TEST_FAIL_SEED')}-" in ctx.folder.name:
            raise RuntimeError("the cable was pulled\nand more")
        if f"-s{os.environ.get('ASPIRE_TEST_DIE_SEED')}-" in ctx.folder.name:
            os.kill(os.getpid(), signal.SIGKILL)
        net = super().run(ctx)
        time.sleep(float(os.environ.get("ASPIRE_TEST_PAUSE", 0)))
        hold = Path(os.environ.get("ASPIRE_TEST_HOLD", ""))  # waits while there is this file
        if hold.is_file():
            note("held")
        while hold.is_file():
            time.sleep(0.05)
        note(f"end {ctx.folder.name}")
        return net
