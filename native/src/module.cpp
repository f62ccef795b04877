// What Python sees: arrays come in through the buffer protocol, results are written into arrays that
// the caller made. Only the limited API is used, so that one build serves every Python from 3.11 on.
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <deque>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "operations.hpp"

using namespace pellucid;

namespace {

struct Failed {};  // a Python error is set

// An argument's numbers, held for one call.
class View {
 public:
  View() = default;
  View(PyObject* object, int n_dim, size_t itemsize, bool contiguous = true, bool writable = false) {
    const int flags = (contiguous ? PyBUF_C_CONTIGUOUS : PyBUF_STRIDES) | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, &b_, flags)) throw Failed();
    const char* wrong = nullptr;
    if ((itemsize && size_t(b_.itemsize) != itemsize) || (n_dim >= 0 && b_.ndim != n_dim))
      wrong = "an array of another shape or kind of number was expected";
    for (int i = 0; !wrong && i < b_.ndim; i++)
      if (b_.strides && b_.strides[i] % b_.itemsize) wrong = "an array with odd strides";
    if (wrong) PyBuffer_Release(&b_);
    if (wrong) throw std::invalid_argument(wrong);
    held_ = true;
  }
  View(View&& other) noexcept : b_(other.b_), held_(other.held_) { other.held_ = false; }
  View& operator=(View&& other) noexcept {
    std::swap(b_, other.b_);
    std::swap(held_, other.held_);
    return *this;
  }
  View(const View&) = delete;
  ~View() {
    if (held_) PyBuffer_Release(&b_);
  }
  template <class T = float>
  T* at() const { return static_cast<T*>(b_.buf); }
  ptrdiff_t shape(int i) const { return b_.shape[i]; }
  ptrdiff_t stride(int i) const { return b_.strides[i] / b_.itemsize; }
  ptrdiff_t size() const { return b_.len / b_.itemsize; }
  int dimensions() const { return b_.ndim; }
  ptrdiff_t itemsize() const { return b_.itemsize; }
  void expect(ptrdiff_t n, const char* what) const {
    if (size() != n) throw std::invalid_argument(std::string(what) + " has " + std::to_string(size()) + " numbers, not " + std::to_string(n));
  }

 private:
  Py_buffer b_{};
  bool held_ = false;
};

// Held while much is computed; a short operation does not pay for letting others run.
class Released {
 public:
  explicit Released(bool much) : state_(much ? PyEval_SaveThread() : nullptr) {}
  ~Released() {
    if (state_) PyEval_RestoreThread(state_);
  }

 private:
  PyThreadState* state_;
};

constexpr size_t MUCH = 1 << 22;  // multiplications

int whole(PyObject* object) {
  const long value = PyLong_AsLong(object);
  if (value == -1 && PyErr_Occurred()) throw Failed();
  return int(value);
}

float number(PyObject* object) {
  const double value = PyFloat_AsDouble(object);
  if (value == -1 && PyErr_Occurred()) throw Failed();
  return float(value);
}

void expect(Py_ssize_t n, Py_ssize_t count) {
  if (n != count) throw std::invalid_argument(std::to_string(count) + " arguments were expected");
}

template <class F>
PyObject* guarded(F&& f) {
  try {
    return f();
  } catch (const Failed&) {
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  }
  return nullptr;
}

PyObject* none() {
  Py_INCREF(Py_None);
  return Py_None;
}

// --- weights ---------------------------------------------------------------------------------------

// What was read after a weight the last time.
using Next = std::atomic<const uint8_t*>;

struct Held {
  Weight w;
  View data, scales;
  std::shared_ptr<Next> next = std::make_shared<Next>(nullptr);
};

constexpr int STEP = 8;            // rows, at most, of a pass whose time is that of reading weights
constexpr size_t READ_AHEAD = 8 << 20;  // bytes

// A weight was read for some rows: what was read after it the last time is asked for, by threads that have nothing
// else to do until then. So memory does not rest while Python chooses a token.
void was_read(int threads, const Held& held, ptrdiff_t m) {
  if (m > STEP) return;
  thread_local std::shared_ptr<Next> last;
  if (last) last->store(held.w.data, std::memory_order_relaxed);
  last = held.next;
  if (const uint8_t* next = last->load(std::memory_order_relaxed)) ahead(threads, next, READ_AHEAD);
}

const char* const CAPSULE = "pellucid.Weight";

Held& held(PyObject* object) {
  auto* found = static_cast<Held*>(PyCapsule_GetPointer(object, CAPSULE));
  if (!found) throw Failed();
  return *found;
}

Weight laid_out(int format, int n_in, int n_out) {
  if (format < F32 || format > INT4 || n_in < 1 || n_out < 1) throw std::invalid_argument("no such weight");
  Weight w;
  w.format = format;
  w.n_in = n_in;
  w.n_out = n_out;
  w.group = format == INT8 ? 64 : format == INT4 ? 32 : 0;
  w.k = w.panel_k = (n_in + w.unit_k() - 1) / w.unit_k() * w.unit_k();
  w.panels = (n_out + COLUMNS - 1) / COLUMNS;
  return w;
}

// sizes(format, n_in, n_out) -> (bytes of data, float16 scales)
PyObject* sizes(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 3);
    const Weight w = laid_out(whole(a[0]), whole(a[1]), whole(a[2]));
    return Py_BuildValue("nn", Py_ssize_t(w.panels * w.panel_bytes()), Py_ssize_t(w.panels) * w.groups() * COLUMNS);
  });
}

// weight(format, n_in, n_out, unit, data, scales) -> a weight that reads these bytes
PyObject* weight(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    expect(n, 6);
    Weight w = laid_out(whole(a[0]), whole(a[1]), whole(a[2]));
    w.unit = number(a[3]);
    View data(a[4], 1, 1), scales(a[5], 1, 2);
    data.expect(w.panels * w.panel_bytes(), "data");
    scales.expect(ptrdiff_t(w.panels) * w.groups() * COLUMNS, "scales");
    w.data = data.at<uint8_t>();
    w.scales = scales.at<uint16_t>();
    auto* made = new Held{w, std::move(data), std::move(scales)};
    PyObject* capsule = PyCapsule_New(made, CAPSULE, [](PyObject* c) {
      delete static_cast<Held*>(PyCapsule_GetPointer(c, CAPSULE));
    });
    if (!capsule) delete made;
    return capsule;
  });
}

// fill(threads, format, unit, numbers [n_in, n_out] of any strides, data, scales)
PyObject* fill(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 6);
    const View from(a[3], 2, 4, false), data(a[4], 1, 1, true, true), scales(a[5], 1, 2, true, true);
    Weight w = laid_out(whole(a[1]), int(from.shape(0)), int(from.shape(1)));
    w.unit = number(a[2]);
    data.expect(w.panels * w.panel_bytes(), "data");
    scales.expect(ptrdiff_t(w.panels) * w.groups() * COLUMNS, "scales");
    const int threads = whole(a[0]);
    {
      const Released released(true);
      quantise(threads, w, from.at(), from.stride(0), from.stride(1), data.at<uint8_t>(), scales.at<uint16_t>());
    }
    return none();
  });
}

// columns(threads, weight, ids or None for all, out [n, n_in])
PyObject* columns(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 4);
    const Held& w = held(a[1]);
    const int threads = whole(a[0]);
    const View out(a[3], -1, 4, true, true);
    if (a[2] == Py_None) {
      out.expect(ptrdiff_t(w.w.n_in) * w.w.n_out, "out");
      const Released released(true);
      pellucid::columns(threads, w.w, nullptr, w.w.n_out, out.at());
    } else {
      const View ids(a[2], -1, 8);
      out.expect(ids.size() * w.w.n_in, "out");
      for (ptrdiff_t i = 0; i < ids.size(); i++)
        if (ids.at<int64_t>()[i] < 0 || ids.at<int64_t>()[i] >= w.w.n_out) throw std::invalid_argument("an id outside the table");
      pellucid::columns(threads, w.w, ids.at<int64_t>(), int(ids.size()), out.at());
    }
    return none();
  });
}

// --- operations --------------------------------------------------------------------------------------

// weight, x [m, n_in], out [m, n_out], bias | None, gain | None, shift | None, epsilon, then, residual | None;
// then: 1 GELU, 2 SwiGLU, which makes out [m, n_out / 2]
class Linear {
 public:
  static constexpr Py_ssize_t ARGUMENTS = 9;
  explicit Linear(PyObject* const* a) : held_(held(a[0])), w_(held_.w), x_(a[1], -1, 4), out_(a[2], -1, 4, true, true), then_(whole(a[7])) {
    const ptrdiff_t m = x_.size() / w_.n_in;
    x_.expect(m * w_.n_in, "x");
    if (then_ == 2 && w_.n_out % 2) throw std::invalid_argument("an odd number of outputs has no halves");
    out_.expect(then_ == 2 ? m * (w_.n_out / 2) : m * w_.n_out, "out");
    bias_ = optional(a[3], w_.n_out, "bias"), gain_ = optional(a[4], w_.n_in, "gain");
    shift_ = optional(a[5], w_.n_in, "shift"), residual_ = optional(a[8], m * w_.n_out, "residual");
    epsilon_ = number(a[6]);
    if (shift_.at() && !gain_.at()) throw std::invalid_argument("a norm has a gain");
    if (then_ == 2 && residual_.at()) throw std::invalid_argument("nothing is added to what is gated");
  }
  size_t work() const { return size_t(x_.size()) * w_.n_out; }
  void run(int threads) const {
    const int m = int(x_.size() / w_.n_in), n_out = then_ == 2 ? w_.n_out / 2 : w_.n_out;
    const Target target{out_.at(), n_out, bias_.at(), residual_.at(), then_ == 1, then_ == 2};
    if (!m) return;
    multiply(threads, w_, x_.at(), w_.n_in, m, {gain_.at(), shift_.at(), epsilon_}, target);
    was_read(threads, held_, m);
  }

 private:
  static View optional(PyObject* object, ptrdiff_t size, const char* what) {
    if (object == Py_None) return View();
    View v(object, -1, 4);
    v.expect(size, what);
    return v;
  }
  const Held& held_;
  const Weight& w_;
  View x_, out_, bias_, gain_, shift_, residual_;
  int then_;
  float epsilon_;
};

// linear(threads, …)
PyObject* linear(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 1 + Linear::ARGUMENTS);
    const Linear product(a + 1);
    const int threads = whole(a[0]);
    {
      const Released released(product.work() > MUCH);
      product.run(threads);
    }
    return none();
  });
}

// heads(threads, weight, x [m, head, n], out [m, head, n_out]): each head times its n rows of the weight
PyObject* heads(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 4);
    const Held& read = held(a[1]);
    const Weight& w = read.w;
    const View x(a[2], 3, 4), out(a[3], 3, 4, true, true);
    const ptrdiff_t m = x.shape(0), n_head = x.shape(1), each = x.shape(2);
    if (n_head * each != w.n_in || each % w.unit_k()) throw std::invalid_argument("heads of whole groups");
    out.expect(m * n_head * w.n_out, "out");
    const int threads = whole(a[0]);
    if (m) {
      const Released released(size_t(m) * w.n_in * w.n_out > MUCH);
      multiply_heads(threads, w, x.at(), int(m), int(n_head), out.at());
      was_read(threads, read, m);
    }
    return none();
  });
}

// x [..., n], gain [n], shift [n] | None, epsilon, out
class LayerNorm {
 public:
  static constexpr Py_ssize_t ARGUMENTS = 5;
  explicit LayerNorm(PyObject* const* a) : x_(a[0], -1, 4), gain_(a[1], 1, 4), out_(a[4], -1, 4, true, true) {
    if (a[2] != Py_None) shift_ = View(a[2], 1, 4), shift_.expect(gain_.size(), "shift");
    x_.expect(x_.size() / gain_.size() * gain_.size(), "x");
    out_.expect(x_.size(), "out");
    epsilon_ = number(a[3]);
  }
  size_t work() const { return size_t(x_.size()); }
  void run(int threads) const {
    const ptrdiff_t width = gain_.size();
    normalise(threads, x_.at(), int(x_.size() / width), int(width), {gain_.at(), shift_.at(), epsilon_}, out_.at());
  }

 private:
  View x_, gain_, shift_, out_;
  float epsilon_;
};

// layer_norm(threads, …)
PyObject* layer_norm(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 1 + LayerNorm::ARGUMENTS);
    LayerNorm(a + 1).run(whole(a[0]));
    return none();
  });
}

// gelu(threads, x, out)
PyObject* gelu(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 3);
    const View x(a[1], -1, 4), out(a[2], -1, 4, true, true);
    out.expect(x.size(), "out");
    pellucid::gelu(whole(a[0]), x.at(), x.size(), out.at());
    return none();
  });
}

// softmax(threads, x [..., n], out)
PyObject* softmax(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 3);
    const View x(a[1], -1, 4), out(a[2], -1, 4, true, true);
    out.expect(x.size(), "out");
    if (!x.size()) return none();
    const ptrdiff_t width = x.shape(x.dimensions() - 1);
    pellucid::softmax(whole(a[0]), x.at(), int(x.size() / width), int(width), out.at());
    return none();
  });
}

// q [batch, head, new, d_k] of any strides, out likewise, k, v of as many heads or fewer.
class Attend {
 public:
  static constexpr Py_ssize_t ARGUMENTS = 4;
  explicit Attend(PyObject* const* a)
      : q_(a[0], 4, 4, false), k_(a[1], 4, 4, false), v_(a[2], 4, 4, false), out_(a[3], 4, 4, false, true) {
    const ptrdiff_t n_head = q_.shape(1), n_keys = k_.shape(1), d_k = q_.shape(3);
    if (!n_keys || n_head % n_keys) throw std::invalid_argument("heads of queries in groups of one size");
    for (const View* each : {&q_, &k_, &v_, &out_})
      if (each->shape(0) != q_.shape(0) || each->shape(1) != (each == &k_ || each == &v_ ? n_keys : n_head) || each->shape(3) != d_k || (d_k > 1 && each->stride(3) != 1))
        throw std::invalid_argument("q, k, v and out must be of one shape, with numbers side by side");
    if (v_.shape(2) != k_.shape(2) || out_.shape(2) != q_.shape(2) || q_.shape(2) > k_.shape(2)) throw std::invalid_argument("more queries than keys");
  }

  // What is attended this time. cos, sin [batch or 1, new, d_k] or None: queries and keys are turned by
  // them. texts: (row, begin, n, [(keys, values, begin, end), ...]) each: places begin…end - 1 of arrays
  // [head, key, d_k], at whose end is room for the new keys and values; of bytes [head, key, d_k + 4], each
  // with its scale, a float.
  class Now {
   public:
    Now(const Attend& a, PyObject* list, PyObject* turn_cos, PyObject* turn_sin) : n_head_(a.q_.shape(1)), n_keys_(a.k_.shape(1)), d_k_(a.q_.shape(3)) {
      const ptrdiff_t n_out = a.q_.shape(2), n_all = a.k_.shape(2);
      const bool turned = turn_cos != Py_None;
      if (turned) cos_ = View(turn_cos, 3, 4), sin_ = View(turn_sin, 3, 4);
      for (const View* each : {&cos_, &sin_})
        if (turned && ((each->shape(0) != 1 && each->shape(0) != a.q_.shape(0)) || each->shape(1) != n_all ||
                       each->shape(2) != d_k_ || each->shape(0) != cos_.shape(0) || d_k_ % 2))
          throw std::invalid_argument("what turns queries and keys must be [batch or 1, new, d_k], d_k even");
      const Py_ssize_t n_text = PyList_Size(list);
      if (n_text < 0) throw Failed();
      texts_.reserve(n_text);
      for (Py_ssize_t i = 0; i < n_text; i++) {
        PyObject* text = PyList_GetItem(list, i);
        if (!text || PyTuple_Size(text) != 4) throw std::invalid_argument("a text is (row, begin, n, places)");
        const int row = whole(PyTuple_GetItem(text, 0)), begin = whole(PyTuple_GetItem(text, 1));
        const int count = whole(PyTuple_GetItem(text, 2));
        if (row < 0 || row >= a.q_.shape(0) || begin < 0 || count < 1 || begin + count > n_all)
          throw std::invalid_argument("a text outside its row");
        Text t{};
        stretches(PyTuple_GetItem(text, 3), t);
        if (t.n_key < count) throw std::invalid_argument("no room for the new keys");
        // Where fewer queries than keys are asked, they are the last.
        t.n_query = int(std::min<ptrdiff_t>(count, n_out));
        t.n_new = count;
        const ptrdiff_t first = n_out == n_all ? begin : 0;
        t.q = a.q_.at() + row * a.q_.stride(0) + first * a.q_.stride(2);
        t.k = a.k_.at() + row * a.k_.stride(0) + begin * a.k_.stride(2);
        t.v = a.v_.at() + row * a.v_.stride(0) + begin * a.v_.stride(2);
        t.out = a.out_.at() + row * a.out_.stride(0) + first * a.out_.stride(2);
        t.q_head = a.q_.stride(1), t.q_row = a.q_.stride(2), t.k_head = a.k_.stride(1), t.k_row = a.k_.stride(2);
        t.v_head = a.v_.stride(1), t.v_row = a.v_.stride(2), t.out_head = a.out_.stride(1), t.out_row = a.out_.stride(2);
        if (turned) {
          const ptrdiff_t from = (cos_.shape(0) > 1 ? row * cos_.stride(0) : 0) + begin * cos_.stride(1);
          t.cos = cos_.at() + from, t.sin = sin_.at() + from, t.turn_row = cos_.stride(1);
        }
        work_ += size_t(t.n_query) * t.n_key * n_head_ * d_k_;
        texts_.push_back(t);
      }
    }
    size_t work() const { return work_; }
    void run(int threads) const {
      const float scale = float(1 / std::sqrt(double(d_k_)));
      const Attention all{int(n_head_), int(d_k_), int(n_head_ / n_keys_), int(itemsize_), scale, texts_.data(), stretches_.data()};
      attend(threads, all, int(texts_.size()));
    }

   private:
    void stretches(PyObject* list, Text& t) {
      t.first_stretch = int(stretches_.size());
      t.n_stretch = int(PyList_Size(list));
      for (int s = 0; s < t.n_stretch; s++) {
        PyObject* place = PyList_GetItem(list, s);
        if (!place || PyTuple_Size(place) != 4) throw std::invalid_argument("a place is (keys, values, begin, end)");
        View keys(PyTuple_GetItem(place, 0), 3, itemsize_, false, true);
        itemsize_ = keys.itemsize();
        if (itemsize_ != 1 && itemsize_ != 2 && itemsize_ != 4) throw std::invalid_argument("keys must be bytes, float16 or float32");
        View values(PyTuple_GetItem(place, 1), 3, itemsize_, false, true);
        const ptrdiff_t apart = itemsize_ == 1 ? d_k_ + ptrdiff_t(sizeof(float)) : d_k_;
        const int begin = whole(PyTuple_GetItem(place, 2)), end = whole(PyTuple_GetItem(place, 3));
        for (const View* each : {&keys, &values})
          if (each->shape(0) != n_keys_ || begin < 0 || begin > end || end > each->shape(1) || each->shape(2) != apart ||
              (each->shape(1) > 1 && each->stride(1) != apart) || (d_k_ > 1 && each->stride(2) != 1))
            throw std::invalid_argument("a place must be of arrays [head, key, d_k], of bytes d_k + 4, with keys side by side");
        const ptrdiff_t first = begin * apart * itemsize_;
        stretches_.push_back({keys.at<char>() + first, values.at<char>() + first, keys.stride(0), values.stride(0), end - begin});
        t.n_key += end - begin;
        kept_.push_back(std::move(keys));
        kept_.push_back(std::move(values));
      }
    }
    ptrdiff_t n_head_, n_keys_, d_k_, itemsize_ = 0;
    size_t work_ = 0;
    View cos_, sin_;
    std::vector<Text> texts_;
    std::vector<Stretch> stretches_;
    std::vector<View> kept_;
  };

 private:
  View q_, k_, v_, out_;
};

// attend(threads, q, k, v, out, texts[, cos, sin])
PyObject* attend(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    if (n != 8) expect(n, 6);
    const Attend asked(a + 1);
    const Attend::Now now(asked, a[5], n == 8 ? a[6] : Py_None, n == 8 ? a[7] : Py_None);
    const int threads = whole(a[0]);
    {
      const Released released(now.work() > MUCH);
      now.run(threads);
    }
    return none();
  });
}

// --- programs --------------------------------------------------------------------------------------------

// What was asked one by one, to be asked again with the same arrays. Only what attention reads is of each
// time. Where it lies is held as long as the program is.
class Program {
 public:
  // steps: a tuple of (which, argument, …), which: 0 a product, 1 attention, once at most, 2 a norm
  explicit Program(PyObject* steps) : asked_(steps) {
    const Py_ssize_t n = PyTuple_Size(steps);
    if (n < 0) throw Failed();
    for (Py_ssize_t i = 0; i < n; i++) {
      PyObject* step = PyTuple_GetItem(steps, i);
      const Py_ssize_t count = PyTuple_Size(step);
      if (count < 1) throw std::invalid_argument("a step is (which, argument, ...)");
      std::vector<PyObject*> a;
      for (Py_ssize_t j = 1; j < count; j++) a.push_back(PyTuple_GetItem(step, j));
      switch (whole(PyTuple_GetItem(step, 0))) {
        case 0: add<Linear>(a); break;
        case 1: add<Attend>(a); break;
        case 2: add<LayerNorm>(a); break;
        default: throw std::invalid_argument("no such operation");
      }
      if (!std::holds_alternative<Attend>(steps_.back())) continue;
      if (attends_) throw std::invalid_argument("a program attends once");
      attends_ = true;
    }
    Py_INCREF(asked_);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() { Py_DECREF(asked_); }

  // One run of it: what attention reads this time, found before anything is computed.
  class Now {
   public:
    Now(const Program& asked, PyObject* texts, PyObject* turn_cos, PyObject* turn_sin) : asked_(asked) {
      for (const auto& step : asked.steps_)
        if (const auto* attend = std::get_if<Attend>(&step)) work_ += attends_.emplace(*attend, texts, turn_cos, turn_sin).work();
        else if (const auto* linear = std::get_if<Linear>(&step)) work_ += linear->work();
    }
    size_t work() const { return work_; }
    void run(int threads) const {
      for (const auto& step : asked_.steps_)
        if (const auto* linear = std::get_if<Linear>(&step)) linear->run(threads);
        else if (const auto* norm = std::get_if<LayerNorm>(&step)) norm->run(threads);
        else attends_->run(threads);
    }

   private:
    const Program& asked_;
    std::optional<Attend::Now> attends_;
    size_t work_ = 0;
  };

 private:
  template <class Step>
  void add(const std::vector<PyObject*>& a) {
    expect(Py_ssize_t(a.size()), Step::ARGUMENTS);
    steps_.emplace_back(std::in_place_type<Step>, a.data());
  }
  PyObject* asked_;
  bool attends_ = false;
  std::vector<std::variant<Linear, Attend, LayerNorm>> steps_;
};

const char* const PROGRAM = "pellucid.Program";

// program(steps) -> what `again` runs
PyObject* program(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 1);
    auto made = std::make_unique<Program>(a[0]);
    PyObject* capsule = PyCapsule_New(made.get(), PROGRAM, [](PyObject* c) {
      delete static_cast<Program*>(PyCapsule_GetPointer(c, PROGRAM));
    });
    if (capsule) made.release();
    return capsule;
  });
}

// again(threads, list of (program, texts, cos | None, sin | None)): one after the other; texts as `attend` has them
PyObject* again(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 2);
    const int threads = whole(a[0]);
    const Py_ssize_t count = PyList_Size(a[1]);
    if (count < 0) throw Failed();
    std::deque<Program::Now> all;
    size_t work = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
      PyObject* one = PyList_GetItem(a[1], i);
      if (PyTuple_Size(one) != 4) throw std::invalid_argument("a run is (program, texts, cos, sin)");
      const auto* program = static_cast<const Program*>(PyCapsule_GetPointer(PyTuple_GetItem(one, 0), PROGRAM));
      if (!program) throw Failed();
      all.emplace_back(*program, PyTuple_GetItem(one, 1), PyTuple_GetItem(one, 2), PyTuple_GetItem(one, 3));
      work += all.back().work();
    }
    {
      const Released released(work > MUCH);
      for (const auto& each : all) each.run(threads);
    }
    return none();
  });
}

// matmul(threads, x [batch, head, m, n], y [batch, head, n, n_out], out [batch, head, m, n_out]), for few
// rows: y in float32 or float16, along one of its last two axes side by side, x along its last.
PyObject* matmul(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 4);
    const View x(a[1], 4, 4, false), y(a[2], 4, 0, false), out(a[3], 4, 4, true, true);
    if (y.itemsize() != 2 && y.itemsize() != 4) throw std::invalid_argument("y must be float16 or float32");
    Product p{};
    p.batch = int(x.shape(0)), p.head = int(x.shape(1)), p.m = int(x.shape(2)), p.n = int(x.shape(3));
    p.n_out = int(y.shape(3));
    p.half = y.itemsize() == 2;
    if (y.shape(0) != p.batch || y.shape(1) != p.head || y.shape(2) != p.n || (p.n > 1 && x.stride(3) != 1) ||
        (y.stride(2) != 1 && y.stride(3) != 1))
      throw std::invalid_argument("x and y do not fit together, or have no axis with numbers side by side");
    out.expect(ptrdiff_t(p.batch) * p.head * p.m * p.n_out, "out");
    p.x = x.at(), p.x_batch = x.stride(0), p.x_head = x.stride(1), p.x_row = x.stride(2);
    p.y = y.at<void>(), p.y_batch = y.stride(0), p.y_head = y.stride(1), p.y_row = y.stride(2), p.y_column = y.stride(3);
    p.out = out.at();
    const int threads = whole(a[0]);
    {
      const Released released(size_t(p.batch) * p.head * p.m * p.n * p.n_out > MUCH);
      rows(threads, p);
    }
    return none();
  });
}

// --- processors ----------------------------------------------------------------------------------------

// kernels() -> the names of those that this processor has, the best first
PyObject* all_kernels(PyObject*, PyObject*) {
  PyObject* list = PyList_New(0);
  for (const char* const* name = names(); list && *name; name++) {
    PyObject* text = PyUnicode_FromString(*name);
    if (!text || PyList_Append(list, text)) Py_CLEAR(list);
    Py_XDECREF(text);
  }
  return list;
}

PyObject* chosen(PyObject*, PyObject*) { return PyUnicode_FromString(kernels().name); }

// choose(name): use these from now on, in the whole process
PyObject* choose_kernels(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 1);
    PyObject* bytes = PyUnicode_AsUTF8String(a[0]);
    if (!bytes) throw Failed();
    const bool here = choose(PyBytes_AsString(bytes));
    Py_DECREF(bytes);
    if (!here) throw std::invalid_argument("this processor has no such kernels");
    return none();
  });
}

#define FAST(name, f) {name, (PyCFunction)(void (*)(void))f, METH_FASTCALL, nullptr}
PyMethodDef METHODS[] = {
    FAST("sizes", sizes),           FAST("weight", weight),   FAST("fill", fill),       FAST("columns", columns),
    FAST("linear", linear),         FAST("heads", heads),     FAST("attend", attend),   FAST("matmul", matmul),
    FAST("layer_norm", layer_norm), FAST("gelu", gelu),       FAST("softmax", softmax), FAST("choose", choose_kernels),
    FAST("program", program),       FAST("again", again),
    {"kernels", all_kernels, METH_NOARGS, nullptr},
    {"chosen", chosen, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_kernels", nullptr, -1, METHODS, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__kernels(void) { return PyModule_Create(&MODULE); }
