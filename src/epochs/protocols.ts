// SPDX-License-Identifier: Apache-2.0
/** The protocols, each exported by its name in VM.toml's `replication.protocol`. */
export { kemari } from './kemari.ts';
export { kemariEvery as 'kemari-every' } from './kemari-every.ts';
export { lockstep } from './lockstep.ts';
export { lockstepEpoch as 'lockstep-epoch' } from './lockstep-epoch.ts';
export { remus } from './remus.ts';
