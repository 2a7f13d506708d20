//! What programs send: posts to score or to take in, acknowledgements, feedback.

use super::access::Identity;
use super::parameters::Parameters;
use super::server::{Shared, Squall};
use super::{Problem, Submission, Web, api};
use crate::domain::{ControlAct, EntityId, Label, Post, Timestamp};
use crate::store::PostQuery;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Most posts in one request: to score, and to take in.
const MAX_SCORED: usize = 256;
const MAX_TAKEN: usize = 5000;
/// Longest name and comment of a person, in bytes.
const MAX_WORDS: usize = 2000;

/// `POST /v1/score`: one post, or several; answers in the same form.
pub async fn score(
    State(shared): Squall,
    parameters: Parameters,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    parameters.finish()?;
    let score = shared.web.score.as_ref().ok_or_else(|| {
        Problem::unavailable("this process has no model: ask one that runs the role score")
    })?;
    let Sent { posts, several, .. } = decode(&shared.web, &body, MAX_SCORED)?;
    let scored = score(posts).await?;
    Ok(Json(if several {
        json!({"posts": scored})
    } else {
        scored.into_iter().next().unwrap_or_default()
    }))
}

/// `POST /v1/posts?topic`: takes posts in, all or none, and says where they are.
pub async fn posts(
    State(shared): Squall,
    mut parameters: Parameters,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let wanted = parameters.text("topic")?;
    parameters.finish()?;
    let topic = topic(&shared.web, wanted)?;
    let Sent { posts, bytes, .. } = decode(&shared.web, &body, MAX_TAKEN)?;
    let origins = (shared.web.produce)(Submission {
        topic,
        posts: bytes,
    })
    .await?;
    let accepted: Vec<Value> = posts
        .into_iter()
        .zip(origins)
        .map(|(post, origin)| {
            json!({
                "id": post.id.unwrap_or_else(|| origin.to_string()),
                "topic": origin.source.topic,
                "partition": origin.source.partition,
                "offset": origin.offset,
            })
        })
        .collect();
    Ok((StatusCode::ACCEPTED, Json(json!({"accepted": accepted}))))
}

fn topic(web: &Web, wanted: Option<String>) -> Result<String, Problem> {
    let mut names = web.topics.iter().map(|topic| &topic.name);
    let found = match &wanted {
        Some(wanted) => names.find(|name| *name == wanted),
        None => names.next(),
    };
    found.cloned().ok_or_else(|| {
        let known: Vec<&str> = web.topics.iter().map(|topic| topic.name.as_str()).collect();
        Problem::invalid(format!(
            "parameter 'topic': '{}' takes no posts: choose one of {}",
            wanted.unwrap_or_default(),
            known.join(", ")
        ))
    })
}

/// The posts of a request, all of them valid.
struct Sent {
    posts: Vec<Post>,
    bytes: Vec<Vec<u8>>,
    several: bool,
}

/// Reads one post, an array of them, or `{"posts": […]}`. One bad post refuses them all, each named.
fn decode(web: &Web, body: &[u8], most: usize) -> Result<Sent, Problem> {
    #[derive(Deserialize)]
    struct Several<'a> {
        #[serde(borrow)]
        posts: Vec<&'a RawValue>,
    }
    let body = body.trim_ascii();
    let several = match body.first() {
        Some(b'[') => serde_json::from_slice(body)
            .map(Some)
            .map_err(|error| Problem::invalid(format!("the body is not JSON: {error}")))?,
        _ => serde_json::from_slice::<Several>(body)
            .ok()
            .map(|several| several.posts),
    };
    let parts: Vec<&[u8]> = match &several {
        Some(posts) => posts.iter().map(|post| post.get().as_bytes()).collect(),
        None => vec![body],
    };
    if parts.is_empty() || parts.len() > most {
        return Err(Problem::invalid(format!(
            "the body holds {} posts: send 1 to {most} at once",
            parts.len()
        )));
    }
    let mut posts = Vec::with_capacity(parts.len());
    let mut errors = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        match Post::decode(part, web.max_text_bytes) {
            Ok(post) => posts.push(post),
            Err(error) => errors.push(json!({
                "index": index, "reason": error.reason(), "detail": error.to_string(),
            })),
        }
    }
    if let Some(first) = errors.first() {
        let detail = match several {
            None => format!(
                "this is no post: {}",
                first["detail"].as_str().unwrap_or_default()
            ),
            Some(_) => format!(
                "{} of {} are no posts: none was taken",
                errors.len(),
                parts.len()
            ),
        };
        return Err(Problem {
            errors,
            ..Problem::invalid(detail)
        });
    }
    Ok(Sent {
        posts,
        bytes: parts.iter().map(|part| part.to_vec()).collect(),
        several: several.is_some(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledgement {
    by: Option<String>,
}

/// `POST /v1/alerts/{id}/ack`: someone has seen an alert.
pub async fn acknowledge(
    State(shared): Squall,
    Path(id): Path<String>,
    Extension(identity): Extension<Identity>,
    parameters: Parameters,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    parameters.finish()?;
    let Acknowledgement { by } = object(&body)?;
    let by = who(&identity, by.as_deref())?;
    acknowledge_alert(&shared, &id, &by).await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(json!({"alert_id": id, "by": by})),
    ))
}

/// Who does something: whom the token or the proxy names; where they name nobody, whoever the request says.
///
/// # Errors
/// 400 where nobody is named.
pub fn who(identity: &Identity, by: Option<&str>) -> Result<String, Problem> {
    match &identity.name {
        Some(name) => Ok(name.clone()),
        None => words("by", by.unwrap_or_default()),
    }
}

/// Writes an acknowledgement, of an alert that is there.
pub async fn acknowledge_alert(shared: &Shared, id: &str, by: &str) -> Result<(), Problem> {
    let by = words("by", by)?;
    api::find_alert(shared, id).await?;
    (shared.web.control)(ControlAct::Acknowledge {
        alert_id: id.to_owned(),
        by,
        at: Timestamp::now(),
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Feedback {
    post_id: String,
    entity: Option<EntityId>,
    label: Label,
    comment: Option<String>,
    by: Option<String>,
}

/// `POST /v1/feedback`: someone says what the sentiment of a post should have been.
pub async fn feedback(
    State(shared): Squall,
    Extension(identity): Extension<Identity>,
    parameters: Parameters,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    parameters.finish()?;
    let feedback: Feedback = object(&body)?;
    let by = who(&identity, feedback.by.as_deref())?;
    let comment = feedback
        .comment
        .map(|comment| words("comment", &comment))
        .transpose()?;
    let query = PostQuery {
        id: Some(feedback.post_id.clone()),
        limit: 1,
        ..PostQuery::default()
    };
    let posts = shared.web.store.posts(&query).await?;
    let Some(post) = posts.first() else {
        return Err(Problem::not_found(format!(
            "there is no post '{}'",
            feedback.post_id
        )));
    };
    if let Some(entity) = &feedback.entity
        && post
            .mentions
            .iter()
            .all(|mention| mention.entity != *entity)
    {
        return Err(Problem::invalid(format!(
            "field 'entity': the post does not mention '{entity}': name one it mentions, or none for the whole post"
        )));
    }
    let accepted =
        json!({"post_id": feedback.post_id, "entity": feedback.entity, "label": feedback.label});
    let act = ControlAct::Feedback {
        post_id: feedback.post_id,
        entity: feedback.entity,
        label: feedback.label,
        comment,
        by,
        at: Timestamp::now(),
    };
    accept(&shared, act, accepted).await
}

/// Writes an act, and answers that it was taken.
pub async fn accept(
    shared: &Shared,
    act: ControlAct,
    answer: Value,
) -> Result<(StatusCode, Json<Value>), Problem> {
    (shared.web.control)(act).await?;
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// Reads a JSON object, naming the field that is wrong.
pub fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let object = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let place = match path.as_str() {
            "." => "the body".to_owned(),
            field => format!("field '{field}'"),
        };
        Problem::invalid(format!("{place}: {}", error.into_inner()))
    })?;
    match reader.end() {
        Ok(()) => Ok(object),
        Err(error) => Err(Problem::invalid(format!("the body: {error}"))),
    }
}

pub fn words(name: &str, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_WORDS {
        return Err(Problem::invalid(format!(
            "field '{name}' has {} bytes: write 1 to {MAX_WORDS}",
            text.len()
        )));
    }
    Ok(text.to_owned())
}
