//! Stores in pods, reached through the API server as a laptop has to.
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use etcd_client::{Client, PutOptions, Txn, TxnOp};
use kubectl_migrate::adapters::{
    datastore::{Connection, Driver, Endpoint, EtcdPair, Meter, Pair as _},
    kube::{Cluster, ConnectionFlags, Tunnel, connect},
};
use serde_json::{Value, json};

use super::support::{BOUND, Namespace, On, WITHIN, wait_for};

const KEYS: usize = 20_000;

/// A store as kamaji's chart has it: a Service whose port is another than the pods', and a headless one.
fn store(name: &str) -> [Value; 3] {
    let labels = json!({"app": name});
    let client = "http://0.0.0.0:12379";
    let command = json!([
        "etcd",
        "--data-dir=/data",
        "--unsafe-no-fsync",
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}")
    ]);
    let container = json!({"name": "etcd", "image": "localhost/etcd:3.6", "command": command,
        "ports": [{"name": "client", "containerPort": 12379}],
        "readinessProbe": {"tcpSocket": {"port": "client"}, "periodSeconds": 1, "timeoutSeconds": 10},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    let template = json!({"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 1,
        "containers": [container], "volumes": [{"name": "data", "emptyDir": {}}]}});
    [
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
            "spec": {"replicas": 1, "serviceName": format!("{name}-pods"),
                "selector": {"matchLabels": labels}, "template": template}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"name": "client", "port": 2379, "targetPort": "client"}]}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("{name}-pods")},
            "spec": {"clusterIP": "None", "selector": labels, "ports": [{"name": "client", "port": 12379}]}}),
    ]
}

async fn tunnel(cluster: &Cluster, endpoint: &str) -> Result<(Tunnel, Connection)> {
    let tunnel = Tunnel::open(cluster, endpoint).await?;
    let tunnel = tunnel.with_context(|| format!("{endpoint} is no Service's"))?;
    let connection = Connection {
        name: format!("datastore at {endpoint}"),
        driver: Driver::Etcd,
        endpoints: vec![Endpoint {
            dial: tunnel.address(),
            host: endpoint.to_owned(),
            shown: endpoint.to_owned(),
        }],
        authority: None,
        identity: None,
        basic: None,
    };
    Ok((tunnel, connection))
}

async fn fill(tunnel: &Tunnel) -> Result<()> {
    let mut kv = Client::connect([tunnel.address().to_string()], None)
        .await?
        .kv_client();
    let keys: Vec<usize> = (0..KEYS).collect();
    for some in keys.chunks(128) {
        let put = |number: &usize| {
            let key = format!("/t1/configmaps/shop/item-{number:07}");
            TxnOp::put(key, vec![b'x'; 1_000], Some(PutOptions::new()))
        };
        let puts: Vec<TxnOp> = some.iter().map(put).collect();
        kv.txn(Txn::new().and_then(puts)).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_in_pods_are_copied_through_tunnels_and_a_new_pod_is_found() -> Result<()> {
    let place = Namespace::new(On::A, "tunnel", &[])?;
    let flags = ConnectionFlags {
        kubeconfig: Some(On::A.kubeconfig()?.into()),
        ..ConnectionFlags::default()
    };
    let cluster = connect(&flags).await?;
    place.apply(&[store("bronze"), store("silver")].concat())?;
    for name in ["bronze", "silver"] {
        place.ready(&format!("statefulset/{name}"))?;
    }
    let bronze = format!("bronze.{}.svc:2379", place.name);
    let silver = format!(
        "silver-0.silver-pods.{}.svc.cluster.local:12379",
        place.name
    );
    let (source, bronze) = tunnel(&cluster, &bronze).await?;
    let (target, silver) = tunnel(&cluster, &silver).await?;
    fill(&source).await?;

    let pair = Box::pin(EtcdPair::open(&bronze, &silver, "t1")).await?;
    let quiet = Meter::new(|_| ());
    let begun = Instant::now();
    let copied = pair.copy(None, &quiet).await?;
    println!("{KEYS} keys through two tunnels in {:.1?}", begun.elapsed());
    ensure!(copied.written == KEYS as u64, "{copied:?}");
    let compared = pair.compare(&quiet).await?;
    ensure!(
        compared.different == 0 && compared.keys == KEYS as u64,
        "{compared:?}"
    );

    // Its pod is replaced: what it held is gone, and the same tunnel leads to the new one.
    let uid = place.get("pod/silver-0")?["metadata"]["uid"].clone();
    // With a moment of grace: the pod is gone only when its server is.
    place.kubectl(&["delete", "pod", "silver-0"])?;
    wait_for("a new pod", || {
        let pod = place.get("pod/silver-0");
        Ok(pod.ok().filter(|pod| pod["metadata"]["uid"] != uid))
    })?;
    place.kubectl(&["wait", "--for=condition=Ready", "pod/silver-0", WITHIN])?;
    let found = tokio::time::timeout(BOUND, async {
        loop {
            match pair.copy(None, &quiet).await {
                Ok(copied) => return copied,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    ensure!(found.await?.written == KEYS as u64);
    ensure!(target.why().is_none(), "{:?}", target.why());

    place.kubectl(&["scale", "statefulset/silver", "--replicas=0"])?;
    place.kubectl(&["wait", "--for=delete", "pod/silver-0", "--timeout=900s"])?;
    ensure!(pair.compare(&quiet).await.is_err());
    let why = target.why().context("nothing listens any more")?;
    ensure!(
        why.contains("silver-pods") || why.contains("silver-0"),
        "{why}"
    );
    let gone = format!("silver.{}:2379", place.name);
    let Err(error) = Tunnel::open(&cluster, &gone).await else {
        bail!("a Service without pods was reached")
    };
    let error = error.to_string();
    ensure!(
        error.contains(&format!("service {}/silver cannot be reached", place.name)),
        "{error}"
    );
    Ok(())
}
