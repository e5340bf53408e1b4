/*
 * us-guard: watches services of a guest, tells its host of them over a serial port,
 * and restarts one when the host says so.  docs/guard.md is for operators.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef US_GUARD_H
#define US_GUARD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SERVICES_MAX 16
#define NAME_BYTES 32
#define RESTARTS_MAX 100
#define LINE_BYTES 400 /* src/guard/lines.ts: what is longer is no line */
#define WHY_BYTES 96

enum kind { CHECK_NONE, CHECK_PROCESS, CHECK_PIDFILE, CHECK_TCP, CHECK_HTTP, CHECK_COMMAND };

/*
 * up ──► failing (some checks failed) ──► failed (as many as the file says: it asks for
 * a restart) ──► restarting (the command runs) ──► starting ──► up, or failed again.
 */
enum state { STARTING, UP, FAILING, FAILED, RESTARTING };

/* The file's longest value, and its end. */
#define TEXT_BYTES 512

struct service {
    char name[NAME_BYTES + 1];
    enum kind kind;
    char target[TEXT_BYTES]; /* process name, path of a pid file, command; for messages: the address */
    struct sockaddr_storage address;
    socklen_t address_bytes;
    char send[TEXT_BYTES];
    size_t send_bytes;
    char expect[TEXT_BYTES]; /* '' : a connection is enough */
    char restart[TEXT_BYTES];
    int interval_ms, timeout_ms, failures, grace_ms, restart_timeout_ms;
    int restarts, within_s; /* so many in so long are tried; then the guest is to be reset */
    bool reset;

    enum state state;
    int failed; /* checks in a row */
    int64_t next_ms; /* the next check */
    int64_t grace_until_ms;
    char why[WHY_BYTES];
    int64_t tried_ms[RESTARTS_MAX]; /* when it was restarted, a ring */
    unsigned tried;

    /* A check under way: a socket, or a command. */
    bool checking;
    int64_t check_until_ms;
    int fd;
    bool sent;
    char got[1024];
    size_t got_bytes;
    pid_t pid;

    /* A restart under way. */
    pid_t restart_pid;
    long restart_id;
    int64_t restart_began_ms, restart_until_ms;
};

struct conf {
    char port[TEXT_BYTES];
    int report_ms;
    int count;
    struct service services[SERVICES_MAX];
};

/* conf.c: false, with a message for people, for a file that is not as it must be. */
bool conf_read(const char *path, struct conf *conf, char *error, size_t bytes);

/* check.c */
int64_t now_ms(void);
/* A command of the file in a process group of its own; -1: it cannot be started. */
pid_t run(const char *command);
void check_begin(struct service *s);
/* Something may have happened to its socket, or its time is over. */
void check_look(struct service *s);
/* Its command ended. */
void check_exited(struct service *s, int status);
/* 1: it holds, 0: it does not (`why` says why not), -1: it is under way. */
int check_result(struct service *s);
void check_drop(struct service *s);
/* What poll should wait for on its socket; 0: nothing. */
short check_events(const struct service *s);

/* port.c: the serial port; one that is not there, or that is gone, is tried again. */
void port_open(const char *path);
int port_fd(void);
short port_events(void);
/* Queues a line, or drops it where nobody takes them. */
void port_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Writes what waits, and calls for each line that came. */
void port_look(void (*command)(char *line));

#endif
