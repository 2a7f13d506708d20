//! Who may: the host asked for, the token or session, the site a request comes from; and the form and the
//! headers that every answer has.

use super::access::{self, Identity};
use super::server::Squall;
use super::{Problem, Web, pages, words};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use std::net::IpAddr;

/// Scripts and styles only from here, none inline; nobody may frame the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Lets a request through, or says why not.
pub async fn admit(State(shared): Squall, mut request: Request, next: Next) -> Response {
    match check(&shared.web, &request) {
        Ok(identity) => {
            if let Some(identity) = identity {
                request.extensions_mut().insert(identity);
            }
            next.run(request).await
        }
        Err(problem)
            if problem.status == StatusCode::UNAUTHORIZED
                && request.method() == Method::GET
                && wants_page(&request) =>
        {
            let next = request
                .uri()
                .path_and_query()
                .map_or("/", |wanted| wanted.as_str());
            Redirect::to(&format!("/login?next={}", words::segment(next))).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// Who asks, if they may have what they ask for; none for what is open to everyone.
fn check(web: &Web, request: &Request) -> Result<Option<Identity>, Problem> {
    let headers = request.headers();
    if web.config.listen.ip().is_loopback() {
        own_host(web, request)?;
    }
    let (identity, forgeable) = access::identify(web, request);
    let by_token = identity.is_some() && access::is_guarded(web) && !forgeable;
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && !by_token {
        same_origin(web, headers, forgeable)?;
    }
    let path = request.uri().path();
    if path == "/healthz" || path == "/login" || path.starts_with("/assets/") {
        return Ok(identity);
    }
    let Some(identity) = identity else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "a token is needed: send 'Authorization: Bearer <token>', or log in at /login",
        ));
    };
    access::permit(identity.rights, request.method(), path)?;
    Ok(Some(identity))
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
    if let Some(problem) = problem.or_else(|| problem_of_framework(&response)) {
        let allowed = response.headers_mut().remove(header::ALLOW);
        response = match page {
            true => pages::error(&problem),
            false => problem.into_response(),
        };
        if let Some(allowed) = allowed {
            response.headers_mut().insert(header::ALLOW, allowed);
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

/// The framework's own errors are bare words: a wrong method, a body that is too large, a malformed path.
fn problem_of_framework(response: &Response) -> Option<Problem> {
    let status = response.status();
    let failed = status.is_client_error() || status.is_server_error();
    let page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let words = match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            "this address does not take this method: see /openapi.json"
        }
        StatusCode::PAYLOAD_TOO_LARGE => "the body is over 4 MiB: send less at once",
        _ => "the request is malformed: see /openapi.json",
    };
    (failed && !page).then(|| Problem::new(status, words))
}
