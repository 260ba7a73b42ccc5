use super::{
    API_VERSION, FreezeMode, KIND, Mover, MoverExecutable, MoverWay, Network, Objects, Plan,
    Playbook, Source, TenantFreeze, TenantWay, Verify, Warm, checks,
};

/// Longest name of a migration. Its objects are `migrate-NAME-NN-source-…`, with a pod's random end, and
/// must stay within the 63 bytes of a label.
const LONGEST_NAME: usize = 40;

/// What can be moved.
const KINDS: &str = "`statefulset`, `deployment`, `pvc`, `tenantControlPlane`, `snapshot`";

/// A name that is not longer than a migration's may be: a longer one is cut, and told from others by a
/// digest at its end.
#[must_use]
pub fn short_name(name: &str) -> String {
    const DIGEST: usize = 8;
    if name.len() <= LONGEST_NAME {
        return name.to_owned();
    }
    let digest = blake3::hash(name.as_bytes()).to_hex();
    let head: String = name.chars().take(LONGEST_NAME - DIGEST - 1).collect();
    format!(
        "{}-{}",
        head.trim_end_matches(['-', '.']),
        &digest[..DIGEST]
    )
}

/// Checks what types cannot say. An error is the field's path and the problem.
pub(super) fn validate(plan: &Plan) -> Result<(), (String, String)> {
    let refuse = |field: &str, problem: String| Err((field.to_owned(), problem));
    if plan.api_version != API_VERSION {
        let problem = format!("`{}` is not known, only `{API_VERSION}`", plan.api_version);
        return refuse("apiVersion", problem);
    }
    if plan.kind != KIND {
        return refuse("kind", format!("`{}` is not `{KIND}`", plan.kind));
    }
    name("metadata.name", &plan.metadata.name)?;
    if plan.metadata.name.len() > LONGEST_NAME {
        let problem =
            format!("longer than {LONGEST_NAME} bytes, so that objects cannot be named after it");
        return refuse("metadata.name", problem);
    }
    let target = &plan.spec.target;
    for (field, value) in [
        ("metadata.namespace", &plan.metadata.namespace),
        ("spec.source.statefulset", &plan.spec.source.statefulset),
        ("spec.source.deployment", &plan.spec.source.deployment),
        ("spec.source.pvc", &plan.spec.source.pvc),
        (
            "spec.source.tenantControlPlane",
            &plan.spec.source.tenant_control_plane,
        ),
        ("spec.target.namespace", &target.namespace),
        ("spec.target.statefulset", &target.statefulset),
        ("spec.target.pvc", &target.pvc),
        ("spec.target.dataStore", &target.data_store),
    ] {
        if let Some(value) = value {
            name(field, value)?;
        }
    }
    let given = given(&plan.spec.source);
    let [(kind, source)] = given[..] else {
        let problem = match given.len() {
            0 => format!("names nothing; one of {KINDS} is needed"),
            _ => format!("names more than one of {KINDS}"),
        };
        return refuse("spec.source", problem);
    };
    let playbook = plan.spec.playbook;
    let allowed: &[&str] = match playbook {
        Playbook::StatefulSet => &["statefulset"],
        Playbook::Copy => &["pvc"],
        Playbook::Freeze => &["statefulset", "deployment"],
        Playbook::KamajiDatastore => &["tenantControlPlane"],
        Playbook::Snapshot => &["statefulset", "deployment", "pvc"],
        Playbook::Restore | Playbook::RestoreCheck => &["snapshot"],
    };
    if !allowed.contains(&kind) {
        let problem = format!(
            "playbook `{}` takes {}, not {kind}",
            playbook.name(),
            allowed.join(" or ")
        );
        return refuse(&format!("spec.source.{kind}"), problem);
    }
    of_target(plan)?;
    let mover = &plan.spec.mover;
    if mover.executable == MoverExecutable::Put && mover.pull_secret.is_some() {
        let problem = "nothing is pulled where the executable is put into an image of the nodes";
        return refuse("spec.mover.pullSecret", problem.to_owned());
    }
    of_verify(plan)?;
    brought_back(plan)?;
    if plan.spec.source.snapshot.is_some() != plan.spec.source.bucket.is_some() {
        let problem = "a snapshot and its bucket belong together".to_owned();
        return refuse("spec.source", problem);
    }
    if playbook == Playbook::KamajiDatastore {
        return tenant(plan);
    }
    for (field, given) in [
        (
            "spec.freeze.tenant",
            plan.spec.freeze.tenant != TenantFreeze::default(),
        ),
        ("spec.way", plan.spec.way != TenantWay::default()),
        (
            "spec.freeze.live",
            plan.spec.freeze.live && playbook != Playbook::Snapshot,
        ),
    ] {
        if given {
            let problem = format!("playbook `{}` has no use for it", playbook.name());
            return refuse(field, problem);
        }
    }
    its_ways(plan)?;
    its_target(plan, kind, source)
}

/// The ways of a copy, and the bucket that is one of them.
fn its_ways(plan: &Plan) -> Result<(), (String, String)> {
    let (playbook, mover) = (plan.spec.playbook, &plan.spec.mover);
    let refuse = |field: &str, problem: String| Err((format!("spec.mover.{field}"), problem));
    let copies = matches!(playbook, Playbook::StatefulSet | Playbook::Copy);
    for (field, given) in [
        ("ways", !mover.ways.is_empty()),
        ("bucket", mover.bucket.is_some()),
    ] {
        if given && !copies {
            let problem = format!("playbook `{}` has no use for it", playbook.name());
            return refuse(field, problem);
        }
    }
    if mover.ways().contains(&MoverWay::Exec) {
        if mover.ways() != [MoverWay::Exec] {
            let problem = "has `exec` beside others: those need movers, and it is the way without any; name it alone";
            return refuse("ways", problem.to_owned());
        }
        if mover.executable == MoverExecutable::Put {
            let problem = "is `put`, and by way of `exec` nothing of ours runs in a pod";
            return refuse("executable", problem.to_owned());
        }
        if plan.spec.verify == Verify::Warm {
            let problem = "is `warm`, and by way of `exec` nothing is remembered of what was read: it has to be `content`";
            return Err(("spec.verify".to_owned(), problem.to_owned()));
        }
    }
    match (&mover.bucket, mover.ways().contains(&MoverWay::Bucket)) {
        (None, true) => refuse(
            "ways",
            "has `bucket`, and spec.mover.bucket names none".to_owned(),
        ),
        (Some(_), false) => refuse(
            "bucket",
            "would never be used: spec.mover.ways leaves `bucket` out".to_owned(),
        ),
        _ => Ok(()),
    }
}

/// A snapshot needs a bucket; and what is its own target makes no sense, but for a StatefulSet that gets other volumes.
fn its_target(plan: &Plan, kind: &str, source: &str) -> Result<(), (String, String)> {
    let playbook = plan.spec.playbook;
    match playbook {
        Playbook::Snapshot if plan.spec.target.bucket.is_none() => {
            let problem = "names no bucket to write to".to_owned();
            return Err(("spec.target.bucket".to_owned(), problem));
        }
        Playbook::Snapshot | Playbook::Restore | Playbook::RestoreCheck | Playbook::Freeze => {
            return Ok(());
        }
        _ => {}
    }
    if !is_itself(plan, source) {
        return Ok(());
    }
    if plan.is_in_place() {
        return in_place(plan);
    }
    let or = match playbook {
        Playbook::StatefulSet => "; in place, another storageClass or size",
        _ => "",
    };
    let problem = format!(
        "{kind} `{source}` would be its own target: give another context, namespace or name{or}"
    );
    Err(("spec.target".to_owned(), problem))
}

impl Plan {
    /// Whether a StatefulSet keeps its name and place, and gets other volumes.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        let source = self.spec.source.statefulset.as_deref();
        self.spec.playbook == Playbook::StatefulSet
            && self.spec.target.changes_volumes()
            && source.is_some_and(|source| is_itself(self, source))
    }
}

/// What is compared while the workload runs.
fn of_verify(plan: &Plan) -> Result<(), (String, String)> {
    let (spec, field) = (&plan.spec, || "spec.verify".to_owned());
    if spec.verify != Verify::Warm {
        return Ok(());
    }
    if spec.playbook != Playbook::StatefulSet {
        let problem = format!("playbook `{}` has no use for `warm`", spec.playbook.name());
        return Err((field(), problem));
    }
    if spec.warm.rounds == 0 {
        let problem = "`warm` compares what the warm rounds copied, and spec.warm.rounds is 0";
        return Err((field(), problem.to_owned()));
    }
    Ok(())
}

/// What makes no sense for a StatefulSet that keeps its name and place.
fn in_place(plan: &Plan) -> Result<(), (String, String)> {
    let refused = [
        (
            "spec.freeze.mode",
            plan.spec.freeze.mode != FreezeMode::default(),
            "in place the StatefulSet is made again, so that its pods cannot stay: only `scale`",
        ),
        (
            "spec.objects",
            plan.spec.objects != Objects::default(),
            "in place everything that the pods refer to is there",
        ),
    ];
    match refused.into_iter().find(|(_, given, _)| *given) {
        None => Ok(()),
        Some((field, _, problem)) => Err((field.to_owned(), problem.to_owned())),
    }
}

/// What is said of a workload that is brought back, where none is.
fn brought_back(plan: &Plan) -> Result<(), (String, String)> {
    let (spec, playbook) = (&plan.spec, plan.spec.playbook);
    let tried = playbook == Playbook::RestoreCheck;
    let back = tried || playbook == Playbook::Restore;
    let target = &spec.target;
    let useless = [
        (
            "spec.checks",
            !spec.checks.is_empty() && !tried && playbook != Playbook::Snapshot,
        ),
        ("spec.network", spec.network != Network::default() && !tried),
        ("spec.readyWithin", spec.ready_within.is_some() && !back),
        (
            "spec.target.volumesOnly",
            target.volumes_only && playbook != Playbook::Restore,
        ),
        ("spec.target.namespace", target.namespace.is_some() && tried),
        ("spec.target.pvc", target.pvc.is_some() && tried),
        (
            "spec.checks",
            !spec.checks.is_empty() && spec.source.pvc.is_some(),
        ),
    ];
    if let Some((field, _)) = useless.into_iter().find(|(_, given)| *given) {
        let problem = format!("playbook `{}` has no use for it", playbook.name());
        return Err((field.to_owned(), problem));
    }
    checks::of_plan(&spec.checks)
}

/// What the target has that its playbook has no use for.
fn of_target(plan: &Plan) -> Result<(), (String, String)> {
    let (playbook, target) = (plan.spec.playbook, &plan.spec.target);
    let refuse = |field: &str, problem: String| Err((field.to_owned(), problem));
    for (field, present, only) in [
        (
            "statefulset",
            target.statefulset.is_some(),
            Playbook::StatefulSet,
        ),
        ("volumes", !target.volumes.is_empty(), Playbook::StatefulSet),
        (
            "dataStore",
            target.data_store.is_some(),
            Playbook::KamajiDatastore,
        ),
        ("bucket", target.bucket.is_some(), Playbook::Snapshot),
    ] {
        if present && playbook != only {
            let problem = format!("playbook `{}` has no use for it", playbook.name());
            return refuse(&format!("spec.target.{field}"), problem);
        }
    }
    if target.pvc.is_some() && !matches!(playbook, Playbook::Copy | Playbook::Restore) {
        let problem = format!("playbook `{}` has no use for it", playbook.name());
        return refuse("spec.target.pvc", problem);
    }
    Ok(())
}

/// What makes no sense for a tenant's control plane, which stays where it is and has no volumes.
fn tenant(plan: &Plan) -> Result<(), (String, String)> {
    let (spec, target) = (&plan.spec, &plan.spec.target);
    if target.data_store.is_none() {
        let problem = "names no DataStore to move to".to_owned();
        return Err(("spec.target.dataStore".to_owned(), problem));
    }
    let useless = [
        ("spec.target.context", target.context.is_some()),
        ("spec.target.namespace", target.namespace.is_some()),
        ("spec.target.storageClass", target.storage_class.is_some()),
        ("spec.target.size", target.size.is_some()),
        (
            "spec.freeze.mode",
            spec.freeze.mode != FreezeMode::default(),
        ),
        ("spec.objects", spec.objects != Objects::default()),
        ("spec.mover", spec.mover != Mover::default()),
    ];
    let by_controller = spec.way == TenantWay::Controller;
    // Its Job copies once, while the controller's own freeze is on.
    let useless_by_controller = [
        (
            "spec.freeze.tenant",
            spec.freeze.tenant != TenantFreeze::default(),
        ),
        ("spec.warm", spec.warm != Warm::default()),
    ];
    if by_controller && spec.freeze.max.is_some() {
        let problem = format!(
            "way `{}` cannot keep it: nobody knows before how long Kamaji's Job takes",
            spec.way
        );
        return Err(("spec.freeze.max".to_owned(), problem));
    }
    if let Some((field, _)) = useless_by_controller
        .into_iter()
        .find(|(_, given)| by_controller && *given)
    {
        let problem = format!("way `{}` has no use for it", spec.way);
        return Err((field.to_owned(), problem));
    }
    match useless.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((field, _)) => {
            let problem = format!("playbook `{}` has no use for it", spec.playbook.name());
            Err((field.to_owned(), problem))
        }
    }
}

fn given(source: &Source) -> Vec<(&'static str, &str)> {
    [
        ("statefulset", &source.statefulset),
        ("deployment", &source.deployment),
        ("pvc", &source.pvc),
        ("tenantControlPlane", &source.tenant_control_plane),
        ("snapshot", &source.snapshot),
    ]
    .into_iter()
    .filter_map(|(kind, name)| Some((kind, name.as_deref()?)))
    .collect()
}

fn is_itself(plan: &Plan, source: &str) -> bool {
    let target = &plan.spec.target;
    let name = match plan.spec.playbook {
        Playbook::Copy => &target.pvc,
        _ => &target.statefulset,
    };
    target.context.is_none()
        && name.as_deref().is_none_or(|name| name == source)
        && (target.namespace.is_none() || target.namespace == plan.metadata.namespace)
}

/// A name as Kubernetes wants it for labels and host names (RFC 1123).
pub(super) fn name(field: &str, value: &str) -> Result<(), (String, String)> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let good = value.len() <= 63
        && value
            .bytes()
            .all(|byte| inner(byte) || byte == b'-' || byte == b'.')
        && value.bytes().next().is_some_and(inner)
        && value.bytes().last().is_some_and(inner);
    if good {
        return Ok(());
    }
    let problem = format!(
        "`{value}` is no name: lower-case letters, digits and `-`, at most 63, beginning and ending with a letter or digit"
    );
    Err((field.to_owned(), problem))
}
