//! What bad input gets, where no cluster is needed to see that it is bad: exit code and text, whole.
use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use kubectl_migrate::engine::{Entry, FORMAT, Header, Record, encode_entry, encode_header};

use crate::world::{NAME, World};

const PLAN: &str = "\
apiVersion: kubectl-migrate/v1
kind: Migration
metadata:
  name: orders-db
  namespace: shop
spec:
  playbook: statefulset
  source:
    statefulset: orders-db
  target:
    namespace: store
";

/// All cases of a kind, one below the other.
fn all(told: impl IntoIterator<Item = Result<String>>) -> Result<String> {
    let told = told.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(told.join("\n"))
}

#[test]
fn plans() -> Result<()> {
    let world = World::new()?;
    let more = |line: &str| format!("{PLAN}{line}\n");
    let instead = |old: &str, new: &str| PLAN.replace(old, new);
    let cases = [
        ("unknown-field", more("    namspace: store")),
        ("unknown-section", more("  hooks: {}")),
        (
            "wrong-type",
            instead("namespace: store", "namespace: [store]"),
        ),
        ("no-name", instead("  name: orders-db\n", "")),
        ("no-mapping", "just some words\n".to_owned()),
        ("empty", String::new()),
        ("only-comments", "# later\n".to_owned()),
        ("two-documents", format!("{PLAN}---\n{PLAN}")),
        ("no-yaml", more("  freeze: {max: 5m")),
        ("tab", more("\tfreeze: {}")),
        ("twice", more("    namespace: other")),
        (
            "other-version",
            instead("kubectl-migrate/v1", "kubectl-migrate/v2"),
        ),
        ("other-kind", instead("kind: Migration", "kind: Deployment")),
        (
            "unknown-playbook",
            instead("playbook: statefulset", "playbook: mysql"),
        ),
        ("bad-name", instead("name: orders-db", "name: Orders_DB")),
        (
            "long-name",
            instead("  name: orders-db", &format!("  name: {}", "a".repeat(41))),
        ),
        ("no-source", instead("    statefulset: orders-db", "    {}")),
        (
            "two-sources",
            instead(
                "    statefulset: orders-db",
                "    statefulset: a\n    pvc: b",
            ),
        ),
        (
            "wrong-source",
            instead("    statefulset: orders-db", "    pvc: data"),
        ),
        ("own-target", instead("namespace: store", "namespace: shop")),
        ("wrong-target", more("    pvc: data")),
        ("bad-size", more("    size: 10 Gi")),
        ("bad-span", more("  freeze: {max: soon}")),
        ("bad-mode", more("  freeze: {mode: pause}")),
        ("bad-rounds", more("  warm: {rounds: many}")),
        ("bad-user", more("  mover: {runAs: postgres}")),
        ("bad-objects", more("  objects: move")),
        ("bad-limit", more("  mover: {limit: 50Mb/s}")),
        ("bad-verify", more("  verify: size")),
        (
            "verify-without-rounds",
            more("  verify: warm\n  warm: {rounds: 0}"),
        ),
    ];
    for (name, text) in &cases {
        world.write(&format!("{name}.yaml"), text)?;
    }
    let told = all(cases
        .iter()
        .map(|(name, _)| world.told(NAME, &["plan", "-f", &format!("{name}.yaml")])))?;
    insta::assert_snapshot!("plans", told);
    Ok(())
}

#[test]
fn files_that_cannot_be_read() -> Result<()> {
    let world = World::new()?;
    std::fs::create_dir(world.path().join("folder"))?;
    std::fs::write(world.path().join("latin1.yaml"), b"name: caf\xe9\n")?;
    let told = all(["missing.yaml", "folder", "latin1.yaml"]
        .map(|file| world.told(NAME, &["run", "-f", file])))?;
    insta::assert_snapshot!("files", told);
    Ok(())
}

#[test]
fn a_plan_on_standard_input_is_called_so() -> Result<()> {
    let world = World::new()?;
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-migrate"))
        .args(["preflight", "-f", "-"])
        .env_clear()
        .current_dir(world.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("stdin")?
        .write_all(b"kind: 7\n")?;
    let output = child.wait_with_output()?;
    insta::assert_snapshot!("standard_input", String::from_utf8(output.stderr)?);
    ensure!(output.status.code() == Some(2));
    Ok(())
}

#[test]
fn flags() -> Result<()> {
    let world = World::new()?;
    world.write("plan.yaml", PLAN)?;
    let cases: &[&[&str]] = &[
        &["migrate"],
        &["statsu"],
        &["--context", "c"],
        &["status", "--nonsense"],
        &["status", "-o", "xml"],
        &["status", "orders-db", "-A"],
        &["status", "-w", "-o", "yaml"],
        &["status", "-w", "-o", "wide"],
        &["report"],
        &["report", "orders-db", "-o", "pdf"],
        &["plan"],
        &["run"],
        &["run", "orders-db", "-f", "plan.yaml"],
        &["run", "-f", "plan.yaml", "--max-freeze", "soon"],
        &["run", "-f", "plan.yaml", "--dry-run", "maybe"],
        &["preflight", "-f", "plan.yaml", "--role-user", "jane"],
        &["mark", "orders-db", "hand-over"],
        &["mark", "orders-db", "hand-over", "--done"],
        &["freeze", "orders-db"],
        &["freeze", "daemonset/agent"],
        &["freeze", "statefulset/orders-db", "--mode", "pause"],
        &["thaw"],
        &["snapshot", "tcp/t1"],
        &["snapshot", "pod/t1", "--to", "t1.snapshot"],
        &["snapshot", "tcp/t1", "--to", "gs://backups"],
        &["snapshot", "tcp/t1", "--to", "s3://Backups"],
        &[
            "snapshot",
            "tcp/t1",
            "--to",
            "t1.snapshot",
            "--region",
            "here",
        ],
        &["snapshot", "list"],
        &["snapshot", "list", "s3://backups/../other"],
        &["snapshot", "show", "s3://backups/t1"],
        &["snapshot", "prune", "s3://backups"],
        &[
            "snapshot",
            "prune",
            "s3://backups",
            "--keep-last",
            "1",
            "--dry-run=server",
        ],
        &["snapshot", "prune", "s3://backups", "--keep-last", "-1"],
        &["restore", "t1.snapshot"],
        &["restore", "s3://backups/t1", "--into", "datastore/gold"],
        &["restore", "t1.snapshot", "--into", "gold"],
        &["copy", "pvc/a"],
        &["copy", "pod/a", "pvc/b"],
        &["copy", "pvc/", "pvc/b"],
        &["copy", "pvc/a", "pvc/b", "--size", "big"],
        &["copy", "pvc/a", "pvc/b", "--run-as", "postgres"],
        &["copy", "pvc/a", "pvc/b", "--limit", "50Mbit/s"],
        &["limit", "orders-db"],
        &["limit", "orders-db", "fast"],
        &["limit", "orders-db", "0"],
        &["limit", "orders-db", "100kB/s"],
        &["status", "--request-timeout", "soon"],
        &["status", "--as-user-extra", "scopes"],
        &["completion", "tcsh"],
        &["version", "-o", "md"],
    ];
    let told = all(cases.iter().map(|args| world.told(NAME, args)))?;
    insta::assert_snapshot!("flags", told);
    Ok(())
}

#[test]
fn a_bucket_that_cannot_be_asked() -> Result<()> {
    let world = World::new()?;
    let list = |flags: &[&str]| {
        world.told(
            NAME,
            &[&["snapshot", "list", "s3://backups/prod"], flags].concat(),
        )
    };
    let mut told = vec![list(&[])];
    std::fs::create_dir(world.path().join(".aws"))?;
    world.write(".aws/credentials", "[default]\nsso_session = corp\n")?;
    told.push(list(&[]));
    let keys = "[default]\naws_access_key_id = KEY\naws_secret_access_key = hidden\n";
    world.write(".aws/credentials", keys)?;
    world.write("no.pem", "nothing\n")?;
    told.extend([
        list(&["--endpoint", "s3.example"]),
        list(&["--endpoint", "https://user:hidden@s3.example"]),
        list(&["--ca-file", "gone.pem"]),
        list(&["--ca-file", "no.pem"]),
        list(&["--endpoint", "http://127.0.0.1:1"]),
        list(&["--s3-secret", "backups"]),
    ]);
    insta::assert_snapshot!("buckets", all(told)?);
    Ok(())
}

#[test]
fn a_kubeconfig_that_is_of_no_use() -> Result<()> {
    let world = World::new()?;
    let mut told = vec![
        world.told(NAME, &["status"]),
        world.told(NAME, &["status", "--kubeconfig", "elsewhere"]),
    ];
    world.write("kubeconfig", "clusters: 7\n")?;
    told.push(world.told(NAME, &["status"]));
    let world = World::with_server("https://127.0.0.1:1")?;
    told.push(world.told(NAME, &["status", "--context", "prod"]));
    told.push(world.told(NAME, &["status", "--server", "not a url"]));
    insta::assert_snapshot!("kubeconfigs", all(told)?);
    Ok(())
}

#[test]
fn a_server_that_is_away_is_named_soon() -> Result<()> {
    let world = World::with_server("https://127.0.0.1:1")?;
    world.write("plan.yaml", PLAN)?;
    let began = Instant::now();
    let told = all([
        world.told(NAME, &["status"]),
        world.told(NAME, &["preflight", "-f", "plan.yaml"]),
        world.told(NAME, &["run", "orders-db"]),
        world.told(NAME, &["thaw", "statefulset/orders-db"]),
        world.told(NAME, &["version", "--server-version"]),
    ])?;
    let took = began.elapsed();
    insta::with_settings!({filters => vec![
        (r"after \d+ tries in [0-9.]+s", "after [n] tries in [time]"),
    ]}, {
        insta::assert_snapshot!("server_away", told);
    });
    ensure!(took < Duration::from_mins(1), "five commands took {took:?}");
    Ok(())
}

#[test]
fn what_needs_no_cluster_asks_none() -> Result<()> {
    let world = World::new()?;
    for args in [
        &["version"][..],
        &["completion", "bash"],
        &["--version"],
        &["help"],
        &["help", "status"],
        &["version", "--v=6"],
    ] {
        let output = world.call(NAME, args)?;
        ensure!(output.status.success(), "{args:?}: {output:?}");
    }
    Ok(())
}

pub fn header() -> Result<Header> {
    Ok(Header {
        format: FORMAT,
        tool: "kubectl-migrate 0.1.0".to_owned(),
        migration: "orders-db".to_owned(),
        namespace: "shop".to_owned(),
        cluster: "a-cluster".to_owned(),
        target_cluster: None,
        run: "r1".to_owned(),
        playbook: "statefulset".to_owned(),
        plan: serde_json::Value::Null,
        digest: String::new(),
        steps: vec!["preflight".to_owned(), "warm-copy".to_owned()],
        created: "2026-01-02T03:04:05Z".parse::<Timestamp>()?,
    })
}

/// A journal's lines: preflight is done, the warm copy was begun.
fn journal() -> Result<Vec<String>> {
    journal_of(
        &header()?,
        vec![
            ("preflight", Record::Started),
            ("preflight", Record::Skipped("all well".to_owned())),
            ("warm-copy", Record::Started),
        ],
    )
}

/// The lines of a journal that has these records.
pub fn journal_of(header: &Header, records: Vec<(&str, Record)>) -> Result<Vec<String>> {
    let mut lines = vec![encode_header(header)];
    for (seq, (step, record)) in (1..).zip(records) {
        let entry = Entry {
            seq,
            fence: 1,
            at: "2026-01-02T03:04:06Z".parse()?,
            step: step.to_owned(),
            record,
        };
        let line = encode_entry(lines.last().context("a line")?, &entry);
        lines.push(line);
    }
    Ok(lines)
}

#[test]
fn a_journal_in_a_file_is_read_without_a_cluster() -> Result<()> {
    let world = World::new()?;
    let lines = journal()?.join("\n") + "\n";
    world.write("whole", &lines)?;
    // The last line was torn by a crash: it announces nothing that was begun.
    world.write("torn", &lines[..lines.len() - 9])?;
    let told = all([
        world.told(NAME, &["status", "--journal", "whole"]),
        world.told(NAME, &["status", "orders-db", "--journal", "torn"]),
        world.told(
            NAME,
            &["report", "orders-db", "--journal", "whole", "-o", "md"],
        ),
    ])?;
    insta::with_settings!({filters => vec![
        (r"\d+d(\d+h)?\s*\n", "[age]\n"),
        (r"(?m)took .*$", "took [time]"),
    ]}, {
        insta::assert_snapshot!("journal_in_a_file", told);
    });
    Ok(())
}

#[test]
fn a_journal_in_a_file_that_cannot_be_used() -> Result<()> {
    let world = World::new()?;
    let lines = journal()?;
    let without = |line: usize| {
        let mut lines = lines.clone();
        lines.remove(line);
        lines.join("\n") + "\n"
    };
    let newer = Header {
        format: FORMAT + 1,
        ..header()?
    };
    let told = [
        ("empty", String::new()),
        ("first-line-torn", lines[0][..40].to_owned()),
        ("line-lost", without(2)),
        ("header-lost", without(0)),
        (
            "byte-flipped",
            lines.join("\n").replace("all well", "all Well") + "\n",
        ),
        ("newer", encode_header(&newer) + "\n"),
        ("no-journal", "# a shopping list\n".to_owned()),
    ]
    .map(|(name, text)| {
        world.write(name, &text)?;
        world.told(NAME, &["status", "orders-db", "--journal", name])
    });
    let mut told = Vec::from(told);
    world.write("whole", &(lines.join("\n") + "\n"))?;
    told.push(world.told(NAME, &["status", "orders-db", "--journal", "missing"]));
    told.push(world.told(NAME, &["report", "other-db", "--journal", "whole"]));
    insta::assert_snapshot!("journals", all(told)?);
    Ok(())
}
