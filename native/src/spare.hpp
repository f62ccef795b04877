// Room that a thread keeps for its next piece of work.
#pragma once
#include <cstddef>

namespace pellucid {
float* spare(size_t numbers);     // of one row
float* workspace(size_t numbers); // of a whole operation; neither is kept over two calls
}  // namespace pellucid
