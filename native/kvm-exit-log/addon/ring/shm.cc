// SPDX-License-Identifier: Apache-2.0
#include "ring/shm.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace exitlog {

namespace {

constexpr uint64_t kPage = 4096;

uint64_t pages(uint64_t bytes) { return (bytes + kPage - 1) & ~(kPage - 1); }

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

Shm::Shm(uint64_t recordSlots, uint64_t dataBytes, uint64_t stateBytes)
    : recordSlots_(recordSlots), dataBytes_(dataBytes) {
  const uint64_t recordsBytes = pages(recordSlots * sizeof(struct exitlog_record));
  const uint64_t streamBytes = pages(dataBytes);
  const uint64_t outRecordsOff = pages(sizeof(struct exitlog_shm));
  const uint64_t outDataOff = outRecordsOff + recordsBytes;
  const uint64_t inRecordsOff = outDataOff + streamBytes;
  const uint64_t inDataOff = inRecordsOff + recordsBytes;
  const uint64_t stateOff = inDataOff + streamBytes;
  totalBytes_ = stateOff + pages(stateBytes);
  try {
    shmFd_ = memfd_create("understudy-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (shmFd_ < 0) fail("memfd_create");
    if (ftruncate(shmFd_, static_cast<off_t>(totalBytes_)) < 0) fail("ftruncate of the ring");
    // Nobody may shrink it: that would make our next access a SIGBUS.
    if (fcntl(shmFd_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
      fail("sealing of the ring");
    }
    void* map = mmap(nullptr, totalBytes_, PROT_READ | PROT_WRITE, MAP_SHARED, shmFd_, 0);
    if (map == MAP_FAILED) fail("mmap of the ring");
    header_ = static_cast<struct exitlog_shm*>(map);
    notifyFd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (notifyFd_ < 0) fail("eventfd");
    wakeFd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wakeFd_ < 0) fail("eventfd");
  } catch (...) {
    close();
    throw;
  }
  auto* base = reinterpret_cast<uint8_t*>(header_);
  auto ring = [&](struct exitlog_ring* cursors, uint64_t records, uint64_t data) {
    return Ring{cursors, reinterpret_cast<struct exitlog_record*>(base + records), base + data,
                recordSlots_, dataBytes_};
  };
  out_ = ring(&header_->out, outRecordsOff, outDataOff);
  in_ = ring(&header_->in, inRecordsOff, inDataOff);
  state_ = State{&header_->epoch_state, base + stateOff, stateBytes};
  header_->abi_version = EXITLOG_ABI_VERSION;
  header_->header_bytes = sizeof(struct exitlog_shm);
  header_->total_bytes = totalBytes_;
  header_->record_slots = recordSlots_;
  header_->data_bytes = dataBytes_;
  header_->out_records_off = outRecordsOff;
  header_->out_data_off = outDataOff;
  header_->in_records_off = inRecordsOff;
  header_->in_data_off = inDataOff;
  header_->state_off = stateOff;
  header_->state_bytes = stateBytes;
  header_->icount_max = UINT64_MAX;
  header_->daemon_sleeping = 1;
  storeRelease(header_->magic, static_cast<uint64_t>(EXITLOG_MAGIC));
}

Shm::~Shm() { close(); }

void Shm::close() {
  if (header_ != nullptr) munmap(header_, totalBytes_);
  header_ = nullptr;
  for (int* fd : {&shmFd_, &notifyFd_, &wakeFd_}) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
  }
}

void Shm::wake() const {
  // EAGAIN: the counter is at its maximum, so QEMU has been told already.
  const uint64_t one = 1;
  while (write(wakeFd_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

// QEMU sets daemon_wanted and looks once more before it sleeps; we have changed
// something and look at daemon_wanted: one of the two sees the other.
void Shm::wakeVcpu() const {
  fullFence();
  uint32_t wanted = loadRelaxed(header_->daemon_wanted);
  if (wanted == 0) return;
  if (wanted != 2) {
    wake();
    return;
  }
  if (__atomic_compare_exchange_n(&header_->daemon_wanted, &wanted, 0u, false, __ATOMIC_SEQ_CST,
                                  __ATOMIC_RELAXED)) {
    syscall(SYS_futex, &header_->daemon_wanted, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
}

void Shm::State::copyOut(uint64_t from, uint64_t count, void* to) const {
  const uint64_t at = from & (bytes - 1);
  const uint64_t straight = std::min(count, bytes - at);
  memcpy(to, data + at, straight);
  memcpy(static_cast<uint8_t*>(to) + straight, data, count - straight);
}

void Shm::Ring::copyRecordsOut(uint64_t first, uint64_t count, void* to) const {
  const uint64_t at = first & (slots - 1);
  const uint64_t straight = std::min(count, slots - at);
  memcpy(to, records + at, straight * sizeof *records);
  memcpy(static_cast<struct exitlog_record*>(to) + straight, records,
         (count - straight) * sizeof *records);
}

void Shm::Ring::copyRecordsIn(uint64_t first, uint64_t count, const void* from) const {
  const uint64_t at = first & (slots - 1);
  const uint64_t straight = std::min(count, slots - at);
  memcpy(records + at, from, straight * sizeof *records);
  memcpy(records, static_cast<const struct exitlog_record*>(from) + straight,
         (count - straight) * sizeof *records);
}

void Shm::Ring::copyDataOut(uint64_t from, uint64_t bytes, uint8_t* to) const {
  const uint64_t at = from & (dataBytes - 1);
  const uint64_t straight = std::min(bytes, dataBytes - at);
  memcpy(to, data + at, straight);
  memcpy(to + straight, data, bytes - straight);
}

void Shm::Ring::copyDataIn(uint64_t to, uint64_t bytes, const uint8_t* from) const {
  const uint64_t at = to & (dataBytes - 1);
  const uint64_t straight = std::min(bytes, dataBytes - at);
  memcpy(data + at, from, straight);
  memcpy(data, from + straight, bytes - straight);
}

}  // namespace exitlog
