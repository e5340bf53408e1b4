/*
 * Exit log: a thing that every thread of this process does.
 *
 * The kernel restricts a thread, and who takes over one thread has all of them: their stacks are
 * its memory.  A thread that is made meanwhile has its maker's restrictions, so rounds are made
 * until one finds no new thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "exitlog/confine/threads.h"
#include "exitlog/core/state.h"
#include <semaphore.h>
#include <sys/syscall.h>

/* One that no thread of QEMU blocks (qemu_thread_create()), and that nobody handles. */
#define SIGNAL SIGILL
#define ANSWER_MS_MAX 10000
#define LOOK_MS 50

static void (*job)(void);
static sem_t done;

static void handler(int number)
{
    int saved = errno;

    job();
    sem_post(&done);
    errno = saved;
}

static bool answers_soon(void)
{
    struct timespec until;
    int result;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LOOK_MS * SCALE_MS;
    until.tv_sec += until.tv_nsec / NANOSECONDS_PER_SECOND;
    until.tv_nsec %= NANOSECONDS_PER_SECOND;
    do {
        result = sem_timedwait(&done, &until);
    } while (result < 0 && errno == EINTR);
    return result == 0;
}

/* Or it ends without: a worker of the thread pool that has nothing to do. */
static void await_answer(const char *thread)
{
    g_autofree char *path = g_strdup_printf("/proc/self/task/%s", thread);

    for (int ms = 0; !answers_soon(); ms += LOOK_MS) {
        if (access(path, F_OK) < 0) {
            return;
        }
        if (ms >= ANSWER_MS_MAX) {
            exitlog_fail("thread %s does not answer: it cannot be confined", thread);
        }
    }
}

/* Returns true if there was a thread that had not been asked before. */
static bool ask_new_ones(GHashTable *asked)
{
    g_autofree char *self = g_strdup_printf("%d", (int)gettid());
    g_autoptr(GError) error = NULL;
    GDir *dir = g_dir_open("/proc/self/task", 0, &error);
    const char *name;
    bool any = false;

    if (!dir) {
        exitlog_fail("cannot see this process's threads: %s", error->message);
    }
    while ((name = g_dir_read_name(dir))) {
        if (!strcmp(name, self) || !g_hash_table_add(asked, g_strdup(name))) {
            continue;
        }
        any = true;
        if (syscall(SYS_tgkill, getpid(), atoi(name), SIGNAL) == 0) {
            await_answer(name);
        }
    }
    g_dir_close(dir);
    return any;
}

void confine_every_thread(void (*work)(void))
{
    g_autoptr(GHashTable) asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    struct sigaction ours = { .sa_handler = handler, .sa_flags = SA_RESTART }, before;

    job = work;
    sem_init(&done, 0, 0);
    sigfillset(&ours.sa_mask);
    sigaction(SIGNAL, &ours, &before);
    while (ask_new_ones(asked)) {
        continue;
    }
    sigaction(SIGNAL, &before, NULL);
    work();
}
