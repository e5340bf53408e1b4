# Devices of the x86_64 target.  Everything a VM.toml can ask for and little
# else: what the exit log does not know must not be in the binary, and a small
# list builds faster.
CONFIG_I440FX=y
CONFIG_Q35=y
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_BLK=y
CONFIG_VIRTIO_NET=y
CONFIG_VIRTIO_SCSI=y
CONFIG_VIRTIO_RNG=y
CONFIG_VIRTIO_SERIAL=y
CONFIG_E1000_PCI=y
CONFIG_VGA_PCI=y
CONFIG_HPET=y
CONFIG_SERIAL_ISA=y
CONFIG_AHCI_ICH9=y
CONFIG_IDE_PIIX=y
