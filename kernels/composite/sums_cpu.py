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
auto blocks = [](int channels, auto body) {
    const Line all = Line{} + R(1);
    int c = 0;
    auto whole = [&](auto vectors) {
        constexpr int N = sizeof(vectors) * WIDTH;
        for (; c + N <= channels; c += N) body(vectors, c, c + N - WIDTH, all);
    };
    whole(N8{});
    whole(N4{});
    if (c == channels) return;
    Line mask;
    const int vectors = (channels - c + WIDTH - 1) / WIDTH, fresh = channels - c - (vectors - 1) * WIDTH;
    for (int i = 0; i < WIDTH; i++) mask[i] = i >= WIDTH - fresh;
    switch (vectors) {
        case 1: body(N1{}, c, channels - WIDTH, mask); break;
        case 2: body(N2{}, c, channels - WIDTH, mask); break;
        case 3: body(N3{}, c, channels - WIDTH, mask); break;
        case 4: body(N4{}, c, channels - WIDTH, mask); break;
    }
};
// to_k[d] += sum_j w_k[j] x[j, d] over n samples, for each set of weights k; a sample of weights 0 adds nothing, whatever
// its values. Rows of x are `stride` apart.
auto add_values = [&](int n, int channels, long long stride, const R* x, const R* const* w, R* const* to) {
    auto left_out = [&](int j) { return w[0][j] == R(0) && w[SETS - 1][j] == R(0); };
    if (channels < WIDTH)
        few(channels, [&](auto number) {
            constexpr int D = sizeof(number);
            constexpr int ROWS = 4;  // sums side by side, since one would wait for the addition before
            R sum[ROWS][SETS][D] = {};
            for (int j = 0; j < n; j += ROWS)
                for (int r = 0; r < ROWS; r++) {
                    if (j + r >= n || left_out(j + r)) continue;
                    for (int k = 0; k < SETS; k++)
                        for (int d = 0; d < D; d++) sum[r][k][d] += w[k][j + r] * x[(j + r) * stride + d];
                }
            for (int k = 0; k < SETS; k++)
                for (int d = 0; d < D; d++) to[k][d] += (sum[0][k][d] + sum[1][k][d]) + (sum[2][k][d] + sum[3][k][d]);
        });
    else
        blocks(channels, [&](auto vectors, int c, int last, Line mask) {
            constexpr int N = sizeof(vectors);
            Line sum[SETS][N] = {};
            for (int j = 0; j < n; j++) {
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
            if (v_w)
                for (int k = 0; k < SETS; k++)
                    for (int j = 0; j < n; j++) {
                        R dot = 0;
                        for (int d = 0; d < D; d++) dot += v[k][d] * x[stride ? j * D + d : d];
                        v_w[k][j] += dot;
                    }
            if (v_x) {
                R to[SEGMENT * D];
                for (int j = 0; j < n; j++)
                    for (int d = 0; d < D; d++) {
                        R sum = 0;
                        for (int k = 0; k < SETS; k++) sum += w[k][j] * v[k][d];
                        to[j * D + d] = sum;
                    }
                put_all(v_x, to, n * D);
            }
        });
    else {
        const bool past = far && channels % WIDTH == 0 && aligned(v_x);
        for (int j = 0; j < n; j++) {
            Line dot[SETS] = {};
            blocks(channels, [&](auto vectors, int c, int last, Line mask) {
                constexpr int N = sizeof(vectors);
                for (int v = 0; v < N; v++) {
                    const int at = v < N - 1 ? c + v * WIDTH : last;
                    const Line value = *(const AnyLine*)(x + j * stride + at);
                    Line outer{};
                    for (int k = 0; k < SETS; k++) {
                        const Line gradient = *(const AnyLine*)(g[k] + at);
                        if (v_w) dot[k] += v < N - 1 ? gradient * value : mask * gradient * value;
                        outer += w[k][j] * gradient;
                    }
                    if (v_x) put(v_x + j * stride + at, outer, past);
                }
            });
            if (v_w)
                for (int k = 0; k < SETS; k++) v_w[k][j] += sum_of_line(dot[k]);
        }
    }
};
"""
