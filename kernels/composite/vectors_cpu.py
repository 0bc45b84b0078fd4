"""Vectors of samples in C++ kernels on the CPU: what the scans along rays share."""

# C++ that comes after EACH_RAY.
#
# Recurrences along a ray are scans, which are done for four samples at a time: inside of a vector, products of what
# passes and, backward, the maps B -> m B + u are composed by halves, which waits for no other vector; then what came from
# the vector before is multiplied in. So a vector, not a sample, waits for the one before.
VECTORS = r"""
constexpr bool DOUBLE = sizeof(R) == 8;
constexpr int LANES = 4;  // of vectors of float64
struct Segment { R x[SEGMENT]; };
typedef double V __attribute__((vector_size(32)));
typedef R P __attribute__((vector_size(LANES * sizeof(R)), aligned(sizeof(R))));
const V zero{}, one = V{} + 1.0;
auto load = [](const R* p) -> V { return __builtin_convertvector(*(const P*)p, V); };
auto wide = [](const R* p) -> Line { return *(const AnyLine*)p; };
auto sum = [](V x) { return (x[0] + x[1]) + (x[2] + x[3]); };
// The n samples from i on, and zeros up to a whole number of vectors, which may need a copy; zeros of no array.
const Segment nothing{};
auto view = [&](auto& array, long long i, int n, Segment& copy) -> const R* {
    if (!array.data) return nothing.x;
    if (n % WIDTH == 0) return array.data + i;
    for (int k = n; k % WIDTH; k++) copy.x[k] = 0;
    for (int k = 0; k < n; k++) copy.x[k] = array.data[i + k];
    return copy.x;
};
// T before each of four samples, each of which lets pass p; T, in all lanes, becomes that behind them.
auto passing = [&](V& T, V p) -> V {
    const V pairs = p * __builtin_shufflevector(p, p, 1, 0, 3, 2);
    const V first = __builtin_shufflevector(one, p, 0, 4, 2, 6), halves = __builtin_shufflevector(one, pairs, 0, 1, 4, 5);
    const V before = T * (first * halves);
    T *= pairs * __builtin_shufflevector(pairs, pairs, 2, 3, 0, 1);
    return before;
};
// B behind each of four samples, in front of each of which it is m B + u; `behind`, in all lanes, becomes that in front.
auto worth_behind = [&](V& behind, V m, V u) -> V {
    const V m_second = __builtin_shufflevector(m, m, 1, 1, 3, 3), u_second = __builtin_shufflevector(u, u, 1, 1, 3, 3);
    const V m_first = __builtin_shufflevector(m, m, 0, 0, 2, 2), u_first = __builtin_shufflevector(u, u, 0, 0, 2, 2);
    const V M = m_first * m_second, U = u_first + m_first * u_second;  // of pairs
    const V of_pairs = __builtin_shufflevector(U + M * behind, behind, 2, 3, 4, 5);  // B behind these
    const V in_front = U + M * of_pairs;
    behind = __builtin_shufflevector(in_front, in_front, 0, 1, 0, 1);
    return __builtin_shufflevector(u_second + m_second * of_pairs, of_pairs, 0, 5, 2, 7);
};
// exp(-s) = scale (1 + rest), with scale a power of two and rest = exp(f) - 1, |f| < log(2) / 2, by its series.
constexpr R HIGHEST = DOUBLE ? 708 : 87;  // beyond, exp(-s) is nothing
struct Exp { Line scale, rest; };
auto exponential = [](Line s) -> Exp {
    typedef @WHOLE@ M __attribute__((vector_size(32)));
    constexpr R LOWEST = DOUBLE ? -710 : -89;  // from there on it is infinite
    constexpr R MAGIC = DOUBLE ? 6755399441055744. : 12582912.;  // adding it rounds to whole numbers
    constexpr R LN2 = DOUBLE ? 0.69314718036912382 : 0.693145751953125;  // log(2) is LN2 + REST
    constexpr R REST = DOUBLE ? 1.9082149292705877e-10 : 1.428606765330187e-6;
    constexpr int BITS = DOUBLE ? 52 : 23, BIAS = DOUBLE ? 1023 : 127, TERMS = DOUBLE ? 13 : 7;
    constexpr double factors[] = {1., 2., 6., 24., 120., 720., 5040., 40320., 362880., 3628800., 39916800., 479001600.,
                                  6227020800.};
    const Line highest = Line{} + HIGHEST, lowest = Line{} + LOWEST;
    s = s > highest ? highest : s;  // what is no number remains so
    s = s < lowest ? lowest : s;
    const Line shifted = s * R(-1.4426950408889634) + MAGIC, whole = shifted - MAGIC;
    const Line f = (-s - whole * LN2) - whole * REST;
    Line series = Line{} + R(1 / factors[TERMS - 1]);
    for (int k = TERMS - 2; k >= 0; k--) series = series * f + R(1 / factors[k]);
    return {(Line)(((M)shifted + BIAS) << BITS), series * f};
};
auto opacity = [](Exp e) -> Line { return (R(1) - e.scale) - e.scale * e.rest; };
// exp(-s), exactly nothing where it nearly is, so that samples of any length have no gradient there.
auto decay = [](Exp e, Line s) -> Line { return s > Line{} + HIGHEST ? Line{} : e.scale + e.scale * e.rest; };
"""
