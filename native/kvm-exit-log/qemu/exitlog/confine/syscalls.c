/*
 * Exit log: the system calls that this process gives up, by seccomp.
 *
 * What is listed fails with EPERM.  A list of what is allowed would be shorter to check and would
 * break a guest's disk the day a library of the host uses another call; what is listed here
 * reaches other processes, other files, networks, privileges, or parts of the kernel that
 * nothing in QEMU asks for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exitlog/confine/syscalls.h"
#include "exitlog/core/state.h"
#include <seccomp.h>
#include <sys/socket.h>

/* Programs, and other processes. */
static const char *const processes[] = {
    "execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev",
    "process_madvise", "process_mrelease", "pidfd_open", "pidfd_getfd", "pidfd_send_signal",
    "kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "kcmp", "setpgid", "setsid",
    "unshare", "setns", "move_pages", "migrate_pages", "shmget", "shmat", "shmctl", "msgget",
    "msgsnd", "msgrcv", "msgctl", "semget", "semop", "semctl", "mq_open", "mq_unlink",
};

static const char *const privileges[] = {
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid",
    "setgroups", "capset", "keyctl", "add_key", "request_key", "personality", "chroot",
    "pivot_root", "mount", "umount2", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount",
    "fspick", "mount_setattr", "quotactl", "quotactl_fd", "acct", "swapon", "swapoff", "reboot",
    "sethostname", "setdomainname", "iopl", "ioperm", "init_module", "finit_module",
    "delete_module", "kexec_load", "kexec_file_load", "syslog", "vhangup", "settimeofday",
    "clock_settime", "adjtimex", "clock_adjtime", "setrlimit", "ioprio_set", "sched_setattr",
};

/* What the kernel offers and a running QEMU does not take. */
static const char *const surface[] = {
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "io_setup", "io_submit", "fanotify_init", "fanotify_mark",
    "inotify_init", "inotify_init1", "inotify_add_watch", "name_to_handle_at",
    "open_by_handle_at", "lookup_dcookie", "modify_ldt", "memfd_create", "memfd_secret",
    "uselib", "ustat", "sysfs", "_sysctl", "vmsplice", "remap_file_pages", "nfsservctl",
};

/* By name, and never used: not for checkpoints either. */
static const char *const attributes[] = {
    "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "link",
    "linkat", "symlink", "symlinkat", "mknod", "mknodat", "truncate", "chdir", "fchdir",
    "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
    "utime", "utimes", "utimensat", "futimesat", "openat2",
};

/* For checkpoints, within the paths that are left. */
static const char *const files[] = {
    "open", "openat", "creat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir",
    "mkdirat", "rmdir",
};

static const char *const sockets[] = {
    "socketpair", "listen", "accept",
};

/* A user-mode network's: its guest's connections. */
static const char *const connections[] = {
    "connect", "bind",
};

static void check(int error, const char *what)
{
    if (error < 0) {
        exitlog_fail("seccomp: %s: %s", what, strerror(-error));
    }
}

static int number_of(const char *name)
{
    return seccomp_syscall_resolve_name(name); /* negative: not on this host */
}

static void deny(scmp_filter_ctx filter, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int number = number_of(names[i]);

        if (number >= 0) {
            check(seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0), names[i]);
        }
    }
}

#define DENY(filter, names) deny(filter, names, ARRAY_SIZE(names))

static void deny_where(scmp_filter_ctx filter, const char *name, struct scmp_arg_cmp argument)
{
    check(seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number_of(name), 1, argument), name);
}

/* No thread is a process of its own, no signal leaves this one, no limit of another is set. */
static void deny_by_argument(scmp_filter_ctx filter)
{
    deny_where(filter, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    check(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), number_of("clone3"), 0), "clone3");
    deny_where(filter, "tgkill", SCMP_A0(SCMP_CMP_NE, getpid(), 0));
    deny_where(filter, "prlimit64", SCMP_A2(SCMP_CMP_NE, 0, 0));
}

/* Connections only, by IP. */
static void deny_other_families(scmp_filter_ctx filter)
{
    for (int family = 0; family < AF_MAX; family++) {
        if (family != AF_INET && family != AF_INET6) {
            deny_where(filter, "socket", SCMP_A0(SCMP_CMP_EQ, family, 0));
        }
    }
    deny_where(filter, "socket", SCMP_A0(SCMP_CMP_GE, AF_MAX, 0));
}

void confine_syscalls(bool folders, bool network)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

    if (!filter) {
        exitlog_fail("seccomp: no filter can be made");
    }
    check(seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1), "all threads");
    DENY(filter, processes);
    DENY(filter, privileges);
    DENY(filter, surface);
    DENY(filter, attributes);
    DENY(filter, sockets);
    deny_by_argument(filter);
    if (network) {
        deny_other_families(filter);
    } else {
        DENY(filter, connections);
        check(seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number_of("socket"), 0), "socket");
    }
    if (!folders && !network) {
        DENY(filter, files);
    }
    check(seccomp_load(filter), "the filter is not taken");
    seccomp_release(filter);
}
