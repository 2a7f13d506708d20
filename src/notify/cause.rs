//! Why a request got no answer, in words that tell whoever is on call what to do.

use crate::domain::Timestamp;
use rustls::CertificateError as Certificate;
use rustls::pki_types::UnixTime;
use std::error::Error;
use std::io;

/// The innermost reason of a failed request. Where it is the receiver's certificate: what is wrong with it, and the remedy.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut reason = error;
    while let Some(inner) = inner(reason) {
        reason = inner;
    }
    match reason.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(problem)) => certificate(problem),
        _ => reason.to_string(),
    }
}

fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        // Its own `source` leaves out the error that it holds.
        Some(error) => error.get_ref().map(|held| held as _),
        None => error.source(),
    }
}

fn certificate(problem: &Certificate) -> String {
    match problem {
        Certificate::Expired => expired(String::new()),
        Certificate::ExpiredContext { not_after, .. } => {
            expired(format!(" ({})", moment(*not_after)))
        }
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            "the receiver's certificate is not valid yet: set this machine's clock, or have the certificate replaced".into()
        }
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            "the receiver's certificate is for another name: correct the endpoint's url, or have the certificate replaced".into()
        }
        // The latter has the name of an issuer that is trusted, and was made with another key.
        Certificate::UnknownIssuer | Certificate::BadSignature => {
            "the issuer of the receiver's certificate is not trusted: add it to the CA certificates of this machine".into()
        }
        other => format!("the receiver's certificate is not accepted: {other}"),
    }
}

fn expired(when: String) -> String {
    format!(
        "the receiver's certificate has expired{when}: whoever runs the receiver has to renew it"
    )
}

fn moment(time: UnixTime) -> Timestamp {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_millis(seconds.saturating_mul(1000))
}
