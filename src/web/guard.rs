//! Who may: the host asked for, the token, the session of a browser, the site a request comes from; and the
//! headers that every answer carries.

use super::server::Squall;
use super::{Problem, Web, pages};
use axum::extract::{Query, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// Cookie of a browser that has shown the token.
const SESSION: &str = "squall_session";

/// Scripts and styles only from here, none inline; nobody may frame the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Lets a request through, or says why not.
pub async fn admit(State(shared): Squall, request: Request, next: Next) -> Response {
    match check(&shared.web, &request) {
        Ok(()) => next.run(request).await,
        Err(problem)
            if problem.status == StatusCode::UNAUTHORIZED
                && request.method() == Method::GET
                && wants_page(&request) =>
        {
            let next = request
                .uri()
                .path_and_query()
                .map_or("/", |wanted| wanted.as_str());
            Redirect::to(&format!("/login?next={}", super::words::segment(next))).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

fn check(web: &Web, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    if web.config.listen.ip().is_loopback() {
        own_host(web, request)?;
    }
    let token = web.config.token.expose();
    if !token.is_empty() && bearer(headers).is_some_and(|given| same(given, token)) {
        return Ok(());
    }
    let session = !token.is_empty()
        && cookie(headers, SESSION).is_some_and(|given| same(given, &session_of(token)));
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes {
        same_origin(web, headers, session)?;
    }
    let path = request.uri().path();
    let open = path == "/healthz" || path == "/login" || path.starts_with("/assets/");
    if token.is_empty() || session || open {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNAUTHORIZED,
        "a token is needed: send 'Authorization: Bearer <api.token>', or log in at /login",
    ))
}

/// Against DNS rebinding: a name of someone else's that leads to this machine's loopback is refused.
fn own_host(web: &Web, request: &Request) -> Result<(), Problem> {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let own = host.parse::<Authority>().is_ok_and(|authority| {
        let name = authority.host();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            || public_host(web).is_some_and(|public| public.host().eq_ignore_ascii_case(name))
    });
    if own {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        format!(
            "host '{host}' is not this server: use http://{}, or set api.public_url",
            web.config.listen
        ),
    ))
}

fn public_host(web: &Web) -> Option<Authority> {
    let url: Uri = web.config.public_url.parse().ok()?;
    url.into_parts().authority
}

/// Against forged requests: what changes something must come from this site's own pages, or from no
/// browser at all. Browsers say where a request comes from in `Sec-Fetch-Site` or `Origin`; one that
/// says neither may not use a session.
fn same_origin(web: &Web, headers: &HeaderMap, session: bool) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let own = match (
        text(HeaderName::from_static("sec-fetch-site")),
        headers.get(header::ORIGIN),
    ) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin
            .to_str()
            .ok()
            .and_then(|origin| origin.parse::<Uri>().ok())
            .and_then(|origin| origin.into_parts().authority)
            .is_some_and(|origin| {
                text(header::HOST).is_some_and(|host| origin.as_str().eq_ignore_ascii_case(host))
                    || public_host(web).is_some_and(|public| public == origin)
            }),
        (None, None) => !session,
    };
    if own {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "the request comes from another site: use squall's own page, or the API from a program",
    ))
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
    let leads_away = path.starts_with("//") || path.contains(['\\', '\r', '\n', '\t']);
    if path.starts_with('/') && !leads_away {
        path
    } else {
        "/"
    }
}

/// Whether the client is a browser that shows a page.
fn wants_page(request: &Request) -> bool {
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    !request.uri().path().starts_with("/v1/")
        && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Gives every answer its headers, and every error its form: a page for browsers, else problem details.
pub async fn finish(request: Request, next: Next) -> Response {
    let page = wants_page(&request);
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>();
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if page && let Some(problem) = problem {
        response = pages::error(&problem).into_response();
    } else if problem.is_none() && failed && !has_form(&response) {
        // An error of the framework: a wrong method, a body that is too large, a malformed path.
        let (parts, _) = response.into_parts();
        let words = match parts.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                "this address does not take this method: see /openapi.json"
            }
            StatusCode::PAYLOAD_TOO_LARGE => "the body is over 4 MiB: send less at once",
            _ => "the request is malformed: see /openapi.json",
        };
        response = Problem::new(parts.status, words).into_response();
        if let Some(allowed) = parts.headers.get(header::ALLOW) {
            response
                .headers_mut()
                .insert(header::ALLOW, allowed.clone());
        }
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not no-referrer: under it browsers hide the origin from our own forms too.
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Whether an error already has the form its reader expects: problem details, or a page.
fn has_form(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/html") || kind.starts_with("application/"))
}
