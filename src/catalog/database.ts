// SPDX-License-Identifier: Apache-2.0
/**
 * The catalog's SQLite file: its tables, opening it, and rebuilding it.
 *
 * It is an index. What it says is in the recordings' own files and in the links
 * (links.ts), so one that is lost, damaged or of another version is thrown away and
 * filled again; nothing else is ever done to repair it.
 *
 * Several processes use it at once: write-ahead log, immediate transactions, a busy
 * timeout. To throw it away one must be alone: every opener holds `lock` shared,
 * a process that replaces the file holds it exclusively. Otherwise a process could go on
 * writing the journal of a file that is no longer there.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { errorCodeOf, messageOf, UnderstudyError } from '../base/errors.ts';
import { type FileLock, tryLock } from '../base/file-lock.ts';

/** Raised with every change of the tables: an older or newer file is rebuilt. */
export const CATALOG_VERSION = 2;
/** "UDcg": that the file is ours. */
const APPLICATION_ID = 0x55446367;
const LOCK_RETRY_MS = 25;

const TABLES = `
  CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    dir TEXT NOT NULL UNIQUE,          -- canonical path
    state TEXT NOT NULL,               -- RunState in scan.ts; 'missing' is found out each time
    reason TEXT,                       -- why not complete
    signature TEXT NOT NULL,           -- names, sizes and times of its files
    vm_id TEXT, name TEXT, created TEXT, qemu_build_id TEXT,
    icount INTEGER, vtime_ns INTEGER, wall_s REAL, digest TEXT,
    log_bytes INTEGER NOT NULL, disk_bytes INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE segments (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    number INTEGER NOT NULL,           -- as its file is named
    bytes INTEGER NOT NULL, mtime_ms REAL NOT NULL,
    batches INTEGER NOT NULL, records INTEGER NOT NULL,
    icount INTEGER, vtime_ns INTEGER,  -- the horizon at its end; null without a batch
    first_sealed_ns INTEGER, last_sealed_ns INTEGER,
    PRIMARY KEY (run, number)
  ) STRICT;
  CREATE TABLE digests (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,          -- of its record, since power-on
    segment INTEGER NOT NULL,
    icount INTEGER NOT NULL, vtime_ns INTEGER NOT NULL,
    final INTEGER NOT NULL,            -- 1: the one before END
    digest TEXT NOT NULL,              -- cpu, ram, devices, outputs: 16 hex digits each
    PRIMARY KEY (run, ordinal)
  ) STRICT;
  CREATE TABLE checkpoints (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    icount INTEGER NOT NULL, vtime_ns INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    kind TEXT NOT NULL,                -- 'full' or 'incremental'
    parent TEXT,                       -- the checkpoint that it builds on, as its manifest has it
    bytes INTEGER NOT NULL, digest TEXT, created_at TEXT NOT NULL,
    PRIMARY KEY (run, icount)
  ) STRICT;
  CREATE TABLE benchmarks (
    dir TEXT PRIMARY KEY,              -- canonical path of the folder with results.json
    id TEXT NOT NULL,                  -- as the file has it
    started_at TEXT NOT NULL, "commit" TEXT NOT NULL, dirty INTEGER NOT NULL,
    quick INTEGER NOT NULL, complete INTEGER NOT NULL,
    rounds INTEGER NOT NULL, runs INTEGER NOT NULL, seconds REAL NOT NULL
  ) STRICT;
`;

const TABLE_COUNT = TABLES.match(/CREATE TABLE/g)?.length;

export interface OpenDatabase {
  readonly db: Database.Database;
  /** Why it had to be rebuilt; null when it was there and well. */
  readonly rebuilt: string | null;
  close(): void;
}

/**
 * Opens the catalog in `folder`, which is there; makes it (again) when needed.
 * @param busyMs how long to wait for other processes
 * @throws UnderstudyError catalog-unusable
 */
export function openDatabase(folder: string, busyMs: number): OpenDatabase {
  const path = join(folder, 'catalog.db');
  let rebuilt: string | null = null;
  // Twice is enough unless others keep breaking it.
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const lock = waitForLock(folder, 'shared', busyMs);
    const { db, fault } = tryOpen(path, busyMs);
    if (db !== null) return opened(db, lock, rebuilt);
    lock.release();
    if (fault instanceof Error) throw unusable(path, fault);
    // Somebody else may have been faster, and has said so.
    if (replace(folder, path, busyMs)) rebuilt = fault;
  }
  throw unusable(path, new Error(`it cannot be made anew: ${rebuilt ?? ''}`));
}

/** A database that is well; or what is wrong with it; or the error that has no cure here. */
function tryOpen(
  path: string,
  busyMs: number,
): { db: Database.Database; fault: null } | { db: null; fault: string | Error } {
  if (!existsSync(path)) return { db: null, fault: 'there was none' };
  let db: Database.Database | null = null;
  try {
    db = connect(path, busyMs);
    const fault = faultOf(db);
    if (fault === null) return { db, fault };
    db.close();
    return { db: null, fault };
  } catch (error) {
    db?.close();
    if (isDamage(error)) return { db: null, fault: messageOf(error) };
    return { db: null, fault: error instanceof Error ? error : new Error(messageOf(error)) };
  }
}

function opened(db: Database.Database, lock: FileLock, rebuilt: string | null): OpenDatabase {
  return {
    db,
    rebuilt,
    close() {
      db.close();
      lock.release();
    },
  };
}

function connect(path: string, busyMs: number): Database.Database {
  const db = new Database(path, { timeout: busyMs });
  db.defaultSafeIntegers(true);
  db.pragma('journal_mode = WAL');
  // What a power cut takes away here is read from the files again.
  db.pragma('synchronous = NORMAL');
  db.pragma('foreign_keys = ON');
  return db;
}

/** Why it cannot be used as it is, or null. */
function faultOf(db: Database.Database): string | null {
  const pragma = (name: string): number => Number(db.pragma(name, { simple: true }));
  if (pragma('application_id') !== APPLICATION_ID) return 'it is no catalog';
  const version = pragma('user_version');
  if (version !== CATALOG_VERSION) {
    return `it has version ${version}, this understudy has ${CATALOG_VERSION}`;
  }
  const tables = db
    .prepare("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")
    .pluck()
    .get();
  if (Number(tables) !== TABLE_COUNT) return 'it has not the tables that it should have';
  const check = String(db.pragma('quick_check(1)', { simple: true }));
  return check === 'ok' ? null : check;
}

/** Whether SQLite found the file itself to be broken, and not its use. */
export function isDamage(error: unknown): boolean {
  const code = errorCodeOf(error) ?? '';
  return /^SQLITE_(CORRUPT|NOTADB|IOERR_SHORT_READ)/.test(code);
}

/** A new, empty catalog. @returns false when somebody else was faster */
function replace(folder: string, path: string, busyMs: number): boolean {
  const lock = waitForLock(folder, 'exclusive', busyMs);
  try {
    const { db: well } = tryOpen(path, busyMs);
    well?.close();
    if (well !== null) return false;
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(path + suffix, { force: true });
    const db = connect(path, busyMs);
    try {
      db.transaction(() => {
        db.exec(TABLES);
        db.pragma(`application_id = ${APPLICATION_ID}`);
        db.pragma(`user_version = ${CATALOG_VERSION}`);
      }).immediate();
    } finally {
      db.close();
    }
    return true;
  } catch (error) {
    throw unusable(path, error);
  } finally {
    lock.release();
  }
}

function waitForLock(folder: string, mode: 'shared' | 'exclusive', busyMs: number): FileLock {
  const path = join(folder, 'lock');
  const until = performance.now() + busyMs;
  for (;;) {
    let lock: FileLock | null;
    try {
      lock = tryLock(path, 'a', mode);
    } catch (error) {
      throw unusable(path, error);
    }
    if (lock !== null) return lock;
    if (performance.now() >= until) {
      throw unusable(path, new Error('other processes have it locked'));
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOCK_RETRY_MS);
  }
}

export function unusable(path: string, cause: unknown): UnderstudyError {
  if (cause instanceof UnderstudyError && cause.code !== 'file-io') return cause;
  return new UnderstudyError(
    'catalog-unusable',
    `the index of recordings ${path} cannot be used: ${messageOf(cause)}; recordings themselves ` +
      'do not need it (UNDERSTUDY_CATALOG_DIR names another folder for it, or "off")',
    { cause },
  );
}
