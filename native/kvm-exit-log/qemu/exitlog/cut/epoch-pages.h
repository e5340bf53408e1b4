/*
 * Exit log: how many pages were written since the last cut (epoch-pages.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_EPOCH_PAGES_H
#define EXITLOG_CUT_EPOCH_PAGES_H

/* While the guest stands still: counts from here on, up to so many; 0: not at all. */
void epoch_pages_begin(uint64_t pages);
/* Whether that many were written; true once. */
bool epoch_pages_take(void);

#endif
