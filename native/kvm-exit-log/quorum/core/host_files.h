// SPDX-License-Identifier: Apache-2.0
// Files of a folder of this host, which one at a time may have with a lock.
#pragma once

#include "core/files.h"

namespace quorum {

class HostFiles final : public Files {
 public:
  explicit HostFiles(std::string dir, bool isLocked = false);
  ~HostFiles() override;
  HostFiles(const HostFiles&) = delete;
  HostFiles& operator=(const HostFiles&) = delete;
  std::vector<std::string> list() override;
  std::shared_ptr<File> open(const std::string& name) override;
  std::shared_ptr<File> create(const std::string& name) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove(const std::string& name) override;
  void syncNames() override;

 private:
  std::string pathOf(const std::string& name) const { return dir_ + "/" + name; }
  const std::string dir_;
  int lock_ = -1;
};

}  // namespace quorum
