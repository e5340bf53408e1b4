// SPDX-License-Identifier: Apache-2.0
// The sanitizer is also in what a test starts: daemons, and processes to be killed, load the addon.
// It is not in what those start: a QEMU gets no environment, and the rest is told to forget it.
const forget = new URL('forget-preload.mjs', import.meta.url);
process.env.NODE_OPTIONS = `--import ${forget}`;
