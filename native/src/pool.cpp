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

#if defined(__GNUC__)
#define PELLUCID_FETCH(at) __builtin_prefetch(at, 0, 2)  // of an address that is none it does nothing
#else
#define PELLUCID_FETCH(at) (void)(at)
#endif

namespace pellucid {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto SPIN = std::chrono::microseconds(80);  // then a waiting thread sleeps
constexpr int FETCHED = 512;                          // bytes at a time

// Spins until done() or until the time is over -> done(). Meanwhile it does what there is of useful(), which
// says whether there was anything; the time is counted from the last of that.
template <class F, class G>
bool spin(F&& done, G&& useful) {
  auto end = Clock::now() + SPIN;
  do {
    bool worked = false;
    for (int i = 0; i < 16; i++) {
      if (done()) return true;
      if (useful()) worked = true;
      else PELLUCID_PAUSE();
    }
    if (worked) end = Clock::now() + SPIN;
  } while (Clock::now() < end);
  return done();
}

// Chunks next…end - 1 are still to be done.
struct alignas(64) Share {
  std::atomic<int> next{0};
  int end = 0;
};

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
  std::vector<Share> shares;  // one for each thread
  alignas(64) std::atomic<int> sleeping{0};
  std::atomic<bool> ending{false};
  // What will be read next: a waiting thread fetches it into its caches.
  alignas(64) std::atomic<uintptr_t> next{0};
  std::atomic<uintptr_t> next_end{0};
  uint64_t region = 0;
  Chunk chunk = nullptr;
  void* context = nullptr;
  int n = 0;
  std::mutex bed;
  std::condition_variable bell;

  explicit State(int n_threads) : threads(n_threads), shares(n_threads) {}

  void start() {
    for (int i = 1; i < threads; i++) workers.emplace_back([this, i] { serve(i); });
  }

  // First its own share, from its beginning on, so that memory is read in one stretch; then what others have left.
  void work(int self) {
    for (int of = self, i; of < self + threads; of++) {
      Share& share = shares[of % threads];
      while ((i = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end) chunk(context, i);
    }
  }

  bool fetch() {
    if (next.load(std::memory_order_relaxed) >= next_end.load(std::memory_order_relaxed)) return false;
    const char* at = reinterpret_cast<const char*>(next.fetch_add(FETCHED, std::memory_order_relaxed));
    for (int i = 0; i < FETCHED; i += 64) PELLUCID_FETCH(at + i);
    return true;
  }

  void serve(int self) {
    uint64_t seen = 0;
    const auto news = [&] {
      const uint64_t now = open.load();
      return ending.load() || (now && now != seen);
    };
    for (;;) {
      if (!spin(news, [this] { return fetch(); })) {
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
        work(self);
      }
      joined.fetch_sub(1);
    }
  }
};

Pool::Pool(int threads) : state_(new State(threads < 1 ? 1 : threads)) {}

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
  for (int i = 0; i < s.threads; i++) {
    s.shares[i].next.store(share(n, i, s.threads));
    s.shares[i].end = share(n, i + 1, s.threads);
  }
  s.open.store(++s.region);
  if (s.sleeping.load()) {
    { std::lock_guard<std::mutex> lock(s.bed); }
    s.bell.notify_all();
  }
  s.work(0);
  s.open.store(0);
  const auto alone = [&] { return s.joined.load() == 0; };
  while (!spin(alone, [&s] { return s.fetch(); })) std::this_thread::yield();
}

void Pool::ahead(const void* at, size_t n) {
  State& s = *state_;
  s.next_end.store(0, std::memory_order_relaxed);
  s.next.store(reinterpret_cast<uintptr_t>(at), std::memory_order_relaxed);
  s.next_end.store(reinterpret_cast<uintptr_t>(at) + n, std::memory_order_relaxed);
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
