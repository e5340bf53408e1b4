/*
 * Exit log: the option, and what is made for it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/option.h"
#include "qapi/error.h"
#include "exitlog/accel/accel.h"
#include "exitlog/accel/dirty.h"
#include "exitlog/accel/multi/loop.h"
#include "exitlog/accel/multi/multi.h"
#include "exitlog/accel/tcg/tcg.h"
#include "exitlog/confine/confine.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/checkpoint.h"
#include "exitlog/cut/checkpoint-load.h"
#include "exitlog/cut/cow.h"
#include "exitlog/cut/image.h"
#include "exitlog/debug/debug.h"
#include "exitlog/exits/disk-error.h"
#include "exitlog/exits/disk-full.h"
#include "exitlog/exits/disk-stuck.h"
#include "exitlog/exits/net.h"
#include "exitlog/exits/net-queue.h"
#include "exitlog/kinds.h"
#include "exitlog/verify/fault.h"
#include "exitlog/verify/periodic.h"
#include "exitlog/verify/probe.h"
#include "exitlog/verify/storm.h"
#include "exitlog/visit.h"
#include "exitlog/visit-multi.h"
#include <sys/mman.h>
#include <sys/prctl.h>

static QemuOptsList exitlog_opts = {
    .name = "exitlog",
    .head = QTAILQ_HEAD_INITIALIZER(exitlog_opts.head),
    .desc = {
        { .name = "mode", .type = QEMU_OPT_STRING },
        { .name = "shm", .type = QEMU_OPT_NUMBER },
        { .name = "notify", .type = QEMU_OPT_NUMBER },
        { .name = "wake", .type = QEMU_OPT_NUMBER },
        { .name = "inputs", .type = QEMU_OPT_BOOL },
        { .name = "digest-every", .type = QEMU_OPT_NUMBER },
        { .name = "checkpoints", .type = QEMU_OPT_STRING },
        { .name = "checkpoints-asked", .type = QEMU_OPT_STRING },
        { .name = "checkpoint-icount", .type = QEMU_OPT_NUMBER },
        { .name = "checkpoint-ms", .type = QEMU_OPT_NUMBER },
        { .name = "checkpoint-chain", .type = QEMU_OPT_NUMBER },
        { .name = "checkpoint", .type = QEMU_OPT_STRING },
        { .name = "image", .type = QEMU_OPT_STRING },
        { .name = "disk-full", .type = QEMU_OPT_STRING },
        { .name = "disk-failing", .type = QEMU_OPT_STRING },
        { .name = "disk-stuck-ms", .type = QEMU_OPT_NUMBER },
        { .name = "fault", .type = QEMU_OPT_STRING },
        { .name = "probes", .type = QEMU_OPT_STRING },
        { .name = "debug", .type = QEMU_OPT_BOOL },
        { .name = "confine", .type = QEMU_OPT_STRING },
        { .name = "net0", .type = QEMU_OPT_STRING },
        { .name = "net1", .type = QEMU_OPT_STRING },
        { .name = "net2", .type = QEMU_OPT_STRING },
        { .name = "net3", .type = QEMU_OPT_STRING },
        { /* end of list */ }
    },
};

static void map_shm(int fd)
{
    struct stat st;
    struct exitlog_shm *shm;

    if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(*shm)) {
        exitlog_fail("descriptor %d is not an exit log's shared memory", fd);
    }
    shm = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shm == MAP_FAILED) {
        exitlog_fail("cannot map the shared memory: %s", strerror(errno));
    }
    if (shm->magic != EXITLOG_MAGIC ||
        shm->abi_version != EXITLOG_ABI_VERSION ||
        shm->header_bytes != sizeof(*shm) ||
        shm->total_bytes != (uint64_t)st.st_size) {
        exitlog_fail("the daemon speaks exit log ABI %u, this QEMU %u",
                     shm->abi_version, EXITLOG_ABI_VERSION);
    }
    xl.shm = shm;
}

/* What only a log that is executed again can give. */
static void refuse_without_inputs(QemuOpts *opts)
{
    static const char *const exact[] = {
        "digest-every", "checkpoints", "checkpoint", "probes", "debug",
    };

    if (!xl.live && !qemu_opt_get(opts, "image")) {
        exitlog_fail("inputs=off: there is nothing to replay");
    }
    for (size_t i = 0; i < ARRAY_SIZE(exact); i++) {
        if (qemu_opt_get(opts, exact[i])) {
            exitlog_fail("inputs=off: no %s", exact[i]);
        }
    }
}

static void configure_accel(QemuOpts *opts)
{
    bool exact = qemu_opt_get_bool(opts, "inputs", true);

    if (!exact) {
        refuse_without_inputs(opts);
        exitlog_loop_visits(exitlog_visit_multi);
    }
    exitlog_accel_use(exact ? &exitlog_accel_tcg : &exitlog_accel_multi);
    exitlog_is_exact = exact;
}

/*
 * -exitlog mode=record|replay,shm=FD,notify=FD,wake=FD[,netN=tap:FD|user|none]
 *   [,inputs=off][,digest-every=INSTRUCTIONS][,probes=FILE][,fault=SPEC]
 *   [,checkpoints=DIR,checkpoint-icount=N,checkpoint-ms=N,checkpoint-chain=N]
 *   [,checkpoints-asked=DIR]
 *   [,checkpoint=FILE][,image=FILE][,debug=on][,disk-full=wait|report]
 *   [,disk-failing=leave][,disk-stuck-ms=N]
 *   [,confine=on|UID:GID]
 */
void exitlog_configure(const char *optarg)
{
    bool has_network = false;
    QemuOpts *opts;
    const char *mode;
    pid_t parent = getppid();

    opts = qemu_opts_parse(&exitlog_opts, optarg, false, &error_fatal);
    mode = qemu_opt_get(opts, "mode");
    if (!mode || (strcmp(mode, "record") && strcmp(mode, "replay"))) {
        exitlog_fail("mode must be record or replay");
    }
    xl.live = !strcmp(mode, "record");
    xl.notify_fd = qemu_opt_get_number(opts, "notify", -1);
    xl.wake_fd = qemu_opt_get_number(opts, "wake", -1);
    map_shm(qemu_opt_get_number(opts, "shm", -1));
    configure_accel(opts);
    exitlog_exits_register(exitlog_exits);
    for (int i = 0; i < EXITLOG_NICS_MAX; i++) {
        g_autofree char *name = g_strdup_printf("net%d", i);
        exitlog_net_configure(i, qemu_opt_get(opts, name));
        has_network |= !g_strcmp0(qemu_opt_get(opts, name), "user");
    }
    exitlog_digest_configure(qemu_opt_get_number(opts, "digest-every", 0));
    exitlog_checkpoint_configure(
        qemu_opt_get(opts, "checkpoints"),
        qemu_opt_get(opts, "checkpoints-asked"),
        qemu_opt_get_number(opts, "checkpoint-icount", 0),
        qemu_opt_get_number(opts, "checkpoint-ms", 0),
        qemu_opt_get_number(opts, "checkpoint-chain", 0));
    exitlog_checkpoint_from(qemu_opt_get(opts, "checkpoint"));
    exitlog_image_from(qemu_opt_get(opts, "image"));
    exitlog_disk_full_configure(qemu_opt_get(opts, "disk-full"));
    exitlog_disk_failing_configure(qemu_opt_get(opts, "disk-failing"));
    exitlog_disk_stuck_configure(qemu_opt_get_number(opts, "disk-stuck-ms", 0));
    exitlog_fault_configure(qemu_opt_get(opts, "fault"));
    exitlog_probe_configure(qemu_opt_get(opts, "probes"));
    exitlog_debug_configure(qemu_opt_get_bool(opts, "debug", false));
    exitlog_confine_configure(qemu_opt_get(opts, "confine"), has_network);
    qemu_opts_del(opts);

    /*
     * A primary that outlives its daemon could never release output, and
     * would keep its tap's carrier up: it dies with the daemon.
     */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
    exitlog_enabled = true;
}

void exitlog_create_backends(void)
{
    if (!exitlog_on()) {
        return;
    }
    exitlog_accel_init(exitlog_progress);
    exitlog_dirty_init();
    cow_init();
    exitlog_exits_create();
    exitlog_accel_start();
    exitlog_exits_start();
    exitlog_storm_start();
    if (!exitlog_image_is_due()) {
        exitlog_set_state(xl.live ? EXITLOG_STATE_RECORDING
                                  : EXITLOG_STATE_REPLAYING);
    }
}
