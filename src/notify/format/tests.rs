use super::*;
use crate::domain::{Severity, Timestamp};
use crate::notify::format::sample::message;
use serde_json::Value;

const FACTS: Facts<'_> = Facts {
    entity_name: &|id| (id.as_str() == "SAMPLE").then(|| "Sample <Bank> & Co".into()),
    link_base: "http://squall.example/",
};

fn config(format: FormatConfig) -> EndpointConfig {
    EndpointConfig {
        format,
        routing_key: Secret::new("hush"),
        ..EndpointConfig::new("desk", "https://example.com", Vec::new())
    }
}

fn write(format: FormatConfig, notice: &Notice) -> Value {
    let format = Format::new(&config(format)).unwrap();
    serde_json::from_slice(&format.write(notice, FACTS).unwrap()).unwrap()
}

fn alert(kind: AlertKind, severity: Severity) -> Notice {
    Notice::Alert(Box::new(message(
        kind,
        1,
        severity,
        Timestamp::from_millis(90_000),
    )))
}

#[test]
fn every_format_writes_every_sample() {
    for format in [
        FormatConfig::Standard,
        FormatConfig::Slack,
        FormatConfig::PagerDuty,
        FormatConfig::Alertmanager,
    ] {
        for sample in samples() {
            assert!(!write(format, &sample).is_null());
        }
    }
}

#[test]
fn pagerduty_triggers_and_resolves_under_one_key() {
    let opened = write(
        FormatConfig::PagerDuty,
        &alert(AlertKind::Opened, Severity::Critical),
    );
    assert_eq!(opened["event_action"], "trigger");
    assert_eq!(opened["routing_key"], "hush");
    assert_eq!(opened["payload"]["severity"], "critical");
    assert!(opened["payload"]["summary"].as_str().unwrap().len() <= 1024);
    for kind in [AlertKind::Resolved, AlertKind::Retracted] {
        let ended = write(FormatConfig::PagerDuty, &alert(kind, Severity::Critical));
        assert_eq!(ended["event_action"], "resolve");
        assert_eq!(ended["dedup_key"], opened["dedup_key"]);
    }
    let missing = EndpointConfig {
        routing_key: Secret::default(),
        ..config(FormatConfig::PagerDuty)
    };
    assert!(Format::new(&missing).unwrap_err().contains("routing_key"));
    assert!(
        !format!(
            "{:?}",
            Format::new(&config(FormatConfig::PagerDuty)).unwrap()
        )
        .contains("hush")
    );
}

#[test]
fn slack_gets_its_control_characters_escaped() {
    let body = write(
        FormatConfig::Slack,
        &alert(AlertKind::Opened, Severity::Warning),
    );
    let text = body.to_string();
    assert!(
        body["text"]
            .as_str()
            .unwrap()
            .starts_with("Sample &lt;Bank&gt; &amp; Co: negative spike")
    );
    assert!(text.contains("&lt;headline&gt;") && !text.contains("<headline>"));
}

#[test]
fn alertmanager_is_told_ends_and_that_a_warning_has_become_critical() {
    let open = write(
        FormatConfig::Alertmanager,
        &alert(AlertKind::Opened, Severity::Warning),
    );
    assert_eq!(open.as_array().unwrap().len(), 1);
    let end = |value: &Value| {
        value["endsAt"]
            .as_str()
            .unwrap()
            .parse::<Timestamp>()
            .unwrap()
    };
    let start = |value: &Value| {
        value["startsAt"]
            .as_str()
            .unwrap()
            .parse::<Timestamp>()
            .unwrap()
    };
    assert!(end(&open[0]).since(start(&open[0])).as_secs() > 23 * 3600);
    let worse = write(
        FormatConfig::Alertmanager,
        &alert(AlertKind::Updated, Severity::Critical),
    );
    assert_eq!(
        worse[1]["labels"], open[0]["labels"],
        "the same alert as before"
    );
    assert_eq!(worse[0]["labels"]["severity"], "critical");
    assert!(end(&worse[1]) < end(&worse[0]));
    let over = write(
        FormatConfig::Alertmanager,
        &alert(AlertKind::Resolved, Severity::Warning),
    );
    assert_eq!(over[0]["labels"], open[0]["labels"]);
    assert!(
        end(&over[0]) > start(&over[0]) && end(&over[0]).since(start(&over[0])).as_secs() < 120
    );
}

#[test]
fn a_group_of_two_hundred_still_fits_and_names_whom_it_can() {
    let members = (0..200).map(|n| crate::notify::Member {
        entity: EntityId::from(format!("BANK-{n:03}").as_str()),
        ..(&message(AlertKind::Opened, 0, Severity::Critical, Timestamp::EPOCH)).into()
    });
    let group = Notice::Group(Group {
        group_id: "g".into(),
        revision: 0,
        at: Timestamp::EPOCH,
        list: "sector:Banks".into(),
        members: members.collect(),
    });
    for format in [
        FormatConfig::Standard,
        FormatConfig::Slack,
        FormatConfig::PagerDuty,
        FormatConfig::Alertmanager,
    ] {
        let body = write(format, &group).to_string();
        assert!(
            body.contains("BANK-000") && body.contains("BANK-009"),
            "{format:?}"
        );
    }
    assert_eq!(write(FormatConfig::Standard, &group)["data"]["alerts"], 200);
}

fn template(text: &str) -> Result<Value, String> {
    let template = Template::parse(text.into())?;
    let body = template.body(&alert(AlertKind::Opened, Severity::Warning), FACTS)?;
    Ok(serde_json::from_slice(&body).unwrap())
}

#[test]
fn a_template_sees_the_standard_body_and_no_text_can_break_out() {
    let body = template(
        r#"{"text": {{ data.evidence[0].title }}, "n": {{ data.observed.negative }}, "s": {{ summary }}, "t": {{ type }}}"#,
    )
    .unwrap();
    assert_eq!(body["text"], "A sample \"quoted\" <headline> & more");
    assert_eq!(
        (&body["n"], &body["t"]),
        (&33.into(), &"sentiment.spike.opened".into())
    );
}

#[test]
fn a_template_that_goes_wrong_is_bounded_and_explained() {
    for (text, problem) in [
        ("{{ data.", "line 1"),
        ("{{ data.no_such_thing.deeper }}", "undefined"),
        ("{\"a\": ", "no JSON"),
        ("{% for a in range(100000000) %}{% endfor %}{}", ""),
        ("{% for a in range(9000) %}xxxxxxxxxxxxxxx{% endfor %}", ""),
        ("{% include 'other' %}", ""),
    ] {
        let error = template(text).unwrap_err();
        assert!(
            error.contains(problem) && !error.contains('\n'),
            "{text}: {error}"
        );
    }
    let missing = config(FormatConfig::Template);
    assert!(Format::new(&missing).unwrap_err().contains("name its file"));
}

#[test]
fn a_template_is_tried_on_every_sample_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hook.json");
    // Groups have no evidence.
    std::fs::write(&path, r#"{"text": {{ data.evidence[0].title }}}"#).unwrap();
    let own = EndpointConfig {
        template: Some(path.clone()),
        ..config(FormatConfig::Template)
    };
    let error = Format::new(&own).unwrap_err();
    assert!(
        error.contains("on a sample of sentiment.group.opened"),
        "{error}"
    );
    std::fs::write(&path, r#"{"text": {{ summary }}}"#).unwrap();
    assert!(Format::new(&own).is_ok());
}
