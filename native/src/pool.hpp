// One pool of threads for everything. Work is handed out in chunks from one atomic cursor, so that
// a thread whose core is taken away leaves its share to the others; who calls works too.
#pragma once
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
  // The next run reads this memory. While threads wait for work, they fetch the beginning of what
  // was read after it the last time.
  void reads(const void* from, size_t bytes);
  int threads() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

template <class F>
void parallel(Pool& pool, int n, F&& f) {
  pool.run([](void* c, int i) { (*static_cast<F*>(c))(i); }, &f, n);
}

}  // namespace pellucid
