#include "pool.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#define PELLUCID_PROCESS int(getpid())
#else
#define PELLUCID_PROCESS 0
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define PELLUCID_PAUSE() _mm_pause()
#elif defined(__aarch64__)
#define PELLUCID_PAUSE() asm volatile("yield")
#else
#define PELLUCID_PAUSE() std::this_thread::yield()
#endif
#if defined(__GNUC__) || defined(__clang__)
#define PELLUCID_FETCH(p) __builtin_prefetch(p, 0, 2)
#elif defined(_M_X64)
#define PELLUCID_FETCH(p) _mm_prefetch(p, _MM_HINT_T1)
#else
#define PELLUCID_FETCH(p)
#endif

namespace pellucid {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto SPIN = std::chrono::microseconds(200);  // then a waiting thread sleeps

constexpr size_t AHEAD = 1 << 20;  // bytes that waiting threads fetch
constexpr size_t STEP = 1024;      // of these at a time, so that work does not wait for it
constexpr int KNOWN = 1024;        // memory of which is known what is read after it, a power of two

// Spins until done() or until the time is over -> done().
template <class F, class G>
bool spin(F&& done, G&& meanwhile) {
  const auto end = Clock::now() + SPIN;
  do {
    for (int i = 0; i < 16; i++) {
      if (done()) return true;
      meanwhile();
    }
  } while (Clock::now() < end);
  return done();
}

}  // namespace

struct Pool::State {
  int threads;
  int process = PELLUCID_PROCESS;  // after a fork the threads are gone
  std::vector<std::thread> workers;
  std::mutex caller;  // of the one who runs
  // A region is open while `open` is its number. A worker joins, looks whether it is still open,
  // and leaves; the caller closes it and waits for those who joined, not for those who did not.
  alignas(64) std::atomic<uint64_t> open{0};
  alignas(64) std::atomic<int> joined{0};
  alignas(64) std::atomic<int> cursor{0};
  alignas(64) std::atomic<int> sleeping{0};
  std::atomic<bool> ending{false};
  uint64_t region = 0;
  Chunk chunk = nullptr;
  void* context = nullptr;
  int n = 0;
  std::mutex bed;
  std::condition_variable bell;
  // What was read after some memory the last time, by its address; and what of it is to be fetched.
  struct Next {
    uintptr_t after = 0, begin = 0;
    size_t n = 0;
  };
  Next next[KNOWN];
  uintptr_t last = 0;
  alignas(64) std::atomic<uintptr_t> ahead{0}, end{0};

  static size_t place(uintptr_t address) { return (address >> 6 ^ address >> 16) % KNOWN; }

  // A prefetch of an address that is gone does nothing.
  void fetch() {
    if (ahead.load(std::memory_order_relaxed) >= end.load(std::memory_order_relaxed)) {
      PELLUCID_PAUSE();
      return;
    }
    const char* from = reinterpret_cast<const char*>(ahead.fetch_add(STEP, std::memory_order_relaxed));
    for (size_t i = 0; i < STEP; i += 64) PELLUCID_FETCH(from + i);
  }

  explicit State(int n_threads) : threads(n_threads) {}

  void start() {
    for (int i = 1; i < threads; i++) workers.emplace_back([this] { serve(); });
  }

  void work() {
    for (int i; (i = cursor.fetch_add(1, std::memory_order_relaxed)) < n;) chunk(context, i);
  }

  void serve() {
    uint64_t seen = 0;
    const auto news = [&] {
      const uint64_t now = open.load();
      return ending.load() || (now && now != seen);
    };
    for (;;) {
      if (!spin(news, [&] { fetch(); })) {
        std::unique_lock<std::mutex> lock(bed);
        sleeping.fetch_add(1);
        bell.wait(lock, news);
        sleeping.fetch_sub(1);
      }
      if (ending.load()) return;
      joined.fetch_add(1);
      const uint64_t now = open.load();
      if (now && now != seen) {
        seen = now;
        work();
      }
      joined.fetch_sub(1);
    }
  }
};

Pool::Pool(int threads) : state_(new State(threads < 1 ? 1 : threads)) {}

void Pool::reads(const void* from, size_t bytes) {
  State& s = *state_;
  std::unique_lock<std::mutex> mine(s.caller, std::try_to_lock);
  if (!mine.owns_lock()) return;
  const auto here = reinterpret_cast<uintptr_t>(from);
  s.next[State::place(s.last)] = {s.last, here, bytes};
  s.last = here;
  const State::Next& coming = s.next[State::place(here)];
  s.end.store(0);
  if (coming.after != here) return;
  s.ahead.store(coming.begin);
  s.end.store(coming.begin + (coming.n < AHEAD ? coming.n : AHEAD));
}

int Pool::threads() const { return state_->threads; }

void Pool::run(Chunk chunk, void* context, int n) {
  if (state_->process != PELLUCID_PROCESS) {
    auto* gone = state_.release();  // its threads and locks are the parent's: left as they are
    state_.reset(new State(gone->threads));
  }
  State& s = *state_;
  std::unique_lock<std::mutex> mine(s.caller, std::try_to_lock);
  if (n < 2 || s.threads < 2 || !mine.owns_lock()) {
    for (int i = 0; i < n; i++) chunk(context, i);
    return;
  }
  if (s.workers.empty()) s.start();
  s.chunk = chunk;
  s.context = context;
  s.n = n;
  s.cursor.store(0);
  s.open.store(++s.region);
  if (s.sleeping.load()) {
    { std::lock_guard<std::mutex> lock(s.bed); }
    s.bell.notify_all();
  }
  s.work();
  s.open.store(0);
  const auto alone = [&] { return s.joined.load() == 0; };
  while (!spin(alone, [] { PELLUCID_PAUSE(); })) std::this_thread::yield();
}

Pool::~Pool() {
  State& s = *state_;
  if (s.process != PELLUCID_PROCESS) {
    state_.release();
    return;
  }
  {
    std::lock_guard<std::mutex> lock(s.bed);
    s.ending.store(true);
  }
  s.bell.notify_all();
  for (auto& worker : s.workers) worker.join();
}

}  // namespace pellucid
