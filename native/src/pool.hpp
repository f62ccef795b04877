// One pool of threads for everything. Work is handed out in chunks, a share to each thread, so that
// a thread whose core is taken away leaves its share to the others; who calls works too.
#pragma once
#include <cstddef>
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

template <class F>
void parallel(Pool& pool, int n, F&& f) {
  pool.run([](void* c, int i) { (*static_cast<F*>(c))(i); }, &f, n);
}

}  // namespace pellucid
