//! Arithmetic that gives the same bits on every machine.
//!
//! The logarithm and the power of e of the standard library differ between platforms. The functions here use only
//! `+ - * /` and the bits of a number, which IEEE 754 fixes.

/// ln 2.
pub(super) const LN_2: f64 = core::f64::consts::LN_2;

/// 2^200, the largest mantissa that is kept.
const LARGE: f64 = f64::from_bits((200 + 1023) << 52);
/// 2^-200.
const SMALL: f64 = f64::from_bits((1023 - 200) << 52);

/// Positive numbers as `mantissa * 2^exponent`. Products of thousands of factors fit into them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row<const N: usize> {
    /// Between 2^-200 and 2^200, or 0.
    mantissa: [f64; N],
    exponent: [i32; N],
}

impl<const N: usize> Row<N> {
    /// Ones.
    pub(super) const ONE: Self = Self { mantissa: [1.0; N], exponent: [0; N] };

    /// Multiplies each number by its factor, which is between 2^-200 and 2^200.
    pub(super) fn multiply(&mut self, factors: &[f64; N]) {
        let mut outside = false;
        for (m, f) in self.mantissa.iter_mut().zip(factors) {
            *m *= f;
            outside |= !(SMALL..=LARGE).contains(m);
        }
        if outside {
            for (m, e) in self.mantissa.iter_mut().zip(&mut self.exponent) {
                if *m > LARGE {
                    *m *= SMALL;
                    *e += 200;
                } else if *m < SMALL && *m > 0.0 {
                    *m *= LARGE;
                    *e -= 200;
                }
            }
        }
    }

    /// Multiplies each number by its factor to the power of `count`, in about `log2(count)` steps.
    pub(super) fn multiply_power(&mut self, factors: &[f64; N], count: u32) {
        let mut square = Self { mantissa: *factors, exponent: [0; N] };
        let mut left = count;
        while left > 0 {
            if left & 1 == 1 {
                for (e, more) in self.exponent.iter_mut().zip(&square.exponent) {
                    *e += more;
                }
                self.multiply(&square.mantissa);
            }
            for e in &mut square.exponent {
                *e *= 2;
            }
            let mantissa = square.mantissa;
            square.multiply(&mantissa);
            left >>= 1;
        }
    }

    /// The largest exponent.
    pub(super) fn top(&self) -> i32 {
        self.exponent.iter().copied().max().unwrap_or(0)
    }

    /// The numbers divided by `2^exponent`; 0 where one is too small for it.
    pub(super) fn relative(&self, exponent: i32) -> [f64; N] {
        if self.exponent == [exponent; N] {
            return self.mantissa;
        }
        std::array::from_fn(|n| self.mantissa[n] * power_of_two(self.exponent[n] - exponent))
    }
}

/// `2^n`; 0 below 2^-1022, 2^1023 above.
pub(super) fn power_of_two(n: i32) -> f64 {
    if n < -1022 { 0.0 } else { f64::from_bits((i64::from(n.min(1023)) + 1023).cast_unsigned() << 52) }
}

/// The natural logarithm of a positive number; of anything else the logarithm of the smallest normal number.
pub(super) fn ln(x: f64) -> f64 {
    let x = if x > f64::MIN_POSITIVE { x } else { f64::MIN_POSITIVE };
    let bits = x.to_bits();
    let mut exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0) - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | (1023 << 52));
    if mantissa > core::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    // ln m = 2 atanh((m - 1) / (m + 1)). The argument is below 0.1716, so that eleven terms reach 1e-17.
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let square = z * z;
    let mut sum = 0.0;
    let mut n = 21.0;
    while n > 0.0 {
        sum = sum * square + 1.0 / n;
        n -= 2.0;
    }
    2.0 * z * sum + f64::from(exponent) * LN_2
}

/// `e` to the power of `x`; 0 below -700, and no more than e^700.
#[expect(clippy::cast_possible_truncation, reason = "the exponent is between -1010 and 1010")]
pub(super) fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let x = if x > 700.0 { 700.0 } else { x };
    let steps = x / LN_2;
    let whole = if steps < 0.0 { steps - 0.5 } else { steps + 0.5 } as i32;
    let rest = x - f64::from(whole) * LN_2;
    let mut sum = 1.0;
    let mut n = 16.0;
    while n > 0.0 {
        sum = 1.0 + sum * rest / n;
        n -= 1.0;
    }
    sum * power_of_two(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_power_agree_with_known_values() {
        assert!((ln(10.0) - core::f64::consts::LN_10).abs() < 1e-15);
        assert!((ln(1e-200) + 200.0 * core::f64::consts::LN_10).abs() < 1e-12);
        assert!((exp(1.0) - core::f64::consts::E).abs() < 1e-15);
        for n in -60..60 {
            let x = f64::from(n) * 3.7;
            assert!((ln(exp(x)) - x).abs() < 1e-12, "{x}");
        }
        assert_eq!(ln(1.0).to_bits(), 0.0_f64.to_bits());
        assert_eq!(exp(-1000.0).to_bits(), 0);
    }

    #[test]
    fn powers_neither_overflow_nor_vanish() {
        let mut x = Row::<1>::ONE;
        x.multiply_power(&[0.5], 5000);
        assert!(x.top() < -4000);
        x.multiply_power(&[2.0], 5003);
        assert!((x.relative(0)[0] - 8.0).abs() < 1e-12);
    }
}
