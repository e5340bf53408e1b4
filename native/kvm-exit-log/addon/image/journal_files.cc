// SPDX-License-Identifier: Apache-2.0
#include "image/journal_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "image/journal_format.h"

namespace exitlog {

namespace {

[[noreturn]] void fail(int error, const std::string& path) {
  throw std::system_error(error, std::generic_category(), path);
}

class Opened {
 public:
  explicit Opened(int fd) : fd_(fd) {}
  ~Opened() {
    if (fd_ >= 0) close(fd_);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

std::string folderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

void writeAt(int fd, const void* from, uint64_t bytes, uint64_t at, const std::string& path) {
  const auto* rest = static_cast<const uint8_t*>(from);
  while (bytes > 0) {
    const ssize_t n = pwrite(fd, rest, bytes, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail(n == 0 ? EIO : errno, path);
    rest += n;
    at += static_cast<uint64_t>(n);
    bytes -= static_cast<uint64_t>(n);
  }
}

void writeFile(const std::string& path, const std::string& text) {
  const Opened file(
      open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.fd() < 0) fail(errno, path);
  writeAt(file.fd(), text.data(), text.size(), 0, path);
  if (fsync(file.fd()) < 0) fail(errno, path);
}

bool readFile(const std::string& path, std::vector<uint8_t>& into) {
  const Opened file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.fd() < 0 && errno == ENOENT) return false;
  struct stat stats;
  if (file.fd() < 0 || fstat(file.fd(), &stats) < 0) fail(errno, path);
  into.resize(static_cast<size_t>(stats.st_size));
  for (size_t at = 0; at < into.size();) {
    const ssize_t n = pread(file.fd(), into.data() + at, into.size() - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(errno, path);
    if (n == 0) into.resize(at);
    at += static_cast<size_t>(n);
  }
  return true;
}

void syncFolders(const std::vector<std::string>& images) {
  std::string last;
  for (const std::string& image : images) {
    const std::string path = folderOf(image);
    if (path == last) continue;
    const Opened folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.fd() < 0 || fsync(folder.fd()) < 0) fail(errno, path);
    last = path;
  }
}

void removeJournal(const std::vector<std::string>& images, int fd, const std::string& mark) {
  for (size_t i = 1; i < images.size(); i++) {
    const std::string path = journalPath(images[i]);
    std::vector<uint8_t> text;
    if (!readFile(path, text) || std::string(text.begin(), text.end()) != mark) continue;
    if (unlink(path.c_str()) < 0 && errno != ENOENT) fail(errno, path);
  }
  const std::string path = journalPath(images[0]);
  struct stat ours;
  struct stat there;
  if (fstat(fd, &ours) < 0) fail(errno, path);
  if (stat(path.c_str(), &there) < 0 || ours.st_ino != there.st_ino ||
      ours.st_dev != there.st_dev) {
    return;
  }
  if (unlink(path.c_str()) < 0 && errno != ENOENT) fail(errno, path);
}

}  // namespace exitlog
