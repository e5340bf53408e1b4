// SPDX-License-Identifier: Apache-2.0
// The courier: one thread per VM that owns the hot path. It waits for QEMU, for the
// peer and for commands, and carries the log from one to the other (ship.h, receive.h).
// When, and whether at all, is JavaScript's: numbers and commands.
//
// One mutex guards everything; the thread gives it up while it waits and while it
// writes to a file, so that a command or a heartbeat never waits for a disk.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "bits/clock.h"
#include "bits/events.h"
#include "bits/facts.h"
#include "bits/names.h"
#include "link/carrier.h"
#include "link/link.h"
#include "link/pulse.h"
#include "receive/receive.h"
#include "ring/core.h"
#include "ship/ship.h"
#include "store/segment.h"

namespace exitlog {

// Commands without an argument; JavaScript gets the names when it loads the addon.
#define EXITLOG_COMMANDS(X) X(flush) X(stopSealing) X(closeGate) X(reopenGate) X(closeReceive)
constexpr const char* kCommandNames[] = {EXITLOG_COMMANDS(EXITLOG_NAME)};

// How long something may make no progress, ns; 0: for ever.
struct Limits {
  uint64_t diskNs = 0;     // a write or a sync of the log, or of an image
  uint64_t courierNs = 0;  // the courier's thread
  uint64_t ackNs = 0;      // the peer: an ack
};

constexpr size_t kCommands = sizeof kCommandNames / sizeof *kCommandNames;

class Courier final : public Carrier {
 public:
  // `wakeJs`: there are events to take; any thread. Throws std::system_error.
  Courier(std::shared_ptr<RingCore> core, std::function<void()> wakeJs, uint64_t progressNs);
  // Stops at once; waits for a system call in progress.
  ~Courier();
  // The same, within `forNs`. False: a system call does not return. Nothing is told any more, and
  // this must never be destroyed.
  bool stop(uint64_t forNs);
  Courier(const Courier&) = delete;
  Courier& operator=(const Courier&) = delete;

  // A connection, when there is none any more. `from` null: batches sealed from now on.
  // Throws RingError or RangeFault, see Shipper::peerArrived; the link is not moved then.
  void attach(std::unique_ptr<Link>& link, const ShipFrom* from);
  // Once each.
  void ship(const ShipOptions& options, std::unique_ptr<Segment> log);
  // The same, of a survivor: its log continues the one that was received, in the same files.
  // Throws RingError, see Receiver::end and Sealer::continueFrom.
  void shipOn(ShipOptions options);
  void receive(const ReceiveOptions& options, std::unique_ptr<Segment> log);
  // State of the next image that QEMU begins is kept for the backup that comes next, in a file
  // in this folder. Throws RingError, std::system_error.
  void keepState(const std::string& dir);
  // From now on what stands still longer is `stuck`.
  void watch(const Limits& limits);
  // What the peer is told, frames, if our disk, our courier or JavaScript is: the last may not
  // get to it.
  struct LastWords {
    std::vector<uint8_t> disk;
    std::vector<uint8_t> courier;
    std::vector<uint8_t> control;
  };
  void lastWords(LastWords words);
  // What was received into an image, up to its last whole epoch, goes to the QEMU that waits
  // beside it: a file, and where its log begins. Once. Throws RingError while some of it is not
  // applied yet, std::system_error.
  void handOver(int fd);

  bool send(const uint8_t* bytes, size_t count) override;
  void endLink() override;
  void dropLink() override;
  uint64_t heardNs() override;
  void beat(const uint8_t* frame, size_t length, uint64_t intervalNs, uint64_t forNs) override;
  bool heardBeat(Pulse::Heard& into) override;

  enum class Command { EXITLOG_COMMANDS(EXITLOG_VALUE) };
  void command(Command command);
  // Throw, see Shipper.
  void detach(uint32_t term);
  void protect();

  // Finishes the logs and what is to be sent, then `ended`.
  void close();

  std::vector<Event> takeEvents();

  Facts facts();

 private:
  void begin(const ShipOptions& options, std::unique_ptr<Log> log);
  void run();
  void serveLink(std::unique_lock<std::mutex>& lock, bool readable);
  // Nothing that was read waits for the disk, or for JavaScript.
  bool mayRead() const;
  // False: what was taken is to be stored, or told, first.
  bool takeFrames();
  // Without the lock, in which only this may block for long.
  template <class Work>
  auto away(std::unique_lock<std::mutex>& lock, const char* doing, Work work);
  void beatOn();
  // @returns when to look again
  uint64_t keepBeating(uint64_t nowNs);
  void look(uint64_t nowNs);
  void lookAtOwn(uint64_t nowNs);
  void sayStuck(const char* kind, const char* what, const std::vector<uint8_t>& words, uint64_t ns);
  void lookAtPeer(uint64_t nowNs);
  uint64_t diskSinceNs() const;
  uint64_t ship(std::unique_lock<std::mutex>& lock);
  bool finishRound(std::unique_lock<std::mutex>& lock);
  void loseLink(const char* code, const std::string& message);
  void finishing();
  // Until something happens or `until`.
  void sleep(std::unique_lock<std::mutex>& lock, uint64_t until, bool& readable);
  bool mustNotSleep(uint32_t mode);
  void nudge();

  std::shared_ptr<RingCore> core_;
  const Shm& shm_;
  const uint64_t progressNs_;
  std::mutex mutex_;
  Events events_;
  const HostClock clock_;
  int nudgeFd_;
  Syncer syncer_;
  std::unique_ptr<Link> link_;
  Pulse pulse_;  // of link_
  Peer* peer_ = nullptr;  // the shipper's, behind link_
  // Replaced while the thread may still use what it has received from them.
  std::vector<std::unique_ptr<Link>> replaced_;
  bool linkGone_ = false;
  uint64_t heardNs_ = 0;  // of the last link, once it is gone
  std::unique_ptr<PeerError> fault_;
  std::unique_ptr<Shipper> shipper_;
  std::unique_ptr<Receiver> receiver_;
  std::shared_ptr<Image> image_;  // its, if it has one
  uint64_t toldProgressNs_ = 0;
  Limits limits_;
  LastWords lastWords_;  // of link_
  uint64_t awaySinceNs_ = 0;  // the thread reads or writes a file; 0: it does not
  const char* awayFor_ = "";
  uint64_t roundNs_;  // when it was here last
  uint64_t lookedNs_ = 0;  // at what makes no progress
  uint64_t excusedNs_ = 0;
  bool isStuck_ = false;
  bool peerIsStuck_ = false;
  uint64_t outstandingSeen_ = 0;  // of link_, when looked at last
  uint64_t carriedSeen_ = 0;
  uint64_t carriedNs_ = 0;  // it has taken some of much since
  bool closing_ = false;
  bool aborting_ = false;
  bool ended_ = false;
  bool isGone_ = false;  // the courier's thread
  std::condition_variable pulseChanged_;
  std::condition_variable goneChanged_;
  std::thread thread_;
  std::thread pulseThread_;
};

}  // namespace exitlog
