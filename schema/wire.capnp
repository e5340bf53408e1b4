@0xac0de5f1b2749836;
# Control messages between a primary and its backup, and a segment's first frame.
#
# Each is the body of a frame (docs/log-format.md) whose `type` says which struct
# it is.  Each begins with `checksum`: xxh64 (seed 0) of the whole message, segment
# table included, with these 8 bytes zero.  The root struct follows its pointer, so
# the checksum is always bytes 16 .. 23 of the message.  Messages have one segment
# and at most 64 KiB, but for State: 1 MiB of data.
#
# Field numbers are never reused; new fields go at the end, and a peer of the same
# wire version must do without them.  Raise `wireVersion` for anything else.
#
# No enum and no union on purpose: see log.capnp.
#
# SPDX-License-Identifier: Apache-2.0

struct Disk @0x9d3c8b52f0a16e74 {
  # A disk image as it was at power-on.

  name @0 :Text;
  # Its file name in VM.toml, without folder; index in the list = `channel` of records.

  bytes @1 :UInt64;
  xxh64 @2 :UInt64;
  # Of the whole image, holes read as zeros.
}

struct Setting @0x8f27c1e05b94da63 {
  # One named value, for what a version adds without a field of its own.
  name @0 :Text;
  value @1 :Text;
}

struct Hello @0xc5720e9a18f4bd3b {
  # Type 2, backup to primary, the first message.

  checksum @0 :UInt64;
  protocol @1 :Text;
  # "understudy"; anything else is not a peer of ours.

  wireVersion @2 :UInt16;
  # 2. Of version 1 there were no types 9 to 12: a backup joined at power-on only.

  logVersion @3 :UInt16;
  # Highest log version it can replay.

  term @4 :UInt32;
  # Last term it knows of this VM; 0 = none.

  vmIdLo @5 :UInt64;
  vmIdHi @6 :UInt64;
  # The VM it holds state of; 0 = none, it will take any VM of this configuration.

  name @7 :Text;
  # VM.toml's `name`.

  qemuBuildId @8 :Text;
  # Build id of its QEMU, hex; must equal the primary's.

  configHash @9 :Text;
  # Hash of the VM as configured, without host-specific keys, hex.

  disks @10 :List(Disk);
  host @11 :Text;
  # Host name, for messages only.

  agentVersion @12 :Text;
  # Version of understudy, for messages only.

  arbiter @13 :Text;
  # VM.toml's arbiter, "" = none; both sides must name the same.

  durability @14 :Text;
  # "memory" or "disk": what its acks will mean.

  settings @15 :List(Setting);
}

struct Welcome @0xf81b6a4de3925c07 {
  # Type 3, primary to backup: the VM as it will run.

  checksum @0 :UInt64;
  vmIdLo @1 :UInt64;
  vmIdHi @2 :UInt64;
  term @3 :UInt32;
  wireVersion @4 :UInt16;
  logVersion @5 :UInt16;
  # Of the batches that follow.

  rtcBase @6 :Text;
  # What both sides' QEMU begins with, UTC, "2026-11-21T07:00:00"; the log then sets the
  # guest's RTC to the moment of power-on (log.capnp, clock, channel 3).

  protocolName @7 :Text;
  # Epoch policy by name: "lockstep".

  batchUsMax @8 :UInt32;
  # The primary seals at least this often while the guest runs, us.

  heartbeatMs @9 :UInt32;
  heartbeatMissed @10 :UInt32;
  # Silence of heartbeatMs * heartbeatMissed means a lost peer.

  lagMsMax @11 :UInt32;
  # The primary is slowed when the backup is further behind.

  durability @12 :Text;
  # "memory" or "disk": what the primary needs an ack to mean.

  vmConfig @13 :Text;
  # The VM as run, JSON.

  configHash @14 :Text;
  qemuBuildId @15 :Text;
  qemuArgs @16 :List(Text);
  # Guest-visible part of QEMU's command line, to compare before start.

  disks @17 :List(Disk);
  host @18 :Text;
  agentVersion @19 :Text;
  settings @20 :List(Setting);
  # "join" = "running": the VM runs already; types 9 to 12 follow before the batches.
}

struct Refuse @0xde04b7f3628a91c5 {
  # Type 4, either way; the sender closes the connection after it.

  checksum @0 :UInt64;
  code @1 :Text;
  # Stable: an UnderstudyError code, as "qemu-build-differs".

  message @2 :Text;
  # For people; names both values.

  expected @3 :Text;
  actual @4 :Text;
}

struct Ack @0x90e6d25c7bf8a143 {
  # Type 5, backup to primary: it holds the log up to here (in memory or on disk).

  checksum @0 :UInt64;
  sequence @1 :UInt64;
  # Of the last batch that it holds, with all before it.

  recordEnd @2 :UInt64;
  # recordBase + recordCount of that batch; outputs before it may leave.

  executedIcount @3 :UInt64;
  executedVtimeNs @4 :Int64;
  # Position that its replay has reached: lag = the primary's minus this.

  sentAtNs @5 :UInt64;
  # CLOCK_REALTIME of the backup, ns.

  term @6 :UInt32;
  durable @7 :Bool;
  # True: on stable storage.

  ready @8 :Bool;
  # True in the ack of readiness that answers Welcome, before the first batch:
  # its QEMU is up and waits for the log.  `sequence` then is 0 and means nothing.

  batchChecksum @9 :UInt64;
  # headerChecksum xor bodyChecksum of that batch.

  inPending @10 :UInt64;
  # Records received and not yet executed.
}

struct Heartbeat @0xa37f19c46e50d8b2 {
  # Type 6, both ways, every heartbeatMs when nothing else was sent.

  checksum @0 :UInt64;
  counter @1 :UInt64;
  sentAtNs @2 :UInt64;
  # CLOCK_REALTIME of the sender, ns.

  icount @3 :UInt64;
  vtimeNs @4 :Int64;
  # Position of the sender's VM.

  term @5 :UInt32;
  state @6 :Text;
  # The daemon's state: starting, syncing, protected, needs-backup, standby, stopped.

  echoCounter @7 :UInt64;
  echoSentAtNs @8 :UInt64;
  # Of the last heartbeat received; 0 = none yet.

  visits @9 :UInt64;
  # shm.visits of the sender's QEMU: a vCPU that hangs does not advance it.
}

struct Goodbye @0xbb48e2097d1c6fa5 {
  # Type 7, either way: an orderly end, no failover follows.

  checksum @0 :UInt64;
  reason @1 :Text;
  # "guest-poweroff", "stop", "fenced", "failed", ...

  message @2 :Text;
  lastSequence @3 :UInt64;
  # Last batch sent (primary) or held (backup).

  term @4 :UInt32;
}

struct SegmentHeader @0x84d5f6b1c92e703a {
  # Type 8, the first frame of a segment file, never on the wire.

  checksum @0 :UInt64;
  vmIdLo @1 :UInt64;
  vmIdHi @2 :UInt64;
  # As in every batch of the segment.

  logVersion @3 :UInt16;
  # Of every batch of the segment.

  term @4 :UInt32;
  # Of the writer when it made the file; batches of later terms may follow.

  index @5 :UInt32;
  # Number in the file's name, from 1.

  firstSequence @6 :UInt64;
  # Of its first batch.

  createdAtNs @7 :UInt64;
  # CLOCK_REALTIME, ns.

  qemuBuildId @8 :Text;
  # Of the QEMU that made the log; replay needs the same.

  agentVersion @9 :Text;
}

struct Blocks @0xe1f0a3d75c2b8946 {
  # Type 9, a backup that joins a running VM to its primary: what it holds of a disk.
  # All of every disk of Hello is told so, in order, before the primary sends anything.

  checksum @0 :UInt64;
  disk @1 :UInt16;
  # Index in Hello's list.

  first @2 :UInt64;
  # Number of the first block; blocks have 32 KiB, the last one of a disk maybe less.

  hashes @3 :Data;
  # xxh64 (seed 0) of each block, 8 bytes little-endian.
}

struct Start @0xd92c57e1b4f60a83 {
  # Type 11, primary to a backup that joins: everything was sent. The log goes on from
  # the batch that has the checkpoint's record; READY (Ack) is the answer. (Type 10 was
  # Piece, until wire version 2: it is not used again.)

  checksum @0 :UInt64;
  sequence @1 :UInt64;
  recordBase @2 :UInt64;
  dataBase @3 :UInt64;
  prevChecksum @4 :UInt64;
  # Of the first batch that will come, and the checksum of the one before it.

  icount @5 :UInt64;
  # Of the checkpoint.

  pieces @6 :UInt64;
  # How many State frames were sent.
}

struct Protected @0xaf7e31c80d65b294 {
  # Type 12, primary to a backup that joined: from now on no output leaves without an
  # ack, and the backup holds the log of all that did; it may take over.

  checksum @0 :UInt64;
  sequence @1 :UInt64;
  # Of the last batch whose outputs may have left without an ack.

  term @2 :UInt32;
}

struct State @0xe3a95c07f1d8264b {
  # Type 13, primary to a backup: a piece of the VM's state. The addon makes and takes it
  # (native/kvm-exit-log/addon/state/piece.h), and knows one layout of it, in which part to
  # epoch are the ABI's struct exitlog_piece (include/exitlog_abi.h).
  #
  # In a join the parts are first the disks of Hello, in that order, of which the pieces are
  # what the backup lacks; then the files of Checkpoint, in that order, each from its first
  # byte to its last. Pieces come in the order of parts and of offsets, none twice.

  checksum @0 :UInt64;
  ordinal @1 :UInt64;
  # Of the piece in this join, from 0.

  part @2 :UInt32;
  flags @3 :UInt32;
  # 1: it has data. 3: these are a patch, of memory or devices in an epoch. 7: it is packed.

  offset @4 :UInt64;
  bytes @5 :UInt64;
  # How long the piece is; in a join not 0.

  epoch @6 :UInt64;
  # 0: of a join.

  data @7 :Data;
  # `bytes` of them, at most 1 MiB; of a patch as many as it has, for a range of `bytes`
  # (docs/log-format.md); or none (a null pointer): the piece is all zero, and of any length.
}

struct Checkpoint @0x96b7d20e84fa531c {
  # Type 14, primary to a backup that joins: its disks were sent, the checkpoint's files
  # follow.

  checksum @0 :UInt64;
  manifest @1 :Text;
  # The text of its manifest.json, which has names, lengths and checksums of the files.
}
