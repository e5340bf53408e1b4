/*
 * us-guard: the loop.  Usage: us-guard [--check] [FILE]   (default /etc/us-guard.conf)
 *
 * It decides nothing: its host does, by what is told here, so that what is done is
 * done by a command that is in the log, and on every replica alike.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include "us-guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static struct conf conf;

/* Restarts of the last `within_s`. */
static int tried_lately(const struct service *s)
{
    int64_t since = now_ms() - (int64_t)s->within_s * 1000;
    int count = 0;

    for (unsigned i = 0; i < s->tried && i < RESTARTS_MAX; i++) {
        count += s->tried_ms[i] >= since;
    }
    return count;
}

static void report(const struct service *s)
{
    static const char *const names[] = { "starting", "up", "failing", "failed", "restarting" };
    char why[WHY_BYTES];

    strcpy(why, s->why);
    for (char *c = why; *c; c++) { /* a message may quote a path */
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\') {
            *c = '?';
        }
    }
    port_say("\"service\":\"%s\",\"state\":\"%s\",\"failures\":%d,\"restarts\":%d,\"max\":%d,"
             "\"within\":%d,\"reset\":%s,\"why\":\"%s\"",
             s->name, names[s->state], s->failed, tried_lately(s), s->restarts, s->within_s,
             s->reset ? "true" : "false", why);
}

static void become(struct service *s, enum state state)
{
    if (s->state != state) {
        s->state = state;
        report(s);
    }
}

/* A check has ended. */
static void count(struct service *s, bool held)
{
    if (held) {
        s->failed = 0;
        become(s, UP);
    } else if (s->state == STARTING && now_ms() < s->grace_until_ms) {
        return;
    } else if (s->failed < 1000000) {
        s->failed++;
        become(s, s->failed >= s->failures ? FAILED : FAILING);
    }
}

static void restarted(struct service *s, int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    int64_t now = now_ms();

    port_say("\"done\":\"%s\",\"id\":%ld,\"status\":%d,\"ms\":%lld", s->name, s->restart_id, code,
             (long long)(now - s->restart_began_ms));
    s->restart_pid = 0;
    s->failed = 0;
    s->grace_until_ms = now + s->grace_ms;
    s->next_ms = now;
    become(s, STARTING);
}

static void restart(struct service *s, long id)
{
    int64_t now = now_ms();

    if (s->restart_pid || !*s->restart) {
        return; /* what it is in is told every now and then */
    }
    check_drop(s);
    s->tried_ms[s->tried++ % RESTARTS_MAX] = now;
    s->restart_id = id;
    s->restart_began_ms = now;
    s->restart_until_ms = now + s->restart_timeout_ms;
    s->restart_pid = run(s->restart);
    if (s->restart_pid < 0) {
        snprintf(s->why, sizeof s->why, "restart: %s", strerror(errno));
        restarted(s, 126 << 8);
    } else {
        become(s, RESTARTING);
    }
}

/* A line of the host: "restart NAME ID". */
static void command(char *line)
{
    char *at = NULL;
    const char *verb = strtok_r(line, " ", &at);
    const char *name = strtok_r(NULL, " ", &at);
    const char *id = strtok_r(NULL, " ", &at);

    if (!verb || !name || !id || strcmp(verb, "restart")) {
        return;
    }
    for (int i = 0; i < conf.count; i++) {
        if (!strcmp(conf.services[i].name, name)) {
            restart(&conf.services[i], strtol(id, NULL, 10));
        }
    }
}

static void reap(void)
{
    int status;

    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        for (int i = 0; i < conf.count; i++) {
            struct service *s = &conf.services[i];

            if (s->checking && pid == s->pid) {
                check_exited(s, status);
                count(s, check_result(s) == 1);
            } else if (pid == s->restart_pid) {
                restarted(s, status);
            }
        }
    }
}

static void look(struct service *s, int64_t now)
{
    if (s->restart_pid) {
        if (now >= s->restart_until_ms) {
            kill(-s->restart_pid, SIGKILL); /* its end comes as any other */
            s->restart_until_ms = now + 1000;
        }
        return;
    }
    if (s->checking) {
        check_look(s);
        if (!s->checking) {
            count(s, check_result(s) == 1);
        }
    } else if (now >= s->next_ms) {
        s->next_ms = now + s->interval_ms;
        check_begin(s);
        if (!s->checking) {
            count(s, check_result(s) == 1);
        }
    }
}

static int64_t due(const struct service *s)
{
    return s->restart_pid ? s->restart_until_ms : s->checking ? s->check_until_ms : s->next_ms;
}

static void watch(int children)
{
    int64_t report_ms = now_ms();

    port_say("\"start\":\"us-guard 1\",\"services\":%d", conf.count);
    for (;;) {
        struct pollfd fds[SERVICES_MAX + 2];
        int64_t now = now_ms(), next;
        struct signalfd_siginfo ended;

        if (now >= report_ms) {
            for (int i = 0; i < conf.count; i++) {
                report(&conf.services[i]);
            }
            report_ms = now + conf.report_ms;
        }
        next = report_ms;
        fds[0] = (struct pollfd){ children, POLLIN, 0 };
        for (int i = 0; i < conf.count; i++) {
            struct service *s = &conf.services[i];

            look(s, now);
            next = due(s) < next ? due(s) : next;
            fds[2 + i] = (struct pollfd){ check_events(s) ? s->fd : -1, check_events(s), 0 };
        }
        port_look(command);
        fds[1] = (struct pollfd){ port_fd(), port_events(), 0 };
        now = now_ms();
        poll(fds, 2 + conf.count, next > now ? (int)(next - now) : 0);
        while (read(children, &ended, sizeof ended) > 0) {
            reap();
        }
    }
}

/* Where memory is short, it is not the guard that is to go. */
static void stay(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (write(fd, "-1000", 5) < 0) {
            /* without the right to: as it is, then */
        }
        close(fd);
    }
}

int main(int argc, char **argv)
{
    bool only_check = argc > 1 && !strcmp(argv[1], "--check");
    const char *path = argc > 1 + only_check ? argv[1 + only_check] : "/etc/us-guard.conf";
    char error[256];
    sigset_t set;
    int children;

    if (!conf_read(path, &conf, error, sizeof error)) {
        fprintf(stderr, "us-guard: %s\n", error);
        return 2;
    }
    if (only_check) {
        printf("%s: %d services, reported over %s\n", path, conf.count, conf.port);
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    children = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (children < 0) {
        perror("us-guard: signalfd");
        return 1;
    }
    stay();
    for (int i = 0; i < conf.count; i++) {
        conf.services[i].grace_until_ms = now_ms() + conf.services[i].grace_ms;
    }
    port_open(conf.port);
    watch(children);
}
