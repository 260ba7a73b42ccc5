//! A server that does not answer is lost at some time.
use std::{io, time::Duration};

/// From dialling to being logged in; a server on another continent needs one second.
pub(in super::super) const CONNECT_BOUND: Duration = Duration::from_secs(30);
/// Any one statement, the making of an index of a table of gigabytes included.
pub(in super::super) const STATEMENT_BOUND: Duration = Duration::from_mins(10);
/// Between two pieces of an answer. A server may think for a while before the first.
pub(in super::super) const SILENCE_BOUND: Duration = Duration::from_mins(2);

/// What comes in time.
pub(in super::super) async fn within<T>(
    bound: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(bound, work).await {
        Ok(ended) => ended,
        Err(_) => Err(sqlx::Error::Io(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer in {} s", bound.as_secs()),
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let never = std::future::pending::<Result<(), sqlx::Error>>();
        let error = within(SILENCE_BOUND, never)
            .await
            .expect_err("nothing comes");
        assert!(error.to_string().ends_with("no answer in 120 s"), "{error}");
    }
}
