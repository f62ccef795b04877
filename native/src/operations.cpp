#include "operations.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "pool.hpp"
#include "spare.hpp"

namespace pellucid {
namespace {

constexpr int WIDE[] = {1 << 30, 8, 40, 48};  // rows from which on matrix registers are faster, by format
constexpr size_t ALONE = 96 << 10;  // multiplications that are done before a second thread has begun

struct Room {
  float* at = nullptr;
  size_t n = 0;
  ~Room() { std::free(at); }
  float* get(size_t numbers) {
    if (numbers > n) {
      std::free(at);
      n = (numbers + numbers / 2 + 1023) / 1024 * 1024;
      at = static_cast<float*>(std::aligned_alloc(4096, n * sizeof(float)));
      if (!at) n = 0;
      if (!at) throw std::bad_alloc();
    }
    return at;
  }
};

Pool& pool(int threads) {
  static std::mutex lock;
  static std::map<int, Pool>* pools = new std::map<int, Pool>;  // threads outlive what ends before them
  std::lock_guard<std::mutex> held(lock);
  return pools->try_emplace(threads, threads).first->second;
}

const Kernels* chosen = nullptr;

int pieces(int n, int each) { return (n + each - 1) / each; }

// Numbers of the room that m rows take as `w` multiplies them, and the rows in it.
size_t room_for(const Weight& w, size_t m) { return w.group ? m * (w.k / 4 + 2 * w.groups()) + 64 : m * w.k + 64; }
Rows placed(const Weight& w, int m, float* room) {
  const int pairs = kernels().pairs;
  Rows rows{m, w.k, w.groups()};
  if (w.group) {
    rows.scale = room;
    rows.offset = reinterpret_cast<int32_t*>(room + size_t(m) * rows.groups);
    rows.q = reinterpret_cast<int8_t*>(rows.offset + size_t(m) * rows.groups);
  } else if (w.format == BF16 && pairs && m >= pairs) {
    rows.pairs = reinterpret_cast<uint32_t*>(room);
  } else {
    rows.x = room;
  }
  return rows;
}

// both [m, 2 · n] -> out [m, n]: the second half of each row, gated by the first
void swiglu(int threads, const float* both, int m, int n, float* out) {
  const Kernels& here = kernels();
  const int some = std::max(1, 8192 / n);
  parallel(pool(m > some ? threads : 1), pieces(m, some), [&](int i) {
    for (int r = i * some; r < std::min(m, (i + 1) * some); r++)
      here.swiglu(both + ptrdiff_t(r) * 2 * n, both + ptrdiff_t(r) * 2 * n + n, n, out + ptrdiff_t(r) * n);
  });
}

// A gated product, some panels of the gates and of what they let through and some rows at a time, put
// together while they are near.
void multiply_gated(Pool& all, const Weight& w, const Rows& rows, const Target& t) {
  const Kernels& here = kernels();
  const int half = w.panels / 2, panels = std::clamp(half / (8 * all.threads()), 1, 8);
  const int each = here.most[w.format], high = pieces(96, each) * each, n_rows = pieces(rows.m, high);
  parallel(all, pieces(half, panels) * n_rows, [&](int i) {
    const int p = i / n_rows * panels, last = std::min(half, p + panels), n = (last - p) * COLUMNS;
    const int low = i % n_rows * high, end = std::min(rows.m, low + high);
    float* room = spare(size_t(end - low) * 2 * n);
    Target near{room - ptrdiff_t(low) * 2 * n - p * COLUMNS, 2 * n, t.bias};
    here.linear(w, rows, near, low, end, p, last);
    near.out += n - half * COLUMNS;
    here.linear(w, rows, near, low, end, half + p, half + last);
    for (int r = low; r < end; r++) {
      const float* both = room + ptrdiff_t(r - low) * 2 * n;
      here.swiglu(both, both + n, n, t.out + r * t.stride + p * COLUMNS);
    }
  });
}

}  // namespace

float* spare(size_t numbers) {
  thread_local Room room;
  return room.get(numbers);
}

float* workspace(size_t numbers) {
  thread_local Room room;
  return room.get(numbers);
}

void ahead(int threads, const void* at, size_t n) { pool(threads).ahead(at, n); }

const char* const* names() {
  static const char* found[6] = {};
  if (!found[0]) {
    int n = 0;
    for (const Kernels* each : {avx512_bf16(), avx512(), avx2(), neon(), portable()})
      if (each) found[n++] = each->name;
  }
  return found;
}

bool choose(const char* name) {
  for (const Kernels* each : {avx512_bf16(), avx512(), avx2(), neon(), portable()})
    if (each && !std::strcmp(each->name, name)) {
      chosen = each;
      return true;
    }
  return false;
}

const Kernels& kernels() {
  if (!chosen) choose(names()[0]);
  return *chosen;
}

void multiply(int threads, const Weight& w, const float* x, ptrdiff_t stride, int m, const Norm& norm, const Target& t) {
  const Kernels& here = kernels();
  const bool wide = m >= WIDE[w.format] && here.wide && here.wide();
  if (t.gated && (wide || w.n_out % (2 * COLUMNS))) {
    std::vector<float> both(size_t(m) * w.n_out);
    multiply(threads, w, x, stride, m, norm, {both.data(), w.n_out, t.bias});
    return swiglu(threads, both.data(), m, w.n_out / 2, t.out);
  }
  if (wide) {
    const int rows = pieces(m, 32) * 32;
    uint16_t* packed = reinterpret_cast<uint16_t*>(workspace(size_t(rows) * w.k / 2 + 64));
    Pool& all = pool(threads);
    parallel(all, pieces(m, 16), [&](int i) {
      here.prepare_wide(w, x, stride, norm.gain, norm.bias, norm.epsilon, i * 16, std::min(m, i * 16 + 16), packed);
    });
    const int panels = w.panels >= 8 * threads ? 4 : 2;
    return parallel(all, pieces(w.panels, panels), [&](int i) {
      uint16_t* room = reinterpret_cast<uint16_t*>(spare(size_t(panels) * w.k * COLUMNS / 2));
      here.linear_wide(w, packed, m, t, i * panels, std::min(w.panels, (i + 1) * panels), room);
    });
  }
  const int each = here.most[w.format];
  const Rows rows = placed(w, m, workspace(room_for(w, m)));
  const auto prepare = [&](int low, int high) {
    here.prepare(w, x, stride, norm.gain, norm.bias, norm.epsilon, low, high, rows);
  };
  const size_t work = size_t(m) * w.k * w.n_out;
  if (work < ALONE) threads = 1;
  Pool& all = pool(threads);
  if (m < 2 * each || threads == 1) {
    prepare(0, m);
  } else {
    const int some = each * (pieces(m, each) >= 8 * threads ? 2 : 1);
    parallel(all, pieces(m, some), [&](int i) { prepare(i * some, std::min(m, (i + 1) * some)); });
  }
  if (t.gated) return multiply_gated(all, w, rows, t);
  if (threads == 1) return here.linear(w, rows, t, 0, m, 0, w.panels);
  // Chunks of panels, eight or so for each thread; of rows too where there are more threads than that.
  const int panels = std::max(1, w.panels / (8 * threads));
  const int n = pieces(w.panels, panels);
  const int split = n >= 4 * threads ? 1 : std::min(pieces(m, each), pieces(4 * threads, n));
  const int high = pieces(pieces(m, each), split) * each, n_rows = pieces(m, high);
  parallel(all, n * n_rows, [&](int i) {
    const int p = i / n_rows * panels, r = i % n_rows * high;
    here.linear(w, rows, t, r, std::min(m, r + high), p, std::min(w.panels, p + panels));
  });
}

void multiply_heads(int threads, const Weight& w, const float* x, int m, int n_head, float* out) {
  const Kernels& here = kernels();
  const int n = w.n_in / n_head;
  const size_t each = room_for(w.rows(0, n), m);
  float* room = workspace(each * n_head);
  const auto rows = [&](int head) { return placed(w.rows(head * n, n), m, room + head * each); };
  Pool& all = pool(size_t(m) * w.k * w.n_out < ALONE ? 1 : threads);
  parallel(m < 8 ? pool(1) : all, n_head, [&](int h) {
    here.prepare(w.rows(h * n, n), x + h * n, ptrdiff_t(n_head) * n, nullptr, nullptr, 0, 0, m, rows(h));
  });
  const int panels = std::max(1, w.panels / (8 * all.threads()));
  parallel(all, pieces(w.panels, panels), [&](int i) {
    for (int p = i * panels; p < std::min(w.panels, (i + 1) * panels); p++)  // as they lie
      for (int h = 0; h < n_head; h++) {
        const Target t{out + ptrdiff_t(h) * w.n_out, ptrdiff_t(n_head) * w.n_out};
        here.linear(w.rows(h * n, n), rows(h), t, 0, m, p, p + 1);
      }
  });
}

void normalise(int threads, const float* x, int m, int n, const Norm& norm, float* out) {
  const Kernels& here = kernels();
  const int some = std::max(1, int(ALONE / 8 / n));
  parallel(pool(m > some ? threads : 1), pieces(m, some), [&](int i) {
    for (int r = i * some; r < std::min(m, (i + 1) * some); r++)
      here.layer_norm(x + ptrdiff_t(r) * n, norm.gain, norm.bias, norm.epsilon, n, out + ptrdiff_t(r) * n);
  });
}

void gelu(int threads, const float* x, size_t n, float* out) {
  const Kernels& here = kernels();
  const size_t some = 16384;
  parallel(pool(n > some ? threads : 1), int((n + some - 1) / some), [&](int i) {
    here.gelu(x + i * some, std::min(some, n - i * some), out + i * some);
  });
}

void softmax(int threads, const float* x, int m, int n, float* out) {
  const Kernels& here = kernels();
  const int some = std::max(1, 16384 / std::max(1, n));
  parallel(pool(m > some ? threads : 1), pieces(m, some), [&](int i) {
    for (int r = i * some; r < std::min(m, (i + 1) * some); r++) here.softmax(x + ptrdiff_t(r) * n, n, out + ptrdiff_t(r) * n);
  });
}

void attend(int threads, const Attention& a, int n_text) {
  const Kernels& here = kernels();
  // A piece of work: one head of one text, and up to a block of its queries. Where a text has more, or
  // heads share keys, these are in their places before the first block begins.
  int blocks = 1;
  size_t work = 0;
  for (int i = 0; i < n_text; i++) {
    const Text& t = a.texts[i];
    blocks = std::max(blocks, pieces(t.n_query, here.block));
    work += size_t(t.n_query) * t.n_key * a.n_head * a.d_k;
  }
  Pool& all = pool(work < ALONE / 12 ? 1 : threads);  // keys are waited for longer than they are multiplied
  const int n_keys = a.n_head / a.shared;  // heads of keys
  const bool before = blocks > 1 || a.shared > 1;
  if (before && n_text * n_keys < 16 && blocks == 1)
    for (int i = 0; i < n_text * n_keys; i++) here.append(a, a.texts[i / n_keys], i % n_keys);
  else if (before)
    parallel(all, n_text * n_keys, [&](int i) { here.append(a, a.texts[i / n_keys], i % n_keys); });
  parallel(all, n_text * a.n_head * blocks, [&](int i) {
    // The last blocks, which see most, come first.
    const int block = blocks - 1 - i / (n_text * a.n_head), head = i % a.n_head;
    const Text& t = a.texts[i / a.n_head % n_text];
    // The next keys, if this thread comes to them.
    const int next = i + 1;
    Coming coming;
    if (blocks == 1 && next % a.shared == 0 && next < share_end(n_text * a.n_head, i, all.threads()))
      coming = {a.texts + next / a.n_head, next % a.n_head / a.shared};
    if (!before) here.append(a, t, head);
    const int low = block * here.block, high = std::min(t.n_query, low + here.block);
    if (low < high) here.attend(a, t, head, low, high, workspace(here.attend_scratch(a)), coming);
  });
}

void rows(int threads, const Product& p) {
  const Kernels& here = kernels();
  const int all = p.batch * p.head * p.m;
  parallel(pool(size_t(all) * p.n * p.n_out < ALONE ? 1 : threads), all, [&](int i) {
    const int row = i % p.m, head = i / p.m % p.head, batch = i / p.m / p.head;
    const ptrdiff_t at = batch * p.y_batch + head * p.y_head;
    const void* y = p.half ? static_cast<const void*>(static_cast<const uint16_t*>(p.y) + at)
                           : static_cast<const void*>(static_cast<const float*>(p.y) + at);
    here.row(p.half, p.x + batch * p.x_batch + head * p.x_head + row * p.x_row, y, p.y_row, p.y_column, p.n, p.n_out,
             p.out + ptrdiff_t(i) * p.n_out);
  });
}

void columns(int threads, const Weight& w, const int64_t* ids, int n, float* out) {
  const Kernels& here = kernels();
  const int some = 16;
  parallel(pool(n > some ? threads : 1), pieces(n, some), [&](int i) {
    for (int r = i * some; r < std::min(n, (i + 1) * some); r++)
      here.column(w, ids ? int(ids[r]) : r, out + ptrdiff_t(r) * w.n_in);
  });
}

void quantise(int threads, const Weight& w, const float* from, ptrdiff_t row, ptrdiff_t column, uint8_t* data, uint16_t* scales) {
  const Kernels& here = kernels();
  parallel(pool(size_t(w.k) * w.n_out < ALONE ? 1 : threads), w.panels,
           [&](int i) { here.quantise(w, from, row, column, i, i + 1, data, scales); });
}

}  // namespace pellucid
