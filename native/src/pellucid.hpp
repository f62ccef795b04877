// What the files of this extension share: a weight as it is laid out, and what a processor offers.
#pragma once
#include <cstddef>
#include <cstdint>

namespace pellucid {

constexpr int COLUMNS = 16;  // outputs side by side in a panel: one AVX-512 register of floats

enum Format : int { F32 = 0, BF16 = 1, INT8 = 2, INT4 = 3 };

// A matrix [n_in, n_out], in panels of 16 outputs that are read from their first byte to their last:
//   f32   [panel][k][16]           numbers
//   bf16  [panel][k/2][16][2]      the upper halves of floats; k a multiple of 32
//   int8  [panel][k/4][16][4]      with 128 added; per group of 64 k, one scale for each output
//   int4  [panel][k/8][16][4]      low halves k…k+3, high halves k+4…k+7, with 8 added; groups of 32
// n_in is filled up with zeros to whole groups, n_out to whole panels. scales: float16
// [panel][group][16], each to be multiplied by `unit`, a power of two.
struct Weight {
  int format = F32, n_in = 0, n_out = 0;
  int k = 0;       // n_in, filled up
  int panel_k = 0; // of a whole panel, where these are some of its rows
  int panels = 0;  // n_out / 16, rounded up
  int group = 0;   // k that share a scale; 0 where there are none
  float unit = 1;
  const uint8_t* data = nullptr;
  const uint16_t* scales = nullptr;

  int groups() const { return group ? k / group : 0; }
  int unit_k() const { return group ? group : format == BF16 ? 32 : 1; }  // k is a multiple of it
  size_t row_bytes() const { return format == F32 ? 64 : format == BF16 ? 32 : format == INT8 ? 16 : 8; }
  size_t panel_bytes() const { return panel_k * row_bytes(); }
  size_t panel_scales() const { return group ? size_t(panel_k / group) * COLUMNS : 0; }
  // Rows first…first + n of it, n a multiple of unit_k.
  Weight rows(int first, int n) const {
    Weight some = *this;
    some.n_in = some.k = n;
    some.data += first * row_bytes();
    if (group) some.scales += first / group * COLUMNS;
    return some;
  }
};

// Rows that are multiplied: x [m, k] as floats, or in pairs of bfloat16, or quantised: q [m, k] and per row and group a
// scale and, times -128 or -8, the sum of its numbers (what the weights' offset adds).
struct Rows {
  int m = 0, k = 0, groups = 0;
  float* x = nullptr;
  uint32_t* pairs = nullptr;  // [m, k/2]: x in bfloat16
  int8_t* q = nullptr;
  float* scale = nullptr;     // [m, groups]
  int32_t* offset = nullptr;  // [m, groups]
};

// What becomes of a product [m, n_out]: + bias, then GELU, then + residual; or its second half, gated
// by the first, and nothing else.
struct Target {
  float* out = nullptr;            // [m, n_out], gated [m, n_out / 2], rows `stride` apart
  ptrdiff_t stride = 0;
  const float* bias = nullptr;     // [n_out] or null
  const float* residual = nullptr; // [m, n_out], rows n_out apart, or null
  bool gelu = false, gated = false;
};

// A stretch of keys and values of one text: [head, n, d_k], heads `head` numbers apart. In bytes each
// row of d_k is followed by its scale, a float: [head, n, d_k + 4].
struct Stretch {
  void *keys, *values;
  ptrdiff_t head_keys, head_values;
  int n;
};

// n_query new tokens of one text, the last of its n_key. Strides count numbers.
struct Text {
  const float *q, *k, *v;
  ptrdiff_t q_head, q_row, k_head, k_row, v_head, v_row;
  float* out;
  ptrdiff_t out_head, out_row;
  int n_query, n_new, n_key, first_stretch, n_stretch;
  // [n_new, d_k], rows `turn_row` apart, or null: x[i] · cos[i] + x[i ± d_k/2] · sin[i] is what becomes
  // of each number of a query or key.
  const float *cos, *sin;
  ptrdiff_t turn_row;
};

struct Attention {
  int n_head, d_k;
  int shared;  // heads of queries for each of keys and values
  int bytes;   // of each number of the keys and values: 4 float32, 2 float16, 1 int8 with scales
  float scale;
  const Text* texts;
  const Stretch* stretches;
};

// The head of keys that a thread attends to next: asked for from memory while it is at work.
struct Coming {
  const Text* text = nullptr;  // or null
  int head = 0;
};

// One processor's kernels. The same source, compiled for each (kernels.inc).
struct Kernels {
  const char* name;
  int block;         // queries that are attended together
  int most[4];       // rows that are multiplied together, by format
  int pairs;         // rows from which on bfloat16 weights multiply pairs; 0: never
  bool (*wide)();    // whether the processor has matrix registers; null: never
  // The same for many rows of smaller weights than f32, in bfloat16: x is packed in tiles
  // [m/16][k/32][16][32], and panels [first, last), four at most, are widened into `room`.
  void (*prepare_wide)(const Weight&, const float* x, ptrdiff_t stride, const float* gain, const float* bias,
                       float epsilon, int low, int high, uint16_t* to);
  void (*linear_wide)(const Weight&, const uint16_t* x, int m, const Target&, int first, int last, uint16_t* room);
  size_t (*attend_scratch)(const Attention&);
  // Panels [first, last) of rows [low, high).
  void (*linear)(const Weight&, const Rows&, const Target&, int low, int high, int first, int last);
  // Rows [low, high) of x, normalised where gain is given (without a bias by an RMS norm).
  void (*prepare)(const Weight&, const float* x, ptrdiff_t stride, const float* gain, const float* bias,
                  float epsilon, int low, int high, const Rows& to);
  void (*layer_norm)(const float* x, const float* gain, const float* bias, float epsilon, int n, float* out);
  void (*gelu)(const float* x, size_t n, float* out);
  void (*swiglu)(const float* gate, const float* x, size_t n, float* out);
  void (*softmax)(const float* x, int n, float* out);
  void (*append)(const Attention&, const Text&, int head);  // of keys
  void (*attend)(const Attention&, const Text&, int head, int low, int high, float* scratch, const Coming&);
  // x [n] · y [n, n_out], rows and columns so many numbers apart, one of the two 1.
  void (*row)(bool half, const float* x, const void* y, ptrdiff_t row, ptrdiff_t column, int n, int n_out, float* out);
  // Columns of a weight as rows of floats: what an embedding is, and what there is to look at.
  void (*column)(const Weight&, int column, float* out);
  // Panels [first, last) from numbers [n_in, n_out], rows and columns so many numbers apart.
  void (*quantise)(const Weight&, const float* from, ptrdiff_t row, ptrdiff_t column, int first, int last,
                   uint8_t* data, uint16_t* scales);
};

// Null where this processor, or this build, has them not.
const Kernels* portable();
const Kernels* avx2();
const Kernels* avx512();
const Kernels* avx512_bf16();
const Kernels* neon();

}  // namespace pellucid
