// What of ggml is bound: types and their kernels, and the graph that multiplies on the CPU.
#include "ggml.h"
#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
