/*
 * A kernel that looks wherever a trace of the host could be: what its loader left in memory
 * (command line, module, gaps of the image), all of fw_cfg, PCI, CPUID, CMOS, the IDE disk.
 * What it sees stays in memory, for digests; a line with a hash of each part goes to the
 * serial port. Then it counts for 100 M instructions and switches the VM off.
 *
 * Built with -DPVH it is started by its ELF note, otherwise as a multiboot kernel; with
 * -DTWICE it waits for a byte on the serial port, resets, and looks again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef PVH
asm(".section .note.pvh, \"a\", @note\n"
    ".long 4, 4, 18\n" /* XEN_ELFNOTE_PHYS32_ENTRY */
    ".asciz \"Xen\"\n"
    ".long _start\n"
    ".text\n");
#else
asm(".section .multiboot, \"a\"\n"
    ".align 4\n"
    ".long 0x1badb002, 3, -(0x1badb002 + 3)\n"
    ".text\n");
#endif
asm(".globl _start\n"
    "_start: cli\n"
    "movl $stack + 16384, %esp\n"
    "pushl %ebx\n"
    "call look\n"
    "1: hlt\n"
    "jmp 1b\n");

u8 stack[16384] __attribute__((aligned(16)));
#ifdef PVH
/* A short file: QEMU shows the guest 8192 bytes of it. */
#define END (0x100000 + 65536)
#else
/* In a segment of its own, after a gap that no file covers. */
u8 far_away[4096] __attribute__((section(".far"), aligned(4096))) = {1};
#define END ((u32)far_away + sizeof(far_away))
#endif
static u8 hole[65536];
static u8 *seen = (u8 *)0x1000000; /* grows */
#ifdef TWICE
/* Memory stays as it is in a reset. */
#define AGAIN 0x616761u
static volatile u32 *again = (u32 *)0x3800000;
#endif

static void outb(u16 port, u8 value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static void outw(u16 port, u16 value) { asm volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
static void outl(u16 port, u32 value) { asm volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }
static u8 inb(u16 port) { u8 value; asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port)); return value; }
static u16 inw(u16 port) { u16 value; asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port)); return value; }
static u32 inl(u16 port) { u32 value; asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port)); return value; }

static void put(char c)
{
	while (!(inb(0x3fd) & 0x20))
		;
	outb(0x3f8, c);
}

static void say(const char *text)
{
	while (*text)
		put(*text++);
}

static void say_hex(u32 value)
{
	for (int shift = 28; shift >= 0; shift -= 4)
		put("0123456789abcdef"[value >> shift & 15]);
}

static void tell(const char *what, u32 which, const u8 *bytes, u32 count)
{
	u32 hash = 2166136261u;

	for (u32 i = 0; i < count; i++)
		hash = (hash ^ bytes[i]) * 16777619;
	say(what);
	put(' ');
	say_hex(which);
	put(' ');
	say_hex(hash);
	put('\n');
}

static u32 swap(u32 value) { return __builtin_bswap32(value); }

/* fw_cfg by its DMA port. */
static void fw_cfg(u16 key, void *to, u32 count)
{
	static volatile struct { u32 control, length, high, low; } dma;

	dma.control = swap((u32)key << 16 | 8 | 2);
	dma.length = swap(count);
	dma.high = 0;
	dma.low = swap((u32)to);
	asm volatile("" ::: "memory");
	outl(0x514, 0);
	outl(0x518, swap((u32)&dma));
	while (dma.control & ~swap(1))
		;
	asm volatile("" ::: "memory");
}

static u32 fw_cfg_word(u16 key)
{
	u32 value;

	fw_cfg(key, &value, 4);
	return value;
}

static void see(const char *what, u16 key, u32 count)
{
	fw_cfg(key, seen, count);
	tell(what, key, seen, count);
	seen += count;
}

static void look_at_fw_cfg(void)
{
	u8 *files;
	u32 count;

	for (u16 key = 0; key < 0x19; key++) {
		if (key != 0x11 && key != 0x12 && key != 0x15 && key != 0x18)
			see("fw_cfg", key, 256);
	}
	see("kernel", 0x11, fw_cfg_word(0x08));
	see("initrd", 0x12, fw_cfg_word(0x0b));
	see("command line", 0x15, fw_cfg_word(0x14));
	see("setup", 0x18, fw_cfg_word(0x17));
	for (u16 key = 0x8000; key < 0x8008; key++)
		see("fw_cfg", key, 4096);
	count = swap(fw_cfg_word(0x19));
	files = seen;
	see("directory", 0x19, 4 + count * 64);
	for (u32 i = 0; i < count; i++) {
		u8 *file = files + 4 + i * 64;

		see((char *)file + 8, file[4] << 8 | file[5], swap(*(u32 *)file));
	}
}

static u32 pci(u32 bdf, u32 at)
{
	outl(0xcf8, 0x80000000u | bdf << 8 | at);
	return inl(0xcfc);
}

static void look_at_pci(void)
{
	for (u32 bdf = 0; bdf < 256; bdf++) {
		u8 *begin = seen;
		u32 bar0;

		if (pci(bdf, 0) == 0xffffffffu)
			continue;
		for (u32 at = 0; at < 256; at += 4, seen += 4)
			*(u32 *)seen = pci(bdf, at);
		bar0 = *(u32 *)(begin + 16);
		/* A virtio device's own configuration, in the legacy layout. */
		for (u32 at = 0; *(u16 *)begin == 0x1af4 && (bar0 & 1) && at < 128; at++)
			*seen++ = inb((bar0 & ~3u) + at);
		tell("PCI", bdf, begin, seen - begin);
	}
}

static void look_at_cpuid(void)
{
	static const u32 ranges[][2] = {{0, 0x20}, {0x40000000, 0x40000004}, {0x80000000, 0x80000022}};

	for (int r = 0; r < 3; r++) {
		u8 *begin = seen;

		for (u32 leaf = ranges[r][0]; leaf < ranges[r][1]; leaf++) {
			for (u32 sub = 0; sub < 4; sub++, seen += 16) {
				u32 *four = (u32 *)seen;

				asm volatile("cpuid" : "=a"(four[0]), "=b"(four[1]), "=c"(four[2]), "=d"(four[3])
					     : "a"(leaf), "c"(sub));
			}
		}
		tell("CPUID", ranges[r][0], begin, seen - begin);
	}
}

static void look_at_ide(void)
{
	u8 *begin = seen;

	outb(0x1f6, 0xa0);
	if (inb(0x1f7) == 0xff)
		return;
	outb(0x1f7, 0xec);
	for (u32 tries = 0; tries < 100000; tries++) {
		u8 status = inb(0x1f7);

		if (status & 1)
			return;
		if (!(status & 0x80) && (status & 8))
			break;
	}
	for (u32 i = 0; i < 256; i++, seen += 2)
		*(u16 *)seen = inw(0x1f0);
	tell("IDE", 0, begin, 512);
}

void look(u32 *info)
{
	u8 *begin;

#ifndef PVH
	say((const char *)info[4]);
	put('\n');
	for (u32 i = 0; i < info[5]; i++) {
		u32 *module = (u32 *)info[6] + 4 * i;

		say((const char *)module[2]);
		put('\n');
		tell("module", i, (u8 *)module[0], module[1] - module[0]);
	}
#endif
	tell("hole", 0, hole, sizeof(hole));
	/* From the image's begin to the page after its end. */
	tell("image", 0, (u8 *)0x100000, END + 4096 - 0x100000);
	tell("start info", 0, (u8 *)info, 88);
	tell("low memory", 0, (u8 *)0x500, 0x9fc00 - 0x500);
	tell("BIOS", 0, (u8 *)0xc0000, 0x40000);
	look_at_fw_cfg();
	look_at_pci();
	look_at_cpuid();
	look_at_ide();
	begin = seen;
	for (u32 i = 0; i < 128; i++) {
		outb(0x70, i);
		*seen++ = inb(0x71);
	}
	tell("CMOS", 0, begin, 128);
#ifdef TWICE
	if (*again != AGAIN) {
		*again = AGAIN;
		say("again?\n");
		while (!(inb(0x3fd) & 1))
			;
		outb(0x64, 0xfe);
		for (;;)
			;
	}
#endif
	for (u32 i = 0; i < 50000000; i++)
		asm volatile("");
	outw(0x604, 0x2000); /* ACPI: off */
}
