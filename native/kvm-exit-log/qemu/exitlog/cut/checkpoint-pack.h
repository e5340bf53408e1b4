/*
 * Exit log: what a checkpoint has of memory and disks, compressed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_CHECKPOINT_PACK_H
#define EXITLOG_CUT_CHECKPOINT_PACK_H

/* Helper.  `stored` bytes, valid until the next call. */
const void *checkpoint_pack(const void *content, size_t len, uint32_t *stored);
/* vCPU.  False: they are not what makes `len` bytes. */
bool checkpoint_unpack(const void *bytes, size_t stored, void *content,
                       size_t len);

#endif
