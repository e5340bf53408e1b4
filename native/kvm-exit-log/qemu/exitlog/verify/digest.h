/*
 * Exit log: the digest of CPU, RAM and devices at a position.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_VERIFY_DIGEST_H
#define EXITLOG_VERIFY_DIGEST_H

#include "exitlog/exitlog_abi.h"

/* At a visit while the guest runs: costs what the guest wrote since. */
struct exitlog_digest exitlog_digest(void);
/* The same, but for memory: 0. */
struct exitlog_digest exitlog_digest_but_ram(void);
/* At the end of a log: from memory itself, whatever the dirty bitmap says. */
struct exitlog_digest exitlog_digest_full(void);
/* The device state that digests are made of, section by section. */
void exitlog_each_section(void (*each)(const char *id, uint32_t instance,
                                       const uint8_t *bytes, size_t len));

#endif
