{
  # SPDX-License-Identifier: Apache-2.0
  "targets": [
    {
      "target_name": "kvm_exit_log",
      "sources": [
        "addon/ack.cc",
        "addon/apply_disk.cc",
        "addon/backlog.cc",
        "addon/checksum.cc",
        "addon/courier.cc",
        "addon/courier_js.cc",
        "addon/exit_ring.cc",
        "addon/fill.cc",
        "addon/frame.cc",
        "addon/hash_file.cc",
        "addon/host_clock.cc",
        "addon/holes.cc",
        "addon/link.cc",
        "addon/module.cc",
        "addon/notify.cc",
        "addon/receive.cc",
        "addon/release.cc",
        "addon/seal.cc",
        "addon/segment.cc",
        "addon/ship.cc",
        "addon/shm.cc"
      ],
      "include_dirs": ["include"],
      "libraries": ["-lzstd"],
      "dependencies": ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except"],
      "defines": [
        "NAPI_VERSION=8",
        # An environment that is being torn down takes no exception: not a reason to abort.
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
        "XXH_INLINE_ALL"
      ],
      "cflags_cc": ["-std=c++17", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", "-fno-strict-aliasing"],
      "cflags_cc!": ["-std=gnu++17", "-O3", "-fno-rtti"]
    }
  ]
}
