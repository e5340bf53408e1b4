// SPDX-License-Identifier: Apache-2.0
// What the courier's thread has to tell JavaScript. Few: none per batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bits/names.h"

namespace exitlog {

// JavaScript gets the names when it loads the addon, and each event by its place here.
#define EXITLOG_TOLD(X)                                                          \
  X(frame)      /* bytes: a frame that the courier has no use for itself */        \
  X(closed)     /* text: code, more: message. The connection is over */            \
  X(drained)    /* the send queue is empty again */                                \
  X(console)    /* bytes: printed by the guest, and allowed to be shown */         \
  X(guard)      /* bytes: the same of its other serial port, where its guard speaks */ \
  X(first)      /* the first batch was received */                                 \
  X(logEnded)   /* the log's END was received, and is stored */                    \
  X(diverged)   /* text: an image differs from the primary's VM */                 \
  X(logFailed)  /* text: errno's name, more: file and what failed */               \
  X(stuck)      /* text: disk, courier (ours) or acks (the peer's), more: for people */ \
  X(progress)   /* the peer has acknowledged or executed more */                   \
  X(flushed)    /* everything that was in OUT is sealed and sent */                \
  X(ended)      /* the thread is done: logs are synced and closed */               \
  X(broken)     /* text: QEMU broke a rule of the ring */

enum class EventKind : uint32_t { EXITLOG_TOLD(EXITLOG_VALUE) };
constexpr const char* kEventNames[] = {EXITLOG_TOLD(EXITLOG_NAME)};

struct Event {
  EventKind kind;
  std::string text;
  std::string more;
  std::vector<uint8_t> bytes;
  uint32_t link;  // number of the connection that was the newest then

  // Told of a connection that a later one has replaced, it would be believed of that.
  bool isOfLink() const {
    return kind == EventKind::frame || kind == EventKind::closed || kind == EventKind::drained;
  }
};

// Filled under the courier's lock, emptied by JavaScript's thread.
class Events {
 public:
  explicit Events(std::function<void()> wake) : wake_(std::move(wake)) {}
  void push(EventKind kind) { add(Event{kind, {}, {}, {}, 0}); }
  void push(EventKind kind, std::string text, std::string more) {
    add(Event{kind, std::move(text), std::move(more), {}, 0});
  }
  void push(EventKind kind, std::vector<uint8_t> bytes) {
    add(Event{kind, {}, {}, std::move(bytes), 0});
  }
  // What is pushed from now on is of the next connection. The first has number 1.
  void nextLink() { link_++; }
  // Whom it told is gone.
  void mute() {
    wake_ = [] {};
  }
  std::vector<Event> take() {
    bytes_ = 0;
    return std::exchange(queue_, {});
  }
  // JavaScript is behind: what makes more of them waits. A peer that speaks faster than it is
  // heard would take all memory.
  bool isFull() const { return bytes_ > kBytesMax; }

 private:
  void add(Event event) {
    event.link = link_;
    bytes_ += event.bytes.size();
    queue_.push_back(std::move(event));
    if (queue_.size() == 1) wake_();
  }
  static constexpr size_t kBytesMax = 1u << 20;
  std::vector<Event> queue_;
  size_t bytes_ = 0;  // of what they carry
  uint32_t link_ = 0;
  std::function<void()> wake_;
};

}  // namespace exitlog
