//! Times, sizes and rates as people read them. Every other file asks here.
use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// Powers of 1024, as Kubernetes counts memory and volumes.
const SIZES: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Powers of 1000, as networks and disks are sold.
const RATES: [&str; 7] = ["B/s", "kB/s", "MB/s", "GB/s", "TB/s", "PB/s", "EB/s"];

/// How long something took or will take, in its two largest units: `14s`, `6m10s`, `2h3m`, `3d4h`.
///
/// Parts of a second are rounded, but what took any time at all is never `0s`.
#[must_use]
pub fn duration(span: Duration) -> String {
    if span > Duration::ZERO && span < Duration::from_millis(500) {
        return "<1s".to_owned();
    }
    let seconds = span.as_secs() + u64::from(span.subsec_millis() >= 500);
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        HOUR..DAY => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        _ => two(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
    }
}

/// How old something is, cut where kubectl cuts it (`duration.HumanDuration` of apimachinery).
#[must_use]
pub fn age(span: Duration) -> String {
    const TWO_MINUTES: u64 = 2 * MINUTE;
    const TEN_MINUTES: u64 = 10 * MINUTE;
    const THREE_HOURS: u64 = 3 * HOUR;
    const EIGHT_HOURS: u64 = 8 * HOUR;
    const TWO_DAYS: u64 = 2 * DAY;
    const EIGHT_DAYS: u64 = 8 * DAY;
    const TWO_YEARS: u64 = 2 * YEAR;
    const EIGHT_YEARS: u64 = 8 * YEAR;
    let seconds = span.as_secs();
    match seconds {
        0..TWO_MINUTES => format!("{seconds}s"),
        TWO_MINUTES..TEN_MINUTES => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        TEN_MINUTES..THREE_HOURS => format!("{}m", seconds / MINUTE),
        THREE_HOURS..EIGHT_HOURS => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        EIGHT_HOURS..TWO_DAYS => format!("{}h", seconds / HOUR),
        TWO_DAYS..EIGHT_DAYS => two(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        EIGHT_DAYS..TWO_YEARS => format!("{}d", seconds / DAY),
        TWO_YEARS..EIGHT_YEARS => two(seconds / YEAR, "y", seconds % YEAR / DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// An amount of bytes: `0 B`, `512 B`, `1.1 GiB`.
#[must_use]
pub fn bytes(amount: u64) -> String {
    let (unit, divisor) = scale(amount as f64, 1024.0);
    format!("{} {}", in_unit(amount, unit, divisor), SIZES[unit])
}

/// Two amounts in the unit of the larger one: `1.1/1.4 GiB`.
#[must_use]
pub fn bytes_of(done: u64, total: u64) -> String {
    let (unit, divisor) = scale(done.max(total) as f64, 1024.0);
    let (done, total) = (in_unit(done, unit, divisor), in_unit(total, unit, divisor));
    format!("{done}/{total} {}", SIZES[unit])
}

/// Bytes per second: `212 MB/s`, `9.4 kB/s`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if !per_second.is_finite() || per_second < 0.0 {
        return "– B/s".to_owned();
    }
    let (unit, divisor) = scale(per_second, 1000.0);
    let amount = per_second / divisor;
    let digits = usize::from(unit > 0 && amount < 9.95);
    format!("{amount:.digits$} {}", RATES[unit])
}

/// A count with its thousands apart: `1 234 567`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `1 pod`, `3 pods`.
#[must_use]
pub fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit}{small}{small_unit}"),
    }
}

/// The unit in which the amount reads best, and how much one of it is. What would be rounded up to a whole
/// next unit is shown in that one: never `1024.0 KiB`.
fn scale(amount: f64, base: f64) -> (usize, f64) {
    let (mut unit, mut divisor) = (0, 1.0);
    while unit + 1 < SIZES.len() && amount / divisor >= base - 0.05 {
        unit += 1;
        divisor *= base;
    }
    (unit, divisor)
}

fn in_unit(amount: u64, unit: usize, divisor: f64) -> String {
    match unit {
        0 => amount.to_string(),
        _ => format!("{:.1}", amount as f64 / divisor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        for (span, text) in [
            (Duration::ZERO, "0s"),
            (Duration::from_millis(1), "<1s"),
            (Duration::from_millis(700), "1s"),
            (seconds(59), "59s"),
            (Duration::from_millis(59_800), "1m"),
            (seconds(114), "1m54s"),
            (seconds(370), "6m10s"),
            (seconds(300), "5m"),
            (seconds(7380), "2h3m"),
            (seconds(4 * HOUR + 3 * DAY), "3d4h"),
        ] {
            assert_eq!(duration(span), text, "{span:?}");
        }
    }

    #[test]
    fn ages_are_cut_as_kubectl_cuts_them() {
        for (span, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (370, "6m10s"),
            (10 * MINUTE + 30, "10m"),
            (179 * MINUTE, "179m"),
            (3 * HOUR + 5 * MINUTE, "3h5m"),
            (20 * HOUR + 5 * MINUTE, "20h"),
            (47 * HOUR, "47h"),
            (3 * DAY + 4 * HOUR, "3d4h"),
            (100 * DAY, "100d"),
            (2 * YEAR + 30 * DAY, "2y30d"),
            (9 * YEAR, "9y"),
        ] {
            assert_eq!(age(seconds(span)), text, "{span}");
        }
    }

    #[test]
    fn durations_and_ages_are_short_and_never_fall() {
        // A text that is read back may have lost the small unit, but never more than one of it.
        let mut last = 0;
        let mut span = 0;
        while span < 3 * YEAR {
            let text = duration(seconds(span));
            assert!(text.len() <= 8, "{span}: {text}");
            let read = read_back(&text);
            assert!(
                read <= span && span - read < HOUR,
                "{span}: {text} is {read}"
            );
            assert!(read >= last, "{span}: {text} is less than the one before");
            last = read;
            assert!(age(seconds(span)).len() <= 6, "{span}");
            span += 1 + span / 7;
        }
    }

    fn read_back(text: &str) -> u64 {
        let mut total = 0;
        let mut number = 0;
        for letter in text.chars() {
            if let Some(digit) = letter.to_digit(10) {
                number = number * 10 + u64::from(digit);
                continue;
            }
            total += number
                * match letter {
                    'd' => DAY,
                    'h' => HOUR,
                    'm' => MINUTE,
                    _ => 1,
                };
            number = 0;
        }
        total
    }

    #[test]
    fn bytes_never_reach_the_next_unit() {
        for (amount, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (45_204_530_790, "42.1 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(amount), text);
        }
        let mut amount: u64 = 1;
        while amount < u64::MAX / 3 {
            for near in [amount - 1, amount, amount + 1] {
                let text = bytes(near);
                let number: f64 = text
                    .split(' ')
                    .next()
                    .unwrap_or_default()
                    .parse()
                    .unwrap_or(f64::NAN);
                assert!(number < 1024.0, "{near}: {text}");
                assert!(text.len() <= 10, "{near}: {text}");
            }
            amount = amount * 2 + amount / 3 + 1;
        }
    }

    #[test]
    fn two_amounts_share_the_larger_ones_unit() {
        assert_eq!(bytes_of(1_181_116_006, 1_503_238_553), "1.1/1.4 GiB");
        assert_eq!(bytes_of(0, 0), "0/0 B");
        assert_eq!(bytes_of(5 << 30, 1 << 20), "5.0/0.0 GiB");
    }

    #[test]
    fn rates_count_in_thousands() {
        for (per_second, text) in [
            (0.0, "0 B/s"),
            (999.0, "999 B/s"),
            (9400.0, "9.4 kB/s"),
            (212.4e6, "212 MB/s"),
            (999.96e6, "1.0 GB/s"),
            (f64::NAN, "– B/s"),
            (f64::INFINITY, "– B/s"),
            (-1.0, "– B/s"),
        ] {
            assert_eq!(rate(per_second), text, "{per_second}");
        }
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!(count(0), "0");
        assert_eq!(count(123), "123");
        assert_eq!(count(1_234_567), "1 234 567");
        assert_eq!(counted(1, "pod", "pods"), "1 pod");
        assert_eq!(counted(0, "pod", "pods"), "0 pods");
    }
}
