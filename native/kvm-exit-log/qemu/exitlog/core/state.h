/*
 * Exit log: the state of this process, and what the daemon is told of it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CORE_STATE_H
#define EXITLOG_CORE_STATE_H

#include "exitlog/exitlog.h" /* exitlog_on(), exitlog_running(), exitlog_refuse() */
#include "exitlog/exitlog_abi.h"

/* What the daemon is told about; ordered. */
enum exitlog_news {
    EXITLOG_NEWS_INPUT,   /* or progress */
    EXITLOG_NEWS_CONSOLE,
    EXITLOG_NEWS_PACKET,  /* or the end, or a change of state */
};

/* The part of the state that more than one file needs. */
typedef struct Exitlog {
    struct exitlog_shm *shm;
    int notify_fd;          /* we write: the daemon has something to read */
    int wake_fd;            /* we read: the daemon did something */
    bool live;              /* recording; false: replaying; the io thread reads it, too */
    bool ended;             /* END written or reached; nothing runs any more */
    bool suspended;         /* the guest sleeps in S3: set by exits/suspend.c */
    bool stop_wanted;       /* somebody wants the log to end; any thread */
    bool kicked;            /* since a visit or a wait began; any thread */
    ShutdownCause shutdown_cause; /* the guest asked for power-off */
    uint64_t out_chain;     /* hash chain over NET_OUT packets */
    uint64_t out_count;     /* NET_OUT packets since power-on */
    enum exitlog_news news; /* the most urgent since the daemon was told */
} Exitlog;

extern Exitlog xl;

void exitlog_set_state(enum exitlog_state state);
/* Tell the daemon what is new, if it sleeps and wants to hear of such. */
void exitlog_notify(void);
/* If it sleeps at all, of what it surely waits for.  Any thread. */
void exitlog_notify_at_once(void);
/* A sign of life (shm.visits) from what takes longer than a visit should. */
void exitlog_is_alive(void);
G_NORETURN void exitlog_fail(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

#endif
