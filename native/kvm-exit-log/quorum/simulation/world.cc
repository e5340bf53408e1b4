// SPDX-License-Identifier: Apache-2.0
#include "simulation/world.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "bits/checksum.h"
#include "bits/errors.h"

namespace quorum {

namespace {

constexpr unsigned kElectionMs = 100;
constexpr unsigned kHeartbeatMs = 20;

unsigned long long shown(uint64_t number) { return number; }

}  // namespace

Node::Node(World& world, uint64_t id, uint64_t seed) : world(world), id(id), disk(seed) {}

uint64_t Node::clockMs() const {
  return clockOffsetMs +
         static_cast<uint64_t>(static_cast<double>(world.nowUs_) * clockRate / kMs);
}

void Node::send(uint64_t to, Packet packet) { world.deliver(id, to, std::move(packet)); }

void Node::committed(uint64_t index, const Entry& entry) {
  world.history.told(id, index, entry);
  if (index > applied) apply(index, entry);
  const auto own = waiting.find(entry.checksum);
  if (own == waiting.end() || replica->role() != Role::leader) return;
  world.history.answered(id, replica->term(), own->second, index);
  waiting.erase(own);
}

void Node::roleChanged(Role role, uint64_t term) {
  world.trace("%llu is %s in term %llu", shown(id),
              role == Role::leader ? "leader" : role == Role::candidate ? "candidate" : "follower",
              shown(term));
  if (role == Role::leader) world.history.leads(id, term);
}

// The sync happens at its begin or at its end, and takes its time.
void Node::wantsSync() {
  const auto job = std::make_shared<SyncJob>(replica->takeSync());
  const uint64_t took = world.random.between(syncUs / 2, syncUs * 2);
  const bool isEarly = world.random.chance(0.5);
  const auto run = [job](Node& node) { node.world.within(node, [&] { job->run(); }); };
  if (isEarly) world.at(world.nowUs_, id, life, run);
  world.at(world.nowUs_ + took, id, life, [isEarly, run](Node& node) {
    if (!isEarly) run(node);
    if (!node.isUp()) return;
    node.world.within(node, [&] { node.replica->synced(node.clockMs()); });
  });
}

World::World(const WorldOptions& options) : options(options), random(options.seed) {
  std::vector<Member> members;
  for (unsigned i = 0; i < options.replicas; i++) {
    Node& node = addHost();
    members.push_back(Member{node.id, "host" + std::to_string(node.id), true});
  }
  for (auto& node : nodes_) Replica::bootstrap(node->disk, optionsOf(*node), members);
  for (auto& node : nodes_) start(*node);
}

ReplicaOptions World::optionsOf(const Node& node) {
  ReplicaOptions of;
  of.log = LogOptions{kCluster, options.segmentBytes, 2048};
  of.id = node.id;
  of.electionMs = kElectionMs;
  of.heartbeatMs = kHeartbeatMs;
  of.inFlightMax = options.inFlightMax;
  of.isDurable = options.isDurable;
  of.boot = node.boot;
  of.seed = static_cast<unsigned>(random.next());
  return of;
}

Node& World::addHost() {
  const uint64_t id = nodes_.size() + 1;
  if (id > kHostsMax) throw std::logic_error("too many hosts");
  nodes_.push_back(std::make_unique<Node>(*this, id, random.next()));
  Node& node = *nodes_.back();
  node.clockOffsetMs = random.between(0, 1000000);
  node.clockRate = 0.9 + static_cast<double>(random.between(0, 200)) / 1000;
  return node;
}

void World::start(Node& node) {
  // The folder's lock is held for as long as its disk hangs.
  if (node.isUp() || node.isRefused || node.disk.isHung || node.stuckUntil > nowUs_) return;
  node.life++;
  node.waiting.clear();
  node.bringing.clear();
  node.isKeeping = false;
  within(node, [&] {
    open(node);
    if (!node.isUp()) return;
    node.replica->start(node.clockMs());
    schedule(node);
  });
}

void World::open(Node& node) {
  try {
    node.replica = std::make_unique<Replica>(node.disk, node, optionsOf(node));
  } catch (const exitlog::CorruptError& error) {
    if (!node.isDamaged) throw Violation(std::string("nothing was damaged: ") + error.what());
    trace("%llu does not start: %s", shown(node.id), error.what());
    node.isRefused = true;
    return;
  }
  const Replica& replica = *node.replica;
  trace("%llu starts with entries %llu to %llu, term %llu", shown(node.id),
        shown(replica.log().firstIndex()), shown(replica.lastIndex()), shown(replica.term()));
  if (node.isDamaged && options.isDurable) throw Violation("damage is not noticed");
  if (!options.isDurable && node.boot > 1 && replica.lastIndex() > 0) {
    throw Violation("a log that was in memory is believed after its host went down");
  }
  restore(node);
}

void World::kill(Node& node) {
  node.life++;
  node.replica.reset();
  node.disk.kill();
  node.disk.diesAfter = 0;
}

void World::cutPower(Node& node) {
  kill(node);
  node.disk.cutPower();
  node.boot++;
}

void World::at(uint64_t us, uint64_t node, uint64_t life, std::function<void(Node&)> work) {
  events_.push(Event{us, order_++, node, life, std::move(work)});
}

// One timer a replica, looked at again when it is due.
void World::schedule(Node& node) {
  const uint64_t nowMs = node.clockMs();
  const uint64_t dueMs = node.replica->deadlineMs();
  const uint64_t waitMs = dueMs > nowMs ? dueMs - nowMs : 0;
  const auto waitUs = static_cast<uint64_t>(static_cast<double>(waitMs * kMs) / node.clockRate);
  at(nowUs_ + std::min<uint64_t>(waitUs + kMs / 4, 10 * kMs), node.id, node.life, [this](Node& due) {
    within(due, [&] {
      if (due.clockMs() >= due.replica->deadlineMs()) due.replica->timeout(due.clockMs());
      schedule(due);
    });
  });
}

void World::runUntil(uint64_t us) {
  while (!events_.empty() && events_.top().us <= us) {
    Event event = events_.top();
    events_.pop();
    nowUs_ = event.us;
    Node& of = node(event.node);
    if (!of.isUp() || (event.life != 0 && event.life != of.life)) continue;
    if (of.pausedUntil > nowUs_) {
      // It finds all that came when it goes on, in order.
      event.us = of.pausedUntil;
      events_.push(std::move(event));
      continue;
    }
    steps++;
    event.work(of);
  }
  nowUs_ = us;
}

void World::deliver(uint64_t from, uint64_t to, Packet packet) {
  if (to == 0 || to > nodes_.size() || random.chance(network.lost)) return;
  std::vector<uint8_t> bytes = packet.head;
  for (const Slice& payload : packet.payloads) {
    bytes.insert(bytes.end(), payload.bytes.get(), payload.bytes.get() + payload.count);
  }
  const Slice slice = Slice::copy(bytes.data(), bytes.size());
  for (int copies = random.chance(network.twice) ? 2 : 1; copies > 0; copies--) {
    uint64_t delay = random.between(network.delayUs / 2, network.delayUs * 2);
    if (random.chance(network.late)) delay += random.between(0, network.lateUs);
    at(nowUs_ + delay, to, 0, [this, from, to, slice](Node& node) {
      if (cut_[from][to]) return;
      within(node, [&] { node.replica->receive(node.clockMs(), from, slice); });
    });
  }
}

void World::heal() {
  for (auto& row : cut_) row.fill(false);
}

Node* World::leader() {
  Node* found = nullptr;
  for (auto& node : nodes_) {
    if (!node->isUp() || node->replica->role() != Role::leader) continue;
    if (found == nullptr || node->replica->term() > found->replica->term()) found = node.get();
  }
  return found;
}

void World::submit(Node& node) {
  std::vector<Slice> payloads;
  std::vector<std::pair<uint64_t, uint64_t>> sent;
  const uint64_t count = random.chance(0.2) ? random.between(2, 5) : 1;
  for (uint64_t i = 0; i < count; i++) {
    std::vector<uint8_t> bytes(random.chance(0.05) ? random.between(8, 3000) : random.between(8, 90));
    const uint64_t request = ++requests;
    memcpy(bytes.data(), &request, sizeof request);
    payloads.push_back(Slice::copy(bytes.data(), bytes.size()));
    node.waiting[exitlog::xxh64(bytes.data(), bytes.size())] = request;
  }
  within(node, [&] { node.replica->submit(node.clockMs(), payloads); });
}

void World::trace(const char* form, ...) {
  if (!options.isTraced) return;
  va_list args;
  va_start(args, form);
  fprintf(stderr, "%10.3f ", static_cast<double>(nowUs_) / kMs);
  vfprintf(stderr, form, args);
  fputc('\n', stderr);
  va_end(args);
}

}  // namespace quorum
