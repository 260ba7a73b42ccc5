use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::*;
use crate::adapters::kube::fake::{Answer, FakeApi, failure};

async fn of(variables: &[(&str, &str)], home: &Path, given: Given) -> Result<Settings, String> {
    let home = home.display().to_string();
    let variables = [&[("HOME", home.as_str())], variables].concat();
    let source = Source::User(Env::from_slice(&variables));
    let settings = Settings::read(given, source).await;
    settings.map_err(|error| error.to_string())
}

fn home(config: &str, credentials: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join(".aws");
    std::fs::create_dir(&folder).expect("a folder");
    for (name, text) in [("config", config), ("credentials", credentials)] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    home
}

const CONFIG: &str = "[default]\nregion = eu-central-1\nendpoint_url = https://s3.example\n\
    [profile far]\nsso_session = corp\n[profile near]\nregion = here\n";
const CREDENTIALS: &str = "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s1\n\
    [near]\naws_access_key_id = NEAR\naws_secret_access_key = s2\naws_session_token = t2\n";

#[tokio::test]
async fn a_profile_is_read_and_the_environment_wins() {
    let home = home(CONFIG, CREDENTIALS);
    let default = of(&[], home.path(), Given::default())
        .await
        .expect("settings");
    assert_eq!(default.keys.id, "DEFAULT");
    assert_eq!(default.keys.from, "profile default in ~/.aws");
    assert_eq!(default.region, "eu-central-1");
    assert_eq!(default.endpoint.as_deref(), Some("https://s3.example"));

    let near = of(&[("AWS_PROFILE", "near")], home.path(), Given::default()).await;
    let near = near.expect("settings");
    assert_eq!(
        (near.keys.id.as_str(), near.region.as_str()),
        ("NEAR", "here")
    );
    assert!(near.keys.token.is_some());
    assert_eq!(near.endpoint, None);

    let variables = [
        (ID, "ENV"),
        (KEY, "s3"),
        ("AWS_REGION", "there"),
        ("AWS_ENDPOINT_URL", "https://other.example"),
        ("AWS_ENDPOINT_URL_S3", "https://buckets.example/"),
    ];
    let env = of(&variables, home.path(), Given::default())
        .await
        .expect("settings");
    assert_eq!(
        (env.keys.id.as_str(), env.region.as_str()),
        ("ENV", "there")
    );
    assert_eq!(env.endpoint.as_deref(), Some("https://buckets.example"));
    assert!(
        !format!("{env:?}").contains("s3\""),
        "a secret is shown: {env:?}"
    );

    let given = Given {
        endpoint: Some("http://flag.example:9000".to_owned()),
        region: Some("flag".to_owned()),
        ..Given::default()
    };
    let flag = of(&variables, home.path(), given).await.expect("settings");
    assert_eq!(flag.region, "flag");
    assert!(flag.is_plain());
}

#[tokio::test]
async fn credentials_that_are_not_there_are_told_by_where_they_were_looked_for() {
    let with = home(CONFIG, CREDENTIALS);
    let without = tempfile::tempdir().expect("a folder");
    for (variables, folder, said) in [
        (
            &[][..],
            without.path(),
            "profile default in ~/.aws has none",
        ),
        (
            &[(ID, "ENV")],
            with.path(),
            "has AWS_ACCESS_KEY_ID and no AWS_SECRET_ACCESS_KEY",
        ),
        (
            &[("AWS_PROFILE", "far")],
            with.path(),
            "aws configure export-credentials --profile far",
        ),
        (
            &[("AWS_PROFILE", "gone")],
            with.path(),
            "profile gone, which is not in ~/.aws",
        ),
    ] {
        let told = of(variables, folder, Given::default())
            .await
            .expect_err("none");
        assert!(
            told.starts_with("no credentials for the bucket: "),
            "{told}"
        );
        assert!(told.contains(said), "{told}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let home = home(CONFIG, CREDENTIALS);
    let no_pem = home.path().join("no.pem");
    std::fs::write(&no_pem, "nothing").expect("written");
    let endpoint = |text: &str| Given {
        endpoint: Some(text.to_owned()),
        ..Given::default()
    };
    let authority = |file: &str| Given {
        authority: Some(home.path().join(file)),
        ..Given::default()
    };
    for (given, said) in [
        (endpoint("s3.example"), "begins with https://"),
        (endpoint("ftp://s3.example"), "begins with https://"),
        (endpoint("https://u:p@s3.example"), "a password"),
        (endpoint("https://s3.example/bucket"), "no path"),
        (endpoint("https://a b"), "it is no URL"),
        (
            authority("gone.pem"),
            "gone.pem cannot be used: No such file",
        ),
        (
            authority("no.pem"),
            "no.pem cannot be used: there is no certificate",
        ),
    ] {
        let told = of(&[], home.path(), given).await.expect_err("unusable");
        assert!(told.contains(said), "{told}");
        assert!(!told.contains("u:p"), "{told}");
    }
    let told = of(
        &[("AWS_CA_BUNDLE", "/gone.pem")],
        home.path(),
        Given::default(),
    )
    .await;
    let told = told.expect_err("unusable");
    assert!(told.contains("AWS_CA_BUNDLE /gone.pem"), "{told}");
}

async fn of_secret_with(data: &[(&str, &str)]) -> Result<Settings, String> {
    let data = data.iter().map(|(key, value)| {
        let value = Value::String(STANDARD.encode(value));
        ((*key).to_owned(), value)
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "backups", "namespace": "shop"},
        "data": data.collect::<Map<_, _>>(),
    });
    read_from(FakeApi::script([Answer::Json(200, secret)])).await
}

async fn read_from(api: FakeApi) -> Result<Settings, String> {
    let source = Source::Secret {
        cluster: Box::new(api.cluster()),
        namespace: "shop".to_owned(),
        name: "backups".to_owned(),
    };
    let settings = Settings::read(Given::default(), source).await;
    settings.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_secret_has_everything_that_a_server_takes() {
    let pair = [(ID, "KEY\n"), (KEY, "hidden\n")];
    let settings = of_secret_with(&pair).await.expect("settings");
    assert_eq!(settings.keys.id, "KEY");
    assert_eq!(settings.keys.secret.expose_secret(), "hidden");
    assert_eq!(settings.keys.from, "secret shop/backups");
    assert_eq!(
        (settings.region.as_str(), &settings.endpoint),
        (REGION, &None)
    );
    let more = [
        (TOKEN, "token"),
        ("AWS_REGION", "here"),
        ("AWS_ENDPOINT_URL", "https://s3.example"),
    ];
    let settings = of_secret_with(&[&pair[..], &more].concat()).await;
    let settings = settings.expect("settings");
    assert_eq!(settings.region, "here");
    assert_eq!(settings.endpoint.as_deref(), Some("https://s3.example"));
    assert!(settings.keys.token.is_some());
    assert!(!format!("{settings:?}").contains("hidden"), "{settings:?}");
}

#[tokio::test]
async fn a_secret_that_lacks_something_is_told_by_key_and_never_by_value() {
    for (data, said) in [
        (
            &[(ID, "KEY")][..],
            "secret shop/backups, key AWS_SECRET_ACCESS_KEY cannot be used",
        ),
        (
            &[(ID, ""), (KEY, "hidden")],
            "secret shop/backups, key AWS_ACCESS_KEY_ID cannot be used",
        ),
        (
            &[(ID, "KEY"), (KEY, "hidden"), ("ca.crt", "hidden")],
            "secret shop/backups, key ca.crt cannot be used: there is no certificate",
        ),
    ] {
        let told = of_secret_with(data).await.expect_err("it lacks something");
        assert!(told.starts_with(said), "{told}");
        assert!(!told.contains("hidden"), "{told}");
    }
    let gone = Answer::Json(404, failure("NotFound", "secrets \"backups\" not found"));
    let told = read_from(FakeApi::script([gone])).await.expect_err("none");
    assert_eq!(
        told,
        "secret shop/backups cannot be used: it does not exist"
    );
}
