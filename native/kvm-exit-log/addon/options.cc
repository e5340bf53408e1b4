// SPDX-License-Identifier: Apache-2.0
#include "options.h"

namespace exitlog {

ShipOptions shipOptions(const Napi::CallbackInfo& info, const Options& given) {
  ShipOptions options{};
  given.vmId(options.vmIdLo, options.vmIdHi);
  options.term = static_cast<uint32_t>(given.integer("term", UINT32_MAX));
  options.acksNeeded = static_cast<uint32_t>(given.integer("acksNeeded", 1));
  options.durable = given.boolean("durable");
  const Options seal(info, given.get("seal"), "seal");
  options.numbers.batchNs = seal.integer("batchUs", 1u << 30) * 1000;
  options.numbers.recordsMax = seal.integer("recordsMax");
  options.numbers.horizonBusyNs = seal.integer("horizonBusyUs", 1u << 30) * 1000;
  options.numbers.horizonIdleNs = seal.integer("horizonIdleUs", 1u << 30) * 1000;
  options.numbers.busyInstructions = seal.integer("busyInstructions");
  options.numbers.stopInstructions = seal.integer("stopInstructions");
  options.numbers.atCuts = seal.boolean("atCuts");
  return options;
}

ReceiveOptions receiveOptions(const Napi::CallbackInfo& info, const Options& given) {
  ReceiveOptions options{};
  given.vmId(options.vmIdLo, options.vmIdHi);
  options.term = static_cast<uint32_t>(given.integer("term", UINT32_MAX));
  options.durable = given.boolean("durable");
  options.queueBytesHigh = given.integer("queueBytesHigh");
  options.queueBytesLow = given.integer("queueBytesLow");
  if (!given.get("start").IsUndefined()) {
    const Options start(info, given.get("start"), "start");
    options.start = ReceiveStart{start.u64("sequence"), start.u64("recordBase"),
                                 start.u64("dataBase"), start.u64("prevChecksum")};
  }
  return options;
}

ShipFrom shipFrom(const Options& given) {
  return ShipFrom{given.u64("sequence"), given.integer("segment")};
}

}  // namespace exitlog
