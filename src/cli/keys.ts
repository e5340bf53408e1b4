// SPDX-License-Identifier: Apache-2.0
/**
 * `understudy keys init | issue NAME | revoke SERIAL | show`: a small CA of one's own; `keys pack`:
 * keys for packed recordings.
 */
import type { Command } from 'commander';
import { colour } from '../base/colour.ts';
import { UnderstudyError } from '../base/errors.ts';
import { keysDir } from '../base/paths.ts';
import { Authority, type AuthorityFacts, DAYS_DEFAULT, tlsLines } from '../keys/authority.ts';
import { makePackKeys, PACK_KEY_FILES } from '../pack/keys.ts';
import { fileSchema } from '../vm/config-schema.ts';
import { type Holder, SIDES } from '../vm/sides.ts';
import { parseCount, parseHolder } from './arguments.ts';
import { printFacts, printJson, say } from './output.ts';

interface KeysFlags {
  readonly dir: string;
  readonly json?: true;
}

interface IssueFlags extends KeysFlags {
  readonly side?: Holder;
  readonly days: number;
}

export function register(program: Command): void {
  const keys = program
    .command('keys')
    .description('a small CA of your own, for both sides of a VM; keys for packed recordings')
    .addHelpText(
      'after',
      '\nThe CA is a folder; keep it where neither host is. `issue` makes a folder for each side,\n' +
        'NAME-primary and NAME-backup, to be copied to the host that is that side: the one whose\n' +
        'address is replication.primary, or replication.backup, in VM.toml.\n' +
        'Daemons take files that have changed for the next connection, without a restart.',
    );
  const add = (words: string, what: string): Command =>
    keys
      .command(words)
      .description(what)
      .option('--dir <DIR>', "the CA's folder", keysDir())
      .option('--json', 'one JSON object on stdout');
  add('init', 'make the CA').action(({ dir, json }: KeysFlags) => {
    const facts = Authority.init(dir).facts();
    if (json === true) printJson(toJson(facts));
    else say(`made ${facts.subject.replace('CN=', '')} in ${dir}`);
  });
  add('issue', 'make new keys for the sides of a VM, also in place of older ones')
    .argument('<NAME>', 'the VM, as VM.toml names it')
    .option(
      '--side <SIDE>',
      `${SIDES.join(' or ')}: only for that one; replica: for all replicas`,
      parseHolder,
    )
    .option('--days <N>', 'how long they are valid', parseCount, DAYS_DEFAULT)
    .action(issue);
  add('revoke', 'take a certificate back, and renew the list in the folders')
    .argument('<SERIAL>', 'its serial number, as `keys show` has it')
    .addHelpText('after', '\nCopy crl.pem to the hosts: who has it lets that one in no more.')
    .action((serial: string, { dir, json }: KeysFlags) => {
      const authority = Authority.open(dir);
      const name = authority.revoke(serial);
      if (json === true) printJson(toJson(authority.facts()));
      else say(`revoked ${serial} of ${name}: copy ${dir}/crl.pem to the hosts`);
    });
  keys
    .command('pack')
    .description('keys for packed recordings: to sign, to verify, and to encrypt')
    .option('--dir <DIR>', 'folder to make them in', keysDir())
    .option('--json', 'one JSON object on stdout')
    .addHelpText('after', `\nGive ${PACK_KEY_FILES.verify} alone to whoever is to verify.`)
    .action(packKeys);
  add('show', 'the CA, and all that it has issued').action(({ dir, json }: KeysFlags) => {
    const facts = Authority.open(dir).facts();
    if (json === true) printJson(toJson(facts));
    else show(facts);
  });
}

function packKeys({ dir, json }: KeysFlags): void {
  const paths = makePackKeys(dir);
  if (json === true) printJson(paths);
  else for (const path of Object.values(paths)) process.stdout.write(`${path}\n`);
}

function issue(name: string, { dir, json, side, days }: IssueFlags): void {
  const parsed = fileSchema.shape.name.safeParse(name);
  if (!parsed.success) {
    throw new UnderstudyError('usage', `${name}: ${parsed.error.issues[0]?.message ?? 'no name'}`);
  }
  const authority = Authority.open(dir);
  const sides = side === undefined ? SIDES : [side];
  const folders = sides.map((one) => authority.issue(name, one, days));
  if (json === true) {
    printJson({ name, folders });
    return;
  }
  for (const folder of folders) process.stdout.write(`${folder}\n`);
  const lines = tlsLines('tls').join('\n  ');
  say(`copy each to its host, as the folder "tls" beside VM.toml, and add there:\n  ${lines}`);
}

function show({ dir, subject, fingerprint, endsAt, issued }: AuthorityFacts): void {
  process.stdout.write(`${colour.bold(subject.replace('CN=', ''))}\n`);
  printFacts([
    ['folder', dir],
    ['valid until', endsAt.slice(0, 10)],
    ['SHA-256', fingerprint],
  ]);
  for (const { name, serial, endsAt: until, state } of issued) {
    const word = state === 'valid' ? state : colour.yellow(state);
    process.stdout.write(`${name} ${word}, until ${until.slice(0, 10)}, serial ${serial}\n`);
  }
}

function toJson({ dir, subject, fingerprint, endsAt, issued }: AuthorityFacts): object {
  return {
    dir,
    subject,
    fingerprint,
    ends_at: endsAt,
    issued: issued.map(({ endsAt: until, ...one }) => ({ ...one, ends_at: until })),
  };
}
