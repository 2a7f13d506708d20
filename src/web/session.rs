//! Sessions of browsers: a form takes the token, a cookie stands for it from then on. Cookies and forms.

use super::server::Squall;
use super::{Problem, Web, pages};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use sha2::{Digest, Sha256};

/// Cookie of a browser that has shown the token.
const SESSION: &str = "squall_session";

/// Whether a request carries the configured token.
pub fn token_is_shown(web: &Web, headers: &HeaderMap) -> bool {
    let token = web.config.token.expose();
    !token.is_empty() && bearer(headers).is_some_and(|given| same(given, token))
}

/// Whether a request carries the cookie of a session.
pub fn is_shown(web: &Web, headers: &HeaderMap) -> bool {
    let token = web.config.token.expose();
    !token.is_empty()
        && cookie(headers, SESSION).is_some_and(|given| same(given, &session_of(token)))
}

/// `POST /login`: the token in a form begins a session.
pub async fn log_in(State(shared): Squall, body: String) -> Result<Response, Problem> {
    let fields = form(&body)?;
    let (next, token) = (
        local(field(&fields, "next")),
        shared.web.config.token.expose(),
    );
    if token.is_empty() {
        return Ok(Redirect::to(next).into_response());
    }
    if !same(field(&fields, "token"), token) {
        let page = pages::login_form(next, Some("This is not the token."));
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    }
    let month = 30 * 24 * 3600;
    let session = set_cookie(&shared.web, SESSION, &session_of(token), month);
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

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
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

/// What the session cookie holds: the token cannot be told from it, and a new token ends all sessions.
fn session_of(token: &str) -> String {
    Sha256::new()
        .chain_update("squall session\0")
        .chain_update(token)
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Compares secrets in a time that does not tell where they differ.
fn same(given: &str, secret: &str) -> bool {
    let (given, secret) = (Sha256::digest(given), Sha256::digest(secret));
    given
        .iter()
        .zip(&secret)
        .fold(0, |difference, (a, b)| difference | (a ^ b))
        == 0
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
