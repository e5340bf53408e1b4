@0xd1c3f7a95e0b8261;
# The exit log: what is stored in a segment and sent to a backup, the same bytes.
#
# A frame is a 16-byte prefix (docs/log-format.md) and one message of exactly one
# segment.  Batches are written by the addon by hand, in the one layout described
# here ("canonical"); any Cap'n Proto reader can read them, and a reader of ours
# refuses every other layout of the same values.
#
# Rules: field numbers and ordinals of kinds are never reused.  A change that an
# old reader would misread raises `logVersion`; test/golden/ holds a segment of
# each version, and they stay readable.
#
# No enum and no union on purpose: the reader must be able to name an ordinal that
# it does not know, and the generated TypeScript must stay erasable.
#
# SPDX-License-Identifier: Apache-2.0

struct Record @0xb7a1d0c2943e6f15 {
  # One exit: 32 bytes, no pointers, the same bytes as `struct exitlog_record` in
  # native/kvm-exit-log/include/exitlog_record.h and as a slot of the ring.
  # test/native/abi.test.ts compares offsets and ordinals of both.
  #
  # Invariants of a log: positions (icount, then vtimeNs) never decrease; the
  # ordinal of a record is its place since power-on, from 0, without gaps.

  icount @0 :UInt64;
  # Instructions retired since power-on when it happened.

  vtimeNs @1 :Int64;
  # Guest virtual time, ns.

  kind @2 :UInt16;
  # One of the kinds below.  0 and unknown kinds are refused.

  channel @3 :UInt16;
  # Which NIC, console or disk, by its index in VM.toml; END: why, DIGEST:
  # which (see below).

  len @4 :UInt32;
  # Bytes of payload, or as the kind says.

  arg @5 :UInt64;
  # Kinds with payload: offset of its first byte in the payload stream since
  # power-on, a multiple of 8.  Other kinds: as the kind says, else 0.

  const netIn :UInt16 = 1;      # payload: virtio-net header and frame
  const charIn :UInt16 = 2;     # payload: bytes typed
  const blkDone :UInt16 = 3;    # arg: request id in issue order; len: int32, 0 or -errno
  const entropy :UInt16 = 4;    # payload: bytes handed to the guest
  const powerdown :UInt16 = 5;  # operator pressed the power button
  const reset :UInt16 = 6;      # operator pressed reset
  const netOut :UInt16 = 7;     # len: bytes; arg: output hash chain after this packet
  const charOut :UInt16 = 8;    # payload: bytes printed since the last one of this channel
  const digest :UInt16 = 9;     # payload: struct exitlog_digest (5 words); channel: 0 final, right before END; 1 periodic
  const end :UInt16 = 10;       # channel: 1 guest powered off, 2 operator stopped it; the last record
  const clock :UInt16 = 11;
  # Guest time follows host time. channel 0: from here on guest time advances by
  # arg / 2^32 ns per instruction; channel 1: arg is the host's CLOCK_REALTIME, ns,
  # at guest time 0 (a survivor goes on from it); channel 2: guest time is arg, ns, now;
  # channel 3, at power-on: the RTC shows UTC, which was arg, ns, at guest time 0.
  const checkpoint :UInt16 = 12;
  # The VM was brought to the form of one whose state was saved and loaded here: every
  # replay must do so too. arg: hash of that state, of CPUs and devices.
  const blkData :UInt16 = 13;
  # What a disk has, where no replay can find it out by itself: a request of the guest
  # failed there. channel: disk; payload: request id, offset and bytes, each a UInt64,
  # then the bytes, or nothing if they are all zero.
}

struct Batch @0xe49f02b86d7715ca {
  # Consecutive records, sealed: the unit on the wire, on disk and of acknowledgement.
  # 17 words of data, 2 pointers, then the list of records, then the data.
  #
  # Canonical layout, in words of 8 bytes from the start of the message:
  #   0          segment table: 0 | words of the segment << 32
  #   1          root pointer: struct, offset 0, 17 data words, 2 pointers
  #   2 .. 18    the header, the fields below in order
  #   19         records: list pointer, offset 1, composite, 4 * recordCount words
  #   20         data: list pointer, bytes, dataBytes
  #   21         tag of the list: recordCount, 4 data words, 0 pointers
  #   22 ..      records, 4 words each
  #   then       data, dataBytes (a multiple of 8)

  headerChecksum @0 :UInt64;
  # xxh64 (seed 0) of words 0, 1, 3 .. 20: everything before the tag but itself.

  bodyChecksum @1 :UInt64;
  # xxh64 (seed 0) of everything after the pointers: words 21 to the end.

  vmIdLo @2 :UInt64;
  vmIdHi @3 :UInt64;
  # The VM's identity, 16 random bytes chosen at first power-on, little-endian.

  logVersion @4 :UInt16;
  # 1.

  flags @5 :UInt16;
  # 0; others are refused.

  recordCount @6 :UInt32;
  # 0 .. 4096.

  term @7 :UInt32;
  # Of the primary that sealed it; grows by one at each failover.

  dataBytes @8 :UInt32;
  # Bytes of the payload stream in it: 0 .. 1 MiB, a multiple of 8.

  epoch @9 :UInt64;

  sequence @10 :UInt64;
  # Batches of the log from 0, no gaps.

  firstIcount @11 :UInt64;
  lastIcount @12 :UInt64;
  # Of its first and last record; without records both are horizonIcount.

  horizonIcount @13 :UInt64;
  horizonVtimeNs @14 :Int64;
  # Every record before this position is in this batch or an earlier one.  Never
  # decreases.  Records of this batch may lie beyond it.

  recordBase @15 :UInt64;
  # Ordinal of its first record since power-on.

  dataBase @16 :UInt64;
  # Offset in the payload stream of its first byte; a multiple of 8.

  outputsReleased @17 :UInt64;
  # Packets that the primary had really sent when it sealed.

  sealedAtNs @18 :UInt64;
  # CLOCK_REALTIME of the primary, ns.

  bodyPrevChecksum @19 :UInt64;
  # headerChecksum xor bodyChecksum of the batch before, 0 for sequence 0: a chain,
  # so that a batch of another log does not fit.

  records @20 :List(Record);

  data @21 :Data;
  # Payload of a record: data[arg - dataBase ..][0 .. len].
}
