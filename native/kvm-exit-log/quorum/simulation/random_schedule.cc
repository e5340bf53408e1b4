// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "bits/errors.h"
#include "simulation/schedule.h"

namespace quorum {

namespace {

constexpr uint64_t kSecond = 1000 * kMs;
// Elections take 100 to 200 ms here, and some fail.
constexpr uint64_t kCalmMax = 10 * kSecond;

class RandomSchedule {
 public:
  RandomSchedule(const WorldOptions& options, const Random& hangs, bool hasHangs)
      : world_(options), random_(world_.random), hangs_(hangs), hasHangs_(hasHangs) {
    // Each seed has only some kinds of fault: all at once hide each other.
    for (bool& isOn : isOn_) isOn = random_.chance(0.4);
  }

  Outcome play() {
    for (uint64_t rounds = random_.between(2, 5); rounds > 0; rounds--) {
      storm();
      calm();
    }
    outcome_.answers = world_.history.answers();
    outcome_.entries = world_.history.last();
    outcome_.terms = world_.history.terms();
    outcome_.steps = world_.steps;
    outcome_.trims = world_.trims;
    outcome_.installs = world_.installs;
    return outcome_;
  }

 private:
  enum Fault {
    kKill, kPowerCut, kPowerCutOfAll, kDiesInWrite, kPause, kCutLink, kIsolate, kSplit, kHeal, kFull,
    kFailedSync, kSlowDisk, kLossy, kDamage, kTransfer, kAdd, kRemove, kStart, kFaults
  };

  bool isDurable() const { return world_.options.isDurable; }
  Node& any() { return *random_.of(world_.nodes()); }

  void storm() {
    const uint64_t until = world_.nowUs() + random_.between(kSecond / 2, 3 * kSecond);
    const uint64_t everyUs = random_.between(10, 150) * kMs;
    const uint64_t requestUs = random_.between(2, 25) * kMs;
    world_.network.delayUs = random_.between(50, 2000);
    uint64_t faultAt = world_.nowUs();
    while (world_.nowUs() < until) {
      world_.runFor(random_.between(1, 2 * requestUs));
      for (auto& node : world_.nodes()) {
        if (node->isUp() && node->replica->role() == Role::leader) world_.submit(*node);
      }
      if (hasHangs_ && hangs_.chance(0.01)) {
        SimDisk& disk = hangs_.of(world_.nodes())->disk;
        disk.isHung = !disk.isHung;
      }
      if (world_.nowUs() < faultAt) continue;
      faultAt = world_.nowUs() + random_.between(1, 2 * everyUs);
      const auto fault = static_cast<Fault>(random_.between(0, kFaults - 1));
      if (isOn_[fault] || fault == kStart) happen(fault);
    }
  }

  void happen(Fault fault) {
    Node& node = any();
    outcome_.faults++;
    switch (fault) {
      case kKill:
        return world_.kill(node);
      case kPowerCut:
        if (isDurable()) world_.cutPower(node);
        return;
      case kPowerCutOfAll:
        if (!isDurable() || random_.chance(0.7)) return;
        for (auto& one : world_.nodes()) world_.cutPower(*one);
        return startAll();
      case kDiesInWrite:
        if (isDurable()) node.disk.diesAfter = random_.between(1, 20);
        return;
      case kPause:
        node.pausedUntil = world_.nowUs() + random_.between(10, 500) * kMs;
        return;
      case kCutLink:
        return world_.cut(node.id, any().id, true);
      case kIsolate:
        for (auto& one : world_.nodes()) isolate(node.id, one->id);
        return;
      case kSplit:
        for (auto& one : world_.nodes()) {
          if (random_.chance(0.5)) continue;
          for (auto& other : world_.nodes()) isolate(one->id, other->id);
        }
        return;
      case kHeal:
        return world_.heal();
      case kFull:
        node.disk.isFull = !node.disk.isFull;
        return;
      case kFailedSync:
        node.disk.failsSync = isDurable() && !node.disk.failsSync;
        return;
      case kSlowDisk:
        node.syncUs = random_.chance(0.5) ? 500 : random_.between(5, 200) * kMs;
        return;
      case kLossy:
        world_.network.lost = random_.chance(0.5) ? 0 : 0.2;
        world_.network.twice = random_.chance(0.5) ? 0 : 0.1;
        world_.network.late = random_.chance(0.5) ? 0 : 0.2;
        return;
      case kDamage:
        return damage(node);
      case kTransfer:
        return transfer();
      case kAdd:
      case kRemove:
        return change(fault == kAdd);
      case kStart:
      case kFaults:
        break;
    }
    for (auto& one : world_.nodes()) {
      if (random_.chance(0.5)) world_.start(*one);
    }
  }

  void isolate(uint64_t one, uint64_t other) {
    world_.cut(one, other, true);
    world_.cut(other, one, true);
  }

  void startAll() {
    for (auto& one : world_.nodes()) world_.start(*one);
  }

  void transfer() {
    Node* leader = world_.leader();
    if (leader == nullptr) return;
    const uint64_t to = random_.chance(0.3) ? 0 : any().id;
    world_.trace("%llu gives the lead away", static_cast<unsigned long long>(leader->id));
    world_.within(*leader, [&] { leader->replica->transfer(leader->clockMs(), to); });
  }

  // Replicas are replaced more often than their number changes.
  void change(bool adds) {
    Node* leader = world_.leader();
    if (leader == nullptr || leader->replica->isChanging()) return;
    const std::vector<Member> members = leader->replica->members();
    const auto voters = std::count_if(members.begin(), members.end(),
                                      [](const Member& one) { return one.isVoter; });
    outcome_.changes++;
    if (adds) {
      if (world_.nodes().size() == kHostsMax || members.size() > 5) return;
      Node& added = world_.addHost();
      world_.start(added);
      leader = world_.leader();
      if (leader == nullptr) return;
      const Member member{added.id, "host" + std::to_string(added.id), true};
      world_.trace("%llu is added", static_cast<unsigned long long>(added.id));
      world_.within(*leader, [&] { leader->replica->add(leader->clockMs(), member); });
      return;
    }
    if (voters <= 3) return;
    uint64_t out = members[random_.between(0, members.size() - 1)].id;
    for (const Member& one : members) {
      if (world_.node(one.id).isDamaged) out = one.id;
    }
    world_.trace("%llu is removed", static_cast<unsigned long long>(out));
    world_.within(*leader, [&] { leader->replica->remove(leader->clockMs(), out); });
  }

  // A bit of an entry that heads say was on the disk, or all that was in memory only; one replica's
  // at a time, as far as a majority is well.
  void damage(Node& node) {
    for (auto& one : world_.nodes()) {
      if (one->isDamaged) return;
    }
    if (world_.nodes().size() != world_.options.replicas) return;
    world_.cutPower(node);
    if (!isDurable()) {
      node.isDamaged = true;
      world_.trace("%llu loses what it had in memory", static_cast<unsigned long long>(node.id));
      return;
    }
    const std::vector<std::pair<std::string, uint64_t>> places = placesOf(node.disk);
    if (places.empty()) return;
    const auto& [name, offset] = random_.of(places);
    node.isDamaged = true;
    node.disk.flip(name, offset, static_cast<unsigned>(random_.between(0, 7)));
    world_.trace("%llu has a bit flipped in %s at %llu", static_cast<unsigned long long>(node.id),
                 name.c_str(), static_cast<unsigned long long>(offset));
  }

  // A byte of each entry that was on the disk, and one of the base.
  std::vector<std::pair<std::string, uint64_t>> placesOf(SimDisk& disk) {
    const std::optional<KeptBase> kept = readBase(disk, World::kCluster);
    std::vector<std::pair<std::string, uint64_t>> places;
    std::vector<uint64_t> numbers;
    uint64_t synced = 0;
    for (const uint64_t number : segmentNumbers(disk)) {
      if (kept && number < kept->segment) continue;
      numbers.push_back(number);
      synced = std::max(synced, SegmentReader(disk.open(segmentName(number))).syncedBehind(0));
    }
    for (const uint64_t number : numbers) {
      SegmentReader reader(disk.open(segmentName(number)));
      EntryHead head{};
      for (uint64_t at = sizeof(SegmentHeader); reader.head(at, head);
           at += storedBytes(head.bytes)) {
        if (head.index > synced) break;
        places.emplace_back(segmentName(number), at + random_.between(0, sizeof head + head.bytes - 1));
      }
    }
    if (kept) places.emplace_back("base", random_.between(0, disk.open("base")->size() - 1));
    return places;
  }

  // A majority is well: a request is answered, all are told of it, and a change of membership ends.
  void calm() {
    world_.trace("calm");
    world_.heal();
    world_.network = Network{};
    for (auto& node : world_.nodes()) {
      node->pausedUntil = 0;
      node->syncUs = 500;
      node->disk.isFull = node->disk.failsSync = node->disk.isHung = false;
      node->disk.diesAfter = 0;
    }
    const uint64_t from = world_.nowUs();
    uint64_t mark = 0;
    while (mark == 0 || !areAllTold(mark) || world_.leader()->replica->isChanging()) {
      if (world_.nowUs() - from > kCalmMax) {
        const Node* leader = world_.leader();
        throw Violation(exitlog::format("a majority is well, and nothing %s for 10 s: leader %llu",
                                        mark == 0               ? "is answered"
                                        : !areAllTold(mark) ? "is told to all"
                                                            : "ends a change of membership",
                                        static_cast<unsigned long long>(leader ? leader->id : 0)));
      }
      startAll();
      world_.runFor(20 * kMs);
      Node* leader = world_.leader();
      if (mark != 0 || leader == nullptr) continue;
      const uint64_t request = world_.requests + 1;
      world_.submit(*leader);
      world_.runFor(20 * kMs);
      if (world_.history.isAnswered(request)) mark = world_.history.last();
    }
    world_.history.covers(world_.leader()->replica->committedIndex());
  }

  bool areAllTold(uint64_t index) {
    Node* leader = world_.leader();
    if (leader == nullptr) return false;
    for (const Member& one : leader->replica->members()) {
      Node& node = world_.node(one.id);
      if (node.isRefused) continue;
      if (!node.isUp() || node.replica->committedIndex() < index) return false;
    }
    return true;
  }

  World world_;
  Random& random_;
  Random hangs_;
  const bool hasHangs_;
  bool isOn_[kFaults] = {};
  Outcome outcome_;
};

}  // namespace

Outcome playRandom(uint64_t seed, bool isTraced) {
  Random random(seed * 0x9e3779b9ull);
  WorldOptions options;
  options.seed = random.next();
  options.replicas = random.chance(0.6) ? 3 : 5;
  options.isDurable = random.chance(0.85);
  constexpr unsigned kInFlight[] = {1, 2, 8, 32};
  options.inFlightMax = kInFlight[random.between(0, 3)];
  constexpr uint64_t kSegments[] = {600, 4096, 65536};
  options.segmentBytes = kSegments[random.between(0, 2)];
  options.isTraced = isTraced;
  // Numbers of their own: a seed without checkpoints and hangs is what it was before there were any.
  Random about(seed ^ 0xc4ec);
  if (about.chance(0.6)) options.checkpointEvery = about.between(3, 80);
  options.keep = about.chance(0.5) ? about.between(1, 50) : 0;
  const bool hasHangs = about.chance(0.2);
  return RandomSchedule(options, about, hasHangs).play();
}

}  // namespace quorum
