# SPDX-License-Identifier: Apache-2.0
"""Sends an ICMP echo request every 10 ms until its input ends; each once.

argv[1]: whom. Prints one JSON object: how many were sent, and which were never answered within
two seconds after the last.
"""
import json
import os
import select
import socket
import struct
import sys
import time

EVERY_S = 0.01
LAST_S = 2.0
REPLY, REQUEST = 0, 8

ident = os.getpid() & 0xFFFF
sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
sock.connect((sys.argv[1], 0))


def request(sequence):
    def packed(checksum):
        return struct.pack("!BBHHH", REQUEST, 0, checksum, ident, sequence)

    words = struct.unpack("!4H", packed(0))
    total = sum(words)
    total = (total >> 16) + (total & 0xFFFF)
    return packed(~(total + (total >> 16)) & 0xFFFF)


def answered(data):
    """The sequence number that it answers, or None."""
    start = (data[0] & 15) * 4
    kind, _, _, its, sequence = struct.unpack("!BBHHH", data[start : start + 8])
    return sequence if kind == REPLY and its == ident else None


sent = 0
unanswered = set()
due = time.monotonic()
ends = None
while ends is None or (unanswered and time.monotonic() < ends):
    wait = max(0.0, due - time.monotonic()) if ends is None else 0.1
    ready, _, _ = select.select([sock] if ends else [sock, sys.stdin], [], [], wait)
    if sock in ready:
        unanswered.discard(answered(sock.recv(2048)))
    if sys.stdin in ready and not os.read(0, 16):
        ends = time.monotonic() + LAST_S
    if ends is None and time.monotonic() >= due:
        sock.send(request(sent))
        unanswered.add(sent)
        sent += 1
        due = max(due + EVERY_S, time.monotonic())
print(json.dumps({"sent": sent, "unanswered": sorted(unanswered)}), flush=True)
