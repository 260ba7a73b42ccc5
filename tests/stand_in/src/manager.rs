//! The controller: its webhooks, and one worker for each tenant, so that none waits for another.
use std::{collections::HashMap, sync::Arc};

use anyhow::{Context as _, Result};
use clap::Args;
use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job, core::v1::Secret};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use tokio::task::JoinHandle;

use crate::{
    api::{self, Tenant},
    cluster::Cluster,
    datastores, reconcile, soot,
    watch::{Bell, Listener},
    webhook,
};

/// The controller's flags.
#[derive(Args)]
pub struct Options {
    /// The image of the Jobs that copy data
    #[arg(long, default_value = "docker.io/clastix/kamaji:latest")]
    migrate_image: String,
    /// The image of the tenants' API servers
    #[arg(long)]
    control_plane_image: String,
    /// The image of what stands between them and all stores but etcd
    #[arg(long, default_value = "docker.io/rancher/kine:v0.11.10-amd64")]
    kine_image: String,
    /// The store of tenants that name none
    #[arg(long, default_value = "default")]
    datastore: String,
    /// The controller's own account, which its Jobs use, too
    #[arg(long, default_value = "kamaji-controller-manager")]
    serviceaccount_name: String,
}

/// Runs the controller until it is ended.
pub async fn run(options: Options) -> Result<()> {
    let client = Client::try_default().await?;
    let namespace = std::env::var("POD_NAMESPACE").context("POD_NAMESPACE is not set")?;
    let cluster = Arc::new(Cluster {
        webhook_authority: webhook::authority(&client, &namespace).await?,
        client,
        namespace,
        service_account: options.serviceaccount_name,
        migrate_image: options.migrate_image,
        control_plane_image: options.control_plane_image,
        kine_image: options.kine_image,
        datastore: options.datastore,
    });
    webhook::register(&cluster).await?;
    let bell = listen(&cluster);
    let mut ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        answered = webhook::serve(cluster.clone()) => answered,
        () = datastores::keep(&cluster, bell.listen()) => Ok(()),
        () = employ(cluster.clone(), &bell) => Ok(()),
        _ = ended.recv() => Ok(()),
    }
}

fn listen(cluster: &Cluster) -> Bell {
    let bell = Bell::new();
    let client = &cluster.client;
    tokio::spawn(bell.clone().follow(cluster.all_tenants()));
    tokio::spawn(bell.clone().follow(cluster.datastores()));
    tokio::spawn(bell.clone().follow(Api::<Deployment>::all(client.clone())));
    tokio::spawn(bell.clone().follow(Api::<Secret>::all(client.clone())));
    let jobs = cluster.of::<Job>(&cluster.namespace);
    tokio::spawn(bell.clone().follow(jobs));
    bell
}

/// Gives each tenant its workers, for ever.
async fn employ(cluster: Arc<Cluster>, bell: &Bell) {
    let mut workers: HashMap<String, JoinHandle<()>> = HashMap::new();
    let mut listener = bell.listen();
    loop {
        workers.retain(|_, worker| !worker.is_finished());
        match cluster.all_tenants().list(&ListParams::default()).await {
            Ok(tenants) => {
                for tenant in tenants {
                    let identity = tenant.uid().unwrap_or_default();
                    workers.entry(identity).or_insert_with(|| {
                        let (cluster, bell) = (cluster.clone(), bell.clone());
                        tokio::spawn(async move { Box::pin(serve(&cluster, &tenant, &bell)).await })
                    });
                }
            }
            Err(error) => tracing::warn!("tenants: {error:#}"),
        }
        listener.wait().await;
    }
}

/// Serves one tenant until it is gone. What happens inside it is not waited for.
async fn serve(cluster: &Cluster, tenant: &Tenant, bell: &Bell) {
    let namespace = tenant.namespace().unwrap_or_default();
    let bell = || bell.listen_to(&[&namespace, &cluster.namespace]);
    tokio::join!(
        repeat(cluster, tenant, bell(), "", reconcile::reconcile),
        repeat(cluster, tenant, bell(), "inside ", soot::settle),
    );
}

async fn repeat(
    cluster: &Cluster,
    tenant: &Tenant,
    mut bell: Listener,
    place: &str,
    work: impl AsyncFn(&Cluster, &Tenant) -> Result<()>,
) {
    let name = tenant.name_any();
    let tenants = cluster.tenants(&tenant.namespace().unwrap_or_default());
    loop {
        // Always the newest: a pause must be in force at once.
        let outcome = match tenants.get_opt(&name).await {
            Ok(Some(found)) if found.uid() == tenant.uid() => work(cluster, &found).await,
            Ok(_) => return,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = outcome {
            let namespace = api::namespace(tenant).unwrap_or_default();
            tracing::warn!("{place}{namespace}/{name}: {error:#}");
        }
        bell.wait().await;
    }
}
