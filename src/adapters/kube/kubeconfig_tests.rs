use super::*;

const ONE: &str = r#"
apiVersion: v1
kind: Config
current-context: prod
clusters:
- name: prod
  cluster: {server: "https://prod:6443", certificate-authority-data: "Zm9v", tls-server-name: prod.internal}
contexts:
- name: prod
  context: {cluster: prod, user: jane, namespace: shop}
users:
- name: jane
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: login}}
"#;

const TWO: &str = r#"
apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster: {server: "https://test:6443"}
contexts:
- name: test
  context: {cluster: test, user: bob}
users:
- name: bob
  user: {token: secret}
"#;

fn files() -> (tempfile::TempDir, Environment) {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("one"), ONE).expect("a file");
    std::fs::write(dir.path().join("two"), TWO).expect("a file");
    let list = std::env::join_paths(["one", "missing", "two"].map(|name| dir.path().join(name)))
        .expect("a list");
    (
        dir,
        Environment {
            kubeconfig: Some(list),
            home: None,
        },
    )
}

fn choose(flags: &ConnectionFlags) -> Result<Choice, KubeError> {
    let (_dir, environment) = files();
    match find(flags, &environment)? {
        Found::Config(choice) => Ok(*choice),
        Found::Nowhere { looked_at } => panic!("nothing in {}", looked_at.display()),
    }
}

fn cluster(choice: &Choice) -> &Cluster {
    choice.kubeconfig.clusters[0]
        .cluster
        .as_ref()
        .expect("a cluster")
}

fn user(choice: &Choice) -> &AuthInfo {
    choice.kubeconfig.auth_infos[0]
        .auth_info
        .as_ref()
        .expect("a user")
}

fn namespace(choice: &Choice) -> Option<&str> {
    choice.kubeconfig.contexts[0]
        .context
        .as_ref()
        .expect("a context")
        .namespace
        .as_deref()
}

#[test]
fn several_files_are_merged_and_the_first_current_context_wins() {
    let choice = choose(&ConnectionFlags::default()).expect("a choice");
    assert_eq!(
        (choice.context_name.as_str(), choice.user_name.as_str()),
        ("prod", "jane")
    );
    assert_eq!(namespace(&choice), Some("shop"));
    let other = choose(&ConnectionFlags {
        context: Some("test".to_owned()),
        ..Default::default()
    })
    .expect("a choice");
    assert_eq!(cluster(&other).server.as_deref(), Some("https://test:6443"));
    assert_eq!(namespace(&other), None);
}

#[test]
fn a_wrong_context_names_the_file_and_the_known_ones() {
    let error = choose(&ConnectionFlags {
        context: Some("pord".to_owned()),
        ..Default::default()
    })
    .expect_err("no such");
    let text = error.to_string();
    assert!(
        text.contains("no context \"pord\"; it has: prod, test"),
        "{text}"
    );
}

#[test]
fn a_token_flag_replaces_the_exec_plugin() {
    let flags = ConnectionFlags {
        token: Some("fresh".into()),
        ..Default::default()
    };
    let choice = choose(&flags).expect("a choice");
    assert!(user(&choice).exec.is_none() && user(&choice).token.is_some());
}

#[test]
fn a_server_flag_drops_the_old_servers_tls_name() {
    let flags = ConnectionFlags {
        server: Some("10.0.0.1:6443".to_owned()),
        ..Default::default()
    };
    let choice = choose(&flags).expect("a choice");
    assert_eq!(
        cluster(&choice).server.as_deref(),
        Some("https://10.0.0.1:6443")
    );
    assert_eq!(cluster(&choice).tls_server_name, None);
    assert!(cluster(&choice).certificate_authority_data.is_some());
}

#[test]
fn skipping_verification_drops_the_authority() {
    let choice = choose(&ConnectionFlags {
        insecure_skip_tls_verify: true,
        ..Default::default()
    })
    .expect("a choice");
    assert_eq!(cluster(&choice).certificate_authority_data, None);
    assert_eq!(cluster(&choice).insecure_skip_tls_verify, Some(true));
}

#[test]
fn no_file_at_all_leaves_the_in_cluster_credentials() {
    let dir = tempfile::tempdir().expect("a directory");
    let environment = Environment {
        kubeconfig: None,
        home: Some(dir.path().to_owned()),
    };
    let found = find(&ConnectionFlags::default(), &environment).expect("no file is no error");
    assert!(matches!(found, Found::Nowhere { looked_at } if looked_at.ends_with(".kube/config")));
    let flags = ConnectionFlags {
        kubeconfig: Some(dir.path().join("none")),
        ..Default::default()
    };
    let error = find(&flags, &environment).expect_err("no such file");
    let expected = format!(
        "cannot use kubeconfig {}: No such file or directory (os error 2)",
        dir.path().join("none").display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_file_that_is_no_kubeconfig_is_told_by_place_and_reason_without_its_text() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("config");
    let text = "apiVersion: v1\nusers:\n- name: jane\n  user: {token: s3cret}\nclusters: 7\n";
    std::fs::write(&file, text).expect("a file");
    let flags = ConnectionFlags {
        kubeconfig: Some(file.clone()),
        ..Default::default()
    };
    let error = find(&flags, &Environment::default()).expect_err("clusters is no list");
    let expected = format!(
        "cannot use kubeconfig {}: it is no kubeconfig: line 5 column 11: a list is needed",
        file.display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(contexts(&flags).is_empty());
}

#[test]
fn names_are_known_without_a_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("config");
    std::fs::write(&file, ONE).expect("a file");
    let flags = ConnectionFlags {
        kubeconfig: Some(file),
        ..Default::default()
    };
    let all = [contexts(&flags), clusters(&flags), users(&flags)];
    assert_eq!(all.concat(), ["prod", "prod", "jane"]);
}
