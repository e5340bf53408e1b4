/*
 * Exit log: events of a live VM that can end an epoch (enum exitlog_event).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CORE_EVENTS_H
#define EXITLOG_CORE_EVENTS_H

#include "exitlog/exitlog_abi.h"

/* It has happened: counted, and a cut may be due for it.  vCPU thread, BQL. */
void exitlog_event(enum exitlog_event event);
/* A record was logged: the event that it is, if it is one. */
void exitlog_event_of_record(enum exitlog_kind kind);

/* One has happened since the last cut that the daemon wants a cut for. */
bool exitlog_event_is_due(void);
/* A cut was made: whatever has happened is in it. */
void exitlog_event_cut(void);

#endif
