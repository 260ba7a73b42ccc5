//! A tenant: a real API server on one of the stores, in a namespace of its own.
use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    super::support::{Namespace, On, output_of, wait_for},
    forward::Forward,
    place::{Place, tenant_image},
};

const PORT: u16 = 6443;

/// The TenantControlPlane of a new tenant.
pub fn object(name: &str, namespace: &str, store: &str, annotations: &Value) -> Result<Value> {
    // The definition's own words for its version.
    let image = tenant_image()?;
    let version = image.rsplit(':').next().context("an image without a tag")?;
    Ok(json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": {
            "dataStore": store,
            "controlPlane": {"deployment": {"replicas": 1}, "service": {"serviceType": "ClusterIP"}},
            "kubernetes": {"version": version, "kubelet": {"cgroupfs": "cgroupfs"}},
            "networkProfile": {"port": PORT},
        },
    }))
}

/// A tenant that is ready, until it is dropped.
pub struct Tenant {
    pub place: &'static Place,
    pub namespace: Namespace,
    /// Of its TenantControlPlane.
    pub name: String,
    folder: tempfile::TempDir,
    forward: Forward,
}

impl Tenant {
    /// A new one on a store.
    pub fn new(name: &str, store: &str) -> Result<Self> {
        Self::with(name, store, &json!({}))
    }

    /// The same with annotations from its first moment on.
    pub fn with(name: &str, store: &str, annotations: &Value) -> Result<Self> {
        let namespace = Namespace::new(On::A, name, &[])?;
        let object = object(name, &namespace.name, store, annotations)?;
        Self::make(namespace, name, store, &object)
    }

    /// The same in a schema that is called so.
    pub fn in_schema(name: &str, store: &str, schema: &str) -> Result<Self> {
        let namespace = Namespace::new(On::A, name, &[])?;
        let mut object = object(name, &namespace.name, store, &json!({}))?;
        object["spec"]["dataStoreSchema"] = json!(schema);
        Self::make(namespace, name, store, &object)
    }

    fn make(namespace: Namespace, name: &str, store: &str, object: &Value) -> Result<Self> {
        let place = Place::get()?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("tenant.json");
        std::fs::write(&file, object.to_string())?;
        // `apply` would leave an annotation, and any annotation changes what the controller does.
        namespace.kubectl(&["create", "-f", &file.to_string_lossy()])?;
        wait_for("the tenant's kubeconfig", || {
            Ok(namespace
                .get(&format!("secret/{name}-admin-kubeconfig"))
                .ok())
        })?;
        let forward = Forward::to(&namespace, name, PORT)?;
        let this = Self {
            place,
            namespace,
            name: name.to_owned(),
            folder,
            forward,
        };
        this.write_kubeconfig()?;
        this.until_ready_on(store)?;
        this.until("its API to answer", || {
            Ok(this.kubectl(&["get", "--raw", "/readyz"]).ok())
        })?;
        Ok(this)
    }

    fn write_kubeconfig(&self) -> Result<()> {
        let name = format!("{}-admin-kubeconfig", self.name);
        let key = r"jsonpath={.data.super-admin\.conf}";
        let encoded = self
            .namespace
            .kubectl(&["get", "secret", &name, "-o", key])?;
        let decoded = self.folder.path().join("encoded");
        std::fs::write(&decoded, encoded)?;
        let text = output_of(Command::new("base64").arg("-d").arg(&decoded))?;
        let mut kubeconfig: Value = serde_yaml::from_str(&text)?;
        kubeconfig["clusters"][0]["cluster"]["server"] =
            json!(format!("https://127.0.0.1:{}", self.forward.port));
        std::fs::write(self.kubeconfig(), kubeconfig.to_string())?;
        Ok(())
    }

    /// The kubeconfig of its administrator, by a forward that outlives its pods.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// kubectl inside the tenant.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(self.kubeconfig());
        output_of(command.arg("--request-timeout=60s").args(args))
    }

    /// Makes a ConfigMap inside the tenant; tries again while the pods change.
    pub fn write(&self, name: &str) -> Result<()> {
        let at = format!("--from-literal=at={name}");
        self.until(&format!("configmap {name} to be made"), || {
            let made = self.kubectl(&["create", "configmap", name, &at]);
            Ok(made.ok())
        })?;
        Ok(())
    }

    /// It refuses this write, and says so. Whoever gets no answer asks again: that is no refusal.
    pub fn refuses(&self, write: &[&str], saying: &str) -> Result<()> {
        self.until(&format!("a refusal that says `{saying}`"), || {
            let Err(error) = self.kubectl(write) else {
                bail!("a write was taken: {write:?}");
            };
            Ok(format!("{error:#}").contains(saying).then_some(()))
        })
    }

    /// Waits until it is given to a store, whatever has to be done for that yet.
    pub fn until_given_to(&self, store: &str) -> Result<()> {
        self.until(&format!("given to {store}"), || {
            let status = self.get()?["status"].clone();
            Ok((status["storage"]["dataStoreName"] == store).then_some(()))
        })
    }

    /// Whether the tenant has this ConfigMap.
    pub fn has(&self, name: &str) -> Result<bool> {
        let found = self.answer(&["get", "configmap", name, "--ignore-not-found", "-o", "name"])?;
        Ok(!found.is_empty())
    }

    /// Its TenantControlPlane.
    pub fn get(&self) -> Result<Value> {
        self.namespace.get(&format!("tcp/{}", self.name))
    }

    /// How it fares, in the controller's word.
    pub fn phase(&self) -> Result<String> {
        let status = &self.get()?["status"]["kubernetesResources"]["version"]["status"];
        Ok(status.as_str().unwrap_or_default().to_owned())
    }

    /// Merges a change into it.
    pub fn patch(&self, change: &Value) -> Result<()> {
        self.patch_with(change, &[])
    }

    /// Merges a change into its status.
    pub fn patch_status(&self, change: &Value) -> Result<()> {
        self.patch_with(&json!({"status": change}), &["--subresource=status"])
    }

    fn patch_with(&self, change: &Value, flags: &[&str]) -> Result<()> {
        let change = change.to_string();
        let args = ["patch", "tcp", &self.name, "--type=merge", "-p", &change];
        self.namespace.kubectl(&[&args[..], flags].concat())?;
        Ok(())
    }

    /// Wishes another store.
    pub fn wish(&self, store: &str) -> Result<()> {
        self.patch(&json!({"spec": {"dataStore": store}}))
    }

    /// Wishes another store, to which a Job with another image is to bring it: the controller looks at the
    /// arguments only, and takes the Job for its own.
    pub fn wish_with_image(&self, store: &str, image: &str) -> Result<()> {
        let target = format!("--target-datastore={store}");
        let tenant = format!(
            "--tenant-control-plane={}/{}",
            self.namespace.name, self.name
        );
        self.place.system.apply(&[json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": self.job()?},
            "spec": {"template": {"spec": {
                "serviceAccountName": "kamaji-controller-manager", "restartPolicy": "OnFailure",
                "containers": [{
                    "name": "migrate", "image": image, "args": ["migrate", tenant, target],
                }],
            }}},
        })])?;
        self.wish(store)
    }

    /// Stops the controller's work on it, or lets it go on.
    pub fn pause(&self, paused: bool) -> Result<()> {
        let value = if paused { json!("true") } else { Value::Null };
        self.patch(&json!({"metadata": {"annotations": {"kamaji.clastix.io/paused": value}}}))
    }

    /// Has the controller stop its pods, and waits until there is none.
    pub fn sleep(&self) -> Result<()> {
        self.replicate(0)?;
        self.until("Sleeping", || {
            Ok((self.phase()? == "Sleeping").then_some(()))
        })?;
        self.until_stopped()
    }

    /// Waits until it has no pods.
    pub fn until_stopped(&self) -> Result<()> {
        self.until("its pods to be gone", || {
            let pods = self.namespace.kubectl(&["get", "pods", "-o", "name"])?;
            Ok(pods.is_empty().then_some(()))
        })
    }

    /// Has the controller start its pods.
    pub fn wake(&self) -> Result<()> {
        self.replicate(1)
    }

    fn replicate(&self, pods: u32) -> Result<()> {
        self.patch(&json!({"spec": {"controlPlane": {"deployment": {"replicas": pods}}}}))
    }

    /// Its own part of any store.
    pub fn schema(&self) -> Result<String> {
        let schema = self.get()?["status"]["storage"]["setup"]["schema"].clone();
        Ok(schema.as_str().context("no schema")?.to_owned())
    }

    /// The name of the Job that moves it.
    pub fn job(&self) -> Result<String> {
        let uid = self.get()?["metadata"]["uid"].clone();
        Ok(format!("migrate-{}", uid.as_str().context("no identity")?))
    }

    /// The Job that moves it, if there is one.
    pub fn found_job(&self) -> Result<Option<Value>> {
        Ok(self.place.system.get(&format!("job/{}", self.job()?)).ok())
    }

    /// Makes an object inside the tenant.
    pub fn apply(&self, object: &Value) -> Result<()> {
        let file = self.folder.path().join("object.json");
        std::fs::write(&file, object.to_string())?;
        self.kubectl(&["apply", "-f", &file.to_string_lossy()])?;
        Ok(())
    }

    /// The policies in the tenant that refuse writes.
    pub fn policies(&self) -> Result<String> {
        let kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings";
        self.answer(&["get", kinds, "-o", "name"])
    }

    /// Whether the controller's freeze is in the tenant.
    pub fn is_frozen(&self) -> Result<bool> {
        let freeze = "validatingwebhookconfigurations/kamaji-freeze";
        let found = self.answer(&["get", freeze, "--ignore-not-found", "-o", "name"])?;
        Ok(!found.is_empty())
    }

    /// What kubectl answers inside the tenant, once it does: an API server may just be making room for another.
    fn answer(&self, args: &[&str]) -> Result<String> {
        self.until("an answer", || Ok(self.kubectl(args).ok()))
    }

    /// Waits for something of this tenant; when it does not come, says how the tenant is.
    pub fn until<T>(&self, what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        wait_for(&format!("{}: {what}", self.name), look).with_context(|| {
            let told = self
                .place
                .system
                .kubectl(&["logs", "deployment/kamaji", "--tail=20"]);
            let pods = self.namespace.kubectl(&["get", "tcp,pods", "-o", "wide"]);
            format!("{}\n{}", told.unwrap_or_default(), pods.unwrap_or_default())
        })
    }

    /// Waits until it has moved to a store with all that belongs to that, and is ready.
    pub fn until_ready_on(&self, store: &str) -> Result<()> {
        self.until_on(store, "Ready")
    }

    /// Waits until it has moved to a store, and sleeps.
    pub fn until_asleep_on(&self, store: &str) -> Result<()> {
        self.until_on(store, "Sleeping")
    }

    fn until_on(&self, store: &str, phase: &str) -> Result<()> {
        self.until(&format!("{phase} on {store}"), || {
            let now = self.get()?;
            let status = &now["status"];
            let observed = status["observedGeneration"] == now["metadata"]["generation"];
            let ready = status["kubernetesResources"]["version"]["status"] == phase;
            let there = status["storage"]["dataStoreName"] == store;
            Ok((observed && ready && there).then_some(()))
        })
    }
}
