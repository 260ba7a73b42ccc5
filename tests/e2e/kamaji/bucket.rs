//! `snapshot` of a tenant into a bucket of a real S3 server, and `restore` out of it.
use std::{fs, net::TcpListener};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    super::{
        s3::{READER, ROOT, Server},
        support::{Ended, Running, end},
    },
    place::SILVER,
    tenant::Tenant,
};

const REPOSITORY: &str = "s3://backups/prod";

/// The only snapshot that a list names, as `NAME/TIME`.
fn only(server: &Server) -> Result<String> {
    let told = end(server.migrate(ROOT, &["snapshot", "list", REPOSITORY, "-o", "name"])?)?
        .with_code(0)?;
    let mut names = told.out.lines();
    let name = names.next().and_then(|name| name.strip_prefix("snapshot/"));
    let name = name.context("no snapshot")?.to_owned();
    ensure!(names.next().is_none(), "more than one: {}", told.out);
    Ok(name)
}

fn list(server: &Server) -> Result<Value> {
    let told = end(server.migrate(ROOT, &["snapshot", "list", REPOSITORY, "-o", "json"])?)?
        .with_code(0)?;
    Ok(serde_json::from_str(&told.out)?)
}

/// The state of the first snapshot of a list.
fn state(server: &Server) -> Result<String> {
    let state = list(server)?["items"][0]["state"]
        .as_str()
        .map(str::to_owned);
    state.context("no snapshot")
}

struct Taken {
    tenant: Tenant,
    server: Server,
}

impl Taken {
    /// A tenant's snapshot in a bucket, by what a Secret of its namespace says.
    fn new(name: &str, server: Server) -> Result<Self> {
        let tenant = Tenant::new(name, SILVER)?;
        tenant.write("kept")?;
        tenant.namespace.apply(&[server.secret("backups")])?;
        Ok(Self { tenant, server })
    }

    fn run(&self, args: &[&str]) -> Result<Ended> {
        let secret = ["--s3-secret", "backups"];
        end(self.tenant.namespace.migrate(&[args, &secret].concat())?)
    }

    fn snapshot(&self) -> Result<Ended> {
        let object = format!("tcp/{}", self.tenant.name);
        self.run(&["snapshot", &object, "--to", REPOSITORY])
    }

    fn restore(&self, from: &str, flags: &[&str]) -> Result<Ended> {
        self.run(&[&["restore", from, "--into", "datastore/gold"], flags].concat())
    }
}

#[test]
fn a_tenant_s_data_goes_into_a_bucket_and_back() -> Result<()> {
    let taken = Taken::new("bucketed", Server::with_tls()?)?;
    let (tenant, server) = (&taken.tenant, &taken.server);
    let schema = tenant.schema()?;
    let told = taken.snapshot()?.with_code(0)?;
    let name = only(server)?;
    let address = format!("{REPOSITORY}/{name}");
    for said in [&*address, &schema, "datastore silver (etcd)", "digest"] {
        ensure!(told.out.contains(said), "no {said} in {told:?}");
    }
    ensure!(name.starts_with("bucketed/"), "{name}");
    let objects = ["data.jsonl.zst", "manifest.json"].map(|object| format!("prod/{name}/{object}"));
    ensure!(server.objects()? == objects, "{:?}", server.objects()?);

    // What it is of is told to whoever may read.
    let show = ["snapshot", "show", &address, "-o", "json"];
    let shown = end(server.migrate(READER, &show)?)?.with_code(0)?;
    let shown: Value = serde_json::from_str(&shown.out)?;
    let snapshot = &shown["snapshot"];
    ensure!(
        snapshot["state"] == "whole" && snapshot["schema"] == *schema,
        "{shown}"
    );
    ensure!(
        snapshot["source"] == format!("tcp {}/bucketed", tenant.namespace.name),
        "{shown}"
    );
    let records = snapshot["records"].as_u64().context("records")?;
    ensure!(records > 100, "{shown}");

    // And back, into another store.
    let told = taken
        .restore(&address, &["--dry-run=client"])?
        .with_code(0)?;
    ensure!(told.out.contains("(dry run)"), "{told:?}");
    ensure!(
        tenant.place.gold.count(&schema)? == 0,
        "a dry run has written"
    );
    let told = taken.restore(&address, &[])?.with_code(0)?;
    ensure!(
        told.out.contains(&format!("restored from {address}")),
        "{told:?}"
    );
    ensure!(tenant.place.gold.count(&schema)? == records);
    taken
        .restore(&address, &[])?
        .with_code(10)?
        .says(&["keys already", "--overwrite --s3-secret backups"])?;
    ensure!(tenant.has("kept")?);

    // Deleted by its name only.
    let delete = ["snapshot", "delete", &address];
    taken.run(&delete)?.with_code(2)?.says(&["--confirm"])?;
    ensure!(server.objects()? == objects, "it was deleted unasked");
    taken
        .run(&[&delete[..], &["--confirm", &name]].concat())?
        .with_code(0)?;
    ensure!(server.objects()?.is_empty(), "{:?}", server.objects()?);
    taken
        .run(&delete)?
        .with_code(10)?
        .says(&["there is no snapshot"])?;
    Ok(())
}

#[test]
fn a_snapshot_that_is_damaged_writes_nothing_anywhere() -> Result<()> {
    let taken = Taken::new("damaged", Server::plain()?)?;
    let (tenant, server) = (&taken.tenant, &taken.server);
    let schema = tenant.schema()?;
    taken.snapshot()?.with_code(0)?.says(&["without TLS"])?;
    let name = only(server)?;
    let address = format!("{REPOSITORY}/{name}");
    let (data, manifest) = (
        server.object("data.jsonl.zst")?,
        server.object("manifest.json")?,
    );
    let (whole, written) = (fs::read(&data)?, fs::read(&manifest)?);
    let refused = |code: i32, texts: &[&str]| -> Result<()> {
        taken.restore(&address, &[])?.with_code(code)?.says(texts)?;
        ensure!(tenant.place.gold.count(&schema)? == 0, "it has written");
        Ok(())
    };

    // One byte.
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&data, &flipped)?;
    refused(12, &[&address, "damaged"])?;
    // The end.
    fs::write(&data, &whole[..whole.len() - 1])?;
    ensure!(state(server)? == "damaged");
    refused(12, &["data.jsonl.zst has"])?;
    // A whole one, of another moment.
    fs::write(&data, &whole)?;
    let mut other: Value = serde_json::from_slice(&written)?;
    other["end"]["revision"] = 7.into();
    fs::write(&manifest, other.to_string())?;
    refused(12, &["another snapshot than its manifest says"])?;
    // A later version.
    other["kubectlMigrateSnapshot"] = 2.into();
    fs::write(&manifest, other.to_string())?;
    ensure!(state(server)? == "unreadable");
    refused(10, &["has format 2, and this version reads 1"])?;
    // No manifest, which is how a snapshot that was cut off is.
    fs::remove_file(&manifest)?;
    ensure!(state(server)? == "unfinished");
    refused(10, &["is unfinished", "manifest.json"])?;
    // No data.
    fs::write(&manifest, &written)?;
    fs::remove_file(&data)?;
    ensure!(state(server)? == "damaged");
    refused(12, &["data.jsonl.zst is missing"])?;
    // Other names.
    let elsewhere = format!("{REPOSITORY}/damaged/20200101T000000Z");
    taken
        .restore(&elsewhere, &[])?
        .with_code(10)?
        .says(&["there is no snapshot"])?;
    let out = format!("{REPOSITORY}/../{name}");
    taken
        .restore(&out, &[])?
        .with_code(2)?
        .says(&["is no name in a bucket"])?;
    // Put back as it was; what is somebody else's is no snapshot.
    fs::write(&data, &whole)?;
    for stranger in [
        "readme.txt",
        "damaged/latest.txt",
        "damaged/20200101T000000Z.txt",
    ] {
        fs::write(server.data().join("prod").join(stranger), "not ours")?;
    }
    ensure!(only(server)? == name);
    ensure!(state(server)? == "whole");
    taken.restore(&address, &[])?.with_code(0)?;
    Ok(())
}

#[test]
fn a_server_that_refuses_is_told_and_keeps_nothing() -> Result<()> {
    let tenant = Tenant::new("refused", SILVER)?;
    let server = Server::with_tls()?;
    let authority = server.authority_file();
    let object = format!("tcp/{}", tenant.name);
    let snapshot = |to: &str, user: [&str; 2], flags: &[&str]| -> Result<Ended> {
        let args = ["snapshot", &object, "--to", to];
        end(server.as_user(tenant.namespace.migrate(&[&args, flags].concat())?, user))
    };
    let trusted = ["--ca-file", &authority];
    snapshot(REPOSITORY, [ROOT[0], "wrong"], &trusted)?
        .with_code(10)?
        .says(&[
            "write s3://backups/prod/refused/",
            &server.endpoint(),
            "SignatureDoesNotMatch",
            "aws configure list",
        ])?;
    snapshot(REPOSITORY, ["nobody", "wrong"], &trusted)?
        .with_code(10)?
        .says(&["it knows no such access key"])?;
    snapshot("s3://nowhere/prod", ROOT, &trusted)?
        .with_code(10)?
        .says(&[
            "there is no bucket nowhere",
            "create-bucket --bucket nowhere",
        ])?;
    snapshot(REPOSITORY, READER, &trusted)?
        .with_code(10)?
        .says(&["lack s3:PutObject", "AccessDenied"])?;
    snapshot(REPOSITORY, ROOT, &[])?
        .with_code(10)?
        .says(&["its certificate is not trusted", "--ca-file"])?;
    snapshot(
        REPOSITORY,
        ROOT,
        &[&trusted[..], &["--region", "eu-west-1"]].concat(),
    )?
    .with_code(10)?
    .says(&[
        "not in region eu-west-1, but in us-east-1",
        "--region us-east-1",
    ])?;
    snapshot(REPOSITORY, ROOT, &["--endpoint", "https://127.0.0.1:1"])?
        .with_code(1)?
        .says(&["no answer, again and again", "https://127.0.0.1:1"])?;
    snapshot(REPOSITORY, ROOT, &["--s3-secret", "gone"])?
        .with_code(10)?
        .says(&["/gone cannot be used: it does not exist"])?;
    ensure!(server.objects()?.is_empty(), "{:?}", server.objects()?);

    // No secret is shown, however much is.
    let told =
        end(server.migrate(ROOT, &["snapshot", "list", REPOSITORY, "-v", "9"])?)?.with_code(0)?;
    ensure!(
        told.err.len() > 1_000 && !told.err.contains(ROOT[1]),
        "{}",
        told.err
    );

    // Whoever may only read can list and show, and not delete.
    snapshot(REPOSITORY, ROOT, &trusted)?.with_code(0)?;
    let read = |args: &[&str]| end(server.migrate(READER, args)?);
    let listed = read(&["snapshot", "list", REPOSITORY, "-o", "name"])?.with_code(0)?;
    let name = listed.out.trim().trim_start_matches("snapshot/");
    let address = format!("{REPOSITORY}/{name}");
    read(&["snapshot", "show", &address])?.with_code(0)?;
    read(&["snapshot", "delete", &address, "--confirm", name])?
        .with_code(10)?
        .says(&["s3:DeleteObject"])?;
    ensure!(state(&server)? == "whole");
    Ok(())
}

#[test]
fn a_snapshot_that_is_interrupted_leaves_nothing() -> Result<()> {
    let tenant = Tenant::new("cut", SILVER)?;
    let server = Server::plain()?;
    let object = format!("tcp/{}", tenant.name);
    // A server that does not answer holds it up where it can be interrupted.
    let held = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}", held.local_addr()?);
    let args = [
        "snapshot",
        &object,
        "--to",
        REPOSITORY,
        "--endpoint",
        &endpoint,
    ];
    let mut running = Running::start(server.as_user(tenant.namespace.migrate(&args)?, ROOT))?;
    running.until("without TLS")?;
    let connected = held.accept()?;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(running.id())?).context("a process")?,
        rustix::process::Signal::INT,
    )?;
    let ended = running.end()?;
    drop(connected);
    ended
        .with_code(130)?
        .says(&["no snapshot was made, and nothing is left of it"])?;
    ensure!(server.objects()?.is_empty(), "{:?}", server.objects()?);
    Ok(())
}
