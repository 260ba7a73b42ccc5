//! A snapshot is tried: a PostgreSQL of Debian's, restored, started and asked what it was asked when it was taken.
use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{
    datastore::authority::Authority,
    s3::{ROOT, Server},
    small::Small,
    support::{CLUSTER, Ended, Namespace, On, Running, end, mover_image, output_of, wait_for},
    workload,
};

const REPOSITORY: &str = "s3://backups/prod";
const SUMS: &str = "select count(*), sum(amount) from orders";

/// A database with rows, in a namespace with the credentials of a bucket.
struct Shop {
    namespace: Namespace,
    server: Server,
    files: tempfile::TempDir,
}

/// The image of PostgreSQL, made on this machine.
fn image() -> Result<String> {
    let said = output_of(Command::new(CLUSTER).args(["database", "postgres"]))?;
    Ok(said.lines().last().context("no image")?.to_owned())
}

fn psql(query: &str) -> Vec<String> {
    let words = ["psql", "-h", "/tmp", "-U", "postgres", "-Atc", query];
    words.map(str::to_owned).into()
}

fn objects(image: &str) -> Result<Vec<Value>> {
    let authority = Authority::new()?;
    let identity = authority.certify("db", &["db"])?;
    let secret = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    let from = |key: &str| json!({"secretKeyRef": {"name": "login", "key": key}});
    Ok(vec![
        secret(
            "login",
            json!({"user": "postgres", "password": "a-password"}),
        ),
        secret(
            "certificates",
            json!({"ca.crt": authority.pem(), "server.crt": identity.certificate,
                "server.key": identity.key.expose_secret()}),
        ),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
            "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"name": "db", "port": 5432}]}}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
            "serviceName": "db", "replicas": 1, "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {
                "terminationGracePeriodSeconds": 5,
                "securityContext": {"runAsUser": 65534, "runAsGroup": 65534, "fsGroup": 65534},
                // A claim's folder is root's, and the server refuses to be root.
                "initContainers": [{
                    "name": "own", "image": "localhost/busybox:1", "command": ["chown", "65534:65534", "/data"],
                    "securityContext": {"runAsUser": 0}, "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }],
                "containers": [{
                    "name": "postgres", "image": image,
                    "env": [{"name": "USER_NAME", "valueFrom": from("user")}, {"name": "PASSWORD", "valueFrom": from("password")}],
                    "readinessProbe": {"exec": {"command": psql("select 1")}, "periodSeconds": 1, "timeoutSeconds": 10},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"},
                        {"name": "certificates", "mountPath": "/certificates", "readOnly": true}],
                }],
                "volumes": [{"name": "certificates", "secret": {"secretName": "certificates", "defaultMode": 0o440}}],
            }},
            "volumeClaimTemplates": [workload::claim("data", "1Gi")],
        }}),
    ])
}

/// What a database answers.
fn ask(of: &Namespace, query: &str) -> Result<String> {
    let words = psql(query);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = of.kubectl(&[&["exec", "db-0", "-c", "postgres", "--"], &words[..]].concat())?;
    Ok(said.trim().to_owned())
}

impl Shop {
    fn open(name: &str) -> Result<Self> {
        let namespace = Namespace::new(On::A, name, &[])?;
        let server = Server::for_pods(On::A)?;
        namespace.apply(&[server.secret("backups")])?;
        let shop = Self {
            namespace,
            server,
            files: tempfile::tempdir()?,
        };
        shop.namespace.apply(&objects(&image()?)?)?;
        shop.namespace.ready("statefulset/db")?;
        let rows = "create table orders as select n as id, n * 7 as amount from generate_series(1, 20000) n; checkpoint";
        ask(&shop.namespace, rows)?;
        Ok(shop)
    }

    /// A file with one check.
    fn checks(&self, name: &str, check: &Value) -> Result<String> {
        let file: PathBuf = self.files.path().join(format!("{name}.yaml"));
        let text = json!({"apiVersion": "kubectl-migrate/v1", "kind": "Checks", "checks": [check]});
        fs::write(&file, text.to_string())?;
        Ok(file.display().to_string())
    }

    fn command(&self, args: &[&str]) -> Result<Command> {
        let image = mover_image()?;
        let flags = ["--s3-secret", "backups", "--mover-image", &image, "--yes"];
        self.namespace.migrate(&[args, &flags].concat())
    }

    fn run(&self, args: &[&str]) -> Result<Ended> {
        end(self.command(args)?)
    }

    /// Takes a snapshot with the sums; its address.
    fn taken(&self) -> Result<String> {
        let sums = json!({"name": "sums", "container": "postgres", "command": psql(SUMS), "compare": "snapshot"});
        let file = self.checks("sums", &sums)?;
        let take = [
            "snapshot",
            "statefulset/db",
            "--to",
            REPOSITORY,
            "--checks",
            &file,
        ];
        self.run(&take)?.with_code(0)?;
        self.namespace.ready("statefulset/db")?;
        let listed = self.shown(&["snapshot", "list", REPOSITORY, "-o", "json"])?;
        let name = listed["items"][0]["name"].as_str().context("a snapshot")?;
        Ok(format!("{REPOSITORY}/{name}"))
    }

    fn shown(&self, args: &[&str]) -> Result<Value> {
        let told = end(self.server.migrate(ROOT, args)?)?.with_code(0)?;
        Ok(serde_json::from_str(&told.out)?)
    }

    /// The namespaces that checks of this one's snapshots have made.
    fn scratch(&self) -> Result<Vec<String>> {
        let home = format!(
            "kubectl-migrate/role=scratch,kubectl-migrate/home={}",
            self.namespace.name
        );
        let found = self
            .namespace
            .kubectl(&["get", "namespaces", "-l", &home, "-o", "name"])?;
        Ok(found.lines().map(str::to_owned).collect())
    }
}

#[test]
fn a_snapshot_is_started_and_answers_as_when_it_was_taken() -> Result<()> {
    let shop = Shop::open("drill")?;
    let address = shop.taken()?;
    let answer = ask(&shop.namespace, SUMS)?;
    let shown = shop.shown(&["snapshot", "show", &address, "-o", "json"])?;
    let measured = &shown["snapshot"]["checks"][0];
    ensure!(
        measured["output"] == format!("{answer}\n").as_str(),
        "{measured}"
    );
    ensure!(shown["snapshot"]["checked"].is_null(), "{shown}");
    let manifest = fs::read_to_string(shop.server.object("manifest.json")?)?;
    for secret in ["a-password", "BEGIN", ROOT[1]] {
        ensure!(!manifest.contains(secret), "{secret} is in the manifest");
    }
    let manifest: Value = serde_json::from_str(&manifest)?;
    let workload = &manifest["workload"];
    ensure!(workload["status"].is_null() && workload["metadata"]["uid"].is_null());
    ensure!(
        workload["metadata"]["managedFields"].is_null(),
        "{workload}"
    );

    // The local cluster's network enforces no policy, as many do.
    let level = ["restore-check", &address, "--level", "3"];
    shop.run(&level)?
        .with_code(10)?
        .says(&["does not enforce policies", "--open-network"])?;
    ensure!(shop.scratch()?.is_empty(), "{:?}", shop.scratch()?);

    // What was written since is no matter of the snapshot's.
    ask(&shop.namespace, "insert into orders values (0, 1)")?;
    let open = [&level[..], &["--open-network"]].concat();
    let yes = shop.run(&open)?.with_code(0)?;
    let words: Vec<_> = yes.out.split_whitespace().collect();
    let quoted = format!("`{answer}`");
    ensure!(
        words
            .windows(4)
            .any(|words| words == ["db-0", "same", &quoted, &quoted]),
        "{}",
        yes.out
    );
    ensure!(
        yes.out
            .contains("level 3: it was restored, compared and started"),
        "{}",
        yes.out
    );
    ensure!(shop.scratch()?.is_empty(), "{:?}", shop.scratch()?);
    // From another machine it is seen in the bucket, and here in the journal, too.
    let listed = end(shop
        .server
        .migrate(ROOT, &["snapshot", "list", REPOSITORY])?)?
    .with_code(0)?;
    ensure!(listed.out.contains("level 3, "), "{}", listed.out);
    let status = ["status", "snapshot-sts-db"];
    let status = end(shop.namespace.migrate(&status)?)?.with_code(0)?;
    ensure!(status.out.contains("(level 3)"), "{}", status.out);
    for level in ["1", "2"] {
        let told = end(shop
            .server
            .migrate(ROOT, &["restore-check", &address, "--level", level])?)?;
        told.with_code(0)?;
    }

    // One that finds something else says no, and on which level.
    let other = json!({"name": "sums", "command": psql(SUMS), "output": "20001|1", "within": "3s"});
    let file = shop.checks("other", &other)?;
    let no = [&open[..], &["--checks", &file]].concat();
    let no = shop.run(&no)?.with_code(12)?;
    ensure!(no.out.contains("different"), "{}", no.out);
    no.says(&[
        "restore-check level 3: no",
        "check sums in pod db-0",
        &answer,
    ])?;
    ensure!(shop.scratch()?.is_empty(), "{:?}", shop.scratch()?);
    let without = json!({"name": "more", "command": psql(SUMS), "compare": "snapshot"});
    let file = shop.checks("without", &without)?;
    shop.run(&[&open[..], &["--checks", &file]].concat())?
        .with_code(10)?
        .says(&["the snapshot has no value of check more"])?;

    // The whole workload, into another namespace.
    let back = Namespace::new(On::A, "drill-back", &[])?;
    let into = format!("namespace/{}", back.name);
    let restore = ["restore", &address, "--into", &into];
    shop.run(&restore)?.with_code(0)?;
    back.ready("statefulset/db")?;
    ensure!(ask(&back, SUMS)? == answer);
    // Nothing that is there is overwritten.
    ask(&back, "insert into orders values (0, 1)")?;
    shop.run(&restore)?
        .with_code(10)?
        .says(&["exists already, and is kept as it is"])?;
    ensure!(ask(&back, "select count(*) from orders")? == "20001");
    Ok(())
}

#[test]
fn what_a_check_needs_and_nobody_has_is_told_and_what_is_killed_is_found_by_cleanup() -> Result<()>
{
    let shop = Shop::open("drill-kill")?;
    let address = shop.taken()?;
    let level = ["restore-check", &address, "--level", "3", "--open-network"];
    let mut running = Running::start(shop.command(&level)?)?;
    running.until("fill: started")?;
    let made = wait_for("the scratch namespace", || {
        Ok(Some(shop.scratch()?).filter(|found| !found.is_empty()))
    })?;
    running.kill()?;
    ensure!(shop.scratch()? == made, "{made:?}");
    let cleanup = ["cleanup", "restore-check-db", "--take-over", "--yes"];
    let told = wait_for("the dead check's lock to run out", || {
        let ended = end(shop.namespace.migrate(&cleanup)?)?;
        match ended.code {
            Some(11) => Ok(None),
            _ => ended.with_code(0).map(Some),
        }
    })?;
    ensure!(told.out.contains(&made[0]), "{}", told.out);
    ensure!(shop.scratch()?.is_empty(), "{:?}", shop.scratch()?);

    // Ctrl-C: what was made goes at once.
    let mut running = Running::start(shop.command(&level)?)?;
    running.until("start-workload: started")?;
    let process = Pid::from_raw(i32::try_from(running.id())?).context("a process")?;
    kill_process(process, Signal::INT)?;
    running.end()?.with_code(130)?;
    ensure!(shop.scratch()?.is_empty(), "{:?}", shop.scratch()?);

    // A Secret that is gone with its namespace's is named before anything is made.
    shop.namespace.kubectl(&["delete", "secret", "login"])?;
    shop.run(&level)?.with_code(10)?.says(&[
        "secret",
        "login",
        "the pods do not start without it",
    ])?;
    ensure!(shop.scratch()?.is_empty(), "{:?}", shop.scratch()?);
    Ok(())
}

/// It runs where it is at home, and elsewhere breaks down when it was ready for a while.
const HOMESICK: &str = r#"
trap 'exit 0' TERM
[ -e /data/home ] || { echo "$NAMESPACE" >/data/home; touch /data/filled; }
[ "$(cat /data/home)" = "$NAMESPACE" ] || { sleep 5; exit 1; }
sleep 100000 & wait $!
"#;

/// A class that provisions nothing, and a volume of it that is free, until it is dropped.
struct Lying<'a>(&'a Namespace, String);

impl<'a> Lying<'a> {
    fn new(namespace: &'a Namespace) -> Result<Self> {
        let name = format!("lying-{}", namespace.name);
        namespace.apply(&[
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
                "provisioner": "kubernetes.io/no-provisioner"}),
            json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {
                "capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": name,
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/tmp"},
            }}),
        ])?;
        Ok(Self(namespace, name))
    }
}

impl Drop for Lying<'_> {
    fn drop(&mut self) {
        for kind in ["persistentvolume", "storageclass"] {
            self.0.kubectl(&["delete", kind, &self.1]).ok();
        }
    }
}

#[test]
fn a_check_takes_nothing_of_others_and_is_not_content_with_a_moment() -> Result<()> {
    let small = Small::with("homesick", |_, set| {
        let container = &mut set["spec"]["template"]["spec"]["containers"][0];
        container["command"] = json!(["sh", "-c", HOMESICK]);
        container["env"] = json!([
            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        ]);
    })?;
    let place = &small.source;
    let server = Server::for_pods(On::A)?;
    place.apply(&[server.secret("backups")])?;
    let image = mover_image()?;
    let run = |args: &[&str]| {
        let flags = ["--s3-secret", "backups", "--mover-image", &image, "--yes"];
        end(place.migrate(&[args, &flags].concat())?)
    };
    let take = ["snapshot", "statefulset/db", "--to", REPOSITORY];
    run(&take)?.with_code(0)?;
    place.ready("statefulset/db")?;
    let (name, _) = super::archives::only(&server)?;
    let address = format!("{REPOSITORY}/{name}");
    let level = ["restore-check", &address, "--level", "3", "--open-network"];

    // Ready once is not enough.
    run(&level)?
        .with_code(12)?
        .says(&["restore-check level 3: no", "did not stay so: pods db-0"])?;

    // A volume that is free would go with the check's claim.
    let lying = Lying::new(place)?;
    let class = ["--storage-class", &lying.1];
    run(&[&level[..], &class].concat())?
        .with_code(10)?
        .says(&[&format!("persistentvolume {}", lying.1), "is free"])?;
    let volume = place.get(&format!("pv/{}", lying.1))?;
    ensure!(volume["status"]["phase"] == "Available", "{volume}");
    drop(lying);

    // A journal that is another's is neither gone back on nor forgotten.
    let files = tempfile::tempdir()?;
    let file = files.path().join("journal").display().to_string();
    let journal = ["--journal", &file[..]];
    let freeze = [&["freeze", "statefulset/db", "--yes"], &journal[..]].concat();
    end(place.migrate(&freeze)?)?.with_code(0)?;
    let before = fs::read(&file)?;
    run(&[&level[..], &journal].concat())?
        .with_code(10)?
        .says(&["is no check of this snapshot", "--journal"])?;
    ensure!(fs::read(&file)? == before);
    ensure!(place.get("statefulset/db")?["spec"]["replicas"] == 0);
    // What sleeps has no manifest that could be brought back.
    run(&[&take[..], &["--live"]].concat())?
        .with_code(10)?
        .says(&["is scaled to 0, because another migration froze it"])?;
    let thaw = [&["thaw", "statefulset/db"], &journal[..]].concat();
    end(place.migrate(&thaw)?)?.with_code(0)?;
    place.ready("statefulset/db")
}
