// SPDX-License-Identifier: Apache-2.0
// What a commit costs, between processes over loopback (docs/quorum.md):
//
//   measure --dir DIR [--pair] [--replicas 3] [--durable] [--port N]
//           --latency N | --seconds N | --transfers N   [--bytes N] [--window N]
//
// DIR is empty. One JSON object on stdout.
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "measure/side.h"

namespace {

using namespace quorum;

struct Wanted {
  SideOptions side;
  uint64_t latency = 0;
  uint64_t seconds = 0;
  uint64_t transfers = 0;
  uint64_t bytes = 200;
  uint64_t window = 64;
};

std::unique_ptr<Side> make(SideOptions options, uint64_t id) {
  options.id = id;
  options.dir += "/" + std::to_string(id);
  if (mkdir(options.dir.c_str(), 0700) < 0) throw std::runtime_error("the folder is not empty");
  return options.isPair ? makePairSide(options) : makeReplica(options);
}

unsigned long long residentKiB() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<unsigned long long>(usage.ru_maxrss);
}

double cpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// A replica but the first: until that one is gone. Leads when it is given the lead, and gives it back.
int follow(const Wanted& wanted, uint64_t id, int report) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto side = make(wanted.side, id);
  while (!side->isAlone()) {
    side->wait(50);
    if (side->leads() && wanted.transfers > 0) side->transfer(1);
  }
  const unsigned long long said[] = {id, side->lastIndex(), residentKiB()};
  return write(report, said, sizeof said) == sizeof said ? 0 : 1;
}

std::vector<Slice> payloads(uint64_t bytes) {
  std::vector<Slice> all;
  for (int i = 0; i < 64; i++) {
    std::vector<uint8_t> one(bytes);
    for (size_t at = 0; at < one.size(); at++) one[at] = static_cast<uint8_t>(at * 31 + i);
    all.push_back(Slice::copy(one.data(), one.size()));
  }
  return all;
}

void percentiles(std::vector<uint64_t>& times) {
  std::sort(times.begin(), times.end());
  const auto at = [&](double share) {
    return static_cast<unsigned long long>(times[static_cast<size_t>(share * (times.size() - 1))]);
  };
  printf("\"count\":%zu,\"p50us\":%llu,\"p90us\":%llu,\"p99us\":%llu,\"mostUs\":%llu", times.size(),
         at(0.5), at(0.9), at(0.99), at(1));
}

void latency(Side& side, const Wanted& wanted) {
  const std::vector<Slice> all = payloads(wanted.bytes);
  std::vector<uint64_t> times;
  // The first ones find cold caches.
  for (uint64_t i = 0; i < wanted.latency + 200; i++) {
    const uint64_t from = monotonicUs();
    const uint64_t before = side.counted;
    side.submit(all[i % all.size()]);
    while (side.counted == before) side.wait(50);
    if (i >= 200) times.push_back(monotonicUs() - from);
  }
  percentiles(times);
}

void throughput(Side& side, const Wanted& wanted) {
  const std::vector<Slice> all = payloads(wanted.bytes);
  const uint64_t from = monotonicUs();
  const uint64_t until = from + wanted.seconds * 1000000;
  const uint64_t before = side.counted;
  uint64_t submitted = before;
  while (monotonicUs() < until) {
    while (submitted - side.counted < wanted.window) {
      side.submit(all[submitted++ % all.size()]);
    }
    side.wait(50);
  }
  const uint64_t counted = side.counted - before;
  const auto us = static_cast<double>(monotonicUs() - from);
  printf("\"entries\":%llu,\"mbPerS\":%.1f", static_cast<unsigned long long>(counted),
         static_cast<double>(counted * wanted.bytes) / us);
}

void transfers(Side& side, const Wanted& wanted) {
  std::vector<uint64_t> times;
  while (times.size() < wanted.transfers) {
    while (!side.leads()) side.wait(50);
    const uint64_t until = monotonicUs() + 20000;
    while (monotonicUs() < until) side.wait(5);
    const uint64_t from = monotonicUs();
    side.transfer(2);
    while (side.leader() != 2) side.wait(50);
    times.push_back(monotonicUs() - from);
  }
  percentiles(times);
}

int measure(const Wanted& wanted) {
  int report[2];
  if (pipe(report) < 0) return 1;
  std::vector<pid_t> children;
  for (uint64_t id = 2; id <= wanted.side.replicas; id++) {
    const pid_t child = fork();
    if (child == 0) _exit(follow(wanted, id, report[1]));
    children.push_back(child);
  }
  close(report[1]);
  printf("{\"protocol\":\"%s\",\"replicas\":%llu,\"durable\":%s,\"bytes\":%llu,",
         wanted.side.isPair ? "pair" : "quorum",
         static_cast<unsigned long long>(wanted.side.replicas),
         wanted.side.isDurable ? "true" : "false", static_cast<unsigned long long>(wanted.bytes));
  {
    const auto side = make(wanted.side, 1);
    while (!side->leads()) side->wait(50);
    if (wanted.latency > 0) latency(*side, wanted);
    else if (wanted.seconds > 0) throughput(*side, wanted);
    else transfers(*side, wanted);
    printf(",\"lastIndex\":%llu,\"residentKiB\":%llu,\"cpuS\":%.2f,\"followers\":[",
           static_cast<unsigned long long>(side->lastIndex()), residentKiB(), cpuSeconds());
  }
  unsigned long long said[3];
  for (const char* before = ""; read(report[0], said, sizeof said) == sizeof said; before = ",") {
    printf("%s{\"id\":%llu,\"lastIndex\":%llu,\"residentKiB\":%llu}", before, said[0], said[1], said[2]);
  }
  printf("]}\n");
  int worst = 0;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) worst = 1;
  }
  return worst;
}

}  // namespace

int main(int argc, char** argv) {
  Wanted wanted;
  const auto number = [](const char* text) { return strtoull(text, nullptr, 10); };
  for (int i = 1; i < argc; i++) {
    const bool hasMore = i + 1 < argc;
    if (strcmp(argv[i], "--pair") == 0) wanted.side.isPair = true;
    else if (strcmp(argv[i], "--durable") == 0) wanted.side.isDurable = true;
    else if (!hasMore) return 2;
    else if (strcmp(argv[i], "--dir") == 0) wanted.side.dir = argv[++i];
    else if (strcmp(argv[i], "--replicas") == 0) wanted.side.replicas = number(argv[++i]);
    else if (strcmp(argv[i], "--port") == 0) wanted.side.port = static_cast<uint16_t>(number(argv[++i]));
    else if (strcmp(argv[i], "--latency") == 0) wanted.latency = number(argv[++i]);
    else if (strcmp(argv[i], "--seconds") == 0) wanted.seconds = number(argv[++i]);
    else if (strcmp(argv[i], "--transfers") == 0) wanted.transfers = number(argv[++i]);
    else if (strcmp(argv[i], "--bytes") == 0) wanted.bytes = number(argv[++i]);
    else if (strcmp(argv[i], "--window") == 0) wanted.window = number(argv[++i]);
    else return 2;
  }
  if (wanted.side.isPair) wanted.side.replicas = 2;
  // Large packets are taken and freed all the time: not from the kernel each time.
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  try {
    return measure(wanted);
  } catch (const std::exception& error) {
    fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
