// SPDX-License-Identifier: Apache-2.0
// Steps 2 and 3: what QEMU has put into OUT becomes one sealed batch.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "bits/layout.h"
#include "ring/shm.h"

namespace exitlog {

// A header's fields that the ring does not know.
struct SealHeader {
  uint64_t vmIdLo;
  uint64_t vmIdHi;
  uint32_t term;
  uint64_t sequence;
  uint64_t sealedAtNs;
  uint64_t prevChecksum;
  bool toCut;  // not beyond the end of an epoch
  uint64_t dataBytesMax = kBatchDataBytesMax;  // where there is more than one record
};

struct SealResult {
  uint32_t records = 0;
  uint32_t dataBytes = 0;
  uint64_t firstIcount = 0;
  uint64_t lastIcount = 0;
  Position horizon;
  uint64_t recordEnd = 0;
  uint32_t outputs = 0;
  uint32_t packets = 0;  // outputs without console bytes
  uint32_t charOutBytes = 0;
  uint64_t checksum = 0;
  bool ended = false;
  uint32_t cuts = 0;  // ends of epochs, END
  bool cut = false;   // its last record is one
};

class Sealer {
 public:
  explicit Sealer(const Shm& shm) : shm_(shm) {}

  // OUT continues this log; before the first `seal`. Throws RingError if QEMU has begun it
  // elsewhere.
  void continueFrom(const LogEnd& end);

  // Bytes of the frame written to `into`; 0 if there is nothing new.
  // Throws RangeFault if it does not fit, RingError if QEMU broke the ring's
  // rules; OUT is then as before.
  uint64_t seal(uint8_t* into, uint64_t room, const SealHeader& header);

  const SealResult& last() const { return last_; }
  // Bytes of a serial port (enum exitlog_console) in the last batch, as they were sealed; once.
  std::vector<uint8_t> takePrinted(size_t console) { return std::move(printed_[console]); }
  uint64_t pending() const;
  // QEMU waits before it is full.
  bool isHalfFull() const;
  // Outputs among the pending records.
  struct Waiting {
    uint64_t outputs = 0;
    uint64_t packets = 0;  // NET_OUT, END: somebody outside has a timer running
    uint64_t cuts = 0;     // ends of epochs, END
  };
  const Waiting& waiting();
  // Since the last seal.
  bool horizonMoved();
  // As QEMU offers it now.
  Position horizonNow() { return readHorizon(); }
  Position horizonSealed() const { return horizonSealed_; }

 private:
  // What one batch takes from OUT.
  struct Cut {
    uint64_t tail;  // its first record and byte of payload
    uint64_t dataTail;
    uint64_t there;      // records that were
    uint64_t available;  // of these, for a batch: what is held stays behind
    uint64_t dataHead;
    uint64_t count = 0;
    uint64_t dataEnd;
    Position horizon;
    Position last;  // position of its last record, or what was covered before
    SealResult result;
    uint64_t dataBytes() const { return dataEnd - dataTail; }
    uint64_t frameBytes() const {
      return sizeof(FramePrefix) + batchBodyBytes(count, dataBytes());
    }
  };
  struct Span {
    uint64_t at;  // in the batch's payload
    uint32_t length;
    uint16_t console;
  };
  uint64_t unheld(uint64_t head) const;
  Position readHorizon();
  Cut look();
  void takeRecords(Cut& cut, uint8_t* into, uint64_t room, const SealHeader& given);
  void takePayload(Cut& cut, uint8_t* into);
  void writeHead(Cut& cut, uint8_t* into, const SealHeader& given) const;
  void publish(const Cut& cut);
  const Shm& shm_;
  SealResult last_;
  std::vector<Span> printedSpans_;
  std::array<std::vector<uint8_t>, EXITLOG_CONSOLES> printed_;
  uint64_t scanned_ = 0;  // records before this are counted in waiting_, or sealed
  Waiting waiting_;
  Position horizonRead_;    // newest that was read whole
  Position horizonSealed_;  // of the last batch
  Position covered_;        // that, or its last record if that is later
};

}  // namespace exitlog
