// SPDX-License-Identifier: Apache-2.0
export const DRAWN: readonly string[];
export function draw(name: string): string;
