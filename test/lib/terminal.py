# A terminal that stands for a serial port: its name on the first line, then what is written to
# it on stdout, and what comes on stdin as what is typed there.
#
# SPDX-License-Identifier: Apache-2.0
import os
import pty
import select
import sys
import tty

master, slave = pty.openpty()
tty.setraw(slave)
print(os.ttyname(slave), flush=True)
while True:
    ready, _, _ = select.select([0, master], [], [])
    if 0 in ready:
        typed = os.read(0, 4096)
        if not typed:
            sys.exit(0)
        os.write(master, typed)
    if master in ready:
        os.write(1, os.read(master, 4096))
