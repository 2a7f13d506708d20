//! Who is asking, and what they may do.

use super::{Problem, Web, session};
use crate::config::{Access, TokenConfig};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;

/// Longest name that a proxy may give.
const LONGEST_NAME: usize = 200;

/// Who is asking. Handlers get it as an extension of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name of the token, or what the proxy says; none for `api.token`, which several may share, and for loopback.
    pub name: Option<String>,
    /// What they may do.
    pub rights: Rights,
}

/// What someone may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// As the role has it.
    Role(Access),
    /// Of anyone on this machine, where nothing says who may: reads, and what the demo and its page need.
    Local,
}

/// Whether anything says who may: else everyone on loopback is [`Rights::Local`].
pub fn is_guarded(web: &Web) -> bool {
    !web.config.token.is_empty() || !web.tokens.is_empty() || !web.config.identity_header.is_empty()
}

/// Who is asking, by token, proxy or session; none where it must be shown and is not. The second says whether a browser's
/// session shows it, which a forged request would show as well.
pub fn identify<B>(web: &Web, request: &Request<B>) -> (Option<Identity>, bool) {
    let headers = request.headers();
    if let Some(given) = bearer(headers) {
        let by_token = of_token(web, given);
        if by_token.is_some() {
            return (by_token, false);
        }
    }
    if let Some(name) = by_proxy(web, request) {
        let rights = Rights::Role(web.config.identity_role);
        // The proxy tells of a browser by its own session: requests may be forged just the same.
        return (
            Some(Identity {
                name: Some(name),
                rights,
            }),
            true,
        );
    }
    if let Some(identity) = session::identity(web, headers) {
        return (Some(identity), true);
    }
    let local = Identity {
        name: None,
        rights: Rights::Local,
    };
    ((!is_guarded(web)).then_some(local), false)
}

/// Whose token it is.
pub fn of_token(web: &Web, given: &str) -> Option<Identity> {
    let hash = Sha256::digest(given);
    let shared = web.config.token.expose();
    if !shared.is_empty() && same(&hash, &Sha256::digest(shared)) {
        return Some(Identity {
            name: None,
            rights: Rights::Role(Access::Admin),
        });
    }
    let known = web.tokens.iter().find(|token| {
        let known = token.digest();
        known.is_some_and(|known| same(&hash, &known))
    });
    known.map(of_config)
}

/// Who a configured token stands for.
pub fn of_config(token: &TokenConfig) -> Identity {
    Identity {
        name: Some(token.name.clone()),
        rights: Rights::Role(token.role),
    }
}

/// What a proxy says, if it is one of those that are trusted.
fn by_proxy<B>(web: &Web, request: &Request<B>) -> Option<String> {
    let header = &web.config.identity_header;
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    let peer = peer.ip().to_canonical();
    if header.is_empty()
        || !web
            .config
            .trusted_proxies
            .iter()
            .any(|net| net.contains(&peer))
    {
        return None;
    }
    let mut values = request.headers().get_all(header.as_str()).iter();
    let name = values.next()?.to_str().ok()?.trim();
    // Two of them: one is forged, and nobody can tell which.
    let fit = !name.is_empty() && name.len() <= LONGEST_NAME && values.next().is_none();
    fit.then(|| name.to_owned())
}

/// Whether someone may do what is asked for.
///
/// # Errors
/// 403, with the roles that may.
pub fn permit(rights: Rights, method: &Method, path: &str) -> Result<(), Problem> {
    let may = may(method, path);
    let permitted = match rights {
        Rights::Local => may.local,
        Rights::Role(role) => may.roles.contains(&role),
    };
    if permitted {
        return Ok(());
    }
    let names: Vec<&str> = may.roles.iter().map(|role| role.name()).collect();
    let detail = match rights {
        Rights::Local => format!(
            "this needs a token of the role {}: configure one with `squall token`",
            names.join(" or ")
        ),
        Rights::Role(role) => format!(
            "the role {} may not do this: {} may",
            role.name(),
            names.join(" and ")
        ),
    };
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

/// Who may do something.
struct May {
    roles: &'static [Access],
    local: bool,
}

/// The whole of the rules.
fn may(method: &Method, path: &str) -> May {
    use Access::{Admin, Analyst, Marketer, Viewer};
    let may = |roles, local| May { roles, local };
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let is_ack =
        path.ends_with("/ack") && (path.starts_with("/v1/alerts/") || path.starts_with("/alerts/"));
    match path {
        "/v1/audit" => may(&[Analyst, Admin], false),
        "/login" | "/logout" => may(&[Viewer, Analyst, Marketer, Admin], true),
        _ if reads => may(&[Viewer, Analyst, Marketer, Admin], true),
        "/v1/score" => may(&[Analyst, Marketer, Admin], true),
        "/v1/feedback" => may(&[Analyst, Marketer, Admin], true),
        "/v1/posts" => may(&[Admin], true),
        _ if is_ack => may(&[Analyst, Admin], true),
        _ if path.starts_with("/v1/silences") => may(&[Analyst, Admin], false),
        _ => may(&[Admin], false),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// Compares secrets in a time that does not tell where they differ.
pub fn same(given: &[u8], secret: &[u8]) -> bool {
    let difference = given
        .iter()
        .zip(secret)
        .fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == secret.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_it_is_for_and_loopback_what_the_demo_needs() {
        use Access::{Admin, Analyst, Marketer, Viewer};
        let may = |rights, method: Method, path| permit(rights, &method, path).is_ok();
        let everyone = [Viewer, Analyst, Marketer, Admin].map(Rights::Role);
        for (method, path, permitted, local) in [
            (Method::GET, "/v1/alerts", [true; 4], true),
            (Method::GET, "/", [true; 4], true),
            (Method::GET, "/v1/audit", [false, true, false, true], false),
            (
                Method::POST,
                "/v1/alerts/a1/ack",
                [false, true, false, true],
                true,
            ),
            (
                Method::POST,
                "/alerts/a1/ack",
                [false, true, false, true],
                true,
            ),
            (
                Method::POST,
                "/v1/feedback",
                [false, true, true, true],
                true,
            ),
            (Method::POST, "/v1/score", [false, true, true, true], true),
            (Method::POST, "/v1/posts", [false, false, false, true], true),
            (
                Method::POST,
                "/v1/silences",
                [false, true, false, true],
                false,
            ),
            (
                Method::DELETE,
                "/v1/silences/s1",
                [false, true, false, true],
                false,
            ),
            (
                Method::POST,
                "/v1/endpoints/desk/test",
                [false, false, false, true],
                false,
            ),
            (
                Method::DELETE,
                "/v1/anything",
                [false, false, false, true],
                false,
            ),
        ] {
            let found = everyone.map(|rights| may(rights, method.clone(), path));
            assert_eq!(found, permitted, "{method} {path}");
            assert_eq!(
                may(Rights::Local, method.clone(), path),
                local,
                "{method} {path}"
            );
        }
    }
}
