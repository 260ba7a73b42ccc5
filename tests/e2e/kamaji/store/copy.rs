//! Pods that copy from store to store.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{super::super::support::wait_for, CERTIFICATES, CLIENT, Store};

impl Store {
    /// Starts a pod that has this store's certificates and, in `/to` and `/to-client`, those of another one.
    pub(super) fn start_copy(
        &self,
        to: &Self,
        schema: &str,
        mut container: Value,
    ) -> Result<String> {
        let (mut volumes, mut mounts) = self.certificates("", CERTIFICATES, CLIENT);
        let more = to.certificates("to-", "/to", "/to-client");
        volumes.extend(more.0);
        mounts.extend(more.1);
        container["name"] = json!("copy");
        container["volumeMounts"] = json!(mounts);
        let name = format!("copy-{schema}");
        self.system.apply(&[json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "terminationGracePeriodSeconds": 0, "restartPolicy": "Never",
                "volumes": volumes, "containers": [container],
            },
        })])?;
        Ok(name)
    }

    /// Waits for the good end of a pod that copies, and deletes it.
    pub fn finish_copy(&self, name: &str) -> Result<()> {
        let phase = wait_for(&format!("the end of pod {name}"), || {
            let pod = self.system.get(&format!("pod/{name}"))?;
            let phase = pod["status"]["phase"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            Ok(["Succeeded", "Failed"].contains(&&*phase).then_some(phase))
        })?;
        let said = self.system.kubectl(&["logs", name])?;
        ensure!(phase == "Succeeded", "pod {name}: {said}");
        self.system.kubectl(&["delete", "pod", name, "--now"])?;
        Ok(())
    }

    /// Runs a script in a pod of a database server's image. Root's name and password are `$(A_USER)` and
    /// `$(A_PASSWORD)` here, and `$(B_USER)` and `$(B_PASSWORD)` there.
    pub(super) fn run_copy(
        &self,
        to: &Self,
        schema: &str,
        image: &str,
        script: &str,
    ) -> Result<()> {
        let [user, password] = self.login("A_USER", "A_PASSWORD");
        let [there, its_password] = to.login("B_USER", "B_PASSWORD");
        let container = json!({
            "image": image, "env": [user, password, there, its_password],
            "command": ["sh", "-c", format!("set -eo pipefail; {script}")],
        });
        let name = self.start_copy(to, schema, container)?;
        self.finish_copy(&name)
    }
}
