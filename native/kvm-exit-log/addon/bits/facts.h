// SPDX-License-Identifier: Apache-2.0
// What a courier says of itself, each word once: JavaScript gets the names when it loads the
// addon, and reads by name (courier.ts). 0 where it does not ship, or receive.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bits/names.h"

namespace exitlog {

#define EXITLOG_FACTS(X)                                                        \
  X(sequence)        /* of the next batch */                                    \
  X(ackedEnd)        /* after the last batch that the backup has */             \
  X(held)            /* batches whose outputs have not left */                  \
  X(shippedBytes)                                                               \
  X(shippedRecords)                                                             \
  X(allAcked)        /* 1: everything sealed is acknowledged */                 \
  X(executedIcount)  /* what the backup has executed, as acks tell */           \
  X(executedVtimeNs)                                                            \
  X(backupPending)                                                              \
  X(horizonIcount)   /* of the last batch */                                    \
  X(horizonVtimeNs)                                                             \
  X(logBytes)        /* segment headers included */                             \
  X(outputsReleased)                                                            \
  X(nextSend)        /* the batch that the backup is sent next */               \
  X(catchingUp)      /* 1: it is sent what is in our files */                   \
  X(recordEnd)       /* of the last batch; sealed or, a survivor's, received */ \
  X(dataEnd)                                                                    \
  X(checksum)                                                                   \
  X(segment)         /* number of the file that is written */                   \
  X(stateBytes)      /* of epochs' state, sent or kept for a backup */          \
  X(memoryBytes)     /* of these, of memory */                                  \
  X(diskBytes)       /* and of what the guest wrote to its disks */             \
  X(memoryPages)     /* pages of memory that were in them */                    \
  X(shadowBytes)     /* of pages that the backup is known to have */            \
  X(transfers)       /* epochs that have come to the backup */                  \
  X(transferNs)      /* that they took, one after the other */                  \
  X(stuckNs)         /* so long our disk or courier has stood still; 0: not too long */ \
  X(awayNs)          /* so long a read, write or sync of our disk takes; 0: none */ \
  X(lastEnd)         /* after the last batch received; 0: none */               \
  X(storedEnd)       /* after the last batch stored; 0: none */                 \
  X(receivedBytes)                                                              \
  X(empty)           /* 1: the ring has everything that came */                 \
  X(pressed)         /* 1: the peer has to wait */                              \
  X(imageEpoch)      /* the last epoch in the image; 0: none */                 \
  X(imageCompared)   /* of these, compared with the primary's digest */

struct Facts {
  EXITLOG_FACTS(EXITLOG_WORD)
};

constexpr const char* kFactNames[] = {EXITLOG_FACTS(EXITLOG_NAME)};
constexpr size_t kFacts = sizeof kFactNames / sizeof *kFactNames;
static_assert(sizeof(Facts) == kFacts * sizeof(uint64_t), "");

}  // namespace exitlog
