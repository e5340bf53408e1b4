/*
 * Exit log: the ring of state, from QEMU to its daemon (struct exitlog_piece).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CORE_STATE_RING_H
#define EXITLOG_CORE_STATE_RING_H

/* Whether epochs are made of this VM, or will be. */
bool exitlog_state_is_on(void);
/* What is put from now on is of the first epoch of another image. */
void exitlog_state_begin(void);
/* An epoch of this image has ended: before, nothing waits for one. */
bool exitlog_state_has_cut(void);
/* The image has begun that was asked for last. */
bool exitlog_state_has_begun(void);
/* What is put now will hardly have to wait. */
bool exitlog_state_has_room(void);
/*
 * A piece of the epoch that is cut next, of any length; data NULL: it is all zero.  Waits for
 * room: the daemon takes what is there, also of an epoch that is not whole yet.
 */
void exitlog_state_put(uint32_t part, uint64_t offset, const void *data,
                       uint64_t bytes);
/*
 * The epoch ends, with the CHECKPOINT that is emitted next, at that ordinal; returns its number.
 * What exitlog_state_put() puts from now on is of the next one.  When not at once, by
 * any one thread: the rest of it, and that it is whole.  Until then it is unfinished, and the
 * record is held.
 */
uint64_t exitlog_state_cut(uint64_t ordinal);
/* Before it: so is what is emitted before the CHECKPOINT, from this ordinal on. */
void exitlog_state_hold(uint64_t ordinal);
void exitlog_state_put_cut(uint32_t part, uint64_t offset, const void *data,
                           uint64_t bytes);
void exitlog_state_whole(void);
bool exitlog_state_is_unfinished(void);

/* More than these are never in flight. */
#define EXITLOG_STATE_IN_FLIGHT_MAX 64
/* It was cut, and the backup has it. */
bool exitlog_state_is_committed(uint64_t number);

#endif
