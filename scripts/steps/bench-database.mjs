// SPDX-License-Identifier: Apache-2.0
// The database of the benchmarks: PostgreSQL's own programs make it, in the system that
// it is for, so that the guest need not.

import { execFileSync } from 'node:child_process';
import { appendFileSync, chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

const BIN = '/usr/lib/postgresql/15/bin';
const DATA = '/var/lib/postgresql/bench';
/** postgres, as bench/guest/init.bench starts it. */
const USER = 101;
/** pgbench's: 100,000 accounts each. */
const SCALE = 1;

const CONFIG = `
listen_addresses = '*'
unix_socket_directories = ''
dynamic_shared_memory_type = mmap
shared_buffers = 32MB
max_connections = 20
jit = off
autovacuum = off
logging_collector = off
`;

/** @param {string} tree the root of a system with PostgreSQL in it; needs root */
export function initDatabase(tree) {
  const home = join(tree, 'var/lib/postgresql');
  mkdirSync(home, { recursive: true });
  chownSync(home, USER, USER);
  const inside = (words, options = {}) =>
    execFileSync('chroot', [`--userspec=${USER}:${USER}`, tree, ...words], {
      stdio: ['pipe', 'ignore', 'pipe'],
      env: {
        PATH: `${BIN}:/usr/sbin:/usr/bin:/bin`,
        HOME: '/var/lib/postgresql',
        LC_ALL: 'C',
        TZ: 'UTC',
      },
      ...options,
    });
  inside([`${BIN}/initdb`, '-D', DATA, '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']);
  appendFileSync(join(tree, DATA, 'postgresql.conf'), CONFIG);
  appendFileSync(join(tree, DATA, 'pg_hba.conf'), 'host all all 0.0.0.0/0 trust\n');
  // pgbench's tables, made by the same program with the server in single-user mode: no port
  // of this host is needed.
  inside([`${BIN}/postgres`, '--single', '-j', '-D', DATA, 'postgres'], { input: tables() });
}

/** What `pgbench -i` makes, in one statement a paragraph. */
function tables() {
  const accounts = 100_000 * SCALE;
  const filled = 'with (fillfactor = 100)';
  return [
    'create table pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22))',
    `create table pgbench_tellers (tid int not null primary key, bid int, tbalance int, filler char(84)) ${filled}`,
    `create table pgbench_accounts (aid int not null, bid int, abalance int, filler char(84)) ${filled}`,
    `create table pgbench_branches (bid int not null primary key, bbalance int, filler char(88)) ${filled}`,
    `insert into pgbench_branches select i, 0, '' from generate_series(1, ${SCALE}) i`,
    `insert into pgbench_tellers select i, (i - 1) / 10 + 1, 0, '' from generate_series(1, ${10 * SCALE}) i`,
    `insert into pgbench_accounts select i, (i - 1) / 100000 + 1, 0, '' from generate_series(1, ${accounts}) i`,
    'alter table pgbench_accounts add primary key (aid)',
    'vacuum analyze',
    'checkpoint',
  ]
    .map((statement) => `${statement};\n\n`)
    .join('');
}
