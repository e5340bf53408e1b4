// SPDX-License-Identifier: Apache-2.0
/**
 * A program: replays a recording up to a position, looking into it on the way.
 *
 *   node --import tsx test/lib/look.ts RECORDING PROBES UNTIL
 *
 * Leaves the answers in PROBES.out (src/replay/probes.ts); a divergence ends it silently.
 */
import { createLogger } from '../../src/base/logger.ts';
import { parsePoint } from '../../src/base/position.ts';
import { replay } from '../../src/replay/replayer.ts';
import { findQemu } from '../../src/vm/qemu-binary.ts';

const [dir = '', probes = '', until = '0'] = process.argv.slice(2);
try {
  await replay(
    {
      dir,
      qemu: await findQemu(),
      logger: createLogger({ name: 'look' }),
      verify: false,
      until: parsePoint(until),
      onConsole: () => {},
      onProgress: () => {},
      fault: process.env.UNDERSTUDY_FAULT,
      probes,
      unchecked: true,
    },
    new AbortController().signal,
  );
} catch {
  process.exitCode = 1;
}
