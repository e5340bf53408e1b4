/*
 * Exit log: the visit where each vCPU has a thread of its own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_VISIT_MULTI_H
#define EXITLOG_VISIT_MULTI_H

/* In the main loop, with the BQL. */
void exitlog_visit_multi(void);

#endif
