//! A cluster of two nodes: movers are where the volumes are, and a node is drained under one of them.
use std::{collections::BTreeSet, fs::File};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    gate::Gate,
    movers::whole,
    processes,
    small::{NAME, Small},
    support::{Namespace, On, Running, wait_for},
    tree,
    volumes::Prepared,
};

/// The node that nobody else's pods tolerate, so that it can be drained beside other tests.
const DRAINED: &str = "a-2";

/// Whatever happens, the node takes pods again.
struct Cordoned<'a>(&'a Namespace);

impl Drop for Cordoned<'_> {
    fn drop(&mut self) {
        self.0.kubectl(&["uncordon", DRAINED]).ok();
    }
}

/// Of each volume: the files are mostly holes, and what they are long has to fit.
const SIZE: &str = "128Mi";

fn on_prepared_volumes(plan: &mut Value, stateful_set: &mut Value) {
    plan["target"]["storageClass"] = json!("prepared");
    let spec = &mut stateful_set["spec"];
    let claim = &mut spec["volumeClaimTemplates"][0]["spec"];
    claim["storageClassName"] = json!("prepared");
    claim["resources"]["requests"]["storage"] = json!(SIZE);
    spec["template"]["spec"]["tolerations"] = json!([{"key": "second-node", "operator": "Exists"}]);
}

/// On which node the mover of a side is, of a run.
fn node_of_mover(namespace: &Namespace, run: &str, side: &str) -> Result<String> {
    let selector = format!("kubectl-migrate/run={run},kubectl-migrate/role=mover-{side}");
    let pods = ["get", "pods", "-l", &selector, "-o"];
    let node = "jsonpath={.items[*].spec.nodeName}";
    namespace.kubectl(&[&pods[..], &[node]].concat())
}

#[test]
fn a_volume_goes_to_another_node_and_its_own_is_drained_meanwhile() -> Result<()> {
    let source = Namespace::new(On::A, "nodes-from", &[])?;
    let target = Namespace::new(On::A, "nodes-to", &[])?;
    let claim = "data-db-0";
    let from_volume = Prepared::on_node(2, &source, "tmpfs-volume", claim, SIZE)?;
    let to_volume = Prepared::on_node(1, &target, "tmpfs-volume", claim, SIZE)?;
    let small = Small::within(source, target, on_prepared_volumes)?;
    let (from, to) = (from_volume.path()?, to_volume.path()?);
    // Large enough to be put in place one by one; most of each is a hole.
    for number in 0..10 {
        let file = from.join(format!("file-{number}"));
        tree::noise(&file, 64 << 10)?;
        File::options().write(true).open(&file)?.set_len(8 << 20)?;
    }
    let gate = Gate::new(&from)?;
    let mut client = Running::start(small.run()?)?;
    client.until("warm-copy: started")?;
    // One of the four may be the file that is no part of this.
    gate.open_to(4, BTreeSet::new());
    let complete = wait_for("three files", || {
        let mut there = whole(&to)?;
        there.retain(|name, _| name.starts_with("file-"));
        Ok((there.len() >= 3).then_some(there))
    })?;
    let run = processes::run_of(&small.source, NAME)?;
    ensure!(node_of_mover(&small.source, &run, "source")? == DRAINED);
    ensure!(node_of_mover(&small.target, &run, "target")? == "a-1");

    let drained = Cordoned(&small.source);
    let drain = ["drain", DRAINED, "--delete-emptydir-data", "--timeout=600s"];
    small.source.kubectl(&drain)?;
    client.until("unschedulable")?;
    drop((gate, drained));

    client.end()?.with_code(13)?;
    small.is_moved()?;
    let now = whole(&to)?;
    for (name, inode) in &complete {
        // What is sent again is another file, put in the place of the first.
        ensure!(now.get(name) == Some(inode), "{name} was sent again");
    }
    let pod = small.target.get("pod/db-0")?;
    let node = pod["spec"]["nodeName"].as_str().context("no node")?;
    ensure!(node == "a-1", "the target's pod is on {node}");
    Ok(())
}
