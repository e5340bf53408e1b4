// SPDX-License-Identifier: Apache-2.0
// Files on a disk that may hang. What waits for the disk is done by a thread of its own, and who
// asked waits for it as long as the limit and no longer: then it gets a DiskError, ETIMEDOUT, that
// names what the disk has not done, and so does all that comes after, at once.
//
// What hangs may still happen, whenever the disk goes on. The files below are kept until then, and
// with them the folder's lock (HostFiles): nobody opens the folder before.
#pragma once

#include <memory>

#include "core/files.h"

namespace quorum {

class TimedFiles final : public Files {
 public:
  TimedFiles(std::shared_ptr<Files> inner, unsigned limitMs);
  std::vector<std::string> list() override;
  std::shared_ptr<File> open(const std::string& name) override;
  std::shared_ptr<File> create(const std::string& name) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove(const std::string& name) override;
  void syncNames() override;

 private:
  class Watch;
  class Timed;
  const std::shared_ptr<Files> inner_;
  const std::shared_ptr<Watch> watch_;
};

}  // namespace quorum
