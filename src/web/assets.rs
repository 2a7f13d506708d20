//! Style, script and icon, compiled in. Their addresses carry a hash, so that browsers may keep them for ever.

use super::Problem;
use crate::domain::hexadecimal;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// Name, media type and text of each.
const ASSETS: [(&str, &str, &str); 3] = [
    (
        "squall.css",
        "text/css; charset=utf-8",
        include_str!("assets/squall.css"),
    ),
    (
        "squall.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/squall.js"),
    ),
    (
        "squall.svg",
        "image/svg+xml",
        include_str!("assets/squall.svg"),
    ),
];

static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    for (_, _, text) in ASSETS {
        digest.update(text);
    }
    hexadecimal(&digest.finalize()[..6])
});

/// Address of an asset, as pages name it.
pub fn address(name: &str) -> String {
    format!("/assets/{name}?v={}", *HASH)
}

/// `GET /assets/{name}`
pub async fn serve(Path(name): Path<String>) -> Result<Response, Problem> {
    let (_, kind, text) = ASSETS
        .into_iter()
        .find(|(known, _, _)| *known == name)
        .ok_or_else(|| Problem::not_found("there is no such file"))?;
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, text).into_response())
}
