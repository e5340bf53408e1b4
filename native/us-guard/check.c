/*
 * us-guard: checks.  None waits: a service that hangs must not keep the others.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include "us-guard.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

__attribute__((format(printf, 2, 3))) static void failed(struct service *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(s->why, sizeof s->why, format, args);
    va_end(args);
    check_drop(s);
    s->checking = false;
}

static void holds(struct service *s)
{
    check_drop(s);
    s->why[0] = 0;
    s->checking = false;
}

/*
 * The state letter of a process, '\0' for none.  One that is stopped (T) serves nobody; one
 * that a debugger holds (t) is somebody's intention.
 */
static char process_state(const char *pid)
{
    char path[64], text[512];
    const char *end;
    FILE *file;
    size_t n;

    snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
    file = fopen(path, "re");
    if (!file) {
        return 0;
    }
    n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = 0;
    end = strrchr(text, ')'); /* a name may have any of them */
    return end && end[1] == ' ' ? end[2] : 0;
}

static bool is_serving(char state)
{
    return state != 0 && !strchr("ZXxT", state);
}

static bool has_name(const char *pid, const char *name)
{
    char path[64], comm[64];
    FILE *file;
    bool same;

    snprintf(path, sizeof path, "/proc/%.16s/comm", pid);
    file = fopen(path, "re");
    if (!file) {
        return false;
    }
    same = fgets(comm, sizeof comm, file) != NULL;
    fclose(file);
    comm[strcspn(comm, "\n")] = 0;
    return same && !strncmp(comm, name, 15) && strlen(comm) == strnlen(name, 15);
}

static void by_name(struct service *s)
{
    DIR *proc = opendir("/proc");
    char found = 0;

    for (struct dirent *e; proc && (e = readdir(proc));) {
        if (isdigit((unsigned char)e->d_name[0]) && has_name(e->d_name, s->target)) {
            char state = process_state(e->d_name);

            if (is_serving(state)) {
                closedir(proc);
                holds(s);
                return;
            }
            found = state ? state : found;
        }
    }
    if (proc) {
        closedir(proc);
    }
    if (found) {
        failed(s, "process %.40s: in state %c", s->target, found);
    } else {
        failed(s, "no process %.40s", s->target);
    }
}

static void by_pidfile(struct service *s)
{
    char text[32] = "";
    FILE *file = fopen(s->target, "re");
    char state;

    if (!file) {
        failed(s, "%.50s: %s", s->target, strerror(errno));
        return;
    }
    if (!fgets(text, sizeof text, file)) {
        text[0] = 0;
    }
    fclose(file);
    text[strspn(text, "0123456789")] = 0;
    state = *text ? process_state(text) : 0;
    if (is_serving(state)) {
        holds(s);
    } else if (state) {
        failed(s, "process %.16s of %.40s: in state %c", text, s->target, state);
    } else {
        failed(s, "no process %.16s, which %.40s names", text, s->target);
    }
}

pid_t run(const char *command)
{
    pid_t pid = fork();

    if (pid == 0) {
        sigset_t none;
        int null = open("/dev/null", O_RDWR);
        int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

        setsid();
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        if (score >= 0 && write(score, "0", 1) < 0) {
            /* as it is, then */
        }
        for (int fd = 0; null >= 0 && fd < 3; fd++) {
            dup2(null, fd);
        }
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void connect_to(struct service *s)
{
    s->fd = socket(s->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || (connect(s->fd, (struct sockaddr *)&s->address, s->address_bytes) < 0 &&
                      errno != EINPROGRESS)) {
        failed(s, "%.60s: %s", s->target, strerror(errno));
    }
}

void check_begin(struct service *s)
{
    s->checking = true;
    s->sent = false;
    s->got_bytes = 0;
    s->check_until_ms = now_ms() + s->timeout_ms;
    switch (s->kind) {
    case CHECK_PROCESS:
        by_name(s);
        break;
    case CHECK_PIDFILE:
        by_pidfile(s);
        break;
    case CHECK_COMMAND:
        s->pid = run(s->target);
        if (s->pid < 0) {
            s->pid = 0;
            failed(s, "%.60s: %s", s->target, strerror(errno));
        }
        break;
    default:
        connect_to(s);
    }
}

/* What was asked for has come; or can no longer. */
static void judge(struct service *s, bool over)
{
    if (s->kind == CHECK_HTTP) {
        if (s->got_bytes >= 12 && !strncmp(s->got, "HTTP/1.", 7)) {
            if (s->got[9] == '2' || s->got[9] == '3') {
                holds(s);
            } else {
                failed(s, "%.60s: status %.3s", s->target, s->got + 9);
            }
            return;
        }
    } else if (memmem(s->got, s->got_bytes, s->expect, strlen(s->expect))) {
        holds(s);
        return;
    }
    if (over || s->got_bytes == sizeof s->got) {
        failed(s, "%.60s: it answers something else", s->target);
    }
}

static void look_at_socket(struct service *s)
{
    int error = 0;
    socklen_t bytes = sizeof error;
    ssize_t n;

    if (!s->sent) {
        struct pollfd p = { s->fd, POLLOUT, 0 };

        if (poll(&p, 1, 0) != 1) {
            return;
        }
        getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
        if (error) {
            failed(s, "%.60s: %s", s->target, strerror(error));
            return;
        }
        if (s->send_bytes && send(s->fd, s->send, s->send_bytes, MSG_NOSIGNAL) != (ssize_t)s->send_bytes) {
            failed(s, "%.60s: it takes nothing", s->target);
            return;
        }
        s->sent = true;
        if (s->kind == CHECK_TCP && !*s->expect) {
            holds(s);
            return;
        }
    }
    n = recv(s->fd, s->got + s->got_bytes, sizeof s->got - s->got_bytes, 0);
    if (n > 0) {
        s->got_bytes += n;
        judge(s, false);
    } else if (n == 0) {
        judge(s, true);
    } else if (errno != EAGAIN && errno != EINTR) {
        failed(s, "%.60s: %s", s->target, strerror(errno));
    }
}

void check_look(struct service *s)
{
    if (s->checking && s->fd >= 0) {
        look_at_socket(s);
    }
    if (s->checking && now_ms() >= s->check_until_ms) {
        failed(s, "%.60s: no answer in %d ms", s->target, s->timeout_ms);
    }
}

void check_exited(struct service *s, int status)
{
    s->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        holds(s);
    } else if (WIFEXITED(status)) {
        failed(s, "%.60s: exit code %d", s->target, WEXITSTATUS(status));
    } else {
        failed(s, "%.60s: signal %d", s->target, WTERMSIG(status));
    }
}

int check_result(struct service *s)
{
    return s->checking ? -1 : s->why[0] == 0;
}

/* A command that is given up is killed with what it has started; its end is not waited for. */
void check_drop(struct service *s)
{
    if (s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
    }
    if (s->pid > 0) {
        kill(-s->pid, SIGKILL);
        s->pid = 0;
    }
    s->checking = false;
}

short check_events(const struct service *s)
{
    return s->fd < 0 ? 0 : s->sent ? POLLIN : POLLOUT;
}
