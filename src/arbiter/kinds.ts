// SPDX-License-Identifier: Apache-2.0
/** Kinds of arbiter, each exported by what stands before the colon in its URL. */
export { DIR as dir } from './dir.ts';
export { ETCD as etcd } from './etcd.ts';
