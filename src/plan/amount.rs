use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A span of time as people write it: `90s`, `5m`, `1h30m`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(into = "String", try_from = "String")]
pub struct Span(pub Duration);

impl Span {
    /// A forecast without digits that nobody can know, rounded up.
    #[must_use]
    pub fn rounded(time: Duration) -> Self {
        let step = match time.as_secs() {
            0 => 1,
            1..600 => 1000,
            _ => 60_000,
        };
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self(Duration::from_millis(
            millis.div_ceil(step).saturating_mul(step),
        ))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no time span like 90s, 5m or 1h30m");
        let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
        let span = Duration::try_from(span).map_err(|_| wrong())?;
        if span.is_zero() {
            Err(wrong())
        } else {
            Ok(Self(span))
        }
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        for (unit, length) in [("h", 3600), ("m", 60), ("s", 1)] {
            let count = match unit {
                "h" => seconds / length,
                _ => seconds / length % 60,
            };
            if count > 0 {
                write!(formatter, "{count}{unit}")?;
            }
        }
        match self.0.subsec_millis() {
            0 => Ok(()),
            millis => write!(formatter, "{millis}ms"),
        }
    }
}

/// An amount of bytes as Kubernetes writes it: `10Gi`, `500M`, `1.5Ti`.
///
/// The text is kept as it was given; [`Quantity::bytes`] is what it means, rounded up.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(into = "String", try_from = "String")]
pub struct Quantity {
    text: String,
    bytes: u64,
}

impl Quantity {
    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Suffixes of the Kubernetes resource model with their powers; the longer ones first.
const SUFFIXES: [(&str, u32, u32); 13] = [
    ("Ki", 2, 10),
    ("Mi", 2, 20),
    ("Gi", 2, 30),
    ("Ti", 2, 40),
    ("Pi", 2, 50),
    ("Ei", 2, 60),
    ("k", 10, 3),
    ("M", 10, 6),
    ("G", 10, 9),
    ("T", 10, 12),
    ("P", 10, 15),
    ("E", 10, 18),
    ("", 10, 0),
];

impl FromStr for Quantity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no amount of bytes like 10Gi or 500M");
        let (number, power) = match text.strip_suffix('m') {
            // Thousandths of a byte: the API server writes them when it was given a fraction.
            Some(number) => (number, Err(1000)),
            None => SUFFIXES
                .iter()
                .find_map(|(suffix, base, power)| {
                    let number = text.strip_suffix(suffix)?;
                    Some((number, Ok(u128::from(*base).pow(*power))))
                })
                .ok_or_else(wrong)?,
        };
        let (number, exponent) = match number.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<u32>().map_err(|_| wrong())?),
            None => (number, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let value: u128 = digits.parse().map_err(|_| wrong())?;
        let (up, down) = match power {
            Ok(factor) => (factor, 1),
            Err(divisor) => (1, divisor),
        };
        let places = u32::try_from(fraction.len()).map_err(|_| wrong())?;
        let bytes = 10_u128
            .checked_pow(exponent)
            .and_then(|scale| value.checked_mul(up)?.checked_mul(scale))
            .zip(
                10_u128
                    .checked_pow(places)
                    .and_then(|scale| scale.checked_mul(down)),
            )
            .and_then(|(value, divisor)| u64::try_from(value.div_ceil(divisor)).ok())
            .ok_or_else(wrong)?;
        Ok(Self {
            text: text.to_owned(),
            bytes,
        })
    }
}

impl TryFrom<String> for Quantity {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.text
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Bytes a second as people write them: `50MiB/s`, `8Mi`, `500kB/s`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(into = "String", try_from = "String")]
pub struct Rate {
    text: String,
    bytes_per_second: u64,
}

/// Units of a rate; bits are none of them, whose letter is a small `b`.
const RATE_UNITS: [&str; 9] = ["Ki", "Mi", "Gi", "Ti", "k", "M", "G", "T", ""];

impl Rate {
    /// The least: a connection on which less passes cannot be told from one that is dead.
    pub const LEAST: u64 = 256 << 10;

    /// How many bytes a second.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no rate like 50MiB/s or 500kB/s: bytes with k, M, G, T, Ki, Mi, Gi or Ti, each a second"
            )
        };
        let amount = text.strip_suffix("/s").unwrap_or(text);
        let amount = amount.strip_suffix('B').unwrap_or(amount);
        let is_number = |number: &str| {
            let digit = |byte: u8| byte.is_ascii_digit() || byte == b'.';
            number.starts_with(|first: char| first.is_ascii_digit()) && number.bytes().all(digit)
        };
        let known = RATE_UNITS
            .iter()
            .find_map(|unit| amount.strip_suffix(unit))
            .is_some_and(is_number);
        let bytes = amount.parse::<Quantity>().ok().filter(|_| known);
        let bytes_per_second = bytes.ok_or_else(wrong)?.bytes();
        if bytes_per_second < Self::LEAST {
            return Err(format!(
                "`{text}` is less than 256KiB/s, the least that copying can be limited to"
            ));
        }
        Ok(Self {
            text: format!("{amount}B/s"),
            bytes_per_second,
        })
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.text
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// An amount of bytes as people read it: `512 B`, `1.4 GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let (mut amount, mut unit) = (self.0 as f64, 0);
        // What would be shown as 1024 of a unit is 1 of the next.
        while amount >= 1023.95 && unit + 1 < UNITS.len() {
            amount /= 1024.0;
            unit += 1;
        }
        let digits = usize::from(unit > 0);
        write!(formatter, "{amount:.digits$} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn quantities_mean_what_kubernetes_means() {
        for (text, bytes) in [
            ("1", 1),
            ("1k", 1000),
            ("1Ki", 1024),
            ("10Gi", 10 << 30),
            ("1.5Gi", 3 << 29),
            ("0.5", 1),
            ("100m", 1),
            ("1500m", 2),
            ("1e3", 1000),
            ("12E", 12_000_000_000_000_000_000),
        ] {
            assert_eq!(
                text.parse::<Quantity>().map(|q| q.bytes()),
                Ok(bytes),
                "{text}"
            );
        }
        for text in ["", "Gi", "1 Gi", "-1", "1gi", "99E", "1.2.3", "1e99"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_bytes_a_second_and_read_what_they_write() {
        for (text, bytes, shown) in [
            ("50MiB/s", 50 << 20, "50MiB/s"),
            ("50MiB", 50 << 20, "50MiB/s"),
            ("8Mi", 8 << 20, "8MiB/s"),
            ("1.5Gi/s", 3 << 29, "1.5GiB/s"),
            ("300kB/s", 300_000, "300kB/s"),
            ("2M", 2_000_000, "2MB/s"),
            ("262144", 256 << 10, "262144B/s"),
            ("300000B", 300_000, "300000B/s"),
        ] {
            let rate: Rate = text.parse().expect(text);
            assert_eq!(rate.bytes_per_second(), bytes, "{text}");
            assert_eq!(rate.to_string(), shown);
            assert_eq!(shown.parse(), Ok(rate));
        }
        let told = |text: &str| match text.parse::<Rate>() {
            Ok(rate) => format!("{text} is {rate}"),
            Err(why) => why,
        };
        insta::assert_snapshot!(
            [
                "",
                "fast",
                "50 MiB/s",
                "50Mb/s",
                "50Mbit/s",
                "50MB/m",
                "50K",
                "1e9",
                "300000000m",
                "-5M",
                "1.2.3M",
                "5Ei",
                "99999999999999999999T",
                "0",
                "0MiB/s",
                "255KiB/s",
            ]
            .map(told)
            .join("\n")
        );
    }

    #[test]
    fn spans_read_what_they_write() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h30m", 5400)] {
            let span: Span = text.parse().expect(text);
            assert_eq!(span.0.as_secs(), seconds);
            assert_eq!(span.to_string().parse(), Ok(span));
        }
        for text in ["", "5", "0s", "-5m", "five minutes"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
