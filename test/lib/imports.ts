// SPDX-License-Identifier: Apache-2.0
/** Who uses whom: arrows between the rooms of a house, and those that go up. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

/** A file that uses another; paths from the project's root. */
export interface Arrow {
  readonly from: string;
  readonly to: string;
}

/** All files below `folder` (from the root) whose name ends so. */
export function filesBelow(root: string, folder: string, endings: readonly string[]): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.endsWith(ending)))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !/(^|\/)(build|node_modules)\//.test(path))
    .sort();
}

/** `import`, `export … from` and `import()` of files of ours, types too. */
export function importsOf(path: string, text: string): Arrow[] {
  const specifiers = [...text.matchAll(/(?:\bfrom|\bimport\(|\bimport)\s*'(\.{1,2}\/[^']+)'/g)];
  return specifiers.map((match) => ({
    from: path,
    to: normalize(join(dirname(path), match[1] ?? '')),
  }));
}

/**
 * `#include "…"` of files of ours.
 * @param places folders that the compiler searches after the file's own
 */
export function includesOf(
  root: string,
  path: string,
  text: string,
  places: readonly string[],
): Arrow[] {
  return [...text.matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)].flatMap((match) => {
    const candidates = [dirname(path), ...places].map((place) => join(place, match[1] ?? ''));
    const to = candidates.find((candidate) => existsSync(join(root, candidate)));
    return to === undefined ? [] : [{ from: path, to: normalize(to) }];
  });
}

export function readArrows(
  root: string,
  files: readonly string[],
  arrowsOf: (path: string, text: string) => readonly Arrow[],
): Arrow[] {
  return files.flatMap((path) => arrowsOf(path, readFileSync(join(root, path), 'utf8')));
}

/**
 * What uses a room that is not below its own, or a room that has no place, as lines for people.
 * @param floors the lowest first; rooms of one floor do not know each other
 */
export function against(
  floors: readonly (readonly string[])[],
  arrows: readonly Arrow[],
  roomOf: (path: string) => string,
): string[] {
  const floorOf = new Map(floors.flatMap((rooms, floor) => rooms.map((room) => [room, floor])));
  return arrows.flatMap(({ from, to }) => {
    const [user, used] = [roomOf(from), roomOf(to)];
    if (user === used) return [];
    const [above, below] = [floorOf.get(user), floorOf.get(used)];
    if (above === undefined) return [`${user} has no floor: ${from}`];
    if (below === undefined) return [`${used} has no floor: ${from} uses ${to}`];
    return above > below ? [] : [`${user} uses ${used}: ${from} uses ${to}`];
  });
}

/** Files in a circle of uses, or null. */
export function circle(arrows: readonly Arrow[]): string[] | null {
  const uses = new Map<string, string[]>();
  for (const { from, to } of arrows) uses.set(from, [...(uses.get(from) ?? []), to]);
  const done = new Set<string>();
  const visit = (file: string, trail: readonly string[]): string[] | null => {
    const seen = trail.indexOf(file);
    if (seen >= 0) return [...trail.slice(seen), file];
    if (done.has(file)) return null;
    for (const used of uses.get(file) ?? []) {
      const found = visit(used, [...trail, file]);
      if (found !== null) return found;
    }
    done.add(file);
    return null;
  };
  for (const file of uses.keys()) {
    const found = visit(file, []);
    if (found !== null) return found;
  }
  return null;
}
