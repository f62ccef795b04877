// One pool of threads for everything. Work is handed out in chunks, a share to each thread, so that
// a thread whose core is taken away leaves its share to the others; who calls works too.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace pellucid {

using Chunk = void (*)(void* context, int chunk);

class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  // chunk(context, i) for each i in 0…n-1, each once, on any thread. Where the pool
  // is at work for another caller, this one does it all itself.
  void run(Chunk chunk, void* context, int n);
  int threads() const;
  // What the next work reads first: threads that wait meanwhile fetch it from memory. It may be gone by then.
  void ahead(const void* at, size_t n);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Of n chunks: where a thread's share begins, which is where the one before ends; and where that one ends
// that chunk i is of.
inline int share(int n, int thread, int threads) { return int(int64_t(n) * thread / threads); }
inline int share_end(int n, int i, int threads) { return share(n, int((int64_t(i + 1) * threads - 1) / n) + 1, threads); }

template <class F>
void parallel(Pool& pool, int n, F&& f) {
  pool.run([](void* c, int i) { (*static_cast<F*>(c))(i); }, &f, n);
}

}  // namespace pellucid
