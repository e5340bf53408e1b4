// SPDX-License-Identifier: Apache-2.0
// What a shipper says of itself.
#include "ship/ship.h"

namespace exitlog {

void Shipper::tell(Facts& facts) const {
  facts.sequence = options_.sequence;
  facts.ackedEnd = gate.coveredEnd();
  facts.held = gate.held();
  facts.shippedBytes = bytes_;
  facts.shippedRecords = records_;
  facts.allAcked = allAcked() ? 1 : 0;
  facts.horizonIcount = horizon_.icount;
  facts.horizonVtimeNs = static_cast<uint64_t>(horizon_.vtimeNs);
  facts.logBytes = log ? log->bytesWritten : 0;
  facts.outputsReleased = gate.outputsReleased();
  facts.nextSend = options_.sequence;
  facts.catchingUp = catchingUp() ? 1 : 0;
  facts.recordEnd = loadRelaxed(shm_.out().cursors->tail);
  facts.dataEnd = loadRelaxed(shm_.out().cursors->data_tail);
  facts.checksum = options_.prevChecksum;
  facts.segment = log ? log->segment : 0;
  const States::Sent sent = states.sent();
  facts.stateBytes = sent.bytes;
  facts.diskBytes = sent.diskBytes;
  facts.memoryBytes = sent.memoryBytes;
  facts.memoryPages = sent.pages;
  facts.shadowBytes = sent.shadowBytes;
  facts.transfers = transfers_.count();
  facts.transferNs = transfers_.ns();
  if (peers_.empty()) return;
  const Peer& peer = *peers_.front();
  facts.executedIcount = peer.executed.icount;
  facts.executedVtimeNs = static_cast<uint64_t>(peer.executed.vtimeNs);
  facts.backupPending = peer.inPending;
  if (peer.outlet != nullptr) facts.nextSend = peer.nextSend;
}

}  // namespace exitlog
