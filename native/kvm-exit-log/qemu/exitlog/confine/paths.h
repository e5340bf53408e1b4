/*
 * Exit log: the paths that this process may still use.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CONFINE_PATHS_H
#define EXITLOG_CONFINE_PATHS_H

/* Held open; below them everything may be done. */
typedef struct ConfineFolders {
    int fds[2];
    size_t count;
} ConfineFolders;

/* What confine_paths_enter() takes; -1: this kernel cannot do it. */
int confine_paths(const ConfineFolders *folders, bool network);
/* The calling thread has no path but those.  -1: errno. */
int confine_paths_enter(int ruleset);

#endif
