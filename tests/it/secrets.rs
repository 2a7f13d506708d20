//! Planted secrets: none of them is in anything that squall writes.

use crate::support::{Service, Setup, squall};
use std::fs::File;

/// Where each is planted, and the text; of addresses the part that is secret.
const PLANTED: [(&str, &str); 7] = [
    (
        "SQUALL_TEST_WEBHOOK",
        "whsec_cGxhbnRlZC13ZWJob29rLXNlY3JldC0wMDE=",
    ),
    ("SQUALL_TEST_ADDRESS", "planted-token-in-an-address"),
    ("SQUALL_TEST_ROUTING", "planted-routing-key"),
    ("SQUALL_TEST_API", "planted-api-token-0123456789"),
    ("SQUALL_TEST_CLICKHOUSE", "planted-clickhouse-password"),
    ("SQUALL_TEST_KAFKA", "planted-sasl-password"),
    ("SQUALL_TEST_KEY_FILE", "planted-key-in-a-file"),
];

fn planted(name: &str) -> &'static str {
    let found = PLANTED.iter().find(|(place, _)| *place == name);
    found.map(|(_, secret)| *secret).unwrap()
}

/// Nothing planted is in a text. The base64 of a webhook's secret counts without its prefix.
fn holds_nothing(place: &str, text: &str) {
    for (name, secret) in PLANTED {
        let secret = secret.trim_start_matches("whsec_");
        assert!(!text.contains(secret), "{place} tells {name}:\n{text}");
    }
}

/// A configuration whose endpoints fail, each in its way.
fn setup(clickhouse: &str, more: &str) -> Setup {
    let setup = Setup::new("");
    let key = setup.write("key", planted("SQUALL_TEST_KEY_FILE").as_bytes());
    let data = setup.path("data");
    let text = format!(
        r#"
[run]
data_dir = {data:?}
[api]
listen = "127.0.0.1:0"
token = "env:SQUALL_TEST_API"
[clickhouse]
url = "{clickhouse}"
password = "env:SQUALL_TEST_CLICKHOUSE"
[notify]
timeout = "1s"
attempts = 1
allow = ["127.0.0.1"]
[[endpoints]]
name = "closed"
url = "http://127.0.0.1:1/hooks/{}"
secrets = ["env:SQUALL_TEST_WEBHOOK"]
[[endpoints]]
name = "nowhere"
url = "https://no-such-host.invalid/{0}?key={0}"
secrets = ["env:SQUALL_TEST_WEBHOOK"]
[[endpoints]]
name = "pages"
url = "http://127.0.0.1:1/v2/enqueue"
format = "pagerduty"
routing_key = "env:SQUALL_TEST_ROUTING"
[[endpoints]]
name = "second"
url = "http://127.0.0.1:1/"
format = "pagerduty"
routing_key = "file:{key}"
{more}"#,
        planted("SQUALL_TEST_ADDRESS"),
    );
    setup.write("squall.toml", text.as_bytes());
    setup
}

fn with_secrets(args: &[&str]) -> std::process::Command {
    let mut command = squall(args);
    command.envs(PLANTED).env("SQUALL_LOG", "debug");
    command
}

/// All that a command prints.
fn printed(args: &[&str]) -> String {
    let output = with_secrets(args).output().unwrap();
    let both = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_asked_and_fails_tells_no_secret() {
    let setup = setup("", "");
    let output = setup.path("output");
    let mut command = with_secrets(&["run", "--config", &setup.config()]);
    command.stdout(File::create(&output).unwrap());
    let service = Service::of(command, true);

    let client = reqwest::Client::new();
    let get = async |path: &str, token: &str| {
        let request = client.get(service.url(path)).bearer_auth(token);
        let answer = request.send().await.unwrap();
        let headers = format!("{:?}", answer.headers());
        headers + &answer.text().await.unwrap()
    };
    let token = planted("SQUALL_TEST_API");
    for endpoint in ["closed", "nowhere", "pages", "second"] {
        let asked = client.post(service.url(&format!("/v1/endpoints/{endpoint}/test")));
        let answer = asked
            .bearer_auth(token)
            .body(r#"{"by": "ops"}"#)
            .send()
            .await
            .unwrap();
        let text = answer.text().await.unwrap();
        // It was tried, and it says what went wrong.
        assert!(text.contains("error"), "{endpoint}: {text}");
        holds_nothing(endpoint, &text);
    }
    for path in [
        "/metrics",
        "/readyz",
        "/v1/endpoints",
        "/v1/deliveries",
        "/v1/audit",
        "/v1/no-such-thing",
        "/",
    ] {
        holds_nothing(path, &get(path, token).await);
        holds_nothing(path, &get(path, "a-wrong-token").await);
    }
    let command_line = std::fs::read(format!("/proc/{}/cmdline", service.id())).unwrap();
    holds_nothing(
        "the list of processes",
        &String::from_utf8_lossy(&command_line),
    );
    let log = service.kill();
    holds_nothing("its output", &std::fs::read_to_string(&output).unwrap());
    assert!(log.contains(" DEBUG "), "the log says everything it can");
    holds_nothing("the log", &log);
}

#[test]
fn commands_tell_no_secret_whatever_goes_wrong() {
    let whole = setup("", "");
    let config = whole.config();
    let checked = printed(&["check-config", "--config", &config]);
    holds_nothing("check-config", &checked);
    holds_nothing("doctor", &printed(&["doctor", "--config", &config]));
    let elsewhere = setup(
        "http://127.0.0.1:1",
        "[kafka]\nbrokers = \"127.0.0.1:1\"\n[kafka.client]\n\
         \"security.protocol\" = \"SASL_PLAINTEXT\"\n\"sasl.mechanism\" = \"PLAIN\"\n\"sasl.username\" = \"squall\"\n\
         \"sasl.password\" = \"env:SQUALL_TEST_KAFKA\"\n",
    );
    let doctor = printed(&["doctor", "--config", &elsewhere.config()]);
    assert!(doctor.contains("127.0.0.1:1"), "{doctor}");
    holds_nothing("doctor", &doctor);

    // A secret of the wrong shape is named by its place.
    let wrong = Setup::new(
        "[[endpoints]]\nname = \"desk\"\nurl = \"https://example.com/planted-token-in-an-address\"\nsecrets = [\"planted-routing-key\"]\n",
    );
    let told = printed(&["check-config", "--config", &wrong.config()]);
    assert!(told.contains("secrets"), "{told}");
    holds_nothing("check-config", &told);
}
