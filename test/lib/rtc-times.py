#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks a guest's rtc-clock (rtc-clock.c) for its RTC, again and again.

    rtc-times.py ADDRESS PORT INTERVAL_S

A line of stdin that says "edge" has it read its RTC again with the next request.  Prints a
JSON line per answer until its stdin ends, in ns: {"sent", "rtt", "rtc", "system",
"gap", "back", "edge"}; sent is this host's CLOCK_REALTIME.
"""
import json
import select
import socket
import sys
import time


def main() -> None:
    address, port, interval_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect((address, port))
    due, edge = time.monotonic(), False
    sent = begun = 0
    waits = asked_edge = False
    while True:
        left = max(0, due - time.monotonic())
        ready, _, _ = select.select([udp, sys.stdin], [], [], left)
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            edge = True
        if udp in ready:
            try:
                text = udp.recv(256)
            except ConnectionError:  # it does not listen yet
                continue
            rtt = time.monotonic_ns() - begun
            if not waits:
                continue  # of one that was given up
            waits = False
            rtc, system, gap, back = map(int, text.split())
            print(json.dumps({"sent": sent, "rtt": rtt, "rtc": rtc, "system": system,
                              "gap": gap, "back": back, "edge": asked_edge}), flush=True)
        if time.monotonic() >= due:
            patience_s = 15 if asked_edge else 3  # several seconds begin meanwhile
            if waits and time.monotonic_ns() - begun < patience_s * 1_000_000_000:
                due = time.monotonic() + interval_s
                continue
            due = max(due + interval_s, time.monotonic())
            asked_edge, edge = edge, False
            sent, begun, waits = time.time_ns(), time.monotonic_ns(), True
            try:
                udp.send(b"e" if asked_edge else b"t")
            except OSError:
                waits = False


main()
