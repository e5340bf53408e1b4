/*
 * Exit log: random bytes handed to the guest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_ENTROPY_H
#define EXITLOG_EXITS_ENTROPY_H

/* What the machine got when it was last made or reset. */
size_t exitlog_boot_seed(void *into, size_t max);
/*
 * The machine is made to be loaded: until it is, it gets these bytes where it asks
 * for as many, else zeros.  NULL: it is loaded.
 */
void exitlog_boot_seed_preset(const uint8_t *bytes, size_t len);

#endif
