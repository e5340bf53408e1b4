// SPDX-License-Identifier: Apache-2.0
#include "link/watch.h"

#include <uv.h>

namespace exitlog {

struct Watch::Handles {
  Watcher* watcher;  // null: the watch is over
  uv_loop_t* loop = nullptr;
  uv_poll_t poll{};
  uv_timer_t timer{};
  bool polls = false;
  int wanted = 0;
  int open = 0;
  napi_async_cleanup_hook_handle hook = nullptr;

  template <class Handle>
  void close(Handle& handle) {
    uv_close(reinterpret_cast<uv_handle_t*>(&handle), [](uv_handle_t* closed) {
      auto* self = static_cast<Handles*>(closed->data);
      if (--self->open > 0) return;
      napi_remove_async_cleanup_hook(self->hook);
      delete self;
    });
  }
};

Watch::Watch(Napi::Env env, Watcher& watcher) : handles_(new Handles{&watcher}) {
  if (napi_get_uv_event_loop(env, &handles_->loop) != napi_ok) {
    delete handles_;
    throw Napi::Error::New(env, "this environment has no event loop");
  }
  uv_timer_init(handles_->loop, &handles_->timer);
  handles_->timer.data = handles_;
  handles_->open = 1;
  napi_add_async_cleanup_hook(
      env,
      [](napi_async_cleanup_hook_handle, void* data) {
        auto* handles = static_cast<Handles*>(data);
        if (handles->watcher != nullptr) handles->watcher->tornDown();
      },
      handles_, &handles_->hook);
}

Watch::~Watch() {
  handles_->watcher = nullptr;
  if (handles_->polls) {
    uv_poll_stop(&handles_->poll);
    handles_->close(handles_->poll);
  }
  uv_timer_stop(&handles_->timer);
  handles_->close(handles_->timer);
}

int Watch::begin(int fd) {
  const int error = uv_poll_init_socket(handles_->loop, &handles_->poll, fd);
  if (error != 0) return -error;
  handles_->poll.data = handles_;
  handles_->polls = true;
  handles_->open++;
  return 0;
}

void Watch::want(bool reading, bool writing) {
  const int wanted = (reading ? UV_READABLE : 0) | (writing ? UV_WRITABLE : 0);
  if (wanted == handles_->wanted) return;
  handles_->wanted = wanted;
  if (wanted == 0) {
    uv_poll_stop(&handles_->poll);
    return;
  }
  uv_poll_start(&handles_->poll, wanted, [](uv_poll_t* poll, int status, int) {
    auto* handles = static_cast<Handles*>(poll->data);
    // At an error of the socket the loop stops looking at it.
    if (status != 0) handles->wanted = 0;
    if (handles->watcher != nullptr) handles->watcher->ready();
  });
}

void Watch::setAlarm(uint64_t ms) {
  uv_timer_start(
      &handles_->timer,
      [](uv_timer_t* timer) {
        auto* handles = static_cast<Handles*>(timer->data);
        if (handles->watcher != nullptr) handles->watcher->alarm();
      },
      ms, 0);
}

void Watch::clearAlarm() { uv_timer_stop(&handles_->timer); }

}  // namespace exitlog
