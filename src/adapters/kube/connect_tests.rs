use super::*;
use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers one request on loopback and gives back its head.
async fn one_exchange(listener: tokio::net::TcpListener, body: &'static str) -> String {
    let (mut stream, _) = listener.accept().await.expect("a client");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.expect("a reader");
    String::from_utf8(head).expect("a text")
}

fn kubeconfig(server: &str, user: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    write!(
        file,
        "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: k, cluster: {{server: '{server}'}}}}], \
         contexts: [{{name: c, context: {{cluster: k, user: jane, namespace: shop}}}}], users: [{{name: jane, user: {user}}}]}}"
    )
    .expect("room");
    file
}

fn flags(file: &tempfile::NamedTempFile) -> ConnectionFlags {
    ConnectionFlags {
        kubeconfig: Some(file.path().to_owned()),
        ..Default::default()
    }
}

const VERSION: &str = r#"{"major":"1","minor":"33","gitVersion":"v1.33.1","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}"#;

#[tokio::test]
async fn impersonation_reaches_the_server_with_uid_and_extra() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(one_exchange(listener, VERSION));
    let file = kubeconfig(&format!("http://{address}"), "{token: secret}");
    let flags = ConnectionFlags {
        impersonate: Some("ann".to_owned()),
        impersonate_groups: vec!["ops".to_owned(), "dev".to_owned()],
        impersonate_uid: Some("42".to_owned()),
        impersonate_extra: vec![("example.com/scope".to_owned(), "all".to_owned())],
        ..flags(&file)
    };
    let cluster = connect(&flags).await.expect("a client");
    assert_eq!(cluster.default_namespace(), "shop");
    assert_eq!(
        cluster.version().await.expect("a version").git_version,
        "v1.33.1"
    );
    let head = server.await.expect("an exchange").to_lowercase();
    for line in [
        "authorization: bearer secret",
        "impersonate-user: ann",
        "impersonate-group: ops",
        "impersonate-group: dev",
        "impersonate-uid: 42",
        "impersonate-extra-example.com%2fscope: all",
    ] {
        assert!(head.contains(line), "{line} is missing in {head}");
    }
}

#[tokio::test]
async fn a_plain_server_behind_https_is_a_tls_error_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .expect("a reader");
        stream.read_u8().await
    });
    let file = kubeconfig(&format!("https://{address}"), "{}");
    let cluster = connect(&ConnectionFlags {
        insecure_skip_tls_verify: true,
        ..flags(&file)
    })
    .await
    .expect("a client");
    let error = cluster.version().await.expect_err("no TLS there");
    assert!(matches!(error, KubeError::Tls { .. }), "{error}");
    assert!(server.await.expect("a server").is_ok());
}

#[tokio::test]
async fn a_refused_connection_is_said_with_server_and_tries() {
    // Bound, and not listened on: so nobody else can get the port and listen.
    let nobody = tokio::net::TcpSocket::new_v4().expect("a socket");
    nobody
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a port");
    let address = nobody.local_addr().expect("bound");
    let file = kubeconfig(&format!("http://{address}"), "{}");
    let cluster = connect(&flags(&file)).await.expect("a client");
    let short = RetryPolicy {
        first_contact: Duration::from_millis(1),
        ..cluster.retry()
    };
    let error = cluster
        .with_retry(short)
        .version()
        .await
        .expect_err("nobody listens");
    assert!(
        matches!(&error, KubeError::Unreachable { server, cause, .. }
            if *server == format!("http://{address}") && cause.contains("Connection refused")),
        "{error}"
    );
}

#[tokio::test]
async fn a_failing_credential_plugin_names_the_kubeconfigs_user() {
    let exec = "{exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, \
                args: ['-c', 'echo session expired >&2; exit 3']}}";
    let file = kubeconfig("https://127.0.0.1:1", exec);
    let error = connect(&flags(&file)).await.expect_err("no credentials");
    let text = error.to_string();
    assert!(matches!(error, KubeError::Auth { .. }), "{text}");
    assert!(text.contains("kubeconfig user \"jane\""), "{text}");
    assert!(text.contains("session expired"), "{text}");
}

/// What the loopback server does with a request after it has read it.
enum Deed {
    Reset,
    Hang,
    Answer,
}

/// Reads one request per connection and does one deed each; says how many requests it saw. With `more`, whatever comes
/// after them is answered for ever, and counted there.
async fn serve(
    listener: tokio::net::TcpListener,
    deeds: Vec<Deed>,
    more: Option<Arc<AtomicUsize>>,
) -> usize {
    let mut hanging = Vec::new();
    let count = deeds.len();
    let endless = std::iter::from_fn(|| {
        let more = more.as_ref()?;
        more.fetch_add(1, Ordering::SeqCst);
        Some(Deed::Answer)
    });
    for deed in deeds.into_iter().chain(endless) {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a whole head"));
        }
        match deed {
            // Closing without lingering sends a reset.
            Deed::Reset => stream.set_zero_linger().expect("a socket"),
            Deed::Hang => hanging.push(stream),
            Deed::Answer => {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{VERSION}",
                    VERSION.len()
                );
                stream.write_all(answer.as_bytes()).await.expect("a reader");
            }
        }
    }
    count
}

#[tokio::test]
async fn real_resets_and_hangs_are_survived_by_a_read() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    // On a machine that stands still for a moment an answer may be too late, and is asked for once more.
    let answers = Arc::new(AtomicUsize::new(0));
    let deeds = vec![Deed::Reset, Deed::Hang];
    let server = tokio::spawn(serve(listener, deeds, Some(Arc::clone(&answers))));
    let file = kubeconfig(&format!("http://{address}"), "{}");
    let cluster = connect(&flags(&file)).await.expect("a client");
    let quick = RetryPolicy {
        single_try: Duration::from_millis(300),
        first_wait: Duration::from_millis(5),
        ..cluster.retry()
    };
    assert_eq!(
        cluster
            .with_retry(quick)
            .version()
            .await
            .expect("the third try works")
            .minor,
        "33"
    );
    assert!(answers.load(Ordering::SeqCst) > 0);
    server.abort();
}

#[tokio::test]
async fn a_real_reset_of_a_create_is_ambiguous() {
    use k8s_openapi::api::core::v1::ConfigMap;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(serve(listener, vec![Deed::Reset], None));
    let file = kubeconfig(&format!("http://{address}"), "{}");
    let cluster = connect(&flags(&file)).await.expect("a client");
    let maps: kube::Api<ConfigMap> = cluster.namespaced("shop");
    let error = maps
        .create(&kube::api::PostParams::default(), &ConfigMap::default())
        .await
        .expect_err("reset");
    assert!(matches!(
        KubeError::from(error),
        KubeError::Ambiguous { .. }
    ));
    assert_eq!(server.await.expect("a server"), 1);
}

#[tokio::test]
async fn a_kubeconfig_out_of_a_cluster_runs_no_program_and_reads_no_file() {
    let kubeconfig = |user: &str| {
        format!(
            r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "a",
                "clusters": [{{"name": "a", "cluster": {{"server": "https://tenant:6443"}}}}],
                "contexts": [{{"name": "a", "context": {{"cluster": "a", "user": "a"}}}}],
                "users": [{{"name": "a", "user": {user}}}]}}"#
        )
    };
    let dial = "127.0.0.1:1".parse().expect("an address");
    for (user, field) in [
        (
            r#"{"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch"}}"#,
            "an exec plugin",
        ),
        (
            r#"{"client-certificate": "/etc/passwd"}"#,
            "a client certificate's file",
        ),
        (r#"{"client-key": "/etc/passwd"}"#, "a client key's file"),
        (r#"{"tokenFile": "/etc/passwd"}"#, "a token's file"),
    ] {
        let refused = connect_through(&kubeconfig(user), "the tenant", dial).await;
        let error = refused.expect_err(field).to_string();
        assert!(
            error.contains("cannot use the kubeconfig of the tenant"),
            "{error}"
        );
        assert!(error.contains(field), "{error}");
    }
    let cluster = connect_through(&kubeconfig("{}"), "the tenant", dial).await;
    assert_eq!(
        cluster.expect("nothing of this machine").server(),
        "https://127.0.0.1:1"
    );
}
