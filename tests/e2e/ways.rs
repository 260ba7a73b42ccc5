//! The ways through this client and through a bucket, before an API server that fails at each kind of request.
use std::{collections::BTreeMap, fs, process::Command, thread};

use anyhow::{Result, anyhow, ensure};
use serde_json::{Value, json};

use super::{
    archives::{REPOSITORY, migrate, only, server},
    faults::{BOUND_OF_ONE, Met, kind_of, one_after_the_other},
    proxy::{Fate, Proxy, Seen},
    s3::{ROOT, Server},
    small::{NAME, Small},
    support::{Namespace, On, end, mover_image},
    tree, workload,
};

/// After so many bytes one stream to a mover breaks, and the next one after more.
const BREAKS: [usize; 4] = [3_000, 60_000, 700_000, 3_000_000];
/// Files that the streams are filled with.
const FILES: u32 = 8;
const EACH: u64 = 3 << 20;

/// Every fault of [`one_after_the_other`]; what that lets through is in conflict now and then, or a stream that breaks.
fn each_and_more(met: &Met) -> impl FnMut(&Seen) -> Fate + Send + 'static {
    let mut each = one_after_the_other(Met::clone(met));
    let mut breaks = BREAKS.into_iter();
    let mut streams = 0_u32;
    let mut changes: BTreeMap<String, u32> = BTreeMap::new();
    let met = Met::clone(met);
    move |seen| {
        let kind = kind_of(seen);
        let fate = each(seen);
        if !matches!(fate, Fate::Pass) {
            return fate;
        }
        // The Lease and the workload are others' too; who else writes to the journal is another runner.
        let shared = ["leases", "statefulsets"];
        let fate = if kind.contains("portforward") {
            streams += 1;
            let one = streams.is_multiple_of(4).then(|| breaks.next()).flatten();
            one.map_or(Fate::Pass, Fate::Break)
        } else if (kind.starts_with("PUT") || kind.starts_with("PATCH"))
            && shared.iter().any(|resource| kind.contains(resource))
        {
            let turn = changes.entry(kind.clone()).or_default();
            *turn += 1;
            if turn.is_multiple_of(2) {
                Fate::Pass
            } else {
                Fate::Conflict
            }
        } else {
            Fate::Pass
        };
        let name = match &fate {
            Fate::Break(_) => "Break".to_owned(),
            fate => format!("{fate:?}"),
        };
        if let Ok(mut met) = met.lock() {
            met.entry(name).or_default().insert(kind);
        }
        fate
    }
}

/// The same command, which does not wait for long where nobody answers.
fn with_bound(mut command: Command) -> Command {
    command.arg(BOUND_OF_ONE);
    command
}

/// Gives it a volume with room for those files.
fn make_large(statefulset: &mut Value) {
    let claim = &mut statefulset["spec"]["volumeClaimTemplates"][0]["spec"];
    claim["resources"]["requests"]["storage"] = json!("1Gi");
}

/// There and back, by one way alone.
fn there_and_back(way: &str, small: &Small) -> Result<()> {
    let large = small.source.folder("data-db-0")?.join("large");
    fs::create_dir(&large)?;
    for number in 0..FILES {
        tree::noise(&large.join(number.to_string()), EACH)?;
    }
    let met = Met::default();
    let proxy = Proxy::new(On::A, each_and_more(&met))?;
    proxy.end(with_bound(small.run()?))?.with_code(13)?;
    small.is_moved()?;
    let report = small.source.report(NAME)?;
    let gone = &report["outputs"]["final-copy"]["volumes"][0]["way"];
    ensure!(gone[way].is_object(), "{gone}");
    let undo = small.migrate(&["rollback", NAME, "--yes", "--confirm", NAME])?;
    proxy.end(with_bound(undo))?.with_code(0)?;
    small.is_back()?;
    all_met(way, &met)
}

/// Each fault has met some kinds of requests.
fn all_met(what: &str, met: &Met) -> Result<()> {
    let met = met.lock().map_err(|_| anyhow!("the script panicked"))?;
    for (fault, least) in [
        ("Answer(429)", 5),
        ("Answer(500)", 5),
        ("Expired", 2),
        ("Reset", 5),
        ("ResetAfter", 3),
        ("Hang", 1),
        ("Conflict", 2),
        ("Break", 1),
    ] {
        let count = met.get(fault).map_or(0, std::collections::BTreeSet::len);
        ensure!(count >= least, "{what}: {fault} at {count} kinds: {met:#?}");
    }
    Ok(())
}

#[test]
fn by_each_other_way_faults_of_the_server_stop_neither_run_nor_rollback() -> Result<()> {
    let client = thread::spawn(|| {
        let small = Small::with("ways-client", |plan, statefulset| {
            make_large(statefulset);
            plan["mover"] = json!({"ways": ["client"]});
        })?;
        there_and_back("client", &small)
    });
    let bucket = thread::spawn(|| {
        let source = Namespace::new(On::A, "crash-ways-bucket", &[])?;
        let target = Namespace::new(On::A, "crash-ways-bucket-new", &[])?;
        let server = Server::for_pods(On::A)?;
        source.apply(&[server.secret("backups")])?;
        let small = Small::within(source, target, |plan, statefulset| {
            make_large(statefulset);
            plan["mover"] = json!({"ways": ["bucket"], "bucket": {
                "address": "s3://backups/moving", "secret": "backups",
            }});
        })?;
        there_and_back("bucket", &small)?;
        let left = server.objects()?;
        ensure!(left.is_empty(), "left in the bucket: {left:#?}");
        Ok(())
    });
    for thread in [client, bucket] {
        thread.join().map_err(|_| anyhow!("a panic"))??;
    }
    Ok(())
}

/// Fewer bytes than any handshake of two movers has.
const NO_HANDSHAKE: usize = 200;

#[test]
fn a_stream_that_is_cut_while_movers_are_brought_together_says_nothing_of_the_way() -> Result<()> {
    let namespace = Namespace::new(On::A, "ways-cut", &[])?;
    for claim in ["rows", "copy", "other"] {
        namespace.apply(&[workload::claim(claim, "64Mi")])?;
    }
    let folder = namespace.folder("rows")?;
    tree::noise(&folder.join("large"), 1 << 20)?;
    // The first two streams are those that speak to the movers; a relay's come behind them.
    let cutting = |last: u32| {
        let mut streams = 0;
        Proxy::new(On::A, move |seen| {
            streams += u32::from(kind_of(seen).contains("portforward"));
            let cut = kind_of(seen).contains("portforward") && (3..=last).contains(&streams);
            if cut {
                Fate::Break(NO_HANDSHAKE)
            } else {
                Fate::Pass
            }
        })
    };
    let copy = |target: &str| {
        let image = mover_image()?;
        let args = ["copy", "pvc/rows", target, "--way", "client", "--yes"];
        namespace.migrate(&[&args[..], &["--mover-image", &image]].concat())
    };
    cutting(3)?.end(copy("pvc/copy")?)?.with_code(0)?;
    tree::assert_equal(&folder, &namespace.folder("copy")?, 0)?;

    // Where each is cut it is no way, and that is told with what to do.
    cutting(u32::MAX)?
        .end(copy("pvc/other")?)?
        .with_code(10)?
        .says(&[
            "cannot reach each other, neither through this client",
            "the target mover got no connection through the client",
            "next:",
        ])?;
    Ok(())
}

#[test]
fn a_snapshot_and_its_restore_are_stopped_by_no_fault_of_the_server() -> Result<()> {
    let namespace = Namespace::new(On::A, "ways-archive", &[])?;
    let server = server(&namespace)?;
    workload::start(&namespace, 1)?;
    let folder = namespace.folder("data-db-0")?;
    for number in 0..FILES {
        tree::noise(&folder.join(number.to_string()), EACH)?;
    }
    let met = Met::default();
    let proxy = Proxy::new(On::A, each_and_more(&met))?;
    let take = ["snapshot", "statefulset/db", "--to", REPOSITORY];
    proxy
        .end(with_bound(migrate(&namespace, &take)?))?
        .with_code(0)?;
    namespace.ready("statefulset/db")?;
    let address = format!("{REPOSITORY}/{}", only(&server)?.0);
    let check = ["restore-check", &address, "--level", "2"];
    end(server.migrate(ROOT, &check)?)?.with_code(0)?;

    let other = Namespace::new(On::A, "ways-archive-to", &[])?;
    let into = format!("namespace/{}", other.name);
    let restore = ["restore", &address, "--into", &into, "--volumes-only"];
    proxy
        .end(with_bound(migrate(&namespace, &restore)?))?
        .with_code(0)?;
    tree::assert_equal(&folder, &other.folder("data-db-0")?, 0)?;
    all_met("a snapshot and a restore", &met)
}
