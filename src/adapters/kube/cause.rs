//! Reads an error chain once: its text without repeats, and what kind of failure it was.
use std::{error::Error as StdError, io};

use hyper_util::client::legacy::Error as ConnectionError;
use kube::client::AuthError;

/// What a request that got no answer tells about the request's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::adapters) enum Class {
    /// No connection came about: nothing was sent.
    NotConnected,
    /// The connection broke after something may have been sent.
    Broken,
    /// Certificates or the TLS protocol do not fit: trying again does not help.
    Tls,
    /// No credentials could be had: trying again does not help.
    Auth,
}

/// The kind of a failure, from the most telling error of its chain.
pub(in crate::adapters) fn class(error: &(dyn StdError + 'static)) -> Class {
    let mut class = Class::Broken;
    for link in chain(error) {
        if link.is::<AuthError>() {
            return Class::Auth;
        }
        if link.is::<rustls::Error>() {
            return Class::Tls;
        }
        let refused = link
            .downcast_ref::<io::Error>()
            .is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused);
        if refused
            || link
                .downcast_ref::<ConnectionError>()
                .is_some_and(ConnectionError::is_connect)
        {
            class = Class::NotConnected;
        }
    }
    class
}

/// The chain in one line, outermost first, without the words that an outer error repeats of its source.
pub(in crate::adapters) fn text(error: &(dyn StdError + 'static)) -> String {
    let links: Vec<String> = chain(error).map(|link| one_line(&describe(link))).collect();
    let mut parts: Vec<String> = Vec::new();
    for (index, link) in links.iter().enumerate() {
        let own = match links.get(index + 1) {
            Some(source) => link.strip_suffix(source.as_str()).unwrap_or(link),
            None => link,
        };
        let own = own.trim_end_matches([':', ' ']);
        if !own.is_empty() && !parts.iter().any(|part| part.contains(own)) {
            parts.push(own.to_owned());
        }
    }
    parts.join(": ")
}

/// The first `limit` characters of a text that came from outside, in one line.
pub(in crate::adapters) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Wrappers of kube and hyper only say "service error" or "client error (Connect)": their text is left to their source.
fn describe(link: &(dyn StdError + 'static)) -> String {
    match link.downcast_ref::<kube::Error>() {
        Some(kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::Auth(_)) => {
            return String::new();
        }
        Some(kube::Error::Api(status)) => return status.message.clone(),
        _ => {}
    }
    if link.is::<ConnectionError>() {
        return String::new();
    }
    match link.downcast_ref::<AuthError>() {
        // Its own text prints the whole output as numbers of bytes.
        Some(AuthError::AuthExecRun { cmd, out }) => {
            let said = String::from_utf8_lossy(&out.stderr);
            format!(
                "credential plugin '{cmd}' ended with {}: {}",
                out.status,
                said.trim()
            )
        }
        _ => link.to_string(),
    }
}

/// An error and its sources. `io::Error::source` skips the error that it carries: it is put back.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |link| source_of(*link))
}

fn source_of<'a>(link: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match link
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(inner) => Some(inner),
        None => link.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Repeats(#[source] io::Error);

    #[test]
    fn an_outer_error_does_not_repeat_its_source() {
        let error = Repeats(io::Error::other("connection reset"));
        assert_eq!(text(&error), "outer: connection reset");
    }

    #[test]
    fn a_tls_error_inside_an_io_error_is_found() {
        let error = Repeats(io::Error::other(rustls::Error::HandshakeNotComplete));
        assert_eq!(class(&error), Class::Tls);
    }

    #[test]
    fn kubes_own_wrapper_adds_no_words() {
        let error = kube::Error::Service(Box::new(io::Error::other("buffer closed")));
        assert_eq!(text(&error), "buffer closed");
    }
}
