// The backend's operations, each divided between threads.
#pragma once
#include "pellucid.hpp"

namespace pellucid {

// The best kernels of this processor, or those that `choose` named.
const Kernels& kernels();
bool choose(const char* name);  // whether they are here
const char* const* names();     // of those that are, the best first, then null

// What will be read next: threads that have nothing to do fetch it.
void ahead(int threads, const void* at, size_t n);

struct Norm {
  const float *gain, *bias;  // [n_in], or null; a gain alone is an RMS norm's
  float epsilon;
};

// x [m, n_in], rows `stride` apart -> target
void multiply(int threads, const Weight& w, const float* x, ptrdiff_t stride, int m, const Norm& norm, const Target& t);
// x [m, head, n] · rows head · n… of w -> out [m, head, n_out], n a multiple of unit_k
void multiply_heads(int threads, const Weight& w, const float* x, int m, int n_head, float* out);
void normalise(int threads, const float* x, int m, int n, const Norm& norm, float* out);
void gelu(int threads, const float* x, size_t n, float* out);
void softmax(int threads, const float* x, int m, int n, float* out);
void attend(int threads, const Attention& a, int n_text);
// x [batch, head, m, n] · y [batch, head, n, n_out] -> out [batch, head, m, n_out], row by row
struct Product {
  int batch, head, m, n, n_out;
  bool half;  // y's numbers are float16
  const float* x;
  ptrdiff_t x_batch, x_head, x_row;
  const void* y;
  ptrdiff_t y_batch, y_head, y_row, y_column;
  float* out;
};
void rows(int threads, const Product& p);
void columns(int threads, const Weight& w, const int64_t* ids, int n, float* out);
void quantise(int threads, const Weight& w, const float* from, ptrdiff_t row, ptrdiff_t column, uint8_t* data, uint16_t* scales);

}  // namespace pellucid
