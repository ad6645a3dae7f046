//! Go durations, as `time.ParseDuration` reads them: `30s`, `1h30m`, `1.5h`, `500ms`.
//!
//! In: text. Out: whole nanoseconds, or what is wrong with the text. Integer arithmetic throughout, digits below a
//! nanosecond are cut. Which range a field wants is for the rules to say.

use std::fmt;

/// A length of time, which may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(i64);

/// What is wrong with a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// There is no text.
    Empty,
    /// A number without a unit, such as `30`.
    MissingUnit {
        /// The number.
        number: String,
    },
    /// A unit that Go does not know, such as `d`.
    UnknownUnit {
        /// The unit.
        unit: String,
    },
    /// No number where one should be.
    NotANumber,
    /// Longer than 292 years.
    Overflow,
}

/// Reads a duration.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let (negative, mut rest) = match (text.strip_prefix('-'), text.strip_prefix('+')) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => (false, text),
    };
    if rest == "0" {
        return Ok(Duration(0));
    }
    if rest.is_empty() {
        return Err(DurationError::NotANumber);
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (part, after) = term(rest)?;
        total += part;
        if total > LIMIT {
            return Err(DurationError::Overflow);
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).map(Duration).map_err(|_| DurationError::Overflow)
}

/// One more than the longest positive duration: the longest negative one.
const LIMIT: i128 = 1 << 63;

/// Reads one number with its unit: its nanoseconds, and the rest of the text.
fn term(text: &str) -> Result<(i128, &str), DurationError> {
    let digit = |c: char| c.is_ascii_digit();
    let (whole, after) = span(text, digit);
    let (fraction, after) = after.strip_prefix('.').map_or(("", after), |after| span(after, digit));
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::NotANumber);
    }
    let (unit, rest) = span(after, |c| c != '.' && !digit(c));
    if unit.is_empty() {
        let number = text.strip_suffix(after).unwrap_or(text);
        return Err(DurationError::MissingUnit { number: number.into() });
    }
    let unit = nanos_of(unit).ok_or_else(|| DurationError::UnknownUnit { unit: unit.into() })?;
    let whole = whole
        .bytes()
        .try_fold(0i128, |sum, digit| Some(sum * 10 + i128::from(digit - b'0')).filter(|sum| *sum <= LIMIT))
        .ok_or(DurationError::Overflow)?;
    // 0.d1d2d3.. of a unit, from the last digit on: nothing is lost, however many there are.
    let part = fraction.bytes().rev().fold(0, |part, digit| (i128::from(digit - b'0') * unit + part) / 10);
    Ok((whole * unit + part, rest))
}

/// The longest start of `text` of which all characters are `wanted`, and the rest.
fn span(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    text.find(|c| !wanted(c)).map_or((text, ""), |end| text.split_at(end))
}

fn nanos_of(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

impl Duration {
    /// The duration in nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }
}

/// The shortest text of the same length that [`parse`] reads: `1m30s`, `500ms`, `1.5s`, `2h`, `0s`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let (unit, name) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let (hours, minutes) = (nanos / 3_600_000_000_000, nanos / 60_000_000_000 % 60);
        for (count, name) in [(hours, "h"), (minutes, "m")] {
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
        }
        let rest = nanos % 60_000_000_000;
        if rest > 0 {
            write!(f, "{}", rest / unit)?;
            let below = rest % unit;
            if below > 0 {
                let digits = unit.ilog10() as usize;
                let fraction = format!("{below:0digits$}");
                write!(f, ".{}", fraction.trim_end_matches('0'))?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// Says what is wrong, in lower case and without a full stop.
impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a duration is needed"),
            Self::MissingUnit { number } => write!(f, "a duration needs a unit after {number:?}"),
            Self::UnknownUnit { unit } => write!(f, "unknown unit {unit:?}"),
            Self::NotANumber => f.write_str("a duration is a number with a unit"),
            Self::Overflow => f.write_str("a duration is at most 292 years"),
        }
    }
}

impl std::error::Error for DurationError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &Result<i64, DurationError>) {
        assert_eq!(parse(text).map(Duration::nanos), *expected, "{text:?}");
    }

    const SECOND: i64 = 1_000_000_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("0s", 0),
            ("-0s", 0),
            ("5s", 5 * SECOND),
            ("30s", 30 * SECOND),
            ("1478s", 1478 * SECOND),
            ("-5s", -5 * SECOND),
            ("+5s", 5 * SECOND),
            ("-1s", -SECOND),
            ("+5m", 5 * MINUTE),
            ("5.0s", 5 * SECOND),
            ("5.6s", 5_600_000_000),
            ("1.s", SECOND),
            (".5s", SECOND / 2),
            ("-.5s", -SECOND / 2),
            ("1.0s", SECOND),
            ("1.00s", SECOND),
            ("1.004s", 1_004_000_000),
            ("1.0040s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12µs", 12_000),
            ("12μs", 12_000),
            ("13ms", 13_000_000),
            ("14s", 14 * SECOND),
            ("15m", 15 * MINUTE),
            ("16h", 16 * HOUR),
            ("3h30m", 3 * HOUR + 30 * MINUTE),
            ("1h30m", 90 * MINUTE),
            ("1.5h", 90 * MINUTE),
            ("10.5s4m", 4 * MINUTE + 10_500_000_000),
            ("-2m3.4s", -(2 * MINUTE + 3_400_000_000)),
            ("1h2m3s4ms5us6ns", HOUR + 2 * MINUTE + 3 * SECOND + 4_005_006),
            ("39h9m14.425s", 39 * HOUR + 9 * MINUTE + 14_425_000_000),
            ("52763797000ns", 52_763_797_000),
            ("0.3333333333333333333h", 20 * MINUTE - 1),
            ("0.33333333333333333333h", 20 * MINUTE - 1),
            ("0.100000000000000000000h", 6 * MINUTE),
            ("0.830103483285477580700h", 2_988_372_539_827),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("9223372036854775807ns", i64::MAX),
            ("9223372036854775.807us", i64::MAX),
            ("9223372036s854ms775us807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("-9223372036854775.808us", i64::MIN),
            ("-2562047h47m16.854775808s", i64::MIN),
        ] {
            check(text, &Ok(nanos));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let number = |number: &str| DurationError::MissingUnit { number: number.into() };
        let unit = |unit: &str| DurationError::UnknownUnit { unit: unit.into() };
        for (text, error) in [
            ("", DurationError::Empty),
            ("30", number("30")),
            ("1.5", number("1.5")),
            ("-3", number("3")),
            ("1h30", number("30")),
            ("00", number("00")),
            ("3d", unit("d")),
            ("1h2x", unit("x")),
            ("1 s", unit(" s")),
            ("1s ", unit("s ")),
            ("1h-5m", unit("h-")),
            ("30S", unit("S")),
            ("0x10s", unit("x")),
            ("-", DurationError::NotANumber),
            ("+", DurationError::NotANumber),
            ("s", DurationError::NotANumber),
            (".", DurationError::NotANumber),
            ("-.", DurationError::NotANumber),
            (".s", DurationError::NotANumber),
            ("+.s", DurationError::NotANumber),
            ("--1s", DurationError::NotANumber),
            (" 1s", DurationError::NotANumber),
            ("forever", DurationError::NotANumber),
            ("٣s", DurationError::NotANumber),
            ("9223372036854775808ns", DurationError::Overflow),
            ("9223372036854775.808us", DurationError::Overflow),
            ("9223372036854ms775us808ns", DurationError::Overflow),
            ("-9223372036854775809ns", DurationError::Overflow),
            ("3000000h", DurationError::Overflow),
            ("99999999999999999999999999999999999999999999h", DurationError::Overflow),
        ] {
            check(text, &Err(error));
        }
    }

    #[test]
    fn reads_text_of_any_length() {
        assert_eq!(parse(&"1ns".repeat(100_000)).map(Duration::nanos), Ok(100_000));
        assert_eq!(
            parse(&"9".repeat(1_000_000)),
            Err(DurationError::MissingUnit { number: "9".repeat(1_000_000) })
        );
        assert_eq!(parse(&format!("0.{}s", "0".repeat(1_000_000))).map(Duration::nanos), Ok(0));
    }

    #[test]
    fn shows_the_shortest_text() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (500_000_000, "500ms"),
            (1_000_001, "1.000001ms"),
            (1_500_000_000, "1.5s"),
            (90 * SECOND, "1m30s"),
            (5 * MINUTE, "5m"),
            (HOUR, "1h"),
            (90 * MINUTE, "1h30m"),
            (HOUR + 1, "1h0.000000001s"),
            (-5 * SECOND, "-5s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(Duration(nanos).to_string(), text);
        }
    }

    #[test]
    fn compares_by_length() {
        assert!(parse("60s").unwrap() > parse("59s").unwrap());
        assert_eq!(parse("60s"), parse("1m"));
    }

    proptest! {
        #[test]
        fn reads_back_what_it_shows(nanos: i64) {
            prop_assert_eq!(parse(&Duration(nanos).to_string()), Ok(Duration(nanos)));
        }

        #[test]
        fn never_panics(text in "[-+.0-9a-zµ ]{0,80}") {
            let _ = parse(&text);
        }
    }
}
