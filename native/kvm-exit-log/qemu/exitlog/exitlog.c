/*
 * Exit log: the option, the shared memory, the process's state.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "exitlog/internal.h"
#include "exitlog/accel/dirty.h"
#include "qemu/option.h"
#include "qemu/cutils.h"
#include "system/cpu-timers.h"
#include "system/runstate.h"
#include <sys/mman.h>
#include <sys/prctl.h>

bool exitlog_enabled;
Exitlog xl;

static QemuOptsList exitlog_opts = {
    .name = "exitlog",
    .head = QTAILQ_HEAD_INITIALIZER(exitlog_opts.head),
    .desc = {
        { .name = "mode", .type = QEMU_OPT_STRING },
        { .name = "shm", .type = QEMU_OPT_NUMBER },
        { .name = "notify", .type = QEMU_OPT_NUMBER },
        { .name = "wake", .type = QEMU_OPT_NUMBER },
        { .name = "digest-every", .type = QEMU_OPT_NUMBER },
        { .name = "checkpoints", .type = QEMU_OPT_STRING },
        { .name = "checkpoints-live", .type = QEMU_OPT_STRING },
        { .name = "checkpoints-asked", .type = QEMU_OPT_STRING },
        { .name = "checkpoint-icount", .type = QEMU_OPT_NUMBER },
        { .name = "checkpoint-ms", .type = QEMU_OPT_NUMBER },
        { .name = "checkpoint-chain", .type = QEMU_OPT_NUMBER },
        { .name = "checkpoint", .type = QEMU_OPT_STRING },
        { .name = "disk-full", .type = QEMU_OPT_STRING },
        { .name = "fault", .type = QEMU_OPT_STRING },
        { .name = "probes", .type = QEMU_OPT_STRING },
        { .name = "debug", .type = QEMU_OPT_BOOL },
        { .name = "net0", .type = QEMU_OPT_STRING },
        { .name = "net1", .type = QEMU_OPT_STRING },
        { .name = "net2", .type = QEMU_OPT_STRING },
        { .name = "net3", .type = QEMU_OPT_STRING },
        { /* end of list */ }
    },
};

void exitlog_set_state(enum exitlog_state state)
{
    qatomic_store_release(&xl.shm->state, state);
    xl.news = EXITLOG_NEWS_PACKET;
    exitlog_notify();
}

void exitlog_fail(const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_report("exitlog: %s", text);
    if (xl.shm) {
        g_autofree char *json = g_strescape(text, NULL);
        snprintf(xl.shm->error, sizeof(xl.shm->error),
                 "{\"reason\":\"%s\"}", json);
        exitlog_set_state(EXITLOG_STATE_FAILED);
    }
    _exit(1);
}

void exitlog_refuse(const char *what)
{
    exitlog_fail("not yet exact: %s", what);
}

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

/*
 * -exitlog mode=record|replay,shm=FD,notify=FD,wake=FD[,netN=tap:IF|user|none]
 *   [,digest-every=INSTRUCTIONS][,probes=FILE][,fault=SPEC]
 *   [,checkpoints=DIR,checkpoint-icount=N,checkpoint-ms=N,checkpoint-chain=N]
 *   [,checkpoints-live=DIR][,checkpoints-asked=DIR]
 *   [,checkpoint=FILE][,debug=on][,disk-full=wait|report]
 */
void exitlog_configure(const char *optarg)
{
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
    for (int i = 0; i < EXITLOG_NICS_MAX; i++) {
        g_autofree char *name = g_strdup_printf("net%d", i);
        xl.net_spec[i] = g_strdup(qemu_opt_get(opts, name));
    }
    exitlog_digest_configure(qemu_opt_get_number(opts, "digest-every", 0));
    exitlog_checkpoint_configure(
        qemu_opt_get(opts, "checkpoints"),
        qemu_opt_get(opts, "checkpoints-live"),
        qemu_opt_get(opts, "checkpoints-asked"),
        qemu_opt_get_number(opts, "checkpoint-icount", 0),
        qemu_opt_get_number(opts, "checkpoint-ms", 0),
        qemu_opt_get_number(opts, "checkpoint-chain", 0));
    exitlog_checkpoint_from(qemu_opt_get(opts, "checkpoint"));
    exitlog_disk_full_configure(qemu_opt_get(opts, "disk-full"));
    exitlog_fault_configure(qemu_opt_get(opts, "fault"));
    exitlog_probe_configure(qemu_opt_get(opts, "probes"));
    exitlog_debug_configure(qemu_opt_get_bool(opts, "debug", false));
    xl.check_digests = getenv("EXITLOG_DIGEST_CHECK") != NULL;
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
    if (!icount_enabled()) {
        exitlog_fail("-exitlog needs -icount: without it no position exists");
    }
    exitlog_dirty_init();
    exitlog_blk_init();
    exitlog_console_create();
    for (int i = 0; i < EXITLOG_NICS_MAX; i++) {
        if (xl.net_spec[i]) {
            exitlog_net_create(i, xl.net_spec[i]);
        }
    }
    exitlog_smp_init();
    exitlog_suspend_init();
    exitlog_clock_init();
    exitlog_io_start();
    exitlog_storm_start();
    exitlog_set_state(xl.live ? EXITLOG_STATE_RECORDING
                              : EXITLOG_STATE_REPLAYING);
}

/*
 * Failover's last step: the log is used up, the position is the horizon.
 * From here on inputs come from the back ends and are logged into OUT.
 */
void exitlog_go_live(void)
{
    xl.live = true;
    exitlog_digest_schedule(icount_get_raw());
    exitlog_checkpoint_go_live();
    qatomic_set(&xl.shm->live_at_ns, get_clock());
    exitlog_net_go_live();
    exitlog_blk_go_live();
    exitlog_publish(exitlog_position());
    exitlog_set_state(EXITLOG_STATE_RECORDING);
}
