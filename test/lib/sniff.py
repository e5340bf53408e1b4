#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the payload of all TCP to or from a port on the loopback device, as it comes.

    sniff.py PORT

Says "ready" on stderr when nothing more is missed.
"""
import os
import socket
import struct
import sys

ETH_P_ALL = 3
PACKET_OUTGOING = 4
IPPROTO_TCP = 6
SO_RCVBUFFORCE = 33


def main() -> None:
    port = int(sys.argv[1])
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
    wire.bind(("lo", 0))
    print("ready", file=sys.stderr, flush=True)
    while True:
        packet, (_, _, kind, *_) = wire.recvfrom(1 << 17)
        # The loopback device shows each packet twice.
        if kind == PACKET_OUTGOING or packet[12:14] != b"\x08\x00" or packet[23] != IPPROTO_TCP:
            continue
        tcp = 14 + 4 * (packet[14] & 15)
        total = struct.unpack_from("!H", packet, 16)[0]
        if port not in struct.unpack_from("!HH", packet, tcp):
            continue
        # A length of 0 is one of more than 64 KiB.
        end = 14 + total if total > 0 else len(packet)
        os.write(1, packet[tcp + 4 * (packet[tcp + 12] >> 4):end])


main()
