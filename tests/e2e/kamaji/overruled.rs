//! What the controller had begun before the pause goes on after it.
use anyhow::{Context as _, Result, ensure};
use tokio::sync::watch;

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
    let mut up = Some(tenant.namespace.command(&up)?);
    let (tell, told) = std::sync::mpsc::channel();
    let mut stopped = false;
    let proxy = Proxy::new(On::A, move |seen| {
        let path = seen.target.split('?').next().unwrap_or_default();
        stopped |= seen.method == http::Method::PUT && path.ends_with("/scale");
        // Once, between the first of all looks for what is left and the one before.
        if stopped
            && path.ends_with("/pods")
            && let Some(mut up) = up.take()
        {
            let (open, opened) = watch::channel(false);
            let tell = tell.clone();
            // Beside the proxy: what takes long must not keep the run's lock from being renewed.
            std::thread::spawn(move || {
                tell.send(output_of(&mut up)).ok();
                open.send(true).ok();
            });
            return Fate::Hold(opened);
        }
        Fate::Pass
    })?;
    let args = ["switch-datastore", &tenant.name, "--to", GOLD, "--yes"];
    let args = [&args[..], &["--freeze", "offline"]].concat();
    let ended = proxy.end(tenant.namespace.migrate(&args)?)?;
    told.try_recv().context("it was not scaled up")??;
    ended.with_code(0)?.says(&["was scaled up again"])?;
    tenant.until_ready_on(GOLD)?;
    ensure!(tenant.has("kept")?, "lost");
    Ok(())
}
