// SPDX-License-Identifier: Apache-2.0
// Seeds of the simulation, one after the other (docs/quorum.md):
//
//   simulation [--schedule random|figure-8|two-votes|hung-disk] [--seed N] [--count N] [--trace] [--first]
//   simulation --patch N
//
// A line of JSON for each that went wrong, and one with sums at the end; exit code 1 where one did.
// An assertion of libraft's ends it: the seed is said before.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <unistd.h>

#include "simulation/raft_cases.h"
#include "simulation/schedule.h"

namespace {

unsigned long long current = 0;

void onAbort(int) {
  char text[96];
  const int length = snprintf(text, sizeof text, "{\"seed\":%llu,\"fault\":\"aborted\"}\n", current);
  if (write(STDOUT_FILENO, text, static_cast<size_t>(length)) < 0) _exit(3);
  _exit(1);
}

void say(const char* fault) {
  printf("{\"seed\":%llu,\"fault\":\"", current);
  for (; *fault != '\0'; fault++) {
    if (*fault == '"' || *fault == '\\') putchar('\\');
    putchar(static_cast<unsigned char>(*fault) < ' ' ? ' ' : *fault);
  }
  printf("\"}\n");
  fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace quorum;
  uint64_t seed = 1;
  uint64_t count = 1;
  bool isTraced = false;
  bool endsAtFirst = false;
  unsigned patch = 0;
  const char* schedule = "random";
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--trace") == 0) isTraced = true;
    else if (strcmp(argv[i], "--first") == 0) endsAtFirst = true;
    else if (i + 1 == argc) return 2;
    else if (strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[++i], nullptr, 10);
    else if (strcmp(argv[i], "--count") == 0) count = strtoull(argv[++i], nullptr, 10);
    else if (strcmp(argv[i], "--patch") == 0) patch = static_cast<unsigned>(atoi(argv[++i]));
    else if (strcmp(argv[i], "--schedule") == 0) schedule = argv[++i];
    else return 2;
  }
  const auto play = strcmp(schedule, "figure-8") == 0    ? playFigure8
                    : strcmp(schedule, "two-votes") == 0 ? playTwoVotes
                    : strcmp(schedule, "hung-disk") == 0 ? playHungDisk
                    : strcmp(schedule, "random") == 0    ? playRandom
                                                         : nullptr;
  if (play == nullptr) return 2;
  signal(SIGABRT, onAbort);
  Outcome sum;
  uint64_t played = 0;
  uint64_t wrong = 0;
  for (; played < count && !(endsAtFirst && wrong > 0); played++) {
    current = seed + played;
    try {
      if (patch != 0) playRaftCase(patch);
      const Outcome one = patch != 0 ? Outcome{} : play(current, isTraced);
      sum.answers += one.answers;
      sum.entries += one.entries;
      sum.terms += one.terms;
      sum.steps += one.steps;
      sum.faults += one.faults;
      sum.changes += one.changes;
      sum.trims += one.trims;
      sum.installs += one.installs;
    } catch (const std::exception& error) {
      wrong++;
      say(error.what());
    }
  }
  const auto shown = [](uint64_t number) { return static_cast<unsigned long long>(number); };
  printf("{\"seeds\":%llu,\"wrong\":%llu,\"answers\":%llu,\"entries\":%llu,\"terms\":%llu,"
         "\"steps\":%llu,\"faults\":%llu,\"changes\":%llu,\"trims\":%llu,\"installs\":%llu}\n",
         shown(played), shown(wrong), shown(sum.answers), shown(sum.entries), shown(sum.terms),
         shown(sum.steps), shown(sum.faults), shown(sum.changes), shown(sum.trims), shown(sum.installs));
  return wrong == 0 ? 0 : 1;
}
