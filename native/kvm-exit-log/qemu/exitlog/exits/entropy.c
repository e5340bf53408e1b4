/*
 * Exit log: random bytes handed to the guest (RDRAND, RDSEED, virtio-rng,
 * the rng-seed of a kernel's boot parameters).
 *
 * The host's cryptographic source when recording, the log when replaying: a
 * protected guest's keys must not come from a weaker generator than others'.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "crypto/random.h"
#include "system/cpus.h"
#include "exitlog/core/divergence.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/console.h"
#include "exitlog/exits/entropy.h"

/* Into fw_cfg, say, for the kernel's rng-seed: in no device's saved state. */
static struct {
    uint8_t bytes[64];
    size_t len;
} boot_seed;

/* A machine that is made to be loaded; of another side's. */
static struct {
    const uint8_t *bytes; /* NULL: it is none */
    size_t len;
} preset;

void exitlog_boot_seed_preset(const uint8_t *bytes, size_t len)
{
    preset.bytes = bytes;
    preset.len = len;
}

static bool take_preset(void *buf, size_t len)
{
    if (!preset.bytes) {
        return false;
    }
    memset(buf, 0, len);
    if (len == preset.len) {
        memcpy(buf, preset.bytes, len);
    }
    return true;
}

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
    if (!exitlog_exact()) { /* of a vCPU, maybe, that has no lock */
        return qcrypto_random_bytes(buf, len, errp);
    }
    if (take_preset(buf, len)) {
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
    exitlog_emit(EXITLOG_ENTROPY, 0, len, 0, buf);
    remember(buf, len);
    return 0;
}

static const ExitlogRecordKind records[] = {
    { .kind = EXITLOG_ENTROPY, .name = "entropy" },
    { /* end of list */ }
};

const ExitlogExit exitlog_entropy_exit = {
    .records = records,
};
