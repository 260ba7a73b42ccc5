//! A cluster as far as a swap can tell: claims, volumes with their binder, one StatefulSet, and no pods.
//!
//! It stops answering at the request that it is told to, before or after it has done what was asked: for whoever asks,
//! that is a `kill -9`.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    adapters::kube::fake::{Answer, FakeApi, Seen, failure},
    marks::{IN_PLACE, ORIGINAL},
};

/// Where the one who asks dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Before(usize),
    After(usize),
}

pub(super) struct World {
    pub claims: BTreeMap<String, Value>,
    pub volumes: BTreeMap<String, Value>,
    pub set: Option<Value>,
    /// Volumes whose data was deleted.
    pub lost: BTreeSet<String>,
    /// What must not be, and was.
    pub wrong: Vec<String>,
    /// The changes that were asked for, as `METHOD path`.
    pub changes: Vec<String>,
    pub cut: Option<Cut>,
    /// From which change on the one who asks has no right to any.
    pub refuses: Option<usize>,
    /// Whether somebody puts the policies of all bound volumes back as soon as the StatefulSet is gone.
    pub meddles: bool,
    /// Whether a StatefulSet that is deleted stays until it is deleted once more, as one does that has a finalizer.
    pub lingers: bool,
    dead: bool,
    killed: Arc<Notify>,
    count: u64,
}

#[derive(Clone)]
pub(super) struct Cluster {
    pub world: Arc<Mutex<World>>,
    pub killed: Arc<Notify>,
}

/// The volumes of a claim, the old one and the new one.
pub(super) fn pair(ordinal: u32) -> [String; 2] {
    [format!("pv-old-{ordinal}"), format!("pv-new-{ordinal}")]
}

impl Cluster {
    /// Two claims with volumes of class `slow`, two more of class `fast` for the same data, and the frozen StatefulSet.
    pub fn new() -> Self {
        let killed = Arc::new(Notify::new());
        let mut world = World {
            claims: BTreeMap::new(),
            volumes: BTreeMap::new(),
            set: Some(frozen_set()),
            lost: BTreeSet::new(),
            wrong: Vec::new(),
            changes: Vec::new(),
            cut: None,
            refuses: None,
            meddles: false,
            lingers: false,
            dead: false,
            killed: Arc::clone(&killed),
            count: 0,
        };
        for ordinal in 0..2 {
            let name = format!("data-db-{ordinal}");
            let [old, new] = pair(ordinal);
            let ours = json!({"kubectl-migrate/run": "r1", "kubectl-migrate/role": "volume"});
            world.add(&name, &old, "slow", "1Gi", &json!({"app": "db"}));
            world.add(&format!("{name}-migrate-m"), &new, "fast", "2Gi", &ours);
        }
        let world = Arc::new(Mutex::new(world));
        Self { world, killed }
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

fn frozen_set() -> Value {
    let note = json!({
        "version": 1, "migration": "m", "home": "shop", "run": "r1", "uid": "s1", "mode": "scale",
        "original": [{"at": "/spec/replicas", "was": 2, "is": 0}],
    });
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {
            "name": "db", "namespace": "shop", "uid": "s1", "generation": 2, "resourceVersion": "1",
            "labels": {"app": "db"}, "annotations": {ORIGINAL: note.to_string(), "team": "orders"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "own", "uid": "o1"}],
        },
        "spec": {
            "replicas": 0, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "slow",
                "resources": {"requests": {"storage": "1Gi"}},
            }}],
        },
        "status": {"replicas": 0, "observedGeneration": 2},
    })
}

fn not_found() -> Answer {
    let mut status = failure("NotFound", "not found");
    status["code"] = json!(404);
    Answer::Json(404, status)
}

fn conflict() -> Answer {
    let mut status = failure("Conflict", "the object has been modified");
    status["code"] = json!(409);
    Answer::Json(409, status)
}

fn forbidden(method: &str, path: &str) -> Answer {
    let text = format!("{path} is forbidden: User \"somebody\" cannot {method} it");
    let mut status = failure("Forbidden", &text);
    status["code"] = json!(403);
    Answer::Json(403, status)
}

impl World {
    fn add(&mut self, name: &str, volume: &str, class: &str, size: &str, labels: &Value) {
        let uid = format!("uid-of-{name}");
        let annotations = json!({"pv.kubernetes.io/bind-completed": "yes", "team": "orders"});
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": "1",
                "labels": labels, "annotations": annotations},
            "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem", "volumeName": volume,
                "storageClassName": class, "resources": {"requests": {"storage": size}}},
            "status": {"phase": "Bound", "capacity": {"storage": size}},
        });
        let held = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": volume, "uid": format!("uid-of-{volume}"), "resourceVersion": "1"},
            "spec": {"capacity": {"storage": size}, "storageClassName": class,
                "persistentVolumeReclaimPolicy": "Delete",
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop",
                    "name": name, "uid": uid}},
            "status": {"phase": "Bound"},
        });
        self.claims.insert(name.to_owned(), claim);
        self.volumes.insert(volume.to_owned(), held);
    }

    fn serve(&mut self, seen: &Seen) -> Answer {
        if self.dead {
            return Answer::Hang;
        }
        if seen.method == "GET" {
            return self.read(&seen.target);
        }
        let number = self.changes.len();
        if self.cut == Some(Cut::Before(number)) {
            return self.die();
        }
        let path = seen.target.split('?').next().unwrap_or_default();
        if self.refuses.is_some_and(|first| number >= first) {
            return forbidden(&seen.method, path);
        }
        self.changes.push(format!("{} {path}", seen.method));
        let answer = self.write(seen, path);
        self.control();
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

    fn object(&mut self, path: &str) -> Option<&mut Value> {
        let name = path.rsplit('/').next().unwrap_or_default();
        if path.contains("/persistentvolumes/") {
            self.volumes.get_mut(name)
        } else if path.contains("/persistentvolumeclaims/") {
            self.claims.get_mut(name)
        } else {
            self.set.as_mut()
        }
    }

    fn read(&mut self, target: &str) -> Answer {
        let path = target.split('?').next().unwrap_or_default();
        if path.ends_with("/pods") {
            let none = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []});
            return Answer::Json(200, none);
        }
        self.object(path)
            .map_or_else(not_found, |found| Answer::Json(200, found.clone()))
    }

    fn write(&mut self, seen: &Seen, path: &str) -> Answer {
        match seen.method.as_str() {
            "POST" => self.create(&seen.body, path),
            "DELETE" => self.delete(&seen.body, path),
            _ => self.patch(&seen.body, path),
        }
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count + 1
    }

    fn create(&mut self, body: &Value, path: &str) -> Answer {
        let name = body["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if self.object(&format!("{path}/{name}")).is_some() {
            let mut status = failure("AlreadyExists", "already exists");
            status["code"] = json!(409);
            return Answer::Json(409, status);
        }
        let number = self.next();
        let mut made = body.clone();
        made["metadata"]["uid"] = json!(format!("made-{number}"));
        made["metadata"]["resourceVersion"] = json!(number.to_string());
        if path.ends_with("/statefulsets") {
            made["metadata"]["generation"] = json!(1);
            made["status"] = json!({"replicas": 0, "observedGeneration": 1});
            self.is_no_mixture(&made);
            self.set = Some(made.clone());
        } else {
            made["status"] = json!({"phase": "Pending"});
            self.claims.insert(name, made.clone());
        }
        Answer::Json(201, made)
    }

    fn delete(&mut self, body: &Value, path: &str) -> Answer {
        let Some(found) = self.object(path).cloned() else {
            return not_found();
        };
        for field in ["uid", "resourceVersion"] {
            let wanted = &body["preconditions"][field];
            if wanted.is_null() {
                self.wrong
                    .push(format!("{path} is deleted whatever its {field}"));
                return conflict();
            }
            if *wanted != found["metadata"][field] {
                return conflict();
            }
        }
        let name = found["metadata"]["name"].as_str().unwrap_or_default();
        if path.contains("/statefulsets/") {
            if body["propagationPolicy"] != "Orphan" {
                self.wrong
                    .push("its revisions and claims would go with it".to_owned());
            }
            if self.lingers && found["metadata"]["deletionTimestamp"].is_null() {
                let number = self.next();
                let mut going = found.clone();
                going["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
                going["metadata"]["resourceVersion"] = json!(number.to_string());
                self.set = Some(going);
                return Answer::Json(200, found);
            }
            self.set = None;
            if self.meddles {
                self.meddle();
            }
        } else {
            // Who had deleted it before has decided that.
            let going = found["metadata"]["deletionTimestamp"].is_string();
            if self.set.is_some() && !going {
                self.wrong
                    .push(format!("{name} is deleted before the StatefulSet"));
            }
            self.claims.remove(name);
        }
        Answer::Json(200, found)
    }

    /// One that has lost its claim already would be gone at once: those are left.
    pub fn meddle(&mut self) {
        for volume in self.volumes.values_mut() {
            if volume["status"]["phase"] == "Bound" {
                volume["spec"]["persistentVolumeReclaimPolicy"] = json!("Delete");
                volume["metadata"]["resourceVersion"] = json!("meddled");
            }
        }
    }

    fn patch(&mut self, body: &Value, path: &str) -> Answer {
        let number = self.next();
        let Some(found) = self.object(path) else {
            return not_found();
        };
        if let Some(operations) = body.as_array() {
            for operation in operations {
                let at = operation["path"].as_str().unwrap_or_default();
                if operation["op"] == "test" && found.pointer(at) != Some(&operation["value"]) {
                    return conflict();
                }
                if operation["op"] != "test" {
                    put(found, at, operation["value"].clone());
                }
            }
        } else {
            if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"] {
                return conflict();
            }
            merge(found, body);
        }
        found["metadata"]["resourceVersion"] = json!(number.to_string());
        Answer::Json(200, found.clone())
    }

    /// The binder: what a controller manager would do by now.
    pub fn control(&mut self) {
        for (name, volume) in self.volumes.clone() {
            let of = volume["spec"]["claimRef"].clone();
            let claim = of["name"].as_str().unwrap_or_default();
            let claim = self.claims.get_mut(claim);
            let phase = match (claim, of["uid"].as_str()) {
                (Some(claim), None) if claim["spec"]["volumeName"] == name.as_str() => {
                    let uid = claim["metadata"]["uid"].clone();
                    claim["status"]["phase"] = json!("Bound");
                    let number = self.next();
                    if let Some(volume) = self.volumes.get_mut(&name) {
                        volume["spec"]["claimRef"]["uid"] = uid;
                        volume["metadata"]["resourceVersion"] = json!(number.to_string());
                    }
                    "Bound"
                }
                (_, None) => "Available",
                (Some(claim), Some(uid)) if claim["metadata"]["uid"] == uid => "Bound",
                (_, Some(_)) => "Released",
            };
            if phase == "Released" && volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete" {
                self.volumes.remove(&name);
                self.lost.insert(name);
            } else if let Some(volume) = self.volumes.get_mut(&name) {
                volume["status"]["phase"] = json!(phase);
            }
        }
    }

    /// A StatefulSet starts its pods on whatever claims are there.
    fn is_no_mixture(&mut self, set: &Value) {
        let new = set["metadata"]["annotations"][IN_PLACE].is_string();
        for ordinal in 0..2 {
            let claim = self.claims.get(&format!("data-db-{ordinal}"));
            let wanted = &pair(ordinal)[usize::from(new)];
            let bound = claim.is_some_and(|claim| {
                claim["spec"]["volumeName"] == wanted.as_str()
                    && claim["status"]["phase"] == "Bound"
            });
            if !bound {
                self.wrong
                    .push(format!("a pod would start without {wanted}"));
            }
        }
    }

    /// The world without what differs from one run to another.
    pub fn told(&self) -> Value {
        let mut told = json!({"claims": self.claims, "volumes": self.volumes, "set": self.set});
        plain(&mut told);
        told
    }
}

fn put(object: &mut Value, at: &str, value: Value) {
    let (parent, name) = at.rsplit_once('/').expect("a pointer");
    let name = name.replace("~1", "/").replace("~0", "~");
    object.pointer_mut(parent).expect("its parent")[name] = value;
}

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            object.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}

/// Takes off what the server counts and names itself, and what is empty.
fn plain(value: &mut Value) {
    const SERVERS: [&str; 6] = [
        "uid",
        "resourceVersion",
        "generation",
        "observedGeneration",
        "pv.kubernetes.io/bind-completed",
        "capacity",
    ];
    if let Some(note) = value.get_mut(ORIGINAL)
        && let Some(mut inner) = note
            .as_str()
            .and_then(|text| serde_json::from_str(text).ok())
    {
        plain(&mut inner);
        *note = inner;
    }
    match value {
        Value::Object(fields) => {
            // The owner's uid is the user's.
            let own = fields.contains_key("apiVersion") && fields.len() == 4;
            fields.retain(|key, _| own || !SERVERS.contains(&key.as_str()));
            fields.values_mut().for_each(plain);
            fields.retain(|_, value| value.as_object().is_none_or(|inner| !inner.is_empty()));
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}
