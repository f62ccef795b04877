// AVX-512 with VNNI and BF16.
#define WITH_BF16
#include "isa_avx512.cpp"
