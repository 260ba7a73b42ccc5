//! Rights that are taken away in the middle of a restore, and given back.
use anyhow::{Result, ensure};
use http::Method;
use serde_json::json;

use super::{
    archives::{REPOSITORY, migrate, only, server},
    lost::held_in_the_middle,
    processes,
    proxy::{Fate, Proxy},
    support::{BOUND, Namespace, On, end, wait_for},
    tree, workload,
};

const RESTORE: &str = "restore-data-to";

/// What a service account may do, and may not for a while.
struct Rights<'a> {
    namespace: &'a Namespace,
    user: String,
}

impl<'a> Rights<'a> {
    /// Everything in the namespace, Jobs by a binding of their own, and reading elsewhere.
    fn new(namespace: &'a Namespace) -> Result<Self> {
        namespace.kubectl(&["create", "serviceaccount", "runner"])?;
        let this = Self {
            namespace,
            user: format!("system:serviceaccount:{}:runner", namespace.name),
        };
        for part in ["wide", "most", "jobs"] {
            this.give(part)?;
        }
        this.may("create", "jobs", true)?;
        Ok(this)
    }

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.namespace.name)
    }

    fn give(&self, part: &str) -> Result<()> {
        let all = json!(["*"]);
        let others = json!([
            "",
            "apps",
            "coordination.k8s.io",
            "events.k8s.io",
            "networking.k8s.io",
            "policy",
            "rbac.authorization.k8s.io",
            "storage.k8s.io",
        ]);
        let (kind, groups, verbs) = match part {
            "wide" => ("ClusterRole", others, json!(["get", "list", "watch"])),
            "most" => ("Role", others, all.clone()),
            _ => ("Role", json!(["batch"]), all.clone()),
        };
        let api = "rbac.authorization.k8s.io";
        let metadata = json!({"name": self.name(part)});
        let role = json!({"apiVersion": format!("{api}/v1"), "kind": kind, "metadata": metadata,
            "rules": [{"apiGroups": groups, "resources": all, "verbs": verbs}]});
        let binding = json!({"apiVersion": format!("{api}/v1"), "kind": format!("{kind}Binding"), "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": kind, "name": self.name(part)},
            "subjects": [{"kind": "ServiceAccount", "name": "runner", "namespace": self.namespace.name}]});
        self.namespace.apply(&[role, binding])
    }

    fn take(&self, part: &str) -> Result<()> {
        let binding = if part == "wide" {
            "clusterrolebinding"
        } else {
            "rolebinding"
        };
        self.namespace
            .kubectl(&["delete", binding, &self.name(part)])?;
        Ok(())
    }

    /// Waits until the server knows it.
    fn may(&self, verb: &str, resource: &str, wanted: bool) -> Result<()> {
        wait_for("the server to know the rights", || {
            let ask = ["auth", "can-i", verb, resource, "--as", &self.user];
            let told = self.namespace.command(&ask)?.output()?;
            Ok((told.status.success() == wanted).then_some(()))
        })
    }
}

impl Drop for Rights<'_> {
    fn drop(&mut self) {
        let name = self.name("wide");
        for kind in ["clusterrole", "clusterrolebinding"] {
            let delete = ["delete", kind, &name, "--ignore-not-found"];
            self.namespace.kubectl(&delete).ok();
        }
    }
}

/// Whether a request needs the right to create Jobs.
fn asks_for_a_job(method: &Method, target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    *method == Method::POST && path.ends_with("/jobs")
}

#[test]
fn a_restore_that_loses_rights_names_them_and_goes_on_when_they_are_back() -> Result<()> {
    let namespace = Namespace::new(On::A, "revoked", &[])?;
    let server = server(&namespace)?;
    namespace.apply(&[workload::claim("data", "1Gi"), workload::claim("to", "1Gi")])?;
    let (from, to) = (namespace.folder("data")?, namespace.folder("to")?);
    for number in 0..8 {
        tree::noise(&from.join(number.to_string()), 8 << 20)?;
    }
    let take = ["snapshot", "pvc/data", "--to", REPOSITORY];
    end(migrate(&namespace, &take)?)?.with_code(0)?;
    let address = format!("{REPOSITORY}/{}", only(&server)?.0);
    let rights = Rights::new(&namespace)?;
    let token = namespace.kubectl(&["create", "token", "runner"])?;

    // One right, when it is about to be used.
    let (gate, opens) = tokio::sync::watch::channel(false);
    let (arrived, held) = std::sync::mpsc::channel();
    let proxy = Proxy::new(On::A, move |seen| {
        if asks_for_a_job(&seen.method, &seen.target) {
            arrived.send(()).ok();
            Fate::Hold(opens.clone())
        } else {
            Fate::Pass
        }
    })?;
    proxy.log_in(token.trim())?;
    let restore = ["restore", &address, "--into", "pvc/to"];
    let client = proxy.start(migrate(&namespace, &restore)?)?;
    held.recv_timeout(BOUND)?;
    rights.take("jobs")?;
    rights.may("create", "jobs", false)?;
    gate.send_replace(true);
    client.end()?.with_code(1)?.says(&[
        "forbidden to create job",
        "needs verb \"create\" on resource \"jobs.batch\"",
        "run restore-data-to",
        "rollback restore-data-to",
    ])?;
    ensure!(
        std::fs::read_dir(&to)?.next().is_none(),
        "it was written to"
    );
    rights.give("jobs")?;
    rights.may("create", "jobs", true)?;

    // All of them, when some of it is there.
    let again = || namespace.migrate(&["run", RESTORE]);
    let mut client = proxy.start(again()?)?;
    client.until("fill: started")?;
    let run = processes::run_of(&namespace, RESTORE)?;
    let (held, _) = held_in_the_middle(&run, &to, 0, &[])?;
    for part in ["jobs", "most", "wide"] {
        rights.take(part)?;
    }
    rights.may("update", "configmaps", false)?;
    drop(held);
    let ended = client.end()?;
    println!(
        "without any right it ends with {:?}:\n{}",
        ended.code, ended.err
    );
    ended
        .with_code(1)?
        .says(&["forbidden to ", "needs verb ", "run restore-data-to"])?;
    for part in ["jobs", "most", "wide"] {
        rights.give(part)?;
    }
    rights.may("update", "configmaps", true)?;
    // Without rights it could not free its lock either.
    wait_for("its lock to run out", || {
        let ended = proxy.end(again()?)?;
        match ended.code {
            Some(11) => Ok(None),
            _ => ended.with_code(0).map(Some),
        }
    })?;
    tree::assert_equal(&from, &to, 0)
}
