/*
 * Exit log: what a guest that has taken this process over would do, on purpose, for the test that
 * nothing of it comes through.
 *
 *   -exitlog …,fault=escape:ICOUNT
 *
 * A line for each try says what the kernel answered: "came through", or "refused" and why.  What
 * must not happen even in a process that is not confined (a program, a signal) is tried with
 * something that there is not, whose error is another one than a refusal's.  What -sandbox answers
 * by the end of the thread or the process (mounts, namespaces, another user) is not tried.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "exitlog/verify/fault-escape.h"
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define NONE "/understudy-none"
#define NOBODY 0x3fffffff /* no process */
#define MADE "/tmp/understudy-escape"

static long keep_fd(long fd)
{
    if (fd >= 0) {
        close(fd);
    }
    return fd;
}

static long read_passwords(void)
{
    return keep_fd(open("/etc/passwd", O_RDONLY));
}

static long read_library(void)
{
    return keep_fd(open("/proc/self/exe", O_RDONLY));
}

static long read_folder(void)
{
    return keep_fd(open("/", O_RDONLY | O_DIRECTORY));
}

static long read_open_again(void)
{
    return keep_fd(open("/proc/self/fd/0", O_RDONLY));
}

static long make_file(void)
{
    long fd = keep_fd(open(MADE, O_WRONLY | O_CREAT, 0600));

    if (fd >= 0) {
        unlink(MADE);
    }
    return fd;
}

static long make_folder(void)
{
    long result = mkdir(MADE ".d", 0700);

    if (result == 0) {
        rmdir(MADE ".d");
    }
    return result;
}

static long delete_file(void)
{
    return unlink("/etc"); /* a folder: nobody deletes it so */
}

static long socket_ip(void)
{
    return keep_fd(socket(AF_INET, SOCK_STREAM, 0));
}

static long socket_unix(void)
{
    return keep_fd(socket(AF_UNIX, SOCK_STREAM, 0));
}

static long socket_netlink(void)
{
    return keep_fd(socket(AF_NETLINK, SOCK_RAW, 0));
}

static long socket_pair(void)
{
    int fds[2];
    long result = socketpair(AF_UNIX, SOCK_STREAM, 0, fds);

    if (result == 0) {
        close(fds[0]);
        close(fds[1]);
    }
    return result;
}

static long start_program(void)
{
    char *none[] = { NULL };

    return execve(NONE, none, none);
}

/* A child that comes into being ends at once. */
static long reap(long pid)
{
    if (pid == 0) {
        syscall(SYS_exit_group, 0);
    }
    if (pid > 0) {
        waitpid(pid, NULL, 0);
    }
    return pid;
}

static long start_process(void)
{
    return reap(syscall(SYS_fork));
}

static long start_clone(void)
{
    return reap(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static long signal_parent(void)
{
    return kill(getppid(), 0);
}

static long signal_parents_thread(void)
{
    return syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static long trace_process(void)
{
    return ptrace(PTRACE_SEIZE, NOBODY, 0, 0);
}

static long read_parents_memory(void)
{
    char byte;
    struct iovec here = { &byte, 1 }, there = { (void *)0x1000, 1 };

    return syscall(SYS_process_vm_readv, getppid(), &here, 1, &there, 1, 0);
}

static long limit_parent(void)
{
    struct rlimit none = { 0, 0 };

    return syscall(SYS_prlimit64, NOBODY, RLIMIT_CORE, &none, NULL);
}

static long load_bpf(void)
{
    return syscall(SYS_bpf, 0, NULL, 0);
}

static long make_io_uring(void)
{
    return keep_fd(syscall(SYS_io_uring_setup, 1, NULL));
}

static long make_memory_file(void)
{
    return keep_fd(syscall(SYS_memfd_create, "escape", 0));
}

static const struct {
    const char *what;
    long (*attempt)(void);
} tries[] = {
    { "read /etc/passwd", read_passwords },
    { "read its program", read_library },
    { "read a folder", read_folder },
    { "open its input again", read_open_again },
    { "make a file", make_file },
    { "make a folder", make_folder },
    { "delete a file", delete_file },
    { "make an IP socket", socket_ip },
    { "make a Unix socket", socket_unix },
    { "make a netlink socket", socket_netlink },
    { "make a pair of sockets", socket_pair },
    { "start a program", start_program },
    { "start a process", start_process },
    { "start a process by clone", start_clone },
    { "signal its parent", signal_parent },
    { "signal a thread of its parent", signal_parents_thread },
    { "trace a process", trace_process },
    { "read its parent's memory", read_parents_memory },
    { "set another process's limit", limit_parent },
    { "load a BPF program", load_bpf },
    { "make an io_uring", make_io_uring },
    { "make a memory file", make_memory_file },
};

static void try_all(const char *thread)
{
    for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
        bool refused;

        errno = 0;
        refused = tries[i].attempt() < 0 && (errno == EPERM || errno == EACCES);
        warn_report("exitlog: escape: %s: %s: %s (%s)", thread, tries[i].what,
                    refused ? "refused" : "came through", strerror(errno));
    }
    warn_report("exitlog: escape: %s: tried %zu", thread, ARRAY_SIZE(tries));
}

static void in_main_loop(void *unused)
{
    try_all("main loop");
}

static void in_rcu_thread(struct rcu_head *head)
{
    try_all("RCU");
    g_free(head);
}

void exitlog_fault_escape(void)
{
    try_all("vCPU");
    aio_bh_schedule_oneshot(qemu_get_aio_context(), in_main_loop, NULL);
    call_rcu1(g_new0(struct rcu_head, 1), in_rcu_thread);
}
