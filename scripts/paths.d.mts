// SPDX-License-Identifier: Apache-2.0
export interface QemuPaths {
  /** Absolute path of the patched qemu-system-x86_64. */
  readonly binary: string;
  /** Content hash of everything the binary was built from; two hosts compare it. */
  readonly id: string;
  /** Debian's version of the source, e.g. `1:10.0.13+ds-0+deb13u1`. */
  readonly version: string;
}

export interface GuestPaths {
  readonly dir: string;
  readonly kernel: string;
  readonly vmlinuz: string;
  readonly initrd: string;
  /** A 64 MiB raw image with an empty ext4; copy it, never use it in place. */
  readonly diskTemplate: string;
  /** For QEMU's `-L`. */
  readonly firmwareDir: string;
  /** Kernel command line to start from; add `us.*` words (guest/init lists them). */
  readonly append: string;
  /** Debian package versions the guest was made of. */
  readonly packages: Readonly<Record<string, string>>;
}

export const projectRoot: string;
/** Taps of a demo that root made beforehand, for a user without rights. */
export const demoTaps: { readonly primary: string; readonly backup: string };
/** `$XDG_CACHE_HOME/understudy`, or `~/.cache/understudy`. */
export function cacheDir(): string;
/** The patched QEMU of this checkout (`$UNDERSTUDY_QEMU` overrides); undefined when not built. */
export function qemuPaths(): QemuPaths | undefined;
/** The reference guest and firmware; undefined when not built. */
export function guestPaths(): GuestPaths | undefined;
/** The built addon; undefined when not built. */
export function addonPath(): string | undefined;
