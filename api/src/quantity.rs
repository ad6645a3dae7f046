//! Kubernetes quantities: `500m`, `2`, `1.5Gi`, `1e3`.
//!
//! In: text. Out: the amount in whole billionths, exact, or what is wrong with the text. As in Kubernetes an amount
//! below a billionth is rounded up, away from zero, and one above 2^63-1 is capped there. Numbers in JSON are turned
//! into text by the caller.

use std::fmt;

/// An amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

/// What is wrong with a quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuantityError {
    /// There is no text.
    Empty,
    /// The text does not start with a number.
    NotANumber,
    /// What follows the number is no suffix, such as `mb`.
    UnknownSuffix {
        /// What follows.
        suffix: String,
    },
}

/// Reads a quantity.
pub fn parse(text: &str) -> Result<Quantity, QuantityError> {
    if text.is_empty() {
        return Err(QuantityError::Empty);
    }
    let negative = text.starts_with('-');
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, after) = digits(rest);
    let (fraction, suffix) = after.strip_prefix('.').map_or(("", after), digits);
    if whole.is_empty() && fraction.is_empty() {
        return Err(QuantityError::NotANumber);
    }
    let (unit, exponent) =
        scale(suffix).ok_or_else(|| QuantityError::UnknownSuffix { suffix: suffix.into() })?;
    let nanos = amount(whole, fraction, unit, exponent);
    Ok(Quantity(if negative { -nanos } else { nanos }))
}

/// Billionths in the highest amount there is.
const CAP: i128 = i64::MAX as i128 * NANO;
const NANO: i128 = 1_000_000_000;

/// The digits at the start of `text`, and the rest.
fn digits(text: &str) -> (&str, &str) {
    text.find(|c: char| !c.is_ascii_digit()).map_or((text, ""), |end| text.split_at(end))
}

/// What a suffix stands for: billionths in its unit, and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i64)> {
    Some(match suffix {
        "n" => (1, 0),
        "u" => (1_000, 0),
        "m" => (1_000_000, 0),
        "" => (NANO, 0),
        "k" => (NANO, 3),
        "M" => (NANO, 6),
        "G" => (NANO, 9),
        "T" => (NANO, 12),
        "P" => (NANO, 15),
        "E" => (NANO, 18),
        "Ki" => (NANO << 10, 0),
        "Mi" => (NANO << 20, 0),
        "Gi" => (NANO << 30, 0),
        "Ti" => (NANO << 40, 0),
        "Pi" => (NANO << 50, 0),
        "Ei" => (NANO << 60, 0),
        _ => (NANO, exponent(suffix.strip_prefix(['e', 'E'])?)?),
    })
}

/// A whole number with an optional sign. Beyond a million all are alike, whatever is in front of them.
fn exponent(text: &str) -> Option<i64> {
    let (number, rest) = digits(text.strip_prefix(['-', '+']).unwrap_or(text));
    if number.is_empty() || !rest.is_empty() {
        return None;
    }
    let size = number
        .bytes()
        .fold(0i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    let size = size.min(1 << 40);
    Some(if text.starts_with('-') { -size } else { size })
}

/// `whole.fraction` times ten to the `exponent`, in billionths, with `unit` billionths in one.
fn amount(whole: &str, fraction: &str, unit: i128, exponent: i64) -> i128 {
    let digits = || whole.bytes().chain(fraction.bytes()).map(|digit| i128::from(digit - b'0'));
    let Some(zeros) = digits().position(|digit| digit != 0) else {
        return 0;
    };
    // How many of the digits from the first one that is not 0 on stand before the point; negative: zeros after it.
    let before = whole.len() as i64 + exponent - zeros as i64;
    if before > 38 {
        return CAP;
    }
    if before < -60 {
        return 1;
    }
    let significant = digits().skip(zeros);
    let count = before.max(0) as usize;
    let integer =
        significant.clone().chain(std::iter::repeat(0)).take(count).fold(0, |sum, digit| sum * 10 + digit);

    // The part after the point, from its last digit on: exact, however many there are.
    let mut below = 0;
    let mut rounded = false;
    let after: Vec<i128> = std::iter::repeat_n(0, before.min(0).unsigned_abs() as usize)
        .chain(significant.skip(count))
        .collect();
    for digit in after.into_iter().rev() {
        let sum = digit * unit + below;
        rounded |= sum % 10 != 0;
        below = sum / 10;
    }
    integer
        .checked_mul(unit)
        .and_then(|nanos| nanos.checked_add(below + i128::from(rounded)))
        .map_or(CAP, |nanos| nanos.min(CAP))
}

impl Quantity {
    /// The amount in billionths.
    pub const fn nanos(self) -> i128 {
        self.0
    }
}

/// Says what is wrong, in lower case and without a full stop.
impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a quantity is needed"),
            Self::NotANumber => f.write_str("a quantity starts with a number"),
            Self::UnknownSuffix { suffix } => write!(f, "unknown suffix {suffix:?}"),
        }
    }
}

impl std::error::Error for QuantityError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &Result<i128, QuantityError>) {
        assert_eq!(parse(text).map(Quantity::nanos), *expected, "{text:?}");
    }

    #[test]
    fn reads_what_kubernetes_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("0.0Ki", 0),
            ("0e9999999999999999999999", 0),
            ("1", NANO),
            ("+1", NANO),
            ("-1", -NANO),
            ("0.5", NANO / 2),
            (".5", NANO / 2),
            ("2.", 2 * NANO),
            ("500m", NANO / 2),
            ("1n", 1),
            ("1u", 1_000),
            ("1k", 1_000 * NANO),
            ("512M", 512_000_000 * NANO),
            ("1G", NANO * NANO),
            ("3T", 3_000 * NANO * NANO),
            ("1P", 1_000_000 * NANO * NANO),
            ("1E", NANO * NANO * NANO),
            ("1Ki", 1024 * NANO),
            ("128Mi", (128 << 20) * NANO),
            ("1.5Gi", (3 << 29) * NANO),
            ("1Ti", (1 << 40) * NANO),
            ("1Pi", (1 << 50) * NANO),
            ("1Ei", (1 << 60) * NANO),
            ("-1.5Gi", -(3 << 29) * NANO),
            ("1e3", 1_000 * NANO),
            ("1E3", 1_000 * NANO),
            ("1E+3", 1_000 * NANO),
            ("12.5e-1", 1_250_000_000),
            ("1e-9", 1),
            ("0.001e3", NANO),
            ("1000000000000000000000000000000000000000000000000e-48", NANO),
            ("000000000000000000000000000000000000000000000000001", NANO),
        ] {
            check(text, &Ok(nanos));
        }
    }

    #[test]
    fn rounds_up_below_a_billionth() {
        for (text, nanos) in [
            ("0.1n", 1),
            ("-0.1n", -1),
            ("1.1n", 2),
            ("1e-10", 1),
            ("1e-9999999999999999999", 1),
            ("0.0000000001", 1),
            ("0.0000000011", 2),
            ("0.00000000000000000000000000000000000000000000000000000000000000000001Ei", 1),
            ("0.3Ki", 307_200_000_000),
            ("0.0000000000001Ki", 1),
        ] {
            check(text, &Ok(nanos));
        }
    }

    #[test]
    fn caps_what_is_too_large() {
        let digits = "9".repeat(1_000_000);
        for text in [
            "9223372036854775807",
            "9223372036854775808",
            "8Ei",
            "10E",
            "1e19",
            "1e999999999999999999999",
            &digits,
        ] {
            check(text, &Ok(CAP));
        }
        check("-8Ei", &Ok(-CAP));
        check("9223372036854775806.999999999", &Ok(CAP - 1));
        check("1000000000000000000000000n", &Ok(1_000_000_000_000_000 * NANO));
    }

    #[test]
    fn says_what_is_wrong() {
        let suffix = |suffix: &str| QuantityError::UnknownSuffix { suffix: suffix.into() };
        for (text, error) in [
            ("", QuantityError::Empty),
            ("Ki", QuantityError::NotANumber),
            ("-", QuantityError::NotANumber),
            (".", QuantityError::NotANumber),
            ("aoeu", QuantityError::NotANumber),
            (" 1", QuantityError::NotANumber),
            ("--1", QuantityError::NotANumber),
            ("1 ", suffix(" ")),
            ("1 Gi", suffix(" Gi")),
            ("1.1.M", suffix(".M")),
            ("1+1.0M", suffix("+1.0M")),
            ("0.1mi", suffix("mi")),
            ("0.1am", suffix("am")),
            (".5i", suffix("i")),
            ("1K", suffix("K")),
            ("1e", suffix("e")),
            ("-3.01e-", suffix("e-")),
            ("1e1.5", suffix("e1.5")),
            ("1Mb", suffix("Mb")),
            ("1GB", suffix("GB")),
        ] {
            check(text, &Err(error));
        }
    }

    #[test]
    fn compares_across_suffixes() {
        for (less, more) in [("999m", "1"), ("1M", "1Mi"), ("512M", "512Mi"), ("-1", "0"), ("1Gi", "1.1Gi")] {
            assert!(parse(less).unwrap() < parse(more).unwrap(), "{less} < {more}");
        }
        for (one, other) in [("1000m", "1"), ("0.5", "500m"), ("1024Ki", "1Mi"), ("1e3", "1k")] {
            assert_eq!(parse(one), parse(other), "{one} = {other}");
        }
    }

    proptest! {
        #[test]
        fn reads_whole_numbers(number: i64) {
            prop_assume!(number != i64::MIN);
            prop_assert_eq!(parse(&number.to_string()), Ok(Quantity(i128::from(number) * NANO)));
        }

        #[test]
        fn never_panics(text in "[-+]?[0-9.]{0,60}[-+eEinumkKMGTP0-9]{0,12}") {
            let _ = parse(&text);
        }
    }
}
