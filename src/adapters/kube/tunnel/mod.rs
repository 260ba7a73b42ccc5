//! A port on this machine that leads to a Service of a cluster.
mod carry;
mod name;
mod resolve;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

use super::{Cluster, KubeError, Rule, open_port};
use name::{Endpoint, ServiceName};
use resolve::PodPort;

/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener whose connections go to a Service's pods. It ends, with its connections, when it is dropped.
#[derive(Debug)]
pub struct Tunnel {
    address: SocketAddr,
    failure: Failure,
    _listening: JoinSet<()>,
}

type Failure = Arc<Mutex<Option<String>>>;

impl Tunnel {
    /// A tunnel to an endpoint, `host:port`; none if its host is no Service's name, and can be dialled as it
    /// is. The Service has at least one ready pod. Each connection looks for the pods again: they may be
    /// others by then.
    pub async fn open(cluster: &Cluster, endpoint: &str) -> Result<Option<Self>, KubeError> {
        let Endpoint { service, port } = Endpoint::parse(endpoint)?;
        let Some(service) = service else {
            return Ok(None);
        };
        match resolve::pods(cluster, &service, port).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() && !service.certain => return Ok(None),
            Err(error) => return Err(error),
        }
        let local = |error: std::io::Error| KubeError::Other {
            what: format!("cannot listen for a tunnel to {endpoint}"),
            cause: error.to_string(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(local)?;
        let address = listener.local_addr().map_err(local)?;
        let failure = Failure::default();
        let way = Way {
            cluster: cluster.clone(),
            service,
            port,
            failure: Arc::clone(&failure),
        };
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, way));
        Ok(Some(Self {
            address,
            failure,
            _listening: listening,
        }))
    }

    /// Where to dial.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Why the last connection failed, if none came through since.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The rights that a tunnel to an endpoint needs; none for a host that is dialled as it is.
#[must_use]
pub fn tunnel_rules(endpoint: &str) -> Vec<Rule> {
    let parsed = Endpoint::parse(endpoint).ok();
    let Some(service) = parsed.and_then(|endpoint| endpoint.service) else {
        return Vec::new();
    };
    let here = Some(service.namespace.as_str());
    vec![
        Rule::new("get", "", "services", here).on(&service.service),
        Rule::new("list", "discovery.k8s.io", "endpointslices", here),
        Rule::new("get", "", "pods", here),
        Rule::new("create", "", "pods/portforward", here),
        // The same, over WebSockets.
        Rule::new("get", "", "pods/portforward", here),
    ]
}

/// Where connections go.
#[derive(Clone)]
struct Way {
    cluster: Cluster,
    service: ServiceName,
    port: u16,
    failure: Failure,
}

async fn listen(listener: TcpListener, way: Way) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(connect(client, way.clone()));
                }
                Err(error) => {
                    way.tell(Some(format!("cannot accept a connection: {error}")));
                    // Too many open files, for one: some are closed soon.
                    sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(mut client: TcpStream, way: Way) {
    if let Err(error) = way.carry(&mut client).await {
        way.tell(Some(error));
    }
}

impl Way {
    async fn carry(&self, client: &mut TcpStream) -> Result<(), String> {
        client
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        let pods = resolve::pods(&self.cluster, &self.service, self.port)
            .await
            .map_err(|error| error.to_string())?;
        let open = |pod: PodPort| {
            let cluster = self.cluster.clone();
            async move { open_port(&cluster, &pod.namespace, &pod.pod, pod.port).await }
        };
        carry::carry(client, pods, open, || self.tell(None)).await
    }

    fn tell(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::AsyncReadExt;

    use super::{
        super::fake::{Answer, FakeApi, failure},
        *,
    };

    fn api(ready: impl Fn(usize) -> bool + Send + 'static) -> FakeApi {
        let mut lists = 0;
        FakeApi::new(move |seen| {
            if seen.target.contains("/services/") {
                let spec = json!({"clusterIP": "10.9.0.1", "ports": [{"port": 2379}]});
                return Answer::Json(200, json!({"metadata": {"name": "etcd"}, "spec": spec}));
            }
            if seen.target.contains("/endpointslices") {
                lists += 1;
                let endpoint = json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready(lists)},
                    "targetRef": {"kind": "Pod", "name": "etcd-0"}});
                let slice = json!({"metadata": {"name": "etcd-1"}, "addressType": "IPv4",
                    "ports": [{"port": 2379}], "endpoints": [endpoint]});
                return Answer::Json(200, json!({"metadata": {}, "items": [slice]}));
            }
            Answer::Json(200, json!({"metadata": {}, "status": {"phase": "Pending"}}))
        })
    }

    #[tokio::test]
    async fn a_connection_that_fails_is_closed_and_its_cause_kept() {
        let fake = api(|_| true);
        let tunnel = Tunnel::open(&fake.cluster(), "etcd.stores.svc:2379").await;
        let tunnel = tunnel.expect("a pod").expect("a tunnel");
        assert_eq!(tunnel.why(), None);
        let mut client = TcpStream::connect(tunnel.address())
            .await
            .expect("a listener");
        assert!(matches!(client.read(&mut [0; 8]).await, Ok(0) | Err(_)));
        let why = tunnel.why().expect("a cause");
        assert!(why.contains("pod stores/etcd-0 is Pending"), "{why}");

        let address = tunnel.address();
        drop(tunnel);
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn each_connection_looks_for_the_pods_again() {
        let fake = api(|list| list == 1);
        let tunnel = Tunnel::open(&fake.cluster(), "etcd.stores.svc:2379").await;
        let tunnel = tunnel.expect("a pod").expect("a tunnel");
        let mut client = TcpStream::connect(tunnel.address())
            .await
            .expect("a listener");
        assert!(matches!(client.read(&mut [0; 8]).await, Ok(0) | Err(_)));
        assert_eq!(
            tunnel.why().as_deref(),
            Some("service stores/etcd cannot be reached: none of its pods is ready")
        );
    }

    #[tokio::test]
    async fn what_is_no_service_is_dialled_as_it_is() {
        let absent = || FakeApi::new(|_| Answer::Json(404, failure("NotFound", "not found")));
        let open = async |endpoint: &str| Tunnel::open(&absent().cluster(), endpoint).await;
        for endpoint in ["10.0.0.1:2379", "etcd.example.com:2379", "example.com:2379"] {
            assert!(open(endpoint).await.expect(endpoint).is_none());
        }
        let error = open("etcd.stores.svc:2379")
            .await
            .expect_err("it is not there");
        assert!(error.is_not_found(), "{error}");
    }

    #[test]
    fn the_rights_are_those_of_the_services_namespace() {
        let rules = tunnel_rules("etcd.stores.svc:2379");
        let told: Vec<String> = rules.iter().map(Rule::to_string).collect();
        assert_eq!(
            told,
            [
                "get services named etcd in namespace stores",
                "list endpointslices (discovery.k8s.io) in namespace stores",
                "get pods in namespace stores",
                "create pods/portforward in namespace stores",
                "get pods/portforward in namespace stores",
            ]
        );
        assert!(tunnel_rules("10.0.0.1:2379").is_empty());
    }
}
