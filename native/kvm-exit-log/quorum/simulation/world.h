// SPDX-License-Identifier: Apache-2.0
// Hosts with replicas, disks and a network between them, in a time of its own. All that happens
// is a seed's.
#pragma once

#include <array>
#include <cerrno>
#include <memory>
#include <queue>

#include "core/replica.h"
#include "simulation/history.h"
#include "simulation/random.h"
#include "simulation/sim_disk.h"

namespace quorum {

constexpr uint64_t kMs = 1000;  // the world's time is in µs
constexpr uint64_t kHostsMax = 12;
constexpr uint64_t kHangMs = 300;  // what a replica waits for a disk

struct Network {
  double lost = 0;
  double twice = 0;
  double late = 0;  // share that takes long, and is overtaken
  uint64_t delayUs = 200;
  uint64_t lateUs = 50 * kMs;
};

// Stands for a VM's: the base that the core asks for, and a state that tells whether all of it is
// there. It is a file of the host's own.
struct Checkpoint {
  Base base;
  uint64_t state = 0;
};

// A host, its replica, and the disk that outlives it.
class Node final : public Host {
 public:
  Node(class World& world, uint64_t id, uint64_t seed);
  void send(uint64_t to, Packet packet) override;
  void committed(uint64_t index, const Entry& entry) override;
  void roleChanged(Role role, uint64_t term) override;
  void wantsSync() override;
  void behind(uint64_t to) override;

  void apply(uint64_t index, const Entry& entry);
  bool isUp() const { return replica != nullptr; }
  uint64_t clockMs() const;

  class World& world;
  const uint64_t id;
  SimDisk disk;
  std::unique_ptr<Replica> replica;
  uint64_t life = 0;        // which of its replicas; events of an older one are nobody's
  uint64_t pausedUntil = 0;
  uint64_t stuckUntil = 0;  // its thread waits for a disk that hangs, as long as its limit
  uint64_t syncUs = 500;
  bool isDamaged = false;   // a bit of its disk was flipped, or it lost what it had in memory
  uint64_t boot = 1;
  bool isRefused = false;   // and it does not start any more, rightly
  double clockRate = 1;
  uint64_t clockOffsetMs = 0;
  uint64_t applied = 0;    // its state is that behind this entry
  uint64_t state = 0;
  Checkpoint kept;         // the newest on its disk
  bool isKeeping = false;  // and the next one is being written
  std::map<uint64_t, uint64_t> bringing;  // whom, and until when
  std::map<uint64_t, uint64_t> waiting;  // submitted in this life, by checksum: request
};

struct WorldOptions {
  uint64_t seed = 1;
  unsigned replicas = 3;
  bool isDurable = true;
  unsigned inFlightMax = 32;
  uint64_t segmentBytes = 4096;
  uint64_t checkpointEvery = 0;  // entries; 0: never
  uint64_t keep = 0;             // entries before a base
  bool isTraced = false;
};

class World {
 public:
  static constexpr uint64_t kCluster = 0x5eed;
  explicit World(const WorldOptions& options);

  uint64_t nowUs() const { return nowUs_; }
  // Whatever happens until then.
  void runUntil(uint64_t us);
  void runFor(uint64_t us) { runUntil(nowUs_ + us); }

  Node& node(uint64_t id) { return *nodes_.at(id - 1); }
  std::vector<std::unique_ptr<Node>>& nodes() { return nodes_; }
  Node& addHost();

  void start(Node& node);
  // SIGKILL: what was written stays.
  void kill(Node& node);
  void cutPower(Node& node);
  // What is done in a replica may kill it: its disk dies, or does not do what it is asked.
  template <class Work>
  void within(Node& node, Work work);

  void submit(Node& node);
  // A leader that believes to be one, the newest term's; null: none.
  Node* leader();
  bool isCut(uint64_t from, uint64_t to) const { return cut_[from][to]; }
  void cut(uint64_t from, uint64_t to, bool isCut) { cut_[from][to] = isCut; }
  void heal();
  // Its messages: to everybody, at once.
  void deliver(uint64_t from, uint64_t to, Packet packet);

  void trace(const char* form, ...) __attribute__((format(printf, 2, 3)));
  ReplicaOptions optionsOf(const Node& node);

  const WorldOptions options;
  Random random;
  Network network;
  History history;
  uint64_t requests = 0;
  uint64_t trims = 0;
  uint64_t installs = 0;
  uint64_t steps = 0;

 private:
  friend class Node;
  struct Event {
    uint64_t us;
    uint64_t order;
    uint64_t node;
    uint64_t life;  // 0: of any
    std::function<void(Node&)> work;
    bool operator<(const Event& other) const {
      return us != other.us ? us > other.us : order > other.order;
    }
  };
  void at(uint64_t us, uint64_t node, uint64_t life, std::function<void(Node&)> work);
  void schedule(Node& node);
  void open(Node& node);
  void restore(Node& node);
  void keepCheckpoint(Node& node);
  void trim(Node& node);
  void bring(Node& from, uint64_t to);
  void install(Node& node, const Checkpoint& checkpoint);

  uint64_t nowUs_ = 0;
  uint64_t order_ = 0;
  std::priority_queue<Event> events_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::array<std::array<bool, kHostsMax + 1>, kHostsMax + 1> cut_{};
};

template <class Work>
void World::within(Node& node, Work work) {
  try {
    work();
  } catch (const PowerCut&) {
    trace("%llu dies in the middle of a write", static_cast<unsigned long long>(node.id));
    cutPower(node);
  } catch (const DiskError& error) {
    trace("%llu ends: %s", static_cast<unsigned long long>(node.id), error.what());
    kill(node);
    // It has not been heard since it began to wait: that it ends later makes no difference.
    if (error.code == ETIMEDOUT) node.stuckUntil = nowUs_ + kHangMs * kMs;
  }
}

}  // namespace quorum
