// What Python sees: arrays come in through the buffer protocol, results are written into arrays that
// the caller made. Only the limited API is used, so that one build serves every Python from 3.11 on.
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
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
  View(const View&) = delete;
  View& operator=(const View&) = delete;
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

struct Held {
  Weight w;
  View data, scales;
};

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

// linear(threads, weight, x [m, n_in], out [m, n_out], bias | None, gain | None, shift | None, epsilon, then,
//   residual | None); then: 1 GELU, 2 SwiGLU, which makes out [m, n_out / 2]
PyObject* linear(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 10);
    const Weight& w = held(a[1]).w;
    const View x(a[2], -1, 4), out(a[3], -1, 4, true, true);
    const ptrdiff_t m = x.size() / w.n_in;
    x.expect(m * w.n_in, "x");
    const int then = whole(a[8]);
    if (then == 2 && w.n_out % 2) throw std::invalid_argument("an odd number of outputs has no halves");
    out.expect(then == 2 ? m * (w.n_out / 2) : m * w.n_out, "out");
    const auto optional = [&](PyObject* object, ptrdiff_t size, const char* what) {
      if (object == Py_None) return View();
      View v(object, -1, 4);
      v.expect(size, what);
      return v;
    };
    const View bias = optional(a[4], w.n_out, "bias"), gain = optional(a[5], w.n_in, "gain"),
               shift = optional(a[6], w.n_in, "shift"), residual = optional(a[9], m * w.n_out, "residual");
    const Norm norm{gain.at(), shift.at(), number(a[7])};
    const Target target{out.at(), then == 2 ? w.n_out / 2 : w.n_out, bias.at(), residual.at(), then == 1, then == 2};
    if (norm.bias && !norm.gain) throw std::invalid_argument("a norm has a gain");
    if (then == 2 && residual.at()) throw std::invalid_argument("nothing is added to what is gated");
    const int threads = whole(a[0]);
    if (m) {
      const Released released(size_t(m) * w.n_in * w.n_out > MUCH);
      multiply(threads, w, x.at(), w.n_in, int(m), norm, target);
    }
    return none();
  });
}

// heads(threads, weight, x [m, head, n], out [m, head, n_out]): each head times its n rows of the weight
PyObject* heads(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 4);
    const Weight& w = held(a[1]).w;
    const View x(a[2], 3, 4), out(a[3], 3, 4, true, true);
    const ptrdiff_t m = x.shape(0), n_head = x.shape(1), each = x.shape(2);
    if (n_head * each != w.n_in || each % w.unit_k()) throw std::invalid_argument("heads of whole groups");
    out.expect(m * n_head * w.n_out, "out");
    const int threads = whole(a[0]);
    if (m) {
      const Released released(size_t(m) * w.n_in * w.n_out > MUCH);
      multiply_heads(threads, w, x.at(), int(m), int(n_head), out.at());
    }
    return none();
  });
}

// layer_norm(threads, x [..., n], gain [n], shift [n] | None, epsilon, out)
PyObject* layer_norm(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    expect(n, 6);
    const View x(a[1], -1, 4), gain(a[2], 1, 4), out(a[5], -1, 4, true, true);
    const View shift = a[3] == Py_None ? View() : View(a[3], 1, 4);
    const ptrdiff_t width = gain.size(), m = x.size() / width;
    x.expect(m * width, "x");
    out.expect(m * width, "out");
    if (a[3] != Py_None) shift.expect(width, "shift");
    normalise(whole(a[0]), x.at(), int(m), int(width), {gain.at(), shift.at(), number(a[4])}, out.at());
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

// attend(threads, q, k, v, out, texts[, cos, sin]): q [batch, head, new, d_k] of any strides, out likewise,
// k, v of as many heads or fewer; cos, sin [batch or 1, new, d_k]: queries and keys are turned by them.
// texts: (row, begin, n, [(keys, values), ...]) each, the stretches [head, key, d_k] with room for the
// new keys and values at their end; of bytes [head, key, d_k + 4], each with its scale, a float.
PyObject* attend(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&] {
    if (n != 8) expect(n, 6);
    const View q(a[1], 4, 4, false), k(a[2], 4, 4, false), v(a[3], 4, 4, false), out(a[4], 4, 4, false, true);
    const ptrdiff_t n_head = q.shape(1), d_k = q.shape(3), n_out = q.shape(2), n_all = k.shape(2);
    const ptrdiff_t n_keys = k.shape(1);
    if (!n_keys || n_head % n_keys) throw std::invalid_argument("heads of queries in groups of one size");
    for (const View* each : {&q, &k, &v, &out})
      if (each->shape(0) != q.shape(0) || each->shape(1) != (each == &k || each == &v ? n_keys : n_head) || each->shape(3) != d_k || (d_k > 1 && each->stride(3) != 1))
        throw std::invalid_argument("q, k, v and out must be of one shape, with numbers side by side");
    if (v.shape(2) != n_all || out.shape(2) != n_out || n_out > n_all) throw std::invalid_argument("more queries than keys");
    const View cos = n == 8 ? View(a[6], 3, 4) : View(), sin = n == 8 ? View(a[7], 3, 4) : View();
    for (const View* each : {&cos, &sin})
      if (n == 8 && ((each->shape(0) != 1 && each->shape(0) != q.shape(0)) || each->shape(1) != n_all ||
                     each->shape(2) != d_k || each->shape(0) != cos.shape(0) || d_k % 2))
        throw std::invalid_argument("what turns queries and keys must be [batch or 1, new, d_k], d_k even");
    const Py_ssize_t n_text = PyList_Size(a[5]);
    if (n_text < 0) throw Failed();
    std::vector<Text> texts;
    std::vector<Stretch> stretches;
    std::vector<View> kept;
    ptrdiff_t itemsize = 0;
    size_t work = 0;
    texts.reserve(n_text);
    for (Py_ssize_t i = 0; i < n_text; i++) {
      PyObject* text = PyList_GetItem(a[5], i);
      if (!text || PyTuple_Size(text) != 4) throw std::invalid_argument("a text is (row, begin, n, stretches)");
      const int row = whole(PyTuple_GetItem(text, 0)), begin = whole(PyTuple_GetItem(text, 1));
      const int count = whole(PyTuple_GetItem(text, 2));
      PyObject* list = PyTuple_GetItem(text, 3);
      if (row < 0 || row >= q.shape(0) || begin < 0 || count < 1 || begin + count > n_all)
        throw std::invalid_argument("a text outside its row");
      Text t{};
      t.first_stretch = int(stretches.size());
      t.n_stretch = int(PyList_Size(list));
      for (int s = 0; s < t.n_stretch; s++) {
        PyObject* two = PyList_GetItem(list, s);
        if (!two || PyTuple_Size(two) != 2) throw std::invalid_argument("a stretch is (keys, values)");
        PyObject* first = PyTuple_GetItem(two, 0);
        if (!itemsize) {
          Py_buffer peek;
          if (PyObject_GetBuffer(first, &peek, PyBUF_STRIDES)) throw Failed();
          itemsize = peek.itemsize;
          PyBuffer_Release(&peek);
          if (itemsize != 1 && itemsize != 2 && itemsize != 4) throw std::invalid_argument("keys must be bytes, float16 or float32");
        }
        const ptrdiff_t apart = itemsize == 1 ? d_k + ptrdiff_t(sizeof(float)) : d_k;
        View keys(first, 3, itemsize, false, true), values(PyTuple_GetItem(two, 1), 3, itemsize, false, true);
        for (const View* each : {&keys, &values})
          if (each->shape(0) != n_keys || each->shape(1) != keys.shape(1) || each->shape(2) != apart ||
              (each->shape(1) > 1 && each->stride(1) != apart) || (d_k > 1 && each->stride(2) != 1))
            throw std::invalid_argument("a stretch must be [head, key, d_k], of bytes d_k + 4, with keys side by side");
        stretches.push_back({keys.at<void>(), values.at<void>(), keys.stride(0), values.stride(0), int(keys.shape(1))});
        t.n_key += int(keys.shape(1));
        kept.push_back(std::move(keys));
        kept.push_back(std::move(values));
      }
      if (t.n_key < count) throw std::invalid_argument("no room for the new keys");
      // Where fewer queries than keys are asked, they are the last.
      const int asked = int(std::min<ptrdiff_t>(count, n_out));
      const ptrdiff_t first = n_out == n_all ? begin : 0;
      t.q = q.at() + row * q.stride(0) + first * q.stride(2);
      t.k = k.at() + row * k.stride(0) + begin * k.stride(2);
      t.v = v.at() + row * v.stride(0) + begin * v.stride(2);
      t.out = out.at() + row * out.stride(0) + first * out.stride(2);
      t.q_head = q.stride(1), t.q_row = q.stride(2), t.k_head = k.stride(1), t.k_row = k.stride(2);
      t.v_head = v.stride(1), t.v_row = v.stride(2), t.out_head = out.stride(1), t.out_row = out.stride(2);
      if (n == 8) {
        const ptrdiff_t from = (cos.shape(0) > 1 ? row * cos.stride(0) : 0) + begin * cos.stride(1);
        t.cos = cos.at() + from, t.sin = sin.at() + from, t.turn_row = cos.stride(1);
      }
      t.n_query = asked;
      t.n_new = count;
      work += size_t(asked) * t.n_key * n_head * d_k;
      texts.push_back(t);
    }
    const float scale = float(1 / std::sqrt(double(d_k)));
    const Attention all{int(n_head), int(d_k), int(n_head / n_keys), int(itemsize), scale, texts.data(), stretches.data()};
    const int threads = whole(a[0]);
    {
      const Released released(work > MUCH);
      pellucid::attend(threads, all, int(n_text));
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
    {"kernels", all_kernels, METH_NOARGS, nullptr},
    {"chosen", chosen, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_kernels", nullptr, -1, METHODS, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__kernels(void) { return PyModule_Create(&MODULE); }
