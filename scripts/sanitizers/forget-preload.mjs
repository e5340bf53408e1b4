// SPDX-License-Identifier: Apache-2.0
// The sanitizer is in this process, and not in those that it starts: they have no addon.
delete process.env.LD_PRELOAD;
