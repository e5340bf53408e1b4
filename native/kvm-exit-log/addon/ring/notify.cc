// SPDX-License-Identifier: Apache-2.0
#include "ring/notify.h"

#include <unistd.h>

namespace exitlog {

namespace {
// Rounds before other work of the event loop gets its turn.
constexpr int kRoundsMax = 16;
// A running VM makes progress all the time: calling back for each step would be
// polling. QEMU, too, tells progress alone about this often.
constexpr uint64_t kProgressMs = 1;
}  // namespace

Notify* Notify::start(Napi::Env env, const Shm& shm, Napi::Function callback, Napi::Object owner,
                      Notify** slot) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) {
    throw Napi::Error::New(env, "this environment has no event loop");
  }
  auto* self = new Notify(env, shm);
  if (uv_poll_init(loop, &self->poll_, shm.notifyFd()) != 0) {
    delete self;
    throw Napi::Error::New(env, "the event loop cannot poll the notify eventfd");
  }
  uv_timer_init(loop, &self->timer_);
  self->poll_.data = self;
  self->timer_.data = self;
  self->setCallback(callback, owner);
  self->slot_ = slot;
  napi_add_async_cleanup_hook(env, onTeardown, self, &self->hook_);
  uv_poll_start(&self->poll_, UV_READABLE, onReady);
  return self;
}

void Notify::stop() {
  if (shm_ == nullptr) return;
  shm_ = nullptr;
  if (slot_ != nullptr) *slot_ = nullptr;
  slot_ = nullptr;
  uv_poll_stop(&poll_);
  callback_.reset();
  uv_timer_stop(&timer_);
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), onClosed);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer_), onClosed);
}

void Notify::onClosed(uv_handle_t* handle) {
  auto* self = static_cast<Notify*>(handle->data);
  if (--self->open_ > 0) return;
  napi_remove_async_cleanup_hook(self->hook_);
  delete self;
}

void Notify::onTeardown(napi_async_cleanup_hook_handle, void* data) {
  static_cast<Notify*>(data)->stop();
}

Notify::Seen Notify::look() const {
  const struct exitlog_shm* shm = shm_->header();
  return Seen{loadAcquire(shm->out.head), loadAcquire(shm->in.tail),
              loadAcquire(shm->horizon_seq), loadAcquire(shm->state)};
}

void Notify::call() {
  Napi::HandleScope scope(env_);
  callback_.call({});
}

void Notify::onReady(uv_poll_t* poll, int, int) {
  auto* self = static_cast<Notify*>(poll->data);
  if (self->shm_ == nullptr) return;
  uint64_t count;
  if (read(self->shm_->notifyFd(), &count, sizeof count) < 0) {
    // Somebody else drained it; looking once more costs little.
  }
  self->run();
}

void Notify::onTimer(uv_timer_t* timer) {
  auto* self = static_cast<Notify*>(timer->data);
  if (self->shm_ != nullptr) self->run();
}

// daemon_sleeping is 0 while the daemon looks by itself.  It is set to 1 again
// before the last look, and QEMU looks at it after it has published, each with a
// full fence in between: one of the two must see the other, so no wake-up is lost.
void Notify::run() {
  uv_timer_stop(&timer_);
  for (int round = 0; round < kRoundsMax; round++) {
    storeRelaxed(shm_->header()->daemon_sleeping, 0u);
    fullFence();
    const Seen before = look();
    call();
    if (shm_ == nullptr) return;
    __atomic_store_n(&shm_->header()->daemon_sleeping, 1u, __ATOMIC_SEQ_CST);
    fullFence();
    const Seen after = look();
    if (after.isUrgentAfter(before)) continue;
    if (after.isProgressAfter(before)) uv_timer_start(&timer_, onTimer, kProgressMs, 0);
    return;
  }
  const uint64_t one = 1;
  if (write(shm_->notifyFd(), &one, sizeof one) < 0) {
    // EAGAIN: it is readable anyway.
  }
}

}  // namespace exitlog
