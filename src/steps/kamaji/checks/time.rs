//! How much there is, how long reading it takes, and for how long writes would be refused.
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::channel;

use super::super::{Switch, forecast::Pace};
use crate::{
    adapters::{
        datastore::{Driver, Look, Meter, Pair, Reading},
        kube::KubeError,
    },
    engine::Check,
    plan::{Size, Span, TenantWay},
};

/// The source is read for so long, to see how fast it is read.
const READING: Duration = Duration::from_secs(1);
/// Records that wait to be thrown away.
const AHEAD: usize = 256;

impl Switch {
    /// How much is to be copied, and what that takes.
    pub(super) async fn check_time(
        &self,
        pair: &dyn Pair,
        look: &Look,
    ) -> Result<Vec<Check>, KubeError> {
        let source = &look.source;
        let size = format!("{} keys, {}", source.keys, Size(source.bytes));
        // A NATS server sends a snapshot as a whole, which is no trial that one breaks off.
        let reading = if self.tenant.driver == Driver::Nats {
            None
        } else {
            read_for_a_moment(pair, source.keys).await
        };
        let size = match reading {
            Some(reading) => format!("{size}, read in about {}", Span::rounded(reading)),
            None => size,
        };
        let mut checks = vec![Check::pass(
            "size",
            format!("datastore {}", self.tenant.source),
            size,
        )];
        if self.way == TenantWay::Direct {
            checks.push(self.check_freeze(reading).await?);
        }
        Ok(checks)
    }

    /// Whether writes would be refused for longer than is allowed, by what can be known before: the last copy is not
    /// in it.
    async fn check_freeze(&self, reading: Option<Duration>) -> Result<Check, KubeError> {
        let (name, object) = ("freeze", self.shown());
        let comparing = match self.tenant.driver {
            // What did not change is compared before.
            Driver::Etcd => Duration::ZERO,
            _ => reading.unwrap_or_default(),
        };
        let pace = Pace {
            copying: Duration::ZERO,
            comparing,
        };
        Ok(match self.forecast(pace).await? {
            Ok(forecast) => match forecast.fits(self.max_freeze) {
                Ok(()) => {
                    let evidence = format!("writes would be refused for {forecast}");
                    Check::pass(name, object, evidence)
                }
                Err(refused) => Check::block(
                    name,
                    object,
                    refused.message,
                    "allow more with --max-freeze or spec.freeze.max",
                ),
            },
            Err(why) if self.max_freeze.is_some() => Check::warn(
                name,
                object,
                why,
                "begin when its API servers are ready: spec.freeze.max is refused where nobody can say whether it will be kept",
            ),
            Err(why) => Check::pass(name, object, why),
        })
    }
}

/// How long reading all of the source takes, by what came in a moment. None where nothing came: what is wrong with
/// a store is found by other checks.
async fn read_for_a_moment(pair: &dyn Pair, keys: u64) -> Option<Duration> {
    let (out, mut pieces) = channel(AHEAD);
    let seen = Arc::new(Mutex::new(Reading::default()));
    let meter = Meter::new({
        let seen = Arc::clone(&seen);
        move |reading| *seen.lock().unwrap_or_else(PoisonError::into_inner) = reading
    });
    let begun = Instant::now();
    let reading = async {
        let dump = pair.dump(&out, &meter);
        let drain = async { while pieces.recv().await.is_some() {} };
        tokio::select! {
            dumped = dump => dumped.is_ok(),
            () = drain => true,
        }
    };
    let whole = tokio::time::timeout(READING, reading).await;
    let took = begun.elapsed();
    if whole == Ok(false) {
        return None;
    }
    let read = seen.lock().unwrap_or_else(PoisonError::into_inner).keys;
    whole_of(took, read, keys)
}

/// How long all takes, where so many keys of it took that long.
fn whole_of(took: Duration, read: u64, keys: u64) -> Option<Duration> {
    if read == 0 {
        return None;
    }
    let times = (keys.max(read) as f64) / (read as f64);
    Duration::try_from_secs_f64(took.as_secs_f64() * times).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_a_moment_tells_how_long_all_takes() {
        let second = Duration::from_secs(1);
        assert_eq!(whole_of(second, 1_000, 30_000), Some(second * 30));
        assert_eq!(whole_of(second, 1_000, 900), Some(second));
        assert_eq!(whole_of(second, 0, 900), None);
    }
}
