// SPDX-License-Identifier: Apache-2.0
/**
 * The catalog: an index of the recordings of this user, with their segments,
 * digests and checkpoints.
 *
 * Guarantee: what `refresh` returns is what the files say at that moment. Only what
 * has not changed since (by name, size and time of every file) is taken from the
 * index. Nothing about a recording exists only here.
 */
import { existsSync } from 'node:fs';
import type Database from 'better-sqlite3';
import { messageOf } from '../base/errors.ts';
import { makePrivateDirs } from '../base/paths.ts';
import { atIcount, icountOf, keyOf, type Position } from '../base/position.ts';
import { isDamage, type OpenDatabase, openDatabase, unusable } from './database.ts';
import { addLink, canonicalDir, listLinks, removeLink } from './links.ts';
import { type RunFacts, type RunState, type SegmentFacts, scanRun, signatureOf } from './scan.ts';

/** One recording, as `ls` shows it. Null: its files do not say, or are gone. */
export interface Run {
  readonly dir: string;
  readonly state: RunState;
  readonly reason: string | null;
  readonly vmId: string | null;
  readonly name: string | null;
  /** ISO 8601, UTC. */
  readonly created: string | null;
  readonly position: Position | null;
  readonly wallS: number | null;
  readonly digest: string | null;
  readonly logBytes: number;
  readonly diskBytes: number;
  readonly segments: number;
  readonly digests: number;
  readonly checkpoints: number;
}

export interface CatalogOptions {
  /** Remarks for the user: that the index was rebuilt, that a recording moved. */
  readonly onRemark: (text: string) => void;
  /** How long to wait for other processes; default 10 s. */
  readonly busyMs?: number;
}

const BUSY_MS = 10_000;

export class Catalog {
  readonly folder: string;
  readonly #options: CatalogOptions;
  #open: OpenDatabase;

  /** @param folder see catalogDir; made when missing. @throws UnderstudyError catalog-unusable */
  constructor(folder: string, options: CatalogOptions) {
    this.folder = folder;
    this.#options = options;
    try {
      makePrivateDirs(folder);
    } catch (error) {
      throw unusable(folder, error);
    }
    this.#open = this.#openDatabase();
  }

  close(): void {
    this.#open.close();
  }

  #openDatabase(): OpenDatabase {
    // Looked at before: a process that links a recording has an index, and may do so at any time.
    const isUsed = listLinks(this.folder).length > 0;
    const open = openDatabase(this.folder, this.#options.busyMs ?? BUSY_MS);
    if (open.rebuilt !== null && isUsed) {
      this.#options.onRemark(
        `the index of recordings is being made anew from their files: ${open.rebuilt}`,
      );
    }
    return open;
  }

  /** Runs `use`; once more on a new index when this one turns out to be damaged. */
  #with<T>(use: (db: Database.Database) => T): T {
    try {
      return use(this.#open.db);
    } catch (error) {
      if (!isDamage(error)) throw unusable(this.folder, error);
    }
    this.#open.close();
    this.#open = this.#openDatabase();
    try {
      return use(this.#open.db);
    } catch (error) {
      throw unusable(this.folder, error);
    }
  }

  /** Every folder known, whether it is still there or not. */
  known(): string[] {
    const rows = this.#with((db) => db.prepare('SELECT dir FROM runs').pluck().all() as string[]);
    return [...new Set([...listLinks(this.folder), ...rows])];
  }

  /** Remembers a recording, and indexes what it has so far. @param dir any path to it */
  async add(dir: string): Promise<void> {
    const canonical = canonicalDir(dir);
    try {
      addLink(this.folder, canonical);
    } catch (error) {
      throw unusable(this.folder, error);
    }
    await this.#index(canonical);
    this.#dropMoved(canonical);
  }

  /** The recording is gone, and is to be shown no more. Idempotent. */
  forget(dir: string): void {
    this.#with((db) => db.prepare('DELETE FROM runs WHERE dir = ?').run(dir));
    removeLink(this.folder, dir);
  }

  /** Brings the index up to date with the files of `dirs`; newest first. */
  async refresh(dirs: readonly string[]): Promise<Run[]> {
    for (const dir of dirs) {
      if (existsSync(dir)) await this.#index(dir);
      else this.#markMissing(dir);
    }
    const wanted = new Set(dirs);
    return this.#rows().filter(({ dir }) => wanted.has(dir));
  }

  async #index(dir: string): Promise<void> {
    let known = this.#segmentsOf(dir);
    for (;;) {
      let facts: RunFacts;
      try {
        if (this.#isCurrent(dir)) return;
        facts = await scanRun(dir, known);
      } catch (error) {
        if (existsSync(dir)) this.#mark(dir, 'missing-files', messageOf(error));
        else this.#markMissing(dir);
        return;
      }
      if (this.#with((db) => db.transaction(() => store(db, facts)).immediate())) return;
      known = []; // the index was rebuilt since: nothing is known
    }
  }

  #isCurrent(dir: string): boolean {
    const { signature } = signatureOf(dir);
    const row = this.#with((db) =>
      db.prepare('SELECT signature, state FROM runs WHERE dir = ?').get(dir),
    ) as { signature: string; state: RunState } | undefined;
    // Whether its recorder still lives is not in the files' sizes.
    if (row === undefined || row.state === 'recording' || row.state === 'incomplete') return false;
    return row.signature === signature;
  }

  #segmentsOf(dir: string): SegmentFacts[] {
    const rows = this.#with((db) =>
      db
        .prepare(
          'SELECT s.* FROM segments s JOIN runs ON runs.id = s.run WHERE dir = ? ORDER BY number',
        )
        .all(dir),
    ) as SegmentRow[];
    return rows.map((row) => ({
      number: Number(row.number),
      bytes: Number(row.bytes),
      mtimeMs: row.mtime_ms,
      batches: Number(row.batches),
      records: Number(row.records),
      horizon: positionOf(row),
      firstSealedNs: row.first_sealed_ns,
      lastSealedNs: row.last_sealed_ns,
    }));
  }

  /** What was known of it stays, to tell what is missing. */
  #markMissing(dir: string): void {
    this.#mark(dir, 'missing', 'the folder is gone: moved or deleted');
  }

  #mark(dir: string, state: RunState, reason: string): void {
    this.#with((db) =>
      db
        .prepare(
          `INSERT INTO runs (dir, state, reason, signature, log_bytes, disk_bytes)
           VALUES (@dir, @state, @reason, '', 0, 0)
           ON CONFLICT (dir) DO UPDATE SET
             state = @state, reason = @reason, signature = '', disk_bytes = 0`,
        )
        .run({ dir, state, reason }),
    );
  }

  /** A recording that turns up elsewhere is not missing where it was. */
  #dropMoved(dir: string): void {
    const before = this.#with((db) =>
      db
        .prepare(
          `SELECT dir FROM runs WHERE dir <> @dir AND vm_id IS NOT NULL
           AND vm_id = (SELECT vm_id FROM runs WHERE dir = @dir)`,
        )
        .pluck()
        .all({ dir }),
    ) as string[];
    for (const old of before.filter((one) => !existsSync(one))) {
      this.forget(old);
      this.#options.onRemark(`${old} has moved to ${dir}`);
    }
  }

  #rows(): Run[] {
    const rows = this.#with((db) =>
      db
        .prepare(
          `SELECT runs.*,
             (SELECT count(*) FROM segments WHERE run = id) AS segments,
             (SELECT count(*) FROM digests WHERE run = id) AS digests,
             (SELECT count(*) FROM checkpoints WHERE run = id) AS checkpoints
           FROM runs ORDER BY created DESC NULLS LAST, dir`,
        )
        .all(),
    ) as RunRow[];
    return rows.map((row) => ({
      dir: row.dir,
      state: row.state,
      reason: row.reason,
      vmId: row.vm_id,
      name: row.name,
      created: row.created,
      position: positionOf(row),
      wallS: row.wall_s,
      digest: row.digest,
      logBytes: Number(row.log_bytes),
      diskBytes: Number(row.disk_bytes),
      segments: Number(row.segments),
      digests: Number(row.digests),
      checkpoints: Number(row.checkpoints),
    }));
  }
}

/**
 * In one transaction: a reader sees the recording as it was before, or as it is now.
 * @returns false, and no digest is stored, when what `facts` builds on is not here
 */
function store(db: Database.Database, facts: RunFacts): boolean {
  const { recording, segments } = facts;
  const end = recording?.end ?? null;
  const last = segments.findLast(({ horizon }) => horizon !== null);
  const firstSealedNs = segments.find((one) => one.firstSealedNs !== null)?.firstSealedNs;
  const sealedS = Number((last?.lastSealedNs ?? 0n) - (firstSealedNs ?? 0n)) / 1e9;
  const at = end ?? last?.horizon ?? null;
  const id = db
    .prepare(
      `INSERT INTO runs (dir, state, reason, signature, vm_id, name, created, qemu_build_id,
         icount, vtime_ns, wall_s, digest, log_bytes, disk_bytes)
       VALUES (@dir, @state, @reason, @signature, @vmId, @name, @created, @build,
         @icount, @vtimeNs, @wallS, @digest, @logBytes, @diskBytes)
       ON CONFLICT (dir) DO UPDATE SET state = @state, reason = @reason, signature = @signature,
         vm_id = coalesce(@vmId, vm_id), name = coalesce(@name, name),
         created = coalesce(@created, created), qemu_build_id = coalesce(@build, qemu_build_id),
         icount = @icount, vtime_ns = @vtimeNs, wall_s = @wallS, digest = @digest,
         log_bytes = @logBytes, disk_bytes = @diskBytes
       RETURNING id`,
    )
    .pluck()
    .get({
      dir: facts.dir,
      state: facts.state,
      reason: facts.reason,
      signature: facts.signature,
      vmId: recording?.manifest.vm_id ?? null,
      name: recording?.manifest.name ?? null,
      created: recording?.manifest.created ?? null,
      build: recording?.manifest.qemu.build_id ?? null,
      icount: at === null ? null : icountOf(at.point),
      vtimeNs: at?.vtimeNs ?? null,
      wallS: end?.wall_s ?? (last === undefined ? null : sealedS),
      digest: end?.digest ?? null,
      logBytes: segments.reduce((sum, { bytes }) => sum + bytes, 0),
      diskBytes: facts.diskBytes,
    });
  if (!hasSegments(db, id, facts)) {
    db.prepare("UPDATE runs SET signature = '' WHERE id = ?").run(id);
    return false;
  }
  storeSegments(db, id, facts);
  db.prepare('DELETE FROM checkpoints WHERE run = ?').run(id);
  const insert = db.prepare(
    'INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
  );
  for (const outline of facts.checkpoints) {
    const { vtimeNs, ordinal, kind, digest, created_at } = outline;
    const parent = outline.parent === null ? null : keyOf(outline.parent);
    const bytes = BigInt(outline.bytes);
    insert.run(
      id,
      icountOf(outline.point),
      vtimeNs,
      ordinal,
      kind,
      parent,
      bytes,
      digest,
      created_at,
    );
  }
  return true;
}

/** Whether the segments that were not read again are in the index, with their digests. */
function hasSegments(db: Database.Database, run: unknown, facts: RunFacts): boolean {
  const find = db
    .prepare('SELECT 1 FROM segments WHERE run = ? AND number = ? AND bytes = ? AND mtime_ms = ?')
    .pluck();
  return facts.segments
    .filter(({ number }) => number < facts.readFrom)
    .every(({ number, bytes, mtimeMs }) => find.get(run, number, bytes, mtimeMs) !== undefined);
}

function storeSegments(db: Database.Database, run: unknown, facts: RunFacts): void {
  const oldest = facts.segments[0]?.number ?? Number.MAX_SAFE_INTEGER;
  db.prepare('DELETE FROM segments WHERE run = ?').run(run);
  db.prepare('DELETE FROM digests WHERE run = ? AND (segment >= ? OR segment < ?)').run(
    run,
    facts.readFrom,
    oldest,
  );
  const segment = db.prepare('INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
  for (const one of facts.segments) {
    segment.run(
      run,
      one.number,
      one.bytes,
      one.mtimeMs,
      one.batches,
      one.records,
      one.horizon === null ? null : icountOf(one.horizon.point),
      one.horizon?.vtimeNs ?? null,
      one.firstSealedNs,
      one.lastSealedNs,
    );
  }
  const digest = db.prepare('INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?, ?)');
  for (const one of facts.digests) {
    const { ordinal, segment: number, point, vtimeNs, final } = one;
    digest.run(run, ordinal, number, icountOf(point), vtimeNs, final ? 1 : 0, one.digest);
  }
}

function positionOf(row: Pick<RunRow, 'icount' | 'vtime_ns'>): Position | null {
  if (row.icount === null || row.vtime_ns === null) return null;
  return { point: atIcount(row.icount), vtimeNs: row.vtime_ns };
}

interface RunRow {
  readonly dir: string;
  readonly state: RunState;
  readonly reason: string | null;
  readonly vm_id: string | null;
  readonly name: string | null;
  readonly created: string | null;
  readonly icount: bigint | null;
  readonly vtime_ns: bigint | null;
  readonly wall_s: number | null;
  readonly digest: string | null;
  readonly log_bytes: bigint;
  readonly disk_bytes: bigint;
  readonly segments: bigint;
  readonly digests: bigint;
  readonly checkpoints: bigint;
}

interface SegmentRow {
  readonly number: bigint;
  readonly bytes: bigint;
  readonly mtime_ms: number;
  readonly batches: bigint;
  readonly records: bigint;
  readonly icount: bigint | null;
  readonly vtime_ns: bigint | null;
  readonly first_sealed_ns: bigint | null;
  readonly last_sealed_ns: bigint | null;
}
