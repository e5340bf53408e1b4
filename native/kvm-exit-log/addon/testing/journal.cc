// SPDX-License-Identifier: Apache-2.0
#include "testing/journal.h"

#include <memory>
#include <string>
#include <vector>

#include "bits/args.h"
#include "image/disk_journal.h"

namespace exitlog {

namespace {

constexpr uint64_t kNumberMax = uint64_t{1} << 53;

class Journal final : public Napi::ObjectWrap<Journal> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Journal", {InstanceMethod<&Journal::prepare>("prepare"),
                                        InstanceMethod<&Journal::begin>("begin"),
                                        InstanceMethod<&Journal::write>("write"),
                                        InstanceMethod<&Journal::end>("end"),
                                        InstanceMethod<&Journal::leave>("leave"),
                                        InstanceMethod<&Journal::close>("close")});
  }

  // Journal(disks, durable)
  explicit Journal(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Journal>(info) {
    const std::vector<std::string> paths = argStrings(info, info[0], "disks");
    const bool durable = info[1].As<Napi::Boolean>().Value();
    guard(info.Env(), [&] { journal_ = std::make_unique<DiskJournal>(paths, durable); });
  }

 private:
  // [disk, offset, bytes, data | null]; the data stay JavaScript's
  static DiskWrite writeOf(const Napi::CallbackInfo& info, const Napi::Value& value) {
    const auto given = value.As<Napi::Array>();
    const Napi::Value data = given[3u];
    const Napi::Value disk = given[0u];
    const Napi::Value offset = given[1u];
    const Napi::Value bytes = given[2u];
    return DiskWrite{argInteger(info, disk, "disk", 0, kJournalDisksMax),
                     argInteger(info, offset, "offset", 0, kNumberMax),
                     data.IsNull() ? nullptr : argBytes(info, data, "data").data,
                     argInteger(info, bytes, "bytes", 1, kNumberMax)};
  }

  // prepare(epoch, writes)
  void prepare(const Napi::CallbackInfo& info) {
    const uint64_t epoch = argInteger(info, info[0], "epoch", 0, kNumberMax);
    const auto given = info[1].As<Napi::Array>();
    std::vector<DiskWrite> writes;
    for (uint32_t i = 0; i < given.Length(); i++) {
      const Napi::Value one = given[i];
      writes.push_back(writeOf(info, one));
    }
    guard(info.Env(), [&] { journal_->prepare(epoch, writes); });
  }

  // begin(epoch)
  void begin(const Napi::CallbackInfo& info) {
    const uint64_t epoch = argInteger(info, info[0], "epoch", 0, kNumberMax);
    guard(info.Env(), [&] { journal_->begin(epoch); });
  }

  // write(one)
  void write(const Napi::CallbackInfo& info) {
    const DiskWrite one = writeOf(info, info[0]);
    guard(info.Env(), [&] { journal_->write(one.disk, one.offset, one.data, one.bytes); });
  }

  // end(epoch)
  void end(const Napi::CallbackInfo& info) {
    const uint64_t epoch = argInteger(info, info[0], "epoch", 0, kNumberMax);
    guard(info.Env(), [&] { journal_->end(epoch); });
  }

  // leave()
  void leave(const Napi::CallbackInfo& info) {
    guard(info.Env(), [&] { journal_->leave(); });
  }

  // close(): as at the end of its process
  void close(const Napi::CallbackInfo&) { journal_.reset(); }

  std::unique_ptr<DiskJournal> journal_;
};

}  // namespace

Napi::Function defineJournal(Napi::Env env) { return Journal::define(env); }

}  // namespace exitlog
