/*
 * Exit log: what this process gives up before the guest runs.
 *
 *   -exitlog …,confine=on|UID:GID
 *
 * By then everything has been opened that its operator named: images, kernel, firmware,
 * checkpoints to start from, the debugger's socket.  From here on untrusted input comes in (the
 * guest's requests, packets, a foreign recording's state), and whoever takes over this process
 * by it has what is open and nothing else: no file, no socket, no program, no other process, no
 * privilege.  What is still written to by name are checkpoints, below folders that are held open.
 *
 *   a user of its own, no capability         of root's only what was opened
 *   no path (paths.c)                        Landlock, in every thread
 *   no system call for such (syscalls.c)     seccomp, in every thread
 *   limits                                   no core, which would be the guest's memory
 *
 * -sandbox, QEMU's own filter, is besides this one and from the first moment on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "exitlog/confine/confine.h"
#include "exitlog/confine/paths.h"
#include "exitlog/confine/syscalls.h"
#include "exitlog/confine/threads.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/checkpoint.h"
#include "exitlog/cut/checkpoint-disk.h"
#include <execinfo.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* QEMU itself has about 30 open; a user-mode network takes one for each connection. */
#define FILES_MAX 1024

static bool wanted;
static bool network;
static bool has_user; /* another one than who started this process */
static uid_t uid;
static gid_t gid;
static int ruleset = -1;
static int shed_errno; /* any thread */

/* A developer's, of this process alone (docs/divergence.md): they write files while it runs. */
static bool dumps(void)
{
    return getenv("EXITLOG_DIGEST_DUMP") || getenv("EXITLOG_CHECKPOINT_DUMP");
}

void exitlog_confine_configure(const char *spec, bool has_network)
{
    unsigned user, group;
    int used = 0;

    wanted = spec != NULL && !dumps();
    network = has_network;
    if (spec && !wanted) {
        warn_report("exitlog: not confined: a dump is wanted");
    }
    if (!wanted || !strcmp(spec, "on")) {
        return;
    }
    if (sscanf(spec, "%u:%u%n", &user, &group, &used) != 2 || spec[used] ||
        !user || !group) {
        exitlog_fail("confine=%s is neither on nor UID:GID, of no root", spec);
    }
    has_user = true;
    uid = user;
    gid = group;
}

/* The first backtrace() loads a library: the tripwire's must not come too late for it. */
static void load_what_comes_late(void)
{
    void *frame;

    backtrace(&frame, 1);
}

static void limit(int resource, rlim_t most)
{
    struct rlimit now;

    if (getrlimit(resource, &now) < 0) {
        exitlog_fail("cannot ask for a limit: %s", strerror(errno));
    }
    now.rlim_max = MIN(now.rlim_max, most);
    now.rlim_cur = MIN(now.rlim_cur, now.rlim_max);
    if (setrlimit(resource, &now) < 0) {
        exitlog_fail("cannot set a limit: %s", strerror(errno));
    }
}

static void take_limits(void)
{
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, FILES_MAX);
    limit(RLIMIT_MSGQUEUE, 0);
    limit(RLIMIT_RTPRIO, 0);
    limit(RLIMIT_NICE, 0);
}

/* glibc tells all threads. */
static void become_user(void)
{
    if (!has_user) {
        return;
    }
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
        setresuid(uid, uid, uid) < 0) {
        exitlog_fail("cannot become user %u of group %u: %s", uid, gid,
                     strerror(errno));
    }
}

/* In every thread, also as a signal handler. */
static void shed(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        syscall(SYS_capset, &head, none) < 0 ||
        (ruleset >= 0 && confine_paths_enter(ruleset) < 0)) {
        qatomic_set(&shed_errno, errno);
    }
}

/* To become another user is to forget it. */
static void die_with_parent(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
}

void exitlog_confine(void)
{
    ConfineFolders folders = { 0 };
    pid_t parent = getppid();

    if (!exitlog_on() || !wanted) {
        return;
    }
    folders.count = exitlog_checkpoint_hold_folders(folders.fds, ARRAY_SIZE(folders.fds));
    for (size_t i = 0; has_user && i < folders.count; i++) {
        if (fchown(folders.fds[i], uid, gid) < 0) {
            exitlog_fail("cannot give a folder of checkpoints to user %u: %s", uid,
                         strerror(errno));
        }
    }
    if (folders.count > 0) {
        checkpoint_disk_open();
    }
    load_what_comes_late();
    ruleset = confine_paths(&folders, network);
    if (ruleset < 0) {
        warn_report("exitlog: this kernel has no Landlock: of a QEMU that is taken over only "
                    "%s is kept", folders.count ? "what its user may not open" : "seccomp");
    }
    take_limits();
    become_user();
    confine_every_thread(shed);
    if (shed_errno) {
        exitlog_fail("a thread cannot be confined: %s", strerror(shed_errno));
    }
    if (ruleset >= 0) {
        close(ruleset);
    }
    confine_syscalls(folders.count > 0, network);
    die_with_parent(parent);
}
