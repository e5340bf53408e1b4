/*
 * Exit log: a QEMU that waits beside an image of another VM.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_IMAGE_H
#define EXITLOG_CUT_IMAGE_H

#include "exitlog/exitlog.h" /* exitlog_image_is_due() */

/* file: where the image will be, when it is asked for; NULL: there is none. */
void exitlog_image_from(const char *file);
/*
 * At the first visit, before an instruction: the image has become this VM.  False: it is not
 * asked for yet.
 */
bool exitlog_image_take(void);

#endif
