// A block of CUDA threads on the CPU: a fiber for each, on one thread, that runs until it waits for its warp or block.
//
// Shared memory is static, and blocks run one after another. Threads of a warp that meet in different operations, or
// not all, are an error.

#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#define __shared__ static

template <class T>
struct Array {
    T* data;
    int shape[1];
};

namespace block {

constexpr int THREADS = 256, WARP = 32;

struct Group {  // threads that exchange values
    int size, arrived = 0, operation = 0;
    long generation = 0;
    double values[2][THREADS];
};

struct Fiber {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(1 << 17);
    bool done;
};

Group warps[THREADS / WARP], team;
std::vector<Fiber> fibers(THREADS);
ucontext_t scheduler;
int current;
long progress;
const char* failure;
std::function<void(int)> body;
int first_index;

void enter() {
    body(first_index + current);
    fibers[current].done = true;
    progress++;
}

// Gives a value, waits for all, and returns what all gave.
const double* exchange(Group& group, int rank, int operation, double value) {
    if (group.arrived && group.operation != operation) failure = "threads meet in different operations";
    group.operation = operation;
    const long generation = group.generation;
    double* values = group.values[generation % 2];
    values[rank] = value;
    progress++;
    if (++group.arrived == group.size) {
        group.arrived = 0;
        group.generation++;
    }
    while (group.generation == generation) swapcontext(&fibers[current].context, &scheduler);
    return values;
}

inline Group& warp() { return warps[current / WARP]; }

// Runs the body for all threads of so many blocks; what went wrong, or nullptr.
const char* run(int blocks) {
    failure = nullptr;
    for (int b = 0; b < blocks && !failure; b++) {
        for (auto& w : warps) w = Group{WARP};
        team = Group{THREADS};
        first_index = b * THREADS;
        for (auto& fiber : fibers) {
            getcontext(&fiber.context);
            fiber.context.uc_stack.ss_sp = fiber.stack.data();
            fiber.context.uc_stack.ss_size = fiber.stack.size();
            fiber.context.uc_link = &scheduler;
            fiber.done = false;
            makecontext(&fiber.context, enter, 0);
        }
        for (int left = THREADS; left && !failure;) {
            const long before = progress;
            left = 0;
            for (current = 0; current < THREADS; current++) {
                if (fibers[current].done) continue;
                swapcontext(&scheduler, &fibers[current].context);
                left += !fibers[current].done;
            }
            if (left && progress == before) failure = "threads wait for others that never come";
        }
    }
    return failure;
}

}  // namespace block

inline void __syncthreads() { block::exchange(block::team, block::current, 1, 0); }
inline int __syncthreads_or(int yes) {
    const double* values = block::exchange(block::team, block::current, 2, yes);
    for (int i = 0; i < block::THREADS; i++)
        if (values[i] != 0) return 1;
    return 0;
}
inline unsigned __ballot_sync(unsigned, int yes) {
    const double* values = block::exchange(block::warp(), block::current % block::WARP, 3, yes);
    unsigned bits = 0;
    for (int i = 0; i < block::WARP; i++) bits |= unsigned(values[i] != 0) << i;
    return bits;
}
template <class T>
T __shfl_sync(unsigned, T x, int lane) {
    return T(block::exchange(block::warp(), block::current % block::WARP, 4 + lane, x)[lane]);
}
template <class T>
T __shfl_xor_sync(unsigned, T x, int offset) {
    const int lane = block::current % block::WARP;
    return T(block::exchange(block::warp(), lane, 100 + offset, x)[lane ^ offset]);
}
template <class T>
void atomicAdd(T* to, T x) { *to += x; }
namespace wp {
template <class T>
void atomic_add(T* to, T x) { *to += x; }
}  // namespace wp
