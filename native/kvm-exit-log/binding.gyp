{
  # SPDX-License-Identifier: Apache-2.0
  "targets": [
    {
      "target_name": "kvm_exit_log",
      "sources": [
        "addon/bits/ack.cc",
        "addon/bits/checksum.cc",
        "addon/bits/clock.cc",
        "addon/bits/frame.cc",
        "addon/bits/host_clock.cc",
        "addon/bits/js_callback.cc",
        "addon/courier.cc",
        "addon/courier_js.cc",
        "addon/image/disks.cc",
        "addon/image/hand_over.cc",
        "addon/image/image.cc",
        "addon/image/memory.cc",
        "addon/link/address.cc",
        "addon/link/dial.cc",
        "addon/link/link.cc",
        "addon/link/link_js.cc",
        "addon/link/listener_js.cc",
        "addon/link/watch.cc",
        "addon/module.cc",
        "addon/options.cc",
        "addon/receive/receive.cc",
        "addon/ring/exit_ring.cc",
        "addon/ring/fill.cc",
        "addon/ring/notify.cc",
        "addon/ring/seal.cc",
        "addon/ring/shm.cc",
        "addon/ring/state_ring.cc",
        "addon/ship/gate.cc",
        "addon/ship/ship.cc",
        "addon/store/apply_disk.cc",
        "addon/store/backlog.cc",
        "addon/store/hash_file.cc",
        "addon/store/holes.cc",
        "addon/store/segment.cc",
        "addon/testing/epochs.cc",
        "addon/testing/guest.cc",
        "addon/testing/sim_courier.cc",
        "addon/testing/testing.cc"
      ],
      "include_dirs": ["addon", "include"],
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
