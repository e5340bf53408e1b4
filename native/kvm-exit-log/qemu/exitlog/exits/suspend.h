/*
 * Exit log: a guest that sleeps in S3.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_SUSPEND_H
#define EXITLOG_EXITS_SUSPEND_H

/* The operator's power button, or reset, at its position. */
void exitlog_suspend_press(void);
void exitlog_suspend_cut_short(void);
/* Something in the guest wakes it. */
void exitlog_suspend_woken(void);
void exitlog_suspend_visit(void);
void exitlog_suspend_start(void);

#endif
