//! Slack's incoming webhooks: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.

use super::{Facts, link, shortened, summary};
use crate::notify::Notice;
use serde_json::{Value, json};

/// Stories shown.
const STORIES: usize = 3;

/// A line for notifications, and blocks for reading.
pub fn body(notice: &Notice, facts: Facts<'_>) -> Value {
    let line = escaped(&summary(notice, facts));
    let mark = match notice {
        Notice::Alert(message) if !message.kind.is_open() => ":white_check_mark:",
        Notice::Group(group) if !group.kind().is_open() => ":white_check_mark:",
        _ => ":rotating_light:",
    };
    let mut text = format!("{mark} *{line}*");
    if let Notice::Alert(message) = notice {
        for story in message.evidence.iter().take(STORIES) {
            let title = escaped(&shortened(&story.title, 200));
            let copies = match story.copies {
                0 => String::new(),
                copies => format!(" (+{copies} copies)"),
            };
            text += &format!("\n• {title}{copies}");
        }
    }
    let link = escaped(&link(notice, facts));
    json!({
        "text": line,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": shortened(&text, 2900)}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": format!("<{link}|squall>")}]},
        ],
    })
}

/// Slack's three control characters, and what would end a link.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '|' => escaped.push('¦'),
            '\n' | '\r' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
