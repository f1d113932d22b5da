// Functions of one value, by the codes of UnaryFunction in ops/unary.rs; a code beyond them is the value itself.

// Exact near zero, where (e²ˣ - 1) / (e²ˣ + 1) cancels: Lambert's continued fraction.
fn tangens_hyperbolicus(x: f32) -> f32 {
    if abs(x) < 0.6 {
        let s = x * x;
        return x / (1.0 + s / (3.0 + s / (5.0 + s / (7.0 + s / 9.0))));
    }
    return tanh(clamp(x, -20.0, 20.0));
}

// e^x - 1.
fn exp_less_one(x: f32) -> f32 {
    if abs(x) < 0.6 {
        let t = tangens_hyperbolicus(0.5 * x);
        return 2.0 * t / (1.0 - t);
    }
    return exp(x) - 1.0;
}

// ln(1 + x) for x in 0..1: twice the area tangent of x / (2 + x).
fn log_one_more(x: f32) -> f32 {
    let s = x / (2.0 + x);
    let q = s * s;
    return 2.0 * s * (1.0 + q * (1.0 / 3.0 + q * (0.2 + q * (1.0 / 7.0 + q * (1.0 / 9.0 + q * (1.0 / 11.0 + q * (1.0 / 13.0)))))));
}

fn softplus(x: f32) -> f32 {
    return max(x, 0.0) + log_one_more(exp(-abs(x)));
}

// The error function: a rational function near zero (fdlibm), Abramowitz and Stegun 7.1.26 beyond.
fn error_function(x: f32) -> f32 {
    let a = abs(x);
    if a < 0.84375 {
        let z = x * x;
        let r = 0.128379166 + z * (-0.325042111 + z * (-0.0284817498 + z * (-0.00577027029 + z * -0.0000237630166)));
        let s = 1.0 + z * (0.397917223 + z * (0.0650222499 + z * (0.00508130628 + z * (0.000132494738 + z * -0.00000396022828))));
        return x + x * (r / s);
    }
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - p * exp(-min(a * a, 80.0)));
}

// The sine, or the sine a quarter of a turn ahead: what WGSL has may be off by 2⁻¹¹, and more far from zero. The nearest
// multiple of π / 2 is taken away in three parts, so that nothing is lost; then polynomials (Cephes).
fn sine(x: f32, ahead: i32) -> f32 {
    let turns = round(x * 0.636619772);
    let r = ((x - turns * 1.5703125) - turns * 0.00048375129699707) - turns * 7.549789948768648e-8;
    let z = r * r;
    let s = r + r * z * (-0.16666654611 + z * (0.0083321608736 + z * -0.00019515295891));
    let c = 1.0 - 0.5 * z + z * z * (0.04166664568 + z * (-0.001388731625 + z * 0.00002443315712));
    let quarter = (i32(turns) + ahead) & 3;
    let value = select(s, c, (quarter & 1) == 1);
    return select(value, -value, (quarter & 2) != 0);
}

fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exp(-x));
}

fn apply(function: u32, alpha: f32, beta: f32, x: f32) -> f32 {
    switch function {
        case 0u: { return exp(x); }
        case 1u: { return -x; }
        case 2u: { return 1.0 / x; }
        case 3u: { return sigmoid(x); }
        case 4u: { return x * sigmoid(x); }
        case 5u: { return sqrt(x); }
        case 6u: { return tangens_hyperbolicus(x); }
        case 7u: { return abs(x); }
        case 8u: { return ceil(x); }
        case 9u: { return floor(x); }
        case 10u: { return round(x); }
        case 11u: { return sign(x); }
        case 12u: { return select(x, 0.0, x < 0.0); }
        case 13u: { return select(x, alpha * x, x < 0.0); }
        case 14u: { return select(select(x, beta, x > beta), min(alpha, beta), x < alpha); }
        case 15u: { return clamp(alpha * x + beta, 0.0, 1.0); }
        case 16u: { return x * clamp(x / 6.0 + 0.5, 0.0, 1.0); }
        case 17u: { return select(x, alpha * exp_less_one(x), x < 0.0); }
        case 18u: { return max(x, 0.0) + min(alpha * exp_less_one(x / alpha), 0.0); }
        case 19u: { return beta * select(alpha * exp_less_one(x), x, x > 0.0); }
        case 20u: { return error_function(x); }
        case 21u: { return 0.5 * x * (1.0 + error_function(x * 0.70710678)); }
        case 22u: { return 0.5 * x * (1.0 + tangens_hyperbolicus(0.79788456 * (x + 0.044715 * x * x * x))); }
        case 23u: { return log(x); }
        case 24u: { return softplus(x); }
        case 25u: { return x / (1.0 + abs(x)); }
        case 26u: { return x * tangens_hyperbolicus(softplus(x)); }
        case 27u: { return select(0.0, x, x > alpha); }
        case 28u: { return x * sigmoid(alpha * x); }
        case 29u: { return sine(x, 0); }
        case 30u: { return sine(x, 1); }
        case 31u: { return select(select(0.0, x - alpha, x > beta), x + alpha, x < -beta); }
        default: { return x; }
    }
}
