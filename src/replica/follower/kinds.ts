// SPDX-License-Identifier: Apache-2.0
/** What can take over, by the word that a protocol has for it. */
import type { Protocol } from '../../epochs/protocol.ts';
import { startImage } from './image.ts';
import { startReplaying } from './replaying.ts';
import type { StartUnderstudy } from './understudy.ts';

export const UNDERSTUDIES: Readonly<Record<Protocol['follower'], StartUnderstudy>> = {
  image: startImage,
  replaying: startReplaying,
};
