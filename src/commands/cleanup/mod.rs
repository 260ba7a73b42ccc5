mod bucket;
mod in_place;
mod item;
mod kamaji;
mod on_the_way;
mod scratch;
mod source;
mod store;

use std::path::PathBuf;

use anyhow::Result;
use k8s_openapi::api::{
    batch::v1::Job,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod, Secret},
};
use kube::Resource;
use serde_json::json;

use self::{
    bucket::LeftInBucket, in_place::OldVolumes, item::Item, kamaji::OneShot,
    on_the_way::LeftOnTheWay, store::OldStore,
};
use super::{begun::Begun, identity, named, session::keeps_its_plan};
use crate::{
    adapters::kube::{Object, Selector, get_opt, list_all},
    context::Context,
    engine::{Failure, Kind as FailureKind, Record, Sink},
    error::{Kind, Usage},
    flags::DryRun,
    marks::{self, object_name},
    plan,
    playbooks::Sides,
    report::State,
    state::Seen,
    steps::Place,
    ui::Removal,
};

/// The name under which the journal tells that the source was deleted. It is no step: nothing runs or undoes
/// it.
pub(super) const ID: &str = "cleanup";

/// Delete what a migration left behind, after showing it
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::CLEANUP)]
pub(crate) struct Args {
    /// Name of the migration
    name: String,
    /// Also delete the source: the workload and its volumes, or a tenant's data in its old datastore
    #[arg(long)]
    old_data: bool,
    /// Take a tenant's old data into this new file before; `restore` brings it back
    #[arg(long, value_name = "FILE", requires = "old_data")]
    backup: Option<PathBuf>,
    /// Also delete the journal
    #[arg(long)]
    forget: bool,
    /// Take over from a run whose lock has run out
    #[arg(long)]
    take_over: bool,
    /// client: show what would be done; server: also let the API server check every change, without keeping it
    #[arg(
        long,
        value_name = "HOW",
        default_value = "none",
        value_enum,
        hide_possible_values = true
    )]
    dry_run: DryRun,
}

/// What is to be deleted, in this order.
struct Items {
    left: Vec<Item>,
    /// What a snapshot left in its bucket.
    bucket: Option<LeftInBucket>,
    /// Namespaces that were made for checks.
    scratch: Vec<scratch::Left>,
    /// Annotations of a tenant's control plane.
    one_shot: Option<OneShot>,
    /// What bytes went through.
    on_the_way: Option<LeftOnTheWay>,
    old_data: Vec<Item>,
    /// The volumes of before a move in place.
    volumes: Option<OldVolumes>,
    /// A tenant's data in its old datastore.
    store: Option<OldStore>,
    journal: Vec<Item>,
    /// The journal, where it is kept in a file.
    file: Option<PathBuf>,
}

/// Runs the verb: collects, shows, asks, then deletes under the lock.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    if args.dry_run != DryRun::None {
        let seen = named::seen(cx, &args.name).await?;
        keeps_its_plan(&cx.flags, &args.name, &[])?;
        let (_, sides) = identity::of_journal(cx, &seen.header).await?;
        let items = collect(cx, &args, &seen, &sides).await?;
        if items.is_empty() {
            nothing(cx, &args);
            return Ok(Kind::Done);
        }
        cx.ui.removals(&items.shown(), true);
        for item in items.all() {
            item.delete(cx, args.dry_run).await?;
        }
        if let Some(bucket) = &items.bucket {
            bucket.delete(cx, args.dry_run).await?;
        }
        for scratch in &items.scratch {
            scratch.delete(cx, args.dry_run).await?;
        }
        if let Some(one_shot) = &items.one_shot {
            one_shot.delete(cx, args.dry_run).await?;
        }
        if let Some(on_the_way) = &items.on_the_way {
            on_the_way.delete(cx, args.dry_run).await?;
        }
        if let Some(store) = &items.store {
            store.delete(cx, args.dry_run).await?;
        }
        if let Some(volumes) = &items.volumes {
            Box::pin(volumes.delete(cx, args.dry_run)).await?;
        }
        return Ok(Kind::Done);
    }
    let mut begun = Begun::open(cx, &args.name, args.take_over).await?;
    let done = Box::pin(clean(cx, &args, &mut begun)).await;
    begun.leave().await;
    done
}

async fn clean(cx: &Context, args: &Args, begun: &mut Begun) -> Result<Kind> {
    let seen = begun.seen();
    let items = collect(cx, args, &seen, &begun.sides).await?;
    if args.backup.is_some() && !is_switch(&seen) {
        let why = "--backup is for a tenant's old data in its datastore";
        return Err(Usage(why.to_owned()).into());
    }
    if items.is_empty() {
        nothing(cx, args);
        return Ok(Kind::Done);
    }
    if let Some(store) = items.store.as_ref().filter(|_| args.backup.is_some()) {
        store.can_be_backed_up(cx, &args.name)?;
    }
    let named = args.old_data || args.forget;
    cx.ui.removals(&items.shown(), named);
    if named {
        let what = match (args.old_data, args.forget) {
            (true, false) => "this deletes the source, and with it the way back",
            (true, true) => "this deletes the source, and with it the way back, and the journal",
            _ => "this deletes the journal and all that it tells",
        };
        // Whoever types a schema's name has looked whose it is.
        let name = items.store.as_ref().map_or(&*args.name, OldStore::schema);
        cx.ui.confirm_irreversible(what, name)?;
    } else if !cx.ui.confirm("Delete all of these?")? {
        cx.ui.say(&format!(
            "migration/{} unchanged: nothing was deleted",
            args.name
        ));
        return Ok(Kind::Done);
    }
    for item in &items.left {
        item.delete(cx, DryRun::None).await?;
    }
    if let Some(bucket) = &items.bucket {
        bucket.delete(cx, DryRun::None).await?;
    }
    for scratch in &items.scratch {
        scratch.delete(cx, DryRun::None).await?;
    }
    if let Some(one_shot) = &items.one_shot {
        one_shot.delete(cx, DryRun::None).await?;
    }
    if let Some(on_the_way) = &items.on_the_way {
        on_the_way.delete(cx, DryRun::None).await?;
    }
    if !items.old_data.is_empty() {
        delete_source(cx, begun, &items.old_data).await?;
    }
    if let Some(store) = &items.store {
        if let Some(file) = &args.backup {
            store.back_up(cx, file).await?;
        }
        announce(begun).await?;
        store.delete(cx, DryRun::None).await?;
        let (sink, _, _) = Sink::new();
        let done = Record::Done(store.told());
        begun.journal.record(&sink, ID, done).await?;
    }
    if items.volumes.is_some() {
        announce(begun).await?;
        // Whoever was asked may have thought about it for long: all is proved once more.
        let (report, _) = named::report(&seen);
        let volumes = Box::pin(OldVolumes::of(&seen, &report, &begun.sides)).await?;
        let deleted = match &volumes {
            Some(volumes) => Box::pin(volumes.delete(cx, DryRun::None)).await?,
            None => Vec::new(),
        };
        let (sink, _, _) = Sink::new();
        let done = Record::Done(json!({"deleted": deleted}));
        begun.journal.record(&sink, ID, done).await?;
    }
    for item in &items.journal {
        item.delete(cx, DryRun::None).await?;
    }
    if let Some(file) = &items.file {
        begun.locked.forget().await?;
        cx.ui.data(&format!("journal {} emptied", file.display()))?;
    }
    Ok(Kind::Done)
}

/// Deletes the source. The journal tells it before and after: a rollback must know what is gone.
async fn delete_source(cx: &Context, begun: &mut Begun, items: &[Item]) -> Result<()> {
    let (sink, _, _) = Sink::new();
    announce(begun).await?;
    for item in items {
        item.delete(cx, DryRun::None).await?;
    }
    let deleted: Vec<_> = items
        .iter()
        .map(|item| {
            let Removal {
                kind,
                namespace,
                name,
                ..
            } = item.shown();
            format!("{kind} {namespace}/{name}")
        })
        .collect();
    let done = Record::Done(json!({"deleted": deleted}));
    Ok(begun.journal.record(&sink, ID, done).await?)
}

/// Tells the journal that the source is about to go, and makes sure that it has taken it.
async fn announce(begun: &mut Begun) -> Result<()> {
    let (sink, _, _) = Sink::new();
    // An earlier cleanup that was cut off has announced it already.
    if !matches!(begun.journal.state().last(ID), Some(Record::Started)) {
        begun.journal.record(&sink, ID, Record::Started).await?;
    }
    Ok(begun.journal.confirm().await?)
}

/// Whether it is of a tenant's datastore.
fn is_switch(seen: &Seen) -> bool {
    plan::Playbook::KamajiDatastore.name() == seen.header.playbook
}

/// Everything that is to be deleted, after a look that it may be.
async fn collect(cx: &Context, args: &Args, seen: &Seen, sides: &Sides) -> Result<Items> {
    let (report, _) = named::report(seen);
    let name = &args.name;
    let command = |verb: &str| cx.command_in(&seen.header.namespace, &format!("{verb} {name}"));
    // Nothing that is made for a check is needed when nobody is at work on it.
    let needed = !scratch::is_check(seen);
    if needed && !matches!(report.state, State::Done | State::RolledBack) {
        let why = format!(
            "migration {name} is {}: what it made is still needed",
            report.state.name()
        );
        return Err(Failure::new(FailureKind::Blocked, why)
            .with_next(command("status"), "shows what it waits for")
            .with_next(command("rollback"), "puts everything back")
            .into());
    }
    let selector = Selector::labels(format!(
        "{},{}={}",
        sides.belongs.selector(),
        marks::MANAGED_BY,
        marks::PROGRAM
    ));
    let mut left = Vec::new();
    for place in [&sides.source, &sides.target] {
        left.extend(found::<Job>(place, &selector, "a mover").await?);
        left.extend(found::<Pod>(place, &selector, "a mover's pod").await?);
        left.extend(found::<Secret>(place, &selector, "keys of the movers").await?);
        if !sides.target.remote && sides.target.namespace == sides.source.namespace {
            break;
        }
    }
    let bucket = Box::pin(LeftInBucket::of(cx, seen, &report, sides)).await?;
    let mut one_shot = None;
    if is_switch(seen) {
        let (more, annotations) = Box::pin(kamaji::left(cx, seen, sides, &selector)).await?;
        left.extend(more);
        one_shot = annotations;
    }
    let on_the_way = Box::pin(LeftOnTheWay::of(cx, seen, sides)).await?;
    if args.forget
        && !args.old_data
        && report.state == State::Done
        && in_place::is_in_place(seen)
        && Box::pin(OldVolumes::of(seen, &report, sides))
            .await?
            .is_some()
    {
        let why = format!(
            "migration {name} keeps volumes, and nothing but its journal knows what to give them back"
        );
        return Err(Failure::new(FailureKind::Blocked, why)
            .with_next(
                command("cleanup") + " --old-data --forget",
                "deletes the old volumes first",
            )
            .into());
    }
    let (mut old_data, mut store, mut volumes) = (Vec::new(), None, None);
    if args.old_data && in_place::is_in_place(seen) {
        volumes = Box::pin(OldVolumes::of(seen, &report, sides)).await?;
    } else if args.old_data && is_switch(seen) {
        store = Box::pin(OldStore::of(seen, &report, sides)).await?;
    } else if args.old_data {
        old_data = source::items(seen, &report, sides).await?;
    }
    let mut journal = Vec::new();
    let mut file = None;
    if args.forget {
        if let Some(path) = &cx.flags.journal {
            file = Some(path.clone());
        } else {
            let home = &sides.source;
            let object = object_name(name);
            journal.extend(own::<ConfigMap>(home, &object, "the journal").await?);
            journal.extend(own::<Lease>(home, &object, "the lock").await?);
        }
    }
    Ok(Items {
        left,
        bucket,
        scratch: scratch::left(seen, sides).await?,
        one_shot,
        on_the_way,
        old_data,
        volumes,
        store,
        journal,
        file,
    })
}

/// The objects of a kind that carry the migration's marks.
async fn found<K>(place: &Place, selector: &Selector, why: &str) -> Result<Vec<Item>>
where
    K: Object + Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    let found = list_all(&place.api::<K>(), selector).await?;
    Ok(found
        .iter()
        .map(|object| item(place, object, why))
        .collect())
}

/// The object of this name, if it is there.
async fn own<K>(place: &Place, name: &str, why: &str) -> Result<Option<Item>>
where
    K: Object + Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    let found = get_opt(&place.api::<K>(), name).await?;
    Ok(found.map(|object| item(place, &object, why)))
}

fn item<K>(place: &Place, object: &K, why: &str) -> Item
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    Item::of::<K>(place, name, meta.uid.as_deref().unwrap_or_default(), why)
}

fn nothing(cx: &Context, args: &Args) {
    cx.ui
        .say(&format!("migration/{} left nothing behind", args.name));
}

impl Items {
    fn all(&self) -> impl Iterator<Item = &Item> {
        self.left.iter().chain(&self.old_data).chain(&self.journal)
    }

    fn is_empty(&self) -> bool {
        self.all().next().is_none()
            && self.scratch.is_empty()
            && self.store.is_none()
            && self.volumes.is_none()
            && self.bucket.is_none()
            && self.one_shot.is_none()
            && self.on_the_way.is_none()
            && self.file.is_none()
    }

    fn shown(&self) -> Vec<Removal> {
        let file = self.file.iter().map(|file| Removal {
            kind: "file".to_owned(),
            namespace: String::new(),
            name: file.display().to_string(),
            why: "the journal".to_owned(),
        });
        let one_shot = self.one_shot.iter().map(OneShot::shown);
        let on_the_way = self.on_the_way.iter();
        let on_the_way = on_the_way.flat_map(LeftOnTheWay::shown);
        let store = self.store.iter().map(OldStore::shown);
        self.all()
            .map(Item::shown)
            .chain(self.bucket.iter().flat_map(LeftInBucket::shown))
            .chain(self.scratch.iter().map(scratch::Left::shown))
            .chain(one_shot)
            .chain(on_the_way)
            .chain(self.volumes.iter().flat_map(OldVolumes::shown))
            .chain(store)
            .chain(file)
            .collect()
    }
}
