/*
 * Exit log: the two rings in shared memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CORE_RING_H
#define EXITLOG_CORE_RING_H

#include "exitlog/accel/accel.h"
#include "exitlog/exitlog_abi.h"

/* OUT: a record at the guest's position; returns its ordinal. */
uint64_t exitlog_emit(enum exitlog_kind kind, uint16_t channel, uint32_t len,
                      uint64_t arg, const void *payload);
/* Offers a horizon: every record before p is in OUT. */
/* A word of a payload that is held, at this offset of OUT's data; any thread. */
void exitlog_emitted_set(uint64_t offset, uint64_t word);
void exitlog_publish(Position p);
/* Room enough for all that one visit may put out. */
bool exitlog_out_has_room(void);

/* IN: the next record to replay, or NULL if the log has no more yet. */
const struct exitlog_record *exitlog_peek(void);
/*
 * The next record, waiting for it: for inputs and outputs in the middle of an
 * instruction or a device's reset.  NULL: the log ends here, and this side is
 * asked to go live.  What the guest does is for OUT from here on.
 */
const struct exitlog_record *exitlog_peek_wait(void);
void exitlog_payload(const struct exitlog_record *r, void *into);
void exitlog_consume(void);
Position exitlog_in_horizon(void);
/*
 * Up to where the log is complete, with this horizon: a record beyond it, which
 * the guest has come to or printed already, came after all that is before it.
 */
Position exitlog_in_covers(Position horizon);
/* OUT goes on where IN ends.  Once: idempotent. */
void exitlog_out_begin(void);
bool exitlog_control(enum exitlog_control flag);

#endif
