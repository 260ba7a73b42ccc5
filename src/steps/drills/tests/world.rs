//! A cluster as far as a check can tell: objects by their paths, and controllers that have always done their work.
//!
//! It stops answering at the change that it is told to, before or after it has made it: for whoever asks, that is a
//! `kill -9`.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::adapters::kube::fake::{Answer, FakeApi, Seen, failure};

/// Where the one who asks dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Before(usize),
    After(usize),
}

pub(super) struct World {
    /// Every object by its path.
    pub objects: BTreeMap<String, Value>,
    /// Whether the network does what policies say.
    pub enforces: bool,
    /// The changes that were asked for, as `METHOD path`.
    pub changes: Vec<String>,
    pub cut: Option<Cut>,
    dead: bool,
    killed: Arc<Notify>,
    count: u64,
}

#[derive(Clone)]
pub(super) struct Cluster {
    pub world: Arc<Mutex<World>>,
    pub killed: Arc<Notify>,
}

/// Collections that are listed.
const PLURALS: [&str; 8] = [
    "pods",
    "events",
    "namespaces",
    "networkpolicies",
    "persistentvolumes",
    "serviceaccounts",
    "statefulsets",
    "persistentvolumeclaims",
];

impl Cluster {
    /// A namespace `shop`, and a volume of somebody else.
    pub fn new() -> Self {
        let killed = Arc::new(Notify::new());
        let mut objects = BTreeMap::new();
        let shop = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "uid": "n1",
            "resourceVersion": "1", "labels": {"pod-security.kubernetes.io/enforce": "baseline", "team": "orders"}}});
        objects.insert("/api/v1/namespaces/shop".to_owned(), shop);
        for (name, namespace, claim) in [
            ("pvc-theirs", "shop", "theirs"),
            ("pvc-ours", "migrate-check-r1", "ours"),
            ("rescued", "migrate-check-r1", "another"),
        ] {
            let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": name, "uid": name, "resourceVersion": "1"},
                "spec": {"persistentVolumeReclaimPolicy": "Retain",
                    "claimRef": {"namespace": namespace, "name": "data-db-0", "uid": claim}}});
            objects.insert(format!("/api/v1/persistentvolumes/{name}"), volume);
        }
        let world = World {
            objects,
            enforces: true,
            changes: Vec::new(),
            cut: None,
            dead: false,
            killed: Arc::clone(&killed),
            count: 1,
        };
        Self {
            world: Arc::new(Mutex::new(world)),
            killed,
        }
    }

    pub fn api(&self) -> FakeApi {
        let world = Arc::clone(&self.world);
        FakeApi::new(move |seen| {
            let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
            world.serve(seen)
        })
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn refused(code: u16, reason: &str) -> Answer {
    let mut status = failure(reason, reason);
    status["code"] = json!(code);
    Answer::Json(code, status)
}

impl World {
    fn serve(&mut self, seen: &Seen) -> Answer {
        if self.dead {
            return Answer::Hang;
        }
        let path = seen.target.split('?').next().unwrap_or_default().to_owned();
        if seen.method == "GET" {
            return self.read(&path);
        }
        let number = self.changes.len();
        if self.cut == Some(Cut::Before(number)) {
            return self.die();
        }
        self.changes.push(format!("{} {path}", seen.method));
        let answer = match seen.method.as_str() {
            "POST" => self.create(&seen.body, &path),
            "DELETE" => self.delete(&seen.body, &path),
            _ => self.patch(&seen.body, &path),
        };
        if self.cut == Some(Cut::After(number)) {
            return self.die();
        }
        answer
    }

    fn die(&mut self) -> Answer {
        self.dead = true;
        self.killed.notify_one();
        Answer::Hang
    }

    /// The next one who asks is another process.
    pub fn revive(&mut self) {
        self.dead = false;
        self.cut = None;
    }

    fn read(&self, path: &str) -> Answer {
        let last = path.rsplit('/').next().unwrap_or_default();
        if !PLURALS.contains(&last) {
            return match self.objects.get(path) {
                Some(found) => Answer::Json(200, found.clone()),
                None => refused(404, "NotFound"),
            };
        }
        let below = format!("{path}/");
        let items: Vec<_> = self
            .objects
            .iter()
            .filter(|(at, _)| {
                let rest = at.strip_prefix(&below);
                rest.is_some_and(|rest| !rest.contains('/'))
            })
            .map(|(_, object)| object.clone())
            .collect();
        Answer::Json(
            200,
            json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}),
        )
    }

    fn create(&mut self, body: &Value, path: &str) -> Answer {
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        let at = format!("{path}/{name}");
        if self.objects.contains_key(&at) {
            return refused(409, "AlreadyExists");
        }
        if let Some(namespace) = path.split("/namespaces/").nth(1) {
            let namespace = namespace.split('/').next().unwrap_or_default();
            let namespace = format!("/api/v1/namespaces/{namespace}");
            if !self.objects.contains_key(&namespace) {
                return refused(404, "NotFound");
            }
        }
        self.count += 1;
        let mut made = body.clone();
        made["metadata"]["uid"] = json!(format!("made-{}", self.count));
        made["metadata"]["resourceVersion"] = json!(self.count.to_string());
        made["metadata"]["generation"] = json!(1);
        self.control(&mut made, path, name);
        self.objects.insert(at, made.clone());
        Answer::Json(201, made)
    }

    /// What controllers and kubelets would have done by now.
    fn control(&mut self, made: &mut Value, path: &str, name: &str) {
        let last = path.rsplit('/').next().unwrap_or_default();
        match last {
            "namespaces" => {
                let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
                    "metadata": {"name": "default", "namespace": name, "uid": "a1"}});
                let at = format!("{path}/{name}/serviceaccounts/default");
                self.objects.insert(at, account);
            }
            "pods" => {
                let policy = path
                    .replace("/api/v1/", "/apis/networking.k8s.io/v1/")
                    .replace("/pods", "/networkpolicies/deny-all");
                let closed = self.enforces && self.objects.contains_key(&policy);
                made["status"] = match (name, closed) {
                    ("wall-listen", _) => json!({"phase": "Running", "podIP": "10.0.0.7",
                        "conditions": [{"type": "Ready", "status": "True"}]}),
                    ("wall-open", false) | ("wall-closed" | "wall-never", true) => ended(0),
                    _ => ended(12),
                };
            }
            "statefulsets" => {
                made["status"] =
                    json!({"readyReplicas": made["spec"]["replicas"], "observedGeneration": 1});
            }
            _ => {}
        }
    }

    fn delete(&mut self, body: &Value, path: &str) -> Answer {
        let Some(found) = self.objects.get(path).cloned() else {
            return refused(404, "NotFound");
        };
        if body["preconditions"]["uid"] != found["metadata"]["uid"] {
            return refused(409, "Conflict");
        }
        let below = format!("{path}/");
        let elsewhere = format!("{}/", path.replace("/api/v1/", "/apis/"));
        let namespace = elsewhere.rsplit("/namespaces/").next().unwrap_or_default();
        let grouped = format!("/namespaces/{namespace}");
        let is_namespace =
            path.starts_with("/api/v1/namespaces/") && path.matches('/').count() == 4;
        self.objects.retain(|at, _| {
            at != path && !at.starts_with(&below) && !(is_namespace && at.contains(&grouped))
        });
        Answer::Json(200, found)
    }

    fn patch(&mut self, body: &Value, path: &str) -> Answer {
        self.count += 1;
        let count = self.count.to_string();
        let Some(found) = self.objects.get_mut(path) else {
            return refused(404, "NotFound");
        };
        let seen = &body["metadata"]["resourceVersion"];
        if !seen.is_null() && *seen != found["metadata"]["resourceVersion"] {
            return refused(409, "Conflict");
        }
        for (field, value) in body["spec"].as_object().into_iter().flatten() {
            found["spec"][field] = value.clone();
        }
        found["metadata"]["resourceVersion"] = json!(count);
        Answer::Json(200, found.clone())
    }

    /// The paths of what is there.
    pub fn paths(&self) -> Vec<String> {
        self.objects.keys().cloned().collect()
    }
}

fn ended(code: i32) -> Value {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    json!({"phase": phase, "containerStatuses": [{
        "name": "wall", "image": "mover:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": code}},
    }]})
}
