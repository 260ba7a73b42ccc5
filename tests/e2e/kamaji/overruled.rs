//! What the controller had begun before the pause goes on after it.
use anyhow::{Result, ensure};

use super::{
    super::{
        proxy::{Fate, Proxy},
        support::{On, output_of},
    },
    place::{GOLD, SILVER},
    tenant::Tenant,
};

#[test]
fn a_reconcile_under_way_at_the_pause_does_not_keep_the_api_servers_running() -> Result<()> {
    let tenant = Tenant::new("overruled", SILVER)?;
    tenant.write("kept")?;
    let up = ["scale", "deployment", &tenant.name, "--replicas=1"];
    let mut up = tenant.namespace.command(&up)?;
    let (mut stopped, mut started) = (false, false);
    let proxy = Proxy::new(On::A, move |seen| {
        let path = seen.target.split('?').next().unwrap_or_default();
        stopped |= seen.method == http::Method::PUT && path.ends_with("/scale");
        // Once, between the first of all looks for what is left and the one before.
        if stopped && !started && path.ends_with("/pods") {
            // When this fails, so does the search for what the program says of it.
            started = output_of(&mut up).is_ok();
        }
        Fate::Pass
    })?;
    let args = ["switch-datastore", &tenant.name, "--to", GOLD, "--yes"];
    let args = [&args[..], &["--freeze", "offline"]].concat();
    let ended = proxy.end(tenant.namespace.migrate(&args)?)?;
    ended.with_code(0)?.says(&["was scaled up again"])?;
    tenant.until_ready_on(GOLD)?;
    ensure!(tenant.has("kept")?, "lost");
    Ok(())
}
