//! The body of a delivery: an alert message as receivers see it.

use super::notice::{Alive, EndpointDisabled, Group, Notice};
use crate::domain::{
    AlertMessage, EntityId, Evidence, Expected, Explanation, Observed, SpikeWindow, Timestamp,
};
use serde::Serialize;
use serde_json::json;
use std::borrow::Cow;

/// A body has fewer bytes than this, as Standard Webhooks 1.0.0 recommends.
pub const MAX_BODY_BYTES: usize = 20_000;

/// Longest name, title or id in a body, in characters. With the widest escapes (6 bytes a character) the
/// parts that cannot be left out still stay under [`MAX_BODY_BYTES`].
const MAX_CHARS: usize = 200;

/// Longest link to the page, in characters.
const MAX_LINK_CHARS: usize = 1000;

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    alert_id: Cow<'a, str>,
    rule: Cow<'a, str>,
    entity: Named<'a>,
    severity: &'static str,
    window: SpikeWindow,
    observed: Observed,
    expected: Expected,
    p_value: f64,
    evidence: Vec<Evidence>,
    model: Cow<'a, str>,
    link: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
}

#[derive(Serialize)]
struct Named<'a> {
    id: Cow<'a, str>,
    name: Cow<'a, str>,
}

/// The JSON body of an alert message, always under [`MAX_BODY_BYTES`].
///
/// `entity_name` looks up the name shown for an entity; its id stands in where there is none. `link_base` is
/// the address of the page, to which the path of the alert is added. Long titles are cut; if the whole is
/// still too long, evidence is left out from the last.
pub fn alert_body(
    message: &AlertMessage,
    entity_name: impl FnOnce(&EntityId) -> Option<String>,
    link_base: &str,
) -> Vec<u8> {
    let id = message.entity.as_str();
    let name = entity_name(&message.entity).unwrap_or_else(|| id.to_owned());
    let link = format!(
        "{}/alerts/{}",
        link_base.trim_end_matches('/'),
        message.alert_id
    );
    let mut body = Body {
        r#type: message.kind.event_type(),
        timestamp: message.at,
        data: Data {
            alert_id: cut(&message.alert_id, MAX_CHARS),
            rule: cut(&message.rule, MAX_CHARS),
            entity: Named {
                id: cut(id, MAX_CHARS),
                name: cut(&name, MAX_CHARS),
            },
            severity: message.severity.name(),
            window: message.window,
            observed: message.observed,
            expected: message.expected,
            p_value: message.p_value,
            evidence: message.evidence.iter().map(with_short_title).collect(),
            model: cut(&message.model, MAX_CHARS),
            link: cut(&link, MAX_LINK_CHARS),
            // The picture is for the page.
            explanation: message.explanation.clone().map(|explanation| Explanation {
                picture: Vec::new(),
                scheduled: explanation
                    .scheduled
                    .map(|tag| cut(&tag, MAX_CHARS).into_owned()),
                ..explanation
            }),
        },
    };
    loop {
        let bytes = serde_json::to_vec(&body).expect("plain data serialises");
        if bytes.len() < MAX_BODY_BYTES || body.data.evidence.pop().is_none() {
            return bytes;
        }
    }
}

/// The JSON body of any notice in the format `standard`, always under [`MAX_BODY_BYTES`]; see [`alert_body`].
pub fn notice_body(
    notice: &Notice,
    entity_name: &dyn Fn(&EntityId) -> Option<String>,
    link_base: &str,
) -> Vec<u8> {
    let data = match notice {
        Notice::Alert(message) => return alert_body(message, entity_name, link_base),
        Notice::Group(group) => return group_body(notice, group, entity_name, link_base),
        Notice::EndpointDisabled(EndpointDisabled {
            endpoint, reason, ..
        }) => json!({"endpoint": cut(endpoint, MAX_CHARS), "reason": cut(reason, MAX_LINK_CHARS)}),
        Notice::Alive(Alive {
            pending, problems, ..
        }) => {
            let problems: Vec<_> = problems
                .iter()
                .take(20)
                .map(|one| cut(one, MAX_CHARS))
                .collect();
            json!({"version": env!("CARGO_PKG_VERSION"), "pending": pending, "problems": problems})
        }
    };
    let body = json!({"type": notice.event_type(), "timestamp": notice.at(), "data": data});
    body.to_string().into_bytes()
}

/// All its alerts are named, as long as there is room; `alerts` tells how many there are.
fn group_body(
    notice: &Notice,
    group: &Group,
    entity_name: &dyn Fn(&EntityId) -> Option<String>,
    link_base: &str,
) -> Vec<u8> {
    let named = |id: &EntityId| {
        let name = entity_name(id).unwrap_or_else(|| id.to_string());
        json!({"id": cut(id.as_str(), MAX_CHARS), "name": cut(&name, MAX_CHARS)})
    };
    let base = link_base.trim_end_matches('/');
    let mut members: Vec<_> = group
        .members
        .iter()
        .map(|member| {
            json!({
                "alert_id": cut(&member.alert_id, MAX_CHARS),
                "type": member.kind.event_type(),
                "rule": cut(&member.rule, MAX_CHARS),
                "entity": named(&member.entity),
                "severity": member.severity.name(),
                "observed": member.observed,
                "expected": member.expected,
                "p_value": member.p_value,
                "link": cut(&format!("{base}/alerts/{}", member.alert_id), MAX_LINK_CHARS),
            })
        })
        .collect();
    loop {
        let body = json!({
            "type": notice.event_type(),
            "timestamp": group.at,
            "data": {
                "alert_id": group.group_id,
                "list": named(&group.list),
                "severity": group.severity().name(),
                "alerts": group.members.len(),
                "open": group.members.iter().filter(|member| member.kind.is_open()).count(),
                "members": members,
                "link": cut(base, MAX_LINK_CHARS),
            },
        });
        let bytes = body.to_string().into_bytes();
        if bytes.len() < MAX_BODY_BYTES || members.pop().is_none() {
            return bytes;
        }
    }
}

fn with_short_title(evidence: &Evidence) -> Evidence {
    Evidence {
        title: cut(&evidence.title, MAX_CHARS).into_owned(),
        ..evidence.clone()
    }
}

/// The text, or its beginning and `…`: at most `limit` characters in all.
fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    let mut ends = text.char_indices().map(|(at, _)| at).skip(limit - 1);
    match (ends.next(), ends.next()) {
        (Some(end), Some(_)) => Cow::Owned(format!("{}…", &text[..end])),
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::{AlertKind, Severity, message_id};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The alert of the contract's example.
    pub fn message() -> AlertMessage {
        AlertMessage {
            id: message_id("a1", AlertKind::Opened, 0),
            alert_id: "a1".into(),
            kind: AlertKind::Opened,
            revision: 0,
            at: at("2026-11-23T09:15:01Z"),
            received_at: None,
            rule: "negative-spike".into(),
            entity: "ACME".into(),
            severity: Severity::Critical,
            window: SpikeWindow {
                start: at("2026-11-23T09:14:00Z"),
                end: at("2026-11-23T09:15:00Z"),
            },
            observed: Observed {
                mentions: 41,
                negative: 33,
                sources: 19,
                mean_score: -0.71,
            },
            expected: Expected {
                mentions: 9.2,
                negative: 1.4,
            },
            p_value: 1.2e-11,
            evidence: vec![Evidence {
                post_id: "reuters-8812".into(),
                title: "Acme recalls 40,000 batteries".into(),
                url: Some("https://example.com/8812".into()),
                score: -0.96,
                copies: 7,
            }],
            model: "squall-mini".into(),
            explanation: None,
        }
    }

    #[test]
    fn has_the_fields_of_the_contract() {
        let body = alert_body(
            &message(),
            |_| Some("Acme Corp".into()),
            "http://127.0.0.1:8080/",
        );
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            concat!(
                r#"{"type":"sentiment.spike.opened","timestamp":"2026-11-23T09:15:01.000Z","#,
                r#""data":{"alert_id":"a1","rule":"negative-spike","#,
                r#""entity":{"id":"ACME","name":"Acme Corp"},"severity":"critical","#,
                r#""window":{"start":"2026-11-23T09:14:00.000Z","end":"2026-11-23T09:15:00.000Z"},"#,
                r#""observed":{"mentions":41,"negative":33,"sources":19,"mean_score":-0.71},"#,
                r#""expected":{"mentions":9.2,"negative":1.4},"p_value":1.2e-11,"#,
                r#""evidence":[{"post_id":"reuters-8812","title":"Acme recalls 40,000 batteries","#,
                r#""url":"https://example.com/8812","score":-0.96,"copies":7}],"#,
                r#""model":"squall-mini","link":"http://127.0.0.1:8080/alerts/a1"}}"#,
            )
        );
    }

    #[test]
    fn an_unknown_entity_is_named_by_its_id() {
        let body: Value =
            serde_json::from_slice(&alert_body(&message(), |_| None, "http://h")).unwrap();
        assert_eq!(
            body["data"]["entity"],
            json!({"id": "ACME", "name": "ACME"})
        );
    }

    #[test]
    fn too_much_evidence_is_left_out_from_the_last() {
        let mut message = message();
        let url = Some(format!("https://example.com/{}", "x".repeat(6000)));
        message.evidence = (0..5)
            .map(|i| Evidence {
                post_id: i.to_string(),
                url: url.clone(),
                ..message.evidence[0].clone()
            })
            .collect();
        let body: Value =
            serde_json::from_slice(&alert_body(&message, |_| None, "http://h")).unwrap();
        let kept: Vec<_> = body["data"]["evidence"]
            .as_array()
            .unwrap()
            .iter()
            .map(|evidence| evidence["post_id"].as_str().unwrap())
            .collect();
        assert_eq!(kept, ["0", "1", "2"]);
    }

    #[test]
    fn cuts_between_characters_and_only_what_is_too_long() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("", 3), "");
    }

    /// Texts of the widest escapes, the widest characters, and anything else.
    fn hostile() -> impl Strategy<Value = String> {
        (
            prop_oneof![Just('\0'), Just('"'), Just('\u{10ffff}'), any::<char>()],
            0..40_000usize,
        )
            .prop_map(|(character, count)| std::iter::repeat_n(character, count).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn is_small_json_whatever_the_texts(
            texts in proptest::collection::vec(hostile(), 6),
            evidence in proptest::collection::vec((hostile(), hostile(), proptest::option::of(hostile())), 0..8),
        ) {
            let message = AlertMessage {
                alert_id: texts[0].clone(),
                rule: texts[1].clone(),
                entity: texts[2].as_str().into(),
                model: texts[3].clone(),
                evidence: evidence
                    .into_iter()
                    .map(|(post_id, title, url)| Evidence { post_id, title, url, score: f32::MIN, copies: u32::MAX })
                    .collect(),
                p_value: f64::MIN_POSITIVE,
                ..message()
            };
            let body = alert_body(&message, |_| Some(texts[4].clone()), &texts[5]);
            prop_assert!(body.len() < MAX_BODY_BYTES, "{} bytes", body.len());
            let value: Value = serde_json::from_slice(&body).unwrap();
            prop_assert!(value["data"]["evidence"].is_array());
        }
    }
}
