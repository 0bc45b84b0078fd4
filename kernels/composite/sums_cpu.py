"""Sums of many channels over the samples of a segment of a ray, and their adjoint, in C++ kernels on the CPU."""

# C++ that comes after EACH_RAY and ``constexpr int SETS``, the number of sets of weights.
#
# The sums of a segment stay in registers block of channels by block of channels, so that the values come from memory once
# and a long ray loses few digits; the adjoint goes sample by sample. The last vector of channels overlaps the one before
# it, where the channels fill no whole one, and is masked; fewer channels than a vector has lanes are scalars.
SUMS = r"""
auto sum_of_line = [](Line x) -> R {
    R parts[WIDTH];
    *(AnyLine*)parts = x;
    for (int half = WIDTH / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) parts[i] += parts[i + half];
    return parts[0];
};
// 1 in the lanes of a last vector that the one before it does not have, 0 in the others.
auto mask_of_last = [](int channels) -> Line {
    const int rest = channels % WIDTH, fresh = rest ? rest : WIDTH;
    Line mask;
    for (int i = 0; i < WIDTH; i++) mask[i] = i >= WIDTH - fresh;
    return mask;
};
// Asks for a row that is worked on in a while: the memory that segments lie in is not one stretch.
auto fetch = [](const R* row, long long length) {
    for (long long i = 0; i < length; i += 2 * WIDTH) __builtin_prefetch(row + i, 0, 2);
};
struct N1 { char x[1]; }; struct N2 { char x[2]; }; struct N3 { char x[3]; }; struct N4 { char x[4]; };
struct N5 { char x[5]; }; struct N6 { char x[6]; }; struct N7 { char x[7]; }; struct N8 { char x[8]; };
// Calls body(number) with a type whose size is the number of channels, which are fewer than lanes.
auto few = [](int channels, auto body) {
    switch (channels) {
        case 1: body(N1{}); break;
        case 2: body(N2{}); break;
        case 3: body(N3{}); break;
        case 4: body(N4{}); break;
        case 5: body(N5{}); break;
        case 6: body(N6{}); break;
        case 7: body(N7{}); break;
    }
};
// Calls body(vectors, first channel, channel of the last vector, its mask) for blocks that cover all channels.
auto blocks = [&](int channels, auto body) {
    const Line all = Line{} + R(1);
    int c = 0;
    for (; c + 8 * WIDTH <= channels; c += 8 * WIDTH) body(N8{}, c, c + 7 * WIDTH, all);
    if (c == channels) return;
    const int last = channels - WIDTH, vectors = (channels - c + WIDTH - 1) / WIDTH;
    const Line mask = mask_of_last(channels);
    switch (vectors) {
        case 1: body(N1{}, c, last, mask); break;
        case 2: body(N2{}, c, last, mask); break;
        case 3: body(N3{}, c, last, mask); break;
        case 4: body(N4{}, c, last, mask); break;
        case 5: body(N5{}, c, last, mask); break;
        case 6: body(N6{}, c, last, mask); break;
        case 7: body(N7{}, c, last, mask); break;
        case 8: body(N8{}, c, last, mask); break;
    }
};
// Rows of D numbers lie in D lines for WIDTH samples: what line v has of numbers per sample, and per channel.
auto per_sample = [](auto number, int v, Line of_samples) -> Line {
    Line line;
#pragma unroll
    for (int i = 0; i < WIDTH; i++) line[i] = of_samples[(v * WIDTH + i) / (int)sizeof(number)];
    return line;
};
auto per_channel = [](auto number, int v, const R* of_channels) -> Line {
    Line line;
#pragma unroll
    for (int i = 0; i < WIDTH; i++) line[i] = of_channels[(v * WIDTH + i) % (int)sizeof(number)];
    return line;
};
// to_k[d] += sum_j w_k[j] x[j, d] over n samples, for each set of weights k; a sample of weights 0 adds nothing, whatever
// its values. Rows of x are `stride` apart.
auto add_values = [&](int n, int channels, long long stride, const R* x, const R* const* w, R* const* to) {
    auto left_out = [&](int j) { return w[0][j] == R(0) && w[SETS - 1][j] == R(0); };
    if (channels < WIDTH)
        few(channels, [&](auto number) {
            constexpr int D = sizeof(number);
            Line sum[SETS][D] = {};
            int j = 0;
            for (; j + WIDTH <= n; j += WIDTH) {
                Line weight[SETS];
                for (int k = 0; k < SETS; k++) weight[k] = *(const AnyLine*)(w[k] + j);
#pragma unroll
                for (int v = 0; v < D; v++) {
                    Line value = stride ? *(const AnyLine*)(x + j * stride + v * WIDTH) : Line{} + R(1);
                    const Line first = per_sample(number, v, weight[0]), last = per_sample(number, v, weight[SETS - 1]);
                    value = ((first != Line{}) | (last != Line{})) ? value : Line{};
                    sum[0][v] += first * value;
                    if (SETS > 1) sum[SETS - 1][v] += last * value;
                }
            }
            R total[SETS][D] = {};
            for (; j < n; j++)
                if (!left_out(j))
                    for (int k = 0; k < SETS; k++)
                        for (int d = 0; d < D; d++) total[k][d] += w[k][j] * x[j * stride + d];
            for (int k = 0; k < SETS; k++) {
#pragma unroll
                for (int v = 0; v < D; v++)
#pragma unroll
                    for (int i = 0; i < WIDTH; i++) total[k][(v * WIDTH + i) % D] += sum[k][v][i];
                for (int d = 0; d < D; d++) to[k][d] += total[k][d];
            }
        });
    else
        blocks(channels, [&](auto vectors, int c, int last, Line mask) {
            constexpr int N = sizeof(vectors);
            Line sum[SETS][N] = {};
            for (int j = 0; j < n; j++) {
                fetch(x + (n + j) * stride + c, N * WIDTH);
                if (left_out(j)) continue;
                for (int v = 0; v < N; v++) {
                    const Line value = *(const AnyLine*)(x + j * stride + (v < N - 1 ? c + v * WIDTH : last));
                    for (int k = 0; k < SETS; k++) sum[k][v] += w[k][j] * value;
                }
            }
            for (int k = 0; k < SETS; k++)
                for (int v = 0; v < N; v++)
                    *(AnyLine*)(to[k] + (v < N - 1 ? c + v * WIDTH : last)) += v < N - 1 ? sum[k][v] : mask * sum[k][v];
        });
};
// Adjoint, with g_k the gradient of the sums: v_w[k][j] += x[j] . g_k, v_x[j] = sum_k w_k[j] g_k, unless these are null.
auto values_adjoint = [&](int n, int channels, long long stride, const R* x, const R* const* w, const R* const* g,
                          R* const* v_w, R* v_x) {
    if (channels < WIDTH)
        few(channels, [&](auto number) {
            constexpr int D = sizeof(number);
            R v[SETS][D];
            for (int k = 0; k < SETS; k++)
                for (int d = 0; d < D; d++) v[k][d] = g[k][d];
            // The number of channels is known here, so that samples go side by side in vectors.
            if (v_w) {
                R dots[SETS][SEGMENT];
                for (int j = 0; j < n; j++)
                    for (int k = 0; k < SETS; k++) {
                        R dot = 0;
                        for (int d = 0; d < D; d++) dot += v[k][d] * x[stride ? j * D + d : d];
                        dots[k][j] = dot;
                    }
                for (int k = 0; k < SETS; k++)
                    for (int j = 0; j < n; j++) v_w[k][j] += dots[k][j];
            }
            if (v_x) {
                const bool past = far && aligned(v_x);
                Line gradient[SETS][D];
                for (int k = 0; k < SETS; k++)
#pragma unroll
                    for (int i = 0; i < D; i++) gradient[k][i] = per_channel(number, i, v[k]);
                int j = 0;
                for (; j + WIDTH <= n; j += WIDTH)
#pragma unroll
                    for (int i = 0; i < D; i++) {
                        Line outer{};
                        for (int k = 0; k < SETS; k++)
                            outer += per_sample(number, i, *(const AnyLine*)(w[k] + j)) * gradient[k][i];
                        put(v_x + j * D + i * WIDTH, outer, past);
                    }
                for (; j < n; j++)
                    for (int d = 0; d < D; d++) {
                        R sum = 0;
                        for (int k = 0; k < SETS; k++) sum += w[k][j] * v[k][d];
                        v_x[j * D + d] = sum;
                    }
            }
        });
    else {
        // Rows that are no whole lines go past the caches by way of a buffer.
        constexpr int ROWS = 8, MOST = 128;
        R buffer[ROWS * MOST];
        const bool past = far && v_x && aligned(v_x), whole = channels % WIDTH == 0;
        const Line mask = mask_of_last(channels);
        auto dots = [&](auto rows, int j) {
            constexpr int N = sizeof(rows);
            fetch(x + (n + j) * stride, N * stride);
            Line dot[N][SETS] = {};
            auto vector = [&](int c, auto weigh) {
                Line gradient[SETS];
                for (int k = 0; k < SETS; k++) gradient[k] = weigh(*(const AnyLine*)(g[k] + c));
                for (int r = 0; r < N; r++) {
                    const Line value = *(const AnyLine*)(x + (j + r) * stride + c);
                    for (int k = 0; k < SETS; k++) dot[r][k] += gradient[k] * value;
                }
            };
            int c = 0;
            for (; c + WIDTH <= channels; c += WIDTH) vector(c, [](Line v) { return v; });
            if (c < channels) vector(channels - WIDTH, [&](Line v) { return mask * v; });
            for (int r = 0; r < N; r++)
                for (int k = 0; k < SETS; k++) v_w[k][j + r] += sum_of_line(dot[r][k]);
        };
        auto outer = [&](auto rows, int j, R* to, auto past_caches) {
            constexpr int N = sizeof(rows);
            Line weight[N][SETS];
            for (int r = 0; r < N; r++)
                for (int k = 0; k < SETS; k++) weight[r][k] = Line{} + w[k][j + r];
            auto vector = [&](int c) {
                Line gradient[SETS];
                for (int k = 0; k < SETS; k++) gradient[k] = *(const AnyLine*)(g[k] + c);
                for (int r = 0; r < N; r++) {
                    Line product{};
                    for (int k = 0; k < SETS; k++) product += weight[r][k] * gradient[k];
                    put(to + r * stride + c, product, sizeof(past_caches) > 1);
                }
            };
            int c = 0;
            for (; c + WIDTH <= channels; c += WIDTH) vector(c);
            if (c < channels) vector(channels - WIDTH);
        };
        auto each_four = [](int n, auto body) {
            int j = 0;
            for (; j + 4 <= n; j += 4) body(N4{}, j);
            for (; j < n; j++) body(N1{}, j);
        };
        // Some rows are read, then as many written, so that memory does both.
        for (int j = 0, some; j < n; j += some) {
            some = n - j < ROWS ? n - j : ROWS;
            if (v_w) each_four(some, [&](auto rows, int r) { dots(rows, j + r); });
            if (!v_x) continue;
            R* const to = v_x + j * stride;
            if (past && whole)
                each_four(some, [&](auto rows, int r) { outer(rows, j + r, to + r * stride, N2{}); });
            else {
                const bool buffered = past && channels <= MOST && some == ROWS;
                R* const rows_at = buffered ? buffer : to;
                each_four(some, [&](auto rows, int r) { outer(rows, j + r, rows_at + r * stride, N1{}); });
                if (buffered) put_all(to, buffer, ROWS * stride);
            }
        }
    }
};
"""
