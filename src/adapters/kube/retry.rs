//! When a request may be sent again, and how long to wait before that.
use std::time::Duration;

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

/// Bounds of one request and its repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// All tries together. 60 s outlasts the restart of a single API server.
    pub total: Duration,
    /// One try, from sending to the last byte; for watches and streams, to the first byte.
    pub single_try: Duration,
    /// All tries of the first request to a server that has not answered yet: a wrong address
    /// or a missing VPN should be said soon.
    pub first_contact: Duration,
    /// Longest wait before the second try.
    pub first_wait: Duration,
    /// Longest wait before any try.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            total: Duration::from_mins(1),
            single_try: Duration::from_secs(30),
            first_contact: Duration::from_secs(5),
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(8),
        }
    }
}

impl RetryPolicy {
    /// Full jitter: anything from zero to the exponential bound, so that many clients spread out.
    pub(super) fn wait(&self, tries: u32) -> Duration {
        let bound = self
            .first_wait
            .saturating_mul(1 << tries.saturating_sub(1).min(16))
            .min(self.longest_wait);
        bound.mul_f64(fastrand::f64())
    }
}

/// What a request is, for the question whether it may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Sending it twice ends as sending it once (reads, reviews, dry runs; PUT, PATCH, DELETE).
    Safe,
    /// A create: only when the earlier try had no effect.
    OnlyWithoutEffect,
}

/// What an HTTP answer means for the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The answer stands.
    Final,
    /// Try again after the server's own wait, or ours.
    Again(Option<Duration>),
    /// The server may or may not have done it.
    Ambiguous,
}

/// Judges an answer. A webhook that could not be called (500) refuses before anything is stored.
pub(super) fn judge(
    repeat: Repeat,
    code: StatusCode,
    headers: &HeaderMap,
    message: &str,
) -> Verdict {
    match code.as_u16() {
        429 | 503 => Verdict::Again(retry_after(headers)),
        500 if message.contains("failed calling webhook") => Verdict::Again(None),
        500 | 502 | 504 => match repeat {
            Repeat::Safe => Verdict::Again(retry_after(headers)),
            Repeat::OnlyWithoutEffect => Verdict::Ambiguous,
        },
        _ => Verdict::Final,
    }
}

/// Seconds only: the API server never sends a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_below_their_bound() {
        let policy = RetryPolicy::default();
        for tries in 1..40 {
            let bound = Duration::from_millis(250)
                .saturating_mul(1 << (tries - 1).min(16))
                .min(Duration::from_secs(8));
            assert!(policy.wait(tries) <= bound);
        }
    }

    #[test]
    fn a_create_is_repeated_only_when_it_had_no_effect() {
        let none = HeaderMap::new();
        let create = |code: u16| {
            judge(
                Repeat::OnlyWithoutEffect,
                StatusCode::from_u16(code).expect("a code"),
                &none,
                "",
            )
        };
        assert_eq!(create(503), Verdict::Again(None));
        assert_eq!(create(500), Verdict::Ambiguous);
        assert_eq!(create(504), Verdict::Ambiguous);
        assert_eq!(create(409), Verdict::Final);
        let webhook = "Internal error occurred: failed calling webhook \"x\"";
        assert_eq!(
            judge(
                Repeat::OnlyWithoutEffect,
                StatusCode::INTERNAL_SERVER_ERROR,
                &none,
                webhook
            ),
            Verdict::Again(None)
        );
    }

    #[test]
    fn the_servers_own_wait_is_read() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, http::HeaderValue::from_static("7"));
        let verdict = judge(Repeat::Safe, StatusCode::TOO_MANY_REQUESTS, &headers, "");
        assert_eq!(verdict, Verdict::Again(Some(Duration::from_secs(7))));
    }
}
