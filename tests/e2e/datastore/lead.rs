//! A target that begins behind all that the source gave, with real kine before both.
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::adapters::datastore::{Comparison, Later, Pair, Raised};

use super::{
    differences,
    kine::{Kine, PROGRAMS, Seen, live},
    quiet,
    sql::ignored,
};
use crate::support::BOUND;

/// How far the target begins behind the source.
pub const MARGIN: u64 = 1_000;

/// The same: `LEAD_MARGIN`, for figures.
fn margin() -> Result<u64> {
    match std::env::var("LEAD_MARGIN") {
        Ok(margin) => margin.parse().context("LEAD_MARGIN is no number"),
        Err(_) => Ok(MARGIN),
    }
}

/// What a frozen tenant's nodes still write.
const LEASE: &[u8] = b"/registry/leases/kube-node-lease/node-1";
const LATE: &[u8] = b"/registry/pods/shop/late";
const NEW: &[u8] = b"/registry/pods/shop/new";
/// The newest compacts when it is told to, and then all but so many revisions.
const COMPACTING: &str = "--compact-min-retain=1";

/// A schema in two stores.
pub struct Place<'a> {
    /// What kine is told of them.
    pub source: Vec<String>,
    pub target: Vec<String>,
    /// From one to the other, and back.
    pub pair: &'a dyn Pair,
    pub back: &'a dyn Pair,
}

/// A tenant at the source that only its nodes write to any more.
struct Frozen {
    kine: Kine,
    /// The lease's revision.
    at: i64,
}

impl Frozen {
    async fn renew(&mut self, times: usize) -> Result<()> {
        for _ in 0..times {
            self.at = self.kine.update(LEASE, b"renewed", self.at).await?;
        }
        Ok(())
    }
}

/// Every version of kine begins there behind all that it gave at the source, tells of it to who has seen that, and
/// goes on when the tenant goes back.
pub async fn begins_behind_the_source(program: &str, place: &Place<'_>) -> Result<()> {
    let margin = margin()?;
    let kine = Kine::start(program, &place.source, 0).await?;
    // The late one, and the lease.
    let count = live(&kine).await? + 2;
    let warm = place.pair.copy(None, &quiet()).await?;
    kine.create(LATE, b"late", 0).await?;
    let at = kine.create(LEASE, b"made", 0).await?;
    let copied = place.pair.copy(Some(&warm.position), &quiet()).await?;
    let mut source = Frozen { kine, at };
    source.renew(5).await?;
    let later = place.pair.later(&copied.position).await?;
    ensure!(later == Some(Later::default()), "{later:?}");

    let before = place.pair.look().await?.target.revision;
    let led = lead(place.pair, source.at).await?;
    ensure!(led.before == before, "{led:?} after {before}");
    let again = lead(place.pair, source.at).await?;
    ensure!(again.before == led.now, "{again:?} after {led:?}");
    source.renew(3).await?;
    let led = lead(place.pair, source.at).await?;
    ensure!(led.now == again.now + 3, "{led:?} after {again:?}");
    let compared = place.pair.compare(&quiet()).await?;
    ensure!(compared.different == 0, "{:?}", differences(&compared));
    ensure!(leads(&compared) == Some((1, 1)), "{compared:?}");

    // It is written to further, and a client sees that.
    source.renew(50).await?;
    let (last, mut expected) = (source.at, source.kine.keys().await?);
    drop(source);
    let begun = Instant::now();
    let at_target = Kine::start(program, &place.target, count).await?;
    println!(
        "{program}: ready {:.2?} after its start, {margin} behind the source",
        begun.elapsed()
    );
    let mut watch = at_target.watch(last + 1).await?;
    let next = place.pair.look().await?.target.revision + 1;
    let new = at_target.create(NEW, b"new", 0).await?;
    ensure!(
        new.unsigned_abs() == next && next > led.now,
        "{program}: {new} and not {next} after {led:?}"
    );
    let told = watch.until(NEW).await?;
    ensure!(
        matches!(told.as_slice(), [(true, seen)] if seen.key == NEW && seen.changed == new),
        "{program}: {told:?}"
    );
    let late = expected.iter().find(|seen| seen.key == LATE);
    let late = late.context("the late one is gone")?.changed;
    let late = at_target.update(LATE, b"goes on", late).await?;
    at_target.delete(LATE, late).await?;
    expected.retain(|seen| seen.key != LATE && seen.key != LEASE);
    settles(&at_target, &expected).await?;
    drop(at_target);

    if program == PROGRAMS[0] {
        let arguments = [&place.target[..], &[COMPACTING.to_owned()]].concat();
        let kine = Kine::start(program, &arguments, count).await?;
        kine.compact(new).await?;
        settles(&kine, &expected).await?;
        let mut watch = kine.watch(0).await?;
        let at = kine.create(LATE, b"again", 0).await?;
        let told = watch.until(LATE).await?;
        ensure!(told.len() == 1 && told[0].1.changed == at, "{told:?}");
        kine.delete(LATE, at).await?;
    }

    // The tenant goes back: what its nodes wrote at the source meanwhile gives way.
    place.back.copy(None, &quiet()).await?;
    let compared = place.back.compare(&quiet()).await?;
    ensure!(compared.different == 0, "{:?}", differences(&compared));
    ensure!(leads(&compared).is_none(), "{compared:?}");
    let last = place.back.look().await?.source.revision;
    let led = place.back.lead(margin).await?;
    ensure!(led.now == last + margin, "{led:?} after {last}");
    let kine = Kine::start(program, &place.source, count).await?;
    settles(&kine, &expected).await?;
    let at = kine.create(LATE, b"back", 0).await?;
    ensure!(at.unsigned_abs() > led.now, "{program}: {at} after {led:?}");
    Ok(())
}

/// Leads, behind what the source was written to last.
async fn lead(pair: &dyn Pair, last: i64) -> Result<Raised> {
    let (begun, margin) = (Instant::now(), margin()?);
    let led = pair.lead(margin).await?;
    println!(
        "from {} to {} in {:.2?}",
        led.before,
        led.now,
        begun.elapsed()
    );
    let wanted = last.unsigned_abs() + margin;
    ensure!(
        led.source == last.unsigned_abs() && led.now == wanted,
        "{led:?} behind {last}"
    );
    let found = pair.look().await?.target.revision;
    ensure!(found == wanted, "{found} and not {wanted}");
    Ok(led)
}

/// How a comparison counts leads.
pub fn leads(comparison: &Comparison) -> Option<(u64, u64)> {
    ignored(comparison, "the target's lead")
}

/// Waits until these are the keys, but for the lease and the new one: older versions are ready before they have read
/// all of a bucket.
async fn settles(kine: &Kine, expected: &[Seen]) -> Result<()> {
    let mut keys = Vec::new();
    let equal = async {
        while keys != expected {
            keys = kine.keys().await?;
            keys.retain(|seen| seen.key != LEASE && seen.key != NEW);
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(BOUND, equal).await {
        Ok(settled) => settled,
        Err(_) => anyhow::bail!("{keys:?} and not {expected:?}"),
    }
}
