// SPDX-License-Identifier: Apache-2.0
// The files of a journal beside the images. All throw std::system_error with the file's name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace exitlog {

void writeAt(int fd, const void* from, uint64_t bytes, uint64_t at, const std::string& path);
// Whole and synced.
void writeFile(const std::string& path, const std::string& text);
// False: there is none.
bool readFile(const std::string& path, std::vector<uint8_t>& into);
// So that what was made or removed beside them stays so.
void syncFolders(const std::vector<std::string>& images);
// The marks with this text and the journal that is open as `fd`: a later one's stay.
void removeJournal(const std::vector<std::string>& images, int fd, const std::string& mark);

}  // namespace exitlog
