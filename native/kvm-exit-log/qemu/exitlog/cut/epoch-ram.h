/*
 * Exit log: guest memory in an epoch.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_EPOCH_RAM_H
#define EXITLOG_CUT_EPOCH_RAM_H

/*
 * Pages written since the last call into the ring of state; the first time, all that is
 * not zero.  Blocks first, where one is new or has another length.  The guest stands
 * still.  Returns the number of pages.
 */
size_t epoch_ram_put(bool first);

#endif
