// SPDX-License-Identifier: Apache-2.0
/**
 * What pages and comments say of the tree: links, paths, commands. Each check takes text and
 * answers what is wrong with it, so that a test can plant a fault.
 */
import { readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/** Folders that are made, not written. */
const MADE = new Set(['node_modules', 'dist', 'build', '.git', 'kept']);
const CODE = /\.(ts|mjs|js|cc|c|h|py)$/;
/** Files of the tree are named with one of these endings. */
const ENDING = '(?:ts|mjs|cc|c|h|md|sh|capnp|patch|svg|mak|py)';
const PATH = new RegExp(`(?:\\.\\.?/)*(?:[\\w.-]+/)+[\\w.-]+\\.${ENDING}(?![\\w/*-])`, 'g');
const BARE = new RegExp(`\`([\\w.-]+\\.${ENDING})\``, 'g');
const FENCE = /^```.*?^```/gms;
const SPAN = /`([^`]+)`/g;

/** All files below a folder, as paths from there, sorted. */
export function filesOfTree(root: string, dir = ''): string[] {
  return readdirSync(join(root, dir), { withFileTypes: true })
    .filter(({ name }) => !MADE.has(name))
    .flatMap((entry) => {
      const path = join(dir, entry.name);
      return entry.isDirectory() ? filesOfTree(root, path) : [path];
    })
    .sort();
}

/** A page's text, or the comments of a source file, each line where it was. */
export function proseOf(path: string, content: string): string {
  if (path.endsWith('.md')) return content;
  if (CODE.test(path) && !path.endsWith('.py')) return commentsOf(content);
  return content.replace(/^(?!\s*#).*$/gm, '');
}

/** Comments alone; what stood between them is left out but for its line ends. */
function commentsOf(content: string): string {
  const token = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|\n/g;
  return (content.match(token) ?? [])
    .filter((found) => /^(\/\*|\/\/|\n)/.test(found))
    .map((found) => found.replace(/^(\/\*+|\/\/)/, '').replace(/^ *\* ?/gm, ''))
    .join('')
    .replaceAll('*/', '');
}

/** Anchors that a page's headings have, as GitHub makes them. */
function anchorsOf(page: string): Set<string> {
  const headings = page.replace(FENCE, '').matchAll(/^#+ (.+)$/gm);
  return new Set(
    [...headings].map(([, title = '']) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/**
 * Relative links of a page to files that are not there, or without the heading.
 * @param read the content of a file of the tree, or null: there is none
 */
export function deadLinks(
  path: string,
  page: string,
  read: (path: string) => string | null,
): string[] {
  const links = page
    .replace(FENCE, '')
    .replace(SPAN, '')
    .matchAll(/\]\(([^)\s]+)\)/g);
  return [...links].flatMap(([, target = '']) => {
    if (/^[a-z]+:/.test(target)) return [];
    const [file = '', anchor] = target.split('#');
    const to = file === '' ? path : normalize(join(dirname(path), file));
    const content = read(to);
    if (content === null) return [`${target}: no ${to}`];
    if (anchor === undefined || anchorsOf(content).has(anchor)) return [];
    return [`${target}: ${to} has no such heading`];
  });
}

/**
 * Paths that are named and are no file's. Folders on the way may be left out
 * (`exitlog/exits/net.c`), and where a name is relative to is the reader's to see.
 */
export function deadPaths(prose: string, files: readonly string[]): string[] {
  const byName = new Map<string, string[][]>();
  for (const file of files) {
    const parts = file.split('/');
    const name = parts.at(-1) ?? '';
    byName.set(name, [...(byName.get(name) ?? []), parts]);
  }
  const text = prose.replaceAll(/\S+:\/\/\S+/g, '');
  const named = [...text.matchAll(PATH)].map(([path]) => path);
  const bare = [...text.matchAll(BARE)].map(([, name = '']) => name);
  return [...new Set([...named, ...bare])].filter((path) => {
    const wanted = path.split('/').filter((part) => part !== '.' && part !== '..');
    return !(byName.get(wanted.at(-1) ?? '') ?? []).some((parts) => isWithin(wanted, parts));
  });
}

/** Whether the parts of a name come in this order in a path, the last one at its end. */
function isWithin(wanted: readonly string[], parts: readonly string[]): boolean {
  let at = 0;
  for (const part of parts) if (part === wanted[at]) at += 1;
  return at === wanted.length;
}

/** Commands that are named in code and that the project does not have. */
export function deadCommands(
  prose: string,
  has: { readonly scripts: ReadonlySet<string>; readonly verbs: ReadonlySet<string> },
): string[] {
  const code = [...(prose.match(FENCE) ?? []), ...(prose.replace(FENCE, '').match(SPAN) ?? [])];
  return code.flatMap((text) => {
    const scripts = [...text.matchAll(/\bnpm run ([\w:-]+)/g)]
      .filter(([, name = '']) => !has.scripts.has(name))
      .map(([words]) => words);
    const verbs = [...text.matchAll(/(?:^|[\s`(;])(?:bin\/)?understudy ([a-z]+)/g)]
      .filter(([, verb = '']) => !has.verbs.has(verb))
      .map(([words]) => words.trim());
    return [...scripts, ...verbs];
  });
}

/** Sentences that begin as no English one does. */
export function foreignSentences(prose: string): string[] {
  const begin = /(?:^|[.:;!?|] |\()[ \t*-]*((?:Of|So long|So much|So many)\b.{0,40})/gm;
  return [...prose.replace(FENCE, '').matchAll(begin)].map(([, words = '']) => words);
}

/** References to documents that are not in the tree. */
export function foreignReferences(prose: string): string[] {
  return prose.match(/\b(?:[Ii]ssue #?\d+|DESIGN(?:\.md)?[ ,]+(?:section|§)? ?\d+)/g) ?? [];
}
