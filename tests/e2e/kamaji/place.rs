//! Kamaji in cluster a: its definitions, its controller and two stores, made once for all tests.
use std::{path::Path, sync::OnceLock};

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;

use super::{
    super::support::{Namespace, On, wait_for},
    store::Store,
    tenant,
};

/// Where the controller, its Jobs and the stores are.
pub const SYSTEM: &str = "kamaji-system";
/// The two stores that every test may use.
pub const SILVER: &str = "silver";
pub const GOLD: &str = "gold";

const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stand_in");
static PLACE: OnceLock<Result<Place, String>> = OnceLock::new();

/// The controller and its stores.
pub struct Place {
    /// Where they are.
    pub system: &'static Namespace,
    pub silver: Store,
    pub gold: Store,
}

impl Place {
    /// The only one, ready to be used.
    pub fn get() -> Result<&'static Self> {
        let place = PLACE.get_or_init(|| Self::make().map_err(|error| format!("{error:#}")));
        place.as_ref().map_err(|error| anyhow!("{error}"))
    }

    fn make() -> Result<Self> {
        let system = system();
        // The real definition is too large for the annotation that client-side apply leaves.
        let apply = ["apply", "--server-side", "--force-conflicts", "-f"];
        let definitions = std::env::var("KAMAJI_CRDS").unwrap_or(format!("{STAND_IN}/crds"));
        system.kubectl(&[&apply[..], &[&definitions]].concat())?;
        wait_for("Kamaji's definitions", || {
            Ok(system
                .kubectl(&["get", "datastores,tenantcontrolplanes"])
                .ok())
        })?;
        let before = system.kubectl(&["get", "deployment/kamaji"]).is_ok();
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("manager.yaml");
        std::fs::write(&file, manager()?)?;
        system.kubectl(&[&apply[..], &[&file.to_string_lossy()]].concat())?;
        if before {
            // The image may be another one under the same name.
            system.kubectl(&["rollout", "restart", "deployment/kamaji"])?;
        }
        let stores = std::thread::scope(|scope| {
            let silver = scope.spawn(|| Store::new(SILVER));
            let gold = Store::new(GOLD)?;
            let silver = silver.join().map_err(|_| anyhow!("store {SILVER}"))??;
            Ok::<_, anyhow::Error>((silver, gold))
        })?;
        system.ready("deployment/kamaji")?;
        until_asked(system, folder.path())?;
        let (silver, gold) = stores;
        for store in [&silver, &gold] {
            wait_for(&format!("datastore {}", store.name), || store.is_ready())?;
        }
        Ok(Self {
            system,
            silver,
            gold,
        })
    }
}

/// Kamaji's namespace. It is never dropped, so it stays.
pub fn system() -> &'static Namespace {
    static NAMESPACE: OnceLock<Namespace> = OnceLock::new();
    NAMESPACE.get_or_init(|| Namespace {
        on: On::A,
        name: SYSTEM.to_owned(),
    })
}

/// Waits until the API server reaches the controller's webhook: a pod that is ready is not yet behind its Service.
fn until_asked(system: &Namespace, folder: &Path) -> Result<()> {
    let file = folder.join("probe.json");
    let probe = tenant::object("probe", SYSTEM, "no-such-store", &json!({}))?;
    std::fs::write(&file, probe.to_string())?;
    let create = ["create", "--dry-run=server", "-f", &file.to_string_lossy()];
    wait_for("the controller to refuse a tenant on no store", || {
        let refused = system.kubectl(&create).err();
        let said = refused.map(|error| format!("{error:#}"));
        Ok(said
            .is_some_and(|said| said.contains("DataStore does not exist"))
            .then_some(()))
    })
}

/// The image of the tenants' API server.
pub fn tenant_image() -> Result<String> {
    std::env::var("TENANT_IMAGE").context("TENANT_IMAGE is not set: run tests/run e2e")
}

/// The image of the controller and of its Jobs.
pub fn stand_in_image() -> Result<String> {
    std::env::var("STAND_IN_IMAGE").context("STAND_IN_IMAGE is not set: run tests/run e2e")
}

fn manager() -> Result<String> {
    let image = stand_in_image()?;
    let text = std::fs::read_to_string(Path::new(STAND_IN).join("manager.yaml"))?;
    Ok(text
        .replace("@IMAGE@", &image)
        .replace("@MIGRATE_IMAGE@", &image)
        .replace("@CONTROL_PLANE_IMAGE@", &tenant_image()?))
}
