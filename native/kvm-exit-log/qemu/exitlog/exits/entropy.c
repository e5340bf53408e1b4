/*
 * Exit log: random bytes handed to the guest (RDRAND, RDSEED, virtio-rng,
 * the rng-seed of a kernel's boot parameters).
 *
 * The host's cryptographic source when recording, the log when replaying: a
 * protected guest's keys must not come from a weaker generator than others'.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "exitlog/internal.h"
#include "crypto/random.h"
#include "system/cpus.h"

/* Into fw_cfg, say, for the kernel's rng-seed: in no device's saved state. */
static struct {
    uint8_t bytes[64];
    size_t len;
} boot_seed;

static void remember(const void *buf, size_t len)
{
    if (!qemu_in_vcpu_thread()) {
        boot_seed.len = MIN(len, sizeof(boot_seed.bytes));
        memcpy(boot_seed.bytes, buf, boot_seed.len);
    }
}

size_t exitlog_boot_seed(void *into, size_t max)
{
    assert(boot_seed.len <= max);
    memcpy(into, boot_seed.bytes, boot_seed.len);
    return boot_seed.len;
}

int exitlog_getrandom(void *buf, size_t len, Error **errp)
{
    const struct exitlog_record *r = NULL;

    if (xl.ended) {
        return qcrypto_random_bytes(buf, len, errp);
    }
    if (exitlog_checkpoint_seed(buf, len)) {
        remember(buf, len);
        return 0;
    }
    if (!xl.live) {
        while ((r = exitlog_peek_wait()) && r->kind == EXITLOG_CHAR_OUT) {
            if (!exitlog_console_match(r)) {
                exitlog_diverge(r, "the guest asks for %zu random bytes before "
                                "it printed what the log has", len);
            }
        }
    }
    if (r) {
        if (r->kind != EXITLOG_ENTROPY || r->len != len ||
            (int64_t)r->icount != exitlog_position().icount) {
            exitlog_diverge(r, "the guest asks for %zu random bytes", len);
        }
        exitlog_payload(r, buf);
        exitlog_consume();
        remember(buf, len);
        return 0;
    }
    if (qcrypto_random_bytes(buf, len, errp) < 0) {
        return -1;
    }
    if (xl.live) {
        exitlog_emit(EXITLOG_ENTROPY, 0, len, 0, buf);
    }
    remember(buf, len);
    return 0;
}
