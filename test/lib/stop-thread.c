/*
 * stop-thread TID: that thread alone stands still, where it is, until stdin ends. Says
 * "stopped" when it does.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
    pid_t tid = argc == 2 ? atoi(argv[1]) : 0;

    if (tid <= 0 || ptrace(PTRACE_SEIZE, tid, 0, 0) < 0 ||
        ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0 || waitpid(tid, NULL, __WALL) != tid) {
        perror("stop-thread");
        return 1;
    }
    puts("stopped");
    fflush(stdout);
    while (getchar() != EOF) {
    }
    return 0;
}
