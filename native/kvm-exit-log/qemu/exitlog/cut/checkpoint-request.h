/*
 * Exit log: what the daemon asks a live VM for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_CHECKPOINT_REQUEST_H
#define EXITLOG_CUT_CHECKPOINT_REQUEST_H

/* Whether there is a folder for what is asked for: else all is refused. */
void checkpoint_request_configure(bool has_folder);

/* All at a visit of a live VM. */
bool checkpoint_request_wanted(void);  /* one is asked for and not begun */
bool checkpoint_request_take(void);    /* true: one is to be begun, answer it */
void checkpoint_request_answer(void);  /* the one taken: written, or given up */
bool checkpoint_full_wanted(void);     /* of those that recur, now */
void checkpoint_full_begun(void);      /* its position is this one */
/* Also where the position is not clean: no part of the guest is looked at. */
void checkpoint_request_marks(void);

#endif
