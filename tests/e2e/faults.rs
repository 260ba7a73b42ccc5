//! An API server that throttles, fails, forgets, resets and hangs.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, ensure};
use http::Method;

use super::{
    proxy::{Fate, Proxy, Seen},
    small::{NAME, Small},
    support::{On, end, wait_for},
};

/// One request in so many has bad luck.
const ONE_IN: usize = 12;
/// What a request that hangs costs; longer than the machine stands still.
const BOUND_OF_ONE: &str = "--request-timeout=20s";

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
    command.arg(BOUND_OF_ONE);
    // That it ends at all is a part of it.
    let ended = proxy.end(command)?;
    let told = told
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .join("\n");
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

/// What a request asks for, without the names of objects.
fn kind_of(seen: &Seen) -> String {
    let path = seen.target.split('?').next().unwrap_or_default();
    let parts: Vec<_> = path.split('/').skip(1).collect();
    let rest = match parts.iter().position(|part| *part == "namespaces") {
        Some(at) if parts.len() > at + 2 => &parts[at + 2..],
        Some(at) => &parts[at..],
        None => &parts[..],
    };
    let resource = [rest.first(), rest.get(2)].into_iter().flatten();
    let resource: Vec<_> = resource.copied().collect();
    let verb = if seen.is_watch() {
        "WATCH"
    } else if seen.method == Method::GET && rest.len() == 1 {
        "LIST"
    } else {
        seen.method.as_str()
    };
    format!("{verb} {}", resource.join("/"))
}

/// Every kind of request meets every fault, one after the other, and is let through in between.
fn one_after_the_other(
    met: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>,
) -> impl FnMut(&Seen) -> Fate {
    let mut turns: BTreeMap<String, usize> = BTreeMap::new();
    let mut hung = false;
    move |seen| {
        let kind = kind_of(seen);
        let first = turns.len();
        // Not every kind is asked for often: each begins with another fault.
        let turn = turns.entry(kind.clone()).or_insert(2 * first);
        *turn += 1;
        if turn.is_multiple_of(2) {
            return Fate::Pass;
        }
        let looks = kind.starts_with("WATCH") || kind.starts_with("LIST");
        let streams = kind.starts_with("WATCH") || kind.contains("portforward");
        let fate = match (*turn / 2) % 5 {
            0 => Fate::Answer(429),
            1 => Fate::Answer(500),
            2 if looks => Fate::Expired,
            3 if !streams => Fate::ResetAfter,
            // It costs the bound of a try, so one must do.
            4 if !streams && !hung => {
                hung = true;
                Fate::Hang
            }
            _ => Fate::Reset,
        };
        let mut met = met.lock().unwrap_or_else(PoisonError::into_inner);
        met.entry(format!("{fate:?}")).or_default().insert(kind);
        fate
    }
}

#[test]
fn each_fault_once_at_each_kind_of_request_stops_neither_run_nor_rollback() -> Result<()> {
    let small = Small::new("each")?;
    let met = Arc::new(Mutex::new(BTreeMap::new()));
    let proxy = Proxy::new(On::A, one_after_the_other(Arc::clone(&met)))?;
    let with_bound = |mut command: std::process::Command| {
        command.arg(BOUND_OF_ONE);
        command
    };
    proxy.end(with_bound(small.run()?))?.with_code(13)?;
    small.is_moved()?;
    let undo = small.migrate(&["rollback", NAME, "--confirm", NAME])?;
    proxy.end(with_bound(undo))?.with_code(0)?;
    small.is_back()?;
    let met = met.lock().unwrap_or_else(PoisonError::into_inner);
    for (fault, least) in [
        ("Answer(429)", 5),
        ("Answer(500)", 5),
        ("Expired", 2),
        ("Reset", 5),
        ("ResetAfter", 3),
        ("Hang", 1),
    ] {
        let count = met.get(fault).map_or(0, BTreeSet::len);
        ensure!(count >= least, "{fault} at {count} kinds only: {met:#?}");
    }
    println!("{met:#?}");
    Ok(())
}

#[test]
fn a_server_that_goes_away_while_frozen_is_named_and_all_goes_on_when_it_is_back() -> Result<()> {
    let small = Small::new("gone")?;
    // It must not get further before the server is away.
    let (proxy, gate) = Proxy::that_holds(On::A, NAME, "final-copy started")?;
    let mut running = proxy.start(small.run()?)?;
    running.until("freeze: done")?;
    proxy.close();
    gate.send_replace(true);
    // It gives up by itself, or this does not end well.
    let ended = running.end()?.with_code(14)?;
    ended.says(&[
        "error: ",
        &proxy.address(),
        "state:    the source has been frozen for ",
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
