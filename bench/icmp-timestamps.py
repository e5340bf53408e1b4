#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks a host for its clock by ICMP timestamps (RFC 792), which its kernel answers.

    icmp-timestamps.py ADDRESS INTERVAL_S

Prints one JSON line per answer until its stdin ends: {"sent_ms": host's clock, ms
since midnight UTC, "rtt_ms", "guest_ms": the other's clock, whole ms}.  Needs
CAP_NET_RAW (Node has no raw sockets).
"""
import json
import os
import select
import socket
import struct
import sys
import time

REQUEST, REPLY = 13, 14


def ms_of_day() -> float:
    return (time.time() % 86400) * 1000


def checksum(data: bytes) -> int:
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def main() -> None:
    address, interval_s = sys.argv[1], float(sys.argv[2])
    icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    ident = os.getpid() & 0xFFFF
    sequence, sent_at, due = 0, {}, time.monotonic()
    while True:
        ready, _, _ = select.select([icmp, sys.stdin], [], [], max(0, due - time.monotonic()))
        if sys.stdin in ready and not sys.stdin.buffer.read1():
            return
        if icmp in ready:
            packet = icmp.recv(1500)
            at = ms_of_day()
            body = packet[(packet[0] & 15) * 4:]
            if len(body) >= 20 and body[0] == REPLY:
                _, _, _, who, number, _, received, _ = struct.unpack("!BBHHHIII", body[:20])
                if who == ident and number in sent_at:
                    sent = sent_at.pop(number)
                    line = {"sent_ms": sent, "rtt_ms": at - sent, "guest_ms": received}
                    print(json.dumps(line), flush=True)
        if time.monotonic() >= due:
            due = max(due + interval_s, time.monotonic())
            sequence = (sequence + 1) & 0xFFFF
            sent_at[sequence] = ms_of_day()
            stamp = int(sent_at[sequence])
            message = struct.pack("!BBHHHIII", REQUEST, 0, 0, ident, sequence, stamp, 0, 0)
            message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
            try:
                icmp.sendto(message, (address, 0))
            except OSError:
                pass  # it has no route now: as good as lost


main()
