//! A PostgreSQL of Debian's in a StatefulSet, with a client that writes to it all the time.
use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    proxy::Proxy,
    support::{CLUSTER, Namespace, On, PlanFile, end, output_of, wait_for},
    workload::claim,
};

const SERVER: &str = r"
set -eu
if [ ! -e /data/postgres/main ]; then
  initdb -D /data/postgres/new -U root --encoding=UTF8 --locale=C --no-sync
  mv /data/postgres/new /data/postgres/main
fi
printf 'local all all trust\nhost all all all trust\n' >/tmp/access
exec postgres -D /data/postgres/main -c hba_file=/tmp/access -c listen_addresses=* -c unix_socket_directories=/tmp
";

/// Tells the number of each row that the server said it has. A row that it said nothing of may be there or not.
const CLIENT: &str = r#"
export PGCONNECT_TIMEOUT=2
n=0
while :; do
  n=$((n + 1))
  ! psql -h db -U root -q -c "INSERT INTO told SELECT $n, string_agg(md5(random()::text), '') FROM generate_series(1, 256)" postgres 2>/dev/null || echo $n
  busybox usleep 20000
done
"#;

struct Database {
    place: Namespace,
    /// Rows of a KiB that are in it besides what the client writes.
    filled: u64,
}

impl Database {
    fn start(name: &str, filled: u64) -> Result<Self> {
        let place = Namespace::new(On::A, name, &[])?;
        let mut command = std::process::Command::new(CLUSTER);
        let image = output_of(command.args(["database", "postgres"]))?;
        let image = image.trim();
        let pod =
            |script: &str| json!({"name": "db", "image": image, "command": ["sh", "-c", script]});
        let mut server = pod(SERVER);
        let ready = [
            "psql", "-h", "/tmp", "-U", "root", "-c", "SELECT 1", "postgres",
        ];
        server["readinessProbe"] =
            json!({"exec": {"command": ready}, "periodSeconds": 1, "timeoutSeconds": 10});
        // It refuses to be root.
        server["securityContext"] = json!({"runAsUser": 65534, "runAsGroup": 65534});
        server["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
        let owner = json!({
            "name": "owner", "image": "localhost/busybox:1",
            "command": ["sh", "-ec", "mkdir -p /data/postgres; chown 65534:65534 /data /data/postgres"],
            "securityContext": {"runAsUser": 0}, "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        });
        let labels = json!({"app": "db"});
        place.apply(&[
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
                "spec": {"clusterIP": "None", "selector": labels, "ports": [{"port": 5432}]}}),
            json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
                "serviceName": "db", "replicas": 1, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"initContainers": [owner], "containers": [server]}},
                "volumeClaimTemplates": [claim("data", "8Gi")],
            }}),
        ])?;
        let this = Self { place, filled };
        this.place.ready("statefulset/db")?;
        this.sql("CREATE TABLE told (n bigint PRIMARY KEY, t text)")?;
        let fill = format!(
            "CREATE TABLE fill AS SELECT g, repeat(md5(g::text), 31) AS t FROM generate_series(1, {filled}) g"
        );
        this.sql(&fill)?;
        this.sql("CHECKPOINT")?;
        let client = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [pod(CLIENT)]});
        this.place.apply(&[json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": client})])?;
        Ok(this)
    }

    fn sql(&self, statement: &str) -> Result<String> {
        let words = [
            "exec", "db-0", "-c", "db", "--", "psql", "-h", "/tmp", "-U", "root",
        ];
        let statement = [
            "-v",
            "ON_ERROR_STOP=1",
            "-q",
            "-At",
            "-c",
            statement,
            "postgres",
        ];
        self.place.kubectl(&[&words[..], &statement].concat())
    }

    /// The rows of which the client was told that they are there; one more than `least`, at least.
    fn acknowledged(&self, least: usize) -> Result<BTreeSet<u64>> {
        wait_for("one more row to be acknowledged", || {
            let told = self.place.kubectl(&["logs", "client"]).unwrap_or_default();
            let told = told
                .lines()
                .map(str::parse)
                .collect::<Result<BTreeSet<u64>, _>>();
            Ok(told.ok().filter(|told| told.len() > least))
        })
    }

    /// Every one of these rows is there, and so is everything else.
    fn has(&self, acknowledged: &BTreeSet<u64>) -> Result<()> {
        let rows = self.sql("SELECT n FROM told")?;
        let rows = rows
            .lines()
            .map(str::parse)
            .collect::<Result<BTreeSet<u64>, _>>()?;
        let lost: Vec<_> = acknowledged.difference(&rows).collect();
        ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let filled = self.sql("SELECT count(*) FROM fill WHERE t = repeat(md5(g::text), 31)")?;
        ensure!(filled.trim() == self.filled.to_string(), "{filled}");
        Ok(())
    }

    fn volume(&self) -> Result<Value> {
        Ok(self.place.get("pvc/data-db-0")?["spec"]["volumeName"].clone())
    }
}

/// 48 MiB.
const FILLED: u64 = 48 << 10;

#[test]
fn a_database_gets_another_volume_under_its_client_and_the_old_one_back_after_each_step()
-> Result<()> {
    let database = Database::start("pg-place", FILLED)?;
    let place = &database.place;
    let spec = json!({
        "playbook": "statefulset", "source": {"statefulset": "db"}, "target": {"storageClass": "other"},
        "verify": "warm",
    });
    let plan = PlanFile::new(&place.name, "pg", spec)?;
    let rollback = || end(place.migrate(&["rollback", "pg", "--confirm", "pg"])?)?.with_code(0);
    let old = database.volume()?;
    let mut acknowledged = database.acknowledged(0)?;
    let first = ["run", "-f", &plan.path(), "--yes"];
    let again = ["run", "pg", "--yes"];
    let mut run = &first[..];
    for step in [
        "prepare done",
        "warm-copy done",
        "freeze done",
        "final-copy done",
        "verify done",
        "release done",
        "retain done",
        "swap done",
    ] {
        let proxy = Proxy::that_kills_after(On::A, "pg", step)?;
        let cut = proxy.end(place.migrate(run)?)?;
        ensure!(cut.code.is_none(), "{step}: {cut:?}");
        rollback()?;
        place.ready("statefulset/db")?;
        ensure!(database.volume()? == old, "after {step}");
        // Its clients come back, and find all that they were told.
        acknowledged = database.acknowledged(acknowledged.len())?;
        database
            .has(&acknowledged)
            .with_context(|| format!("after {step}"))?;
        run = &again[..];
    }
    end(place.migrate(run)?)?.with_code(0)?;
    place.ready("statefulset/db")?;
    ensure!(database.volume()? != old);
    database.has(&database.acknowledged(acknowledged.len())?)?;
    // Its tables were compared before it was stopped, and not read again then.
    let report = place.report("pg")?;
    let verified = &report["outputs"]["verify"]["volumes"][0];
    let before = verified["compared_before"]["bytes"]
        .as_u64()
        .context("a number")?;
    let bytes = verified["bytes"].as_u64().context("a number")?;
    ensure!(before >= FILLED << 10 && before < bytes, "{verified:#}");
    ensure!(
        verified["source_digest"] == verified["target_digest"],
        "{verified:#}"
    );
    // What was written to the new volume goes with it; what was there before does not.
    rollback()?;
    place.ready("statefulset/db")?;
    ensure!(database.volume()? == old);
    database.has(&acknowledged)
}

/// The database's size in MiB, and how long its first copy is to take: small ones, but where it is measured.
fn measured() -> Result<(u64, u64)> {
    let number = |name: &str, usual| match std::env::var(name) {
        Ok(number) => number.parse().context(number),
        Err(_) => Ok(usual),
    };
    Ok((number("BENCH_MIB", 48)?, number("BENCH_SECONDS", 8)?))
}

#[test]
fn writes_stop_for_what_changed_and_not_for_what_is_there() -> Result<()> {
    let (mebibytes, seconds) = measured()?;
    let database = Database::start("pg-freeze", mebibytes << 10)?;
    let place = &database.place;
    let spec = json!({
        "playbook": "statefulset", "source": {"statefulset": "db"}, "target": {"storageClass": "other"},
        "verify": "warm", "mover": {"limit": format!("{}KiB/s", (mebibytes << 10) / seconds)},
    });
    let plan = PlanFile::new(&place.name, "pg", spec)?;
    end(place.migrate(&["run", "-f", &plan.path(), "--yes"])?)?.with_code(0)?;
    place.ready("statefulset/db")?;
    database.has(&database.acknowledged(0)?)?;
    let report = place.report("pg")?;
    let copied = &report["outputs"]["warm-copy"]["volumes"][0];
    let frozen = report["frozen"]["seconds"].as_f64().context("a number")?;
    let full = copied["round_seconds"][0].as_f64().context("a number")?;
    // What the client wrote meanwhile, by the size of its table.
    let written = database
        .sql("SELECT pg_total_relation_size('told') * 100.0 / pg_database_size('postgres')")?;
    println!(
        "figure frozen={frozen} full={full} written={}",
        written.trim()
    );
    let read = report["outputs"]["verify"]["volumes"][0].clone();
    let number = |key: &str| read[key].as_u64().context("a number");
    let before = read["compared_before"]["bytes"]
        .as_u64()
        .context("a number")?;
    ensure!(before * 2 > number("bytes")?, "{read:#}");
    Ok(())
}
