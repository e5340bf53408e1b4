// SPDX-License-Identifier: Apache-2.0
// The memory and the two eventfds that one QEMU process and its daemon share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "exitlog_abi.h"

namespace exitlog {

// Aligned loads and stores of what another process reads and writes.  Volatile or
// std::atomic would not do: the first does not order, the second is not an lvalue
// in a C header (std::atomic_ref is C++20).
template <class T>
inline T loadAcquire(const T& cell) {
  return __atomic_load_n(&cell, __ATOMIC_ACQUIRE);
}
template <class T>
inline T loadRelaxed(const T& cell) {
  return __atomic_load_n(&cell, __ATOMIC_RELAXED);
}
template <class T>
inline void storeRelease(T& cell, T value) {
  __atomic_store_n(&cell, value, __ATOMIC_RELEASE);
}
template <class T>
inline void storeRelaxed(T& cell, T value) {
  __atomic_store_n(&cell, value, __ATOMIC_RELAXED);
}
inline void fullFence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

class Shm {
 public:
  // Throws std::system_error.
  // stateBytes: of the ring of state; 0: there is none.
  Shm(uint64_t recordSlots, uint64_t dataBytes, uint64_t stateBytes = 0);
  ~Shm();
  Shm(const Shm&) = delete;
  Shm& operator=(const Shm&) = delete;

  struct exitlog_shm* header() const { return header_; }
  uint64_t recordSlots() const { return recordSlots_; }
  uint64_t dataBytes() const { return dataBytes_; }
  // One ring with its memory. Sizes come from here and not from the shared
  // header: QEMU could have overwritten that.
  struct Ring {
    struct exitlog_ring* cursors;
    struct exitlog_record* records;
    uint8_t* data;
    uint64_t slots;
    uint64_t dataBytes;
    void copyRecordsOut(uint64_t first, uint64_t count, void* to) const;
    void copyRecordsIn(uint64_t first, uint64_t count, const void* from) const;
    void copyDataOut(uint64_t from, uint64_t bytes, uint8_t* to) const;
    void copyDataIn(uint64_t to, uint64_t bytes, const uint8_t* from) const;
  };
  const Ring& out() const { return out_; }
  const Ring& in() const { return in_; }

  // The ring of state, whose producer is QEMU.
  struct State {
    struct exitlog_stream* cursors;
    const uint8_t* data;
    uint64_t bytes;
    void copyOut(uint64_t from, uint64_t count, void* to) const;
  };
  const State& state() const { return state_; }

  int shmFd() const { return shmFd_; }
  int notifyFd() const { return notifyFd_; }
  int wakeFd() const { return wakeFd_; }

  // QEMU is gone: what it has not finished never will be.
  void setEnded() const { storeRelease(ended_, true); }
  bool hasEnded() const { return loadAcquire(ended_); }

  // Tell QEMU's io thread that something has changed: outputs may leave, a flag.
  void wake() const;
  // Wake the vCPU if it waits for the daemon.  After the change that it waits for.
  void wakeVcpu() const;

 private:
  void close();
  uint64_t recordSlots_;
  uint64_t dataBytes_;
  uint64_t totalBytes_ = 0;
  int shmFd_ = -1;
  int notifyFd_ = -1;
  int wakeFd_ = -1;
  struct exitlog_shm* header_ = nullptr;
  Ring out_{};
  Ring in_{};
  State state_{};
  mutable bool ended_ = false;
};

}  // namespace exitlog
