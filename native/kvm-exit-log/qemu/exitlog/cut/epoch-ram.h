/*
 * Exit log: guest memory in an epoch (epoch-ram.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EPOCH_RAM_H
#define EXITLOG_EPOCH_RAM_H

/* An image is begun, of which nothing is there yet. */
void epoch_ram_begin(void);

/*
 * Before its first cut, at a visit: puts some pages while the guest runs on, and again those
 * that are written meanwhile.  Returns false when so few are left that it may be cut.
 */
bool epoch_ram_ahead(void);

/*
 * The guest stands still: what was written since the last time, or what the image still
 * lacks, is put, or will be (epoch-copy.h).  Returns how many pages.
 */
size_t epoch_ram_cut(void);

/* What epoch_ram_begin() took. */
void epoch_ram_end(void);

#endif
