//! Sessions of browsers: a form takes the token, a cookie stands for it from then on. Cookies and forms.

use super::access::{self, Identity};
use super::server::Squall;
use super::{Problem, Web, pages};
use crate::domain::hexadecimal;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// Cookie of a browser that has shown a token.
const SESSION: &str = "squall_session";

/// Who the cookie of a session stands for.
pub fn identity(web: &Web, headers: &HeaderMap) -> Option<Identity> {
    let given = cookie(headers, SESSION)?;
    let is = |secret: &[u8]| access::same(given.as_bytes(), session_of(secret).as_bytes());
    let shared = web.config.token.expose();
    if !shared.is_empty() && is(&Sha256::digest(shared)) {
        return access::of_token(web, shared);
    }
    let mut known = web.tokens.iter();
    known
        .find(|token| token.digest().is_some_and(|digest| is(&digest)))
        .map(access::of_config)
}

/// `POST /login`: a token in a form begins a session.
pub async fn log_in(State(shared): Squall, body: String) -> Result<Response, Problem> {
    let fields = form(&body)?;
    let next = local(field(&fields, "next"));
    let given = field(&fields, "token");
    if !access::is_guarded(&shared.web) {
        return Ok(Redirect::to(next).into_response());
    }
    if access::of_token(&shared.web, given).is_none() {
        let page = pages::login_form(next, Some("This is not the token."));
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    }
    let month = 30 * 24 * 3600;
    let session = session_of(&Sha256::digest(given));
    let session = set_cookie(&shared.web, SESSION, &session, month);
    Ok((session, Redirect::to(next)).into_response())
}

/// `POST /logout`: ends the session of this browser.
pub async fn log_out(State(shared): Squall) -> Response {
    let ended = set_cookie(&shared.web, SESSION, "", 0);
    (ended, Redirect::to("/login")).into_response()
}

/// A path of this site, for a redirect; anything else becomes the front page.
pub fn local(path: &str) -> &str {
    let plain = path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    match path.starts_with('/') && !path.starts_with("//") && plain {
        true => path,
        false => "/",
    }
}

/// Value of a cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// What the session cookie holds, from the hash of a token: neither can be told from it, nor it from a hash that was read
/// in the configuration, since the key is this process's own. So sessions end with the process.
fn session_of(hash: &[u8]) -> String {
    static KEY: LazyLock<[u8; 32]> = LazyLock::new(rand::random);
    let mac = Hmac::<Sha256>::new_from_slice(&*KEY).map(|mac| mac.chain_update(hash).finalize());
    let Ok(mac) = mac else {
        // A key of any length is taken.
        return String::new();
    };
    hexadecimal(&mac.into_bytes())
}

/// Fields of a form that was sent as `application/x-www-form-urlencoded`.
pub fn form(body: &str) -> Result<Vec<(String, String)>, Problem> {
    format!("/?{}", body.trim())
        .parse()
        .ok()
        .and_then(|uri| Query::try_from_uri(&uri).ok())
        .map(|Query(fields)| fields)
        .ok_or_else(|| Problem::invalid("the form is malformed: send it urlencoded"))
}

/// Value of a field of a form; empty when it is absent.
pub fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields
        .iter()
        .find_map(|(key, value)| (key == name).then_some(value.as_str()))
        .unwrap_or_default()
}

/// A `Set-Cookie` that scripts and other sites never see.
pub fn set_cookie(web: &Web, name: &str, value: &str, max_age: u32) -> [(HeaderName, String); 1] {
    let secure = match web.config.public_url.starts_with("https://") {
        true => "; Secure",
        false => "",
    };
    let cookie =
        format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}");
    [(header::SET_COOKIE, cookie)]
}
