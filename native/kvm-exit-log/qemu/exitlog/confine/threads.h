/*
 * Exit log: a thing that every thread of this process does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CONFINE_THREADS_H
#define EXITLOG_CONFINE_THREADS_H

/* Returns when all have.  What is done must be fit for a signal handler, and to be inherited. */
void confine_every_thread(void (*work)(void));

#endif
