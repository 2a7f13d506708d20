//! What is wrong is said: with place and remedy, exit status 1 or 2, and nothing hangs.

use crate::support::{Setup, run, stderr};

/// Runs a command that must fail, and returns what it says.
fn fails(args: &[&str], status: i32) -> String {
    let output = run(args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    assert!(output.stdout.is_empty(), "data on stdout");
    text
}

fn run_fails(setup: &Setup, says: &[&str]) {
    let text = fails(&["run", "--config", &setup.config()], 1);
    for part in says {
        assert!(text.contains(part), "'{part}' is not in:\n{text}");
    }
}

#[test]
fn wrong_usage_is_status_2() {
    assert!(fails(&["replay"], 2).contains("--input"));
    assert!(fails(&["run", "--roles", "cook"], 2).contains("possible values"));
    assert!(fails(&["run", "--roles", "score,api"], 2).contains("kafka.brokers"));
    for (flag, number) in [("--rate", "-1"), ("--speed", "0"), ("--rate", "many")] {
        let arguments = ["replay", "--input", "x", "--topic", "news", flag, number];
        let text = fails(&arguments, 2);
        assert!(text.contains(flag) && text.contains(" number"), "{text}");
    }
}

#[test]
fn all_configuration_errors_come_at_once() {
    let setup = Setup::new("listn = 5\n[score]\nbatch_tokens = \"x\"\n[detect]\np_value = 7.0\n");
    run_fails(
        &setup,
        &["api.listn", "did you mean 'listen'", "score.batch_tokens"],
    );
    let setup = Setup::new("[detect]\nresolve_e_value = 0.5\nmin_sources = 9\n");
    run_fails(&setup, &["detect.resolve_e_value", "detect.min_sources"]);
}

#[test]
fn a_missing_model_and_one_whose_tokenizer_does_not_fit_are_named() {
    let setup = Setup::new("[model]\nsource = \"/nowhere/model\"\n");
    run_fails(&setup, &["/nowhere/model"]);

    let folder = tempfile::tempdir().unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/squall-mini/");
    for file in ["config.json", "model.safetensors"] {
        std::os::unix::fs::symlink(format!("{model}{file}"), folder.path().join(file)).unwrap();
    }
    let tokenizer = std::fs::read_to_string(format!("{model}tokenizer.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&tokenizer).unwrap();
    json["model"]["vocab"]["one-too-many"] = 40_000.into();
    std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    let setup = Setup::new(&format!("[model]\nsource = {:?}\n", folder.path()));
    run_fails(&setup, &["tokenizer"]);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("squall.toml");
    let text = format!(
        "[run]\ndata_dir = {:?}\n[api]\nlisten = \"{address}\"\n",
        folder.path()
    );
    std::fs::write(&config, text).unwrap();
    let text = fails(&["run", "--config", config.to_str().unwrap()], 1);
    assert!(
        text.contains(&address) && text.contains("api.listen"),
        "{text}"
    );
}

#[test]
fn an_unreachable_broker_is_named() {
    let setup = Setup::new("[kafka]\nbrokers = \"127.0.0.1:1\"\n");
    run_fails(&setup, &["127.0.0.1:1", "kafka.brokers"]);
    let text = fails(
        &[
            "replay",
            "--config",
            &setup.config(),
            "--input",
            "Cargo.toml",
            "--topic",
            "news",
        ],
        1,
    );
    assert!(text.contains("127.0.0.1:1"), "{text}");
}

#[test]
fn a_replay_without_a_service_says_what_to_start() {
    let setup = Setup::new("");
    let text = fails(
        &[
            "replay",
            "--config",
            &setup.config(),
            "--input",
            "Cargo.toml",
            "--topic",
            "news",
        ],
        1,
    );
    assert!(text.contains("squall run"), "{text}");
}

#[test]
fn bad_endpoints_and_lists_are_named() {
    let setup =
        Setup::new("[[endpoints]]\nname = \"desk\"\nurl = \"ftp://x\"\nsecrets = [\"short\"]\n");
    let text = fails(&["check-config", "--config", &setup.config()], 1);
    assert!(text.contains("desk") && !text.contains("short"), "{text}");
    let setup =
        Setup::new("[[lists]]\nid = \"L\"\nname = \"L\"\nentities = [\"NO-SUCH-ENTITY\"]\n");
    assert!(fails(&["check-config", "--config", &setup.config()], 1).contains("NO-SUCH-ENTITY"));
}

#[test]
fn a_bad_dictionary_names_every_line() {
    let setup = Setup::new("");
    let file = setup.write(
        "entities.csv",
        b"id,name,aliases,sector,kind\n,No Id,,,company\nX,,,,company\nY,Y Corp,,,planet\n",
    );
    let text = fails(&["score", "--entities", &file, "--input", "Cargo.toml"], 1);
    for line in ["line 2", "line 3", "line 4"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn what_is_shown_of_a_configuration_holds_no_secret() {
    let setup = Setup::new(
        "[[endpoints]]\nname = \"desk\"\nurl = \"https://example.com/T0?token=hush\"\n\
         secrets = [\"whsec_c3F1YWxsLXNxdWFsbC1zcXVhbGwtc3F1YWxsIQ==\"]\n",
    );
    let output = run(&["check-config", "--show", "--config", &setup.config()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("# endpoint 'desk' is at https://example.com\n"),
        "{text}"
    );
    for secret in ["T0", "hush", "whsec"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn the_input_is_not_overwritten_by_the_output() {
    let setup = Setup::new("");
    let file = setup.write("posts.jsonl", b"{\"text\": \"a\"}\n");
    for command in ["score", "detect"] {
        let text = fails(&[command, "--input", &file, "--output", &file], 2);
        assert!(text.contains("is the input"), "{text}");
    }
    assert_eq!(std::fs::read(file).unwrap(), b"{\"text\": \"a\"}\n");
}

#[test]
fn a_report_without_a_store_says_so_and_makes_none() {
    let setup = Setup::new("");
    let text = fails(
        &["report", "campaign", "spring", "--config", &setup.config()],
        1,
    );
    assert!(
        text.contains("squall.db: no store is there") && text.contains("squall run"),
        "{text}"
    );
    assert!(!setup.folder.path().join("data").exists());
}

#[test]
fn the_last_error_is_an_event_of_the_log_where_that_is_json() {
    let arguments = ["score", "--input", "/nowhere/posts.jsonl"];
    let text = fails(&arguments, 1);
    assert!(text.starts_with("squall: /nowhere/posts.jsonl"), "{text}");
    let text = fails(&[&arguments[..], &["--log-format", "json"]].concat(), 1);
    let events: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let last = events.last().unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(last["message"].as_str().unwrap().contains("/nowhere/posts"));
}
