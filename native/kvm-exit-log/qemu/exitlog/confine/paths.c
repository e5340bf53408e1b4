/*
 * Exit log: the paths that this process may still use, by Landlock (Linux 5.13).
 *
 * Whatever a path is, its name is found out and its file is not opened, made, renamed or deleted.
 * What is open stays so.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exitlog/confine/paths.h"
#include "exitlog/core/state.h"
#include <linux/landlock.h>
#include <sys/syscall.h>

/* Kernels know more than the headers of the host that compiles. */
#define ACCESS_REFER     (1ULL << 13) /* ABI 2 */
#define ACCESS_TRUNCATE  (1ULL << 14) /* ABI 3 */
#define ACCESS_IOCTL_DEV (1ULL << 15) /* ABI 5 */
#define ACCESS_OF_ABI_1  (ACCESS_REFER - 1)

#define WRITING (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | \
                 LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | \
                 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
                 LANDLOCK_ACCESS_FS_REMOVE_DIR)

static uint64_t known_to(int abi)
{
    return ACCESS_OF_ABI_1 | (abi >= 2 ? ACCESS_REFER : 0) |
        (abi >= 3 ? ACCESS_TRUNCATE : 0) | (abi >= 5 ? ACCESS_IOCTL_DEV : 0);
}

static void permit(int ruleset, int fd, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {
        .allowed_access = access, .parent_fd = fd,
    };

    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0) {
        exitlog_fail("cannot keep a path: %s", strerror(errno));
    }
}

/* The user-mode network asks the host's name servers. */
static void permit_name_servers(int ruleset)
{
    int fd = open("/etc/resolv.conf", O_PATH | O_CLOEXEC);

    if (fd >= 0) {
        permit(ruleset, fd, LANDLOCK_ACCESS_FS_READ_FILE);
        close(fd);
    }
}

int confine_paths(const ConfineFolders *folders, bool network)
{
    struct landlock_ruleset_attr attr = { 0 };
    int abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    int ruleset;

    if (abi < 1) {
        return -1;
    }
    attr.handled_access_fs = known_to(abi);
    ruleset = syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    if (ruleset < 0) {
        exitlog_fail("cannot give up paths: %s", strerror(errno));
    }
    for (size_t i = 0; i < folders->count; i++) {
        permit(ruleset, folders->fds[i], WRITING);
    }
    if (network) {
        permit_name_servers(ruleset);
    }
    return ruleset;
}

int confine_paths_enter(int ruleset)
{
    return syscall(SYS_landlock_restrict_self, ruleset, 0);
}
