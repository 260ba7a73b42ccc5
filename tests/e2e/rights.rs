//! The smallest rights: enough for everything, and each of them needed.
use std::{
    collections::BTreeSet,
    fmt, fs,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    proxy::{Fate, Proxy, Seen},
    small::{NAME, Small},
    support::{BOUND, Ended, On, end, output_of, wait_for},
};

/// A verb on a resource in one of the Roles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    /// Empty in the `ClusterRole`.
    namespace: String,
    group: String,
    resource: String,
    verb: String,
    /// Empty for all objects.
    names: Vec<String>,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

impl Right {
    /// Whether this request needs it.
    fn allows(&self, asked: &Self) -> bool {
        let same = |right: &Self| {
            let Right {
                namespace,
                group,
                resource,
                verb,
                ..
            } = right.clone();
            (namespace, group, resource, verb)
        };
        same(self) == same(asked)
            && (self.names.is_empty() || asked.names.iter().all(|name| self.names.contains(name)))
    }

    /// What a request needs; nothing for reviews, which everybody may ask for.
    fn of(seen: &Seen) -> Option<Self> {
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        let parts: Vec<_> = path.split('/').skip(1).collect();
        let (group, rest) = match parts.as_slice() {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, name) = match rest {
            [resource] => ((*resource).to_owned(), None),
            [resource, name] => ((*resource).to_owned(), Some((*name).to_owned())),
            [resource, name, sub, ..] => (format!("{resource}/{sub}"), Some((*name).to_owned())),
            [] => return None,
        };
        let selected = query.split('&').find_map(|pair| {
            pair.strip_prefix("fieldSelector=metadata.name%3D")
                .map(str::to_owned)
        });
        let verb = match seen.method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ if seen.is_watch() => "watch",
            _ if name.is_none() => "list",
            _ => "get",
        };
        (group != "authorization.k8s.io" && group != "authentication.k8s.io").then(|| Self {
            namespace: namespace.to_owned(),
            group: group.to_owned(),
            resource,
            verb: verb.to_owned(),
            names: name.or(selected).into_iter().collect(),
        })
    }
}

/// The emitted Roles and their bindings.
struct Roles(Vec<Value>);

impl Roles {
    fn of(small: &Small, user: &str) -> Result<Self> {
        let plan = small.plan();
        let args = ["preflight", "-f", &plan, "--emit-role", "--role-user", user];
        let told = end(small.migrate(&args)?)?.with_code(0)?;
        let documents = serde_yaml::Deserializer::from_str(&told.out);
        let documents: Result<Vec<_>, _> = documents.map(Value::deserialize).collect();
        Ok(Self(documents?))
    }

    fn rights(role: &Value) -> Result<Vec<Right>> {
        let texts = |value: &Value| -> Vec<String> {
            let all = value.as_array().into_iter().flatten();
            all.filter_map(|text| text.as_str().map(str::to_owned))
                .collect()
        };
        let mut rights = Vec::new();
        for rule in role["rules"].as_array().context("rules")? {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rights.push(Right {
                        namespace: role["metadata"]["namespace"]
                            .as_str()
                            .unwrap_or_default()
                            .to_owned(),
                        group: rule["apiGroups"][0].as_str().unwrap_or_default().to_owned(),
                        resource: resource.clone(),
                        verb,
                        names: texts(&rule["resourceNames"]),
                    });
                }
            }
        }
        Ok(rights)
    }

    /// The Roles, each with its binding.
    fn pairs(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.0.chunks(2).map(|pair| (&pair[0], &pair[1]))
    }
}

/// A Role with these rights and a binding to a group, both with this name.
fn granted(like: &Value, name: &str, rights: &[Right]) -> [Value; 2] {
    let cluster = like["kind"] == "ClusterRole";
    let mut metadata = json!({"name": name, "labels": {"test": "crash-rights"}});
    if !cluster {
        metadata["namespace"] = like["metadata"]["namespace"].clone();
    }
    let rules: Vec<_> = rights
        .iter()
        .map(|right| {
            let mut rule = json!({"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb]});
            if !right.names.is_empty() {
                rule["resourceNames"] = json!(right.names);
            }
            rule
        })
        .collect();
    let (role, binding) = if cluster {
        ("ClusterRole", "ClusterRoleBinding")
    } else {
        ("Role", "RoleBinding")
    };
    let api = "rbac.authorization.k8s.io";
    [
        json!({"apiVersion": format!("{api}/v1"), "kind": role, "metadata": metadata, "rules": rules}),
        json!({"apiVersion": format!("{api}/v1"), "kind": binding, "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": role, "name": name},
            "subjects": [{"apiGroup": api, "kind": "Group", "name": name}]}),
    ]
}

/// Makes objects in all their namespaces.
fn apply(objects: &[Value]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("objects.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(&file, list.to_string())?;
    let mut kubectl = Command::new("kubectl");
    kubectl.args(["--kubeconfig", &On::A.kubeconfig()?, "apply", "-f"]);
    output_of(kubectl.arg(file))?;
    Ok(())
}

/// Deletes what belongs to no namespace.
struct ClusterWide<'a>(&'a Small, Vec<String>);

impl Drop for ClusterWide<'_> {
    fn drop(&mut self) {
        for kind in ["clusterrole", "clusterrolebinding"] {
            let names: Vec<_> = self.1.iter().map(String::as_str).collect();
            let args = [&["delete", kind, "--ignore-not-found"], names.as_slice()].concat();
            self.0.source.kubectl(&args).ok();
        }
    }
}

/// Rights for what does not happen in a run where all goes well.
fn for_bad_days(right: &Right) -> bool {
    match (right.verb.as_str(), right.resource.as_str()) {
        // The evidence of a mover that failed; claims at the target that were there before, and are marked;
        // and what the API server asks for, since WebSockets carry it, beside `get`.
        ("get", "pods/log")
        | ("patch", "persistentvolumeclaims")
        | ("create", "pods/portforward" | "pods/exec") => true,
        // To wait for the end of an object, where it was not gone at once.
        ("list" | "watch", "jobs" | "persistentvolumeclaims") => !right.names.is_empty(),
        _ => false,
    }
}

#[test]
fn a_service_account_with_the_emitted_roles_runs_it_all_and_uses_every_right() -> Result<()> {
    uses_every_right(&Small::new("rights")?, 13, |small, proxy| {
        small.is_moved()?;
        // The same rights are enough to read both sides again while the target is in use.
        let pod = format!("pod {}/db-0", small.target.name);
        fs::write(
            small.target.folder("data-db-0")?.join("new"),
            "written since",
        )?;
        proxy
            .end(small.migrate(&["report", NAME, "--verify"])?)?
            .with_code(12)?
            .says(&[
                "the target of 1 of 1 volumes is not what was verified; the source still is, whole",
                &format!("{pod} uses it, so that this is to be expected"),
                "data-db-0: new: extra",
            ])?;
        Ok(())
    })
}

#[test]
fn with_its_own_executable_in_pods_it_needs_the_emitted_roles_and_no_other() -> Result<()> {
    let small = Small::with("rights-put", |plan, _| {
        plan["mover"] = json!({"executable": "put"});
    })?;
    uses_every_right(&small, 13, |small, _| small.is_moved().map(|_| ()))
}

#[test]
fn by_exec_it_needs_the_emitted_roles_and_no_other() -> Result<()> {
    let small = Small::with("rights-exec", |plan, _| {
        plan["mover"] = json!({"ways": ["exec"]});
    })?;
    uses_every_right(&small, 13, |small, _| {
        let report = small.source.report(NAME)?;
        let verified = &report["outputs"]["verify"]["volumes"][0];
        ensure!(
            verified["differences"] == 0 && verified["files"] == 21,
            "{verified}"
        );
        small.target.ready("statefulset/db")
    })
}

#[test]
fn in_place_it_needs_the_emitted_roles_and_no_other() -> Result<()> {
    let small = Small::with("rights-in", |plan, _| {
        plan["target"] = json!({"storageClass": "other"});
        plan["objects"] = json!("require");
    })?;
    uses_every_right(&small, 0, |small, _| {
        let claim = small.source.get("pvc/data-db-0")?;
        ensure!(claim["spec"]["storageClassName"] == "other", "{claim}");
        Ok(())
    })
}

/// Lets a run or a rollback lose all its rights when the claim's name is free, and is to be given to a volume: neither
/// volume may be lost, and it is said what is missing. Then it has them back, and comes to its end.
fn loses_them_in_the_gap(
    small: &Small,
    roles: &Roles,
    command: impl Fn() -> Result<Command>,
) -> Result<()> {
    let user = format!("system:serviceaccount:{}:runner", small.source.name);
    let may = |wanted: &str| {
        wait_for("the server to know the rights", || {
            let ask = ["auth", "can-i", "create", "persistentvolumeclaims", "--as"];
            let told = small
                .source
                .command(&[&ask[..], &[&user]].concat())?
                .output()?;
            let told = String::from_utf8_lossy(&told.stdout).trim() == wanted;
            Ok(told.then_some(()))
        })
    };
    let (gate, opens) = watch::channel(false);
    let (arrived, held) = std::sync::mpsc::channel();
    let proxy = Proxy::new(On::A, move |seen| {
        let path = seen.target.split('?').next().unwrap_or_default();
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        let gives = seen.method == Method::POST
            && path.ends_with("/persistentvolumeclaims")
            && body["metadata"]["name"] == "data-db-0";
        if gives {
            arrived.send(()).ok();
            Fate::Hold(opens.clone())
        } else {
            Fate::Pass
        }
    })?;
    let token = small.source.kubectl(&["create", "token", "runner"])?;
    proxy.log_in(token.trim())?;
    let client = proxy.start(command()?)?;
    held.recv_timeout(BOUND)?;
    for (_, binding) in roles.pairs() {
        let meta = &binding["metadata"];
        let [kind, name] = [&binding["kind"], &meta["name"]].map(|text| text.as_str());
        let mut delete = vec!["delete", kind.context("a kind")?, name.context("a name")?];
        if let Some(namespace) = meta["namespace"].as_str() {
            delete.extend(["-n", namespace]);
        }
        let mut kubectl = Command::new("kubectl");
        kubectl.args(["--kubeconfig", &On::A.kubeconfig()?]);
        output_of(kubectl.args(delete))?;
    }
    may("no")?;
    gate.send_replace(true);
    let ended = client.end()?;
    ensure!(matches!(ended.code, Some(1 | 14)), "{ended:?}");
    ended.says(&[
        "forbidden to create persistentvolumeclaim",
        "needs verb \"create\" on resource \"persistentvolumeclaims\"",
        "rollback m",
    ])?;
    let gone = ["get", "pvc,sts", "-o", "name"];
    let left = small.source.kubectl(&gone)?;
    ensure!(!left.contains("data-db-0\n"), "{left}");
    ensure!(!left.contains("statefulset"), "{left}");
    let volumes = small.source.get("pv")?;
    let kept = volumes["items"].as_array().into_iter().flatten();
    let kept = kept.filter(|volume| {
        volume["metadata"]["labels"]["kubectl-migrate/home"] == small.source.name.as_str()
            && volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
            && volume["metadata"]["deletionTimestamp"].is_null()
    });
    let kept = kept.count();
    ensure!(kept == 2, "{kept} volumes outlive their claims");
    apply(&roles.0)?;
    may("yes")?;
    // Without rights it could not free its lock either.
    wait_for("its lock to run out", || {
        let ended = proxy.end(command()?)?;
        match ended.code {
            Some(11) => Ok(None),
            _ => ended.with_code(0).map(Some),
        }
    })?;
    Ok(())
}

#[test]
fn whoever_loses_all_rights_between_a_claim_s_end_and_its_making_loses_no_volume() -> Result<()> {
    let small = Small::with("rights-lost", |plan, _| {
        plan["target"] = json!({"storageClass": "other"});
        plan["objects"] = json!("require");
    })?;
    small
        .source
        .kubectl(&["create", "serviceaccount", "runner"])?;
    let user = format!("system:serviceaccount:{}:runner", small.source.name);
    let roles = Roles::of(&small, &user)?;
    let name = roles.0[0]["metadata"]["name"].as_str().context("a name")?;
    let _wide = ClusterWide(&small, vec![name.to_owned()]);
    apply(&roles.0)?;
    let data = small.source.folder("data-db-0")?;
    loses_them_in_the_gap(&small, &roles, || small.run())?;
    small.source.ready("statefulset/db")?;
    let claim = small.source.get("pvc/data-db-0")?;
    ensure!(claim["spec"]["storageClassName"] == "other", "{claim}");
    let back = ["rollback", NAME, "--confirm", NAME];
    loses_them_in_the_gap(&small, &roles, || small.migrate(&back))?;
    small.is_back()?;
    ensure!(small.source.folder("data-db-0")? == data);
    Ok(())
}

/// Runs it with the emitted Roles, which ends with `code`, then back; each of their rights is asked for.
fn uses_every_right(
    small: &Small,
    code: i32,
    is_there: fn(&Small, &Proxy) -> Result<()>,
) -> Result<()> {
    small
        .source
        .kubectl(&["create", "serviceaccount", "runner"])?;
    let user = format!("system:serviceaccount:{}:runner", small.source.name);
    let roles = Roles::of(small, &user)?;
    let name = roles.0[0]["metadata"]["name"].as_str().context("a name")?;
    let _wide = ClusterWide(small, vec![name.to_owned()]);
    apply(&roles.0)?;

    let asked = Arc::new(Mutex::new(BTreeSet::new()));
    let proxy = Proxy::new(On::A, {
        let asked = Arc::clone(&asked);
        move |seen| {
            asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(Right::of(seen));
            Fate::Pass
        }
    })?;
    proxy.log_in(small.source.kubectl(&["create", "token", "runner"])?.trim())?;
    proxy.end(small.run()?)?.with_code(code)?;
    is_there(small, &proxy)?;
    proxy
        .end(small.migrate(&["rollback", NAME, "--confirm", NAME])?)?
        .with_code(0)?;
    small.is_back()?;

    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    let mut unused = Vec::new();
    for (role, _) in roles.pairs() {
        for right in Roles::rights(role)? {
            if !for_bad_days(&right) && !asked.iter().any(|asked| right.allows(asked)) {
                unused.push(right);
            }
        }
    }
    ensure!(unused.is_empty(), "never used: {unused:#?}");
    Ok(())
}

/// Whether preflight says that this right is missing, and nothing else.
fn names_it(ended: &Ended, right: &Right) -> bool {
    if ended.code != Some(10) {
        return false;
    }
    let Ok(told) = serde_json::from_str::<Value>(&ended.out) else {
        // Without the look at the workload itself there is nothing to check.
        let wanted = format!(
            "needs verb \"{}\" on resource \"{}",
            right.verb, right.resource
        );
        return ended.err.contains(&wanted);
    };
    let checks = told["checks"].as_array().cloned().unwrap_or_default();
    let blocking: Vec<_> = checks
        .iter()
        .filter(|check| check["check"]["verdict"] == "block")
        .collect();
    let wanted = format!("may not {right}");
    !blocking.is_empty()
        && blocking.iter().all(|check| {
            check["check"]["evidence"]
                .as_str()
                .is_some_and(|said| said.starts_with(&wanted))
        })
}

#[test]
fn with_one_right_less_preflight_names_it() -> Result<()> {
    let small = Small::new("less")?;
    let roles = Roles::of(&small, "nobody")?;
    let all = |at: usize| format!("{}-all-{at}", small.source.name);
    let less = |at: usize, number: usize| format!("{}-less-{at}-{number}", small.source.name);
    let mut objects = Vec::new();
    let mut missing = Vec::new();
    let mut wide = Vec::new();
    for (at, (role, _)) in roles.pairs().enumerate() {
        let rights = Roles::rights(role)?;
        objects.extend(granted(role, &all(at), &rights));
        wide.push(all(at));
        for (number, right) in rights.iter().enumerate() {
            let rest: Vec<_> = rights
                .iter()
                .filter(|other| *other != right)
                .cloned()
                .collect();
            objects.extend(granted(role, &less(at, number), &rest));
            if role["kind"] == "ClusterRole" {
                wide.push(less(at, number));
            }
            missing.push((at, number, right.clone()));
        }
    }
    let _wide = ClusterWide(&small, wide);
    apply(&objects)?;
    let count = roles.pairs().count();
    let preflight = |lesser: Option<(usize, usize)>| {
        let mut command = small.migrate(&[
            "preflight",
            "-f",
            &small.plan(),
            "-o",
            "json",
            "--as=somebody",
        ])?;
        for at in 0..count {
            let group = match lesser {
                Some((less_at, number)) if less_at == at => less(at, number),
                _ => all(at),
            };
            command.arg(format!("--as-group={group}"));
        }
        end(command)
    };
    wait_for("all rights to be known", || {
        Ok((preflight(None)?.code == Some(0)).then_some(()))
    })?;
    // Two at a time: the machine is small.
    let (one, two) = missing.split_at(missing.len() / 2);
    std::thread::scope(|scope| {
        let preflight = &preflight;
        let threads = [one, two].map(|missing| {
            scope.spawn(move || {
                for (at, number, right) in missing {
                    // The server may not know the last Roles yet.
                    let mut last = None;
                    wait_for("preflight to name the right", || {
                        let ended = preflight(Some((*at, *number)))?;
                        let named = names_it(&ended, right);
                        last = Some(ended);
                        Ok(named.then_some(()))
                    })
                    .with_context(|| format!("{right:?}: {last:?}"))?;
                }
                Ok::<_, anyhow::Error>(())
            })
        });
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a panic"))??;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    ensure!(
        missing.len() > 40,
        "only {} rights were looked at",
        missing.len()
    );
    println!("each of {} rights is missed by name", missing.len());
    Ok(())
}
