//! An API server that throttles, fails, forgets, resets and hangs.
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{
    proxy::{Fate, Proxy, Seen},
    small::{NAME, Small},
    support::{On, end, wait_for},
};

/// One request in so many has bad luck.
const ONE_IN: usize = 12;
/// One run may not take longer: each request has a minute, and no step here sends many one after the other.
const RUN: Duration = Duration::from_secs(150);

/// Bad luck that is the same for the same seed and the same requests.
fn luck(seed: u64) -> impl FnMut(&Seen) -> Fate {
    let mut luck = fastrand::Rng::with_seed(seed);
    let mut hung = false;
    move |seen| {
        if luck.usize(..ONE_IN) != 0 {
            return Fate::Pass;
        }
        let streams = seen.is_watch() || seen.target.contains("portforward");
        match luck.u8(..12) {
            0..=2 => Fate::Answer(429),
            3..=5 => Fate::Answer(500),
            6..=7 => Fate::Reset,
            8 if !streams => Fate::ResetAfter,
            // Each costs the bound of one try.
            9 if !hung => {
                hung = true;
                Fate::Hang
            }
            // Lists and watches go on from a version that the server may have forgotten.
            _ if seen.is_watch() || seen.target.contains("limit=500") => Fate::Expired,
            _ => Fate::Reset,
        }
    }
}

fn survives(seed: u64) -> Result<()> {
    let small = Small::new(&format!("luck-{seed}"))?;
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut fate = luck(seed);
    let proxy = Proxy::new(On::A, {
        let told = Arc::clone(&told);
        move |seen| {
            let fate = fate(seen);
            if !matches!(fate, Fate::Pass) {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                told.push(format!("{fate:?} for {} {}", seen.method, seen.target));
            }
            fate
        }
    })?;
    let mut command = small.run()?;
    command.arg("--request-timeout=3s");
    let begun = Instant::now();
    let ended = proxy.end(command)?;
    let told = told
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .join("\n");
    ensure!(
        begun.elapsed() < RUN,
        "seed {seed}: it took {:?}\n{told}\n{}",
        begun.elapsed(),
        ended.err
    );
    println!("seed {seed}: {:?} after\n{told}", ended.code);
    if ended.code != Some(13) {
        ensure!(
            matches!(ended.code, Some(1 | 14 | 124)),
            "seed {seed}: {:?}\n{told}\n{}",
            ended.code,
            ended.err
        );
        let ended = ended.says(&["error: ", "next:"])?;
        println!("seed {seed}: {}", ended.err);
        // The server is well again.
        end(small.run()?)?.with_code(13)?;
    }
    small.is_moved()?;
    end(small.migrate(&["rollback", NAME, "--confirm", NAME])?)?.with_code(0)?;
    small.is_back()?;
    Ok(())
}

#[test]
fn bad_luck_with_the_server_is_survived_or_stops_in_a_way_that_goes_on() -> Result<()> {
    let threads = [1, 2, 3].map(|seed| std::thread::spawn(move || survives(seed)));
    let ends = threads.map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a panic"))?);
    ends.into_iter().collect()
}

#[test]
fn a_server_that_goes_away_while_frozen_is_named_and_all_goes_on_when_it_is_back() -> Result<()> {
    let small = Small::new("gone")?;
    let proxy = Proxy::new(On::A, |_| Fate::Pass)?;
    let mut running = proxy.start(small.run()?)?;
    running.until("freeze: done")?;
    proxy.close();
    let begun = Instant::now();
    let ended = running.end()?.with_code(14)?;
    ensure!(begun.elapsed() < Duration::from_secs(90));
    ended.says(&[
        "error: ",
        &proxy.address(),
        "state:    the source is frozen",
        "next:     kubectl migrate run m",
    ])?;
    // Somebody who comes while it is away is told at once.
    let mut command = small.run()?;
    command.env("KUBECONFIG", proxy.kubeconfig());
    end(command)?.with_code(1)?.says(&[&proxy.address()])?;
    proxy.open()?;
    proxy.end(small.run()?)?.with_code(13)?;
    small.is_moved()?;
    wait_for("the run to have freed its lock", || {
        let lease = small.source.get(&format!("lease/migrate-{NAME}"))?;
        Ok(lease["spec"]["holderIdentity"].is_null().then_some(()))
    })
}
