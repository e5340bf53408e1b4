// SPDX-License-Identifier: Apache-2.0
// What the courier's thread has to tell JavaScript. Few: none per batch.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace exitlog {

// courier.ts has the same numbers.
enum class EventKind : uint32_t {
  kFrame = 1,      // bytes: a frame that is neither a batch nor an ack
  kClosed = 2,     // text: code, more: message. The connection is over
  kDrained = 3,    // the send queue is empty again
  kConsole = 4,    // bytes: printed by the guest, and allowed to be shown
  kFirst = 5,      // the first batch was received
  kLogFailed = 6,  // text: errno's name, more: file and what failed
  kProgress = 7,   // the peer has acknowledged or executed more
  kFlushed = 8,    // everything that was in OUT is sealed and sent
  kEnded = 9,      // the thread is done: logs are synced and closed
  kBroken = 10,    // text: QEMU broke a rule of the ring
};

struct Event {
  EventKind kind;
  std::string text;
  std::string more;
  std::vector<uint8_t> bytes;
  uint32_t link;  // number of the connection that was the newest then

  // Told of a connection that a later one has replaced, it would be believed of that.
  bool isOfLink() const {
    return kind == EventKind::kFrame || kind == EventKind::kClosed || kind == EventKind::kDrained;
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
  std::vector<Event> take() { return std::exchange(queue_, {}); }

 private:
  void add(Event event) {
    event.link = link_;
    queue_.push_back(std::move(event));
    if (queue_.size() == 1) wake_();
  }
  std::vector<Event> queue_;
  uint32_t link_ = 0;
  std::function<void()> wake_;
};

}  // namespace exitlog
